"""``l4lab.toml`` into frozen dataclasses, with all validation in one place.

Without a file the course's cluster comes out. Every refusal names the key, what is wrong with it,
and what would be right.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from l4lab.errors import SettingsError
from l4lab.origin import MAKERS, MODULES, RELEASED, Mirror, Origin
from l4lab.topology import Given, Machine, Networks, Role, Topology

FILE = "l4lab.toml"
DRIVERS = ("local", "ssh")
PROXY_MODES = ("ipvs", "nftables")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_JUMP = re.compile(r"([a-z_][a-z0-9_-]*@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?")
LONGEST_NAME = 32
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
# A machine with less does not come up: measured with what each role runs.
_LEAST_MEMORY_MIB = {
    Role.CONTROL_PLANE: 1536,
    Role.WORKER: 1024,
    Role.MARIADB: 384,
    Role.OUTSIDE: 384,
}

# The course's cluster. Sizes are what its parts use on our machines, not the course's 4 and 8 GB.
_DEFAULTS: dict[str, Any] = {
    "cluster": {"name": "l4lab", "driver": "local", "proxy": "ipvs"},
    "network": {
        "nodes": "192.168.128.0/24",
        "pods": "10.244.0.0/16",
        "services": "10.10.0.0/16",
    },
    "ssh": {"identity": "", "jump": "", "host_keys": ""},
    "machines": {
        "k8s-master01": {"role": "control_plane", "address": "192.168.128.11", "memory": 2560},
        "k8s-node01": {"role": "worker", "address": "192.168.128.21", "memory": 2048},
        "k8s-node02": {"role": "worker", "address": "192.168.128.22", "memory": 2048},
        "mariadb01": {"role": "mariadb", "address": "192.168.128.31", "memory": 768},
    },
    "bundle": {"from": "modules", "mirrors": []},
}
_MACHINE_KEYS = {"role": str, "address": str, "memory": int}
_GIVEN_KEYS = {**_MACHINE_KEYS, "user": str, "port": int}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a person can set.

    Attributes:
        driver: What makes the machines: ``local``, or ``ssh`` for hosts that are there already.
        proxy: kube-proxy's mode a cluster is made with: ``ipvs`` or ``nftables``.
        topology: The cluster's name, machines and networks.
        origin: What the bundle is made from.
    """

    driver: str
    proxy: str
    topology: Topology
    origin: Origin = MODULES


def load(path: Path | None, project: Path) -> Settings:
    """Read the settings file: ``path`` if given, else the project's ``l4lab.toml`` if there is one.

    Raises:
        SettingsError: The file cannot be read, or holds something that cannot be.
    """
    file = path or project / FILE
    if path is None and not file.exists():
        return parse({}, FILE)
    try:
        raw = tomllib.loads(file.read_text())
    except FileNotFoundError as failed:
        raise SettingsError(
            f"there is no file {file}",
            "it was named by --config or L4LAB_CONFIG",
            f"name another, or none: then {FILE} counts, or the defaults",
        ) from failed
    except (OSError, UnicodeDecodeError) as failed:
        raise SettingsError(
            f"cannot read {file}", str(failed), "it must be a text in UTF-8 that you may read"
        ) from failed
    except tomllib.TOMLDecodeError as failed:
        raise SettingsError(f"{file} is not TOML", str(failed), "mend that line") from failed
    return parse(raw, str(file))


def parse(raw: dict[str, Any], file: str) -> Settings:
    """Turn what a settings file holds into settings.

    Raises:
        SettingsError: A key is unknown, a value has the wrong type or cannot be.
    """
    reader = _Reader(file)
    reader.known(raw, _DEFAULTS, "")
    cluster = reader.section(raw, "cluster")
    name = cluster["name"]
    if not _NAME.fullmatch(name):
        raise reader.wrong(
            "cluster.name",
            f"{name!r} is not a name",
            f"use up to {LONGEST_NAME} of a-z, 0-9 and -, a letter or digit at both ends",
        )
    reader.one_of("cluster.driver", cluster["driver"], DRIVERS)
    reader.one_of("cluster.proxy", cluster["proxy"], PROXY_MODES)
    networks = _networks(reader, raw)
    given = _given(reader, raw, cluster["driver"])
    machines = _machines(reader, raw, networks, given=given is not None)
    return Settings(
        driver=cluster["driver"],
        proxy=cluster["proxy"],
        topology=Topology(name=name, machines=machines, networks=networks, given=given),
        origin=_origin(reader, raw, local=given is None),
    )


def to_toml(settings: Settings) -> str:
    """The whole of the settings as a file that ``load`` makes the same settings of."""
    topology = settings.topology
    networks = topology.networks
    lines = [
        "[cluster]",
        *_pairs(name=topology.name, driver=settings.driver, proxy=settings.proxy),
        "\n[network]",
        *_pairs(nodes=networks.nodes, pods=networks.pods, services=networks.services),
    ]
    if topology.given:
        files = {"identity": topology.given.identity, "host_keys": topology.given.host_keys}
        lines += ["\n[ssh]", *_pairs(jump=topology.given.jump)]
        lines += _pairs(**{key: file for key, file in files.items() if file})
    for machine in topology.machines:
        lines += [
            f"\n[machines.{machine.name}]",
            *_pairs(role=machine.role.value, address=machine.address, memory=machine.memory_mib),
            *(_pairs(user=machine.user, port=machine.port) if topology.given else []),
        ]
    lines += ["\n[bundle]", *_pairs(**{"from": settings.origin.maker})]
    lines.append(f"mirrors = [{', '.join(map(_mirror_text, settings.origin.mirrors))}]")
    return "\n".join(lines) + "\n"


def _pairs(**values: object) -> list[str]:
    # A text of JSON is one of TOML, too.
    return [
        f"{key} = {value if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)}"
        for key, value in values.items()
    ]


def _mirror_text(mirror: Mirror) -> str:
    if mirror.everything:
        return json.dumps(mirror.everything, ensure_ascii=False)
    return f"{{ {', '.join(_pairs(**dict(mirror.some)))} }}"


class _Reader:
    """Reads sections with defaults and types, and words every refusal alike."""

    def __init__(self, file: str) -> None:
        self.file = file

    def wrong(self, key: str, why: str, right: str | None = None) -> SettingsError:
        return SettingsError(f"{self.file}: {key} is wrong", why, right)

    def known(self, raw: dict[str, Any], known: dict[str, Any], where: str) -> None:
        for key in raw:
            if key not in known:
                raise SettingsError(
                    f"{self.file}: unknown key {where}{key}",
                    f"the keys {f'of {where[:-1]} ' if where else ''}are: {', '.join(known)}",
                )

    def section(self, raw: dict[str, Any], name: str) -> dict[str, Any]:
        given = raw.get(name, {})
        self.typed(name, given, dict)
        defaults = _DEFAULTS[name]
        self.known(given, defaults, f"{name}.")
        merged = {**defaults, **given}
        for key, value in merged.items():
            self.typed(f"{name}.{key}", value, type(defaults[key]))
        return merged

    def typed(self, key: str, value: object, wanted: type) -> None:
        # bool is an int to Python, not to a person
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            names = {str: "a text", int: "a whole number", dict: "a table", list: "a list"}
            raise self.wrong(key, f"{value!r} is not {names[wanted]}")

    def one_of(self, key: str, value: str, known: tuple[str, ...]) -> None:
        if value not in known:
            raise self.wrong(key, f"there is no {value!r}", f"one of: {', '.join(known)}")


def _networks(reader: _Reader, raw: dict[str, Any]) -> Networks:
    found: dict[str, IPv4Network] = {}
    for key, text in reader.section(raw, "network").items():
        try:
            network = IPv4Network(text)
        except (AddressValueError, NetmaskValueError, ValueError) as failed:
            raise reader.wrong(
                f"network.{key}", str(failed), f"a network such as {_DEFAULTS['network'][key]}"
            ) from failed
        if not network.is_private or network.is_loopback or network.is_link_local:
            raise reader.wrong(
                f"network.{key}",
                f"{network} is not a private network",
                "take it from 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
            )
        least = {"nodes": 26, "pods": 20, "services": 24}[key]
        if network.prefixlen > least:
            raise reader.wrong(f"network.{key}", f"{network} is too small", f"/{least} or larger")
        found[key] = network
    # kubeadm and Calico give service ranges wider than /12 up; so do we, before anything is made
    if found["services"].prefixlen < 12:  # noqa: PLR2004  # kube-apiserver's limit: 20 bits
        raise reader.wrong(
            "network.services", f"{found['services']} is too large", "/12 or smaller"
        )
    for one, other in combinations(found, 2):
        if found[one].overlaps(found[other]):
            raise reader.wrong(
                f"network.{one}",
                f"{found[one]} and network.{other} {found[other]} overlap",
                "choose three networks that have no address in common",
            )
    return Networks(**found)


def _given(reader: _Reader, raw: dict[str, Any], driver: str) -> Given | None:
    """How hosts are reached that are there already; None where machines are made."""
    if driver != "ssh":
        if "ssh" in raw:
            raise reader.wrong("ssh", f"it is not for driver {driver}", 'cluster.driver = "ssh"')
        return None
    found = reader.section(raw, "ssh")
    if found["jump"] and not _JUMP.fullmatch(found["jump"]):
        raise reader.wrong("ssh.jump", f"{found['jump']!r} is no host", "[USER@]HOST[:PORT]")
    # A relative path starts where the settings file lies, wherever l4lab is called.
    here = Path(reader.file).absolute().parent
    files = {
        key: here / Path(found[key]).expanduser() if found[key] else None
        for key in ("identity", "host_keys")
    }
    return Given(jump=found["jump"], **files)


def _origin(reader: _Reader, raw: dict[str, Any], *, local: bool) -> Origin:
    """What the bundle is made from."""
    found = reader.section(raw, "bundle")
    reader.one_of("bundle.from", found["from"], MAKERS)
    mirrors = []
    for number, mirror in enumerate(found["mirrors"], 1):
        where = f"bundle.mirrors[{number}]"
        if isinstance(mirror, str):
            mirrors.append(Mirror(everything=_address(reader, where, mirror, version=False)))
            continue
        if not isinstance(mirror, dict) or not mirror:
            raise reader.wrong(where, f"{mirror!r} is no mirror", "an address, or a table of them")
        reader.known(mirror, dict.fromkeys(RELEASED), f"{where}.")
        some = [
            (name, _address(reader, f"{where}.{name}", address, version=True))
            for name, address in mirror.items()
        ]
        mirrors.append(Mirror(some=tuple(some)))
    return Origin(maker=found["from"], mirrors=tuple(mirrors), local=local)


def _address(reader: _Reader, where: str, address: object, *, version: bool) -> str:
    """A mirror's address; what is secret does not belong there, since addresses are shown."""
    reader.typed(where, address, str)
    text = str(address)
    plain = text.replace("{version}", "1") if version else text
    right = "such as https://mirror.example/releases"
    try:
        parts = urlsplit(plain)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or re.search(r"[\s{}?#]", plain):
        raise reader.wrong(where, f"{text!r} is not a mirror's address", right)
    if parts.username is not None:
        raise reader.wrong(where, "an address is shown and recorded: no user goes there", right)
    return text


def _machines(
    reader: _Reader, raw: dict[str, Any], networks: Networks, *, given: bool
) -> tuple[Machine, ...]:
    if given and not raw.get("machines"):
        raise reader.wrong("machines", "driver ssh makes none", "name the hosts you were given")
    keys = _GIVEN_KEYS if given else _MACHINE_KEYS
    wanted_machines = raw.get("machines", {name: {} for name in _DEFAULTS["machines"]})
    reader.typed("machines", wanted_machines, dict)
    machines = []
    taken: dict[IPv4Address, str] = {}
    if not given:
        taken[networks.gateway] = "the host's end of the network"
    for name, facts in wanted_machines.items():
        where = f"machines.{name}"
        if not _NAME.fullmatch(name):
            raise reader.wrong(
                where,
                f"{name!r} is not a host name",
                "use a-z, 0-9 and -, a letter or digit at both ends",
            )
        reader.typed(where, facts, dict)
        reader.known(facts, keys, f"{where}.")
        defaults = _default_host(facts) if given else _default_machine(name, networks)
        merged = {**defaults, **facts}
        for key, wanted in keys.items():
            if key not in merged:
                raise SettingsError(
                    f"{reader.file}: {where}.{key} is missing",
                    "a machine needs role, address and memory (MiB)",
                )
            reader.typed(f"{where}.{key}", merged[key], wanted)
        reader.one_of(f"{where}.role", merged["role"], tuple(Role))
        machine = _machine(reader, where, name, merged, networks)
        if machine.address in taken:
            raise reader.wrong(
                f"{where}.address", f"{machine.address} is already {taken[machine.address]}"
            )
        taken[machine.address] = name
        machines.append(machine)
    _roles(reader, machines)
    return tuple(machines)


def _default_machine(name: str, networks: Networks) -> dict[str, Any]:
    """The course's machine of that name, its address moved into the node network there is."""
    facts = dict(_DEFAULTS["machines"].get(name, {}))
    if facts:
        course = IPv4Network(_DEFAULTS["network"]["nodes"])
        offset = int(IPv4Address(facts["address"])) - int(course.network_address)
        facts["address"] = str(networks.nodes.network_address + offset)
    return facts


def _default_host(facts: dict[str, Any]) -> dict[str, Any]:
    """What need not be said of a host that is given; its memory is asked to be the role's least."""
    role = facts.get("role")
    least = _LEAST_MEMORY_MIB[Role(role)] if role in tuple(Role) else 0
    return {"user": "root", "port": 22, "memory": least}


def _machine(
    reader: _Reader, where: str, name: str, facts: dict[str, Any], networks: Networks
) -> Machine:
    try:
        address = IPv4Address(facts["address"])
    except AddressValueError as failed:
        raise reader.wrong(f"{where}.address", str(failed)) from failed
    inside = networks.nodes
    if address not in inside or address in (inside.network_address, inside.broadcast_address):
        raise reader.wrong(
            f"{where}.address",
            f"{address} is not a host of {inside}",
            "choose an address of network.nodes",
        )
    role = Role(facts["role"])
    least = _LEAST_MEMORY_MIB[role]
    if facts["memory"] < least:
        raise reader.wrong(
            f"{where}.memory", f"{facts['memory']} MiB is too little for {role}", f"{least} or more"
        )
    user, port = facts.get("user", "root"), facts.get("port", 22)
    if not _USER.fullmatch(user):
        raise reader.wrong(f"{where}.user", f"{user!r} is not a user name")
    if not 0 < port < 1 << 16:
        raise reader.wrong(f"{where}.port", f"{port} is not a port", "1 to 65535")
    return Machine(
        name=name, role=role, address=address, memory_mib=facts["memory"], user=user, port=port
    )


def _roles(reader: _Reader, machines: list[Machine]) -> None:
    count = {role: sum(machine.role is role for machine in machines) for role in Role}
    if count[Role.CONTROL_PLANE] != 1:
        raise reader.wrong(
            "machines", f"{count[Role.CONTROL_PLANE]} have role control_plane", "exactly one"
        )
    if count[Role.WORKER] < 1:
        raise reader.wrong("machines", "none has role worker", "one or more; the labs want two")
    for role in (Role.MARIADB, Role.OUTSIDE):
        if count[role] > 1:
            raise reader.wrong("machines", f"{count[role]} have role {role}", "one at most")
