"""What was recognised in a data set: its name, its splits in numbers, and what to know of it."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QWidget

from metaviz.gui.widgets.controls import make_bold, scrolling, text_label
from metaviz.gui.widgets.layouts import column
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.read_table import ReadTable
from metaviz.gui.widgets.theme import current_theme, tint
from metaviz.runs.model.dataset import DatasetView, SplitCount

_COLUMNS = (
    ("Split", "Part of the data that is kept apart"),
    ("Classes", "Classes of the split"),
    ("Images", "Images of all its classes"),
    ("Per class", "Images of a class, from fewest to most"),
)
_WIDTH = 296


class DatasetSummary(QWidget):
    """The left column of the dialog."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Make the column, empty."""
        super().__init__(parent)
        self.setFixedWidth(_WIDTH)
        self.name = text_label("dataset_name", "Data set")
        make_bold(self.name, 1.4)
        self.layout_text = text_label("dataset_layout", "How the data are kept")
        self.totals = text_label("dataset_totals", "Size")
        self.table = self._make_table()
        heading = make_bold(PlainLabel("What to know"))
        self.remarks = text_label("dataset_remarks", "What to know")
        self.remarks.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.remarks.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        for label in (self.layout_text, self.totals):
            tint(label, current_theme().muted)
        area = scrolling("dataset_remarks_scroll", "What to know", self.remarks)
        facts = column(None, self.name, self.layout_text, self.totals, spacing=4)
        about = column(None, heading, area, stretch=area, spacing=4)
        column(self, facts, self.table, about, stretch=about, spacing=10)

    def show_view(self, view: DatasetView) -> None:
        """Describe a data set."""
        size = "" if view.size is None else f", {view.size[1]} × {view.size[0]} pixels"
        counts = view.splits.values()
        self.name.setText(headed(view.dataset))
        self.layout_text.setText(f"Kept as: {view.layout}")
        images = spaced(sum(count.images for count in counts))
        classes = spaced(sum(count.classes for count in counts))
        self.totals.setText(f"{images} images, {classes} classes{size}")
        self._fill(view.splits)
        self.remarks.setText(
            "\n\n".join(remark[:1].upper() + remark[1:] for remark in view.remarks)
            or "Nothing was left out or guessed."
        )
        tint(self.remarks, current_theme().warning if view.remarks else current_theme().muted)

    def _make_table(self) -> ReadTable:
        table = ReadTable("dataset_splits", "Classes and images of each split", _COLUMNS)
        table.setShowGrid(False)
        table.setAlternatingRowColors(False)
        table.setFrameShape(QFrame.Shape.NoFrame)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = table.horizontalHeader()
        header.setSectionsClickable(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        return table

    def _fill(self, splits: dict[str, SplitCount]) -> None:
        table = self.table
        table.show_rows(
            [
                (split, spaced(count.classes), spaced(count.images), per_class(count))
                for split, count in splits.items()
            ]
        )
        rows = sum(table.rowHeight(row) for row in range(len(splits)))
        table.setFixedHeight(table.horizontalHeader().sizeHint().height() + rows + 2)


def per_class(count: SplitCount) -> str:
    """Return the images of a class: one number, or from fewest to most."""
    if not count.classes:
        return "–"
    if count.fewest == count.most:
        return spaced(count.most)
    return f"{spaced(count.fewest)}–{spaced(count.most)}"


def spaced(number: int) -> str:
    """Write a whole number with narrow spaces between its thousands."""
    return f"{number:,}".replace(",", "\u202f")


def headed(name: str) -> str:
    """Return a name as a heading; one with capitals of its own, like miniImageNet, as it is."""
    return name.capitalize() if name == name.lower() else name
