"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

from ipaddress import IPv4Network

from l4lab.guide import Command, Step
from l4lab.topology import Machine, Topology
from labs.nodeport import facts

_LABEL = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_LOGS = f"./l4lab kubectl logs -l {_LABEL} --prefix --tail=50"
_KEPT = f"deployment {facts.DEPLOYMENT}"
_PAGE = "<title>Welcome to nginx!</title>"
_ADDRESS = r"\d+\.\d+\.\d+\.\d+"
_BACKEND = rf"-> {_ADDRESS}:{facts.TARGET_PORT} +Masq +1 "
# A cluster needs a moment until every kernel has followed.
_SOON = 60.0


def _url(node: Machine, port: int = facts.NODE_PORT, mark: str = "") -> str:
    return f"http://{node.address}:{port}/{mark}"


def _row(node: Machine, port: int, backends: str) -> Command:
    """Look at one row of the node until it has so many live backends (``2``, or ``1,2``)."""
    gone = r"(\n +-> \S+ +Masq +0 .*)*"
    lines = rf"^TCP +\S+:{port} +rr *{gone}(\n +{_BACKEND}.*{gone}){{{backends}}}\s*\Z"
    return Command(
        text=f"./l4lab ssh {node.name} ipvsadm -Ln -t {node.address}:{port}",
        shows=(lines,),
        within=_SOON,
    )


def _move(port: int) -> Command:
    change = f'[{{"op":"replace","path":"/spec/ports/0/nodePort","value":{port}}}]'
    return Command(
        text=f"./l4lab kubectl patch service {facts.SERVICE} --type=json -p '{change}'",
        shows=("patched",),
    )


def _offer(port: int, said: str) -> Command:
    return Command(
        text=f"./l4lab kubectl create service nodeport {facts.OFFERED} "
        f"--tcp={facts.PORT} --node-port={port}",
        rc=1,
        shows=(said,),
    )


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    empty, worker = topology.control_plane, topology.workers[0]
    fetch = "curl -sS --connect-timeout 3"
    return (
        Step(
            id="pods",
            do=(
                Command(
                    text=f"./l4lab kubectl get pods -l {_LABEL} -o wide",
                    shows=(rf"^{facts.DEPLOYMENT}-\S+ +1/1 +Running ",),
                ),
            ),
            checks=("pods",),
        ),
        Step(
            id="service",
            do=(
                Command(
                    text=f"./l4lab kubectl get service {facts.SERVICE}",
                    shows=(rf" NodePort .* {facts.PORT}:{facts.NODE_PORT}/{facts.PROTOCOL}",),
                ),
            ),
            checks=("service-fields",),
        ),
        Step(
            id="cluster-address",
            do=(
                Command(
                    text=f"CIP=$(./l4lab kubectl get service {facts.SERVICE} "
                    "-o jsonpath='{.spec.clusterIP}')"
                ),
                Command(
                    text=f"./l4lab ssh {worker.name} {fetch} http://$CIP:{facts.PORT}/",
                    shows=(_PAGE,),
                ),
            ),
            checks=("cluster-address",),
        ),
        Step(
            id="outside",
            do=(
                *(
                    Command(text=f"./l4lab exec {fetch} {_url(node)}", shows=(_PAGE,))
                    for node in topology.nodes
                ),
                *(
                    Command(text=f"./l4lab ssh {one.name} {fetch} {_url(empty)}", shows=(_PAGE,))
                    for one in topology.databases
                ),
            ),
            checks=("from-outside",),
        ),
        Step(
            id="kernel",
            do=(
                Command(
                    text=f"./l4lab ssh {empty.name} ip -4 -br address",
                    shows=(rf"\b{empty.address}/", r"^vxlan\.calico .*/32"),
                ),
                Command(
                    text=f"./l4lab ssh {empty.name} ipvsadm -Ln | grep -A{facts.REPLICAS} "
                    f":{facts.NODE_PORT}",
                    shows=(
                        rf"^TCP +{empty.address}:{facts.NODE_PORT} rr",
                        rf"^TCP +{_in(topology.networks.pods)}:{facts.NODE_PORT} rr",
                        _BACKEND,
                    ),
                    within=_SOON,
                ),
            ),
            checks=("ipvs-rows",),
        ),
        Step(
            id="localhost",
            do=(
                Command(
                    text=f"./l4lab ssh {worker.name} {fetch} http://127.0.0.1:{facts.NODE_PORT}/",
                    rc=7,
                    shows=(r"^curl: \(7\)",),
                ),
                Command(text=f"./l4lab ssh {worker.name} {fetch} {_url(worker)}", shows=(_PAGE,)),
                Command(
                    text=f"./l4lab ssh {worker.name} ss -ltn | grep :{facts.NODE_PORT}",
                    rc=1,
                    shows=(r"\A\s*\Z",),
                ),
            ),
            checks=("localhost",),
        ),
        Step(
            id="counters",
            do=(
                _stats(empty),
                Command(text=f"./l4lab exec {fetch} -o /dev/null {_url(empty)}"),
                Command(text="sleep 3"),
                _stats(empty),
            ),
            checks=("counters",),
        ),
        Step(
            id="source",
            do=(
                Command(
                    text=f"./l4lab exec {fetch} -o /dev/null {_url(empty, mark='?through-a-node')}"
                ),
                Command(
                    text=f"{_LOGS} | grep through-a-node",
                    # The pod is on another node, so the asked node's end of the tunnel is seen.
                    shows=(rf"^\[pod/\S+\] {_in(topology.networks.pods)} .*through-a-node",),
                    within=_SOON,
                ),
            ),
            checks=("source-is-a-node",),
        ),
        Step(
            id="local",
            do=(
                Command(
                    text=f"./l4lab kubectl get service {facts.LOCAL_SERVICE} -o yaml",
                    shows=(r"^  externalTrafficPolicy: Local$",),
                ),
                Command(
                    text=f"NODE=$(./l4lab kubectl get pods -l {_LABEL} "
                    "-o jsonpath='{.items[0].status.hostIP}')"
                ),
                Command(
                    text=f"./l4lab exec {fetch} -o /dev/null "
                    f"http://$NODE:{facts.LOCAL_NODE_PORT}/?kept"
                ),
                Command(
                    text=f"{_LOGS} | grep kept",
                    shows=(rf"^\[pod/\S+\] {topology.networks.gateway} .*kept",),
                    within=_SOON,
                ),
                _row(worker, facts.LOCAL_NODE_PORT, f"1,{facts.REPLICAS}"),
            ),
            checks=("local-fields", "local-rows", "local-answers", "source-is-kept"),
        ),
        Step(
            id="local-lost",
            do=(
                Command(
                    text=f"./l4lab exec {fetch} {_url(empty, facts.LOCAL_NODE_PORT)}",
                    rc=28,
                    shows=(r"^curl: \(28\)",),
                ),
                Command(
                    text=f"./l4lab ssh {empty.name} ipvsadm -Lnc | grep :{facts.LOCAL_NODE_PORT}",
                    shows=(rf"SYN_RECV +{topology.networks.gateway}:\d+ ",),
                ),
                Command(
                    text=f"./l4lab ssh {empty.name} {fetch} {_url(empty, facts.LOCAL_NODE_PORT)}",
                    shows=(_PAGE,),
                ),
            ),
            checks=("local-lost",),
        ),
        Step(
            id="refused-ports",
            do=(
                _offer(facts.NODE_PORT, "provided port is already allocated"),
                *(
                    _offer(port, "valid ports is {}-{}".format(*facts.NODE_PORTS))
                    for port in facts.OUT_OF_RANGE
                ),
            ),
            checks=("port-taken", "port-out-of-range"),
        ),
        Step(
            id="move-port",
            do=(
                _move(facts.OTHER_NODE_PORT),
                _row(worker, facts.OTHER_NODE_PORT, str(facts.REPLICAS)),
                Command(
                    text=f"./l4lab exec {fetch} {_url(worker, facts.OTHER_NODE_PORT)}",
                    shows=(_PAGE,),
                    within=_SOON,
                ),
                Command(
                    text=f"./l4lab exec {fetch} {_url(worker)}",
                    rc=7,
                    shows=(r"^curl: \(7\)",),
                    within=_SOON,
                ),
                _move(facts.NODE_PORT),
                _row(worker, facts.NODE_PORT, str(facts.REPLICAS)),
            ),
            checks=("move-port",),
        ),
        Step(
            id="scale",
            do=(
                Command(text=f"./l4lab kubectl scale {_KEPT} --replicas=1"),
                _row(empty, facts.NODE_PORT, "1"),
                *(
                    Command(text=f"./l4lab exec {fetch} {_url(node)}", shows=(_PAGE,), within=_SOON)
                    for node in topology.nodes
                ),
                Command(text=f"./l4lab kubectl scale {_KEPT} --replicas={facts.REPLICAS}"),
                Command(text=f"./l4lab kubectl rollout status {_KEPT} --timeout=60s"),
            ),
            checks=("scale-to-one",),
        ),
    )


def _stats(node: Machine) -> Command:
    return Command(
        text=f"./l4lab ssh {node.name} ipvsadm -Ln --stats --exact "
        f"-t {node.address}:{facts.NODE_PORT}",
        shows=(rf"^TCP +{node.address}:{facts.NODE_PORT} +\d+",),
    )


def _in(network: IPv4Network) -> str:
    """A pattern for an address of a network, by the whole bytes of its prefix."""
    kept = str(network.network_address).split(".")[: network.prefixlen // 8]
    return r"\.".join([*kept, *[r"\d+"] * (4 - len(kept))])
