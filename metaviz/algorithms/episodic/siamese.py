"""Siamese networks: the support image most likely to be of a query's class answers."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from metaviz.algorithms.episodic.embedding import embedded, rows
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
from metaviz.nets.base import feature_count


class SiameseOptions(EpisodeOptions):
    """Options of siamese networks."""

    squash: Literal["sigmoid", "none"] = option(
        "sigmoid",
        "Embedding",
        "Sigmoid: features pass a sigmoid, as the last layer of the twins does in the paper, so "
        "that distances are bounded. None: features as they are.",
        labels={"sigmoid": "sigmoid", "none": "as it is"},
    )
    balance: bool = option(
        True,
        "Balance pairs",
        "Pairs of one class and of two weigh as much together, as where both are drawn equally "
        "often. Off: every pair of the episode weighs the same.",
    )
    start: float = option(
        30.0,
        "First weights",
        "Weights start at −s/d for d features and the bias at s/10, so that pairs whose features "
        "are 0.1 apart on average are undecided. With s = 1 learning takes several times as long.",
        gt=0,
        le=1e6,
        log=True,
    )
    embed: Embedding = embed_option()


class SiameseModel:
    """r(x, x') = b + sum_j w_j |h_j(x) - h_j(x')|, sigmoid(r) the probability of one class.

    A query's logit for a class is its largest r to a support example of the class, so that the most
    similar example is the answer.
    Source: Koch, Zemel & Salakhutdinov 2015, section 3. Deviation: pairs are those of a query and
    a support example of an episode; h is the network's embedding instead of theirs of 4096 units;
    w starts at -s/d and b at s/10, so that closeness counts from the start.
    """

    transductive = False
    rowwise = True
    groups = frozenset({"init", "similarity"})

    def __init__(self, options: SiameseOptions) -> None:
        """Take the options."""
        self.options = options

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network's weights; `similarity` holds w and then b."""
        size = feature_count(learner.net)
        similarity = torch.full((size + 1,), -self.options.start / size, dtype=torch.float64)
        similarity[-1] = self.options.start / 10
        return {"init": learner.net.init(generator), "similarity": similarity}

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Return the largest similarity of every example and class, (tasks, n, ways)."""
        together = alone or self.options.embed == "together"
        known, asked = embedded(context, meta, batch, together=together)
        if self.options.squash == "sigmoid":
            known, asked = known.sigmoid(), asked.sigmoid()
        weights = rows(meta["similarity"])
        apart = (asked.unsqueeze(2) - known.unsqueeze(1)).abs()
        similar = (apart * weights[:, None, None, :-1]).sum(3) + weights[:, -1:, None]
        others = memberships(context.tasks.support.y, context.ways, known).unsqueeze(1) == 0
        outputs = similar.unsqueeze(3).masked_fill(others, -torch.inf).amax(2)
        shown = {"similar": similar, "support": known, "query": asked} if maps else {}
        return Prediction(outputs, maps=shown)

    def objective(self, context: Context, prediction: Prediction, batch: Batch) -> Tensor:
        """Return the mean logistic loss of pairs of queries and support examples, (tasks,)."""
        similar = prediction.maps["similar"]
        same = (batch.y.unsqueeze(2) == context.tasks.support.y.unsqueeze(1)).to(similar.dtype)
        losses = torch.nn.functional.softplus(similar) - same * similar
        if not self.options.balance:
            return losses.mean(dim=(1, 2))
        ones = (losses * same).sum(dim=(1, 2)) / same.sum(dim=(1, 2))
        twos = (losses * (1 - same)).sum(dim=(1, 2)) / (1 - same).sum(dim=(1, 2))
        return (ones + twos) / 2

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the first task's probabilities of one class, and where its examples lie."""
        first = context[:1]
        maps = self.predict(first, meta, first.tasks.query, maps=True).maps
        title = "Probability that query and support example are of one class"
        values = maps["similar"].sigmoid()
        yield first_similarity(first, values, title, "probability", (0.0, 1.0))
        yield first_embedding(first, maps)


@register(
    SiameseOptions,
    id="siamese",
    color=23,
    title="Siamese networks",
    group="Metric",
    summary="Learns whether two images are of one class; the most similar support image answers.",
    needs={"classes": "Siamese networks tell classes apart"},
    quantities=(OBJECTIVE.id,),
    charts=(SIMILARITY, EMBEDDING),
    formula="p(same) = sigmoid(b + Σⱼ wⱼ |hⱼ(x) − hⱼ(x′)|),   loss −log p(right)",
    cost="1 gradient per task; every pair of query and support example is compared",
    citation="Koch, Zemel & Salakhutdinov 2015, ICML Deep Learning Workshop",
)
def siamese(options: SiameseOptions, shared: Shared) -> Algorithm:
    """Build siamese networks."""
    del shared
    model = SiameseModel(options)
    return Episodic(model, options.episodes(), model.objective)
