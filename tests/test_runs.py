"""The run directory: complete when the manifest exists, refused to strangers, resumed by its owner."""

import errno
import json
import os
import platform
import shutil
import subprocess
from contextlib import suppress

import pytest

from mint_ray.config import AlignmentSection, load_config
from mint_ray.errors import RunError
from mint_ray.line import LINE
from mint_ray.runs import CLEARING, Run, StageReport, digest_files, open_run, plain_errors, read_json, read_json_lines
from tests.conftest import REPOSITORY


def a_run(tmp_path, *overrides) -> Run:
    return Run(load_config(REPOSITORY / "configs" / "demo.yaml", overrides).moved(tmp_path / "run"))


def some_work(run: Run) -> StageReport:
    return StageReport(rows_in=3, rows_out=2, refused={"no-terms": 1})


def test_a_stage_is_done_once(tmp_path):
    run = a_run(tmp_path)
    assert run.carry_out("cases", some_work)
    assert not a_run(tmp_path).carry_out("cases", some_work)
    assert json.loads((run.dir / "cases" / "manifest.json").read_text())["rows"] == {"in": 3, "out": 2, "refused": 1}


def test_a_stage_says_which_nodes_it_lost_and_no_stage_before_or_after_does(tmp_path, monkeypatch, caplog):
    run, lost = a_run(tmp_path), [{"node": "a1", "address": "10.0.0.3", "why": "before"}]
    monkeypatch.setattr("mint_ray.runs.lost_nodes", lambda: list(lost))
    second = {"node": "b2", "address": "10.0.0.4", "why": "health check failed"}

    def losing(run: Run) -> StageReport:
        lost.append(second)
        return some_work(run)

    for stage, work in (("cases", some_work), ("scorer", losing), ("rankings", some_work)):
        run.carry_out(stage, work)
    told = {stage: run.stage(stage).manifest["lost_nodes"] for stage in ("cases", "scorer", "rankings")}
    assert told == {"cases": [], "scorer": [second], "rankings": []}
    assert "scorer: went on without the node 10.0.0.4: health check failed" in caplog.text


def test_a_stage_that_failed_is_not_complete_and_is_resumed(tmp_path):
    def failing(run):
        raise OSError("a bad day")

    with pytest.raises(OSError):
        a_run(tmp_path).carry_out("cases", failing)
    run = a_run(tmp_path)
    assert not run.stage("cases").complete
    assert run.carry_out("cases", some_work)


def test_another_configuration_is_refused_by_the_settings_that_differ(tmp_path):
    a_run(tmp_path).carry_out("cases", some_work)
    with pytest.raises(RunError, match=r"splits\.min_cases_per_label: was 1, is now 2"):
        a_run(tmp_path, "splits.min_cases_per_label=2").carry_out("cases", some_work)


def test_a_change_upstream_is_refused_downstream(tmp_path):
    a_run(tmp_path).carry_out("cases", some_work)
    a_run(tmp_path).carry_out("scorer", some_work)
    with pytest.raises(RunError, match="seed: was 7, is now 8"):
        a_run(tmp_path, "run.seed=8").carry_out("rankings", some_work)


def test_hardware_may_change_between_start_and_resume(tmp_path):
    a_run(tmp_path).carry_out("cases", some_work)
    assert not a_run(tmp_path, "rankings.actors=7", "cluster.cpus=9").carry_out("cases", some_work)
    fingerprints = [a_run(tmp_path, f"rankings.actors={n}").stage("rankings").fingerprint for n in (1, 7)]
    assert fingerprints[0] == fingerprints[1]


def test_a_stage_without_the_one_before_is_refused(tmp_path):
    with pytest.raises(RunError, match="run the stage `cases` first"):
        a_run(tmp_path).carry_out("scorer", some_work)


def test_starting_over_removes_a_stage_and_what_was_made_from_it_alone(tmp_path):
    run = a_run(tmp_path)
    for name in LINE:
        run.carry_out(name, some_work)
    run.clear_from("alignment")
    assert [run.stage(name).complete for name in LINE] == [True, True, True, True, False, False, False]


def finished(run: Run) -> Run:
    for name in LINE:
        run.carry_out(name, some_work)
    return run


def test_a_run_borrows_the_stages_that_would_come_out_the_same(tmp_path):
    lender = finished(a_run(tmp_path))
    config = a_run(tmp_path, "alignment.learning_rate=2e-3").config.moved(tmp_path / "other")
    borrower = Run(config, (lender,))
    owners = {name: borrower.stage(name).run is lender for name in LINE}
    assert owners == dict.fromkeys(LINE, True) | dict.fromkeys(("alignment", "answers", "evaluation"), False)
    assert not borrower.carry_out("preferences", some_work)
    assert borrower.carry_out("alignment", some_work)
    assert borrower.stage("alignment").path == tmp_path / "other" / "alignment"


def test_the_first_lender_that_has_the_stage_lends_it(tmp_path):
    plain, tuned = a_run(tmp_path), a_run(tmp_path / "tuned", "alignment.learning_rate=2e-3")
    config = tuned.config.moved(tmp_path / "third")
    borrower = Run(config, (plain, tuned))
    assert borrower.stage("cases").run is plain
    assert borrower.stage("alignment").run is tuned
    assert Run(config, (borrower,)).stage("alignment").run is tuned


def test_starting_over_leaves_what_is_borrowed_to_its_owner(tmp_path):
    lender = finished(a_run(tmp_path))
    config = a_run(tmp_path, "alignment.learning_rate=2e-3").config.moved(tmp_path / "other")
    borrower = finished(Run(config, (lender,)))
    borrower.clear_from("cases")
    assert all(lender.stage(name).complete for name in LINE)
    assert not (tmp_path / "other" / "alignment").exists()


def test_answers_of_the_base_model_need_no_adapter_and_do_not_hang_on_its_training(tmp_path):
    runs = [a_run(tmp_path, "inference.models=[base]", f"alignment.learning_rate={rate}") for rate in (1e-3, 1e-4)]
    assert runs[0].stage("answers").fingerprint == runs[1].stage("answers").fingerprint
    both = [a_run(tmp_path, f"alignment.learning_rate={rate}") for rate in (1e-3, 1e-4)]
    assert both[0].stage("answers").fingerprint != both[1].stage("answers").fingerprint
    runs[0].carry_out("cases", some_work)
    assert runs[0].carry_out("answers", some_work)


def test_the_digest_of_a_folder_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    first = digest_files(tmp_path)
    (tmp_path / "a").write_text("2")
    second = digest_files(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, digest_files(tmp_path)}) == 3


# Bad days


class Killed(BaseException):
    """Ends the process, as far as a file system can tell."""


def kill_at(monkeypatch, call: int) -> list[str]:
    """From that change to the file system on, every one fails; the names of those before."""
    done: list[str] = []
    for name in ("unlink", "rmdir", "replace", "mkdir"):
        real = getattr(os, name)

        def change(path, *more, name=name, real=real, **how):
            if len(done) >= call:
                raise Killed
            done.append(f"{name} {path}")
            return real(path, *more, **how)

        monkeypatch.setattr(os, name, change)
    return done


def some_files(run: Run) -> StageReport:
    for name in ("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "curve.jsonl", "checkpoints/1/a"):
        path = run.stage("alignment").path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{run.config.alignment.learning_rate}")
    return StageReport()


def left_of(run: Run) -> set[str]:
    folder = run.stage("alignment").path
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name[0] != "."} - {"begun.json"}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_start_over_that_is_killed_anywhere_never_lends_the_old_adapter_to_new_settings(tmp_path, fresh):
    complete = a_run(tmp_path / "complete")
    for name in LINE:
        complete.carry_out(name, some_files if name == "alignment" else some_work)
    other = a_run(tmp_path, "alignment.learning_rate=2e-3")
    ways, call, over = set(), 0, False
    while not over:
        shutil.copytree(tmp_path / "complete", tmp_path / str(call))
        old = Run(complete.config.moved(tmp_path / str(call) / "run"))
        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            kill_at(patch, call)
            old.clear_from("alignment")
            over = True
        new = Run(other.config.moved(old.dir))
        if fresh:
            new.clear_from("alignment")
        seen: list[set[str]] = []
        try:
            new.carry_out("alignment", lambda run, seen=seen: seen.append(left_of(run)) or StageReport())
            assert seen == [set()]
            ways.add("begun anew")
        except RunError as refused:
            assert "alignment.learning_rate: was 0.001, is now 0.002" in str(refused)
            ways.add("refused")
        call += 1
    assert call > 15 and ways == ({"begun anew"} if fresh else {"begun anew", "refused"})


def test_a_start_over_that_was_killed_is_finished_by_the_same_command(tmp_path):
    run = a_run(tmp_path)
    for name in LINE:
        run.carry_out(name, some_files if name == "alignment" else some_work)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, 6)
        run.stage("alignment").clear()
    assert CLEARING in a_run(tmp_path).stage("alignment").begun and 0 < len(left_of(run)) < 4
    assert not a_run(tmp_path).stage("alignment").complete
    a_run(tmp_path).carry_out("alignment", some_files)
    assert a_run(tmp_path).stage("alignment").complete and CLEARING not in a_run(tmp_path).stage("alignment").begun


DAMAGE = [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"settings": 3}', b"[" * 100_000, b'{"rows": {}}']


def test_a_manifest_says_what_repeating_needs(tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    (checkout / "mint_ray").mkdir(parents=True)
    (checkout / "mint_ray" / "runs.py").write_text("1")
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr("mint_ray.runs._CODE", checkout / "mint_ray")
    run = a_run(tmp_path)
    run.carry_out("cases", some_work)
    manifest = run.stage("cases").manifest
    (first,) = manifest["hands"]
    assert manifest["settings"]["seed"] == 7 and (first["commit"], first["dirty"]) == (commit, False)
    assert first["versions"]["python"] == platform.python_version() and "ray" in first["versions"]
    assert first["lock"] is None
    (checkout / "requirements").mkdir()
    (checkout / "requirements" / "cpu.txt").write_text("ray==1")
    (checkout / "mint_ray" / "runs.py").write_text("2")
    run.carry_out("scorer", some_work)
    (second,) = run.stage("scorer").manifest["hands"]
    assert (second["commit"], second["dirty"]) == (commit, True) and second["lock"]


def test_a_manifest_names_everyone_who_had_a_hand_in_a_stage(tmp_path, monkeypatch):
    """Begun by one commit, gone on with by another, and by the first again."""
    run, hands = a_run(tmp_path), [{"commit": name, "dirty": False, "lock": None, "versions": {}} for name in "ab"]

    def dies(run):
        raise KeyboardInterrupt

    for hand, work in ((hands[0], dies), (hands[1], dies), (hands[0], some_work)):
        monkeypatch.setattr("mint_ray.runs.hand", lambda hand=hand: hand)
        try:
            run.carry_out("cases", work)
        except KeyboardInterrupt:
            assert not run.stage("cases").complete
    assert run.stage("cases").manifest["hands"] == hands


def test_a_new_setting_with_a_default_leaves_a_finished_run_as_it_is_and_a_set_one_does_not(tmp_path, monkeypatch):
    run = finished(a_run(tmp_path))

    class Later(AlignmentSection):
        """Of a release that has one setting more."""

        schedule: str = "cosine"

    def now(**settings):
        alignment = Later(**run.config.alignment.model_dump(), **settings)
        return Run(run.config.model_copy(update={"alignment": alignment}))

    assert not any(now().carry_out(name, some_work) for name in LINE)
    with pytest.raises(RunError, match=r"alignment\.schedule: was 'cosine', is now 'linear'"):
        now(schedule="linear").carry_out("alignment", some_work)


@pytest.mark.parametrize("stage", list(LINE))
def test_what_another_version_of_a_stage_began_is_refused_in_words_and_by_those_that_read_it(
    tmp_path, monkeypatch, stage
):
    finished(a_run(tmp_path))
    was = LINE[stage].version
    monkeypatch.setitem(LINE, stage, LINE[stage]._replace(version=was + 1))
    told = rf"begun by version {was} of the stage `{stage}`, and this release has version {was + 1}"
    with pytest.raises(RunError, match=told):
        a_run(tmp_path).carry_out(stage, some_work)
    for name in LINE:
        if stage in LINE[name].reads:
            with pytest.raises(RunError, match=rf"inputs\.{stage}: was"):
                a_run(tmp_path).carry_out(name, some_work)


def test_a_part_of_another_version_is_another_part(tmp_path, monkeypatch):
    run = finished(a_run(tmp_path))
    monkeypatch.setattr(type(run.config.task), "version", 2)
    assert not a_run(tmp_path).carry_out("cases", some_work)
    with pytest.raises(RunError, match=r"task\.version: was None, is now 2"):
        a_run(tmp_path).carry_out("rankings", some_work)


def test_a_figure_that_is_not_finite_is_null_in_a_manifest(tmp_path):
    run = a_run(tmp_path)
    figures = {"mean": float("nan"), "rows": [1.5, float("inf"), -float("inf")]}
    run.carry_out("cases", lambda run: StageReport(1, 1, {}, figures))
    kept = (run.stage("cases").path / "manifest.json").read_text()
    assert json.loads(kept, parse_constant=pytest.fail)["figures"] == {"mean": None, "rows": [1.5, None, None]}


@pytest.mark.parametrize("content", DAMAGE, ids=lambda content: repr(content)[:20])
def test_a_damaged_manifest_is_as_if_it_were_not_written(tmp_path, content, caplog):
    run = a_run(tmp_path)
    run.carry_out("cases", some_work)
    (run.dir / "cases" / "manifest.json").write_bytes(content)
    assert a_run(tmp_path).carry_out("cases", some_work)
    assert a_run(tmp_path).stage("cases").manifest["rows"]["in"] == 3
    assert "manifest.json is damaged" in caplog.text


@pytest.mark.parametrize("content", DAMAGE, ids=lambda content: repr(content)[:20])
def test_a_stage_whose_beginning_is_damaged_is_begun_anew_while_it_holds_nothing_and_else_refused(tmp_path, content):
    begun = a_run(tmp_path).dir / "cases" / "begun.json"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(content)
    assert a_run(tmp_path).carry_out("cases", some_work)
    begun.write_bytes(content)
    with pytest.raises(RunError, match=r"begun\.json is damaged.*start over with --fresh"):
        a_run(tmp_path).carry_out("cases", some_work)
    a_run(tmp_path).clear_from("cases")
    assert a_run(tmp_path).carry_out("cases", some_work)


def test_a_folder_by_a_stage_s_name_that_no_run_made_is_neither_used_nor_removed(tmp_path):
    mine = tmp_path / "run" / "cases" / "2019" / "thesis.docx"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for way in (lambda run: run.clear_from("cases"), lambda run: run.carry_out("cases", some_work)):
        with pytest.raises(RunError, match=r"cases holds 2019/thesis\.docx, and no begun\.json"):
            way(a_run(tmp_path))
    assert mine.read_text() == "mine"


def test_starting_over_removes_nothing_where_one_folder_is_no_stage_s(tmp_path):
    run = a_run(tmp_path)
    for name in ("cases", "scorer", "rankings", "preferences", "alignment"):
        run.carry_out(name, some_work)
    shutil.rmtree(run.dir / "scorer")
    (run.dir / "scorer").mkdir()
    (run.dir / "scorer" / "thesis.docx").write_text("mine")
    with pytest.raises(RunError, match=r"scorer holds thesis\.docx"):
        run.clear_from("cases")
    assert [run.stage(name).complete for name in ("cases", "preferences", "alignment")] == [True] * 3


def test_a_run_begins_in_an_empty_folder_or_in_its_own(tmp_path):
    run = a_run(tmp_path)
    run.check_home()
    run.dir.mkdir()
    (run.dir / "lost+found").mkdir()  # as the root of a volume has it
    (run.dir / ".snapshot").mkdir()
    run.check_home()
    (run.dir / "thesis.docx").write_text("mine")
    with pytest.raises(RunError, match=r"run holds thesis\.docx, and no run has made it: take another run\.dir"):
        run.check_home()
    (run.dir / "thesis.docx").unlink()
    run.carry_out("cases", some_work)
    (run.dir / "notes.txt").write_text("mine, beside a run")
    run.check_home()


@pytest.mark.parametrize("name", ["run", "\U0001f600", "a: b", "'", '"', "%s", "2026-01-01", "null"])
def test_a_run_is_opened_by_whatever_name_its_folder_has(tmp_path, name):
    run = Run(a_run(tmp_path).config.moved(tmp_path / name))
    run.carry_out("cases", some_work)
    assert open_run(tmp_path / name).dir == tmp_path / name
    assert open_run(tmp_path / name).stage("cases").complete


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "mounted for reading alone"),
        (errno.EACCES, "mend its permissions"),
        (errno.EIO, "the disk fails"),
        (errno.ESTALE, "no longer knows it"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_a_disk_that_fails_is_told_by_what_it_says(tmp_path, code, said):
    run = a_run(tmp_path)

    def failing(run: Run) -> StageReport:
        raise OSError(code, os.strerror(code), str(run.stage("cases").path / "part-0.parquet"))

    with pytest.raises(RunError, match=said) as refused:
        run.carry_out("cases", failing)
    assert str(refused.value).startswith(f"{run.dir / 'cases'}: ") and "run the same command again" in str(
        refused.value
    )
    assert ("mend its permissions" in str(refused.value)) == (code == errno.EACCES)


def test_a_worker_s_text_tells_a_full_disk_and_a_quota_apart(tmp_path):
    for code, said in ((errno.ENOSPC, "full"), (errno.EDQUOT, "quota"), (errno.EROFS, "reading alone")):
        with pytest.raises(RunError, match=said), plain_errors(tmp_path):
            raise RuntimeError(f"task failed\nOSError: [Errno {code}] {os.strerror(code)}: '/elsewhere/x'")


def test_an_error_about_a_file_elsewhere_is_left_as_it_is(tmp_path):
    with pytest.raises(PermissionError), plain_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/x")


@pytest.mark.parametrize(("text", "where"), [('{"step": 1}\n{"ste', ", line 2"), ("\x00\x00", ", line 1")])
def test_a_damaged_line_of_a_run_s_file_is_named(text, where, tmp_path):
    (tmp_path / "curve.jsonl").write_text(text)
    with pytest.raises(RunError, match=rf"curve\.jsonl{where}: is damaged"):
        read_json_lines(tmp_path / "curve.jsonl")
    with pytest.raises(RunError, match=r"curve\.jsonl: is damaged"):
        read_json(tmp_path / "curve.jsonl")
    assert (read_json_lines(tmp_path / "none"), read_json(tmp_path / "none")) == ([], None)
