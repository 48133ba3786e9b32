"""The fields of ports[]: port and targetPort, name, protocol, appProtocol."""

from __future__ import annotations

from l4lab.checks import (
    API,
    NODES,
    ONCE,
    Fault,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.service import kernel_row, same_backends

from . import facts
from .scene import (
    CLIENT,
    address_of,
    backends,
    full_name,
    joined,
    said_by_dns,
    served,
    slice_ports,
    way,
)


@check(
    id="port",
    title="port is what clients ask for, targetPort is where the pods listen",
    why="The kernel changes the port on the way; the client never learns the other one.",
    expect=f"an answer at port {facts.CHOSEN_PORT}, REFUSED at port {facts.CONTAINER_PORT}",
    anchor="port",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=way(facts.CHOSEN, facts.CHOSEN_PORT),
)
def port(look: Look) -> Seen:
    """Ask both ports, and read the kernel's row."""
    address = address_of(look, facts.CHOSEN)
    row = kernel_row(look, f"{address}:{facts.CHOSEN_PORT}")
    wanted = [f"{pod.address}:{facts.CONTAINER_PORT}" for pod in backends(look)]
    same_backends(f"the row of {row.address}", [one.address for one in row.live], wanted)
    pods = served(look.curl(f"http://{address}:{facts.CHOSEN_PORT}/", times=facts.REPLICAS))
    other = look.curl(f"http://{address}:{facts.CONTAINER_PORT}/")[0]
    if other.fault is not Fault.REFUSED:
        raise Unmet(
            f"port {facts.CONTAINER_PORT}: {other}",
            fault=other.fault,
            expected=f"REFUSED at {facts.CONTAINER_PORT}: the Service has no such port",
        )
    return Seen(
        f"{row.address} -> {joined(wanted)}: {joined(pods)}; at {facts.CONTAINER_PORT}: "
        f"{other.fault}"
    )


@check(
    id="target-port-name",
    title="a targetPort given by name is looked up in each pod",
    why="A name follows the pod: two versions of it may listen on different ports. Numbers do not.",
    expect=f"{facts.CONTAINER_PORT_NAME} in the Service, {facts.CONTAINER_PORT} in its slice",
    anchor="port",
    vantage=API,
)
def target_port_name(look: Look) -> Seen:
    """Hold the Service's name against the slice's number."""
    said = look.get("Service", facts.CHOSEN)["spec"]["ports"][0]["targetPort"]
    found = [one.get("port") for one in slice_ports(look, facts.CHOSEN)]
    if said != facts.CONTAINER_PORT_NAME or found != [facts.CONTAINER_PORT]:
        raise Unmet(
            f"targetPort {said!r}, in the slice {joined(found)}",
            expected=f"{facts.CONTAINER_PORT_NAME!r}, in the slice {facts.CONTAINER_PORT}",
            causes=("no pod has a port of that name", "the Service was given a number"),
            then=f"./l4lab kubectl describe service {facts.CHOSEN}",
        )
    return Seen(f"targetPort {said} is {found[0]} in the pods")


@check(
    id="port-name",
    title="a port's name can be asked for in DNS",
    why="With several ports each must have a name. It is more than a label: the SRV record under "
    "that name tells a client the number.",
    expect="for the name: its port number, from cluster DNS, and the same name in the slice",
    anchor="name",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def port_name(look: Look) -> Seen:
    """Ask for two of the Service's ports by their names."""
    names = sorted(one.get("name", "") for one in slice_ports(look, facts.PORTS))
    wanted = sorted(one["name"] for one in facts.SERVICES[facts.PORTS]["ports"])
    if names != wanted:
        raise Unmet(f"ports {joined(names)} in the slice", expected=joined(wanted))
    said = []
    for name, number in ((facts.PORT_NAME, facts.PORT), (facts.PLAIN_NAME, facts.SHARED_PORT)):
        asked = f"_{name}._tcp.{full_name(facts.PORTS)}"
        # Priority, weight, port, name.
        numbers = [line.split()[2] for line in said_by_dns(look, asked, "SRV")]
        if numbers != [str(number)]:
            raise Unmet(
                f"{asked}: port {joined(numbers)}",
                fault=Fault.DNS,
                expected=f"port {number}",
                then=f"./l4lab kubectl get service {facts.PORTS} -o yaml",
            )
        said.append(f"{name} is port {number}")
    return Seen(joined(said))


@check(
    id="protocol",
    title="protocol belongs to the port: one number, three ports",
    why="A port is a number and a protocol. Each pair is a row of its own in the kernel.",
    expect=f"rows for TCP, UDP and SCTP at port {facts.SHARED_PORT}, with the same pods",
    anchor="protocol",
    vantage=NODES,
)
def protocol(look: Look) -> Seen:
    """Find the three rows."""
    address = f"{address_of(look, facts.PORTS)}:{facts.SHARED_PORT}"
    wanted = [f"{pod.address}:{facts.CONTAINER_PORT}" for pod in backends(look)]
    for name in ("TCP", "UDP", "SCTP"):
        row = kernel_row(look, address, protocol=name)
        same_backends(f"the row {name} {address}", [one.address for one in row.live], wanted)
    return Seen(f"{address}: TCP, UDP and SCTP -> {joined(wanted)}")


@check(
    id="app-protocol",
    title="appProtocol changes nothing at layer 4",
    why="It is a hint for what works above TCP (a gateway, a mesh). The API server hands it on to "
    "the slice; kube-proxy does not read it.",
    expect="http in the slice of one port and not in the other's; both rows alike in the kernel",
    anchor="app-protocol",
    vantage=NODES,
)
def app_protocol(look: Look) -> Seen:
    """Compare the slice and the kernel's rows of a port with it and of one without."""
    found = {one.get("name"): one.get("appProtocol") for one in slice_ports(look, facts.PORTS)}
    told = {name: found.get(name) for name in (facts.PORT_NAME, facts.PLAIN_NAME)}
    if told != {facts.PORT_NAME: facts.APP_PROTOCOL, facts.PLAIN_NAME: None}:
        raise Unmet(
            joined(f"{name}: {value}" for name, value in told.items()),
            expected=f"{facts.PORT_NAME}: {facts.APP_PROTOCOL}, {facts.PLAIN_NAME}: None",
            then=f"./l4lab kubectl get service {facts.PORTS} -o yaml",
        )
    address = address_of(look, facts.PORTS)
    with_it, without = (
        kernel_row(look, f"{address}:{number}") for number in (facts.PORT, facts.SHARED_PORT)
    )
    same_backends(
        f"the row {with_it.address}",
        [one.address for one in with_it.live],
        [one.address for one in without.live],
    )
    if (with_it.scheduler, with_it.flags) != (without.scheduler, without.flags):
        raise Unmet(
            f"{with_it.scheduler} {with_it.flags}; {without.scheduler} {without.flags}",
            expected="two equal rows",
        )
    return Seen(f"{facts.APP_PROTOCOL} in the slice; {with_it.address} and {without.address} alike")
