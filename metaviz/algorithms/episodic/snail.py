"""SNAIL: a task is read as a sequence of labelled examples that ends in a query."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.episodic.embedding import embedded, rows
from metaviz.algorithms.episodic.episode_options import Embedding, SizedEpisodes, embed_option
from metaviz.algorithms.registry import register
from metaviz.charts.similarity import ATTENTION, similarity_chart
from metaviz.charts.values import Chart, Panels
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.draws import NO_DRAWS
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net, feature_count
from metaviz.nets.blocks import Shapes, linear, linear_shapes
from metaviz.nets.layout import Layout, Params
from metaviz.nets.temporal import (
    Sequence,
    attend,
    attention_shapes,
    dense_block,
    dense_blocks,
    dense_shapes,
)

_ATTENTIONS = ((64, 32), (256, 128), (512, 256))
_FILTERS = 128
_ORDER, _SHOTS = "snail order", "snail shots"


class SNAILOptions(SizedEpisodes):
    """Options of SNAIL."""

    shots: int = option(
        5,
        "Longest sequence",
        "There are ⌈log₂(shots × ways + 1)⌉ blocks of convolutions, so that sequences of so many "
        "shots are seen whole. Longer ones can be read, too.",
        ge=1,
        le=1000,
    )
    fewest_shots: int | None = option(
        None,
        "Fewest shots in training",
        "The support examples per class of a training task are drawn from this to its shots, as "
        "published from 1 to 5. Empty: all of them are read.",
        ge=1,
        le=1000,
    )
    dilations: Literal["doubling", "even"] = option(
        "doubling",
        "Dilations",
        "How far back block i looks, from 1 on. Doubling: 2^(i−1) steps. Even: 2^i, as in the "
        "pseudo-code and its port, which reaches even distances alone.",
        labels={"doubling": "1, 2, 4 and so on", "even": "2, 4, 8 and so on"},
    )
    order: Literal["drawn", "given"] = option(
        "drawn",
        "Order in training",
        "Support examples are read in a drawn order, as published, or in that of the episode. "
        "Evaluation keeps that of the episode.",
    )
    embed: Embedding = embed_option()


class SNAILModel:
    """Reads (f(x_i), one-hot y_i) for all support examples, then (f(x), 0); answers at the end.

    Attention (64, 32), convolutions, attention (256, 128), convolutions, attention (512, 256), one
    linear layer, where convolutions are dense blocks of 128 filters.
    Source: Mishra et al. 2018, section 3 and appendix; figures of the sizes as in the port
    eambutu/snail-pytorch. Deviation: features of the network are taken as they are, without a
    linear layer of 64.
    """

    transductive = False
    rowwise = False
    groups = frozenset({"init", "sequence"})

    def __init__(self, options: SNAILOptions, ways: int) -> None:
        """Take the options and the number of classes, which labels are written in."""
        self.options = options
        self.ways = ways
        first = 0 if options.dilations == "doubling" else 1
        blocks = dense_blocks(options.shots * ways + 1)
        self.dilations = [2 ** (first + block) for block in range(blocks)]

    def layout(self, net: Net) -> Layout:
        """Return the weights of attentions, convolutions and the last layer."""
        size = feature_count(net) + self.ways
        shapes: Shapes = []
        for number, (key, value) in enumerate(_ATTENTIONS, 1):
            shapes += attention_shapes(f"attention{number}", size, key, value)
            size += value
            if number < len(_ATTENTIONS):
                for block in range(1, len(self.dilations) + 1):
                    shapes += dense_shapes(f"block{number}.{block}", size, _FILTERS)
                    size += _FILTERS
        return Layout((*shapes, *linear_shapes("last", size, self.ways)))

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw all weights as PyTorch does."""
        layout, params, bound = self.layout(learner.net), Params(), 0.0
        for name, shape in layout.shapes:
            if len(shape) > 1:
                # A kernel of two steps has twice the inputs of a matrix.
                bound = (shape[1] * (2 if name.endswith(("now", "past")) else 1)) ** -0.5
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            params[name] = (2 * uniform - 1) * bound
        return {"init": learner.net.init(generator), "sequence": layout.join(params)}

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Read every example after the support set; logits (tasks, n, ways)."""
        together = alone or self.options.embed == "together"
        known, asked = embedded(context, meta, batch, together=together)
        labels = torch.nn.functional.one_hot(context.tasks.support.y, self.ways).to(known.dtype)
        known = torch.cat([known, labels], 2)
        last = torch.nn.functional.pad(asked, (0, self.ways))
        params = self.layout(context.learner.net).for_tasks(rows(meta["sequence"]), len(known))
        order = self._order(context, known)
        if context.draws == NO_DRAWS or self.options.fewest_shots is None:
            outputs, attention = self._read(params, _chosen(known, order), last)
            return Prediction(outputs, maps={"attention": attention} if maps else {})
        outputs = last.new_zeros(*last.shape[:2], self.ways)
        for tasks, places in self._sequences(context, order, self.options.fewest_shots):
            of_tasks = {name: value[tasks] for name, value in params.items()}
            found, _ = self._read(of_tasks, _chosen(known[tasks], places), last[tasks])
            outputs = outputs.index_put((tasks,), found)
        return Prediction(outputs)

    def _read(self, params: Params, known: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits after sequences, and attentions (tasks, 3, queries, T)."""
        x, attentions = Sequence(known, last), []
        for number in range(1, len(_ATTENTIONS) + 1):
            x, attention = attend(params, f"attention{number}", x)
            attentions.append(attention)
            if number < len(_ATTENTIONS):
                for block, dilation in enumerate(self.dilations, 1):
                    x = dense_block(params, f"block{number}.{block}", x, dilation)
        return linear(params, "last", x.last), torch.stack(attentions, 1)

    def _order(self, context: Context, known: Tensor) -> Tensor | None:
        """Return the places (tasks, S) of support examples in a drawn order; None as they are."""
        if self.options.order == "given" or context.draws == NO_DRAWS:
            return None
        drawn = np.argsort(context.draws.of(_ORDER, 0, known.shape[1]), axis=1)
        return torch.from_numpy(drawn).to(known.device)

    def _sequences(
        self, context: Context, order: Tensor | None, fewest: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield tasks (g,) that read as many shots, and places (g, T) of what they read, in order.

        Shots are drawn; of every class the first examples are read.
        """
        y = context.tasks.support.y
        tasks, count = y.shape
        if order is None:
            order = torch.arange(count, device=y.device).expand(tasks, -1)
        most = count // self.ways
        least = min(fewest, most)
        share = torch.from_numpy(context.draws.of(_SHOTS, 0, 1)[:, 0]).to(y.device)
        shots = least + (share * (most - least + 1)).long()
        number = torch.nn.functional.one_hot(y, self.ways).cumsum(1).gather(2, y.unsqueeze(2))
        read = (number.squeeze(2) <= shots.unsqueeze(1)).gather(1, order)
        for n in shots.unique().tolist():
            group = (shots == n).nonzero().squeeze(1)
            yield group, order[group][read[group]].view(len(group), -1)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield what queries of the first task attend to, at each of the three attentions."""
        first = context[:1]
        found = self.predict(first, meta, first.tasks.query, maps=True).maps["attention"]
        labels, answers = (
            part.y[0].cpu().numpy() for part in (first.tasks.support, first.tasks.query)
        )
        panels = []
        for number, attention in enumerate(found[0, :, :, :-1].double().cpu().numpy(), 1):
            title = f"Attention {number} to the support set"
            chart = similarity_chart(attention, answers, labels, title, "attention", (0.0, 1.0))
            panels.append(replace(chart, id=f"{ATTENTION} {number}"))
        title = "What the last step of a sequence attends to"
        yield Panels(id=ATTENTION, title=title, charts=tuple(panels), columns=len(panels))


def _chosen(known: Tensor, places: Tensor | None) -> Tensor:
    """Return examples (tasks, T, d) at places (tasks, T), or all."""
    if places is None:
        return known
    return known.gather(1, places.unsqueeze(2).expand(-1, -1, known.shape[2]))


class FixedWays(Episodic):
    """The method, whose labels are written in as many numbers as there are classes in training."""

    any_ways = False


@register(
    SNAILOptions,
    id="snail",
    color=25,
    title="SNAIL",
    group="Memory",
    summary="Reads a task as a sequence of labelled examples that ends in a query.",
    needs={"classes": "SNAIL tells classes apart"},
    charts=(ATTENTION,),
    presets={"paper": {"train_shots": 5, "fewest_shots": 1}},
    formula="logits = last step of A ∘ TC ∘ A ∘ TC ∘ A ((f(x₁), y₁), …, (f(x), 0))",
    cost="1 gradient per task; no inner steps",
    citation="Mishra et al. 2018, arXiv:1707.03141",
    note="It learns late: after 300 episodes of one task it hardly answers better than chance.",
)
def snail(options: SNAILOptions, shared: Shared) -> Algorithm:
    """Build SNAIL. Raises: OptionError for a range of shots that has none."""
    shots = shared.shots if options.train_shots is None else options.train_shots
    if options.fewest_shots is not None and options.fewest_shots > shots:
        raise OptionError(
            "snail.fewest_shots",
            f"snail.fewest_shots = {options.fewest_shots} is more than the {shots} shots of a "
            "training episode: use fewer, or more snail.train_shots.",
        )
    return FixedWays(SNAILModel(options, shared.ways), options.episodes())
