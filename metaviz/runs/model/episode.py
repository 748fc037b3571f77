"""One task, and what a run predicts on it at every step of adaptation."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metaviz.charts.values import Chart


@dataclass(frozen=True)
class Examples:
    """Examples of one task and what the network predicts for them.

    Shapes: x (n, *features), images as 8-bit levels (n, channels, height, width); y (n,) class
    indices or (n, d) targets; outputs (K+1, n, d), logits or predictions after k = 0..K steps.
    """

    x: np.ndarray
    y: np.ndarray
    outputs: np.ndarray

    def probabilities(self) -> np.ndarray:
        """Return the softmax of the logits, shape (K+1, n, classes)."""
        logits = self.outputs - self.outputs.max(axis=2, keepdims=True)
        odds = np.exp(logits)
        return np.asarray(odds / odds.sum(axis=2, keepdims=True))

    def right(self) -> np.ndarray:
        """Return which examples are classified as what they are, shape (K+1, n)."""
        return np.asarray(self.outputs.argmax(axis=2) == self.y)


@dataclass(frozen=True)
class Episode:
    """One evaluation task of a run, with the charts of its method.

    `k` is the run's own number of steps; losses are (K+1,).
    """

    run: str
    label: str
    step: int
    k: int
    number: int
    protocol: dict[str, Any]
    dataset: str
    support: Examples
    query: Examples
    support_loss: np.ndarray
    query_loss: np.ndarray
    charts: tuple[Chart, ...] = ()

    @property
    def has_steps(self) -> bool:
        """Whether adaptation took steps that were looked at."""
        return len(self.query_loss) > 1

    @property
    def has_classes(self) -> bool:
        """Whether this is classification."""
        return self.query.y.ndim == 1

    @property
    def has_images(self) -> bool:
        """Whether the examples are pictures."""
        return self.query.x.dtype == np.uint8
