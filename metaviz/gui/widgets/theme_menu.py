"""View > Theme: system, light or dark, remembered."""

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction, QActionGroup, QGuiApplication
from PySide6.QtWidgets import QApplication, QMenu, QWidget

from metaviz.gui.widgets.controls import menu_choice
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import (
    THEME_CHOICES,
    Theme,
    ThemeChoice,
    current_theme,
    themed,
    use_theme,
)

_TITLES = {
    "system": "&As the desktop",
    "light": "&Light",
    "dark": "&Dark",
    "contrast": "&High contrast",
}
_TIPS = {
    "system": "Follow the desktop, also where it asks for high contrast.",
    "contrast": "Black and white with strong edges; dark where the desktop is.",
}


class ThemeMenu(QObject):
    """Switches the application's theme; `switched` carries the new one."""

    switched = Signal(object)

    def __init__(self, preferences: Settings, parent: QWidget) -> None:
        """Show the remembered theme at once."""
        super().__init__(parent)
        self._preferences = preferences
        self.menu = QMenu("&Theme", parent)
        self.menu.setToolTipsVisible(True)
        group = QActionGroup(self)
        self._actions: dict[str, QAction] = {}
        for choice in THEME_CHOICES:
            action = menu_choice(self.menu, _TITLES[choice], choice, checked=False)
            action.setObjectName(f"action_theme_{choice}")
            tip = _TIPS.get(choice, f"Always {choice}.")
            action.setStatusTip(tip)
            action.setToolTip(plain_tip(tip))
            self._actions[choice] = group.addAction(action)
        found = preferences.read("window/theme", "system")
        self.choice: ThemeChoice = found if found in THEME_CHOICES else "system"
        self._actions[self.choice].setChecked(True)
        self._apply()
        group.triggered.connect(self._on_triggered)
        hints = QGuiApplication.styleHints()
        hints.colorSchemeChanged.connect(self._on_system)
        hints.accessibility().contrastPreferenceChanged.connect(self._on_system)

    def choose(self, choice: ThemeChoice) -> None:
        """Switch to a theme, as if it was chosen in the menu."""
        if choice != self.choice:
            self._actions[choice].trigger()

    def _on_triggered(self, action: QAction) -> None:
        self.choice = action.data()
        self._preferences.write("window/theme", self.choice)
        self._apply()

    def _on_system(self) -> None:
        if self.choice in {"system", "contrast"}:
            self._apply()

    def _apply(self) -> None:
        application = QApplication.instance()
        theme: Theme = themed(self.choice)
        if isinstance(application, QApplication):
            use_theme(application, theme)
        self.switched.emit(current_theme())
