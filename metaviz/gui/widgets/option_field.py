"""One option of the form: its title, editor, reset arrow and the sentence where it is wrong."""

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFont, QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFrame,
    QGridLayout,
    QLineEdit,
    QToolButton,
    QWidget,
)

from metaviz.config.options import OptionSpec, Plain
from metaviz.gui.widgets.controls import explained
from metaviz.gui.widgets.editors import (
    ChoiceBox,
    NumberEdit,
    PathEdit,
    automatic_text,
    read_number,
    write_value,
)
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip
from metaviz.gui.widgets.theme import current_theme, frame_rule, tint

PATHS = frozenset({"path", "file"})
_BOXES = ("false", "true")
_Kind = QEvent.Type
_MOVES = frozenset({_Kind.FocusIn, _Kind.FocusOut, _Kind.Move, _Kind.Resize, _Kind.Show})
Check = Callable[[str], object]


class OptionField(QObject):
    """Places one option into a row of a grid and keeps its value.

    `changed` is emitted when the value or its validity changed; `focused` when a person came to
    the editor, so that the help strip can explain it.
    """

    changed = Signal()
    focused = Signal(object)
    sweep_requested = Signal(str)

    def __init__(
        self, spec: OptionSpec, key: str, parent: QWidget, check: Check | None = None
    ) -> None:
        """Make the editor; `check` raises ValueError with a sentence for text that is wrong."""
        super().__init__(parent)
        self.spec, self.key = spec, key
        self.error = ""
        self.note = ""
        """A remark on the value, shown below it where nothing is wrong."""
        self.value: Plain = spec.default
        self._baseline: Plain = spec.default
        self._check = check
        self._visible = True
        self._label = PlainLabel(_title(spec), parent)
        self._reset = QToolButton(parent)
        self._sentence = PlainLabel(parent=parent)
        self._editor = self._make_editor(parent)
        self._set_up_widgets()
        self._show(spec.default)
        self._mark()

    @property
    def editor(self) -> QWidget:
        """The widget that takes the keys."""
        return self._line() or self._editor

    @property
    def is_changed(self) -> bool:
        """Whether the value differs from its default, or is wrong."""
        return bool(self.error) or self.value != self._baseline

    @property
    def raw(self) -> str:
        """What the editor shows, also where it is wrong."""
        line = self._line()
        if line is not None:
            return line.text()
        if isinstance(self._editor, ChoiceBox):
            return str(self._editor.currentData() or "")
        return _BOXES[isinstance(self._editor, QCheckBox) and self._editor.isChecked()]

    @property
    def is_raw_changed(self) -> bool:
        """Whether the editor shows something else than the default."""
        default = self._baseline
        shown = _BOXES[default] if isinstance(default, bool) else write_value(default)
        return self.is_changed and self.raw != shown

    def place(self, grid: QGridLayout, row: int) -> None:
        """Add the widgets to a row of a grid of three columns.

        What is wrong stands over the row below while the field has the keyboard: no field moves.
        """
        grid.addWidget(self._label, row, 0)
        grid.addWidget(self._reset, row, 1)
        grid.addWidget(self._editor, row, 2)

    def set_visible(self, *, visible: bool) -> None:
        """Show or hide the whole row."""
        self._visible = visible
        self._label.setVisible(visible)
        self._editor.setVisible(visible)
        self._keep_width(keep=visible)
        self._mark()

    def set_baseline(self, value: Plain) -> None:
        """Change the default; a value that was not changed follows it."""
        follows = not self.is_changed
        self._baseline = value
        if follows:
            self.set_value(value)
        else:
            self._mark()

    def set_value(self, value: Plain) -> None:
        """Show and keep a value, and check it."""
        self._show(value)
        self._read()

    def set_raw(self, text: str) -> None:
        """Show what `raw` gave, and check it."""
        if self._line() is None and self.spec.kind == "bool":
            self._show(text == _BOXES[True])
        else:
            self._show(text)
        self._read()

    def set_automatic(self, text: str) -> None:
        """Say what leaving the field empty means."""
        line = self._line()
        if line is not None:
            line.setPlaceholderText(text)

    def set_note(self, sentence: str) -> None:
        """Show a remark below the field, or none."""
        if sentence != self.note:
            self.note = sentence
            self._mark()

    def set_error(self, sentence: str) -> None:
        """Mark the field as wrong until it is edited."""
        self.error = sentence
        self._mark()

    def reset(self) -> None:
        """Go back to the default."""
        self.set_value(self._baseline)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Emit `focused` when a person enters the editor, by keys or by the mouse."""
        if event.type() == QEvent.Type.FocusIn:
            self.focused.emit(self.spec)
        if event.type() in _MOVES:
            # The editor itself knows only afterwards that it has the keyboard, or is elsewhere.
            QTimer.singleShot(0, self, self._show_sentence)
        if event.type() == QEvent.Type.ShortcutOverride and self._is_undone_by_window(event):
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        self._mark()

    def _is_undone_by_window(self, event: QEvent) -> bool:
        """Leave Ctrl+Z to the window, which takes back whole edits; dialogs have no such thing."""
        keys = QKeySequence.StandardKey
        return (
            isinstance(event, QKeyEvent)
            and not isinstance(self.editor.window(), QDialog)
            and (event.matches(keys.Undo) or event.matches(keys.Redo))
        )

    def _make_editor(self, parent: QWidget) -> QWidget:
        spec = self.spec
        if spec.kind == "bool":
            box = QCheckBox(parent)
            box.toggled.connect(self._read)
            return box
        if spec.kind == "choice":
            combo = ChoiceBox(parent)
            if spec.optional:
                combo.addItem(automatic_text(spec), "")
            for choice in spec.choices:
                combo.addItem(spec.labels.get(choice, choice), choice)
                if choice in spec.refused:
                    combo.refuse(combo.count() - 1, spec.refused[choice])
            combo.currentIndexChanged.connect(self._read)
            return combo
        if spec.kind == "text" and spec.name in PATHS:
            path = PathEdit(spec, parent)
            path.changed.connect(self._read)
            return path
        line = QLineEdit(parent) if spec.kind == "text" else NumberEdit(spec, parent)
        line.textChanged.connect(self._read)
        if isinstance(line, NumberEdit):
            line.sweep_requested.connect(self._on_sweep_requested)
        return line

    def _set_up_widgets(self) -> None:
        spec, editor = self.spec, self.editor
        name = self.key.replace(".", "_")
        editor.setObjectName(f"field_{name}")
        editor.setAccessibleName(spec.title)
        explained(editor, f"/option/{self.key}")
        editor.setAccessibleDescription(help_text(spec))
        editor.installEventFilter(self)
        tip = f"<p>{_escaped(help_text(spec))}</p>"
        for widget in (self._label, self._editor):
            widget.setToolTip(plain_tip(tip))
        self._editor.setMinimumWidth(96)
        self._label.setObjectName(f"title_{name}")
        self._label.setWordWrap(True)
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        self._label.setBuddy(editor)
        self._sentence.setWordWrap(True)
        self._sentence.setTextFormat(Qt.TextFormat.PlainText)
        self._sentence.setObjectName(f"error_{name}")
        self._sentence.setAutoFillBackground(True)
        self._sentence.setMargin(4)
        self._sentence.setFrameShape(QFrame.Shape.StyledPanel)
        # A click goes to the field below it.
        self._sentence.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._sentence.hide()
        self._reset.setText("↺")
        self._reset.setAutoRaise(True)
        # Tab goes from field to field; by keys a command resets the field that has them.
        self._reset.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._reset.setObjectName(f"reset_{name}")
        self._reset.setAccessibleName(f"Reset {spec.title}")
        self._reset.clicked.connect(self.reset)
        self._keep_width(keep=True)
        line = self._line()
        if line is not None:
            # The frame of a wrong value is thicker, and would push the fields below.
            line.setFixedHeight(line.sizeHint().height())
        self.set_automatic(automatic_text(spec))

    def _keep_width(self, *, keep: bool) -> None:
        """Keep the hidden arrow's width, so that editors do not move when it appears."""
        policy = self._reset.sizePolicy()
        policy.setRetainSizeWhenHidden(keep)
        self._reset.setSizePolicy(policy)

    def _line(self) -> QLineEdit | None:
        if isinstance(self._editor, PathEdit):
            return self._editor.line
        return self._editor if isinstance(self._editor, QLineEdit) else None

    def _show(self, value: Plain) -> None:
        line = self._line()
        if line is not None:
            line.setText(write_value(value))
            line.setCursorPosition(0)
        elif isinstance(self._editor, QCheckBox):
            self._editor.setChecked(bool(value))
        elif isinstance(self._editor, ChoiceBox):
            self._editor.setCurrentIndex(self._editor.findData("" if value is None else value))

    def _on_sweep_requested(self) -> None:
        self.sweep_requested.emit(self.key)

    def _read(self) -> None:
        try:
            self.value, self.error = self._current(), ""
        except ValueError as error:
            self.error = str(error)
        self._mark()
        self.changed.emit()

    def _current(self) -> Plain:
        line = self._line()
        if line is None:
            if isinstance(self._editor, ChoiceBox):
                chosen = self._editor.currentData()
                if chosen is None:
                    raise ValueError(f"{self.spec.title}: use {self.spec.range_text}.")
                return str(chosen) or None
            return isinstance(self._editor, QCheckBox) and self._editor.isChecked()
        if self.spec.kind == "text":
            text = line.text().strip()
            if self._check is not None:
                self._check(text)
            return text if text or not self.spec.optional else None
        return read_number(self.spec, line.text())

    @Slot()
    def _show_sentence(self) -> None:
        """Put what is wrong below the editor, while that has the keyboard."""
        line, rows = self._sentence, self._label.parentWidget()
        shown = bool(self.error) and self._visible and self.editor.hasFocus()
        if shown and rows is not None:
            line.setGeometry(0, 0, rows.width(), 0)
            line.resize(rows.width(), line.heightForWidth(rows.width()))
            below = self._editor.geometry().bottom() + 2
            above = self._editor.geometry().top() - line.height() - 2
            line.move(0, below if below + line.height() <= rows.height() or above < 0 else above)
            line.raise_()
        line.setVisible(shown)

    def _mark(self) -> None:
        theme = current_theme()
        wrong, changed = bool(self.error), self.is_changed
        title = f"{_title(self.spec)} ●" if changed else _title(self.spec)
        self._label.setText("\n".join(filter(None, (title, self.note))))
        font = QFont(self._label.font())
        font.setBold(changed)
        self._label.setFont(font)
        self._reset.setVisible(changed and self._visible)
        default = write_value(self._baseline) or automatic_text(self.spec) or "empty"
        self._reset.setToolTip(plain_tip(f"Back to the default, {default}"))
        self._sentence.setText(self.error)
        tint(self._sentence, theme.error)
        self._show_sentence()
        tip = self.error or " ".join(filter(None, (help_text(self.spec), self.note)))
        self.editor.setToolTip(plain_tip(tip))
        self.editor.setAccessibleDescription(tip)
        line = self._line()
        if line is not None:
            line.setStyleSheet(frame_rule(theme, wrong=wrong))


def help_text(spec: OptionSpec) -> str:
    """Explain an option in one paragraph: what it is, which values are right, its default."""
    parts = [spec.description]
    if spec.kind not in {"bool", "text"}:
        parts.append(f"Use {spec.range_text}{f' ({spec.unit})' if spec.unit else ''}.")
    return " ".join(part for part in parts if part)


def _title(spec: OptionSpec) -> str:
    return f"{spec.title} ({spec.unit})" if spec.unit else spec.title


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)
