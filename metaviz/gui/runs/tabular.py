"""Rows of the runs table as text for spreadsheets."""

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QGuiApplication

from metaviz.gui.runs.run_tree_model import Arrangement
from metaviz.runs.export.tables import safe_text


def tab_separated(arrangement: Arrangement, rows: Sequence[QModelIndex]) -> None:
    """Copy rows with their headings to the clipboard, disarmed where text looks like a formula."""
    horizontal = Qt.Orientation.Horizontal
    places = range(arrangement.columnCount())
    lines = [[str(arrangement.headerData(place, horizontal)) for place in places]]
    lines += [[str(row.siblingAtColumn(place).data() or "") for place in places] for row in rows]
    text = "\n".join("\t".join(_cell(cell) for cell in line) for line in lines)
    QGuiApplication.clipboard().setText(text)


def _cell(text: str) -> str:
    return safe_text(text.replace("\t", " ").replace("\n", " "))
