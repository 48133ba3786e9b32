"""externalTrafficPolicy Local: the same pods, but each node hands on to its own alone."""

from __future__ import annotations

from l4lab.checks import (
    API,
    DBHOST,
    HOST,
    NODES,
    ONCE,
    Fault,
    Hold,
    Look,
    NotHere,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.ipvs import parse_connections
from l4lab.checks.look import as_typed
from l4lab.checks.network import spoken, tally, worst
from l4lab.checks.service import endpoints, kernel_row, same_backends
from l4lab.topology import Machine
from labs.nodeport import facts
from labs.nodeport.objects import same_service
from labs.nodeport.scene import at_node, backends, own_machine
from labs.nodeport.source import asked

_OTHER_POLICY = "externalTrafficPolicy is not Local"


def _at(node: Machine) -> str:
    return at_node(node, facts.LOCAL_NODE_PORT)


@check(
    id="local-fields",
    title="the second Service takes the same pods, with externalTrafficPolicy Local",
    why="The policy says whether a node may hand what comes from outside to pods of other nodes.",
    expect=f"type NodePort, nodePort {facts.LOCAL_NODE_PORT}, externalTrafficPolicy Local",
    anchor="local",
    vantage=API,
)
def local_fields(look: Look) -> Seen:
    """Compare the fields of the second Service."""
    return same_service(look, facts.LOCAL_SERVICE, node_port=facts.LOCAL_NODE_PORT, policy="Local")


@check(
    id="local-rows",
    title="with policy Local the node port's row holds only the node's own pods, if it has any",
    why="So no packet from outside needs to cross to another node. A node without a pod keeps all "
    "pods in its row, for the sake of its own clients.",
    expect="behind the node port this node's pods, or all where it has none; behind the cluster "
    "address always all",
    anchor="local",
    vantage=NODES,
    mode="ipvs",
)
def local_rows(look: Look) -> Seen:
    """Hold both rows of the second Service against the places of the pods."""
    cluster = look.get("Service", facts.LOCAL_SERVICE)["spec"].get("clusterIP", "")
    pods = backends(look)
    here = [pod for pod in pods if pod.node == look.vantage.name]
    port = _at(own_machine(look))
    wanted = sorted(f"{pod.address}:{facts.TARGET_PORT}" for pod in here or pods)
    outer = [one.address for one in kernel_row(look, port, protocol=facts.PROTOCOL).live]
    then = f"./l4lab ssh {look.vantage.name} ipvsadm -Ln -t {port}"
    same_backends(f"the row of {port}", outer, wanted, then=then)
    inner = [one.address for one in kernel_row(look, f"{cluster}:{facts.PORT}").live]
    same_backends(f"the row of {cluster}", inner, endpoints(look.at(API), facts.LOCAL_SERVICE))
    whose = "its own" if here else "all, having none itself"
    return Seen(f"{port} -> {', '.join(wanted)} ({whose}); {cluster} -> {len(inner)} pods")


@check(
    id="local-answers",
    title="with policy Local only nodes with a pod answer, each from a pod of its own",
    why="Whoever sends clients to nodes, a load balancer for one, must know which of them have a "
    "pod, or part of the clients waits for nothing.",
    expect="HTTP 200 from a pod of the asked node itself, TIMEOUT where there is none",
    anchor="local",
    vantage=(HOST, DBHOST),
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
)
def local_answers(look: Look) -> Seen:
    """Ask all nodes, and hold the answers against the places of the pods."""
    look.get("Service", facts.LOCAL_SERVICE)
    pods = backends(look)
    said = []
    for node in look.topology.nodes:
        here = {pod.name for pod in pods if pod.node == node.name}
        answer = look.curl(f"http://{_at(node)}/")[0]
        then = as_typed(look.vantage, ["curl", f"http://{_at(node)}/"])
        if not here and answer.fault is not Fault.TIMEOUT:
            raise Unmet(
                f"{node.name}, which has no pod: {answer}",
                fault=answer.fault,
                expected=f"TIMEOUT from {_at(node)}",
                causes=(_OTHER_POLICY,),
                then=then,
            )
        if here and answer.fault:
            raise Unmet(f"{node.name}, which has a pod: {answer}", fault=answer.fault, then=then)
        # The web server may name its pod: then it must be one of this node's.
        if here and answer.served_by and answer.served_by not in here:
            raise Unmet(
                f"{node.name} had pod {answer.served_by} of another node answer",
                fault=Fault.WRONG_BACKEND,
                expected=f"an answer of {', '.join(sorted(here))}",
                causes=(_OTHER_POLICY,),
                then=then,
            )
        said.append(f"{node.name}: {answer.served_by or answer}")
    return Seen("; ".join(said))


@check(
    id="source-is-kept",
    title="with policy Local a pod sees the client's own address",
    why="The pod is on the node that was asked, so its answer passes there anyway and nothing "
    "needs to be put in the client's place.",
    expect="in the pods' logs the address that the request left from",
    anchor="local",
    vantage=(HOST, DBHOST),
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
)
def source_is_kept(look: Look) -> Seen:
    """Ask each node that has a pod, and look up what the pods have logged."""
    look.get("Service", facts.LOCAL_SERVICE)
    places = {pod.node for pod in backends(look)}
    clients = set()
    for node in look.topology.nodes:
        if node.name in places:
            answers, found = asked(look, node, facts.LOCAL_NODE_PORT)
            client = answers[0].source.rpartition(":")[0]
            if strange := [source for source in found if source != client]:
                raise Unmet(
                    f"asked through {node.name}, the pods saw {spoken(tally(strange))}",
                    expected=f"the client's own {client}",
                    causes=(_OTHER_POLICY + ": the node puts its own address in",),
                    then=f"./l4lab kubectl get service {facts.LOCAL_SERVICE} -o yaml",
                )
            clients.add(client)
    return Seen(f"{', '.join(clients)} in the logs of pods on {', '.join(sorted(places))}")


@check(
    id="local-lost",
    title="a node without a pod lets the connection hang instead of refusing it",
    why="IPVS hands it to a pod elsewhere with the client's address kept; the pod answers the "
    "client directly, which knows of no connection to a pod and drops the answer.",
    expect="the node itself is served; a client outside waits, its connection in state SYN_RECV",
    anchor="local-lost",
    vantage=NODES,
    verb=eventually(hold=Hold(samples=1, over=0.0)),
    traffic=Traffic.SOME,
    mode="ipvs",
)
def local_lost(look: Look) -> Seen:
    """Ask from the node and from outside, then find the hanging connection in the kernel."""
    look.get("Service", facts.LOCAL_SERVICE)
    if look.vantage.name in {pod.node for pod in backends(look)}:
        raise NotHere("this node has a pod of its own")
    port = _at(own_machine(look))
    if bad := worst(look.curl(f"http://{port}/")):
        raise Unmet(f"the node asked its own {port}: {bad}", fault=bad.fault)
    answer = look.at(HOST).curl(f"http://{port}/")[0]
    if answer.fault is not Fault.TIMEOUT:
        raise Unmet(
            f"{answer} from {port} to a client outside",
            fault=answer.fault,
            expected="TIMEOUT",
            causes=(_OTHER_POLICY,),
        )
    client = str(look.topology.networks.gateway)
    table = look.run(["ipvsadm", "-Lnc"]).stdout
    hanging = [
        entry
        for entry in parse_connections(table)
        if entry.virtual == port and entry.source.rpartition(":")[0] == client
    ]
    if not any(entry.state == "SYN_RECV" for entry in hanging):
        raise Unmet(
            ", ".join(f"{one.source} {one.state}" for one in hanging) or f"nothing from {client}",
            expected=f"a connection from {client} to {port} in state SYN_RECV",
            causes=("a firewall on the way drops the packets before IPVS",),
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -Lnc",
        )
    return Seen(f"HTTP 200 on the node; from outside TIMEOUT, SYN_RECV -> {hanging[0].destination}")
