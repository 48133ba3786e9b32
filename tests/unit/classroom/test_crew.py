"""Many students at once: one's failure or death stops nobody, and the limit holds."""

import io
import multiprocessing
import os
import signal
import time

import pytest

from l4lab.classroom.crew import work_for_all
from l4lab.classroom.model import Outcome, Student
from l4lab.errors import StackError
from l4lab.place import Place
from l4lab.progress import Progress
from l4lab.retry import wait_for


def students(*ids):
    return [Student(id=one, name=one, place=Place(student=one, namespace=one)) for one in ids]


def well(student, note="fine"):
    return Outcome(student=student.id, ok=True, seconds=0.0, note=note)


@pytest.fixture
def said():
    return io.StringIO()


def run(work, *ids, said, at_once=3):
    progress = Progress(said)
    return work_for_all(students(*ids), work, title="deploy", at_once=at_once, progress=progress)


def test_an_outcome_each_in_the_order_of_the_class(said):
    def work(student, tell):
        tell("begun")
        return well(student)

    found = run(work, "alice", "bob", "cy", said=said)
    assert [one.student for one in found] == ["alice", "bob", "cy"]
    assert all(one.ok for one in found)
    lines = said.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("✓") for line in lines)


def test_what_fails_for_one_stops_nobody(said):
    def work(student, _tell):
        if student.id == "alice":
            raise StackError("cannot deploy", "the quota is used up", "ask for less")
        if student.id == "bob":
            raise RuntimeError("a bug")
        if student.id == "cy":
            os.kill(os.getpid(), signal.SIGKILL)
        return well(student)

    found = {one.student: one for one in run(work, "alice", "bob", "cy", "dan", said=said)}
    assert found["alice"].note == "cannot deploy: the quota is used up"
    assert found["alice"].next == "ask for less"
    assert found["bob"].note.startswith("RuntimeError at test_crew.py:")
    assert found["cy"].note == "its process died: SIGKILL"
    assert found["dan"].ok
    assert [one.ok for one in found.values()].count(False) == 3


def test_as_many_at_once_as_the_limit_says(said, tmp_path):
    def work(student, _tell):
        (tmp_path / student.id).touch()
        deadline = time.monotonic() + 20
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return well(student, str(len(list(tmp_path.iterdir()))))

    found = run(work, "alice", "bob", said=said, at_once=2)
    assert {one.note for one in found} == {"2"}


def test_one_after_the_other_with_a_limit_of_one(said, tmp_path):
    def work(student, _tell):
        mine = tmp_path / student.id
        mine.touch()
        alone = len(list(tmp_path.iterdir()))
        mine.unlink()
        return well(student, str(alone))

    found = run(work, *"abcdef", said=said, at_once=1)
    assert {one.note for one in found} == {"1"}


def test_one_live_line_a_student_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    work_for_all(
        students("alice", "bob"),
        lambda student, _tell: well(student, "fine"),
        title="check clusterip",
        at_once=1,
        progress=Progress(screen),
    )
    last = screen.getvalue().rpartition("\x1b[J")[2]
    assert "✓ alice" in last
    assert "✓ bob" in last
    assert "2 well, 0 failed, 0 to go" in last


def test_who_works_for_a_student_ends_with_the_command(said, tmp_path):
    def work(student, _tell):
        (tmp_path / "pid").write_text(str(os.getpid()))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            (tmp_path / "saved").touch()
        return well(student)

    command = multiprocessing.get_context("fork").Process(
        target=run, args=(work, "alice"), kwargs={"said": said}
    )
    command.start()
    wait_for("its process", written(tmp_path / "pid"), within=20)
    command.kill()
    command.join(10)
    wait_for("what it saves", written(tmp_path / "saved"), within=20)


def written(file):
    return lambda: None if file.exists() else "nothing"
