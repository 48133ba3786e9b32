"""The project's own Ansible modules and filters, as plain functions."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.roles.modules import PLAYBOOKS, load

look = load("library/l4lab_look.py")
configure = load("library/l4lab_configure.py")
unwire = load("library/l4lab_unwire.py")
filters = load("filter_plugins/l4lab.py")


# --- l4lab_configure ----------------------------------------------------------------------------


def ask(tmp_path: Path, **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = configure.configure(
        {"name": "test", **arguments}, pending=tmp_path / "pending"
    )
    return result


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    wish = {
        "files": [{"path": str(tmp_path / "a" / "b"), "content": "text\n", "mode": "0600"}],
        "links": [{"path": str(tmp_path / "link"), "target": "/nowhere"}],
        "commands": [["sh", "-c", f"echo ran >> {log}"]],
    }
    first, second = ask(tmp_path, **wish), ask(tmp_path, **wish)
    assert first["changed"]
    assert not second["changed"]
    assert (tmp_path / "a" / "b").read_text() == "text\n"
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "link").readlink() == Path("/nowhere")
    assert log.read_text() == "ran\n"


def test_only_the_mode_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    path.chmod(0o644)
    result = ask(tmp_path, files=[{"path": str(path), "content": "text", "mode": "0600"}])
    assert result["done"] == [f"mode of {path}"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_commands_that_failed_run_again_though_the_files_are_right(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    wish = {
        "files": [{"path": str(tmp_path / "file"), "content": "text"}],
        "commands": [["cat", str(flag)]],
    }
    failed = ask(tmp_path, **wish)
    assert failed["failed"]
    assert "No such file" in failed["msg"]
    flag.touch()
    assert ask(tmp_path, **wish)["changed"]
    assert not ask(tmp_path, **wish)["changed"]


def test_check_mode_says_what_it_would_do_and_does_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    result = ask(
        tmp_path,
        files=[{"path": str(path), "content": "text\n"}],
        commands=[["false"]],
        _ansible_check_mode=True,
        _ansible_diff=True,
    )
    assert result["changed"]
    assert "+text" in result["diff"][0]["prepared"]
    assert not path.exists()
    assert not (tmp_path / "pending").exists()


def test_files_and_folders_are_removed_once(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "file").touch()
    wish = {"absent": [str(tmp_path / "folder"), str(tmp_path / "file"), str(tmp_path / "none")]}
    assert ask(tmp_path, **wish)["changed"]
    assert not (tmp_path / "folder").exists()
    assert not ask(tmp_path, **wish)["changed"]


def test_a_link_is_made_and_removed_only_where_it_is_nobody_elses(tmp_path: Path) -> None:
    own, file, other = tmp_path / "own", tmp_path / "file", tmp_path / "other"
    file.write_text("the owner's")
    other.symlink_to("/elsewhere")
    links = [{"path": str(path), "target": "/nowhere"} for path in (own, file, other)]
    assert ask(tmp_path, links=links)["done"] == [str(own)]
    assert own.readlink() == Path("/nowhere")
    assert ask(tmp_path, absent_links=links)["done"] == [f"removed {own}"]
    assert not own.is_symlink()
    assert not ask(tmp_path, absent_links=links)["changed"]
    assert file.read_text() == "the owner's"
    assert other.readlink() == Path("/elsewhere")


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    result = ask(
        tmp_path,
        files=[{"path": str(tmp_path / "f"), "content": ""}],
        commands=[["sleep", "60"]],
        timeout=0.2,
    )
    assert result["failed"]
    assert "sleep 60: no end within" in result["msg"]


# --- l4lab_look ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ([], "absent"),
        (["l4lab/init.yaml"], "absent"),
        (["kubelet.conf"], "foreign"),
        (["admin.conf"], "foreign"),
        (["l4lab/begun"], "partial"),
        (["l4lab/begun", "kubelet.conf"], "partial"),
        (["l4lab/done"], "partial"),
        (["l4lab/done", "kubelet.conf"], "ready"),
    ],
)
def test_how_far_kubernetes_is_set_up(tmp_path: Path, files: list[str], state: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert look.kubernetes_state(tmp_path) == state


def test_a_name_server_that_the_roles_named_counts_as_none(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(look, "RESOLV_CONFS", (tmp_path / "none", file))
    for text, known in (
        ("# of the campus\nnameserver 192.0.2.53\n", ["192.0.2.53"]),
        ("# Written by l4lab: no name server was known here.\nnameserver 192.0.2.53\n", []),
    ):
        file.write_text(text)
        assert look.nameservers() == known


def test_only_an_address_of_this_machine_is_local() -> None:
    assert look.is_local("127.0.0.1")
    assert not look.is_local("192.0.2.1")


@pytest.mark.parametrize(
    ("root", "refuses"),
    [
        ("rw,relatime", False),
        ("ro,relatime", True),
        ("rw,noatime,emergency_ro", True),
        ("rw,errors=remount-ro", False),
    ],
)
def test_a_root_that_can_only_be_read(root, refuses) -> None:
    mounts = f"/dev/root / ext4 {root} 0 0\nproc /proc proc ro 0 0\n"
    assert look.read_only(mounts) == refuses


def test_installed_files_are_read_from_every_readable_record(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(look, "INSTALLED", tmp_path)
    (tmp_path / "a.json").write_text('{"files": {"bin/x": {"sha256": "1"}}}')
    (tmp_path / "b.json").write_text('{"files": {"cni/y": {"sha256": "2"}}}')
    (tmp_path / "c.json").write_text("damaged")
    assert look.installed_files() == {"bin/x": "1", "cni/y": "2"}


# --- l4lab_unwire -------------------------------------------------------------------------------

SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:SSH-GUARD - [0:0]
:KUBE-FIREWALL - [0:0]
:cali-INPUT - [0:0]
-A INPUT -m comment --comment "cali:abc" -j cali-INPUT
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp -m tcp --dport 22 -j SSH-GUARD
-A INPUT -p tcp -m comment --comment "see KUBE-FIREWALL" -j ACCEPT
-A FORWARD -m comment --comment "cali:xyz" -m comment --comment "Taken." -j ACCEPT
-A KUBE-FIREWALL -j DROP
-A cali-INPUT -j ACCEPT
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j ACCEPT
COMMIT
"""


def test_only_rules_into_our_chains_and_the_chains_go() -> None:
    script, names = unwire.restore_script(SAVED)
    assert script.splitlines() == [
        "*filter",
        '-D INPUT -m comment --comment "cali:abc" -j cali-INPUT',
        "-D INPUT -j KUBE-FIREWALL",
        '-D FORWARD -m comment --comment "cali:xyz" -m comment --comment "Taken." -j ACCEPT',
        "-F KUBE-FIREWALL",
        "-F cali-INPUT",
        "-X KUBE-FIREWALL",
        "-X cali-INPUT",
        "COMMIT",
    ]
    assert len(names) == 5


def test_nothing_of_ours_needs_no_script() -> None:
    assert unwire.restore_script("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n") == ("", [])


def test_a_change_of_mode_takes_the_proxys_chains_and_leaves_kubelets_and_calicos() -> None:
    saved = """\
*filter
:INPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:cali-INPUT - [0:0]
-A INPUT -m comment --comment "cali:abc" -j cali-INPUT
-A INPUT -j KUBE-IPVS-FILTER
-A INPUT -j KUBE-FIREWALL
COMMIT
"""
    script, names = unwire.restore_script(saved, unwire.PROXY_CHAIN)
    assert names == ["rule filter INPUT -j KUBE-IPVS-FILTER", "chain filter KUBE-IPVS-FILTER"]
    assert "KUBE-FIREWALL" not in script
    assert "cali" not in script


def test_only_services_on_cluster_addresses_and_node_ports_are_ours() -> None:
    saved = """\
-A -t 10.10.0.1:443 -s rr
-a -t 10.10.0.1:443 -r 192.168.128.11:6443 -m -w 1
-A -u 10.10.0.10:53 -s rr
-A -t 192.168.128.21:30380 -s rr
-A -t 203.0.113.7:80 -s wlc
-A -f 7 -s rr
"""
    network = ipaddress.IPv4Network("10.10.0.0/16")
    assert unwire.our_services(saved, network, range(30000, 32768)) == [
        ("-t", "10.10.0.1:443"),
        ("-u", "10.10.0.10:53"),
        ("-t", "192.168.128.21:30380"),
    ]


IN_A_NAMESPACE = r"""
set -e
ip link set lo up
ip link add kube-ipvs0 type dummy; ip link add cali0123456789a type dummy
ip link add caliber type dummy; ip link add eth9 type dummy
iptables-nft -N KUBE-SERVICES; iptables-nft -A INPUT -j KUBE-SERVICES
iptables-nft -N KUBE-MARK; iptables-nft -A KUBE-SERVICES -j KUBE-MARK
iptables-nft -A INPUT -p tcp --dport 22 -m comment --comment "let me in" -j ACCEPT
"$1" - <<END
import importlib.util, json
spec = importlib.util.spec_from_file_location("unwire", "$2")
unwire = importlib.util.module_from_spec(spec); spec.loader.exec_module(unwire)
for _ in range(2):
    print(json.dumps(unwire.unwire({"service_network": "10.10.0.0/16"})))
END
iptables-nft-save; ip -o link
"""


def test_a_real_kernel_is_left_with_what_is_not_ours() -> None:
    tools = ("unshare", "ip", "iptables-nft", "iptables-nft-save")
    if any(not shutil.which(tool) for tool in tools):
        pytest.skip("iproute2 or iptables is not installed")
    alone = ["unshare", "--net", "--map-root-user"]
    can = subprocess.run(
        [*alone, "sh", "-c", "iptables-nft -N X && ip link add x type dummy"],
        capture_output=True,
        timeout=30,
        check=False,
    )
    if can.returncode != 0:
        pytest.skip("this kernel gives no network namespace with nftables and dummy links")
    done = subprocess.run(
        [
            *alone,
            "sh",
            "-c",
            IN_A_NAMESPACE,
            "sh",
            "python3",
            str(PLAYBOOKS / "library/l4lab_unwire.py"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, *left = done.stdout.splitlines()
    assert '"changed": true' in first
    assert second == '{"changed": false, "removed": []}'
    text = "\n".join(left)
    assert "let me in" in text
    assert "KUBE" not in text
    assert "kube-ipvs0" not in text
    assert "cali0123456789a" not in text
    assert "caliber" in text
    assert "eth9" in text


# --- filters ------------------------------------------------------------------------------------


def test_a_network_as_mariadb_writes_it() -> None:
    assert filters.l4lab_with_netmask("10.244.0.0/16") == "10.244.0.0/255.255.0.0"
    assert filters.l4lab_first_address("192.168.128.0/24") == "192.168.128.1"


def test_what_a_machine_lacks_of_the_bundle() -> None:
    manifest = {
        "files": {
            "bin/a": {"sha256": "1"},
            "bin/b": {"sha256": "2"},
            "cni/c": {"sha256": "3"},
            "kernel/linux": {"sha256": "4"},
        }
    }
    installed = {"bin/a": "1", "bin/b": "old"}
    assert filters.l4lab_outdated(manifest, installed, ["bin/", "cni/"]) == ["bin/b", "cni/c"]
