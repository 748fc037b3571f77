"""How tables look that are read row by row."""

from collections.abc import Sequence

from PySide6.QtCore import QAbstractItemModel
from PySide6.QtWidgets import QTableView


def set_up_table(
    view: QTableView,
    model: QAbstractItemModel | None = None,
    widths: Sequence[int] = (),
    spacing: int = 6,
) -> None:
    """Show whole rows without a grid; `spacing` is added to the height of a line, in pixels."""
    if model is not None:
        view.setModel(model)
    view.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
    view.setShowGrid(False)
    view.setTabKeyNavigation(False)
    view.setWordWrap(False)
    view.verticalHeader().hide()
    view.verticalHeader().setDefaultSectionSize(view.fontMetrics().height() + spacing)
    view.horizontalHeader().setHighlightSections(False)
    for column, width in enumerate(widths):
        view.setColumnWidth(column, width)
