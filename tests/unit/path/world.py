"""What a real cluster answered while lab clusterip was followed: node by node, tool by tool.

A test changes the answers that a break changes. Every place may be asked for a tool only; what
nobody recorded is an error of the test.
"""

import json

from l4lab.checks.look import Look
from l4lab.checks.model import API, CannotMeasure
from l4lab.checks.reach import SharedReads
from l4lab.command import Result
from l4lab.path.hops import assemble
from l4lab.path.measure import Tracer
from tests.unit.checks.world import Clock, topology

CLUSTER = "10.10.3.4"
NEAR, FAR = "10.244.58.202", "10.244.85.205"
PORT = 21001
MASTER, NODE1, NODE2 = "k8s-master01", "k8s-node01", "k8s-node02"
LABELS = {"run": "my-nginx"}


def service(name, address, *, port=80, target=80, labels=None, namespace="default", **spec):
    ports = [{"name": "tcp-80", "port": port, "targetPort": target, "protocol": "TCP"}]
    ports[0].update(spec.pop("port_fields", {}))
    return {
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": address, "ports": ports, "selector": labels, **spec},
    }


def slice_of(name, addresses, *, port=80, port_name="tcp-80", namespace="default", ready=True):
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": f"{name}-x",
            "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "nodeName": node, "conditions": {"ready": ready}}
            for address, node in addresses.items()
        ],
    }


def pod(name, address, node, labels=None, *, phase="Running"):
    running = [{"containerID": f"containerd://{name}-id", "state": {"running": {}}}]
    return {
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "labels": labels or {}},
        "spec": {"nodeName": node},
        "status": {
            "phase": phase,
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": running if phase == "Running" else [],
        },
    }


CARDS = {MASTER: "02:00:00:00:00:11", NODE1: "02:00:00:00:00:21", NODE2: "02:00:00:00:00:22"}


def bound(*names, node=NODE1):
    card = CARDS[node]
    own = f"192.168.128.{card[-2:]}"
    links = [
        {"ifname": "vec0", "address": card, "addr_info": [{"local": own}]},
        {"ifname": "kube-ipvs0", "addr_info": [{"local": one} for one in names]},
    ]
    return json.dumps(links)


def row(address, *backends):
    lines = ["IP Virtual Server version 1.2.1 (size=4096)", f"TCP  {address} rr"]
    return "\n".join(lines + [f"  -> {one}   Masq    1   0   0" for one in backends])


def stats(address, count):
    return f"TCP  {address}   {count}  9 9 9 9\n"


def taken(source, virtual, destination, state="TIME_WAIT"):
    return f"TCP 01:58  {state}   {source}  {virtual}  {destination}\n"


def tracked(one, two, back_one, back_two, *, state="TIME_WAIT", replied=True):
    def words(source, destination):
        (src, sport), (dst, dport) = source.split(":"), destination.split(":")
        return f"src={src} dst={dst} sport={sport} dport={dport}"

    flag = "" if replied else "[UNREPLIED] "
    assured = "[ASSURED] " if replied else ""
    return (
        f"tcp      6 118 {state} {words(one, two)} {flag}{words(back_one, back_two)} "
        f"{assured}mark=0 use=1\n"
    )


def said(fault_line, *, local="", served="", status="200", code="0", message="", connect="0.002"):
    out = f"\n{code}|{status}|{connect}|{local}|{served}|{message}\n"
    return int(code), out, fault_line


REFUSED = said(
    f"* connect to {CLUSTER} port 80 failed: Connection refused\n",
    code="7",
    status="000",
    connect="0.000",
    message="Failed to connect",
)
TIMEOUT = said("", code="28", status="000", connect="0.000", message="Connection timed out")
UNREACHABLE = said(
    f"* connect to {CLUSTER} port 80 failed: Network is unreachable\n",
    code="7",
    status="000",
    connect="0.000",
    message="Failed to connect",
)


class World:
    """Answers by place and tool; an answer is a text, or exit code and both outputs."""

    def __init__(self):
        self.topology = topology()
        self.items = {
            "my-nginx": service("my-nginx", CLUSTER, labels=LABELS),
            "slice": slice_of("my-nginx", {NEAR: NODE2, FAR: NODE1}),
            "dns": service("kube-dns", "10.10.0.10", namespace="kube-system", port=53),
            "dns-slice": slice_of("kube-dns", {"10.244.32.2": MASTER}, namespace="kube-system"),
            "client": pod("client", "10.244.58.193", NODE2),
            "near": pod("web-near", NEAR, NODE2, LABELS),
            "far": pod("web-far", FAR, NODE1, LABELS),
        }
        self.virtual = f"{CLUSTER}:80"
        self.answers = {}
        self.dead = set()
        self.commands = []
        for node in (MASTER, NODE1, NODE2):
            self.set(node, "mode", "ipvs")
            self.set(node, "address", bound(CLUSTER, "10.10.0.10", node=node))
            self.set(node, "row", row(self.virtual, f"{NEAR}:80", f"{FAR}:80"))
            self.set(node, "stats", [stats(self.virtual, 54), stats(self.virtual, 55)])
            self.set(node, "conntrack", "")
            self.set(node, "table", "")
            self.set(node, "rules", "")
            self.set(node, "hosts", "127.0.0.1 localhost\n")
        self.from_pod()

    def set(self, place, tool, answer):
        self.answers[place, tool] = answer

    def from_pod(self):
        """The client pod's connection, answered by the pod on the other node."""
        source = f"10.244.58.193:{PORT}"
        self.set(
            NODE2,
            "resolver",
            "search default.svc.cluster.local\nnameserver 10.10.0.10\noptions ndots:5\n",
        )
        name = "my-nginx.default.svc.cluster.local."
        self.set(
            NODE2,
            "dig",
            f";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1\n{name} 30 IN A {CLUSTER}\n",
        )
        self.set(NODE2, "processes", "/proc/1464/cgroup\n/proc/982/cgroup\n")
        self.set(NODE1, "processes", "/proc/77/cgroup\n")
        self.set(
            NODE2,
            f"route {CLUSTER}",
            '[{"gateway":"169.254.1.1","dev":"eth0","prefsrc":"10.244.58.193"}]',
        )
        self.set(NODE2, f"route {FAR}", '[{"gateway":"10.244.85.192","dev":"vxlan.calico"}]')
        self.set(NODE2, "probe", said("", local=source, served="web-far"))
        self.set(NODE2, "table", taken(source, self.virtual, f"{FAR}:80"))
        self.set(NODE2, "conntrack", tracked(source, self.virtual, f"{FAR}:80", source))
        self.set(NODE1, "conntrack", tracked(source, f"{FAR}:80", f"{FAR}:80", source))
        self.set(NODE1, "sockets", "LISTEN 0 511 0.0.0.0:80 0.0.0.0:*\n")

    def from_node(self):
        """The control plane's own connection: its source is masqueraded."""
        source, seen = f"{CLUSTER}:{PORT}", "10.244.32.128:33871"
        self.set(MASTER, "resolver", "nameserver 192.168.128.1\n")
        self.set(MASTER, "getent", (2, "", ""))
        self.set(
            MASTER, f"route {CLUSTER}", f'[{{"type":"local","dev":"lo","prefsrc":"{CLUSTER}"}}]'
        )
        self.set(MASTER, f"route {FAR}", '[{"gateway":"10.244.85.192","dev":"vxlan.calico"}]')
        self.set(MASTER, "probe", said("", local=source, served="web-far"))
        self.set(MASTER, "table", taken(source, self.virtual, f"{FAR}:80"))
        self.set(MASTER, "conntrack", tracked(source, self.virtual, f"{FAR}:80", seen))
        self.set(NODE1, "conntrack", tracked(seen, f"{FAR}:80", f"{FAR}:80", seen))

    def from_outside(self):
        """This host: no route into the cluster's own networks."""
        self.set("host", "resolver", "nameserver 10.255.255.53\n")
        self.set("host", "hosts", "")
        self.set("host", "getent", (2, "", ""))
        self.set("host", f"route {CLUSTER}", (2, "", "RTNETLINK answers: Network is unreachable\n"))
        self.set("host", "probe", UNREACHABLE)

    def nothing_came_back(self, probe=REFUSED):
        """No kernel knows the connection."""
        for node in (MASTER, NODE1, NODE2):
            self.set(node, "table", "")
            self.set(node, "conntrack", "")
            self.set(node, "stats", stats(self.virtual, 54))
        for place in ("host", MASTER, NODE2):
            self.set(place, "probe", probe)

    def follow(self, client, target):
        clock = Clock()
        look = Look(
            reach=self,
            shared=SharedReads(self, max_age=0),
            vantage=API,
            topology=self.topology,
            namespace="default",
            lab="",
            clock=clock,
        )
        tracer = Tracer(look, self.topology, ports=iter(range(PORT, PORT + 9)))
        return assemble(tracer.measure(client, target))

    # --- the way commands come in ---------------------------------------------------------------

    def run(self, vantage, argv, *, timeout):
        words = list(argv)
        place = vantage.name or str(vantage.where)
        if place in self.dead:
            raise CannotMeasure(f"machine {place} cannot be reached", final=True)
        if words[0] == "kubectl":
            answer = json.dumps({"items": list(self.items.values())})
        else:
            if words[0] == "nsenter":
                words = words[4:]
            tool = tool_of(words)
            self.commands.append((place, tool, list(argv)))
            answer = self.answers[place, tool]
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        rc, out, err = (0, answer, "") if isinstance(answer, str) else answer
        return Result(argv=tuple(argv), rc=rc, stdout=out, stderr=err, seconds=0.01)


def tool_of(words):  # noqa: PLR0911, PLR0912 (one a tool)
    match words:
        case ["cat", path]:
            return "resolver" if path.endswith("resolv.conf") else "hosts"
        case ["ip", *_, "get", address]:
            return f"route {address}"
        case ["ip", *_, "neigh", "show", address]:
            return f"neighbour {address}"
        case ["ip", *_]:
            return "address"
        case ["sh", *_]:
            return "processes"
        case ["env", *_]:
            return "getent"
        case ["nft", "-j", *_]:
            return "maps"
        case ["nft", *_]:
            return "rules"
        case ["ss", *_]:
            return "sockets"
        case ["curl", "-sS", *_]:
            return "mode"
        case ["curl" | "python3", *_]:
            return "probe"
        case ["ipvsadm", "-Lnc"]:
            return "table"
        case ["ipvsadm", *rest]:
            return "stats" if "--stats" in rest else "row"
    return words[0]


def rows(path, hop):
    found = next(one for one in path.hops if one.id == hop)
    return dict(found.rows)


def marks(path):
    return {hop.id: hop.mark for hop in path.hops}


def sent_on(world, at, source):
    """A node without a pod has taken a connection, and sent it on as its own to another node."""
    seen = "10.244.32.128:9"
    world.set(MASTER, "row", row(at, f"{FAR}:80"))
    world.set(MASTER, "stats", [stats(at, 0), stats(at, 1)])
    world.set(MASTER, f"route {FAR}", '[{"gateway":"10.244.85.192","dev":"vxlan.calico"}]')
    world.set(MASTER, "table", taken(source, at, f"{FAR}:80"))
    world.set(MASTER, "conntrack", tracked(source, at, f"{FAR}:80", seen))
    world.set(NODE1, "conntrack", tracked(seen, f"{FAR}:80", f"{FAR}:80", seen))
    world.set("host", "probe", said("", local=source, served="web-far"))


def node_port(world, **spec):
    """Lab nodeport as seen from outside on a node without a pod of it."""
    world.items["np"] = service(
        "np", "10.10.9.9", type="NodePort", port_fields={"nodePort": 30380}, **spec
    )
    world.items["np-slice"] = slice_of("np", {FAR: NODE1})
    world.from_outside()
    world.set("host", "route 192.168.128.11", '[{"dev":"lab0","prefsrc":"192.168.128.1"}]')
    sent_on(world, "192.168.128.11:30380", f"192.168.128.1:{PORT}")
