"""The expansion of a run's meta-gradients at several of its meta-steps."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from metaviz.files.progress import Report
from metaviz.meta.context import Meta
from metaviz.runs.model.events import Stepped
from metaviz.runs.model.theory import ExpandedOverTraining
from metaviz.runs.storage.store import open_run
from metaviz.theory.expansion import METHODS
from metaviz.training.checkpoints import BEFORE, BEST
from metaviz.training.protocol import StoredRun, earlier, stored_run
from metaviz.training.session import stored_config
from metaviz.training.setting import settle
from metaviz.training.theory.replay import without_evaluations
from metaviz.training.theory.runs import expansion_products, network_of, own_tasks
from metaviz.training.trainer import begin, train

_PLACES = (0, 1, 3, 10, 30, 100, 300, 1000)
_SECONDS = 20.0


def expand_over_training(
    folder: Path, report: Report, seconds: float = _SECONDS
) -> ExpandedOverTraining:
    """Compare meta-gradients with their expansion at a run's start, on its way, and at its end.

    The run is taken again for up to so many seconds, after which its checkpoints follow: its best,
    the one before the newest, and the newest. A run that began with another's weights has its
    checkpoints alone.
    Raises: as `expand`.
    """
    with stored_run(folder, own_tasks(folder)) as run:
        rate = network_of(run)[2]
        kept = [run, *(earlier(run, folder, name) for name in (BEFORE, BEST))]
        stored = {one.step: one for one in kept if one is not None}
        taken = {
            step: replace(run, meta=meta, step=step)
            for step, meta in _retaken(folder, run, seconds, report)
        }
        places = dict(sorted((stored | taken).items()))
        found = []
        for at, one in enumerate(places.values()):
            report(f"Expansion of {run.record.label}: {at} of {len(places)} meta-steps")
            found.append(expansion_products(one, np.array([rate])))
        return ExpandedOverTraining(
            run=run.record.id,
            label=run.record.label,
            count=found[0][0],
            rate=rate,
            steps=np.array(list(places)),
            retaken=len(taken),
            products={
                method: np.concatenate([products[method] for _, products in found])
                for method in METHODS
            },
        )


def _retaken(
    folder: Path, run: StoredRun, seconds: float, report: Report
) -> Iterator[tuple[int, Meta]]:
    """Yield meta-steps and weights of the run, which is trained again as far as time goes."""
    record = open_run(folder)
    if record.parent:
        return
    ends = time.monotonic() + seconds
    setting = without_evaluations(settle(stored_config(record, folder).at(0)))
    progress = begin(setting)
    progress.evaluated = 0

    def now() -> tuple[int, Meta]:
        return progress.step, {name: value.clone() for name, value in progress.meta.items()}

    yield now()
    training = train(setting, progress)
    try:
        for event in training:
            if isinstance(event, Stepped):
                if event.step >= run.step or time.monotonic() > ends:
                    return
                if event.step in _PLACES:
                    yield now()
                report(f"{record.label}: meta-step {event.step} again")
    finally:
        training.close()  # type: ignore[attr-defined]  # a generator
