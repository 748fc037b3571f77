"""Controls with object name, name for screen readers and tip: buttons, choices, lines, menus."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from PySide6.QtCore import QPoint, QSignalBlocker, Qt, SignalInstance, Slot
from PySide6.QtGui import QAction, QMouseEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFrame,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionSlider,
    QToolButton,
    QWidget,
)

from metaviz.gui.widgets.cut_choice import CutChoice
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip

Widget = TypeVar("Widget", bound=QWidget)
Control = QComboBox | QCheckBox | QSlider | QSpinBox | QDoubleSpinBox
"""What a person sets to one of several values."""
_ALONG = Qt.Orientation.Horizontal
Value = bool | int | float | str
HELP = "help"
"""Name of the property that holds where the guide tells of a widget."""


def named(widget: Widget, name: str, title: str = "", tip: str = "") -> Widget:
    """Give a widget its object name, its name for screen readers and its tip."""
    widget.setObjectName(name)
    widget.setAccessibleName(title)
    widget.setToolTip(plain_tip(tip))
    widget.setStatusTip(tip)
    return widget


def explained(widget: Widget, address: str) -> Widget:
    """Say where the guide tells of a widget and of what lies in it."""
    widget.setProperty(HELP, address)
    return widget


def spoken(text: str) -> str:
    """Return a control's text without what only the eye needs."""
    return text.replace("&", "").rstrip("…")


def push_button(name: str, text: str, tip: str = "", title: str = "") -> QPushButton:
    """Return a button that Enter does not press; without a title it is called by its text."""
    button = named(QPushButton(text), name, title or spoken(text), tip)
    button.setAutoDefault(False)
    return button


def tool_button(name: str, text: str, tip: str, title: str = "") -> QToolButton:
    """Return a small button that the keyboard reaches, too."""
    button = named(QToolButton(), name, title or text, tip)
    button.setText(text)
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return button


def command_button(name: str, command: QAction, *, icon: bool = True) -> QToolButton:
    """Return a button for a command of the window."""
    button = QToolButton()
    button.setDefaultAction(command)
    button.setObjectName(name)
    button.setAccessibleName(spoken(command.text()))
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    style = Qt.ToolButtonStyle
    button.setToolButtonStyle(style.ToolButtonTextBesideIcon if icon else style.ToolButtonTextOnly)
    return button


def close_buttons(dialog: QDialog, name: str, title: str) -> QDialogButtonBox:
    """Return a row of buttons that begins with the one that closes a dialog."""
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, dialog)
    buttons.rejected.connect(dialog.reject)
    press_on_enter(buttons, buttons.button(QDialogButtonBox.StandardButton.Close))
    named(buttons.button(QDialogButtonBox.StandardButton.Close), name, title)
    return buttons


def press_on_enter(buttons: QDialogButtonBox, chosen: QPushButton) -> None:
    """Let Enter press one button, whichever of them has the keyboard."""
    for button in buttons.buttons():
        if isinstance(button, QPushButton):
            button.setAutoDefault(False)
    chosen.setDefault(True)


def search_line(name: str, title: str, placeholder: str, tip: str = "") -> QLineEdit:
    """Return a line that a button in it clears."""
    line = named(QLineEdit(), name, title, tip)
    line.setPlaceholderText(placeholder)
    line.setClearButtonEnabled(True)
    return line


def menu_button(button: QToolButton) -> QMenu:
    """Give a button a menu, which a click opens."""
    menu = QMenu(button)
    menu.setToolTipsVisible(True)
    button.setMenu(menu)
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    return menu


def popup_menu(menu: QMenu, place: QPoint) -> None:
    """Open a menu at a place of the screen; it deletes itself once it is closed."""
    menu.setToolTipsVisible(True)
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    menu.popup(place)


def menu_choice(menu: QMenu, text: str, data: object, *, checked: bool) -> QAction:
    """Add something to a menu that can be ticked; `data` says what it stands for."""
    action = menu.addAction(text)
    action.setCheckable(True)
    action.setChecked(checked)
    action.setData(data)
    return action


def toggled_keys(keys: Sequence[str] | None, action: QAction) -> tuple[str, ...] | None:
    """Return the keys to group by after a menu's choice: a whole grouping, or one key more or less.

    The action's data are a key, or all keys of a whole grouping: None for all but the seed.
    """
    chosen = action.data()
    if not isinstance(chosen, str):
        return None if chosen is None else tuple(chosen)
    others = [key for key in keys or () if key not in {chosen, "id"}]
    return (*others, chosen) if action.isChecked() else tuple(others)


def make_bold(label: QLabel, scale: float = 1.0) -> QLabel:
    """Write a label in bold letters, so many times as large."""
    font = label.font()
    font.setBold(True)
    font.setPointSizeF(scale * font.pointSizeF())
    label.setFont(font)
    return label


def text_label(name: str, title: str = "", text: str = "", *, wraps: bool = True) -> QLabel:
    """Return a label for sentences in plain text; without wrapping it may be cut."""
    label = named(PlainLabel(text), name, title)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(wraps)
    if not wraps:
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def combo(
    name: str, title: str, choices: Mapping[Any, str], tip: str = "", letters: int = 0
) -> QComboBox:
    """Return a choice of values (the items' data) with their texts, cut after so many letters."""
    box = named(CutChoice(), name, title, tip or title)
    if letters:
        cut_after(box, letters)
    for value, text in choices.items():
        box.addItem(text, value)
    return box


def cut_after(box: QComboBox, letters: int) -> None:
    """Let a choice be as wide as so many letters, whatever it offers."""
    box.setMinimumContentsLength(letters)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


def choose_silently(box: QComboBox, value: object) -> None:
    """Choose a value without emitting a signal."""
    with QSignalBlocker(box):
        box.setCurrentIndex(box.findData(value))


def offer(box: QComboBox, choices: Mapping[Any, str]) -> None:
    """Offer other values; what was chosen stays chosen where it is still offered. Emits nothing."""
    if [(box.itemData(i), box.itemText(i)) for i in range(box.count())] == list(choices.items()):
        return
    chosen = box.currentData()
    with QSignalBlocker(box):
        box.clear()
        for value, text in choices.items():
            box.addItem(text, value)
        box.setCurrentIndex(max(0, box.findData(chosen)) if choices else -1)


def enable_only(box: QComboBox, values: Collection[object]) -> None:
    """Grey out all other values of a choice."""
    model: Any = box.model()
    for place in range(box.count()):
        model.item(place).setEnabled(box.itemData(place) in values)


def switch(name: str, text: str, tip: str, *, on: bool = False) -> QCheckBox:
    """Return a switch."""
    box = named(QCheckBox(text), name, spoken(text), tip)
    box.setChecked(on)
    return box


def whole_number(
    name: str, title: str, tip: str, limits: tuple[int, int], value: int = 0
) -> QSpinBox:
    """Return a field for a whole number within limits."""
    box = named(QSpinBox(), name, title, tip)
    box.setRange(*limits)
    box.setValue(value)
    return box


class JumpSlider(QSlider):
    """A slider that goes to where it is clicked."""

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go there, and let the handle be dragged on from there."""
        if event.button() == Qt.MouseButton.LeftButton and self.orientation() == _ALONG:
            option = QStyleOptionSlider()
            self.initStyleOption(option)
            control, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
            handle = self.style().subControlRect(control, option, part, self)
            at = round(event.position().x())
            if not handle.contains(event.position().toPoint()):
                room = self.width() - handle.width()
                self.setValue(
                    QStyle.sliderValueFromPosition(
                        self.minimum(), self.maximum(), at - handle.width() // 2, room
                    )
                )
        super().mousePressEvent(event)


class ShareSlider(JumpSlider):
    """A slider from 0 to 0.99; `text` is a label that tells where it stands."""

    def __init__(self, name: str, title: str, tip: str, widths: tuple[int, int]) -> None:
        """Stand at 0, between so many pixels wide."""
        super().__init__(Qt.Orientation.Horizontal)
        named(self, name, title, tip)
        self.setMaximum(99)
        self.setMinimumWidth(widths[0])
        self.setMaximumWidth(widths[1])
        self.text = PlainLabel("0.00")
        self.valueChanged.connect(self._tell)

    @Slot(int)
    def _tell(self, hundredths: int) -> None:
        self.text.setText(f"{hundredths / 100:.2f}")


def read_control(control: Control) -> Value:
    """Return what a control is set to."""
    if isinstance(control, QComboBox):
        data = control.currentData()
        return data if isinstance(data, bool | int | str) else control.currentText()
    return control.isChecked() if isinstance(control, QCheckBox) else control.value()


def show_control(control: Control, value: Value) -> bool:
    """Set a control; return whether it can be set to that."""
    if isinstance(control, QComboBox):
        place = control.findData(value)
        place = place if place >= 0 else control.findText(str(value))
        if place < 0:
            return False
        control.setCurrentIndex(place)
    elif isinstance(control, QCheckBox):
        control.setChecked(bool(value))
    else:
        if isinstance(value, str) or not control.minimum() <= value <= control.maximum():
            return False
        control.setValue(value)  # type: ignore[arg-type]  # a float for a QDoubleSpinBox alone
    return True


def connect_controls(slot: Callable[..., object] | SignalInstance, *controls: Control) -> None:
    """Call a slot when any of these controls changes."""
    for control in controls:
        if isinstance(control, QComboBox):
            control.currentIndexChanged.connect(slot)
        elif isinstance(control, QCheckBox):
            control.toggled.connect(slot)
        else:
            control.valueChanged.connect(slot)


def read_fields(controls: Mapping[str, Control]) -> dict[str, Any]:
    """Return what controls are set to, by the names of the fields that they stand for."""
    return {
        name: control.value() / 100 if isinstance(control, ShareSlider) else read_control(control)
        for name, control in controls.items()
    }


def show_fields(controls: Mapping[str, Control], values: object) -> None:
    """Set controls to the fields of an object."""
    for name, control in controls.items():
        value = getattr(values, name)
        value = round(100 * value) if isinstance(control, ShareSlider) else value
        if not show_control(control, value) and isinstance(control, QComboBox):
            control.setCurrentIndex(0)


def scrolling(name: str, title: str, content: QWidget) -> QScrollArea:
    """Return an area that scrolls its content up and down where it does not fit."""
    scroll = QScrollArea()
    scroll.setObjectName(name)
    scroll.setAccessibleName(title)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidgetResizable(True)
    scroll.setWidget(content)
    return scroll
