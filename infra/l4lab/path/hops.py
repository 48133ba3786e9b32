"""From what was measured to the hops of a path: the same values, in words a learner reads."""

from __future__ import annotations

from collections.abc import Callable

from l4lab.checks.look import as_typed
from l4lab.checks.model import Vantage, Where
from l4lab.path.judge import death
from l4lab.path.measured import Kind, Measured
from l4lab.path.model import Death, Hop, Mark, PacketPath
from l4lab.path.probe import scheme
from l4lab.path.wire import Tracked

_ORDER = ("client", "dns", "address", "route", "proxy", "nat", "wire", "backend", "answer")
_Rows = list[tuple[str, str]]


def assemble(found: Measured) -> PacketPath:
    """The path that the measurements tell."""
    ended = death(found)
    outcome = found.outcome
    hops = [hop for make in _MAKERS for hop in [make(found)] if hop]
    return PacketPath(
        client=found.client.text,
        target=found.target.text,
        protocol=found.target.protocol,
        hops=tuple(_marked(hop, ended) for hop in hops),
        death=ended,
        source=_source(found),
        destination=found.destination,
        node=found.handler if found.virtual else "",
        backend=found.backend,
        pod=str(found.pod) if found.pod else "",
        pod_node=found.backend_node,
        masqueraded=found.tracked.masqueraded if found.tracked else None,
        answer=outcome.said if outcome and not outcome.fault else "",
        seconds=round(outcome.seconds, 4) if outcome else 0.0,
    )


def _marked(hop: Hop, ended: Death | None) -> Hop:
    if ended is None or _ORDER.index(hop.id) < _ORDER.index(ended.hop):
        return hop
    if hop.id == ended.hop:
        rows = (*hop.rows, (str(ended.fault), ended.seen))
        return Hop(
            id=hop.id, title=hop.title, place=hop.place, mark=Mark.DIED, rows=rows, see=hop.see
        )
    return Hop(id=hop.id, title=hop.title, place=hop.place, mark=Mark.UNREACHED)


def _hop(
    found: Measured,
    id: str,
    title: str,
    *,
    place: str,
    rows: _Rows,
    see: str = "",
    mark: Mark = Mark.OK,
) -> Hop:
    if problem := found.problems.get(id):
        mark = Mark.UNKNOWN
        rows = [*rows, ("not known", problem)]
    return Hop(id=id, title=title, place=place, mark=mark, rows=tuple(rows), see=see)


def _on(node: str, *argv: str) -> str:
    """A command on a machine, as a learner types it."""
    return as_typed(Vantage(Where.NODE, node), argv)


def _source(found: Measured) -> str:
    outcome = found.outcome
    if outcome is None:
        return ""
    if not found.client_address:
        return outcome.source or f"port {outcome.port}"
    return outcome.source or f"{found.client_address}:{outcome.port}"


# --- the hops -----------------------------------------------------------------------------------


def _client(found: Measured) -> Hop:
    client, rows = found.client, _Rows()
    if client.pod:
        rows.append(("where", f"on {client.machine.name}, namespace {client.pod.namespace}"))
    elif client.machine.where is Where.HOST:
        rows.append(("where", "beside the cluster, on the network of its nodes"))
    else:
        machine = found.topology.machine(client.machine.name)
        node = client.machine.where is Where.NODE
        kind = "a node of the cluster" if node else "a machine, but no node of the cluster"
        rows.append(("where", f"{kind}, {machine.address if machine else ''}".rstrip(", ")))
    if found.outcome:
        how = scheme(found.target).upper() or found.target.protocol
        what = {"HTTP": "request", "HTTPS": "request", "UDP": "datagram"}.get(how, "connection")
        rows.append(("sends", f"one {how} {what} to {found.target.asked}"))
        rows.append(("from", _source(found)))
    return _hop(found, "client", "client", place=client.place, rows=rows)


def _dns(found: Measured) -> Hop | None:
    if not found.target.name:
        return None
    client, resolver, rows = found.client, found.resolver, _Rows()
    see = ""
    if resolver and resolver.servers:
        service = found.snapshot.service_at(resolver.servers[0])
        known = f" (Service {service})" if service else ""
        rows.append(("asks", f"{resolver.servers[0]}{known}"))
        if resolver.search:
            rows.append(("search", " ".join(resolver.search)))
    if found.hosts_file:
        rows.append(("hosts file", f"{found.target.name} is {found.address}; nobody is asked"))
    mark = Mark.OK
    for question in found.questions:
        if question.rcode == "NOTFOUND":
            rows.append(("answer", f"nobody knows {question.name} here: Services are for pods"))
        else:
            rows.append(("answer", str(question)))
    if found.stands_in:
        mark = Mark.NOTE
        rows.append(("instead", f"the API says {found.address}: that is asked"))
    if client.pod:
        flag = "" if client.pod.namespace == "default" else f" -n {client.pod.namespace}"
        inside = f"nslookup {found.target.name}"
        see = f"./l4lab kubectl exec {client.pod.name}{flag} -- {inside}"
    elif client.machine.name:
        see = _on(client.machine.name, "getent", "hosts", found.target.name)
    return _hop(found, "dns", "DNS", place=client.place, rows=rows, see=see, mark=mark)


def _address(found: Measured) -> Hop:
    rows = _Rows()
    if not found.address:
        return _hop(found, "address", "address", place="", rows=rows)
    service, port = found.target.service, found.target.service_port
    what = str(found.kind)
    if service and found.virtual:
        what += f" of Service {service}"
    elif pod := found.snapshot.pod_at(found.address):
        what += f" of {pod}"
    elif machine := found.machine_at(found.address):
        what += f", of {machine}"
    rows.append((found.destination, what))
    if service and port:
        node_port = f", nodePort {port.node_port}" if port.node_port else ""
        ready = ", ".join(str(one) for one in found.ready) or "none"
        rows.append(("Service", f"port {port.port} to targetPort {port.target}{node_port}"))
        rows.append(("endpoints", ready))
    holders = [f"{device} of {node}" for node, devices in found.bound.items() for device in devices]
    same = set(found.bound.values())
    if holders and len(same) == 1 and len(found.bound) > 1:
        bound = f"{', '.join(next(iter(same)))} of every node"
    elif holders:
        bound = ", ".join(holders)
    else:
        bound = "no node" + (": it is the pod's own" if found.kind is Kind.POD else "")
    if found.bound:
        rows.append(("bound on", bound))
    node = found.handler or found.topology.control_plane.name
    see = _on(node, "ip", "-brief", "address")
    return _hop(found, "address", "address", place="", rows=rows, see=see)


def _route(found: Measured) -> Hop:
    client, rows = found.client, _Rows()
    see = ""
    if found.route:
        rows.append(("route", str(found.route)))
        if found.by_arp:
            rows.append(("ARP", found.taker))
        if found.handler:
            rows.append(("handled by", f"the kernel of {found.handler}"))
        elif not found.route.problem:
            rows.append(("handled by", "no node of the cluster"))
        argv = ("ip", *(("neigh", "show") if found.by_arp else ("route", "get")), found.address)
        see = as_typed(client.machine, argv) if not client.pod else ""
    return _hop(found, "route", "route", place=client.place, rows=rows, see=see)


def _proxy(found: Measured) -> Hop | None:
    if not (found.virtual or (found.kind is Kind.FOREIGN and not found.address)):
        return None
    running, rows = found.running, _Rows()
    title = running.title if running else "kube-proxy"
    see = ""
    if running:
        if not running.mode:
            rows.append(("kube-proxy", f"does not answer: {running.problem}"))
        elif running.reader is None:
            rows.append(("mode", f"{running.mode}: its rules are not read here"))
        else:
            see = _on(found.handler, *running.reader.see(found.target.protocol, found.destination))
    if found.entry:
        rows.append(("row", found.entry.text))
        gone = [f"{one} (weight 0)" for one in found.entry.gone]
        rows.append(("backends", ", ".join([*found.entry.live, *gone]) or "none"))
    if found.before is not None:
        after = found.before if found.after is None else found.after
        rows.append(("connections", f"{found.before} before, {after} after"))
    if found.taken:
        rows.append(("chose", f"{found.taken.backend} (state {found.taken.state})"))
    return _hop(found, "proxy", title, place=found.handler, rows=rows, see=see)


def _nat(found: Measured) -> Hop | None:
    tracked = found.tracked
    if tracked is None or not found.outcome:
        return None
    rows = [("sent as", str(tracked.original))]
    # Answers come from the backend to whom it takes for the client.
    onward = f"{tracked.reply.destination} → {tracked.reply.source}"
    changed = [
        word
        for word, is_so in (
            ("destination", tracked.original.destination != tracked.reply.source),
            ("source", tracked.masqueraded),
        )
        if is_so
    ]
    if changed:
        rows.append(("goes on as", f"{onward} ({' and '.join(changed)} rewritten)"))
    rows.append(("source", _why_source(found)))
    rows.append(("state", _state(found, tracked)))
    port = tracked.original.source.rpartition(":")[2]
    flags = ("-p", found.target.protocol.lower(), "--orig-port-src", port)
    see = _on(found.handler, "conntrack", "-L", *flags)
    return _hop(found, "nat", "NAT", place=found.handler, rows=rows, see=see)


def _state(found: Measured, tracked: Tracked) -> str:
    state = tracked.state or found.target.protocol
    return state if tracked.replied else f"{state}, unreplied"


def _why_source(found: Measured) -> str:
    tracked = found.tracked
    if tracked is None:
        return ""
    host = tracked.host(tracked.original.source)
    if not tracked.masqueraded:
        if found.virtual and found.local_only and found.backend_node == found.handler:
            return f"kept: traffic policy Local, the backend is on {found.handler} itself"
        if found.virtual and found.local_only:
            return f"kept: traffic policy Local, although the backend is on {found.backend_node}"
        if found.client.pod:
            return f"kept: it is a pod's own, which every node finds: the backend sees {host}"
        return f"kept: the backend sees {host}"
    to = tracked.host(tracked.reply.destination)
    if found.kind is Kind.NODE_PORT:
        why = f"so that answers to a nodePort come back through {found.handler}"
    elif found.client.pod and found.pod and found.client.pod.address == found.pod.address:
        why = "the pod asks itself through the Service, and must not answer itself directly"
    elif found.client.pod:
        why = "a pod's address means nothing outside the pod network"
    else:
        why = f"it is no pod's, so answers must come back through {found.handler}"
    return f"masqueraded as {to}: {why}"


def _wire(found: Measured) -> Hop | None:
    node, far = found.handler, found.backend_node
    if not found.backend or not node or found.onward is None:
        return None
    rows: _Rows = []
    if found.onward.device.startswith("vxlan"):
        rows.append(("tunnel", f"{found.onward.device} from {node} to {far or 'another node'}"))
    elif found.onward.device.startswith("cali"):
        rows.append(("cable", f"{found.onward.device}: the pod is on {node} itself"))
    else:
        rows.append(("route", str(found.onward)))
    if found.tracked_there:
        seen = found.tracked_there
        rows.append((f"on {far}", f"{seen.original} ({_state(found, seen)})"))
    host = found.backend.partition(":")[0]
    place = f"{node} → {far}" if far and far != node else node
    see = _on(node, "ip", "route", "get", host)
    return _hop(found, "wire", "to the backend", place=place, rows=rows, see=see)


def _backend(found: Measured) -> Hop:
    rows = _Rows()
    place = see = ""
    if found.backend:
        place = f"pod {found.pod}" if found.pod else found.backend_node
        rows.append((found.backend, place or "no pod and no node of the cluster"))
        if found.pod:
            rows.append(("where", f"on {found.pod.node}"))
            if not found.pod.ready:
                rows.append(("ready", "no"))
            see = f"./l4lab kubectl get pod {found.pod.name} -n {found.pod.namespace} -o wide"
    if found.listeners is not None:
        listed = ", ".join(str(port) for port in sorted(found.listeners)) or "nothing"
        rows.append(("listens on", listed))
    return _hop(found, "backend", "backend", place=place, rows=rows, see=see)


def _answer(found: Measured) -> Hop:
    outcome, rows = found.outcome, _Rows()
    if outcome and not outcome.fault:
        rows.append(("answer", outcome.said))
        if outcome.served_by:
            rows.append(("X-Served-By", outcome.served_by))
        rows.append(("opened in", f"{outcome.seconds * 1000:.1f} ms"))
    return _hop(found, "answer", "answer", place=found.client.place, rows=rows)


_MAKERS: tuple[Callable[[Measured], Hop | None], ...] = (
    _client,
    _dns,
    _address,
    _route,
    _proxy,
    _nat,
    _wire,
    _backend,
    _answer,
)
