"""R2-D2: the head of every task is a ridge regression, solved in closed form."""

from collections.abc import Iterator
from typing import Self

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
from metaviz.meta.vectors import memberships


class R2D2Options(EpisodeOptions):
    """Options of ridge regression heads."""

    ridge: float = option(
        1.0,
        "Ridge λ",
        "The head minimises the mean over support examples of |x W − y|², plus λ |W|², y one-hot "
        "labels.",
        gt=0,
        le=1e9,
        log=True,
    )
    learn_ridge: bool = option(True, "Learn the ridge", "Train log λ from there.")
    scale: float = option(
        10.0,
        "Scale a",
        "Logits are a x W. Regressions of 0 and 1 lie close to these, which keeps the loss high "
        "with a scale of 1.",
        gt=0,
        le=1e6,
        log=True,
    )
    learn_scale: bool = option(True, "Learn the scale", "Train a from there.")
    bias: bool = option(
        True, "Bias", "A further feature, 1 for all examples; its weights are shrunk like others."
    )
    embed: Embedding = embed_option()

    def untrained(self, examples: int) -> Self | None:
        """Return the options themselves: ridge and scale are those to start from."""
        del examples
        return self


class RidgeModel:
    """logits(x) = a x W with W = X' (X X' + lambda S I)^-1 Y, S support examples.

    That is the minimum of |X W - Y|^2 / S + lambda |W|^2, in Woodbury's form: a system of S
    equations, whatever the number of features.
    Source: Bertinetto et al. 2019, equations 6 to 8; X / sqrt(S) and Y / sqrt(S) in the authors'
    code make their ridge ours. Deviation: their bias that is added to all logits alike cancels in
    the softmax and is left out, and their scale starts at 10^-4.
    """

    transductive = False
    rowwise = True

    def __init__(self, options: R2D2Options) -> None:
        """Take the options."""
        self.options = options
        own = {"scale": options.learn_scale, "ridge": options.learn_ridge}
        self.groups = frozenset({"init", *(name for name, learned in own.items() if learned)})

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network's weights; the ridge is kept as its logarithm."""
        meta = {"init": learner.net.init(generator)}
        if self.options.learn_scale:
            meta["scale"] = torch.tensor([self.options.scale], dtype=torch.float64)
        if self.options.learn_ridge:
            meta["ridge"] = torch.tensor([self.options.ridge], dtype=torch.float64).log()
        return meta

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Solve the regression of every task; logits (tasks, n, ways)."""
        options = self.options
        together = alone or options.embed == "together"
        z, asked = embedded(context, meta, batch, together=together)
        members = memberships(context.tasks.support.y, context.ways, z)
        known = _with_one(z) if options.bias else z
        count = known.shape[1]
        learned = meta["ridge"].exp().view(-1, 1, 1) if options.learn_ridge else None
        ridge = count * (options.ridge if learned is None else learned)
        identity = torch.eye(count, dtype=known.dtype, device=known.device)
        duals = torch.linalg.solve(known @ known.mT + ridge * identity, members)
        kernel = (_with_one(asked) if options.bias else asked) @ known.mT
        scale = meta["scale"].view(-1, 1, 1) if options.learn_scale else options.scale
        regressed = kernel @ duals
        shown = {}
        if maps:
            weights = known.mT @ duals
            shown = {"regressed": regressed, "weights": weights, "support": z, "query": asked}
        return Prediction(scale * regressed, maps=shown)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the first task's regressions, and where its examples and class means lie."""
        first = context[:1]
        maps = self.predict(first, meta, first.tasks.query, maps=True).maps
        title = "Regression of the labels of queries"
        yield first_similarity(first, maps["regressed"], title, "x W", to_classes=True)
        yield first_embedding(first, maps)


def _with_one(z: Tensor) -> Tensor:
    return torch.cat([z, torch.ones_like(z[:, :, :1])], 2)


@register(
    R2D2Options,
    id="r2d2",
    color=22,
    title="R2-D2",
    group="Metric",
    summary="The head of every task is a ridge regression of its labels, solved in closed form.",
    needs={"classes": "R2-D2 tells classes apart"},
    charts=(SIMILARITY, EMBEDDING),
    formula="logits = a x W,   W = Xᵀ (X Xᵀ + λ S I)⁻¹ Y",
    cost="1 gradient per task and a system of its support examples; no inner steps",
    citation="Bertinetto et al. 2019, arXiv:1805.08136",
)
def r2d2(options: R2D2Options, shared: Shared) -> Algorithm:
    """Build ridge regression heads."""
    del shared
    return Episodic(RidgeModel(options), options.episodes())
