"""What is taken off hosts that are given: all that the roles wrote, and nothing else."""

from __future__ import annotations

import pytest
import yaml

from l4lab.bundle import disk
from l4lab.machines import given
from tests.roles.conftest import ADDRESSES
from tests.roles.modules import PLAYBOOKS, load

BUNDLED = (*(f"bin/{name}" for name in disk._NODE_PROGRAMS), "cni/bridge")


@pytest.fixture(scope="module")
def leave(play):
    def removed(*, noted):
        played = play(
            "leave.yml",
            machines={name: {"noted": noted} for name in ADDRESSES},
            variables={"l4lab_local_machine": False},
            bundled=BUNDLED,
        )
        assert played.rc == 0, played.output
        return {
            path
            for call in played.calls
            if call["module"] == "l4lab_configure"
            for path in call.get("absent") or []
        }

    return removed


@pytest.fixture(scope="module")
def absent(leave):
    return leave(noted=True)


@pytest.mark.parametrize("role", ["prerequisites", "containerd", "kubernetes"])
def test_every_file_a_role_writes_on_a_node_is_taken_away(site, absent, role):
    written = set(site.files(role)) - {"/etc/resolv.conf"}  # given back as it was noted
    assert written
    for path in written:
        assert any(path == gone or path.startswith(f"{gone}/") for gone in absent), path


def test_programs_and_images_go_and_what_others_own_stays(absent):
    assert {"/usr/local/bin/kubelet", "/usr/local/bin/kubeadm", "/var/lib/containerd"} <= absent
    assert not absent & {"/etc", "/usr/local/bin", "/opt/cni/bin", "/etc/cni/net.d", "/etc/mysql"}


def test_from_a_host_that_was_never_changed_nothing_is_taken(leave):
    assert leave(noted=False) == set()


def test_the_look_before_knows_all_that_is_removed(absent):
    """But what bears l4lab's name, and what is gone at the next boot."""
    assert "/opt/cni/bin/bridge" in absent
    services = {f"/etc/systemd/system/{name}.service" for name in given.RUNTIMES}
    watched = (*given.NODE_PATHS, *services)
    unknown = {
        path
        for path in absent
        if not any(path == one or path.startswith(f"{one}/") for one in watched)
    }
    assert {path for path in unknown if "l4lab" not in path} == {"/run/containerd"}


def test_the_note_is_one_and_written_before_anything_is_brought():
    role = PLAYBOOKS / "roles" / "prerequisites"
    note = yaml.safe_load((role / "vars" / "main.yml").read_text())["prerequisites_found"]
    assert note == str(given.NODE_NOTE) == str(load("library/l4lab_look.py").NOTE)
    site = yaml.safe_load((PLAYBOOKS / "site.yml").read_text())[0]["tasks"]
    assert site[0]["ansible.builtin.include_role"]["name"] == "prerequisites"
    tasks = [task["name"] for task in yaml.safe_load((role / "tasks" / "main.yml").read_text())]
    assert tasks.index("Note what the host was like") < tasks.index("Prepare the kernel")
