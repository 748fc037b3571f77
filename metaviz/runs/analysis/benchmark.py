"""Judged runs and published rows in one table, each with what is known to differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.config.quantities import quantity_of
from metaviz.runs.analysis.published import Published, beside, differences, distance, published
from metaviz.runs.model.evaluation import Judgement, draws_text, stored
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import Style, styles


@dataclass(frozen=True, eq=False)
class Judged:
    """A shown run and one of its judgements."""

    record: str
    label: str
    style: Style
    judgement: Judgement
    as_trained: bool = False
    """Whether it took as many inner steps as in its training."""

    @property
    def protocol_key(self) -> tuple[Any, ...]:
        """What says how runs were judged that can be compared; last k, None for as trained."""
        one = self.judgement
        k = None if self.as_trained or not one.adapts else one.k
        return one.task_list, one.measure, one.protocol["together"], k

    def unlike(self, first: "Judged") -> str:
        """Say what forbids a difference to another one, task by task; empty where nothing does.

        Methods must have taken equally many inner steps, or each as many as in its training. Those
        without an inner loop stand beside any number.
        """
        mine, its = self.judgement, first.judgement
        if mine.task_list != its.task_list:
            return "other tasks"
        if mine.measure != its.measure:
            return f"{mine.measure_text()}, not {its.measure_text()}"
        if mine.protocol["together"] != its.protocol["together"]:
            return "query examples predicted otherwise"
        loops = mine.adapts and its.adapts
        if loops and mine.k != its.k and not (self.as_trained and first.as_trained):
            return f"k = {mine.k}, not {its.k}"
        return ""


@dataclass(frozen=True)
class Compared:
    """Runs that were judged by one protocol; the others are held against the first."""

    protocol: str
    runs: tuple[Judged, ...]


@dataclass(frozen=True)
class Choice:
    """Which published rows are wanted; None admits all."""

    dataset: str | None = None
    ways: int | None = None
    shots: int | None = None
    backbone: str | None = None
    collection: str | None = None

    def admits(self, row: Published) -> bool:
        """Return whether a published row is wanted."""
        return all(
            wanted is None or wanted == getattr(row, name) for name, wanted in vars(self).items()
        )


@dataclass(frozen=True)
class Row:
    """A line of the table. Values are as they are shown: accuracies in per cent.

    `record` is empty for published rows. `beside` is the published row of the same method.
    """

    name: str
    value: float
    half_width: float | None
    details: str
    is_loss: bool
    record: str = ""
    color: str = ""
    before: float | None = None
    minus_first: str = ""
    counts: str = ""
    p: str = ""
    beside: Published | None = None
    remarks: tuple[str, ...] = ()

    @property
    def minus_published(self) -> float | None:
        """The difference to the published number of the same method."""
        return None if self.beside is None else self.value - self.beside.value


def judged_runs(
    records: Sequence[Record], folders: Mapping[str, Path], told: Sequence[Judgement] = ()
) -> list[Judged]:
    """Read what is stored with the shown runs, and add what was told of them and not stored."""
    names, line_styles = labels(list(records)), styles(records)
    found = []
    for record in records:
        kept = stored(folders[record.id]) if record.id in folders else []
        known = {_key(judgement) for judgement in kept}
        kept += [one for one in told if one.run == record.id and _key(one) not in known]
        found += [
            Judged(
                *(record.id, names[record.id], line_styles[record.id], judgement),
                as_trained=judgement.k in {one.trained_steps for one in record.evaluations[-1:]},
            )
            for judgement in kept
        ]
    return found


def _key(judgement: Judgement) -> tuple[Any, ...]:
    """Return what tells judgements of one run apart."""
    return judgement.step, judgement.k, tuple(sorted(judgement.protocol.items()))


def task_lists(judged: Sequence[Judged]) -> dict[tuple[Any, ...], str]:
    """Return the lists of tasks that runs were judged on, with a text; the fullest list first."""
    found: dict[tuple[Any, ...], list[Judged]] = {}
    for one in judged:
        found.setdefault(one.judgement.task_list, []).append(one)
    order = sorted(found, key=lambda key: -len({one.record for one in found[key]}))
    return {key: _tasks_text(found[key][0].judgement) for key in order}


def rows_of(judged: Sequence[Judged], choice: Choice) -> list[Row]:
    """Return our runs, which must share their list of tasks, and then the published rows.

    Where every data set is admitted, published losses do not stand among accuracies.
    """
    ours = [_ours(one, judged[0], choice) for one in judged]
    losses = any(row.is_loss for row in ours)
    theirs = [
        row
        for row in sorted(published(), key=_rank)
        if choice.admits(row) and (choice.dataset is not None or row.is_loss == losses)
    ]
    return ours + [_theirs(row) for row in theirs]


def _rank(row: Published) -> tuple[bool, float]:
    """Return what sorts accuracies, the best first, before losses."""
    return row.is_loss, row.value if row.is_loss else -row.value


def newest(judged: Sequence[Judged], task_list: tuple[Any, ...] | None) -> list[Judged]:
    """Return each run's latest judgement on a list of tasks, of its last weights."""
    found: dict[str, Judged] = {}
    for one in judged:
        if one.judgement.task_list != task_list:
            continue
        kept = found.get(one.record)
        if kept is None or one.judgement.step >= kept.judgement.step:
            found[one.record] = one
    return list(found.values())


def compared(judged: Sequence[Judged]) -> tuple[list[Compared], list[Judged]]:
    """Return the protocols by which several runs were judged, and the judgements left out.

    Of each run its newest weights are taken.
    """
    groups: dict[tuple[Any, ...], list[Judged]] = {}
    for one in judged:
        groups.setdefault(one.protocol_key, []).append(one)
    found = []
    for key, own in groups.items():
        *tasks, k = key
        # Runs that were trained with k steps, or take none, stand beside those asked to take k.
        beside = groups.get((*tasks, None), []) if k is not None else []
        fitting = [one for one in beside if one.judgement.k in {0, k}]
        kept = newest([*fitting, *own], own[0].judgement.task_list)
        if len(kept) > 1:
            found.append(Compared(_common_protocol(kept), tuple(kept)))
    used = {one for known in found for one in known.runs}
    return found, [one for one in judged if one not in used]


def steps_text(judgements: Sequence[Judgement]) -> str:
    """Return the number of steps that runs of one protocol took, and a comma; see `unlike`."""
    numbers = sorted({one.k for one in judgements if one.adapts})
    if len(numbers) > 1:
        return f"k as trained ({', '.join(map(str, numbers))}), "
    return f"k = {numbers[0]}, " if numbers else ""


def _common_protocol(judged: Sequence[Judged]) -> str:
    judgements = [one.judgement for one in judged]
    first = judgements[0]
    text = first.protocol_text(steps_text(judgements))
    return f"{first.dataset}, {first.measure_text()}: {text}"


@dataclass(frozen=True)
class Worst:
    """A task that a run does worse on after adaptation than on others."""

    record: str
    label: str
    task: int
    before: float
    after: float
    gain: float


def gains(judgement: Judgement) -> np.ndarray:
    """Return what adaptation gains on each task, shape (tasks,): accuracy won, or loss taken off.

    In the unit that is shown, so that accuracies are in per cent.
    """
    before, after = judgement.per_task[judgement.measure][0], judgement.values()
    sign = 1.0 if quantity_of(judgement.measure).better == "larger" else -1.0
    return np.asarray(sign * judgement.unit * (after - before))


def worst_tasks(judged: Sequence[Judged], count: int = 5) -> list[Worst]:
    """Return the tasks on which adaptation gains least, over all runs that adapt by steps."""
    found = []
    for one in (one for one in judged if one.judgement.adapts):
        judgement, gain = one.judgement, gains(one.judgement)
        measured = judgement.unit * judgement.per_task[judgement.measure]
        for task in np.argsort(gain, kind="stable")[:count].tolist():
            before, after = float(measured[0, task]), float(measured[judgement.k, task])
            found.append(Worst(one.record, one.label, task, before, after, float(gain[task])))
    return sorted(found, key=lambda worst: worst.gain)[:count]


def same_data(judgement: Judgement) -> Choice:
    """Return which published rows are of the data, ways and shots of a judgement."""
    protocol = judgement.protocol
    ways = protocol["ways"] if judgement.measure == "query_accuracy" else 0
    return Choice(judgement.dataset, ways, protocol["shots"])


def measure_text(rows: Sequence[Row]) -> str:
    """Return what the first of some rows measures."""
    return "query loss" if rows and rows[0].is_loss else "accuracy (%)"


def task_text(ways: int, shots: int) -> str:
    """Return what a task is called; regression has no ways (0)."""
    return f"{ways}-way {shots}-shot" if ways else f"{shots}-shot"


def _tasks_text(judgement: Judgement) -> str:
    protocol = judgement.protocol
    of, examples = judgement.dataset, ""
    if protocol["shots"]:
        of += f", {task_text(same_data(judgement).ways or 0, protocol['shots'])}"
        examples = f"{protocol['query']} query examples, "
    return (
        f"{of}: {protocol['tasks']} {protocol['split']} tasks, {examples}"
        f"seed {protocol['seed']}{draws_text(protocol)}"
    )


def _ours(one: Judged, first: Judged, choice: Choice) -> Row:
    judgement = one.judgement
    mean, half = judgement.interval()
    unit = judgement.unit
    unlike = one.unlike(first)
    apart = ("", "", "") if one is first or unlike else judgement.minus(first.judgement)
    same = [
        row
        for row in beside(judgement, judgement.dataset)
        if choice.admits(row) and row.is_of(str(judgement.config["algorithm"]))
    ]
    # Where several papers quote a method, the one whose experiment is nearest.
    nearest = min(same, key=lambda row: distance(judgement, row), default=None)
    together = "" if judgement.protocol["together"] else ", query examples one by one"
    return Row(
        name=one.label,
        record=one.record,
        color=one.style.color,
        value=unit * mean,
        half_width=unit * half,
        before=judgement.before(),
        details=f"step {judgement.step}, {judgement.steps_text()}".removesuffix(", ") + together,
        minus_first=apart[0] or (f"not subtracted: {unlike}" if unlike else ""),
        counts=apart[1],
        p=apart[2],
        is_loss=judgement.measure != "query_accuracy",
        beside=nearest,
        remarks=() if nearest is None else tuple(differences(judgement, nearest)),
    )


def _theirs(row: Published) -> Row:
    return Row(
        name=row.name,
        value=row.value,
        half_width=row.half_width,
        details=f"{row.dataset} {task_text(row.ways, row.shots)}, {backbone_text(row.backbone)}",
        is_loss=row.is_loss,
    )


def backbone_text(group: str) -> str:
    """Return the name of a group of networks as a person writes it."""
    known = {
        "convnet": "four-block ConvNet",
        "conv4_64": "Conv4-64",
        "conv4_128": "Conv4-128",
        "resnet12": "ResNet-12",
        "mlp": "MLP",
        "deep_residual_pretrained": "pretrained deep ResNet",
        "searched_cnn": "searched CNN",
    }
    return known.get(group, group.replace("_", " "))
