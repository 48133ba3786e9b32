"""What the API and the kernels say: pods with numbers, a Service without an address."""

from __future__ import annotations

from l4lab.checks import API, NODES, Look, Seen, Unmet, check, kernel
from l4lab.checks.service import endpoints, same_backends
from labs.headless import facts
from labs.headless.scene import backends


@check(
    id="pods",
    title="the pods are numbered, and ready",
    why="A StatefulSet names its pods by number, and a replaced pod gets its name again: names "
    "that can be relied upon are what a headless Service is mostly for.",
    expect=", ".join(f"{facts.SERVICE}-{number}" for number in range(facts.REPLICAS)),
    anchor="pods",
    vantage=API,
)
def pods(look: Look) -> Seen:
    """Read the pods' names."""
    found = {pod.name: pod.address for pod in backends(look)}
    if set(found) != {f"{facts.SERVICE}-{number}" for number in range(facts.REPLICAS)}:
        raise Unmet(
            ", ".join(found),
            causes=("another pod carries the label",),
            then="./l4lab kubectl get pods --show-labels",
        )
    return Seen(", ".join(f"{name} at {address}" for name, address in found.items()))


@check(
    id="no-address",
    title="the Service has no address of its own",
    why="clusterIP None says: give clients the pods' addresses, and keep out of their way.",
    expect="clusterIP None",
    anchor="service",
    vantage=API,
)
def no_address(look: Look) -> Seen:
    """Read the one field that makes a Service headless."""
    found = look.get("Service", facts.SERVICE)["spec"].get("clusterIP")
    if found != "None":
        raise Unmet(
            f"clusterIP {found}",
            causes=("the Service was made anew without clusterIP: None",),
            then=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
        )
    return Seen("clusterIP None")


@check(
    id="endpoints",
    title="the EndpointSlice lists the ready pods, each with its name",
    why="Nobody but DNS reads it here; the pods' names in it become names in DNS.",
    expect="address, port and host name of each pod",
    anchor="endpoints",
    vantage=API,
)
def slice_follows(look: Look) -> Seen:
    """Hold the slices against the pods."""
    look.get("Service", facts.SERVICE)
    wanted = {f"{pod.address}:{facts.TARGET_PORT}": pod.name for pod in backends(look)}
    then = f"./l4lab kubectl describe service {facts.SERVICE}"
    found = endpoints(look, facts.SERVICE)
    same_backends("the EndpointSlice", found, wanted, then=then)
    named = {
        endpoint["addresses"][0]: endpoint.get("hostname", "")
        for item in look.find("EndpointSlice", {"kubernetes.io/service-name": facts.SERVICE})
        for endpoint in item.get("endpoints") or []
    }
    for address, pod in wanted.items():
        if (told := named.get(address.partition(":")[0])) != pod:
            raise Unmet(f"{address} has host name {told or 'none'}", expected=pod, then=then)
    return Seen(", ".join(f"{address} {pod}" for address, pod in wanted.items()))


@check(
    id="no-row",
    title="no kernel has a row for the Service",
    why="Without an address there is nothing to balance: kube-proxy passes a headless Service by.",
    expect="no row, in any node's kernel, with one of the pods behind it",
    anchor="kernel",
    vantage=NODES,
)
def no_row(look: Look) -> Seen:
    """Look for the pods behind any row of this node."""
    look.get("Service", facts.SERVICE)
    own = {f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)}
    rows = kernel.rows(look).values()
    found = [row.address for row in rows if own & {one.address for one in row.backends}]
    if found:
        raise Unmet(
            f"rows for {', '.join(found)}",
            causes=("the Service has a cluster address", "another Service selects the pods"),
            then=kernel.see(look),
        )
    return Seen(f"{len(rows)} rows, none of them with {' or '.join(sorted(own))}")
