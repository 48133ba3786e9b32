"""What breaks a cluster and mends it: kubectl, and commands on its machines."""

import itertools
import json
import time

from l4lab.checks.model import Vantage, Where
from l4lab.checks.reach import LiveReach
from l4lab.command import run
from l4lab.state import Access
from l4lab.topology import Role

NOTICED = 120.0  # seconds; on a busy machine kube-proxy was seen to need half a minute


def attempts(least):
    """So many attempts, and more until a busy cluster has had the time to notice a change."""
    until = time.monotonic() + NOTICED
    for attempt in itertools.count(1):
        yield attempt
        if attempt >= least and time.monotonic() >= until:
            return


class Hands:
    """Changes a cluster, by kubectl and on its machines."""

    def __init__(self, access: Access, namespace: str = "default"):
        self.access = access
        self.topology = access.topology
        self.reach = LiveReach(access, namespace=namespace)
        self.kept = {}
        """What a break has to remember for its undoing."""

    @property
    def far(self) -> str:
        """A node on which none of the pods is: the control plane takes no pods."""
        return self.topology.control_plane.name

    @property
    def worker(self) -> str:
        return self.topology.with_role(Role.WORKER)[0].name

    @property
    def database(self) -> str:
        return self.topology.with_role(Role.MARIADB)[0].name

    @property
    def outside(self) -> str:
        """The machine that plays the internet."""
        return self.topology.outside.name

    def kubectl(self, *words, stdin=None):
        argv = [self.access.kubectl, f"--kubeconfig={self.access.paths.kubeconfig}", *words]
        return run(argv, timeout=120, input=stdin).stdout

    def on(self, machine, *argv):
        result = self.reach.run(Vantage(Where.NODE, machine), argv, timeout=60)
        assert result.succeeded, f"{machine}: {' '.join(argv)}: {result.last_line}"
        return result.stdout

    def patch(self, kind, name, path, value):
        """Replace one field; the path is a JSON pointer."""
        change = json.dumps([{"op": "replace", "path": path, "value": value}])
        self.kubectl("patch", kind, name, "--type=json", "-p", change)

    def json(self, *words):
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def pod_addresses(self, labels) -> list[str]:
        """Addresses of the pods with these labels that stay, in the order of their names."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return [
            item["status"]["podIP"]
            for item in self.json("pods", "-l", selector)["items"]
            if "deletionTimestamp" not in item["metadata"] and item["status"].get("podIP")
        ]

    def leaving(self) -> str | None:
        """The pods on their way out, for a wait for their end; None if there is none."""
        going = [
            item["metadata"]["name"]
            for item in self.json("pods")["items"]
            if "deletionTimestamp" in item["metadata"]
        ]
        return ", ".join(going) or None

    def freeze_proxy(self, node):
        """Without kube-proxy, what is changed in the node's kernel stays changed."""
        self.on(node, "sh", "-c", "kill -STOP $(pidof kube-proxy)")

    def thaw_proxy(self, node):
        self.on(node, "sh", "-c", "kill -CONT $(pidof kube-proxy)")
