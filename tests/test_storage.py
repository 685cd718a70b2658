"""Paths in an object store: what is written whole, what is fetched, and what a store that refuses is taken for."""

import importlib.util
import json
import os
import pickle
import time
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mint_ray import storage
from mint_ray.config import load_config
from mint_ray.errors import ConfigError, ModelError, StorageError
from mint_ray.inference.answering import Weights
from mint_ray.models import resolve_model
from mint_ray.parquet import arrow_filesystem, parquet_dataset, parquet_file, read_table
from mint_ray.runs import Run, StageReport, plain_errors, write_atomically
from mint_ray.storage import (
    arrow_path,
    check_there,
    create,
    files_below,
    files_in,
    local_copy,
    location,
    opened,
    reaching,
    refused_somewhere,
    remove,
    remove_all_but,
    written,
    written_folder,
)
from tests.conftest import REPOSITORY
from tests.object_store import BUCKET, SECRET, place

DEMO = REPOSITORY / "configs" / "demo.yaml"


def keys(prefix: Path) -> list[str]:
    """The objects below a place, asked of the store itself."""
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix.path.removeprefix(f"{BUCKET}/") + "/")
    return [
        entry["Key"].removeprefix(prefix.path.removeprefix(f"{BUCKET}/") + "/") for entry in listed.get("Contents", [])
    ]


def put(path: Path, text: str) -> Path:
    write_atomically(path, text)
    return path


# What a setting may say


def test_a_url_is_a_place_and_every_other_text_a_path():
    run = load_config(DEMO, ["run.dir=s3://bucket/runs/demo/"])
    assert str(run.run.dir) == "s3://bucket/runs/demo" and str(run.run.dir / "cases") == "s3://bucket/runs/demo/cases"
    assert run.model_dump(mode="json")["run"]["dir"] == "s3://bucket/runs/demo"
    local = load_config(DEMO, ["run.dir=runs/x"])
    assert local.run.dir == Path("runs/x") and local.model_dump(mode="json")["run"]["dir"] == "runs/x"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://bucket/x", "ftp:// is none of s3://, gs://"),
        ("s3://", "expected s3://bucket/path"),
        ("s3:///x", "expected s3://bucket/path"),
        (f"s3://AKIAEXAMPLE:{SECRET}@bucket/x", "credentials belong to the environment"),
        (f"s3://bucket/x?secret={SECRET}", "credentials belong to the environment"),
    ],
)
def test_a_url_that_leads_nowhere_or_holds_credentials_is_refused_without_repeating_them(url, said):
    with pytest.raises(ConfigError, match=r"run\.dir") as refused:
        load_config(DEMO, [f"run.dir={url}"])
    assert said in str(refused.value) and SECRET not in str(refused.value)


def test_a_missing_driver_is_named(monkeypatch):
    installed = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gcsfs" else installed(name))
    with pytest.raises(ConfigError, match="gs:// needs the package gcsfs, which is not installed"):
        load_config(DEMO, ["run.dir=gs://bucket/runs"])


def test_a_place_goes_to_another_process_and_remembers_no_listing(bucket):
    there = pickle.loads(pickle.dumps(put(bucket / "first", "1").parent))
    assert there == bucket and [path.name for path in files_in(there)] == ["first"]
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{bucket.name}/late", Body=b"1")
    assert [path.name for path in files_in(there)] == ["first", "late"]


# Writing


def test_a_file_that_breaks_off_is_not_there(bucket):
    for path in (bucket / "x", put(bucket / "y", "before")):
        with pytest.raises(RuntimeError), written(path) as file:
            file.write(b"half of")
            raise RuntimeError
    assert keys(bucket) == ["y"] and (bucket / "y").read_text() == "before"


def test_a_file_of_many_parts_is_put_whole(bucket):
    data = os.urandom(2**20) * 101  # above 100 MB s3fs puts parts
    with written(bucket / "big") as file:
        file.write(data)
    assert (bucket / "big").read_bytes() == data
    assert not boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_one_alone_may_create_a_file(bucket):
    create(bucket / "00001.json", "first")
    with pytest.raises(FileExistsError):
        create(bucket / "00001.json", "second")
    assert (bucket / "00001.json").read_text() == "first"


def test_a_folder_is_whole_when_its_last_file_is_there(bucket, object_store):
    object_store.requests.clear()
    with written_folder(bucket / "adapter", last="adapter_config.json") as folder:
        for name in ("adapter_config.json", "adapter_model.safetensors", "more/README.md", "tokenizer.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
        assert keys(bucket) == []
    put_in_order = [path.rpartition("/")[2] for method, path in object_store.requests if method == "PUT"]
    assert put_in_order[-1] == "adapter_config.json" and len(put_in_order) == 4
    assert (bucket / "adapter" / "more" / "README.md").read_text() == "more/README.md"


def test_a_folder_that_breaks_off_leaves_nothing(bucket):
    with pytest.raises(RuntimeError), written_folder(bucket / "adapter", last="b") as folder:
        (folder / "a").write_text("1")
        raise RuntimeError
    assert keys(bucket) == []


def test_what_is_removed_takes_all_below_with_it_and_nothing_beside(bucket):
    for name in ("stage/a", "stage/b/c", "stage-2/a", "stages"):
        put(bucket / name, "1")
    remove(bucket / "stage")
    assert keys(bucket) == ["stage-2/a", "stages"]
    remove(bucket / "stages")
    remove(bucket / "never")
    assert keys(bucket) == ["stage-2/a"]


def test_all_but_one_file_is_removed(bucket, tmp_path):
    for folder in (bucket / "stage", tmp_path / "stage"):
        for name in ("begun.json", "a", "b/begun.json", "b/c/d"):
            put(folder / name, "1")
        put(folder.with_name("stage-2") / "a", "1")
        remove_all_but(folder, "begun.json")
        assert files_below(folder) == [folder / "begun.json"]
        remove_all_but(folder, "begun.json")
        assert files_below(folder.with_name("stage-2")) == [folder.with_name("stage-2") / "a"]


# Reading


def test_listings_are_those_of_a_folder(bucket, tmp_path):
    for name in ("part-00001.parquet", "part-00000.parquet", "labels.json", "refused/part-00000.parquet", ".hidden"):
        put(bucket / name, "1")
        put(tmp_path / name, "1")
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{bucket.name}/", Body=b"")  # as a browser's "new folder" makes
    for pattern in ("part-*.parquet", "*.json", "none*"):
        assert [p.name for p in files_in(bucket, pattern)] == [p.name for p in files_in(tmp_path, pattern)]
    below = [path.relative_to(bucket).as_posix() for path in files_below(bucket)]
    assert below == [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert files_below(bucket / "labels.json") == [bucket / "labels.json"]
    assert files_below(bucket / "nowhere") == files_in(bucket / "nowhere") == []


def test_a_whole_bucket_is_a_place_too(object_store):
    boto3.client("s3").create_bucket(Bucket="whole-bucket")
    whole = location("s3://whole-bucket")
    put(whole / "a.json", "1")
    with written_folder(whole / "b", last="c.json") as folder:
        (folder / "c.json").write_text("2")
    assert [str(path) for path in files_below(whole)] == ["s3://whole-bucket/a.json", "s3://whole-bucket/b/c.json"]
    assert [path.relative_to(whole).as_posix() for path in files_below(whole)] == ["a.json", "b/c.json"]
    assert [path.name for path in files_in(whole)] == ["a.json"]
    check_there(whole)
    for path in files_below(whole):
        remove(path)
    boto3.client("s3").delete_bucket(Bucket="whole-bucket")


def test_parquet_goes_through_one_door(bucket):
    table = pa.table({"id": ["a", "b", "c"], "n": [1, 2, 3]})
    with written(bucket / "t.parquet") as file:
        pq.write_table(table, file, row_group_size=2)
    path = bucket / "t.parquet"
    assert read_table(path, ["n"]) == table.select(["n"])
    assert parquet_file(path).metadata.num_row_groups == 2
    assert parquet_dataset([path, path], table.schema).to_table().num_rows == 6


def test_arrow_makes_no_bucket(bucket):
    filesystem = pickle.loads(pickle.dumps(arrow_filesystem(bucket)))
    filesystem.create_dir("another-bucket/runs")
    assert [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]] == [BUCKET]
    with filesystem.open_output_stream(arrow_path(bucket / "x")) as file:
        file.write(b"1")
    assert (bucket / "x").read_bytes() == b"1"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINT_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_is_fetched_once_and_anew_where_it_changed(bucket, cache, object_store):
    for name in ("config.json", "model.safetensors", "training/checkpoint"):
        put(bucket / name, name)
    first = local_copy(bucket)
    assert first.is_relative_to(cache) and sorted(p.name for p in first.iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    object_store.requests.clear()
    assert local_copy(bucket) == first
    assert not [path for method, path in object_store.requests if path.endswith("safetensors")]
    put(bucket / "config.json", "changed.json")
    second = local_copy(bucket)
    assert second != first and (second / "config.json").read_text() == "changed.json"
    assert local_copy(first) == first


def test_a_single_file_is_fetched_under_its_name(bucket, cache):
    put(bucket / "fold1" / "images.npy", "1")
    put(bucket / "fold2" / "images.npy", "2")
    copies = [local_copy(bucket / fold / "images.npy") for fold in ("fold1", "fold2")]
    assert [copy.read_text() for copy in copies] == ["1", "2"] and {copy.name for copy in copies} == {"images.npy"}


def test_a_model_in_a_store_is_fetched(bucket, cache):
    put(bucket / "model" / "config.json", "{}")
    with pytest.raises(ModelError, match=r"has a config\.json but no weights"):
        resolve_model(f"{bucket}/model")
    put(bucket / "model" / "model.safetensors", "1")
    folder = resolve_model(f"{bucket}/model/")
    assert folder.is_relative_to(cache) and (folder / "model.safetensors").read_text() == "1"
    with pytest.raises(StorageError, match="there is nothing by that name"):
        resolve_model(f"{bucket}/other")
    with pytest.raises(ModelError, match="ftp:// is none of"):
        resolve_model("ftp://bucket/model")


def test_what_an_engine_loads_is_found_by_each_node_for_itself(bucket, cache, tmp_path):
    for name in ("merged/config.json", "merged/model.safetensors", "adapter/adapter_config.json"):
        put(bucket / name, "{}")
    here = Weights(bucket / "merged", "d", adapter=bucket / "adapter").here()
    assert here.folder.is_relative_to(cache) and here.adapter.is_relative_to(cache)
    assert Weights(str(bucket / "merged"), "d").here().folder == here.folder
    assert Weights(tmp_path, "d").here() == Weights(tmp_path, "d")


# A store that refuses


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredToken", "the credentials have expired"),
        ("AccessDenied", "the store refuses access"),
        ("InvalidAccessKeyId", "the store does not know these credentials"),
    ],
    ids=["expired", "denied", "unknown"],  # a place has its test's name, which must not say it
)
def test_a_refusal_is_never_taken_for_an_empty_folder_or_a_missing_file(bucket, object_store, code, said):
    put(bucket / "x", "1")
    with object_store.refusing(code):
        for way in (lambda: files_in(bucket), lambda: files_below(bucket), lambda: read_table(bucket / "x")):
            with pytest.raises(StorageError, match=said) as refused:
                way()
            assert str(bucket) in str(refused.value) and "run the same command again" in str(refused.value)
    assert (bucket / "x").read_text() == "1"


def test_a_missing_bucket_is_said_to_be_missing_and_is_not_made(object_store):
    nowhere = location("s3://no-such-bucket/runs/demo")
    for way in (
        lambda: files_in(nowhere),
        lambda: files_below(nowhere),
        lambda: check_there(nowhere),
        lambda: local_copy(nowhere),
        lambda: create(nowhere / "00001.json", "1"),
        lambda: write_atomically(nowhere / "x", "1"),
        lambda: remove(nowhere),
        lambda: opened(nowhere / "x").__enter__(),
    ):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/runs/demo.*: there is no such bucket"):
            way()
    assert [each["Name"] for each in boto3.client("s3").list_buckets()["Buckets"]] == [BUCKET]


def test_what_is_not_there_is_named(bucket):
    put(bucket / "corpus" / "sub" / "x", "1")
    check_there(bucket / "corpus")
    with pytest.raises(StorageError, match=r"other: there is nothing by that name"):
        check_there(bucket / "other")
    with pytest.raises(StorageError, match=r"other: there is nothing by that name"):
        local_copy(bucket / "other")
    with pytest.raises(StorageError, match=r"corpus: holds no file of its own"):
        local_copy(bucket / "corpus")
    with pytest.raises(FileNotFoundError), opened(bucket / "corpus" / "x"):
        pass


def test_a_store_that_is_not_reached_and_credentials_that_are_not_there_are_told_apart(object_store, monkeypatch):
    import s3fs

    def said() -> str:
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(StorageError) as refused:
            files_in(place("anything"))
        return str(refused.value)

    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert "s3://bucket/anything: the store is not reached" in said()
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "s3://bucket/anything: no credentials are found" in said()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_request_that_is_refused_for_another_reason_is_no_matter_of_credentials(bucket, object_store):
    put(bucket / "x", "1")
    with object_store.refusing("InvalidRequest"):
        for way in (lambda: files_in(bucket), lambda: check_there(bucket / "x"), lambda: put(bucket / "y", "1")):
            with pytest.raises(StorageError, match="the store refuses the request") as refused:
                way()
            assert "expired" not in str(refused.value) and "permissions" not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [("ExpiredToken", "have expired"), ("InvalidAccessKeyId", "does not know these")],
    ids=["expired", "unknown"],
)
def test_an_answer_without_words_is_asked_for_in_words(bucket, object_store, code, said):
    """To a question for an object's head a store answers with a number alone."""
    put(bucket / "x", "1")
    with object_store.refusing(code), pytest.raises(StorageError, match=said), reaching(bucket / "x"):
        (bucket / "x").fs.call_s3("head_object", Bucket=BUCKET, Key=f"{bucket.name}/x")


@pytest.mark.parametrize(
    "text", ["s3fs", "botocore", "when calling the PutObject operation", "(400) Bad Request", "AccessDenied"]
)
def test_a_local_file_s_error_is_no_store_s_whatever_it_says(tmp_path, text):
    with pytest.raises(OSError, match="mine") as left, plain_errors(tmp_path / "s3fs"):
        raise OSError(f"mine: {tmp_path}/{text}: ExpiredToken")
    assert not isinstance(left.value, StorageError)


def test_what_arrow_reads_and_writes_in_a_store_is_refused_where_it_is_met(bucket, object_store):
    table = pa.table({"n": list(range(10))})
    with written(bucket / "t.parquet") as file:
        pq.write_table(table, file)
    filesystem, path = arrow_filesystem(bucket), arrow_path(bucket / "t.parquet")
    assert pq.read_table(path, filesystem=filesystem) == table
    file = filesystem.open_input_file(path)
    with object_store.refusing("ExpiredToken"), pytest.raises(StorageError, match="have expired"):
        file.read()
    with object_store.refusing("AccessDenied"):
        for way in (
            lambda: pq.read_table(path, filesystem=filesystem),
            lambda: pq.write_table(table, path + "2", filesystem=filesystem),
            lambda: filesystem.get_file_info(path),
            lambda: filesystem.delete_file(path),
        ):
            with pytest.raises(StorageError, match=f"{bucket}: the store refuses access"):
                way()
    assert filesystem.get_file_info(path + "-none").type.name == "NotFound"
    with pytest.raises(FileNotFoundError):
        filesystem.open_input_file(path + "-none")


def test_a_refusal_from_afar_is_told_by_its_type_or_by_our_own_words(bucket):
    from ray.exceptions import RayTaskError
    from ray.train.v2.api.exceptions import ControllerError

    mine = StorageError("s3://b/x: the credentials have expired")
    for error in (
        RayTaskError("f", "a traceback", mine),
        ControllerError(mine),
        RuntimeError("Traceback ...\nmint_ray.errors.StorageError: s3://b/x: the credentials have expired"),
    ):
        assert str(refused_somewhere(error, Path("/run"))) == str(mine)
    assert refused_somewhere(RuntimeError("s3fs: ExpiredToken (400)"), Path("/run")) is None


# What s3fs 2026.6 and universal-pathlib 0.3.10 do otherwise than one would think, and nothing here depends on


def test_what_is_created_empty_empties_nothing(bucket):
    """s3fs' mode `xb` empties an existing object where nothing is written; ours refuses."""
    put(bucket / "00001.json", "first")
    for text in ("", "second"):
        with pytest.raises(FileExistsError):
            create(bucket / "00001.json", text)
    assert (bucket / "00001.json").read_text() == "first"
    create(bucket / "empty", "")
    with pytest.raises(FileExistsError):
        create(bucket / "empty", "")


def test_nothing_is_renamed_in_a_store(bucket, monkeypatch):
    """A folder's rename there moves nothing, and says nothing."""

    def renamed(self, *arguments, **more):
        raise AssertionError("renamed")

    for name in ("rename", "replace"):
        monkeypatch.setattr(type(bucket), name, renamed)
    put(bucket / "x", "1")
    with written_folder(bucket / "folder", last="b") as folder:
        (folder / "b").write_text("2")
    run = demo_run(bucket / "run")
    run.carry_out("cases", lambda run: StageReport())
    run.clear_from("cases")
    assert keys(bucket) == ["folder/b", "run/config.yaml", "x"]


def test_errors_of_a_local_file_are_left_as_they_are(tmp_path):
    with pytest.raises(PermissionError, match="mine"), plain_errors(tmp_path):
        raise PermissionError("mine")


# The run directory


def demo_run(bucket: Path, *more: str) -> Run:
    return Run(load_config(DEMO, [f"run.dir={bucket}", *more]))


def test_a_stage_in_a_store_is_done_once_by_its_manifest(bucket, object_store):
    def work(run: Run) -> StageReport:
        put(run.stage("cases").path / "part-00000.parquet", "1")
        object_store.requests.clear()
        return StageReport(3, 2, {"no-terms": 1})

    assert demo_run(bucket).carry_out("cases", work)
    assert [path for method, path in object_store.requests if method == "PUT"] == [
        f"/{bucket.path}/cases/manifest.json"
    ]
    assert not demo_run(bucket).carry_out("cases", work)
    assert keys(bucket) == ["cases/begun.json", "cases/manifest.json", "cases/part-00000.parquet", "config.yaml"]


def test_a_stage_that_is_only_half_removed_is_not_complete(bucket, object_store):
    demo_run(bucket).carry_out("cases", lambda run: StageReport())
    removals = []

    def second_removal(method: str, path: str) -> str | None:
        removals.extend([path] if method == "POST" else [])
        return "AccessDenied" if method == "POST" and len(removals) > 1 else None

    object_store.refuse(second_removal)
    with pytest.raises(StorageError, match="the store refuses access"):
        demo_run(bucket).clear_from("cases")
    object_store.refuse(lambda method, path: None)
    assert keys(bucket) == ["cases/begun.json", "config.yaml"] and not demo_run(bucket).stage("cases").complete
    demo_run(bucket).clear_from("cases")
    assert keys(bucket) == ["config.yaml"]


def test_nothing_that_is_written_holds_a_secret(bucket):
    demo_run(bucket).carry_out("cases", lambda run: StageReport())
    for path in files_below(bucket):
        assert SECRET not in path.read_text() and "AKIAEXAMPLE" not in path.read_text()
    assert json.loads((bucket / "cases" / "manifest.json").read_text())["stage"] == "cases"


def test_credentials_that_expire_in_a_stage_are_said_to_have_and_the_stage_goes_on_after(bucket, object_store):
    def work(run: Run) -> StageReport:
        for number in range(4):
            path = run.stage("cases").path / f"part-{number}"
            if not path.exists():
                done.append(number)
                put(path, "1")
        return StageReport()

    done: list[int] = []
    object_store.refuse(lambda method, path: "ExpiredToken" if len(done) > 2 else None)
    with pytest.raises(
        StorageError, match=rf"{bucket}/cases.*: the credentials have expired.*run the same command again"
    ):
        demo_run(bucket).carry_out("cases", work)
    object_store.refuse(lambda method, path: None)
    assert not demo_run(bucket).stage("cases").complete
    demo_run(bucket).carry_out("cases", work)
    assert done == [0, 1, 2, 2, 3] and demo_run(bucket).stage("cases").complete


def test_the_store_s_clock_decides_how_long_ago_something_was(bucket, monkeypatch):
    put(bucket / "x", "1")
    right = time.time
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: right() + 3600)
        assert abs(storage.last_seen(bucket / "x")) < 60
    assert [path.name for path in files_below(bucket)] == ["x"]
