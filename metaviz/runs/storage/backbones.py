"""Runs that were trained as others need them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaviz.config.backbones import backbone_of, training_key
from metaviz.config.run_config import RunConfig
from metaviz.runs.storage.store import StoreError, list_runs, open_run


@dataclass(frozen=True)
class Planned:
    """A run to be made, and the trainings that have to be done before it can begin."""

    config: Mapping[str, Any]
    needs: tuple[RunConfig, ...] = ()


def planned(configs: Sequence[Mapping[str, Any]], root: Path) -> list[Planned]:
    """Return runs with what they need that is not among the finished runs under `root`.

    Raises: OptionError with one sentence.
    """
    found = []
    for config in configs:
        need = backbone_of(config) if isinstance(config, Mapping) else None
        missing = need is not None and trained_run(need, root) is None
        found.append(Planned(config, (need,) if missing and need is not None else ()))
    return found


def trained_run(need: RunConfig, root: Path) -> Path | None:
    """Return the newest run under `root` that is done and was trained like this."""
    key = training_key(need.model_dump(mode="json"))
    for folder in reversed(list_runs(root)):
        if not folder.name.startswith(f"{need.algorithm}-"):
            continue
        try:
            record = open_run(folder)
        except StoreError:
            continue
        if record.state == "done" and training_key(record.config) == key:
            return folder
    return None
