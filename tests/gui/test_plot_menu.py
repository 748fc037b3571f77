"""The menu of the right mouse button on a plot."""

import numpy as np
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QContextMenuEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QDialog, QMenu

from metaviz.charts.values import Axis, Lines, Panels, Series
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.plot_menu import cells
from metaviz.gui.widgets.read_table import ReadTable
from metaviz.gui.widgets.theme import LIGHT
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.runs.model.events import STEP_COLUMNS, Evaluated
from metaviz.runs.model.record import Record

LINE = Series("a", np.arange(3.0), np.array([0.1 + 0.2, np.nan, 5.0]), "MAML\t1")


@pytest.fixture
def view(qtbot) -> ChartView:
    made = ChartView("plot", "Losses")
    qtbot.addWidget(made)
    made.apply_theme(LIGHT)
    made.resize(500, 400)
    made.show()
    made.show_chart(Lines(id="lines", x=Axis("step"), series=(LINE,)))
    return made


def menu_of(view: ChartView) -> dict[str, object]:
    place = QPoint(200, 200)
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, view.mapToGlobal(place))
    QApplication.sendEvent(view.viewport(), event)
    menu = view.findChildren(QMenu, "plot_menu")[-1]
    found = {one.text().replace("&", ""): one for one in menu.actions() if one.text()}
    menu.close()
    return found


def test_numbers_are_copied_in_full_precision(view: ChartView) -> None:
    menu_of(view)["Copy data"].trigger()
    lines = QGuiApplication.clipboard().text().split("\n")
    assert lines[0].split("\t") == ["item", "label", "x", "y", "value", "low", "high"]
    assert lines[1].split("\t")[:4] == ["a", "MAML 1", "0.0", "0.30000000000000004"]
    assert lines[2].split("\t")[3] == "nan"
    assert len(lines) == 4


def test_the_picture_is_copied_as_it_is_shown(view: ChartView) -> None:
    menu_of(view)["Copy picture"].trigger()
    picture = QGuiApplication.clipboard().image()
    assert picture.size() == view.grab().toImage().size()


def test_the_table_shows_the_same_numbers(qtbot, view: ChartView) -> None:
    menu_of(view)["Show as table…"].trigger()
    dialog = view.window().findChild(QDialog, "plot_table")
    table = dialog.findChild(ReadTable)
    shown = [
        [table.item(row, at).text() for at in range(table.columnCount())]
        for row in range(table.rowCount())
    ]
    assert [table.horizontalHeaderItem(at).text() for at in range(4)] == ["item", "label", "x", "y"]
    assert table.columnCount() == 4  # columns without a number are left out
    assert [row[2:] for row in shown] == [row[2:4] for row in cells(view.chart)]
    dialog.close()


def test_axes_come_back_after_a_zoom(view: ChartView) -> None:
    box = view.getPlotItem().getViewBox()
    view.scene().prepareForPaint()
    before = box.viewRange()
    box.setRange(xRange=(0.2, 0.3), yRange=(1, 2))
    assert box.viewRange() != before
    menu_of(view)["Reset axes"].trigger()
    view.scene().prepareForPaint()
    assert np.allclose(box.viewRange(), before)


def test_limits_that_a_chart_gives_come_back_too(view: ChartView) -> None:
    chart = Lines(id="bounded", y=Axis(limits=(0.0, 10.0)), series=(LINE,))
    view.show_chart(chart)
    view.getPlotItem().getViewBox().setRange(yRange=(1, 2))
    menu_of(view)["Reset axes"].trigger()
    assert np.allclose(view.getPlotItem().getViewBox().viewRange()[1], (0, 10))


def test_an_empty_plot_has_no_numbers_to_copy(view: ChartView) -> None:
    view.show_chart(Lines(id="empty", message="Nothing yet."))
    found = menu_of(view)
    assert not found["Copy data"].isEnabled()
    assert not found["Show as table…"].isEnabled()


def test_panels_offer_their_menus(view: ChartView) -> None:
    view.show_chart(Panels(id="two", charts=(Lines(id="l", series=(LINE,)),) * 2, columns=2))
    assert {row[0] for row in cells(view.chart)} == {"l a"}
    assert "Copy data" in menu_of(view.panels[0])


def test_the_window_exports_the_plot_under_the_pointer(qtbot, window) -> None:
    window.tabs.begin(LIGHT)
    plot = window.tabs.training.plot
    found = menu_of(plot)
    assert not found["Export this plot…"].isEnabled()  # no run is shown
    config = {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 1}
    run = Record("maml-s0", config)
    run.append_row(1, [1.0] * len(STEP_COLUMNS))
    run.apply(Evaluated(1, 20, 1, {"query_loss": np.array([2.0, 1.0])}))
    window.show_records([run])
    window.update_actions()
    menu_of(plot)["Export this plot…"].trigger()
    dialog = window.findChild(ExportDialog)
    assert [name for name, box in dialog.plots.items() if box.isChecked()] == ["training"]
    dialog.reject()
