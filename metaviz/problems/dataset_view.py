"""Describes the data of a classification problem and draws one episode of it."""

from pathlib import Path

import numpy as np
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.files.archives import DataError
from metaviz.files.progress import Report, reading_reported_to
from metaviz.problems.base import Classification
from metaviz.problems.episodes import FEWEST
from metaviz.problems.inspection import inspect_data
from metaviz.problems.registry import find_problem
from metaviz.runs.model.dataset import MOST_SHOWN, DatasetView, SampleEpisode, SplitCount

_SMALLEST = {"ways": 2, "shots": 1, "query_shots": 1}


def dataset_view(config: RunConfig, split: str, number: int, report: Report) -> DatasetView:
    """Read a problem's data and draw task `number` of a split.

    Data that hold too little for the run's ways and shots are described all the same. `report`
    takes a line on how far reading is; what it raises breaks it off and leaves no half cache.
    Raises: OptionError or ValueError with one sentence, where nothing can be read.
    """
    try:
        problem, refusal = _built(config, report)
    except (OptionError, DataError) as error:
        return _inspected(config, report, error)
    counts = problem.counts()
    if split not in counts:
        raise OptionError("split", f"There is no split {split!r}; there are: {', '.join(counts)}.")
    refusal = refusal or _refusal(split, counts[split], config.shared)
    episode = None if refusal else _episode(problem, config.shared, split, number)
    return DatasetView(
        dataset=problem.dataset,
        layout=problem.layout,
        size=problem.size,
        splits={name: _count(images) for name, images in counts.items()},
        remarks=problem.remarks,
        episode=episode,
        refusal=refusal,
    )


def _built(config: RunConfig, report: Report) -> tuple[Classification, str]:
    """Return the problem; where the data are too few, with the smallest tasks, and the reason."""
    known = find_problem(config.problem)
    refusal = ""

    def report_images(done: int, count: int) -> None:
        report(f"Decoded {done} of {count} images")

    report("Finding out what is there")
    with reading_reported_to(report_images):
        try:
            problem = known.build(config.problem_options, config.shared, config.seed)
        except (OptionError, DataError) as error:
            refusal = str(error)
            smallest = config.shared.model_copy(update=_SMALLEST)
            try:
                problem = known.build(config.problem_options, smallest, config.seed)
            except (OptionError, DataError):
                raise error from None
    if not isinstance(problem, Classification):
        raise OptionError("problem", f"{known.entry.title} has no images to look at.")
    return problem, refusal


def _inspected(config: RunConfig, report: Report, refusal: ValueError) -> DatasetView:
    """Describe data of which no episode at all can be drawn. Raises: the refusal otherwise."""
    path = config.problem_options.get("path")
    if not path:
        raise refusal
    try:
        found = inspect_data(Path(str(path)).expanduser(), report)
    except DataError:
        raise refusal from None
    counts = {split: np.array(list(held.values())) for split, held in found.splits.items()}
    return DatasetView(
        dataset=found.dataset,
        layout=found.layout,
        size=None,
        splits={name: _count(images) for name, images in counts.items()},
        remarks=found.remarks,
        episode=None,
        refusal=str(refusal),
    )


def _refusal(split: str, counts: np.ndarray, shared: Shared) -> str:
    wanted = shared.shots + shared.query_shots
    enough = int((counts >= wanted).sum())
    if enough >= shared.ways:
        return ""
    advice = "ask for fewer" if _may_ask_for_fewer(counts) else "add classes or images"
    return (
        f"No {split} episode can be drawn: {enough} {split} classes have the {wanted} images that "
        f"shots + query examples ask for, where ways = {shared.ways}; {advice}."
    )


def _may_ask_for_fewer(counts: np.ndarray) -> bool:
    """Return whether any episode can be drawn of classes with so many images."""
    return int((counts >= FEWEST).sum()) >= FEWEST


def _count(images: np.ndarray) -> SplitCount:
    if not len(images):
        return SplitCount(0, 0, 0, 0)
    return SplitCount(len(images), int(images.sum()), int(images.min()), int(images.max()))


def _episode(problem: Classification, shared: Shared, split: str, number: int) -> SampleEpisode:
    tasks = problem.tasks(split, number, 1)

    def by_class(x: Tensor) -> np.ndarray:
        images = problem.shown(x[0])
        return images.reshape(shared.ways, -1, *images.shape[1:])[:MOST_SHOWN, :MOST_SHOWN]

    return SampleEpisode(
        split,
        number,
        shared.ways,
        shared.shots,
        shared.query_shots,
        by_class(tasks.support.x),
        by_class(tasks.query.x),
    )
