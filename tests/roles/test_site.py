"""What the roles decide and render, by a run of site.yml for machines in name only."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from l4lab import bundle
from l4lab.bundle.catalog import image_references
from tests.roles.modules import PLAYBOOKS


def documents(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if one]


def init(played) -> dict[str, dict[str, Any]]:
    """kubeadm's configuration by kind."""
    text = played.files("control_plane")["/etc/kubernetes/l4lab/init.yaml"]
    return {one["kind"]: one for one in documents(text)}


def calico(played) -> list[dict[str, Any]]:
    return documents(played.files("calico")["/etc/kubernetes/l4lab/calico/2-calico.yaml"])


# --- kubeadm ------------------------------------------------------------------------------------


def test_the_proxy_balances_by_ipvs_round_robin_and_leaves_the_kernels_limits(site) -> None:
    proxy = init(site)["KubeProxyConfiguration"]
    assert proxy["mode"] == "ipvs"
    assert proxy["ipvs"] == {"scheduler": "rr", "strictARP": False}
    assert proxy["conntrack"]["maxPerCore"] == 0


def test_networks_addresses_and_version_come_from_the_inventory(site) -> None:
    config = init(site)
    cluster, node = config["ClusterConfiguration"], config["InitConfiguration"]
    assert cluster["kubernetesVersion"] == "v1.37.2"
    assert cluster["networking"] == {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.10.0.0/16"}
    assert "192.168.128.11" in cluster["apiServer"]["certSANs"]
    assert node["localAPIEndpoint"]["advertiseAddress"] == "192.168.128.11"
    registration = node["nodeRegistration"]
    assert registration["name"] == "k8s-master01"
    assert {"name": "node-ip", "value": "192.168.128.11"} in registration["kubeletExtraArgs"]
    assert config["KubeletConfiguration"]["cgroupDriver"] == "systemd"


def test_only_a_throw_away_machine_goes_without_fsync_and_strict_checks(site, play) -> None:
    assert init(site)["ClusterConfiguration"]["etcd"]["local"]["extraArgs"] == [
        {"name": "unsafe-no-fsync", "value": "true"}
    ]
    real = play(
        machines={
            name: {"uml": False, "base_disk": False, "modules": True}
            for name in ("k8s-master01", "k8s-node01", "k8s-node02")
        }
    )
    assert real.rc == 0, real.output
    config = init(real)
    assert "etcd" not in config["ClusterConfiguration"]
    assert config["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"] == []
    for unit in ("containerd.service", "kubelet.service"):
        [local] = site.variants(f"/etc/systemd/system/{unit}")
        [given] = real.variants(f"/etc/systemd/system/{unit}")
        assert "\nTimerSlackNSec=4ms\n" in local
        assert "TimerSlack" not in given


def test_kube_proxy_gets_a_share_of_the_processor(site) -> None:
    wanted = [one for call in site.calls for one in call.get("objects") or []]
    [proxy] = [one for one in wanted if one.get("metadata", {}).get("name") == "kube-proxy"]
    [container] = proxy["spec"]["template"]["spec"]["containers"]
    assert container == {"name": "kube-proxy", "resources": {"requests": {"cpu": "100m"}}}


def test_all_machines_know_the_same_token_and_it_is_in_no_output(site) -> None:
    token = init(site)["InitConfiguration"]["bootstrapTokens"][0]["token"]
    joins = site.variants("/etc/kubernetes/l4lab/join.yaml")
    assert len(joins) == 2
    for text in joins:
        assert documents(text)[0]["discovery"]["tlsBootstrapToken"] == token
    assert token not in site.output
    assert token.replace(".", "") not in site.output


def test_files_with_secrets_are_for_root_only(site) -> None:
    modes = {
        file["path"]: file.get("mode", "0644")
        for call in site.calls
        for file in call.get("files") or []
    }
    assert modes["/etc/kubernetes/l4lab/init.yaml"] == "0600"
    assert modes["/etc/kubernetes/l4lab/join.yaml"] == "0600"


def test_workers_know_the_cluster_by_its_certificate(site) -> None:
    text = site.files("worker")["/etc/kubernetes/l4lab/cluster.yaml"]
    cluster = documents(text)[0]["clusters"][0]["cluster"]
    assert cluster["server"] == "https://192.168.128.11:6443"
    assert cluster["certificate-authority-data"]


def test_kubeadm_takes_the_configuration(site, tmp_path: Path) -> None:
    made = bundle.find()
    kubeadm = str(made.folder / "bin" / "kubeadm") if made else shutil.which("kubeadm")
    if not kubeadm:
        pytest.skip("no kubeadm: the bundle is not built")
    texts = [
        site.files("control_plane")["/etc/kubernetes/l4lab/init.yaml"],
        *site.variants("/etc/kubernetes/l4lab/join.yaml"),
    ]
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(site.files("worker")["/etc/kubernetes/l4lab/cluster.yaml"])
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text.replace("/etc/kubernetes/l4lab/cluster.yaml", str(cluster)))
        done = subprocess.run(
            [kubeadm, "config", "validate", "--config", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr


# --- Calico -------------------------------------------------------------------------------------


def test_no_account_of_calico_may_do_everything(site) -> None:
    objects = calico(site)
    bound = {one["roleRef"]["name"] for one in objects if one["kind"].endswith("RoleBinding")}
    assert bound == {"calico-cni", "calico-node", "calico-kube-controllers"}
    for role in (one for one in objects if one["kind"] in {"ClusterRole", "Role"}):
        for rule in role["rules"]:
            for field in ("apiGroups", "resources", "verbs"):
                assert "*" not in rule[field], role["metadata"]["name"]
            assert "secrets" not in rule["resources"]
    assert "cluster-admin" not in json.dumps(objects)
    assert "admin.conf" not in json.dumps(objects)


def test_the_cni_plugin_has_an_account_of_its_own(site) -> None:
    objects = calico(site)
    secret = next(one for one in objects if one["kind"] == "Secret")
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "calico-cni"
    rules = next(
        one["rules"]
        for one in objects
        if one["kind"] == "ClusterRole" and one["metadata"]["name"] == "calico-cni"
    )
    core = [rule for rule in rules if rule["apiGroups"] == [""]]
    assert {verb for rule in core for verb in rule["verbs"]} == {"get", "patch"}


def test_felix_is_told_to_mend_the_checksums_of_vxlan(site) -> None:
    daemon_set = next(one for one in calico(site) if one["kind"] == "DaemonSet")
    container = daemon_set["spec"]["template"]["spec"]["containers"][0]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["FELIX_FEATUREDETECTOVERRIDE"] == "ChecksumOffloadBroken=true"
    assert environment["CALICO_IPV4POOL_CIDR"] == "10.244.0.0/16"
    assert environment["CALICO_IPV4POOL_VXLAN"] == "Always"
    assert environment["FELIX_IPTABLESBACKEND"] == "NFT"


def start_files(played) -> dict[str, str]:
    data: dict[str, str] = next(one["data"] for one in calico(played) if one["kind"] == "ConfigMap")
    return data


def test_the_start_script_is_shell(site, tmp_path: Path) -> None:
    files = start_files(site)
    script = tmp_path / "start.sh"
    script.write_text(files["start.sh"])
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_the_start_script_lays_down_a_private_kubeconfig_and_starts_felix_again(
    site, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    host = tmp_path / "net.d"
    host.mkdir()
    script = start_files(site)["start.sh"]
    for inside, outside in (
        ("/host/etc/cni/net.d", host),
        ("/var/run/secrets/calico-cni", tmp_path),
    ):
        script = script.replace(inside, str(outside))
    (tmp_path / "token").write_text("a-token")
    calls = tmp_path / "calls"
    (programs / "ip").write_text("#!/bin/sh\n")
    (programs / "busybox").write_text('#!/bin/sh\nPATH=/usr/bin:/bin exec "$@"\n')
    # Felix asks once to be started again, then fails for good.
    (programs / "calico-node").write_text(
        f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$*" >> {calls}\n[ "$1" = -felix ] || exit 0\n'
        f'[ "$(grep -c -e "^-felix" {calls})" = 1 ] && exit 129\nexit 7\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": str(programs)},
    )
    assert done.returncode == 7, done.stderr
    assert calls.read_text().split("\n")[:-1] == [
        "-startup",
        "-allocate-tunnel-addrs -allocate-tunnel-addrs-run-once",
        "-felix",
        "-felix",
    ]
    kubeconfig = host / "calico-kubeconfig"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    loaded = yaml.safe_load(kubeconfig.read_text())
    assert loaded["users"][0]["user"]["token"] == "a-token"
    assert loaded["clusters"][0]["cluster"]["server"] == "https://192.168.128.11:6443"
    plugins = json.loads((host / "10-calico.conflist").read_text())["plugins"]
    assert plugins[0]["mtu"] == 1450
    assert [plugin["type"] for plugin in plugins] == ["calico", "portmap"]
    assert sorted(path.name for path in host.iterdir()) == [
        "10-calico.conflist",
        "calico-kubeconfig",
    ]


def test_images_are_those_of_the_bundle(site) -> None:
    wanted = image_references()
    images = {
        container["image"]
        for one in calico(site)
        if one["kind"] in {"DaemonSet", "Deployment"}
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {wanted["calico-node"], wanted["calico-kube-controllers"]}
    assert f'"{wanted["pause"]}"' in site.files("containerd")["/etc/containerd/config.toml"]


# --- machines -----------------------------------------------------------------------------------


def test_a_machine_without_name_server_gets_the_outsides_and_others_keep_theirs(site, play) -> None:
    assert site.variants("/etc/resolv.conf") == {
        "# Written by l4lab: no name server was known here.\nnameserver 192.168.128.31\n"
    }
    named = play(
        machines={
            name: {"nameservers": ["192.0.2.53"]}
            for name in ("k8s-master01", "k8s-node01", "k8s-node02")
        }
    )
    assert "/etc/resolv.conf" not in named.files("prerequisites")


def test_no_host_of_others_asks_the_outside(play) -> None:
    theirs = play(variables={"l4lab_local_machine": False})
    assert theirs.rc == 0, theirs.output
    assert "nameserver 192.168.128.1\n" in theirs.files("prerequisites")["/etc/resolv.conf"]


def test_a_machine_that_cannot_be_a_node_says_all_that_is_wrong(play) -> None:
    wrong = {"swap": ["/dev/vda5"], "cgroup2": False, "read_only": True}
    played = play(machines={"k8s-node02": wrong})
    assert played.rc != 0
    assert "its root file system has become read-only, as it does where this host" in played.output
    assert "./l4lab down --keep-disks and ./l4lab up; kubelet" in played.output
    assert "kubelet needs cgroup v2" in played.output
    assert "kubelet refuses swap: /dev/vda5" in played.output


def test_a_cluster_that_is_not_ours_is_left_alone(play) -> None:
    foreign = {"k8s-master01": {"kubernetes": "foreign"}}
    for playbook in ("site.yml", "reset.yml"):
        played = play(playbook, machines=foreign)
        assert played.rc != 0
        assert "cluster that l4lab did not make" in played.output
        assert played.files("control_plane") == {}


def test_a_version_without_ipvs_is_refused(play) -> None:
    played = play(variables={"l4lab_kubernetes_version": "1.40.0"})
    assert played.rc != 0
    assert "choose a version below, or proxy mode nftables" in " ".join(played.output.split())


def test_the_database_may_lie_on_a_worker(play) -> None:
    played = play(mariadb="k8s-node01")
    assert played.rc == 0, played.output
    assert (
        "bind-address = 0.0.0.0"
        in played.files("mariadb")["/etc/mysql/mariadb.conf.d/60-l4lab.cnf"]
    )


def test_reset_asks_for_the_networks_own_traces_only(play) -> None:
    played = play("reset.yml", machines={"k8s-node01": {"kubernetes": "ready"}})
    assert played.rc == 0, played.output
    unwire = [call for call in played.calls if call["module"] == "l4lab_unwire"]
    assert {call["service_network"] for call in unwire} == {"10.10.0.0/16"}


def test_roots_kubeconfig_goes_only_where_it_is_the_cluster_s(site, play) -> None:
    played = play("reset.yml", machines={"k8s-master01": {"kubernetes": "ready"}})
    assert played.rc == 0, played.output
    (made,) = [call["links"] for call in site.calls if call.get("links")]
    gone = [call["absent_links"] for call in played.calls if call.get("absent_links")]
    assert gone
    assert all(links == made for links in gone)
    paths = {path for call in played.calls for path in call.get("absent") or []}
    assert "/etc/kubernetes" in paths
    assert not any(path.startswith("/root") for path in paths)


def test_nothing_on_the_controller_asks_for_root():
    """The inventory asks for sudo by a variable, which counts more than a task's own word."""
    here = [
        (path.name, task)
        for path in sorted(PLAYBOOKS.glob("roles/*/tasks/*.yml"))
        for task in yaml.safe_load(path.read_text()) or []
        if task.get("delegate_to") == "localhost"
    ]
    assert here
    for name, task in here:
        assert task["vars"]["ansible_become"] is False, f"{name}: {task['name']}"
