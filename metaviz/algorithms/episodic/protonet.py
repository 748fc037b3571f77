"""Prototypical networks: a class is the mean of its support embeddings."""

from collections.abc import Iterator
from typing import Literal, Self

import torch
from torch import Tensor

from metaviz.algorithms.episodic.embedding import embedded
from metaviz.algorithms.episodic.episode_options import Embedding, EpisodeOptions, embed_option
from metaviz.algorithms.registry import register
from metaviz.charts.embedding import EMBEDDING
from metaviz.charts.similarity import SIMILARITY
from metaviz.charts.values import Chart
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_embedding, first_similarity
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import SMALLEST, class_means, squared_distances, unit

Distance = Literal["squared", "mean_square", "plain", "cosine"]


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
    embed: Embedding = embed_option()
    learn_scale: bool = option(False, "Learn the scale", "Train the scale with the network.")

    def untrained(self, examples: int) -> Self | None:
        """Return the options themselves: there is nothing to learn besides the network."""
        del examples
        return self


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
        known, asked = embedded(context, meta, batch, together=alone or self.together)
        prototypes = class_means(known, context.tasks.support.y, context.ways)
        scale = meta["scale"].view(-1, 1, 1) if self.learn_scale else self.scale
        outputs = scale * self.similarity(asked, prototypes)
        shown = {"prototypes": prototypes, "support": known, "query": asked} if maps else {}
        return Prediction(outputs, maps=shown)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield where the first task's examples and prototypes lie, and how near they are."""
        first = context[:1]
        found = self.predict(first, meta, first.tasks.query, maps=True)
        yield first_embedding(first, found.maps)
        title = "Logits of queries and prototypes"
        yield first_similarity(first, found.outputs, title, "logit", to_classes=True)

    def similarity(self, z: Tensor, prototypes: Tensor) -> Tensor:
        """Return minus distances, or cosines, of z (tasks, n, d) to prototypes (tasks, ways, d)."""
        if self.distance == "cosine":
            return unit(z) @ unit(prototypes).mT
        squared = squared_distances(z, prototypes)
        if self.distance == "mean_square":
            return -squared / z.shape[2]
        if self.distance == "plain":
            return -squared.clamp_min(SMALLEST**2).sqrt()
        return -squared


@register(
    ProtoNetOptions,
    id="protonet",
    title="ProtoNet",
    group="Metric",
    color=28,
    summary="Classes are the means of their support embeddings; the nearest one is the answer.",
    needs={"classes": "ProtoNet tells classes apart"},
    charts=(EMBEDDING, SIMILARITY),
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
