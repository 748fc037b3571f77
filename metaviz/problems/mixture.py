"""Sinusoids and lines: from a few noisy points one cannot tell which of them a task is."""

from typing import Literal

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.problems.base import PredictSteps
from metaviz.problems.functions import (
    ACTIVATION,
    AMPLITUDE_HIGH,
    AMPLITUDE_LOW,
    EVALUATION_POINTS,
    HIDDEN,
    PHASE_HIGH,
    PICTURED_TASKS,
    X_HIGH,
    X_LOW,
    Functions,
    check_ranges,
    noise_option,
)
from metaviz.problems.registry import register_problem


class MixtureOptions(Options):
    """Options of the mixture of sinusoids and lines."""

    share_of_lines: float = option(
        0.5,
        "Share of lines",
        "Probability that a task is a line a x + b; else it is a sinusoid A sin(x − p).",
        ge=0,
        le=1,
    )
    noise: float = noise_option(0.3)
    amplitude_low: float = AMPLITUDE_LOW
    amplitude_high: float = AMPLITUDE_HIGH
    phase_high: float = PHASE_HIGH
    slope_high: float = option(
        3.0, "Largest slope", "a is uniform in [−this, this].", ge=0, le=1000
    )
    intercept_high: float = option(
        3.0, "Largest intercept", "b is uniform in [−this, this].", ge=0, le=1000
    )
    x_low: float = X_LOW
    x_high: float = X_HIGH
    hidden: int = HIDDEN
    activation: Literal["relu", "tanh"] = ACTIVATION

    @model_validator(mode="after")
    def _ordered(self) -> "MixtureOptions":
        check_ranges("mixture", self)
        return self


@register_problem(
    MixtureOptions,
    id="mixture",
    title="Sinusoids and lines",
    summary="Fit a sinusoid or a line from five noisy points, which often suit several of both.",
    loss_name="mean squared error",
    has_accuracy=False,
    citation="Finn, Xu & Levine 2018, arXiv:1806.02817; ranges of a PyTorch port",
    steps=4000,
    evaluation_query=EVALUATION_POINTS,
    shared={
        "inner_lr": 0.01,
        "inner_steps": 5,
        "meta_batch": 25,
        "shots": 5,
        "query_shots": 10,
        "reading_every": 10,
    },
    hidden=("ways",),
)
class Mixture(Functions):
    """y = A sin(x - p) or y = a x + b, with noise.

    A ~ U[0.1, 5], p ~ U[0, pi]; a, b ~ U[-3, 3]; x ~ U[-5, 5]; noise N(0, 0.3^2); 5 shots.
    Source: the ranges of cnguyen10/few_shot_meta_learning; the paper's own are not verified.
    """

    dataset = "mixture"
    stream = "mixture"
    parameters = 3
    # Methods that draw 20 samples of each task keep their weights at once.
    chunk = 200

    def __init__(self, options: MixtureOptions, shared: Shared, seed: int) -> None:
        """Take checked options, shots and the seed that addresses the tasks."""
        super().__init__(options, shared, seed)
        self.options = options

    def lines(self, draw: np.ndarray) -> np.ndarray:
        """Return which tasks (tasks,) are lines, by their uniform numbers."""
        return np.asarray(draw[:, 0] < self.options.share_of_lines)

    @override
    def _targets(self, draw: np.ndarray, x: np.ndarray) -> np.ndarray:
        chosen, first, second = draw[:, :1], draw[:, 1:2], draw[:, 2:3]
        options = self.options
        low, high = options.amplitude_low, options.amplitude_high
        wave = (low + (high - low) * first) * np.sin(x - options.phase_high * second)
        slope, intercept = (
            most * (2 * one - 1)
            for most, one in ((options.slope_high, first), (options.intercept_high, second))
        )
        return np.where(chosen < options.share_of_lines, slope * x + intercept, wave)

    @override
    def picture(self, predict: PredictSteps) -> dict[str, np.ndarray]:
        """Return what the fan of functions shows, and `family` (tasks,): 1 of a line, else 0."""
        family = self.lines(self._drawn(0, PICTURED_TASKS)).astype(np.int8)
        return {**super().picture(predict), "family": family}
