"""The steps of the guide: what a learner types, and which checks prove what the step says."""

from __future__ import annotations

from l4lab.guide import Command, Step
from l4lab.topology import Topology
from labs.clusterip import facts

_LABEL = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_PODS = f"./l4lab kubectl get pods -l {_LABEL}"
_ROW = rf"^TCP +\S+:{facts.PORT} +rr"
_BACKEND = rf"-> \S+:{facts.TARGET_PORT} +Masq +1 "
# A cluster needs a moment until every kernel has followed.
_SOON = 60.0


def _backends(count: int) -> str:
    """A row with that many backends that take new connections; others may be on their way out."""
    ends = r"(\n +-> \S+ +Masq +0 .*)*"
    return _ROW + ends + rf"(\n +{_BACKEND}.*{ends}){{{count}}}\s*\Z"


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps of the lab on that cluster, in their order."""
    master = topology.control_plane.name
    worker = topology.workers[0].name
    url = _url("$CIP")
    table = f"./l4lab ssh {worker} ipvsadm -Ln -t $CIP:{facts.PORT}"
    kept = f"deployment {facts.DEPLOYMENT}"
    ready = f"./l4lab kubectl rollout status {kept} --timeout=100s"
    return (
        Step(
            id="pods",
            do=(
                Command(
                    text=f"{_PODS} -o wide",
                    shows=(r"^NAME .* IP ", rf"^{facts.DEPLOYMENT}-\S+ +1/1 +Running "),
                ),
                Command(text=f"POD=$({_PODS} -o jsonpath='{{.items[0].status.podIP}}')"),
                Command(
                    text=f"./l4lab ssh {master} curl -s {_url('$POD', facts.CONTAINER_PORT)}",
                    shows=("<title>Welcome to nginx!</title>",),
                ),
            ),
            checks=("deployment", "pod-addresses", "pods-answer"),
        ),
        Step(
            id="service",
            do=(
                Command(
                    text=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
                    shows=(
                        r"^  type: ClusterIP$",
                        rf"name: {facts.PORT_NAME}$",
                        rf"appProtocol: {facts.APP_PROTOCOL}$",
                        rf"targetPort: {facts.TARGET_PORT}$",
                    ),
                ),
                Command(
                    text=f"CIP=$(./l4lab kubectl get service {facts.SERVICE} "
                    "-o jsonpath='{.spec.clusterIP}')"
                ),
            ),
            checks=("service-fields", "service-address"),
        ),
        Step(
            id="selector",
            do=(
                Command(
                    text="./l4lab kubectl get pods --show-labels",
                    shows=(rf"^{facts.DEPLOYMENT}-.*\b{_LABEL}\b",),
                ),
                Command(text=_PODS, shows=(rf"\A(NAME .*\n)({facts.DEPLOYMENT}-.*\n?){{2}}\Z",)),
            ),
            checks=("selector",),
        ),
        Step(
            id="endpoints",
            do=(
                Command(
                    text=f"./l4lab kubectl describe service {facts.SERVICE}",
                    shows=(rf"^Endpoints: +\S+:{facts.TARGET_PORT},\S+:{facts.TARGET_PORT}$",),
                ),
                Command(
                    text="./l4lab kubectl get endpointslices "
                    f"-l kubernetes.io/service-name={facts.SERVICE} -o yaml",
                    shows=(rf"port: {facts.TARGET_PORT}$", "ready: true"),
                ),
            ),
            checks=("endpoints", "describe"),
        ),
        Step(
            id="kernel",
            do=(
                Command(
                    text=f"./l4lab ssh {worker} curl -s http://127.0.0.1:10249/proxyMode",
                    shows=(r"^ipvs\b",),
                ),
                Command(text=table, shows=(_backends(facts.REPLICAS),), within=_SOON),
                Command(
                    text=f"./l4lab ssh {worker} ip address show kube-ipvs0 | grep $CIP",
                    shows=(r"inet \S+/32 ",),
                ),
                Command(
                    text=f"./l4lab ssh {worker} nft list map ip kube-proxy service-ips | grep $CIP",
                    shows=(rf"\. tcp \. {facts.PORT} : goto service-\S+/{facts.SERVICE}/",),
                    within=_SOON,
                    mode="nftables",
                ),
            ),
            checks=("proxy-mode", "ipvs-row", "ipvs-scheduler", "ipvs-masq", "kube-ipvs0"),
        ),
        Step(
            id="ask-the-cluster-address",
            do=tuple(
                Command(
                    text=f"./l4lab ssh {node.name} curl -s {url}",
                    shows=("<title>Welcome to nginx!</title>",),
                )
                for node in topology.nodes
            ),
            checks=("service-answers",),
        ),
        Step(
            id="counters",
            do=(
                Command(text=f"{table} --stats --exact", shows=(rf"^TCP +\S+:{facts.PORT} +\d+",)),
                Command(text=f"./l4lab ssh {worker} curl -s -o /dev/null {url}"),
                Command(text="sleep 3"),
                Command(text=f"{table} --stats --exact", shows=(rf"^TCP +\S+:{facts.PORT} +\d+",)),
            ),
            checks=("counters",),
        ),
        Step(
            id="balance",
            do=(
                Command(
                    text=f"./l4lab ssh {worker} curl -s -o /dev/null -H Connection:close "
                    f'"{url}?[1-10]"'
                ),
                Command(
                    text=f"./l4lab ssh {worker} ipvsadm -Lnc | grep $CIP",
                    shows=(rf"^TCP .*:{facts.PORT} +\S+:{facts.TARGET_PORT}",),
                ),
            ),
            checks=("balance",),
        ),
        Step(
            id="first-packet",
            do=(
                Command(
                    text=f"./l4lab ssh {master} curl -s -o /dev/null -w %{{time_connect}} {url}",
                    shows=(r"^\d\.\d+",),
                ),
                Command(
                    text=f"./l4lab ssh {master} nstat -asz TcpExtTCPSynRetrans",
                    shows=(r"^TcpExtTCPSynRetrans +\d+",),
                ),
                Command(
                    text=f"./l4lab ssh {master} ethtool -k vxlan.calico | grep tx-checksum",
                    shows=("tx-checksum-ip-generic: off",),
                ),
            ),
            checks=("first-packet",),
        ),
        Step(
            id="names",
            do=(
                Command(
                    text=f"./l4lab kubectl exec {facts.CLIENT} -- cat /etc/resolv.conf",
                    shows=(
                        rf"^nameserver {topology.networks.dns}$",
                        rf"^search {facts.NAMESPACE}\.svc\.cluster\.local ",
                    ),
                ),
                Command(
                    text=f"./l4lab kubectl exec {facts.CLIENT} -- nslookup {_FULL_NAME}",
                    shows=(rf"^Name:\s+{_FULL_NAME}\nAddress: ",),
                ),
                Command(
                    text=f"./l4lab kubectl exec {facts.CLIENT} -- wget -q -O- "
                    f"{_url(facts.SERVICE)}",
                    shows=("<title>Welcome to nginx!</title>",),
                ),
                Command(
                    text=f"./l4lab ssh {worker} getent hosts {_FULL_NAME}",
                    rc=2,
                    shows=(r"\A\s*\Z",),
                ),
                Command(
                    text=f"./l4lab ssh {worker} dig +short @{topology.networks.dns} {_FULL_NAME}",
                    shows=(r"\A\d+(\.\d+){3}\s*\Z",),
                ),
            ),
            checks=("pod-resolver", "full-name", "short-names", "no-name-on-nodes"),
        ),
        Step(
            id="outside",
            do=tuple(
                Command(
                    text=f"./l4lab {way} curl -sS --connect-timeout 3 {url}",
                    # 7: it has no route to there; 28: it has one, and nobody answers
                    rc=None,
                    shows=(r"^curl: \((7|28)\)",),
                )
                for way in ("exec", *(f"ssh {machine.name}" for machine in topology.databases))
            ),
            checks=("not-from-outside",),
        ),
        Step(
            id="delete-a-pod",
            do=(
                Command(text=f"NAME=$({_PODS} -o jsonpath='{{.items[0].metadata.name}}')"),
                Command(text="./l4lab kubectl delete pod $NAME", shows=(r"^pod .* deleted",)),
                Command(text=ready),
                Command(text=f"{_PODS} -o wide", shows=(r" Running ",)),
                Command(text=table, shows=(_backends(facts.REPLICAS),), within=_SOON),
            ),
            checks=("delete-pod",),
        ),
        Step(
            id="scale",
            do=(
                Command(text=f"./l4lab kubectl scale {kept} --replicas=3"),
                Command(text=ready),
                Command(text=table, shows=(_backends(3),), within=_SOON),
                Command(text=f"./l4lab kubectl scale {kept} --replicas=1"),
                Command(text=table, shows=(_backends(1),), within=_SOON),
                Command(text=f"./l4lab kubectl scale {kept} --replicas=0"),
                Command(text=table, shows=(_backends(0),), within=_SOON),
                # In mode nftables nothing above waits for the kernel: a packet on its way to a pod
                # that has just gone is lost.
                Command(
                    text=f"./l4lab ssh {worker} curl -sS --connect-timeout 3 {url}",
                    rc=7,
                    shows=(r"^curl: \(7\)",),
                    within=_SOON,
                ),
                Command(text=f"./l4lab kubectl scale {kept} --replicas={facts.REPLICAS}"),
                Command(text=ready),
            ),
            checks=("scale-to-one", "scale-to-three", "scale-to-zero"),
        ),
    )


_FULL_NAME = f"{facts.SERVICE}.{facts.NAMESPACE}.svc.cluster.local"


def _url(host: str, port: int = facts.PORT) -> str:
    """The address of a page, without the port where it is the usual one."""
    return f"http://{host}/" if port == 80 else f"http://{host}:{port}/"  # noqa: PLR2004  # HTTP's
