"""The small networks that weigh the evidence of a case's candidates against each other, and their training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Networks:
    """`m` networks of one hidden layer, whose mean logit of a candidate is taken; features are standardised first.

    `covered` is the share of cases whose truth is among the candidates, seen in training.
    """

    mean: np.ndarray  # (features,)
    scale: np.ndarray
    into: np.ndarray  # (m, features, hidden)
    bias: np.ndarray  # (m, hidden)
    out: np.ndarray  # (m, hidden)
    straight: np.ndarray  # (m, features)
    covered: np.ndarray  # ()

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(n, c, features) to (n, c)."""
        x = (features - self.mean) / self.scale
        total = np.zeros(x.shape[:2], np.float32)
        for into, bias, out, straight in zip(self.into, self.bias, self.out, self.straight, strict=True):
            total += np.maximum(x @ into + bias, 0) @ out + x @ straight
        return total / len(self.out)

    def save(self, folder: Path) -> None:
        save_file({name: np.ascontiguousarray(value) for name, value in asdict(self).items()}, folder / WEIGHTS)

    @staticmethod
    def load(folder: Path) -> Networks:
        return Networks(**load_file(folder / WEIGHTS))


@dataclass(frozen=True)
class Examples:
    """`features` (n, c, f), `truth` (n,): the position among the candidates, -1 where it is none; `weight` (n,)."""

    features: np.ndarray
    truth: np.ndarray
    weight: np.ndarray


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
    covered = np.float32(np.average(kept, weights=examples.weight).clip(0.05, 0.999))
    return Networks(mean, scale, into, bias, out, straight, np.array(covered))


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
