"""One job a run directory: the second is refused by name of the first, and a dead one is followed."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mint_ray import lock
from mint_ray.errors import RunError
from mint_ray.lock import STALE, sole_job
from tests.conftest import REPOSITORY


def jobs(run_dir: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((run_dir / "jobs").glob("*.json"))]


def elsewhere(run_dir: Path, silent: float) -> Path:
    """The first job of a run directory: of another machine, last seen `silent` seconds ago."""
    path = run_dir / "jobs" / "00001.json"
    path.parent.mkdir(exist_ok=True)
    theirs = {"host": "node-7", "machine": "another", "pid": 41, "job": "raysubmit_x", "process_started": 5.0}
    path.write_text(json.dumps(theirs | {"started": "2026-11-27T09:00:00Z", "ended": None}))
    os.utime(path, (time.time() - silent,) * 2)
    return path


def holding(run_dir: Path, **environment: str) -> subprocess.Popen:
    """A process of its own that holds a run directory until it is killed."""
    code = f"""
import sys, time
from mint_ray.lock import sole_job
from mint_ray.storage import location
with sole_job(location({str(run_dir)!r})):
    print("held", flush=True)
    time.sleep(120)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path


@pytest.fixture
def first(run_dir):
    metadata = json.dumps({"metadata": {"job_submission_id": "raysubmit_first"}})
    process = holding(run_dir, RAY_JOB_CONFIG_JSON_ENV_VAR=metadata)
    yield process
    process.kill()
    process.wait()


def test_the_second_job_is_refused_by_name_of_the_first(run_dir, first):
    with pytest.raises(RunError) as refused, sole_job(run_dir):
        pass
    said = str(refused.value)
    holder = f"process {first.pid} on {os.uname().nodename}, Ray job raysubmit_first, started 20"
    assert f"{run_dir} is in use by {holder}" in said
    assert "ray job stop raysubmit_first" in said


def test_a_killed_job_is_followed_at_once(tmp_path, first):
    first.send_signal(signal.SIGKILL)  # not waited for: what is left of it is a zombie
    deadline = time.time() + 20
    while Path(f"/proc/{first.pid}/status").read_text().split("State:")[1].split()[0] != "Z" and time.time() < deadline:
        time.sleep(0.01)
    with sole_job(tmp_path):
        assert [job["pid"] for job in jobs(tmp_path)] == [first.pid, os.getpid()]


def test_a_later_process_of_the_same_number_is_not_the_holder(tmp_path, first):
    path = tmp_path / "jobs" / "00001.json"
    theirs = json.loads(path.read_text())
    path.write_text(json.dumps(theirs | {"process_started": theirs["process_started"] - 3600}))
    with sole_job(tmp_path):
        assert len(jobs(tmp_path)) == 2


def test_one_job_may_follow_another_and_both_are_kept(tmp_path):
    for _ in range(2):
        with sole_job(tmp_path):
            assert jobs(tmp_path)[-1]["ended"] is None
    assert all(job["ended"] for job in jobs(tmp_path)) and len(jobs(tmp_path)) == 2


def test_a_job_that_fails_leaves_the_directory_free(tmp_path):
    with pytest.raises(ValueError), sole_job(tmp_path):
        raise ValueError
    with sole_job(tmp_path):
        pass


def test_a_job_of_another_machine_is_alive_while_it_was_seen(tmp_path):
    elsewhere(tmp_path, silent=STALE / 2)
    named = r"process 41 on node-7, Ray job raysubmit_x.*last seen 90 s ago"
    with pytest.raises(RunError, match=named), sole_job(tmp_path):
        pass


def test_a_silent_job_of_another_machine_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    elsewhere(tmp_path, silent=STALE + 5)
    with sole_job(tmp_path):
        assert jobs(tmp_path)[-1]["pid"] == os.getpid()
    assert {path.suffix for path in (tmp_path / "jobs").iterdir()} == {".json"}


@pytest.mark.parametrize("ahead", [STALE + 60, 24 * 3600, -24 * 3600])
def test_a_clock_that_is_wrong_here_makes_no_living_job_dead(tmp_path, monkeypatch, ahead):
    """The file's times are the server's, so this node's clock says nothing about how old they are."""
    monkeypatch.setattr(lock, "BEAT", 0.05)
    elsewhere(tmp_path, silent=1)
    right = time.time
    monkeypatch.setattr("time.time", lambda: right() + ahead)
    with pytest.raises(RunError, match=r"in use by process 41.*last seen [123] s ago"), sole_job(tmp_path):
        pass


def test_a_job_whose_file_has_the_times_of_another_clock_is_alive_while_it_beats(tmp_path, monkeypatch):
    """As on a file system that takes times from the machine that writes: that one is ten minutes behind."""
    monkeypatch.setattr(lock, "BEAT", 0.2)
    path, over = elsewhere(tmp_path, silent=600), threading.Event()

    def beat() -> None:
        while not over.wait(0.2):
            os.utime(path, (time.time() - 600,) * 2)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        with pytest.raises(RunError, match="in use by process 41"), sole_job(tmp_path):
            pass
    finally:
        over.set()
        beating.join()
    assert [file.name for file in (tmp_path / "jobs").iterdir()] == ["00001.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"pid": "x"}', b'{"process_started": []}', b"[" * 9999]
)
def test_a_damaged_file_of_a_dead_job_ends_no_job(tmp_path, monkeypatch, content):
    path = elsewhere(tmp_path, silent=0)
    path.write_bytes(content)
    with pytest.raises(RunError, match="in use by process 0 on an unknown host"), sole_job(tmp_path):
        pass  # it may have been created at this moment
    os.utime(path, (time.time() - STALE - 5,) * 2)
    monkeypatch.setattr(lock, "BEAT", 0.05)
    with sole_job(tmp_path):
        assert json.loads((tmp_path / "jobs" / "00002.json").read_text())["pid"] == os.getpid()


def test_what_else_lies_among_the_jobs_is_left_alone(tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name in (
        "notes.json",
        "00001.json.bak",
        "-3.json",
        "00\u0661\u0662\u0663.json",
        "1e9.json",
        "README",
        ".00001.json.a",
    ):
        (folder / name).write_text("mine")
    (folder / "00007.json").mkdir()
    with pytest.raises(RunError, match="a folder stands where a file should"), sole_job(tmp_path):
        pass
    (folder / "00007.json").rmdir()
    with sole_job(tmp_path):
        assert (folder / "00001.json").exists()
    assert (folder / "notes.json").read_text() == "mine"


@pytest.fixture
def exit_when_told():
    """As Ray has a driver end when it is told to."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_job_touches_its_file_and_stops_where_it_was_followed(tmp_path, monkeypatch, exit_when_told):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with pytest.raises(SystemExit), sole_job(tmp_path):
        path = tmp_path / "jobs" / "00001.json"
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            time.sleep(0.01)
        assert not lock.followed()
        (tmp_path / "jobs" / "00002.json").write_text("{}")
        time.sleep(30)
    assert lock.followed()
    with sole_job(tmp_path / "another"):
        assert not lock.followed()


def race(run_dir: Path, start, won) -> None:
    start.wait()
    try:
        with sole_job(run_dir):
            won.put(os.getpid())
            time.sleep(1.5)  # past the last of the others' attempts
    except RunError:
        won.put(None)


def test_of_many_jobs_that_start_at_once_one_is_let_in(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.1)
    elsewhere(tmp_path, silent=STALE + 5)  # all see a dead job that they may follow
    context = multiprocessing.get_context("fork")
    start, won = context.Event(), context.Queue()
    racers = [context.Process(target=race, args=(tmp_path, start, won)) for _ in range(8)]
    for racer in racers:
        racer.start()
    start.set()
    winners = [won.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join()
    assert len([pid for pid in winners if pid]) == 1


def test_a_directory_that_cannot_be_written_is_said_to_be(tmp_path):
    (tmp_path / "run").write_text("a file where the directory should be")
    with pytest.raises(RunError, match="run: a file stands where a folder should"), sole_job(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "for reading alone"),
        (errno.EACCES, "permis"),
    ],
)
def test_a_disk_that_refuses_is_told_by_what_it_says(tmp_path, monkeypatch, code, said):
    def refused(path: Path, text: str) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("mint_ray.storage.create", refused)
    with pytest.raises(RunError, match=said) as error, sole_job(tmp_path):
        pass
    assert str(tmp_path) in str(error.value) and ("permissions" in str(error.value)) == (code == errno.EACCES)


def test_a_disk_that_gives_a_name_and_no_byte_keeps_no_next_job_out(tmp_path, monkeypatch):
    def on_a_full_disk(file: int, mode: str):
        os.close(file)
        return Path("/dev/full").open(mode)

    with monkeypatch.context() as patch:
        patch.setattr("os.fdopen", on_a_full_disk)
        with pytest.raises(RunError, match="the disk is full"), sole_job(tmp_path):
            pass
    with sole_job(tmp_path):
        assert (tmp_path / "jobs" / "00001.json").exists()


def test_a_second_command_on_the_same_run_directory_ends_with_status_1(tmp_path):
    with sole_job(tmp_path):
        command = [sys.executable, "jobs/evaluate.py", "configs/demo.yaml", "--set", f"run.dir={tmp_path}", "--fresh"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 1
    assert f"{tmp_path} is in use by process {os.getpid()} on " in done.stderr
