"""Square factors that act on the modes of weight tensors: Kronecker-structured maps."""

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from metaviz.nets.layout import Layout, Params


def modes_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the modes of a weight: (out, in, window) of a kernel, (out, in), or (n,)."""
    return (*shape[:2], prod(shape[2:])) if len(shape) > 2 else shape  # noqa: PLR2004


def scaled(x: Tensor, diagonal: Tensor, mode: int) -> Tensor:
    """Multiply one mode of x (tasks, m_1, ..., m_n) by a diagonal (m,) or (tasks, m)."""
    lead = diagonal.shape[0] if diagonal.dim() > 1 else 1
    before, after = [1] * mode, [1] * (x.dim() - mode - 2)
    return x * diagonal.reshape(lead, *before, x.shape[mode + 1], *after)


def mode_product(x: Tensor, factor: Tensor, mode: int) -> Tensor:
    """Multiply one mode (from 0) of x (tasks, m_1, ..., m_n) by (m, m) or (tasks, m, m)."""
    axis, tasks = mode + 1, x.shape[0]
    if axis == 1:
        return (factor @ x.reshape(tasks, x.shape[1], -1)).reshape(x.shape)
    last = x.movedim(axis, -1)
    flat = last.reshape(tasks, -1, last.shape[-1]) @ factor.mT
    return flat.reshape(last.shape).movedim(-1, axis)


class ModeFactors:
    """One factor per mode of every tensor of a layout, as one flat vector of meta-parameters.

    `modes` says which modes of a tensor with one, two or three modes have a factor. A mode of more
    than `limit` entries gets a diagonal one, and with `diagonal_vectors` so does every vector.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        limit: int,
        modes: Mapping[int, tuple[int, ...]],
        diagonal_vectors: bool = False,
    ) -> None:
        """Plan the factors of a network's tensors."""
        self.layout = layout
        shapes: list[tuple[str, tuple[int, ...]]] = []
        self.places: list[tuple[str, int, str]] = []
        for name, shape in layout.shapes:
            sizes = modes_of(shape)
            for mode in modes[len(sizes)]:
                size = sizes[mode]
                diagonal = size > limit or (len(sizes) == 1 and diagonal_vectors)
                key = f"{name}.mode{mode + 1}"
                shapes.append((key, (size,) if diagonal else (size, size)))
                self.places.append((name, mode, key))
        self.parameters = Layout(tuple(shapes))
        self._shapes = dict(shapes)

    def identity(self) -> Tensor:
        """Return factors that change nothing: a flat float64 vector."""
        double = torch.float64
        return self.parameters.join(
            {
                name: torch.eye(shape[0], dtype=double)
                if len(shape) > 1
                else torch.ones(shape, dtype=double)
                for name, shape in self.parameters.shapes
            }
        )

    def named(self, factors: Tensor) -> Params:
        """Return the factors (size,) by tensor and mode."""
        return self.parameters.split(factors)

    def spectrum(self, factors: Tensor, *, gram: bool = False) -> Tensor:
        """Return the magnitudes of the eigenvalues of the whole map, shape (P,).

        Those of a Kronecker product are the products of those of its factors.
        """
        named, found = self.named(factors), []
        for name, shape in self.layout.shapes:
            values = torch.ones(1, dtype=factors.dtype, device=factors.device)
            for mode, size in enumerate(modes_of(shape)):
                factor = named.get(f"{name}.mode{mode + 1}")
                if factor is None:
                    own = values.new_ones(size)
                elif factor.dim() == 1:
                    own = factor.abs() ** (2 if gram else 1)
                elif gram:
                    own = torch.linalg.svdvals(factor).square()
                else:
                    own = torch.linalg.eigvals(factor).abs()
                values = (values[:, None] * own).flatten()
            found.append(values)
        return torch.cat(found)

    def __call__(self, factors: Tensor, gradient: Tensor, *, gram: bool = False) -> Tensor:
        """Apply all factors M, or with `gram` all M'M, to gradients (tasks, P).

        `factors` is flat: (size,) shared by all tasks, or (tasks, size).
        """
        named, parts = self.parameters.split(factors), self.layout.split(gradient)
        shaped: Params = {
            name: parts[name].reshape(len(gradient), *modes_of(shape))
            for name, shape in self.layout.shapes
        }
        for name, mode, key in self.places:
            factor = named[key]
            if len(self._shapes[key]) == 1:
                factor = factor.square() if gram else factor
                shaped[name] = scaled(shaped[name], factor, mode)
            else:
                factor = factor.mT @ factor if gram else factor
                shaped[name] = mode_product(shaped[name], factor, mode)
        return self.layout.join(
            {
                name: shaped[name].reshape(len(gradient), *shape)
                for name, shape in self.layout.shapes
            }
        )
