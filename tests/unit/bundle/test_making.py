"""Parts are made two at once, each after those it needs; what fails ends the other."""

from __future__ import annotations

import io
import threading

import pytest

from l4lab.bundle.making import make_parts
from l4lab.bundle.part import Part, PartCache
from l4lab.command import stream
from l4lab.errors import BundleError
from l4lab.progress import Progress

LONG = 60  # seconds that nothing here takes


@pytest.fixture
def cache(tmp_path):
    return PartCache(tmp_path / "parts")


@pytest.fixture
def shown():
    return io.StringIO()


def part(name, work=lambda _build: None, needs=()):
    def build(build):
        work(build)
        (build.out / name).write_text(name)

    return Part(name=name, inputs="1", build=build, needs=needs)


def test_one_from_each_end_of_the_list_at_once(cache, shown):
    met = threading.Barrier(2)
    order = []

    def meet(build):
        order.append(build.log.stem)
        met.wait(LONG)

    made = [part(name, meet) for name in "abcdef"]
    make_parts(made, cache, Progress(shown))
    assert all(cache.ready(one) for one in made)
    assert [set(order[:2]), set(order[2:4]), set(order[4:])] == [{*"af"}, {*"be"}, {*"cd"}]
    titles = [line.split()[1:4] for line in shown.getvalue().splitlines()]
    assert sorted(number for _, number, _ in titles) == [f"{n}/6:" for n in range(1, 7)]


def test_each_after_those_it_needs(cache, shown):
    there = {}

    def look(build):
        there[build.log.stem] = {name: (path / name).exists() for name, path in build.needs.items()}

    root = part("root", look)
    images = part("images", look, needs=(root,))
    disk = part("disk", look, needs=(images, root))
    make_parts([root, images, disk], cache, Progress(shown))
    assert there == {"root": {}, "images": {"root": True}, "disk": {"images": True, "root": True}}


def test_what_is_there_already_need_not_be_waited_for(cache, shown):
    root = part("root")
    cache.make(root, print)
    make_parts([part("images", needs=(root,))], cache, Progress(shown))
    assert "bundle 1/1: images" in shown.getvalue()


def test_only_what_is_named_is_made_anew(cache, shown):
    made = []
    both = [part(name, lambda build: made.append(build.log.stem)) for name in ("a", "b")]
    make_parts(both, cache, Progress(shown))
    make_parts(both, cache, Progress(shown), anew={"b"})
    assert sorted(made) == ["a", "b", "b"]


def test_what_fails_ends_the_other_and_begins_no_more(cache, shown):
    running = threading.Event()

    def fail(_build):
        assert running.wait(LONG)
        raise BundleError("no network", "cable cut")

    def long(build):
        def began(_line):
            running.set()

        words = ["sh", "-c", "echo begun; exec sleep 300"]
        stream(words, timeout=300, log=build.log, on_line=began)

    never = part("never", needs=(first := part("first", fail),))
    with pytest.raises(BundleError, match="no network"):
        make_parts([first, never, last := part("last", long)], cache, Progress(shown))
    assert not any(cache.ready(one) for one in (first, never, last))
    lines = shown.getvalue().splitlines()
    assert [line[0] for line in lines] == ["✗", "✗"]
    assert "first" in lines[0]
    assert lines[1].endswith("ended with the other")


def test_ctrl_c_ends_both(cache, shown, monkeypatch):
    both = threading.Barrier(3)

    def long(build):
        words = ["sh", "-c", "echo begun; exec sleep 300"]
        stream(words, timeout=300, log=build.log, on_line=lambda _line: both.wait(LONG))

    def pressed(*_, **__):
        monkeypatch.undo()
        both.wait(LONG)
        raise KeyboardInterrupt

    monkeypatch.setattr("l4lab.bundle.making.wait", pressed)
    with pytest.raises(KeyboardInterrupt):
        make_parts([part("a", long), part("b", long)], cache, Progress(shown))
    assert [line[0] for line in shown.getvalue().splitlines()] == ["✗", "✗"]
