"""How a flat parameter vector is read as named tensors."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

Params = dict[str, Tensor]
Weights = Tensor | Params
"""A network's weights with a tasks axis: one flat tensor (tasks, P), or tensors by name."""
_MATRIX = 2


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors that lie one after another in a flat vector.

    Keeping the adapted weights of all tasks in one (tasks, P) tensor makes every inner step one
    subtraction and every gradient one call, whatever the number of layers. Matrices lie in it
    column by column: the gradient of x W' with respect to W then comes out in the order in which
    it is stored, and is not copied on the way.
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

    def split(self, flat: Tensor) -> Params:
        """Read a flat tensor as named views.

        Shapes: flat (..., P) -> each view (..., *shape).
        """
        lead = flat.shape[:-1]
        pieces = flat.split(self.sizes, dim=-1)
        return {
            name: _read(piece, lead, shape)
            for (name, shape), piece in zip(self.shapes, pieces, strict=True)
        }

    def join(self, params: Params) -> Tensor:
        """Write named tensors (..., *shape) into flat ones (..., P): the inverse of `split`."""
        pieces = []
        for name, shape in self.shapes:
            value = params[name]
            axes = len(shape)
            pieces.append((value.mT if axes == _MATRIX else value).flatten(value.dim() - axes))
        return torch.cat(pieces, dim=-1)


def _read(piece: Tensor, lead: torch.Size, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 1:
        return piece
    if len(shape) == _MATRIX:
        return piece.reshape(*lead, *shape[::-1]).mT
    return piece.reshape(*lead, *shape)
