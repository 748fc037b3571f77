"""Normalisation of folded maps: by a batch, by the support set, or each example by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from pydantic import Field
from torch import Tensor

from metaviz.config.options import Options
from metaviz.nets.convolution import moments
from metaviz.nets.layout import Layout, Params

Statistics = Literal["batch", "support", "group"]
Affine = Literal["both", "beta"]

MOST_GROUPS = 8
STATISTICS = ("mean", "variance")
Seen = Params | None
"""Takes the statistics of each normalised layer by name, where somebody asks for them."""


@dataclass(frozen=True)
class Norm:
    """How a convolutional network normalises its maps, and what of that is learned.

    Statistics "batch": those of all examples of a call, per task and channel, so that predictions
    depend on the other examples. "support": those of the examples beside a call, where there are
    any, at the weights of the call. "group": each example's own, over groups of channels; as many
    groups, up to 8, as divide the channels.
    Affine "both": a scale gamma and a shift beta per channel; "beta": the shift alone.
    Not `adapted`: inner steps leave gamma and beta where they are; they are meta-learned all the
    same. Source: Ioffe & Szegedy 2015; Wu & He 2018; batch statistics throughout with beta alone,
    not adapted and eps 1e-3, are those of Finn et al. 2017's code.
    """

    statistics: Statistics = "batch"
    affine: Affine = "both"
    adapted: bool = True
    eps: float = 1e-5

    def shapes(self, name: str, channels: int) -> list[tuple[str, tuple[int, ...]]]:
        """Return names and shapes of the parameters of one layer."""
        kinds = ("gamma", "beta") if self.affine == "both" else ("beta",)
        return [(f"{name}.{kind}", (channels,)) for kind in kinds]

    def running(self, names: Mapping[str, int]) -> Layout:
        """Return names and shapes of the statistics of layers with so many channels each."""
        if self.statistics == "group":
            return Layout(())
        return Layout(
            tuple((f"{name}.{kind}", (names[name],)) for name in names for kind in STATISTICS)
        )

    def held(self, layout: Layout) -> frozenset[str]:
        """Return which tensors of a network inner steps leave where they are."""
        if self.adapted:
            return frozenset()
        return frozenset(
            name for name, _ in layout.shapes if name.rpartition(".")[2] in {"gamma", "beta"}
        )

    def with_support(self, x: Tensor, beside: Tensor | None) -> tuple[Tensor, int | None]:
        """Return the examples that go through the network, and how many of them count.

        Shapes: x (tasks, n, ...) and beside (tasks, m, ...) give (tasks, m + n, ...) and m where
        statistics are those of the examples beside, else x and None: all count.
        """
        if self.statistics != "support" or beside is None:
            return x, None
        return torch.cat([beside, x], 1), beside.shape[1]

    def __call__(
        self, params: Params, name: str, u: Tensor, counted: int | None, seen: Seen = None
    ) -> Tensor:
        """Normalise u (n, tasks*C, H, W), of whose examples the first `counted` count.

        By statistics among the parameters where there are some; those of the batch are put down
        in `seen`.
        """
        gamma, beta = params.get(f"{name}.gamma"), params[f"{name}.beta"]
        if self.statistics == "group":
            return self._by_group(u, gamma, beta)
        known = given(params, name)
        if known is None:
            some = u if counted is None else u[:counted]
            known = moments(some)
            note(seen, name, known, len(beta), some.numel() // some.shape[1])
        return self.standardise(u, *known, gamma, beta)

    def standardise(
        self, u: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None, beta: Tensor
    ) -> Tensor:
        """Return gamma (u - mean) / sqrt(variance + eps) + beta, one product and sum per number.

        Shapes: u (n, tasks*C, H, W); mean and variance (tasks*C,); gamma and beta (tasks, C).
        """
        scale, shift = self.affine_of(mean, variance, gamma, beta)
        return torch.addcmul(shift[:, None, None], scale[:, None, None], u)

    def affine_of(
        self, mean: Tensor, variance: Tensor, gamma: Tensor | None, beta: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what normalised numbers are multiplied by, and what is added, (tasks*C,) each."""
        scale = torch.rsqrt(variance + self.eps)
        if gamma is not None:
            scale = gamma.flatten() * scale
        return scale, beta.flatten() - mean * scale

    def _by_group(self, u: Tensor, gamma: Tensor | None, beta: Tensor) -> Tensor:
        tasks, channels = beta.shape
        groups = next(g for g in range(MOST_GROUPS, 0, -1) if channels % g == 0)
        scale = torch.ones_like(beta) if gamma is None else gamma
        return F.group_norm(u, tasks * groups, scale.flatten(), beta.flatten(), self.eps)


def given(params: Params, name: str) -> tuple[Tensor, Tensor] | None:
    """Return a layer's mean and variance (tasks*C,) where they are among the parameters."""
    if f"{name}.mean" not in params:
        return None
    mean, variance = (params[f"{name}.{kind}"].flatten() for kind in STATISTICS)
    return mean, variance


def note(seen: Seen, name: str, found: tuple[Tensor, Tensor], tasks: int, count: int) -> None:
    """Put down mean and biased variance (tasks*C,) of `count` numbers per channel, detached.

    The variance becomes unbiased, as PyTorch's running one is. Where nobody asks, nothing is done.
    """
    if seen is None:
        return
    mean, variance = (value.detach().view(tasks, -1) for value in found)
    seen[f"{name}.mean"] = mean
    seen[f"{name}.variance"] = variance * (count / max(count - 1, 1))


class NormalisedOptions(Options):
    """What every network is made of that normalises images (in_channels, image, image)."""

    ways: int = Field(ge=1)
    in_channels: int = Field(ge=1)
    image: int = Field(ge=1)
    norm: Statistics
    norm_affine: Affine
    norm_adapted: bool
    norm_eps: float = Field(gt=0)

    def parts(self) -> tuple[int, int, int, Norm]:
        """Return ways, channels and side of images, and how the network normalises."""
        norm = Norm(self.norm, self.norm_affine, self.norm_adapted, self.norm_eps)
        return self.ways, self.in_channels, self.image, norm
