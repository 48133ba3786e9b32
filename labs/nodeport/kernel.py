"""What the kernel of every node holds: rows for the node port on the node's own addresses."""

from __future__ import annotations

import json

from l4lab.checks import (
    HOST,
    NODES,
    ONCE,
    Fault,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
    kernel,
)
from l4lab.checks.network import worst
from l4lab.checks.service import at_rest, kernel_row, same_backends, stats
from labs.nodeport import facts
from labs.nodeport.scene import WAY, WAY_IN, at_node, backends, own_machine, service_at

REQUESTS = 4
# kube-proxy's own: it holds the cluster addresses, which take no node port.
_CLUSTER_ADDRESSES = "kube-ipvs0"


def own_addresses(look: Look) -> dict[str, str]:
    """Every IPv4 address of this node but loopback's and the cluster addresses: its interface."""
    found = json.loads(look.read(["ip", "-j", "-4", "address", "show"]).stdout)
    return {
        entry["local"]: link["ifname"]
        for link in found
        if link["ifname"] != _CLUSTER_ADDRESSES
        for entry in link.get("addr_info", [])
        if not entry["local"].startswith("127.")
    }


def _rows(look: Look, port: int) -> set[str]:
    """The addresses on which IPVS of this node takes the port."""
    found_rows = kernel.rows(look)
    found = (
        address.rpartition(":") for protocol, address in found_rows if protocol == facts.PROTOCOL
    )
    return {ip for ip, _, taken in found if taken == str(port)}


@check(
    id="ipvs-rows",
    title="IPVS takes the node port on every address of the node, with both pods behind it",
    why="A node port is no listening socket: it is one more row in the kernel for each address "
    "that the node itself has, the one of the pod network included.",
    expect="a row for each address of the node but 127.0.0.1, and in each exactly the endpoints",
    anchor="kernel",
    vantage=NODES,
    path=WAY[:2],
    mode="ipvs",
)
def rows(look: Look) -> Seen:
    """Hold the kernel's rows against the node's addresses, and their backends against the API."""
    look.get("Service", facts.SERVICE)
    own = own_addresses(look)
    then = f"./l4lab ssh {look.vantage.name} ipvsadm -Ln"
    found = _rows(look, facts.NODE_PORT)
    if found != set(own):
        raise Unmet(
            f"rows for port {facts.NODE_PORT} on {', '.join(sorted(found)) or 'no address'}",
            expected=f"on {', '.join(sorted(own))}",
            causes=(
                "the Service has another nodePort, or is not of type NodePort",
                f"kube-proxy does not run on {look.vantage.name}, or has not caught up",
                "kube-proxy's nodePortAddresses names other addresses",
            ),
            then=then,
        )
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)]
    for address in own:
        row = kernel_row(look, f"{address}:{facts.NODE_PORT}", protocol=facts.PROTOCOL)
        live = [backend.address for backend in row.live]
        same_backends(f"the row of {address}", live, wanted, then=then)
    listed = ", ".join(f"{address} ({link})" for address, link in sorted(own.items()))
    return Seen(f"{listed} -> {', '.join(sorted(wanted))}")


@check(
    id="localhost",
    title="127.0.0.1 does not answer on the node port, the node's own address does",
    why="In IPVS mode kube-proxy makes no row for the loopback address, and no process listens.",
    expect="REFUSED from 127.0.0.1, HTTP 200 from the node's address",
    anchor="localhost",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY_IN,
    mode="ipvs",
)
def localhost(look: Look) -> Seen:
    """Ask the node's own address first: without it the refusal would prove nothing."""
    look.get("Service", facts.SERVICE)
    own = at_node(own_machine(look))
    if bad := worst(look.curl(f"http://{own}/")):
        raise Unmet(f"the node's own {own}: {bad}", fault=bad.fault)
    answer = look.curl(f"http://127.0.0.1:{facts.NODE_PORT}/")[0]
    if answer.fault is not Fault.REFUSED:
        raise Unmet(
            f"127.0.0.1:{facts.NODE_PORT}: {answer}",
            fault=answer.fault,
            expected="REFUSED",
            causes=("a process of the node listens on that port",),
            then=f"./l4lab ssh {look.vantage.name} ss -ltnp",
        )
    return Seen(f"127.0.0.1 {answer.fault}, {own} HTTP 200")


@check(
    id="counters",
    title="the counters of the node port's row move with the requests from outside",
    why="Which row moves tells which address the client asked: each address has its own.",
    expect=f"{REQUESTS} more connections in the row of the node's address, none at the "
    "cluster address",
    anchor="counters",
    vantage=NODES,
    verb=eventually(within=8, hold=ONCE),
    traffic=Traffic.COUNTED,
    path=WAY_IN,
    mode="ipvs",
)
def counters(look: Look) -> Seen:
    """Count connections in this node's kernel around requests made from outside."""
    port, inside = at_node(own_machine(look)), service_at(look)
    before, before_inside = at_rest(look, lambda: (stats(look, port), stats(look, inside)))
    if bad := worst(look.at(HOST).curl(f"http://{port}/", times=REQUESTS)):
        raise Unmet(f"a request from outside to {port} failed: {bad}", fault=bad.fault)
    moved = stats(look, port).since(before)
    # The kernel brings these numbers up to date every two seconds only.
    for _ in range(20):
        if min(moved.total, sum(moved.backends.values())) >= REQUESTS:
            break
        look.pause(0.25)
        moved = stats(look, port).since(before)
    others = stats(look, inside).since(before_inside).total
    shares = {backend: count for backend, count in moved.backends.items() if count}
    if (moved.total, sum(shares.values()), others) != (REQUESTS, REQUESTS, 0):
        raise Unmet(
            f"{moved.total} connections in the row of {port}, {sum(shares.values())} in its "
            f"backends, {others} at {inside}",
            expected=f"{REQUESTS}, {REQUESTS} and none",
            counts=shares,
            causes=("somebody else sends requests to the Service through this node",),
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -Ln --stats --exact",
        )
    return Seen(f"{REQUESTS} requests, {moved.total} connections at {port}", shares)
