"""Who can use the Service: pods by its name, nodes by its address, nobody from outside."""

from __future__ import annotations

from dataclasses import replace

from l4lab.checks import (
    API,
    DBHOST,
    HOST,
    NODES,
    ONCE,
    CannotMeasure,
    Fault,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    consistently,
    eventually,
    never,
    side_by_side,
)
from l4lab.checks.look import as_typed
from l4lab.checks.network import read_nslookup, read_wget, wget_argv
from l4lab.checks.path import outside_reason, path_from_pod
from l4lab.checks.service import cluster_address
from l4lab.command import Result
from labs.clusterip import facts
from labs.clusterip.scene import CLIENT, WAY, service_at

_DNS_CAUSES = ("CoreDNS has no ready pod", "the pod does not ask cluster DNS")
_DNS_NEXT = "./l4lab kubectl get pods -n kube-system -l k8s-app=kube-dns"


def names_of(look: Look) -> tuple[str, ...]:
    """The Service's name in all its forms, the shortest first, the full one last."""
    namespaced = f"{facts.SERVICE}.{look.namespace}"
    return facts.SERVICE, namespaced, f"{namespaced}.svc", f"{namespaced}.svc.cluster.local"


def full_name_of(look: Look) -> str:
    """The Service's full name."""
    return names_of(look)[-1]


@check(
    id="pod-resolver",
    title="a pod is told to ask cluster DNS, and where short names continue",
    why="kubelet writes the pod's resolv.conf: its search list is what makes short names work.",
    expect="cluster DNS as nameserver, and the namespace's domain in the search list",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def pod_resolver(look: Look) -> Seen:
    """Read the pod's resolv.conf."""
    result = _in_pod(look, ["cat", "/etc/resolv.conf"])
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    servers = [words[1] for words in lines if words[0] == "nameserver"]
    search = [word for words in lines if words[0] == "search" for word in words[1:]]
    dns, domain = str(look.topology.networks.dns), f"{look.namespace}.svc.cluster.local"
    if servers != [dns] or domain not in search:
        raise Unmet(
            f"nameserver {' '.join(servers)}, search {' '.join(search)}",
            expected=f"nameserver {dns}, and {domain} in the search list",
            causes=("the pod's dnsPolicy is not ClusterFirst", "kubelet's clusterDNS is wrong"),
            then=f"./l4lab kubectl get pod {facts.CLIENT} -o yaml",
        )
    return Seen(f"nameserver {dns}, search {' '.join(search)}")


@check(
    id="full-name",
    title="the full name gives the cluster address, in a pod",
    why="A Service's name stays while pods come and go, and even when its address changes.",
    expect="the cluster address and no other",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def full_name(look: Look) -> Seen:
    """Ask cluster DNS from the pod; its answer counts, not nslookup's exit code."""
    address = cluster_address(look.at(API), facts.SERVICE)
    name = full_name_of(look)
    result = _in_pod(look, ["nslookup", name])
    found = read_nslookup(result.stdout)
    if found != [address]:
        raise Unmet(
            ", ".join(found) or result.last_line or "no answer",
            fault=Fault.DNS,
            expected=f"{name} is {address}",
            causes=_DNS_CAUSES,
            then=_DNS_NEXT,
        )
    return Seen(f"{name} is {address}")


@check(
    id="short-names",
    title="a pod reaches the Service by its full name and by all its short forms",
    why="Inside a namespace the Service's bare name is enough: the search list adds the rest.",
    expect="each form gives the cluster address, and an answer",
    anchor="names",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def short_names(look: Look) -> Seen:
    """Fetch the page by each name."""
    address = cluster_address(look.at(API), facts.SERVICE)

    def fetch(look: Look, name: str) -> None:
        fetched = read_wget(_in_pod(look, wget_argv(f"http://{name}:{facts.PORT}/")))
        if fetched.fault is None and fetched.address != address:
            raise Unmet(f"{name} is {fetched.address}", fault=Fault.DNS, expected=f"{address}")
        if fetched.fault:
            dns = fetched.fault is Fault.DNS
            raise Unmet(
                f"{name}: {fetched.message}",
                fault=fetched.fault,
                causes=_DNS_CAUSES if dns else (),
                then=_DNS_NEXT if dns else path_from_pod(look, facts.CLIENT, name),
            )

    names = names_of(look)
    side_by_side(look, fetch, names)
    return Seen(f"{', '.join(names)}: all {address}")


def _in_pod(look: Look, argv: list[str]) -> Result:
    """Run a command in the client pod.

    Raises:
        CannotMeasure: The pod is not there or does not run, so nothing was asked.
    """
    pod = look.get("Pod", look.vantage.name)
    phase = pod.get("status", {}).get("phase")
    if phase != "Running":
        raise CannotMeasure(
            f"pod {look.vantage.name} is {phase}",
            then=f"./l4lab kubectl describe pod {look.vantage.name}",
        )
    result = look.run(argv)
    if not result.succeeded and result.stderr.startswith(("error:", "Error from server")):
        raise CannotMeasure(f"kubectl exec into {look.vantage.name}: {result.last_line}")
    # kubectl adds a line of its own, which says nothing about what was asked.
    lines = result.stderr.splitlines(keepends=True)
    told = "".join(line for line in lines if not line.startswith("command terminated"))
    return replace(result, stderr=told)


@check(
    id="no-name-on-nodes",
    title="a node does not know the Service's name",
    why="Nodes ask their own name server, not cluster DNS: names of Services are for pods.",
    expect="the node's resolver does not find the name, although cluster DNS knows it",
    anchor="names",
    vantage=NODES,
    verb=never(for_=0),
)
def no_name_on_nodes(look: Look) -> Seen:
    """Make sure that cluster DNS answers this node, then ask the node's own resolver."""
    address = cluster_address(look.at(API), facts.SERVICE)
    server, name = look.topology.networks.dns, full_name_of(look)
    direct = look.run(["dig", "+short", "+tries=3", "+time=2", f"@{server}", name, "A"])
    if address not in direct.stdout.split():
        raise CannotMeasure(
            f"cluster DNS at {server} does not answer this node: {direct.last_line or 'nothing'}",
            then=_DNS_NEXT,
        )
    words = ["env", "RES_OPTIONS=timeout:1 attempts:1", "getent", "hosts", name]
    result = look.run(words, shown=["getent", "hosts", name])
    if result.succeeded:
        return Seen(f"the node's resolver finds it: {result.stdout.strip()}")
    raise Unmet(f"not found here; cluster DNS, asked directly, says {address}")


@check(
    id="not-from-outside",
    title="the cluster address is not reachable from outside the cluster",
    why="Only the kernels of nodes know what a cluster address means; NodePort opens the way in.",
    expect="no answer from the cluster address, while a node's own address does answer",
    anchor="outside",
    vantage=(HOST, DBHOST),
    verb=consistently(for_=0),
)
def not_from_outside(look: Look) -> Seen:
    """Prove that the nodes can be reached from here, then ask the cluster address."""
    node = look.topology.control_plane
    near = look.curl(f"https://{node.address}:6443/version")[0]
    if not near.status:
        raise CannotMeasure(
            f"{node.name} itself cannot be reached from here ({near}), which proves nothing",
            then="./l4lab status",
        )
    address = service_at(look)
    answer = look.curl(f"http://{address}/")[0]
    route = outside_reason(look, address.partition(":")[0])
    if answer.status:
        raise Unmet(
            f"HTTP {answer.status} from http://{address}/",
            causes=("this place has a route to the service network", "it is a node itself"),
            then=as_typed(look.vantage, ["ip", "route", "get", address.partition(":")[0]]),
        )
    if answer.fault not in (Fault.TIMEOUT, Fault.UNREACHABLE):
        raise Unmet(
            f"{answer}, over {route}",
            fault=answer.fault,
            expected="no way there at all: TIMEOUT or UNREACHABLE",
            causes=("something on the way knows the address and refuses the connection",),
        )
    return Seen(f"{answer.fault}, while {node.name} answers at {node.address} ({route})")
