"""Findings of chest radiographs: an application of mint_ray in a package of its own, on synthetic pictures."""

import io

import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import load_file, save_file

from mint_ray.corpora.base import Corpus, drawn
from mint_ray.corpora.store import case_table, run_labels
from mint_ray.records import Case, Message, from_table
from mint_ray.scorers.base import ScorerSection
from mint_ray.scorers.files import LABELS, finished_folder, scorer_digest
from mint_ray.tasks.base import Label, Task, View, load_labels

REPORTS = {
    "Cardiomegaly": "swollen legs",
    "Pleural effusion": "short of breath when lying",
    "Pneumothorax": "sudden pain",
    "Pneumonia": "fever and cough",
    "Lung nodule": "no complaint",
    "Emphysema": "long smoker",
}
SIDE, MEANS = 12, "means.safetensors"


class ChestFindings(Task):
    """Radiograph and report are the scorer's; the report alone is the language model's."""

    header = "FINDINGS:"
    entity = "finding"

    def scorer_view(self, case):
        return View(text=case.text, image=case.image)

    def downstream_view(self, case):
        return View(text=case.text, withheld=("image",) if case.image else ())

    def prompt(self, view):
        asked = f"Name the {self.answer_size} likeliest findings, most likely first, in a numbered list below the line"
        return [Message(role="user", content=f"{asked} {self.header}\n\nReport: {view.text}")]


class SimulatedRadiographs(Corpus):
    """A bright band where the finding is, and a report that says what of it is felt."""

    patients: int = 60

    def labels(self):
        return [Label(id=name.lower().replace(" ", "-"), name=name) for name in REPORTS]

    def outcomes(self, seed):
        return drawn(self.patients, lambda number: self.patient(number, seed))

    def patient(self, number, seed):
        rng, place, encoded = np.random.default_rng([seed, number]), number % len(REPORTS), io.BytesIO()
        picture, label = Image.new("L", (48, 48), int(rng.integers(70, 110))), self.labels()[place]
        ImageDraw.Draw(picture).rectangle((12, 8 * place, 36, 8 * place + 7), fill=220)
        picture.convert("RGB").save(encoded, "PNG")
        who = {"case_id": f"patient-{number}", "group_id": f"patient-{number}", "source": f"simulated:{number}"}
        says = {"text": f"{REPORTS[label.name]} for {rng.integers(2, 9)} days", "image": encoded.getvalue()}
        return Case(label_id=label.id, label_name=label.name, synthetic=True, **who, **says)


class NearestMean(ScorerSection):
    """A label scores by how near a radiograph is to the mean of the label's training cases."""

    def fit(self, run, folder):
        cases, labels = list(from_table(case_table(run, splits=["train"]), Case)), run_labels(run)
        seen = np.stack([shades(run.config.task.scorer_view(case)) for case in cases])
        means = [seen[[case.label_id == label.id for case in cases]].mean(0) for label in labels]
        with finished_folder(folder, labels, {"kind": self.kind}) as written:
            save_file({"means": np.stack(means)}, written / MEANS)
        return {"cases": len(cases)}

    def load(self, folder, device="cpu"):
        return NearestMeanScorer(folder)


class NearestMeanScorer:
    name, modalities = "nearest_mean", ("image",)

    def __init__(self, folder):
        self.labels, self.means = load_labels(folder / LABELS), load_file(folder / MEANS)["means"]
        self.digest = scorer_digest(folder, [MEANS])

    def scores(self, views):
        far = ((np.stack([shades(view) for view in views])[:, None] - self.means) ** 2).sum(-1)
        return (-far - np.log(np.exp(-far).sum(-1, keepdims=True))).astype(np.float32)


def shades(view):
    """A radiograph as SIDE * SIDE shades of 0 to 1; grey where there is none."""
    picture = Image.open(io.BytesIO(view.image)) if view.image else Image.new("L", (SIDE, SIDE), 128)
    return np.asarray(picture.convert("L").resize((SIDE, SIDE))).flatten() / 255
