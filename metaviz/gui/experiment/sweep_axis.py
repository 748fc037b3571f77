"""One hyperparameter of a sweep: which, what kind of range, and its values."""

from collections.abc import Mapping

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QLineEdit, QToolButton, QWidget

from metaviz.config.options import OptionError, OptionSpec, Plain
from metaviz.config.sweep import Axis, parse_range
from metaviz.gui.widgets.controls import named, text_label
from metaviz.gui.widgets.editors import ChoiceBox, write_value
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.theme import current_theme, frame_rule, tint

KINDS = {
    "list": "list",
    "lin": "evenly spaced",
    "log": "log spaced",
    "uniform": "random",
    "loguniform": "random, log",
}
_HINTS = {"list": "0.01, 0.03, 0.1"}
_COUNT, _FACTOR = 5, 10.0
_MOST_PLACES = 4
_COMMAS = 2


class SweepAxisRow(QObject):
    """Widgets in one row of a grid. `changed` follows each edit, `removed` a click on ✕."""

    changed = Signal()
    removed = Signal(object)

    def __init__(
        self,
        number: int,
        known: Mapping[str, OptionSpec],
        values: Mapping[str, Plain],
        parent: QWidget,
    ) -> None:
        """Offer the keys that can be varied; `values` are those of the form."""
        super().__init__(parent)
        self._known, self._values = known, values
        self.key = ChoiceBox(parent)
        self.kind = ChoiceBox(parent)
        self.text = QLineEdit(parent)
        self.remove_button = QToolButton(parent)
        self.sentence = text_label(f"sweep_error_{number}")
        self._set_up_widgets(number)
        for key, spec in known.items():
            self.key.addItem(f"{spec.title} ({key})", key)
        for kind, title in KINDS.items():
            self.kind.addItem(title, kind)
        self.key.currentIndexChanged.connect(self._on_key)
        self.kind.currentIndexChanged.connect(self._fill)
        self.text.textChanged.connect(self.changed)
        self.remove_button.clicked.connect(self._on_remove_clicked)

    @property
    def widgets(self) -> tuple[QWidget, ...]:
        """All widgets of the row."""
        return self.key, self.kind, self.text, self.remove_button, self.sentence

    def place(self, grid: QGridLayout, row: int) -> None:
        """Add the widgets to rows `row` and `row + 1` of a grid of four columns."""
        for column, widget in enumerate(self.widgets[:4]):
            grid.addWidget(widget, row, column)
        grid.addWidget(self.sentence, row + 1, 0, 1, 4)

    def choose(self, key: str) -> None:
        """Vary a hyperparameter around its present value."""
        self.key.setCurrentIndex(max(0, self.key.findData(key)))
        self._on_key()

    def axis(self, seed: int) -> Axis:
        """Return the axis of the row. Raises: OptionError with one sentence."""
        key, kind, text = self.key.currentData(), self.kind.currentData(), self.text.text()
        if kind != "list" and text.count(",") != _COMMAS:
            raise OptionError(
                key,
                f"{KINDS[kind].capitalize()}: write smallest, largest and how many, like "
                "0.001, 0.1, 5.",
            )
        return parse_range(key, text if kind == "list" else f"{kind}({text})", seed)

    def show_error(self, sentence: str) -> None:
        """Say what is wrong with the row, or that nothing is."""
        self.sentence.setText(sentence)
        self.sentence.setVisible(bool(sentence))
        theme = current_theme()
        tint(self.sentence, theme.error)
        self.text.setStyleSheet(frame_rule(theme, wrong=bool(sentence)))

    def _set_up_widgets(self, number: int) -> None:
        for widget, name, title, tip in (
            (self.key, "key", "Hyperparameter", "What is varied."),
            (self.kind, "kind", "Kind of range", "How its values are chosen."),
            (self.text, "values", "Values", ""),
            (self.remove_button, "remove", "Remove this row", "Vary this no more."),
        ):
            named(widget, f"sweep_{name}_{number}", title, tip)
        self.key.setMinimumContentsLength(18)
        self.kind.setMinimumContentsLength(10)
        self.remove_button.setText("✕")
        self.remove_button.setAutoRaise(True)
        self.remove_button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.sentence.hide()

    @property
    def _spec(self) -> OptionSpec:
        return self._known[self.key.currentData()]

    @Slot()
    def _on_key(self) -> None:
        numeric = self._spec.kind in {"int", "float"}
        self.kind.setEnabled(numeric)
        kind = ("log" if self._spec.log else "lin") if numeric else "list"
        self.kind.setCurrentIndex(self.kind.findData(kind))
        self._fill()

    @Slot()
    def _on_remove_clicked(self) -> None:
        self.removed.emit(self)

    @Slot()
    def _fill(self) -> None:
        """Propose values around the form's value."""
        kind = self.kind.currentData()
        hint = "values with commas between" if kind == "list" else "smallest, largest, how many"
        self.text.setPlaceholderText(_HINTS.get(kind, "0.001, 0.1, 5"))
        self.text.setToolTip(plain_tip(f"Write {hint}, like {self.text.placeholderText()}."))
        value = self._values.get(self.key.currentData(), self._spec.default)
        self.text.setText(proposed(self._spec, value, kind))
        self.changed.emit()


def proposed(spec: OptionSpec, value: Plain, kind: str) -> str:
    """Return values around one that an option has: a range of it, or all its choices."""
    if spec.kind == "bool":
        return "true, false"
    if spec.kind == "choice":
        return ", ".join(choice for choice in spec.choices if choice not in spec.refused)
    if spec.kind == "text" or isinstance(value, bool | str):
        return str(value or "")
    middle = float(value or spec.minimum or 0) or 1.0
    logarithmic = kind in {"log", "loguniform"} or (kind == "list" and spec.log)
    low, high = (middle / _FACTOR, middle * _FACTOR) if logarithmic else (middle / 2, middle * 2)
    low, high = _inside(spec, low), _inside(spec, high)
    if kind == "list":
        three = dict.fromkeys((_plain(spec, low), _plain(spec, middle), _plain(spec, high)))
        return ", ".join(three)
    count = _COUNT if spec.kind != "int" else min(_COUNT, max(2, round(high - low) + 1))
    return f"{_plain(spec, low)}, {_plain(spec, high)}, {count}"


def _inside(spec: OptionSpec, value: float) -> float:
    if spec.maximum is not None:
        value = min(value, spec.maximum)
    if spec.minimum is not None and not spec.exclusive_minimum:
        value = max(value, spec.minimum)
    return value


def _plain(spec: OptionSpec, value: float) -> str:
    if spec.kind == "int":
        return str(max(1, round(value)) if (spec.minimum or 0) >= 1 else round(value))
    return write_value(float(f"{value:.{_MOST_PLACES}g}"))
