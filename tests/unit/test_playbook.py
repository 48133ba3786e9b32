"""run_playbook against real Ansible runs on this machine (connection local)."""

from __future__ import annotations

import ast
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l4lab import inventory
from l4lab.bundle import Bundle
from l4lab.errors import MachineError, PlaybookError
from l4lab.machines import keys
from l4lab.playbook import TaskEvent, run_playbook
from l4lab.settings import parse
from l4lab.state import Paths

PROJECT = Path(__file__).parents[2]

HERE = """
all:
  hosts:
    one: {ansible_connection: local}
    two: {ansible_connection: local}
  vars:
    ansible_python_interpreter: PYTHON
""".replace("PYTHON", sys.executable)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "ansible.cfg").write_text("[defaults]\ngathering = explicit\n")
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "state")
    paths.root.mkdir(mode=0o700)
    paths.inventory.write_text(HERE)
    return paths


def play(project: Path, tasks: str, *, hosts: str = "all") -> None:
    lines = "\n".join(f"    {line}" for line in tasks.strip("\n").splitlines())
    text = f"- name: A play\n  hosts: {hosts}\n  gather_facts: false\n  tasks:\n{lines}\n"
    (project / "playbooks" / "site.yml").write_text(text)


def left_over(paths: Paths) -> list[str]:
    """Processes that carry the mark of a run on this state folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"L4LAB_PLAYBOOK_RUN={paths.root}".encode() in environment and state != "Z":
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_counts_and_times_each_task_on_each_host(project: Path, paths: Paths) -> None:
    play(
        project,
        """
- name: Change something
  ansible.builtin.command: "true"
- name: Look
  ansible.builtin.command: "true"
  changed_when: false
- name: Leave out
  ansible.builtin.command: "true"
  when: inventory_hostname == "two"
""",
    )
    seen: list[TaskEvent] = []
    result = run_playbook("site.yml", paths, project=project, on_task=seen.append, timeout=120)
    assert result.hosts["one"].changed == 1
    assert result.hosts["one"].ok == 2
    assert result.hosts["one"].skipped == 1
    assert result.hosts["two"].changed == 2
    assert result.changed == 3
    statuses = {(task.host, task.task): task.status for task in result.tasks}
    assert statuses[("one", "Change something")] == "changed"
    assert statuses[("one", "Look")] == "ok"
    assert statuses[("one", "Leave out")] == "skipped"
    assert all(0 <= task.started <= result.seconds for task in result.tasks)
    assert sum(result.busy_seconds().values()) > 0
    assert {event.status for event in seen} >= {"start", "ok", "changed", "skipped"}
    said, timeline = result.log.read_text().split("TIMELINE\n")
    assert "TASK [Change something]" in said
    assert len(timeline.splitlines()) == 5
    assert stat.S_IMODE(result.log.stat().st_mode) == 0o600
    assert left_over(paths) == []


def test_extra_variables_come_before_all_others(project: Path, paths: Paths) -> None:
    play(
        project,
        """
- name: Check the wish
  ansible.builtin.assert:
    that: wish == "granted"
""",
    )
    run_playbook("site.yml", paths, project=project, timeout=120, extra={"wish": "granted"})


def test_a_failed_task_is_one_line_with_host_task_and_the_programs_own_words(
    project: Path, paths: Paths
) -> None:
    play(
        project,
        """
- name: Ask too much
  ansible.builtin.shell: "echo 'disk on fire' >&2; exit 3"
""",
        hosts="two",
    )
    with pytest.raises(PlaybookError) as caught:
        run_playbook("site.yml", paths, project=project, timeout=120)
    assert caught.value.brief == "site.yml failed"
    assert caught.value.reason == "two: Ask too much: disk on fire"
    assert caught.value.exit_code == 4
    assert caught.value.details
    assert "disk on fire" in caught.value.details.read_text()


def test_a_failed_item_of_a_loop_is_named_by_its_reason(project: Path, paths: Paths) -> None:
    play(
        project,
        """
- name: Try each
  ansible.builtin.command: "{{ item }}"
  loop: ["true", "cat /nowhere/to/be/seen"]
""",
        hosts="one",
    )
    with pytest.raises(PlaybookError, match="cat: /nowhere/to/be/seen") as caught:
        run_playbook("site.yml", paths, project=project, timeout=120)
    assert caught.value.reason
    assert "\n" not in caught.value.reason


def test_an_ignored_failure_is_none(project: Path, paths: Paths) -> None:
    play(
        project,
        """
- name: Fail and go on
  ansible.builtin.command: "false"
  ignore_errors: true
""",
        hosts="one",
    )
    result = run_playbook("site.yml", paths, project=project, timeout=120)
    assert [task.status for task in result.tasks] == ["failed"]


def test_an_unreachable_machine_is_named(project: Path, paths: Paths) -> None:
    paths.inventory.write_text(
        "all: {hosts: {gone: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_user: nobody}}}\n"
    )
    play(
        project,
        """
- name: Say hello
  ansible.builtin.command: "true"
""",
    )
    with pytest.raises(PlaybookError, match=r"gone: Say hello: .*(refused|closed|reset)"):
        run_playbook("site.yml", paths, project=project, timeout=120)


def test_a_playbook_that_cannot_be_read_says_so(project: Path, paths: Paths) -> None:
    (project / "playbooks" / "site.yml").write_text("- hosts: all\n  tasks: [{nonsense: {}}]\n")
    with pytest.raises(PlaybookError, match="nonsense"):
        run_playbook("site.yml", paths, project=project, timeout=120)


def test_a_secret_under_no_log_is_in_no_file(project: Path, paths: Paths) -> None:
    (project / "secret").write_text("correct-horse-battery")
    play(
        project,
        f"""
- name: Use a secret
  ansible.builtin.command:
    argv: [cat]
    stdin: "{{{{ lookup('ansible.builtin.file', '{project}/secret') }}}}"
  no_log: true
- name: Fail with it
  ansible.builtin.shell: "cat; exit 1"
  args:
    stdin: "{{{{ lookup('ansible.builtin.file', '{project}/secret') }}}}"
  no_log: true
""",
        hosts="one",
    )
    with pytest.raises(PlaybookError) as caught:
        run_playbook("site.yml", paths, project=project, timeout=120)
    assert "horse" not in str(caught.value)
    for file in paths.root.rglob("*"):
        if file.is_file():
            assert b"correct-horse-battery" not in file.read_bytes(), file


def test_time_running_out_ends_everything(project: Path, paths: Paths) -> None:
    play(
        project,
        """
- name: Sleep long
  ansible.builtin.command: sleep 1000
""",
    )
    with pytest.raises(PlaybookError, match="did not end within 6 s"):
        run_playbook("site.yml", paths, project=project, timeout=6)
    assert left_over(paths) == []


def test_a_run_that_became_hopeless_ends_at_once_with_its_reason(
    project: Path, paths: Paths
) -> None:
    begun = paths.root / "begun"
    play(
        project,
        f"""
- name: Sleep long
  ansible.builtin.shell: "touch {begun}; sleep 1000"
""",
    )

    def meanwhile() -> None:
        if begun.exists():
            raise MachineError("the machines stand still")

    with pytest.raises(MachineError, match="the machines stand still"):
        run_playbook("site.yml", paths, project=project, timeout=300, meanwhile=meanwhile)
    assert left_over(paths) == []
    assert "Sleep long" in (paths.logs / "site.log").read_text()


def test_the_state_may_lie_in_a_folder_of_any_name(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "K8s Kurs's 50%h à la carte"
    paths, told = Paths(folder / "state"), folder / "told"
    paths.root.mkdir(parents=True)
    proxy = folder / "connect.py"
    proxy.write_text(f"import sys\nopen({str(told)!r}, 'a').write(repr(sys.argv[1:]) + chr(10))\n")
    monkeypatch.setattr(keys.connect, "__file__", str(proxy))
    settings = parse({}, "none")
    record = paths.machines / "holder.json"
    keys.write_client_files(paths, settings.topology, record)
    inventory.write(settings, paths, Bundle(folder / "bundle"))
    moved = project.rename(folder / "project")
    (moved / "ansible.cfg").write_text((PROJECT / "ansible.cfg").read_text())
    play(moved, '- name: Say hello\n  ansible.builtin.command: "true"\n')
    with pytest.raises(PlaybookError, match=r"Say hello: .*proxy dialer"):
        run_playbook("site.yml", paths, project=moved, timeout=120)
    # Ansible and ssh read all that we wrote, and what gives ssh its connection was run.
    calls = {tuple(ast.literal_eval(line)) for line in told.read_text().splitlines()}
    assert calls == {
        (str(record), str(machine.address), "22") for machine in settings.topology.machines
    }


SLEEPER = """
import sys
from pathlib import Path
from l4lab.playbook import run_playbook
from l4lab.state import Paths

try:
    run_playbook("site.yml", Paths(Path(sys.argv[2])), project=Path(sys.argv[1]), timeout=300)
except KeyboardInterrupt:
    sys.exit(130)
"""


def start_sleeper(project: Path, paths: Paths) -> subprocess.Popen[bytes]:
    """A process that runs a playbook whose task sleeps, returned once the task does."""
    begun = paths.root / "begun"
    play(
        project,
        f"""
- name: Sleep long
  ansible.builtin.shell: "touch {begun}; sleep 1000"
""",
        hosts="one",
    )
    child = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(project), str(paths.root)], start_new_session=True
    )
    until = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < until
        assert child.poll() is None
        time.sleep(0.05)
    begun.unlink()
    return child


def test_ctrl_c_leaves_no_process(project: Path, paths: Paths) -> None:
    child = start_sleeper(project, paths)
    os.kill(child.pid, signal.SIGINT)
    assert child.wait(timeout=60) == 130
    assert left_over(paths) == []


def test_the_next_run_ends_what_a_killed_one_left(project: Path, paths: Paths) -> None:
    child = start_sleeper(project, paths)
    child.kill()
    child.wait(timeout=60)
    assert left_over(paths) != []
    play(
        project,
        """
- name: Look
  ansible.builtin.command: "true"
""",
        hosts="one",
    )
    run_playbook("site.yml", paths, project=project, timeout=120)
    assert left_over(paths) == []
