"""How a flat parameter vector is read as named tensors."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from torch import Tensor

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors that lie one after another in a flat vector.

    Keeping the adapted weights of all tasks in one (tasks, P) tensor makes every inner step one
    subtraction and every gradient one call, whatever the number of layers.
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
            name: piece if len(shape) == 1 else piece.reshape(*lead, *shape)
            for (name, shape), piece in zip(self.shapes, pieces, strict=True)
        }
