"""A path as text, as SVG and as JSON."""

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from l4lab.path import to_svg, to_text
from tests.unit.path import test_deaths as deaths

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def answered(world):
    return world.follow("client", "my-nginx")


@pytest.fixture
def died(world):
    return world.follow(*deaths.nobody_listens(world))


@pytest.mark.parametrize("name", ["answered", "died"])
def test_the_drawing_word_by_word(request, name):
    """After a wanted change: ``L4LAB_GOLDEN=write pytest tests/unit/path``."""
    text = to_text(request.getfixturevalue(name), color=False, see=True) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("L4LAB_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_colours_only_where_they_are_wanted(died):
    assert "\x1b" not in to_text(died, color=False)
    assert "\x1b[31m" in to_text(died, color=True)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_keep_within_the_width_but_for_commands(died, width):
    for line in to_text(died, color=False, width=width).splitlines()[2:]:
        assert len(line) <= width or line.strip().startswith("next"), line


def texts(svg):
    return [(one.get("class"), one.text) for one in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


@pytest.mark.parametrize("name", ["answered", "died"])
def test_the_svg_holds_every_hop_as_text_and_nothing_from_elsewhere(request, name):
    path = request.getfixturevalue(name)
    svg = to_svg(path)
    words = [text for _, text in texts(svg)]
    assert [hop.title for hop in path.hops if hop.title in words] == [
        hop.title for hop in path.hops
    ]
    joined = " ".join(words)
    assert all(value.split()[0] in joined for hop in path.hops for _, value in hop.rows)
    assert "prefers-color-scheme:dark" in svg
    assert "href" not in svg
    assert svg.count("http") == svg.count("http://www.w3.org/2000/svg") + joined.count("http")


def test_no_text_of_the_svg_leaves_its_sheet(died):
    svg = to_svg(died)
    width = float(ET.fromstring(svg).get("width"))  # noqa: S314
    for one in ET.fromstring(svg).iter(f"{SVG}text"):  # noqa: S314
        if one.get("text-anchor") != "end":
            assert float(one.get("x")) + 7.25 * len(one.text) <= width, one.text


def test_two_drawings_on_one_page_have_their_own_styles(answered, died):
    ids = {ET.fromstring(to_svg(path)).get("id") for path in (answered, died)}  # noqa: S314
    assert len(ids) == 2
    assert to_svg(answered) == to_svg(answered)


def test_text_from_the_cluster_is_no_markup(world):
    world.items["far"]["metadata"]["name"] = "<b>&"
    assert ET.fromstring(to_svg(world.follow("client", "my-nginx"))) is not None  # noqa: S314


def test_the_json(died):
    data = json.loads(json.dumps(died.to_data()))
    assert data["answered"] is False
    assert data["death"]["hop"] == "backend"
    assert data["death"]["fault"] == "REFUSED"
    assert data["hops"][0]["rows"][0] == {
        "label": "where",
        "value": "on k8s-node02, namespace default",
    }
