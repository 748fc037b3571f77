"""Meta-SGD: a learned step size for every weight."""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.geometry import GeometryOptions, Preconditioned
from metaviz.algorithms.registry import register
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.pictures import (
    Arrays,
    Summary,
    labelled,
    of_constant,
    sampled_rows,
)
from metaviz.nets.base import Net

_LOWEST, _HIGHEST = 0.005, 0.1
_MOST_OWN = 10_000


class LearnedRates(Preconditioned, rowwise=True):
    """phi <- phi - a * grad L_S(phi), entry by entry.

    Rates are learned as they are, so that they may turn negative, or as their logarithms. Source:
    Li et al. 2017, equation 3; logarithms as in Zhang et al. 2024's code.
    """

    group = "rates"
    shares_rate = False

    def __init__(
        self,
        rate: float,
        *,
        logarithms: bool = False,
        per: Literal["weight", "tensor", "network"] = "weight",
        drawn: bool = False,
        own: tuple[float, ...] = (),
    ) -> None:
        """Start from `rate` everywhere, from uniform draws, or from `own` rates."""
        super().__init__(rate)
        self.first = rate
        self.logarithms = logarithms
        self.per = per
        self.drawn = drawn
        self.own = own
        self._repeats: Tensor | None = None

    def fit(self, net: Net) -> None:
        """Learn how many weights share each rate. Raises: OptionError for too many or few."""
        self._size = net.layout.size
        if self.per == "tensor":
            self._repeats = torch.tensor(net.layout.sizes)
        elif self.per == "network":
            self._repeats = torch.tensor([net.layout.size])
        if self.own and len(self.own) != self._count():
            raise OptionError(
                "metasgd.rates",
                f"metasgd.rates holds {len(self.own)} numbers, but {self._count()} step sizes are "
                "learned: write one for each, or leave it empty.",
            )

    def _count(self) -> int:
        return self._size if self._repeats is None else len(self._repeats)

    def shape(self, generator: torch.Generator) -> Tensor:
        """Draw the rates, one for each weight, tensor or for the network."""
        count = self._count()
        if self.own:
            rates = torch.tensor(self.own, dtype=torch.float64)
        elif self.drawn:
            draw = torch.rand(count, generator=generator, dtype=torch.float64)
            rates = _LOWEST + (_HIGHEST - _LOWEST) * draw
        else:
            rates = torch.full((count,), self.first, dtype=torch.float64)
        return rates.log() if self.logarithms else rates

    def rates(self, meta: Meta) -> Tensor:
        """Return the step size of each weight, shape (P,) or one row per task."""
        rates = meta[self.group].exp() if self.logarithms else meta[self.group]
        if self._repeats is None:
            return rates
        return rates.repeat_interleave(self._repeats.to(rates.device), dim=-1)

    def precondition(self, meta: Meta, gradient: Tensor) -> Tensor:
        """Return a * gradient / alpha."""
        return self.rates(meta) / self.first * gradient

    def picture(self, context: Context, meta: Meta) -> Arrays:
        """Return the rates of each tensor."""
        rates = self.rates(meta)
        layout = context.learner.net.layout
        parts = layout.split(rates)
        negative = [float((part < 0).double().mean()) for part in parts.values()]
        summary: Summary = []
        for (name, part), share in zip(parts.items(), negative, strict=True):
            summary += [
                (name, "mean step size", float(part.mean())),
                (name, "smallest step size", float(part.min())),
                (name, "largest step size", float(part.max())),
                (name, "share of negative step sizes", share),
            ]
        whole = of_constant(
            self, context, meta, lambda x: rates / self.first * x, rates / self.first
        )
        arrays = {
            "tensors": np.array(list(parts)),
            "rates": sampled_rows([part.flatten() for part in parts.values()]),
            "negative": np.array(negative),
        }
        return labelled("rates", summary, {**arrays, **whole})


class MetaSGDOptions(GeometryOptions):
    """Options of Meta-SGD."""

    form: Literal["direct", "log"] = option(
        "log",
        "Form of the rates",
        "Log: a = exp(b), always positive; a meta-step changes a by a share of itself. Direct, "
        "as in the paper: φ ← φ − a ⊙ ∇L_S, entries of a may turn negative; it diverges where the "
        "outer step size is not small against a, so give it one of its own.",
        labels={"direct": "direct, a", "log": "log, a = exp(b)"},
    )
    per: Literal["weight", "tensor", "network"] = option(
        "weight",
        "One rate per",
        "Whether each weight learns its own step size, as published, or shares it.",
    )
    start: Literal["constant", "uniform"] = option(
        "constant",
        "First rates",
        "α everywhere, or drawn uniformly from 0.005 to 0.1 as in the paper.",
        labels={"constant": "α everywhere", "uniform": "uniform in [0.005, 0.1]"},
    )
    rates: str = option(
        "",
        "Own first rates",
        "Numbers with commas between, one per rate: for small problems, like 0.1,0.2 on the "
        "quadratic. Empty: as chosen above.",
    )

    def own_rates(self) -> tuple[float, ...]:
        """Read the own rates. Raises: OptionError where one is no number, or has no logarithm."""
        parts = [part for part in self.rates.split(",") if part.strip()]
        try:
            numbers = tuple(float(part) for part in parts)
        except ValueError:
            numbers = (math.nan,)
        wrong = not all(math.isfinite(number) for number in numbers) or len(parts) > _MOST_OWN
        if wrong or (self.form == "log" and any(number <= 0 for number in numbers)):
            kind = "positive numbers" if self.form == "log" else "numbers"
            raise OptionError(
                "metasgd.rates",
                f"metasgd.rates = {self.rates[:40]!r} is not valid: write {kind} like 0.1,0.2.",
            )
        return numbers


@register(
    MetaSGDOptions,
    id="metasgd",
    title="Meta-SGD",
    group="Learned geometry",
    color=8,
    summary="Learns the start and a step size for every weight.",
    formula="φ ← φ − a ⊙ ∇L_S(φ)",
    cost="as MAML, and one product per weight; twice the meta-parameters",
    citation="Li, Zhou, Chen & Li 2017, arXiv:1707.09835",
    presets={"paper": {"form": "direct", "start": "uniform", "inner_steps": 1}},
)
def metasgd(options: MetaSGDOptions, shared: Shared) -> Algorithm:
    """Build Meta-SGD."""
    rule = LearnedRates(
        options.rate(shared),
        logarithms=options.form == "log",
        per=options.per,
        drawn=options.start == "uniform",
        own=options.own_rates(),
    )
    return options.compose(rule, shared)
