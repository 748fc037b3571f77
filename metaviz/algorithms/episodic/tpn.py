"""Transductive propagation: labels spread over a graph of support and query examples."""

from collections.abc import Iterator
from math import prod
from typing import Self

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.episodic.embedding import embedded, in_sets, rows
from metaviz.algorithms.episodic.episode_options import EpisodeOptions
from metaviz.algorithms.registry import register
from metaviz.charts.embedding import principal
from metaviz.charts.propagation import PROPAGATION, STEPS, propagation_chart, steps_chart
from metaviz.charts.similarity import shown
from metaviz.charts.values import Chart
from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import OBJECTIVE, Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import memberships, squared_distances
from metaviz.nets.base import Net
from metaviz.nets.blocks import block, block_shapes, halved, linear, linear_shapes
from metaviz.nets.convolution import fold, unfold
from metaviz.nets.layout import Layout, Params

NEAREST = 20
_MAP = 3
_CHANNELS, _HIDDEN = 64, 8
_SHORTEST = 1e-3
_SMALLEST = 1e-30
_TERMS = (0, 1, 5)
_STEPS = 21
_MOST_NODES = 40
_LARGEST_ALPHA = 0.999_999


class TPNOptions(EpisodeOptions):
    """Options of transductive propagation."""

    k: int | None = option(
        None,
        "Neighbours k",
        "An edge stays where it is among the k heaviest of one of its ends, the one to itself "
        "included. Empty: 20, or all examples of a smaller graph.",
        ge=1,
        le=1_000_000,
    )
    self_loops: bool = option(
        True,
        "Self-loops",
        "Examples are neighbours of themselves, with the weight 1, as in the authors' code.",
    )
    alpha: float = option(
        0.99,
        "Propagation α",
        "F = (I − α S)⁻¹ Y: the closer to 1, the further labels spread.",
        gt=0,
        le=_LARGEST_ALPHA,
    )
    learn_alpha: bool = option(
        False, "Learn α", "Train α from there with the network; it stays between 0 and 1."
    )
    sigma: float | None = option(
        None,
        "Length scale σ",
        "Embeddings are divided by σ before they are compared. Empty: each example has its own, "
        "which a small network learns to tell from its embedding.",
        gt=0,
        le=1e6,
        log=True,
    )

    def untrained(self, examples: int) -> Self | None:
        """Return the options with σ = 1 unless it is given. Raises: OptionError for a large k."""
        self.check_graph(examples)
        return self if self.sigma is not None else self.model_copy(update={"sigma": 1.0})

    def check_graph(self, examples: int) -> None:
        """Refuse more neighbours than a graph has nodes. Raises: OptionError."""
        if self.k is not None and self.k > examples:
            raise OptionError(
                "tpn.k",
                f"tpn.k = {self.k} is more than the {examples} support and query examples of an "
                f"episode, which are the graph: use at most {examples}, or leave it empty.",
            )


class LengthScales:
    """A length scale for every example, from its embedding.

    On maps (C, a, a): 3x3 convolution to 64 channels, normalisation, ReLU and halving; the same to
    one channel; then 8 linear units with ReLU, and one without. On vectors the linear layers alone
    (reconstructed). Where it would be zero or negative it is as its square is: it enters squared;
    that it is never below 0.001 keeps embeddings and derivatives finite.
    Source: Liu et al. 2019, appendix A, and the authors' code, where odd sides are rounded up.
    Deviation: with GroupNorm the one channel is not normalised, as by itself a number is always 0.
    """

    def __init__(self, net: Net) -> None:
        """Lay out for a network's embeddings."""
        self.shape = net.feature_shape
        self.norm = net.norm if len(self.shape) == _MAP else None
        by_group = self.norm is not None and self.norm.statistics == "group"
        self.norms = {"conv1": self.norm, "conv2": None if by_group else self.norm}
        size = prod(self.shape)
        shapes = []
        if self.norm is not None:
            shapes += block_shapes(self.norms["conv1"], "conv1", self.shape[0], _CHANNELS)
            shapes += block_shapes(self.norms["conv2"], "conv2", _CHANNELS, 1)
            size = -(-self.shape[1] // 4) * -(-self.shape[2] // 4)
        shapes += linear_shapes("linear1", size, _HIDDEN)
        shapes += linear_shapes("linear2", _HIDDEN, 1)
        self.layout = Layout(tuple(shapes))

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw weights as PyTorch does."""
        params: Params = {}
        bound = 0.0
        for name, shape in self.layout.shapes:
            if name.endswith("weight"):
                bound = float(prod(shape[1:]) ** -0.5)
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            params[name] = (2 * uniform - 1) * bound
            if name.endswith(("gamma", "beta")):
                params[name] = torch.full_like(uniform, float(name.endswith("gamma")))
        return self.layout.join(params)

    def __call__(self, params: Params, z: Tensor, counted: int | None) -> Tensor:
        """Map embeddings (tasks, n, d) to scales (tasks, n, 1); the first `counted` count."""
        if self.norm is not None:
            tasks = len(z)
            x = fold(z.unflatten(2, self.shape))
            for name, norm in self.norms.items():
                x = halved(block(params, name, norm, x, counted), up=True)
            z = unfold(x, tasks)
        scales = linear(params, "linear2", torch.relu(linear(params, "linear1", z)))
        return (scales.square() + _SHORTEST**2).sqrt()


class PropagationModel:
    """F = (I - alpha S)^-1 Y over all examples; the rows of queries are their logits.

    W_ij = exp(-mean_d (z_i/sigma_i - z_j/sigma_j)^2 / 2), of which the k largest of every row and
    column stay, S = D^-1/2 W D^-1/2, Y the support labels and zero rows for queries.
    Source: Liu et al. 2019, equations 1 to 4; mean over d, self-loops and separate normalisation
    of both sets as in the authors' code. Which edges stay has no derivative.
    """

    transductive = True
    rowwise = True

    def __init__(self, options: TPNOptions) -> None:
        """Take the options."""
        self.options = options
        own = {"alpha": options.learn_alpha, "sigma": options.sigma is None}
        self.groups = frozenset({"init", *(name for name, learned in own.items() if learned)})

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network's weights and those of the length scales; alpha is kept as a logit."""
        meta = {"init": learner.net.init(generator)}
        if self.options.learn_alpha:
            meta["alpha"] = torch.tensor([self.options.alpha], dtype=torch.float64).logit()
        if self.options.sigma is None:
            meta["sigma"] = LengthScales(learner.net).init(generator)
        return meta

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Return what labels the examples of a batch receive, (tasks, n, ways)."""
        known, asked = embedded(context, meta, batch, together=alone)
        scaled = self._scaled(context, meta, known, asked, together=alone)
        support = known.shape[1]
        nodes = scaled[0] if batch is context.tasks.support else torch.cat(scaled, 1)
        weights, spreading = self._graph(nodes)
        labels = memberships(context.tasks.support.y, context.ways, nodes)
        labels = torch.nn.functional.pad(labels, (0, 0, 0, nodes.shape[1] - support))
        alpha: float | Tensor = self.options.alpha
        if self.options.learn_alpha:
            # At 1 the graph's system is singular; a large logit rounds to it.
            alpha = meta["alpha"].sigmoid().clamp_max(_LARGEST_ALPHA).view(-1, 1, 1)
        spreading = alpha * spreading
        identity = torch.eye(nodes.shape[1], dtype=nodes.dtype, device=nodes.device)
        propagated = torch.linalg.solve(identity - spreading, labels)
        outputs = propagated if batch is context.tasks.support else propagated[:, support:]
        found = {
            "propagated": propagated,
            "labels": labels,
            "weights": weights,
            "spreading": spreading,
            "nodes": nodes,
        }
        return Prediction(outputs, maps=found if maps else {})

    def _scaled(
        self, context: Context, meta: Meta, known: Tensor, asked: Tensor, *, together: bool
    ) -> tuple[Tensor, Tensor]:
        """Return embeddings divided by their length scales."""
        if self.options.sigma is not None:
            return known / self.options.sigma, asked / self.options.sigma
        scales = LengthScales(context.learner.net)
        params = scales.layout.for_tasks(rows(meta["sigma"]), len(known))

        def divided(z: Tensor, counted: int | None) -> Tensor:
            return z / scales(params, z, counted)

        return in_sets(context.learner.net.norm, known, asked, divided, together=together)

    def _graph(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the edges that stay, and S, each (tasks, nodes, nodes)."""
        count = nodes.shape[1]
        apart = squared_distances(nodes, nodes).clamp_min(0) / nodes.shape[2]
        # Rounding would keep long embeddings apart from themselves, and leave them without edges.
        others = 1 - torch.eye(count, dtype=nodes.dtype, device=nodes.device)
        weights = torch.exp(-apart * others / 2)
        if not self.options.self_loops:
            weights = weights * others
        nearest = min(self.options.k or NEAREST, count)
        if nearest < count:
            heaviest = weights.detach().topk(nearest, 2).indices
            kept = torch.zeros_like(weights).scatter(2, heaviest, 1.0)
            weights = weights * torch.maximum(kept, kept.mT)
        inverse = weights.sum(2).clamp_min(_SMALLEST).rsqrt()
        return weights, inverse.unsqueeze(2) * weights * inverse.unsqueeze(1)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield how labels spread over the first task's graph, by the terms of the series."""
        first = context[:1]
        maps = self.predict(first, meta, first.tasks.query, maps=True).maps
        tasks = first.tasks
        nodes, weights = (maps[name][0].double().cpu().numpy() for name in ("nodes", "weights"))
        classes = torch.cat([tasks.support.y[0], tasks.query.y[0]]).cpu().numpy()
        chosen = shown(classes, _MOST_NODES)
        support = tasks.support.y.shape[1]
        names = [f"{n + 1}" if at < support else "" for at, n in enumerate(classes.tolist())]
        middle = nodes.mean(0)
        places = (nodes - middle) @ principal(nodes - middle)[0].T
        labels, spreading = maps["labels"][0], maps["spreading"][0]
        received = []
        total = term = labels
        for _ in range(_STEPS):
            received.append(total[chosen].double().cpu().numpy())
            term = spreading @ term
            total = total + term
        received.append(maps["propagated"][0][chosen].double().cpu().numpy())
        panels = {f"after {n} step{'s' * (n != 1)}": received[n] for n in _TERMS}
        panels["in the end"] = received[-1]
        named = tuple(names[at] for at in chosen.tolist())
        graph = places[chosen], named, weights[np.ix_(chosen, chosen)]
        yield propagation_chart(*graph, panels)
        yield steps_chart(*graph, received)


def over_all_nodes(context: Context, prediction: Prediction, batch: Batch) -> Tensor:
    """Return the mean cross-entropy over support and query examples, (tasks,)."""
    answers = torch.cat([context.tasks.support.y, batch.y], 1)
    logs = torch.log_softmax(prediction.maps["propagated"], 2)
    return -logs.gather(2, answers.unsqueeze(2)).mean(dim=(1, 2))


@register(
    TPNOptions,
    id="tpn",
    color=21,
    title="TPN",
    group="Metric",
    summary="Labels spread from support examples over a graph of all examples of the task.",
    needs={"classes": "TPN tells classes apart"},
    quantities=(OBJECTIVE.id,),
    charts=(PROPAGATION, STEPS),
    formula="F = (I − α S)⁻¹ Y,   Wᵢⱼ = exp(−mean (zᵢ/σᵢ − zⱼ/σⱼ)² / 2),   S = D⁻¹ᐟ² W D⁻¹ᐟ²",
    cost="1 gradient per task and a system of all its examples; no inner steps",
    citation="Liu et al. 2019, arXiv:1805.10002",
    note="Transductive: all query examples of a task are used together, so that its accuracies "
    "are not comparable with those of methods that see one at a time.",
)
def tpn(options: TPNOptions, shared: Shared) -> Algorithm:
    """Build transductive propagation. Raises: OptionError for more neighbours than examples."""
    usual = EpisodeShape(shared.ways, shared.shots, shared.query_shots)
    shapes = (options.episodes().shape(usual), usual)
    options.check_graph(min(shape.ways * shape.examples for shape in shapes))
    return Episodic(PropagationModel(options), options.episodes(), over_all_nodes)
