"""How a model answers when a case is put differently: the measures, and an aligned model of the demo held to them."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mint_ray.records import Answer, Case, Phenotype, from_table, to_table
from tests.conftest import REPOSITORY
from tests.evaluation.behaviour import (
    changed,
    most_specific,
    not_lowered,
    reordered,
    same_first,
    with_finding,
    without_excluded,
)

DEMO = Path(os.environ.get("MINT_RAY_DEMO_RUN", REPOSITORY / "runs" / "demo"))
CASES = 40  # asked four times each: minutes on two cores


def case(*term_ids: str, excluded: tuple[str, ...] = ()) -> Case:
    findings = [Phenotype(id=i, name=i) for i in term_ids]
    findings += [Phenotype(id=i, name=i, excluded=True) for i in excluded]
    return Case(case_id="c", group_id="g", label_id="OMIM:154700", phenotypes=findings)


def ids(case: Case) -> list[str]:
    return [p.id for p in case.phenotypes]


def test_another_order_has_the_same_findings_and_is_the_same_each_time():
    before = case("a", "b", "c", "d")
    after = reordered(before)
    assert sorted(ids(after)) == ids(before) != ids(after) == ids(reordered(before))
    assert ids(reordered(case("a", "b"))) == ["b", "a"]


def test_the_most_specific_finding_is_rare_elsewhere_and_not_recorded_yet():
    first = most_specific("OMIM:154700", case())
    second = most_specific("OMIM:154700", case(first.id))
    assert first.id != second.id and not first.excluded
    assert most_specific("OMIM:0", case()) is None
    assert ids(with_finding(case("a"), first)) == ["a", first.id]


def test_excluded_findings_can_be_left_out():
    assert ids(without_excluded(case("a", excluded=("b",)))) == ["a"]


def test_shares_by_hand():
    before = {"1": ["a", "b"], "2": ["b"], "3": [None, "a"], "4": []}
    after = {"1": ["a", "c"], "2": ["a", "b"], "3": ["a"], "4": []}
    assert same_first(before, after) == 2 / 4  # 1 and 4
    assert changed(before, after) == 3 / 4
    # The truth a: first and first; not named, then first; second, then first; never named.
    assert not_lowered(before, after, dict.fromkeys("1234", "a")) == 1
    assert not_lowered(after, before, dict.fromkeys("1234", "a")) == 2 / 4
    assert same_first({}, {}) == 0


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Label ids that the demo's aligned model names for held-out cases: as they are, and put differently."""
    from mint_ray.config import load_config
    from mint_ray.corpora.store import case_table, run_labels
    from mint_ray.errors import MintError
    from mint_ray.evaluation.inputs import rules_of
    from mint_ray.evaluation.measure import name_index
    from mint_ray.inference.predict import weights
    from mint_ray.runs import Run

    config = DEMO / "config.yaml"
    if not config.exists():
        pytest.skip(f"no demo run at {DEMO}: run `make demo`, or set MINT_RAY_DEMO_RUN to a run directory")
    run = Run(load_config(config, [f"run.dir={DEMO}"]))
    try:
        run.stage("alignment").require()
    except MintError as error:
        pytest.skip(f"the run at {DEMO} has no aligned model for this code: {error}")
    split = run.config.inference.split
    cases = [c.model_copy(update={"image": None}) for c in from_table(case_table(run, splits=[split]), Case)]
    cases = [c for c in cases if len(c.phenotypes) > 1 and most_specific(c.label_id, c)][:CASES]
    ways = {
        "as they are": cases,
        "reordered": [reordered(c) for c in cases],
        "with a decisive finding": [with_finding(c, most_specific(c.label_id, c)) for c in cases],
        "without excluded": [without_excluded(c) for c in cases if any(p.excluded for p in c.phenotypes)],
    }
    index = name_index(rules_of(run.config), run_labels(run))
    with weights(run, "aligned") as loaded:
        found = answers(run, loaded, ways, index, tmp_path_factory.mktemp("behaviour"))
    return found, {c.case_id: c.label_id for c in cases}


def answers(run, loaded, ways, index, folder) -> dict[str, dict[str, list[str | None]]]:
    """Label ids of the answers by way and case; every case is answered."""
    from mint_ray.evaluation.measure import grade
    from mint_ray.inference.generation import TransformersEngine

    section, asked = run.config.inference, {}
    engine = TransformersEngine("aligned", run.config.task, section, loaded, run.config.run.seed, folder, folder)
    for way, cases in ways.items():
        engine.answers = folder / way
        for at in range(0, len(cases), 8):
            engine(to_table(cases[at : at + 8], Case))
        said = [answer for path in engine.answers.glob("*") for answer in from_table(pq.read_table(path), Answer)]
        asked[way] = {answer.case_id: grade(run.config.task, answer, index).grounded_label_ids for answer in said}
        assert len(asked[way]) == len(cases)
    return asked


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_order_of_findings_does_not_change_the_first_answer(asked):
    found, _ = asked
    assert same_first(found["as they are"], found["reordered"]) >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_decisive_finding_does_not_lower_its_disease(asked):
    found, truths = asked
    assert not_lowered(found["as they are"], found["with a decisive finding"], truths) >= 0.9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_excluded_findings_matter(asked):
    found, _ = asked
    assert len(found["without excluded"]) >= 5
    assert changed(found["as they are"], found["without excluded"]) > 0
