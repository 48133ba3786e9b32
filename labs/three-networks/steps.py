"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

from l4lab.guide import Command, Step
from l4lab.topology import Topology

from . import facts

_LABEL = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_PODS = f"./l4lab kubectl get pods -l {_LABEL}"
_IN_CLIENT = f"./l4lab kubectl exec {facts.CLIENT} --"
_WELCOME = "<title>Welcome to nginx!</title>"
_NO_WAY = r"^curl: \((7|28)\)"
# A cluster needs a moment until every kernel has followed.
_SOON = 20.0


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    networks, master = topology.networks, topology.control_plane
    far = "$FAR"
    refused = Command(
        text=f"./l4lab ssh {master.name} curl -sS http://$CIP:{facts.NO_PORT}/",
        rc=7,
        shows=(r"^curl: \(7\)",),
    )
    ping = f"./l4lab ssh {master.name} ping -c 2 -W 1 $CIP"
    scale = f"./l4lab kubectl scale deployment {facts.DEPLOYMENT}"
    return (
        Step(
            id="three-ranges",
            do=(
                Command(
                    text="./l4lab kubectl get nodes -o wide",
                    shows=tuple(rf"^{one.name} .* {one.address} " for one in topology.nodes),
                ),
                Command(
                    text="./l4lab kubectl get configmap kubeadm-config -n kube-system -o yaml "
                    "| grep Subnet",
                    shows=(rf"podSubnet: {networks.pods}", rf"serviceSubnet: {networks.services}"),
                ),
                Command(
                    text="./l4lab kubectl get ippools.crd.projectcalico.org -o yaml | grep cidr",
                    shows=(rf"cidr: {networks.pods}$",),
                ),
                Command(
                    text="./l4lab kubectl get nodes "
                    "-o custom-columns=NODE:.metadata.name,PODCIDR:.spec.podCIDR",
                    shows=(rf"^{master.name} +\d",),
                ),
                Command(
                    text="./l4lab kubectl get servicecidrs", shows=(rf" {networks.services} ",)
                ),
                Command(
                    text=f"{_PODS} -o wide", shows=(rf"^{facts.DEPLOYMENT}-\S+ +1/1 +Running ",)
                ),
            ),
            checks=("node-range", "pod-range", "service-range", "one-of-each"),
        ),
        Step(
            id="node-address",
            do=(
                Command(
                    text=f"./l4lab ssh {master.name} ip -4 -br address",
                    shows=(rf" {master.address}/\d+",),
                ),
            ),
            checks=("node-address",),
        ),
        Step(
            id="pod-address",
            do=(
                Command(
                    text=f"{_IN_CLIENT} ip -4 -br address",
                    shows=(rf"^{facts.POD_LINK}\S* .*/32",),
                ),
                Command(
                    text=f"{_IN_CLIENT} ip route",
                    shows=(rf"^default via \S+ dev {facts.POD_LINK}",),
                ),
                Command(text=f"POD=$({_PODS} -o jsonpath='{{.items[0].status.podIP}}')"),
                *(
                    Command(
                        text=f"./l4lab ssh {node.name} ip route get $POD",
                        shows=(rf" dev (cali\S+|{facts.TUNNEL}) ",),
                    )
                    for node in topology.nodes
                ),
            ),
            checks=("pod-address-inside", "pod-address-nowhere-else"),
        ),
        Step(
            id="cluster-address",
            do=(
                Command(
                    text=f"CIP=$(./l4lab kubectl get service {facts.SERVICE} "
                    "-o jsonpath='{.spec.clusterIP}')"
                ),
                *(
                    Command(
                        text=f"./l4lab ssh {node.name} ip -4 address show {facts.DUMMY} "
                        "| grep $CIP",
                        shows=(r"inet \S+/32 ",),
                        within=_SOON,
                    )
                    for node in topology.nodes
                ),
                Command(
                    text=f"./l4lab ssh {master.name} ip route get $CIP",
                    shows=(r"^local \S+ dev lo",),
                    mode="ipvs",
                ),
                Command(
                    text=f"./l4lab ssh {master.name} ip route get $CIP",
                    shows=(r"^(?!local )\d\S+ .*\bdev \S+",),
                    mode="nftables",
                ),
                Command(
                    text=f"{_IN_CLIENT} ip route get $CIP", shows=(rf" dev {facts.POD_LINK} ",)
                ),
                Command(
                    text=f"./l4lab ssh {master.name} curl -s {_url('$CIP', facts.PORT)}",
                    shows=(_WELCOME,),
                ),
            ),
            checks=(
                "cluster-address-on-nodes",
                "cluster-address-not-in-pods",
                "cluster-address-answers",
            ),
        ),
        Step(
            id="ping",
            do=(
                Command(text=ping, rc=None, shows=(r"packets transmitted",)),
                refused,
                Command(text=f"{scale} --replicas=0"),
                Command(
                    text=f"./l4lab ssh {master.name} curl -sS --connect-timeout 3 "
                    f"{_url('$CIP', facts.PORT)}",
                    rc=7,
                    shows=(r"^curl: \(7\)",),
                    within=_SOON,
                ),
                Command(text=ping, rc=None, shows=(r"packets transmitted",)),
                Command(text=f"{scale} --replicas={facts.REPLICAS}"),
                Command(
                    text=f"./l4lab kubectl rollout status deployment {facts.DEPLOYMENT} "
                    "--timeout=60s"
                ),
            ),
            checks=("ping-proves-nothing", "ping-without-pods"),
        ),
        Step(
            id="who-reaches-what",
            do=(
                Command(text=f"POD=$({_PODS} -o jsonpath='{{.items[0].status.podIP}}')"),
                Command(
                    text=f"{_IN_CLIENT} curl -s {_url('$POD', facts.CONTAINER_PORT)}",
                    shows=(_WELCOME,),
                ),
                Command(
                    text=f"{_IN_CLIENT} curl -s {_url('$CIP', facts.PORT)}",
                    shows=(_WELCOME,),
                    within=_SOON,
                ),
                Command(
                    text=f"./l4lab exec curl -sk https://{master.address}:{facts.API_PORT}/version",
                    shows=("{",),
                ),
                Command(
                    text="./l4lab exec curl -sS --connect-timeout 3 "
                    f"{_url('$POD', facts.CONTAINER_PORT)}",
                    rc=None,
                    shows=(_NO_WAY,),
                ),
                Command(
                    text=f"./l4lab exec curl -sS --connect-timeout 3 {_url('$CIP', facts.PORT)}",
                    rc=None,
                    shows=(_NO_WAY,),
                ),
            ),
            checks=("from-nodes", "from-a-pod", "from-outside"),
        ),
        Step(
            id="path",
            do=(
                Command(
                    text=f"NODE=$(./l4lab kubectl get pod {facts.CLIENT} "
                    "-o jsonpath='{.spec.nodeName}')"
                ),
                Command(
                    text=f"NEAR=$(./l4lab kubectl get pod {facts.CLIENT} "
                    "-o jsonpath='{.status.podIP}')"
                ),
                Command(
                    text=f"FAR=$({_PODS} -o jsonpath='{{range .items[*]}}"
                    '{.spec.nodeName} {.status.podIP}{"\\n"}{end}\''
                    ' | grep -v "^$NODE " | head -n 1 | cut -d " " -f 2)'
                ),
                Command(
                    text=f"./l4lab ssh $NODE ip -d link show {facts.TUNNEL} | grep vxlan",
                    shows=(rf"vxlan id \d+ local \S+ .*dstport {facts.TUNNEL_PORT}",),
                ),
                Command(
                    text=f"./l4lab ssh $NODE ip route get {far}",
                    shows=(rf"via \S+ dev {facts.TUNNEL} ",),
                ),
                Command(
                    text=f"./l4lab ssh $NODE ip neighbour show dev {facts.TUNNEL}",
                    shows=(r"lladdr \S+ PERMANENT",),
                ),
                Command(
                    text=f"./l4lab ssh $NODE bridge fdb show dev {facts.TUNNEL}",
                    shows=(r"dst \S+ self",),
                ),
                Command(
                    text=f"{_IN_CLIENT} curl -s {_url(far, facts.CONTAINER_PORT)}",
                    shows=(_WELCOME,),
                ),
                Command(
                    text=f"THERE=$({_PODS} -o jsonpath='{{.items[?(@.status.podIP==\"'$FAR'\")]"
                    ".spec.nodeName}')"
                ),
                Command(
                    text=f"./l4lab ssh $THERE conntrack -L -p tcp -d {far} | grep src=$NEAR",
                    shows=(r"src=\S+ dst=\S+",),
                ),
            ),
            checks=("tunnel", "route-to-far-pods", "outer-packet", "pod-to-pod"),
        ),
    )


def _url(host: str, port: int) -> str:
    """The address of a page, without the port where it is the usual one."""
    return f"http://{host}/" if port == 80 else f"http://{host}:{port}/"  # noqa: PLR2004  # HTTP's
