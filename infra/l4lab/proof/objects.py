"""Objects of the API as facts, and what lives in the cluster: pods and Services by their traces."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from l4lab.place import CLASS

Json = dict[str, Any]

_SERVICE_NAME: Final = "kubernetes.io/service-name"
_MIRROR: Final = "kubernetes.io/config.mirror"
# What the API server and controllers write into every object, whoever made it.
_METADATA: Final = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "managedFields",
        "creationTimestamp",
        "selfLink",
        "ownerReferences",
        "name",
        "namespace",
        "generateName",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    }
)
_ANNOTATIONS: Final = frozenset(
    {
        "deployment.kubernetes.io/revision",
        "deprecated.daemonset.template.generation",
        "endpoints.kubernetes.io/last-change-trigger-time",
        "projectcalico.org/IPv4VXLANTunnelAddr",
    }
)
# They come with each namespace, or with another object.
_OF_ITSELF: Final = frozenset({"IPAddress", "IPAMBlock", "IPAMHandle", "Namespace"})
_TOKEN: Final = "bootstrap.kubernetes.io/token"  # noqa: S105  the type of a secret, not a secret
_CLUSTER_INFO: Final = "jws-kubeconfig-"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact, and the traces by which a scope knows it for its own.

    Attributes:
        marks: Such as ``ns:default``, an address, ``port:30380``, a link's name.
    """

    what: str
    value: str
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod that lives, and what kernels and kubelet call it."""

    label: str
    """``kube-system/coredns``: with the name of its workload, for its own changes."""
    name: str
    node: str
    addresses: frozenset[str]
    uids: frozenset[str]
    host_network: bool

    @property
    def link(self) -> str:
        """The name Calico gives to its link on the node."""
        digest = hashlib.sha1(self.name.replace("/", ".").encode()).hexdigest()  # noqa: S324  a name
        return f"cali{digest[:11]}"

    @property
    def marks(self) -> frozenset[str]:
        """By these a machine's facts name it."""
        return self.addresses | self.uids | {self.link, f"pod:{self.name}"}


@dataclass(frozen=True, kw_only=True)
class Living:
    """What the cluster runs at this moment: whatever names it is explained by it."""

    pods: tuple[Pod, ...] = ()
    services: frozenset[str] = frozenset()
    """Addresses of Services, and ``port:NUMBER`` for nodePorts."""
    names: dict[str, str] = field(default_factory=dict)
    """Labels of pods by address."""
    without: frozenset[str] = frozenset()
    """Marks of what a scope passes over."""

    def on(self, node: str) -> tuple[Pod, ...]:
        """The pods of a node."""
        return tuple(pod for pod in self.pods if pod.node == node)


def label(item: Json) -> str:
    """``Deployment default/my-nginx``."""
    metadata = item["metadata"]
    space = metadata.get("namespace")
    return f"{item['kind']} {space}/{metadata['name']}" if space else _bare(item)


def _bare(item: Json) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def owner(item: Json) -> Json | None:
    """The reference to whatever controls an object."""
    references = item["metadata"].get("ownerReferences") or []
    return next((one for one in references if one.get("controller")), None)


class Objects:
    """All objects of a moment, who came of whom, and what they are called elsewhere."""

    def __init__(self, items: Iterable[Json]) -> None:
        self.items = list(items)
        self._by_uid = {item["metadata"].get("uid"): item for item in self.items}

    @staticmethod
    def label(item: Json) -> str:
        """``Deployment default/my-nginx``."""
        return label(item)

    @staticmethod
    def is_made(item: Json) -> bool:
        """Whether somebody made an object: no controller did, and it is no fact of a node's."""
        return owner(item) is None and item["kind"] not in _OF_ITSELF

    def lineage(self, item: Json) -> Iterator[str]:
        """The labels of an object and of all it came of."""
        yield label(item)
        space = item["metadata"].get("namespace")
        service = (item["metadata"].get("labels") or {}).get(_SERVICE_NAME)
        if item["kind"] == "EndpointSlice" and service:
            yield f"Service {space}/{service}"
        if item["kind"] == "IPAddress":
            parent = item["spec"].get("parentRef") or {}
            yield f"Service {parent.get('namespace')}/{parent.get('name')}"
        above = owner(item)
        seen = 0
        while above and seen < 8:  # noqa: PLR2004  owners may name each other
            seen += 1
            parent = self._by_uid.get(above["uid"])
            yield label(parent) if parent else f"{above['kind']} {space}/{above['name']}"
            above = owner(parent) if parent else None

    def marks_of(self, wanted: Iterable[Json]) -> frozenset[str]:
        """What machines call these objects: addresses, nodePorts, links, folders."""
        found: set[str] = set()
        for item in wanted:
            if item["kind"] == "Service":
                found |= _service_marks(item)
            elif item["kind"] == "Pod":
                found |= self._pod(item).marks
        return frozenset(found)

    def of_namespace(self, name: str) -> list[Json]:
        """The objects in a namespace."""
        return [item for item in self.items if item["metadata"].get("namespace") == name]

    def class_spaces(self) -> frozenset[str]:
        """The namespaces that a class has given to its students."""
        return frozenset(
            item["metadata"]["name"]
            for item in self.items
            if item["kind"] == "Namespace" and CLASS in (item["metadata"].get("labels") or {})
        )

    def of_classes(self) -> frozenset[str]:
        """The labels of what classes have put there, and of all in their students' namespaces."""
        spaces = self.class_spaces()
        return frozenset(
            label(item)
            for item in self.items
            if item["metadata"].get("namespace") in spaces
            or CLASS in (item["metadata"].get("labels") or {})
        )

    def below(self, roots: frozenset[str]) -> list[Json]:
        """The objects with these labels, and all that came of them."""
        if not roots:
            return []
        return [item for item in self.items if not roots.isdisjoint(self.lineage(item))]

    def living(self, *, without: Iterable[Json] = ()) -> Living:
        """Pods and Services as machines see them."""
        pods = tuple(
            self._pod(item)
            for item in self.items
            if item["kind"] == "Pod" and "deletionTimestamp" not in item["metadata"]
        )
        services = [item for item in self.items if item["kind"] == "Service"]
        return Living(
            pods=pods,
            services=frozenset().union(*map(_service_marks, services)),
            names={
                address: pod.label
                for pod in pods
                if not pod.host_network
                for address in pod.addresses
            },
            without=self.marks_of(without),
        )

    def _pod(self, item: Json) -> Pod:
        metadata, spec = item["metadata"], item.get("spec", {})
        above = [one for one in self.lineage(item) if not one.startswith(("Pod ", "Node "))]
        own = f"{metadata.get('namespace')}/{metadata['name']}"
        host = bool(spec.get("hostNetwork"))
        addresses = {one["ip"] for one in item.get("status", {}).get("podIPs") or []}
        mirror = (metadata.get("annotations") or {}).get(_MIRROR)
        return Pod(
            label=above[-1].partition(" ")[2] if above else own,
            name=own,
            node=spec.get("nodeName", ""),
            addresses=frozenset() if host else frozenset(addresses),
            uids=frozenset(filter(None, (metadata.get("uid"), mirror))),
            host_network=host,
        )


def facts(objects: Objects, living: Living, *, without: Iterable[Json] = ()) -> Iterator[Fact]:
    """The objects as facts: what a person or a controller wrote, not how it is doing."""
    passed = {id(item) for item in without}
    counted: Counter[tuple[str, str]] = Counter()
    for item in objects.items:
        if id(item) in passed or _alive(item):
            continue
        space = item["metadata"].get("namespace")
        if item["kind"] == "Namespace":
            space = item["metadata"]["name"]
        marks = frozenset({f"ns:{space}"} if space else ())
        leaving = " (being deleted)" if "deletionTimestamp" in item["metadata"] else ""
        above = owner(item)
        if item["kind"] == "IPAMBlock":
            yield from _block(item, living)
        elif item["kind"] == "Pod" and above and above["kind"] != "Node":
            of = f"{above['kind']} {space}/{above['name']}"
            counted[f"pods of {of}{leaving}", str(space)] += 1
        elif item["kind"] == "EndpointSlice" and above:
            yield Fact(what=f"endpoints of {_of(item)}{leaving}", value=_slice(item), marks=marks)
        else:
            value = sections(item)
            yield Fact(what=f"{label(item)}{leaving}", value=value, marks=marks)
    for (what, space), number in counted.items():
        yield Fact(what=what, value=str(number), marks=frozenset({f"ns:{space}"}))


def _alive(item: Json) -> bool:
    """Whether an object comes and goes by itself."""
    kind = item["kind"]
    if kind == "Secret":
        return bool(item.get("type") == _TOKEN)  # runs out after a day
    # Replaced ReplicaSets stay for ten roll-outs; their Deployment is the fact.
    if kind == "ReplicaSet":
        return owner(item) is not None and not item.get("spec", {}).get("replicas")
    # What they tell of addresses is read from the blocks.
    return bool(kind == "IPAMHandle")


def sections(item: Json) -> str:
    """Digests of the parts of an object, one a line, so that a difference can name the part."""
    metadata = {
        key: value for key, value in item["metadata"].items() if key not in _METADATA and value
    }
    notes = {
        key: value
        for key, value in (metadata.pop("annotations", None) or {}).items()
        if key not in _ANNOTATIONS
    }
    if notes:
        metadata["annotations"] = notes
    parts = {f"metadata.{key}": value for key, value in metadata.items()}
    for key, value in item.items():
        if key in ("apiVersion", "kind", "metadata", "status"):
            continue
        if key == "spec" and isinstance(value, dict):
            parts |= {f"spec.{name}": inner for name, inner in value.items()}
        elif key == "data" and isinstance(value, dict):
            kept = {name: inner for name, inner in value.items() if _CLUSTER_INFO not in name}
            parts |= {f"data.{name}": inner for name, inner in kept.items()}
        else:
            parts[key] = value
    return "\n".join(f"{key} {_digest(value)}" for key, value in sorted(parts.items()))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _of(item: Json) -> str:
    name = (item["metadata"].get("labels") or {}).get(_SERVICE_NAME, "no Service")
    return f"Service {item['metadata'].get('namespace')}/{name}"


def _slice(item: Json) -> str:
    ports = sorted(
        f"{one.get('name') or '-'} {one.get('protocol')} {one.get('port')}"
        for one in item.get("ports") or []
    )
    ready = [
        one
        for one in item.get("endpoints") or []
        if (one.get("conditions") or {}).get("ready") is not False
    ]
    return f"{len(ready)} ready: {', '.join(ports)}"


def _block(item: Json, living: Living) -> Iterator[Fact]:
    """The addresses that Calico holds taken, but for those of pods that live."""
    spec = item["spec"]
    known = {pod.name for pod in living.pods}
    for attribute in spec.get("attributes") or []:
        about = attribute.get("secondary") or {}
        if "pod" not in about:
            continue  # a node's end of the tunnel
        name = f"{about.get('namespace')}/{about['pod']}"
        if name not in known:
            marks = frozenset({f"ns:{about.get('namespace')}", f"pod:{name}"})
            yield Fact(what=f"Calico address of gone pod {name}", value="taken", marks=marks)


def _service_marks(item: Json) -> set[str]:
    spec = item.get("spec", {})
    ingress = item.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    addresses = {
        *(spec.get("clusterIPs") or []),
        spec.get("clusterIP") or "",
        *(spec.get("externalIPs") or []),
        *(one.get("ip", "") for one in ingress),
    }
    ports = {f"port:{one['nodePort']}" for one in spec.get("ports") or [] if one.get("nodePort")}
    return (addresses - {"", "None"}) | ports
