"""Long runs: what a window leaves out of memory, and what stays exact."""

import csv
from pathlib import Path

import numpy as np
import pytest

from metaviz.charts.thinning import thin
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.runs.analysis.curve_charts import fan, training_chart
from metaviz.runs.analysis.curves import TrainingView
from metaviz.runs.export.tables import geometry_csv
from metaviz.runs.model.events import STEP_COLUMNS, Pictured
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run
from tests.unit.stored import config, train

MILLION = 1_000_000


@pytest.mark.parametrize("most", [2, 3, 8, 9])
def test_pictures_that_are_kept_are_evenly_spread_with_first_and_newest(most: int) -> None:
    run = Record("a", {"algorithm": "maml", "problem": "sinusoid", "seed": 0}, most_pictures=most)
    for step in range(200):
        run.apply(Pictured(step, {"x": np.full(3, step)}))
        *kept, newest = [picture.step for picture in run.pictures]
        apart = kept[1] if len(kept) > 1 else step + 1
        assert newest == step
        assert kept == list(range(0, step, apart))
        assert most / 2 - 1 <= len(run.pictures) <= most or step < most
        assert run.is_thinned == (len(run.pictures) < step + 1)
        assert run.pictured == step + 1
    assert run.pictures[-1].arrays["x"].tolist() == [199, 199, 199]


def test_what_a_window_does_not_keep_is_exported(tmp_path: Path, qtbot) -> None:
    folder = train(config("metasgd", steps=30), tmp_path)
    whole, some = open_run(folder), open_run(folder, most_pictures=4)
    assert len(whole.pictures) == len(whole.evaluations) == len(some.evaluations) == 11
    assert not whole.is_thinned
    assert some.is_thinned
    assert some.pictures[-1].step == 30
    for place, evaluation in enumerate(whole.evaluations):
        drawn = fan(some, at=place)
        assert drawn is not None
        shown = int(drawn.title.rpartition(" ")[2])
        assert shown <= evaluation.step
        assert shown == max(p.step for p in some.pictures if p.step <= evaluation.step)
    dialog = ExportDialog([], [some], None, {some.id: folder})
    qtbot.addWidget(dialog)
    dialog.folder.setText(str(tmp_path / "out"))
    dialog.start()
    qtbot.waitUntil(lambda: not dialog._is_writing, timeout=30_000)
    text = (tmp_path / "out" / "geometry.csv").read_text(encoding="utf-8")
    assert text == geometry_csv([whole])
    steps = {row["step"] for row in csv.DictReader(text.splitlines())}
    assert len(steps) == 11


class Long(Record):
    """A million meta-steps of noise with a few rare extremes."""

    def column(self, name: str) -> np.ndarray:
        """Return a column that its name decides."""
        if name == "step":
            return np.arange(1.0, MILLION + 1)
        if not name.endswith("query_loss"):
            return np.full(MILLION, np.nan)
        random = np.random.default_rng(len(name))
        found = random.normal(1.0, 0.1, MILLION)
        found[random.integers(0, MILLION, 5)] = (9.0, -9.0, 7.0, np.nan, -7.0)
        return found

    def __len__(self) -> int:
        """Return how many steps there are."""
        return MILLION


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_of_a_million_steps_every_drawn_extreme_is_that_of_the_data(smoothing: float) -> None:
    shared = {"shared": {"reading_every": 1}}
    run = Long("long", {"algorithm": "maml", "problem": "sinusoid", "seed": 0, **shared})
    chart = training_chart([run], TrainingView(batches=True, smoothing=smoothing))
    assert {one.name for one in chart.series} >= {"long pre", "long post"}
    for one in chart.series:
        x, y = thin(one.x, one.y, 1800)
        assert len(x) <= 1802
        known = np.isfinite(one.y)
        assert np.nanmin(y) == one.y[known].min()
        assert np.nanmax(y) == one.y[known].max()
        places = (x - 1).astype(int)
        np.testing.assert_array_equal(y, one.y[places])  # measured, none in between
        edges = np.arange(0, MILLION, -(-MILLION // 900))
        for least, drawn in ((np.fmin, np.fmin), (np.fmax, np.fmax)):
            whole = least.reduceat(one.y, edges)
            inside = [
                drawn.reduce(part) for part in np.split(y, np.searchsorted(places, edges)[1:])
            ]
            np.testing.assert_array_equal(inside, whole)
    before, raw = run.column("pre_query_loss"), run.column("post_query_loss")
    raw = np.where(np.isfinite(before), raw, np.nan)  # only batches that were read twice are drawn
    if smoothing == 0.0:
        drawn = next(one for one in chart.series if one.name == "long post")
        np.testing.assert_array_equal(drawn.y, raw)


def test_a_record_keeps_less_than_half_a_kilobyte_per_meta_step() -> None:
    run = Record("a", {"algorithm": "maml", "problem": "sinusoid", "seed": 0})
    values: list[float | None] = [0.5] * len(STEP_COLUMNS)
    for step in range(1, 20_001):
        run.append_row(step, values)
    assert run._table.nbytes / len(run) < 256
    assert run.column("step")[[0, 9_999, -1]].tolist() == [1, 10_000, 20_000]
