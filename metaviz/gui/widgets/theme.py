"""The themes, made of the same tokens: the only place in the window that names colours.

`docs/developers/design.md` says what each token is for.
"""

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from metaviz import paths
from metaviz.charts.values import ON_PAPER, PALETTE

ThemeChoice = Literal["system", "light", "dark", "contrast"]
THEME_CHOICES: tuple[ThemeChoice, ...] = ("system", "light", "dark", "contrast")
_MIDDLE = 127
UNIT = 8
"""Pixels of the grid that margins and gaps are whole or half multiples of."""
TITLE_SCALE, SMALL_SCALE = 1.5, 0.9
"""Sizes of text beside the desktop's own: titles of pages and dialogs, remarks."""


@dataclass(frozen=True)
class Theme:
    """Colours as hex strings. `background` to `muted` are those of plots, too.

    `edge` surrounds whatever can be filled in. With `contrast` all text is far from its ground.
    """

    name: Literal["light", "dark"]
    background: str
    foreground: str
    grid: str
    muted: str
    accent: str
    error: str
    warning: str
    good: str
    window: str
    raised: str
    on_accent: str
    error_background: str
    warning_background: str
    edge: str
    contrast: bool = False


LIGHT = Theme(
    name="light",
    background="#ffffff",
    foreground="#1d2230",
    grid="#c9ced9",
    muted="#5b6475",
    accent="#2f5fc4",
    error="#b3261e",
    warning="#8a5300",
    good="#1b6e3c",
    window="#f3f4f8",
    raised="#e9ebf1",
    on_accent="#ffffff",
    error_background="#fbe6e4",
    warning_background="#fdf0d9",
    edge="#7b8394",
)
DARK = Theme(
    name="dark",
    background="#16191f",
    foreground="#e4e7ee",
    grid="#454d5e",
    muted="#9aa3b5",
    accent="#7ea6ff",
    error="#ff8a80",
    warning="#f2b45c",
    good="#6fd08c",
    window="#262b35",
    raised="#333946",
    on_accent="#10131a",
    error_background="#43262a",
    warning_background="#3d3120",
    edge="#868fa1",
)
CONTRAST_LIGHT = Theme(
    name="light",
    background="#ffffff",
    foreground="#000000",
    grid="#767676",
    muted="#262626",
    accent="#00349e",
    error="#8c0000",
    warning="#5c3500",
    good="#004d1f",
    window="#fefefe",
    raised="#e6e6e6",
    on_accent="#ffffff",
    error_background="#ffffff",
    warning_background="#ffffff",
    edge="#000000",
    contrast=True,
)
CONTRAST_DARK = Theme(
    name="dark",
    background="#000000",
    foreground="#ffffff",
    grid="#8a8a8a",
    muted="#e0e0e0",
    accent="#8cc8ff",
    error="#ffaaa3",
    warning="#ffd37a",
    good="#8ff0ac",
    window="#010101",
    raised="#262626",
    on_accent="#000000",
    error_background="#000000",
    warning_background="#000000",
    edge="#ffffff",
    contrast=True,
)
THEMES = (LIGHT, DARK, CONTRAST_LIGHT, CONTRAST_DARK)


_ON_DARK = dict(
    zip(
        PALETTE,
        (
            *("#028CEA", "#B05010", "#7FFFBD", "#EFADC7", "#F7B363", "#A0D8FC", "#959595"),
            *("#AC983D", "#9E9EFF", "#477445", "#91576F", "#E657C6", "#499998", "#D9F447"),
            *("#B17E73", "#386AA8"),
        ),
        strict=True,
    )
)
"""The curves' colours on a dark ground, as far apart as on a light one."""


def curve_color(color: str, theme: Theme) -> QColor:
    """Return the colour of a curve on a theme's ground; `color` may be a place on a ramp."""
    if color.startswith("ramp-"):
        return role_color(color, theme)
    shades = _ON_DARK if theme.name == "dark" else ON_PAPER
    return QColor(shades.get(color, color))


def role_color(role: str, theme: Theme | None) -> QColor:
    """Return the colour of a chart's role on a theme's ground; on a light one for None."""
    theme = theme or LIGHT
    kind, _, rest = role.partition("-")
    if kind == "method":
        return curve_color(PALETTE[int(rest) % len(PALETTE)], theme)
    if kind == "ramp":
        from pyqtgraph import colormap

        low, high = (0.42, 1.0) if theme.name == "dark" else (0.0, 0.58)
        color: QColor = colormap.get("viridis").map(low + (high - low) * float(rest), "qcolor")
        return color
    return QColor(role) if role.startswith("#") else QColor(getattr(theme, role))


def current_theme() -> Theme:
    """Return the theme that the application's palette shows now."""
    window = QGuiApplication.palette().color(QPalette.ColorRole.Window)
    usual = DARK if window.lightness() < window.black() else LIGHT
    return next((theme for theme in THEMES if QColor(theme.window) == window), usual)


def themed(choice: ThemeChoice) -> Theme:
    """Return the theme that a choice means.

    `system` follows the desktop in being dark and in contrast, where these are known, `contrast`
    in being dark.
    """
    hints = QGuiApplication.styleHints()
    is_dark = choice == "dark"
    if choice in {"system", "contrast"}:
        is_dark = hints.colorScheme() == Qt.ColorScheme.Dark
    wanted = hints.accessibility().contrastPreference() == Qt.ContrastPreference.HighContrast
    if choice == "contrast" or (choice == "system" and wanted):
        return CONTRAST_DARK if is_dark else CONTRAST_LIGHT
    return DARK if is_dark else LIGHT


def use_theme(application: QApplication, theme: Theme) -> None:
    """Give the application Fusion style in the theme's colours."""
    colours, rules = palette(theme), _style_rules(theme)
    if application.styleSheet() == rules and application.palette() == colours:
        return  # setting them again would restyle every widget
    if application.style().name() != "fusion":
        application.setStyle("Fusion")
    application.setPalette(colours)
    application.setStyleSheet(rules)


def palette(theme: Theme) -> QPalette:
    """Return every palette role of a theme, also for disabled widgets."""
    role = QPalette.ColorRole
    roles = {
        role.Window: theme.window,
        role.WindowText: theme.foreground,
        role.Base: theme.background,
        role.AlternateBase: theme.window,
        role.Text: theme.foreground,
        role.PlaceholderText: theme.muted,
        role.Button: theme.raised,
        role.ButtonText: theme.foreground,
        role.BrightText: theme.error,
        role.ToolTipBase: theme.raised,
        role.ToolTipText: theme.foreground,
        role.Highlight: theme.accent,
        role.HighlightedText: theme.on_accent,
        role.Accent: theme.accent,
        role.Link: theme.accent,
        role.LinkVisited: theme.accent,
        role.Light: theme.background,
        role.Midlight: theme.raised,
        role.Mid: theme.grid,
        role.Dark: theme.grid,
        role.Shadow: theme.grid,
    }
    made = QPalette()
    for which, colour in roles.items():
        made.setColor(which, QColor(colour))
    off = QPalette.ColorGroup.Disabled
    for which in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        made.setColor(off, which, _between(theme.muted, theme.window))
    made.setColor(off, role.Highlight, QColor(theme.grid))
    return made


def tint(widget: QWidget, colour: str, role: QPalette.ColorRole | None = None) -> None:
    """Give a widget's text (or another role) one of the theme's colours."""
    changed = widget.palette()
    changed.setColor(role or widget.foregroundRole(), QColor(colour))
    widget.setPalette(changed)


def frame_rule(theme: Theme, *, wrong: bool) -> str:
    """Return the style rule of an editor's frame: red where its value is wrong."""
    return f"border: 1px solid {theme.error}; border-radius: 3px; padding: 1px 4px" if wrong else ""


def _style_rules(theme: Theme) -> str:
    """Return the rules of what a palette cannot say.

    Fusion draws the edges of fields and boxes in a shade of the window that is hardly seen on a
    light ground and not at all on a dark one, and menus without any edge.
    """
    return _rail_rules(theme) + _field_rules(theme) + _box_rules(theme)


def _rail_rules(theme: Theme) -> str:
    button = "#rail QToolButton"
    return (
        "#rail { border: none; padding: 4px 0; }"
        f"{button} {{ border: none; border-left: 3px solid transparent; border-radius: 0;"
        " padding: 6px 0; margin: 1px 0; }"
        f"{button}:hover {{ background: {theme.raised}; }}"
        f"{button}:checked {{ border-left-color: {theme.accent}; background: {theme.raised}; }}"
        f"{button}:focus {{ border-left-color: {theme.foreground}; background: {theme.raised}; }}"
        f"{button}:disabled {{ color: {theme.muted}; }}"
    )


def _field_rules(theme: Theme) -> str:
    """One height and one visible edge for all fields; the accent where the cursor is."""
    fields = "QLineEdit", "QComboBox", "QAbstractSpinBox"
    focused = ", ".join(f"{kind}:focus" for kind in fields)
    off = ", ".join(f"{kind}:disabled" for kind in fields)
    arrows = "QAbstractSpinBox::up-button, QAbstractSpinBox::down-button, QComboBox::drop-down"
    down, up = _picture("down", theme.foreground), _picture("up", theme.foreground)
    return (
        f"{', '.join(fields)} {{ border: 1px solid {theme.edge}; border-radius: 3px;"
        f" background: {theme.background}; padding: 1px 4px; min-height: 20px; }}"
        f"{focused} {{ border-color: {theme.accent}; }}"
        f"{off} {{ border-color: {theme.grid}; background: {theme.window}; }}"
        f"{arrows} {{ border: none; background: transparent; width: 16px; }}"
        f"QComboBox::down-arrow, QAbstractSpinBox::down-arrow {{ image: url({down});"
        " width: 10px; height: 10px; }"
        f"QAbstractSpinBox::up-arrow {{ image: url({up}); width: 10px; height: 10px; }}"
        "QAbstractItemView QLineEdit { min-height: 0; padding: 0; }"
        f"QMenu {{ border: 1px solid {theme.edge}; }}"
    )


def _box_rules(theme: Theme) -> str:
    kinds = ("QCheckBox", "QTreeView", "QListView", "QTableView", "QGroupBox")
    boxes = ", ".join(f"{kind}::indicator" for kind in kinds)
    ticked = ", ".join(f"{kind}::indicator:checked" for kind in kinds)
    off = ", ".join(f"{kind}::indicator:disabled" for kind in kinds)
    return (
        f"{boxes} {{ width: 12px; height: 12px; border: 1px solid {theme.edge};"
        f" border-radius: 2px; background: {theme.background}; }}"
        f"{ticked} {{ border-color: {theme.accent}; background: {theme.accent};"
        f" image: url({_picture('check', theme.on_accent)}); }}"
        f"{off} {{ border-color: {theme.grid}; }}"
    )


def _picture(name: str, color: str) -> str:
    """Return the path of a small picture that is dark or bright, as a colour is."""
    bright = QColor(color).lightness() > _MIDDLE
    return paths.resource(f"icons/{name}-{'bright' if bright else 'dark'}.svg").as_posix()


def _between(first: str, second: str) -> QColor:
    one, two = QColor(first), QColor(second)
    return QColor(
        (one.red() + two.red()) // 2,
        (one.green() + two.green()) // 2,
        (one.blue() + two.blue()) // 2,
    )
