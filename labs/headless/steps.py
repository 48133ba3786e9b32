"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

from l4lab.guide import Command, Step
from l4lab.topology import Topology
from labs.headless import facts

_LABEL = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_SET = f"statefulset {facts.SERVICE}"
_NAME = f"{facts.SERVICE}.{facts.NAMESPACE}.{facts.DOMAIN}"
_IN_POD = f"./l4lab kubectl exec {facts.CLIENT} --"
_FIRST = f"{facts.SERVICE}-0"
_PAGE = "<title>Welcome to nginx!</title>"
_ADDRESS = r"\d+\.\d+\.\d+\.\d+"
# A cluster needs a moment until DNS has followed.
_SOON = 60.0


def _dig(*words: str, shows: tuple[str, ...], within: float = 0.0) -> Command:
    return Command(text=f"{_IN_POD} dig {' '.join(words)}", shows=shows, within=within)


def _addresses(count: int) -> Command:
    """Ask for the Service's name until it has so many addresses."""
    return _dig(
        "+short", _NAME, shows=(rf"\A(\s*{_ADDRESS}\s*?\n?){{{count}}}\s*\Z",), within=_SOON
    )


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    node = topology.workers[0].name
    url = f"http://{_FIRST}.{_NAME}"
    rollout = Command(text=f"./l4lab kubectl rollout status {_SET} --timeout=60s")
    return (
        Step(
            id="pods",
            do=(
                Command(
                    text=f"./l4lab kubectl get pods -l {_LABEL} -o wide",
                    shows=tuple(
                        rf"^{facts.SERVICE}-{number} +1/1 +Running "
                        for number in range(facts.REPLICAS)
                    ),
                ),
            ),
            checks=("pods",),
        ),
        Step(
            id="service",
            do=(
                Command(
                    text=f"./l4lab kubectl get service {facts.SERVICE}",
                    shows=(rf"^{facts.SERVICE} +ClusterIP +None +",),
                ),
            ),
            checks=("no-address",),
        ),
        Step(
            id="endpoints",
            do=(
                Command(
                    text="./l4lab kubectl get endpointslices "
                    f"-l kubernetes.io/service-name={facts.SERVICE} -o yaml",
                    shows=(rf"hostname: {_FIRST}$", rf"port: {facts.TARGET_PORT}$"),
                ),
            ),
            checks=("endpoints",),
        ),
        Step(
            id="kernel",
            do=(
                Command(
                    text=f"POD=$(./l4lab kubectl get pod {_FIRST} -o jsonpath='{{.status.podIP}}')"
                ),
                Command(
                    text=f"./l4lab ssh {node} ipvsadm -Ln | grep $POD",
                    rc=1,
                    shows=(r"\A\s*\Z",),
                ),
            ),
            checks=("no-row",),
        ),
        Step(
            id="names",
            do=(
                _dig(
                    "+noall",
                    "+answer",
                    _NAME,
                    shows=(rf"(^{_NAME}\.\s+\d+\s+IN\s+A\s+{_ADDRESS}\s*){{{facts.REPLICAS}}}",),
                ),
                _dig(
                    "+short",
                    f"kubernetes.{facts.NAMESPACE}.{facts.DOMAIN}",
                    shows=(rf"\A\s*{_ADDRESS}\s*\Z",),
                ),
            ),
            checks=("all-addresses", "ttl"),
        ),
        Step(
            id="order",
            do=(
                _dig(
                    "+short",
                    *[_NAME] * 4,
                    shows=(rf"({_ADDRESS}\s+){{{4 * facts.REPLICAS}}}",),
                ),
            ),
            checks=("order",),
        ),
        Step(
            id="own-names",
            do=(_dig("+short", f"{_FIRST}.{_NAME}", shows=(rf"\A\s*{_ADDRESS}\s*\Z",)),),
            checks=("own-names",),
        ),
        Step(
            id="port-by-name",
            do=(
                _dig(
                    "+short",
                    f"_{facts.PORT_NAME}._{facts.PROTOCOL.lower()}.{_NAME}",
                    "SRV",
                    shows=(rf"^\d+ \d+ {facts.TARGET_PORT} {_FIRST}\.{_NAME}\.",),
                ),
            ),
            checks=("port-by-name",),
        ),
        Step(
            id="direct",
            do=(
                Command(
                    text=f"{_IN_POD} curl -sS --connect-timeout 3 -D - {url}:{facts.TARGET_PORT}/",
                    shows=(rf"^X-Served-By: {_FIRST}\b", _PAGE),
                ),
            ),
            checks=("direct",),
        ),
        Step(
            id="no-translation",
            do=(
                Command(
                    text=f"{_IN_POD} curl -sS --connect-timeout 3 "
                    f"http://{facts.SERVICE}:{facts.PORT}/",
                    rc=7,
                    shows=(r"^curl: \(7\)",),
                ),
                Command(
                    text=f"{_IN_POD} curl -sS --connect-timeout 3 "
                    f"http://{facts.SERVICE}:{facts.TARGET_PORT}/",
                    shows=(_PAGE,),
                ),
            ),
            checks=("no-translation",),
        ),
        Step(
            id="scale",
            do=(
                Command(text=f"./l4lab kubectl scale {_SET} --replicas=3"),
                rollout,
                _addresses(3),
                Command(text=f"./l4lab kubectl scale {_SET} --replicas=1"),
                _addresses(1),
                Command(text=f"./l4lab kubectl scale {_SET} --replicas={facts.REPLICAS}"),
                rollout,
                _addresses(facts.REPLICAS),
            ),
            checks=("scale-to-three", "scale-to-one"),
        ),
        Step(
            id="same-name",
            do=(
                Command(text=f"./l4lab kubectl delete pod {_FIRST}", shows=(r"^pod .* deleted",)),
                rollout,
                Command(
                    text=f"{_IN_POD} dig +short {_FIRST}.{_NAME}; echo was $POD",
                    shows=(rf"\A\s*({_ADDRESS})\s+was (?!\1\b)",),
                    within=_SOON,
                ),
            ),
            checks=("same-name",),
        ),
    )
