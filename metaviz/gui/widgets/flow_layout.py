"""A row that goes on in a second one where the window is too narrow for it."""

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

_LEAST_STRETCHED = 100


class FlowLayout(QLayout):
    """Places widgets from left to right, and below where there is no more room.

    A widget that is `stretched` takes what room its row leaves.
    """

    def __init__(self, parent: QWidget | None = None, *, spacing: int = 8) -> None:
        """Hold nothing yet."""
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self.stretched: QWidget | None = None
        self.setSpacing(spacing)
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:  # noqa: N802 - a name of Qt's
        """Take an item at the end."""
        self._items.append(item)

    def count(self) -> int:
        """Return the number of items."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:  # noqa: N802 - a name of Qt's
        """Return an item, None beyond the last one."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:  # noqa: N802 - a name of Qt's
        """Remove an item and return it."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:  # noqa: N802 - a name of Qt's
        """Take no more room than is needed."""
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - a name of Qt's
        """Tell that a narrower layout is higher."""
        return True

    def heightForWidth(self, width: int) -> int:  # noqa: N802 - a name of Qt's
        """Return the height of as many rows as a width needs."""
        return self._place(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:  # noqa: N802 - a name of Qt's
        """Place all items."""
        super().setGeometry(rect)
        self._place(rect, move=True)

    def sizeHint(self) -> QSize:
        """Return the size in one row."""
        sizes = [self._size(item) for item in self._shown()]
        gaps = self.spacing() * max(len(sizes) - 1, 0)
        high = max((one.height() for one in sizes), default=0)
        return QSize(sum(one.width() for one in sizes) + gaps, high)

    def minimumSize(self) -> QSize:  # noqa: N802 - a name of Qt's
        """Return the size of the largest item."""
        size = QSize()
        for item in self._shown():
            size = size.expandedTo(item.minimumSize())
        return size

    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not item.isEmpty()]

    def _grows(self, item: QLayoutItem) -> bool:
        return self.stretched is not None and item.widget() is self.stretched

    def _size(self, item: QLayoutItem) -> QSize:
        """Return what an item asks for; what is stretched can do with little."""
        size = item.sizeHint()
        if self._grows(item):
            size.setWidth(max(_LEAST_STRETCHED, item.minimumSize().width()))
        return size.expandedTo(item.minimumSize())

    def _rows(self, width: int) -> list[list[QLayoutItem]]:
        rows: list[list[QLayoutItem]] = [[]]
        x = 0
        for item in self._shown():
            wide = self._size(item).width()
            if rows[-1] and x + wide > width:
                rows.append([])
                x = 0
            rows[-1].append(item)
            x += wide + self.spacing()
        return rows

    def _fitted(self, row: list[QLayoutItem], width: int) -> list[QSize]:
        """Return the sizes of a row's items, none wider than the layout."""
        sizes = [self._size(item) for item in row]
        left = width + self.spacing() - sum(size.width() + self.spacing() for size in sizes)
        for item, size in zip(row, sizes, strict=True):
            if self._grows(item):
                size.setWidth(size.width() + max(0, left))
            size.setWidth(min(size.width(), width, item.maximumSize().width()))
            if item.hasHeightForWidth():
                size.setHeight(item.heightForWidth(size.width()))
        return sizes

    def _place(self, rect: QRect, *, move: bool) -> int:
        """Place items in rows, those of a row with their middles at one height."""
        y = rect.y()
        for row in self._rows(rect.width()):
            sizes = self._fitted(row, rect.width())
            high = max((size.height() for size in sizes), default=0)
            x = rect.x()
            for item, size in zip(row, sizes, strict=True):
                if move:
                    item.setGeometry(QRect(QPoint(x, y + (high - size.height()) // 2), size))
                x += size.width() + self.spacing()
            y += high + 2
        return y - rect.y() - 2
