"""Residual networks of twelve layers, as few-shot learning uses them, with a tasks axis."""

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from metaviz.config.options import OptionError
from metaviz.nets.blocks import Shapes, linear
from metaviz.nets.convolution import convolve, fold, unfold
from metaviz.nets.features import FeatureNet
from metaviz.nets.layout import Layout, Params
from metaviz.nets.normalisation import Norm, NormalisedOptions, Seen
from metaviz.nets.spec import register_net
from metaviz.nets.warps import warped, warps_after

BLOCKS = 4
SHORTCUT = 4
SLOPE = 0.1
MIXED, EMBEDDED = 2048, 384

Widths = tuple[int, int, int, int]


class ResidualNet(FeatureNet):
    """Four blocks of three 3x3 convolutions beside a 1x1 one, each halving its maps.

    The 1x1 convolution of a block counts as its fourth. Maps are averaged over all places before
    what follows the blocks. A subclass says what a block and the layers after the blocks are.
    Deviation: no dropout of any kind. Both forms were published with some (DropBlock, Dropout2d),
    but it makes losses random, and with them the inner steps that are differentiated.
    """

    independent = False

    biased: bool
    normalised: tuple[int, ...]
    rounds_up: bool
    feature_shape: tuple[int, ...]

    def __init__(
        self,
        widths: Widths,
        ways: int = 5,
        in_channels: int = 3,
        image: int = 84,
        norm: Norm | None = None,
    ) -> None:
        """Build for square images of the given side; `widths` are the channels of the blocks.

        Raises: OptionError if the images are too small to be halved four times.
        """
        if image < 2**BLOCKS:
            raise OptionError(
                "image",
                f"images of {image} pixels cannot be halved four times; use at least {2**BLOCKS}",
            )
        self.widths = widths
        self.example_size = in_channels * image**2
        self.norm = norm or Norm()
        shapes: Shapes = []
        for block, (inputs, width) in enumerate(pairwise((in_channels, *widths)), 1):
            for layer in range(1, SHORTCUT + 1):
                side = 1 if layer == SHORTCUT else 3
                read = inputs if layer in (1, SHORTCUT) else width
                shapes.append((f"block{block}.conv{layer}.weight", (width, read, side, side)))
                if self.biased:
                    shapes.append((f"block{block}.conv{layer}.bias", (width,)))
                if layer in self.normalised:
                    shapes += self.norm.shapes(f"block{block}.norm{layer}", width)
        self.layout = Layout((*shapes, *self._after(ways)))
        self.feature_shape = dict(self.layout.shapes)["head.weight"][1:]
        self.held = self.norm.held(self.layout)
        self.running = self.norm.running(
            {
                f"block{block}.norm{layer}": width
                for block, width in enumerate(widths, 1)
                for layer in self.normalised
            }
        )

    def _after(self, ways: int) -> Shapes:
        """Name the tensors after the blocks, the head's last."""
        raise NotImplementedError

    def warps(self, *, residual: bool) -> Layout:
        """Return one 3x3 convolution after each block."""
        return warps_after(self.widths, residual=residual)

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw initial weights, shape (P,), float64."""
        params: Params = {}
        fan_in = 1
        for name, shape in self.layout.shapes:
            if name.endswith("weight"):
                fan_in = torch.empty(shape[1:]).numel()
            if name.endswith("gamma"):
                params[name] = torch.ones(shape, dtype=torch.float64)
            elif name.endswith("beta"):
                params[name] = torch.zeros(shape, dtype=torch.float64)
            else:
                params[name] = self._draw(shape, fan_in, generator)
        return self.layout.join(params)

    def _draw(self, shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> Tensor:
        """Draw a weight, or the bias after it, with PyTorch's default."""
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (2 * uniform - 1) * float(fan_in**-0.5)

    @override
    def _features(self, params: Params, x: Tensor, beside: Tensor | None, seen: Seen) -> Tensor:
        tasks = x.shape[0]
        x, counted = self.norm.with_support(x, beside)
        x = fold(x)
        for block in range(1, BLOCKS + 1):
            x = F.max_pool2d(
                self._block(params, block, x, counted, seen), 2, ceil_mode=self.rounds_up
            )
            x = warped(params, block, x)
        return self._embedded(params, unfold(x.mean((2, 3), keepdim=True), tasks)[:, counted:])

    def _block(
        self, params: Params, block: int, x: Tensor, counted: int | None, seen: Seen
    ) -> Tensor:
        raise NotImplementedError

    def _embedded(self, params: Params, x: Tensor) -> Tensor:
        """Map mean features (tasks, n, C) to what the head sees."""
        raise NotImplementedError

    def _layer(
        self, params: Params, name: tuple[int, int], x: Tensor, counted: int | None, seen: Seen
    ) -> Tensor:
        """Apply one convolution of a block, and its normalisation where it has one."""
        block, layer = name
        weight = params[f"block{block}.conv{layer}.weight"]
        u = convolve(x, weight, padding=weight.shape[-1] // 2)
        free = layer not in self.normalised
        if self.biased and (free or self.norm.statistics == "group"):
            u = u + params[f"block{block}.conv{layer}.bias"].flatten()[:, None, None]
        return u if free else self.norm(params, f"block{block}.norm{layer}", u, counted, seen)


class ResNet12(ResidualNet):
    """Blocks of conv-norm-LeakyReLU twice and conv-norm, plus a normalised shortcut, LeakyReLU.

    No biases before normalisation; max-pooling rounds down; a linear head on the mean features.
    12 424 320 weights of the blocks for widths 64-160-320-640, 7 996 800 for 64-128-256-512.
    Kernels N(0, 2 / fan out), the head as PyTorch's default.
    Source: Lee et al. 2019, arXiv:1904.03758, and learn2learn's ResNet12.
    """

    biased = False
    normalised = (1, 2, 3, SHORTCUT)
    rounds_up = False

    def _after(self, ways: int) -> Shapes:
        return [("head.weight", (ways, self.widths[-1])), ("head.bias", (ways,))]

    def _draw(self, shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> Tensor:
        """Draw a kernel from N(0, 2 / fan out), the head as PyTorch does."""
        if len(shape) <= 2:  # noqa: PLR2004  (a matrix or a vector)
            return super()._draw(shape, fan_in, generator)
        fan_out = shape[0] * shape[2] * shape[3]
        normal = torch.randn(shape, generator=generator, dtype=torch.float64)
        return normal * float((2 / fan_out) ** 0.5)

    def _block(
        self, params: Params, block: int, x: Tensor, counted: int | None, seen: Seen
    ) -> Tensor:
        u = x
        for layer in (1, 2):
            u = F.leaky_relu(self._layer(params, (block, layer), u, counted, seen), SLOPE)
        u = self._layer(params, (block, 3), u, counted, seen)
        return F.leaky_relu(u + self._layer(params, (block, SHORTCUT), x, counted, seen), SLOPE)

    def _embedded(self, params: Params, x: Tensor) -> Tensor:
        del params
        return x


class SimpleResNet12(ResidualNet):
    """Blocks of conv-norm-LeakyReLU three times plus a shortcut that is not normalised.

    All layers have biases; max-pooling rounds up; after the blocks 2048 linear features of the
    mean, ReLU, 384 linear ones and a linear head. PyTorch's default initialisation.
    Deviation: the mean over places comes before the 1x1 convolution to 2048, with which it
    commutes, so that both are matrix products.
    Source: Mishra et al. 2018, arXiv:1707.03141, as in Zhang, Li & Giannakis 2024's code.
    """

    biased = True
    normalised = (1, 2, 3)
    rounds_up = True

    def _after(self, ways: int) -> Shapes:
        sizes = (self.widths[-1], MIXED, EMBEDDED, ways)
        return [
            entry
            for name, (inputs, outputs) in zip(
                ("mix", "embed", "head"), pairwise(sizes), strict=True
            )
            for entry in ((f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,)))
        ]

    def _block(
        self, params: Params, block: int, x: Tensor, counted: int | None, seen: Seen
    ) -> Tensor:
        u = x
        for layer in (1, 2, 3):
            u = F.leaky_relu(self._layer(params, (block, layer), u, counted, seen), SLOPE)
        return u + self._layer(params, (block, SHORTCUT), x, counted, seen)

    def _embedded(self, params: Params, x: Tensor) -> Tensor:
        return linear(params, "embed", torch.relu(linear(params, "mix", x)))


Width = Annotated[int, Field(ge=1)]


class ResNet12Options(NormalisedOptions):
    """What a residual network is made of: the channels of its blocks, and what all are."""

    widths: tuple[Width, Width, Width, Width]


@register_net(ResNet12Options, id="resnet12")
def resnet12(options: ResNet12Options) -> ResNet12:
    """Build a residual network. Raises: ValueError for too small images."""
    return ResNet12(options.widths, *options.parts())


@register_net(ResNet12Options, id="resnet12_simple")
def resnet12_simple(options: ResNet12Options) -> SimpleResNet12:
    """Build a simple residual network. Raises: ValueError for too small images."""
    return SimpleResNet12(options.widths, *options.parts())
