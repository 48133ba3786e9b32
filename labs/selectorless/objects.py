"""What the API says: Services without selector, and who answers for them in two spellings."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address

from l4lab.checks import API, ONCE, Look, NotHere, Seen, Unmet, check, eventually
from l4lab.checks.diff import differences
from l4lab.checks.look import Json
from l4lab.checks.service import endpoints, same_backends
from labs.selectorless import facts
from labs.selectorless.scene import LABEL, database, real_backend

_MIRRORING = "endpointslicemirroring-controller.k8s.io"
_MANAGED = "endpointslice.kubernetes.io/managed-by"
_DEPRECATED_SINCE = (1, 33)


def _without_selector(look: Look, name: str) -> Seen:
    spec = look.get("Service", name)["spec"]
    port = {"port": facts.PORT, "protocol": facts.PROTOCOL}
    lines = differences({"type": "ClusterIP", "ports": [port]}, spec)
    if spec.get("selector"):
        lines.append(f"selector: expected none, found {spec['selector']!r}")
    if lines:
        raise Unmet(
            "\n".join(lines),
            causes=("the Service was changed after it was deployed",),
            then=f"./l4lab kubectl get service {name} -o yaml",
        )
    return Seen(f"{name}: ClusterIP {spec['clusterIP']}, port {facts.PORT}, no selector")


@check(
    id="no-selector",
    title="the Service has a port and a cluster address, but no selector",
    why="Without a selector no controller looks for pods: the Service is a name and an address, "
    "and who answers is for somebody else to say.",
    expect=f"type ClusterIP, port {facts.PORT}, no selector",
    anchor="service",
    vantage=API,
)
def no_selector(look: Look) -> Seen:
    """Read the Service."""
    return _without_selector(look, facts.SERVICE)


@check(
    id="slice",
    title="an EndpointSlice made by hand names the database's address",
    why=f"The label {LABEL} ties it to the Service, the port's name must be the Service's: kube-"
    "proxy goes by these two and by nothing else.",
    expect="one slice with that label, the Service's port name, and the database's address",
    anchor="slice",
    vantage=API,
)
def slice_made(look: Look) -> Seen:
    """Hold the slice against the Service and the machine."""
    service = look.get("Service", facts.SERVICE)
    then = f"./l4lab kubectl get endpointslice {facts.SLICE} -o yaml"
    found = look.find("EndpointSlice", {LABEL: facts.SERVICE})
    if len(found) != 1:
        raise Unmet(
            f"{len(found)} EndpointSlices carry {LABEL}={facts.SERVICE}",
            expected="exactly one",
            causes=("the label is missing or misspelled", "there is an Endpoints object as well"),
            then="./l4lab kubectl get endpointslices --show-labels",
        )
    wanted = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": [str(database(look).address)]}],
        "ports": [
            {
                "name": service["spec"]["ports"][0].get("name", ""),
                "port": facts.PORT,
                "protocol": facts.PROTOCOL,
            }
        ],
    }
    lines = differences(wanted, found[0])
    first: Json = next(iter(found[0].get("endpoints") or []), {})
    if target := first.get("targetRef"):
        lines.append(f"targetRef: expected none, found {target['kind']} {target['name']}")
    if lines:
        raise Unmet(
            "\n".join(lines),
            causes=("the slice was changed after it was deployed",),
            then=then,
        )
    return Seen(f"{found[0]['metadata']['name']}: {real_backend(look)}, no pod behind it")


@check(
    id="on-the-node-network",
    title="the endpoint lies outside the pod network and outside the service network",
    why="The address behind the Service is that of a machine: the Service is a door out of the "
    "cluster, with a name that pods can use.",
    expect="an address of the node network",
    anchor="slice",
    vantage=API,
)
def on_the_node_network(look: Look) -> Seen:
    """Hold the endpoints against the three networks."""
    look.get("Service", facts.SERVICE)
    networks = look.topology.networks
    found = [one.partition(":")[0] for one in endpoints(look, facts.SERVICE)]
    if not found:
        raise Unmet("there is no endpoint", then="./l4lab kubectl get endpointslices")
    odd = [one for one in found if IPv4Address(one) not in networks.nodes]
    if odd:
        raise Unmet(f"{', '.join(odd)} is not in {networks.nodes}")
    return Seen(f"{', '.join(found)} in {networks.nodes}")


@check(
    id="describe",
    title="kubectl describe shows the database as the Service's endpoint",
    why="Who answers for a Service is told in one line, with selector or without.",
    expect="the line Endpoints names the database's address and port",
    anchor="slice",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def describe(look: Look) -> Seen:
    """Read the lines a learner reads."""
    look.get("Service", facts.SERVICE)
    text = look.kubectl("describe", "service", facts.SERVICE, "-n", facts.NAMESPACE).stdout
    line = next((line for line in text.splitlines() if line.startswith("Endpoints:")), "")
    same_backends("the line Endpoints", re.findall(r"[\d.]+:\d+", line), [real_backend(look)])
    return Seen(" ".join(line.split()))


def _endpoints_objects(look: Look, name: str) -> tuple[list[Json], str]:
    """The Endpoints objects of that name (none or one), and what the API server warned of."""
    only = f"--field-selector=metadata.name={name}"
    result = look.kubectl("get", "endpoints", only, "-n", facts.NAMESPACE, "-o", "json")
    found: list[Json] = json.loads(result.stdout)["items"]
    return found, result.stderr


@check(
    id="classic",
    title="the old way: an Endpoints object with the Service's name",
    why="Before there were slices, the object's name was the tie; it still works, on a Service of "
    "its own here, since two answers for one Service would both be used.",
    expect=f"Endpoints {facts.CLASSIC} with the database's address, none for {facts.SERVICE}",
    anchor="classic",
    vantage=API,
)
def classic(look: Look) -> Seen:
    """Read the Endpoints objects of both Services."""
    seen = _without_selector(look, facts.CLASSIC)
    found, _ = _endpoints_objects(look, facts.CLASSIC)
    named = [
        f"{address['ip']}:{port['port']}"
        for item in found
        for subset in item.get("subsets") or []
        for address in subset.get("addresses") or []
        for port in subset.get("ports") or []
    ]
    same_backends(
        f"Endpoints {facts.CLASSIC}",
        named,
        [real_backend(look)],
        then=f"./l4lab kubectl get endpoints {facts.CLASSIC} -o yaml",
    )
    if _endpoints_objects(look, facts.SERVICE)[0]:
        raise Unmet(
            f"Service {facts.SERVICE} has an Endpoints object besides its slice",
            causes=("both ways were used for one Service: its endpoints are mirrored as well",),
            then=f"./l4lab kubectl delete endpoints {facts.SERVICE}",
        )
    return Seen(f"{seen.text}; Endpoints {', '.join(named)}")


@check(
    id="mirrored",
    title="a controller copies the Endpoints object into an EndpointSlice",
    why="kube-proxy reads slices only; what is in Endpoints reaches it because the control plane "
    "keeps a mirror of it.",
    expect="one slice managed by the mirroring controller, with the same address and port",
    anchor="classic",
    vantage=API,
)
def mirrored(look: Look) -> Seen:
    """Look for the mirror, and who keeps it."""
    look.get("Service", facts.CLASSIC)
    found = look.find("EndpointSlice", {LABEL: facts.CLASSIC})
    keepers = [item["metadata"]["labels"].get(_MANAGED, "nobody") for item in found]
    if keepers != [_MIRRORING]:
        raise Unmet(
            f"the slices of {facts.CLASSIC} are managed by {', '.join(keepers) or 'no one'}",
            expected=f"one, managed by {_MIRRORING}",
            causes=("there is no Endpoints object", "a slice was made by hand as well"),
            then=f"./l4lab kubectl get endpointslices -l {LABEL}={facts.CLASSIC} -o yaml",
        )
    same_backends("the mirror", endpoints(look, facts.CLASSIC), [real_backend(look)])
    return Seen(f"{found[0]['metadata']['name']}, kept by {_MIRRORING}")


@check(
    id="deprecated",
    title="the API server warns whoever uses Endpoints",
    why="Endpoints is deprecated since Kubernetes 1.33: it keeps working, but new things should "
    "make slices.",
    expect="a warning with each answer",
    anchor="classic",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def deprecated(look: Look) -> Seen:
    """Read what kubectl prints beside the answer."""
    look.get("Service", facts.CLASSIC)
    server = json.loads(look.kubectl("version", "-o", "json").stdout)["serverVersion"]
    version = int(server["major"]), int(server["minor"].rstrip("+"))
    if version < _DEPRECATED_SINCE:
        raise NotHere(f"Kubernetes {server['gitVersion']} does not warn yet")
    _, warned = _endpoints_objects(look, facts.CLASSIC)
    if "deprecated" not in warned:
        raise Unmet("no warning came with the answer")
    return Seen(warned.strip().splitlines()[0])
