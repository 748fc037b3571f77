"""The dialog that shows what a folder or an archive of images holds, before it is trained on."""

import re
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QMimeData, Qt, Signal, Slot
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFrame,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.dataset.episode_view import EpisodeView
from metaviz.gui.dataset.summary_view import DatasetSummary
from metaviz.gui.widgets.controls import (
    explained,
    named,
    press_on_enter,
    push_button,
    spoken,
    text_label,
)
from metaviz.gui.widgets.layouts import column, fill, row
from metaviz.gui.widgets.theme import current_theme, tint
from metaviz.runs.model.dataset import DatasetView

_SIZE = (980, 600)


@dataclass(frozen=True)
class DatasetSource:
    """What the dialog shows: a problem, and the form's settings of its data.

    `help_text` explains which data are right; None for a problem that needs no files. `swapped`
    is None for images without colours.
    """

    title: str
    help_text: str | None
    path: str = ""
    may_be_empty: bool = False
    swapped: bool | None = None


@dataclass(frozen=True)
class DatasetRequest:
    """Data to be read and an episode to be drawn from them."""

    path: str
    split: str
    number: int


class DatasetDialog(QDialog):
    """Asks for views of a data set and shows them; it reads nothing itself.

    `requested` carries a DatasetRequest, `chosen` the path and whether to swap red and blue.
    """

    requested = Signal(object)
    cancelled = Signal()
    chosen = Signal(str, object)

    def __init__(self, subject: DatasetSource, parent: QWidget | None = None) -> None:
        """Make the dialog; `begin` has the form's data read."""
        super().__init__(parent)
        self.setObjectName("dataset_dialog")
        explained(self, "/page/data")
        self.setWindowTitle(f"Data of {subject.title}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(*_SIZE)
        self.setAcceptDrops(True)
        self.subject = subject
        self._shown: DatasetRequest | None = None
        self._asked: DatasetRequest | None = None
        self.path = named(QLineEdit(subject.path), "dataset_path", "Folder or archive of images")
        self.read = push_button("dataset_read", "&Read", "Read the data at this path.")
        self.read.setAccessibleName("Read the data")
        self.facts = DatasetSummary(self)
        self.episode = EpisodeView(subject.swapped, self)
        self.pages = QStackedWidget(self)
        self.message = text_label("dataset_message", "Message")
        self.line = text_label("dataset_progress_text", "Progress")
        self.bar = named(QProgressBar(self), "dataset_progress", "Progress of reading")
        self.cancel = push_button("dataset_cancel", "&Cancel", title="Cancel reading")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        self.use = self.buttons.addButton("&Use these data", QDialogButtonBox.ButtonRole.AcceptRole)
        press_on_enter(self.buttons, self.use)
        self._assemble()
        self._connect()
        self._show_hint()

    @property
    def is_waiting(self) -> bool:
        """Whether a request has not been answered yet."""
        return self._asked is not None

    def begin(self) -> None:
        """Read what the form names, where it names something."""
        if self.subject.help_text is None:
            self.episode.another.setFocus()
        if self._may_read():
            self.start_reading()

    @Slot()
    def start_reading(self) -> None:
        """Ask for the data at the path."""
        self._shown = self._asked = None
        if not self._may_read():
            self.cancelled.emit()
            self._show_hint()
            return
        self.bar.setRange(0, 0)
        self.line.setText("Finding out what is there")
        self.pages.setCurrentWidget(self._reading)
        self._update()
        self._ask(DatasetRequest(self.path.text().strip(), "train", 0))

    @Slot(str)
    def show_progress(self, line: str) -> None:
        """Show how far reading is, from a line like `Decoded 1200 of 60000 images`."""
        found = re.search(r"(\d+) of (\d+)", line)
        if found:
            self.bar.setRange(0, max(1, int(found[2])))
            self.bar.setValue(int(found[1]))
        self.line.setText(line)

    def show_view(self, view: DatasetView) -> None:
        """Show what was read."""
        self._shown, self._asked = self._asked, None
        self.facts.show_view(view)
        self.episode.show_view(view, self._shown.number if self._shown is not None else 0)
        self.pages.setCurrentWidget(self._full)
        self._update()

    def show_error(self, sentence: str) -> None:
        """Show why the data cannot be read."""
        self._show_message(sentence, current_theme().error)

    def show_cancelled(self) -> None:
        """Show that reading was broken off."""
        self._show_message(
            "Reading was cancelled, and nothing of it was kept.", current_theme().muted
        )

    def set_path(self, path: str) -> None:
        """Read the data at a path that was chosen rather than typed."""
        self.path.setText(path)
        self.start_reading()

    @Slot(int)
    def turn(self, by: int) -> None:
        """Ask for an episode before or after the one that is shown."""
        request = self._asked or self._shown
        if request is not None and request.number + by >= 0:
            self._ask(DatasetRequest(request.path, request.split, request.number + by))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take a single folder or file, and show where it goes."""
        if self.subject.help_text is not None and _dropped(event.mimeData()):
            event.acceptProposedAction()
            self._empty.setStyleSheet(_drop_rule(current_theme().accent))

    def dragLeaveEvent(self, _event: QDragLeaveEvent) -> None:
        """Look as before."""
        self._empty.setStyleSheet(_drop_rule(current_theme().muted))

    def dropEvent(self, event: QDropEvent) -> None:
        """Read what was dropped; the reader says what is wrong with anything but images."""
        self._empty.setStyleSheet(_drop_rule(current_theme().muted))
        event.acceptProposedAction()
        self.set_path(_dropped(event.mimeData()))

    def _may_read(self) -> bool:
        needs_path = self.subject.help_text is not None and not self.subject.may_be_empty
        return bool(self.path.text().strip()) or not needs_path

    def _ask(self, request: DatasetRequest) -> None:
        self._asked = request
        self.requested.emit(request)

    def _show_message(self, sentence: str, colour: str) -> None:
        self._shown = self._asked = None
        self.message.setText(sentence)
        tint(self.message, colour)
        self.pages.setCurrentWidget(self._empty)
        self._update()

    def _show_hint(self) -> None:
        text = (
            f"{self.subject.help_text} Drop it here, or choose it above."
            if self.subject.help_text
            else ""
        )
        self._show_message(text, current_theme().muted)

    @Slot()
    def _accept(self) -> None:
        if self._shown is not None:
            coloured = self.subject.swapped is not None
            self.chosen.emit(self._shown.path, self.episode.swap.isChecked() if coloured else None)
        self.accept()

    @Slot()
    def _browse_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Choose a folder of images", self._here())
        if chosen:
            self.set_path(chosen)

    @Slot()
    def _browse_archive(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Choose an archive of images", self._here(), "Archives (*.zip);;All files (*)"
        )
        if chosen:
            self.set_path(chosen)

    def _here(self) -> str:
        typed = Path(self.path.text().strip() or Path.home())
        return str(typed if typed.is_dir() else typed.parent)

    @Slot(str)
    def _on_split(self, split: str) -> None:
        request = self._asked or self._shown
        if request is not None:
            self._ask(DatasetRequest(request.path, split, 0))

    @Slot()
    def _update(self) -> None:
        """Enable what makes sense now: Enter reads a path that is new, and uses one that is not."""
        read = self._shown is not None and self._shown.path == self.path.text().strip()
        self.use.setEnabled(read)
        (self.use if read else self.read).setDefault(True)

    def _assemble(self) -> None:
        font = self.message.font()
        font.setPointSizeF(1.2 * font.pointSizeF())
        self.message.setFont(font)
        self._empty = _framed(_centred(self.message))
        self._reading = _centred(self.line, self.bar, self.cancel)
        self._full = QWidget(self)
        row(self.facts, self.episode, spacing=14, stretch=self.episode, inside=self._full)
        for page in (self._empty, self._reading, self._full):
            self.pages.addWidget(page)
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        fill(layout, self._path_row(), self.pages, self.buttons, stretch=self.pages)
        self.bar.setTextVisible(False)
        tip = "Set the path in the form, and whether red and blue are swapped."
        named(self.use, "dataset_use", spoken(self.use.text()), tip)
        self.use.setVisible(self.subject.help_text is not None)

    def _path_row(self) -> QWidget:
        self.path.setPlaceholderText("Folder or zip archive of images")
        # The dialog takes what is dropped here, too: a line would type its address.
        self.path.setAcceptDrops(False)
        box = QWidget(self)
        buttons = []
        for name, text, title, slot in (
            ("dataset_folder", "&Folder…", "Browse for a folder", self._browse_folder),
            ("dataset_archive", "&Zip…", "Browse for a zip archive", self._browse_archive),
        ):
            buttons.append(push_button(name, text, f"{title} and read it.", title))
            buttons[-1].clicked.connect(slot)
        row(("&Data", self.path), *buttons, self.read, spacing=6, stretch=self.path, inside=box)
        box.setVisible(self.subject.help_text is not None)
        return box

    def _connect(self) -> None:
        self.read.clicked.connect(self.start_reading)
        self.path.textChanged.connect(self._update)
        self.cancel.clicked.connect(self.cancelled)
        self.episode.split_chosen.connect(self._on_split)
        self.episode.turned.connect(self.turn)
        self.use.clicked.connect(self._accept)
        self.buttons.rejected.connect(self.reject)


def _centred(*parts: QWidget) -> QWidget:
    """Return a page with some parts in its middle, not wider than is good to read."""
    rows = []
    for part in parts:
        rows.append(row(None, part, None))
        rows[-1].setStretchFactor(part, 0 if isinstance(part, QPushButton) else 3)
        if isinstance(part, QLabel):
            part.setAlignment(Qt.AlignmentFlag.AlignCenter)
    return column(None, None, *rows, None)


def _framed(content: QWidget) -> QFrame:
    """Return a frame that looks like a place to drop something on."""
    frame = QFrame()
    frame.setObjectName("dataset_drop")
    frame.setStyleSheet(_drop_rule(current_theme().muted))
    layout = QVBoxLayout(frame)
    layout.addWidget(content)
    return frame


def _drop_rule(colour: str) -> str:
    background = current_theme().background
    return (
        f"#dataset_drop {{ border: 1px dashed {colour}; border-radius: 8px;"
        f" background: {background}; }}"
    )


def _dropped(data: QMimeData) -> str:
    """Return the path of the one folder or file that is dragged, or an empty text."""
    paths = [url.toLocalFile() for url in data.urls()]
    return paths[0] if len(paths) == 1 else ""
