"""Conditionally shifted neurons: what support errors say of a neuron shifts it for queries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.episodic.embedding import embedded, rows
from metaviz.algorithms.episodic.episode_options import Embedding, SizedEpisodes, embed_option
from metaviz.algorithms.registry import register
from metaviz.charts.shift import SHIFT, shift_chart
from metaviz.charts.similarity import SIMILARITY
from metaviz.charts.values import Chart
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_similarity
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import memberships
from metaviz.nets.base import Activate, Layered, feature_count
from metaviz.nets.blocks import Shapes, drawn, linear, linear_shapes, uniform
from metaviz.nets.layout import Layout, Params

_SLOPES: dict[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = {
    torch.relu: lambda u: (u > 0).to(u.dtype),
    torch.tanh: lambda u: 1 - torch.tanh(u).square(),
}
"""Derivatives of activations."""


class CSNOptions(SizedEpisodes):
    """Options of conditionally shifted neurons."""

    form: Literal["paper", "port"] = option(
        "paper",
        "Shifted neuron",
        "Paper: relu(a) + relu(B). Port: relu(a + B), as a well-known port of the method has it.",
        labels={"paper": "relu(a) + relu(B)", "port": "relu(a + B)"},
    )
    shifted: int = option(
        2,
        "Shifted layers",
        "The last hidden layers of the network, or all that it has, besides the logits. The "
        "authors shift the last layers; which ones is not certain (reconstructed).",
        ge=0,
        le=100,
    )
    keys: Literal["network", "features", "inputs"] = option(
        "network",
        "Keys",
        "What is mapped linearly to an example's key: the features of a second network like the "
        "first; those of the network itself, without shifts; or the inputs (reconstructed).",
        labels={"network": "a network of their own", "features": "features", "inputs": "inputs"},
    )
    key_size: int = option(
        64, "Key size", "Numbers of a key (reconstructed).", ge=1, le=4096, log=True
    )
    value_width: int = option(
        32,
        "Units of the value network",
        "Of each hidden layer. The authors use 20 or 40, a well-known port 32.",
        ge=1,
        le=4096,
        log=True,
    )
    value_layers: int = option(
        2, "Hidden layers of the value network", "Each with ReLU.", ge=1, le=10
    )
    embed: Embedding = embed_option()


@dataclass(frozen=True)
class Memory:
    """What support examples say of the neurons: keys (tasks, m, keys), values (tasks, m, neurons).

    The layer numbers are those of the network; the values of the logits are by themselves.
    """

    values: dict[int, Tensor]
    logits: Tensor
    information: dict[str, Tensor] = field(default_factory=dict)


class ValueNetwork:
    """Maps what is known of a neuron, a number for each class, to its value."""

    def __init__(self, ways: int, width: int, layers: int) -> None:
        """Lay out; the same network serves all neurons."""
        self.layers = layers
        shapes: Shapes = []
        for layer in range(layers + 1):
            inputs, outputs = width if layer else ways, 1 if layer == layers else width
            shapes += linear_shapes(f"value{layer + 1}", inputs, outputs)
        self.layout = Layout(tuple(shapes))

    def __call__(self, params: Params, information: Tensor) -> Tensor:
        """Map information (tasks, m, neurons, ways) to values (tasks, m, neurons)."""
        x = information.flatten(1, 2)
        for layer in range(1, self.layers + 2):
            x = linear(params, f"value{layer}", x)
            x = torch.relu(x) if layer <= self.layers else x
        return x.view(information.shape[:3])


class ShiftedModel:
    """Neurons h = relu(a) + relu(B) and logits o + B, B = sum_i softmax_i(k k_i) V_i.

    k are keys of the query and of support examples i. The value V_i of a neuron is a small network
    of relu'(a_i) delta_i, one number per class, with delta_i = softmax(o_i) - y_i the error of a
    pass without shifts, fed back directly; that of the logit of class j sees delta_ij delta_i.
    Source: Munkhdalai, Yuan, Mehri & Trischler 2018, section 3, with direct feedback. Neurons of
    maps are those after pooling (reconstructed).
    """

    transductive = False
    rowwise = True
    groups = frozenset({"init", "keys", "values"})

    def __init__(self, options: CSNOptions) -> None:
        """Take the options."""
        self.options = options

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network, the one for keys with the map to these, and the value network."""
        net = layered(learner)
        options = self.options
        meta = {"init": net.init(generator)}
        meta["values"] = drawn(self._value_network(net).layout, generator)
        size = self._key_inputs(net)
        keys = uniform(Layout((("keys", (options.key_size, size)),)), size, generator)
        own = [net.init(generator)] if options.keys == "network" else []
        meta["keys"] = torch.cat([*own, keys])
        return meta

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Return logits (tasks, n, ways) of the network with shifted neurons."""
        net, support, count = layered(context.learner), context.tasks.support, batch.x.shape[1]
        together = alone or self.options.embed == "together"
        weights = meta["init"].expand(len(batch), -1)
        memory = self.memory(context, meta)
        known, asked = self._keys(context, meta, batch, together=together)
        if batch is not support:
            asked = torch.cat([known, asked], 1)
        # Support examples that only stand beside the others are shifted as well.
        attention = torch.softmax(asked @ known.mT, 2)
        sizes: dict[str, Tensor] = {}

        def shifting(layer: int) -> Activate:
            def shifted(a: Tensor) -> Tensor:
                shift = attention[:, -a.shape[1] :] @ memory.values[layer]
                added = net.activation(shift) if self.options.form == "paper" else shift
                sizes[f"hidden {layer + 1}"] = added[:, -count:]
                return self._shifted(net.activation, a, shift)

            return shifted

        x = batch.x
        if together and batch is not support and batch.beside is None:
            x = torch.cat([support.x, x], 1)
        altered = net.activated({layer: shifting(layer) for layer in memory.values})
        outputs = altered(weights, x, batch.beside)[:, -count:]
        attention = attention[:, -count:]
        shift = attention @ memory.logits
        shown = {}
        if maps:
            shown = {"attention": attention, **sizes, "logits": shift}
        return Prediction(outputs + shift, maps=shown)

    def memory(self, context: Context, meta: Meta) -> Memory:
        """Return what the support examples say of the shifted neurons, and of the logits."""
        net, support = layered(context.learner), context.tasks.support
        received: dict[int, Tensor] = {}

        def noting(layer: int) -> Activate:
            def note(a: Tensor) -> Tensor:
                received[layer] = a
                return net.activation(a)

            return note

        count = len(net.neurons)
        layers = range(max(0, count - self.options.shifted), count)
        watched = net.activated({layer: noting(layer) for layer in layers})
        outputs = watched(meta["init"].expand(len(support), -1), support.x)
        delta = torch.softmax(outputs, 2) - memberships(
            context.tasks.support.y, context.ways, outputs
        )
        slope = _SLOPES[net.activation]
        information = {
            layer: slope(a).unsqueeze(3) * delta.unsqueeze(2) for layer, a in received.items()
        }
        network = self._value_network(net)
        params = network.layout.for_tasks(rows(meta["values"]), len(support))
        of_logits = delta.unsqueeze(3) * delta.unsqueeze(2)
        return Memory(
            {layer: network(params, known) for layer, known in information.items()},
            network(params, of_logits),
            {"logits": of_logits, **{f"hidden {n + 1}": of for n, of in information.items()}},
        )

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the first task's attention to support examples, and how large shifts are."""
        first = context[:1]
        maps = dict(self.predict(first, meta, first.tasks.query, maps=True).maps)
        attention = maps.pop("attention")
        title = "Attention to the support set"
        yield first_similarity(first, attention, title, "attention", (0.0, 1.0))
        yield shift_chart({name: of[0].double().cpu().numpy() for name, of in maps.items()})

    def _shifted(self, activation: Activate, a: Tensor, shift: Tensor) -> Tensor:
        if self.options.form == "port":
            return activation(a + shift)
        return activation(a) + activation(shift)

    def _keys(
        self, context: Context, meta: Meta, batch: Batch, *, together: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the keys of support and asked examples, (tasks, n, keys)."""
        net, flat = layered(context.learner), rows(meta["keys"])
        matrix_size = self.options.key_size * self._key_inputs(net)
        if self.options.keys == "inputs":
            seen = context.tasks.support.x.flatten(2), batch.x.flatten(2)
        else:
            own = flat[:, : flat.shape[1] - matrix_size]
            weights = (own if self.options.keys == "network" else rows(meta["init"])).expand(
                len(batch), -1
            )
            seen = embedded(context, meta, batch, together=together, weights=weights)
        matrix = flat[:, flat.shape[1] - matrix_size :].unflatten(1, (self.options.key_size, -1))
        return seen[0] @ matrix.mT, seen[1] @ matrix.mT

    def _key_inputs(self, net: Layered) -> int:
        """Return how many numbers are mapped to a key."""
        return net.example_size if self.options.keys == "inputs" else feature_count(net)

    def _value_network(self, net: Layered) -> ValueNetwork:
        ways = dict(net.layout.shapes)[min(net.layout.head)][0]
        return ValueNetwork(ways, self.options.value_width, self.options.value_layers)


def layered(learner: Learner) -> Layered:
    """Return the network, whose neurons can be shifted. Raises: OptionError where they cannot."""
    if not isinstance(learner.net, Layered) or not learner.net.layout.head:
        raise OptionError(
            "algorithm",
            "csn shifts the neurons of fully connected networks and of Conv4, and this network is "
            "neither: choose another network or method.",
        )
    return learner.net


class ShiftedNeurons(Episodic):
    """The method, which asks for a network whose neurons can be shifted."""

    any_ways = False

    @override
    def fit(self, learner: Learner) -> None:
        layered(learner)


@register(
    CSNOptions,
    id="csn",
    color=26,
    title="CSN",
    group="Metric",
    summary="Neurons are shifted for a query by what errors of similar support examples say.",
    needs={
        "classes": "CSN tells classes apart",
        "layers": "CSN shifts the neurons of a network's layers",
    },
    charts=(SIMILARITY, SHIFT),
    formula="h = relu(a) + relu(B),   B = Σᵢ softmaxᵢ(k kᵢ) v(relu′(aᵢ) δᵢ),   "
    "δᵢ = softmax(oᵢ) − yᵢ",
    cost="1 gradient per task; support examples pass the network twice, and one for keys once",
    citation="Munkhdalai et al. 2018, arXiv:1712.09926",
    note="Ways are fixed: the network has a logit for each class. Key network and the choice of "
    "shifted layers are reconstructed.",
)
def csn(options: CSNOptions, shared: Shared) -> Algorithm:
    """Build conditionally shifted neurons."""
    del shared
    return ShiftedNeurons(ShiftedModel(options), options.episodes())
