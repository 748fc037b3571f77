"""Conditionally shifted neurons: a memory of the support set's errors shifts them."""

from collections.abc import Iterator
from math import prod
from typing import Literal

import torch
from torch import Tensor

from metaviz.algorithms.episodic.embedding import embedded, rows
from metaviz.algorithms.episodic.episode_options import Embedding, SizedEpisodes, embed_option
from metaviz.algorithms.episodic.similarity import first_similarity
from metaviz.algorithms.registry import register
from metaviz.charts.similarity import SIMILARITY
from metaviz.charts.values import Chart
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net
from metaviz.nets.blocks import drawn, linear, linear_shapes
from metaviz.nets.layout import Layout, Params


class CSNOptions(SizedEpisodes):
    """Options of conditionally shifted neurons."""

    width: int = option(
        32, "Units of the value network", "In each of its hidden layers.", ge=1, le=1024
    )
    depth: int = option(
        2, "Hidden layers of the value network", "Two in the authors' description.", ge=1, le=4
    )
    keys: Literal["features", "examples"] = option(
        "features",
        "Keys",
        "Queries attend to support examples by k = K v, v their features, or the examples "
        "themselves (reconstructed). How the paper's key network looks is not known to us.",
    )
    key_size: int = option(64, "Numbers of a key", "Rows of K.", ge=1, le=4096)
    embed: Embedding = embed_option()


class CSNModel:
    """logits = W (h + relu(B)) + b + B', the shifts B and B' read from a memory of errors.

    h are the features of a network with a linear head W, b. A support example with logits o has
    the errors delta = softmax(o) - one-hot(y). Of feature j is known [h_j > 0] delta, of logit j
    delta_j delta; a value network that all neurons share maps that to the memory V, one number
    for each support example and neuron. A query reads B = A V, A = softmax(k k') over the support
    set.
    Source: Munkhdalai et al. 2018, arXiv:1712.09926, direct feedback.
    Deviation: features before the head and logits are shifted, whatever the depth of the network
    (reconstructed); features count as active where they are positive, as after ReLU.
    """

    transductive = False
    rowwise = True
    groups = frozenset({"init", "keys", "values"})

    def __init__(self, options: CSNOptions) -> None:
        """Take the options."""
        self.options = options

    def value_layout(self, net: Net) -> Layout:
        """Return the weights of the value network. Raises: OptionError for a net without head."""
        ways = dict(net.layout.shapes)[head_of(net)[1]][0]
        sizes = [ways, *[self.options.width] * self.options.depth, 1]
        return Layout(
            tuple(
                shape
                for number in range(1, len(sizes))
                for shape in linear_shapes(f"linear{number}", sizes[number - 1], sizes[number])
            )
        )

    def key_layout(self, net: Net) -> Layout:
        """Return the key matrix, which has no bias."""
        by_features = self.options.keys == "features"
        size = prod(net.feature_shape) if by_features else net.example_size
        return Layout((("key.weight", (self.options.key_size, size)),))

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw all weights; those of keys and values as PyTorch does."""
        return {
            "init": learner.net.init(generator),
            "values": drawn(self.value_layout(learner.net), generator),
            "keys": drawn(self.key_layout(learner.net), generator),
        }

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Shift the neurons of every example by what it reads; logits (tasks, n, ways)."""
        net, tasks = context.learner.net, len(context.tasks)
        together = alone or self.options.embed == "together"
        known, asked = embedded(context, meta, batch, together=together)
        params = net.layout.for_tasks(rows(meta["init"]), tasks)
        weight, bias = (params[name] for name in head_of(net))
        logits = torch.baddbmm(bias.unsqueeze(1), known, weight.mT)
        labels = torch.nn.functional.one_hot(context.tasks.support.y, logits.shape[2])
        errors = torch.softmax(logits, 2) - labels.to(logits.dtype)
        of_features = (known > 0).to(errors.dtype).unsqueeze(3) * errors.unsqueeze(2)
        of_logits = errors.unsqueeze(3) * errors.unsqueeze(2)
        values = self.value_layout(net).for_tasks(rows(meta["values"]), tasks)
        memory = [self._value(values, known_of) for known_of in (of_features, of_logits)]
        attention = self._attention(context, meta, batch, known, asked)
        shift, shift_logits = (attention @ held for held in memory)
        shifted = asked + shift.relu()
        outputs = torch.baddbmm(bias.unsqueeze(1), shifted, weight.mT) + shift_logits
        shown = {}
        if maps:
            shown = {
                "attention": attention,
                "errors": errors,
                "values": memory[0],
                "values_logits": memory[1],
                "shift": shift,
                "shift_logits": shift_logits,
            }
        return Prediction(outputs, maps=shown)

    def _value(self, params: Params, information: Tensor) -> Tensor:
        """Map what is known (tasks, support, neurons, ways) to the memory without the last axis."""
        x = information.flatten(1, 2)
        for number in range(1, self.options.depth + 1):
            x = linear(params, f"linear{number}", x).relu()
        x = linear(params, f"linear{self.options.depth + 1}", x)
        return x.view(information.shape[:3])

    def _attention(
        self, context: Context, meta: Meta, batch: Batch, known: Tensor, asked: Tensor
    ) -> Tensor:
        """Return the attention of examples to the support set, (tasks, n, support)."""
        if self.options.keys == "examples":
            known, asked = context.tasks.support.x.flatten(2), batch.x.flatten(2)
        layout = self.key_layout(context.learner.net)
        matrix = layout.for_tasks(rows(meta["keys"]), len(known))["key.weight"]
        return torch.softmax((asked @ matrix.mT) @ (known @ matrix.mT).mT, 2)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the attention of the first task's queries to its support set."""
        first = context[:1]
        attention = self.predict(first, meta, first.tasks.query, maps=True).maps["attention"]
        title = "Which support examples shift the neurons of queries"
        yield first_similarity(first, attention, title, "attention", (0.0, 1.0))


def head_of(net: Net) -> tuple[str, str]:
    """Return the names of a head's weight and bias. Raises: OptionError where there is none."""
    names = [name for name, _ in net.layout.shapes if name in net.layout.head]
    if not names:
        raise OptionError(
            "problem",
            "CSN shifts the features and logits of a network with a linear head, and this network "
            "has none: choose another.",
        )
    weight, bias = names
    return weight, bias


@register(
    CSNOptions,
    id="csn",
    title="CSN",
    group="Memory",
    summary="Neurons are shifted by what a memory of the support set's errors says of them.",
    needs={"classes": "CSN tells classes apart", "layers": "CSN shifts neurons of layers"},
    charts=(SIMILARITY,),
    formula="logits = W (h + relu(A V)) + b + A V′,   V = value(errors of the support set)",
    cost="1 gradient per task; no inner steps",
    citation="Munkhdalai et al. 2018, arXiv:1712.09926",
    note="Reconstructed in part: the features before the head and the logits are shifted.",
)
def csn(options: CSNOptions, shared: Shared) -> Algorithm:
    """Build conditionally shifted neurons."""
    del shared
    return Episodic(CSNModel(options), options.episodes())
