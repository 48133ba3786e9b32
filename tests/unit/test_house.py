"""The house rules as tests: format, lint, types, layers, sizes, nothing of anybody's machine."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from l4lab.lab import PARTS

PROJECT = Path(__file__).parents[2]
TYPED = [
    "infra/l4lab",
    "infra/provider/l4lab_provider",
    "infra/language/l4lab_language",
    "benchmarks",
]
LONGEST = 400
LINTERS = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
    "types": [sys.executable, "-m", "mypy", *TYPED],
    # As a package: names with a hyphen are no module names, so mypy takes paths for one module.
    "types of labs": [sys.executable, "-m", "mypy", "-p", "labs"],
    "layers": ["lint-imports", "--no-cache"],
    "yaml": ["yamllint", "--strict", "."],
    "spelling": ["codespell"],
    "playbooks": ["ansible-lint", "--offline"],
}


def files():
    """Every file of the project; what it makes itself is in hidden folders."""
    for folder, folders, names in os.walk(PROJECT):
        folders[:] = [
            name
            for name in folders
            if (name == ".ci" or not name.startswith(".")) and name != "__pycache__"
        ]
        yield from (Path(folder) / name for name in names if not name.endswith(".pyc"))


FILES = sorted(files())
PYTHON = [path for path in FILES if path.suffix == ".py"]


def short(path):
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("argv", LINTERS.values(), ids=LINTERS.keys())
def test_a_linter_has_nothing_to_say(argv):
    done = subprocess.run(
        argv, cwd=PROJECT, capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]


def test_no_file_is_too_long_to_read():
    long = {short(path): len(path.read_text().splitlines()) for path in PYTHON}
    assert long
    assert {name: lines for name, lines in long.items() if lines > LONGEST} == {}


# --- imports that are made by text, or by programs that run alone -------------------------------


def imported(path):
    """What a file imports: modules, and names as ``module.name``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


LAB_FOLDERS = sorted(path.parent for path in (PROJECT / "labs").glob("*/facts.py"))
# What a lab may build on; of commands only what one looks like that has run.
ALLOWED = re.compile(
    r"l4lab\.(checks|components|errors|guide|topology)(\.|$)|l4lab\.command\.Result$"
)


@pytest.mark.parametrize("folder", LAB_FOLDERS, ids=lambda folder: folder.name)
def test_a_lab_has_its_parts_and_knows_only_itself(folder):
    assert [part for part in (*PARTS, "README.zh.md") if not (folder / part).is_file()] == []
    found = {name for path in folder.glob("*.py") for name in imported(path)}
    assert found
    strange = {name for name in found if name.startswith("l4lab") and not ALLOWED.match(name)}
    others = {
        name for name in found if name.split(".")[0] == "labs" and name.split(".")[1] != folder.name
    }
    assert strange | others == set()


def test_facts_are_data():
    for folder in LAB_FOLDERS:
        outside = {name.split(".")[0] for name in imported(folder / "facts.py")}
        assert outside <= {"__future__", "typing"}, folder.name


@pytest.mark.parametrize("name", ["holder.py", "connect.py", "given.py"])
def test_what_runs_alone_needs_only_the_standard_library(name):
    found = {one.split(".")[0] for one in imported(PROJECT / "infra/l4lab/machines" / name)}
    assert found <= sys.stdlib_module_names | {"__future__"}


def test_only_the_command_line_prints():
    talkers = {
        short(path)
        for path in (PROJECT / "infra/l4lab").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"print", "input", "click.echo", "sys.stdout.write"}
    }
    # The second runs alone, on a host over ssh: what it prints is its answer.
    assert talkers == {"infra/l4lab/console.py", "infra/l4lab/machines/given.py"}


def test_waivers_have_reasons():
    bare = re.compile(r"# (noqa(: ?[A-Z0-9, ]+)?|type: ignore(\[[^]]*\])?)\s*$")
    found = []
    ours = [path for part in ("infra/l4lab", "labs") for path in (PROJECT / part).rglob("*.py")]
    assert ours
    for path in ours:
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            before = lines[number - 1].strip() if number else ""
            if bare.search(line) and not before.startswith("#"):
                found.append(f"{short(path)}:{number + 1}")
    assert found == []


# --- nothing of the machine it was written on ---------------------------------------------------


def hosts_of_this_machine():
    """Hosts that this machine fetches packages from, as its own settings name them."""
    said = [
        value
        for name, value in os.environ.items()
        if re.search(r"INDEX_URL|GOPROXY|GOSUMDB|(HTTPS?|ALL)_PROXY", name, re.IGNORECASE)
    ]
    argvs = [[sys.executable, "-m", "pip", "config", "list"]]
    if shutil.which("go"):
        argvs.append(["go", "env", "GOPROXY"])
    for argv in argvs:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        said.append(done.stdout)
    urls = re.findall(r"https?://[^\s'\",|]+", " ".join(said))
    return {host for url in urls if (host := urlsplit(url).hostname)}


def traces(text, hosts):
    """Paths of a home and hosts of a machine in a text."""
    # Root's files on a lab machine are the project's business.
    homes = r"/root/(?!\.(kube|ssh)/)[\w.]|/home/\w|/Users/\w"
    # From a path's beginning: a project in /tmp does not lie in /var/tmp.
    own = "|".join(
        rf"(?<![\w.-]){re.escape(f'{path}/')}"
        for path in (PROJECT, PROJECT.parent)
        if path.parent != path
    )
    found = [match.group() for match in re.finditer(f"{homes}|{own}", text)]
    return found + [host for host in hosts if host in text]


def test_no_file_tells_where_it_was_written():
    hosts = hosts_of_this_machine()
    found = {}
    for path in FILES:
        if path.name in ("go.sum", Path(__file__).name):
            continue
        seen = traces(path.read_text(errors="replace"), hosts)
        if seen:
            found[short(path)] = seen
    assert found == {}


@pytest.mark.parametrize(
    "text", ["x /root/.cache/x", "/home/me", f"see {PROJECT}/docs", "https://registry.corp/simple"]
)
def test_traces_are_seen(text):
    assert traces(text, {"registry.corp"})


def test_ways_on_a_lab_machine_are_no_traces():
    assert traces("/root/.kube/config /root/.ssh/authorized_keys /tmp", set()) == []


def test_no_file_holds_a_private_key():
    begin = "-----BEGIN [A-Z ]*PRIVATE KEY-----\\s+[A-Za-z0-9+/=]{40}"
    assert [
        short(path) for path in FILES if re.search(begin, path.read_text(errors="replace"))
    ] == []
