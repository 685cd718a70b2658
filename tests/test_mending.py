"""A model's folder is used as if no clock ran and nobody had set sampling values in it."""

import datetime
import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GenerationConfig
from transformers.utils import chat_template_utils

from mint_ray.errors import ModelError
from mint_ray.mending import TEMPLATE_DATE, TEMPLATE_KWARGS, mended, pinned, template_date
from mint_ray.models import model_digest, resolve_model

ASKED = [{"role": "user", "content": "Hi"}]
# As in Llama 3.2: the clock where there is one, else a date of its own.
LLAMA = """{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- "Today Date: " + date_string + "\\n" }}{% for m in messages %}{{ m.content }}{% endfor %}"""
# As in Mistral Small: a date in figures, and one that is reckoned from it; the format in a variable, inside a macro.
MISTRAL = """{%- set today = strftime_now("%Y-%m-%d") %}{%- set year = strftime_now("%Y")|int - 1 -%}
{%- macro day(format) %}{{ strftime_now(format) }}{% endmacro -%}
{{ today }} {{ year }} {{ day("%A %-d %B, %H:%M") }} {% for m in messages %}{{ m.content }}{% endfor %}"""
SYSTEM = '{{ "It is " + strftime_now("%d %B %Y") + "\\n" }}{% for m in messages %}{{ m.content }}{% endfor %}'


@pytest.fixture(scope="module")
def packaged() -> Path:
    return resolve_model("packaged:smollm2-135m-instruct")


@pytest.fixture
def folder(packaged, tmp_path) -> Path:
    """The packaged model's own files, its weights left out."""
    kept = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(packaged, tmp_path / "model", ignore=kept))


@pytest.fixture
def another_day(monkeypatch):
    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 2, 3, 4, 5)

    def pass_by():
        monkeypatch.setattr(chat_template_utils, "datetime", Later)

    return pass_by


def put(folder: Path, name: str, **settings) -> None:
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({k: v for k, v in (before | settings).items() if v is not ...}))


def rendered(folder: Path, **options) -> str:
    return AutoTokenizer.from_pretrained(folder).apply_chat_template(ASKED, tokenize=False, **options)


def test_a_folder_in_which_nothing_is_to_be_mended_is_used_where_it_lies(packaged, folder):
    assert mended(packaged) == packaged and mended(folder) == folder
    assert template_date(folder) is None


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (LLAMA, "Today Date: 26 Jul 2024\nHi"),
        (MISTRAL, "2024-07-26 2023 Friday 26 July, 00:00 Hi"),
        (SYSTEM, "It is 26 July 2024\nHi"),
    ],
)
def test_a_template_with_a_clock_writes_one_date_whatever_the_day(template, prompt, folder, another_day):
    (folder / "chat_template.jinja").write_text(template)
    used = mended(folder)
    assert rendered(used) == prompt
    another_day()
    assert rendered(folder) != prompt, "the day did not pass: nothing was tried"
    assert rendered(used) == prompt
    assert mended(folder) == used == mended(used)
    assert template_date(used) == TEMPLATE_DATE.isoformat()


@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.json", "several", "additional"])
def test_the_clock_stands_still_wherever_a_folder_keeps_its_template(place, folder):
    (folder / "chat_template.jinja").unlink()
    template = (
        [{"name": "default", "template": SYSTEM}, {"name": "rag", "template": LLAMA}] if place == "several" else SYSTEM
    )
    if place == "additional":
        (folder / "chat_template.jinja").write_text("plain")
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "rag.jinja").write_text(SYSTEM)
    else:
        put(folder, "tokenizer_config.json" if place == "several" else place, chat_template=template)
    used = mended(folder)
    assert used != folder and template_date(used) == "2024-07-26"
    if place == "additional":
        assert rendered(used, chat_template="rag") == "It is 26 July 2024\nHi"
    elif place == "several":
        assert rendered(used, chat_template="rag") == "Today Date: 26 Jul 2024\nHi"
    if place != "chat_template.json" and place != "additional":
        assert rendered(used) == "It is 26 July 2024\nHi"


def test_the_case_of_a_dated_template_that_was_reported(folder):
    (folder / "chat_template.jinja").write_text(
        '<|im_start|>system\nIt is {{ strftime_now("%d %B %Y") }}.<|im_end|>\n'
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    )
    assert rendered(mended(folder)).startswith(
        "<|im_start|>system\nIt is 26 July 2024.<|im_end|>\n<|im_start|>user\nHi"
    )


@pytest.mark.parametrize(
    "form",
    ["%A, %e %B %Y", "%c", "%x %X", "%T", "%H:%M", "%-I:%M %p", "%V/%G", "%j %u %U", "%d%%", "%%d", "%^a %_d", "%h"],
)
def test_a_date_in_any_form_is_that_date(form):
    template = chat_template_utils._compile_jinja_template(pinned('{{ strftime_now("' + form + '") }}'))
    assert template.render() == TEMPLATE_DATE.strftime(form)


def test_what_a_template_with_a_clock_writes_first_stays_as_it_is():
    compiled = chat_template_utils._compile_jinja_template
    for text in (
        '\n {{ strftime_now("%Y") }}\n',
        "  {% if strftime_now %}\nx{% endif %}",
        '{{- strftime_now("%d") -}} a',
    ):
        fixed = compiled(text).render(strftime_now=lambda form: TEMPLATE_DATE.strftime(form))
        assert compiled(pinned(text)).render() == fixed


def test_others_that_serve_such_a_model_are_asked_for_the_same_date(folder):
    (folder / "chat_template.jinja").write_text(LLAMA)
    assert rendered(folder, **TEMPLATE_KWARGS) == rendered(mended(folder))


def test_the_tokenizer_saved_beside_a_merged_model_writes_the_date_too(folder, tmp_path):
    (folder / "chat_template.jinja").write_text(LLAMA)
    saved = tmp_path / "merged"
    AutoTokenizer.from_pretrained(mended(folder)).save_pretrained(saved)
    assert mended(saved) == saved and rendered(saved) == rendered(mended(folder))


def test_equal_digests_mean_equal_prompts(folder):
    plain = model_digest(folder)
    (folder / "chat_template.jinja").write_text(LLAMA)
    dated = model_digest(mended(folder))
    assert dated not in (plain, model_digest(folder)) and dated == model_digest(mended(folder))


@pytest.mark.parametrize(
    ("reserved", "pad"), [("<|finetune_right_pad_id|>", "<|finetune_right_pad_id|>"), (None, None)]
)
def test_a_tokenizer_without_a_pad_token_gets_the_one_that_is_kept_for_it_else_the_end_token(reserved, pad, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if reserved:
        tokenizer.add_special_tokens({"additional_special_tokens": [reserved]})
        tokenizer.save_pretrained(folder)
        put(folder, "config.json", vocab_size=len(tokenizer))
    put(folder, "tokenizer_config.json", pad_token=...)
    used = AutoTokenizer.from_pretrained(mended(folder))
    assert used.pad_token == (pad or "<|endoftext|>")
    assert (used.eos_token, len(used)) == (tokenizer.eos_token, len(tokenizer))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("pad", ["[MYPAD]", {"content": "[MYPAD]", "lstrip": False, "rstrip": False}])
def test_a_pad_token_that_the_model_has_no_row_for_is_none(name, pad, folder):
    """As after adding a token to a tokenizer without making the model larger: it would end training in an index error."""
    put(folder, "tokenizer_config.json", pad_token=...)
    put(folder, name, pad_token=pad if isinstance(pad, str) else {"__type": "AddedToken", **pad})
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    assert AutoTokenizer.from_pretrained(folder).pad_token_id == rows, "the model has a row for it: nothing was tried"
    used = AutoTokenizer.from_pretrained(mended(folder))
    assert (used.pad_token, len(used)) == ("<|endoftext|>", rows)


def test_a_tokenizer_with_nothing_to_pad_with_pads_with_its_end_token(folder, monkeypatch):
    put(folder, "tokenizer_config.json", pad_token=...)
    monkeypatch.setattr("mint_ray.mending._PADS", ())
    assert AutoTokenizer.from_pretrained(mended(folder)).pad_token == "<|im_end|>"


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.9, "top_p": 0.6, "eos_token_id": 2},
        {"do_sample": True, "temperature": 0.6, "top_k": 20, "eos_token_id": [2, 0]},
        {"repetition_penalty": 1.1, "max_length": 4096, "eos_token_id": 2},
        {"stop_strings": ["1."], "eos_token_id": 2},
        {"no_repeat_ngram_size": 2, "num_beams": 4, "suppress_tokens": [5], "max_new_tokens": 7, "eos_token_id": 2},
    ],
)
def test_a_folders_sampling_values_decide_nothing_and_when_an_answer_ends_stays(settings, folder, tmp_path):
    (folder / "generation_config.json").write_text(json.dumps(settings))
    used = GenerationConfig.from_pretrained(mended(folder))
    used.save_pretrained(tmp_path)  # which refuses sampling values without do_sample
    assert used.eos_token_id == settings["eos_token_id"]
    plain = GenerationConfig(eos_token_id=settings["eos_token_id"])
    assert used.to_diff_dict() == plain.to_diff_dict()


def test_sampling_values_in_the_models_own_configuration_decide_nothing_either(folder):
    (folder / "generation_config.json").unlink()
    put(folder, "config.json", temperature=0.7, max_length=512, repetition_penalty=1.3, do_sample=True)
    config = json.loads((folder / "config.json").read_text())
    used = json.loads((mended(folder) / "config.json").read_text())
    assert set(config) - set(used) == {"temperature", "max_length", "repetition_penalty", "do_sample"}


def test_a_folder_that_changes_is_mended_anew(folder):
    (folder / "chat_template.jinja").write_text(LLAMA)
    before = mended(folder)
    (folder / "chat_template.jinja").write_text(SYSTEM)
    assert mended(folder) != before and rendered(mended(folder)) == "It is 26 July 2024\nHi"


def test_a_file_that_is_no_json_is_told_by_name(folder):
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"generation_config\.json: cannot be read as JSON"):
        mended(folder)
