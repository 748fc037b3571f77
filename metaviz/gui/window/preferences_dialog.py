"""The Preferences dialog: every preference explains itself and applies at once."""

from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QTabWidget, QVBoxLayout, QWidget

from metaviz import paths
from metaviz.config.options import OptionSpec, Plain, checked, specs
from metaviz.gui.widgets.controls import (
    close_buttons,
    explained,
    named,
    push_button,
    scrolling,
    text_label,
)
from metaviz.gui.widgets.key_bindings import KeyBindings
from metaviz.gui.widgets.key_editor import KeyEditor
from metaviz.gui.widgets.layouts import column, fill
from metaviz.gui.widgets.option_form import OptionForm
from metaviz.gui.widgets.preferences import KEYS, Preferences, read_preferences
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import current_theme, tint

_AT_ONCE = ("welcome", "notify", "confirm_close", "autosave", "log_level")


class PreferencesDialog(QDialog):
    """A form of all preferences. `changed` carries those that are right, by name."""

    changed = Signal(object)

    def __init__(
        self, options: tuple[OptionSpec, ...], now: Preferences, keys: KeyBindings, parent: QWidget
    ) -> None:
        """Show preferences, and on a page of their own the keys of commands."""
        super().__init__(parent)
        named(self, "preferences_dialog", "Preferences")
        explained(self, "/page/preferences")
        self.setWindowTitle("Preferences")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.form = OptionForm(options, "preferences.", parent=self)
        self.form.set_changes(now.model_dump())
        self.form.changed.connect(self._on_changed)
        self.form.focused.connect(self._explain)
        folder = text_label(
            "preferences_folder",
            "Folder of runs",
            f"Runs are kept in {paths.runs_dir()}. "
            "Set the environment variable METAVIZ_HOME before starting to keep them elsewhere.",
        )
        folder.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.help = text_label("preferences_help", text="Changes apply at once.")
        self.help.setMinimumHeight(3 * self.fontMetrics().lineSpacing())
        self.help.setAlignment(Qt.AlignmentFlag.AlignTop)
        content = QWidget(self)
        fill(QVBoxLayout(content), self.form, None, folder)
        buttons = close_buttons(self, "preferences_close", "Close the preferences")
        defaults = push_button(
            "preferences_defaults",
            "&Reset to defaults",
            "Put every preference back to its default.",
            "Reset all preferences to their defaults",
        )
        buttons.addButton(defaults, QDialogButtonBox.ButtonRole.ResetRole)
        defaults.clicked.connect(self._reset)
        buttons.button(QDialogButtonBox.StandardButton.Close).setDefault(True)
        area = scrolling("preferences_scroll", "Preferences", content)
        general = column(None, area, self.help, stretch=area)
        self.keys = KeyEditor(keys)
        self.pages = named(QTabWidget(), "preferences_pages", "Preferences")
        self.pages.setDocumentMode(True)
        self.pages.addTab(general, "&General")
        self.pages.addTab(self.keys, "&Keys")
        self.pages.currentChanged.connect(lambda at: defaults.setVisible(at == 0))
        fill(QVBoxLayout(self), self.pages, buttons, stretch=self.pages)
        self.resize(520, 500)
        self.restyle()

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        tint(self.help, current_theme().muted)
        self.form.restyle()

    @Slot()
    def _on_changed(self) -> None:
        right = {name: f.value for name, f in self.form.fields.items() if not f.error}
        self.changed.emit(right)

    @Slot(object)
    def _explain(self, spec: OptionSpec) -> None:
        self.help.setText(spec.description)

    @Slot()
    def _reset(self) -> None:
        self.form.set_changes({})


class PreferencesController(QObject):
    """Opens the dialog, keeps the preferences and has the window follow them."""

    def __init__(
        self,
        apply: Mapping[str, Callable[[Any], object]],
        action: QAction,
        settings: Settings,
        keys: KeyBindings,
        window: QWidget,
    ) -> None:
        """Take what follows each preference, by name; most follow at once what is kept."""
        super().__init__(window)
        self._apply, self._settings, self._window = apply, settings, window
        self._keys = keys
        self.dialog: PreferencesDialog | None = None
        self.most_workers = 1
        self.now = read_preferences(settings)
        action.triggered.connect(self.open)
        for name in _AT_ONCE:
            self.apply(name)

    def apply(self, name: str) -> None:
        """Apply a preference to the window."""
        self._apply[name](getattr(self.now, name))

    @Slot()
    def open(self) -> None:
        """Open the dialog."""
        if self.dialog is not None:
            self.dialog.raise_()
            return
        self.now = read_preferences(self._settings)
        options = tuple(
            spec.model_copy(update={"maximum": self.most_workers})
            if spec.name == "workers"
            else spec
            for spec in specs(Preferences)
        )
        dialog = PreferencesDialog(options, self.now, self._keys, self._window)
        dialog.changed.connect(self._on_changed)
        dialog.finished.connect(self._on_closed)
        self.dialog = dialog
        dialog.open()

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        if self.dialog is not None:
            self.dialog.restyle()

    @Slot(object)
    def _on_changed(self, values: Mapping[str, Plain]) -> None:
        before = self.now.model_dump()
        self.now = checked(Preferences, {**before, **values})
        for name, value in self.now.model_dump().items():
            if value != before[name]:
                self._settings.write(KEYS[name], value)
                self.apply(name)
        self._settings.save()

    @Slot()
    def _on_closed(self) -> None:
        self.dialog = None
