"""The public face: what `import mint_ray` offers, and its page."""

import ast
import inspect
import runpy
import subprocess
import sys

import numpy as np
import pytest

import mint_ray
from mint_ray.records import Case
from tests.conftest import REPOSITORY
from tests.tiny_run import LABELS, answered_run

PAGE = runpy.run_path(str(REPOSITORY / "docs" / "api.py"))


def test_every_public_name_is_there_documented_and_declared_for_type_checkers():
    tree = ast.parse(inspect.getsource(mint_ray))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.asname or alias.name: f"{node.module}:{alias.name}" for node in block.body for alias in node.names
    }
    where = {
        name: f"mint_ray.{module}:{there}" for module, names in mint_ray._WHERE.items() for name, there in names.items()
    }
    assert declared == where and sorted(where) == sorted(mint_ray.__all__) and 15 <= len(where) <= 25
    assert all(inspect.getdoc(getattr(mint_ray, name)) for name in mint_ray.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'rank_cases'"):
        _ = mint_ray.rank_cases


def test_importing_it_imports_nothing_else_of_it():
    code = "import mint_ray, sys; print(sorted(m for m in sys.modules if m.startswith(('mint_ray.', 'pydantic', 'numpy'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"


def test_the_page_is_what_the_docstrings_say():
    assert PAGE["PAGE"].read_text() == PAGE["page"](), "make it anew: python docs/api.py"
    assert sorted(name for names in PAGE["PARTS"].values() for name in names) == sorted(mint_ray.__all__)


def test_a_run_is_read_by_its_public_face(tmp_path):
    run = answered_run(tmp_path / "run")
    assert len(mint_ray.read_cases(run)) == 18 and len(mint_ray.read_cases(run, "test")) == 12
    assert mint_ray.read_cases(run, "test", ["case_id"]).column_names == ["case_id"]
    assert mint_ray.read_rankings(run, "test")["label_ids"][0].as_py()[0] == "OMIM:1"
    answers = mint_ray.read_answers(run, "base")
    assert len(answers) == 12 and mint_ray.to_dataset(answers)[0]["case_id"] == answers["case_id"][0].as_py()
    with pytest.raises(mint_ray.MintError, match="is not complete: run the stage `evaluation` first"):
        mint_ray.read_metrics(run)


class Fixed:
    labels = LABELS

    def scores(self, views):
        assert [view.text is not None for view in views] == [True]
        return np.array([[-3.0, -1.0, -2.0, -5.0, -1.0, -4.0]], np.float32)


def test_a_case_is_ranked_the_best_label_first_and_equals_in_their_order(tmp_path):
    task = answered_run(tmp_path / "run").config.task
    ranked = mint_ray.rank_case(Case(case_id="a", group_id="a", text="Short stature"), Fixed(), task)
    assert [(label.id, score) for label, score in ranked][:3] == [("OMIM:2", -1.0), ("OMIM:5", -1.0), ("OMIM:3", -2.0)]
