"""Runs that are trained in this process, as the command line trains them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaviz.cli.options import read_asked
from metaviz.config.options import OptionError
from metaviz.paths import runs_dir
from metaviz.runs.storage.store import StoreError
from metaviz.training.engine import LocalEngine
from metaviz.training.session import Session

_MACHINE = frozenset({"device", "dtype", "engine", "memory_gib", "tf32"})


def trained(
    asked: Mapping[str, Any],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    out: Path | None,
    source: Path | None,
) -> list[Path]:
    """Train runs to their ends and return their folders. Raises: see `metaviz.train`."""
    unknown = set(asked) - _MACHINE - {"problem", "algorithms", "steps"}
    if unknown:
        name = min(unknown)
        raise OptionError(name, f"{name} is no argument: give hyperparameters as settings.")
    texts = {name: str(value) for name, value in asked.items() if value is not None}
    texts["seeds"] = ",".join(map(str, seeds))
    given = [f"{key}={'' if value is None else value}" for key, value in settings.items()]
    comparison = read_asked({**texts, "tf32": asked.get("tf32")}, given)
    engine = LocalEngine()
    _finish(engine.backbones(comparison))
    root = runs_dir() if out is None else out / "runs"
    sessions = engine.start(comparison, root, source)
    _finish(sessions)
    return [session.folder for session in sessions]


def _finish(sessions: Sequence[Session]) -> None:
    """Train runs to their ends; whatever breaks in leaves all of them ended and stored."""
    bands: dict[int, list[Session]] = {}
    for session in sessions:
        bands.setdefault(id(session.band or session), []).append(session)
    try:
        for band in bands.values():
            _finish_together(band)
    except (KeyboardInterrupt, StoreError):
        for session in sessions:
            session.end("stopped")
        raise


def _finish_together(band: list[Session]) -> None:
    """Train runs to their ends, always the one that is furthest behind."""
    while band:
        session = min(band, key=lambda one: one.step)
        if session.advance() is None:
            band.remove(session)
