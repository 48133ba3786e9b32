"""What the API server says to wrong values: asked by dry run, so that nothing is made."""

from __future__ import annotations

from l4lab.checks import API, ONCE, Look, Seen, Unmet, check, eventually

from . import facts
from .scene import Json, joined

# What the API server has filled in, and would give another Service anew.
_FILLED_IN = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def copy_of(look: Look, service: str, change: Json) -> Json:
    """A new Service like one of the lab's, with some fields of its spec replaced.

    A null in ``change`` leaves the field out. What was given to the other one alone, its address
    and its node ports, the copy asks for anew.
    """
    spec = dict(look.at(API).get("Service", service)["spec"])
    headless = spec.get("clusterIP") == "None"
    for field in _FILLED_IN:
        if field != "clusterIP" or not headless:
            spec.pop(field, None)
    ports = [dict(port) for port in spec.get("ports", [])]
    for port in ports:
        port.pop("nodePort", None)
    spec = {**spec, "ports": ports, **change}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": facts.TRIED},
        "spec": {field: value for field, value in spec.items() if value is not None},
    }


def _all_refused(look: Look, field: str) -> Seen:
    """Try the copies with a wrong value in that field; each must be refused for that very reason.

    An unchanged copy goes first: where that is refused too, a refusal proves nothing.
    """
    cases = facts.WRONG[field]
    for name in dict.fromkeys(case["of"] for case in cases):
        plain = look.dry_run(copy_of(look, name, {}))
        if not plain.accepted:
            raise Unmet(
                f"even an unchanged copy of {name} is refused: {plain.message}",
                causes=("the Service was changed after it was deployed",),
                then="./l4lab deploy service-fields",
            )
    for case in cases:
        verdict = look.dry_run(copy_of(look, case["of"], case["with"]))
        if verdict.accepted or case["says"] not in verdict.message:
            raise Unmet(
                f"{case['what']}: {verdict.message or 'accepted'}",
                expected=f"{case['what']}: refused, with {case['says']!r}",
            )
    return Seen(f"refused: {joined(case['what'] for case in cases)}")


@check(
    id="wrong-cluster-ip",
    title="a clusterIP must be a free address of the range, or None",
    why="The message names the range: read it to the end.",
    expect="refused: an address of another range, what is no address, None for a NodePort",
    anchor="cluster-ip",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_cluster_ip(look: Look) -> Seen:
    """Try wrong addresses."""
    return _all_refused(look, "cluster-ip")


@check(
    id="wrong-port",
    title="a port must be a number from 1 to 65535, once for each protocol",
    why="Two rows with the same address, port and protocol would be one row in the kernel.",
    expect="refused: port 0, no port at all, the same port and protocol twice",
    anchor="port",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_port(look: Look) -> Seen:
    """Try wrong ports."""
    return _all_refused(look, "port")


@check(
    id="wrong-target-port",
    title="a targetPort in quotes is a name, even if it looks like a number",
    why="Names need a letter, so that nobody takes a number for one; and they are short.",
    expect="refused: a number in quotes, a name of more than 15 characters",
    anchor="port",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_target_port(look: Look) -> Seen:
    """Try wrong names."""
    return _all_refused(look, "target-port")


@check(
    id="wrong-name",
    title="of several ports each needs a name of its own",
    why="Slices, DNS and Ingresses tell ports apart by name.",
    expect="refused: a name twice, a port without one beside another, capital letters",
    anchor="name",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_name(look: Look) -> Seen:
    """Try wrong names."""
    return _all_refused(look, "name")


@check(
    id="wrong-protocol",
    title="protocol is TCP, UDP or SCTP, in capitals",
    why="HTTP is no protocol of layer 4: it belongs in appProtocol.",
    expect="refused: HTTP, tcp",
    anchor="protocol",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_protocol(look: Look) -> Seen:
    """Try wrong protocols."""
    return _all_refused(look, "protocol")


@check(
    id="wrong-app-protocol",
    title="appProtocol may be any name, but must be a name",
    why="Since nobody at layer 4 reads it, the API server checks its spelling only.",
    expect="refused: a text with a space",
    anchor="app-protocol",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_app_protocol(look: Look) -> Seen:
    """Try a text that is no name."""
    return _all_refused(look, "app-protocol")


@check(
    id="wrong-selector",
    title="a selector is pairs of label and value",
    why="A value that no label could have is refused; one that no pod has is not.",
    expect="refused: a value with a space, a text instead of pairs",
    anchor="selector",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_selector(look: Look) -> Seen:
    """Try what no pod can carry."""
    return _all_refused(look, "selector")


@check(
    id="wrong-type",
    title="there are four types, each spelled in one way",
    why="A type decides who can reach the Service, so a misspelled one is not guessed at.",
    expect="refused: Nodeport",
    anchor="type",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_type(look: Look) -> Seen:
    """Try a misspelled type."""
    return _all_refused(look, "type")


@check(
    id="wrong-node-port",
    title="a node port is one Service's alone, and not for every type",
    why="It is a port on all nodes, so two Services cannot share it.",
    expect="refused: a taken port, any port for type ClusterIP",
    anchor="type",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_node_port(look: Look) -> Seen:
    """Try wrong node ports."""
    return _all_refused(look, "node-port")


@check(
    id="wrong-affinity",
    title="affinity is None or ClientIP, for one second to one day",
    why="There is no affinity by cookie at layer 4: only addresses are seen there.",
    expect="refused: Client, 0 seconds, more than 86400 seconds",
    anchor="session-affinity",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def wrong_affinity(look: Look) -> Seen:
    """Try wrong affinities."""
    return _all_refused(look, "affinity")


@check(
    id="course-example",
    title="port is no field of a Service: ports is",
    why="A misspelled field is refused, not ignored: kubectl asks for strict decoding by default.",
    expect="refused: the course's headless Service, for its field port",
    anchor="course-example",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def course_example(look: Look) -> Seen:
    """Try the course's example."""
    return _all_refused(look, "course-example")


@check(
    id="affinity-without-proxy",
    title="ClientIP affinity of a headless Service is accepted, and does nothing",
    why="Affinity is kept by the proxy, in the row of the cluster address. A headless Service has "
    "neither: the client gets all addresses from DNS and chooses by itself.",
    expect="accepted with a warning, ClientIP kept in the object and clusterIP still None",
    anchor="course-example",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def affinity_without_proxy(look: Look) -> Seen:
    """Try the course's example with its spelling mended."""
    verdict = look.dry_run(copy_of(look, facts.HEADLESS, {"sessionAffinity": "ClientIP"}))
    if not verdict.accepted:
        raise Unmet(verdict.message, expected="accepted")
    spec = verdict.object["spec"]
    kept = (spec.get("clusterIP"), spec.get("sessionAffinity"))
    if kept != ("None", "ClientIP") or facts.NO_PROXY_WARNING not in verdict.warnings:
        raise Unmet(
            f"clusterIP {kept[0]}, sessionAffinity {kept[1]}, warnings: {joined(verdict.warnings)}",
            expected=f"None, ClientIP, and the warning {facts.NO_PROXY_WARNING!r}",
        )
    return Seen(f"accepted; {facts.NO_PROXY_WARNING}")
