"""The phenotype scorer: what speaks for a label, what it learns from whom, and a whole fit on a union of sources."""

import json
from itertools import product

import numpy as np
import pytest

from mint_ray import hpo
from mint_ray.candidates import Candidates
from mint_ray.config import CandidatesSection
from mint_ray.corpora.prepare import prepare_cases
from mint_ray.corpora.store import case_table, run_labels
from mint_ray.errors import CorpusError, ModelError, RowError
from mint_ray.records import Case, Phenotype
from mint_ray.runs import Run
from mint_ray.scorers import load_scorer
from mint_ray.scorers.fitting.fit import fit_scorer
from mint_ray.scorers.phenotype.evidence import Evidence
from mint_ray.scorers.phenotype.fitting import fold_examples, folds_of
from mint_ray.scorers.phenotype.knowledge import Known, gather
from mint_ray.scorers.phenotype.network import SPREADS, Examples, log_softmax, train
from mint_ray.tasks.base import View
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_run import tiny_config

KABUKI, NOONAN, ANGELMAN, MARFAN, HOLT_ORAM, NOBODYS = (
    "OMIM:147920", "OMIM:163950", "OMIM:105830", "OMIM:154700", "OMIM:142900", "OMIM:999999",
)  # fmt: skip
DISEASES = [KABUKI, NOONAN, ANGELMAN, MARFAN, HOLT_ORAM]
LENS, SEIZURE, ATRIAL = "HP:0001083", "HP:0001250", "HP:0001631"


def known(label: int, *observed: str, excluded=(), group="g", paper=()) -> Known:
    ids = [DISEASES, NOBODYS][label == len(DISEASES)] if label == len(DISEASES) else DISEASES[label]
    return Known(label, group, hpo.Patient(ids, frozenset(paper), frozenset(observed), frozenset(excluded)))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    patients = [
        known(5, LENS, SEIZURE, group="a"),
        known(5, LENS, group="b", excluded=[ATRIAL]),
        known(0, ATRIAL, group="c"),
    ]
    return Evidence(gather([(d,) for d in DISEASES] + [(NOBODYS,)], patients, None), 6)


def rows(evidence: Evidence, *term_ids: str) -> list[int]:
    return evidence.known.terms.rows(term_ids)


def test_annotations_and_patients_speak_for_a_label_together(evidence):
    (lens,) = rows(evidence, LENS)
    by_notes, counted = evidence.observed(lens)
    assert by_notes.argmax() == DISEASES.index(MARFAN)
    assert by_notes[5] < 0 < counted[5]  # which no annotation knows, and two patients show
    assert counted[0] == pytest.approx(
        np.log((1 * 0 + 4 * evidence.frequency(lens)[0]) / 5 / evidence._usual(lens)), rel=1e-4
    )


def test_a_label_that_hpo_does_not_annotate_is_found_by_its_patients(evidence):
    found = evidence.candidates([(rows(evidence, LENS, SEIZURE), [])])
    assert found.first[0].argmax() == 5 and found.labels.shape == (1, 6)


def test_patients_of_one_paper_are_worth_the_root_of_their_number():
    patients = [known(0, LENS, group="a")] * 4 + [known(1, LENS, group="b")]
    assert Evidence(gather([(d,) for d in DISEASES], patients, None), 5).weight.tolist() == [2, 1, 0, 0, 0]


def test_former_ids_are_the_living_terms(evidence):
    assert rows(evidence, "HP:0000578") == rows(evidence, "HP:0000316")
    assert rows(evidence, "HP:9999999", "HP:0000007") == []


def test_publications_stay_whole_in_folds():
    groups = [f"g{i // 3}" for i in range(30)]
    fold = folds_of(groups, 4, seed=1)
    assert len({(g, f) for g, f in zip(groups, fold, strict=True)}) == 10 and set(fold) == {0, 1, 2, 3}
    assert fold == folds_of(groups, 4, seed=1) != folds_of(groups, 4, seed=2)


def test_a_folds_patients_are_seen_without_their_own_publication():
    # OMIM:619340 is annotated by PMID:31675180 alone in half of its rows.
    paper, term = "PMID:31675180", "HP:0011097"
    own = Known(0, "x", hpo.Patient("OMIM:619340", frozenset([paper]), frozenset([term]), frozenset()))
    other = known(1, SEIZURE, group="y")
    whole = fold_examples(([("OMIM:619340",), (NOONAN,)], [own, other], [], [0, 1]), 0, 2)
    leaky = Evidence(gather([("OMIM:619340",), (NOONAN,)], [other], None), 2)
    told = leaky.candidates([(leaky.known.terms.rows([term]), [])])
    # feature 0 is the evidence of the annotations
    truth = told.labels[0].tolist().index(0)
    assert whole.features[0, whole.truth[0], 0] < told.features[0, truth, 0] - 1


NONE_OUTSIDE = np.zeros((300, len(SPREADS)), np.float32)


def test_networks_learn_what_is_to_be_believed():
    chance = np.random.default_rng(0)
    features = chance.normal(size=(300, 5, 3)).astype(np.float32)
    truth = features[..., 1].argmax(1)
    found = train(
        Examples(features, truth, np.ones(300, np.float32), NONE_OUTSIDE), hidden=4, networks=2, epochs=10, seed=1
    )
    assert (found.logits(features).argmax(1) == truth).mean() > 0.9
    again = train(
        Examples(features, truth, np.ones(300, np.float32), NONE_OUTSIDE), hidden=4, networks=2, epochs=10, seed=1
    )
    assert (found.logits(features) == again.logits(features)).all()


def test_a_probability_is_how_often_it_is_right_where_the_networks_are_sure_and_where_they_know_nothing():
    # In half of the cases one candidate stands out and is the truth; in the others none does, and 4 of 5 truths are elsewhere.
    chance = np.random.default_rng(1)
    features, clear = chance.normal(size=(2000, 10, 2)).astype(np.float32), np.arange(2000) < 1000
    truth = chance.integers(0, 10, 2000)
    features[clear, truth[clear], 0] += 8
    truth[~clear & (chance.random(2000) < 0.8)] = -1
    outside = np.tile(np.array([-9, -8, -5, -6, -7, -8, -9], np.float32), (2000, 1)) * (truth < 0)[:, None]
    order = chance.permutation(2000)
    half, rest = order[:1000], order[1000:]
    found = train(Examples(features[half], truth[half], np.ones(1000, np.float32), outside[half]), 4, 2, 20, seed=1)
    logits = found.logits(features[rest])
    told = np.exp(log_softmax(logits).max(1)) * found.among(logits)
    right = logits.argmax(1) == truth[rest]
    for part, share in ((clear[rest], 1.0), (~clear[rest], 0.02)):
        assert told[part].mean() == pytest.approx(right[part].mean(), abs=0.05)
        assert right[part].mean() == pytest.approx(share, abs=0.05)
    assert found.among(logits)[~clear[rest]].mean() == pytest.approx(0.2, abs=0.05)
    assert found.spread == SPREADS[2]


def rows_of_patients(papers: int) -> list[dict]:
    """Published patients who show what their disease is annotated with; one disease that HPO does not annotate."""
    chance, living = np.random.default_rng(3), hpo.ontology()
    found = []
    for (place, disease), paper, which in product(enumerate([*DISEASES, NOBODYS]), range(papers), range(2)):
        terms = hpo.diseases()[disease].frequencies if disease != NOBODYS else {LENS: 1.0, SEIZURE: 1.0, ATRIAL: 1.0}
        shown = chance.choice(sorted(terms), size=min(5, len(terms)), replace=False).tolist()
        found.append(
            {
                "case_id": f"p{place}-{paper}-{which}", "group_id": f"PMID:{place}{paper:02}",
                "publications": [[f"PMID:{place}{paper:02}"]], "label_id": disease, "label_name": f"Disease {place}",
                "phenotypes": [{"id": t, "name": living.terms[t].name} for t in shown],
            }
        )  # fmt: skip
    return found


def corpus(folder, papers: int) -> dict:
    path = folder / "patients.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows_of_patients(papers)))
    simulated = {
        "kind": "simulated_patients",
        "diseases": [*DISEASES, "OMIM:619340"],
        "faces": False,
        "patients_per_disease": 2,
    }
    return {
        "kind": "union",
        "sources": {
            "published": {"corpus": {"kind": "table", "path": str(path)}},
            "simulated": {"corpus": simulated, "shares": {"train": 1.0}},
        },
    }


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, local_ray) -> Run:
    folder = tmp_path_factory.mktemp("open")
    task = {"kind": "rare_disease", "answer_size": 2}
    scorer = {"kind": "phenotype", "folds": 2, "epochs": 5, "candidates": 4}
    pairs = {"chosen": 2, "rejected": 2, "cut": 2}
    run = Run(tiny_config(folder / "run", corpus=corpus(folder, 5), scorer=scorer, task=task, preferences=pairs))
    run.carry_out("cases", prepare_cases)
    run.carry_out("scorer", fit_scorer)
    return run


def test_a_union_keeps_provenance_shares_and_labels_of_all_sources(fitted):
    cases = case_table(fitted, ["source", "split", "label_id", "synthetic", "image"]).to_pylist()
    assert {c["source"].partition(":")[0] for c in cases} == {"published", "simulated"}
    assert {c["split"] for c in cases if c["synthetic"]} == {"train"}
    assert {"train", "test"} <= {c["split"] for c in cases if not c["synthetic"]}
    assert {label.id for label in run_labels(fitted)} == {*DISEASES, NOBODYS, "OMIM:619340"}
    assert not any(c["image"] for c in cases)


def test_it_finds_unseen_patients_and_says_what_it_was_fitted_on(fitted):
    figures = fitted.stage("scorer").manifest["figures"]
    assert figures["labels_with_patients"] == 6 and figures["patients"] < 60  # the simulated ones tell nothing more
    assert figures["annotations_taken_out"]["rows"] == 0  # whose papers nobody cites
    assert figures["held_out"]["all"]["top1"] >= 0.7
    assert fitted.stage("scorer").manifest["hands"][-1]["versions"]["hpo_annotations"] == "2025-01-16"


def test_its_scores_are_log_probabilities_over_all_labels(fitted):
    scorer = load_scorer(fitted.stage("scorer").require())
    findings = (Phenotype(id=LENS, name="x"), Phenotype(id=ATRIAL, name="y", excluded=True))
    scores = scorer.scores([View(text="x", findings=findings), View(text="no finding at all")])
    assert scores.shape == (2, 7) and scores.dtype == np.float32
    assert np.exp(scores).sum(1) == pytest.approx([1, 1], rel=1e-4)
    assert scorer.scores([]).shape == (0, 7)
    with pytest.raises(ValueError, match="without text"):
        scorer.scores([View()])


def test_names_and_ids_in_a_text_are_read_as_the_findings_that_they_are(fitted):
    scorer = load_scorer(fitted.stage("scorer").require())
    told = (
        Phenotype(id=LENS, name="x"),
        Phenotype(id="HP:0001631", name="y"),
        Phenotype(id=SEIZURE, name="z", excluded=True),
    )
    text = "Sex male Age 3 years 0 months ectopia lentis and HP:0001631\nExcluded: Seizure"
    assert scorer.findings(View(text=text)) == scorer.findings(View(findings=told))
    case = Case(case_id="c", group_id="g", phenotypes=list(told[:2]))
    named = Case(
        case_id="c",
        group_id="g",
        phenotypes=[Phenotype(id=p.id, name=hpo.ontology().terms[p.id].name) for p in case.phenotypes],
    )
    view = RareDisease(kind="rare_disease").scorer_view(named)
    assert scorer.findings(view) == scorer.findings(View(text=view.text))


def test_a_folder_with_other_weights_is_refused(fitted, tmp_path):
    folder = fitted.stage("scorer").require()
    for name in ("scorer.json", "labels.json", "terms.json", "knowledge.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="is no phenotype scorer"):
        load_scorer(tmp_path)


def test_one_publication_is_too_few(tmp_path, local_ray):
    config = tiny_config(
        tmp_path / "run", scorer={"kind": "phenotype"}, corpus=corpus(tmp_path, 1)["sources"]["published"]["corpus"]
    )
    run = Run(config)
    with pytest.raises(CorpusError):
        run.carry_out("cases", prepare_cases)


def test_of_two_sources_with_one_case_id_or_one_group_in_two_splits_no_case_stands_on_both_sides(tmp_path, local_ray):
    rows = rows_of_patients(3)
    other = [row | {"case_id": f"other-{i}", "group_id": f"x{i}", "publications": []} for i, row in enumerate(rows)]
    other[0]["case_id"] = rows[0]["case_id"]
    other[1] |= {"group_id": rows[1]["group_id"], "publications": rows[1]["publications"]}
    sources = {}
    for name, shares, told in (("first", {"train": 1.0}, rows), ("second", {"test": 1.0}, other)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in told))
        sources[name] = {"corpus": {"kind": "table", "path": str(path)}, "shares": shares}
    run = Run(tiny_config(tmp_path / "run", scorer={"kind": "phenotype"}, corpus={"kind": "union", "sources": sources}))
    run.carry_out("cases", prepare_cases)
    # of the group in both sources the two cases that would be trained on go, and a test keeps the other one
    assert run.stage("cases").manifest["refused"] == {"duplicate-case-id": 1, "group-held-out": 2}
    kept = {c["case_id"]: c for c in case_table(run, ["case_id", "group_id", "split"]).to_pylist()}
    assert kept["other-1"]["split"] == "test" and rows[1]["case_id"] not in kept
    splits: dict[str, set[str]] = {}
    for case in kept.values():
        splits.setdefault(case["group_id"], set()).add(case["split"])
    assert all(len(found) == 1 for found in splits.values())


class Words:
    """A tokenizer whose tokens are words."""

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [text.split() for text in texts]}


def candidates(run: Run, **settings) -> Candidates:
    return Candidates(CandidatesSection(**settings), load_scorer(run.stage("scorer").require()), Words(), seed=1)


def test_candidates_are_the_scorers_first_by_what_the_model_sees_in_an_order_of_chance(fitted):
    seen = View(text="x", findings=(Phenotype(id=LENS, name="x"), Phenotype(id=ATRIAL, name="y")))
    found = candidates(fitted, count=3, findings=1)
    told, labels = found.add(seen, "c1")
    scorer = found.scorer
    assert labels == [scorer.labels[i].id for i in np.argsort(-scorer.scores([seen])[0])[:3]]
    names = {label.id: label.name for label in scorer.labels}
    assert {line.partition(":")[0] for line in told.context} == {names[label] for label in labels}
    assert any(line.endswith(": Ectopia lentis") for line in told.context)
    assert (told.text, told.findings) == (seen.text, seen.findings)
    orders = {found.add(seen, f"c{number}")[0].context for number in range(20)}
    assert len(orders) > 3 and found.add(seen, "c1")[0].context == told.context


def test_candidates_keep_to_their_tokens_and_a_case_without_findings_is_told(fitted):
    seen = View(text="x", findings=(Phenotype(id=LENS, name="x"),))
    assert len(candidates(fitted, count=5, findings=0, tokens=9).add(seen, "c")[1]) < 5
    with pytest.raises(RowError, match="no-candidate-fits"):
        Candidates(CandidatesSection(tokens=8), load_scorer(fitted.stage("scorer").require()), Long(), 1).add(seen, "c")
    with pytest.raises(RowError, match="nothing-to-look-up"):
        candidates(fitted).add(View(), "c")


class Long(Words):
    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [["x"] * 50 for _ in texts]}
