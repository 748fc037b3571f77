"""What `run.toml` holds of a run: its configuration, its network, what it ran on, where from."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import tomli_w

from metaviz.config.catalogue import as_stored
from metaviz.config.traits import traits_of
from metaviz.files.foreign import parsed_toml
from metaviz.runs.model.record import Record


def write_about(record: Record) -> str:
    """Return the contents of `run.toml`."""
    about = {
        "run": {"id": record.id, **_plain(record.config)},
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

    Raises: KeyError, ValueError, TypeError or AttributeError where the text describes no run.
    """
    about = parsed_toml(text)
    config = dict(about["run"])
    record = Record(
        str(config.pop("id")),
        config,
        dict(about.get("environment", {})),
        parent=dict(about.get("parent", {})),
        network=dict(about.get("network", {})),
        traits=traits_of(dict(about.get("traits", {}))),
        resolved=dict(about.get("resolved", {})),
    )
    record.algorithm, record.problem, record.seed, record.total_steps  # noqa: B018 - must exist
    for part, names in dict(about.get("empty", {})).items():
        target = config if part == "run" else config[part]
        target.update(dict.fromkeys(names))
    for part in ("shared", "options", "problem_options"):
        values = dict(config.get(part, {})).values()
        if not all(isinstance(value, bool | int | float | str | None) for value in values):
            raise TypeError(f"run.toml has a list or table in {part}")
    config["options"] = as_stored(record.algorithm, config.get("options", {}))
    return record


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
