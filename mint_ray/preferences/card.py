"""The data set's card: a README.md whose front matter tells `datasets` what to load, and where rows come from."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import yaml

from mint_ray.corpora.store import case_table
from mint_ray.parquet import part_files
from mint_ray.preferences.contents import Contents, figures, read_contents
from mint_ray.preferences.pairs import policy_of
from mint_ray.preferences.plots import draw
from mint_ray.preferences.store import PAIR_SPLITS
from mint_ray.runs import Run, StageReport, write_atomically

LICENCE = (
    "The pairs quote their cases and show their images, so they are under the licence and the terms of access of the "
    "corpus that they were made from. This card grants nothing beyond them."
)
TRUTH = {
    "as_ranked": "the scorer's order is left as it is",
    "last": "a known truth that is not among them takes the last place",
    "first": "a known truth always takes the first place",
    "alone": "the known truth alone is chosen; a case without makes no pair",
    "ignored": "no known truth is looked at",
    "skip": "a case whose known truth is not among them makes no pair",
}


def write_card(run: Run, report: StageReport) -> dict[str, Any]:
    """Write README.md and plots/ beside the pairs; the figures that the card tells."""
    folder = run.stage("preferences").path
    contents = read_contents(run)
    found = figures(contents, run.config.preferences.chosen)
    plots = draw(contents, folder / "plots")
    synthetic = _synthetic_share(run)
    body = [
        f"# Preference pairs: {run.config.task.kind}",
        _origin(run, contents, synthetic),
        _section("Policy", _policy(run)),
        _section("Rows", _rows(found, report, run.stage("rankings").told["figures"])),
        _section("The scorer on these cases", _truth_table(found["truth"])),
        _section("Columns", _columns()),
        _section("Licence", [LICENCE]),
        _section("Plots", [f"![{says}](plots/{name})\n\n{says}.\n" for name, says in plots.items()]),
    ]
    text = f"---\n{yaml.safe_dump(front_matter(run, report, synthetic), sort_keys=False)}---\n\n" + "\n\n".join(body)
    write_atomically(folder / "README.md", text.rstrip() + "\n")
    return found


def front_matter(run: Run, report: StageReport, synthetic: float) -> dict[str, Any]:
    """What `datasets.load_dataset` reads: the splits' files; pairs by default, refusals by name."""
    folder = run.stage("preferences").path
    files = {
        "pairs": {split: f"pairs/{split}" for split in PAIR_SPLITS},
        "refused": {"cases": "refused"} if report.refused else {},
    }
    configs = []
    for name, splits in files.items():
        there = [
            {"split": s, "path": f"{path}/part-*.parquet"} for s, path in splits.items() if part_files(folder / path)
        ]
        if there:
            configs.append({"config_name": name, "data_files": there, **({"default": True} if name == "pairs" else {})})
    return {
        "pretty_name": f"MINT preference pairs, {run.config.task.kind}",
        "license": "other",
        "license_name": "as-its-corpus",
        "language": ["en"],
        "tags": ["preference", "orpo", "dpo", "trl", *(["synthetic"] if synthetic else [])],
        "configs": configs,
    }


def _origin(run: Run, contents: Contents, synthetic: float) -> str:
    kind = {0.0: "Real cases.", 1.0: "**Synthetic: every case is simulated.**"}.get(
        synthetic, f"**{synthetic:.1%} of the cases are simulated.**"
    )
    return (
        f"{kind} A multimodal scorer ranked all {contents.labels} labels for each case; the top of its ranking became the "
        "chosen answer, the bottom the rejected one (MINT, arXiv 2505.05736). Prompts show what the language model may "
        "see; the column `withheld` names what the scorer saw beside it.\n\n"
        + _table(
            ["made from", ""],
            [
                ["corpus", f"`{run.config.corpus.kind}`, fingerprint `{run.stage('cases').fingerprint}`"],
                ["scorer", f"`{contents.scorer}`, digest `{contents.scorer_digest}`"],
                ["settings", f"fingerprint `{run.stage('preferences').fingerprint}`, seed {run.config.run.seed}"],
            ],
        )
    )


def _policy(run: Run) -> list[str]:
    policy = policy_of(run.config)
    means = {
        "scorer_sees": "what the scorer was shown: all of a case, or only what the language model sees (downstream)",
        "shuffled": "whether every case has the answers of another case of its split: a control",
        "chosen": "names in a chosen answer, in the scorer's order; equal scores stand in the order of their label ids",
        "rejected": "the pool: the lowest ranked, without a known truth",
        "cut": "names in a rejected answer, the lowest ranked first",
        "truth": TRUTH[policy["truth"]],
        "min_margin": "least gap between the mean chosen and the mean rejected score",
        "pairs_per_case": "pairs of a case at most; each further one takes the next names of the pool",
    }
    return [_table(["setting", "value", "meaning"], [[f"`{key}`", value, means[key]] for key, value in policy.items()])]


def _rows(found: dict[str, Any], report: StageReport, scored: dict[str, Any]) -> list[str]:
    rows = [["cases in", report.rows_in], ["cases used", report.rows_out]]
    rows += [[f"refused: {reason}", count] for reason, count in sorted(report.refused.items())]
    rows += [[f"pairs, {split}", count] for split, count in found["pairs"].items()]
    rows += [["labels chosen at least once", found["labels_chosen"]]]
    rows += [["labels rejected at least once", found["labels_rejected"]]]
    if cut := scored.get("text_cut"):
        rows += [["cases whose text the scorer cut", cut["cases"]], ["tokens cut", cut["tokens"]]]
    if alike := scored.get("scores_alike"):
        rows += [["cases whose labels all score alike", alike]]
    rows += [["mean margin", f"{found['margin_mean']:.3f}"]]
    return [_table(["", "count"], rows)]


def _truth_table(truth: dict[str, dict[str, float]]) -> list[str]:
    if not truth:
        return ["No case has a known label."]
    heads = ["split", *next(iter(truth.values()))]
    return [_table(heads, [[split, *(f"{v:.3g}" for v in values.values())] for split, values in truth.items()])]


def _columns() -> list[str]:
    return [
        "`prompt`, `chosen`, `rejected` are lists of messages; `images` is there where the task shows images. Beside them: "
        "`case_id`, `group_id` (the unit of splitting), `split`, `label_id` (the truth, null where unknown), the label ids "
        "and scores behind each answer in the order of its names, `withheld`, `scorer`, `scorer_digest`, `policy` (JSON), "
        "`schema_version`."
    ]


def _synthetic_share(run: Run) -> float:
    return pc.mean(case_table(run, columns=["synthetic"])["synthetic"]).as_py() or 0.0


def _section(title: str, paragraphs: list[str]) -> str:
    return "\n\n".join([f"## {title}", *paragraphs])


def _table(heads: list, rows: list[list]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
