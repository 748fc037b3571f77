"""PLATIPUS: a distribution of starting points, of which each task draws its own."""

import math
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.charts.posterior import IDS
from metaviz.charts.values import Chart
from metaviz.config.options import option
from metaviz.config.outer_rule import OuterRule
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.config.run_config import Shared
from metaviz.config.traits import Traits
from metaviz.meta.algorithm import Algorithm, Composed
from metaviz.meta.context import Context, Meta
from metaviz.meta.draws import Draws
from metaviz.meta.episodic import OBJECTIVE
from metaviz.meta.estimators.base import Case, MetaStep, groups_entering, read
from metaviz.meta.inner import Descent, Graph, adaptation, descend
from metaviz.meta.learner import Learner
from metaviz.meta.pictures import slices
from metaviz.meta.posterior import OF_SAMPLES, OF_VARIANCE, posterior_charts
from metaviz.meta.predictor import Adapted, Prediction, Seen
from metaviz.meta.rules import Enters, GradientDescent, InnerRule, State
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net
from metaviz.nets.layout import Weights

Start = Literal["learned", "noise"]
PRIOR, POSTERIOR, RATES, NOISE = "log_std_prior", "log_std_posterior", "rates", "log_noise"
_EDGE = 1e-12
KL = register_quantity(
    Quantity("kl", "Divergence of the posterior of starts from the prior", unit="nats")
)
NOISE_STD = register_quantity(
    Quantity("noise_std", "Standard deviation of the noise that is believed in")
)


class GaussianStart(GradientDescent):
    """Gradient steps from a start that is drawn: of the prior N(m_p, s_p), or given points.

    Groups: the logarithms of both distributions' standard deviations, (P,) each; those of
    (gamma_p, gamma_q), the sizes of the steps from mu to their means; that of the variance of the
    noise, where it is learned. With `trained` false the start is mu with noise of a fixed size.
    """

    def __init__(
        self, rate: float, std: float, shift: float, noise: float, *, learned: bool, trained: bool
    ) -> None:
        """Take alpha, what deviations, gammas and the noise's variance start from, what learns."""
        super().__init__(rate)
        self.std, self.shift, self.noise = std, shift, noise
        self.learned, self.trained = learned, trained
        self.points: Tensor | None = None
        groups: dict[str, frozenset[Enters]] = {"init": frozenset({Enters.START})}
        if trained:
            groups |= dict.fromkeys((PRIOR, POSTERIOR, RATES), frozenset({Enters.START}))
        if learned:
            groups[NOISE] = frozenset({Enters.OBJECTIVE})
        self.groups: Mapping[str, frozenset[Enters]] = groups

    def starting(self, points: Tensor) -> Self:
        """Return the same rule that starts from points (tasks, P)."""
        other = copy(self)
        other.points = points
        return other

    @override
    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw mu from the network's initialisation; the rest begins as it was given."""
        meta = super().init(net, generator)
        if self.trained:
            deviations = torch.full_like(meta["init"], math.log(self.std))
            meta |= {PRIOR: deviations, POSTERIOR: deviations.clone()}
            meta[RATES] = torch.full((2,), math.log(self.shift), dtype=torch.float64)
        if self.learned:
            meta[NOISE] = torch.full((1,), math.log(self.noise), dtype=torch.float64)
        return meta

    @override
    def start(self, meta: Meta, support: Batch) -> State:
        """Return the points that were given, else mu."""
        return super().start(meta, support) if self.points is None else self.points

    def variance(self, meta: Meta) -> Tensor:
        """Return the variance of the noise, a scalar."""
        if self.learned:
            return meta[NOISE].exp().squeeze(0)
        return torch.tensor(self.noise, dtype=meta["init"].dtype, device=meta["init"].device)

    def prior(self, learner: Learner, meta: Meta, support: Batch) -> tuple[Tensor, Tensor]:
        """Return mean (tasks, P) and deviation (P,) of the prior of a task's start."""
        if not self.trained:
            mu = meta["init"].expand(len(support), -1)
            return mu, torch.full_like(meta["init"], self.std)
        gamma = meta[RATES][0].exp()
        return _shifted(learner, meta["init"], support, gamma), meta[PRIOR].exp()


def _shifted(learner: Learner, mu: Tensor, batch: Batch, gamma: Tensor) -> Tensor:
    """Return mu - gamma grad L(mu) of every task, (tasks, P); with a graph where one is kept."""
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        point = mu.expand(len(batch), -1)
        if not point.requires_grad:
            point = point.detach().requires_grad_()
        loss = learner.losses(point, batch)
        (gradient,) = torch.autograd.grad(loss.sum(), point, create_graph=graph)
    return mu - gamma * learner.adapted(gradient)


def divergence(mean_q: Tensor, log_q: Tensor, mean_p: Tensor, log_p: Tensor) -> Tensor:
    """Return KL(q || p) of diagonal normal distributions, summed over the last axis, in nats."""
    away = (2 * log_q).exp() + (mean_q - mean_p).square()
    found: Tensor = (log_p - log_q + away / (2 * (2 * log_p).exp()) - 0.5).sum(-1)
    return found


def normals(draws: Draws, purpose: str, k: int, count: int, like: Tensor) -> Tensor:
    """Return normal numbers (tasks, count) of the tasks' own."""
    uniform = torch.from_numpy(draws.of(purpose, k, count)).clamp(_EDGE, 1 - _EDGE)
    found: Tensor = torch.special.ndtri(uniform).to(like)
    return found


@dataclass(frozen=True)
class Sampled:
    """What a meta-step of the evidence lower bound comes to.

    Shapes: query losses and divergences (tasks,); means (tasks, P); points, where the samples'
    adaptation ended, (samples, tasks, P).
    """

    loss: Tensor
    divergence: Tensor
    mean_q: Tensor
    mean_p: Tensor
    points: Tensor


@dataclass(frozen=True)
class LowerBound:
    """The query loss after adaptation from a drawn start, plus the divergence, over the examples.

    theta ~ N(mu - gamma_q grad L_Q(mu), s_q) adapts to the support set; the divergence is that from
    N(mu - gamma_p grad L_S(mu), s_p). With a learned noise s2 a task's objective is
    L / (2 s2) + log(s2) / 2 + (w / n) KL, with a fixed one L + 2 s2 (w / n) KL, of classes
    L + (w / n) KL; n is the number of query targets, and w = 1 the evidence lower bound.
    Readings before and after adaptation are those of the prior's mean, which sees the support set
    alone: a start drawn while training has seen the query set.
    Source: Finn, Xu & Levine 2018, and cnguyen10/few_shot_meta_learning.
    Deviation: one step to either mean where the port takes as many as inside; gammas and deviations
    are stored as logarithms; the port's weight of the divergence is 1e-6 and its noise is fixed.
    """

    weight: float
    samples: int = 1

    sequential = False
    trains_held = True
    rowwise = False

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return all groups."""
        return groups_entering(rule, [Enters.START, Enters.OBJECTIVE])

    def __call__(self, case: Case) -> MetaStep:
        """Return the mean meta-gradients, with starts of the tasks' own draws."""
        size, rule = case.meta["init"].shape[-1], _own(case)
        if not rule.trained:
            return self.step(case, None)
        drawn = [
            normals(case.context.draws, f"start {n}", 0, size, case.meta["init"])
            for n in range(self.samples)
        ]
        return self.step(case, torch.stack(drawn))

    def step(self, case: Case, noise: Tensor | None) -> MetaStep:
        """Return the mean meta-gradients with normal numbers (samples, tasks, P); none: MAML's."""
        rule = _own(case)
        trained = self.trains(rule)
        inside = case.with_leaves(trained)
        readings: dict[str, Tensor] = {}
        if noise is None:
            objective = _of_control(inside)
        else:
            found = self.sampled(inside, noise)
            objective = self.objective(inside, found)
            readings = {KL.id: found.divergence.detach(), OBJECTIVE.id: objective.detach()}
        gradients = inside.differentiate(objective.mean(), trained)
        if rule.learned and not case.context.learner.judge.has_accuracy:
            deviation = rule.variance(case.meta).detach().sqrt()
            readings[NOISE_STD.id] = deviation.expand(len(objective))
        steps = case.context.steps
        count, shifts = (1, 0) if noise is None else (len(noise), 2)
        cost = count * (steps + 1) + shifts, count * steps + shifts
        if not case.context.reading:
            none = objective.new_empty(0, len(objective))
            return MetaStep(gradients, readings, none, none, *cost)
        shown = _of_prior(case.detached())
        descent = shown.descend()
        known, curve = read(shown, descent)
        return MetaStep(gradients, known | readings, curve, descent.gradient_norm, *cost)

    def sampled(self, case: Case, noise: Tensor) -> Sampled:
        """Adapt from starts of the posterior with normal numbers (samples, tasks, P)."""
        rule, meta, tasks = _own(case), case.meta, case.context.tasks
        learner = case.context.learner
        mean_p, _ = rule.prior(learner, meta, tasks.support)
        mean_q = _shifted(learner, meta["init"], tasks.query, meta[RATES][1].exp())
        losses, points = [], []
        for one in noise:
            start = mean_q + meta[POSTERIOR].exp() * one
            from_here = replace(case, rule=rule.starting(start))
            points.append(from_here.descend(Graph.SECOND_ORDER).point)
            losses.append(case.losses(points[-1], tasks.query))
        apart = divergence(mean_q, meta[POSTERIOR], mean_p, meta[PRIOR])
        return Sampled(torch.stack(losses).mean(0), apart, mean_q, mean_p, torch.stack(points))

    def objective(self, case: Case, found: Sampled) -> Tensor:
        """Return what is minimised of each task, (tasks,)."""
        rule, query = _own(case), case.context.tasks.query
        share = self.weight / query.y[0].numel()
        loss = found.loss
        if not case.context.learner.judge.has_accuracy:
            variance = rule.variance(case.meta)
            if rule.learned:
                loss = loss / (2 * variance) + variance.log() / 2
            else:
                share = 2 * float(variance) * share
        return loss + share * found.divergence if share else loss


def _own(case: Case) -> GaussianStart:
    if not isinstance(case.rule, GaussianStart):
        raise TypeError("The lower bound is that of a start that is drawn.")
    return case.rule


def _of_control(case: Case) -> Tensor:
    """Return MAML's objective, beside that of the noise alone, (tasks,)."""
    point = case.descend(Graph.SECOND_ORDER).point
    loss = case.losses(point, case.context.tasks.query)
    if not _own(case).learned:
        return loss
    variance = _own(case).variance(case.meta)
    return loss + loss.detach() / (2 * variance) + variance.log() / 2


def _of_prior(case: Case) -> Case:
    """Return the case whose tasks start from the mean of their prior."""
    rule = _own(case)
    with torch.no_grad():
        mean, _ = rule.prior(case.context.learner, case.meta, case.context.tasks.support)
    return replace(case, rule=rule.starting(mean))


@dataclass(frozen=True)
class _State:
    """A state of adaptation from the prior's mean, beside those from draws of the prior."""

    middle: Adapted
    drawn: tuple[Adapted, ...]
    noise: Tensor | None

    @property
    def weights(self) -> Weights | None:
        """Those that the mean has come to."""
        return self.middle.weights

    @property
    def seen(self) -> Seen | None:
        """What adaptation from the mean saw."""
        return self.middle.seen

    @torch.no_grad()
    def predict(self, batch: Batch, *, alone: bool = False, maps: bool = False) -> Prediction:
        """Predict from the mean, with the samples' predictions beside it."""
        found = self.middle.predict(batch, alone=alone, maps=maps)
        if not self.drawn:
            return found
        samples = [state.predict(batch, alone=alone).outputs for state in self.drawn]
        return replace(found, samples=torch.stack(samples), noise=self.noise)


@dataclass(frozen=True)
class Platipus(Composed):
    """Adaptation from the mean of the prior, and where tasks have random numbers from draws."""

    samples: int = 20

    @cached_property
    @override
    def traits(self) -> Traits:
        return replace(super().traits, probabilistic=True)

    @property
    def _start(self) -> GaussianStart:
        if not isinstance(self.rule, GaussianStart):
            raise TypeError("PLATIPUS adapts from a start that is drawn.")
        return self.rule

    @override
    def descend(self, learner: Learner, meta: Meta, support: Batch, steps: int) -> Descent:
        """Adapt from the mean of the prior, without a graph."""
        with torch.no_grad():
            mean, _ = self._start.prior(learner, meta, support)
        return descend(self._start.starting(mean), learner, meta, support, steps)

    @override
    def adapt(self, context: Context, meta: Meta) -> Iterator[Adapted]:
        """Yield states from the prior's mean, beside those of samples where tasks have draws."""
        rule, support, draws = self._start, context.tasks.support, context.draws
        with torch.no_grad():
            mean, std = rule.prior(context.learner, meta, support)
        starts = [mean]
        if draws.parts:
            starts += [
                mean + std * normals(draws, f"sample {n}", 0, mean.shape[1], mean)
                for n in range(1, self.samples + 1)
            ]
        noise = None
        if not context.learner.judge.has_accuracy:
            noise = rule.variance(meta).detach().expand(len(support))
        paths = [adaptation(rule.starting(start), context, meta) for start in starts]
        for middle, *drawn in zip(*paths, strict=True):
            yield _State(middle, tuple(drawn), noise)

    @override
    def pictures(self, context: Context, meta: Meta) -> Iterator[dict[str, np.ndarray]]:
        """Yield the loss along adaptation from the prior's mean."""
        with torch.no_grad():
            mean, _ = self._start.prior(context.learner, meta, context.tasks.support)
        arrays = slices(self._start.starting(mean), context, meta)
        if arrays:
            yield arrays

    @override
    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield fans of samples, how often their intervals hold, and spread against error."""
        *_, state = self.adapt(context, meta)
        yield from posterior_charts(context, state.predict(context.tasks.query))


class PlatipusOptions(AlgorithmOptions):
    """Options of PLATIPUS."""

    start: Start = option(
        "learned",
        "Distribution of starts",
        "Learned: means and deviations are trained by the lower bound. Noise: a control, which is "
        "MAML whose start gets noise of a fixed size at evaluation that nothing has trained; what "
        "it reaches is no merit of the bound.",
        labels={"learned": "learned (PLATIPUS)", "noise": "MAML + untrained noise (control)"},
    )
    kl_weight: float = option(
        0.1,
        "Weight of the divergence",
        "In units of what the evidence lower bound has: 1 is that bound, less is tempered. 0: the "
        "posterior of starts is not held back, and the prior learns nothing of it.",
        ge=0,
        le=1e6,
        log=True,
    )
    std: float = option(
        0.05,
        "First deviation of starts",
        "Standard deviation of each weight's start, of prior and posterior. From 0.1 on single "
        "samples of sinusoids and lines diverge in the inner loop.",
        gt=0,
        le=100,
        log=True,
    )
    shift: float = option(
        0.01,
        "First size of the shifts γ",
        "Of the steps on support and query loss from μ to the means of prior and posterior.",
        gt=0,
        le=100,
        log=True,
    )
    noise: Literal["learned", "fixed"] = option(
        "learned",
        "Noise of targets",
        "In regression: whether the variance of observations about a prediction is learned. Where "
        "it is fixed at that of the data, errors of the model count as certain, and intervals are "
        "far too narrow.",
        labels={"learned": "learned", "fixed": "fixed"},
    )
    noise_variance: float = option(
        1.0,
        "Noise variance σ²",
        "What the variance of targets in regression begins with, or is fixed at.",
        gt=0,
        le=1e6,
        log=True,
    )
    posterior_lr: float = option(
        0.01,
        "Own outer step size",
        "Outer step size of everything but the mean μ of the starts.",
        gt=0,
        le=1000,
        log=True,
    )
    train_samples: int = option(
        1, "Samples in training", "Starts that each task draws in a meta-step.", ge=1, le=100
    )
    samples: int = option(
        20,
        "Samples at evaluation",
        "Starts that each task draws from the prior at an evaluation, beside the mean, which the "
        "curves over k are of. They make an evaluation as many times as long.",
        ge=2,
        le=1000,
    )

    @override
    def outer_rule(self, shared: Shared, *, of_network: bool) -> OuterRule:
        if of_network:
            return super().outer_rule(shared, of_network=of_network)
        return OuterRule(self.posterior_lr, "posterior_lr", own=True)


@register(
    PlatipusOptions,
    id="platipus",
    color=18,
    title="PLATIPUS",
    group="Probabilistic",
    quantities=(
        *(KL.id, NOISE_STD.id, OBJECTIVE.id),
        *(quantity.id for quantity in (*OF_SAMPLES, *OF_VARIANCE)),
    ),
    charts=IDS,
    needs={"residuals": "PLATIPUS takes the loss of residuals for a likelihood"},
    defaults={name: {"samples": 5} for name in ("strokes", "omniglot", "images")},
    summary="Learns a distribution of starts; a task draws from it what it holds possible.",
    formula="min L_Q(φ^K)/(2σ²) + ½ log σ² + (w/n) KL(q‖p),  φ⁰ ~ q = N(μ − γ_q ∇L_Q(μ), s_q), "
    "p = N(μ − γ_p ∇L_S(μ), s_p)",
    cost="as MAML, and two gradients with their derivatives; an evaluation adapts every sample",
    citation="Finn, Xu & Levine 2018, arXiv:1806.02817; cnguyen10/few_shot_meta_learning",
    note="Training from scratch is slow: start from a finished MAML run (metaviz compare --from). "
    "Set it beside its control, MAML with untrained noise on the start: at the budgets of a "
    "desktop the noise does most of the work. On sinusoids and lines (three seeds) its squared "
    "error is 2 to 11 % above that of MAML with as many meta-steps, its best sample and its "
    "likelihood are about the control's, and its spread goes with the error a little more. Losses "
    "of training batches are of the prior's mean, as starts drawn in training have seen the query "
    "set.",
)
def platipus(options: PlatipusOptions, shared: Shared) -> Algorithm:
    """Build PLATIPUS."""
    rule = GaussianStart(
        options.rate(shared),
        options.std,
        options.shift,
        options.noise_variance,
        learned=options.noise == "learned",
        trained=options.start == "learned",
    )
    bound = LowerBound(options.kl_weight, options.train_samples)
    return Platipus(rule, bound, options.steps(shared), samples=options.samples)
