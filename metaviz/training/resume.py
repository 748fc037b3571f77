"""Stored runs that go on: each from its newest checkpoint, in its own folder."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from metaviz.config.options import OptionError, checked
from metaviz.config.run_config import Amendment
from metaviz.config.schedule import schedule_of
from metaviz.problems.base import Problem
from metaviz.problems.registry import find_problem
from metaviz.runs.model.events import Remedy
from metaviz.runs.model.record import Record
from metaviz.runs.storage.lock import SharedLock
from metaviz.runs.storage.store import RunWriter, StoreError, reopen_run, rewrite_about
from metaviz.training.band import Band, bands_of
from metaviz.training.checkpoints import Found, find_checkpoint
from metaviz.training.session import Resumption, Session, stored_config
from metaviz.training.setting import Setting, changed_since, environment_of, settle
from metaviz.training.start import restarted
from metaviz.training.trainer import begin

# What must be the same for the numbers to be those of a run that was never interrupted.
_DECISIVE = ("device", "gpu", "torch", "shards", "memory_budget", "engine", "metaviz", "plugins")


@dataclass(frozen=True)
class _Plan:
    """A run that is locked, checked and not changed yet."""

    record: Record
    writer: RunWriter
    setting: Setting
    resumption: Resumption
    changed: bool
    """Whether `run.toml` has to say something new."""


def resume_sessions(
    folders: Sequence[Path],
    steps: int | None = None,
    remedy: str = "",
    refused: list[str] | None = None,
) -> list[Session]:
    """Check stored runs, then open all of them to be trained further, to `steps` where given.

    `remedy` is the id of a change that was offered when the runs diverged, and is made now.

    What came after a run's checkpoint is rolled back, so that its tables hold what a run holds
    that was never interrupted. Runs that cannot go on are left out where a list takes the sentences
    that say why.
    Raises: StoreError, OptionError or ValueError with one sentence, before any run is changed.
    """
    problems: dict[str, Problem] = {}
    shared = SharedLock()
    with ExitStack() as opened:
        plans = []
        for folder in dict.fromkeys(folders):
            try:
                with ExitStack() as own:
                    plan = _plan(folder, steps, remedy, problems, own)
                    plan.writer.rest(shared)
                    opened.push(own.pop_all())
            except (StoreError, OptionError) as error:
                if refused is None:
                    raise
                refused.append(str(error))
            else:
                plans.append(plan)
        bands = bands_of([plan.setting for plan in plans])
        sessions = []
        for plan, band in zip(plans, bands, strict=True):
            sessions.append(_go_on(plan, band))
            sessions[-1].rest(shared)
        opened.pop_all()
    return sessions


def _plan(
    folder: Path,
    steps: int | None,
    remedy: str,
    problems: dict[str, Problem],
    opened: ExitStack,
) -> _Plan:
    record, writer = reopen_run(folder)
    opened.callback(writer.close)
    _check_steps(record, steps)
    if steps is not None:
        _extend(record, folder, steps)
    found = _starting_point(record, find_checkpoint(folder))
    change = _offered(record, remedy) if remedy else None
    if change is not None:
        _amend(record, change, 0 if found is None else int(found.state["step"]))
    config = stored_config(record, folder)
    # Runs on the same tasks share one problem, so that data are read once.
    key = f"{config.problem} {config.seed} {config.shared!r} {config.problem_options!r}"
    setting = restarted(settle(config, problems.get(key)), folder)
    problems[key] = setting.problem
    if steps is not None and record.resolved:
        record.resolved["evaluation"] = setting.resolved["evaluation"]
    if config.amendments:  # refused now, not on the way
        settle(config.at(config.steps), setting.problem)
    opened.callback(setting.shards.close)
    _check_backbone(record, setting)
    try:
        progress = begin(setting, found.state if found is not None else None)
    except ValueError as error:
        raise StoreError(f"{record.id} cannot be resumed: {error}") from error
    if steps is not None and steps <= progress.step:
        raise _too_few(record, steps, progress.step)
    resumption = Resumption(progress, found, _note(record, found, setting, change))
    changed = steps is not None or bool(remedy)
    return _Plan(record, writer, setting, resumption, changed=changed)


def _extend(record: Record, folder: Path, steps: int) -> None:
    """Give a run more steps; it goes on to be evaluated on as many tasks as before."""
    shared = record.config.get("shared", {})
    if "eval_every" in shared and shared["eval_every"] is None:
        config = stored_config(record, folder)
        shared["eval_tasks"] = schedule_of(config, find_problem(record.problem).entry).tasks
    record.config["steps"] = steps


def _check_backbone(record: Record, setting: Setting) -> None:
    """Refuse other features than those that a run was begun with. Raises: StoreError."""
    begun, now = record.parent, setting.problem.parent
    if begun.get("kind") == now.get("kind") == "backbone" and begun != now:
        raise StoreError(
            f"{record.id} cannot be resumed: it began with features of {begun.get('run')}, whose "
            "weights are others now."
        )


def _check_steps(record: Record, steps: int | None) -> None:
    if steps is None:
        if record.state == "done":
            raise StoreError(
                f"{record.id} is done with its {record.total_steps} steps: give --steps, more "
                "than that, to train it further."
            )
    elif steps <= record.step:
        raise _too_few(record, steps, record.step)


def _too_few(record: Record, steps: int, done: int) -> OptionError:
    return OptionError(
        "steps", f"steps = {steps} is not valid: {record.id} has done {done}; use more."
    )


def _starting_point(record: Record, found: Found | None) -> Found | None:
    """Return a checkpoint to go on from; None where the run has to begin again.

    A run that was interrupted before its first evaluation was stored begins again.
    """
    if found is None and len(record):
        raise StoreError(
            f"{record.id} has no checkpoint and cannot be resumed: train it again from its "
            "settings."
        )
    if found is not None and found.state["step"] == 0 and found.state.get("looked", -1) < 0:
        return None
    return found


def _go_on(plan: _Plan, band: Band | None) -> Session:
    progress = plan.resumption.progress
    if plan.resumption.found is None:
        plan.writer.roll_back(-1, whole=True)
    else:
        plan.writer.roll_back(progress.step, whole=progress.evaluated == progress.step)
    if plan.changed:
        rewrite_about(plan.writer.folder, plan.record)
    resumption = replace(plan.resumption, note=_with_band(plan, band))
    session = Session(plan.setting, plan.writer, resumption, band)
    parent = plan.record.parent
    if parent.get("kind") == "repeat":
        session.repeat(plan.writer.folder.parent / str(parent.get("run")))
    return session


def _with_band(plan: _Plan, band: Band | None) -> str:
    """Add to a run's note whether other seeds shared, or share, its batches: that rounds otherwise.

    Who shared which batch is not stored, so that the bits of an uninterrupted run are not promised.
    """
    before, now = (
        plan.record.environment.get("band"),
        band.description if band is not None else None,
    )
    if before is None and now is None:
        return plan.resumption.note
    first, then = (f"with {seeds}" if seeds else "by itself" for seeds in (before, now))
    return f"{plan.resumption.note} Rounding may differ: computed {first} at first, {then} now."


def _offered(record: Record, name: str) -> Remedy:
    """Return a remedy by its id. Raises: OptionError where it was not offered."""
    offered = record.divergence.remedies if record.divergence is not None else ()
    for remedy in offered:
        if remedy.id == name:
            return remedy
    listed = ", ".join(remedy.id for remedy in offered) or "none, as it has not diverged"
    raise OptionError("remedy", f"remedy = {name!r} is not valid: {record.id} has {listed}.")


def _amend(record: Record, remedy: Remedy, step: int) -> None:
    """Put a remedy into a run's configuration, in force after a step."""
    amendment = checked(Amendment, {**remedy.amendment, "step": step})
    known = record.config.get("amendments", [])
    record.config["amendments"] = [*known, amendment.model_dump(mode="json")]


def _note(record: Record, found: Found | None, setting: Setting, change: Remedy | None) -> str:
    """Say where a run goes on, and what is not as it was."""
    changes = [] if change is None else [f"{change.label}."]
    if found is None:
        begun = "Begun again: it was interrupted before its first evaluation was stored."
        return " ".join([begun, *changes])
    sentences = [f"Resumed from the checkpoint of step {found.state['step']}.", *changes]
    sentences += filter(None, [found.remark, changed_since(setting, record.environment)])
    now = environment_of(setting)
    changed = [
        f"{name} {record.environment[name]} is now {now.get(name, 'absent')}"
        for name in _DECISIVE
        if name in record.environment and record.environment[name] != now.get(name)
    ]
    if changed:
        listed = ", ".join(changed)
        sentences.append(f"Numbers may differ from an uninterrupted run: {listed}.")
    return " ".join(sentences)
