"""The cluster as a drawing: machines with their addresses, the labs' pods on them, the Services.

The drawing's colours are those of the page it stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from l4lab.topology import Machine, Role, Topology

_WIDTH = 920
_GAP = 16
_LINE = 19
_HEAD = 58
_TOP = 96
_LETTERS = 34

_ROLES = {
    Role.CONTROL_PLANE: "control plane",
    Role.WORKER: "worker",
    Role.MARIADB: "database",
}


@dataclass(frozen=True, kw_only=True)
class PodAt:
    """A pod and where it is."""

    name: str
    address: str
    machine: str
    ready: bool


@dataclass(frozen=True, kw_only=True)
class ServiceAt:
    """A Service: its kind, its address (empty: none) and what is behind it."""

    name: str
    type: str
    address: str
    ports: tuple[str, ...]
    backends: tuple[str, ...]


def draw(topology: Topology, pods: Sequence[PodAt], services: Sequence[ServiceAt]) -> str:
    """One ``<svg>`` element, to stand in a page that gives it its colours."""
    machines = topology.machines
    width = (_WIDTH - _GAP * (len(machines) + 1)) // len(machines)
    on = {
        machine.name: sorted(
            (pod for pod in pods if pod.machine == machine.name), key=lambda pod: pod.name
        )
        for machine in machines
    }
    rows = max((len(found) for found in on.values()), default=0)
    tall = _HEAD + 2 * _LINE * rows + 14
    below = _TOP + tall + 34
    height = below + _LINE * max(len(services), 1) + 16
    parts = [
        f'<svg class="picture" role="img" viewBox="0 0 {_WIDTH} {height}" '
        f'aria-label="The cluster {escape(topology.name)}">',
        _text(_GAP, 26, f"outside: this host, {topology.networks.gateway}", "soft"),
        f'<path class="wire" d="M{_GAP} 62H{_WIDTH - _GAP}M{_GAP + 40} 34V62"/>',
        _text(_WIDTH - _GAP, 54, f"node network {topology.networks.nodes}", "soft end"),
    ]
    for number, machine in enumerate(machines):
        left = _GAP + number * (width + _GAP)
        parts.append(f'<path class="wire" d="M{left + width // 2} 62V{_TOP}"/>')
        parts.append(_machine(machine, on[machine.name], left, width, tall))
    networks = topology.networks
    parts.append(
        _text(_GAP, below - 8, f"pods {networks.pods}, Services {networks.services}", "soft")
    )
    for number, service in enumerate(services, 1):
        parts.append(_text(_GAP, below + number * _LINE - 2, _said(service), "mono"))
    return "".join([*parts, "</svg>"])


def _machine(machine: Machine, pods: Sequence[PodAt], left: int, width: int, tall: int) -> str:
    parts = [
        f'<rect class="machine" x="{left}" y="{_TOP}" width="{width}" height="{tall}" rx="8"/>',
        _text(left + 12, _TOP + 22, machine.name, "name"),
        _text(left + 12, _TOP + 42, f"{machine.address}  {_ROLES.get(machine.role, '')}", "soft"),
    ]
    y = _TOP + _HEAD
    letters = (width - 24) // 7
    for pod in pods:
        style = "mono" if pod.ready else "mono bad"
        name = pod.name if len(pod.name) <= letters else pod.name[: letters - 1] + "…"
        parts.append(_text(left + 12, y + _LINE - 5, name, style))
        parts.append(_text(left + 12, y + 2 * _LINE - 7, pod.address or "no address", "mono soft"))
        y += 2 * _LINE
    return "".join(parts)


def _said(service: ServiceAt) -> str:
    address = service.address or "no address"
    backends = ", ".join(service.backends) or "nobody"
    return f"{service.name} ({service.type})  {address} {'/'.join(service.ports)}  ->  {backends}"


def _text(x: int, y: int, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(text)}</text>'
