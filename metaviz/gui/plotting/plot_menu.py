"""What the right mouse button offers on every plot: its picture, its numbers, its axes."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QDialog, QMenu, QVBoxLayout, QWidget

from metaviz.charts.tidy import TidyRow, tidy_rows
from metaviz.charts.values import Chart
from metaviz.gui.widgets.controls import close_buttons, popup_menu, text_label
from metaviz.gui.widgets.layouts import fill
from metaviz.gui.widgets.read_table import ReadTable

_COLUMNS = (
    ("item", "Line, band or part of the plot"),
    ("label", "Its name in the legend"),
    ("x", "Place on the horizontal axis"),
    ("y", "Place on the vertical axis"),
    ("value", "What colours show"),
    ("low", "Lower end of its interval"),
    ("high", "Upper end of its interval"),
)
_WORDS = {0, 1}
_MOST_ROWS = 20_000
_SIZE = 640, 420


def open_menu(view: QWidget, chart: Chart, reset_axes: Callable[[], object], place: QPoint) -> None:
    """Offer at a place of the screen what can be done with a chart that a widget shows."""
    menu = QMenu(view)
    menu.setObjectName("plot_menu")
    empty = bool(chart.message)
    _add(menu, "Copy &picture", lambda: _copy_picture(view))
    export = view.window().findChild(QAction, "action_export")
    if export is not None:
        made = _add(menu, "&Export this plot…", export.trigger)
        made.setEnabled(export.isEnabled())
    for text, slot in (
        ("Copy &data", lambda: _copy_data(chart)),
        ("Show as &table…", lambda: _table(view, chart).open()),
    ):
        _add(menu, text, slot).setEnabled(not empty)
    menu.addSeparator()
    _add(menu, "&Reset axes", reset_axes)
    popup_menu(menu, place)


def cells(chart: Chart) -> list[list[str]]:
    """Return the numbers of a chart in full precision, one row each; empty where there is none."""
    return [_cells(row) for row in tidy_rows(chart)]


def _add(menu: QMenu, text: str, slot: Callable[[], object]) -> QAction:
    action = menu.addAction(text)
    action.triggered.connect(lambda _checked: slot())
    return action


def _copy_picture(view: QWidget) -> None:
    QGuiApplication.clipboard().setPixmap(view.grab())


def _copy_data(chart: Chart) -> None:
    head = [title for title, _ in _COLUMNS]
    rows: Sequence[Sequence[str]] = [head, *cells(chart)]
    QGuiApplication.clipboard().setText("\n".join("\t".join(map(_plain, row)) for row in rows))


def _table(view: QWidget, chart: Chart) -> QDialog:
    dialog = QDialog(view.window())
    dialog.setObjectName("plot_table")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    title = chart.title or view.accessibleName()
    dialog.setWindowTitle(f"{title}: numbers")
    rows = cells(chart)
    filled = [at for at in range(len(_COLUMNS)) if any(row[at] for row in rows)]
    columns = [_COLUMNS[at] for at in filled]
    words = [place for place, at in enumerate(filled) if at in _WORDS]
    table = ReadTable("plot_numbers", f"Numbers of {title}", columns, words=words)
    table.show_rows([[row[at] for at in filled] for row in rows[:_MOST_ROWS]])
    axes = f"x: {chart.x.text or 'none'}; y: {chart.y.text or 'none'}."
    more = f" The first {_MOST_ROWS} of {len(rows)} rows." if len(rows) > _MOST_ROWS else ""
    told = text_label("plot_table_text", "What the columns hold", axes + more)
    fill(QVBoxLayout(dialog), table, told, close_buttons(dialog, "plot_table_close", "Close"))
    dialog.resize(*_SIZE)
    return dialog


def _cells(row: TidyRow) -> list[str]:
    numbers = (row.x, row.y, row.value, row.low, row.high)
    item = " ".join(filter(None, (row.part, row.item)))
    place = "" if row.place is None else f" ({row.place})"
    return [item + place, row.label, *("" if n is None else repr(n) for n in numbers)]


def _plain(text: str) -> str:
    """Keep a cell within its place of a table that is pasted."""
    return text.replace("\t", " ").replace("\n", " ")
