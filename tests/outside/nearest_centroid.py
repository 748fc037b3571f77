"""Nearest centroid: the class whose mean feature is nearest, softened by a learned temperature.

A method in one file outside the program: importing it is all that it takes.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from metaviz.algorithms.registry import MethodOptions, register
from metaviz.charts.values import Axis, Chart, HeatMap
from metaviz.config.options import option
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch

ENTROPY = register_quantity(Quantity("entropy", "Entropy of predictions", "nats", "smaller"))
CHART = "centroids"


class NearestCentroidOptions(MethodOptions):
    """Options of nearest centroids."""

    temperature: float = option(
        4.0, "Temperature", "Where the learned temperature starts.", gt=0, le=1000, log=True
    )


class CentroidModel:
    """logit_n(x) = -|f(x) - c_n| / t, c_n the mean feature of class n; t = exp(log t) is learned.

    Reads the mean entropy of its predictions, in nats.
    """

    groups = frozenset({"body", "temperature"})
    transductive = False
    rowwise = False

    def __init__(self, temperature: float) -> None:
        """Take the temperature to start from."""
        self.temperature = temperature

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network's weights; the temperature starts at the given one."""
        start = torch.tensor([math.log(self.temperature)], dtype=torch.float64)
        return {"body": learner.net.init(generator), "temperature": start}

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Compare every example with the centroids; logits (tasks, n, ways)."""
        support = context.tasks.support
        known = self._features(context, meta, support)
        members = torch.nn.functional.one_hot(support.y, context.ways).to(known.dtype)
        centroids = members.mT @ known / members.sum(1).unsqueeze(2)
        asked = known if batch is support else self._features(context, meta, batch)
        if alone:
            x, y = torch.cat([support.x, batch.x], 1), torch.cat([support.y, batch.y], 1)
            asked = self._features(context, meta, Batch(x, y))[:, -1:]
        apart = (asked.unsqueeze(2) - centroids.unsqueeze(1)).square().sum(3) + 1e-12
        outputs = -apart.sqrt() / meta["temperature"].exp()
        logs = torch.log_softmax(outputs, 2)
        entropy = -(logs.exp() * logs).sum(2).mean(1)
        shown = {"centroids": centroids} if maps else {}
        return Prediction(outputs, maps=shown, readings={ENTROPY.id: entropy})

    def _features(self, context: Context, meta: Meta, batch: Batch) -> Tensor:
        weights = meta["body"].expand(len(batch), -1)
        return context.learner.net.features(weights, batch.x, batch.beside)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield how far the centroids of the first task are apart."""
        first = context[:1]
        centroids = self.predict(first, meta, first.tasks.query, maps=True).maps["centroids"][0]
        apart = torch.cdist(centroids, centroids).float().cpu().numpy()
        yield HeatMap(
            id=CHART,
            title="Distances of centroids",
            x=Axis("class"),
            y=Axis("class", down=True),
            values=apart,
            levels=(0.0, max(float(apart.max()), 1e-6)),
            meaning="distance",
            square=True,
            diverging=False,
        )


class NearestCentroid(Episodic):
    """Keeps the weights of its network in a group of another name than the shipped methods."""

    network = "body"


@register(
    NearestCentroidOptions,
    id="nearest_centroid",
    title="Nearest centroid",
    group="Metric",
    summary="The class whose mean feature is nearest, softened by a learned temperature.",
    needs={"classes": "Nearest centroid tells classes apart"},
    quantities=(ENTROPY.id,),
    charts=(CHART,),
    formula="p(n | x) ∝ exp(−|f(x) − cₙ| / t)",
    cost="1 gradient per task; no inner steps",
    citation="Mensink et al. 2013",
)
def nearest_centroid(options: NearestCentroidOptions, shared: Shared) -> Algorithm:
    """Build nearest centroids."""
    del shared
    return NearestCentroid(CentroidModel(options.temperature))
