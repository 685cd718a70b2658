"""One real engine: the packaged model answers patients on a CPU, an adapter merged into it."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer

from mint_ray.inference.predict import predict, settled
from mint_ray.inference.store import answer_folder, answer_table, refusal_table
from mint_ray.models import load_model, model_digest, resolve_model
from mint_ray.runs import Run
from tests.tiny_run import finish_stage, tiny_case, tiny_config, write_answers, write_cases

MODEL = "packaged:smollm2-135m-instruct"
# In bfloat16 the first two tokens of some answers are equally likely, and which is taken is chance.
SETTINGS = {
    "models": ["aligned"],
    "precision": "fp32",
    "max_tokens": 16,
    "max_model_len": 300,
    "batch_size": 2,
    "cache_gib": 0.25,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Four patients, one with too long a note, one answered before; a training case; an adapter."""
    run = Run(tiny_config(tmp_path_factory.mktemp("predict") / "run", inference=SETTINGS))
    long = tiny_case(2, text="a long note " * 200)
    write_cases(run, [tiny_case(0), tiny_case(1), long, tiny_case(3), tiny_case(4, split="train")])
    write_answers(run, "aligned", {"case-003": "said before"}, [tiny_case(3)])
    save_adapter(run.stage("alignment").path / "adapter")
    finish_stage(run, "alignment")
    run.stage("answers").begin()
    return run


def save_adapter(folder) -> None:
    torch.manual_seed(0)
    model = get_peft_model(base_model(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    model.save_pretrained(folder)


def base_model():
    return load_model(resolve_model(MODEL), torch.float32)


def first_words(run: Run, model, case) -> str:
    """What a model of transformers says first, greedily: four tokens."""
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(MODEL))
    task = run.config.task
    messages = [message.model_dump() for message in task.prompt(task.downstream_view(case))]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
    said = model.generate(**prompt, do_sample=False, max_new_tokens=4)
    return tokenizer.decode(said[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)


def test_answers_are_written_once_and_asked_for_once(run, local_ray):
    report = predict(run)
    assert (report.rows_in, report.rows_out, report.refused) == (4, 3, {"prompt-too-long": 1})
    *answers, before = answer_table(run, "aligned").to_pylist()
    assert [answer["case_id"] for answer in answers] == ["case-000", "case-001"]
    assert (before["case_id"], before["text"]) == ("case-003", "said before")
    assert refusal_table(run, "aligned")["case_id"].to_pylist() == ["case-002"]
    adapter = run.stage("alignment").path / "adapter"
    for answer in answers:
        assert answer["text"].strip()
        assert answer["finish_reason"] == ("length" if answer["completion_tokens"] == 16 else "stop")
        assert answer["model_digest"] == model_digest(resolve_model(MODEL))
        assert answer["adapter_digest"] == model_digest(adapter)

    aligned, base = PeftModel.from_pretrained(base_model(), adapter), base_model()
    assert answers[0]["text"].startswith(first_words(run, aligned, tiny_case(0)))
    assert not answers[0]["text"].startswith(first_words(run, base, tiny_case(0)))

    written = {path: path.stat().st_mtime_ns for path in answer_folder(run, "aligned").iterdir()}
    again = predict(run)
    assert (again.rows_out, again.refused) == (3, {"prompt-too-long": 1})
    assert {path: path.stat().st_mtime_ns for path in answer_folder(run, "aligned").iterdir()} == written
    assert settled(run, "aligned") == {"case-000", "case-001", "case-002", "case-003"}
    assert not (run.stage("answers").path / "merged").exists()
