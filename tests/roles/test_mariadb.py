"""Whose schema and user it is: the database's role, played on this host with a server in name only.

``mariadb`` and ``systemctl`` are scripts that keep a schema, and say what they were asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.roles.conftest import PROJECT

CLIENT = """\
#!/bin/sh
cd "$STATE"
[ -e runs ] || { echo "Can't connect to local server" >&2; exit 1; }
asked=$(cat)
case $asked in
    *CREATE*) touch schema; echo CREATE >> asked ;;
    *DROP*) rm -f schema; echo DROP >> asked ;;
    *) [ ! -e schema ] || echo 'schema lab' ;;
esac
"""
SYSTEMCTL = """\
#!/bin/sh
cd "$STATE"
[ "$1" = start ] || exit 0
[ ! -e broken ] || { echo 'Job for mariadb.service failed' >&2; exit 1; }
touch runs
"""
CONFIGURE = """\
#!/usr/bin/python
import json, os
from pathlib import Path
arguments = json.loads(r\"\"\"<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>\"\"\")
for file in arguments.get("files", []):
    Path(file["path"]).write_text(file["content"])
for path in arguments.get("absent", []):
    Path(path).unlink(missing_ok=True)
if arguments.get("services"):
    Path(os.environ["STATE"], "runs").touch()
print(json.dumps({"changed": False}))
"""


class Server:
    """A host with MariaDB, and what is on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.mark = folder / "60-l4lab.cnf"
        programs = folder / "bin"
        for made in (self.state, programs):
            made.mkdir()
        for name, text in (("mariadb", CLIENT), ("systemctl", SYSTEMCTL)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        shutil.copytree(PROJECT / "playbooks", folder / "playbooks")
        shutil.copy(PROJECT / "ansible.cfg", folder)
        (folder / "playbooks" / "library" / "l4lab_configure.py").write_text(CONFIGURE)

    def has(self, *names: str) -> None:
        for name in names:
            (self.state / name).touch()

    @property
    def asked(self) -> list[str]:
        file = self.state / "asked"
        return file.read_text().split() if file.exists() else []

    def play(self, *tasks: str, local: bool = False) -> tuple[int, str]:
        """Play task files of the role, one after the other."""
        roles = [{"name": "mariadb", "tasks_from": name} for name in tasks]
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.include_role": role} for role in roles],
            "vars": {
                "l4lab_local_machine": local,
                "l4lab_node_network": "192.168.9.0/24",
                "l4lab_secrets": str(self.folder),
            },
        }
        (self.folder / "play.yml").write_text(yaml.safe_dump([play]))
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        more = [
            f"{name}={value}"
            for name, value in (
                ("mariadb_configuration", self.mark),
                ("mariadb_socket", self.state / "socket"),
                ("ansible_python_interpreter", sys.executable),
                ("ansible_connection", "local"),
            )
        ]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-e", " ".join(more), "play.yml"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={
                **os.environ,
                "ANSIBLE_HOME": str(self.folder / "home"),
                "LC_ALL": "C.UTF-8",
                "PATH": path,
                "STATE": str(self.state),
            },
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_local_machine_s_stopped_server_is_not_asked_before_it_is_configured(server) -> None:
    done, said = server.play("main", local=True)
    assert done == 0, said
    assert server.asked == ["CREATE"]


def test_a_schema_that_is_made_goes_again_though_the_server_was_stopped(server) -> None:
    assert server.play("main", "main")[0] == 0
    assert server.mark.exists()
    (server.state / "runs").unlink()
    assert server.play("reset")[0] == 0
    assert not (server.state / "schema").exists()
    assert not server.mark.exists()
    assert server.asked == ["CREATE", "CREATE", "DROP"]


def test_a_schema_of_somebody_else_is_neither_taken_nor_dropped(server) -> None:
    server.has("schema")
    code, said = server.play("main")
    assert code != 0
    assert "MariaDB has a schema lab that l4lab did not make" in said
    assert not server.mark.exists()
    assert server.play("reset")[0] == 0
    assert (server.state / "schema").exists()
    assert server.asked == []


def test_a_server_that_does_not_start_is_told_and_can_be_left(server) -> None:
    server.mark.touch()
    server.has("schema", "broken")
    code, said = server.play("reset")
    assert code != 0
    assert "may still be there" in said
    assert "Job for mariadb.service failed" in said
    assert server.mark.exists()
    server.mark.unlink()  # as the message says
    assert server.play("reset")[0] == 0


def test_a_server_that_cannot_be_asked_is_not_configured(server) -> None:
    server.has("broken")
    code, said = server.play("main")
    assert code != 0
    assert "MariaDB does not answer: Job for mariadb.service failed" in said
    assert not server.mark.exists()
