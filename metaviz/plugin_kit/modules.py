"""A network given as a plain PyTorch module, called with a tasks axis by torch.func."""

from collections.abc import Callable
from copy import deepcopy
from math import prod

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, vmap

from metaviz.config.options import OptionError, Options
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.normalisation import Norm
from metaviz.nets.spec import register_net

Make = Callable[[tuple[int, ...], int], nn.Module]
"""Makes a module for the shape of one example and the number of outputs."""
_BY_BATCH = (nn.modules.batchnorm._BatchNorm,)


class ModuleOptions(Options):
    """What every network made by a module has: the shape of an example, and its outputs."""

    example: tuple[int, ...] = Field(min_length=1)
    outputs: int = Field(ge=1)


class ModuleNet:
    """A function of (weights, inputs) that calls one module for each task.

    What the module calls `head`, if it has that, is the last layer; features are what it sees.
    It is called in evaluation mode: nothing is dropped. Not possible: warps between its layers.
    """

    norm: Norm | None = None
    held: frozenset[str] = frozenset()
    running = Layout(())

    def __init__(self, make: Make, example: tuple[int, ...], outputs: int) -> None:
        """Make the module once, to learn its weights. Raises: OptionError for unsuited ones."""
        self._make, self._example, self._outputs = make, example, outputs
        self._module = make(example, outputs).eval()
        if buffer := next((name for name, _ in self._module.named_buffers()), None):
            raise OptionError(
                "network",
                f"The module has the buffer {buffer!r}, which would be shared by tasks: use a "
                "module without buffers, like BatchNorm with track_running_stats=False.",
            )
        names = [(name, tuple(value.shape)) for name, value in self._module.named_parameters()]
        if not names:
            raise OptionError("network", "The module has no parameters to learn.")
        last = [(name, shape) for name, shape in names if name.startswith("head.")]
        self.layout = Layout(tuple([one for one in names if one not in last] + last))
        self.example_size = prod(example)
        self.independent = not any(isinstance(one, _BY_BATCH) for one in self._module.modules())
        self._body = self._headless() if last else None
        self.feature_shape = self._feature_shape()

    def _headless(self) -> nn.Module:
        body = deepcopy(self._module)
        body.head = nn.Identity()
        return body

    def _feature_shape(self) -> tuple[int, ...]:
        if self._body is None:
            return (self._outputs,)
        with torch.no_grad():
            return tuple(self._body(torch.zeros(2, *self._example)).flatten(1).shape[1:])

    def warps(self, *, residual: bool) -> Layout:
        """Refuse: nothing can be put between a module's layers. Raises: OptionError."""
        del residual
        raise OptionError("network", "Nothing can be put between the layers of a module.")

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw weights as the module's own layers do, flat float64 (P,)."""
        seed = int(torch.randint(2**31, (1,), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self._make(self._example, self._outputs)
        named = {name: value.detach().double() for name, value in module.named_parameters()}
        return self.layout.join(named)

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return what `head` sees, (tasks, n, features). Raises: ValueError without a head."""
        del beside
        if self._body is None:
            raise ValueError("The module has no layer that is called head.")
        params = self.layout.for_tasks(weights, x.shape[0])
        kept = {name: value for name, value in params.items() if not name.startswith("head.")}
        return _called(self._body, kept, x).flatten(2)

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Return the features, and no statistics."""
        return self.features(weights, x), {}

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, *example) to outputs (tasks, n, d)."""
        del beside
        return _called(self._module, self.layout.for_tasks(weights, x.shape[0]), x)


def _called(module: nn.Module, params: Params, x: Tensor) -> Tensor:
    found: Tensor = vmap(lambda own, part: functional_call(module, own, (part,)))(params, x)
    return found


def register_network(name: str) -> Callable[[Make], Make]:
    """Register a network made by a function of an example's shape and the number of outputs."""

    def keep(make: Make) -> Make:
        def build(options: ModuleOptions) -> ModuleNet:
            return ModuleNet(make, options.example, options.outputs)

        build.plugin = make.__module__  # type: ignore[attr-defined]
        register_net(ModuleOptions, id=name)(build)
        return make

    return keep
