"""What the API says of the three Services."""

from __future__ import annotations

from typing import Any

from l4lab.checks import API, Look, Seen, Unmet, check
from l4lab.checks.diff import differences

from . import facts
from .scene import backends


@check(
    id="pods",
    title="the pods are ready",
    why="Affinity is a choice among pods: with one pod there would be nothing to see.",
    expect=f"{facts.REPLICAS} ready pods",
    anchor="services",
    vantage=API,
)
def pods(look: Look) -> Seen:
    """Find the pods."""
    return Seen(", ".join(f"{pod.name} at {pod.address}" for pod in backends(look)))


def _affinity(look: Look, service: str, kind: str, seconds: int | None) -> Seen:
    """Hold the fields about affinity against a Service's."""
    wanted: dict[str, Any] = {"selector": facts.LABELS, "sessionAffinity": kind}
    if seconds is not None:
        wanted["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": seconds}}
    if lines := differences(wanted, look.get("Service", service)["spec"]):
        raise Unmet(
            "\n".join(lines),
            causes=("the Service was changed after it was deployed",),
            then=f"./l4lab kubectl get service {service} -o yaml",
        )
    return Seen(kind if seconds is None else f"{kind}, {seconds} s")


@check(
    id="affinity-fields",
    title="the first Service keeps a client by its address, for a short time",
    why="ClientIP is the only affinity a Service knows: it looks at the address, at no cookie.",
    expect=f"sessionAffinity ClientIP, timeoutSeconds {facts.TIMEOUT_SECONDS}",
    anchor="services",
    vantage=API,
)
def affinity_fields(look: Look) -> Seen:
    """Read the first Service."""
    return _affinity(look, facts.SERVICE, "ClientIP", facts.TIMEOUT_SECONDS)


@check(
    id="default-timeout",
    title="where no time-out is named, it is three hours",
    why="The API server fills in what a Service leaves out; three hours are long when a pod is "
    "overloaded and its clients cannot leave it.",
    expect=f"sessionAffinity ClientIP, timeoutSeconds {facts.DEFAULT_TIMEOUT_SECONDS}",
    anchor="services",
    vantage=API,
)
def default_timeout(look: Look) -> Seen:
    """Read the second Service."""
    return _affinity(look, facts.DEFAULT_SERVICE, "ClientIP", facts.DEFAULT_TIMEOUT_SECONDS)


@check(
    id="no-affinity",
    title="the third Service keeps nobody",
    why="None is the default: each connection is chosen for anew.",
    expect="sessionAffinity None",
    anchor="services",
    vantage=API,
)
def no_affinity(look: Look) -> Seen:
    """Read the third Service."""
    return _affinity(look, facts.PLAIN_SERVICE, "None", None)
