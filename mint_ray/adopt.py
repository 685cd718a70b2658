"""`mint-ray adopt RUN`: take over a run directory that an earlier release made, without making its stages again.

Such a release kept the rankings in `preferences/rankings/`, their settings in the section `preferences`, and all settings,
defaults included, in a stage's fingerprint. A stage whose settings and inputs are the same today is taken over as it is;
any other is left as it lies, and named: it is to be made again with --fresh. Whatever dies on the way, the same command
goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from mint_ray.config import MOVED, parse_config
from mint_ray.errors import RunError
from mint_ray.line import LINE
from mint_ray.parquet import part_files, read_table, write_part
from mint_ray.preferences import store as pairs
from mint_ray.rankings.store import LABELS, ranking_table, refusal_table
from mint_ray.runs import CONFIG, Run, Stage, write_atomically, write_json
from mint_ray.sections import default_of, own_settings, result_settings
from mint_ray.storage import files_below, opened, remove

BEGUN, MANIFEST = "begun.json", "manifest.json"
SCORED = ("text_cut", "scores_alike")  # figures that are the rankings' today


def adopt(folder: Path) -> list[str]:
    """Take over a run and the arms of its comparison; what became of each stage, a line each.

    Raises:
        RunError: it is no run's directory.
        ConfigError: its configuration is no longer valid.
    """
    configs = [path for path in files_below(folder) if path.name == CONFIG]
    if folder / CONFIG not in configs:
        raise RunError(f"{folder}: is no run's directory (no {CONFIG})")
    for path in configs:
        write_atomically(path, yaml.safe_dump(_moved(yaml.safe_load(path.read_text())), sort_keys=False))
    manifests = [_json(path) or {} for path in files_below(folder) if path.name == MANIFEST]
    known = {found.get("adopted", found["fingerprint"]) for found in manifests}
    return [
        line
        for path in configs
        if path.parent.name != "comparison"
        for line in _adopt_run(Run(parse_config(yaml.safe_load(path.read_text())).moved(path.parent)), known)
    ]


def _moved(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an earlier release where they stand today."""
    moved = {name: dict(section) if isinstance(section, dict) else section for name, section in settings.items()}
    for old, new in MOVED.items():
        (was, name), (section, _) = old.split("."), new.split(".")
        if name in (moved.get(was) or {}):
            moved.setdefault(section, {})[name] = moved[was].pop(name)
    return moved


def _adopt_run(run: Run, known: set[str]) -> list[str]:
    told: list[str] = []
    for name in LINE:
        stage, begun = run.stage(name), _json(run.stage(name).path / BEGUN)
        if name == "rankings" or begun is None or "settings" not in begun or _taken_over(begun):
            continue  # rankings are taken over with the preferences, of which they were a part
        if why := _differs(stage, begun["settings"], known):
            told.append(f"{stage.path}: not taken over, {why}; make it again with --fresh")
            continue
        if name == "preferences":
            _part_rankings(run, begun)
        if stage.path.exists():
            _rewrite(stage, begun)
        told.append(f"{stage.path}: taken over")
    return told


def _differs(stage: Stage, was: dict[str, Any], known: set[str]) -> str | None:
    """What a stage was made from and would not be made from today; None where it is the same."""
    config = stage.run.config
    if was["seed"] != config.run.seed:
        return f"run.seed was {was['seed']}"
    if news := [name for name in LINE[stage.name].sections if name not in was and own_settings(getattr(config, name))]:
        return f"there was no section {news[0]}"
    for name, section in was.items():
        if name in ("seed", "inputs"):
            continue
        now = {name: result_settings(getattr(config, name))}
        before = _moved({name: section})
        if "rankings" in before:
            now["rankings"] = result_settings(config.rankings)
        if name == "alignment" and set(section) == {"model"}:  # the base model's answers
            now = {name: {"model": config.alignment.model}}
        for key in sorted({f"{s}.{k}" for each in (now, before) for s in each for k in each[s]}):
            part, _, setting = key.partition(".")
            value = before[part].get(setting, default_of(config, key))
            if value != json.loads(json.dumps(now[part].get(setting))):
                return f"{key} was {value!r}"
    stale = [name for name, fingerprint in was["inputs"].items() if fingerprint not in known]
    return f"the stage {stale[0]} was made again since" if stale else None


def _taken_over(begun: dict[str, Any] | None) -> bool:
    return "version" in (begun or {}).get("settings", {})


def _rewrite(stage: Stage, begun: dict[str, Any]) -> None:
    """A stage's own words as this release writes them; `begun.json` last, since it says that the stage is taken over."""
    hands: list[dict[str, Any]] = []
    if manifest := _json(stage.path / MANIFEST):
        hands = manifest.get("hands") or [_hand(manifest)]
        kept = {key: value for key, value in manifest.items() if key not in ("versions", "commit")}
        kept |= {"adopted": manifest.get("adopted", manifest["fingerprint"])}
        now = {"fingerprint": stage.fingerprint, "settings": stage.settings, "hands": hands}
        write_json(stage.path / MANIFEST, kept | now)
    write_json(stage.path / BEGUN, {"settings": stage.settings, "at": begun.get("at"), "hands": hands})


def _hand(manifest: dict[str, Any]) -> dict[str, Any]:
    commit, changes, _ = (manifest.get("commit") or "").partition("+")
    return {"commit": commit or None, "dirty": bool(changes), "lock": None, "versions": manifest.get("versions", {})}


def _part_rankings(run: Run, begun: dict[str, Any]) -> None:
    """Part the rankings from the pairs: each stage has its own folder, refusals and figures."""
    scored, paired = run.stage("rankings"), run.stage("preferences")
    if _taken_over(_json(scored.path / BEGUN)):
        return
    if run.config.preferences.shuffled:  # each stands by the name of another case: these rankings are no case's own
        remove(paired.path / "rankings")
        return
    write_json(scored.path / BEGUN, {"settings": {}, "at": begun.get("at")})
    _part_refusals(run, _move_rankings(run))
    if manifest := _json(paired.path / MANIFEST):
        of_pairs = {key: value for key, value in manifest["figures"].items() if key not in SCORED}
        of_scores = {key: value for key, value in manifest["figures"].items() if key in SCORED}
        ranked = ranking_table(run, columns=["case_id"]).num_rows
        refused = refusal_table(run)["reason"].to_pylist()
        write_json(scored.path / MANIFEST, _parted(manifest, "rankings", ranked + len(refused), refused, of_scores))
        _rewrite(scored, begun)
        refused = pairs.refusal_table(run)["reason"].to_pylist()
        write_json(paired.path / MANIFEST, _parted(manifest, "preferences", ranked, refused, of_pairs))
    else:  # its pairs are made again, which is quick
        remove(paired.path)
        _rewrite(scored, begun)


def _parted(
    manifest: dict[str, Any], stage: str, rows: int, refused: list[Any], figures: dict[str, Any]
) -> dict[str, Any]:
    """The manifest of one of the two stages that were one."""
    told = {"in": rows, "out": rows - len(refused), "refused": len(refused)}
    return {**manifest, "stage": stage, "rows": told, "refused": dict(Counter(refused)), "figures": figures}


def _part_refusals(run: Run, ranked: set[Any]) -> None:
    """Cases without a ranking were refused by the scorer; the others make no pair."""
    scored, paired = (run.stage(name).path / "refused" for name in ("rankings", "preferences"))
    for part in part_files(paired):
        refused = read_table(part)
        own = pc.is_in(refused["case_id"], value_set=pa.array(sorted(ranked), pa.string()))
        if (by_scorer := refused.filter(pc.invert(own))).num_rows:
            write_part(by_scorer, scored / part.name)
        write_part(refused.filter(own), part)


def _move_rankings(run: Run) -> set[Any]:
    """Move the parts of the rankings, and the label list with them; the cases that are ranked."""
    old, new = run.stage("preferences").path / "rankings", run.stage("rankings").path
    labels = run.stage("scorer").path / LABELS
    with opened(labels) as source:
        write_atomically(new / LABELS, source.read().decode())
    for part in part_files(old):
        write_part(read_table(part), new / part.name)
    remove(old)
    return {case_id for part in part_files(new) for case_id in read_table(part, ["case_id"])["case_id"].to_pylist()}


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None
