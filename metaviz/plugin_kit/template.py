"""What `metaviz plugin new NAME` writes."""

TEMPLATE = '''"""@NAME@: a method with a rule, a quantity and a chart; a data set; a network.

Try it:    metaviz plugin check @NAME@.py
Train:     metaviz --plugin @NAME@.py compare --problem @NAME@_data --algorithms maml,@NAME@
For good:  copy it into the folder `plugins` of the data folder.
"""

import numpy as np
from torch import Tensor, nn

from metaviz.plugin import (
    AlgorithmOptions,
    Axis,
    Bars,
    Composed,
    GradientDescent,
    Quantity,
    Series,
    Shared,
    Term,
    Unrolled,
    option,
    register,
    register_arrays,
    register_network,
    register_quantity,
)

__version__ = "1.0"

MOVED = register_quantity(Quantity("@NAME@_moved", "Distance of adaptation", better="smaller"))


class Options(AlgorithmOptions):
    """What a person can choose; the form and the command line follow from it."""

    softness: float = option(1.0, "Softness", "Where steps are cut.", gt=0, le=100, log=True)


class SoftSteps(GradientDescent):
    """One inner step: w <- w - rate * g / (1 + softness * |g|), number by number."""

    def __init__(self, rate: float, softness: float) -> None:
        super().__init__(rate)
        self.softness = softness

    def step(self, meta, state, gradient, loss, k):
        return state - self.rate * gradient / (1 + self.softness * gradient.abs())


def moved(case, end) -> Tensor:
    """How far adaptation moves the weights of each task; read at every step, and not minimised."""
    return (end.point - case.meta["init"]).norm(dim=1)


class Method(Composed):
    """The rule under an estimator, with a chart that runs store at their evaluations."""

    def charts(self, context, meta):
        sizes = context.learner.net.layout.split(meta["init"])
        lengths = np.array([float(value.norm()) for value in sizes.values()])
        bars = Series("length", np.arange(len(lengths)), lengths)
        title, y = "Lengths of weights", Axis("length")
        yield Bars(id="@NAME@_lengths", title=title, y=y, series=(bars,), names=tuple(sizes))


@register(
    Options,
    id="@NAME@",
    title="@TITLE@",
    group="Explicit",
    summary="MAML with inner steps that are softly cut.",
    quantities=(MOVED.id,),
    charts=("@NAME@_lengths",),
    formula="w <- w - a g / (1 + s |g|)",
    cost="as MAML",
    citation="yours",
)
def method(options: Options, shared: Shared) -> Method:
    rule = SoftSteps(options.rate(shared), options.softness)
    estimator = Unrolled(terms=(Term(moved, 0.0, MOVED.id),))
    return Method(rule, estimator, options.steps(shared))


@register_network("@NAME@_net")
def network(example, outputs) -> nn.Module:
    """A plain module for examples of a shape; its last layer is called head."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(example[0], 32), nn.LayerNorm(32), nn.GELU())
            self.head = nn.Linear(32, outputs)

        def forward(self, x):
            return self.head(self.body(x))

    return Net()


def load(path):
    """Examples (n, features) and their classes (n,) by split; no class is in two of them."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(60, 8))
    y = np.repeat(np.arange(60), 30)
    x = (centres[y] + 0.4 * random.normal(size=(len(y), 8))).astype(np.float32)
    return {"train": (x[y < 40], y[y < 40]), "test": (x[y >= 40], y[y >= 40])}


register_arrays("@NAME@_data", load, network="@NAME@_net", title="@TITLE@: clouds", steps=200)
'''


def template(name: str) -> str:
    """Return the text of a new plugin's file."""
    return TEMPLATE.replace("@NAME@", name).replace("@TITLE@", name.replace("_", " ").capitalize())
