"""How a flat parameter vector is read as named tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

Params = dict[str, Tensor]
Weights = Tensor | Params
"""A network's weights with a tasks axis: one flat tensor (tasks, P), or tensors by name."""
_MATRIX, _KERNEL = 2, 4


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors that lie one after another in a flat vector.

    Keeping the adapted weights of all tasks in one (tasks, P) tensor makes every inner step one
    subtraction and every gradient one call, whatever the number of layers. Matrices lie in it
    column by column, and kernels (O, I, h, w) with their input channels last: the gradients of
    x W' and of a convolution of channels-last maps then come out in the order in which they are
    stored, and are not copied on the way.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @cached_property
    def sizes(self) -> list[int]:
        """Number of entries of each tensor, in order."""
        return [prod(shape) for _, shape in self.shapes]

    @cached_property
    def size(self) -> int:
        """Number of entries P of the flat vector."""
        return sum(self.sizes)

    @cached_property
    def head(self) -> frozenset[str]:
        """Names of the last layer, which networks lay out last: its weight and its bias.

        Empty where there is no layer before it.
        """
        names = [name for name, _ in self.shapes]
        return frozenset(names[-2:]) if len(names) > 2 else frozenset()  # noqa: PLR2004

    @cached_property
    def only_vectors(self) -> bool:
        """Whether no tensor has several axes, which could lie in several orders."""
        return all(len(shape) == 1 for _, shape in self.shapes)

    def split(self, flat: Tensor) -> Params:
        """Read a flat tensor as named views.

        Shapes: flat (..., P) -> each view (..., *shape).
        """
        lead = flat.shape[:-1]
        named = {}
        for (name, shape), piece in zip(self.shapes, self.pieces(flat), strict=True):
            lying = piece if len(shape) == 1 else piece.reshape(*lead, *_lying(shape))
            named[name] = _turned(lying, len(shape))
        return named

    def pieces(self, flat: Tensor) -> Sequence[Tensor]:
        """Return what belongs to each tensor, (..., size), in the order in which it lies."""
        return flat.split_with_sizes(self.sizes, -1)

    def named(self, weights: Weights) -> Params:
        """Return weights by name, whichever way they are given."""
        return weights if isinstance(weights, dict) else self.split(weights)

    def for_tasks(self, weights: Weights, tasks: int) -> Params:
        """Return weights by name, of which those with a tasks axis of size 1 serve all tasks."""
        named = self.named(weights)
        return {name: value.expand(tasks, *value.shape[1:]) for name, value in named.items()}

    def join(self, params: Params) -> Tensor:
        """Write named tensors (..., *shape) into flat ones (..., P): the inverse of `split`."""
        pieces = []
        for name, shape in self.shapes:
            value = params[name]
            axes = len(shape)
            pieces.append(_turned(value, axes, back=True).flatten(value.dim() - axes))
        return torch.cat(pieces, dim=-1)


def lying_axes(axes: int) -> tuple[int, ...]:
    """Return the axes of a tensor in the order in which they lie, the last one side by side."""
    if axes == _MATRIX:
        return 1, 0
    return (0, 2, 3, 1) if axes == _KERNEL else tuple(range(axes))


def _lying(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a tensor's shape in the order in which its axes lie."""
    return tuple(shape[axis] for axis in lying_axes(len(shape)))


def _turned(value: Tensor, axes: int, *, back: bool = False) -> Tensor:
    """Turn the last axes of a tensor from the order in which they lie to the usual one, or back."""
    if axes == _MATRIX:
        return value.mT
    if axes == _KERNEL:
        return value.movedim(-3, -1) if back else value.movedim(-1, -3)
    return value
