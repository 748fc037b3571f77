"""What a screen reader finds: names of all controls, descriptions of all plots, announcements."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QApplication,
    QComboBox,
    QMenu,
    QWidget,
)

from metaviz.charts import values
from metaviz.charts.describing import described
from metaviz.charts.values import Lines, Series
from metaviz.gui.pages.page_registry import VIEWS
from metaviz.gui.plotting.chart_view import ChartView

INNER = {"QTabBar", "QComboBoxListView", "QComboBoxPrivateContainer", "QHeaderView", "QSplitter"}


@pytest.fixture
def window(plain_window):
    return plain_window(plots=True)


@pytest.mark.parametrize("name", [view.id for view in VIEWS])
def test_every_control_of_every_page_has_a_name(window, name) -> None:
    page = window.tabs.page(name)
    nameless = [
        repr(widget)
        for widget in page.findChildren(QWidget)
        if widget.focusPolicy() != Qt.FocusPolicy.NoFocus
        and not widget.objectName().startswith("qt_")
        and type(widget).__name__ not in INNER
        and not isinstance(widget.parentWidget(), QAbstractScrollArea)
        and not any(isinstance(parent, QComboBox) for parent in _parents(widget))
        and not (widget.accessibleName() or _said(widget))
    ]
    assert nameless == []


@pytest.mark.parametrize("name", [view.id for view in VIEWS])
def test_every_plot_says_what_it_shows_also_where_it_is_empty(window, name) -> None:
    views = window.tabs.page(name).findChildren(ChartView)
    shown = [view for view in views if view.chart.title or view.chart.message or view.traces]
    assert all(view.accessibleName() for view in views)
    assert all(view.accessibleDescription() for view in shown), name


def test_the_description_of_a_plot_is_renewed(qtbot) -> None:
    view = ChartView("plot", "A plot")
    qtbot.addWidget(view)
    x = np.arange(3.0)
    chart = Lines(id="plot", series=(Series("a", x, np.array([3.0, 2.0, 1.0]), label="MAML"),))
    view.show_chart(chart)
    assert view.accessibleDescription() == "MAML 1"
    view.show_chart(replace(chart, series=(replace(chart.series[0], y=x + 0.5),)))
    assert view.accessibleDescription() == "MAML 2.5"
    view.show_chart(Lines(id="plot", message="Tick a run."))
    assert view.accessibleDescription() == "Tick a run."


def test_every_kind_of_chart_is_described() -> None:
    line = Series("a", np.arange(2.0), np.array([0.25, np.nan]), label="A")
    kinds = (
        (values.Lines(id="c", series=(line,)), "A 0.25"),
        (values.Scatter(id="c", series=(replace(line, label=""),)), "points, from 0.25 to 0.25"),
        (values.Table(id="c", header=("k",), rows=(("1",),)), "1 rows: k"),
    )
    for chart, told in kinds:
        assert described(chart) == told
    every = {
        kind for kind in vars(values).values()
        if isinstance(kind, type) and issubclass(kind, values.Chart) and kind is not values.Chart
    }  # fmt: skip
    from metaviz.charts.describing import _told

    assert every <= set(_told.registry)


def test_a_plot_has_its_menu_and_table_by_keys(qtbot, window) -> None:
    view = window.tabs.page("training").plot
    place = QPoint(5, 5)
    event = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, place, view.mapToGlobal(place))
    QApplication.sendEvent(view, event)
    menu = window.findChild(QMenu, "plot_menu")
    assert [action.text() for action in menu.actions() if "table" in action.text()]
    menu.close()


def test_ends_of_runs_and_errors_are_announced(window) -> None:
    said: list[str] = []
    window.announcer.announced.connect(said.append)
    window.live.run_ended.emit("MAML · seed 0", "done")
    window.live.run_ended.emit("MAML · seed 1", "diverged")
    window.live.run_ended.emit("MAML · seed 2", "stopped")
    window.notifier.fail("It failed.")
    assert said == [
        "MAML · seed 0 is done.",
        "MAML · seed 1 diverged.",
        "MAML · seed 2 was stopped.",
        "It failed.",
    ]


def _parents(widget: QWidget) -> Iterator[QWidget]:
    parent = widget.parentWidget()
    while parent is not None:
        yield parent
        parent = parent.parentWidget()


def _said(widget: QWidget) -> str:
    return widget.text() if isinstance(widget, QAbstractButton) else ""
