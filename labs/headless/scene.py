"""The things every check of this lab looks at, all of them from ``facts``."""

from __future__ import annotations

from l4lab.checks import API, CannotMeasure, Fault, Look, Unmet, Vantage, Where
from l4lab.checks.service import Pod, ready_pods
from labs.headless import facts

CLIENT = Vantage(Where.POD, facts.CLIENT)

_DNS_NEXT = "./l4lab kubectl get pods -n kube-system -l k8s-app=kube-dns"
_NO_SERVER = ("no servers could be reached", "timed out", "connection refused")


def backends(look: Look, *, count: int = facts.REPLICAS) -> list[Pod]:
    """The lab's pods, all of them ready, by name."""
    return ready_pods(look.at(API), facts.LABELS, count=count)


def full_name(look: Look) -> str:
    """The Service's full name."""
    return f"{facts.SERVICE}.{look.namespace}.{facts.DOMAIN}"


def name_of(look: Look, pod: str) -> str:
    """The full name of one pod."""
    return f"{pod}.{full_name(look)}"


def asked(look: Look, *words: str) -> list[str]:
    """The lines of cluster DNS's answer, asked in the client pod: empty where there is no record.

    Raises:
        Unmet: No name server answers.
        CannotMeasure: The client pod does not run.
    """
    pod = look.get("Pod", facts.CLIENT)
    phase = pod.get("status", {}).get("phase")
    if phase != "Running":
        raise CannotMeasure(
            f"pod {facts.CLIENT} is {phase}",
            then=f"./l4lab kubectl describe pod {facts.CLIENT}",
        )
    # A pod starts with the cluster's name server; its search list is of no use to dig.
    result = look.at(CLIENT).run(["dig", "+tries=2", "+time=3", *words], shown=["dig", *words])
    said = result.stdout + result.stderr
    if any(words in said.lower() for words in _NO_SERVER):
        raise Unmet(
            "no name server answers",
            fault=Fault.DNS,
            causes=("CoreDNS has no ready pod", "the pod does not ask cluster DNS"),
            then=_DNS_NEXT,
        )
    if not result.succeeded:
        raise CannotMeasure(f"dig in {facts.CLIENT}: {result.last_line}")
    return [line.strip() for line in result.stdout.splitlines() if line.strip()]


def addresses(look: Look, name: str) -> list[str]:
    """The A records of a name, in the order of the answer."""
    return asked(look, "+short", name, "A")
