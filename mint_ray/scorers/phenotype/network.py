"""The small networks that weigh the evidence of a case's candidates against each other, and their training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

WEIGHTS = "model.safetensors"
SPREADS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # temperatures that are tried for the labels beside the candidates


@dataclass(frozen=True)
class Networks:
    """`m` networks of one hidden layer, whose mean logit of a candidate is taken; features are standardised first.

    `covered` says how likely the truth is to be among the candidates, by how sure the networks are of their first: one that
    they are sure of is nearly always right, and of the cases that they know nothing of the truth often is none of the hundred.
    What is left is shared by the other labels, by their plain sum over the temperature `spread`.
    """

    mean: np.ndarray  # (features,)
    scale: np.ndarray
    into: np.ndarray  # (m, features, hidden)
    bias: np.ndarray  # (m, hidden)
    out: np.ndarray  # (m, hidden)
    straight: np.ndarray  # (m, features)
    covered: np.ndarray  # (2,): of a logistic model over the log odds of the first, constant and slope
    spread: np.ndarray  # ()

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(n, c, features) to (n, c)."""
        x = (features - self.mean) / self.scale
        total = np.zeros(x.shape[:2], np.float32)
        for into, bias, out, straight in zip(self.into, self.bias, self.out, self.straight, strict=True):
            total += np.maximum(x @ into + bias, 0) @ out + x @ straight
        return total / len(self.out)

    def among(self, logits: np.ndarray) -> np.ndarray:
        """(n, c) to (n,): how likely the truth is to be among the candidates."""
        return _logistic(self.covered[0] + self.covered[1] * _log_odds_of_first(logits)).clip(0.01, 0.999)

    def save(self, folder: Path) -> None:
        save_file({name: np.ascontiguousarray(value) for name, value in asdict(self).items()}, folder / WEIGHTS)

    @staticmethod
    def load(folder: Path) -> Networks:
        return Networks(**load_file(folder / WEIGHTS))


@dataclass(frozen=True)
class Examples:
    """`features` (n, c, f), `truth` (n,): the position among the candidates, -1 where it is none; `weight` (n,).

    `outside` (n, len(SPREADS)): the truth's log-probability among the other labels at each temperature; 0 where it is none.
    """

    features: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    outside: np.ndarray


def train(examples: Examples, hidden: int, networks: int, epochs: int, seed: int) -> Networks:
    """Networks by the cross-entropy over each case's candidates, cases without their truth left out."""
    kept = examples.truth >= 0
    flat = examples.features[kept].reshape(-1, examples.features.shape[-1])
    mean, scale = flat.mean(0), flat.std(0) + 1e-6
    standard = (examples.features[kept] - mean) / scale
    parts = [
        _one(standard, examples.truth[kept], examples.weight[kept], hidden, epochs, seed + number)
        for number in range(networks)
    ]
    into, bias, out, straight = (np.stack(each) for each in zip(*parts, strict=True))
    spread = SPREADS[int(np.average(examples.outside, axis=0, weights=examples.weight).argmax())]
    found = Networks(mean, scale, into, bias, out, straight, np.zeros(2, np.float32), np.array(spread, np.float32))
    sure = _log_odds_of_first(found.logits(examples.features))
    return replace(found, covered=_fitted(sure, kept, examples.weight).astype(np.float32))


def log_softmax(values: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    top = values - values.max(-1, keepdims=True)
    return top - np.log(np.exp(top).sum(-1, keepdims=True))


def _logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _log_odds_of_first(logits: np.ndarray) -> np.ndarray:
    first = np.exp(log_softmax(logits).max(1)).clip(1e-4, 1 - 1e-4)
    return np.log(first / (1 - first))


def _fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Constant and slope of a logistic model of `y`, by Newton's method; a faint prior keeps them finite."""
    design, found = np.stack([np.ones_like(x), x], 1).astype(float), np.zeros(2)
    for _ in range(25):
        told = _logistic(design @ found)
        slope = design.T @ (weight * (y - told)) - 0.1 * found
        found += np.linalg.solve((design * (weight * told * (1 - told))[:, None]).T @ design + 0.1 * np.eye(2), slope)
    return found


def _one(features: np.ndarray, truth: np.ndarray, weight: np.ndarray, hidden: int, epochs: int, seed: int):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    first, second = nn.Linear(features.shape[-1], hidden), nn.Linear(hidden, 1, bias=False)
    straight = nn.Linear(features.shape[-1], 1, bias=False)
    every = [parameter for layer in (first, second, straight) for parameter in layer.parameters()]
    optimiser = torch.optim.AdamW(every, lr=0.01, weight_decay=0.1)
    x, y, w = torch.from_numpy(features), torch.from_numpy(truth), torch.from_numpy(weight)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            inside = nn.functional.dropout(torch.relu(first(x[batch])), 0.1)
            logits = (second(inside) + straight(x[batch])).squeeze(-1)
            loss = nn.functional.cross_entropy(logits, y[batch], reduction="none")
            loss = (loss * w[batch]).sum() / w[batch].sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    tensors = (first.weight.T, first.bias, second.weight[0], straight.weight[0])
    return tuple(each.detach().numpy().copy() for each in tensors)
