"""The losses as pure tensor functions. ORPO in the order of its paper: Hong, Lee and Thorne 2024, arXiv 2403.07691.

    eq. 2   log P(y|x)  = 1/m * sum_t log P(y_t | x, y_<t)            the mean over an answer's m tokens
    eq. 3   odds(y|x)   = P(y|x) / (1 - P(y|x))
    eq. 4   OR(yw, yl)  = odds(yw|x) / odds(yl|x)
    eq. 6   L           = E[ L_SFT + lambda * L_OR ]                  L_SFT = -log P(yw|x)
    eq. 7   L_OR        = -log sigmoid( log OR(yw, yl) )

yw is the chosen answer, yl the rejected one; lambda is `beta` here, as in TRL. Everything is computed
in fp32 and in logarithms, so that P(y|x) near 0 and near 1 lose nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows of the vocabulary's logits that exist at once: 256 x 49,152 in fp32 are 50 MB.
_ROWS = 256
# The mean log-probability of an answer is below this; at 0 exactly the odds are infinite.
_LARGEST_LOG_PROB = -1e-6


class OrpoTerms(NamedTuple):
    """One value a pair, each fp32 of shape (pairs,); the mean of `loss` is the objective of eq. 6."""

    loss: Tensor
    nll: Tensor
    odds_ratio_loss: Tensor
    log_odds_ratio: Tensor


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, exact at both ends (Maechler 2012, eq. 7)."""
    near_zero = x > -math.log(2)
    # Each branch sees only values that it can differentiate: `where` would carry the other's NaN gradients.
    small = torch.log(-torch.expm1(torch.where(near_zero, x, -1.0)))
    large = torch.log1p(-torch.exp(torch.where(near_zero, -1.0, x)))
    return torch.where(near_zero, small, large)


def log_odds(log_prob: Tensor) -> Tensor:
    """log odds(y|x) of eq. 3 from log P(y|x) of eq. 2, elementwise."""
    log_prob = log_prob.float().clamp(max=_LARGEST_LOG_PROB)
    return log_prob - log1mexp(log_prob)


def odds_ratio_loss(chosen: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
    """L_OR of eq. 7 and log OR of eq. 4, from the two answers' log P(y|x), elementwise."""
    log_ratio = log_odds(chosen) - log_odds(rejected)
    return -F.logsigmoid(log_ratio), log_ratio


def orpo(chosen: Tensor, rejected: Tensor, beta: float, nll: Tensor | None = None) -> OrpoTerms:
    """Eq. 6 for each pair.

    Args:
        chosen, rejected: log P(y|x) of eq. 2, shape (pairs,).
        nll: L_SFT where it is not -log P(yw|x), e.g. where it runs over the prompt, too.
    """
    preference, log_ratio = odds_ratio_loss(chosen, rejected)
    nll = -chosen.float() if nll is None else nll
    return OrpoTerms(nll + beta * preference, nll, preference, log_ratio)


class SftTerms(NamedTuple):
    """One value a pair, fp32 of shape (pairs,); the mean of `loss` is the objective."""

    loss: Tensor


class DpoTerms(NamedTuple):
    """One value a pair, each fp32 of shape (pairs,); the mean of `loss` is the objective."""

    loss: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor


def dpo(chosen: Tensor, rejected: Tensor, chosen_before: Tensor, rejected_before: Tensor, beta: float) -> DpoTerms:
    """Rafailov et al. 2023, arXiv 2305.18290, eq. 7, for each pair.

    Args:
        chosen, rejected: the answers' summed log-probabilities, shape (pairs,).
        chosen_before, rejected_before: the same by the reference model.
    """
    chosen_reward, rejected_reward = beta * (chosen - chosen_before), beta * (rejected - rejected_before)
    return DpoTerms(-F.logsigmoid(chosen_reward - rejected_reward), chosen_reward, rejected_reward)


class ListTerms(NamedTuple):
    """One value a pair, each fp32 of shape (pairs,); the mean of `loss` is the objective."""

    loss: Tensor
    nll: Tensor
    list_loss: Tensor
    first_is_first: Tensor


def soft_list_loss(log_probs: Tensor, scores: Tensor) -> Tensor:
    """ListNet's top-one loss (Cao et al. 2007, eq. 6): how far the model's choice of a first name is from the scorer's.

    Both choose by a softmax over the same k names: - sum_i softmax(scores)_i * log softmax(log_probs)_i.

    Args:
        log_probs: the model's, of each name at the first place, (pairs, k).
        scores: the scorer's log-probabilities of the same names, (pairs, k).

    Returns:
        (pairs,) fp32; never below the entropy of the scorer's choice.
    """
    return -(scores.float().softmax(-1) * log_probs.float().log_softmax(-1)).sum(-1)


def listwise(chosen: Tensor, log_probs: Tensor, scores: Tensor, beta: float) -> ListTerms:
    """The chosen answer's NLL, as in ORPO, with the whole list in place of one rejected answer.

    Args:
        chosen: log P(y|x) of eq. 2 of the chosen answer, shape (pairs,).
        log_probs, scores: of `soft_list_loss`.
        beta: weight of the list's term.
    """
    nll, list_loss = -chosen.float(), soft_list_loss(log_probs, scores)
    return ListTerms(nll + beta * list_loss, nll, list_loss, log_probs.argmax(-1) == scores.argmax(-1))


def segment_sum(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Sums of `values` (n,) by `segments` (n,), integers below `count`; shape (count,)."""
    return values.new_zeros(count).index_add(0, segments, values)


def segment_mean(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Means of `values` (n,) by `segments` (n,); every segment must have a value."""
    return segment_sum(values, segments, count) / segment_sum(torch.ones_like(values), segments, count)


def token_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
    """log P(target) under softmax(hidden @ weight.T + bias), without holding the logits.

    The gradient of `hidden` is computed on the way forward, chunk by chunk, so that no logits are kept or made twice
    where the output layer is frozen. Where it is trained, its own needs them once more on the way back.

    Args:
        hidden: (n, width), the last hidden state where each target is predicted.
        weight: (vocabulary, width), the output layer's.
        targets: (n,) token ids.

    Returns:
        (n,) fp32.
    """
    # torch leaves `apply` without types.
    return cast(Tensor, _TokenLogProbs.apply(hidden, weight, targets, bias))  # pyright: ignore[reportUnknownMemberType]


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None) -> Tensor:
        log_probs = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        slopes = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(targets), _ROWS):
                rows = slice(start, start + _ROWS)
                logits = F.linear(hidden[rows].to(weight.dtype), weight, bias).float()
                logits -= logits.amax(-1, keepdim=True)
                picked = logits.gather(-1, targets[rows, None])
                odds = logits.exp_()
                total = odds.sum(-1, keepdim=True)
                log_probs[rows] = (picked - total.log()).squeeze(-1)
                if slopes is not None:  # d log P(target) / d hidden = weight[target] - probabilities @ weight
                    slopes[rows] = weight[targets[rows]] - (odds.to(weight.dtype) @ weight) / total
        trained = any(ctx.needs_input_grad[i] for i in (1, 3))
        ctx.save_for_backward(slopes, *((hidden, weight, targets, bias) if trained else ()))
        return log_probs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, Tensor | None]:
        slopes, *layer = ctx.saved_tensors
        to_hidden = None if slopes is None else slopes * gradients[0][:, None].to(slopes.dtype)
        to_weight, to_bias = _layer_gradients(gradients[0], *layer) if layer else (None, None)
        return to_hidden, to_weight, None, to_bias


def _layer_gradients(
    gradients: Tensor, hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """What the output layer's weight and bias learn from the gradients (n,) of log P(target)."""
    to_weight = torch.zeros_like(weight)
    to_bias = None if bias is None else torch.zeros_like(bias)
    with torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, len(targets), _ROWS):
            rows = slice(start, start + _ROWS)
            states = hidden[rows].to(weight.dtype)
            to_logits = F.linear(states, weight, bias).float().softmax(-1).neg_()  # one at the target, less P
            to_logits.scatter_add_(-1, targets[rows, None], torch.ones_like(to_logits[:, :1]))
            to_logits.mul_(gradients[rows, None])
            to_weight.addmm_(to_logits.to(weight.dtype).T, states)
            if to_bias is not None:
                to_bias += to_logits.sum(0).to(to_bias.dtype)
    return to_weight, to_bias
