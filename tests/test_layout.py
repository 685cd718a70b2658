"""The tree is the line: no circle of files, and every import points down. Read from the syntax trees, nothing is run."""

import runpy

import pytest

from tests.conftest import REPOSITORY

TREE = runpy.run_path(str(REPOSITORY / "docs" / "tree.py"))
FOUND = TREE["graph"](TREE["modules"]())


def test_no_files_import_each_other_inside_functions_either():
    assert TREE["circles"](FOUND) == []


def test_every_import_points_down_the_tree():
    assert TREE["upwards"](FOUND) == []


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in (REPOSITORY / "mint_ray").glob("*/__init__.py")}
    rooms = set(TREE["ROOMS"]) - {"ground", "top"}
    assert rooms <= folders <= rooms | TREE["GROUND"] | TREE["TOP"]


def test_the_picture_is_that_of_today():
    picture = (REPOSITORY / "docs" / "images" / "tree.svg").read_text()
    assert picture == TREE["draw"](TREE["arrows"](FOUND)), "run `python docs/tree.py`"


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        ({"a": "from mint_ray import b", "b": "def f():\n    import mint_ray.a"}, True),
        ({"a": "from mint_ray.b import x", "b": "from mint_ray.c import y", "c": "from mint_ray.a import z"}, True),
        (
            {
                "a": "from mint_ray import b",
                "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mint_ray import a",
            },
            False,
        ),
        ({"a": "from mint_ray import b, c", "b": "from mint_ray import c", "c": "import json"}, False),
    ],
)
def test_a_circle_is_found_wherever_it_is_closed(tmp_path, files, circle):
    for name, text in files.items():
        (tmp_path / "mint_ray").mkdir(exist_ok=True)
        (tmp_path / "mint_ray" / f"{name}.py").write_text(text)
    assert bool(TREE["circles"](TREE["graph"](TREE["modules"](tmp_path / "mint_ray")))) is circle


def test_an_arrow_that_points_up_is_found():
    up = {"mint_ray.preferences.build": {"mint_ray.reports.report", "mint_ray.rankings.store", "mint_ray.errors"}}
    assert TREE["upwards"](up) == ["mint_ray.preferences.build -> mint_ray.reports.report"]
    assert TREE["upwards"]({"mint_ray.config": {"mint_ray.corpora.base", "mint_ray.corpora.store"}}) == [
        "mint_ray.config -> mint_ray.corpora.store"
    ]
