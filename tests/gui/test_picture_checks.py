"""Faults that are put into a window on purpose are found, and a sound window has none."""

from collections.abc import Callable

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QPalette, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QGroupBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QTableView,
    QTabWidget,
    QToolButton,
    QWidget,
)

from metaviz.charts.values import Axis, Lines, Series
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.legend import Key, Legend
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.theme import DARK, LIGHT, Theme, use_theme
from tests.pictures.picture_checks import Fault, faults

LONG = "Inner step size of every task, in units of the outer one"


@pytest.fixture(params=[LIGHT, DARK], ids=lambda theme: theme.name)
def theme(request: pytest.FixtureRequest, qapp) -> Theme:
    use_theme(qapp, request.param)
    return request.param


@pytest.fixture
def sheet(qtbot, theme: Theme) -> QWidget:
    """An empty window of a theme."""
    made = QWidget()
    made.setObjectName("sheet")
    made.resize(500, 400)
    qtbot.addWidget(made)
    with qtbot.waitExposed(made):
        made.show()
    return made


def put(sheet: QWidget, widget: QWidget, *place: int) -> QWidget:
    widget.setParent(sheet)
    widget.setGeometry(QRect(*place))
    widget.show()
    return widget


def plot_of(sheet: QWidget, theme: Theme, *place: int) -> ChartView:
    view = ChartView("plot", "Plot", sheet)
    view.apply_theme(theme)
    view.setGeometry(QRect(*(place or (10, 10, 400, 300))))
    x = np.linspace(0.0, 10.0, 50)
    shown = Series("one", x, np.sin(x), "one line")
    view.show()
    view.show_chart(Lines(id="plot", series=(shown,), x=Axis("step"), y=Axis("loss")))
    return view


def table_of(cell: str, header: str, *, tip: str = "") -> QTableView:
    model = QStandardItemModel(1, 2)
    model.setHorizontalHeaderLabels([header, "seed"])
    item = QStandardItem(cell)
    if tip:
        item.setToolTip(tip)
    model.setItem(0, 0, item)
    table = QTableView()
    model.setParent(table)
    table.setModel(model)
    table.setColumnWidth(0, 60)
    table.setColumnWidth(1, 60)
    return table


def plain_axis(view: ChartView) -> pg.AxisItem:
    return view.getPlotItem().getAxis("bottom")


def a_label_out_of_room(sheet, theme):
    put(sheet, QLabel(LONG), 10, 10, 120, 20)


def a_wrapped_label_too_low(sheet, theme):
    label = QLabel(LONG)
    label.setWordWrap(True)
    put(sheet, label, 10, 10, 120, 20)


def a_button_too_narrow(sheet, theme):
    put(sheet, QPushButton("Evaluate all runs"), 10, 10, 50, 26)


def a_check_box_too_narrow(sheet, theme):
    put(sheet, QCheckBox("before adaptation"), 10, 10, 60, 22)


def a_choice_too_narrow(sheet, theme):
    box = QComboBox()
    box.addItem("papers and LibFewShot")
    put(sheet, box, 10, 10, 100, 26)


def a_number_too_wide(sheet, theme):
    box = QSpinBox()
    box.setRange(0, 10**9)
    box.setValue(123456789)
    put(sheet, box, 10, 10, 50, 26)


def a_tool_button_too_small(sheet, theme):
    button = QToolButton()
    button.setText("Columns")
    put(sheet, button, 10, 10, 20, 8)


def a_cell_cut_without_tip(sheet, theme):
    put(sheet, table_of("MAML · seed 0, α = 0.03, B = 25", "run"), 10, 10, 300, 100)


def a_header_too_narrow(sheet, theme):
    put(sheet, table_of("maml", "Steps to the loss"), 10, 10, 300, 100)


def a_tab_cut_without_tip(sheet, theme):
    tabs = QTabWidget()
    tabs.setUsesScrollButtons(False)
    tabs.setElideMode(Qt.TextElideMode.ElideRight)
    for name in ("Training", "Comparison", "Inner loop", "Convergence"):
        tabs.addTab(QWidget(), name)
    put(sheet, tabs, 10, 10, 120, 100)


def a_group_whose_title_is_cut(sheet, theme):
    put(sheet, QGroupBox("Figures of every page and their captions"), 10, 10, 90, 60)


def two_labels_in_one_place(sheet, theme):
    for at in (10, 30):
        label = QLabel("query loss", sheet)
        label.setGeometry(at, 10, 80, 20)
        label.show()
        label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)


def a_button_under_another(sheet, theme):
    put(sheet, QPushButton("Run"), 10, 10, 100, 30)
    put(sheet, QPushButton("Queue"), 60, 20, 100, 30)


def a_button_beyond_the_edge(sheet, theme):
    put(sheet, QPushButton("Run"), 450, 10, 100, 30)


def content_wider_than_its_scrolled_area(sheet, theme):
    area = QScrollArea()
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.horizontalScrollBar().setRange(0, 0)
    content = QWidget()
    put(content, QPushButton("Run"), 250, 10, 100, 30)
    area.setWidgetResizable(True)
    area.setWidget(content)
    put(sheet, area, 10, 10, 200, 100)


def a_window_larger_than_the_screen(sheet, theme):
    sheet.resize(3000, 500)


def a_text_hardly_darker_than_its_ground(sheet, theme):
    label = put(sheet, QLabel("query loss"), 10, 10, 100, 20)
    colors = label.palette()
    ground = colors.color(QPalette.ColorRole.Window)
    part = 40 if ground.lightness() < 128 else -40
    rgb = [max(0, min(255, one + part)) for one in (ground.red(), ground.green(), ground.blue())]
    colors.setColor(QPalette.ColorRole.WindowText, QColor(*rgb))
    label.setPalette(colors)


def letters_too_small_to_read(sheet, theme):
    label = put(sheet, QLabel("query loss"), 10, 10, 100, 20)
    font = label.font()
    font.setPointSizeF(5.0)
    label.setFont(font)


def numbers_of_an_axis_upon_each_other(sheet, theme):
    axis = plain_axis(plot_of(sheet, theme))
    axis.setStyle(hideOverlappingLabels=False)
    axis.setTicks([[(4.0, "0.4000"), (4.3, "0.4300")]])


def an_axis_with_a_single_number(sheet, theme):
    axis = plot_of(sheet, theme).getPlotItem().getAxis("left")
    axis.tickValues = lambda low, high, size: [(1.0, [0.0])]


def a_name_of_an_axis_that_is_too_long(sheet, theme):
    view = plot_of(sheet, theme, 10, 10, 230, 150)
    axis = pg.AxisItem("bottom")
    view.getPlotItem().setAxisItems({"bottom": axis})
    axis.setLabel(LONG)


def two_names_of_lines_upon_each_other(sheet, theme):
    view = plot_of(sheet, theme)
    for at in (0.0, 0.05):
        text = pg.TextItem("after adaptation", color=theme.foreground)
        view.addItem(text, ignoreBounds=True)
        text.setPos(2.0, at)


def a_name_of_a_line_beyond_the_axes(sheet, theme):
    view = plot_of(sheet, theme)
    text = pg.TextItem("after adaptation", color=theme.foreground)
    view.addItem(text, ignoreBounds=True)
    text.setPos(9.5, 0.0)


def a_faint_number_in_a_plot(sheet, theme):
    plain_axis(plot_of(sheet, theme)).setTextPen(pg.mkPen(theme.grid))


def a_plot_without_room(sheet, theme):
    plot_of(sheet, theme, 10, 10, 400, 70)


def a_row_of_a_legend_without_room(sheet, theme):
    room = put(sheet, QWidget(sheet), 10, 10, 150, 26)  # for one row and a half
    legend = put(room, Legend(room), 0, 0, 150, 20)
    legend.set_color(theme.foreground)
    legend.set_keys([Key("MAML · seed 0 (2 runs)", None, None), Key("Reptile", None, None)])


PLANTED: dict[Callable, str] = {
    a_row_of_a_legend_without_room: "clipped",
    a_label_out_of_room: "clipped",
    a_wrapped_label_too_low: "clipped",
    a_button_too_narrow: "clipped",
    a_check_box_too_narrow: "clipped",
    a_choice_too_narrow: "clipped",
    a_number_too_wide: "squeezed",
    a_tool_button_too_small: "squeezed",
    a_cell_cut_without_tip: "cut",
    a_header_too_narrow: "clipped",
    a_tab_cut_without_tip: "cut",
    a_group_whose_title_is_cut: "clipped",
    two_labels_in_one_place: "overlapping",
    a_button_under_another: "covered",
    a_button_beyond_the_edge: "outside",
    content_wider_than_its_scrolled_area: "outside",
    a_window_larger_than_the_screen: "off screen",
    a_text_hardly_darker_than_its_ground: "faint",
    letters_too_small_to_read: "small",
    numbers_of_an_axis_upon_each_other: "overlapping",
    an_axis_with_a_single_number: "unnumbered",
    a_name_of_an_axis_that_is_too_long: "clipped",
    two_names_of_lines_upon_each_other: "overlapping",
    a_name_of_a_line_beyond_the_axes: "clipped",
    a_faint_number_in_a_plot: "faint",
    a_plot_without_room: "squeezed",
}
"""What is put into a window, and the rule that must find it."""


def found_in(sheet: QWidget) -> list[Fault]:
    QApplication.processEvents()  # for layouts
    sheet.grab()  # axes find out while they are painted how much room they need
    return faults(sheet)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(sheet: QWidget, theme: Theme, plant: Callable) -> None:
    plant(sheet, theme)
    assert PLANTED[plant] in {one.kind for one in found_in(sheet)}


def test_a_sound_window_has_no_faults(sheet: QWidget, theme: Theme) -> None:
    plot_of(sheet, theme, 10, 10, 480, 200)
    put(
        sheet,
        table_of("a run with a long name", "run", tip="a run with a long name"),
        10,
        220,
        300,
        80,
    )
    put(sheet, PlainLabel(LONG), 10, 305, 120, 20)
    put(sheet, QPushButton("Run"), 10, 330, 100, 30)
    put(
        sheet,
        QLineEdit("a text that is longer than the field in which it can be moved"),
        120,
        330,
        100,
        26,
    )
    off = put(sheet, QPushButton("Queue"), 320, 230, 100, 30)
    off.setEnabled(False)
    put(sheet, QCheckBox("before adaptation"), 320, 270, 170, 22)
    assert [str(one) for one in found_in(sheet)] == []
