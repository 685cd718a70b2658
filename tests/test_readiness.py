"""What a run will need is looked at before its first stage, all of it, and told by its setting."""

import importlib.util
import json
import subprocess
import sys

import pytest

from mint_ray.config import load_config, parse_config
from mint_ray.errors import ConfigError, CorpusError, MintError, ModelError
from mint_ray.line import LINE
from mint_ray.places import check_knowledge, check_places
from mint_ray.readiness import check_ready
from tests.alignment.conftest import packaged_model, tiny_model, tokenizer  # noqa: F401
from tests.conftest import REPOSITORY
from tests.test_config import demo

DEMO = REPOSITORY / "configs" / "demo.yaml"
LABELS = json.dumps([{"id": "A:1", "name": "one"}, {"id": "A:2", "name": "two"}])


@pytest.fixture
def model(tiny_model):  # noqa: F811
    return tiny_model


def config(model, **sections):
    data = demo() | {key: value for key, value in sections.items() if key in ("corpus", "scorer", "task")}
    alignment, inference = sections.get("alignment", {}), sections.get("inference", {})
    data["alignment"] |= {"model": str(model), **alignment}
    data["inference"] |= {"engine": "transformers", **inference}
    return parse_config(data)


def said(settings, stages=LINE) -> str:
    with pytest.raises(MintError) as caught:
        check_ready(settings, stages)
    return str(caught.value)


def table(tmp_path, **more):
    (tmp_path / "cases.jsonl").write_text("{}")
    return {"kind": "table", "path": str(tmp_path / "cases.jsonl"), **more}


def test_what_is_there_is_no_problem(model, tmp_path):
    check_ready(config(model), LINE)
    check_ready(config(model, corpus=table(tmp_path)), LINE)


def test_everything_that_is_missing_is_told_at_once_by_its_setting(model, tmp_path):
    settings = config(
        tmp_path / "no-model",
        corpus={"kind": "phenopackets", "path": str(tmp_path / "no-corpus")},
        scorer={"kind": "vilt", "folder": str(tmp_path / "no-scorer")},
        alignment={"start": str(tmp_path / "no-start")},
        inference={"retrieval": {"knowledge": str(tmp_path / "no-knowledge.json")}},
    )
    lines = said(settings).splitlines()
    for name in ("corpus.path", "scorer.folder", "alignment.start", "inference.retrieval.knowledge"):
        assert any(line.startswith(f"- {name} is {tmp_path}") and "there is nothing" in line for line in lines), name
    assert any("no-model: there is no such folder" in line for line in lines)
    assert len(lines) == 5


def test_only_what_the_coming_stages_read_is_looked_at(tmp_path):
    settings = config(tmp_path / "no-model", corpus={"kind": "phenopackets", "path": str(tmp_path / "no-corpus")})
    check_ready(settings, ["preferences", "evaluation"])
    assert "no-corpus" in said(settings, ["cases", "preferences"])
    assert "no-model" in said(settings, ["answers"])
    check_ready(
        config(tmp_path / "no-model", inference={"engine": "vllm", "endpoint": "http://127.0.0.1:1/v1"}), ["answers"]
    )


def test_one_missing_model_keeps_its_own_error(tmp_path):
    with pytest.raises(ModelError, match="there is no such folder"):
        check_ready(config(tmp_path / "no-model"), LINE)


def test_a_folder_that_is_no_scorer_and_a_start_that_is_no_adapter_are_told(model, tmp_path):
    assert "scorer.folder is" in said(config(model, scorer={"kind": "vilt", "folder": str(tmp_path)}), ["scorer"])
    assert "is no adapter" in said(config(model, alignment={"start": str(tmp_path)}), ["alignment"])


def test_an_alignment_that_could_not_be_trained_or_merged_is_told_beside_what_is_missing(model, tmp_path):
    missing = {"kind": "phenopackets", "path": str(tmp_path / "no-corpus")}
    lines = said(config(model, corpus=missing, alignment={"lora": {"target_modules": ["no_layer"]}})).splitlines()
    assert len(lines) == 2 and "no-corpus" in lines[0] and "alignment.lora does not go with" in lines[1]


def test_an_engine_that_is_not_installed_is_told(model, monkeypatch):
    installed = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "transformers" else installed(name))
    assert "inference.engine is 'transformers', which is not installed" in said(config(model), ["answers"])


def test_a_relative_path_is_said_to_be_looked_for_where_the_job_runs(model):
    settings = config(model, corpus={"kind": "phenopackets", "path": "no/such/corpus"})
    assert "corpus.path is no/such/corpus: there is nothing by that name (looked for in /" in said(settings, ["cases"])


def test_a_file_that_is_named_relative_to_its_corpus_is_found_there(model, tmp_path):
    (tmp_path / "index.csv").write_text("path,label,patient\n")
    corpus = {"kind": "image_folder", "path": str(tmp_path), "table": "index.csv"}
    task = {"kind": "tissue", "answer_size": 1}
    check_ready(config(model, corpus=corpus, task=task), ["cases"])
    assert "corpus.table is other.csv" in said(
        config(model, corpus=corpus | {"table": "other.csv"}, task=task), ["cases"]
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no label list"),
        (b"[]", "is an empty label list"),
        (b"{}", "holds a dict; expected a list of labels"),
        (b"[1]", "label 1: the whole"),
        (b'[{"id": "A:1"}]', "label 1: name: Field required"),
        (b'[{"id": "A:1", "name": "a"}, {"id": "A:1", "name": "b"}]', "label 2 is A:1, which is there before"),
        (b'[{"id": "A:1", "name": " "}]', "label 1 has no name"),
        (b'[{"id": "", "name": "a"}]', "label 1 has no id"),
        (b'[{"id": "A:1", "name": "a", "synonyms": "b"}]', "label 1: synonyms"),
        (b"\xff\xfe[\x00", "is no label list"),
        (b"id,name\nA:1,a\n", "is no label list"),
    ],
)
def test_a_label_list_that_is_none_is_told_before_the_first_stage(model, tmp_path, content, why):
    (tmp_path / "labels.json").write_bytes(content)
    settings = config(model, corpus=table(tmp_path, label_list=str(tmp_path / "labels.json")))
    with pytest.raises(CorpusError) as caught:
        check_ready(settings, ["cases"])
    assert f"{tmp_path / 'labels.json'}: " in str(caught.value) and why in str(caught.value)


def test_a_label_list_may_have_the_mark_of_its_encoding(model, tmp_path):
    (tmp_path / "labels.json").write_text(LABELS, encoding="utf-8-sig")
    settings = config(model, corpus=table(tmp_path, label_list=str(tmp_path / "labels.json")))
    check_ready(settings, ["cases"])
    assert [label.id for label in settings.corpus.labels()] == ["A:1", "A:2"]


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"0": 3}'])
def test_a_label_list_that_the_settings_alone_are_held_against_is_a_wrong_setting(tmp_path, content):
    (tmp_path / "disease_dict.json").write_text(content)
    corpus = f"{{kind: gmdb, folder: {tmp_path}, label_list: {tmp_path / 'disease_dict.json'}}}"
    with pytest.raises(ConfigError, match=r"corpus: .*is no label list"):
        load_config(DEMO, [f"corpus={corpus}"])


def test_places_and_knowledge_in_a_store_are_asked_for(bucket, tmp_path):
    from mint_ray.errors import StorageError
    from mint_ray.runs import write_atomically

    settings = load_config(DEMO, [f"corpus={{kind: phenopackets, path: {bucket}/corpus}}"])
    with pytest.raises(StorageError, match="there is nothing by that name in the bucket"):
        check_places(settings.corpus, "corpus")
    write_atomically(bucket / "corpus" / "a.json", "{}")
    check_places(settings.corpus, "corpus")
    section = settings.comparison.retrieval.model_copy(update={"knowledge": f"{bucket}/none.json"})
    with pytest.raises(StorageError, match=r"none\.json: there is nothing"):
        check_knowledge(section, "comparison.retrieval")


def test_a_job_says_so_before_ray_starts(tmp_path):
    settings = [
        f"run.dir={tmp_path / 'run'}",
        f"alignment.model={tmp_path / 'no-model'}",
        f"corpus={{kind: phenopackets, path: {tmp_path / 'none'}}}",
    ]
    command = [sys.executable, "jobs/run_line.py", "configs/demo.yaml"]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no-model: there is no such folder" in done.stderr and "corpus.path is" in done.stderr
    assert "ray" not in done.stderr.lower().replace("mint_ray", "").replace("rayon", "").replace(str(tmp_path), "")
