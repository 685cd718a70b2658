"""One vLLM engine in one Ray actor: cases in, answers on disk.

vLLM runs inside the actor, not in a process of its own: on a CPU it is up in 10 s instead of 25, and it ends
with its actor. Ray's own `ray.data.llm` wraps the same engine and takes 45 s, twice in a run.
"""

from __future__ import annotations

import atexit
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mint_ray.config import InferenceSection
from mint_ray.errors import ModelError
from mint_ray.preferences.store import write_part
from mint_ray.records import Answer, Case, Refusal, from_table, to_table
from mint_ray.runs import digest_of
from mint_ray.tasks.base import Task

if TYPE_CHECKING:
    from vllm import RequestOutput


@dataclass(frozen=True)
class Weights:
    """What an engine loads: a model, and an adapter where it is not merged into the model already."""

    folder: Path
    digest: str
    adapter: Path | None = None
    adapter_rank: int = 0
    adapter_digest: str | None = None


class Engine:
    """A Ray Data actor that answers cases and writes each batch as one part, so that no answer is asked for twice.

    The part's name comes from its cases: an actor that dies after writing and is started again writes the same file.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        section: InferenceSection,
        weights: Weights,
        seed: int,
        answers: Path,
        refused: Path,
    ):
        from vllm import LLM

        self.name, self.task, self.section, self.weights, self.seed = name, task, section, weights, seed
        self.answers, self.refused = answers, refused
        # At its end an interpreter that has loaded Triton lists hundreds of its functions as leaked.
        atexit.register(os.dup2, os.open(os.devnull, os.O_WRONLY), 2)
        self.llm = LLM(**engine_arguments(section, weights))
        self.tokenizer = self.llm.get_tokenizer()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer a batch of cases; returns one row that counts them: `answered`, `refused`."""
        cases = list(from_table(batch, Case))
        prompts = [self._tokens(case) for case in cases]
        refusals = [
            refusal
            for case, prompt in zip(cases, prompts, strict=True)
            if (refusal := too_long(case, prompt, self.section))
        ]
        refused = {refusal.case_id for refusal in refusals}
        asked = [(case, prompt) for case, prompt in zip(cases, prompts, strict=True) if case.case_id not in refused]
        answers = self._ask(*zip(*asked, strict=True)) if asked else []
        part = f"part-{digest_of(sorted(case.case_id for case in cases))}.parquet"
        if refusals:
            write_part(to_table(refusals, Refusal), self.refused / part)
        if answers:
            write_part(to_table(answers, Answer), self.answers / part)
        return pa.table({"answered": [len(answers)], "refused": [len(refusals)]})

    def _tokens(self, case: Case) -> list[int]:
        messages = [message.model_dump() for message in self.task.prompt(text_view(self.task, case))]
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)

    def _ask(self, cases: Sequence[Case], prompts: Sequence[list[int]]) -> list[Answer]:
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = self.weights.adapter
        outputs = self.llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            [
                SamplingParams(
                    temperature=self.section.temperature,
                    max_tokens=self.section.max_tokens,
                    # A case's own seed: what it is answered does not hang on which cases share its batch.
                    seed=zlib.crc32(f"{self.seed}:{case.case_id}".encode()),
                )
                for case in cases
            ],
            lora_request=LoRARequest(self.name, 1, str(adapter)) if adapter else None,
            use_tqdm=False,
        )
        return [self._answer(case, output) for case, output in zip(cases, outputs, strict=True)]

    def _answer(self, case: Case, output: RequestOutput) -> Answer:
        said = output.outputs[0]
        return Answer(
            case_id=case.case_id,
            group_id=case.group_id,
            label_id=case.label_id,
            model=self.name,
            model_digest=self.weights.digest,
            adapter_digest=self.weights.adapter_digest,
            text=said.text,
            finish_reason=finish(said.text, said.finish_reason),
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=len(said.token_ids),
        )


def engine_arguments(section: InferenceSection, weights: Weights) -> dict[str, Any]:
    """vLLM's own settings for a section and its weights."""
    arguments: dict[str, Any] = {
        "model": str(weights.folder),
        "dtype": section.precision,
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
    """The least of the rank limits that vLLM offers which holds `rank`.

    Raises:
        ModelError: vLLM runs no adapter of this rank.
    """
    for limit in (1, 8, 16, 32, 64, 128, 256, 320, 512):
        if rank <= limit:
            return limit
    raise ModelError(
        f"the adapter has rank {rank}; vLLM runs adapters up to 512: align with a lower alignment.lora.rank"
    )


def text_view(task: Task, case: Case) -> Any:
    """What the model sees of a case.

    Raises:
        ModelError: the task shows an image, which this engine does not pass on.
    """
    view = task.downstream_view(case)
    if view.image is not None:
        raise ModelError(
            f"task.kind {task.kind} shows the model an image; answers are asked for from text alone so far"
        )
    return view


def too_long(case: Case, prompt: Sequence[int], section: InferenceSection) -> Refusal | None:
    """The refusal of a prompt after which a full answer would not fit, else None."""
    room = section.max_model_len - section.max_tokens
    if len(prompt) <= room:
        return None
    return Refusal(
        source=case.source,
        case_id=case.case_id,
        reason="prompt-too-long",
        field="prompt",
        seen=f"{len(prompt)} tokens",
        expected=f"at most {room} (inference.max_model_len - inference.max_tokens)",
    )


def finish(text: str, reason: str | None) -> str:
    """`empty` where nothing was said, `length` where the answer was cut off, else `stop`."""
    if not text.strip():
        return "empty"
    return "length" if reason == "length" else "stop"
