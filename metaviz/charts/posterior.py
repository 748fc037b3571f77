"""What a method holds possible: fans of functions, and how often it is right about them."""

import numpy as np

from metaviz.charts.values import BLUE, ORANGE, Axis, Band, Lines, Scatter, Series

PREFIX = "posterior-"
"""What begins the ids of these charts."""
FAN = f"{PREFIX}fan-"
CALIBRATION, ERROR = f"{PREFIX}calibration", f"{PREFIX}error"
IDS = (*(f"{FAN}{task}" for task in range(1, 5)), CALIBRATION, ERROR)
CONFIDENCES = (*(share / 100 for share in range(5, 100, 5)), 0.99)
"""Shares of a normal distribution whose intervals are counted."""
_NAMES = {CALIBRATION: "calibration", ERROR: "spread against error"}
_BINS = 10
_WIDE = 1.96
_ROOM = 0.5
_DIAGONAL = np.array([0.0, 1.0])


def short_name(name: str) -> str:
    """Return what a chart is called among the others, by its id."""
    return _NAMES.get(name, f"functions of task {name.removeprefix(FAN)}")


def fan_chart(
    task: int,
    x: np.ndarray,
    *,
    truth: np.ndarray,
    support: tuple[np.ndarray, np.ndarray],
    mean: np.ndarray,
    std: np.ndarray,
    samples: np.ndarray | None,
) -> Lines:
    """Show sampled functions (M, n) of one task about their mean, with the truth.

    The axis keeps to truth and support points and half their range beyond: single samples may be
    far outside. `std` is the standard deviation of observations.
    """
    known = np.concatenate([truth, support[1], mean])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    room = _ROOM * (high - low or 1.0)
    limits = (low - room, high + room)
    count = 0 if samples is None else len(samples)
    drawn = [
        Series(f"sample {n}", x, one, f"{count} samples" if n == 0 else "", BLUE, alpha=0.35)
        for n, one in enumerate(samples if samples is not None else ())
    ]
    edges = (mean - _WIDE * std).clip(*limits), (mean + _WIDE * std).clip(*limits)
    return Lines(
        id=f"{FAN}{task + 1}",
        title=f"What is held possible of task {task + 1}",
        x=Axis("x", limits=(float(x[0]), float(x[-1]))),
        y=Axis("y", limits=limits),
        bands=(Band("interval", x, *edges, ORANGE, 0.15),),
        series=(
            *drawn,
            Series("truth", x, truth, "truth", "foreground", "dash", 1.5),
            Series("mean", x, mean, "mean, 95 % of observations", ORANGE, width=2.5),
            Series("support", *support, "support points", "foreground", width=0, dots=8.0),
        ),
        caption="The band is the mean ± 1.96 standard deviations of the mixture and of the noise.",
        spoken=f"{count} samples; mean from {mean.min():.3g} to {mean.max():.3g}",
    )


def levels_chart(inside: np.ndarray) -> Lines:
    """Show how many query points lie within intervals of each of CONFIDENCES, (levels,)."""
    asked = np.array(CONFIDENCES)
    return _calibration(asked, inside, "share that intervals promise", "share that they hold")


def reliability_chart(confidence: np.ndarray, right: np.ndarray) -> Lines:
    """Show how many predictions are right, by the probability (n,) of the class that was taken."""
    places = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = [place for place in range(_BINS) if (places == place).any()]
    sure = np.array([confidence[places == place].mean() for place in bins])
    found = np.array([right[places == place].mean() for place in bins])
    return _calibration(sure, found, "probability of the answer", "share right")


def _calibration(asked: np.ndarray, found: np.ndarray, across: str, up: str) -> Lines:
    return Lines(
        id=CALIBRATION,
        title="How far what is held possible comes true",
        x=Axis(across, limits=(0.0, 1.0)),
        y=Axis(up, limits=(0.0, 1.0)),
        series=(
            Series("ideal", _DIAGONAL, _DIAGONAL, "as it should be", "muted", "dash"),
            Series("found", asked, found, "found", BLUE, width=2.0, dots=6.0),
        ),
        caption="Below the diagonal a method is too sure of itself.",
        spoken="; ".join(f"{a:.2f}: {b:.2f}" for a, b in zip(asked, found, strict=True)),
    )


def spread_chart(spread: np.ndarray, error: np.ndarray, name: str) -> Scatter:
    """Show the spread of predictions against the error of their mean, a dot for each task."""
    fine = np.isfinite(spread) & np.isfinite(error)
    spread, error = spread[fine], error[fine]
    varied = len(spread) > 1 and bool(spread.std() > 0) and bool(error.std() > 0)
    correlation = float(np.corrcoef(spread, error)[0, 1]) if varied else float("nan")
    told = f"tasks, correlation {correlation:.2f}" if varied else "tasks"
    return Scatter(
        id=ERROR,
        title=f"Spread of predictions against their {name}",
        x=Axis("spread"),
        y=Axis(name),
        series=(Series("tasks", spread, error, told, BLUE, width=0, dots=6.0, alpha=0.7),),
        spoken=f"{len(spread)} {told}",
    )
