"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

from collections.abc import Iterable

from l4lab.guide import Command, Step
from l4lab.topology import Topology

from . import facts

_LABEL = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_PODS = f"./l4lab kubectl get pods -l {_LABEL}"
_KEPT = f"deployment/{facts.DEPLOYMENT}"
# Below the ports a kernel gives to clients by itself.
_FIXED_PORT = 31999
# A cluster address refuses what it has no row for. In mode nftables the rule takes what a node
# sends on its way out, and its sender is told so.
_NO_ROW = {"ipvs": "Connection refused", "nftables": "Connection refused|Operation not permitted"}
# What socat says where nothing came back: it depends on where the packet was dropped.
_SILENCE = "timed out|now in progress"
# A cluster needs a moment until every kernel has followed.
_SOON = 30.0
_OPTIONS = {
    "TCP": ",connect-timeout=3",
    "UDP": ",null-eof",
    "SCTP": ",connect-timeout=3,shut-none",
}


def _socat(protocol: str, target: str, more: str = "") -> str:
    options = _OPTIONS[protocol] + more
    return f"socat -t 3 - {protocol}4:{target}:{facts.PORT}{options} </etc/hostname"


def _from(node: str, command: str) -> str:
    return f'./l4lab ssh {node} "{command}"'


def _by(protocol: str) -> str:
    return rf"^{facts.DEPLOYMENT}-\S+ {protocol}$"


def _address(variable: str, service: str) -> Command:
    get = f"./l4lab kubectl get service {service}"
    return Command(text=f"{variable}=$({get} -o jsonpath='{{.spec.clusterIP}}')")


def _listed(service: str, protocols: Iterable[str]) -> str:
    return rf"^{service} .* {','.join(f'{facts.PORT}/{one}' for one in protocols)} "


def _row(node: str, flag: str, protocol: str, target: str, backends: str) -> Command:
    gone = r"(\n +-> \S+ +Masq +0 .*)*"
    live = rf"\n +-> \S+:{facts.TARGET_PORT} +Masq +1 .*"
    return Command(
        text=f"./l4lab ssh {node} ipvsadm -Ln {flag} {target}:{facts.PORT}",
        shows=(rf"^{protocol} +\S+:{facts.PORT} +rr *{gone}({live}{gone}){{{backends}}}\s*\Z",),
        within=_SOON,
    )


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    master, worker = topology.control_plane.name, topology.workers[0].name
    in_pod = f"./l4lab kubectl exec {facts.CLIENT} -- sh -c"
    record = f"_udp-echo._udp.{facts.MIXED}.{facts.NAMESPACE}.svc.cluster.local"
    both_udp = '[{"op":"replace","path":"/spec/ports/0/protocol","value":"UDP"}]'
    label = f"./l4lab kubectl label pod $NAME {facts.POLICY_LABEL}"
    fixed = _socat("UDP", "$MIXED", f",sourceport={_FIXED_PORT}")
    moved = _socat("UDP", "$MIXED", f",sourceport={_FIXED_PORT - 1}")
    return (
        Step(
            id="pods",
            do=(
                Command(
                    text=f"{_PODS} -o wide", shows=(rf"^{facts.DEPLOYMENT}-\S+ +1/1 +Running",)
                ),
                Command(text=f"POD=$({_PODS} -o jsonpath='{{.items[0].status.podIP}}')"),
                *(
                    Command(
                        text=_from(master, _socat(protocol, "$POD")),
                        shows=(_by(protocol),),
                        within=_SOON,
                    )
                    for protocol in _OPTIONS
                ),
            ),
            checks=("pods-answer",),
        ),
        Step(
            id="one-number",
            do=(
                Command(
                    text=f"./l4lab kubectl get service {' '.join(facts.SERVICE_PORTS)}",
                    shows=tuple(
                        _listed(service, ports.values())
                        for service, ports in facts.SERVICE_PORTS.items()
                    ),
                ),
                Command(
                    text=f"./l4lab kubectl patch service {facts.MIXED} --dry-run=server "
                    f"--type=json -p '{both_udp}'",
                    shows=("Duplicate value",),
                    rc=1,
                ),
            ),
            checks=("service-fields", "endpoints", "same-port-twice"),
        ),
        Step(
            id="names",
            do=(
                Command(
                    text=f"./l4lab kubectl exec {facts.CLIENT} -- dig +short {record} SRV",
                    shows=(rf"^\d+ \d+ {facts.PORT} {facts.MIXED}\.",),
                ),
            ),
            checks=("srv-names",),
        ),
        Step(
            id="rows",
            do=(
                _address("MIXED", facts.MIXED),
                _address("SCTP", facts.SCTP),
                _address("NOBODY", facts.NOBODY),
                _row(worker, "-t", "TCP", "$MIXED", "2"),
                _row(worker, "-u", "UDP", "$MIXED", "2"),
                _row(worker, "--sctp-service", "SCTP", "$SCTP", "0,2"),
                _row(worker, "-u", "UDP", "$NOBODY", "0"),
            ),
            checks=("ipvs-rows", "own-counters"),
        ),
        Step(
            id="ask",
            do=tuple(
                Command(
                    text=_from(worker, _socat(protocol, "$MIXED")),
                    shows=(_by(protocol),),
                    within=_SOON,
                )
                for protocol in facts.MIXED_PORTS.values()
            ),
            checks=("mixed-answers",),
        ),
        Step(
            id="entries",
            do=(
                Command(
                    text=f"./l4lab ssh {worker} ipvsadm -l --timeout",
                    shows=(rf"{facts.IDLE_SECONDS['TCP']} \d+ {facts.IDLE_SECONDS['UDP']}$",),
                ),
                Command(
                    text=f"./l4lab ssh {worker} ipvsadm -Lnc | grep $MIXED:{facts.PORT}",
                    shows=(r"^UDP +0[0-4]:\d\d +UDP ",),
                ),
            ),
            checks=("udp-entry",),
        ),
        Step(
            id="balance",
            do=(
                Command(
                    text=_from(worker, f"for i in 1 2 3 4; do {_socat('UDP', '$MIXED')}; done"),
                    shows=(r"^(\S+) UDP\n(?!\1 )\S+ UDP$",),
                    within=_SOON,
                ),
                Command(
                    text=_from(worker, f"for i in 1 2 3 4; do {fixed}; done"),
                    shows=(r"\A(\S+ UDP\n)\1{3}\Z",),
                    within=_SOON,
                ),
            ),
            checks=("udp-balance",),
        ),
        Step(
            id="sctp",
            do=(
                Command(
                    text=_from(worker, _socat("SCTP", "$SCTP")),
                    shows=(_by("SCTP"),),
                    within=_SOON,
                ),
                Command(text=_from(master, _socat("SCTP", "$SCTP")), shows=(_SILENCE,), rc=None),
            ),
            checks=("sctp-answers", "sctp-across"),
        ),
        Step(
            id="other-protocol",
            do=(
                *(
                    Command(
                        text=_from(worker, _socat("UDP", "$SCTP")),
                        shows=(refusal,),
                        rc=None,
                        mode=mode,
                    )
                    for mode, refusal in _NO_ROW.items()
                ),
            ),
            checks=("other-protocol",),
        ),
        Step(
            id="nobody",
            do=(
                Command(
                    text=_from(worker, _socat("TCP", "$NOBODY")),
                    shows=("Connection refused",),
                    rc=None,
                ),
                Command(
                    text=_from(worker, _socat("UDP", "$NOBODY")),
                    shows=("Operation not permitted",),
                    rc=None,
                ),
                Command(
                    text=f'{in_pod} "{_socat("UDP", "$NOBODY")}"',
                    shows=("Connection refused",),
                    rc=None,
                ),
                Command(text=_from(worker, _socat("SCTP", "$NOBODY")), shows=(_SILENCE,), rc=None),
            ),
            checks=("nobody",),
        ),
        Step(
            id="backend-gone",
            do=(
                Command(text=f"GONE=$({_from(worker, moved)} | cut -d' ' -f1)"),
                Command(text="./l4lab kubectl delete pod $GONE", shows=("deleted",)),
                Command(text=_from(worker, moved), shows=(_by("UDP"),), within=_SOON),
                Command(
                    text=f"./l4lab kubectl rollout status {_KEPT}",
                    shows=("successfully rolled out",),
                ),
            ),
            checks=("backend-gone",),
        ),
        Step(
            id="only-sctp",
            do=(
                Command(text=f"NAME=$({_PODS} -o jsonpath='{{.items[0].metadata.name}}')"),
                Command(text=f"POD=$({_PODS} -o jsonpath='{{.items[0].status.podIP}}')"),
                Command(
                    text=f"{label}={facts.POLICY_VALUE}",
                    shows=("labeled",),
                ),
                Command(
                    text=_from(master, _socat("UDP", "$POD")), shows=(r"\A\s*\Z",), within=_SOON
                ),
                Command(
                    text=_from(master, _socat("SCTP", "$POD")), shows=(_by("SCTP"),), within=_SOON
                ),
                Command(
                    text=f"{label}-",
                    shows=("unlabeled",),
                ),
                Command(
                    text=_from(master, _socat("UDP", "$POD")), shows=(_by("UDP"),), within=_SOON
                ),
            ),
            checks=("only-sctp",),
        ),
    )
