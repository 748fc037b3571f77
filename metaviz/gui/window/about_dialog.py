"""About, diagnostics and the list of keys."""

import platform
import sys
from importlib import metadata

from PySide6.QtCore import QLibraryInfo, QObject, Qt, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QLabel,
    QMainWindow,
    QVBoxLayout,
    QWidget,
)

from metaviz import paths
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.controls import close_buttons, named
from metaviz.gui.widgets.layouts import fill
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.window.shortcut_dialog import ShortcutsDialog, every_key

PACKAGES = (
    "metaviz",
    "torch",
    "torchvision",
    "numpy",
    "pydantic",
    "pyqtgraph",
    "matplotlib",
    "scipy",
)


def diagnostics(device_text: str) -> str:
    """Return versions, device and paths as text for a bug report; versions are not imported."""
    lines = [f"{name} {_version(name)}" for name in PACKAGES]
    lines += [
        f"PySide6 {_version('PySide6-Essentials')}, Qt {QLibraryInfo.version().toString()}",
        f"Python {sys.version.split()[0]}, {platform.platform()}",
        f"Qt platform {QGuiApplication.platformName()}",
        f"device {device_text}",
        f"runs {paths.runs_dir()}",
        f"settings {paths.settings_file()}",
        f"log {paths.log_file()}",
    ]
    return "\n".join(lines)


def about_dialog(device_text: str, parent: QWidget) -> QDialog:
    """Make the dialog with versions and paths."""
    text = (
        f"<h3>MetaViz {_version('metaviz')}</h3>"
        "<p>Explore meta-learning: train, watch and compare few-shot adaptation.</p>"
        "<p>Every number shown is stored with its run; nothing is sent anywhere, and nothing is "
        "downloaded unless you ask.</p>"
        "<p>MIT licence.</p>"
    )
    label = QLabel(text)
    label.setWordWrap(True)
    facts = QLabel(diagnostics(device_text))
    facts.setTextFormat(Qt.TextFormat.PlainText)
    facts.setTextInteractionFlags(
        Qt.TextInteractionFlag.TextSelectableByMouse
        | Qt.TextInteractionFlag.TextSelectableByKeyboard
    )
    named(facts, "facts", "Versions and paths")
    return _dialog("About MetaViz", "about_dialog", [label, facts], parent)


class HelpCommands(QObject):
    """Commands of the help menu."""

    def __init__(self, actions: Actions, notifier: Notifier, window: QMainWindow) -> None:
        """Connect the commands; `device_text` is filled in once the engine is there."""
        super().__init__(window)
        self.device_text = "not known yet"
        self._notifier, self._window = notifier, window
        actions["about"].triggered.connect(self.show_about)
        actions["shortcuts"].triggered.connect(self.show_shortcuts)
        actions["copy_diagnostics"].triggered.connect(self.copy_diagnostics)
        actions["open_log"].triggered.connect(self.open_log)

    @Slot()
    def show_about(self) -> None:
        """Show versions and paths."""
        about_dialog(self.device_text, self._window).open()

    @Slot()
    def show_shortcuts(self) -> None:
        """List every key."""
        ShortcutsDialog(every_key(self._window), self._window).open()

    @Slot()
    def copy_diagnostics(self) -> None:
        """Copy versions and paths."""
        QGuiApplication.clipboard().setText(diagnostics(self.device_text))
        self._notifier.inform("Copied the diagnostics")

    @Slot()
    def open_log(self) -> None:
        """Show the folder of the log file."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(paths.log_file().parent)))


def _dialog(title: str, name: str, parts: list[QWidget], parent: QWidget) -> QDialog:
    dialog = QDialog(parent)
    dialog.setObjectName(name)
    dialog.setWindowTitle(title)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    fill(QVBoxLayout(dialog), *parts, close_buttons(dialog, f"{name}_close", f"Close “{title}”"))
    return dialog


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
