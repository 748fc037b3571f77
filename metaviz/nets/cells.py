"""Networks of equal cells, whose cell is an option; with a tasks axis.

A cell is what `config/cells.py` reads: blocks that add two operations on earlier results. Blocks
that no other block uses are joined, and brought back to the network's width where they are several.
Source: Liu et al. 2018, arXiv:1712.00559 (PNAS). Kim et al. 2018, arXiv:1806.06927, search such
cells; their space is not known to us in full, so that this one is a reconstruction.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from pydantic import AfterValidator, Field
from torch import Tensor
from typing_extensions import override

from metaviz.config.cells import (
    IMAGE_OPERATIONS,
    INPUTS,
    VECTOR_OPERATIONS,
    Cell,
    checked_cell,
    loose_ends,
    parse_cell,
)
from metaviz.config.options import OptionError, Options
from metaviz.nets.base import Activate
from metaviz.nets.blocks import Shapes, drawn, linear, linear_shapes
from metaviz.nets.convolution import convolve, fold, unfold
from metaviz.nets.features import FeatureNet
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.normalisation import Norm, NormalisedOptions, Seen
from metaviz.nets.spec import register_net
from metaviz.nets.warps import warped, warps_after

JOIN = "join"
_SIDES = {"conv3": 3, "dil3": 3, "conv1": 1, "sep3": 3, "sep5": 5}
_SEPARABLE = frozenset({"sep3", "sep5"})
_DILATED = 2
_SMALLEST = 2

Apply = Callable[[str, str, Tensor], Tensor]
"""Applies an operation, whose weights have a name, to a map or vector."""


class Cells:
    """What networks of cells share: how a cell is computed, whatever its operations are."""

    def __init__(self, cell: Cell, cells: int) -> None:
        """Take the cell, and how many of it follow each other."""
        self.cell, self.cells = cell, cells
        self.ends = loose_ends(cell)

    def _names(self) -> list[tuple[str, str]]:
        """Return the name and the operation of every half of every cell, and of each joining."""
        found = []
        for number in range(1, self.cells + 1):
            for place, block in enumerate(self.cell, 1):
                for side, half in zip("ab", block, strict=True):
                    found.append((f"cell{number}.block{place}{side}", half.operation))
            if len(self.ends) > 1:
                found.append((f"cell{number}.{JOIN}", JOIN))
        return found

    def _computed(self, number: int, inputs: tuple[Tensor, Tensor], apply: Apply) -> list[Tensor]:
        """Return what the loose ends of a cell give for the results of the two cells before."""
        known = list(inputs)
        for place, block in enumerate(self.cell, 1):
            name = f"cell{number}.block{place}"
            first, second = (
                apply(half.operation, f"{name}{side}", known[half.input])
                for side, half in zip("ab", block, strict=True)
            )
            known.append(first + second)
        return [known[INPUTS + end] for end in self.ends]


class CellNet(FeatureNet, Cells):
    """A 3x3 convolution, cells, the mean over places and a linear head.

    Maps are halved between two cells by means of 2x2 places; what a cell takes from the cell before
    the last one is halved to its size. A convolution is ReLU, convolution and normalisation; `sep`
    convolves each channel by itself and mixes them by a 1x1 convolution, once; `dil3` leaves out
    every other place. No convolution has a bias. PyTorch's default initialisation.
    Deviation: PNAS's own `sep` does so twice, and its cells of stride 2 take the place of halving.
    """

    independent = False

    def __init__(
        self,
        cell: Cell,
        cells: int = 3,
        channels: int = 16,
        ways: int = 5,
        in_channels: int = 1,
        image: int = 28,
        norm: Norm | None = None,
        activation: Activate = torch.relu,
    ) -> None:
        """Build for square images of the given side in pixels.

        Raises: OptionError if the images are too small to be halved between the cells.
        """
        super().__init__(cell, cells)
        if image < _SMALLEST ** (cells - 1):
            raise OptionError(
                "cells",
                f"images of {image} pixels cannot be halved between {cells} cells; "
                f"use at most {image.bit_length()} cells",
            )
        self.channels, self.ways, self.activation = channels, ways, activation
        self.norm = norm or Norm()
        self.example_size = in_channels * image**2
        self.feature_shape = (channels, 1, 1)
        stem = ("stem.weight", (channels, in_channels, 3, 3))
        shapes: Shapes = [stem, *self.norm.shapes("stem.norm", channels)]
        normalised = {"stem.norm": channels}
        for name, operation in self._names():
            kernels = self._kernels(name, operation)
            if kernels:
                shapes += [*kernels, *self.norm.shapes(f"{name}.norm", channels)]
                normalised[f"{name}.norm"] = channels
        self.layout = Layout((*shapes, *linear_shapes("head", channels, ways)))
        self.held = self.norm.held(self.layout)
        self.running = self.norm.running(normalised)

    def _kernels(self, name: str, operation: str) -> Shapes:
        wide = self.channels
        if operation == JOIN:
            return [(f"{name}.weight", (wide, wide * len(self.ends), 1, 1))]
        if operation not in _SIDES:
            return []
        side = _SIDES[operation]
        if operation in _SEPARABLE:
            each = (f"{name}.each", (wide, 1, side, side))
            return [each, (f"{name}.weight", (wide, wide, 1, 1))]
        return [(f"{name}.weight", (wide, wide, side, side))]

    def warps(self, *, residual: bool) -> Layout:
        """Return one 3x3 convolution after each cell."""
        return warps_after([self.channels] * self.cells, residual=residual)

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw initial weights, shape (P,), float64."""
        params = self.layout.split(drawn(self.layout, generator))
        for name, shape in self.layout.shapes:
            if name.endswith(("gamma", "beta")):
                params[name] = torch.full(shape, float(name.endswith("gamma")), dtype=torch.float64)
        return self.layout.join(params)

    @override
    def _features(self, params: Params, x: Tensor, beside: Tensor | None, seen: Seen) -> Tensor:
        tasks = x.shape[0]
        x, counted = self.norm.with_support(x, beside)
        x = convolve(fold(x), params["stem.weight"], padding=1)
        x = self.norm(params, "stem.norm", x, counted, seen)
        apply = partial(self._applied, params, counted, seen)
        before = x
        for number in range(1, self.cells + 1):
            if number > 1:
                x = F.avg_pool2d(x, 2)
            while before.shape[-1] > x.shape[-1]:
                before = F.avg_pool2d(before, 2)
            ends = self._computed(number, (x, before), apply)
            before, x = x, ends[0]
            if len(ends) > 1:
                joined = torch.cat([end.unflatten(1, (tasks, -1)) for end in ends], 2).flatten(1, 2)
                x = apply(JOIN, f"cell{number}.{JOIN}", joined)
            x = warped(params, number, x)
        return unfold(x.mean((2, 3), keepdim=True), tasks)[:, counted:]

    def _applied(
        self,
        params: Params,
        counted: int | None,
        seen: Seen,
        operation: str,
        name: str,
        x: Tensor,
    ) -> Tensor:
        """Apply an operation to folded maps (n, tasks*C, H, W), whose size stays."""
        match operation:
            case "id":
                return x
            case "max3":
                return F.max_pool2d(x, 3, 1, 1)
            case "avg3":
                return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = self.activation(x)
        weight = params[f"{name}.weight"]
        if operation in _SEPARABLE:
            each = params[f"{name}.each"].flatten(0, 1).unsqueeze(1)
            x = convolve(x, each, padding=each.shape[-1] // 2)
        if operation == "dil3":
            kernels = weight.flatten(0, 1)
            x = F.conv2d(x, kernels, None, 1, _DILATED, _DILATED, len(weight))
        else:
            x = convolve(x, weight, padding=weight.shape[-1] // 2)
        return self.norm(params, f"{name}.norm", x, counted, seen)


class VectorCellNet(Cells):
    """A linear layer, cells of linear layers with activations, and a linear head.

    `relu`, `tanh` and `sin` are a linear layer that keeps the width, and then that function. The
    same as networks of images in all else, so that a search can be tried within seconds.
    """

    independent = True
    held: frozenset[str] = frozenset()
    running = Layout(())
    norm = None

    def __init__(
        self, cell: Cell, cells: int = 2, width: int = 40, inputs: int = 1, outputs: int = 1
    ) -> None:
        """Build for vectors of so many numbers."""
        super().__init__(cell, cells)
        self.example_size, self.feature_shape = inputs, (width,)
        shapes = linear_shapes("stem", inputs, width)
        for name, operation in self._names():
            if operation != "id":
                wide = width * len(self.ends) if operation == JOIN else width
                shapes += linear_shapes(name, wide, width)
        self.layout = Layout((*shapes, *linear_shapes("head", width, outputs)))

    def warps(self, *, residual: bool) -> Layout:
        """Refuse: no warps are made for these. Raises: OptionError."""
        del residual
        raise OptionError(
            "cell", "Networks of cells for vectors have no warp layers: leave the cell empty."
        )

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw initial weights, shape (P,), float64."""
        return drawn(self.layout, generator)

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, inputs) to (tasks, n, outputs)."""
        params = self.layout.for_tasks(weights, x.shape[0])
        return linear(params, "head", self._features(params, x))

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, inputs) to what the head sees (tasks, n, width)."""
        del beside
        return self._features(self.layout.for_tasks(weights, x.shape[0]), x)

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Return the features, and no statistics."""
        return self.features(weights, x), {}

    def _features(self, params: Params, x: Tensor) -> Tensor:
        x = before = linear(params, "stem", x)
        apply = partial(self._applied, params)
        for number in range(1, self.cells + 1):
            ends = self._computed(number, (x, before), apply)
            before, x = x, ends[0]
            if len(ends) > 1:
                x = apply(JOIN, f"cell{number}.{JOIN}", torch.cat(ends, -1))
        return x

    def _applied(self, params: Params, operation: str, name: str, x: Tensor) -> Tensor:
        if operation == "id":
            return x
        u = linear(params, name, x)
        return u if operation == JOIN else _FUNCTIONS[operation](u)


_FUNCTIONS: dict[str, Activate] = {"relu": torch.relu, "tanh": torch.tanh, "sin": torch.sin}


class CellOptions(NormalisedOptions):
    """What a network of cells is made of."""

    cell: Annotated[str, AfterValidator(partial(checked_cell, operations=IMAGE_OPERATIONS))]
    cells: int = Field(ge=1)
    channels: int = Field(ge=1)


@register_net(CellOptions, id="cells")
def cells(options: CellOptions) -> CellNet:
    """Build a network of cells. Raises: ValueError for too small images."""
    ways, in_channels, image, norm = options.parts()
    cell = parse_cell(options.cell, IMAGE_OPERATIONS)
    return CellNet(cell, options.cells, options.channels, ways, in_channels, image, norm)


class VectorCellOptions(Options):
    """What a network of cells for vectors is made of."""

    cell: Annotated[str, AfterValidator(partial(checked_cell, operations=VECTOR_OPERATIONS))]
    cells: int = Field(ge=1)
    width: int = Field(ge=1)
    inputs: int = Field(ge=1)
    outputs: int = Field(ge=1)


@register_net(VectorCellOptions, id="vector_cells")
def vector_cells(options: VectorCellOptions) -> VectorCellNet:
    """Build a network of cells for vectors."""
    cell = parse_cell(options.cell, VECTOR_OPERATIONS)
    return VectorCellNet(cell, options.cells, options.width, options.inputs, options.outputs)
