"""Gidaris & Komodakis: a generator makes weights of new classes with attention on base classes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.episodic.episode_options import EpisodeOptions
from metaviz.algorithms.registry import register
from metaviz.charts.similarity import ATTENTION, SIMILARITY, similarity_chart
from metaviz.charts.values import Axis, Chart
from metaviz.config.episodes import TrainingEpisodes
from metaviz.config.options import OptionError, option
from metaviz.config.quantities import Quantity, register_quantity
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

BASE_ACCURACY = register_quantity(
    Quantity("base_accuracy", "Accuracy on base queries", better="larger")
)
_START = 10.0
_NEAR = 0.001


class GidarisOptions(EpisodeOptions):
    """Options of Gidaris & Komodakis."""

    attends: bool = option(
        True,
        "Attention on base classes",
        "Off: weights are φ ⊙ the mean of the support features alone.",
    )
    base_query: int = option(
        0,
        "Base queries in training",
        "Plain examples of the training classes beside each episode, as the authors have: they are "
        "told apart from its new classes, too. Those of its own classes do not count.",
        ge=0,
        le=10_000,
    )

    @override
    def episodes(self) -> TrainingEpisodes:
        """Return the sizes of training episodes, with base queries beside them."""
        return TrainingEpisodes(
            self.train_ways, self.train_shots, self.train_query, self.base_query
        )


class WeightGenerator:
    """w = φ_avg ⊙ mean unit(z) + φ_att ⊙ mean Σ_b softmax_b(g cos(q(z), k_b)) unit(w_b).

    Scores are s cos(z, w) of new and of base classes. Training classes stand in for new ones: those
    of an episode are taken out of the base for it, and the loss is the cross-entropy over its
    classes and all that are left. Base weights begin at those of the backbone and are trained, too.
    Source: Gidaris & Komodakis 2018, arXiv:1804.09458, and gidariss/FewShotWithoutForgetting.
    Queries of base classes stand beside an episode where they are asked for, drawn from all
    training classes; those of the episode's own classes are passed over.
    Deviation: scores have no common bias, which cancels.
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

        def of_base(x: Tensor) -> Tensor:
            others = meta["scale"] * unit(x) @ unit(base).mT
            return others.masked_fill(hidden.unsqueeze(1), -torch.inf)

        found = {"weights": weights, "base": of_base(batch.x), "attention": attention}
        plain, readings = context.tasks.plain, dict[str, Tensor]()
        if plain is not None:
            scores = meta["scale"] * unit(plain.x) @ unit(weights).mT
            found["plain"] = torch.cat([scores, of_base(plain.x)], 2)
            found["counted"] = ~hidden.gather(1, plain.y)
            readings[BASE_ACCURACY.id] = base_accuracy(found, plain.y, context.ways)
        return Prediction(outputs, found, readings)

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
    """Return the mean cross-entropy over the classes of each task and the base, (tasks,).

    It is that of all queries: of the task, and of base classes where they stand beside it.
    """
    losses = _cross_entropies(torch.cat([found.outputs, found.maps["base"]], 2), batch.y)
    plain = context.tasks.plain
    if plain is None:
        return losses.mean(1)
    counted = found.maps["counted"]
    # What does not count has no finite score of its own class: its loss is left out, not times 0.
    of_base = _cross_entropies(found.maps["plain"], plain.y + context.ways)
    total = losses.sum(1) + torch.where(counted, of_base, 0).sum(1)
    return total / (losses.shape[1] + counted.sum(1))


def _cross_entropies(scores: Tensor, answers: Tensor) -> Tensor:
    """Return the cross-entropy of every example, (tasks, n); classes at -inf are not answers."""
    known = scores.gather(2, answers.unsqueeze(2)).squeeze(2)
    return scores.logsumexp(2) - torch.where(known.isinf(), 0, known)


def base_accuracy(found: Mapping[str, Tensor], classes: Tensor, ways: int) -> Tensor:
    """Return the share of right answers to base queries that count, (tasks,); 0 where none does."""
    right = (found["plain"].argmax(2) == classes + ways) & found["counted"]
    return right.sum(1) / found["counted"].sum(1).clamp_min(1)


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
    color=31,
    title="Gidaris & Komodakis",
    group="On features",
    summary="Makes the weights of new classes from their means and from base classes like them.",
    needs={
        "classes": "Gidaris & Komodakis tells classes apart",
        "features": "Gidaris & Komodakis needs features",
        "base": "Gidaris & Komodakis attends to the weights of base classes",
    },
    quantities=(OBJECTIVE.id, BASE_ACCURACY.id),
    presets={"paper": {"train_ways": 5, "train_query": 3, "base_query": 15}},
    charts=(SIMILARITY, ATTENTION),
    formula="w = φ₁ ⊙ mean z + φ₂ ⊙ mean Σ_b softmax(g cos(q(z), k_b)) w_b;   logits s cos(z, w)",
    cost="1 gradient per task; no inner steps",
    citation="Gidaris & Komodakis 2018, arXiv:1804.09458",
)
def gidaris(options: GidarisOptions, shared: Shared) -> Algorithm:
    """Build Gidaris & Komodakis."""
    del shared
    return Episodic(WeightGenerator(attends=options.attends), options.episodes(), objective)
