"""A run directory of an earlier release is taken over by one command; what is no longer the same is left and named."""

import json
import shutil

import pytest
import yaml

from mint_ray.adopt import adopt
from mint_ray.config import MOVED
from mint_ray.errors import RunError
from mint_ray.line import LINE
from mint_ray.parquet import part_files, read_table, write_part
from mint_ray.preferences import store as pairs
from mint_ray.preferences.build import build_preferences
from mint_ray.rankings import store as rankings
from mint_ray.rankings.build import account
from mint_ray.runs import Run, digest_of, write_json
from mint_ray.sections import result_settings
from tests.rankings.test_parts import rank_without_ray
from tests.rankings.toys import hard_cases, toy_run

OLD = {name: stage for name, stage in LINE.items() if name != "rankings"}


def as_it_was(run: Run) -> None:
    """Lay a run out as releases before the stage `rankings` did: one folder, one manifest, whole settings."""
    new, old, prints = run.stage("rankings"), run.stage("preferences"), {}
    for part in part_files(new.path / "refused"):
        write_part(read_table(part), old.path / "refused" / part.name)
    for part in part_files(old.path / "refused"):
        if not read_table(part).num_rows:
            part.unlink()
    (new.path / "labels.json").unlink()
    shutil.rmtree(new.path / "refused")
    new.path.rename(old.path / "rankings")
    save_scorer_labels(run)
    whole = {name: result_settings(getattr(run.config, name)) for name in run.config.model_fields_set | {"splits"}}
    whole["preferences"] = result_settings(run.config.rankings) | result_settings(run.config.preferences)
    for name, stage in OLD.items():
        folder = run.dir / name
        if not (folder / "begun.json").exists():
            continue
        sections = {each: whole[each] for each in stage.sections if each in whole}
        inputs = {each: prints[each] for each in stage.reads if each in prints}
        inputs |= {"scorer": prints["scorer"]} if name == "preferences" else {}
        settings = {"seed": run.config.run.seed, **sections, "inputs": inputs}
        prints[name] = digest_of(settings)
        write_json(folder / "begun.json", {"settings": settings, "at": "then"})
        if (folder / "manifest.json").exists():
            manifest = json.loads((folder / "manifest.json").read_text())
            del manifest["hands"]
            told = {
                "fingerprint": prints[name],
                "settings": settings,
                "commit": "abc+changes",
                "versions": {"ray": "1"},
            }
            write_json(folder / "manifest.json", manifest | told)
    (run.dir / "rankings").mkdir(exist_ok=True)
    (run.dir / "rankings").rmdir()


def save_scorer_labels(run: Run) -> None:
    shutil.copy(run.stage("cases").path / "labels.json", run.stage("scorer").path / "labels.json")


@pytest.fixture
def run(tmp_path):
    run = toy_run(tmp_path / "run", hard_cases(), min_margin=0.01)

    def rank(run):
        rank_without_ray(run)
        return account(run, 60)

    run.carry_out("rankings", rank)
    run.carry_out("preferences", build_preferences)
    return run


@pytest.fixture(autouse=True)
def toys_are_known(monkeypatch, run):
    """The configuration of a toy is none that a file could hold, so that it is handed over as it is."""
    monkeypatch.setattr("mint_ray.adopt.parse_config", lambda data: run.config)


def everything(run):
    refused = [each.refusal_table(run).to_pylist() for each in (rankings, pairs)]
    counts = {name: run.stage(name).manifest["rows"] for name in ("rankings", "preferences")}
    return rankings.ranking_table(run).to_pylist(), refused, pairs.pair_dataset(run, "train").to_list(), counts


def test_a_run_of_an_earlier_release_is_refused_by_its_command_and_then_taken_over(run):
    before = everything(run)
    as_it_was(run)
    with pytest.raises(RunError, match=r"kept its run directories in another way: `mint-ray adopt"):
        Run(run.config).carry_out("preferences", build_preferences)
    assert [line.rpartition(": ")[2] for line in adopt(run.dir)] == ["taken over"] * 3
    later = Run(run.config)
    assert all(later.stage(name).require() for name in ("cases", "scorer", "rankings", "preferences"))
    assert everything(later) == before
    assert later.stage("rankings").manifest["hands"] == [
        {"commit": "abc", "dirty": True, "lock": None, "versions": {"ray": "1"}}
    ]
    assert adopt(run.dir) == []


def test_whatever_dies_on_the_way_the_same_command_goes_on(run, monkeypatch):
    before = everything(run)
    as_it_was(run)
    import mint_ray.adopt as adopting

    for dies_at in range(1, 12):
        writes = iter(range(1, 100))
        with monkeypatch.context() as patch:
            for name in ("write_json", "write_part"):
                patch.setattr(adopting, name, dying(getattr(adopting, name), writes, dies_at))
            try:
                adopt(run.dir)
            except KeyboardInterrupt:
                continue
    adopt(run.dir)
    assert everything(Run(run.config)) == before


def dying(write, writes, dies_at):
    def called(*arguments):
        if next(writes) == dies_at:
            raise KeyboardInterrupt
        return write(*arguments)

    return called


def test_a_stage_of_other_settings_is_left_and_named(run, monkeypatch):
    as_it_was(run)
    other = run.config.model_copy(update={"preferences": run.config.preferences.model_copy(update={"chosen": 2})})
    monkeypatch.setattr("mint_ray.adopt.parse_config", lambda data: other)
    *_, told = adopt(run.dir)
    assert told.endswith("preferences: not taken over, preferences.chosen was 3; make it again with --fresh")
    assert (run.dir / "preferences" / "rankings").exists()


def test_settings_move_where_they_stand_today(run):
    as_it_was(run)
    config = run.dir / "config.yaml"
    config.write_text(yaml.safe_dump({"preferences": {"actors": 3, "chosen": 2}}))
    adopt(run.dir)
    assert yaml.safe_load(config.read_text()) == {"preferences": {"chosen": 2}, "rankings": {"actors": 3}}
    assert MOVED["preferences.actors"] == "rankings.actors"


def test_a_folder_that_is_no_runs_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"is no run's directory"):
        adopt(tmp_path / "nothing")
