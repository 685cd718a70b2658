"""A run directory made by hand: six diseases, invented patients, every file that a stage would have left."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from mint_ray.config import Configuration
from mint_ray.corpora.base import Corpus
from mint_ray.inference.store import answer_folder
from mint_ray.parquet import write_part
from mint_ray.records import Answer, Case, Phenotype, Ranking, to_table
from mint_ray.runs import Run, StageReport
from mint_ray.scorers.base import ScorerSection
from mint_ray.tasks.base import Label, save_labels
from mint_ray.tasks.rare_disease import RareDisease

LABELS = [
    Label(id="OMIM:1", name="Kabuki syndrome 1"),
    Label(id="OMIM:2", name="Kabuki syndrome 2"),
    Label(id="OMIM:3", name="Noonan syndrome 1"),
    Label(id="OMIM:4", name="Cornelia de Lange syndrome 1", synonyms=("Brachmann-de Lange syndrome",)),
    Label(id="OMIM:5", name="Williams-Beuren syndrome"),
    Label(id="OMIM:6", name="Angelman syndrome"),
]
NAMES = {label.id: label.name for label in LABELS}
SMALL_LINE = {  # settings that make the demo's whole line a matter of minutes
    "corpus.patients_per_disease": 6,
    "scorer.epochs": 1,
    "alignment.epochs": 0.05,
    "alignment.lora": "{rank: 4, alpha: 8, dropout: 0.0}",
    "inference.max_tokens": 16,
    "inference.cache_gib": 0.25,
}


class NoCorpus(Corpus):
    """Stands where a run's cases are already written."""

    def labels(self):
        return LABELS

    def outcomes(self, seed):
        raise NotImplementedError


class NoScorer(ScorerSection):
    """Stands where a run's rankings are already written."""

    def fit(self, run, folder):
        raise NotImplementedError

    def load(self, folder, device="cpu"):
        raise NotImplementedError


def tiny_config(folder: Path, **sections: dict[str, Any]) -> Configuration:
    settings: dict[str, Any] = {
        "run": {"dir": folder, "seed": 3},
        "task": RareDisease(kind="rare_disease", answer_size=3),
        "corpus": NoCorpus(kind="none"),
        "scorer": NoScorer(kind="none"),
        "preferences": {"chosen": 3, "rejected": 2, "cut": 2},
        "alignment": {"model": "packaged:smollm2-135m-instruct"},
    }
    return Configuration.model_validate({**settings, **sections})


def tiny_case(number: int, **fields: Any) -> Case:
    """A patient of its own group; its disease is one of the six, in turn."""
    label = LABELS[number % len(LABELS)]
    values = {
        "case_id": f"case-{number:03}",
        "group_id": f"group-{number:03}",
        "split": "test",
        "label_id": label.id,
        "label_name": label.name,
        "image": tiny_image(),
        "phenotypes": [Phenotype(id="HP:0001252", name="Hypotonia")],
        "sex": "female",
        "age_years": 3.0,
        "synthetic": True,
        "source": f"tiny:{number}",
    }
    return Case(**(values | fields))


def tiny_image() -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (24, 24), (200, 150, 130)).save(encoded, "PNG")
    return encoded.getvalue()


def write_cases(run: Run, cases: list[Case]) -> None:
    stage = run.stage("cases")
    stage.begin()
    write_part(to_table(cases, Case), stage.path / "part-00000.parquet")
    save_labels(LABELS, stage.path / "labels.json")
    stage.finish(StageReport(len(cases) + 2, len(cases), {"no-diagnosis": 2}, {"groups": len(cases)}), 1.5)


def write_rankings(run: Run, rankings: dict[str, list[str]], cases: list[Case]) -> None:
    """Rankings by case id, each a list of label ids, the best first."""
    stage = run.stage("rankings")
    stage.begin()
    rows = [
        Ranking(
            case_id=case.case_id,
            group_id=case.group_id,
            split=case.split,
            label_id=case.label_id,
            label_ids=rankings[case.case_id],
            scores=[-float(i) for i in range(len(rankings[case.case_id]))],
            scorer="tiny",
            scorer_digest="0" * 16,
        )
        for case in cases
    ]
    write_part(to_table(rows, Ranking), stage.path / "part-00000.parquet")
    stage.finish(StageReport(len(cases), len(cases)), 2.0)
    finish_stage(run, "preferences", {"pairs": len(cases)})


def write_answers(run: Run, model: str, texts: dict[str, str], cases: list[Case]) -> None:
    rows = [
        Answer(
            case_id=case.case_id,
            group_id=case.group_id,
            label_id=case.label_id,
            model=model,
            model_digest="1" * 16,
            adapter_digest="2" * 16 if model == "aligned" else None,
            text=texts[case.case_id],
            finish_reason="stop",
            prompt_tokens=50,
            completion_tokens=30,
        )
        for case in cases
    ]
    write_part(to_table(rows, Answer), answer_folder(run, model) / "part-0.parquet")


def finish_stage(run: Run, name: str, figures: dict[str, Any] | None = None) -> None:
    stage = run.stage(name)
    stage.begin()
    stage.finish(StageReport(3, 3, {}, figures or {}), 3.0)


def write_curve(run: Run, steps: int = 5) -> None:
    rows = [{"step": step, "loss": 3.0 / step, "nll": 2.0 / step} for step in range(1, steps + 1)]
    path = run.stage("alignment").path / "curve.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))


HELD_OUT = {
    "held_out": {
        "cases": 12,
        "chance": {"top1": 0.17, "top3": 0.5},
        "all": {"cases": 12, "top1": 1.0, "top3": 1.0},
        "text_only": {"cases": 12, "top1": 0.4, "top3": 0.7},
    }
}


def answered_run(folder: Path, synthetic: bool = True, **sections: dict[str, Any]) -> Run:
    """A run in which every stage before evaluation is complete.

    Twelve test cases, two of each disease, and six training cases of the first. The scorer always ranks the truth
    first. The aligned model names the truth second; the base model names nothing of the list.
    """
    run = Run(tiny_config(folder, **sections))
    test = [tiny_case(i, synthetic=synthetic) for i in range(12)]
    train = [tiny_case(6 * i, case_id=f"train-{i}", split="train", synthetic=synthetic) for i in range(20, 26)]
    write_cases(run, test + train)
    write_rankings(run, {case.case_id: truth_first(case.label_id) for case in test}, test)
    finish_stage(run, "scorer", HELD_OUT)
    write_curve(run)
    finish_stage(run, "alignment")
    task = run.config.task
    write_answers(run, "base", {case.case_id: task.answer(["Hypotonia", "A rare one"]) for case in test}, test)
    write_answers(run, "aligned", {case.case_id: task.answer(truth_second(case.label_id)) for case in test}, test)
    finish_stage(run, "answers")
    run.stage("evaluation").begin()
    return run


def truth_first(label_id: str) -> list[str]:
    return [label_id] + [label.id for label in LABELS if label.id != label_id]


def truth_second(label_id: str) -> list[str]:
    # These three resemble no other name of the list, so string similarity cannot help.
    first = "OMIM:6" if label_id != "OMIM:6" else "OMIM:5"
    third = next(i for i in ("OMIM:4", "OMIM:5") if i not in (first, label_id))
    return [NAMES[first], NAMES[label_id], NAMES[third]]
