"""TADAM: prototypes in an embedding that the task itself modulates."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.episodic.embedding import (
    SMALLEST,
    embedded,
    first_embedding,
    means,
    memberships,
    rows,
    squared_distances,
)
from metaviz.algorithms.episodic.episode_options import Embedding, EpisodeOptions, embed_option
from metaviz.algorithms.registry import register
from metaviz.charts.embedding import EMBEDDING
from metaviz.charts.values import ORANGE, Axis, Bars, Chart, Series
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import OBJECTIVE, Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net
from metaviz.nets.blocks import Shapes, linear, linear_shapes
from metaviz.nets.layout import Layout, Params

MODULATION = "modulation"
"""The id of the chart."""
_MATRIX = 2
_LAYERS = (1, 2, 3)
_KINDS = ("gamma", "beta")


class TADAMOptions(EpisodeOptions):
    """Options of TADAM."""

    scale: float = option(
        7.5,
        "Scale α",
        "Logits are −α |z − c|; the authors chose α for each data set and number of shots.",
        gt=0,
        le=1e6,
        log=True,
    )
    modulate: bool = option(
        True,
        "Modulate",
        "Layers are scaled and shifted by what the task embedding network says. Off: the metric "
        "scaling alone, which is ProtoNet.",
    )
    penalty: float = option(
        0.01,
        "Penalty on the modulation",
        "Times (γ₀² + β₀²) / 2, summed over layers, is added to the training loss.",
        ge=0,
        le=1e6,
    )
    embed: Embedding = embed_option()

    def untrained(self, examples: int) -> Self | None:
        """Return the options themselves: the modulation starts at none."""
        del examples
        return self


@dataclass(frozen=True)
class Modulated:
    """A layer whose outputs u become gamma u + beta: the tensors that scale and shift them."""

    name: str
    scale: str
    shift: str
    width: int


def modulated_layers(net: Net) -> tuple[Modulated, ...]:
    """Return the layers that are modulated: those that normalise, else linear ones but the last.

    Raises: OptionError where normalisation has no scale.
    """
    shapes = dict(net.layout.shapes)
    if net.norm is not None and net.norm.affine != "both":
        raise OptionError(
            "norm_affine",
            "TADAM scales and shifts normalised layers, and norm_affine = beta leaves them no "
            "scale: use both.",
        )
    ends = (".gamma", ".beta") if net.norm is not None else (".weight", ".bias")
    found = []
    for name, shape in shapes.items():
        layer = name.removesuffix(ends[0])
        if name.endswith(ends[0]) and name not in net.layout.head:
            found.append(Modulated(layer, name, f"{layer}{ends[1]}", shape[0]))
    return tuple(found)


class TaskEmbedding:
    """Two small networks for each modulated layer say its gamma and beta, given the task.

    The embedding c is the mean prototype; h1 = swish(W1 c + b1), h2 = swish(W2 h1 + b2 + h1),
    out = W3 h2 + b3 + h2; gamma = 1 + gamma0 out, beta = beta0 out', with one gamma0 and beta0 per
    layer, which start at 0.
    Source: Oreshkin et al. 2018, section 2.4 and supplementary material, with scalar gamma0 and
    beta0 as in the authors' code.
    """

    def __init__(self, net: Net) -> None:
        """Lay out for a network. Raises: OptionError, see `modulated_layers`."""
        self.layers = modulated_layers(net)
        size = prod(net.feature_shape)
        shapes: Shapes = []
        for layer in self.layers:
            for kind in _KINDS:
                name = f"{layer.name}.{kind}"
                for number in _LAYERS:
                    inputs = size if number == 1 else layer.width
                    shapes += linear_shapes(f"{name}.linear{number}", inputs, layer.width)
                shapes.append((f"{name}.start", (1,)))
        self.layout = Layout(tuple(shapes))

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw weights as PyTorch does; gamma0 and beta0 are 0."""
        params, bound = Params(), 0.0
        for name, shape in self.layout.shapes:
            bound = shape[1] ** -0.5 if len(shape) == _MATRIX else bound
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            params[name] = (2 * uniform - 1) * bound * float(not name.endswith("start"))
        return self.layout.join(params) if params else torch.empty(0, dtype=torch.float64)

    def __call__(self, params: Params, task: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Map task embeddings (tasks, d) to gamma and beta (tasks, width) of every layer."""
        found = {}
        for layer in self.layers:
            gamma, beta = (
                params[f"{layer.name}.{kind}.start"]
                * self.direction(params, f"{layer.name}.{kind}", task)
                for kind in _KINDS
            )
            found[layer.name] = (1 + gamma, beta)
        return found

    def direction(self, params: Params, name: str, task: Tensor) -> Tensor:
        """Return what one of the networks says of task embeddings (tasks, d), (tasks, width)."""
        swish = torch.nn.functional.silu
        first = swish(linear(params, f"{name}.linear1", task.unsqueeze(1)))
        second = swish(linear(params, f"{name}.linear2", first) + first)
        third: Tensor = linear(params, f"{name}.linear3", second) + second
        return third.squeeze(1)

    def starts(self, params: Params) -> Tensor:
        """Return gamma0 and beta0 of all layers, (tasks, 2 layers)."""
        names = [f"{layer.name}.{kind}.start" for layer in self.layers for kind in _KINDS]
        return torch.cat([params[name] for name in names], 1)


class TADAMModel:
    """logit_n(x) = -alpha |f(x; t) - c_n|, f modulated by what the support set says of the task t.

    The support set passes the plain network; its mean prototype says gamma and beta of every
    normalised layer, u -> gamma u + beta before the activation; support and query pass that one.
    Source: Oreshkin et al. 2018, arXiv:1805.10123. Deviation: without the auxiliary task, which
    classifies all training classes beside the episodes. On networks that do not normalise, the
    outputs of linear layers are modulated (reconstructed).
    """

    transductive = False
    rowwise = True

    def __init__(self, options: TADAMOptions) -> None:
        """Take the options."""
        self.options = options
        self.groups = frozenset({"init", "ten"} if options.modulate else {"init"})

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the weights of the network and of the task embedding network."""
        meta = {"init": learner.net.init(generator)}
        if self.options.modulate:
            meta["ten"] = TaskEmbedding(learner.net).init(generator)
        return meta

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Modulate the network by the support sets; logits (tasks, n, ways)."""
        together = alone or self.options.embed == "together"
        shown = {}
        layers: dict[str, tuple[Tensor, Tensor]] = {}
        if self.options.modulate:
            layers, penalty = self._modulation(context, meta)
            shown["penalty"] = penalty
        weights = self._weights(context, meta, layers)
        known, asked = embedded(context, meta, batch, together=together, weights=weights)
        prototypes = means(known, memberships(context, known))
        apart = squared_distances(asked, prototypes).clamp_min(SMALLEST**2).sqrt()
        shown |= {"prototypes": prototypes, "support": known, "query": asked}
        for name, (gamma, beta) in layers.items():
            shown |= {f"{name}.gamma": gamma, f"{name}.beta": beta}
        return Prediction(-self.options.scale * apart, maps=shown if maps else {})

    def _modulation(
        self, context: Context, meta: Meta
    ) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
        """Return gamma and beta by layer, and the penalty on them, (1 or tasks,)."""
        support, net = context.tasks.support, context.learner.net
        z = net.features(meta["init"].expand(len(support), -1), support.x)
        ten = TaskEmbedding(net)
        if not ten.layers:
            return {}, z.new_zeros(len(z))
        params = ten.layout.for_tasks(rows(meta["ten"]), len(z))
        task = means(z, memberships(context, z)).mean(1)
        penalty = self.options.penalty / 2 * ten.starts(params).square().sum(1)
        return ten(params, task), penalty

    def _weights(
        self, context: Context, meta: Meta, layers: dict[str, tuple[Tensor, Tensor]]
    ) -> Params | None:
        """Return the network's weights (tasks, ...) with scales and shifts of the task's own."""
        if not layers:
            return None
        net, tasks = context.learner.net, len(context.tasks)
        params = net.layout.for_tasks(rows(meta["init"]), tasks)
        for layer in modulated_layers(net):
            gamma, beta = layers[layer.name]
            scale = params[layer.scale]
            wide = gamma.view(*gamma.shape, *[1] * (scale.dim() - gamma.dim()))
            params[layer.scale] = wide * scale
            params[layer.shift] = gamma * params[layer.shift] + beta
        return params

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the first task's gamma and beta by layer, and where its examples lie."""
        first = context[:1]
        maps = self.predict(first, meta, first.tasks.query, maps=True).maps
        layers = [layer.name for layer in modulated_layers(first.learner.net)]
        if self.options.modulate and layers:
            yield modulation_chart(
                {
                    name: tuple(maps[f"{name}.{kind}"][0].double().cpu().numpy() for kind in _KINDS)
                    for name in layers
                }
            )
        yield first_embedding(first, maps)


def modulation_chart(layers: dict[str, tuple[np.ndarray, ...]]) -> Bars:
    """Show the mean gamma and beta of every layer, from the smallest to the largest channel."""
    places = np.arange(float(len(layers)))
    series = []
    for number, (kind, role) in enumerate((("γ (scale)", "method-0"), ("β (shift)", ORANGE))):
        values = [parts[number] for parts in layers.values()]
        mean, low, high = (
            np.array([take(one) for one in values]) for take in (np.mean, np.min, np.max)
        )
        series.append(Series(kind, places, mean, kind, role, low=low, high=high))
    return Bars(
        id=MODULATION,
        title="Modulation of layers for the first task: mean, smallest and largest channel",
        x=Axis("layer"),
        y=Axis("γ, β"),
        series=tuple(series),
        names=tuple(layers),
    )


@dataclass(frozen=True)
class Modulating(Episodic):
    """Asks a network for layers that can be scaled and shifted."""

    def fit(self, learner: Learner) -> None:
        """Refuse a network whose normalisation has no scale. Raises: OptionError."""
        modulated_layers(learner.net)


def penalised(context: Context, prediction: Prediction, batch: Batch) -> Tensor:
    """Return the query loss and the penalty on the modulation, (tasks,)."""
    return context.learner.judge.loss(prediction.outputs, batch) + prediction.maps["penalty"]


@register(
    TADAMOptions,
    id="tadam",
    title="TADAM",
    group="Metric",
    summary="Prototypes in an embedding whose layers the task itself scales and shifts.",
    needs={"classes": "TADAM tells classes apart", "layers": "TADAM modulates layers"},
    quantities=(OBJECTIVE.id,),
    charts=(MODULATION, EMBEDDING),
    formula="p(n | x) ∝ exp(−α |f(x; γ, β) − cₙ|),   γ = 1 + γ₀ h(c̄),   β = β₀ g(c̄)",
    cost="1 gradient per task through two passes over the support set; no inner steps",
    citation="Oreshkin, Rodríguez & Lacoste 2018, arXiv:1805.10123",
    note="Without the auxiliary task of the paper, which classifies all training classes: there "
    "the modulation gains 1 % with it and loses 1 % without (5-shot).",
)
def tadam(options: TADAMOptions, shared: Shared) -> Algorithm:
    """Build TADAM."""
    del shared
    model = TADAMModel(options)
    if not options.modulate:
        return Episodic(model, options.episodes())
    return Modulating(model, options.episodes(), penalised)
