"""Bauer et al.: new classifiers by a Gaussian prior on weights that base classes have taught."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.registry import MethodOptions, register
from metaviz.charts.prior import PRIOR, prior_chart
from metaviz.charts.values import Chart
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.logistic import solve
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch

Covariance = Literal["isotropic", "diagonal"]
_FEWEST = 2


class BauerOptions(MethodOptions):
    """Options of Bauer et al."""

    covariance: Covariance = option(
        "isotropic",
        "Covariance of the prior",
        "Isotropic: one variance σ² of all weights about their mean over classes. Diagonal: one "
        "for each feature.",
        labels={"isotropic": "isotropic σ²", "diagonal": "one variance per feature"},
    )
    widen: float = option(
        1.0,
        "Widen the prior",
        "Variances are multiplied by this: with more, the support set counts more.",
        gt=0,
        le=1e9,
        log=True,
    )


class PriorModel:
    """W = argmin Σ CE(W zᵢ, yᵢ) + Σ |W − μ|² / (2 σ²), μ and σ² of the base classes' weights.

    Nothing is learned by episodes: the prior is a closed form of the weights with which the
    backbone told the base classes apart. With V = (W − μ) / σ this is logistic regression on
    features σ z with ridge 1 / S on the mean loss; μ adds the same to every logit.
    Source: Bauer et al. 2017, arXiv:1706.00326 (maximum a posteriori). No code was found; details
    are not verified against it.
    """

    groups = frozenset({"prior"})
    transductive = False
    rowwise = False

    def __init__(self, covariance: Covariance, widen: float) -> None:
        """Take the form of the prior, and what its variances are multiplied by."""
        self.covariance = covariance
        self.widen = widen

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Return the network as it is drawn, which nobody changes, and the prior."""
        base = learner.base
        if base is None or len(base) < _FEWEST:
            raise OptionError(
                "bauer",
                "bauer needs the weights of two base classes or more: choose the features of a run "
                "of classifier by features.pretrained.",
            )
        base = base.double()
        mean = base.mean(0)
        variance = (base - mean).square().mean(0)
        if self.covariance == "isotropic":
            variance = variance.mean().expand_as(mean)
        return {
            "init": learner.net.init(generator),
            "prior": torch.cat([mean, self.widen * variance]),
        }

    def classifier(self, meta: Meta, z: Tensor, y: Tensor, ways: int) -> Tensor:
        """Return the weights W (tasks, ways, d) of support features z (tasks, S, d)."""
        mean, variance = meta["prior"].double().chunk(2)
        deviation = variance.sqrt()
        scaled = z.double() * deviation
        ridge = 1 / z.shape[1]
        return mean + solve(scaled, y, ways, ridge).weights(scaled) * deviation

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Predict by the classifier of each support set; logits (tasks, n, ways)."""
        del alone
        support = context.tasks.support
        weights = self.classifier(meta, support.x, support.y, context.ways)
        outputs = (batch.x.double() @ weights.mT).to(batch.x.dtype)
        return Prediction(outputs, {"weights": weights} if maps else {})

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield how the classifier of the first task lies in the prior."""
        support = context[:1].tasks.support
        weights = self.classifier(meta, support.x, support.y, context.ways)[0]
        mean, variance = meta["prior"].double().chunk(2)
        yield prior_chart(*(of.cpu().numpy() for of in (mean, variance.sqrt(), weights)))


class GivenPrior(Episodic):
    """Predicts by a prior that is there from the start; training changes nothing."""

    @override
    def meta_gradient(self, context: Context, meta: Meta) -> MetaStep:
        """Return a gradient of zero, and what is read of the query and support sets."""
        learner, readings = context.learner, dict[str, Tensor]()
        with torch.no_grad():
            for name, batch in (("query", context.tasks.query), ("support", context.tasks.support)):
                if name == "query" or context.reading:
                    outputs = self.model.predict(context, meta, batch).outputs
                    readings[f"post_{name}_loss"] = learner.judge.loss(outputs, batch)
                    accuracy = learner.accuracy(outputs, batch)
                    if accuracy is not None:
                        readings[f"post_{name}_accuracy"] = accuracy
        empty = readings["post_query_loss"].new_empty(0, len(context.tasks))
        curve = readings["post_support_loss"].unsqueeze(0) if context.reading else empty
        gradients = {name: torch.zeros_like(meta[name]) for name in self.trained()}
        return MetaStep(gradients, readings, curve, empty, 1)


@register(
    BauerOptions,
    id="bauer",
    color=36,
    title="Bauer et al.",
    group="On features",
    summary="A Gaussian prior on classifiers, fitted to those of the base classes; no episodes.",
    needs={
        "classes": "Bauer et al. tells classes apart",
        "base": "Bauer et al. builds on the weights of base classes",
    },
    charts=(PRIOR,),
    formula="W = argmin Σ CE(W z, y) + Σ |W − μ|² / (2σ²),   μ, σ² of the base weights",
    cost="one convex problem per task, solved to the end; nothing to train",
    citation="Bauer, Rojas-Carulla, Świątkowski, Schölkopf & Turner 2017, arXiv:1706.00326",
    note="Only the abstract and secondary descriptions were at hand: details are reconstructed "
    "and not verified against the authors' program.",
)
def bauer(options: BauerOptions, shared: Shared) -> Algorithm:
    """Build Bauer et al."""
    del shared
    return GivenPrior(PriorModel(options.covariance, options.widen))
