"""Redraws come in small pieces, each in a turn of its own, and nothing is left out."""

import numpy as np
import pytest
from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QWidget

from metaviz.charts.values import Lines, Series
from metaviz.gui.pages.compare_plot import Request, made_ready
from metaviz.gui.pages.convergence_page import ConvergenceTab
from metaviz.gui.pages.inner_loop_page import InnerTab
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.pages.training_page import TrainingTab
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.redraw_timer import RedrawTimer
from metaviz.gui.widgets.theme import LIGHT
from metaviz.runs.analysis.comparison import ComparisonView
from metaviz.runs.model.events import STEP_COLUMNS, Evaluated
from metaviz.runs.model.record import Record

K = 6
STEPS, RUNS = 2000, 8


def record(name: str, steps: int = 3) -> Record:
    made = Record(name, {"algorithm": name, "problem": "sinusoid", "seed": 0, "steps": 10**6})
    random = np.random.default_rng(len(name))
    for step in range(1, steps + 1):
        made.append_row(step, list(random.random(len(STEP_COLUMNS)) + 1))
    evaluate(made)
    return made


def evaluate(one: Record) -> None:
    curve = (one.step + 1) * 0.5 ** np.arange(K + 1)
    curves = {}
    for name in ("support_loss", "query_loss", "gradient_norm"):
        curves |= {name: curve, f"{name}_ci95": 0.1 * curve}
    one.apply(Evaluated(one.step, 20, 3, curves))


def drawn(page: QWidget) -> dict[str, list[list[float]]]:
    """Every point that the plots of a page draw."""
    return {
        f"{plot.objectName()} {name}": [values.tolist() for values in trace.getData()]
        for plot in page.findChildren(ChartView)
        for name, trace in plot.traces.items()
    }


def test_pieces_are_done_in_order_and_in_turns_of_their_own(qtbot) -> None:
    parent = QObject()
    pace, turns, done = RedrawTimer(parent), [0], []
    counter = QTimer(parent)
    counter.timeout.connect(lambda: turns.__setitem__(0, turns[0] + 1))
    counter.start(0)
    wanted = list(range(5))

    def schedule() -> None:
        pace.schedule([lambda n=n: done.append((n, turns[0])) for n in wanted])
        wanted.clear()

    pace.tick.connect(schedule)
    pace.start()
    qtbot.waitUntil(lambda: len(done) == 5)
    pace.stop()
    assert [number for number, _ in done] == [0, 1, 2, 3, 4]
    assert len({turn for _, turn in done}) == 5


def test_no_tick_comes_before_all_pieces_are_done(qtbot) -> None:
    parent = QObject()
    pace, told = RedrawTimer(parent), []
    pace.tick.connect(lambda: told.append("tick"))
    pace.tick.connect(lambda: pace.schedule([lambda: told.append("a"), lambda: told.append("b")]))
    pace.start()
    qtbot.waitUntil(lambda: len(told) >= 9)
    pace.stop()
    assert told[:9] == ["tick", "a", "b"] * 3


def test_a_piece_that_fails_does_not_stop_the_ticks(qtbot) -> None:
    parent = QObject()
    pace, ticks = RedrawTimer(parent), []

    def fail() -> None:
        raise ValueError("broken")

    pace.tick.connect(lambda: ticks.append(1))
    pace.schedule([fail])
    with qtbot.captureExceptions() as caught:
        pace.start()
        qtbot.waitUntil(lambda: len(ticks) >= 2)
        pace.stop()
    assert [str(error) for _, error, _ in caught] == ["broken"]


def test_stopping_leaves_no_piece_for_later(qtbot) -> None:
    parent = QObject()
    pace, done = RedrawTimer(parent), []
    pace.tick.connect(lambda: pace.schedule([lambda: done.append(1)] * 3))
    pace.start()
    qtbot.waitUntil(lambda: bool(done))
    pace.stop()
    count = len(done)
    qtbot.wait(100)
    assert len(done) == count


@pytest.mark.parametrize("page_type", [InnerTab, ConvergenceTab, TrainingTab])
def test_pieces_draw_what_a_whole_redraw_does(qtbot, page_type) -> None:
    records = [record("maml"), record("reptile")]
    page, whole = page_type(), page_type()
    for one in (page, whole):
        qtbot.addWidget(one)
        one.apply_theme(LIGHT)
    page.show_records(records)
    page.show()
    page.refresh()
    before = drawn(page)
    for one in records:
        one.append_row(one.step + 1, [1.0] * len(STEP_COLUMNS))
        evaluate(one)
    pieces = page.pieces()
    assert len(pieces) > 1
    for piece in pieces:
        piece()
        QApplication.processEvents()
    whole.show_records(records)
    assert drawn(page) == drawn(whole) != before
    ranges = [plot.getPlotItem().viewRange() for plot in page.findChildren(ChartView)]
    page.refresh()
    assert [plot.getPlotItem().viewRange() for plot in page.findChildren(ChartView)] == ranges


def test_tabs_divide_the_page_in_front_and_draw_nothing_twice(qtbot) -> None:
    tabs = Tabs()
    qtbot.addWidget(tabs)
    tabs.resize(900, 600)
    tabs.begin(LIGHT)
    tabs.show()
    one = record("maml")
    tabs.show_records([one])
    tabs.setCurrentIndex([page.export_name for page in tabs.pages].index("inner"))
    tabs.refresh()
    evaluate(one)
    assert len(tabs.pieces()) > 1
    assert tabs.pieces() == []


def test_a_redraw_of_long_runs_touches_two_points_a_pixel_at_most(qtbot) -> None:
    tab = TrainingTab()
    qtbot.addWidget(tab)
    tab.resize(900, 500)
    tab.apply_theme(LIGHT)
    tab.show()
    tab.batches.setChecked(True)
    tab.show_records([record("m" * (number + 1), STEPS) for number in range(RUNS)])
    for ended in (False, True):
        for one in tab._records:
            one.state = "done" if ended else "running"
        tab.refresh()
        counts = [len(trace.getData()[0]) for trace in tab.plot.traces.values()]
        assert len(counts) == 2 * RUNS  # as many lines while they run as when they are done
        assert max(counts) <= 2 * tab.plot.width() + 4
        if not ended:
            assert max(counts) <= tab.plot.width() + 4


def test_thirty_seeds_are_one_line_and_one_band(qtbot) -> None:
    runs = []
    for seed in range(30):
        run = record("maml", 50)
        run.id, run.config["seed"] = f"maml-{seed}", seed
        runs.append(run)
    ready = made_ready(Request(tuple(runs), ComparisonView(measure="post_query_loss"), 800))
    assert [len(one.samples) for one in ready.curves] == [30]
    assert (len(ready.chart.series), len(ready.chart.bands)) == (1, 1)


@pytest.mark.parametrize("dash", ["solid", "dash", "dot", "dashdot"])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_rough_lines_cover_what_fine_ones_do(qtbot, dash: str, width: float) -> None:
    x = np.linspace(0, 1, 400)
    inked = {}
    for fine in (False, True):
        plot = ChartView("p", "A plot")
        qtbot.addWidget(plot)
        plot.resize(400, 300)
        plot.show()
        line = Series("a", x, np.sin(9 * x), role="#000000", dash=dash, width=width)
        plot.show_chart(Lines(id="p", series=(line,)), fine=fine)
        plot.setBackground("#ffffff")
        for side in ("left", "bottom"):
            plot.getPlotItem().hideAxis(side)
        QApplication.processEvents()
        picture = plot.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
        rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), -1)
        inked[fine] = (255.0 - rows[:, : picture.width()]).sum() / 255
    assert inked[True] > 100
    # Qt counts the length of dashes in pixels, however steep they are.
    assert (0.8 if dash == "solid" else 0.3) < inked[False] / inked[True] < 1.2
