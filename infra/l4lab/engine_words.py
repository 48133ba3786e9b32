"""What the Pulumi engine says, in words a person uses."""

from __future__ import annotations

import re
from typing import Final

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
    return " ".join(kept)
