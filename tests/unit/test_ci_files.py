"""The CI files in docs/ci: their keys are those the systems publish, their commands are ours.

GitLab's own linter asks a GitLab; it was not run.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from l4lab import cli, settings
from tests.unit.test_cli import PROJECT

CI = PROJECT / "docs" / "ci"
# From the published references of workflow syntax and of .gitlab-ci.yml.
GITHUB = {
    "": {"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs"},
    "on": {"push", "pull_request", "schedule", "workflow_dispatch", "workflow_call"},
    "concurrency": {"group", "cancel-in-progress"},
    "job": {
        "name", "permissions", "needs", "if", "runs-on", "environment", "concurrency", "outputs",
        "env", "defaults", "steps", "timeout-minutes", "strategy", "continue-on-error", "container",
        "services", "uses", "with", "secrets",
    },
    "container": {"image", "credentials", "env", "ports", "volumes", "options"},
    "step": {
        "id", "if", "name", "uses", "run", "working-directory", "shell", "with", "env",
        "continue-on-error", "timeout-minutes",
    },
    "actions/checkout": {"repository", "ref", "token", "path", "clean", "fetch-depth"},
    "actions/cache": {"path", "key", "restore-keys", "enableCrossOsArchive", "fail-on-cache-miss",
                      "lookup-only"},
    "actions/upload-artifact": {"name", "path", "if-no-files-found", "retention-days",
                                "compression-level", "overwrite", "include-hidden-files"},
}  # fmt: skip
GITLAB = {
    "": {"stages", "default", "include", "variables", "workflow"},
    "job": {
        "stage", "image", "tags", "timeout", "interruptible", "cache", "script", "before_script",
        "after_script", "artifacts", "rules", "variables", "needs", "services", "retry",
        "allow_failure", "environment", "parallel", "extends", "when",
    },
    "cache": {"key", "paths", "policy", "untracked", "unprotect", "when", "fallback_keys"},
    "key": {"files", "prefix"},
    "artifacts": {"paths", "exclude", "expire_in", "expose_as", "name", "public", "reports",
                  "untracked", "when", "access"},
}  # fmt: skip


def read(name):
    # YAML 1.1 reads the key ``on`` as true; the CI systems do not.
    return yaml.load((CI / name).read_text(), Loader=yaml.BaseLoader)  # noqa: S506  # texts only


@pytest.fixture(scope="module")
def github():
    return read("github.yml")


@pytest.fixture(scope="module")
def gitlab():
    return read("gitlab.yml")


def commands(lines):
    """The calls of l4lab in shell lines, as words."""
    calls = re.findall(r"\./l4lab ([^;]+)", "; ".join(lines))
    return [shlex.split(call) for call in calls]


def scripts(github, gitlab):
    steps = [step for job in github["jobs"].values() for step in job["steps"]]
    return [step["run"] for step in steps if "run" in step], gitlab["smoke"]["script"]


def test_github_has_only_keys_that_are_published(github):
    assert set(github) <= GITHUB[""]
    assert set(github["on"]) <= GITHUB["on"]
    assert set(github["concurrency"]) <= GITHUB["concurrency"]
    for job in github["jobs"].values():
        assert set(job) <= GITHUB["job"]
        assert set(job["container"]) <= GITHUB["container"]
        for step in job["steps"]:
            assert set(step) <= GITHUB["step"]
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                action, _, version = step["uses"].partition("@")
                assert re.fullmatch(r"v\d+", version)
                assert set(step.get("with", {})) <= GITHUB[action]


def test_github_s_conditions_name_steps_that_are_there(github):
    for job in github["jobs"].values():
        known = set()
        for step in job["steps"]:
            assert set(re.findall(r"steps\.([\w-]+)", step.get("if", ""))) <= known
            known |= {step["id"]} if "id" in step else set()


def test_the_caches_are_keyed_by_files_that_are_there(github, gitlab):
    steps = github["jobs"]["smoke"]["steps"]
    (cache,) = [step for step in steps if step.get("uses", "").startswith("actions/cache@")]
    patterns = re.findall(r"'([^']+)'", cache["with"]["key"])
    files = gitlab["smoke"]["cache"]["key"]["files"]
    assert len(files) <= 2
    for pattern in [*patterns, *files]:
        assert any(PROJECT.glob(pattern)), pattern
    catalogue = Path("infra/l4lab/bundle/catalog.toml")
    assert str(catalogue) in files
    assert any(PROJECT / catalogue in PROJECT.glob(f"{pattern}/*") for pattern in patterns)


def test_gitlab_has_only_keys_that_are_published(gitlab):
    assert set(gitlab) - {"smoke"} <= GITLAB[""]
    job = gitlab["smoke"]
    assert job["stage"] in gitlab["stages"]
    assert set(job) <= GITLAB["job"]
    assert set(job["cache"]) <= GITLAB["cache"]
    assert set(job["cache"]["key"]) <= GITLAB["key"]
    assert set(job["artifacts"]) <= GITLAB["artifacts"]
    assert set(job["artifacts"]["reports"]) == {"junit"}


@pytest.mark.parametrize("system", [0, 1], ids=["github", "gitlab"])
def test_their_commands_are_ours_and_what_they_write_is_kept(github, gitlab, system):
    calls = commands(scripts(github, gitlab)[system])
    assert sorted(call[0] for call in calls) == ["bundle", "bundle", "smoke"]
    for verb, *words in calls:
        command = cli.main.get_command(None, verb)
        # The file of --load is only there in CI: what exists stands in for it.
        given = ["docs" if words[at - 1] == "--load" else word for at, word in enumerate(words)]
        command.make_context(verb, given)
    text = (CI / ("github.yml", "gitlab.yml")[system]).read_text()
    (smoke,) = [call for call in calls if call[0] == "smoke"]
    for option in ("--junit", "--html", "--diagnostics"):
        assert text.count(smoke[smoke.index(option) + 1]) == 2
    assert float(smoke[smoke.index("--deadline") + 1]) < 120


def test_the_example_of_given_hosts_is_read():
    found = settings.load(CI / "hosts.toml", PROJECT)
    assert found.driver == "ssh"
    assert found.topology.given.identity == CI / "id_ed25519"
    assert found.topology.given.host_keys == CI / "known_hosts"
    assert {machine.user for machine in found.topology.machines} == {"debian"}
