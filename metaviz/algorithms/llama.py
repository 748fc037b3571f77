"""LLAMA: MAML with the curvature of each task's loss in its objective (Laplace's approximation)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.charts.posterior import IDS
from metaviz.charts.values import Chart
from metaviz.config.options import option
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.config.run_config import Shared
from metaviz.config.traits import Traits
from metaviz.meta.algorithm import Algorithm, Composed
from metaviz.meta.context import Context, Meta
from metaviz.meta.curvature import information, kronecker_factors, last_layer_variance, tapped
from metaviz.meta.estimators import Term, Unrolled
from metaviz.meta.estimators.base import Case
from metaviz.meta.inner import Descent
from metaviz.meta.learner import Learner
from metaviz.meta.posterior import OF_VARIANCE, posterior_charts
from metaviz.meta.predictor import Adapted, Prediction, Seen
from metaviz.meta.rules import GradientDescent
from metaviz.meta.tasks import Batch
from metaviz.nets.layout import Weights

Weighting = Literal["paper", "evidence", "number"]
_MOST_WEIGHTS = 20_000
"""Networks of more weights are evaluated without their posterior: it takes longer than all else."""
PAPER = 1e-6
"""The weight of the log-determinant in the paper."""
LOG_DETERMINANT = register_quantity(
    Quantity("log_determinant", "Log-determinant of the curvature, above the prior's", unit="nats")
)
INFORMATION = register_quantity(
    Quantity("information", "Information of the support set", unit="nats", per="task")
)


@dataclass(frozen=True)
class LaplaceTerm:
    """What the posterior of a task's weights is taken to be.

    `noise` is the variance of targets, `rate` alpha, `steps` K; `prior` the precision of a weight
    before the data, None for the one that K steps of alpha imply in flat directions.
    """

    noise: float
    rate: float
    steps: int
    prior: float | None

    def precision(self, learner: Learner, support: Batch) -> float:
        """Return the prior precision of a weight: n / (alpha K), of squares over 2 s2.

        A step alpha on the mean loss of n examples is a step alpha / n on their sum.
        """
        if self.prior is not None:
            return self.prior
        return self.losses(learner, support) / (self.rate * max(self.steps, 1))

    def losses(self, learner: Learner, batch: Batch) -> float:
        """Return how many mean losses the negative log-likelihood of a batch is."""
        count = batch.y[0].numel()
        return count if learner.judge.has_accuracy else count / (2 * self.noise)

    def count(self, learner: Learner, batch: Batch) -> float:
        """Return the number of examples over the variance of their noise."""
        examples = batch.x.shape[1]
        return examples if learner.judge.has_accuracy else examples / self.noise

    def information(
        self, learner: Learner, weights: Weights, batch: Batch, support: Batch
    ) -> Tensor:
        """Return log det of the posterior's precision over that of the prior, (tasks,)."""
        factors = kronecker_factors(learner, weights, batch, classes=learner.judge.has_accuracy)
        prior = self.precision(learner, support)
        return information(factors, self.count(learner, batch), prior).to(batch.x.dtype)


@dataclass(frozen=True)
class _State:
    """A state of adaptation that tells what its support set says of its weights."""

    inner: Adapted
    learner: Learner
    support: Batch
    term: LaplaceTerm

    @property
    def weights(self) -> Weights | None:
        """Those of the network."""
        return self.inner.weights

    @property
    def seen(self) -> Seen | None:
        """What adaptation saw."""
        return self.inner.seen

    @torch.no_grad()
    def predict(self, batch: Batch, *, alone: bool = False, maps: bool = False) -> Prediction:
        """Predict, with what the support set tells and, of numbers, the last layer's variance."""
        found = self.inner.predict(batch, alone=alone, maps=maps)
        weights, learner, support = self.weights, self.learner, self.support.at(0)
        if weights is None or learner.net.layout.size > _MOST_WEIGHTS:
            return found
        told = self.term.information(learner, weights, support, support)
        found = replace(found, readings={**found.readings, INFORMATION.id: told})
        if learner.judge.has_accuracy:
            return found
        net, noise = tapped(learner.net, "llama"), self.term.noise
        known, asked = (list(net.layers(weights, one.x))[-1] for one in (support, batch))
        count, prior = self.term.count(learner, support), self.term.precision(learner, support)
        variance = last_layer_variance(known, asked, count, prior).expand_as(found.outputs)
        return replace(found, variance=variance, noise=torch.full_like(told, noise))


@dataclass(frozen=True)
class Laplace(Composed):
    """Gradient steps whose end is the middle of a posterior."""

    term: LaplaceTerm = LaplaceTerm(1.0, 1.0, 1, None)

    @cached_property
    @override
    def traits(self) -> Traits:
        # Eigenvalues of ReLU networks' factors are zero but for rounding: bits depend on the batch.
        return replace(super().traits, probabilistic=True, rowwise=False)

    @override
    def fit(self, learner: Learner) -> None:
        """Refuse a network that does not tell of its layers. Raises: OptionError."""
        tapped(learner.net, "llama")
        super().fit(learner)

    @override
    def adapt(self, context: Context, meta: Meta) -> Iterator[Adapted]:
        """Yield the states of adaptation, each with its posterior."""
        support = context.tasks.support
        for state in super().adapt(context, meta):
            yield _State(state, context.learner, support, self.term)

    @override
    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the last layer's bands, how often they hold, and spread against error."""
        *_, state = self.adapt(context, meta)
        yield from posterior_charts(context, state.predict(context.tasks.query))


class LLAMAOptions(AlgorithmOptions):
    """Options of LLAMA."""

    weighting: Weighting = option(
        "paper",
        "Weight η",
        "What the log-determinant is multiplied by. Paper: 0.000001, with which runs cannot be "
        "told from MAML's. Evidence: what Laplace's approximation of the marginal likelihood has, "
        "σ²/n for squared errors and 1/(2n) for classes, n being the query examples; on "
        "sinusoids it lowers the information and costs accuracy. Number: the one below.",
        labels={"paper": "paper (10⁻⁶)", "evidence": "evidence", "number": "number"},
    )
    weight: float = option(
        1e-6,
        "Number for η",
        "Used where the weight is a number. 0: MAML, bit by bit.",
        ge=0,
        le=1e3,
        log=True,
    )
    prior_precision: float | None = option(
        None,
        "Prior precision τ",
        "Of each weight about the meta-learned start, in units of the negative log-likelihood. "
        "Empty: what K steps of size α imply in flat directions, n/(αK) for classes and "
        "n/(2σ²αK) for squared errors, n being the support examples.",
        gt=0,
        le=1e12,
        log=True,
    )
    noise_variance: float = option(
        1.0,
        "Noise variance σ²",
        "Of targets in regression, taken as known.",
        gt=0,
        le=1e6,
        log=True,
    )
    curvature_on: Literal["query", "support"] = option(
        "query",
        "Curvature on",
        "Whose curvature enters the objective. Query set: as in the paper. Support set: the "
        "posterior of what adaptation has seen, which evaluations and the Posterior page always "
        "use.",
        labels={"query": "query set (paper)", "support": "support set"},
    )


@register(
    LLAMAOptions,
    id="llama",
    color=17,
    title="LLAMA",
    group="Probabilistic",
    quantities=(
        LOG_DETERMINANT.id,
        INFORMATION.id,
        *(quantity.id for quantity in OF_VARIANCE),
    ),
    charts=IDS,
    needs={
        "residuals": "LLAMA takes the loss of residuals for a likelihood",
        "layers": "LLAMA looks at the layers of a network",
    },
    summary="MAML that also lowers the curvature of each task's loss: a Laplace approximation.",
    formula="min L_Q(φ^K) + η log det(n A ⊗ G + τ) at φ^K, summed over layers",
    cost="as MAML, one forward pass, one backward pass (N for classes) and its derivative, and the "
    "eigenvalues of two matrices per layer: with Conv4-64 about 15 times a meta-step of MAML",
    citation="Grant et al. 2018, arXiv:1801.08930; factors: Martens & Grosse 2015",
    note="With the paper's weight the term is there in numbers and absent in effect: on sinusoids "
    "its query loss after adaptation is MAML's within the noise of a seed. The evidence weight "
    "halves the information that a support set has, and costs accuracy at the same number of "
    "meta-steps. Scales and shifts of normalisation are not among the weights that are counted.",
)
def llama(options: LLAMAOptions, shared: Shared) -> Algorithm:
    """Build LLAMA."""
    rate, steps = options.rate(shared), options.steps(shared)
    posterior = LaplaceTerm(options.noise_variance, rate, steps, options.prior_precision)
    on_query = options.curvature_on == "query"

    def value(case: Case, descent: Descent) -> Tensor:
        learner, tasks = case.context.learner, case.context.tasks
        batch = tasks.query if on_query else tasks.support
        return posterior.information(learner, descent.point, batch, tasks.support)

    def evidence(case: Case) -> float:
        return 1 / (2 * posterior.losses(case.context.learner, case.context.tasks.query))

    weights: dict[Weighting, float | Callable[[Case], float]]
    weights = {"paper": PAPER, "evidence": evidence, "number": options.weight}
    term = Term(value, weights[options.weighting], LOG_DETERMINANT.id, cost=(1, 1))
    return Laplace(GradientDescent(rate), Unrolled(terms=(term,)), steps, term=posterior)
