"""What runs differ in, in as few words as possible."""

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN_ANYWAY = {"algorithm", "problem", "seed", "version"}


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings by dotted key, as `--set` takes them."""
    owner = str(config.get("algorithm", "")), str(config.get("problem", ""))
    prefixes = {"shared": "", "options": f"{owner[0]}.", "problem_options": f"{owner[1]}."}
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            prefix = prefixes.get(key, f"{key}.")
            found |= {f"{prefix}{name}": item for name, item in value.items()}
        elif key not in _SHOWN_ANYWAY:
            found[key] = value
    return found


def differing_texts(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each run in what it differs from others of its algorithm, or in what all differ.

    Algorithm, problem and seed are left out.
    """
    values = [flat(config) for config in configs]
    seen: dict[str, set[str]] = {}
    owners: dict[str, set[str]] = {}
    for config, known in zip(configs, values, strict=True):
        for key, value in known.items():
            seen.setdefault(key, set()).add(repr(value))
            owners.setdefault(key, set()).add(_owner(config, key))
    holders: dict[str, int] = {}
    for config in configs:
        for owner in {str(config.get("algorithm")), str(config.get("problem")), ""}:
            holders[owner] = holders.get(owner, 0) + 1
    counts: dict[str, int] = {}
    for known in values:
        for key in known:
            counts[key] = counts.get(key, 0) + 1
    varied = [
        key
        for key, found in seen.items()
        if len(found) > 1 or any(counts[key] < holders.get(o, 0) for o in owners[key])
    ]
    return [
        ", ".join(f"{key} = {_short(known[key])}" for key in varied if key in known)
        for known in values
    ]


def _owner(config: Mapping[str, Any], key: str) -> str:
    return key.partition(".")[0] if "." in key else ""


def _short(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
