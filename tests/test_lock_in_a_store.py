"""One job a run directory in an object store: granted by the store, kept by writing, timed by the store's own clock."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mint_ray import lock
from mint_ray.errors import RunError
from mint_ray.lock import sole_job
from mint_ray.runs import write_atomically
from mint_ray.storage import files_in
from tests.conftest import REPOSITORY
from tests.test_lock import (  # noqa: F401
    exit_when_told,
    first,
    test_the_second_job_is_refused_by_name_of_the_first,
)

ELSEWHERE = {"host": "node-7", "machine": "another", "pid": 41, "job": "raysubmit_x"}


def jobs(run_dir: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in files_in(run_dir / "jobs", "*.json")]


def elsewhere(run_dir: Path) -> None:
    """Let the first job look like one of another machine, which is seen at this moment."""
    path = run_dir / "jobs" / "00001.json"
    write_atomically(path, json.dumps(json.loads(path.read_text()) | ELSEWHERE))


@pytest.fixture
def run_dir(bucket):
    return bucket


def test_a_killed_job_is_followed_at_once(bucket, first):  # noqa: F811
    first.send_signal(signal.SIGKILL)
    first.wait()
    with sole_job(bucket):
        assert [job["pid"] for job in jobs(bucket)] == [first.pid, os.getpid()]
    assert [job["ended"] is not None for job in jobs(bucket)] == [False, True]


def test_a_job_of_another_machine_is_alive_while_it_is_seen_and_followed_when_it_is_silent(bucket, monkeypatch):
    with sole_job(bucket):
        elsewhere(bucket)
        with (
            pytest.raises(RunError, match=r"process 41 on node-7, Ray job raysubmit_x.*last seen \d s ago"),
            sole_job(bucket),
        ):
            pass
        monkeypatch.setattr(lock, "STALE", 1.0)
        monkeypatch.setattr(lock, "BEAT", 0.5)  # the first job's thread still waits for the beat of before
        time.sleep(2.5)  # the store tells whole seconds
        with sole_job(bucket):
            assert jobs(bucket)[-1]["pid"] == os.getpid()
    assert {path.suffix for path in files_in(bucket / "jobs")} == {".json"}


def test_a_clock_that_is_wrong_here_makes_no_living_job_dead(bucket, monkeypatch):
    with sole_job(bucket):
        elsewhere(bucket)
        right = time.time
        monkeypatch.setattr("time.time", lambda: right() + 3600)
        with pytest.raises(RunError, match="in use by process 41"), sole_job(bucket):
            pass


def test_a_job_writes_its_file_again_and_stops_where_it_was_followed(bucket, monkeypatch, exit_when_told):  # noqa: F811
    monkeypatch.setattr(lock, "BEAT", 0.1)
    with pytest.raises(SystemExit), sole_job(bucket):
        path = bucket / "jobs" / "00001.json"
        first = path.stat().st_mtime
        deadline = time.monotonic() + 20
        while path.stat().st_mtime == first and time.monotonic() < deadline:
            time.sleep(0.1)
        assert path.stat().st_mtime > first
        write_atomically(bucket / "jobs" / "00002.json", "{}")
        time.sleep(30)


def test_a_job_that_was_let_in_and_did_not_hear_of_it_is_not_refused_by_itself(bucket, monkeypatch):
    from mint_ray import storage

    create = storage.create

    def answer_lost(path: Path, text: str) -> None:
        create(path, text)
        create(path, text)  # the driver asks again

    monkeypatch.setattr(storage, "create", answer_lost)
    with sole_job(bucket):
        assert len(jobs(bucket)) == 1


def test_a_store_without_conditional_writes_is_said_to_be_one(bucket, object_store, caplog):
    with sole_job(bucket):
        assert "conditional writes" not in caplog.text
    object_store.ignores_conditions = True
    with sole_job(bucket):
        assert "this store knows no conditional writes" in caplog.text
    object_store.ignores_conditions = False


def test_of_many_jobs_that_start_at_once_one_is_let_in(bucket):
    code = f"""
import sys, time
from mint_ray.errors import RunError
from mint_ray.lock import sole_job
from mint_ray.storage import location
run_dir = location({str(bucket)!r})
run_dir.exists()  # its client is made
print("ready", flush=True)
sys.stdin.readline()
try:
    with sole_job(run_dir):
        print("in", flush=True)
        sys.stdin.readline()
except RunError as error:
    print("refused" if "is in use by process" in str(error) else error, flush=True)
"""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        for _ in range(4)
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 4
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = sorted(racer.stdout.readline() for racer in racers)
    for racer in racers:
        racer.communicate("\n")
    assert said == ["in\n", "refused\n", "refused\n", "refused\n"]


def test_a_bucket_that_is_missing_or_refuses_ends_a_job_at_once_and_in_one_sentence(object_store):
    def said(run_dir: str) -> str:
        command = [sys.executable, "jobs/prepare_cases.py", "configs/demo.yaml", "--set", f"run.dir={run_dir}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    assert "StorageError: s3://no-such-bucket/demo" in (missing := said("s3://no-such-bucket/demo"))
    assert "there is no such bucket: mend the path, or make the bucket" in missing
    with object_store.refusing("AccessDenied"):
        assert "the store refuses access" in said("s3://bucket/demo")
    with object_store.refusing("ExpiredToken"):
        assert "the credentials have expired" in said("s3://bucket/demo")


def test_a_corpus_that_is_not_there_is_said_before_ray_starts(bucket):
    settings = ["corpus={kind: phenopackets, path: s3://bucket/nothing-here}", f"run.dir={bucket}"]
    command = [sys.executable, "jobs/prepare_cases.py", "configs/demo.yaml"]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "StorageError: s3://bucket/nothing-here: there is nothing by that name in the bucket; mend the path, or put it there"
    )
    assert "ray" not in done.stderr.lower().replace("mint_ray", "")


def test_credentials_that_expire_do_not_stop_the_beat(bucket, object_store, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.1)
    with sole_job(bucket):
        with object_store.refusing("ExpiredToken"):
            time.sleep(1)
        path = bucket / "jobs" / "00001.json"
        before, deadline = path.stat().st_mtime, time.monotonic() + 20
        while path.stat().st_mtime == before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert path.stat().st_mtime > before


def test_a_job_whose_end_cannot_be_written_ends_with_what_ended_it(bucket, object_store, caplog):
    with pytest.raises(ValueError, match="mine"), sole_job(bucket):
        object_store.refuse(lambda method, path: "ExpiredToken")
        raise ValueError("mine")
    object_store.refuse(lambda method, path: None)
    assert "that this job has ended could not be written" in caplog.text
    assert jobs(bucket)[0]["ended"] is None
