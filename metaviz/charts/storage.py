"""Charts as arrays beside a run's other pictures, read back also where their method is absent."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from metaviz.charts.values import CHARTS, PARTS, Chart, ChartError

KEY = "charts"
VERSION = 1
_MOST_NUMBERS, _MOST_LETTERS, _MOST_CHARTS = 4_000_000, 2_000_000, 64
_KINDS: dict[str, type] = {kind.__name__: kind for kind in (*CHARTS, *PARTS)}


def to_arrays(charts: Sequence[Chart]) -> dict[str, np.ndarray]:
    """Return arrays that hold these charts: words as JSON under KEY, numbers under KEY.0, KEY.1...

    Raises: ChartError where they are too large to be stored with every evaluation.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps({"version": VERSION, "charts": [_plain(one, arrays) for one in charts]})
    _check_size(text, arrays, len(charts))
    return {KEY: np.array(text)} | {f"{KEY}.{place}": one for place, one in enumerate(arrays)}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> list[Chart]:
    """Return the charts that arrays hold, none where they hold none.

    Fields that a later version added are passed over.
    Raises: ChartError where the arrays are damaged or of a later kind.
    """
    if KEY not in arrays:
        return []
    numbers = [array for name, array in arrays.items() if name.startswith(f"{KEY}.")]
    text = str(arrays[KEY])
    try:
        _check_size(text, numbers, 0)
        found = json.loads(text)
        _check_version(found["version"])
        charts = [_value(one, arrays) for one in found["charts"][:_MOST_CHARTS]]
    except ChartError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ChartError(f"The stored charts are damaged: {error}.") from error
    if not all(isinstance(chart, Chart) for chart in charts):
        raise ChartError("The stored charts are damaged: one of them is no chart.")
    return charts


def _check_version(version: object) -> None:
    if version != VERSION:
        raise ChartError(f"These charts have version {version}: this program reads {VERSION}.")


def _check_size(text: str, arrays: Sequence[np.ndarray], charts: int) -> None:
    numbers = sum(array.size for array in arrays)
    if numbers > _MOST_NUMBERS or len(text) > _MOST_LETTERS or charts > _MOST_CHARTS:
        raise ChartError(
            f"{charts} charts with {numbers} numbers are too much for one picture: "
            f"at most {_MOST_CHARTS} charts and {_MOST_NUMBERS} numbers are stored."
        )


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    if is_dataclass(value):
        kept = {
            field.name: _plain(getattr(value, field.name), arrays)
            for field in fields(value)
            if not _is_default(field.default, getattr(value, field.name))
        }
        return {"kind": type(value).__name__, **kept}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(one, arrays) for one in value] if isinstance(value, list | tuple) else value


def _is_default(default: Any, value: Any) -> bool:
    return not isinstance(value, np.ndarray) and type(default) is type(value) and default == value


def _value(plain: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(plain, list):
        return tuple(_value(one, arrays) for one in plain)
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        array = arrays[f"{KEY}.{plain['array']}"]
        if array.dtype.kind not in "fiub":
            raise ChartError("The stored charts are damaged: an array holds no numbers.")
        return array
    kind = _KINDS.get(plain["kind"])
    if kind is None:
        raise ChartError(f"This program knows no chart {plain['kind']!r}: a newer one wrote it.")
    names = {field.name for field in fields(kind)}
    return kind(**{name: _value(one, arrays) for name, one in plain.items() if name in names})
