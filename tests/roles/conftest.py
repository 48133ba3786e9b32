"""The whole of site.yml, run by Ansible for four machines that exist in name only.

The modules that touch a machine are replaced by ones that write down what they were asked; tasks
that run programs are left out by check mode. What is left is all the roles' own work: deciding and
rendering.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
ADDRESSES = {
    "k8s-master01": "192.168.128.11",
    "k8s-node01": "192.168.128.21",
    "k8s-node02": "192.168.128.22",
    "mariadb01": "192.168.128.31",
}
# A local machine, before anything was done to it.
FRESH = {
    "uml": True,
    "address_is_local": True,
    "cgroup2": True,
    "ipvs": True,
    "modules": False,
    "memory_mib": 2000,
    "missing_commands": [],
    "swap": [],
    "read_only": False,
    "nameservers": [],
    "base_disk": True,
    "installed": {},
    "noted": False,
    "kubernetes": "absent",
    "booted": 1795587030,
    "ca": "",
    "ca_sha256": "",
}
CA = "-----BEGIN CERTIFICATE-----\nnot really\n-----END CERTIFICATE-----\n"

STAND_IN = '''#!/usr/bin/python
import hashlib, json, os, sys
from pathlib import Path
RECORDS = Path(@RECORDS@)
ANSWERS = json.loads(@ANSWERS@)
arguments = json.loads(r"""<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>""")
text = json.dumps({"module": "@MODULE@", **arguments}, sort_keys=True)
name = hashlib.sha256(text.encode()).hexdigest()[:16]
(RECORDS / f"{name}.json").write_text(text)
answer = {"changed": False}
if "@MODULE@" == "l4lab_look":
    asked = RECORDS / f"asked-{arguments['address']}"
    answer |= ANSWERS[arguments["address"]][1 if asked.exists() else 0]
    asked.touch()
sys.stdout.write(json.dumps(answer))
'''


@dataclass(frozen=True)
class Played:
    """What came of a run."""

    rc: int
    output: str
    calls: list[dict[str, Any]]
    folder: Path

    def files(self, name: str) -> dict[str, str]:
        """Content by path of all files that a role (or any of its hosts) wanted."""
        return {
            file["path"]: file["content"]
            for call in self.calls
            if call["module"] == "l4lab_configure" and call["name"] == name
            for file in call.get("files") or []
        }

    def variants(self, path: str) -> set[str]:
        """All contents that machines wanted for one path."""
        return {
            file["content"]
            for call in self.calls
            if call["module"] == "l4lab_configure"
            for file in call.get("files") or []
            if file["path"] == path
        }


Play = Callable[..., Played]


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    def run(
        playbook: str = "site.yml",
        *,
        machines: dict[str, dict[str, Any]] | None = None,
        variables: dict[str, Any] | None = None,
        mariadb: str = "mariadb01",
        outside: str | None = "mariadb01",
        bundled: tuple[str, ...] = (),
    ) -> Played:
        folder = tmp_path_factory.mktemp("roles")
        shutil.copytree(PROJECT / "playbooks", folder / "playbooks")
        shutil.copy(PROJECT / "ansible.cfg", folder)
        records = folder / "records"
        records.mkdir()
        (folder / "bundle" / "calico").mkdir(parents=True)
        (folder / "bundle" / "manifest.json").write_text(
            json.dumps({"files": {name: {} for name in bundled}})
        )
        (folder / "bundle" / "calico" / "crds.yaml").write_text("kind: CustomResourceDefinition\n")
        answers = {}
        for name, address in ADDRESSES.items():
            first = {**FRESH, **(machines or {}).get(name, {})}
            answers[address] = [first, {**first, "kubernetes": "ready", "ca": CA}]
        for module in (folder / "playbooks" / "library").glob("l4lab_*.py"):
            module.write_text(
                STAND_IN.replace("@MODULE@", module.stem)
                .replace("@RECORDS@", repr(str(records)))
                .replace("@ANSWERS@", repr(json.dumps(answers)))
            )
        groups = {
            "control_plane": ["k8s-master01"],
            "worker": ["k8s-node01", "k8s-node02"],
            "mariadb": [mariadb],
            "outside": [outside] if outside else [],
        }
        inventory = {
            "all": {
                "vars": {
                    "ansible_connection": "local",
                    "l4lab_node_network": "192.168.128.0/24",
                    "l4lab_pod_network": "10.244.0.0/16",
                    "l4lab_service_network": "10.10.0.0/16",
                    "l4lab_kubernetes_version": "1.37.2",
                    "l4lab_proxy_mode": "ipvs",
                    "l4lab_bundle": str(folder / "bundle"),
                    "l4lab_secrets": str(folder / "secrets"),
                    "l4lab_kubeconfig": str(folder / "kubeconfig"),
                    "l4lab_local_machine": True,
                    **(variables or {}),
                },
                "children": {
                    **{
                        group: {
                            "hosts": {
                                name: {"ansible_host": ADDRESSES[name], "ansible_user": "root"}
                                for name in names
                            }
                        }
                        for group, names in groups.items()
                    },
                    "nodes": {"children": {"control_plane": {}, "worker": {}}},
                },
            }
        }
        (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ansible",
                "playbook",
                "--check",
                "-i",
                "inventory.yml",
                "-e",
                f"ansible_python_interpreter={sys.executable}",
                f"playbooks/{playbook}",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "ANSIBLE_HOME": str(folder / "home"), "LC_ALL": "C.UTF-8"},
        )
        calls = [json.loads(path.read_text()) for path in sorted(records.glob("*.json"))]
        return Played(done.returncode, done.stdout + done.stderr, calls, folder)

    return run


@pytest.fixture(scope="session")
def site(play: Play) -> Played:
    """site.yml on fresh machines, as local ones are."""
    played = play()
    assert played.rc == 0, played.output
    return played
