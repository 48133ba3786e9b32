"""The launcher's errors have l4lab's exit codes: 2 for bad usage, 3 for what is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "l4lab"
# An environment whose pip reaches no index.
PYTHON = f"""\
#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho no index; exit 1\\n' >"$3/bin/python"
chmod +x "$3/bin/python"
"""


@pytest.fixture
def launch(tmp_path):
    stub = tmp_path / "bin" / "python3"
    stub.parent.mkdir()
    stub.write_text(PYTHON)
    stub.chmod(0o755)

    def launched(*words, cache=tmp_path / "cache"):
        environment = {
            "HOME": str(tmp_path),
            "PATH": f"{stub.parent}:{os.environ['PATH']}",
            "L4LAB_CACHE": str(cache),
        }
        return subprocess.run(
            [LAUNCHER, *words],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return launched


def test_without_packages_nothing_can_run(launch):
    done = launch("--version")
    assert done.returncode == 3
    assert "no index\nerror: could not install the Python packages" in done.stderr


def test_a_cache_that_cannot_be_written(launch, tmp_path):
    (tmp_path / "file").touch()
    done = launch("--version", cache=tmp_path / "file" / "cache")
    assert done.returncode == 3
    assert "error: the Python environment cannot be made" in done.stderr


def test_a_file_that_is_not_there_is_bad_usage(launch, tmp_path):
    done = launch("bundle", "--load", tmp_path / "stick.tar")
    assert done.returncode == 2
    assert f"error: there is no file {tmp_path / 'stick.tar'}" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_no_bundle(launch, tmp_path):
    (tmp_path / "stick.tar").write_text("no archive")
    done = launch("bundle", "--load", tmp_path / "stick.tar")
    assert done.returncode == 3
    assert "stick.tar\n  why:  it is no packed bundle" in done.stderr
