"""Gidaris & Komodakis: a generator makes weights of new classes with attention on base classes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.episodic.episode_options import EpisodeOptions
from metaviz.algorithms.registry import register
from metaviz.charts.similarity import ATTENTION, SIMILARITY, similarity_chart
from metaviz.charts.values import Axis, Chart
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import OBJECTIVE, Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_similarity
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import class_means, unit
from metaviz.nets.layout import Layout, Params

_START = 10.0
_NEAR = 0.001


class GidarisOptions(EpisodeOptions):
    """Options of Gidaris & Komodakis."""

    attends: bool = option(
        True,
        "Attention on base classes",
        "Off: weights are φ ⊙ the mean of the support features alone.",
    )


class WeightGenerator:
    """w = φ_avg ⊙ mean unit(z) + φ_att ⊙ mean Σ_b softmax_b(g cos(q(z), k_b)) unit(w_b).

    Scores are s cos(z, w) of new and of base classes. Training classes stand in for new ones: those
    of an episode are taken out of the base for it, and the loss is the cross-entropy over its
    classes and all that are left. Base weights begin at those of the backbone and are trained, too.
    Source: Gidaris & Komodakis 2018, arXiv:1804.09458, and gidariss/FewShotWithoutForgetting.
    Deviation: the queries of an episode are of its own classes alone, where half of the authors'
    are of base classes; scores have no common bias, which cancels.
    """

    groups = frozenset({"generator", "base", "scale"})
    transductive = False
    rowwise = False

    def __init__(self, *, attends: bool) -> None:
        """Take whether weights attend to base classes."""
        self.attends = attends

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Begin near the mean of unit features, with queries near the features themselves."""
        base = learner.base
        if base is None:
            raise OptionError("gidaris", "gidaris needs the weights of base classes.")
        classes, d = base.shape
        keys = torch.randn(classes, d, generator=generator, dtype=torch.float64)
        noise = torch.randn(d, d, generator=generator, dtype=torch.float64)
        params = {
            "average": torch.ones(d, dtype=torch.float64),
            "attention": torch.ones(d, dtype=torch.float64),
            "query": torch.eye(d, dtype=torch.float64) + _NEAR * noise,
            "bias": torch.zeros(d, dtype=torch.float64),
            "keys": (2 / d) ** 0.5 * keys,
            "sharpness": torch.full((1,), _START, dtype=torch.float64),
        }
        return {
            "init": learner.net.init(generator),
            "generator": layout(classes, d).join(params),
            "base": base.double().flatten(),
            "scale": torch.full((1,), _START, dtype=torch.float64),
        }

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Predict by cosines with the generated weights; logits (tasks, n, ways)."""
        del alone
        d = context.tasks.support.x.shape[2]
        base = meta["base"].view(-1, d)
        hidden = absent(context.tasks.support, len(base))
        attention, weights = self.weights(context, meta, base, hidden)
        outputs = meta["scale"] * unit(batch.x) @ unit(weights).mT
        if not maps:
            return Prediction(outputs)
        others = meta["scale"] * unit(batch.x) @ unit(base).mT
        others = others.masked_fill(hidden.unsqueeze(1), -torch.inf)
        return Prediction(outputs, {"weights": weights, "base": others, "attention": attention})

    def weights(
        self, context: Context, meta: Meta, base: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return attention (tasks, S, C) and the weights of the classes (tasks, ways, d)."""
        support = context.tasks.support
        params: Params = layout(*base.shape).split(meta["generator"])
        u = unit(support.x)
        queries = u @ params["query"].mT + params["bias"]
        likeness = params["sharpness"] * unit(queries) @ unit(params["keys"]).mT
        likeness = likeness.masked_fill(hidden.unsqueeze(1), -torch.inf)
        attention = torch.softmax(likeness, 2)
        found = params["average"] * class_means(u, support.y, context.ways)
        if self.attends:
            attended = class_means(attention @ unit(base), support.y, context.ways)
            found = found + params["attention"] * attended
        return attention, found

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield cosines of the first task's queries and weights, and attention to base classes."""
        first = context[:1]
        maps = self.predict(first, meta, first.tasks.query, maps=True).maps
        cosines = unit(first.tasks.query.x) @ unit(maps["weights"]).mT
        title = "Cosines of queries and weights of classes"
        yield first_similarity(first, cosines, title, "cosine", (-1.0, 1.0), to_classes=True)
        if self.attends:
            attention = maps["attention"][0].double().cpu().numpy()
            labels = first.tasks.support.y[0].cpu().numpy()
            title = "Attention of support examples to base classes"
            base = np.arange(attention.shape[1])
            chart = similarity_chart(attention, labels, base, title, "attention")
            across, down = Axis("base class"), Axis("support examples, by class")
            yield replace(chart, id=ATTENTION, x=across, y=down)


def absent(support: Batch, classes: int) -> Tensor:
    """Return which base classes are those of each task itself, (tasks, C); none at evaluation."""
    tasks = len(support)
    if support.classes is not None and support.classes.shape[1] >= classes:
        raise OptionError(
            "gidaris.train_ways",
            f"Episodes of {support.classes.shape[1]} classes leave none of the {classes} base "
            "classes to attend to: use fewer.",
        )
    found = torch.zeros(tasks, classes, dtype=torch.bool, device=support.x.device)
    return found if support.classes is None else found.scatter(1, support.classes, value=True)


def objective(context: Context, found: Prediction, batch: Batch) -> Tensor:
    """Return the mean cross-entropy over the classes of each task and the base, (tasks,)."""
    del context
    logs = torch.log_softmax(torch.cat([found.outputs, found.maps["base"]], 2), 2)
    return -logs.gather(2, batch.y.unsqueeze(2)).mean((1, 2))


def layout(classes: int, d: int) -> Layout:
    """Return the tensors of the generator for so many base classes and features."""
    vectors = [(name, (d,)) for name in ("average", "attention")]
    shapes: list[tuple[str, tuple[int, ...]]] = [
        *vectors,
        ("query", (d, d)),
        ("bias", (d,)),
        ("keys", (classes, d)),
        ("sharpness", (1,)),
    ]
    return Layout(tuple(shapes))


@register(
    GidarisOptions,
    id="gidaris",
    title="Gidaris & Komodakis",
    group="On features",
    summary="Makes the weights of new classes from their means and from base classes like them.",
    needs={
        "classes": "Gidaris & Komodakis tells classes apart",
        "features": "Gidaris & Komodakis needs features",
        "base": "Gidaris & Komodakis attends to the weights of base classes",
    },
    quantities=(OBJECTIVE.id,),
    charts=(SIMILARITY, ATTENTION),
    formula="w = φ₁ ⊙ mean z + φ₂ ⊙ mean Σ_b softmax(g cos(q(z), k_b)) w_b;   logits s cos(z, w)",
    cost="1 gradient per task; no inner steps",
    citation="Gidaris & Komodakis 2018, arXiv:1804.09458",
)
def gidaris(options: GidarisOptions, shared: Shared) -> Algorithm:
    """Build Gidaris & Komodakis."""
    del shared
    return Episodic(WeightGenerator(attends=options.attends), options.episodes(), objective)
