"""What the Pulumi engine says, in words a person uses."""

from __future__ import annotations

import re
from typing import Final

from l4lab.certificate import RENEW
from l4lab.place import Place

# What the engine puts before a provider's words on an input, that input's value among it.
_PACKING: Final = re.compile(
    r"^(?:Preview failed: |kubernetes:\S+ resource '.*?'(?:: property .*?)? has a problem: )"
)
_NEXT: Final = (
    (r"certificate has expired", RENEW),
    (r"cannot reach the Kubernetes API|refuses the kubeconfig", "./l4lab status"),
    (r"exists already", "delete it, then: {again}"),
    (r'namespaces "(\S+)" not found', "./l4lab {make}, then: {again}"),
    (
        r"in namespace (\S+) because it is being terminated",
        "remove what holds namespace {0}, or wait; then: {again}",
    ),
    (
        r"range is full|port is already allocated",
        "./l4lab kubectl get services -A names who has them; free one, then: {again}",
    ),
    (r"still being deleted|not gone within", "remove what holds it, or wait; then: {again}"),
    (r"currently locked by", "wait until the other pulumi has ended, then: {again}"),
    (r"\bpod ([a-z0-9][a-z0-9.-]*)[,:] ", "{describe} says more; mend it, then: {again}"),
)
"""Why something was refused, as it is told, and what to do then; the first that fits counts."""
_COLOUR: Final = re.compile(r"<\{%[^%]*%\}>")


def is_object(urn: str) -> bool:
    """Whether a URN is that of a Kubernetes object, not of the stack, a component or a provider."""
    types = urn.split("::")[2] if urn.count("::") > 2 else ""  # noqa: PLR2004  stack, project, types, name
    return types.rpartition("$")[2].startswith("kubernetes:")


def label(urn: str) -> str:
    """``Service my-nginx`` for a URN."""
    types, _, name = urn.split("::", 2)[-1].partition("::")
    return f"{kind(types)} {name}"


def kind(token: str) -> str:
    """``Service`` for ``kubernetes:core/v1:Service``."""
    return token.rsplit(":", 1)[-1]


def last_words(output: str) -> str:
    """The error that a command of the CLI ended with."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return told[-1] if told else lines[-1] if lines else "pulumi said nothing"


def plain(message: str) -> str:
    """A diagnostic in one line, without the engine's colour marks and packing."""
    lines = [line.strip().removeprefix("* ") for line in _COLOUR.sub("", message).splitlines()]
    kept = [line for line in lines if line and not line.endswith(("error occurred:", "occurred:"))]
    return _PACKING.sub("", " ".join(kept))


def next_step(reason: str, place: Place, *, again: str) -> str:
    """What a person does after a refusal.

    Args:
        reason: The refusal, in the words of whoever refused.
        place: Where the lab is.
        again: The command that was refused.
    """
    for pattern, then in _NEXT:
        if found := re.search(pattern, reason):
            name = found.group(1) if found.groups() else ""
            make = "class up" if place.student else f"kubectl create namespace {name}"
            describe = place.as_typed(f"./l4lab kubectl describe pod {name}")
            return then.format(name, again=again, make=make, describe=describe)
    return f"mend it, then: {again}"
