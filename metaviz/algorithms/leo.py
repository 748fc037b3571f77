"""LEO: adapts a code of each class, from which the weights of its classifier are decoded."""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.charts.embedding import plane_of
from metaviz.charts.values import PALETTE, Chart, Scatter, Series
from metaviz.config.options import OptionError, option
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import Shared
from metaviz.config.traits import Traits
from metaviz.meta.algorithm import Algorithm, Composed
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators import Term, Unrolled
from metaviz.meta.estimators.base import Case, MetaStep
from metaviz.meta.inner import Descent, descend, inner_states
from metaviz.meta.rules import Enters, GradientDescent, State
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import class_means, unit
from metaviz.nets.base import Net
from metaviz.nets.layout import Layout, Weights

Noise = Literal["latent", "official", "none"]
CODES = "latent"
"""The id of the chart of codes along adaptation."""
_FLOOR = 1e-10
"""Smallest deviation of a code, as in the authors' program."""
_EDGE = 1e-12


class Codes(NamedTuple):
    """Point (tasks, N h + N d): the codes of all classes, then what is added to their weights.

    Shapes: mean, std and noise (tasks, N, h), of which the first code is a draw.
    """

    point: Tensor
    mean: Tensor
    std: Tensor
    start: Tensor
    noise: Tensor


class LatentRule(GradientDescent):
    """A code z of each class takes gradient steps, then its decoded weights do.

    Encoder: e = E x; all ordered pairs (e_i, e_j) of support examples pass through three layers;
    means over j and over the examples of a class are (mean, u) with std = max(exp(u) - 1, 1e-10);
    z = mean, or with noise mean + std times a normal draw. Weights w = D z, the first half of the
    decoder; without noise the other half, of their deviation, learns from the penalties alone.
    With offsets o, weights are D z + o: the first `latent` steps move z alone, later ones o alone,
    which is to descend on w from D z. Step sizes are learned: one per number of a code, one per
    feature. Losses are means, so that a step size of N here is the official 1 on their sum.
    With draws e_0, e_1, ... weights after k steps of codes are D z + s(z) e_k + o, where
    s = max(exp(u) - 1 + sqrt(2 / (N + d)), 1e-10) of the decoder's other half u; the draw of the
    last step of codes stays. The point carries the draw, which does not move.
    Source: Rusu et al. 2019, arXiv:1807.05960, and google-deepmind/leo.
    Deviation: one draw for each class, where the authors have one for each support example.
    """

    groups: Mapping[str, frozenset[Enters]] = {
        "encoder": frozenset({Enters.START}),
        "decoder": frozenset({Enters.DECODE}),
        "rates": frozenset({Enters.STEP}),
    }
    shares_rate = False
    rests = False

    def __init__(self, rate: float, finetune: float, size: int, latent: int) -> None:
        """Take the first step sizes of codes and weights, numbers of a code, and steps of codes."""
        super().__init__(rate)
        self.finetune = finetune
        self.h = size
        self.latent = latent
        self.stretch = 1.0
        self.noise: Tensor | None = None
        self.draws: Tensor | None = None
        self.ways = self.d = 0

    def scaled(self, factor: float) -> Self:
        """Return the same rule with steps of `factor` times the size."""
        other = super().scaled(factor)
        other.stretch = factor * self.stretch
        return other

    def drawing(self, noise: Tensor, draws: Tensor | None = None) -> Self:
        """Return the same rule whose codes are drawn with normal numbers (tasks, N, h).

        Weights are drawn, too, where there are `draws` (tasks, latent + 1, N, d) for them.
        """
        other = copy(self)
        other.noise, other.draws = noise, draws
        return other

    def fit(self, net: Net) -> None:
        """Learn how many classes and features there are. Raises: OptionError for other networks."""
        shape = dict(net.layout.shapes).get("head.weight")
        if shape is None or set(dict(net.layout.shapes)) - {"head.weight", "head.bias"}:
            raise OptionError("leo", "leo works on the features problem: it makes a linear layer.")
        self.ways, self.d = shape

    @property
    def encoder(self) -> Layout:
        """The tensors of the encoder and of the relation network."""
        pairs = (2 * self.h, 2 * self.h)
        return Layout((("encoder", (self.h, self.d)), ("r1", pairs), ("r2", pairs), ("r3", pairs)))

    @property
    def decoder(self) -> Layout:
        """The tensor of the decoder: means of weights, then their deviations."""
        return Layout((("decoder", (2 * self.d, self.h)),))

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw all matrices uniformly as Glorot & Bengio do; step sizes begin as they were given.

        Raises: OptionError for networks that are no linear layer.
        """
        self.fit(net)

        def drawn(layout: Layout) -> Tensor:
            params = {}
            for name, (rows, columns) in layout.shapes:
                uniform = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
                params[name] = (2 * uniform - 1) * (6 / (rows + columns)) ** 0.5
            return layout.join(params)

        sizes = [(self.h, self.rate), (self.d, self.finetune)]
        rates = torch.cat([torch.full((n,), rate, dtype=torch.float64) for n, rate in sizes])
        return {"encoder": drawn(self.encoder), "decoder": drawn(self.decoder), "rates": rates}

    def start(self, meta: Meta, support: Batch) -> State:
        """Encode the support sets."""
        params = self.encoder.split(meta["encoder"])
        e = support.x @ params["encoder"].mT
        count = e.shape[1]
        rows = e.unsqueeze(2).expand(-1, -1, count, -1)
        pairs = torch.cat([rows, e.unsqueeze(1).expand(-1, count, -1, -1)], 3)
        hidden = torch.relu(pairs @ params["r1"].mT)
        hidden = torch.relu(hidden @ params["r2"].mT)
        found = (hidden @ params["r3"].mT).mean(2)
        mean, u = class_means(found, support.y, self.ways).chunk(2, 2)
        std = (u.exp() - 1).clamp_min(_FLOOR)
        z = mean if self.noise is None else mean + std * self.noise.to(mean)
        parts = [z.flatten(1), z.new_zeros(len(z), self.ways * self.d)]
        if self.draws is not None:
            parts.append(self.draws[:, 0].to(z).flatten(1))
        noise = torch.zeros_like(z) if self.noise is None else self.noise.to(z)
        return Codes(torch.cat(parts, 1), mean, std, z, noise)

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return codes and offsets, and draws of weights where there are any."""
        del meta
        point: Tensor = state.point
        return point

    def codes(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes (tasks, N, h) and offsets (tasks, N, d) of points."""
        z, offsets, _ = self._parts(point)
        return z.unflatten(1, (self.ways, self.h)), offsets.unflatten(1, (self.ways, self.d))

    def decode(self, meta: Meta, point: Tensor) -> Weights:
        """Return the weights of the linear layer."""
        z, offsets = self.codes(point)
        mean, deviation = self.decoder.split(meta["decoder"])["decoder"].split(self.d)
        weights = z @ mean.mT + offsets
        drawn = self._parts(point)[2]
        if drawn.numel():
            offset = (2 / (self.ways + self.d)) ** 0.5
            std = ((z @ deviation.mT).exp() - (1 - offset)).clamp_min(_FLOOR)
            weights = weights + std * drawn.unflatten(1, (self.ways, self.d))
        return {"head.weight": weights}

    def _parts(self, point: Tensor) -> tuple[Tensor, ...]:
        """Return codes, offsets and draws of points, each flat; draws are often empty."""
        codes, weights = self.ways * self.h, self.ways * self.d
        found: tuple[Tensor, ...] = point.split(
            [codes, weights, point.shape[1] - codes - weights], 1
        )
        return found

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Move the codes in the first steps, then the weights."""
        del loss
        of_codes, of_weights = meta["rates"].split([self.h, self.d])
        sizes = [of_codes, torch.zeros_like(of_weights)]
        if k >= self.latent:
            sizes = [torch.zeros_like(of_codes), of_weights]
        rates = torch.cat([one.repeat(self.ways) for one in sizes])
        draws = None if self.draws is None else self.draws[:, min(k + 1, self.latent)].flatten(1)
        moves = self.stretch * rates * gradient[:, : len(rates)]
        following = state.point[:, : len(rates)] - moves
        if draws is not None:
            following = torch.cat([following, draws.to(following)], 1)
        moved: Codes = state._replace(point=following)
        return moved


@dataclass(frozen=True)
class Penalties:
    """Weights of what is added to the query loss.

    code: the Kullback-Leibler divergence of drawn codes from N(0, 1), by one sample, mean over
    numbers. encoder: mean square of the last code, taken as constant, minus the first. decay: half
    the sum of squares of encoder, relation network and decoder. orthogonal: mean square of the
    cosines of the decoder's columns, less 1 for each with itself.
    """

    code: float
    encoder: float
    decay: float
    orthogonal: float


class LatentObjective(Unrolled):
    """Unrolled, with LEO's penalties."""

    def __init__(self, penalties: Penalties, supports: tuple[Batch, ...] = ()) -> None:
        """Take the weights of the penalties, and what each inner step sees if not all alike."""
        terms = (
            Term(_of_encoder, penalties.encoder),
            Term(_of_codes, penalties.code),
            Term(_of_size, penalties.decay),
            Term(_of_decoder, penalties.orthogonal),
        )
        super().__init__(terms=terms)
        self.penalties = penalties
        self.supports = supports

    @override
    def __call__(self, case: Case) -> MetaStep:
        if not self.supports:
            return super().__call__(case)
        trained = self.trains(case.rule)
        inside = case.with_leaves(trained)
        call, batches = inside.context, iter(self.supports)
        about = (call.learner, inside.meta, call.tasks.support, call.steps, self.graph, batches)
        descent = descend(inside.rule, *about)
        end = self._end(inside, descent)
        return self._finish(case, descent, end, inside.differentiate(end.objective, trained))


def _own(case: Case) -> LatentRule:
    if not isinstance(case.rule, LatentRule):
        raise TypeError("LEO's penalties are those of its own rule.")
    return case.rule


def _of_encoder(case: Case, descent: Descent) -> Tensor:
    last, _ = _own(case).codes(descent.point)
    return encoder_penalty(descent.state.start, last)


def _of_codes(case: Case, descent: Descent) -> Tensor:
    drawn = _own(case).noise is not None
    return divergence(descent.state) if drawn else torch.zeros_like(descent.point[:, 0])


def _of_size(case: Case, descent: Descent) -> Tensor:
    del descent
    return (case.meta["encoder"].square().sum() + case.meta["decoder"].square().sum()) / 2


def _of_decoder(case: Case, descent: Descent) -> Tensor:
    del descent
    return orthogonality(_own(case).decoder.split(case.meta["decoder"])["decoder"].mT)


def divergence(state: Codes) -> Tensor:
    """Return log q(z) - log p(z) of drawn codes z, mean over their numbers, (tasks,)."""
    # Not from z: where deviations are at their floor, z - mean has no digit left.
    return (state.start.square() / 2 - state.noise.square() / 2 - state.std.log()).mean((1, 2))


def encoder_penalty(first: Tensor, last: Tensor) -> Tensor:
    """Return the mean square distance of first codes from last ones, which count as constant."""
    return (last.detach() - first).square().mean((1, 2))


def orthogonality(rows: Tensor) -> Tensor:
    """Return the mean square of the cosines of rows, less those of each with itself."""
    cosines = unit(rows) @ unit(rows).mT
    return (cosines - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).square().mean()


@dataclass(frozen=True)
class Latent(Composed):
    """LEO's rule under its objective.

    Codes are drawn while training, and with "official" noise their weights at every step, too.
    With a share of `dropout` features are left out, anew by the encoder, by the loss of every
    inner step and by the query loss, and others grow by as much.
    """

    noise: Noise = "latent"
    dropout: float = 0.0

    @property
    def noisy(self) -> bool:
        """Whether training draws random numbers."""
        return self.noise != "none" or self.dropout > 0

    @property
    @override
    def network(self) -> None:
        """None: no group is the linear layer before adaptation."""

    @property
    @override
    def traits(self) -> Traits:
        return Traits(inner_loop="latent", shares_rate=False)

    @override
    def meta_gradient(self, context: Context, meta: Meta) -> MetaStep:
        """Return mean meta-gradients; what is drawn for a task is its own."""
        rule, estimator = self.rule, self.estimator
        rule.fit(context.learner.net)
        if isinstance(rule, LatentRule) and self.noise != "none":
            codes = _normal(context, "codes", (rule.ways, rule.h))
            shape = rule.latent + 1, rule.ways, rule.d
            weights = _normal(context, "weights", shape) if self.noise == "official" else None
            rule = rule.drawing(codes, weights)
        if self.dropout and isinstance(estimator, LatentObjective):
            known = context.tasks.support
            seen = [self._thinned(context, known, f"step {k}") for k in range(self.steps)]
            estimator = LatentObjective(estimator.penalties, tuple(seen))
            query = self._thinned(context, context.tasks.query, "query")
            tasks = replace(
                context.tasks, support=self._thinned(context, known, "encoder"), query=query
            )
            context = replace(context, tasks=tasks)
        return estimator(Case(rule, context, meta))

    def _thinned(self, context: Context, batch: Batch, purpose: str) -> Batch:
        """Return a batch without some of its features."""
        shape = batch.x.shape[1:]
        drawn = context.draws.of(f"dropout {purpose}", 0, shape.numel())
        kept = torch.from_numpy(drawn >= self.dropout).view(-1, *shape).to(batch.x)
        return replace(batch, x=batch.x * kept / (1 - self.dropout))

    @override
    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the codes of the first task's classes along adaptation, on a plane."""
        rule, first = self.rule, context[:1]
        rule.fit(context.learner.net)
        if isinstance(rule, LatentRule):
            states = list(
                inner_states(rule, replace(first, steps=min(rule.latent, self.steps)), meta)
            )
            codes = torch.stack([rule.codes(state.point)[0][0] for state in states]).detach()
            yield codes_chart(codes.cpu().numpy())


def _normal(context: Context, purpose: str, shape: tuple[int, ...]) -> Tensor:
    """Return normal numbers of each task, (tasks, *shape)."""
    drawn = torch.from_numpy(context.draws.of(purpose, 0, prod(shape)))
    normal: Tensor = torch.special.ndtri(drawn.clamp(_EDGE, 1 - _EDGE))
    return normal.view(-1, *shape).to(context.tasks.support.x)


def codes_chart(codes: np.ndarray) -> Scatter:
    """Show codes (K+1, classes, h) as paths, on their first two principal components.

    Raises: LinAlgError where a code is not finite.
    """
    flat = codes.reshape(-1, codes.shape[2])
    middle = flat.mean(0)
    axes, across, up = plane_of(flat - middle)
    series = []
    for n in range(min(codes.shape[1], 20)):
        x, y = axes @ (codes[:, n] - middle).T
        color, label = f"method-{n % len(PALETTE)}", f"class {n + 1}"
        series.append(Series(f"path {n}", x, y, label, color, dots=4.0))
        series.append(Series(f"start {n}", x[:1], y[:1], "", color, width=0, dots=12.0, alpha=0.5))
    title = "Codes of the classes of one task along their steps (large dot: encoded)"
    return Scatter(id=CODES, title=title, x=across, y=up, series=tuple(series))


def _published(
    dropout: float, code: float, encoder: float, decay: float, orthogonal: float
) -> dict[str, Any]:
    """Return options as published: README and config.py of google-deepmind/leo, de9a0c2."""
    return {
        **{"noise": "official", "entry_clip": 0.1, "group_clip": 0.1, "dropout": dropout},
        **{"code_weight": code, "encoder_weight": encoder},
        **{"decay_weight": decay, "orthogonal_weight": orthogonal},
    }


class LEOOptions(AlgorithmOptions):
    """Options of LEO."""

    latent_steps: int = option(
        5,
        "Steps of codes",
        "The first so many inner steps move the codes of classes, the others their weights.",
        ge=0,
        le=1000,
    )
    finetune_lr: float = option(
        0.005,
        "First step size of weights",
        "Step sizes of weights begin at it, those of codes at α; both are learned.",
        gt=0,
        le=1000,
        log=True,
    )
    size: int = option(64, "Numbers of a code h", "Of each class.", ge=1, le=4096)
    noise: Noise = option(
        "latent",
        "Noise",
        "Latent: codes are drawn from the encoder's distribution while training. Official: their "
        "weights are drawn, too, anew after every step of codes. None: all are means. At "
        "evaluation they always are.",
        labels={"latent": "codes are drawn", "official": "codes and weights", "none": "none"},
    )
    dropout: float = option(
        0.0,
        "Dropout",
        "Share of the features that are left out while training, drawn anew by the encoder, for "
        "every inner step and for the query set.",
        ge=0,
        le=0.95,
    )
    group_clip: float | None = option(
        None,
        "Clip each group",
        "Largest norm of the meta-gradient of encoder, decoder and step sizes, each by itself; the "
        "authors clip every matrix at 0.1. Empty: not.",
        gt=0,
        le=1e6,
        log=True,
    )
    entry_clip: float | None = option(
        None,
        "Clip each entry",
        "Entries of the meta-gradient are cut to ± this before its groups are clipped; 0.1 as the "
        "authors. Empty: not.",
        gt=0,
        le=1e6,
        log=True,
    )
    code_weight: float = option(
        0.001, "Weight of the divergence", "Of codes from N(0, 1).", ge=0, le=1e6, log=True
    )
    encoder_weight: float = option(
        1e-6,
        "Weight of the encoder penalty",
        "Mean square of the last code, as a constant, minus the first.",
        ge=0,
        le=1e6,
        log=True,
    )
    decay_weight: float = option(
        1e-8, "Weight decay", "Half the sum of squares of all matrices.", ge=0, le=1e6, log=True
    )
    orthogonal_weight: float = option(
        0.001,
        "Weight of orthogonality",
        "Mean square of the cosines of the decoder's columns.",
        ge=0,
        le=1e6,
        log=True,
    )

    @override
    def outer_rule(self, shared: Shared, *, of_network: bool) -> OuterRule:
        rule = super().outer_rule(shared, of_network=of_network)
        return replace(rule, clip=self.group_clip, entry_clip=self.entry_clip)


@register(
    LEOOptions,
    id="leo",
    color=27,
    title="LEO",
    group="On features",
    summary="Adapts a short code of each class, and then the weights that are decoded from it.",
    needs={"classes": "LEO tells classes apart", "features": "LEO needs features"},
    charts=(CODES,),
    presets={
        "miniimagenet-1shot": _published(0.307651, 0.756143, 5.756821e-6, 3.623413e-10, 0.188103),
        "miniimagenet-5shot": _published(0.300299, 0.466387, 2.661608e-7, 8.540338e-9, 1.523998e-3),
        "tieredimagenet-1shot": _published(
            *(0.475126, 2.034189e-3, 8.302962e-5, 4.148858e-10, 5.451078e-3)
        ),
        "tieredimagenet-5shot": _published(
            *(0.415158, 1.622811, 2.672450e-5, 1.690399e-10, 2.481216e-2)
        ),
        "code": _published(0.5, 1e-3, 1e-9, 1e-8, 1e-3),
    },
    defaults={"features": {"inner_lr": 5.0, "inner_steps": 10}},
    formula="z ← z − a ⊙ ∂L_S/∂z,  w = D z;  then w ← w − b ⊙ ∂L_S/∂w",
    cost="as MAML on a linear layer; the encoder sees all pairs of support examples",
    citation="Rusu et al. 2019, arXiv:1807.05960",
    note="Step sizes are on the mean loss: the official 1 and 0.001 on the sum are 5 and 0.005 for "
    "5 classes. By default weights are the decoder's mean, without dropout; the presets draw them "
    "as the authors do, once for each class.",
)
def leo(options: LEOOptions, shared: Shared) -> Algorithm:
    """Build LEO."""
    steps = options.steps(shared)
    latent = min(options.latent_steps, steps)
    rule = LatentRule(options.rate(shared), options.finetune_lr, options.size, latent)
    penalties = Penalties(
        options.code_weight,
        options.encoder_weight,
        options.decay_weight,
        options.orthogonal_weight,
    )
    return Latent(
        rule, LatentObjective(penalties), steps, noise=options.noise, dropout=options.dropout
    )
