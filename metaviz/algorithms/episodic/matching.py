"""Matching networks: a query is what the support examples that resemble it are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

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
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_embedding, first_similarity
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import memberships, unit
from metaviz.nets.base import Net, feature_count
from metaviz.nets.blocks import uniform
from metaviz.nets.layout import Layout, Params
from metaviz.nets.lstm import lstm_cell, lstm_shapes

_FLOOR = 1e-6
"""Is added to probabilities before their logarithm."""


class MatchingOptions(EpisodeOptions):
    """Options of matching networks."""

    answer: Literal["attention", "sum"] = option(
        "attention",
        "Answer",
        "Attention: p = Σᵢ aᵢ yᵢ with a = softmax(s cos(f(x), f(xᵢ))) over the support set, as "
        "published; logits are log(p + 10⁻⁶). Sum: logits are s Σᵢ cos(f(x), f(xᵢ)) yᵢ, as in the "
        "code of Ravi & Larochelle 2017, with s = 1.",
        labels={"attention": "attention", "sum": "sum of cosines"},
    )
    scale: float = option(
        10.0,
        "Scale s",
        "Cosines lie between −1 and 1: with s = 1, as published, no 5-way 1-shot answer is surer "
        "than 65 % (40 % after ReLU), and learning is slower.",
        gt=0,
        le=1e6,
        log=True,
    )
    learn_scale: bool = option(
        True, "Learn the scale", "Train s with the network. Off: it stays, as published."
    )
    context: Literal["none", "lstm"] = option(
        "none",
        "Full context",
        "LSTM: support embeddings pass a bidirectional LSTM, in their order, which is added to "
        "them; query embeddings read them K times: h ← f(x) + LSTM([f(x), r]), "
        "r = softmax(g h)ᵀ g.",
        labels={"none": "none", "lstm": "LSTM"},
    )
    reads: int = option(
        3, "Reads K", "How often a query reads the support set with full context.", ge=1, le=100
    )
    embed: Embedding = embed_option()

    def untrained(self, examples: int) -> Self | None:
        """Return the options themselves without full context, which has weights to learn."""
        del examples
        return self if self.context == "none" else None


@dataclass(frozen=True)
class FullContext:
    """Embeddings that depend on the whole support set.

    g_i <- g_i + forward_i + backward_i, hidden states of LSTMs along the support set; then for a
    query K times r = softmax(g h)' g, h = f + LSTM([f, r]; h, c), where the first r is the mean of
    g. Hidden states have as many numbers as embeddings.
    Source: Vinyals et al. 2016, appendix A, as Ravi & Larochelle 2017 read it.
    Deviation: their LSTM takes a softmax over an axis of length 1; ours is over the support set.
    """

    reads: int

    def layout(self, net: Net) -> Layout:
        """Return the weights of the three LSTMs."""
        size = feature_count(net)
        return Layout(
            (
                *lstm_shapes("forward", size, size),
                *lstm_shapes("backward", size, size),
                *lstm_shapes("reading", 2 * size, size),
            )
        )

    def init(self, net: Net, generator: torch.Generator) -> Tensor:
        """Draw weights as PyTorch does."""
        return uniform(self.layout(net), feature_count(net), generator)

    def __call__(self, params: Params, support: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings of support (tasks, m, d) and asked examples (tasks, n, d)."""
        support = support + self._along(params, support)
        hidden, cell = torch.zeros_like(asked), torch.zeros_like(asked)
        read = support.mean(1, keepdim=True).expand_as(asked)
        for _ in range(self.reads):
            inputs = torch.cat([asked, read], 2)
            hidden, cell = lstm_cell(params, "reading", inputs, hidden, cell)
            hidden = asked + hidden
            read = torch.softmax(hidden @ support.mT, 2) @ support
        return support, hidden

    def _along(self, params: Params, support: Tensor) -> Tensor:
        """Return the sum of both LSTMs' hidden states, (tasks, m, d)."""
        total = torch.zeros_like(support)
        order = range(support.shape[1])
        for name, places in (("forward", order), ("backward", order[::-1])):
            hidden, cell = (torch.zeros_like(support[:, :1]) for _ in range(2))
            states = {}
            for place in places:
                example = support[:, place : place + 1]
                hidden, cell = lstm_cell(params, name, example, hidden, cell)
                states[place] = hidden
            total = total + torch.cat([states[place] for place in order], 1)
        return total


class MatchingModel:
    """p(n | x) is the attention that x pays to the support examples of class n.

    Source: Vinyals et al. 2016, equations 1 and 2; scale as in Gidaris & Komodakis 2018's
    comparison.
    """

    transductive = False
    rowwise = True

    def __init__(self, options: MatchingOptions) -> None:
        """Take the options."""
        self.options = options
        self.context = FullContext(options.reads) if options.context == "lstm" else None
        own = {"scale": options.learn_scale, "context": self.context is not None}
        self.groups = frozenset({"init", *(name for name, learned in own.items() if learned)})

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network's weights and those of the context; the scale starts as given."""
        meta = {"init": learner.net.init(generator)}
        if self.options.learn_scale:
            meta["scale"] = torch.tensor([self.options.scale], dtype=torch.float64)
        if self.context is not None:
            meta["context"] = self.context.init(learner.net, generator)
        return meta

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Compare every example with the support set.

        The outputs log(p + 1e-6) lose what probabilities have below that: the map `probabilities`
        is p itself, where the answer is by attention.
        """
        options, net = self.options, context.learner.net
        together = alone or options.embed == "together"
        known, asked = embedded(context, meta, batch, together=together)
        if self.context is not None:
            params = self.context.layout(net).for_tasks(rows(meta["context"]), len(known))
            known, asked = self.context(params, known, asked)
        cosines = unit(asked) @ unit(known).mT
        scale = meta["scale"].view(-1, 1, 1) if options.learn_scale else options.scale
        members = memberships(context.tasks.support.y, context.ways, known)
        attention = torch.softmax(scale * cosines, 2)
        shown = {"cosines": cosines, "support": known, "query": asked} if maps else {}
        if options.answer == "sum":
            return Prediction(scale * cosines @ members, maps=shown)
        probabilities = attention @ members
        if maps:
            shown |= {"attention": attention, "probabilities": probabilities}
        return Prediction(torch.log(probabilities + _FLOOR), maps=shown)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the first task's attention, and where its examples lie with their class means."""
        first = context[:1]
        maps = self.predict(first, meta, first.tasks.query, maps=True).maps
        if "attention" in maps:
            title, level = "Attention to the support set", (0.0, 1.0)
            yield first_similarity(first, maps["attention"], title, "attention", level)
        else:
            title, level = "Cosines of queries and support examples", (-1.0, 1.0)
            yield first_similarity(first, maps["cosines"], title, "cosine", level)
        yield first_embedding(first, maps)


@register(
    MatchingOptions,
    id="matching",
    color=19,
    title="Matching networks",
    group="Metric",
    summary="A query is what the support examples that resemble it are, weighed by attention.",
    needs={"classes": "Matching networks tell classes apart"},
    charts=(SIMILARITY, EMBEDDING),
    formula="p(n | x) = Σᵢ aᵢ [yᵢ = n],   a = softmaxᵢ(s cos(f(x), f(xᵢ)))",
    cost="1 gradient per task; no inner steps",
    citation="Vinyals et al. 2016, arXiv:1606.04080",
)
def matching(options: MatchingOptions, shared: Shared) -> Algorithm:
    """Build matching networks."""
    del shared
    return Episodic(MatchingModel(options), options.episodes())
