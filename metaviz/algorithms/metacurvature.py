"""Meta-Curvature: a learned factor for each mode of each weight tensor."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from metaviz.algorithms.geometry import GeometryOptions, Preconditioned, refuse_too_many
from metaviz.algorithms.registry import register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.modes import ModeFactors
from metaviz.meta.pictures import Arrays, of_mode_factors
from metaviz.nets.base import Net

_MODES: dict[str, dict[int, tuple[int, ...]]] = {
    "all": {3: (0, 1, 2), 2: (0, 1), 1: (0,)},
    "output": {3: (0,), 2: (0,), 1: (0,)},
}


class ModeCurvature(Preconditioned, rowwise=True):
    """phi <- phi - alpha G x_1 M_o x_2 M_i x_3 M_f for the gradient G of each weight tensor.

    The factors begin as identities and are free: neither symmetric nor positive.
    P = M_o (x) M_i (x) M_f on the row-major vector. Source: Park & Oliva 2019, section 3.2.
    """

    group = "curvature"

    def __init__(
        self,
        rate: float,
        *,
        modes: Mapping[int, tuple[int, ...]],
        limit: int,
        diagonal_vectors: bool,
    ) -> None:
        """Choose the modes with a factor, and which factors are diagonal."""
        super().__init__(rate)
        self.modes = modes
        self.limit = limit
        self.diagonal_vectors = diagonal_vectors

    def fit(self, net: Net) -> None:
        """Plan the factors."""
        self.factors = ModeFactors(
            net.layout, limit=self.limit, diagonal_vectors=self.diagonal_vectors, modes=self.modes
        )
        remedy = "use a smaller metacurvature.limit"
        refuse_too_many("metacurvature", self.factors.parameters.size, remedy)

    def shape(self, generator: torch.Generator) -> Tensor:
        """Return identities."""
        del generator
        return self.factors.identity()

    def precondition(self, meta: Meta, gradient: Tensor) -> Tensor:
        """Multiply every mode by its factor."""
        return self.factors(meta[self.group], gradient)

    def picture(self, context: Context, meta: Meta) -> Arrays:
        """Return the factors of every tensor."""
        return of_mode_factors(self, context, meta, self.factors, meta["curvature"])


class MetaCurvatureOptions(GeometryOptions):
    """Options of Meta-Curvature."""

    modes: Literal["all", "output"] = option(
        "all",
        "Factors",
        "MC2: one factor for outputs, inputs and the window of a kernel, P = M_o ⊗ M_i ⊗ M_f. "
        "MC1: fewer; which ones is not verified here, so it keeps M_o alone.",
        labels={"all": "MC2: all modes", "output": "MC1: outputs only (unverified)"},
    )
    vectors: Literal["matrix", "diagonal"] = option(
        "matrix",
        "Biases",
        "A bias of n numbers is a 1 × n matrix with a full n × n factor, or has a diagonal one.",
        labels={"matrix": "full factor", "diagonal": "diagonal factor"},
    )
    limit: int = option(
        512,
        "Largest full factor",
        "A mode with more entries gets a diagonal factor: a 1600 × 1600 one alone would hold "
        "2.6 million numbers.",
        ge=1,
        le=4096,
    )


@register(
    MetaCurvatureOptions,
    id="metacurvature",
    title="Meta-Curvature",
    group="Learned geometry",
    color=9,
    summary="Learns a matrix for each mode of every weight tensor.",
    formula="φ ← φ − α M_o G M_iᵀ for the gradient G of a layer; a kernel has a third factor",
    cost="as MAML, and one product per mode",
    citation="Park & Oliva 2019, arXiv:1902.03356",
)
def metacurvature(options: MetaCurvatureOptions, shared: Shared) -> Algorithm:
    """Build Meta-Curvature."""
    rule = ModeCurvature(
        options.rate(shared),
        modes=_MODES[options.modes],
        limit=options.limit,
        diagonal_vectors=options.vectors == "diagonal",
    )
    return options.compose(rule, shared)
