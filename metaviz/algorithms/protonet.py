"""Prototypical networks: a class is the mean of its support embeddings."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from metaviz.algorithms.registry import MethodOptions, register
from metaviz.charts.embedding import EMBEDDING, embedding_chart
from metaviz.charts.values import Chart
from metaviz.config.episodes import TrainingEpisodes
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch

Distance = Literal["squared", "mean_square", "plain", "cosine"]
_SMALLEST = 1e-12


def _size(title: str, description: str, least: int = 1) -> Any:
    text = f"{description} Empty: the shared value."
    return option(None, title, text, ge=least, le=1000)


class EpisodeOptions(MethodOptions):
    """Options of methods whose training episodes may have sizes of their own."""

    train_ways: int | None = _size(
        "Ways in training",
        "Classes of a training episode. More than at evaluation make training harder, which the "
        "authors found to help.",
        least=2,
    )
    train_shots: int | None = _size(
        "Shots in training", "Support examples per class of a training episode."
    )
    train_query: int | None = _size(
        "Query examples in training", "Query examples per class of a training episode."
    )

    def episodes(self) -> TrainingEpisodes:
        """Return the sizes of training episodes."""
        return TrainingEpisodes(self.train_ways, self.train_shots, self.train_query)


class ProtoNetOptions(EpisodeOptions):
    """Options of prototypical networks."""

    distance: Distance = option(
        "squared",
        "Distance",
        "Logits are minus the distance of a query embedding z to each prototype c. Squared: "
        "|z − c|², as published. Mean square: |z − c|² / d, d features. Plain: |z − c|. Cosine: "
        "logits are the cosine of z and c.",
        labels={
            "squared": "squared Euclidean",
            "mean_square": "mean square",
            "plain": "Euclidean",
            "cosine": "cosine",
        },
    )
    scale: float = option(
        1.0,
        "Scale",
        "Logits are multiplied by this. Cosines lie between −1 and 1, which keeps the loss high "
        "with a scale of 1: 10 is usual for them.",
        gt=0,
        le=1e6,
        log=True,
    )
    embed: Literal["apart", "together"] = option(
        "apart",
        "Support and query",
        "Where a network normalises by a batch: by the statistics of each set, like methods with "
        "an inner loop, or of both in one call, as published.",
        labels={"apart": "embedded apart", "together": "embedded together"},
    )
    learn_scale: bool = option(False, "Learn the scale", "Train the scale with the network.")


class PrototypeModel:
    """logit_n(x) = -s dist(f(x), c_n), c_n the mean of f over the support examples of class n.

    Where a network normalises by a batch, predictions depend on the other query examples through
    its statistics; those of an example by itself are of the support set and it.
    Source: Snell, Swersky & Zemel 2017, equations 1 and 2.
    Deviation: support and query sets are embedded apart unless `together`; on Omniglot that learns
    faster (89.8 against 87.7 % after 300 episodes, means of three seeds).
    """

    transductive = False
    rowwise = True

    def __init__(
        self, distance: Distance, scale: float, *, learn_scale: bool, together: bool
    ) -> None:
        """Take the distance, the scale s or where it starts, and how sets are embedded."""
        self.distance = distance
        self.scale = scale
        self.learn_scale = learn_scale
        self.together = together
        self.groups = frozenset({"init", "scale"} if learn_scale else {"init"})

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network's weights; a learned scale starts at the given one."""
        meta = {"init": learner.net.init(generator)}
        if self.learn_scale:
            meta["scale"] = torch.tensor([self.scale], dtype=torch.float64)
        return meta

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Compare every example with the prototypes; logits (tasks, n, ways)."""
        support = context.tasks.support
        known, asked = self._embed(context, meta, batch, together=alone or self.together)
        members = torch.nn.functional.one_hot(support.y, context.ways).to(known.dtype)
        prototypes = members.mT @ known / members.sum(1).unsqueeze(2)
        scale = meta["scale"].view(-1, 1, 1) if self.learn_scale else self.scale
        outputs = scale * self.similarity(asked, prototypes)
        shown = {"prototypes": prototypes, "support": known, "query": asked} if maps else {}
        return Prediction(outputs, maps=shown)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield where the first task's examples and prototypes lie, see `embedding_chart`."""
        first = context[:1]
        maps = self.predict(first, meta, first.tasks.query, maps=True).maps
        classes = torch.arange(context.ways).unsqueeze(0)
        points = {
            "prototype": (maps["prototypes"], classes),
            "query": (maps["query"], first.tasks.query.y),
            "support": (maps["support"], first.tasks.support.y),
        }
        yield embedding_chart(
            {kind: (z[0].cpu().numpy(), y[0].cpu().numpy()) for kind, (z, y) in points.items()}
        )

    def _embed(
        self, context: Context, meta: Meta, batch: Batch, *, together: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of the support set and of a batch, (tasks, n, d)."""
        support, net = context.tasks.support, context.learner.net
        weights = meta["init"].expand(len(support), -1)
        if batch is support:
            both = net.features(weights, support.x)
            return both, both
        if batch.beside is not None or not together:
            asked = net.features(weights, batch.x, batch.beside)
            return net.features(weights, support.x), asked
        both = net.features(weights, torch.cat([support.x, batch.x], 1))
        count = support.x.shape[1]
        return both[:, :count], both[:, count:]

    def similarity(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """Return minus the distances of z (tasks, n, d) to prototypes (tasks, ways, d), or cosines.

        Distances do not change with the origin; about the prototypes' mean, little is lost where
        embeddings are long and close to each other.
        """
        if self.distance == "cosine":
            return _unit(z) @ _unit(prototypes).mT
        middle = prototypes.mean(1, keepdim=True).detach()
        z, prototypes = z - middle, prototypes - middle
        squared = (z * z).sum(2, keepdim=True) - 2 * z @ prototypes.mT
        squared = squared + (prototypes * prototypes).sum(2).unsqueeze(1)
        if self.distance == "mean_square":
            return -squared / z.shape[2]
        if self.distance == "plain":
            return -squared.clamp_min(_SMALLEST**2).sqrt()
        return -squared


def _unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=2, keepdim=True)
    return x / length.clamp_min(_SMALLEST)


@register(
    ProtoNetOptions,
    id="protonet",
    title="ProtoNet",
    group="Metric",
    color=12,
    summary="Classes are the means of their support embeddings; the nearest one is the answer.",
    needs={"classes": "ProtoNet tells classes apart"},
    charts=(EMBEDDING,),
    formula="p(n | x) ∝ exp(−|f(x) − cₙ|²),   cₙ = mean f(support of n)",
    cost="1 gradient per task; no inner steps",
    citation="Snell, Swersky & Zemel 2017, arXiv:1703.05175",
)
def protonet(options: ProtoNetOptions, shared: Shared) -> Algorithm:
    """Build prototypical networks."""
    del shared
    model = PrototypeModel(
        options.distance,
        options.scale,
        learn_scale=options.learn_scale,
        together=options.embed == "together",
    )
    return Episodic(model, options.episodes())
