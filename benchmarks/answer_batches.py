"""Tokens a second of the packaged model's vLLM engine, by the number of cases answered at one time.

    python benchmarks/answer_batches.py [--cases 28 56 112] [--cache-gib 3]

Prompts are random tokens, as long as the demo's; all answers have the same length. Reading prompts and writing answers
are timed apart: a run with one token an answer is taken off a run with all of them. One process, one engine.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from mint_ray.config import InferenceSection
from mint_ray.inference.answering import Weights
from mint_ray.inference.engine import engine_arguments
from mint_ray.inference.predict import engine_environment
from mint_ray.models import resolve_model

PROMPT, ANSWER = 128, 64  # tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[28, 56, 112])
    parser.add_argument("--cache-gib", type=float, default=3.0)
    options = parser.parse_args()
    section = InferenceSection(cache_gib=options.cache_gib)
    os.environ.update(engine_environment(section))
    from vllm import LLM

    folder = resolve_model("packaged:smollm2-135m-instruct")
    llm = LLM(**engine_arguments(section, Weights(folder, "")), enable_prefix_caching=False)
    print("cases  prompt tokens/s  answer tokens/s")
    for cases in options.cases:
        reading = seconds(llm, cases, 1)
        writing = seconds(llm, cases, ANSWER) - reading
        print(f"{cases:5}  {cases * PROMPT / reading:15.0f}  {cases * (ANSWER - 1) / writing:15.0f}", flush=True)


def seconds(llm, cases: int, tokens: int) -> float:
    """How long all cases take, with so many tokens an answer."""
    from vllm import SamplingParams

    prompts = np.random.default_rng(0).integers(100, 40_000, (cases, PROMPT)).tolist()
    settings = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
    started = time.perf_counter()
    llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], settings, use_tqdm=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
