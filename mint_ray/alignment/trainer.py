"""Training on pairs: one forward for all answers to a prompt, logits only where a token is scored, a loss a method."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import Trainer

from mint_ray.alignment.attention import attend_by_structure, structured
from mint_ray.alignment.collation import PairOrder
from mint_ray.alignment.lora import add_in_place
from mint_ray.alignment.losses import (
    DpoTerms,
    ListTerms,
    OrpoTerms,
    SftTerms,
    dpo,
    listwise,
    orpo,
    segment_mean,
    segment_sum,
    token_log_probs,
)
from mint_ray.errors import ModelError, TrainingError

# What a model does to its logits after the output layer; a model that does any of it is refused.
_LOGIT_CHANGES = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0, "lm_head_multiplier": 1.0}

# A part of a batch, as `InParts` makes it.
Part = dict[str, Any]


class PairTrainer(Trainer):
    """Trains an adapter, or all weights, on batches that `InParts` made; what a method adds is `terms` and `figures`.

    Everything that `Trainer` does besides the loss is its own. Ours are the order of the pairs, means and rates in
    the log, and no update that is not finite.

    Args:
        pair_lengths: tokens of each training pair, which `PairOrder` goes by: the same for every method.

    Raises:
        ModelError: the output layer has an adapter, or the model changes its logits after it.
    """

    loss_is_scaled_for_ga = False  # ours are means over a batch, whatever `Trainer` counts

    def __init__(self, *, pair_lengths: Sequence[int] | np.ndarray = (), **options: Any):
        self.pair_lengths = pair_lengths
        self._sums: dict[str, Tensor] = defaultdict(float)
        self._logged_at: float | None = None
        self._losses: list[Tensor] = []
        super().__init__(**options)
        check_output_layer(self.model)
        self._hidden: Tensor | None = None
        self._make_ready(self.model)

    def _make_ready(self, model: nn.Module) -> None:
        """Have a model read rows by their structure, and keep the hidden states that it comes to."""
        attend_by_structure(model)
        add_in_place(model)
        model.get_decoder().register_forward_hook(self._keep_hidden)

    @abstractmethod
    def terms(self, model: nn.Module, part: Part, tokens_per_pair: Tensor | None = None) -> Any:
        """A named tuple of tensors (pairs,) with `loss`, whose mean over the pairs of a batch is the objective."""

    @abstractmethod
    def figures(self, terms: Any) -> dict[str, Tensor]:
        """What the log says the means of, each (pairs,)."""

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.accelerator.num_processes == 1:  # alone, DDP would only copy gradients and walk the graph
            self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)

    def training_step(self, model: nn.Module, inputs: list[Part], num_items_in_batch: Tensor | None = None) -> Tensor:
        """Forward and backward of one part after the other: as much memory as one part needs."""
        *first, last = inputs
        step = super().training_step
        with self.accelerator.no_sync(model):
            losses = [step(model, part, num_items_in_batch) for part in first]
        losses.append(step(model, last, num_items_in_batch))
        self._refuse_non_finite(inputs)
        return torch.stack(losses).sum()

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        with torch.no_grad(), self.compute_loss_context_manager():
            losses = [self.compute_loss(model, part) for part in self._prepare_inputs(inputs)]
        self._refuse_non_finite(inputs)
        return torch.stack(losses).sum(), None, None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """A part's share in the loss of its batch."""
        self._logged_at = self._logged_at or time.monotonic()  # the rates' clock runs from the first loss on
        terms = self.terms(model, inputs, num_items_in_batch)
        self._losses.append(terms.loss.detach())
        self._tally(len(terms.loss), inputs["tokens"], self.figures(terms))
        loss = terms.loss.sum() / inputs["batch_pairs"]
        return (loss, {}) if return_outputs else loss

    def log_probs(self, model: nn.Module, part: Part) -> Tensor:
        """log P of each scored token, fp32 of shape (n,), as the part's `targets` has them."""
        hidden = self.hidden_states(model, part)
        head = self.accelerator.unwrap_model(model).get_output_embeddings()
        return token_log_probs(hidden.flatten(0, 1)[part["positions"]], head.weight, part["targets"], head.bias)

    def hidden_states(self, model: nn.Module, part: Part) -> Tensor:
        """The last hidden state, (pairs, time, width): what the output layer would be given.

        The model is called as a whole, as DDP wants it, with one position of logits, which nobody reads; the
        hidden state is taken at the decoder, before autocast's wrapper turns every output to fp32.
        """
        model(
            input_ids=part["input_ids"],
            position_ids=part["position_ids"],
            attention_mask=structured(part["attention_mask"], part["spans"]),
            **part["images"],
            use_cache=False,
            # An index, not a count: the slice of a count is not contiguous, and copies the output layer a row.
            logits_to_keep=torch.zeros(1, dtype=torch.long, device=part["input_ids"].device),
        )
        hidden, self._hidden = self._hidden, None
        return hidden

    def _keep_hidden(self, module: nn.Module, arguments: tuple, output: Any) -> None:
        self._hidden = output.last_hidden_state

    def _tally(self, pairs: int, tokens: int, figures: dict[str, Tensor]) -> None:
        """Count a part, and its figures, towards the next line of the log."""
        prefix = "" if self.model.training else "eval_"
        for name, values in figures.items():
            self._sums[prefix + name] += values.detach().float().sum()
        for name, count in {"pairs": pairs, "tokens": tokens}.items():
            self._sums[prefix + name] += torch.tensor(float(count), device=self.accelerator.device)

    def _refuse_non_finite(self, parts: list[Part]) -> None:
        """Stop before the update where a pair's loss is not finite.

        Raises:
            TrainingError: with the step and the cases, on every worker.
        """
        bad = ~torch.isfinite(torch.cat(self._losses))
        self._losses.clear()
        # Every worker must learn of it, or the others would wait in the next exchange for ever.
        if not self.accelerator.reduce(bad.sum()):
            return
        case_ids = [case_id for part in parts for case_id in part["case_ids"]]
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


class OrpoTrainer(PairTrainer):
    """ORPO on both answers.

    Args:
        beta: weight of the odds-ratio term.
        nll_scope: `answer`, the NLL of the paper's eq. 6, each pair's mean; or `sequence`, TRL's: the
            mean over all tokens of prompts and chosen answers in a batch.
    """

    def __init__(self, *, beta: float, nll_scope: Literal["answer", "sequence"] = "answer", **options: Any):
        self.beta, self.nll_scope = beta, nll_scope
        super().__init__(**options)

    def terms(self, model: nn.Module, part: Part, tokens_per_pair: Tensor | None = None) -> OrpoTerms:
        pairs = len(part["case_ids"])
        log_probs, segments = self.log_probs(model, part), part["segments"]
        answers = segments < 2 * pairs
        chosen, rejected = segment_mean(log_probs[answers], segments[answers], 2 * pairs).split(pairs)
        if self.nll_scope == "answer":
            return orpo(chosen, rejected, self.beta)
        # Chosen and prompt of pair i are the segments i and 2 * pairs + i: the same modulo 2 * pairs.
        counted = (segments < pairs) | ~answers
        sums = segment_sum(log_probs[counted], segments[counted] % (2 * pairs), pairs)
        return orpo(chosen, rejected, self.beta, -sums * part["batch_pairs"] / part["batch_likely"])

    def figures(self, terms: OrpoTerms) -> dict[str, Tensor]:
        return {
            "nll": terms.nll,
            "odds_ratio_loss": terms.odds_ratio_loss,
            "log_odds_ratio": terms.log_odds_ratio,
            "accuracy": terms.log_odds_ratio > 0,
        }


class SftTrainer(PairTrainer):
    """Supervised fine-tuning: the mean negative log-likelihood a token of a step's chosen answers.

    As in TRL's `SFTTrainer`, the tokens of all batches and workers of a step weigh the same.
    """

    def terms(self, model: nn.Module, part: Part, tokens_per_pair: Tensor | None = None) -> SftTerms:
        if tokens_per_pair is None:
            tokens_per_pair = part["batch_likely"] / part["batch_pairs"]
        sums = segment_sum(self.log_probs(model, part), part["segments"], len(part["case_ids"]))
        return SftTerms(-sums / tokens_per_pair)

    def figures(self, terms: SftTerms) -> dict[str, Tensor]:
        return {}

    def _get_num_items_in_batch(self, batch_samples: list[list[Part]], device: torch.device) -> Tensor:
        """Tokens of a chosen answer, in the mean over a whole step; `Trainer` hands it to every loss of the step."""
        counts = [[parts[0]["batch_likely"], parts[0]["batch_pairs"]] for parts in batch_samples]
        tokens, pairs = self.accelerator.reduce(torch.tensor(counts, device=device).sum(0))
        return tokens / pairs


class ListwiseTrainer(PairTrainer):
    """The chosen answer, and the scorer's choice among its names for the first place.

    Args:
        beta: weight of the list's term.
    """

    def __init__(self, *, beta: float, **options: Any):
        self.beta = beta
        super().__init__(**options)

    def terms(self, model: nn.Module, part: Part, tokens_per_pair: Tensor | None = None) -> ListTerms:
        pairs, names = part["scores"].shape
        log_probs, segments = self.log_probs(model, part), part["segments"]
        sums = segment_sum(log_probs, segments, (1 + names) * pairs)
        chosen = sums[:pairs] / segment_sum(torch.ones_like(log_probs), segments, len(sums))[:pairs]
        return listwise(chosen, sums[pairs:].view(names, pairs).T, part["scores"], self.beta)

    def figures(self, terms: ListTerms) -> dict[str, Tensor]:
        return {"nll": terms.nll, "list_loss": terms.list_loss, "accuracy": terms.first_is_first}


class DpoTrainer(PairTrainer):
    """DPO on both answers, against the model that training began with; nothing is dropped out.

    That model is the trained one with its adapter off; where all weights are trained, a frozen copy.

    Args:
        beta: pull to the reference.
    """

    def __init__(self, *, beta: float, **options: Any):
        self.beta = beta
        adapted = hasattr(options["model"], "disable_adapter")
        self.reference = None if adapted else deepcopy(options["model"]).requires_grad_(False)
        super().__init__(**options)
        if self.reference is not None:
            self._make_ready(self.reference.to(self.args.device).eval())
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def terms(self, model: nn.Module, part: Part, tokens_per_pair: Tensor | None = None) -> DpoTerms:
        return dpo(*self.answers(model, part), *self.answers_before(model, part), self.beta)

    @torch.no_grad()
    def answers_before(self, model: nn.Module, part: Part) -> tuple[Tensor, Tensor]:
        """`answers` by the model that training began with."""
        if self.reference is not None:
            return self.answers(self.reference, part)
        with self.accelerator.unwrap_model(model).disable_adapter():
            return self.answers(model, part)

    def answers(self, model: nn.Module, part: Part) -> tuple[Tensor, Tensor]:
        """Summed log-probabilities of chosen and rejected answers, each (pairs,)."""
        pairs = len(part["case_ids"])
        return segment_sum(self.log_probs(model, part), part["segments"], 2 * pairs).split(pairs)

    def figures(self, terms: DpoTerms) -> dict[str, Tensor]:
        margins = terms.chosen_reward - terms.rejected_reward
        return {
            "rewards/chosen": terms.chosen_reward,
            "rewards/rejected": terms.rejected_reward,
            "rewards/margins": margins,
            "rewards/accuracies": margins > 0,
        }


def check_output_layer(model: nn.Module) -> None:
    """Refuse a model whose output layer has an adapter, or that changes its logits after it.

    Raises:
        ModelError: naming the cause.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError("the output layer must stay frozen: take it out of alignment.lora.target_modules")
    for name, neutral in _LOGIT_CHANGES.items():
        if getattr(model.config.get_text_config(), name, neutral) not in (None, neutral):
            raise ModelError(f"this model changes its logits after the output layer ({name}), which is not supported")
