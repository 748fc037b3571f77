"""Proto-MAML: MAML whose head starts from the prototypes of each task."""

from typing import Literal

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.context import Meta
from metaviz.meta.estimators import Unrolled
from metaviz.meta.rules import GradientDescent, State
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import class_means
from metaviz.nets.base import Net


class PrototypeStart(GradientDescent, rowwise=True):
    """Gradient descent of all weights from heads W_n = 2 c_n, b_n = -|c_n|^2.

    c_n is the mean feature of the support examples of class n. With them a head gives the logits
    of prototypical networks but for |f(x)|^2, which is the same for all classes. The start depends
    on the meta-learned weights, and is differentiated.
    Source: Triantafillou et al. 2020, section 3.
    """

    def fit(self, net: Net) -> None:
        """Take the network, whose features make the heads. Raises: OptionError without a head."""
        if not net.layout.head:
            raise OptionError(
                "problem",
                "Proto-MAML starts the last layer from features, and this network has no layers "
                "before it: choose another.",
            )
        self._net = net

    def start(self, meta: Meta, support: Batch) -> State:
        """Return the meta-learned weights with each task's own head, shape (tasks, P)."""
        layout = self._net.layout
        weights = meta["init"].expand(len(support), -1)
        features = self._net.features(weights, support.x)
        params = layout.split(weights)
        matrix, bias = [name for name, _ in layout.shapes if name in layout.head]
        ways = params[bias].shape[1]
        prototypes = class_means(features, support.y, ways)
        head = {matrix: 2 * prototypes, bias: -prototypes.square().sum(2)}
        return layout.join(params | head)


class ProtoMAMLOptions(AlgorithmOptions):
    """Options of Proto-MAML."""

    order: Literal["second", "first"] = option(
        "second",
        "Order",
        "Second: through all inner steps. First: inner gradients are constants, as in the paper's "
        "experiments; the prototypes of the start are differentiated either way.",
        labels={"second": "second order", "first": "first order"},
    )


@register(
    ProtoMAMLOptions,
    id="protomaml",
    color=16,
    title="Proto-MAML",
    group="Explicit",
    summary="MAML whose last layer starts from the prototypes of each task.",
    needs={
        "classes": "Proto-MAML tells classes apart",
        "layers": "Proto-MAML needs a layer before the last",
    },
    formula="Wₙ⁰ = 2 cₙ,   bₙ⁰ = −|cₙ|²,   cₙ = mean f(support of n);   then as MAML",
    cost="K + 1 gradients and K Hessian-vector products per task, and one more pass over the "
    "support set",
    citation="Triantafillou et al. 2020, arXiv:1903.03096",
)
def protomaml(options: ProtoMAMLOptions, shared: Shared) -> Algorithm:
    """Build Proto-MAML."""
    estimator = Unrolled(first_order=options.order == "first")
    return compose(PrototypeStart(options.rate(shared)), estimator, options.steps(shared))
