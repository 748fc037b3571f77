"""Relation networks: a small network learns to tell how a query relates to a class."""

from collections.abc import Iterator
from math import prod
from typing import Literal

import torch
from torch import Tensor

from metaviz.algorithms.episodic.embedding import embedded, in_sets, rows
from metaviz.algorithms.episodic.episode_options import Embedding, EpisodeOptions, embed_option
from metaviz.algorithms.registry import register
from metaviz.charts.embedding import EMBEDDING
from metaviz.charts.similarity import SIMILARITY
from metaviz.charts.values import Chart
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import OBJECTIVE, Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_embedding, first_similarity
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import memberships
from metaviz.nets.base import Net
from metaviz.nets.blocks import block, block_shapes, halved, linear, linear_shapes
from metaviz.nets.convolution import fold, unfold
from metaviz.nets.layout import Layout, Params

_MAP = 3
_CHANNELS = 64
_LARGE = 10
"""Side from which on maps are convolved without padding."""


class RelationOptions(EpisodeOptions):
    """Options of relation networks."""

    loss: Literal["mse", "cross_entropy"] = option(
        "mse",
        "Training loss",
        "MSE, as published: the mean of (sigmoid(r) − [right class])² over queries and classes; a "
        "network that answers the same everywhere gets 0.16 with 5 ways. Cross-entropy: of r as "
        "logits.",
        labels={"mse": "mean squared error", "cross_entropy": "cross-entropy"},
    )
    hidden: int = option(
        8, "Hidden units", "Units of the relation module's last hidden layer.", ge=1, le=4096
    )
    embed: Embedding = embed_option()


class RelationModule:
    """Maps the features of a class and of an example, side by side, to one number.

    On maps (C, a, a): two 3x3 convolutions to 64 channels with normalisation, ReLU and halving
    while there is something to halve, then `hidden` linear units with ReLU and one without. On
    vectors the linear layers alone (reconstructed).
    Kernels N(0, 2 / (9 channels)) and biases 0, matrices N(0, 0.01²) and biases 1. On vectors, and
    on maps of one pixel, where only the middle of a kernel is seen, matrices N(0, 1 / inputs) and
    kernels N(0, 2 / inputs) (reconstructed: it learns faster).
    Source: Sung et al. 2018 and the authors' code, which pads maps of 5 x 5 and not those of
    19 x 19.
    """

    def __init__(self, net: Net, hidden: int) -> None:
        """Lay out for a network's embeddings."""
        self.shape = net.feature_shape
        self.norm = net.norm if len(self.shape) == _MAP else None
        size = 2 * prod(self.shape)
        shapes = []
        if self.norm is not None:
            side = self.shape[1]
            self.padding = int(side < _LARGE)
            for layer, inputs in ((1, 2 * self.shape[0]), (2, _CHANNELS)):
                shapes += block_shapes(self.norm, f"conv{layer}", inputs, _CHANNELS)
                side = max(1, (side - 2 + 2 * self.padding) // 2)
            size = _CHANNELS * side**2
        shapes += linear_shapes("linear1", size, hidden)
        shapes += linear_shapes("linear2", hidden, 1)
        self.layout = Layout(tuple(shapes))

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw weights as the authors do."""
        params: Params = {}
        for name, shape in self.layout.shapes:
            kind = name.rpartition(".")[2]
            if kind == "weight":
                drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
                params[name] = self._deviation(shape) * drawn
            else:
                one = kind == "gamma" or name.startswith("linear")
                params[name] = torch.full(shape, float(one), dtype=torch.float64)
        return self.layout.join(params)

    def _deviation(self, shape: tuple[int, ...]) -> float:
        """Return the standard deviation of a weight of this shape."""
        flat = prod(self.shape[1:]) == 1
        if len(shape) > 2:  # noqa: PLR2004  (a kernel has a window)
            return float((2 / (shape[1] if flat else shape[0] * prod(shape[2:]))) ** 0.5)
        return float(shape[1] ** -0.5) if flat else 0.01

    def __call__(self, params: Params, classes: Tensor, z: Tensor, counted: int | None) -> Tensor:
        """Relate examples z (tasks, n, d) to classes (tasks, ways, d): (tasks, n, ways).

        The pairs of the first `counted` examples count in statistics, or all.
        """
        (tasks, examples), ways = z.shape[:2], classes.shape[1]
        count = (-1, examples, ways, -1)
        pairs = torch.cat([classes.unsqueeze(1).expand(count), z.unsqueeze(2).expand(count)], 3)
        pairs = pairs.flatten(1, 2)
        if self.norm is not None:
            # A vector of both maps, channels first, is the map of all their channels.
            x = fold(pairs.unflatten(2, (2 * self.shape[0], *self.shape[1:])))
            counted = None if counted is None else counted * ways
            for name in ("conv1", "conv2"):
                x = block(params, name, self.norm, x, counted, self.padding)
                x = halved(x) if x.shape[2] > 1 else x
            pairs = unfold(x, tasks)
        raw = linear(params, "linear2", torch.relu(linear(params, "linear1", pairs)))
        return raw.view(tasks, examples, ways)


class RelationModel:
    """logit_n(x) = r([sum of f over the support examples of class n, f(x)]), r learned.

    Source: Sung et al. 2018, equations 1 and 2; the sum, not the mean, over shots as in their code.
    Deviation: the gradient is not clipped unless the shared option asks for it.
    """

    transductive = False
    rowwise = True
    groups = frozenset({"init", "relation"})

    def __init__(self, options: RelationOptions) -> None:
        """Take the options."""
        self.options = options

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the weights of the network and of the relation module."""
        module = RelationModule(learner.net, self.options.hidden)
        return {"init": learner.net.init(generator), "relation": module.init(generator)}

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Return the relation r of every example and class, (tasks, n, ways)."""
        net = context.learner.net
        together = alone or self.options.embed == "together"
        known, asked = embedded(context, meta, batch, together=together)
        classes = memberships(context.tasks.support.y, context.ways, known).mT @ known
        module = RelationModule(net, self.options.hidden)
        params = module.layout.for_tasks(rows(meta["relation"]), len(known))

        def related(z: Tensor, counted: int | None) -> Tensor:
            return module(params, classes, z, counted)

        statistics = "group" if net.norm is None else net.norm.statistics
        if statistics == "group" or (statistics == "batch" and not together):
            outputs = related(asked, None)  # pairs of support examples do not matter
        else:
            outputs = in_sets(net.norm, known, asked, related, together=together)[1]
        shown = {"classes": classes, "support": known, "query": asked} if maps else {}
        return Prediction(outputs, maps=shown)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the first task's relation scores, and where examples and class means lie."""
        first = context[:1]
        found = self.predict(first, meta, first.tasks.query, maps=True)
        scores = found.outputs.sigmoid()
        title = "Relation of queries to classes"
        yield first_similarity(first, scores, title, "score", (0.0, 1.0), to_classes=True)
        maps = dict(found.maps)
        shots = memberships(first.tasks.support.y, first.ways, maps["support"]).sum(1).unsqueeze(2)
        yield first_embedding(first, maps | {"prototypes": maps["classes"] / shots})


def squared_error(context: Context, prediction: Prediction, batch: Batch) -> Tensor:
    """Return the mean of (sigmoid(r) - [right class])^2 over examples and classes, (tasks,)."""
    right = torch.nn.functional.one_hot(batch.y, context.ways).to(prediction.outputs.dtype)
    return (prediction.outputs.sigmoid() - right).square().mean(dim=(1, 2))


@register(
    RelationOptions,
    id="relation",
    color=20,
    title="Relation networks",
    group="Metric",
    summary="A small network learns to tell how a query relates to the sum of a class.",
    needs={"classes": "Relation networks tell classes apart"},
    quantities=(OBJECTIVE.id,),
    charts=(SIMILARITY, EMBEDDING),
    formula="score(n, x) = sigmoid(r([Σ f(support of n), f(x)])),   loss (score − [right])²",
    cost="1 gradient per task; every pair of query and class passes r",
    citation="Sung et al. 2018, arXiv:1711.06025",
)
def relation(options: RelationOptions, shared: Shared) -> Algorithm:
    """Build relation networks."""
    del shared
    objective = squared_error if options.loss == "mse" else None
    return Episodic(RelationModel(options), options.episodes(), objective)
