"""A model that sees, asked about images through vLLM and through transformers: one answers file, one answer."""

import pytest

from mint_ray.inference.predict import predict
from mint_ray.inference.store import answer_table, refusal_table
from mint_ray.models import resolve_model
from mint_ray.runs import Run
from mint_ray.synthetic.eyes import assemble
from mint_ray.tasks.tissue import Tissue
from tests.alignment.seeing import picture
from tests.tiny_run import tiny_case, tiny_config, write_cases

SETTINGS = {
    **{"models": ["base"], "precision": "fp32", "max_tokens": 6, "max_model_len": 400},
    **{"batch_size": 2, "cache_gib": 0.25},
}
COLOURS = [(220, 40, 40), (40, 40, 220), (240, 240, 240)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The packaged language model with eyes that have learned nothing."""
    folder = tmp_path_factory.mktemp("model")
    assemble(resolve_model("packaged:smollm2-135m-instruct"), folder, lessons=None)
    return folder


def answered(folder, model, engine: str) -> Run:
    """Three patches asked about, and a case without an image."""
    # Of the prompts without a list of names the untrained eyes make different answers.
    task = Tissue(kind="tissue", answer_size=2, candidates=())
    run = Run(tiny_config(folder, task=task, alignment={"model": str(model)}, inference={**SETTINGS, "engine": engine}))
    patches = [tiny_case(i, image=picture(colour, 128, seed=i)) for i, colour in enumerate(COLOURS)]
    write_cases(run, [*patches, tiny_case(3, image=None)])
    run.stage("answers").begin()
    report = predict(run)
    assert (report.rows_in, report.rows_out, report.refused) == (4, 3, {"no-image": 1})
    return run


def test_both_engines_say_the_same_of_what_they_see(model, tmp_path, local_ray):
    runs = [answered(tmp_path / engine, model, engine) for engine in ("vllm", "transformers")]
    served, generated = (answer_table(run, "base").to_pylist() for run in runs)
    assert [a["text"] for a in served] == [a["text"] for a in generated]
    for mine, theirs in zip(served, generated, strict=True):
        assert mine | {"model_digest": ""} == theirs | {"model_digest": ""}
    assert len({a["text"] for a in served}) > 1, "all images got one answer: they were not seen"
    assert [refusal_table(run, "base")["case_id"].to_pylist() for run in runs] == [["case-003"]] * 2
