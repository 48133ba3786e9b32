"""What happens to requests: they go straight to the pods, and no port is translated."""

from __future__ import annotations

from l4lab.checks import (
    API,
    ONCE,
    CannotMeasure,
    Fault,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.kernel import connections, title
from l4lab.checks.path import path_from_pod
from l4lab.checks.service import node_of
from labs.headless import facts
from labs.headless.scene import CLIENT, backends, full_name, name_of


@check(
    id="direct",
    title="a request to a pod's name goes straight to that pod",
    why="No kernel chooses and no address is rewritten: what DNS has answered is what the client "
    "connects to.",
    expect="an answer of that very pod, and no kernel that chose it",
    anchor="direct",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
)
def direct(look: Look) -> Seen:
    """Ask each pod by name, and look for the connections where they would be balanced."""
    look.get("Service", facts.SERVICE)
    node = node_of(look)
    if node is None:
        raise CannotMeasure(f"pod {facts.CLIENT} is on no node yet")
    sources = set()
    for pod in backends(look):
        answer = look.curl(f"http://{name_of(look, pod.name)}:{facts.TARGET_PORT}/")[0]
        if answer.fault:
            raise Unmet(f"{pod.name}: {answer}", fault=answer.fault)
        if answer.served_by and answer.served_by != pod.name:
            raise Unmet(
                f"{pod.name} was asked, {answer.served_by} answered",
                fault=Fault.WRONG_BACKEND,
            )
        sources.add(answer.source)
    balanced = [one for one in connections(look.at(node)) if one.source in sources]
    if balanced:
        raise Unmet(
            f"{title(look)} of {node.name} has {balanced[0].source} -> {balanced[0].virtual}",
            expected=f"nothing of these connections in {title(look)}",
            then=path_from_pod(look, facts.CLIENT, facts.SERVICE),
        )
    return Seen(
        f"{len(sources)} connections from {facts.CLIENT}, none in {title(look)} of {node.name}"
    )


@check(
    id="no-translation",
    title="the Service's port leads nowhere: only the pods' own port answers",
    why="Translating port to targetPort is the proxy's work, and here is no proxy.",
    expect=f"REFUSED on port {facts.PORT}, HTTP 200 on port {facts.TARGET_PORT}",
    anchor="no-translation",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
)
def no_translation(look: Look) -> Seen:
    """Ask the name on both ports."""
    ports = look.at(API).get("Service", facts.SERVICE)["spec"]["ports"]
    if facts.PORT not in [port["port"] for port in ports]:
        raise Unmet(f"the Service has port {ports[0]['port']}", expected=f"port {facts.PORT}")
    good = look.curl(f"http://{full_name(look)}:{facts.TARGET_PORT}/")[0]
    if good.fault:
        raise Unmet(f"port {facts.TARGET_PORT}: {good}", fault=good.fault)
    answer = look.curl(f"http://{full_name(look)}:{facts.PORT}/")[0]
    if answer.fault is not Fault.REFUSED:
        raise Unmet(
            f"port {facts.PORT}: {answer}",
            fault=answer.fault,
            expected=f"REFUSED on port {facts.PORT}",
            causes=("the Service has a cluster address", "the pods listen on that port, too"),
            then=f"./l4lab kubectl get service {facts.SERVICE}",
        )
    return Seen(f"{facts.PORT} {answer.fault}, {facts.TARGET_PORT} {good}")
