"""Tables with a numpy array for each column, the same numbers as in the CSV files."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from metaviz.runs.export.tables import Cell
from metaviz.runs.export.tables import Table as Written

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20
_MISSING = (
    "Data frames need pandas: install it with pip install 'metaviz[pandas]', or use the columns, "
    "which are numpy arrays."
)


class Table(Mapping[str, np.ndarray]):
    """Columns by name, all of one length, in the order of the CSV file of the same table.

    Numbers are float64, whole numbers int64 where no row lacks one, truth values bool; what is
    missing is NaN among numbers and None among words.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], rows: int) -> None:
        """Take the columns, and how many rows they have. Made by methods of runs."""
        self._columns = dict(columns)
        self.rows = rows
        """The number of rows."""

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column. Raises: KeyError."""
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the columns."""
        return iter(self._columns)

    def __len__(self) -> int:
        """Return the number of columns, as of any mapping."""
        return len(self._columns)

    def frame(self) -> "pd.DataFrame":
        """Return a pandas data frame. Raises: ModuleNotFoundError without pandas."""
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(_MISSING, name="pandas") from error
        return pd.DataFrame(self._columns)

    def _repr_html_(self) -> str:
        cells = [[_text(value) for value in values[:_SHOWN]] for values in self._columns.values()]
        more = self.rows - _SHOWN
        return html_table(list(self), list(zip(*cells, strict=True))) + (
            f"<p>and {more} more rows</p>" if more > 0 else ""
        )

    def __repr__(self) -> str:
        """Say how large it is."""
        return f"Table({self.rows} rows: {', '.join(self)})"


def table_of(written: Written) -> Table:
    """Return a table whose columns are arrays."""
    rows = list(written.rows)
    cells = zip(*rows, strict=True) if rows else ((),) * len(written.header)
    columns = zip(written.header, cells, strict=True)
    return Table({name: _array(values) for name, values in columns}, len(rows))


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in HTML; whatever the cells hold stands there as text."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _array(cells: Sequence[Cell]) -> np.ndarray:
    """Return cells of one column, in the narrowest kind that holds all of them."""
    known = [cell for cell in cells if cell is not None]
    whole = len(known) == len(cells)
    if any(isinstance(cell, str) for cell in known):
        return _objects(cells)
    if any(isinstance(cell, bool) for cell in known):
        same = whole and all(isinstance(cell, bool) for cell in known)
        return np.array(cells, dtype=bool) if same else _objects(cells)
    if known and whole and not any(isinstance(cell, float) for cell in known):
        return np.array(cells, dtype=np.int64)
    return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)


def _objects(cells: Sequence[Any]) -> np.ndarray:
    found = np.empty(len(cells), dtype=object)
    found[:] = cells
    return found


def _text(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
