"""Generation through transformers in one Ray actor, for models that vLLM does not serve (Llama 3.2 Vision).

Slower than vLLM, with the same answers file: a batch ends when its longest answer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mint_ray import progress
from mint_ray.inference.answering import AnswerEngine, Prompt, Said
from mint_ray.inference.forms import compiled, names_grammar
from mint_ray.records import Case
from mint_ray.runs import digest_of

if TYPE_CHECKING:
    import torch


class TransformersEngine(AnswerEngine):
    """`generate` on a padded batch."""

    def load(self) -> None:
        import torch

        from mint_ray.adapters import with_adapter
        from mint_ray.alignment.vision import vision_inputs
        from mint_ray.models import load_model, load_tokenizer
        from mint_ray.precision import dtype_of

        self.device = "cuda" if self.section.use_gpu else "cpu"
        if not self.section.use_gpu:
            torch.set_num_threads(self.section.cpus_per_engine)
        model = load_model(self.weights.folder, dtype_of(self.section.precision, self.section.use_gpu))
        if self.weights.adapter:
            model = with_adapter(model, self.weights.adapter)
        self.model = model.eval().to(self.device)
        self.vision = vision_inputs(self.weights.folder)
        self.tokenizer = self.vision.tokenizer if self.vision else load_tokenizer(self.weights.folder)
        self.grammar: Any = None

    def ask(self, cases: Sequence[Case], prompts: Sequence[Prompt]) -> list[Said]:
        import torch

        inputs = self._inputs(prompts)
        if self.section.temperature:  # a batch has one stream of chance, its cases' own
            torch.manual_seed(int(digest_of([self.case_seed(case) for case in cases]), 16) % 2**63)
        with torch.inference_mode():
            generated = self.model.generate(
                **inputs, **self._sampling(), stopping_criteria=[self._tell], logits_processor=self._kept_to_names()
            )
        progress.advance(len(prompts))
        answers = generated[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._said(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True)]

    def likelihoods(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        import torch

        width = max(map(len, answers))
        padded = torch.tensor([[*each, *[0] * (width - len(each))] for each in answers], device=self.device)
        with torch.inference_mode():  # the prompt is read once; what fills up the end stands behind all that counts
            read = self.model(torch.tensor([prompt.tokens], device=self.device), use_cache=True, logits_to_keep=1)
            cache = read.past_key_values
            cache.batch_repeat_interleave(len(answers))
            further = self.model(padded[:, :-1], past_key_values=cache).logits
        logits = torch.cat([read.logits.expand(len(answers), -1, -1), further], 1).float()
        each = logits.log_softmax(-1).gather(-1, padded[..., None])[..., 0]
        return [float(row[: len(answer)].sum()) for row, answer in zip(each, answers, strict=True)]

    def _kept_to_names(self) -> list[Any]:
        """What lets no token through that the form and the names do not have; a batch's own."""
        if self.section.names == "free":
            return []
        from xgrammar.contrib.hf import LogitsProcessor

        self.grammar = self.grammar or compiled(
            names_grammar(self.task, self.names.values()), self.tokenizer, self.model.config.vocab_size
        )
        return [LogitsProcessor(self.grammar)]

    def _tell(self, tokens: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """A batch is answered at once, so say at each token that it goes on; as a criterion, stops nothing."""
        progress.advance(
            0, f"at most {self.section.max_tokens} tokens an answer, now at {tokens.shape[1]} with the prompt"
        )
        return tokens.new_zeros(len(tokens), dtype=bool)

    def _inputs(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        from mint_ray.corpora.images import open_image

        padded = {"padding": True, "padding_side": "left", "add_special_tokens": False, "return_tensors": "pt"}
        texts = [prompt.text for prompt in prompts]
        if self.vision:
            inputs = self.vision.processor(
                text=texts, images=[[open_image(prompt.image)] for prompt in prompts], **padded
            )
            dtype = self.model.dtype
            return {
                name: value.to(self.device, dtype if value.is_floating_point() else None)
                for name, value in inputs.items()
            }
        return dict(self.tokenizer(texts, **padded).to(self.device))

    def _sampling(self) -> dict[str, Any]:
        limits = {"max_new_tokens": self.section.max_tokens, "pad_token_id": self.tokenizer.pad_token_id}
        if not self.section.temperature:
            return {**limits, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        return {**limits, "do_sample": True, "temperature": self.section.temperature, "top_p": 1.0, "top_k": 0}

    def _said(self, tokens: list[int], prompt: Prompt) -> Said:
        ends = self._ends()
        length = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
        text = self.tokenizer.decode(tokens[:length], skip_special_tokens=True)
        stopped = length < len(tokens)
        return Said(text, stopped, prompt.length, length + stopped)  # the end token counts, as in vLLM

    def _ends(self) -> set[int]:
        known = self.model.generation_config.eos_token_id
        listed = known if isinstance(known, list) else [known]
        return {token for token in [*listed, self.tokenizer.eos_token_id] if token is not None}
