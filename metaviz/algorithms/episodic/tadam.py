"""TADAM: prototypes in an embedding that is scaled and shifted for the task."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from metaviz.algorithms.auxiliary import AUXILIARY, base_losses, drawn_base
from metaviz.algorithms.episodic.embedding import embedded, rows
from metaviz.algorithms.episodic.episode_options import Embedding, EpisodeOptions, embed_option
from metaviz.algorithms.outer_options import OwnOuter
from metaviz.algorithms.registry import register
from metaviz.charts.embedding import EMBEDDING
from metaviz.charts.modulation import MODULATION, modulation_chart
from metaviz.charts.values import Chart
from metaviz.config.episodes import TrainingEpisodes
from metaviz.config.options import option
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import OBJECTIVE, Episodic, Term
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_embedding
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import SMALLEST, class_means, squared_distances
from metaviz.nets.base import Net, feature_count
from metaviz.nets.blocks import Shapes, linear, linear_shapes
from metaviz.nets.layout import Layout, Params, Weights

PENALTY = register_quantity(Quantity("film_penalty", "Penalty of scales and shifts"))
Films = dict[str, tuple[Tensor, Tensor]]
"""Scales and shifts (tasks, channels) by layer."""

_PERIODS, _DECAY, _ROUNDING = 20, 0.9, 1e-9


class TADAMOptions(EpisodeOptions, OwnOuter):
    """Options of TADAM."""

    method: ClassVar[str] = "tadam"

    scale: float = option(
        7.5,
        "Metric scale α",
        "Logits are −α |z − c|. The authors chose it by validation for every data set and number "
        "of shots; 7.5 is their code's value for 5 shots.",
        gt=0,
        le=1e6,
        log=True,
    )
    learn_scale: bool = option(False, "Learn the scale", "Train α with the network.")
    film: bool = option(
        True,
        "Task conditioning",
        "Two small networks for each layer l see the mean c of the prototypes: γₗ = 1 + gₗ hₗ(c), "
        "βₗ = bₗ kₗ(c); after normalisation, responses become γₗ u + βₗ. gₗ and bₗ start at 0. "
        "Off: a prototypical network with a scale.",
    )
    penalty: float = option(
        0.01, "Penalty of g and b", "λ of λ/2 Σ (gₗ² + bₗ²), added to the loss.", ge=0, le=1e3
    )
    auxiliary: bool = option(
        True,
        "Auxiliary classification",
        "With probability p(t) = 0.9 · 0.9^⌊20 t/T⌋ at step t of T, the cross-entropy of plain "
        "examples of all training classes is added to a task's loss: a linear layer on the same "
        "embedding, without conditioning. Without it, conditioning did not help the authors.",
    )
    auxiliary_batch: int = option(
        64, "Auxiliary batch", "Plain examples beside each task.", ge=1, le=10_000
    )
    embed: Embedding = embed_option()

    @override
    def episodes(self) -> TrainingEpisodes:
        """Return the sizes of training episodes, with plain examples for the auxiliary loss."""
        plain = self.auxiliary_batch if self.auxiliary else 0
        return TrainingEpisodes(self.train_ways, self.train_shots, self.train_query, plain)


class TaskEncoder:
    """Scales and shifts of a network's layers from the mean of a task's prototypes.

    For each layer two networks d -> C: linear, swish; linear plus its input, swish; linear plus its
    input; C the layer's channels. gamma = 1 + g times the first, beta = b times the second.
    Layers are all that are normalised, those of shortcuts included; where none is, all but the
    head (reconstructed): there scales and shifts act on W x + b.
    Source: Oreshkin, Rodriguez & Lacoste 2018, section 3.2, and the authors' code, where g and b
    are one number for each layer. Weights are drawn as PyTorch does (the authors' are not known).
    """

    def __init__(self, net: Net) -> None:
        """Lay out for a network."""
        self.layers = conditioned_layers(net.layout)
        inputs = feature_count(net)
        shapes: Shapes = []
        for layer, channels in self.layers.items():
            for kind in ("gamma", "beta"):
                for number, width in enumerate((inputs, channels, channels), 1):
                    shapes += linear_shapes(f"{layer}.{kind}{number}", width, channels)
        count = len(self.layers)
        self.layout = Layout((*shapes, ("gamma", (count,)), ("beta", (count,))))

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw weights; g and b start at 0, so that no layer is changed."""
        params: Params = {}
        bound = 0.0
        for name, shape in self.layout.shapes:
            if name.endswith("weight"):
                bound = float(shape[1] ** -0.5)
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            scale = name in {"gamma", "beta"}
            params[name] = torch.zeros_like(uniform) if scale else (2 * uniform - 1) * bound
        return self.layout.join(params)

    def __call__(self, params: Params, task: Tensor) -> Films:
        """Return scales and shifts for the embeddings of tasks (tasks, d)."""
        found = {}
        for place, layer in enumerate(self.layers):
            gamma, beta = (
                params[kind][:, place : place + 1] * _residual(params, f"{layer}.{kind}", task)
                for kind in ("gamma", "beta")
            )
            found[layer] = 1 + gamma, beta
        return found


def _residual(params: Params, name: str, task: Tensor) -> Tensor:
    x = functional.silu(linear(params, f"{name}1", task.unsqueeze(1)))
    x = functional.silu(linear(params, f"{name}2", x) + x)
    return (linear(params, f"{name}3", x) + x).squeeze(1)


def conditioned_layers(layout: Layout) -> dict[str, int]:
    """Return the layers that are scaled and shifted, with their channels."""
    norms = {name: shape for name, shape in layout.shapes if name.endswith(".beta")}
    if norms:
        return {name.removesuffix(".beta"): shape[0] for name, shape in norms.items()}
    hidden = layout.shapes[:-2] if layout.head else ()
    return {
        name.removesuffix(".weight"): shape[0] for name, shape in hidden if name.endswith(".weight")
    }


def conditioned(layout: Layout, weights: Tensor, films: Films) -> Weights:
    """Return a network's weights (tasks, P) by name, whose layers are scaled and shifted.

    What follows BatchNorm, gamma (g u + b) + beta, is BatchNorm with the scale gamma g and the
    shift gamma b + beta; what follows a linear layer is one with other weights.
    """
    params = layout.split(weights)
    for layer, (gamma, beta) in films.items():
        if f"{layer}.beta" in params:
            known = params.get(f"{layer}.gamma")
            params[f"{layer}.gamma"] = gamma if known is None else gamma * known
            params[f"{layer}.beta"] = gamma * params[f"{layer}.beta"] + beta
        else:
            params[f"{layer}.weight"] = gamma.unsqueeze(2) * params[f"{layer}.weight"]
            params[f"{layer}.bias"] = gamma * params[f"{layer}.bias"] + beta
    return params


class TADAMModel:
    """logit_n(x) = -alpha |f(x; task) - c_n|, the layers of f scaled and shifted for the task.

    The task is the mean of the prototypes of the network as it is; then support and query examples
    pass it once more, with scales and shifts.
    Source: Oreshkin, Rodriguez & Lacoste 2018, equations 1 to 4.
    Deviation: support and query sets are embedded apart unless `together`.
    """

    transductive = False
    rowwise = True

    def __init__(self, options: TADAMOptions) -> None:
        """Take the options."""
        self.options = options
        own = {"scale": options.learn_scale, "film": options.film, "base": options.auxiliary}
        self.groups = frozenset({"init", *(name for name, learned in own.items() if learned)})

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network, the task encoder and the layer of all training classes."""
        meta = {"init": learner.net.init(generator)}
        if self.options.learn_scale:
            meta["scale"] = torch.tensor([self.options.scale], dtype=torch.float64)
        if self.options.film:
            meta["film"] = TaskEncoder(learner.net).init(generator)
        if self.options.auxiliary:
            meta["base"] = drawn_base(learner, generator)
        return meta

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Compare every example with the prototypes; logits (tasks, n, ways)."""
        net, options = context.learner.net, self.options
        plain = meta["init"].expand(len(batch), -1)
        films = self.films(context, meta) if options.film else {}
        weights = conditioned(net.layout, plain, films) if films else plain
        together = alone or options.embed == "together"
        known, asked = embedded(context, meta, batch, together=together, weights=weights)
        prototypes = class_means(known, context.tasks.support.y, context.ways)
        squared = squared_distances(asked, prototypes)
        scale = meta["scale"].view(-1, 1, 1) if options.learn_scale else options.scale
        outputs = -scale * squared.clamp_min(SMALLEST**2).sqrt()
        shown = {"prototypes": prototypes, "support": known, "query": asked} if maps else {}
        return Prediction(outputs, maps=shown)

    def films(self, context: Context, meta: Meta) -> Films:
        """Return scales and shifts of every layer for the tasks."""
        encoder = TaskEncoder(context.learner.net)
        if not encoder.layers:
            return {}
        support = context.tasks.support
        weights = meta["init"].expand(len(support), -1)
        z = context.learner.net.features(weights, support.x)
        task = class_means(z, context.tasks.support.y, context.ways).mean(1)
        return encoder(encoder.layout.for_tasks(rows(meta["film"]), len(support)), task)

    def penalty(self, context: Context, meta: Meta) -> Tensor:
        """Return lambda/2 times the sum of g^2 + b^2, (tasks,)."""
        count = 2 * len(conditioned_layers(context.learner.net.layout))
        flat = rows(meta["film"])
        scales = flat[:, flat.shape[1] - count :].expand(len(context.tasks), -1)
        return self.options.penalty / 2 * scales.square().sum(1)

    def auxiliary_loss(self, context: Context, meta: Meta) -> Tensor:
        """Return the cross-entropy of plain examples of tasks that draw it, else 0, (tasks,)."""
        found, plain = meta["init"].new_zeros(len(context.tasks)), context.tasks.plain
        if plain is None:
            return found
        chosen = context.draws.of("auxiliary", 0, 1)[:, 0] < auxiliary_share(context.progress)
        places = torch.from_numpy(chosen.nonzero()[0]).to(plain.x.device)
        if not len(places):
            return found
        weights, base = (
            rows(meta[name]).expand(len(context.tasks), -1)[places] for name in ("init", "base")
        )
        losses = base_losses(context.learner, plain[places], weights, base)
        return found.index_put((places,), losses)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the first task's scales and shifts, and where its examples and prototypes lie."""
        first = context[:1]
        films = self.films(first, meta) if self.options.film else {}
        yield modulation_chart(
            {
                layer: (gamma[0].double().cpu().numpy(), beta[0].double().cpu().numpy())
                for layer, (gamma, beta) in films.items()
            }
        )
        yield first_embedding(first, self.predict(first, meta, first.tasks.query, maps=True).maps)

    def terms(self) -> Mapping[str, Term]:
        """Return what is added to the query loss, by quantity."""
        found: dict[str, Term] = {}
        if self.options.film:
            found[PENALTY.id] = self.penalty
        if self.options.auxiliary:
            found[AUXILIARY.id] = self.auxiliary_loss
        return found


def auxiliary_share(progress: float) -> float:
    """Return p(t) = 0.9 * 0.9^floor(20 t/T): how often the auxiliary loss is added."""
    return float(_DECAY * _DECAY ** int(_PERIODS * progress + _ROUNDING))


@register(
    TADAMOptions,
    id="tadam",
    color=24,
    title="TADAM",
    group="Metric",
    summary="Prototypes in an embedding whose layers are scaled and shifted for the task.",
    needs={
        "classes": "TADAM tells classes apart",
        "examples": "TADAM learns from examples of all training classes as well",
    },
    quantities=(OBJECTIVE.id, PENALTY.id, AUXILIARY.id),
    charts=(MODULATION, EMBEDDING),
    formula="logit = −α |f(x; γ, β) − cₙ|,   γₗ = 1 + gₗ hₗ(c),   βₗ = bₗ kₗ(c),   c = mean cₙ",
    cost="1 gradient per task; support examples pass the network twice, plain ones once",
    citation="Oreshkin, Rodriguez & Lacoste 2018, arXiv:1805.10123",
    note="The auxiliary loss is added to a task's loss, where the authors take a step of its own "
    "before the episode's.",
)
def tadam(options: TADAMOptions, shared: Shared) -> Algorithm:
    """Build TADAM. Raises: OptionError for wrong epochs of the step size."""
    del shared
    options.epochs()
    model = TADAMModel(options)
    return Episodic(model, options.episodes(), terms=model.terms())
