"""The host that plays the internet: what its role decides and renders, and whose it is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest


def test_the_outside_knows_its_own_names_and_asks_nobody(site) -> None:
    lines = site.files("outside")["/etc/l4lab/outside/dnsmasq.conf"].splitlines()
    assert "listen-address=192.168.128.31" in lines
    assert "cname=www.outside.test,site.outside.test" in lines
    assert "host-record=site.outside.test,192.168.128.31" in lines
    assert {"no-resolv", "no-hosts", "local=/#/", "bind-interfaces"} <= set(lines)


def test_the_outside_listens_on_its_address_only_and_answers_strangers_with_403(site) -> None:
    text = site.files("outside")["/etc/l4lab/outside/nginx.conf"]
    listening = re.findall(r"listen (\S+?)( ssl)?( default_server)?;", text)
    ports = [("192.168.128.31:80", ""), ("192.168.128.31:443", " ssl")]
    assert listening == [
        *((at, tls, " default_server") for at, tls in ports),
        *((at, tls, "") for at, tls in ports),
    ]
    strangers, own = text.split("server_name www.outside.test;")
    assert "return 403" in strangers
    assert "return 200" in own


@pytest.mark.parametrize("unit", ["l4lab-outside-dns", "l4lab-outside-web"])
def test_services_of_the_outside_are_no_root(site, unit) -> None:
    text = site.files("outside")[f"/etc/systemd/system/{unit}.service"]
    assert "DynamicUser=yes" in text
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in text


def test_certificates_are_made_once_and_their_keys_are_private(site, tmp_path: Path) -> None:
    script = site.files("outside")["/etc/l4lab/outside/certificates.sh"]
    file = tmp_path / "certificates.sh"
    file.write_text(script.replace("/etc/l4lab/outside", str(tmp_path)))
    made = tmp_path / "outside.test"
    first = ""
    for _ in range(2):
        done = subprocess.run(["sh", str(file)], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        modes = {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()}
        assert modes == {
            "ca.crt": 0o644,
            "site.crt": 0o644,
            "site.key": 0o600,
            "unknown.crt": 0o644,
            "unknown.key": 0o600,
        }
        first = first or (made / "ca.crt").read_text()
    assert (made / "ca.crt").read_text() == first
    for name, host in (("site", "www.outside.test"), ("unknown", "unknown.outside.test")):
        argv = ["openssl", "verify", "-CAfile", "ca.crt", "-verify_hostname", host, f"{name}.crt"]
        done = subprocess.run(argv, cwd=made, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def test_the_zone_is_a_variable_and_must_be_a_domain(play) -> None:
    played = play(variables={"outside_domain": "campus.example"})
    assert played.rc == 0, played.output
    files = played.files("outside")
    assert "cname=www.campus.example,site" in files["/etc/l4lab/outside/dnsmasq.conf"]
    assert "/etc/l4lab/outside/campus.example/" in files["/etc/l4lab/outside/nginx.conf"]
    refused = play(variables={"outside_domain": "no domain; rm -rf x"})
    assert refused.rc != 0
    assert "is not a domain" in refused.output
    assert refused.files("outside") == {}


def test_a_web_server_makes_room_only_where_the_role_brought_it(site, play) -> None:
    away = ["systemctl", "disable", "--now", "--quiet", "nginx.service"]

    def commands(played) -> list[list[str]]:
        (call,) = [one for one in played.calls if one.get("name") == "outside"]
        return list(call["commands"])

    assert away not in commands(site)
    brought = {"base_disk": False, "uml": False, "modules": True, "missing_commands": ["nginx"]}
    assert away in commands(play(machines={"mariadb01": brought}))


def test_a_cluster_may_have_no_outside(play) -> None:
    played = play(outside=None)
    assert played.rc == 0, played.output
    assert played.files("outside") == {}
    assert "nameserver 192.168.128.1\n" in played.files("prerequisites")["/etc/resolv.conf"]


def test_the_database_and_the_outside_may_be_on_two_hosts(play) -> None:
    played = play(mariadb="k8s-node01", outside="mariadb01")
    assert played.rc == 0, played.output
    assert (
        "listen-address=192.168.128.31"
        in played.files("outside")["/etc/l4lab/outside/dnsmasq.conf"]
    )
    assert "nameserver 192.168.128.31\n" in played.files("prerequisites")["/etc/resolv.conf"]


def test_reset_leaves_nothing_of_the_outside(play) -> None:
    played = play("reset.yml", machines={"k8s-node01": {"kubernetes": "ready"}})
    assert played.rc == 0, played.output
    (call,) = [one for one in played.calls if one.get("name") == "outside"]
    units = "/etc/systemd/system/l4lab-outside"
    assert call["absent"] == [f"{units}-dns.service", f"{units}-web.service", "/etc/l4lab/outside"]
