"""Charts of what a run predicts for examples that a person gave."""

import numpy as np

from metaviz.charts.values import OKABE_ITO, Axis, Chart, ImageGrid, Lines, Mark, Series, Table
from metaviz.runs.model.prediction import Predicted

COLUMNS = 4
MOST_SHOWN = 60
_MOST_CLASSES, _LETTERS, _SHORT = 6, 14, 7


def prediction_chart(found: Predicted, k: int, chosen: int | None = None) -> Chart:
    """Show query pictures with their likeliest class after k steps and its probability.

    What is not a picture is a table. Framed: another class than the folder says.
    """
    if not found.has_images or found.probabilities is None:
        return prediction_table(found, k)
    shown = range(min(len(found.names), MOST_SHOWN))
    answers, truth, shares = found.answers(k), found.truth(), found.probabilities[k]
    wrong = [n for n in shown if truth[n] is not None and truth[n] != answers[n]]
    return ImageGrid(
        id="predict",
        images=tuple(_pixels(found.query.x[n]) for n in shown),
        columns=COLUMNS,
        below=tuple(f"{_cut(answers[n], _SHORT)} {shares[n].max():.0%}" for n in shown),
        shares=tuple(float(shares[n].max()) for n in shown),
        wrong=tuple(wrong),
        chosen=chosen,
    )


def prediction_table(found: Predicted, k: int) -> Table:
    """Show query examples with what is predicted after k steps, as a table."""
    rows = [row for row in found.rows() if row[1] == k]
    cells = (tuple(_text(cell) for cell in (row[0], *row[2:])) for row in rows)
    header = (found.header()[0], *found.header()[2:])
    return Table(id="predict", header=header, rows=tuple(cells))


def prediction_path(found: Predicted, number: int, k: int) -> Lines:
    """Show the probabilities, or outputs, of one query example at each inner step."""
    values = found.query.outputs if found.probabilities is None else found.probabilities
    own = values[:, number]
    places = np.argsort(-own.max(axis=0), kind="stable")[:_MOST_CLASSES].tolist()
    names = found.classes or tuple(f"output {n}" for n in range(own.shape[1]))
    steps = np.arange(len(own), dtype=float)
    limits = None if found.probabilities is None else (0.0, 1.0)
    series = (
        Series(
            f"class{n}",
            steps,
            own[:, n],
            _cut(names[n]),
            f"method-{n % len(OKABE_ITO)}",
            width=2.0,
            dots=5.0,
        )
        for n in places
    )
    title = "output" if found.probabilities is None else "probability"
    return Lines(
        id="predict-path",
        x=Axis(f"inner step k, {_cut(found.names[number], 2 * _LETTERS)}", whole=True),
        y=Axis(title, limits=limits),
        marks=(Mark("k", float(k)),),
        series=tuple(series),
    )


def _cut(text: str, most: int = _LETTERS) -> str:
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _text(cell: str | float | None) -> str:
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _pixels(levels: np.ndarray) -> np.ndarray:
    """Return 8-bit levels (channels, height, width) as a picture from 0 to 1."""
    pixels = levels.transpose(1, 2, 0) / 255.0
    return pixels if pixels.shape[2] > 1 else pixels[:, :, 0]
