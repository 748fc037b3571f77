"""The outer optimiser: Adam (Kingma & Ba, ICLR 2015, algorithm 1) or gradient descent.

`torch.optim` would load PyTorch's compiler with its first optimiser, two seconds before the first
meta-step, and spend several times as long on bookkeeping as on a few thousand weights. The kernel
is PyTorch's own, and what `torch.optim` saved can be gone on with.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from metaviz.config.outer_rule import OuterRule
from metaviz.files.values import of_kind, required

BETAS = (0.9, 0.999)
EPSILON = 1e-8
_MOMENTS = ("exp_avg", "exp_avg_sq")
_VELOCITY = "momentum_buffer"


class OuterOptimizer:
    """Moves named meta-parameters, each by a rule of its own, and knows Adam's moments."""

    def __init__(
        self,
        kind: Literal["adam", "sgd"],
        weights: Mapping[str, Tensor],
        rules: Mapping[str, OuterRule],
    ) -> None:
        """Begin with moments of zero; `weights` are changed in place by `step`.

        `kind` is that of groups whose rule names no optimiser.
        """
        self.rates = {name: rule.rate for name, rule in rules.items()}
        self._rules = dict(rules)
        self._weights = {name: weights[name] for name in sorted(rules)}
        self._share = 1.0
        self._counts: dict[str, Tensor] = {}
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        self._velocities: dict[str, Tensor] = {}
        for name, value in self._weights.items():
            if (rules[name].optimizer or kind) == "adam":
                self._counts[name] = torch.zeros((), dtype=torch.float32, device=value.device)
                zeros = torch.zeros_like(value, requires_grad=False)
                self._moments[name] = zeros, zeros.clone()
            elif rules[name].momentum:
                self._velocities[name] = torch.zeros_like(value, requires_grad=False)

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], share: float = 1.0, epochs: int = 0) -> None:
        """Move along meta-gradients, by a share of the step sizes, after so many whole epochs."""
        self._share = share
        for name, gradient in gradients.items():
            weights, rule = self._weights[name], self._rules[name]
            rate = share * self.rates[name] * rule.share(epochs)
            if name not in self._counts:
                weights.add_(self._descent(name, gradient), alpha=-rate)
                continue
            count, (mean, square) = self._counts[name], self._moments[name]
            count += 1
            torch._fused_adam_(
                *([weights], [gradient], [mean], [square], [], [count]),
                lr=rate,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=rule.decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _descent(self, name: str, gradient: Tensor) -> Tensor:
        """Return what gradient descent subtracts a multiple of, and carry the velocity on.

        As `torch.optim.SGD` without dampening; a velocity of zero is that of its first step.
        """
        rule = self._rules[name]
        if rule.decay:
            gradient = gradient.add(self._weights[name], alpha=rule.decay)
        if name not in self._velocities:
            return gradient
        velocity = self._velocities[name].mul_(rule.momentum).add_(gradient)
        return gradient.add(velocity, alpha=rule.momentum) if rule.nesterov else velocity

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors: the parameters by number, in the order of names."""
        moments = {
            number: {
                "step": self._counts[name],
                **dict(zip(_MOMENTS, self._moments[name], strict=True)),
            }
            for number, name in enumerate(self._weights)
            if name in self._counts
        } | {
            number: {_VELOCITY: self._velocities[name]}
            for number, name in enumerate(self._weights)
            if name in self._velocities
        }
        groups = [
            {"lr": self._share * rate, "rate": rate, "params": [number]}
            for number, rate in enumerate(self.rates[name] for name in self._weights)
        ]
        return {"state": moments, "param_groups": groups}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; what was saved before a first step has no moments.

        Raises: ValueError where it does not fit.
        """
        if len(required(saved, "param_groups", list)) != len(self._weights):
            raise ValueError("The checkpoint has another number of meta-parameters.")
        moments: dict[Any, Any] = required(saved, "state", dict)
        for number, name in enumerate(self._weights):
            if number not in moments:
                continue
            known = of_kind(moments[number], dict, "state")
            if name in self._velocities:
                found = required(known, _VELOCITY, Tensor)
                self._velocities[name] = _fitting(found, self._velocities[name])
            if name not in self._counts:
                continue
            self._counts[name] = _fitting(required(known, "step", Tensor), self._counts[name])
            mean, square = (
                _fitting(required(known, key, Tensor), mine)
                for key, mine in zip(_MOMENTS, self._moments[name], strict=True)
            )
            self._moments[name] = mean, square


def _fitting(saved: Tensor, mine: Tensor) -> Tensor:
    """Return a copy of a saved tensor, where it has the shape of mine."""
    if saved.shape != mine.shape:
        raise ValueError("The checkpoint's moments have another shape.")
    return saved.to(mine.device, mine.dtype).clone()
