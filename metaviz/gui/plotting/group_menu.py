"""What runs can be grouped by, as a menu of titles: the usual first, the rest by its owner."""

from collections.abc import Collection, Iterable

from PySide6.QtWidgets import QMenu

from metaviz.gui.widgets.controls import menu_choice
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.runs.model.labels import SYMBOLS, algorithm_title, problem_title
from metaviz.runs.table.columns import BY_KEY, Columns


def add_keys(
    menu: QMenu, keys: Iterable[str], chosen: Collection[str] | None, columns: Columns
) -> None:
    """Add a choice for each key; those of one owner are in a menu of their own."""
    inner: dict[str, QMenu] = {}
    for key in keys:
        title, place = _owner(key), menu
        if title:
            if title not in inner:
                inner[title] = menu.addMenu(_literal(title))
                inner[title].setToolTipsVisible(True)
            place = inner[title]
        spec = columns.spec(key)
        text = spec.title if spec is not None else columns.column(key).title
        action = menu_choice(place, _literal(text), key, checked=key in (chosen or ()))
        action.setToolTip(plain_tip(columns.column(key).tip))


def _owner(key: str) -> str:
    """Return the title of the menu that a key is in, empty for the usual ones."""
    owner, dot, _ = key.rpartition(".")
    if dot:
        title = algorithm_title(owner)
        return problem_title(owner) if title == owner else title
    return "" if key in SYMBOLS or key in BY_KEY else "More shared settings"


def _literal(text: str) -> str:
    return text.replace("&", "&&")
