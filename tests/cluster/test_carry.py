"""A machine without any network: all it needs comes out of one file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from l4lab import bundle

PROJECT = Path(__file__).parents[2]
# Nothing listens there: whoever asks a package index fails at once.
NO_INDEX = "http://127.0.0.1:9/"


def test_a_packed_bundle_brings_the_python_environment_too(cluster, tmp_path):
    made = bundle.ensure(cluster.progress)
    file = tmp_path / "stick with a space.tar"
    bundle.pack(made, file)
    cache = tmp_path / "cache"
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{sys.base_prefix}/bin:{os.defpath}",
        "L4LAB_CACHE": str(cache),
        "PIP_INDEX_URL": NO_INDEX,
        "PIP_EXTRA_INDEX_URL": NO_INDEX,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
    }

    def l4lab(*words):
        argv = [PROJECT / "l4lab", *words]
        return subprocess.run(
            argv, env=environment, check=False, capture_output=True, text=True, timeout=900
        )

    alone = l4lab("--version")
    assert alone.returncode == 3
    assert "./l4lab bundle --load FILE" in alone.stderr
    loaded = l4lab("bundle", "--load", file)
    assert loaded.returncode == 0, loaded.stderr
    assert str(cache) in loaded.stdout
    assert l4lab("--version").stdout.startswith("l4lab ")
    shutil.rmtree(cache)
