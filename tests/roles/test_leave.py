"""What is taken off hosts that are given: all that the roles wrote, and nothing else."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def absent(play):
    played = play("leave.yml", variables={"l4lab_local_machine": False})
    assert played.rc == 0, played.output
    return {
        path
        for call in played.calls
        if call["module"] == "l4lab_configure"
        for path in call.get("absent") or []
    }


@pytest.mark.parametrize("role", ["prerequisites", "containerd", "kubernetes"])
def test_every_file_a_role_writes_on_a_node_is_taken_away(site, absent, role):
    written = set(site.files(role)) - {"/etc/resolv.conf"}  # given back as it was noted
    assert written
    for path in written:
        assert any(path == gone or path.startswith(f"{gone}/") for gone in absent), path


def test_programs_and_images_go_and_what_others_own_stays(absent):
    assert {"/usr/local/bin/kubelet", "/usr/local/bin/kubeadm", "/var/lib/containerd"} <= absent
    assert not absent & {"/etc", "/usr/local/bin", "/opt/cni/bin", "/etc/cni/net.d", "/etc/mysql"}
