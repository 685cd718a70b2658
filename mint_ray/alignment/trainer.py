"""What all trainers on pairs share; and ORPO: one forward for both answers, logits only where a token is scored."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from peft.helpers import disable_input_dtype_casting
from torch import Tensor, nn
from transformers import Trainer

from mint_ray.alignment.collation import PairOrder
from mint_ray.alignment.losses import OrpoTerms, orpo, segment_mean, segment_sum, token_log_probs
from mint_ray.errors import ModelError, TrainingError

# What a model does to its logits after the output layer; a model that does any of it is refused.
_LOGIT_CHANGES = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0}


class PairTraining:
    """Mixed into a `Trainer`: the order of the pairs, means and rates in its log, no update that is not finite.

    Args:
        pair_lengths: tokens of each training pair, which `PairOrder` goes by: the same for every method.
    """

    def __init__(self, *, pair_lengths: Sequence[int] = (), **options: Any):
        self.pair_lengths = pair_lengths
        self._sums: dict[str, Tensor] = defaultdict(float)
        self._logged_at: float | None = None
        super().__init__(**options)

    def start_clock(self) -> None:
        """The rates' clock runs from the first loss on."""
        self._logged_at = self._logged_at or time.monotonic()

    def tally(self, pairs: int, tokens: int, **means: Tensor) -> None:
        """Count a batch, and its mean figures, towards the next line of the log."""
        prefix = "" if self.model.training else "eval_"
        for name, value in means.items():
            self._sums[prefix + name] += value.detach() * pairs
        for name, count in {"pairs": pairs, "tokens": tokens}.items():
            self._sums[prefix + name] += torch.tensor(float(count), device=self.accelerator.device)

    def refuse_non_finite(self, loss: Tensor, case_ids: list[str]) -> None:
        """Stop before the update where a pair's loss, (pairs,), is not finite.

        Raises:
            TrainingError: with the step and the cases, on every worker.
        """
        bad = ~torch.isfinite(loss)
        # Every worker must learn of it, or the others would wait in the next exchange for ever.
        if not self.accelerator.reduce(bad.sum()):
            return
        ids = gather_object([case_id for case_id, is_bad in zip(case_ids, bad.tolist(), strict=True) if is_bad])
        raise TrainingError(
            f"step {self.state.global_step + 1}: the loss is not finite for {', '.join(ids)}; nothing was updated. "
            "Lower alignment.learning_rate, take alignment.precision fp32, or look at these cases"
        )

    def _get_grad_norm(self, model, grad_norm=None):
        norm = super()._get_grad_norm(model, grad_norm)
        if not torch.isfinite(torch.as_tensor(norm)):
            raise TrainingError(
                f"step {self.state.global_step + 1}: the gradient is not finite although the loss is; nothing was updated. "
                "Lower alignment.learning_rate, or take alignment.precision fp32"
            )
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means, over all workers, of what was tallied since the last time, and the rates."""
        prefix = "eval_" if "eval_loss" in logs else ""
        if "loss" in logs or prefix:
            logs.update(self._drain(prefix))
        super().log(logs, start_time)

    def _drain(self, prefix: str) -> dict[str, float]:
        names = [name for name in self._sums if name.startswith("eval_") == bool(prefix)]
        sums = dict(
            zip(
                names,
                self.accelerator.reduce(torch.stack([self._sums.pop(name) for name in names])).tolist(),
                strict=True,
            )
        )
        pairs, tokens = sums.pop(prefix + "pairs"), sums.pop(prefix + "tokens")
        now = time.monotonic()
        seconds, self._logged_at = now - self._logged_at, now
        means = {name: total / pairs for name, total in sums.items()}
        return means | {f"{prefix}pairs_per_second": pairs / seconds, f"{prefix}tokens_per_second": tokens / seconds}

    def _get_train_sampler(self, train_dataset=None) -> PairOrder:
        args = self.args
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        order = PairOrder(self.pair_lengths, batch, args.seed)
        # Told by the steps done: a resumed run's own count of epochs does not reach the sampler.
        order.epoch = lambda: self.state.global_step // (len(order) // batch)
        return order


class OrpoTrainer(PairTraining, Trainer):
    """Trains an adapter on encoded pairs; everything that `Trainer` does besides the loss is its own.

    Args:
        beta: weight of the odds-ratio term.
        nll_scope: `answer`, the NLL of the paper's eq. 6, each pair's mean; or `sequence`, TRL's: the
            mean over all tokens of prompts and chosen answers in a micro-batch.

    Raises:
        ModelError: the output layer is trained, or the model changes its logits after it.
    """

    def __init__(self, *, beta: float, nll_scope: Literal["answer", "sequence"] = "answer", **options: Any):
        self.beta, self.nll_scope = beta, nll_scope
        super().__init__(**options)
        check_output_layer(self.model)
        self._hidden: Tensor | None = None
        self.model.get_decoder().register_forward_hook(self._keep_hidden)

    def _keep_hidden(self, module: nn.Module, arguments: tuple, output: Any) -> None:
        self._hidden = output.last_hidden_state

    def hidden_states(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """The last hidden state, (pairs, time, width): what the output layer would be given.

        The model is called as a whole, as DDP wants it, with one position of logits, which nobody reads; the
        hidden state is taken at the decoder, before autocast's wrapper turns every output to fp32.
        """
        # In bf16 the adapter's fp32 weights are cast by autocast; PEFT would cast their inputs up first.
        with disable_input_dtype_casting(self.model, active=self.args.bf16):
            model(
                input_ids=batch["input_ids"],
                position_ids=batch["position_ids"],
                attention_mask=batch["attention_mask"],
                **batch["images"],
                use_cache=False,
                # An index, not a count: the slice of a count is not contiguous, and copies the output layer a row.
                logits_to_keep=torch.zeros(1, dtype=torch.long, device=batch["input_ids"].device),
            )
        hidden, self._hidden = self._hidden, None
        return hidden

    def terms(self, model: nn.Module, batch: dict[str, Any]) -> OrpoTerms:
        """The terms of the loss, one value a pair, of a batch that `Collator` made."""
        pairs = len(batch["case_ids"])
        hidden = self.hidden_states(model, batch)
        head = self.accelerator.unwrap_model(model).get_output_embeddings()
        log_probs = token_log_probs(hidden.flatten(0, 1)[batch["positions"]], head.weight, batch["targets"], head.bias)
        answers = batch["segments"] < 2 * pairs
        chosen, rejected = segment_mean(log_probs[answers], batch["segments"][answers], 2 * pairs).split(pairs)
        return orpo(chosen, rejected, self.beta, self._nll(log_probs, batch["segments"], pairs))

    def _nll(self, log_probs: Tensor, segments: Tensor, pairs: int) -> Tensor | None:
        if self.nll_scope == "answer":
            return None
        # Chosen and prompt of pair i are the segments i and 2 * pairs + i: the same modulo 2 * pairs.
        counted = (segments < pairs) | (segments >= 2 * pairs)
        sums = segment_sum(log_probs[counted], segments[counted] % (2 * pairs), pairs)
        return -sums * pairs / counted.sum()

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        self.start_clock()
        terms = self.terms(model, inputs)
        self.refuse_non_finite(terms.loss.detach(), inputs["case_ids"])
        self.tally(
            len(terms.loss),
            inputs["tokens"],
            nll=terms.nll.mean(),
            odds_ratio_loss=terms.odds_ratio_loss.mean(),
            log_odds_ratio=terms.log_odds_ratio.mean(),
            accuracy=(terms.log_odds_ratio > 0).float().mean(),
        )
        loss = terms.loss.mean()
        return (loss, {}) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)), None, None


def check_output_layer(model: nn.Module) -> None:
    """Refuse a model whose output layer is trained, or that changes its logits after it.

    Raises:
        ModelError: naming the cause.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.weight.requires_grad:
        raise ModelError("the output layer must stay frozen: take it out of alignment.lora.target_modules")
    for name, neutral in _LOGIT_CHANGES.items():
        if getattr(model.config.get_text_config(), name, neutral) not in (None, neutral):
            raise ModelError(f"this model changes its logits after the output layer ({name}), which is not supported")
