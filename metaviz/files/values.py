"""Values out of foreign files: parsed, and asked for their kind, so that code may rely on it.

A reader that takes each value through here needs to catch no TypeError, KeyError or AttributeError:
those are mistakes of its own, and are told as such.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from metaviz.files.foreign import ForeignError

Kind = TypeVar("Kind")
_KINDS: dict[type, str] = {
    dict: "a table",
    list: "a list",
    str: "a text",
    bytes: "bytes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def parsed_json(
    data: str | bytes, table: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Read JSON; `table` makes its tables of their items, in place of dict.

    Raises: ForeignError where it is none, or nested too deeply.
    """
    try:
        return json.loads(data, object_pairs_hook=table)
    except ValueError as error:
        raise ForeignError(f"it is no JSON: {error}") from None
    except RecursionError:
        raise ForeignError("it is nested too deeply") from None


@overload
def of_kind(value: Any, kind: type[dict[Any, Any]], what: str) -> dict[str, Any]: ...
@overload
def of_kind(value: Any, kind: type[list[Any]], what: str) -> list[Any]: ...
@overload
def of_kind(value: Any, kind: type[Kind], what: str) -> Kind: ...
def of_kind(value: Any, kind: Any, what: str) -> Any:
    """Return a value if it is of a kind; float takes whole numbers, and int no bool.

    Raises: ForeignError, naming it.
    """
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ForeignError(f"{what} = {value!r:.40} is not {_KINDS.get(kind, kind.__name__)}")
    return value


@overload
def required(table: Mapping[str, Any], key: str, kind: type[dict[Any, Any]]) -> dict[str, Any]: ...
@overload
def required(table: Mapping[str, Any], key: str, kind: type[list[Any]]) -> list[Any]: ...
@overload
def required(table: Mapping[str, Any], key: str, kind: type[Kind]) -> Kind: ...
def required(table: Mapping[str, Any], key: str, kind: Any) -> Any:
    """Return a value of a table. Raises: ForeignError where it is missing or of another kind."""
    if key not in table:
        raise ForeignError(f"{key!r} is missing")
    return of_kind(table[key], kind, key)


def whole(value: Any, what: str, least: int, most: int) -> int:
    """Return a whole number of a range. Raises: ForeignError."""
    found = of_kind(value, int, what)
    if not least <= found <= most:
        raise ForeignError(f"{what} = {found!r:.40} is not from {least} to {most}")
    return found


def number_grid(value: Any, what: str, axes: int) -> tuple[int, ...]:
    """Return the shape of lists of numbers within lists, `axes` deep and with no empty one.

    Raises: ForeignError where one is shorter than its neighbours, or a number is not finite.
    """
    if axes == 0:
        number = of_kind(value, float, what)
        # A whole number may have more digits than a float can hold.
        if abs(number) > sys.float_info.max or not math.isfinite(number):
            raise ForeignError(f"{what} = {number!r:.40} is not a finite number")
        return ()
    rows = of_kind(value, list, what)
    if not rows:
        raise ForeignError(f"{what} is empty")
    shapes = [number_grid(row, f"{what}[{at}]", axes - 1) for at, row in enumerate(rows)]
    for at, shape in enumerate(shapes):
        if shape != shapes[0]:
            asked = " x ".join(map(str, shapes[0]))
            found = " x ".join(map(str, shape))
            raise ForeignError(f"{what}[{at}] has {found} numbers, but {what}[0] has {asked}")
    return (len(rows), *shapes[0])


def plain_table(value: Any, what: str) -> dict[str, Any]:
    """Return a table of single values. Raises: ForeignError where one is a list or table."""
    found = of_kind(value, dict, what)
    for key, one in found.items():
        if not isinstance(one, bool | int | float | str | None):
            raise ForeignError(f"{what} has a list or table, {key!r:.40}")
    return found


def row_of(row: Sequence[Any], what: str, *kinds: type | None) -> Any:
    """Return a row of a database whose values are of these kinds; None takes a number or nothing.

    Raises: ForeignError, naming the table.
    """
    if len(row) != len(kinds):
        raise ForeignError(f"a row of {what} has {len(row)} values instead of {len(kinds)}")
    for value, kind in zip(row, kinds, strict=True):
        if kind is None and value is not None:
            of_kind(value, float, what)
        elif kind not in {None, object}:
            of_kind(value, kind, what)
    return row
