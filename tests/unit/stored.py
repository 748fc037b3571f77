"""Small runs, snapshots of their folders as a killed program would leave them, and comparisons."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.model.events import STEP_COLUMNS, Event, Waiting
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run
from metaviz.training.resume import resume_sessions
from metaviz.training.session import Session, open_sessions
from tests.oracle.engine import FEATURES, loops, problem_of

SMALL: dict[str, dict[str, Any]] = {
    "sinusoid": {"hidden": 6, "noise": 0.1},
    "strokes": {"channels": 2},
    "features": {"path": str(FEATURES)},
}
EPISODES: dict[str, dict[str, int]] = {
    "sinusoid": {},
    "strokes": {"shots": 1, "query_shots": 3},
    "features": {"shots": 1, "query_shots": 3},
}
TIMED = {"seconds", "peak_memory_mb"}


def config(algorithm: str, *, steps: int = 7, **options: Any) -> RunConfig:
    """Return a short run, evaluated at steps 0, 3, 6 and the last.

    On sinusoids, or on small drawings where the method needs classes.
    """
    problem = problem_of(algorithm)
    return RunConfig(
        problem=problem,
        algorithm=algorithm,
        seed=3,
        steps=steps,
        device="cpu",
        options={"inner_steps": 3, **options} if loops(algorithm) else options,
        problem_options=SMALL[problem],
        shared=Shared(meta_batch=4, eval_tasks=4, eval_steps=4, eval_every=3, **EPISODES[problem]),
    )


def begin(asked: RunConfig, root: Path) -> Session:
    """Make a run under a folder."""
    (session,) = open_sessions([asked], root)
    return session


def finish(session: Session) -> Path:
    """Train to the end; return the run's folder."""
    while session.advance() is not None:
        pass
    return session.folder


def train(asked: RunConfig, root: Path) -> Path:
    """Train a run without interruption; return its folder."""
    return finish(begin(asked, root))


def next_stored(session: Session) -> Event | None:
    """Advance a run to its next event that is stored: what it waits for is told and not kept."""
    while isinstance(event := session.advance(), Waiting):
        pass
    return event


def killed(
    asked: RunConfig, root: Path, after: int, *, committed: bool = True
) -> tuple[Path, list[Event]]:
    """Return a folder as it lies on disk after so many stored events, and these.

    Without `committed` what came after the last checkpoint may not be on disk yet.
    """
    session = begin(asked, root / "alive")
    events = [event for _ in range(after) if (event := next_stored(session)) is not None]
    if committed:
        session.set_state("running")
    copy = root / "killed" / session.folder.name
    shutil.copytree(session.folder, copy)
    session.end("aborted")
    return copy, events


def resume(folder: Path, steps: int | None = None) -> Path:
    """Train a stored run to the end."""
    (session,) = resume_sessions([folder], steps)
    return finish(session)


def assert_same(found: Path, wanted: Path) -> None:
    """Compare all that two runs hold but times and remarks on how they went."""
    one, other = open_run(found), open_run(wanted)
    assert (one.state, one.message) == (other.state, other.message)
    assert one.quantities == other.quantities
    for name in ("step", *STEP_COLUMNS, *(own.id for own in other.quantities)):
        if name not in TIMED:
            np.testing.assert_array_equal(one.column(name), other.column(name), err_msg=name)
    assert (np.diff(one.column("seconds")) > 0).all()
    assert_same_arrays(one, other)
    assert warnings(one) == warnings(other)
    assert_same_state(
        load_checkpoint(found / CHECKPOINT), load_checkpoint(wanted / CHECKPOINT), "state"
    )


def assert_same_arrays(one: Record, other: Record) -> None:
    """Compare evaluations and pictures."""
    assert [e.step for e in one.evaluations] == [e.step for e in other.evaluations]
    assert [p.step for p in one.pictures] == [p.step for p in other.pictures]
    for mine, theirs in zip(one.evaluations, other.evaluations, strict=True):
        for kept, made in ((mine.curves, theirs.curves), (mine.per_task, theirs.per_task)):
            assert kept.keys() == made.keys()
            for name, curve in made.items():
                np.testing.assert_array_equal(kept[name], curve, err_msg=name)
    for picture, its in zip(one.pictures, other.pictures, strict=True):
        for name, array in its.arrays.items():
            np.testing.assert_array_equal(picture.arrays[name], array, err_msg=name)


def warnings(record: Record) -> list[tuple[int, str]]:
    """Return what was noted on the training itself."""
    return [(note.step, note.message) for note in record.notes if note.level == "warning"]


def assert_same_state(one: Any, other: Any, where: str) -> None:
    """Compare two checkpoints bit by bit, but for the seconds."""
    if isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key, value in other.items():
            if key not in TIMED:
                assert_same_state(one[key], value, f"{where}.{key}")
    elif isinstance(other, list):
        assert len(one) == len(other), where
        for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_same_state(mine, theirs, f"{where}[{place}]")
    elif isinstance(other, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where
