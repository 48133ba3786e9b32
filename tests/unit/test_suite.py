"""The two runs of l4lab's own tests, on a project of a few, and the one line that closes them."""

import io
import shutil
from pathlib import Path

import pytest

from l4lab import suite
from l4lab.progress import Progress

TESTS = Path(__file__).parents[1]
GOOD = "def test_good(): pass\n"
BAD = "def test_bad(): assert 1 == 2, 'why it is red'\n"
SKIPPED = "import pytest\n@pytest.mark.skip\ndef test_skipped(): pass\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "tests" / "cluster").mkdir(parents=True)
    shutil.copy(TESTS / "conftest.py", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -ra\nmarkers =\n cluster\n long\n")
    monkeypatch.setattr(suite.bundle, "ensure", lambda _progress: None)
    monkeypatch.setattr(suite.bundle, "find", lambda: None)
    monkeypatch.setattr(suite, "ensure_packages", lambda _names, _log: None)
    # That of the run this test is part of.
    monkeypatch.delenv("L4LAB_TALLY", raising=False)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(project, name, *texts):
    (project / "tests" / name).write_text("\n".join(texts))


def run(project, *words, quick=False):
    words = ["-p", "no:cacheprovider", *words]
    return suite.run(project, Progress(io.StringIO()), words, quick=quick)


def test_one_line_closes_both_runs(project, capfd):
    write(project, "test_quick.py", GOOD, SKIPPED)
    write(project, "cluster/test_machines.py", GOOD)
    done = run(project)
    assert done.passed
    assert "= 2 passed, 1 skipped in " in done.closing
    printed = capfd.readouterr().out
    assert " passed in " not in printed
    assert "cluster/test_machines.py::test_good PASSED" in printed


def test_a_red_quick_test_is_red_in_the_end_and_the_machines_are_still_tried(project, capfd):
    write(project, "test_quick.py", GOOD, BAD)
    write(project, "cluster/test_machines.py", GOOD)
    done = run(project)
    assert not done.passed
    assert "= 1 failed, 2 passed in " in done.closing
    assert "why it is red" in capfd.readouterr().out


@pytest.mark.parametrize("word", ["--exitfirst", "--no-such-option"])
def test_no_machines_are_made_after_a_run_that_was_broken_off(project, capfd, word):
    write(project, "test_quick.py", BAD)
    write(project, "cluster/test_machines.py", GOOD)
    assert not run(project, word).passed
    assert "cluster/test_machines.py" not in capfd.readouterr().out


def test_what_is_red_on_machines_is_told_at_once(project, capfd):
    write(project, "test_quick.py", GOOD)
    write(project, "cluster/test_machines.py", BAD, GOOD)
    assert not run(project).passed
    printed = capfd.readouterr().out
    assert printed.index("why it is red") < printed.index("test_good")


def test_quick_leaves_the_machines_out(project):
    write(project, "test_quick.py", GOOD)
    write(project, "cluster/test_machines.py", BAD)
    done = run(project, quick=True)
    assert done.passed
    assert "= 1 passed in " in done.closing


def test_a_choice_may_leave_one_run_empty_but_not_both(project):
    write(project, "test_quick.py", GOOD)
    write(project, "cluster/test_machines.py", "def test_real(): pass\n")
    assert run(project, "-k", "real").passed
    assert run(project, "-k", "good").passed
    none = run(project, "-k", "nothing_like_it")
    assert not none.passed
    assert " deselected in " in none.closing


def test_files_named_run_by_themselves_and_pytest_closes(project, capfd):
    write(project, "test_quick.py", BAD)
    write(project, "cluster/test_machines.py", GOOD)
    done = run(project, "tests/cluster/test_machines.py::test_good")
    assert (done.passed, done.closing) == (True, "")
    assert " 1 passed in " in capfd.readouterr().out
