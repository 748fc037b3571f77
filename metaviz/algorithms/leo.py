"""LEO: adapts a code of each class, from which the weights of its classifier are decoded."""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.charts.embedding import plane_of
from metaviz.charts.values import PALETTE, Chart, Scatter, Series
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.config.traits import Traits
from metaviz.meta.algorithm import Algorithm, Composed
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators import Term, Unrolled
from metaviz.meta.estimators.base import Case, MetaStep
from metaviz.meta.inner import Descent, inner_states
from metaviz.meta.rules import Enters, GradientDescent, State
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import class_means, unit
from metaviz.nets.base import Net
from metaviz.nets.layout import Layout, Weights

CODES = "latent"
"""The id of the chart of codes along adaptation."""
_FLOOR = 1e-10
"""Smallest deviation of a code, as in the authors' program."""
_EDGE = 1e-12


class Codes(NamedTuple):
    """Point (tasks, N h + N d): the codes of all classes, then what is added to their weights.

    Shapes: mean and std (tasks, N, h), of which the first code is a draw.
    """

    point: Tensor
    mean: Tensor
    std: Tensor
    start: Tensor


class LatentRule(GradientDescent):
    """A code z of each class takes gradient steps, then its decoded weights do.

    Encoder: e = E x; all ordered pairs (e_i, e_j) of support examples pass through three layers;
    means over j and over the examples of a class are (mean, u) with std = max(exp(u) - 1, 1e-10);
    z = mean, or with noise mean + std times a normal draw. Weights w = D z, the first half of the
    decoder; the other half, of their deviation, learns from the penalties alone.
    With offsets o, weights are D z + o: the first `latent` steps move z alone, later ones o alone,
    which is to descend on w from D z. Step sizes are learned: one per number of a code, one per
    feature. Losses are means, so that a step size of N here is the official 1 on their sum.
    Source: Rusu et al. 2019, arXiv:1807.05960, and google-deepmind/leo.
    Deviation: weights are the decoder's mean and no dropout is used; what that costs was not
    measured here.
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
        self.ways = self.d = 0

    def scaled(self, factor: float) -> Self:
        """Return the same rule with steps of `factor` times the size."""
        other = super().scaled(factor)
        other.stretch = factor * self.stretch
        return other

    def drawing(self, noise: Tensor) -> Self:
        """Return the same rule whose codes are drawn with normal numbers (tasks, N, h)."""
        other = copy(self)
        other.noise = noise
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
        offsets = z.new_zeros(len(z), self.ways * self.d)
        return Codes(torch.cat([z.flatten(1), offsets], 1), mean, std, z)

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return codes and offsets."""
        del meta
        point: Tensor = state.point
        return point

    def codes(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes (tasks, N, h) and offsets (tasks, N, d) of points."""
        z, offsets = point.split([self.ways * self.h, self.ways * self.d], 1)
        return z.unflatten(1, (self.ways, self.h)), offsets.unflatten(1, (self.ways, self.d))

    def decode(self, meta: Meta, point: Tensor) -> Weights:
        """Return the weights of the linear layer."""
        z, offsets = self.codes(point)
        mean = self.decoder.split(meta["decoder"])["decoder"][: self.d]
        return {"head.weight": z @ mean.mT + offsets}

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Move the codes in the first steps, then the weights."""
        del loss
        of_codes, of_weights = meta["rates"].split([self.h, self.d])
        sizes = [of_codes, torch.zeros_like(of_weights)]
        if k >= self.latent:
            sizes = [torch.zeros_like(of_codes), of_weights]
        rates = torch.cat([one.repeat(self.ways) for one in sizes])
        moved: Codes = state._replace(point=state.point - self.stretch * rates * gradient)
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

    def __init__(self, penalties: Penalties) -> None:
        """Take the weights of the penalties."""
        terms = (
            Term(_of_encoder, penalties.encoder),
            Term(_of_codes, penalties.code),
            Term(_of_size, penalties.decay),
            Term(_of_decoder, penalties.orthogonal),
        )
        super().__init__(terms=terms)


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
    z, noise = state.start, (state.start - state.mean) / state.std
    return (z.square() / 2 - noise.square() / 2 - state.std.log()).mean((1, 2))


def encoder_penalty(first: Tensor, last: Tensor) -> Tensor:
    """Return the mean square distance of first codes from last ones, which count as constant."""
    return (last.detach() - first).square().mean((1, 2))


def orthogonality(rows: Tensor) -> Tensor:
    """Return the mean square of the cosines of rows, less those of each with itself."""
    cosines = unit(rows) @ unit(rows).mT
    return (cosines - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).square().mean()


@dataclass(frozen=True)
class Latent(Composed):
    """LEO's rule under its objective; codes are drawn while training, unless asked not to be."""

    noisy: bool = True

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
        """Return mean meta-gradients; with noise the codes of each task are its own draws."""
        rule = self.rule
        rule.fit(context.learner.net)
        if not self.noisy or not isinstance(rule, LatentRule):
            return self.estimator(Case(rule, context, meta))
        drawn = torch.from_numpy(context.draws.of("codes", 0, rule.ways * rule.h))
        noise = torch.special.ndtri(drawn.clamp(_EDGE, 1 - _EDGE))
        shaped = noise.view(-1, rule.ways, rule.h).to(context.tasks.support.x)
        return self.estimator(Case(rule.drawing(shaped), context, meta))

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
    noise: Literal["latent", "none"] = option(
        "latent",
        "Noise",
        "Latent: codes are drawn from the encoder's distribution while training. None: they are "
        "its mean. At evaluation they always are.",
        labels={"latent": "codes are drawn", "none": "none"},
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


@register(
    LEOOptions,
    id="leo",
    title="LEO",
    group="On features",
    summary="Adapts a short code of each class, and then the weights that are decoded from it.",
    needs={"classes": "LEO tells classes apart", "features": "LEO needs features"},
    charts=(CODES,),
    defaults={"features": {"inner_lr": 5.0, "inner_steps": 10}},
    formula="z ← z − a ⊙ ∂L_S/∂z,  w = D z;  then w ← w − b ⊙ ∂L_S/∂w",
    cost="as MAML on a linear layer; the encoder sees all pairs of support examples",
    citation="Rusu et al. 2019, arXiv:1807.05960",
    note="Step sizes are on the mean loss: the official 1 and 0.001 on the sum are 5 and 0.005 for "
    "5 classes. Weights are the decoder's mean, without dropout. The authors' clipping of each "
    "group at 0.1 is not done; clip_norm clips all together.",
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
    return Latent(rule, LatentObjective(penalties), steps, noisy=options.noise == "latent")
