"""A file comes whole and right, whatever mirrors do; or it is told why not, in three lines."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from l4lab.bundle.fetch import Fetcher
from l4lab.bundle.pins import FirstUse
from l4lab.bundle.releases import files_of_release, ranked
from l4lab.bundle.transfer import TransferError, Web
from l4lab.errors import BundleError

FILE = next(file for file in files_of_release("kubernetes") if file.name == "kubectl")
PATH = f"/{FILE.key}"
CHECKSUM = f"{PATH}.sha256"
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(50_000))
HALF = len(CONTENT) // 2
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Fetching:
    """Fetches one file into a folder, from mirrors in a given order."""

    def __init__(self, folder, limits):
        self.folder, self.limits = folder, limits
        self.first_use = FirstUse(folder / "upstream.lock")
        self.said = []

    def __call__(self, *mirrors, file=FILE, doing=None, **limits):
        found = [one.source("kubernetes") for one in mirrors]
        web = Web(replace(self.limits, **limits))
        fetcher = Fetcher(web=web, first_use=self.first_use)
        return fetcher.fetch(file, found, self.folder / "work", doing or self.said.append)

    def refused(self, *mirrors, **options):
        with pytest.raises(BundleError) as raised:
            self(*mirrors, **options)
        assert raised.value.reason
        assert raised.value.resolution
        assert not self.got.exists(), "nothing unproved is seen under the file's name"
        return raised.value

    @property
    def got(self):
        return self.folder / "work" / "kubectl"

    @property
    def part(self):
        return self.folder / "work" / "kubectl.part"


@pytest.fixture
def fetch(tmp_path, limits):
    return Fetching(tmp_path, limits)


@pytest.fixture(autouse=True)
def _released(mirror, other):
    for one in (mirror, other):
        one.put(FILE, CONTENT)


def test_a_file_comes_whole_and_proved(fetch, mirror):
    found = fetch(mirror)
    assert fetch.got.read_bytes() == CONTENT
    address = mirror.source("kubernetes").address
    assert (found.sha256, found.mirror, found.proved_by) == (DIGEST, address, address)
    assert any("kubectl 0.2 of 0.2 MiB, " in line and "MiB/s" in line for line in fetch.said)
    assert sorted(path.name for path in fetch.got.parent.iterdir()) == [
        "kubectl",
        "kubectl.receipt.json",
    ]


def test_what_is_there_and_right_is_not_fetched_again(fetch, mirror):
    first = fetch(mirror)
    again = fetch(mirror)
    assert again == replace(first, proved_by=again.proved_by)
    assert len(mirror.gets(PATH)) == 1
    fetch.got.write_bytes(CONTENT[:-1] + b"!")
    fetch(mirror)
    assert fetch.got.read_bytes() == CONTENT


# --- faults, and what takes over ----------------------------------------------------------------


def wrong(mirror):
    mirror.files[PATH] = CONTENT[:-1] + b"!"


def short(mirror):
    mirror.files[PATH] = CONTENT[:HALF]


def truncated(mirror):
    mirror.ranges, mirror.cut[PATH] = False, [HALF] * 99


def stalled(mirror):
    mirror.ranges, mirror.stalls[PATH] = False, HALF


def absent(mirror):
    mirror.statuses[PATH] = 404


def broken(mirror):
    mirror.statuses[PATH] = 503


def circle(mirror):
    mirror.redirects |= {PATH: "/elsewhere", "/elsewhere": PATH}


def far(mirror):
    mirror.redirects |= {PATH: "/1", "/1": "/2", "/2": "/3", "/3": "/4"}


def strange(mirror):
    mirror.redirects[PATH] = "ftp://127.0.0.1/kubectl"


def dying(mirror):
    mirror.dies = PATH


FAULTS = {
    wrong: ("its SHA-256 is", 1),
    short: ("its SHA-256 is", 1),
    truncated: ("IncompleteRead(100000 bytes read, 100000 more expected)", None),
    stalled: ("Read timed out", None),
    absent: ("HTTP 404", 1),
    broken: ("HTTP 503", 2),
    circle: ("redirects in a circle", 1),
    far: ("redirects more than 3 times", 1),
    strange: ("redirects from http to ftp", 1),
    dying: ("Connection aborted", None),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_told_and_asked_again_only_where_that_may_help(fetch, mirror, fault):
    fault(mirror)
    text, times = FAULTS[fault]
    failed = fetch.refused(mirror, stall=1.5 if fault is stalled else 20)
    assert failed.brief == "no mirror gives kubectl"
    assert mirror.source("kubernetes").name in failed.reason
    assert text in failed.reason
    assert "--from modules" in failed.resolution
    assert times in (None, len(mirror.gets(PATH)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_another_mirror_takes_over(fetch, mirror, other, fault):
    fault(mirror)
    found = fetch(mirror, other, stall=1.5 if fault is stalled else 20)
    assert found.mirror == other.source("kubernetes").address
    assert fetch.got.read_bytes() == CONTENT
    if fault in (truncated, stalled, dying):
        # It goes on where the first one ended, whose ETag means nothing to it.
        assert [one.range for one in other.gets(PATH)] == [f"bytes={HALF}-"]
        assert other.gets(PATH)[0].if_range is None


def test_a_mirror_whose_connection_drops_goes_on_by_its_etag(fetch, mirror):
    mirror.cut[PATH] = [1000, 1000, 1000, 1000]
    fetch(mirror)
    assert fetch.got.read_bytes() == CONTENT
    asked = mirror.gets(PATH)
    assert [one.range for one in asked] == [None, *(f"bytes={n}000-" for n in (1, 2, 3, 4))]
    assert all(one.if_range for one in asked[1:]), "more tries than rounds: each brought something"


def test_a_file_that_was_changed_meanwhile_begins_anew(fetch, mirror):
    def changes(text):
        if "MiB/s" in text:
            mirror.files[PATH] = CONTENT

    mirror.cut[PATH], mirror.files[PATH] = [1000], b"old" + CONTENT[3:]
    fetch(mirror, file=replace(FILE, sha256=DIGEST), doing=changes)
    assert [one.range for one in mirror.gets(PATH)] == [None, "bytes=1000-"]
    assert fetch.got.read_bytes() == CONTENT, "asked for the rest, got the whole"


def test_redirects_are_followed_with_the_range(fetch, mirror, other):
    mirror.redirects[PATH] = f"{other.url}/store"
    other.files["/store"] = CONTENT
    other.cut["/store"] = [HALF]
    found = fetch(mirror)
    assert found.mirror == mirror.source("kubernetes").address
    assert [one.range for one in other.gets("/store")] == [None, f"bytes={HALF}-"]
    assert fetch.got.read_bytes() == CONTENT


def interrupts(text):
    if "MiB/s" in text:
        raise KeyboardInterrupt


def test_what_was_interrupted_goes_on(fetch, mirror):
    mirror.cut[PATH] = [HALF]
    with pytest.raises(KeyboardInterrupt):
        fetch(mirror, doing=interrupts)
    have = fetch.part.stat().st_size
    assert 0 < have <= HALF
    assert not fetch.got.exists()
    fetch(mirror)
    assert mirror.gets(PATH)[-1].range == f"bytes={have}-"
    assert fetch.got.read_bytes() == CONTENT


def test_a_damaged_beginning_is_thrown_away(fetch, mirror):
    with pytest.raises(KeyboardInterrupt):
        fetch(mirror, doing=interrupts)
    have = fetch.part.stat().st_size
    fetch.part.write_bytes(b"!" * have)
    fetch(mirror)
    assert mirror.gets(PATH)[-1].range is None
    assert fetch.got.read_bytes() == CONTENT


def test_a_mirror_with_another_size_begins_anew(fetch, mirror, other):
    mirror.dies = PATH
    mirror.files[PATH] = CONTENT + b"more"
    fetch(mirror, other, file=replace(FILE, sha256=DIGEST))
    assert fetch.got.read_bytes() == CONTENT


# --- what proves a file -------------------------------------------------------------------------


def test_without_a_published_digest_nothing_is_fetched(fetch, mirror):
    del mirror.files[CHECKSUM]
    failed = fetch.refused(mirror)
    assert failed.brief == "nothing proves kubectl"
    assert "kubectl.sha256: HTTP 404" in failed.reason
    assert "upstream.toml" in failed.resolution
    assert mirror.gets(PATH) == []


def test_a_pin_needs_no_published_digest(fetch, mirror):
    del mirror.files[CHECKSUM]
    found = fetch(mirror, file=replace(FILE, sha256=DIGEST))
    assert found.proved_by == "pin"
    assert not fetch.first_use.path.exists()
    assert mirror.gets(CHECKSUM) == []


def test_a_pin_counts_more_than_what_is_published(fetch, mirror):
    failed = fetch.refused(mirror, file=replace(FILE, sha256="a" * 64))
    assert f"its SHA-256 is {DIGEST}" in failed.reason


def test_another_digest_than_at_first_use_is_refused_before_it_comes(fetch, mirror):
    fetch(mirror)
    assert fetch.first_use.digest(FILE.key) == DIGEST
    mirror.put(FILE, b"made anew")
    mirror.asked.clear()
    fetch.got.unlink()
    failed = fetch.refused(mirror)
    assert failed.brief == "kubectl is another than at its first use"
    assert DIGEST in failed.reason
    assert hashlib.sha256(b"made anew").hexdigest() in failed.reason
    assert str(fetch.first_use.path) in failed.resolution
    assert mirror.gets(PATH) == []
    assert fetch.first_use.digest(FILE.key) == DIGEST


def test_a_mirror_that_changed_a_file_is_left_out(fetch, mirror, other):
    fetch(mirror)
    mirror.put(FILE, b"made anew")
    fetch.got.unlink()
    found = fetch(mirror, other)
    assert found.mirror == other.source("kubernetes").address
    assert found.proved_by == "first use"


def test_a_file_of_first_use_needs_no_published_digest_any_more(fetch, mirror):
    fetch(mirror)
    del mirror.files[CHECKSUM]
    fetch.got.unlink()
    assert fetch(mirror).proved_by == "first use"


def test_what_is_not_proved_is_not_remembered(fetch, mirror):
    wrong(mirror)
    fetch.refused(mirror)
    assert fetch.first_use.digest(FILE.key) is None


def test_the_projects_own_word_counts_first(fetch, mirror, other, limits):
    other.files[CHECKSUM] = b"b" * 64
    found = [other.source("kubernetes"), mirror.source("kubernetes", official=True)]
    fetcher = Fetcher(web=Web(limits), first_use=fetch.first_use)
    got = fetcher.fetch(FILE, found, fetch.folder / "work", fetch.said.append)
    assert (got.sha256, got.proved_by) == (DIGEST, mirror.source("kubernetes").address)
    assert got.mirror == other.source("kubernetes").address


def test_a_damaged_memory_is_not_taken_for_none(fetch, mirror):
    fetch(mirror)
    text = fetch.first_use.path.read_text()
    fetch.got.unlink()
    for damage in (text.replace(DIGEST, "x"), text[:-10]):
        fetch.first_use.path.write_text(damage)
        assert fetch.refused(mirror).brief == f"cannot read {fetch.first_use.path}"


# --- which mirror -------------------------------------------------------------------------------


def test_mirrors_come_in_order_of_answer_and_the_project_last(mirror, other):
    seconds = {
        (slow := mirror.source("cni")).address: 3.0,
        (quick := other.source("cni")).address: 2.0,
        (own := replace(slow, address="http://127.0.0.1/own/", official=True)).address: 0.1,
    }
    dumb = replace(slow, address="http://127.0.0.2/")

    def answers(url):
        for address, one in seconds.items():
            if url.startswith(address):
                return one
        raise TransferError("no route")

    found, silent = ranked((slow, dumb, own, quick), files_of_release("cni")[0], answers)
    assert found == [quick, slow, own]
    assert silent == {"127.0.0.2": "no route"}
