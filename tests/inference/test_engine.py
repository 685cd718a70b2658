import io

import pytest
from rich.console import Console

from mint_ray import progress
from mint_ray.config import InferenceSection
from mint_ray.errors import RowError
from mint_ray.inference.answering import Prompt, Said, Weights, check_length, finish
from mint_ray.inference.engine import Answered, engine_arguments, lora_rank_limit
from mint_ray.tasks.base import View


def test_a_prompt_is_refused_where_a_full_answer_would_not_fit():
    section = InferenceSection(max_tokens=100, max_model_len=300)
    check_length(Prompt(View(), "", [0] * 20, 200), section)
    with pytest.raises(RowError, match="prompt-too-long: prompt: saw 201 tokens; expected at most 200 "):
        check_length(Prompt(View(), "", [0] * 20, 201), section)


@pytest.mark.parametrize(
    ("text", "stopped", "said"),
    [("1. 'A'", True, "stop"), ("1. 'A", False, "length"), (" \n", True, "empty"), ("", False, "empty")],
)
def test_cut_off_and_empty_answers_are_called_that(text, stopped, said):
    assert finish(Said(text, stopped, 3, 3)) == said


def test_an_adapter_is_loaded_as_such_on_a_gpu_alone(tmp_path):
    section = InferenceSection(use_gpu=True, tensor_parallel=2, memory_share=0.8)
    arguments = engine_arguments(section, Weights(tmp_path, "d", adapter=tmp_path / "adapter", adapter_rank=64))
    assert arguments["enable_lora"] and arguments["max_lora_rank"] == 64
    assert (arguments["tensor_parallel_size"], arguments["gpu_memory_utilization"]) == (2, 0.8)
    assert "enable_lora" not in engine_arguments(InferenceSection(), Weights(tmp_path, "d"))


def test_the_rank_limit_is_the_least_that_holds_the_adapter():
    assert [lora_rank_limit(rank) for rank in (1, 9, 64, 200)] == [1, 16, 64, 256]


def test_cases_are_counted_as_vllm_finishes_them():
    console = Console(file=io.StringIO())
    with progress.shown_on(console, console) as shown, progress.stage("answers"):
        progress.begin("base", 112, "cases", done=12, note="loading the model")
        assert list(Answered(["a", "b"], desc="Adding requests")) == ["a", "b"] and shown.line.done == 12
        finished = Answered(total=100, desc="Processed prompts", dynamic_ncols=True, postfix="")
        for _ in range(2):
            finished.update(1)
        assert (finished.n, shown.line.done, shown.line.note) == (2, 14, "")
        assert finished.format_dict["elapsed"] > 0  # which vLLM divides by
        finished.refresh()
        finished.close()
