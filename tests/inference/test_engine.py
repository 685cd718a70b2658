import pytest

from mint_ray.config import InferenceSection
from mint_ray.errors import ModelError
from mint_ray.inference.engine import Weights, engine_arguments, finish, lora_rank_limit, text_view, too_long
from mint_ray.tasks.base import View
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_run import tiny_case


def test_a_prompt_is_refused_where_a_full_answer_would_not_fit():
    section = InferenceSection(max_tokens=100, max_model_len=300)
    assert too_long(tiny_case(1), [0] * 200, section) is None
    refusal = too_long(tiny_case(1), [0] * 201, section)
    assert (refusal.case_id, refusal.reason, refusal.seen) == ("case-001", "prompt-too-long", "201 tokens")
    assert refusal.expected.startswith("at most 200 ")


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [("1. 'A'", "stop", "stop"), ("1. 'A", "length", "length"), (" \n", "stop", "empty"), ("", "length", "empty")],
)
def test_cut_off_and_empty_answers_are_called_that(text, reason, said):
    assert finish(text, reason) == said


def test_an_adapter_is_loaded_as_such_on_a_gpu_alone(tmp_path):
    section = InferenceSection(use_gpu=True, tensor_parallel=2, memory_share=0.8)
    arguments = engine_arguments(section, Weights(tmp_path, "d", adapter=tmp_path / "adapter", adapter_rank=64))
    assert arguments["enable_lora"] and arguments["max_lora_rank"] == 64
    assert (arguments["tensor_parallel_size"], arguments["gpu_memory_utilization"]) == (2, 0.8)
    assert "enable_lora" not in engine_arguments(InferenceSection(), Weights(tmp_path, "d"))


def test_the_rank_limit_is_the_least_that_holds_the_adapter():
    assert [lora_rank_limit(rank) for rank in (1, 9, 64, 200)] == [1, 16, 64, 256]
    with pytest.raises(ModelError, match="rank 600"):
        lora_rank_limit(600)


def test_a_task_that_shows_images_is_refused_by_name():
    class Shown(RareDisease):
        def downstream_view(self, case):
            return View(image=case.image)

    with pytest.raises(ModelError, match="rare_disease shows the model an image"):
        text_view(Shown(kind="rare_disease"), tiny_case(1))
