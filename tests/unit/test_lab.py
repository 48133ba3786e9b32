"""A lab is a folder; there is no list."""

from __future__ import annotations

import pytest

from l4lab.errors import UsageError
from l4lab.lab import PARTS, find_labs, get_lab


@pytest.fixture
def project(tmp_path):
    for name in ("nodeport", "clusterip"):
        for part in PARTS:
            (tmp_path / "labs" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "labs" / name / part).touch()
    (tmp_path / "labs" / "__pycache__").mkdir()
    (tmp_path / "labs" / "__main__.py").touch()
    return tmp_path


def test_folders_are_found_in_order_and_nothing_else(project):
    assert list(find_labs(project)) == ["clusterip", "nodeport"]


def test_a_new_folder_is_a_new_lab(project):
    (project / "labs" / "headless").mkdir()
    (project / "labs" / "headless" / "facts.py").touch()
    assert get_lab(project, "headless").name == "headless"


def test_an_unknown_lab_is_answered_with_the_known_ones(project):
    with pytest.raises(UsageError) as raised:
        get_lab(project, "nosuch")
    assert raised.value.reason == "the labs are: clusterip, nodeport"
    assert raised.value.resolution == "./l4lab labs"


def test_parts_are_imported_on_use():
    from pathlib import Path

    lab = get_lab(Path(__file__).parents[2], "clusterip")
    assert lab.title == lab.facts.TITLE
    assert callable(lab.program)
    assert lab.checks.__name__ == "labs.clusterip.checks"


def test_a_name_that_is_no_python_name_is_a_lab_too(tmp_path, monkeypatch):
    folder = tmp_path / "labs" / "no-python-name"
    folder.mkdir(parents=True)
    (folder / "facts.py").write_text("TITLE = 'three ranges'\n")
    import labs

    monkeypatch.setattr(labs, "__path__", [str(tmp_path / "labs")])
    assert find_labs(tmp_path)["no-python-name"].title == "three ranges"
