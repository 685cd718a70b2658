"""One vLLM engine in one Ray actor.

vLLM runs inside the actor, not in a process of its own: on a CPU it is up in 10 s instead of 25, and it ends
with its actor. Ray's own `ray.data.llm` wraps the same engine and takes 45 s, twice in a run.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mint_ray import progress
from mint_ray.adapters import MOST_RANK
from mint_ray.config import InferenceSection
from mint_ray.errors import ModelError
from mint_ray.inference.answering import AnswerEngine, Prompt, Said, Weights
from mint_ray.inference.forms import names_grammar
from mint_ray.precision import dtype_of
from mint_ray.records import Case

if TYPE_CHECKING:
    from vllm import RequestOutput


class VllmEngine(AnswerEngine):
    """vLLM: all prompts of a batch at once, batched anew at every token."""

    def load(self) -> None:
        from vllm import LLM

        from mint_ray.alignment.vision import vision_inputs

        # At its end an interpreter that has loaded Triton lists hundreds of its functions as leaked.
        atexit.register(os.dup2, os.open(os.devnull, os.O_WRONLY), 2)
        check_served(self.weights.folder)
        self.vision = vision_inputs(self.weights.folder)
        self.llm = LLM(
            **engine_arguments(self.section, self.weights),
            **({"limit_mm_per_prompt": {"image": 1}} if self.vision else {}),
        )
        self.tokenizer = self.llm.get_tokenizer()
        self.grammar: str | None = None

    def ask(self, cases: Sequence[Case], prompts: Sequence[Prompt]) -> list[Said]:
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter, section = self.weights.adapter, self.section
        settings = {"temperature": section.temperature, "max_tokens": section.max_tokens}
        outputs = self.llm.generate(
            [vllm_prompt(prompt) for prompt in prompts],
            [SamplingParams(**settings, seed=self.case_seed(case), structured_outputs=self._form()) for case in cases],
            lora_request=LoRARequest(self.name, 1, str(adapter)) if adapter else None,
            use_tqdm=Answered,
        )
        return [_said(output) for output in outputs]

    def _form(self) -> Any:
        """What keeps an answer to the names of the list, compiled by vLLM once for all answers; None where it is free."""
        if self.section.names == "free":
            return None
        from vllm.sampling_params import StructuredOutputsParams

        self.grammar = self.grammar or names_grammar(self.task, self.names.values())
        return StructuredOutputsParams(grammar=self.grammar)

    def likelihoods(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = self.weights.adapter
        outputs = self.llm.generate(
            [{"prompt_token_ids": [*prompt.tokens, *answer]} for answer in answers],
            SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0),
            lora_request=LoRARequest(self.name, 1, str(adapter)) if adapter else None,
            use_tqdm=False,
        )
        told = [output.prompt_logprobs[-len(answer) :] for output, answer in zip(outputs, answers, strict=True)]
        return [
            sum(at[token].logprob for at, token in zip(each, answer, strict=True))
            for each, answer in zip(told, answers, strict=True)
        ]


class Answered:
    """What vLLM moves on as answers are there, in place of a tqdm."""

    def __init__(self, prompts: Iterable[Any] = (), **_: Any):
        self.prompts, self.n, self.postfix, self.format_dict = prompts, 0, "", {"elapsed": 1.0}

    def __iter__(self) -> Iterator[Any]:  # of the prompts, as they are put in
        return iter(self.prompts)

    def update(self, count: int) -> None:
        self.n += count
        progress.advance(count)

    def refresh(self) -> None:
        pass

    def close(self) -> None:
        pass


def vllm_prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt as vLLM takes it; it puts in as many image tokens as the image needs."""
    from mint_ray.corpora.images import open_image

    images = {} if prompt.image is None else {"multi_modal_data": {"image": open_image(prompt.image)}}
    return {"prompt_token_ids": prompt.tokens, **images}


def _said(output: RequestOutput) -> Said:
    first = output.outputs[0]
    stopped = first.finish_reason != "length"
    return Said(first.text, stopped, len(output.prompt_token_ids), len(first.token_ids))


def check_served(folder: Path) -> None:
    """Refuse a model whose architecture vLLM does not have.

    Raises:
        ModelError: naming the way out.
    """
    from vllm import ModelRegistry

    names = json.loads((folder / "config.json").read_text()).get("architectures") or []
    known = set(ModelRegistry.get_supported_archs())
    if names and not known & set(names):
        raise ModelError(
            f"{folder}: vLLM does not serve {', '.join(names)}; set inference.engine to transformers, or take another model"
        )


def engine_arguments(section: InferenceSection, weights: Weights) -> dict[str, Any]:
    """vLLM's own settings for a section and its weights."""
    arguments: dict[str, Any] = {
        "model": str(weights.folder),
        "dtype": str(dtype_of(section.precision, section.use_gpu)).removeprefix("torch."),
        "max_model_len": section.max_model_len,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if section.use_gpu:
        arguments |= {"gpu_memory_utilization": section.memory_share, "tensor_parallel_size": section.tensor_parallel}
        if section.tensor_parallel > 1:
            arguments["distributed_executor_backend"] = "mp"
    else:
        arguments |= {"kv_cache_memory_bytes": int(section.cache_gib * 2**30), "enforce_eager": True}
    if weights.adapter:
        arguments |= {"enable_lora": True, "max_lora_rank": lora_rank_limit(weights.adapter_rank)}
    return arguments


def lora_rank_limit(rank: int) -> int:
    """The least of the rank limits that vLLM offers which holds `rank`; adapters above `MOST_RANK` are merged before."""
    return next(limit for limit in (1, 8, 16, 32, 64, 128, 256, 320, MOST_RANK) if rank <= limit)
