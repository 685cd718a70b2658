"""The configuration refuses wrong settings in the user's words, and every shipped recipe is valid."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from mint_ray.config import Configuration, load_config, parse_config
from mint_ray.corpora.base import Corpus
from mint_ray.errors import ConfigError
from mint_ray.scorers.base import ScorerSection
from mint_ray.sections import kind_of, kinds, result_settings
from mint_ray.tasks.base import Task
from mint_ray.yaml_text import parse_yaml
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "configs" / "demo.yaml"
RECIPES = sorted((REPOSITORY / "configs").glob("*.yaml"))


def problems(*overrides: str, path: Path = DEMO) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, list(overrides))
    return str(caught.value)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_is_valid(recipe):
    assert load_config(recipe).run.dir.name


def test_an_override_reaches_its_setting():
    config = load_config(DEMO, ["alignment.learning_rate=1e-3", "run.dir=/data/x", "inference.models=[base]"])
    assert (config.alignment.learning_rate, str(config.run.dir), config.inference.models) == (1e-3, "/data/x", ["base"])


def test_an_unknown_kind_is_refused_with_the_kinds_on_offer():
    message = problems("corpus={kind: phenopacket}")
    assert message.startswith("- corpus:") and "phenopackets" in message and "simulated_patients" in message


def test_an_unknown_key_of_a_kind_names_the_near_one():
    assert "task.answer_sise: is no setting; did you mean answer_size?" in problems("task.answer_sise=5")


def test_a_k_above_the_number_of_labels_is_refused():
    message = problems("preferences.chosen=5000", "task.answer_size=5000")
    assert "preferences.chosen is 5000, but the corpus has" in message


def test_overlap_of_chosen_and_rejected_is_refused():
    assert "overlap" in problems("preferences.rejected=5000")


def test_chosen_and_asked_answers_of_different_length_are_refused():
    assert "preferences.chosen is 3 and task.answer_size is 1" in problems("preferences.chosen=3")


def test_splits_that_do_not_add_up_are_refused():
    assert "must add up to 1" in problems("splits={train: 0.5, validation: 0.1, test: 0.1}")


def test_a_missing_file_is_said_to_be_missing_with_the_nearest_names(tmp_path):
    assert "there is no such file; name a YAML file" in problems(path=tmp_path / "none.yaml")
    said = problems(path=REPOSITORY / "configs" / "demo_tisue.yaml")
    assert f"there is no such file; in {REPOSITORY / 'configs'} there is demo_tissue.yaml, demo.yaml" in said
    assert "there is demo.yaml" in problems(path=REPOSITORY / "configs" / "demo.yml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; see the recipe `demo`"),
        (b"# nothing\n", "is empty"),
        (b"- run\n", "holds a list where sections are expected"),
        ("run: {dir: \xfcber}".encode("latin-1"), "is no text in UTF-8, from byte 11 on: save it as UTF-8"),
        (b"run: {dir: a\x00b}", "holds a character that no text has (code 0)"),
        (
            b"run: {dir: a}\nrun: {dir: b}\n",
            "line 2: two fields of one name: 'run' is there twice, first in line 1: keep one",
        ),
        (
            b"run:\n  seed: 1\n  dir: a\n  seed: 2\n",
            "line 4: two fields of one name: 'seed' is there twice, first in line 2: keep one",
        ),
        (b"a: &a [*a]", "line 1: a value that holds itself"),
        (b"run: !!python/object/apply:os.system [true]", "line 1: a tag (tag:yaml.org,2002:python/object/apply:os)"),
        (b"run: !x {dir: a}", "line 1: a tag (!x), which settings do not have"),
        (b"{[run]: 1}", "is no YAML, line 1: found unhashable key"),
        (b"run: 1\n---\nrun: 2\n", "is no YAML, line 2: but found another document"),
        (b"[" * 5000, "line 1: more than 50 levels"),
        (b"a: [" + b"x," * 30_000 + b"]", "more than 20,000 values"),
        (b"# " + b"x" * 600_000, "has more than 512 KiB"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_that_is_no_configuration_is_said_to_be_what_it_is(tmp_path, content, said):
    (tmp_path / "c.yaml").write_bytes(content)
    assert said in problems(path=tmp_path / "c.yaml")


def test_aliases_that_stand_for_billions_of_values_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    assert "line 5: more than 20,000 values" in problems(path=tmp_path / "c.yaml")


def test_a_folder_is_no_configuration(tmp_path):
    assert "is a folder, not a YAML file" in problems(path=tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_may_be_of_any_unicode_encoding_with_its_mark(tmp_path, encoding):
    (tmp_path / "c.yaml").write_text(DEMO.read_text().replace("runs/demo", "runs/d\xe9mo"), encoding=encoding)
    assert load_config(tmp_path / "c.yaml").run.dir == Path("runs/d\xe9mo")


def test_an_alias_and_a_merge_are_read_as_yaml_has_them():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}


def test_a_date_is_a_text_and_two_escapes_of_one_character_are_one():
    assert parse_yaml('[2026-01-31, 2026-99-99, "\\ud83d\\ude00"]') == ["2026-01-31", "2026-99-99", "\U0001f600"]


def test_a_file_that_is_no_yaml_names_the_line(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("run:\n  dir: [unclosed\n")
    assert "is no YAML, line 3" in problems(path=broken)


def test_hardware_settings_do_not_belong_to_a_result():
    settings = result_settings(load_config(DEMO).alignment)
    assert "use_gpu" not in settings and settings["lora"]["rank"] >= 1


def test_a_corpus_of_genes_needs_a_task_that_asks_for_genes():
    genes = REPOSITORY / "configs" / "genes_phenopackets_smollm2_cpu.yaml"
    assert load_config(genes).corpus.label == "gene"
    assert "gives a gene as label and task.kind rare_disease asks for a disease" in problems(
        "task.kind=rare_disease", path=genes
    )


# Overrides


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("alignment.lora={", "--set alignment.lora: is no YAML, line 1"),
        ("alignment.lora=!x 1", "--set alignment.lora: line 1: a tag (!x)"),
        ("run.seed=" + "9" * 5000, "--set run.seed: line 1: a value that cannot be read as int"),
        ("run.seed=99999999999999999999", "--set run.seed: line 1: an integer of more than 64 bits"),
        ("run.seed=2026-99-99", "run.seed: is '2026-99-99'; input should be a valid integer"),
        ("alignment", "--set alignment: expected key=value"),
        ("=1", "--set =1: expected key=value"),
        ("run..seed=1", "--set run..seed=1: expected key=value"),
        ("run.sed=1", "run.sed: is no setting; did you mean seed?"),
        ("alignmnt.model=x", "alignmnt: is no setting; did you mean alignment?"),
        ("run.seed.x=1", "--set run.seed.x: seed is a value, not a section"),
        ("corpus.noize=1", "corpus.noize: is no setting; did you mean noise?"),
        ("scorer.epoch=3", "scorer.epoch: is no setting; did you mean epochs?"),
        ("scorer.size.layer=3", "scorer.size.layer: is no setting; did you mean layers?"),
        ("inference.retrieval={metod: x}", "inference.retrieval.metod: is no setting; did you mean method?"),
        ("cluster.autoscaling=[{nods: 1}]", "cluster.autoscaling.0.nods: is no setting; did you mean nodes?"),
        ("alignment.lora=3", "alignment.lora: is 3; expected a section of settings (key: value)"),
        ("inference=", "inference: is null; expected a section of settings (key: value)"),
        ("task.kind=rare_diseases", "kind is 'rare_diseases'; did you mean rare_disease?"),
        ("task.kind=[a]", "kind is ['a']; expected one of"),
        ("scorer.kind=" + "x" * 3000, "expected one of clip, phenotype, vilt"),
        ("corpus=[1]", "expected a section whose kind is one of"),
    ],
    ids=lambda text: text[:30],
)
def test_an_override_that_is_none_is_said_to_be(override, said):
    assert said in problems(override)


def test_an_override_that_undoes_another_is_refused():
    assert "--set run.seed: undoes --set run.seed before it; keep one" in problems("run.seed=1", "run.seed=2")
    assert "--set run: undoes --set run.seed before it" in problems("run.seed=1", "run={dir: x}")
    config = load_config(DEMO, ["splits={train: 0.5, test: 0.3}", "splits.validation=0.2"])
    assert (config.splits.train, config.splits.validation) == (0.5, 0.2)


def test_more_samples_than_there_are_answers_and_samples_that_are_all_the_same_are_refused():
    few = ("task.answer_size=1", "preferences.chosen=1", "preferences.cut=1", "corpus.diseases=4")
    few = (*few, "preferences.rejected=3", "alignment.rounds.samples=5")
    assert "alignment.rounds.samples is 5, and 4 labels allow 4 different answers of 1 names" in problems(*few)
    load_config(DEMO, [*few[:-1], "alignment.rounds.samples=4"])
    assert "samples is 3 and temperature 0, at which all of them are the same" in problems("inference.samples=3")


def test_likelihoods_of_no_candidates_and_names_that_a_service_would_not_keep_to_are_refused():
    assert "inference.likelihoods is set and there are no candidates" in problems("inference.likelihoods=true")
    served = ("inference.endpoint=http://a/v1", "inference.names=labels")
    assert "endpoint is set, and a service neither keeps to names nor tells likelihoods" in problems(*served)
    load_config(DEMO, ["inference.names=labels"])


def test_a_list_of_one_name_has_no_order_to_learn():
    one = ("task.answer_size=1", "preferences.chosen=1", "alignment.method=listwise")
    assert "a list of one name has no order to learn: raise preferences.chosen" in problems(*one)


def test_settings_of_an_adapter_that_is_switched_off_are_refused(tmp_path):
    said = "--set alignment.lora.rank: alignment.lora is null, which switches it off: leave out one of the two"
    assert said in problems("alignment.lora=null", "alignment.lora.rank=8")
    assert "--set alignment.lora: undoes --set alignment.lora.rank before it" in problems(
        "alignment.lora.rank=8", "alignment.lora=null"
    )
    assert load_config(DEMO, ["alignment.lora=null"]).alignment.lora is None


def test_an_override_reaches_a_section_that_the_file_leaves_empty(tmp_path):
    (tmp_path / "c.yaml").write_text(DEMO.read_text() + "comparison:\n")
    assert load_config(tmp_path / "c.yaml", ["comparison.dpo_beta=0.3"]).comparison.dpo_beta == 0.3


def test_an_override_changes_one_of_two_sections_that_share_an_alias(tmp_path):
    shared = "comparison: {retrieval: &r {passages: 3}}\n"
    recipe = DEMO.read_text().replace("inference:", "inference:\n  retrieval: *r", 1)
    (tmp_path / "c.yaml").write_text(shared + recipe)
    config = load_config(tmp_path / "c.yaml", ["inference.retrieval.passages=5"])
    assert (config.inference.retrieval.passages, config.comparison.retrieval.passages) == (5, 3)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**32, 2**63 - 1, ".inf", "1.5", "null"])
def test_a_seed_that_numpy_or_torch_would_refuse_is_refused(seed):
    assert "run.seed: is" in problems(f"run.seed={seed}")


def test_an_integer_that_no_machine_counts_to_is_refused_also_as_a_text():
    assert "alignment.lora.rank: is '9999" in problems(f"alignment.lora.rank='{'9' * 30}'")


def test_a_number_that_is_not_finite_is_refused_wherever_it_stands():
    for key in (
        "alignment.learning_rate",
        "alignment.epochs",
        "preferences.min_margin",
        "corpus.noise",
        "scorer.shift",
    ):
        for value in (".inf", "-.inf", ".nan", "inf", "1e999"):
            assert f"{key}: is" in problems(f"{key}={value}")
    assert "comparison.learning_rates.1: is inf; input should be a finite number" in problems(
        "comparison.learning_rates=[1e-4, .inf]"
    )


@pytest.mark.parametrize("folder", ["", " ", ".", "./", "/", "//", "/tmp/..", "{home}", "runs/..", "~", "~/runs"])
def test_a_run_directory_that_is_not_its_own_is_refused(folder):
    folder = folder.format(home=Path.home())
    assert "run.dir:" in problems(f"run.dir={folder!r}")


@pytest.mark.parametrize("folder", ["a\0b", "a/" + "b" * 256, "\ud800"])
def test_a_path_that_no_file_system_takes_is_refused(folder):
    for section in ({"run": {"dir": folder}}, {"corpus": {"kind": "phenopackets", "path": folder}}):
        with pytest.raises(ConfigError, match=r"is no path|input should be"):
            parse_config(demo() | section)


def test_credentials_in_a_list_are_not_repeated_either():
    said = problems(
        "run.dir=[s3://AKIA:a/secret@bucket/x]", "alignment.model={x: 's3://AKIA:a/secret@bucket/x?secret'}"
    )
    assert "secret" not in said and "AKIA" not in said and "run.dir:" in said


# Whatever stands at whatever key


def demo() -> dict[str, Any]:
    return yaml.safe_load(DEMO.read_text())


def keys(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a section and below."""
    for name, field in section.model_fields.items():
        yield (*path, name)
        below = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for each in below:
            if isinstance(each, type) and issubclass(each, BaseModel):
                yield from keys(each, (*path, name))


def every_key() -> list[tuple[str | None, tuple[str, ...]]]:
    """The kind, where a section has several, and the key."""
    found = [(None, key) for key in keys(Configuration)]
    for section, base in (("task", Task), ("corpus", Corpus), ("scorer", ScorerSection)):
        found += [(kind, (section, *key)) for kind in kinds(base) for key in keys(kind_of(base, kind))]
    return sorted(set(found), key=str)


NASTY = [
    *(2**31, 2**32, 2**63 - 1, -(2**63), 0, -1, 1e308, 5e-324, -0.0, math.inf, -math.inf, math.nan),
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "~",
        "\0",
        "\ud800",
        "nan",
        "1e999",
        "9" * 5000,
        "x" * 5000,
        "s3://",
        "s3://b/\0",
        "ftp://x",
    ),
    *(
        "http://[",
        "packaged:",
        "(",
        "(?P<x",
        "{}",
        "{0}",
        "{a}",
        "%s",
        "\u202e",
        "base",
        "__init__",
        "../../etc/passwd",
    ),
    *([], {}, [[]], {"": None}, {1: 2}, {None: 1}, {"kind": None}, {"kind": ["vilt"]}, [None, 1, "x"], b"bytes"),
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.dates(), st.sampled_from(NASTY)
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.lists(below, max_size=4), st.dictionaries(st.one_of(st.text(max_size=8), st.integers()), below, max_size=4)
    ),
    max_leaves=8,
)
QUICK = settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def configuration_or_clear_error(check) -> Configuration | None:
    """What a configuration comes to; an error has short lines that name a key, and nothing else comes."""
    try:
        config = check()
    except ConfigError as error:
        assert error.problems and all(0 < len(problem) < 2000 and ":" in problem for problem in error.problems)
        str(error).encode("utf-8", "backslashreplace")
        return None
    assert finite(config.model_dump(mode="json")) and 0 <= config.run.seed < 2**31
    assert str(config.run.dir).strip() not in ("", ".", "/")
    assert parse_config(parse_yaml(config.as_yaml())) == config
    return config


@QUICK
@given(place=st.sampled_from(every_key()), value=VALUES)
@example(place=(None, ("run", "dir")), value="")
@example(place=(None, ("run", "seed")), value=math.inf)
def test_any_value_at_any_key_ends_in_a_configuration_or_in_a_clear_error(place, value):
    kind, key = place
    data = copy.deepcopy(demo())
    if kind and data[key[0]].get("kind") != kind:
        data[key[0]] = {"kind": kind}
    section = data
    for name in key[:-1]:
        section = section.setdefault(name, {})
    section[key[-1]] = value
    configuration_or_clear_error(lambda: parse_config(data))


YAML_BITS = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            ": ",
            ",",
            "&a",
            "*a",
            "!x ",
            "!!int ",
            "!!binary ",
            "|\n",
            "- ",
            "'",
            '"',
            "\\ud800",
            "#",
        ),
        *(
            "<<",
            "2026-99-99",
            "0x",
            "1e999",
            ".nan",
            "\n",
            "  ",
            "\t",
            "%YAML 9",
            "---",
            "...",
            "? ",
            "~",
            "\0",
            "=",
            "@",
        ),
    ]
)


@QUICK
@given(
    key=st.sampled_from([".".join(key) for _, key in every_key()]),
    text=st.lists(st.one_of(YAML_BITS, st.text(max_size=5)), max_size=12).map("".join),
)
@example(key="alignment.lora", text="{")
def test_any_text_of_an_override_ends_in_a_configuration_or_in_a_clear_error(key, text):
    configuration_or_clear_error(lambda: load_config(DEMO, [f"{key}={text}"]))


@QUICK
@given(
    at=st.integers(0, 4000),
    cut=st.integers(0, 200),
    bits=st.lists(st.one_of(YAML_BITS, st.text(max_size=4)), max_size=6),
)
def test_any_damage_to_a_file_ends_in_a_configuration_or_in_a_clear_error(at, cut, bits, tmp_path_factory):
    content = DEMO.read_bytes()
    damaged = tmp_path_factory.getbasetemp() / "damaged.yaml"
    put_in = "".join(bits).encode("utf-8", "surrogatepass")
    damaged.write_bytes(content[:at] + put_in + content[at + cut :])
    configuration_or_clear_error(lambda: load_config(damaged))
