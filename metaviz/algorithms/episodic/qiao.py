"""Qiao et al.: a network turns mean activations of a class into the weights of its classifier."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from metaviz.algorithms.episodic.episode_options import EpisodeOptions
from metaviz.algorithms.registry import register
from metaviz.charts.embedding import EMBEDDING
from metaviz.charts.values import Chart
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_embedding
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import class_means, unit
from metaviz.nets.layout import Layout, Params


class QiaoOptions(EpisodeOptions):
    """Options of Qiao et al., who train on episodes of all base classes at once."""

    single: float = option(
        0.7,
        "One example instead of the mean",
        "While training, a class is one of its support examples with this probability, else the "
        "mean of all of them, so that the network serves for both.",
        ge=0,
        le=1,
    )
    positive: bool = option(
        False,
        "ReLU first",
        "Cut negative features off: the network's start is exact for features that are not "
        "negative alone.",
    )


class WeightPredictor:
    """logits a · ψ(s), with ψ(a) = unit(W₂ relu(W₁ unit(a) + b₁) + b₂), s a statistic of a class.

    ψ begins as the identity for activations that are not negative. Query activations are not
    normalised. Source: Qiao, Liu, Shen & Yuille 2018, arXiv:1706.03466 and its code.
    Deviation: the mean of a class in training is that of the episode's support examples.
    """

    groups = frozenset({"psi"})
    transductive = False
    rowwise = False

    def __init__(self, single: float, *, positive: bool) -> None:
        """Take the probability of one example in place of the mean, and whether a ReLU is first."""
        self.single = single
        self.positive = positive

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Return the network as it is drawn, which nobody changes, and the identity."""
        d = _features(learner)
        eye = torch.eye(d, dtype=torch.float64)
        zeros = torch.zeros(d, dtype=torch.float64)
        psi = layout(d).join({"w1": eye, "b1": zeros, "w2": eye, "b2": zeros})
        return {"init": learner.net.init(generator), "psi": psi}

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Predict by the weights of each class; logits (tasks, n, ways).

        Raises: OptionError where features are negative, unless a ReLU is first.
        """
        del alone
        support = context.tasks.support
        known, asked = self._positive(support.x), self._positive(batch.x)
        weights = psi(meta["psi"], self._statistics(context, known, support.y))
        return Prediction(asked @ weights.mT, {"weights": weights} if maps else {})

    def _positive(self, x: Tensor) -> Tensor:
        if self.positive:
            return torch.relu(x)
        if bool((x < 0).any()):
            raise OptionError(
                "qiao.positive",
                "qiao needs features that are not negative: switch qiao.positive on, or take "
                "features after a ReLU without subtracting their mean.",
            )
        return x

    def _statistics(self, context: Context, known: Tensor, y: Tensor) -> Tensor:
        """Return what stands for each class (tasks, ways, d): at evaluation its mean."""
        means, ways = class_means(known, y, context.ways), context.ways
        if not context.draws.parts or not self.single:
            return means
        draws = torch.from_numpy(context.draws.of("statistic", 0, 2 * ways)).to(known.device)
        alone, which = draws[:, :ways] < self.single, draws[:, ways:]
        # Examples of a class in the order in which they come; every class has as many.
        order = y.argsort(dim=1, stable=True).view(len(y), ways, -1)
        place = (which * order.shape[2]).long().clamp_max(order.shape[2] - 1)
        row = order.gather(2, place.unsqueeze(2)).squeeze(2)
        one = known.gather(1, row.unsqueeze(2).expand(-1, -1, known.shape[2]))
        return torch.where(alone.unsqueeze(2), one, means)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield where the first task's unit features lie, and how ψ moves the means of classes."""
        first = context[:1]
        support, query = (
            self._positive(part.x) for part in (first.tasks.support, first.tasks.query)
        )
        means = class_means(support, first.tasks.support.y, first.ways)
        yield replace(
            first_embedding(
                first,
                {
                    "support": unit(support),
                    "query": unit(query),
                    "begins": unit(means),
                    "prototypes": psi(meta["psi"], means),
                },
            ),
            title="Weights of classes (large dots), from where the means of the classes lie",
        )


def layout(d: int) -> Layout:
    """Return the tensors of ψ on d features."""
    return Layout((("w1", (d, d)), ("b1", (d,)), ("w2", (d, d)), ("b2", (d,))))


def psi(flat: Tensor, a: Tensor) -> Tensor:
    """Return the weights (tasks, ways, d) of statistics a (tasks, ways, d)."""
    params: Params = layout(a.shape[2]).split(flat)
    hidden = torch.relu(unit(a) @ params["w1"].mT + params["b1"])
    return unit(hidden @ params["w2"].mT + params["b2"])


def _features(learner: Learner) -> int:
    """Return how many features the linear layer sees. Raises: OptionError where it is none."""
    shape = dict(learner.net.layout.shapes).get("head.weight")
    if shape is None:
        raise OptionError("qiao", "qiao works on the features problem.")
    return shape[1]


@register(
    QiaoOptions,
    id="qiao",
    color=30,
    title="Qiao et al.",
    group="On features",
    summary="Learns to turn the mean activation of a class into the weights of its classifier.",
    needs={"classes": "Qiao et al. tells classes apart", "features": "Qiao et al. needs features"},
    charts=(EMBEDDING,),
    presets={"paper": {"train_ways": 64, "train_shots": 5, "train_query": 1}},
    formula="logits a · ψ(mean of the class),   ψ(a) = unit(W₂ relu(W₁ unit(a) + b₁) + b₂)",
    cost="1 gradient per task; no inner steps",
    citation="Qiao, Liu, Shen & Yuille 2018, arXiv:1706.03466",
)
def qiao(options: QiaoOptions, shared: Shared) -> Algorithm:
    """Build Qiao et al."""
    del shared
    model = WeightPredictor(options.single, positive=options.positive)
    return Episodic(model, options.episodes())
