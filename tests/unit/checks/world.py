"""A cluster that exists only in memory and answers every command the clusterip checks run.

It behaves, rather than replays: endpoints follow labels and selectors, kernels follow endpoints
where kube-proxy runs, requests follow the kernels. So a break is one change of state.
"""

import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from l4lab.checks.model import CannotMeasure, Where
from l4lab.command import Result
from l4lab.topology import Machine, Networks, Role, Topology
from labs.clusterip import facts

ADDRESS = "10.10.3.4"


def topology():
    def machine(name, role, last):
        address = IPv4Address(f"192.168.128.{last}")
        return Machine(name=name, role=role, address=address, memory_mib=1024)

    return Topology(
        name="test",
        machines=(
            machine("k8s-master01", Role.CONTROL_PLANE, 11),
            machine("k8s-node01", Role.WORKER, 21),
            machine("k8s-node02", Role.WORKER, 22),
            machine("mariadb01", Role.MARIADB, 31),
        ),
        networks=Networks(
            nodes=IPv4Network("192.168.128.0/24"),
            pods=IPv4Network("10.244.0.0/16"),
            services=IPv4Network("10.10.0.0/16"),
        ),
    )


@dataclass
class Kernel:
    rows: dict = field(default_factory=dict)
    conns: dict = field(default_factory=lambda: defaultdict(int))
    table: list = field(default_factory=list)
    syns_again: int = 0
    turn: int = 0


class Clock(threading.local):
    """Time that passes only by sleeping (and a little by each look), for each thread its own."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        self.time += 0.001
        return self.time

    def sleep(self, seconds):
        self.time += seconds


class World:
    def __init__(self):
        self.lock = threading.RLock()
        self.topology = topology()
        self.deployed = True
        self.replicas = facts.REPLICAS
        self.template_labels = dict(facts.LABELS)
        self.image_reason = None
        self.service = {
            "type": "ClusterIP",
            "clusterIP": ADDRESS,
            "selector": dict(facts.LABELS),
            "ports": [
                {
                    "name": facts.PORT_NAME,
                    "port": facts.PORT,
                    "targetPort": facts.TARGET_PORT,
                    "protocol": facts.PROTOCOL,
                    "appProtocol": facts.APP_PROTOCOL,
                }
            ],
        }
        self.scheduler = defaultdict(lambda: "rr")
        self.weight = 1
        self.stopped_proxies = set()
        self.dead_machines = set()
        self.blocked = set()  # (node, pod address)
        self.lossy = set()  # nodes whose first SYN to other nodes is lost
        self.coredns = True
        self.node_knows_names = False
        self.reachable_from_outside = False
        self.outsider_is_cut_off = False
        self.served_by = True
        self.leaving = []  # addresses of pods that end: listed, but not ready
        self.noise = 0  # connections somebody else makes with each of ours
        self.uneven = False
        self.resolver = "10.10.0.10"
        self.kernels = {node.name: Kernel() for node in self.topology.nodes}
        self.pods = []
        self.made = 0
        self.commands = []
        self.sync()

    # -- controllers ------------------------------------------------------------------------

    def sync(self):
        if not self.deployed:
            self.pods = []
        else:
            while len(self.pods) > self.replicas:
                self.pods.pop()
            while len(self.pods) < self.replicas:
                self.made += 1
                self.pods.append(
                    {
                        "name": f"{facts.DEPLOYMENT}-{self.made}",
                        "address": f"10.244.{self.made % 2 + 1}.{self.made + 4}",
                        "node": f"k8s-node0{self.made % 2 + 1}",
                        "labels": dict(self.template_labels),
                    }
                )
        for node, kernel in self.kernels.items():
            if node not in self.stopped_proxies:
                port = self.service["ports"][0]
                key = (port["protocol"], f"{ADDRESS}:{port['port']}")
                kernel.rows = {key: self.endpoints()} if self.deployed else {}

    def endpoints(self):
        selector = self.service["selector"].items()
        port = self.service["ports"][0]["targetPort"]
        return [
            f"{pod['address']}:{port}"
            for pod in self.pods
            if pod.get("ready", True) and selector <= pod["labels"].items()
        ]

    # -- commands ---------------------------------------------------------------------------

    def run(self, vantage, argv, *, timeout):
        with self.lock:
            self.commands.append((str(vantage), tuple(argv)))
            if vantage.name in self.dead_machines:
                raise CannotMeasure(f"machine {vantage.name} cannot be reached", final=True)
            rc, out, err = self.answer(vantage, list(argv))
        return Result(argv=tuple(argv), rc=rc, stdout=out, stderr=err, seconds=0.01)

    def answer(self, vantage, argv):  # noqa: PLR0911, PLR0912 (one case a command)
        match argv:
            case ["true"]:
                return 0, "", ""
            case ["kubectl", *words]:
                return self.kubectl(words)
            case ["cat", "/etc/resolv.conf"]:
                search = f"{facts.NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local"
                return 0, f"search {search}\nnameserver {self.resolver}\noptions ndots:5\n", ""
            case ["nslookup", _]:
                if not (self.coredns and self.deployed):
                    return 1, "", ";; connection timed out; no servers could be reached"
                head = "Server:\t\t10.10.0.10\nAddress:\t10.10.0.10:53\n\n"
                return 0, f"{head}Name:\t{argv[1]}\nAddress: {ADDRESS}\n\n", ""
            case ["timeout", _, "wget", *_]:
                return self.wget(argv[-1])
            case ["dig", *_]:
                return (0, f"{ADDRESS}\n", "") if self.coredns else (9, ";; timed out\n", "")
            case ["env", *_]:
                return (0, f"{ADDRESS} name\n", "") if self.node_knows_names else (2, "", "")
            case ["ip", "route", "get", _]:
                return 2, "", "RTNETLINK answers: Network is unreachable"
            case ["ip", *_]:
                rows = self.kernels[vantage.name].rows
                info = [{"local": key[1].split(":")[0]} for key in rows]
                links = [
                    {"ifname": "vec0", "addr_info": [{"local": "192.168.128.11"}]},
                    {"ifname": "kube-ipvs0", "addr_info": info},
                ]
                return 0, json.dumps(links), ""
            case ["nstat", *_]:
                count = self.kernels[vantage.name].syns_again
                return 0, f"#kernel\nTcpExtTCPSynRetrans             {count}     0.0\n", ""
            case ["ipvsadm", flag, *_]:
                return 0, self.ipvsadm(vantage.name, flag, "--stats" in argv), ""
            case ["curl", "-sS", *_]:
                if vantage.name in self.stopped_proxies:
                    return 7, "", "curl: (7) Failed to connect to 127.0.0.1 port 10249"
                return 0, "ipvs", ""
            case ["curl", *_]:
                return self.curl(vantage, argv[-1])
        return 127, "", f"sh: {argv[0]}: not found"

    def ipvsadm(self, node, flag, with_stats):
        kernel = self.kernels[node]
        if flag == "-Lnc":
            lines = ["IPVS connection entries", "pro expire state       source  virtual  dest"]
            return "\n".join(lines + kernel.table)
        lines = ["IP Virtual Server version 1.2.1 (size=4096)"]
        lines += ["Prot LocalAddress:Port Scheduler Flags", "  -> RemoteAddress:Port  Forward"]
        for (protocol, address), backends in kernel.rows.items():
            if with_stats:
                total = sum(kernel.conns.values())
                lines.append(f"{protocol}  {address}   {total}  9 9 9 9")
                lines += [f"  -> {one}   {kernel.conns[one]}  9 9 9 9" for one in backends]
            else:
                lines.append(f"{protocol}  {address} {self.scheduler[node]}")
                lines += [f"  -> {one}   Masq    {self.weight}   0   0" for one in backends]
        return "\n".join(lines) + "\n"

    def curl(self, vantage, url):
        url, _, many = url.partition("?")
        times = int(many[3:-1]) if many else 1
        out = err = ""
        for _ in range(times):
            line, said = self.request(vantage, url.removeprefix("http://").strip("/"))
            out += f"\n{line}\n"
            err += said
        return 0, out, err

    def request(self, vantage, target):
        if target.startswith("https://"):
            if self.outsider_is_cut_off:
                return "28|000|0.0|:0||Connection timed out after 3001 milliseconds", ""
            return "0|401|0.001|192.168.128.1:40000||", ""
        inside = vantage.where is Where.NODE
        if target.startswith(ADDRESS):
            if not inside and not self.reachable_from_outside:
                said = f"* connect to {ADDRESS} port 80 failed: Network is unreachable\n"
                return "7|000|0.0|:0||Failed to connect", said
            node = vantage.name if inside else "k8s-node01"
            kernel = self.kernels[node]
            backends = kernel.rows.get((facts.PROTOCOL, target))
            if not backends:
                return self.refused(target)
            kernel.turn += 1
            chosen = backends[0 if self.uneven else kernel.turn % len(backends)]
            kernel.conns[chosen] += 1 + self.noise
            source = f"{ADDRESS}:{40000 + kernel.turn}"
            kernel.table.append(f"TCP 01:57  TIME_WAIT   {source}  {target}  {chosen}")
            return self.deliver(vantage, chosen, source)
        return self.deliver(vantage, target, "192.168.128.11:50000")

    def deliver(self, vantage, target, source):
        address, _, port = target.partition(":")
        pod = next((pod for pod in self.pods if pod["address"] == address), None)
        if pod is None or (vantage.name, address) in self.blocked:
            return "28|000|0.0|:0||Connection timed out after 3001 milliseconds", ""
        if int(port or 80) != facts.CONTAINER_PORT:
            return self.refused(target)
        seconds = 0.002
        if vantage.name in self.lossy and pod["node"] != vantage.name:
            self.kernels[vantage.name].syns_again += 1
            seconds = 1.02
        name = pod["name"] if self.served_by else ""
        return f"0|200|{seconds}|{source}|{name}|", ""

    def refused(self, target):
        address, _, port = target.partition(":")
        said = f"* connect to {address} port {port} failed: Connection refused\n"
        return f"7|000|0.0|:0||Failed to connect to {address}", said

    def wget(self, url):
        name = url.removeprefix("http://").split(":")[0]
        if not self.coredns:
            return 1, "", f"wget: bad address '{name}'"
        said = f"Connecting to {name} ({ADDRESS}:80)\n"
        if not self.kernels["k8s-node01"].rows.get((facts.PROTOCOL, f"{ADDRESS}:80")):
            return 1, "", said + "wget: can't connect to remote host: Connection refused"
        return 0, "", said + "saving to '/dev/null'\n"

    # -- the API ----------------------------------------------------------------------------

    def kubectl(self, words):
        match words:
            case ["get", "deployments,pods,services,endpointslices", *_]:
                return 0, json.dumps({"items": self.items()}), ""
            case ["describe", "service", *_]:
                listed = ",".join(self.endpoints())
                return 0, f"Name:  my-nginx\nEndpoints:          {listed}\nEvents: <none>\n", ""
            case ["scale", _, replicas, *_]:
                self.replicas = int(replicas.partition("=")[2])
                self.sync()
                return 0, "scaled", ""
            case ["delete", "pod", name, *_]:
                self.pods = [pod for pod in self.pods if pod["name"] != name]
                self.sync()
                return 0, "deleted", ""
        return 0, "", ""

    def items(self):
        client = {
            "kind": "Pod",
            "metadata": {"name": facts.CLIENT, "labels": {}},
            "spec": {"nodeName": "k8s-node01"},
            "status": {"phase": "Running", "podIP": "10.244.1.3"},
        }
        if not self.deployed:
            return []
        container = {
            "image": facts.IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": facts.CONTAINER_PORT, "protocol": "TCP"}],
        }
        template = {
            "metadata": {"labels": self.template_labels},
            "spec": {"containers": [container]},
        }
        deployment = {
            "kind": "Deployment",
            "metadata": {"name": facts.DEPLOYMENT},
            "spec": {"replicas": self.replicas, "template": template},
            "status": {"readyReplicas": self.replicas},
        }
        service = {
            "kind": "Service",
            "metadata": {"name": facts.SERVICE},
            "spec": self.service,
        }
        targets = {pod["address"]: pod["name"] for pod in self.pods}
        listed = [one.partition(":")[0] for one in self.endpoints()]
        endpoint_slice = {
            "kind": "EndpointSlice",
            "metadata": {
                "name": "my-nginx-abcde",
                "labels": {"kubernetes.io/service-name": facts.SERVICE},
            },
            "ports": [{"port": self.service["ports"][0]["targetPort"]}],
            "endpoints": [
                {
                    "addresses": [one],
                    "conditions": {"ready": True},
                    "targetRef": {"name": targets[one]},
                }
                for one in listed
            ]
            + [{"addresses": [one], "conditions": {"ready": False}} for one in self.leaving],
        }
        return [deployment, service, endpoint_slice, client, *map(self.pod, self.pods)]

    def pod(self, pod):
        status = {"phase": "Running", "podIP": pod["address"]}
        ready = str(pod.get("ready", True))
        status["conditions"] = [{"type": "Ready", "status": ready}]
        if self.image_reason:
            status["conditions"] = [{"type": "Ready", "status": "False"}]
            waiting = {"reason": self.image_reason, "message": "no such image"}
            status["containerStatuses"] = [{"state": {"waiting": waiting}}]
        return {
            "kind": "Pod",
            "metadata": {"name": pod["name"], "labels": pod["labels"]},
            "spec": {"nodeName": pod["node"]},
            "status": status,
        }
