"""Words and files that cannot be: one line what, one why, one next, and exit code 2."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from l4lab import cli, console, machines
from tests.provider.certificates import PAST, Authority

PROJECT = Path(__file__).parents[2]
ODD = ["my lab", "负载", "", "Clusterip", "clusterip/", "../labs/clusterip", "a\nb", "; true", "-1"]
NODES = ("k8s-master01", "k8s-node01", "k8s-node02", "mariadb01")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project in a folder of many letters, with the real labs and a driver of no machines."""
    folder = tmp_path / "我的 实验 (1)"
    folder.mkdir()
    (folder / "labs").symlink_to(PROJECT / "labs")
    monkeypatch.setattr(console, "PROJECT", folder)
    monkeypatch.setitem(machines.DRIVERS, "local", "tests.unit.machines.fake:FakeDriver")
    monkeypatch.delenv("L4LAB_CONFIG", raising=False)
    return folder


def l4lab(*words):
    return CliRunner().invoke(cli.main, words, prog_name="l4lab")


def refused(done, code=2):
    """What, why and next of a refusal; and that it is one."""
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("error: "))
    what, why, then = lines[at:]
    assert why.startswith("  why:  ")
    assert then.startswith("  next: ")
    return what.removeprefix("error: "), why[8:], then[8:]


@pytest.fixture
def up(project):
    """A cluster that is up, as far as anybody can see who does not ask its API server."""
    root = project / ".l4lab" / "l4lab"
    for name in NODES:
        (root / "machines" / name).mkdir(parents=True)
        (root / "machines" / name / "on").touch()
    (root / "cluster.json").write_text(json.dumps({"bundle": str(project / "bundle")}))
    (root / "inventory.yml").touch()
    (root / "kubeconfig").write_text("{}")
    return root


# --- labs, machines, steps ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("verb", ["deploy", "check", "destroy", "lab", "reset", "report", "guides"])
def test_a_lab_that_is_none(verb, name):
    what, why, _ = refused(l4lab(verb, "--", name))
    assert what == f"there is no lab {name!r}"
    assert why.startswith("the labs are: clusterip, ")


@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("Clusterip", "did you mean clusterip?"),
        ("clusterip/", "did you mean clusterip?"),
        ("session_affinity", "did you mean session-affinity?"),
        ("负载", "./l4lab labs"),
    ],
)
def test_a_lab_that_is_nearly_one(name, then):
    assert refused(l4lab("deploy", name))[2] == then


@pytest.mark.parametrize("name", ["节点", "k8s node01", ""])
def test_a_machine_that_is_none(name):
    what, why, then = refused(l4lab("ssh", name))
    assert what == f"there is no machine {name!r}"
    assert "k8s-node01" in why
    assert then == "./l4lab status"


def test_a_step_that_is_none(up):
    what, why, then = refused(l4lab("check", "clusterip", "--step", "第一 步"))
    assert what == "lab clusterip has no step '第一 步'"
    assert why.startswith("its steps are: pods, service")
    assert "pods" in then


def test_a_program_that_is_none(up):
    what, _, then = refused(l4lab("exec", "没有 这个"))
    assert what == "there is no program '没有 这个' on this host"
    typed = shlex.split(then.removesuffix(", to run it on a machine"))
    assert typed[-3:-1] == ["ssh", "MACHINE"]
    assert shlex.split(typed[-1]) == ["没有 这个"]  # as the machine's shell reads it


@pytest.mark.parametrize(
    "words",
    [
        ["check", "clusterip", "--junit"], ["path", "outside", "my-nginx", "--svg"],
        ["report", "--html"], ["report", "--junit"], ["smoke", "--html"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_file_that_cannot_be_written_is_told_before_the_work(up, project, words):
    (project / "文件 夹").mkdir()
    shutil.rmtree(up / "machines" / NODES[1])  # nothing is begun: a machine is missing
    done = l4lab(*words, "没有/a b.out")
    assert done.exit_code == 2
    assert f"'{words[-1]}': there is no folder '没有': make it first" in done.stderr
    done = l4lab(*words, str(project / "文件 夹"))
    assert done.exit_code == 2
    assert "is a directory" in done.stderr
    done = l4lab(*words, str(project / "文件 夹" / "a b.out"))
    assert "no folder" not in done.stderr
    assert re.search("does not run|is there already", done.stderr)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["--config", "L4LAB_CONFIG"])
def test_settings_in_a_folder_of_many_letters(project, monkeypatch, by):
    file = project / "设置 文件" / "my 集群.toml"
    file.parent.mkdir()
    file.write_text('[cluster]\nname = "other"\n')
    words = ["--config", str(file)] if by == "--config" else []
    if not words:
        monkeypatch.setenv(by, str(file))
    assert l4lab("status", *words).stdout.startswith("cluster other\n")
    file.unlink()
    what, _, then = refused(l4lab("status", *words))
    assert what == f"there is no file {file}"
    assert "l4lab.toml" in then


@pytest.mark.parametrize("name", ["my lab", "我的集群", "", "-a", "a_b", "A", "a" * 33, "../x"])
def test_a_cluster_s_name_that_is_none(project, name):
    (project / "l4lab.toml").write_text(f'[cluster]\nname = "{name}"\n')
    what, why, then = refused(l4lab("status"))
    assert what.endswith("l4lab.toml: cluster.name is wrong")
    assert why == f"{name!r} is not a name"
    assert "a-z, 0-9 and -" in then
    assert not (project / ".l4lab").exists()


def test_a_machine_s_name_that_is_none(project):
    (project / "l4lab.toml").write_text('[machines."节点 1"]\nrole = "worker"\n')
    what, why, _ = refused(l4lab("status"))
    assert what.endswith("l4lab.toml: machines.节点 1 is wrong")
    assert why == "'节点 1' is not a host name"


def test_settings_that_are_no_text(project):
    (project / "l4lab.toml").write_bytes("[cluster]\nname = '名'".encode("gb18030"))
    what, why, then = refused(l4lab("status"))
    assert what == f"cannot read {project / 'l4lab.toml'}"
    assert "codec can't decode" in why
    assert "UTF-8" in then


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_the_launcher_s_words_in_any_locale(project, locale):
    for name in ("infra", "l4lab"):
        (project / name).symlink_to(PROJECT / name)
    done = subprocess.run(
        [sys.executable, "-m", "l4lab", "check", "负载 均衡"],
        env={**os.environ, "LC_ALL": locale, "PYTHONPATH": str(project / "infra")},
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no lab '负载 均衡'\n")


# --- a cluster whose certificates have expired --------------------------------------------------


def expire(root, end):
    pem, _ = Authority("test").sign("admin", ends=end)
    user = {"client-certificate-data": base64.b64encode(pem).decode()}
    (root / "kubeconfig").write_text(json.dumps({"users": [{"user": user}]}))


@pytest.mark.parametrize(
    "words",
    [
        ["deploy", "clusterip"], ["destroy", "clusterip"], ["check", "clusterip"],
        ["check", "clusterip", "--watch"], ["reset", "clusterip"], ["report", "clusterip"],
        ["path", "outside", "my-nginx"], ["kubectl", "get", "pods"], ["proxy"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_expired_certificates(up, words):
    expire(up, PAST)
    what, why, then = refused(l4lab(*words), code=3)
    assert what == "the cluster's certificates have expired"
    assert "2021-03-04 05:06 UTC" in why
    assert "./l4lab reset, then ./l4lab up" in then


def test_the_status_of_a_cluster_whose_certificates_have_expired(up):
    expire(up, PAST)
    done = l4lab("status")
    assert done.exit_code == 0
    said = "  the API server does not answer: the cluster's certificates have expired: "
    assert said in done.stdout
    assert "2021-03-04 05:06 UTC" in done.stdout
    assert "2021-03-04 05:06 UTC" in json.loads(l4lab("status", "--json").stdout)["api"]


def test_down_needs_no_certificate(up):
    expire(up, PAST)
    done = l4lab("down")
    assert (done.exit_code, done.stdout) == (0, "Nothing is left.\n")
    assert not up.exists()


def test_a_good_certificate_is_no_hindrance(up):
    expire(up, datetime.now(UTC) + timedelta(days=1))
    shutil.rmtree(up / "machines" / NODES[1])
    what, _, then = refused(l4lab("deploy", "clusterip"), code=3)
    assert (what, then) == (f"{NODES[1]} does not run", "./l4lab up")
