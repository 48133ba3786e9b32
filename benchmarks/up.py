"""How long things take, and how the whole compares with kubeadm typed by hand on the same host.

Run it with the Python that ``./l4lab`` made for itself (any verb makes it), as a user who may make
machines, with no other cluster up and the bundle made (``./l4lab bundle``)::

    ~/.cache/l4lab/python/*/bin/python benchmarks/up.py [--json] > table.txt

It makes the course's cluster twice, one after the other, each from nothing and each torn down:

- ours: ``l4lab up``, ``deploy``, ``check``, a second ``up``, power off and on, ``down``;
- raw: the same machines, with the same configuration files, brought up by kubeadm and kubectl
  over ssh, without Ansible, Pulumi, a database or any look at the machines.

Both end when, on a worker, the cluster's DNS names the lab's Service and its cluster address
answers; the last row is ours divided by raw. It takes some ten minutes. Times are seconds.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "infra")]
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"

from l4lab import bundle  # noqa: E402  found only now
from l4lab.command import Result, run  # noqa: E402  as above
from l4lab.machines.local import LocalDriver  # noqa: E402  as above
from l4lab.settings import parse  # noqa: E402  as above
from l4lab.state import Paths, paths_of  # noqa: E402  as above
from l4lab.topology import Machine, Topology  # noqa: E402  as above
from labs.clusterip import facts  # noqa: E402  as above

OURS, RAW = "benchmark", "benchmark-raw"
_UP = 1200  # seconds until a whole cluster is given up
_STEP = 420  # seconds for any part of it
_FILES = (  # what l4lab writes on a node before kubeadm runs, and for kubeadm
    "etc/containerd etc/systemd/system/containerd.service etc/systemd/system/kubelet.service "
    "etc/sysctl.d/60-l4lab.conf etc/modules-load.d/l4lab.conf etc/resolv.conf etc/kubernetes/l4lab"
)
_PREPARE = """
systemctl daemon-reload
sysctl --quiet --load /etc/sysctl.d/60-l4lab.conf
systemctl enable --quiet kubelet
systemctl start containerd
"""
_INIT = """
kubeadm init --config /etc/kubernetes/l4lab/init.yaml --skip-token-print >&2
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl apply --server-side --filename /etc/kubernetes/l4lab/calico >&2
base64 -w0 /etc/kubernetes/pki/ca.crt
"""
_READY = f"""
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl wait --for=condition=Ready nodes --all --timeout={_STEP}s
kubectl -n kube-system rollout status deployment/coredns --timeout={_STEP}s
"""
_APP = f"""
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl -n {facts.NAMESPACE} create deployment {facts.DEPLOYMENT} --image={facts.IMAGE} \\
    --replicas={facts.REPLICAS} --port={facts.CONTAINER_PORT}
kubectl -n {facts.NAMESPACE} expose deployment {facts.DEPLOYMENT} --name={facts.SERVICE} \\
    --port={facts.PORT} --target-port={facts.TARGET_PORT}
"""
# On a node: ask the cluster's DNS for a Service, then the address it names for a page.
_PROBE = """
import socket, struct, sys, time, urllib.request
name, dns, port, within = sys.argv[1:]
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
query = struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + labels + struct.pack(">B2H", 0, 1, 1)
until = time.monotonic() + float(within)
while True:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
            talk.settimeout(1)
            talk.connect((dns, 53))
            talk.send(query)
            answer = talk.recv(512)
        if answer[3] & 15 or answer[6:8] == b"\\0\\0":
            raise OSError("the name is not known yet")
        address = socket.inet_ntoa(answer[-4:])
        urllib.request.urlopen(f"http://{address}:{port}/", timeout=2).read()
        break
    except OSError as failed:
        if time.monotonic() > until:
            sys.exit(f"no answer: {failed}")
        time.sleep(0.1)
"""


class Table:
    """Rows in the order they were measured."""

    def __init__(self) -> None:
        self.rows: dict[str, float] = {}

    @contextlib.contextmanager
    def row(self, title: str) -> Iterator[None]:
        """Measure the block, in seconds."""
        print(f"{title} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        yield
        self.rows[title] = time.monotonic() - started

    def total(self, title: str, *parts: str) -> None:
        """Add up rows."""
        self.rows[title] = sum(self.rows[part] for part in parts)

    def render(self) -> str:
        """The rows, for a person."""
        return "\n".join(f"{title:<48} {value:9.2f}" for title, value in self.rows.items())


def on(paths: Paths, machine: Machine, script: str, *words: str, reader: str = "sh -eus") -> Result:
    """Run a script on a machine; the script, and what is secret in it, goes by standard input."""
    command = " ".join([reader, *words])
    argv: list[str | Path] = ["ssh", "-F", paths.ssh_config, machine.name, command]
    return run(argv, timeout=_STEP, input=script)


def until_it_answers(paths: Paths, topology: Topology) -> None:
    """Wait until, on the last node, DNS names the Service and its address gives a page."""
    name = f"{facts.SERVICE}.{facts.NAMESPACE}.svc.cluster.local"
    words = [name, str(topology.networks.dns), str(facts.PORT), str(_STEP - 30)]
    on(paths, topology.nodes[-1], _PROBE, *words, reader="python3 -")


def measure_ours(table: Table, config: Path, paths: Paths, topology: Topology) -> dict[str, str]:
    """Measure l4lab, and return the configuration files of its nodes, packed, by node."""

    def l4lab(*words: str, check: bool = True) -> Result:
        options = ["--config", str(config), "--quiet"]
        argv = [str(PROJECT / "l4lab"), words[0], *options, *words[1:]]
        return run(argv, timeout=_UP, check=check)

    with table.row("ours: up"):
        l4lab("up")
    with table.row("ours: deploy clusterip"):
        l4lab("deploy", "clusterip")
    with table.row("ours: until the Service answers"):
        until_it_answers(paths, topology)
    with table.row("ours: up again, nothing to change"):
        l4lab("up")
    with table.row("ours: check clusterip"):
        green = l4lab("check", "clusterip", check=False).succeeded
    table.rows["ours: checks all green (1) or not (0)"] = float(green)
    status: dict[str, Any] = json.loads(l4lab("status", "--json").stdout)
    memory = [machine["memory_mib"] or 0 for machine in status["machines"].values()]
    table.rows["ours: resident memory of all machines, MiB"] = float(sum(memory))
    pack = f"tar -C / -cz --exclude=begun --exclude=done {_FILES} | base64 -w0"
    packed = {machine.name: on(paths, machine, pack).stdout for machine in topology.nodes}
    with table.row("ours: down --keep-disks"):
        l4lab("down", "--keep-disks")
    with table.row("ours: up from kept disks, until it answers"):
        l4lab("up")
        until_it_answers(paths, topology)
    with table.row("ours: down"):
        l4lab("down")
    return packed


def measure_raw(
    table: Table, driver: LocalDriver, made: bundle.Bundle, packed: dict[str, str]
) -> None:
    """Measure kubeadm by hand, on machines of the same driver."""
    paths, topology = driver.paths, driver.topology
    master, *workers = topology.nodes

    def everywhere(machines: list[Machine], work: Callable[[Machine], object]) -> None:
        with ThreadPoolExecutor(len(machines)) as pool:
            list(pool.map(work, machines))

    def prepare(machine: Machine) -> None:
        on(paths, machine, packed[machine.name], reader="base64 -d | tar -xz -C /")
        on(paths, machine, _PREPARE)

    def join(machine: Machine) -> None:
        cluster = "/etc/kubernetes/l4lab/cluster.yaml"
        trust = f"sed -i 's|^\\( *certificate-authority-data:\\).*|\\1 {authority}|' {cluster}\n"
        on(paths, machine, f"{trust}kubeadm join --config /etc/kubernetes/l4lab/join.yaml >&2\n")

    with table.row("raw: machines, power-on to SSH"):
        driver.up(made, lambda _text: None)
    with table.row("raw: files, containerd"):
        everywhere([master, *workers], prepare)
    with table.row("raw: kubeadm init, Calico applied"):
        authority = on(paths, master, _INIT).stdout.strip()
        if not re.fullmatch(r"[A-Za-z0-9+/=]+", authority) or not base64.b64decode(authority):
            raise SystemExit("the new cluster's certificate could not be read")
    with table.row("raw: kubeadm join"):
        everywhere(list(workers), join)
    with table.row("raw: nodes and CoreDNS ready"):
        on(paths, master, _READY)
    with table.row("raw: app applied, until the Service answers"):
        on(paths, master, _APP)
        until_it_answers(paths, topology)


def main() -> None:
    """Measure both, one after the other, and leave nothing."""
    parser = argparse.ArgumentParser(description="Measure l4lab against kubeadm typed by hand.")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    made = bundle.find()
    if made is None:
        raise SystemExit("there is no bundle yet: ./l4lab bundle")
    settings = {name: parse({"cluster": {"name": name}}, name) for name in (OURS, RAW)}
    paths = {name: paths_of(PROJECT, name) for name in (OURS, RAW)}
    driver = LocalDriver(settings[RAW].topology, paths[RAW])
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "l4lab.toml"
        config.write_text(f'[cluster]\nname = "{OURS}"\n')
        down = [str(PROJECT / "l4lab"), "down", "--config", str(config), "--quiet"]
        try:
            run(down, timeout=_STEP)  # what an earlier run that was killed may have left
            driver.down()
            packed = measure_ours(table, config, paths[OURS], settings[OURS].topology)
            # Last, because it moves this process into the network of its machines.
            measure_raw(table, driver, made, packed)
        finally:
            run(down, timeout=_STEP, check=False)
            driver.down()
            shutil.rmtree(paths[RAW].root, ignore_errors=True)
    first = ("ours: up", "ours: deploy clusterip", "ours: until the Service answers")
    table.total("ours: from nothing until the Service answers", *first)
    raw = [title for title in table.rows if title.startswith("raw: ")]
    table.total("raw: from nothing until the Service answers", *raw)
    ours, theirs = list(table.rows.values())[-2:]
    table.rows["ours divided by raw"] = ours / theirs
    print(json.dumps(table.rows, indent=2) if options.json else table.render())


if __name__ == "__main__":
    main()
