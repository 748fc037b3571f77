"""What the Training page draws of every method is what was measured, read back from its charts."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metaviz.charts.values import Lines
from metaviz.runs.analysis.curve_charts import training_chart
from metaviz.runs.analysis.curves import TrainingView
from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.model.record import Record
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import begin, train
from tests.contract.conftest import Stored
from tests.contract.test_algorithms import VARIANTS
from tests.contract.test_every_variant import config
from tests.contract.test_fixtures import KEYS
from tests.fixtures import doors

STEPS = 11
EVALUATED = TrainingView(robust=False)
BATCHES = TrainingView(batches=True, robust=False)
PARTS = {"pre": "pre", "post": "post", "before": "pre", "after": "post"}


def trained(name: str, options: dict[str, Any], every: int) -> tuple[Setting, list[Record]]:
    """Return a variant's setting, and its run while it trains, paused, and done."""
    asked = config(name, options, reading_every=every, eval_every=5)
    setting = settle(asked.model_copy(update={"steps": STEPS}))
    about = {"config": setting.config.model_dump(mode="json"), "traits": setting.traits}
    begun, whole = (Record(f"{name}-s3", **about) for _ in range(2))
    for event in train(setting, begin(setting)):
        whole.apply(event)
        if whole.step <= STEPS // 2:
            begun.apply(event)
    paused = replace(begun, state="paused", evaluations=list(begun.evaluations))
    return setting, [begun, paused, whole]


def series(chart: Lines, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the finite points of the only line of a part; nothing where it is not drawn."""
    found = [one for one in chart.series if one.name.rpartition(" ")[2] == part]
    if not found:
        return np.empty(0), np.empty(0)
    (one,) = found
    assert one.x.shape == one.y.shape
    known = np.isfinite(one.y)
    return one.x[known], one.y[known]


def faded(values: Iterable[float], weight: float) -> list[float]:
    """Return a bias-corrected running mean of numbers without gaps, by its definition."""
    total, share, found = 0.0, 0.0, []
    for value in values:
        total, share = weight * total + (1 - weight) * value, weight * share + 1 - weight
        found.append(total / share)
    return found


def check_batches(run: Record, weight: float, quantity: str = "query_loss") -> None:
    """Hold what is drawn of batches against the pairs that were recorded."""
    chart = training_chart([run], replace(BATCHES, smoothing=weight, quantity=quantity))
    every = run.config["shared"].get("reading_every", 1)
    steps = run.column("step")
    columns = {part: run.column(f"{part}_{quantity}") for part in ("pre", "post")}
    read = (steps - 1) % every == 0
    known = np.isfinite(columns["post"]) & read
    paired = bool(np.isfinite(columns["pre"][read]).any())
    if paired:
        known &= np.isfinite(columns["pre"])
    for part in ("pre", "post") if paired else ("post",):
        x, y = series(chart, part)
        assert x.tolist() == steps[known].tolist()
        if every == 1 or known[read].all():
            assert y.tolist() == pytest.approx(faded(columns[part][known], weight))
    if not paired:
        assert not len(series(chart, "pre")[0])
    elif (columns["post"][known] <= columns["pre"][known]).all():
        assert (series(chart, "post")[1] <= series(chart, "pre")[1]).all()
    check_caption(chart)


def check_evaluations(run: Record) -> None:
    """Hold what is drawn of evaluations against their means over tasks."""
    chart = training_chart([run], EVALUATED)
    loop = run.traits.has_inner_loop
    for part, k in (("after", None), ("before", 0)):
        x, y = series(chart, part)
        pairs = [(one.step, one.at("query_loss", k)) for one in run.evaluations]
        wanted = [pair for pair in pairs if np.isfinite(pair[1])] if loop or k is None else []
        assert list(zip(x.tolist(), y.tolist(), strict=True)) == wanted
    check_caption(chart)


def check_caption(chart: Lines) -> None:
    """Hold the caption against what is drawn."""
    parts = {one.name.rpartition(" ")[2]: one for one in chart.series}
    kinds = {PARTS.get(part, part) for part in parts}
    caption = chart.caption
    assert ("before adaptation" in caption) == ("pre" in kinds)
    assert ("faint: as read" in caption) == ("raw" in kinds)
    gaps = [band for band in chart.bands if band.name.endswith(" gap")]
    assert ("what adaptation gains" in caption) == bool(gaps)
    wide = [one.width for part, one in parts.items() if PARTS.get(part) == "post"]
    if "bold: after" in caption:
        assert min(wide) > 1.0
    if "dots: evaluations" in caption:
        assert all(one.dots for one in chart.series)
    for gap in gaps:
        high = next(one for part, one in parts.items() if PARTS.get(part) == "pre")
        assert np.array_equal(gap.high, high.y, equal_nan=True)


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_variant_is_drawn_as_it_was_measured(
    name: str, options: dict[str, Any], every: int
) -> None:
    setting, runs = trained(name, options, every)
    for run in runs:
        check_evaluations(run)
        for weight in (0.0, 0.9):
            check_batches(run, weight)
        if setting.problem.has_accuracy:
            shares = training_chart([run], replace(EVALUATED, quantity="query_accuracy"))
            assert shares.y.unit == "%"
            check_caption(shares)
    noise = np.random.default_rng(0).lognormal(0, 1, (2, STEPS))
    noise[0] += 1
    shown = [noisy(run, noise) for run in (runs[-1], plain(runs[-1], every))]
    chart = training_chart(shown, replace(BATCHES, smoothing=0.9))
    for part in ("pre", "post", "raw"):
        drawn = [one for one in chart.series if one.name.endswith(f" {part}")]
        if len(drawn) == len(shown):
            one, other = drawn
            assert np.array_equal(one.x, other.x)
            both = np.isfinite(one.y) & np.isfinite(other.y)
            assert both.any()
            assert np.array_equal(one.y[both], other.y[both])


def plain(run: Record, every: int) -> Record:
    """Return a run of MAML that was read as often, and recorded after adaptation at every step."""
    made = Record("maml-s9", {**run.config, "algorithm": "maml", "seed": 9})
    for step in range(1, STEPS + 1):
        known = {"post_query_loss": 1.0}
        known |= {"pre_query_loss": 1.0} if (step - 1) % every == 0 else {}
        made.append_row(step, [known.get(name, np.nan) for name in STEP_COLUMNS])
    return made


def noisy(run: Record, noise: np.ndarray) -> Record:
    """Return a run with the same noise wherever it has a loss of its batch."""
    made = Record(run.id, run.config, traits=run.traits)
    for place, step in enumerate(run.column("step").astype(int)):
        row = []
        for name in STEP_COLUMNS:
            value = run.column(name)[place]
            part = {"pre_query_loss": 0, "post_query_loss": 1}.get(name)
            row.append(value if part is None or np.isnan(value) else noise[part, step - 1])
        made.append_row(int(step), row)
    return made


@pytest.mark.parametrize("key", KEYS)
def test_a_run_of_the_first_version_is_drawn_as_it_was_measured(stored: Stored, key: str) -> None:
    run = doors.open_run(stored.folders[key])
    if len(run):
        check_evaluations(run)
        for weight in (0.0, 0.9):
            check_batches(run, weight)
