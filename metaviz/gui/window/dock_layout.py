"""Docks and toolbar: where they belong, and where a person left them."""

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, QSize, Qt, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QToolBar, QWidget

from metaviz.gui.session.session import LeftOutError
from metaviz.gui.session.session_file import layout_of, layout_part
from metaviz.gui.widgets.controls import explained
from metaviz.gui.widgets.plain_text import plain_tip

_Area = Qt.DockWidgetArea
LAYOUT_VERSION = 1
_USUAL = QSize(1280, 800)
_FRAME = QSize(16, 48)
"""What a window's frame and title may take of the screen."""
_FORM_WIDTH, _TABLE_HEIGHT, _TABLE_SHARE = 312, 230, 0.26


class DockLayout(QObject):
    """Arranges the window's docks. `moved` follows each change of a dock, also if it is hidden."""

    moved = Signal()

    def __init__(
        self,
        window: QMainWindow,
        bar: QToolBar,
        rail: QToolBar,
        form: QWidget,
        table: QWidget,
        queue: QWidget,
        log: QWidget,
    ) -> None:
        """Put every part into a dock, and arrange them."""
        super().__init__(window)
        self._window, self._bar, self._rail = window, bar, rail
        window.setDockNestingEnabled(True)
        window.setCorner(Qt.Corner.BottomLeftCorner, _Area.LeftDockWidgetArea)
        window.setTabPosition(_Area.LeftDockWidgetArea, QTabWidget.TabPosition.North)
        window.addToolBar(bar)
        window.addToolBar(Qt.ToolBarArea.LeftToolBarArea, rail)
        self.form = self._dock("Experiment", form)
        self.table = self._dock("Runs", table)
        self.queue = self._dock("Queue", queue)
        self.log = self._dock("Log", log)
        window.resize(_USUAL.boundedTo(_room(window)))
        self.reset()

    def toggles(self) -> list[QAction]:
        """Return the actions that show and hide docks and toolbar."""
        parts: tuple[QDockWidget | QToolBar, ...] = (
            self.form,
            self.table,
            self.queue,
            self.log,
            self._bar,
        )
        actions = []
        for part in parts:
            action = part.toggleViewAction()
            title = part.windowTitle()
            # "Runs" has the letter that would be the run bar's.
            action.setText("Run b&ar" if part is self._bar else f"&{title}")
            action.setStatusTip(f"Show or hide “{part.windowTitle()}”.")
            action.setToolTip(plain_tip(action.statusTip()))
            actions.append(action)
        return actions

    def state(self) -> dict[str, str]:
        """Return where everything is, as text."""
        geometry, state = self._window.saveGeometry(), self._window.saveState(LAYOUT_VERSION)
        return layout_part(bytes(geometry.data()), bytes(state.data()))

    def restore(self, part: Mapping[str, Any]) -> None:
        """Put everything where it was. Raises: LeftOutError where the state was changed since."""
        layout = layout_of(part)
        if layout is None:
            raise LeftOutError(
                "The window's layout was left out: it is damaged, or of an earlier version."
            )
        self._window.restoreGeometry(layout[0])
        self._window.resize(self._window.size().boundedTo(_room(self._window)))
        self._window.restoreState(layout[1], LAYOUT_VERSION)
        self._show_rail()  # which an earlier version did not have

    def show_table(self) -> None:
        """Bring the runs to the front."""
        self.table.show()
        self.table.raise_()

    @Slot()
    def reset(self) -> None:
        """Put everything where it belongs: all docks in one stack, the rest is for plots."""
        self._arrange(_Area.LeftDockWidgetArea)
        self._window.tabifyDockWidget(self.form, self.table)
        self._stack()
        self.form.raise_()
        self._window.addToolBar(self._bar)
        self._bar.show()
        self._show_rail()
        self._window.resizeDocks([self.form], [_FORM_WIDTH], Qt.Orientation.Horizontal)

    @Slot()
    def put_below(self) -> None:
        """Put runs, queue and log below the plots, where tables are wide."""
        self._arrange(_Area.BottomDockWidgetArea)
        self._stack()
        self.table.raise_()
        height = min(_TABLE_HEIGHT, round(_TABLE_SHARE * self._window.height()))
        self._window.resizeDocks([self.form], [_FORM_WIDTH], Qt.Orientation.Horizontal)
        self._window.resizeDocks([self.table], [height], Qt.Orientation.Vertical)

    def _arrange(self, area: Qt.DockWidgetArea) -> None:
        """Put the form at the left, and the other docks into an area."""
        places = [(self.form, _Area.LeftDockWidgetArea)]
        places += [(dock, area) for dock in (self.table, self.queue, self.log)]
        for dock, where in places:
            dock.setFloating(False)
            self._window.addDockWidget(where, dock)
            dock.show()

    def _stack(self) -> None:
        self._window.tabifyDockWidget(self.table, self.queue)
        self._window.tabifyDockWidget(self.queue, self.log)

    def _show_rail(self) -> None:
        self._window.addToolBar(Qt.ToolBarArea.LeftToolBarArea, self._rail)
        self._rail.show()

    def _dock(self, title: str, content: QWidget) -> QDockWidget:
        dock = QDockWidget(title, self._window)
        dock.setObjectName(f"dock_{title.lower()}")
        dock.setAccessibleName(f"{title} dock")
        explained(dock, f"/page/{title.lower()}")
        dock.setWidget(content)
        for signal in (dock.visibilityChanged, dock.dockLocationChanged, dock.topLevelChanged):
            signal.connect(self.moved)
        return dock


def _room(window: QMainWindow) -> QSize:
    """Return how large a window may be on its screen."""
    return window.screen().availableSize() - _FRAME
