"""What `run.toml` holds of a run: its configuration, its network, what it ran on, where from."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import tomli_w

from metaviz.config.catalogue import as_stored
from metaviz.config.options import OptionError
from metaviz.config.run_config import MAX_SEED, MOST_STEPS, Shared, amendment_texts
from metaviz.config.traits import traits_of
from metaviz.files.foreign import ForeignError, parsed_toml
from metaviz.files.values import of_kind, plain_table, required, whole
from metaviz.runs.model.record import Record

_TABLES = ("environment", "parent", "network", "traits", "resolved", "empty")
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("device", "dtype", "engine"), str),
    **{"version": int, "memory_gib": float, "tf32": bool},
}
"""Kinds of those fields of a configuration that a run can do without."""
_MOST_EXAMPLES = 1_000_000_000


def write_about(record: Record) -> str:
    """Return the contents of `run.toml`."""
    about = {
        "run": {"id": record.made_as, **_plain(record.config)},
        "empty": _empty(record.config),
        "environment": _plain(record.environment),
        "network": _plain(record.network),
        "traits": _plain(asdict(record.traits)),
        "resolved": _plain(record.resolved),
        "parent": _plain(record.parent),
    }
    return tomli_w.dumps({name: table for name, table in about.items() if table or name == "empty"})


def read_about(text: str) -> Record:
    """Return a record without numbers.

    Raises: ForeignError, or ValueError where the text is no TOML, where it describes no run.
    """
    about = parsed_toml(text)
    tables = {part: dict(of_kind(about.get(part, {}), dict, part)) for part in _TABLES}
    config = dict(required(about, "run", dict))
    record = Record(
        required(config, "id", str),
        {key: value for key, value in config.items() if key != "id"},
        tables["environment"],
        parent=tables["parent"],
        network=tables["network"],
        traits=traits_of(tables["traits"]),
        resolved=tables["resolved"],
    )
    for part, names in tables["empty"].items():
        target = record.config if part == "run" else required(record.config, part, dict)
        target.update((of_kind(name, str, "empty"), None) for name in of_kind(names, list, "empty"))
    check_config(record.config)
    _check_loop(record.resolved, "resolved")
    for name, count in of_kind(record.resolved.get("per_step", {}), dict, "per_step").items():
        whole(of_kind(count, int, f"per_step.{name}"), f"per_step.{name}", 1, _MOST_EXAMPLES)
    for key in record.parent.keys() & {"run", "kind"}:
        of_kind(record.parent[key], str, f"parent.{key}")
    record.config["options"] = as_stored(record.algorithm, record.config.get("options", {}))
    return record


def check_config(config: dict[str, Any]) -> None:
    """Refuse a configuration that no run can have. Raises: ForeignError."""
    required(config, "algorithm", str), required(config, "problem", str)
    whole(required(config, "seed", int), "seed", 0, MAX_SEED)
    whole(required(config, "steps", int), "steps", 1, MOST_STEPS)
    for name, kind in _KINDS.items():
        if config.get(name) is not None:
            of_kind(config[name], kind, name)
    for part in ("shared", "options", "problem_options"):
        plain_table(config.get(part, {}), part)
        _check_loop(config.get(part, {}), part)
    _check_ranges(config.get("shared", {}), "shared")
    amendments = of_kind(config.get("amendments", []), list, "amendments")
    for one in amendments:
        of_kind(one, dict, "amendments")
    try:
        amendment_texts(config)
    except OptionError as error:
        raise ForeignError(str(error).rstrip(".")) from error
    for one in amendments:
        for part in ("shared", "options"):
            _check_loop(one.get(part, {}), f"amendments.{part}")


def _check_ranges(shared: dict[str, Any], what: str) -> None:
    """Refuse a shared number that lies outside of what it may be. Raises: ForeignError."""
    for name, value in shared.items():
        if isinstance(value, int | float) and name in Shared.model_fields:
            for limit in Shared.model_fields[name].metadata:
                if _breaks(value, limit):
                    raise ForeignError(f"{what}.{name} = {value!r:.40} is not possible")


def _breaks(value: float, limit: Any) -> bool:
    """Return whether a number breaks a limit of an option, as its model declares them.

    Sizes of steps have an upper limit for the form's sake alone.
    """
    least, above = getattr(limit, "ge", None), getattr(limit, "gt", None)
    most = getattr(limit, "le", None) if isinstance(value, int) else None
    return not (
        math.isfinite(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
    )


def _check_loop(table: dict[str, Any], what: str) -> None:
    """Refuse a size or number of inner steps that is no number. Raises: ForeignError."""
    if table.get("inner_lr") is not None:
        of_kind(table["inner_lr"], float, f"{what}.inner_lr")
    if table.get("inner_steps") is not None:
        whole(table["inner_steps"], f"{what}.inner_steps", 0, MOST_STEPS)


def _empty(config: dict[str, Any]) -> dict[str, list[str]]:
    """Return the keys without a value by table, since TOML cannot hold them."""
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    found = {
        part: [key for key, value in values.items() if value is None]
        for part, values in {"run": config, **tables}.items()
    }
    return {part: names for part, names in found.items() if names}


def _plain(value: Any) -> Any:
    """Drop None, which TOML cannot hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value
