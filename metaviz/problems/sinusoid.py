"""Sinusoids: the regression family of the MAML paper."""

from typing import Literal

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.nets.spec import NetSpec, net_spec
from metaviz.problems.functions import (
    ACTIVATION,
    AMPLITUDE_HIGH,
    AMPLITUDE_LOW,
    CELL,
    CELLS,
    EVALUATION_POINTS,
    HIDDEN,
    PHASE_HIGH,
    USUAL_CELLS,
    X_HIGH,
    X_LOW,
    Functions,
    check_ranges,
    noise_option,
)
from metaviz.problems.registry import register_problem


class SinusoidOptions(Options):
    """Options of the sinusoid family."""

    sign: Literal["minus", "plus"] = option(
        "minus",
        "Phase sign",
        "Targets are A sin(x − p), as in the MAML paper's code, or A sin(x + p), as some later "
        "code has it. The two families differ.",
        labels={"minus": "A sin(x − p)", "plus": "A sin(x + p)"},
    )
    noise: float = noise_option(0.0)
    amplitude_low: float = AMPLITUDE_LOW
    amplitude_high: float = AMPLITUDE_HIGH
    phase_high: float = PHASE_HIGH
    x_low: float = X_LOW
    x_high: float = X_HIGH
    hidden: int = HIDDEN
    activation: Literal["relu", "tanh"] = ACTIVATION
    cell: str | None = CELL
    cells: int | None = CELLS

    @model_validator(mode="after")
    def _ordered(self) -> "SinusoidOptions":
        check_ranges("sinusoid", self)
        return self


@register_problem(
    SinusoidOptions,
    id="sinusoid",
    title="Sinusoid regression",
    summary="Fit A sin(x − p) from a few points; amplitude and phase change from task to task.",
    loss_name="mean squared error",
    has_accuracy=False,
    citation="Finn, Abbeel & Levine 2017, section 5.1",
    steps=2000,
    evaluation_query=EVALUATION_POINTS,
    shared={
        "inner_lr": 0.01,
        "inner_steps": 5,
        "meta_batch": 25,
        "shots": 10,
        "query_shots": 10,
        "reading_every": 10,
    },
    hidden=("ways",),
    # With alpha = 0.01 Reptile's path is too short to learn from in 2000 steps.
)
class Sinusoid(Functions):
    """y = A sin(x - p), A ~ U[0.1, 5], p ~ U[0, pi], x ~ U[-5, 5], noise-free by default.

    Reference levels of the default family: predicting zero costs E[A^2]/2 = 4.2517; the best
    prediction without adaptation, -1.6234 cos x, costs 3.0057.
    Source: the data generator of the official MAML code.
    """

    dataset = "sinusoid"
    stream = "sinusoid"
    parameters = 2

    def __init__(self, options: SinusoidOptions, shared: Shared, seed: int) -> None:
        """Take checked options, shots and the seed that addresses the tasks."""
        super().__init__(options, shared, seed)
        self.options = options

    @override
    def net_spec(self) -> NetSpec:
        """Describe the network; two hidden layers or, where a cell is given, cells."""
        options = self.options
        if options.cell is None:
            return super().net_spec()
        cells = options.cells or USUAL_CELLS
        width = options.hidden
        return net_spec(
            "vector_cells", cell=options.cell, cells=cells, width=width, inputs=1, outputs=1
        )

    @override
    def _targets(self, draw: np.ndarray, x: np.ndarray) -> np.ndarray:
        low, high = self.options.amplitude_low, self.options.amplitude_high
        amplitude = low + (high - low) * draw[:, :1]
        phase = self.options.phase_high * draw[:, 1:2]
        shifted = x - phase if self.options.sign == "minus" else x + phase
        return np.asarray(amplitude * np.sin(shifted))
