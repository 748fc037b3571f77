"""The four-block convolutional network of few-shot learning, with a tasks axis."""

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Literal, Self

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from metaviz.config.options import OptionError
from metaviz.nets.base import Activate, Tap
from metaviz.nets.convolution import convolve, convolve_and_pool, fold, unfold
from metaviz.nets.features import FeatureNet
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.normalisation import Norm, NormalisedOptions, Seen, given, note
from metaviz.nets.spec import register_net
from metaviz.nets.warps import warped, warps_after

BLOCKS = 4
Pooling = Literal["max", "stride", "twice", "mean"]
_POOLED = {"stride": 0, "twice": 2, "mean": 3, "max": BLOCKS}
"""After how many blocks maps are max-pooled."""
_SMALLEST_TWICE = 10
_SMALLEST_MEAN = 8


class Conv4(FeatureNet):
    """Four blocks of 3x3 convolution, normalisation, ReLU and halving, then a linear head.

    Unless `norm` says otherwise, BatchNorm uses the statistics of the examples it is given, per
    task, so predictions depend on the other examples of the call; its gamma and beta are adapted
    with the rest and eps is 1e-5, as in the PyTorch ports of MAML.

    Pooling "max": convolution with padding 1, 2x2 max-pooling after ReLU, head on the flattened
    map, PyTorch's default initialisation. Source: Vinyals et al. 2016 and Snell et al. 2017.
    Pooling "stride": convolution with stride 2 and SAME padding, head on the spatial mean, Xavier
    kernels, head weights N(0, 1) and biases 0. Source: Finn et al. 2017, Omniglot.
    Pooling "twice": as "max", but the first two blocks convolve without padding and the last two do
    not pool, which leaves larger maps: 5 x 5 of 28 x 28, 19 x 19 of 84 x 84. Source: Sung et al.
    2018 (relation networks).
    Pooling "mean": as "max" for the first three blocks; the last one does not pool, and the head
    sees the spatial mean, so that images of 8 pixels are large enough.
    """

    independent = False
    activation = staticmethod(torch.relu)

    def __init__(
        self,
        channels: int = 64,
        ways: int = 5,
        in_channels: int = 1,
        image: int = 28,
        pooling: Pooling = "max",
        norm: Norm | None = None,
    ) -> None:
        """Build for square images of the given side in pixels; `norm` is Norm() by default.

        Raises: OptionError if the images are too small to be halved four times.
        """
        if pooling == "max" and image < 2**BLOCKS:
            raise OptionError(
                "image",
                f"images of {image} pixels cannot be max-pooled four times; "
                f"use at least {2**BLOCKS} pixels or pooling 'stride'",
            )
        if pooling == "twice" and image < _SMALLEST_TWICE:
            raise OptionError(
                "image",
                f"images of {image} pixels cannot be max-pooled twice without padding; "
                f"use at least {_SMALLEST_TWICE} pixels",
            )
        if pooling == "mean" and image < _SMALLEST_MEAN:
            raise OptionError(
                "image",
                f"images of {image} pixels cannot be max-pooled three times; "
                f"use at least {_SMALLEST_MEAN} pixels",
            )
        self.channels = channels
        self.ways = ways
        self.pooling = pooling
        self.norm = norm or Norm()
        sides = _sides(image, pooling)
        self.averaged = pooling in {"stride", "mean"}
        side = 1 if self.averaged else sides[-1]
        self.example_size = in_channels * image**2
        self.feature_shape = (channels, side, side)
        self.neurons = tuple(channels * of**2 for of in sides)
        self.others: Mapping[int, Activate] = {}
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for block in range(1, BLOCKS + 1):
            inputs = in_channels if block == 1 else channels
            shapes += [
                (f"conv{block}.weight", (channels, inputs, 3, 3)),
                (f"conv{block}.bias", (channels,)),
                *self.norm.shapes(f"norm{block}", channels),
            ]
        shapes += [("head.weight", (ways, channels * side**2)), ("head.bias", (ways,))]
        self.layout = Layout(tuple(shapes))
        self.held = self.norm.held(self.layout)
        self.running = self.norm.running({f"norm{n}": channels for n in range(1, BLOCKS + 1)})

    def warps(self, *, residual: bool) -> Layout:
        """Return one 3x3 convolution after each block."""
        return warps_after([self.channels] * BLOCKS, residual=residual)

    def activated(self, activations: Mapping[int, Activate]) -> Self:
        """Return the same network with other activations, by the block's number from 0."""
        other = copy(self)
        other.others = activations
        return other

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw initial weights, shape (P,), float64."""
        bound = 0.0
        params: Params = {}
        for name, shape in self.layout.shapes:
            kind = name.split(".")[1]
            if kind == "weight":
                bound = self._bound(shape)
            params[name] = self._draw(name, shape, bound, generator)
        return self.layout.join(params)

    def _bound(self, shape: tuple[int, ...]) -> float:
        """Half-width of the uniform distribution of a weight of this shape."""
        window = shape[2] * shape[3] if len(shape) > 2 else 1  # noqa: PLR2004  (a kernel has a window)
        fan_out, fan_in = shape[0] * window, shape[1] * window
        if self.pooling != "stride":
            return float(fan_in**-0.5)
        return float((6 / (fan_in + fan_out)) ** 0.5)

    def _draw(
        self, name: str, shape: tuple[int, ...], bound: float, generator: torch.Generator
    ) -> Tensor:
        """Draw one tensor; a bias shares the bound of the weight before it."""
        if name.endswith("gamma"):
            return torch.ones(shape, dtype=torch.float64)
        if name.endswith("beta") or (name.endswith("bias") and self.pooling == "stride"):
            return torch.zeros(shape, dtype=torch.float64)
        if name == "head.weight" and self.pooling == "stride":
            return torch.randn(shape, generator=generator, dtype=torch.float64)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (2 * uniform - 1) * bound

    @override
    def _features(self, params: Params, x: Tensor, beside: Tensor | None, seen: Seen) -> Tensor:
        tasks = x.shape[0]
        x, counted = self.norm.with_support(x, beside)
        x = fold(x)
        for block in range(1, BLOCKS + 1):
            x = warped(params, block, self._block(params, block, x, counted, seen))
        if self.averaged:
            x = x.mean((2, 3), keepdim=True)
        return unfold(x, tasks)[:, counted:]

    def layers(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Iterator[Tap]:
        """Yield the convolutions and the head; warps and normalisation are not among them."""
        params = self.layout.for_tasks(weights, x.shape[0])
        tasks = x.shape[0]
        x, counted = self.norm.with_support(x, beside)
        x = fold(x)
        biased = self.norm.statistics == "group"
        for block in range(1, BLOCKS + 1):
            response = self._convolved(params, block, x)
            patches = self._patches(x, block, tasks)[:, counted:]
            yield Tap(f"conv{block}", patches, response, biased, counted or 0)
            x = torch.relu(self._halved(params, block, response, counted, None))
        if self.averaged:
            x = x.mean((2, 3), keepdim=True)
        features = unfold(x, tasks)[:, counted:]
        head, bias = params["head.weight"], params["head.bias"]
        logits = torch.baddbmm(bias.unsqueeze(1), features, head.mT)
        yield Tap("head", features.unsqueeze(2), logits, bias=True)

    def _patches(self, x: Tensor, block: int, tasks: int) -> Tensor:
        """Return what each place of a convolution sees, (tasks, n, places, C*9)."""
        stride, padding = self._window(block)
        x = _pad_same(x) if self.pooling == "stride" else x
        images = x.unflatten(1, (tasks, -1)).transpose(0, 1).flatten(0, 1)
        seen = F.unfold(images, 3, padding=padding, stride=stride)
        patches: Tensor = seen.unflatten(0, (tasks, -1)).mT
        return patches

    def _block(
        self, params: Params, block: int, x: Tensor, counted: int | None, seen: Seen
    ) -> Tensor:
        """Convolve, normalise, halve and apply ReLU, with which halving commutes."""
        u = self._response(params, block, x, counted, seen)
        other = self.others.get(block - 1)
        if other is None:
            return torch.relu(u)
        tasks, shape = len(params[f"conv{block}.weight"]), (self.channels, *u.shape[2:])
        return fold(other(unfold(u, tasks)).unflatten(2, shape))

    def _response(
        self, params: Params, block: int, x: Tensor, counted: int | None, seen: Seen
    ) -> Tensor:
        """Convolve, normalise and halve; the first `counted` examples count."""
        if self.pooling == "max" and self.norm.statistics != "group":
            weight, name = params[f"conv{block}.weight"], f"norm{block}"
            return self._pooled_block(params, name, weight, x, counted, seen)
        return self._halved(params, block, self._convolved(params, block, x), counted, seen)

    def _window(self, block: int) -> tuple[int, int]:
        """Return stride and padding of a block's convolution; "stride" pads the map itself."""
        if self.pooling == "stride":
            return 2, 0
        return 1, int(self.pooling != "twice" or block > _POOLED["twice"])

    def _convolved(self, params: Params, block: int, x: Tensor) -> Tensor:
        stride, padding = self._window(block)
        x = _pad_same(x) if self.pooling == "stride" else x
        response = convolve(x, params[f"conv{block}.weight"], stride, padding)
        if self.norm.statistics == "group":
            response = response + params[f"conv{block}.bias"].flatten()[:, None, None]
        return response

    def _halved(
        self, params: Params, block: int, response: Tensor, counted: int | None, seen: Seen
    ) -> Tensor:
        u = self.norm(params, f"norm{block}", response, counted, seen)
        pools = block <= _POOLED[self.pooling]
        return F.max_pool2d(u, 2) if pools else u

    def _pooled_block(
        self,
        params: Params,
        name: str,
        weight: Tensor,
        x: Tensor,
        counted: int | None,
        seen: Seen,
    ) -> Tensor:
        """Convolution, BatchNorm and max-pooling, pooled before they are normalised.

        With s the sign of gamma, BatchNorm of conv(x, w) by gamma equals BatchNorm of
        conv(x, s w) by |gamma|, which grows with its argument; so it commutes with the maximum
        and only the winner of each pooling window is normalised. Given statistics make
        it a part of the convolution.
        """
        gamma, beta = params.get(f"{name}.gamma"), params[f"{name}.beta"]
        if (known := given(params, name)) is not None:
            scale, shift = self.norm.affine_of(*known, gamma, beta)
            response = convolve(x, weight * scale.view(*weight.shape[:2], 1, 1, 1), padding=1)
            return F.max_pool2d(response, 2) + shift[:, None, None]
        sign: Tensor | None = None
        if gamma is not None:
            sign = torch.where(gamma < 0, -1.0, 1.0).to(gamma.dtype)
            weight, gamma = weight * sign[..., None, None, None], gamma * sign
        pooled, mean, variance = convolve_and_pool(x, weight, counted)
        if seen is not None:
            plain = mean if sign is None else mean * sign.flatten()
            places = (len(x) if counted is None else counted) * x[0, 0].numel()
            note(seen, name, (plain, variance), len(beta), places)
        return self.norm.standardise(pooled, mean, variance, gamma, beta)


class Conv4Options(NormalisedOptions):
    """What a four-block network is made of."""

    channels: int = Field(ge=1)
    pooling: Pooling


@register_net(Conv4Options, id="conv4")
def conv4(options: Conv4Options) -> Conv4:
    """Build a four-block network. Raises: ValueError for too small images."""
    ways, in_channels, image, norm = options.parts()
    return Conv4(options.channels, ways, in_channels, image, options.pooling, norm)


def _sides(image: int, pooling: Pooling) -> list[int]:
    """Return the side of the map after each block."""
    sides = [image]
    for block in range(1, BLOCKS + 1):
        side = sides[-1]
        if pooling == "max":
            side //= 2
        elif pooling == "stride":
            side = -(-side // 2)
        elif pooling == "mean":
            side = side // 2 if block <= _POOLED["mean"] else side
        elif block <= _POOLED["twice"]:
            side = (side - 2) // 2
        sides.append(side)
    return sides[1:]


def _pad_same(x: Tensor) -> Tensor:
    """Pad for a 3x3 kernel of stride 2 as TensorFlow's SAME does: the odd pixel goes last."""
    height, width = x.shape[2] % 2, x.shape[3] % 2
    return F.pad(x, (width, 1, height, 1))
