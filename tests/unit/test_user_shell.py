"""What ``l4lab env`` prints, as a real shell understands it, and the programs it writes."""

import io
import os
import shlex
import subprocess

import pytest

from l4lab import machines, pulumi_cli, user_shell
from l4lab.cluster import Cluster
from l4lab.errors import UsageError
from l4lab.progress import Progress
from l4lab.settings import parse
from l4lab.state import write_json

LAUNCHER = """#!/bin/sh
printf 'entered %s\\n' "$*"
shift
[ "$1" != --config ] || shift 2
exec "$@"
"""
PULUMI = """#!/bin/sh
echo "pulumi in $(pwd): $*, passphrase ${PULUMI_CONFIG_PASSPHRASE-none}, $(cat)"
exit 7
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster that is up, as far as anybody can tell, in a folder with an odd name."""
    monkeypatch.setitem(machines.DRIVERS, "local", "tests.unit.machines.fake:FakeDriver")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "no home"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    project = tmp_path / "o'ne $HOME"
    program(project / "l4lab", LAUNCHER)
    program(project / "bundle" / "bin" / "pulumi", PULUMI)
    program(project / "bundle" / "bin" / "kubectl", "#!/bin/sh\n")
    found = Cluster(project, parse({}, "none"), Progress(io.StringIO()))
    for machine in found.settings.topology.machines:
        (found.paths.machines / machine.name).mkdir(parents=True)
        (found.paths.machines / machine.name / "on").touch()
    write_json(found.paths.record, {"bundle": str(project / "bundle")})
    found.paths.inventory.touch()
    found.paths.kubeconfig.touch()
    return found


def after_eval(cluster, line, *, config=None, **environment):
    folder, variables = user_shell.prepare(cluster, config)
    text = user_shell.render(folder, variables, "bash")
    return subprocess.run(
        ["bash", "-c", f"eval {shlex.quote(text)}\neval {shlex.quote(text)}\n{line}"],
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd="/",
        input="asked",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_pulumi_runs_inside_the_network_in_the_callers_folder(cluster):
    done = after_eval(cluster, "pulumi up 'a b'", PULUMI_CONFIG_PASSPHRASE="other")
    entered, said = done.stdout.splitlines()
    assert entered.startswith("entered exec /")
    assert said == "pulumi in /: up a b, passphrase none, asked"
    assert done.returncode == 7


def test_each_clusters_stacks_have_settings_of_their_own(cluster):
    link = cluster.paths.stack_link
    link.symlink_to(cluster.project / "another cluster")
    after_eval(cluster, "pulumi up")
    assert link.readlink() == cluster.paths.stack_work
    assert cluster.paths.stack_work.is_dir()
    cluster.down()
    assert not link.is_symlink()
    assert not (cluster.project / ".l4lab").exists(), "nothing is left"


def test_another_settings_file_stays_the_one(cluster, tmp_path):
    config = tmp_path / "other lab.toml"
    done = after_eval(cluster, 'pulumi up; echo "$L4LAB_CONFIG"', config=config)
    assert f"entered exec --config {config} " in done.stdout
    assert done.stdout.splitlines()[-1] == str(config)


def test_a_shell_that_is_prepared_twice_has_the_folder_once(cluster):
    done = after_eval(cluster, 'echo "$PATH"; echo "$KUBECONFIG"; echo "$L4LAB_CLUSTER"')
    path, kubeconfig, name = done.stdout.splitlines()
    assert path == f"{cluster.paths.root / 'bin'}:/usr/bin:/bin"
    assert kubeconfig == str(cluster.paths.kubeconfig)
    assert name == "l4lab"


def test_no_secret_is_printed(cluster):
    folder, variables = user_shell.prepare(cluster, None)
    file = variables["PULUMI_CONFIG_PASSPHRASE_FILE"]
    with open(file) as secret:  # noqa: PTH123  as Pulumi does
        word = secret.read()
    assert len(word) > 20
    for shell in user_shell.SHELLS:
        assert word not in user_shell.render(folder, variables, shell)


def test_fish_is_told_in_its_own_words(cluster):
    folder, variables = user_shell.prepare(cluster, None)
    text = user_shell.render(folder, variables, "fish")
    assert "set -gx L4LAB_CLUSTER 'l4lab';" in text
    assert "o\\'ne $HOME" in text
    assert "export" not in text


def test_our_plugins_are_there_only_where_the_official_ones_are_absent(
    cluster, tmp_path, monkeypatch
):
    folder, variables = user_shell.prepare(cluster, None)
    ours = {"pulumi-language-python", "pulumi-resource-kubernetes"}
    assert {one.name for one in folder.iterdir()} == {"pulumi", "kubectl", *ours}
    assert variables["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    cli = cluster.project / "bundle" / "bin" / "pulumi"
    assert set(pulumi_cli.missing_plugins(cli)) == ours, "ours are not taken for official ones"

    for name in ours:
        program(tmp_path / "official" / name, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'official'}:/usr/bin:/bin")
    _, variables = user_shell.prepare(cluster, None)
    assert {one.name for one in folder.iterdir()} == {"pulumi", "kubectl"}
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in variables


def test_without_a_cluster_nothing_is_prepared(cluster):
    cluster.paths.kubeconfig.unlink()
    with pytest.raises(UsageError, match="not up"):
        user_shell.prepare(cluster, None)
    assert not (cluster.paths.root / "bin").exists()


def test_only_the_user_may_read_what_is_written(cluster):
    folder, _ = user_shell.prepare(cluster, None)
    assert os.stat(folder / "pulumi").st_mode & 0o777 == 0o700  # noqa: PTH116  one call


def test_the_plugins_of_an_official_bundle_come_first(cluster, tmp_path, monkeypatch):
    names = {"pulumi-language-python", "pulumi-resource-kubernetes"}
    beside = cluster.project / "bundle" / "bin"
    for name in names:
        program(beside / name, "#!/bin/sh\n")
        program(tmp_path / "other" / name, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'other'}:/usr/bin:/bin")
    folder, variables = user_shell.prepare(cluster, None)
    assert {name: (folder / name).readlink() for name in names} == {
        name: beside / name for name in names
    }
    assert variables["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    own = pulumi_cli.environment(cluster.enter(), tmp_path)["PATH"].split(":")
    assert own[0] == str(beside), "the stack's own process finds them, and not our provider"
    assert str(pulumi_cli.PROVIDER) not in own
