"""Generation through transformers, on a tiny random model: what its folder says of dates and sampling decides nothing."""

import datetime
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import chat_template_utils

from mint_ray.alignment.collation import encode_pairs
from mint_ray.config import InferenceSection
from mint_ray.inference.answering import Weights, first_name
from mint_ray.inference.endpoint import EndpointEngine
from mint_ray.inference.forms import compiled, names_grammar
from mint_ray.inference.generation import TransformersEngine
from mint_ray.mending import TEMPLATE_KWARGS
from mint_ray.models import load_tokenizer, resolve_model
from mint_ray.records import Answer, Case, from_table, to_table
from mint_ray.tasks.base import Label
from tests.alignment.conftest import pair
from tests.tiny_run import LABELS, tiny_case, tiny_config

CASES = [tiny_case(0), tiny_case(1, sex="male", age_years=40.0, text="a note")]
DATED = (
    '{{ "<|im_start|>system\\nToday Date: " + strftime_now("%d %b %Y") + "<|im_end|>\\n" }}{% for m in messages %}'
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture
def model(tmp_path) -> Path:
    """Wide enough weights for a penalty on repetition to change the answer."""
    torch.manual_seed(0)
    sizes = dict(vocab_size=49152, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    config = LlamaConfig(**sizes, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True, initializer_range=0.2)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    packaged = resolve_model("packaged:smollm2-135m-instruct")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(packaged / name, tmp_path / "model")
    return tmp_path / "model"


def engine(model: Path, tmp_path: Path, kind=TransformersEngine, settings=None, **extra):
    address = "http://models.example/v1" if kind is EndpointEngine else None
    given = {"max_tokens": 24, **(settings or {})}
    section = InferenceSection(precision="fp32", cpus_per_engine=1, endpoint=address, **given)
    task, folders = tiny_config(tmp_path).task, (tmp_path / "answers", tmp_path / "refused")
    return kind("base", task, section, Weights(str(model), "d"), 0, *folders, **extra)


def said(model: Path, tmp_path: Path, cases=CASES) -> list[str]:
    asked = engine(model, tmp_path)
    return [each.text for each in asked.ask(cases, [asked.prompt(case) for case in cases])]


def test_a_folders_sampling_values_do_not_change_a_greedy_answer(model, tmp_path):
    plain = said(model, tmp_path)
    values = {
        "do_sample": True,
        "temperature": 5.0,
        "repetition_penalty": 1.8,
        "no_repeat_ngram_size": 2,
        "max_length": 9,
    }
    (model / "generation_config.json").write_text(json.dumps({**values, "bos_token_id": 1, "eos_token_id": 2}))
    assert said(model, tmp_path) == plain


def test_a_model_without_a_pad_token_answers_a_batch_as_it_answers_one(model, tmp_path):
    settings = json.loads((model / "tokenizer_config.json").read_text())
    padded = said(model, tmp_path)
    del settings["pad_token"]
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    assert said(model, tmp_path) == padded
    assert [said(model, tmp_path, [case])[0] for case in CASES] == padded


def test_training_and_asking_have_one_prompt_whatever_the_day(model, tmp_path, monkeypatch):
    (model / "chat_template.jinja").write_text(DATED)
    task = engine(model, tmp_path).task
    messages = [message.model_dump() for message in task.prompt(task.downstream_view(CASES[0]))]
    trained, _ = encode_pairs([pair(0) | {"prompt": messages}], load_tokenizer(resolve_model(str(model))), 1024)

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 2, 3)

    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    asked = engine(model, tmp_path).prompt(CASES[0])
    assert "Today Date: 26 Jul 2024" in asked.text
    assert asked.tokens == trained[0].prompt

    asker = engine(model, tmp_path, EndpointEngine, token=None)
    prompt = asker.prompt(CASES[0])
    assert prompt.tokens == asked.tokens
    assert asker.request(CASES[0], prompt)["chat_template_kwargs"] == TEMPLATE_KWARGS == {"date_string": "26 Jul 2024"}


class Shown:
    """Two candidates, whatever the case."""

    def add(self, view, case_id):
        told = [LABELS[1], LABELS[4]]
        return view.model_copy(update={"context": tuple(label.name for label in told)}), [label.id for label in told]


def test_a_candidates_likelihood_is_that_of_its_name_written_first(model, tmp_path):
    asked = engine(model, tmp_path, settings={"likelihoods": True}, labels=LABELS)
    asked.candidates = Shown()
    asked(to_table(CASES, Case))
    (part,) = (tmp_path / "answers").glob("*.parquet")
    kept = {answer.case_id: answer for answer in from_table(pq.read_table(part), Answer)}
    for case in CASES:
        prompt, answer = asked.prompt(case), kept[case.case_id]
        assert answer.retrieved == [LABELS[1].id, LABELS[4].id]
        for label, told in zip((LABELS[1], LABELS[4]), answer.log_probabilities, strict=True):
            written = first_name(asked.task, asked.tokenizer, label.name)
            whole = torch.tensor([prompt.tokens + written])
            each = asked.model(whole).logits[0, :-1].log_softmax(-1)[range(whole.shape[1] - 1), whole[0, 1:]]
            assert told == pytest.approx(each[-len(written) :].sum().item(), rel=1e-4)
            assert asked.tokenizer.decode(written).rstrip("\n") == f"POTENTIAL_DISEASES:\n1. '{label.name}'"


def test_answers_hold_names_of_the_list_alone_where_they_are_kept_to_it(model, tmp_path):
    odd = [*LABELS, Label(id="X", name='Müller "odd" syndrome\\1 (type 2a), 3\'-end')]
    asked = engine(model, tmp_path, settings={"names": "labels", "max_tokens": 120}, labels=odd)
    said = asked.ask(CASES, [asked.prompt(case) for case in CASES])
    free = engine(model, tmp_path, labels=odd)
    assert not free.task.parse(free.ask(CASES, [free.prompt(case) for case in CASES])[0].text)
    for each in said:
        assert each.stopped
        names = asked.task.parse(each.text)
        assert len(names) == 3 and set(names) <= {label.name for label in odd}


def test_a_form_lets_every_answer_of_the_list_through_and_no_other(model, tmp_path):
    import xgrammar

    asked = engine(model, tmp_path, labels=LABELS)
    names = ['Müller "odd" syndrome\\1', *(label.name for label in LABELS)]
    grammar = compiled(names_grammar(asked.task, names), asked.tokenizer, 49152)
    end = asked.tokenizer.eos_token

    def passes(text: str) -> bool:
        tokens = asked.tokenizer(text, add_special_tokens=False)["input_ids"]
        matcher = xgrammar.GrammarMatcher(grammar)
        return all(matcher.accept_token(token) for token in tokens) and matcher.is_terminated()

    assert passes(asked.task.answer([names[0], names[2], names[2]]) + end)
    assert not passes(asked.task.answer([names[0], names[2]]) + end)
    assert not passes(asked.task.answer([names[0], names[2], "Nobody's disease"]) + end)
