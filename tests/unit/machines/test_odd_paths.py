"""Projects and caches in folders of any name: what the kernel and ssh make of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from l4lab.checks.reach import read_configuration
from l4lab.machines import host, keys, local, uml
from l4lab.settings import parse
from l4lab.state import paths_of
from tests.unit.usage import Usage

# What isspace() of the kernel takes for a space, which is one byte at a time.
SPACES = b" \t\n\v\f\r\xa0"
NAMES = ["plain", "K8s Kurs", "à la carte", "50%h of Anna's #1", "课程 一"]


def parsed(words):
    """What the kernel makes of its words, as its next_arg() takes their line apart."""
    line, found = " ".join(words).encode(), {}
    while line:
        quoted, end = False, 0
        while end < len(line) and (quoted or line[end] not in SPACES):
            quoted ^= line[end : end + 1] == b'"'
            end += 1
        name, _, value = line[:end].partition(b"=")
        if value.startswith(b'"'):
            value = value[1:].removesuffix(b'"')
        found[name.decode(errors="replace")] = value.decode(errors="replace")
        line = line[end:].lstrip(SPACES)
    return found


def words_of(folder, base):
    machine = parse({}, "none").topology.machines[1]
    return uml.words(
        machine, cpu=0, kernel=base.parent / "linux", folder=folder, base=base, tap="tap1"
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_finds_the_disks(name):
    folder, base = Path(f"/root/{name}/machines/k8s-node01"), Path(f"/root/{name}/base.img")
    words = words_of(folder, base)
    # What UML reads by itself it leaves out of the kernel's line.
    kernels = [word for word in words[4:] if not word.startswith("uml_dir=")]
    told = parsed(kernels)
    assert told["ubd0"] == f"{folder}/disk.cow,{base}"
    assert told["ubd1r"] == f"{folder}/seed.tar"
    assert told["loglevel"] == "4"
    assert len(told) == len(kernels)
    assert f"uml_dir={folder}/uml/" in words


def test_plain_paths_stay_as_they_are():
    words = words_of(Path("/a/machines/k8s-node01"), Path("/b/base.img"))
    assert not any('"' in word for word in words)


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_s_memory_is_found(tmp_path, name):
    folder = tmp_path / name / "machines" / "k8s-node01"
    disk = next(word for word in words_of(folder, tmp_path / "base") if "ubd0=" in word)
    process = subprocess.Popen(
        ["sh", "-c", "echo; read line; true", disk], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        process.stdout.readline()  # a process that has just begun has no command line for a moment
        assert host.memory_of(folder) is not None
        assert host.memory_of(folder.with_name("k8s-node0")) is None
    finally:
        process.communicate()


@pytest.mark.parametrize("name", NAMES)
def test_ssh_finds_its_files(tmp_path, name):
    paths = paths_of(tmp_path / name, "one")
    record = paths.machines / "holder.json"
    keys.write_client_files(paths, parse({}, "none").topology, record)
    keys.ensure_key(paths.ssh / keys.CLIENT_KEY)
    asked = subprocess.run(
        ["ssh", "-G", "-F", paths.ssh_config, "k8s-node01"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert f"userknownhostsfile {paths.ssh / keys.KNOWN_HOSTS}\n" in asked.stdout
    identity = next(line for line in asked.stdout.splitlines() if line.startswith("identityfile"))
    # This one is shown as it was written.
    assert identity.replace("%%", "%") == f"identityfile {paths.ssh / keys.CLIENT_KEY}"


def test_letters_that_cannot_be_told_to_the_kernel_are_obstacles(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "namespace_obstacles", list)
    monkeypatch.setattr(host, "available_memory_mib", lambda: 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1 << 50, 0, 1 << 50))
    monkeypatch.setattr(shutil, "which", lambda name, **_more: name)

    def obstacles(folder, cache):
        monkeypatch.setenv("L4LAB_CACHE", str(tmp_path / cache))
        paths = paths_of(tmp_path / folder, "one")
        return local.LocalDriver(parse({}, "none").topology, paths).obstacles()

    assert obstacles("K8s Kurs", "my cache") == []
    assert obstacles("a,b", "c") == [
        f"{tmp_path}/a,b/.l4lab/one/machines has , in it, which the machines' kernel takes for "
        "something else: move this folder to a path without"
    ]
    assert obstacles("a", 'b:"c') == [
        f'{tmp_path}/b:"c has : and " in it, which the machines\' kernel takes for '
        "something else: set L4LAB_CACHE to a folder without"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_checks_find_the_key_too(tmp_path, name):
    """They ask by a client of their own, to which a doubled percent sign is no percent sign."""
    key = tmp_path / name / "id"
    text = f"Host a\n  IdentityFile {keys.path_word(key)}\n"
    assert read_configuration(text, "a")["identityfile"] == [str(key)]
    assert "identityfile" not in read_configuration(text, "b")
