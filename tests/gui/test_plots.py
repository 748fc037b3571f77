"""The plots show what the records hold, in both themes, and export what they show."""

import copy
import csv
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtGui import QFontMetricsF, QPaintEvent
from PySide6.QtWidgets import QApplication, QWidget

from metaviz.charts.values import Axis, Lines, Mark, Series
from metaviz.gui.pages.gradients_page import GradientsTab
from metaviz.gui.pages.inner_loop_page import InnerTab
from metaviz.gui.pages.training_page import TrainingTab
from metaviz.gui.plotting.axes import round_logarithms
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.curve_item import dashes
from metaviz.gui.plotting.legend import Key, Legend
from metaviz.gui.widgets.theme import DARK, LIGHT
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.runs.model.events import Ended, Evaluated, Pictured, Stepped, Waiting
from metaviz.runs.model.gradients import GradientComparison, MetaGradientRow
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record

K = 6
TASKS = 3
MANY = ("imaml", "joint", "fomaml")


def record(algorithm: str, seed: int = 0, *, steps: int = 50, level: float = 2.0) -> Record:
    """A record with known numbers: loss level / step, halved by adaptation."""
    made = Record(
        f"{algorithm}-s{seed}",
        {"algorithm": algorithm, "problem": "sinusoid", "seed": seed, "steps": steps},
    )
    for step in range(1, steps + 1):
        values = {
            "seconds": step / 10,
            "gradient_evaluations": 6.0 * step,
            "pre_query_loss": level / step,
            "post_query_loss": level / step / 2,
        }
        made.apply(Stepped(step, values, np.ones(K), np.ones(K - 1)))
    for step in (0, steps):
        curve = level * 0.5 ** np.arange(K + 1) / (step + 1)
        curves = {}
        for name in ("support_loss", "query_loss", "gradient_norm"):
            curves |= {name: curve, f"{name}_ci95": 0.1 * curve}
        made.apply(Evaluated(step, 20, 3, curves))
        x = np.linspace(-5, 5, 40)
        arrays = {
            "x": x,
            "truth": np.stack([np.sin(x + task) for task in range(TASKS)]),
            "support_x": np.zeros((TASKS, 2)),
            "support_y": np.zeros((TASKS, 2)),
            "predictions": np.arange(TASKS * (K + 1) * 40.0).reshape(TASKS, K + 1, 40),
        }
        made.apply(Pictured(step, arrays))
    return made


def lines(*series: Series, **axes: Axis) -> Lines:
    return Lines(id="lines", series=series, **axes)


@pytest.fixture
def records() -> list[Record]:
    return [record("maml"), record("reptile", level=4.0)]


def shown(tab: QWidget) -> None:
    tab.resize(900, 600)
    tab.show()
    QApplication.processEvents()


def test_training_tab_draws_before_and_after_of_every_run(qtbot, records: list[Record]) -> None:
    tab = TrainingTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records(records)
    shown(tab)
    tab.batches.setChecked(True)
    tab.smoothing.setValue(0)
    x, y = tab.plot.traces["reptile-s0 post"].getData()
    assert x[-1] == 50
    assert y == pytest.approx(2.0 / np.arange(1, 51))
    assert "maml-s0 pre" in tab.plot.traces
    assert "MAML" in tab.plot.accessibleDescription()
    assert not tab.plot._message.isVisible()


def test_training_tab_follows_its_controls(qtbot, records: list[Record]) -> None:
    tab = TrainingTab()
    qtbot.addWidget(tab)
    tab.apply_theme(DARK)
    tab.show_records(records)
    shown(tab)
    tab.batches.setChecked(True)
    tab.axis.setCurrentIndex(tab.axis.findData("gradient_evaluations"))
    assert tab.plot.traces["maml-s0 post"].getData()[0][-1] == 300
    tab._fields["show_pre"].click()
    assert "maml-s0 pre" not in tab.plot.traces
    tab._fields["log_y"].click()
    drawn = tab.plot.traces["maml-s0 post"].getData()[1]
    tab.smoothing.setValue(0)
    drawn = tab.plot.traces["maml-s0 post"].getData()[1]
    assert drawn[-1] == pytest.approx(np.log10(1 / 50))
    state = tab.state()
    other = TrainingTab()
    qtbot.addWidget(other)
    other.restore(state)
    assert other.view == tab.view


def test_accuracy_cannot_be_chosen_where_none_was_recorded(qtbot, records: list[Record]) -> None:
    tab = TrainingTab()
    qtbot.addWidget(tab)
    tab.show_records(records)
    place = tab.quantity.findData("query_accuracy")
    assert not tab.quantity.model().item(place).isEnabled()
    assert tab.quantity.model().item(0).isEnabled()


@pytest.mark.parametrize("tab_type", [TrainingTab, InnerTab, GradientsTab])
def test_empty_tabs_say_what_to_do(qtbot, tab_type: type[QWidget]) -> None:
    tab = tab_type()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records([])
    shown(tab)
    plot = getattr(tab, "plot", None) or getattr(tab, "loss", None) or tab.lengths
    assert plot._message.isVisible()
    assert "ress" in plot._message.text()


def test_training_tab_says_what_a_run_waits_for(qtbot) -> None:
    tab = TrainingTab()
    qtbot.addWidget(tab)
    run = Record("a", {"algorithm": "maml", "problem": "sinusoid", "seed": 0})
    tab.show_records([run])
    assert tab.plot._message.text().startswith("Evaluating the untrained weights")
    run.apply(Waiting(0, "compiling steps, 12 s"))
    tab.refresh()
    assert tab.plot._message.text().startswith("Compiling steps, 12 s…")


def test_training_tab_says_what_ended_runs_before_their_first_step(qtbot) -> None:
    failed = record("maml", 3, steps=0)
    failed.apply(Ended(0, "failed", "Memory ran out: 812.0 MiB more were needed."))
    tab = TrainingTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records([failed])
    shown(tab)
    told = tab.plot.chart.message
    assert told.startswith("No shown run has taken a meta-step.")
    assert "MAML · seed 3 failed: Memory ran out: 812.0 MiB more were needed." in told
    assert tab.plot._message.isVisible()
    assert tab.hint.text() == ""


def test_training_tab_says_of_lines_what_is_drawn(qtbot, records: list[Record]) -> None:
    tab = TrainingTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records(records)
    shown(tab)
    told = "Means over 20 evaluation tasks; bold: after 3 inner steps; thin: before adaptation; "
    assert tab.hint.text() == f"{told}shaded: what adaptation gains; dots: evaluations."
    tab.batches.click()
    told = "Bold: after adaptation; thin: before adaptation; shaded: what adaptation gains; "
    more = "smoothed, weight 0.9: mean of the last 10 meta-steps or so"
    more += "; 1 of 6 lines leave the range of the axis."
    assert tab.hint.text() == f"{told}each meta-step’s batch; faint: as read; {more}"
    tab.smoothing.setValue(0)
    beyond = "1 of 4 lines leave the range of the axis"
    assert tab.hint.text() == f"{told}each meta-step’s batch; {beyond}."
    tab._fields["robust"].click()
    assert tab.hint.text() == f"{told}each meta-step’s batch."
    for state in ("running", "paused", "done"):
        many = (replace(one, state=state) for one in (*records, *map(record, MANY)))
        tab.show_records(list(many))
        QApplication.processEvents()
        told = "After adaptation; pale: before adaptation; each meta-step’s batch."
        assert tab.hint.text() == told
        assert tab.plot.chart.bands == ()
    tab.smoothing.setValue(50)
    assert "raw curves of so many runs are left out" in tab.hint.text()


def test_inner_tab_scrubs_k_and_tells_the_numbers(qtbot, records: list[Record]) -> None:
    tab = InnerTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records(records)
    shown(tab)
    tab.k.setValue(2)
    expected = 2.0 * 0.25 / 51
    assert f"MAML · seed 0 {expected:.5f} ±" in tab.readout.text()
    assert tab.loss.cursor_line.value() == 2
    assert tab.fan_plot.traces["chosen"].getData()[1][0] == 2 * 40
    assert [line.value() for line in tab.loss.marks.values()] == [3]
    tab.evaluation.setValue(0)
    assert f"{2.0 * 0.25:.4g}" in tab.readout.text()
    tab.task.setValue(2)
    assert tab.fan_plot.traces["chosen"].getData()[1][0] == (K + 1 + 2) * 40


def test_inner_tab_keeps_the_marks_of_trained_steps_until_they_change(
    qtbot, records: list[Record]
) -> None:
    tab = InnerTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records(records)
    (mark,) = tab.loss.marks.values()
    tab.redraw()
    assert list(tab.loss.marks.values()) == [mark]
    assert mark in tab.loss.getPlotItem().items
    tab.apply_theme(DARK)
    (anew,) = tab.loss.marks.values()
    assert anew.pen.color().name() == DARK.muted
    assert anew.label.color.name() == DARK.muted
    tab.show_records([])
    assert tab.loss.marks == {}
    assert mark not in tab.loss.getPlotItem().items


def test_inner_tab_plays_round(qtbot, records: list[Record]) -> None:
    tab = InnerTab()
    qtbot.addWidget(tab)
    tab.show_records(records)
    shown(tab)
    tab._timer.setInterval(1)
    tab.play.click()
    qtbot.waitUntil(lambda: tab.k.value() == K, timeout=5000)
    qtbot.waitUntil(lambda: tab.k.value() == 0, timeout=5000)
    tab.play.click()
    assert not tab._timer.isActive()


def comparison() -> GradientComparison:
    rows = (
        MetaGradientRow("maml", np.array([3.0, 4.0]), hessian_vector_products=5),
        MetaGradientRow(
            "imaml", np.array([4.0, -3.0]), 1e-3, 1e-6, notes=("Bent (1 of 2 tasks).",)
        ),
        MetaGradientRow("scratch", np.zeros(2)),
    )
    return GradientComparison(rows)


def test_gradients_tab_shows_lengths_and_cosines(qtbot) -> None:
    tab = GradientsTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    shown(tab)
    with qtbot.waitSignal(tab.requested) as asked:
        tab.compare.click()
    assert asked.args == [None, 0]
    tab.show_busy()
    assert not tab.compare.isEnabled()
    tab.show_result(comparison())
    assert tab.compare.isEnabled()
    model = tab.table.model()
    texts = [model.data(model.index(0, column)) for column in range(model.columnCount())]
    assert texts[0] == "5"
    assert texts[-3:] == ["1.0000", "0.0000", "–"]
    assert "Bent" in tab.status.text()
    tab.show_error("No data.")
    assert tab.status.text() == "No data."


def test_a_single_length_is_no_bar_as_wide_as_the_page(qtbot) -> None:
    tab = GradientsTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_result(GradientComparison((MetaGradientRow("maml", np.array([3.0, 4.0])),)))
    shown(tab)
    (bars,) = tab.lengths.boxes.values()
    left, right = tab.lengths.getPlotItem().getViewBox().viewRange()[0]
    assert float(bars.opts["x1"][0] - bars.opts["x0"][0]) < (right - left) / 5
    _cosine, lengths = tab.chart().charts
    assert lengths.y.limits == tab.lengths.chart.x.limits


def test_gradient_model_is_sound(qtbot, qtmodeltester) -> None:
    tab = GradientsTab()
    qtbot.addWidget(tab)
    tab.show_result(comparison())
    qtmodeltester.check(tab.table.model())


def test_export_writes_every_format_and_table(qtbot, tmp_path: Path, records: list[Record]) -> None:
    tabs = [TrainingTab(), InnerTab(), GradientsTab()]
    for tab in tabs:
        qtbot.addWidget(tab)
        tab.show_records(records)
    tabs[2].show_result(comparison())
    dialog = ExportDialog(tabs, records)
    qtbot.addWidget(dialog)
    dialog.show()
    for box in (*dialog.formats.values(), *dialog.plots.values()):
        box.setChecked(True)
    dialog.width_cm.setValue(12)
    dialog.height_cm.setValue(8)
    dialog.dpi.setValue(100)
    dialog.folder.setText(str(tmp_path / "new" / "folder"))
    dialog.export.click()
    qtbot.waitUntil(lambda: bool(dialog.written), timeout=60_000)
    folder = tmp_path / "new" / "folder"
    assert {path.name for path in dialog.written} == {path.name for path in folder.iterdir()}
    assert len(dialog.written) == 3 + 3 * 5
    with Image.open(folder / "training.png") as picture:
        assert picture.size == pytest.approx((12 / 2.54 * 100, 8 / 2.54 * 100), abs=1)
    assert (folder / "inner.pdf").read_bytes().startswith(b"%PDF")
    texts = " ".join(ET.parse(folder / "training.svg").getroot().itertext())
    assert "MAML · seed 0" in texts
    assert "meta-step" in texts
    rows = list(csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 100
    assert float(rows[49]["post_query_loss"]) == 2.0 / 50 / 2


def test_export_writes_the_report_of_the_shown_runs(
    qtbot, tmp_path: Path, records: list[Record]
) -> None:
    for record in records:
        record.config = {**record.config, "device": "cpu", "shared": {"inner_lr": 0.01}}
    dialog = ExportDialog([], records)
    qtbot.addWidget(dialog)
    dialog.show()
    for box in (*dialog.formats.values(), *dialog.plots.values(), dialog.tables):
        box.setChecked(False)
    dialog.report.setChecked(True)
    dialog.folder.setText(str(tmp_path))
    dialog.export.click()
    qtbot.waitUntil(lambda: bool(dialog.written), timeout=60_000)
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert all(record.label in text for record in records)
    assert (tmp_path / "report" / "results.csv").exists()


def test_export_into_an_impossible_folder_says_so(
    qtbot, tmp_path: Path, records: list[Record]
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    dialog = ExportDialog([], records)
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.folder.setText(str(tmp_path / "file"))
    dialog.export.click()
    qtbot.waitUntil(lambda: "Choose a folder" in dialog.status.text(), timeout=10_000)
    assert dialog.export.isEnabled()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_export_without_runs_is_greyed(qtbot) -> None:
    dialog = ExportDialog([], [])
    qtbot.addWidget(dialog)
    assert not dialog.export.isEnabled()
    assert "run a comparison" in dialog.status.text()


def test_legend_stands_above_the_axes_and_counts_what_does_not_fit(qtbot) -> None:
    plot = ChartView("plot", "Plot")
    qtbot.addWidget(plot)
    plot.resize(420, 300)
    plot.show()
    x = np.arange(3.0)
    plot.show_chart(lines(*(Series(f"run {i}", x, x + i, f"a run called {i}") for i in range(30))))
    QApplication.processEvents()
    box = plot.getPlotItem().getViewBox().sceneBoundingRect()
    assert plot.legend.geometry().bottom() <= box.top()
    assert box.bottom() < plot.height()
    *named, (_, key, text) = plot.legend._places(plot.legend.width())
    assert key is None
    assert text == f"and {30 - len(named)} more"


def test_log_axes_show_the_logarithms_once(qtbot) -> None:
    plot = ChartView("plot", "Plot")
    qtbot.addWidget(plot)
    series = Series("run", np.arange(3.0), np.array([1.0, 100.0, 0.0]))
    plot.show_chart(lines(series, y=Axis(log=True)))
    y = plot.traces["run"].getData()[1]
    assert y[:2].tolist() == [0, 2]
    assert plot.traces["run"].dataBounds(1) == (0, 2)


def test_readout_says_where_a_run_ends(qtbot, records: list[Record]) -> None:
    tab = InnerTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    short = copy.deepcopy(records[0].evaluations[-1])
    for name, values in short.curves.items():
        short.curves[name] = values[:3]
    records[0].evaluations.append(short)
    tab.show_records(records)
    tab.k.setValue(4)
    assert f"{records[0].label} was evaluated to k = 2" in tab.readout.text()


def test_dashes_do_not_begin_anew_at_every_point() -> None:
    x = np.linspace(0, 100, 1001)
    pieces = dashes(x, np.zeros(1001), (1.0, 1.0), [6.0, 4.0])
    drawn = np.abs(pieces[:, 2] - pieces[:, 0]).sum()
    assert drawn == pytest.approx(60)
    middle = (pieces[:, 0] + pieces[:, 2]) / 2
    assert (middle % 10 < 6).all()
    assert dashes(x[[0, -1]], np.zeros(2), (1.0, 1.0), [6.0, 4.0]).shape == (10, 4)


def test_dashes_leave_gaps_open() -> None:
    x = np.arange(101.0)
    y = np.where((x > 40) & (x < 60), np.nan, 0.0)
    pieces = dashes(x, y, (1.0, 1.0), [6.0, 4.0])
    assert not ((pieces[:, 0] < 59) & (pieces[:, 2] > 41)).any()
    assert dashes(x, np.full(101, np.nan), (1.0, 1.0), [6.0, 4.0]).size == 0


def test_numbers_of_axes_stay_what_they_are_in_another_theme(qtbot) -> None:
    plot = ChartView("p", "A plot")
    qtbot.addWidget(plot)
    plot.apply_theme(LIGHT)
    small = np.linspace(-0.02, 0.01, 5)
    plot.show_chart(lines(Series("a", small, small), x=Axis("x"), y=Axis("y")))
    plot.resize(400, 300)
    plot.show()
    for theme in (LIGHT, DARK, LIGHT):
        plot.apply_theme(theme)
        QApplication.processEvents()
        for side in ("left", "bottom"):
            axis = plot.getPlotItem().getAxis(side)
            assert axis.autoSIPrefixScale == 1
            texts = axis.tickStrings([-0.02, 0.01], axis.autoSIPrefixScale * axis.scale, 0.01)
            assert [float(text) for text in texts] == [-0.02, 0.01]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.01, 1000, [0.01, 0.1, 1, 10, 100, 1000]),
        (1, 10, [1, 2, 3, 5, 7, 10]),
        (0.9, 1.4, [0.9, 1, 1.1, 1.2, 1.3, 1.4]),
        (4e4, 4e8, [1e5, 1e6, 1e7, 1e8]),
        (1e-12, 1e12, [1e-12, 1e-7, 1e-2, 1e3, 1e8]),
    ],
)
def test_logarithmic_axes_number_round_values(low: float, high: float, wanted: list[float]) -> None:
    found = round_logarithms(float(np.log10(low)), float(np.log10(high)), 6)
    assert found == pytest.approx(np.log10(wanted), abs=1e-9)


def test_axes_that_are_short_write_what_fits(qtbot) -> None:
    plot = ChartView("short", "Short")
    qtbot.addWidget(plot)
    plot.resize(260, 130)
    plot.show()
    x = np.linspace(0.0, 1.0, 20)
    title = "probability of <its> own class & more"
    plot.show_chart(lines(Series("a", x, x), y=Axis(title)))
    QApplication.processEvents()
    axis = plot.getPlotItem().getAxis("left")
    high = axis.size().height()
    assert axis.label.boundingRect().width() <= high + 1
    assert axis.label.toPlainText().strip().endswith("…")
    assert axis.label.toolTip().startswith("<p>probability of &lt;its&gt; own class")
    ((_, values),) = axis.tickValues(0.0, 1.0, high)[:1]
    assert 2 <= len(values) <= max(2, high / QFontMetricsF(axis.font()).height())
    plot.resize(260, 600)
    QApplication.processEvents()
    assert axis.label.toPlainText().strip() == title
    assert axis.label.toolTip() == ""


def test_an_axis_of_whole_numbers_has_no_halves(qtbot) -> None:
    plot = ChartView("whole", "Whole")
    qtbot.addWidget(plot)
    plot.resize(600, 300)
    plot.show()
    x = np.array([0.0, 1.0])
    for whole in (True, False):
        plot.show_chart(lines(Series("a", x, x), x=Axis("k", whole=whole)))
        QApplication.processEvents()
        axis = plot.getPlotItem().getAxis("bottom")
        (_, values), *_rest = axis.tickValues(-0.03, 1.03, 170.0)
        assert (values == [0.0, 1.0]) is whole


def test_names_of_upright_lines_stand_one_above_the_other(qtbot) -> None:
    plot = ChartView("marks", "Marks")
    qtbot.addWidget(plot)
    plot.resize(300, 200)
    plot.show()
    x = np.linspace(0.0, 10.0, 11)
    marks = tuple(Mark(f"K {k}", k, label=f"trained K = {k}") for k in (3, 4, 5))
    plot.show_chart(replace(lines(Series("a", x, x)), marks=marks))
    QApplication.processEvents()
    boxes = [item.label.sceneBoundingRect() for item in plot.marks.values()]
    assert not any(a.intersects(b) for a, b in combinations(boxes, 2))


@pytest.mark.parametrize("ends", [(2.0, 4.2), (1.1, 1.9), (0.31, 0.39), (6.0, 14.0), (95.0, 103.0)])
def test_short_logarithmic_axes_have_two_numbers_at_least(ends: tuple[float, float]) -> None:
    low, high = map(float, np.log10(ends))
    found = round_logarithms(low, high, 2)
    assert 2 <= len(found) <= 5
    assert low <= found[0] < found[-1] <= high


def test_legend_makes_room_when_it_gets_narrow(qtbot) -> None:
    holder = QWidget()
    qtbot.addWidget(holder)
    legend = Legend(holder)
    holder.show()
    legend.set_keys([Key(f"run number {i}", None, None) for i in range(9)])
    heights = []
    for width in (1800, 500):
        legend.resize(width, 10)
        heights.append(legend.height())
        assert legend.height() == legend.heightForWidth(width)
    assert heights[0] < heights[1]


def test_runs_with_one_name_are_told_apart_by_their_options() -> None:
    one, two, three = (record("mirror") for _ in range(3))
    for made, name, form in ((one, "a", "official"), (two, "b", "fixed"), (three, "c", "fixed")):
        made.id = f"mirror-{name}"
        made.config = {**made.config, "options": {"form": form, "partition": "2"}}
    assert list(labels([one, two]).values()) == [
        "Mirror descent · seed 0 · form = official",
        "Mirror descent · seed 0 · form = fixed",
    ]
    assert labels([two])["mirror-b"] == "Mirror descent · seed 0"
    assert labels([one, two, three])["mirror-c"] == "Mirror descent · seed 0 (or-c)"


def test_a_plot_is_painted_once_for_new_data(qtbot) -> None:
    painted = []

    class Counting(ChartView):
        def paintEvent(self, event: QPaintEvent) -> None:
            painted.append(self.getPlotItem().getViewBox().viewRange())
            super().paintEvent(event)

    plot = Counting("p", "A plot")
    qtbot.addWidget(plot)
    plot.apply_theme(LIGHT)
    shown(plot)
    x = np.arange(100.0)
    plot.show_chart(lines(Series("a", x, x), y=Axis(limits=(0.0, 100.0))))
    QApplication.processEvents()
    painted.clear()
    plot.show_chart(lines(Series("a", 1.1 * x, x), y=Axis(limits=(0.0, 110.0))))
    for _ in range(5):
        QApplication.processEvents()
    assert len(painted) == 1
    (left, right), (low, high) = painted[0]
    assert left < 0 < 1.1 * 99 < right
    assert (low, high) == (0.0, 110.0)


def test_a_line_that_is_left_out_is_gone(qtbot) -> None:
    plot = ChartView("p", "A plot")
    qtbot.addWidget(plot)
    x = np.arange(10.0)
    plot.show_chart(lines(Series("a", x, x), Series("b", x, 5 * x)))
    plot.show_chart(lines(Series("a", x, x)))
    assert list(plot.traces) == ["a"]
    assert plot._curves.dataBounds(1) == (0, 9)
    plot.show_chart(lines())
    assert plot._curves.dataBounds(1) == (None, None)


def test_lines_leave_gaps_open(qtbot) -> None:
    plot = ChartView("p", "A plot")
    qtbot.addWidget(plot)
    y = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0])
    plot.show_chart(lines(Series("a", np.arange(6.0), y)))
    pieces = plot.traces["a"]._pieces.ndarray()
    assert pieces.tolist() == [[0, 1, 1, 2], [3, 4, 4, 5], [4, 5, 5, 6]]


@pytest.mark.parametrize("most", [2, 3, 5, 12])
def test_log_axes_always_have_three_numbers_and_no_crowd(most):
    generator = np.random.default_rng(most)
    for _ in range(400):
        low = generator.uniform(-8, 5)
        high = low + 10 ** generator.uniform(-2, 1.2)
        found = np.array(round_logarithms(low, high, most))
        assert 3 <= len(found) <= max(most, 4), (low, high, found)
        assert low - 1e-6 <= found.min()
        assert found.max() <= high + 1e-6
        assert len({f"{10.0**one:.6g}" for one in found}) == len(found)
