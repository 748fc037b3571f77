"""Judges a run's stored weights on held-out tasks, as papers report it."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from metaviz.config import RunConfig
from metaviz.options import OptionError, Options, option
from metaviz.runs.judgement import Judgement, store
from metaviz.runs.store import StoreError, open_run
from metaviz.training.evaluation import task_curves
from metaviz.training.session import CHECKPOINT, load_checkpoint
from metaviz.training.setting import Setting, settle


class Protocol(Options):
    """Which tasks a run is judged on, and how."""

    tasks: int = option(600, "Tasks", "Number of tasks.", ge=2, le=100_000)
    split: Literal["test", "validation"] = option("test", "Classes", "Which classes they are of.")
    seed: int = option(0, "Seed", "Draws the tasks; the same for all runs.", ge=0, le=2**31 - 1)
    shots: int | None = option(None, "Shots", "Empty: as in training.", ge=1, le=1000)
    query_shots: int | None = option(
        None, "Query examples", "Empty: as in training.", ge=1, le=1000
    )
    steps: int | None = option(
        None, "Inner steps", "Empty: the method's own number.", ge=1, le=10_000
    )
    together: bool = option(
        True,
        "Query examples together",
        "Predict a task's query examples as one batch, whose statistics BatchNorm uses "
        "(transductive). Off: one by one, beside the support set.",
    )


def judge(folder: Path, protocol: Protocol) -> Judgement:
    """Evaluate the weights in a run's folder, and store the result there.

    Raises: StoreError where the folder holds no readable run, OptionError where the protocol does
    not fit it, ValueError where its data cannot be read.
    """
    record = open_run(folder)
    try:
        trained = RunConfig.model_validate(record.config)
    except ValidationError as error:
        raise StoreError(f"{folder} has a configuration that this version cannot read.") from error
    setting = settle(_asked(trained, protocol))
    saved = load_checkpoint(folder / CHECKPOINT)
    meta = _fitting(setting, saved["meta"], folder)
    steps = protocol.steps or setting.algorithm.steps
    try:
        per_task = task_curves(setting, meta, protocol.tasks, steps, together=protocol.together)
    finally:
        setting.shards.close()
    shared = setting.config.shared
    found = Judgement(
        run=record.id,
        label=record.label,
        config=setting.config.model_dump(mode="json") | {"seed": trained.seed},
        step=int(saved["step"]),
        k=steps,
        protocol={
            "tasks": protocol.tasks,
            "split": protocol.split,
            "seed": protocol.seed,
            "ways": shared.ways,
            "shots": shared.shots,
            "query": shared.query_shots,
            "k": steps,
            "together": protocol.together,
        },
        dataset=setting.problem.dataset,
        per_task=per_task,
    )
    store(found, folder)
    return found


def _asked(trained: RunConfig, protocol: Protocol) -> RunConfig:
    """Return the run's configuration with the tasks of the protocol."""
    asked = {
        name: value
        for name in ("shots", "query_shots")
        if (value := getattr(protocol, name)) is not None
    }
    shared = trained.shared.model_copy(update=asked)
    problem = dict(trained.problem_options)
    if "held_out" in problem:
        problem["held_out"] = protocol.split
    elif protocol.split != "test":
        raise OptionError(
            "split", f"{trained.problem} has no {protocol.split} classes: use split = test."
        )
    update = {"shared": shared, "problem_options": problem, "seed": protocol.seed}
    return trained.model_copy(update=update)


def _fitting(setting: Setting, saved: object, folder: Path) -> dict:  # type: ignore[type-arg]
    """Return stored meta-parameters, on the device, if they are those of this setting."""
    wanted = setting.init()
    if not isinstance(saved, dict) or {
        name: getattr(value, "shape", None) for name, value in saved.items()
    } != {name: value.shape for name, value in wanted.items()}:
        raise StoreError(f"{folder} has a checkpoint whose weights do not fit its configuration.")
    return {name: saved[name].to(value) for name, value in wanted.items()}
