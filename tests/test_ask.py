"""Findings become the request that alignment's prompt makes of them, or a sentence that says why not."""

import json

import pytest
import yaml

from mint_ray.ask import main
from mint_ray.config import load_config
from mint_ray.records import Case, Phenotype
from tests.conftest import REPOSITORY


@pytest.fixture
def run(tmp_path):
    """A directory that knows its configuration; the language model sees no finding of the face."""
    two_names = ["task.answer_size=2", "preferences.chosen=2", "preferences.cut=2"]
    overrides = [f"run.dir={tmp_path}", "task.withhold_branches=[HP:0000271]", *two_names]
    config = load_config(REPOSITORY / "configs/demo.yaml", overrides)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return config


def test_a_request_has_the_very_prompt_of_alignment_and_leaves_out_what_the_task_withholds(run, capsys):
    words = ["--findings", "hypotonia; HP:0001382; Long face", "--excluded", "Seizure", "--sex", "male", "--age", "4"]
    main([str(run.run.dir), "--request", *words])
    said = capsys.readouterr()
    request = json.loads(said.out)
    findings = [("HP:0001252", "Hypotonia"), ("HP:0001382", "Joint hypermobility"), ("HP:0000276", "Long face")]
    terms = [Phenotype(id=id, name=name) for id, name in findings]
    terms.append(Phenotype(id="HP:0001250", name="Seizure", excluded=True))
    case = Case(case_id="a", group_id="a", sex="male", age_years=4, phenotypes=terms)
    (message,) = run.task.prompt(run.task.downstream_view(case))
    assert request["messages"] == [message.model_dump()]
    assert "Long face" not in request["messages"][0]["content"]
    assert "HP:0000276" in said.err
    assert (request["model"], request.get("max_tokens")) == ("aligned", run.inference.max_tokens)


def test_what_the_runs_task_does_not_read_is_refused_by_name(tmp_path, capsys):
    config = load_config(REPOSITORY / "configs/demo_tissue.yaml", [f"run.dir={tmp_path}"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--findings", "Hypotonia", "--sex", "male"])
    assert "the task tissue reads no phenotypes, sex: leave out what says it" in capsys.readouterr().err


def test_a_name_that_the_ontology_does_not_have_is_asked_as_it_is_and_said_to_be(run, capsys):
    main([str(run.run.dir), "--request", "--findings", "Blue knees"])
    said = capsys.readouterr()
    assert "Findings: Blue knees" in json.loads(said.out)["messages"][0]["content"]
    assert "'Blue knees' is no term" in said.err


def test_an_image_an_id_a_value_that_are_none_and_a_missing_run_are_refused_in_a_sentence(run, tmp_path, capsys):
    (tmp_path / "image.png").write_bytes(b"no image at all")
    for words, reason in [
        (["--image", str(tmp_path / "image.png")], "not-an-image"),
        (["--image", str(tmp_path / "none.png")], "cannot be read"),
        (["--age", "200"], "case: age_years: Input should be less than or equal to 150"),
        (["--age", "nan"], "case: age_years: "),
        (["--findings", "a" * 501], "phenotype: name: at most 500 characters"),
        (["--findings", "HP:9999999"], "is no id of the Human Phenotype Ontology"),
    ]:
        with pytest.raises(SystemExit) as end:
            main([str(run.run.dir), "--request", *words])
        assert end.value.code == 1
        assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nothing")])
    assert "is no run's directory" in capsys.readouterr().err


NOTE = "A 4-year-old boy with hypotonia and a long face, no seizures. His mother has myopia."


def test_a_note_is_told_from_findings_and_read(run, capsys):
    main([str(run.run.dir), NOTE, "--request"])
    (message,) = json.loads(capsys.readouterr().out)["messages"]
    content = message["content"]
    assert "Patient: male, 4 years\nFindings: Hypotonia\nExcluded: Seizure\nNote: A 4-year-old boy" in content
    assert "long face" not in content and "[withheld]" in content
    main([str(run.run.dir), "Hypotonia; HP:0001250", "--request"])
    (message,) = json.loads(capsys.readouterr().out)["messages"]
    assert "Findings: Hypotonia; Seizure" in message["content"] and "Note" not in message["content"]


def test_a_served_model_s_answer_is_told_to_people_and_to_machines(run, capsys, monkeypatch):
    """The client is real; what it speaks to answers as a service does."""
    import httpx

    from mint_ray import client
    from mint_ray.client import ModelClient
    from tests.tiny_run import LABELS

    answer = run.task.answer(["Kabuki syndrome 1", "Something else"])
    choice = {"message": {"content": answer}, "finish_reason": "stop"}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"choices": [choice]}))
    monkeypatch.setattr(client, "ModelClient", lambda *a, **k: ModelClient(*a, transport=transport, **k))
    monkeypatch.setattr("mint_ray.corpora.store.run_labels", lambda run: LABELS)
    words = [str(run.run.dir), NOTE, "--endpoint", "http://there/v1"]
    main(words)
    assert capsys.readouterr().out == " 1. Kabuki syndrome 1  (OMIM:1)\n 2. Something else\n"
    main([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in told["candidates"]] == ["OMIM:1", None] and told["withheld"] == ["HP:0000276"]
    assert {(m["name"], m["status"]) for m in told["mentions"]} >= {("Hypotonia", "observed"), ("Myopia", "family")}
    main([*words, "--explain"])
    said = capsys.readouterr().out
    assert "Myopia (HP:0000545): family, characters" in said and "Withheld from the model: HP:0000276" in said
    assert "A 4-year-old boy" not in said
