"""Searches on disk: what was asked, and how far they are; and what lets them go on.

A folder of its own beside the queue holds `search.toml`, which a person may read, and
`progress.json`, which follows from the runs and is written anew whenever one ends.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError, Options, checked
from metaviz.config.proposer import Finished, run_key
from metaviz.config.quantities import primary_of
from metaviz.config.run_config import read_toml, to_toml
from metaviz.config.search import Child, Generation, Ranking, Search, SearchPlan, read_plan
from metaviz.files.atomic import write_text
from metaviz.files.foreign import ForeignError, parsed_toml, read_text
from metaviz.files.platform import reason_of
from metaviz.files.values import of_kind, parsed_json
from metaviz.runs.model.record import Record
from metaviz.runs.storage.queue import OVER, Entry, Queue
from metaviz.runs.storage.store import StoreError, list_runs, open_run

SEARCHES, SEARCH, PROGRESS = "searches", "search.toml", "progress.json"
_MOST_BYTES = 16_000_000
Count = Callable[[Mapping[str, Any]], int]
"""Returns how many parameters a network has that is described by plain values."""


class ChildProgress(Options):
    """A run of a search as pages and tables show it; `score` is None until it is over."""

    kind: Literal["all", "top", "random", "reference", "final"]
    label: str
    cell: str = ""
    role: str = ""
    predicted: float | None = None
    spread: float | None = None
    state: str = "waiting"
    score: float | None = None
    half: float | None = None
    parameters: int | None = None
    run: str = ""
    key: str = ""
    """What the child shares with its run."""


class GenerationProgress(Options):
    """Runs that were proposed together, of so many candidates."""

    number: int
    candidates: int
    children: tuple[ChildProgress, ...]


class Progress(Options):
    """How far a search is."""

    name: str
    problem: str
    is_done: bool = False
    is_accuracy: bool = True
    """Whether scores are accuracies; else 1 / (1 + loss)."""
    generations: tuple[GenerationProgress, ...] = Field(default=())


def write_search(home: Path, plan: SearchPlan) -> Path:
    """Keep a search. Raises: StoreError where it cannot be, or another has its name."""
    folder = home / SEARCHES / plan.name
    text = to_toml(plan)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not (folder / SEARCH).exists()
        if is_new:
            write_text(folder / SEARCH, text)
    except OSError as error:
        raise StoreError(f"Cannot write {folder / SEARCH}: {reason_of(error)}.") from error
    if not is_new and read_toml(folder / SEARCH) != parsed_toml(text):
        raise StoreError(
            f"There is a search {plan.name} with other settings: choose another name, or remove "
            f"{folder}."
        )
    return folder


def read_search(home: Path, name: str, catalogue: Catalogue) -> SearchPlan:
    """Read a search by its name. Raises: StoreError or OptionError with one sentence."""
    known = list_searches(home)
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        raise StoreError(f"There is no search {name!r:.60}: {there}.")
    plan = read_plan(read_toml(home / SEARCHES / name / SEARCH), catalogue)
    if plan.name != name:
        raise StoreError(f"The search in {home / SEARCHES / name} is called {plan.name}.")
    return plan


def list_searches(home: Path) -> list[str]:
    """Return the names of all searches, the newest last."""
    try:
        found = [path.parent for path in (home / SEARCHES).glob(f"*/{SEARCH}")]
        return [path.name for path in sorted(found, key=lambda p: (p.stat().st_mtime, p.name))]
    except OSError:
        return []


def read_progress(home: Path, name: str) -> Progress | None:
    """Return how far a search is; None where nothing readable says so."""
    try:
        text = read_text(home / SEARCHES / name / PROGRESS, _MOST_BYTES)
        return checked(Progress, of_kind(parsed_json(text), dict, "progress"))
    except (ForeignError, OptionError):
        return None


def advance(
    queue: Queue, home: Path, runs: Path, plan: SearchPlan, catalogue: Catalogue,
    rank: Ranking, count: Count = lambda _: 0,
) -> Progress:  # fmt: skip
    """Queue what a search wants next, unless some of its entries are not over.

    What was trained before, here or by another search, is not trained again.
    Raises: StoreError where queue or folder cannot be written.
    """
    search = Search(plan, catalogue, rank)
    entries = [entry for entry in queue.entries() if entry.sweep == plan.sweep]
    finished = {}
    for entry in entries:
        if (one := finished_entry(entry, count)) is not None:
            finished[run_key(one.config, catalogue)] = one
    before = read_progress(home, plan.name)
    if before is not None and any(entry.state not in OVER for entry in entries):
        progress = _filled(before, finished, entries, catalogue)
    else:
        generations = _planned(search, finished, runs, count, catalogue)
        wanted = search.propose(list(finished.values()))
        if wanted and not any(entry.state not in OVER for entry in entries):
            queue.add([run.model_dump(mode="json") for run in wanted], plan.sweep, len(entries))
        progress = _progress(search, generations, finished, is_done=wanted is None)
    _write_progress(home, progress)
    return progress


def finished_entry(entry: Entry, count: Count) -> Finished | None:
    """Return what became of an entry; None while it is not over, or where its run is gone.

    What failed or diverged has score 0.
    """
    if entry.state not in OVER or not entry.config:
        return None
    if entry.folder is None:
        return Finished(entry.config, 0.0, entry.state)
    if not entry.folder.is_dir():
        return None
    return _finished_run(entry.folder, entry.config, count)


def _finished_run(folder: Path, config: Mapping[str, Any], count: Count) -> Finished | None:
    try:
        record = open_run(folder)
    except StoreError:
        return None
    if record.state in {"running", "paused", "interrupted"}:
        return None
    score, half = score_of(record) if record.state == "done" else (0.0, math.nan)
    size = count(record.network) if record.network else 0
    return Finished(config, score, record.state, half, size, record.id)


def score_of(record: Record) -> tuple[float, float]:
    """Return the accuracy of the last evaluation after its last step, and its 95 % half-width.

    Where there is no accuracy it is 1 / (1 + loss), which is as larger as the run is better. What
    has no finite number scores 0.
    """
    if not record.evaluations:
        return 0.0, math.nan
    last = record.evaluations[-1]
    primary = primary_of([name for name in last.curves if not name.endswith("_ci95")])
    if primary is None:
        return 0.0, math.nan
    steps = len(last.curves[primary.id]) - 1
    value, half = last.at(primary.id, steps), last.at(f"{primary.id}_ci95", steps)
    if not math.isfinite(value):
        return 0.0, math.nan
    if primary.id == "query_accuracy":
        return value, half
    return 1 / (1 + max(value, 0.0)), half / (1 + max(value, 0.0)) ** 2


def _planned(
    search: Search, finished: dict[str, Finished], runs: Path, count: Count, catalogue: Catalogue
) -> list[Generation]:
    """Return the generations, with stored runs that are as wanted among the finished ones."""
    stored: dict[str, Path] | None = None
    while True:
        generations = search.generations(list(finished.values()))
        missing = [c for c in generations[-1].children if search.key(c) not in finished]
        if not missing:
            return generations
        stored = _stored(search, runs, catalogue) if stored is None else stored
        found = 0
        for child in missing:
            place, config = stored.get(search.key(child)), child.config.model_dump(mode="json")
            one = _finished_run(place, config, count) if place is not None else None
            if one is not None and one.state == "done":
                finished[search.key(child)] = one
                found += 1
        if found < len(missing):
            return generations


def _stored(search: Search, runs: Path, catalogue: Catalogue) -> dict[str, Path]:
    """Return the folders of the method's runs by what equal ones share; the newest counts."""
    found = {}
    for folder in list_runs(runs):
        if not folder.name.startswith(f"{search.base.algorithm}-"):
            continue
        try:
            found[run_key(open_run(folder).config, catalogue)] = folder
        except StoreError:
            continue
    return found


def _progress(
    search: Search, generations: Sequence[Generation], finished: Mapping[str, Finished], *,
    is_done: bool,
) -> Progress:  # fmt: skip
    parts = [
        GenerationProgress(
            number=one.number,
            candidates=one.candidates,
            children=tuple(_child(c, search.key(c), finished) for c in one.children),
        )
        for one in generations
    ]
    return Progress(
        name=search.plan.name,
        problem=search.base.problem,
        is_done=is_done,
        is_accuracy=search.has_accuracy,
        generations=tuple(parts),
    )


def _filled(
    before: Progress, finished: Mapping[str, Finished],
    entries: Sequence[Entry], catalogue: Catalogue,
) -> Progress:  # fmt: skip
    """Return how far a search is while a generation trains, without ranking anything again."""
    states = {
        run_key(e.config, catalogue): e.state for e in entries if e.config and e.state not in OVER
    }
    parts = tuple(
        one.model_copy(
            update={
                "children": tuple(
                    _shown(child, finished.get(child.key), states.get(child.key))
                    for child in one.children
                )
            }
        )
        for one in before.generations
    )
    return before.model_copy(update={"generations": parts})


def _child(child: Child, key: str, finished: Mapping[str, Finished]) -> ChildProgress:
    plain = ChildProgress(
        kind=child.kind,
        label=child.label,
        cell=child.cell,
        role=child.role,
        predicted=child.predicted,
        spread=child.spread,
        key=key,
    )
    return _shown(plain, finished.get(key), None)


def _shown(child: ChildProgress, one: Finished | None, state: str | None) -> ChildProgress:
    if one is None:
        return child.model_copy(update={"state": state or child.state})
    half = one.half if math.isfinite(one.half) else None
    found = {"state": one.state, "score": one.score, "half": half, "run": one.run}
    return child.model_copy(update={**found, "parameters": one.parameters or None})


def _write_progress(home: Path, progress: Progress) -> None:
    path = home / SEARCHES / progress.name / PROGRESS
    try:
        write_text(path, progress.model_dump_json(indent=1))
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {reason_of(error)}.") from error
