"""The pipeline on a real Ray: whatever is killed, the rows are those of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import datasets
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from trl.data_utils import is_conversational, maybe_apply_chat_template, maybe_extract_prompt

from mint_ray.errors import CorpusError, ModelError
from mint_ray.parquet import part_files
from mint_ray.preferences import store as pairs
from mint_ray.preferences.build import build_preferences
from mint_ray.preferences.store import pair_dataset
from mint_ray.rankings.build import build_rankings
from mint_ray.rankings.store import ranking_table, refusal_table
from tests.conftest import REPOSITORY
from tests.rankings.toys import WordScorer, hard_cases, toy_cases, toy_run


def build(run, **scorer):
    run.carry_out("rankings", partial(build_rankings, load=partial(WordScorer, **scorer)))
    run.carry_out("preferences", build_preferences)
    return run


def ranked(run) -> dict:
    """Everything that a run's rankings hold, in its order."""
    return {
        "rankings": ranking_table(run).to_pylist(),
        "refused": refusal_table(run).to_pylist(),
        "labels": (run.stage("rankings").path / "labels.json").read_text(),
        "counts": counts(run, "rankings"),
    }


def rows(run) -> dict:
    """Everything that a run holds, in its order."""
    return {
        "ranked": ranked(run),
        "refused": pairs.refusal_table(run).to_pylist(),
        **{split: pair_dataset(run, split).to_list() for split in ("train", "validation")},
        "counts": counts(run, "preferences"),
    }


def counts(run, stage) -> dict:
    return {key: run.stage(stage).manifest[key] for key in ("rows", "refused", "figures")}


@pytest.fixture(scope="module")
def undisturbed(local_ray, tmp_path_factory):
    return build(toy_run(tmp_path_factory.mktemp("undisturbed"), hard_cases(), actors=2))


def test_rows_in_are_rows_out_and_refused(undisturbed):
    scored, paired = (undisturbed.stage(name).manifest for name in ("rankings", "preferences"))
    assert scored["rows"] == {"in": 60, "out": 59, "refused": 1}
    assert scored["refused"] == {"not-scorable": 1}
    assert paired["rows"] == {"in": 59, "out": 59, "refused": 0}
    assert paired["figures"]["pairs"] == {"train": 35, "validation": 12}
    assert len(ranking_table(undisturbed)) == 59


def test_a_driver_killed_in_the_middle_loses_no_part_and_scores_none_again(undisturbed, tmp_path):
    journal, rankings = tmp_path / "journal", tmp_path / "run" / "rankings"
    command = [sys.executable, "-m", "tests.rankings.driver", str(tmp_path / "run"), str(journal)]
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
    while len(part_files(rankings)) < 3 and driver.poll() is None:
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    _wait_until_quiet(journal)
    done = {path.name: path.stat().st_mtime_ns for path in part_files(rankings)}
    before = journal.read_text().splitlines()
    (rankings / ".part-00008.parquet.torn").write_bytes(b"PAR1 half of a")
    assert 3 <= len(done) < 9

    run = build(toy_run(tmp_path / "run", hard_cases()), journal=journal)

    assert rows(run) == rows(undisturbed)
    assert {name: (rankings / name).stat().st_mtime_ns for name in done} == done
    # Before the kill a case may stand there twice: one that passed is scored again where a batch fails (`batches`).
    after = {line.split()[0] for line in journal.read_text().splitlines()[len(before) :]}
    finished = {row["case_id"] for name in done for row in pq.read_table(rankings / name).to_pylist()}
    assert {line.split()[0] for line in before} >= finished
    assert after & finished == set()
    assert not list(rankings.glob(".*"))


def _wait_until_quiet(journal):
    """The killed driver's actors end by themselves, a moment later."""
    size = -1
    while size != (size := journal.stat().st_size):
        time.sleep(1.5)


def test_an_actor_that_dies_is_replaced_and_its_part_repeated(undisturbed, tmp_path):
    run = build(toy_run(tmp_path / "run", hard_cases()), dies_once=tmp_path / "died")
    assert (tmp_path / "died").exists()
    assert rows(run) == rows(undisturbed)


def test_a_finished_stage_is_not_scored_again_when_only_its_manifest_is_missing(undisturbed, tmp_path):
    run = build(toy_run(tmp_path / "run", toy_cases(16)))
    before = rows(run)
    (run.stage("rankings").path / "manifest.json").unlink()
    assert rows(build(run, journal=tmp_path / "journal")) == before
    assert not (tmp_path / "journal").exists()


def no_scorer():
    raise ModelError("scorer: weights.safetensors is missing; fit the scorer first")


def test_a_scorer_that_cannot_be_opened_is_a_model_error(local_ray, tmp_path):
    run = toy_run(tmp_path, toy_cases(8))
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing"):
        run.carry_out("rankings", partial(build_rankings, load=no_scorer))
    assert not run.stage("rankings").complete


class Unreachable(WordScorer):
    def scores(self, views):
        raise ConnectionRefusedError("patient p000 was on the line")


def test_a_scorer_that_stops_answering_ends_the_run_and_keeps_what_is_done(undisturbed, tmp_path):
    run = toy_run(tmp_path, hard_cases())
    with pytest.raises(ModelError, match=r"does not answer \(ConnectionRefusedError\)"):
        run.carry_out("rankings", partial(build_rankings, load=Unreachable))
    assert rows(build(run)) == rows(undisturbed)


class Breaking(WordScorer):
    """The first actor that comes to its third batch breaks for good, as a GPU that lost its context; others are well."""

    def __init__(self, mark):
        super().__init__()
        self.mark, self.broken = mark, False

    def scores(self, views):
        self.batches += 1
        if self.batches == 3 and not self.mark.exists():
            self.mark.touch()
            self.broken = True
        if self.broken:
            raise RuntimeError("CUDA error: the note of patient Jane Doe")
        return super().scores(views)


def test_a_scorer_that_breaks_on_one_of_two_actors_loses_no_case(undisturbed, tmp_path, capfd):
    run = toy_run(tmp_path / "run", hard_cases(), actors=2)
    with pytest.raises(
        ModelError, match=r"the scorer is broken: .*RuntimeError at test_build\.py:\d+.*what is done is kept"
    ):
        run.carry_out("rankings", partial(build_rankings, load=partial(Breaking, tmp_path / "broken")))
    done = part_files(run.stage("rankings").path)
    assert len(done) < 9
    assert set(refusal_table(run)["case_id"].to_pylist()) <= {"p007"}  # which no scorer can read
    assert "Jane" not in "".join(capfd.readouterr())
    assert rows(build(run)) == rows(undisturbed)


def test_too_many_refusals_stop_the_run_with_their_reasons(local_ray, tmp_path):
    run = toy_run(tmp_path, toy_cases(10), truth="skip", max_refused_share=0.2)
    with pytest.raises(CorpusError, match=r"truth-not-chosen \d.*max_refused_share 0\.2"):
        build(run)
    assert not run.stage("preferences").complete


def chat_tokenizer():
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"?": 0}, unk_token="?")),
        chat_template="{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}<end>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    )


def test_the_folder_loads_with_datasets_as_splits_of_conversational_preferences(undisturbed, tmp_path):
    folder = undisturbed.stage("preferences").path
    for path in (folder, folder / "pairs"):
        loaded = datasets.load_dataset(str(path), cache_dir=str(tmp_path))
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": 35, "validation": 12}
    first = loaded["train"][0]
    assert is_conversational(first)
    assert maybe_extract_prompt(first) == first
    rendered = maybe_apply_chat_template(first, chat_tokenizer())
    assert rendered["prompt"] == f"<user>{first['prompt'][0]['content']}<assistant>"
    assert rendered["chosen"] == first["chosen"][0]["content"] + "<end>"
    assert rendered["rejected"] == first["rejected"][0]["content"] + "<end>"
    assert (first["scorer"], first["scorer_digest"]) == ("words", "0123abcd")


def test_the_card_says_where_the_rows_come_from_and_shows_its_plots(undisturbed):
    folder = undisturbed.stage("preferences").path
    card = (folder / "README.md").read_text()
    assert "**Synthetic: every case is simulated.**" in card
    assert "| scorer | `words`, digest `0123abcd` |" in card
    assert "| cases in | 59 |" in card
    assert "| pairs, train | 35 |" in card
    for name in ("scores", "coverage", "lengths", "truth_rank"):
        assert f"(plots/{name}.png)" in card
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
