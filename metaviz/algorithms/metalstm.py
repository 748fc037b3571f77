"""Meta-LSTM: a recurrent network, shared by all weights, takes the inner steps."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from metaviz.algorithms.geometry import EstimatorName, GeometryOptions
from metaviz.algorithms.registry import register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.inner import inner_states
from metaviz.meta.pictures import Arrays, Summary, labelled
from metaviz.meta.rules import Enters, GradientDescent, State
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net
from metaviz.nets.layout import Layout, Params

_SCALE = 10.0
_MANY_WEIGHTS = 20_000


def processed(x: Tensor) -> Tensor:
    """Write numbers as a size and a sign, so that large and small ones can be told apart.

    (ln|x| / p, sign x) where |x| >= e^-p, else (-1, e^p x), with p = 10. Shapes: (...) to (..., 2).
    Source: Andrychowicz et al. 2016, appendix A.
    """
    small = x.abs() < math.exp(-_SCALE)
    size = torch.where(small, -torch.ones_like(x), torch.where(small, 1, x).abs().log() / _SCALE)
    return torch.stack([size, torch.where(small, math.exp(_SCALE) * x, x.sign())], dim=-1)


def _as_it_is(x: Tensor) -> Tensor:
    """Return each number alone. Shapes: (...) to (..., 1)."""
    return x.unsqueeze(-1)


class GatedState(NamedTuple):
    """Weights (tasks, P), hidden and cell (tasks, P, H), and the last two gates (tasks, P, 2)."""

    point: Tensor
    hidden: Tensor
    cell: Tensor
    gates: Tensor


class GatedDescent(GradientDescent):
    """phi <- f * phi - i * grad L_S(phi), with gates that a recurrent network computes.

    The network sees, for each weight by itself, the gradient and the loss (both `processed`, or as
    they are where `raw`), the weight and its own last gates. Full: a hidden LSTM reads gradient and
    loss, and the gates read it, the weight, and their last values before the sigmoid, 0 at first.
    Plain (`hidden` 0): the gates are one affine function of gradient, loss, weight and their own
    last values, sigmoid(0) = 1/2 at first.
    Source: Ravi & Larochelle 2017, section 3, and its code; the plain form is the slides', where
    inputs are raw.
    """

    groups: Mapping[str, frozenset[Enters]] = {
        "init": frozenset({Enters.START}),
        "gates": frozenset({Enters.STEP}),
    }
    shares_rate = False
    rests = False

    def __init__(self, rate: float, hidden: int, *, raw: bool = False) -> None:
        """Take the step size that the first gates are near to, and the number of hidden units."""
        super().__init__(rate)
        self.hidden = hidden
        self.raw = raw
        self.stretch = 1.0
        h = hidden
        inputs = 2 if raw else 4
        seen = (h if h else inputs) + 2
        lstm = (("input", (4 * h, inputs)), ("recurrent", (4 * h, h)), ("bias", (4 * h,)))
        gates = (("gate.weight", (2, seen)), ("gate.bias", (2,)))
        self.parameters = Layout((*(lstm if h else ()), *gates))

    def scaled(self, factor: float) -> Self:
        """Return the same rule, whose gates are multiplied by `factor` where they make a step."""
        other = super().scaled(factor)
        other.stretch = factor * self.stretch
        return other

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start and small weights; gates begin near 'keep' and a step of 0.007 to 0.018.

        The forget bias is uniform in [4, 5], the input bias in [-5, -4].
        """
        params: Params = {
            name: 0.02 * torch.rand(shape, generator=generator, dtype=torch.float64) - 0.01
            for name, shape in self.parameters.shapes
        }
        draw = torch.rand(2, generator=generator, dtype=torch.float64)
        params["gate.bias"] = torch.stack([4 + draw[0], -5 + draw[1]])
        return {**super().init(net, generator), "gates": self.parameters.join(params)}

    def start(self, meta: Meta, support: Batch) -> State:
        """Give every task the same start and an empty memory."""
        point = super().start(meta, support)
        empty = point.new_zeros(*point.shape, self.hidden)
        return GatedState(point, empty, empty, point.new_zeros(*point.shape, 2))

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return the weights of the state."""
        del meta
        point: Tensor = state.point
        return point

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Let the gates decide how much of each weight is kept, and how far it moves."""
        del k
        point, hidden, cell, last = state
        inputs = (point, hidden, cell, last, gradient, loss, meta["gates"])
        if torch.is_grad_enabled() and point.shape[1] > _MANY_WEIGHTS:
            # Only the states are kept; a step's inner activations are ten times as many numbers.
            hidden, cell, gates = checkpoint(self._think, *inputs, use_reentrant=False)
        else:
            hidden, cell, gates = self._think(*inputs)
        keep, move = torch.sigmoid(gates).unbind(-1)
        return GatedState(keep * point - self.stretch * move * gradient, hidden, cell, gates)

    def _think(
        self,
        point: Tensor,
        hidden: Tensor,
        cell: Tensor,
        last: Tensor,
        gradient: Tensor,
        loss: Tensor,
        flat: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next memory and the gates before the sigmoid."""
        params = self.parameters.split(flat)
        read = _as_it_is if self.raw else processed
        about = read(loss).unsqueeze(1)
        seen = torch.cat([read(gradient), about.expand(*gradient.shape, -1)], dim=-1)
        if self.hidden:
            mixed = seen @ params["input"].mT + hidden @ params["recurrent"].mT + params["bias"]
            enter, keep, value, leave = mixed.chunk(4, dim=-1)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(value)
            seen = hidden = torch.sigmoid(leave) * torch.tanh(cell)
        else:
            last = torch.sigmoid(last)
        weight, bias = params["gate.weight"], params["gate.bias"]
        shared = torch.cat([seen, point.unsqueeze(-1)], dim=-1) @ weight[:, :-1].mT
        return hidden, cell, shared + last * weight[:, -1] + bias

    def picture(self, context: Context, meta: Meta) -> Arrays:
        """Return how the gates are distributed over weights and tasks at each inner step."""
        levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
        rows: dict[str, list[Tensor]] = {"forget": [], "input": []}
        for state in list(inner_states(self, context, meta))[1:]:
            gates = torch.sigmoid(state.gates).flatten(0, 1)
            some = gates[:: max(1, len(gates) // _MANY_WEIGHTS)].cpu().float()
            for name, column in zip(rows, some.unbind(1), strict=True):
                rows[name].append(torch.quantile(column, levels))
        summary: Summary = [
            ("all", f"median {name} gate at step {k}", float(row[2]))
            for name, steps in rows.items()
            for k, row in enumerate(steps)
        ]
        drawn = {name: torch.stack(steps).numpy() for name, steps in rows.items()}
        return labelled("gates", summary, {**drawn, "plain_input": np.array(self.rate)})


class MetaLSTMOptions(GeometryOptions):
    """Options of Meta-LSTM."""

    estimator: EstimatorName = option(
        "first_order",
        "Meta-gradient",
        "First order, as published: the gradients and losses that the gates see count as "
        "constants. Second order goes through them too.",
        labels={
            "unrolled": "second order",
            "first_order": "first order",
            "reptile": "Reptile",
            "implicit": "implicit (CG)",
        },
    )
    clip_norm: float | None = option(
        0.25,
        "Own clip of the meta-gradient",
        "Largest norm of the meta-gradient; 0.25 in the authors' code. Empty: the shared clip.",
        gt=0,
        le=1e9,
        log=True,
    )
    gates: Literal["lstm", "affine"] = option(
        "lstm",
        "Gates",
        "LSTM: hidden units remember earlier gradients, as in the paper's code. Affine: "
        "i = σ(W [∇L, L, φ, i] + b) without hidden units, as on the slides; the i that is fed back "
        "is σ(0) = 0.5 before the first step. How ∇L and L are written is an option of its own.",
        labels={"lstm": "LSTM with hidden units", "affine": "one affine map"},
    )
    inputs: Literal["processed", "raw"] = option(
        "processed",
        "Gate inputs",
        "How the gates see gradient and loss. Processed: each as size and sign, "
        "(ln|x| / 10, sign x), or (−1, e¹⁰ x) where |x| < e⁻¹⁰, as in the paper's code. Raw: as "
        "they are, as on the slides. The weight φ is always raw.",
        labels={"processed": "size and sign", "raw": "raw"},
        formerly="processed",
    )
    hidden: int = option(
        20, "Hidden units", "Units of the LSTM that each weight carries.", ge=1, le=256
    )


@register(
    MetaLSTMOptions,
    id="metalstm",
    title="Meta-LSTM",
    group="Learned geometry",
    color=14,
    summary="A recurrent network decides what of each weight is kept and how far it moves.",
    formula="φ ← f ⊙ φ − i ⊙ ∇L_S(φ), with gates f and i of an LSTM shared by all weights",
    cost="K + 1 gradients per task; memory of K × 40 numbers per weight and task",
    citation="Ravi & Larochelle 2017, ICLR",
    presets={
        "slides": {"gates": "affine"},
        "slides, raw inputs": {"gates": "affine", "inputs": "raw"},
    },
)
def metalstm(options: MetaLSTMOptions, shared: Shared) -> Algorithm:
    """Build Meta-LSTM."""
    hidden = options.hidden if options.gates == "lstm" else 0
    rule = GatedDescent(options.rate(shared), hidden, raw=options.inputs == "raw")
    return options.compose(rule, shared)
