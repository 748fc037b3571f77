"""Colours of curves as colours of texts, which need more contrast."""

from functools import lru_cache

from PySide6.QtGui import QColor, QGuiApplication, QPalette

LEAST_CONTRAST = 4.8
"""Contrast of texts: 4.5 by WCAG 2.2, success criterion 1.4.3, and what smooth edges take away."""
_SHARE = 0.04
_KNOWN = 256


def contrast(first: QColor, second: QColor) -> float:
    """Return the contrast of two colours, from 1 to 21. Source: WCAG 2.2, contrast ratio."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def legible(color: QColor) -> QColor:
    """Return a colour of the same hue that can be read in both rows of the palette's tables."""
    palette = QGuiApplication.palette()
    grounds = (QPalette.ColorRole.Base, QPalette.ColorRole.AlternateBase)
    return QColor(_legible(color.rgb(), *(palette.color(one).rgb() for one in grounds)))


@lru_cache(maxsize=_KNOWN)
def _legible(color: int, first: int, second: int) -> int:
    grounds = [QColor(first), QColor(second)]
    lighter = max(map(_luminance, grounds)) < _luminance(QColor("grey"))
    end, shown, share = QColor("white" if lighter else "black"), QColor(color), 0.0
    while min(contrast(shown, one) for one in grounds) < LEAST_CONTRAST and share < 1:
        share += _SHARE
        shown = _mixed(QColor(color), end, min(share, 1.0))
    return shown.rgb()


def _mixed(first: QColor, second: QColor, share: float) -> QColor:
    pairs = zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)  # type: ignore[index]
    return QColor(*(round((1 - share) * one + share * other) for one, other in pairs))


def _luminance(color: QColor) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004
        for part in (color.redF(), color.greenF(), color.blueF())
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
