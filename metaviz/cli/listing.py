"""What `metaviz runs` lists: search, groups, columns, and the CSV of it."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from metaviz.cli.folders import runs_root, short_id
from metaviz.cli.options import split_names
from metaviz.cli.tables import console, table
from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.options import OptionError
from metaviz.files.foreign import UnreadableError
from metaviz.paths import data_dir
from metaviz.runs.export.tables import Table
from metaviz.runs.storage.store import StoreError, holds_run
from metaviz.runs.table.baseline import Baseline
from metaviz.runs.table.columns import CellContext, Column, Columns
from metaviz.runs.table.groups import BASIC, Group, Interval, grouped
from metaviz.runs.table.index import INDEX, Index
from metaviz.runs.table.search import QueryError, parse
from metaviz.runs.table.summary import Entry

INTERVALS = get_args(Interval)
RESULTS = ("loss", "accuracy")
_SHOWN = ("run", "seed", "state", "step", "loss", "accuracy", "seconds")
_BESIDES = ("step", "seconds")
"""What 80 columns have no room for beside a baseline."""
_AS_TEXT = {"run", "tags", "note", "started"}
_ALL = "all"

_ID = Column(
    "id",
    "Id",
    "What commands know the run by",
    lambda entry: short_id(entry.folder.name if entry.folder else entry.id),
    lambda entry: entry.id,
    right=False,
)

Item = Entry | Group


def stored_entries(folder: Path | None) -> tuple[list[Entry], list[str]]:
    """Return the runs of a folder, and what is wrong with others. Raises: StoreError."""
    root = runs_root(folder)
    index = Index(data_dir() / INDEX)
    try:
        batches = list(index.scan(root))
    except UnreadableError as error:
        raise StoreError(f"{root} cannot be read: {error}.") from error
    finally:
        index.close()
    entries = [entry for batch in batches for entry in batch.entries]
    if folder is not None and holds_run(folder):
        entries = [entry for entry in entries if entry.folder == root / folder.name]
    return entries, [sentence for batch in batches for sentence in batch.warnings]


def search(entries: Sequence[Entry], text: str) -> list[Entry]:
    """Return what a search finds, without the trash unless it asks for that.

    Raises: OptionError.
    """
    known = Columns(shipped_catalogue()).spec_keys()
    try:
        query = parse(text, [*known, *(key for entry in entries for key in entry.keys)])
    except QueryError as error:
        raise OptionError("query", str(error)) from None
    return [
        entry
        for entry in entries
        if (query.about_trash or not entry.marks.trashed) and query.matches(entry)
    ]


def grouped_by(text: str, found: Sequence[Entry], entries: Sequence[Entry]) -> list[Item]:
    """Return the groups of runs with the same values of these keys. Raises: OptionError."""
    if text == _ALL:
        return list(grouped(found, None))
    known = [*BASIC, "seed", "state", "tags", *(key for e in entries for key in e.values)]
    keys = split_names(text)
    _check_keys("group-by", keys, known, f"{_ALL} (everything but the seed)")
    return list(grouped(found, keys))


def baseline_of(text: str | None, entries: Sequence[Entry]) -> Baseline:
    """Return the run that all are compared with. Raises: OptionError."""
    if text is None:
        return Baseline()
    found = [e.id for e in entries if text in {e.id, e.marks.name} or e.folder == Path(text)]
    if not found:
        found = [e.id for e in entries if e.id.startswith(text) or short_id(e.id) == text]
    if len(found) != 1:
        many = "names no run" if not found else f"names {len(found)} runs"
        raise OptionError("baseline", f"--baseline {text!r} {many}: use one run's id or name.")
    return Baseline(found[0])


def chosen_columns(
    text: str | None, entries: Sequence[Entry], seen: CellContext, *, with_id: bool = False
) -> list[Column]:
    """Return the columns that are asked for, or those that hold something. Raises: OptionError.

    `with_id` adds the id, by which other commands know a run, to those that nobody asked for.
    """
    every = Columns(shipped_catalogue())
    left_out = _BESIDES if seen.baseline else ()
    if text is None:
        usual = [every.column(key) for key in _SHOWN if key not in left_out]
        shown = [column for column in usual if any(column.text(entry) for entry in entries)]
        shown += [_ID] if with_id else []
    else:
        keys = split_names(text)
        known = [column.key for column in every.known(entries)] + every.spec_keys()
        _check_keys("columns", keys, known, "run,loss")
        shown = [every.column(key) for key in keys]
    return [*shown, seen.delta_column()] if seen.baseline else shown


def one_of(option: str, text: str, choices: Sequence[str]) -> Any:
    """Return a text that is one of the choices. Raises: OptionError."""
    if text not in choices:
        raise OptionError(
            option, f"--{option} {text!r} is not valid: use one of {', '.join(choices)}."
        )
    return text


def print_items(
    items: Sequence[Item], shown: Sequence[Column], seen: CellContext, *, grouped: bool
) -> None:
    """Print runs or groups as a table."""
    titles = [seen.title(column, grouped=grouped) for column in shown]
    right = [place for place, column in enumerate(shown) if column.right]
    rows = ([_text(item, column, seen) for column in shown] for item in items)
    console().print(table(titles, rows, right=right, fold=range(len(titles))))


def items_csv(items: Sequence[Item], shown: Sequence[Column], seen: CellContext) -> str:
    """Return raw numbers; of groups the mean, its half-width under the interval's name, and n."""
    return items_table(items, shown, seen).csv()


def items_table(items: Sequence[Item], shown: Sequence[Column], seen: CellContext) -> Table:
    """Return what `items_csv` writes."""
    groups = any(isinstance(item, Group) for item in items)
    header: list[str] = []
    for column in shown:
        header.append(column.key)
        if groups and column.result:
            header += [f"{column.key}_{seen.interval}", f"{column.key}_n"]
    rows = ([cell for column in shown for cell in _values(item, column, seen)] for item in items)
    return Table(tuple(header), rows)


def _values(item: Item, column: Column, seen: CellContext) -> list[Any]:
    if isinstance(item, Entry) and column.key == "star":  # stars sort before what has none
        return [item.marks.star]
    if isinstance(item, Entry) and column.key == "run":  # tables have ids where windows have titles
        return [item.marks.name or f"{item.summary.algorithm} · seed {item.summary.seed}"]
    if isinstance(item, Entry):
        return [column.text(item) if column.key in _AS_TEXT else seen.value(column, item)]
    if column.result:
        spread = item.spread(column.result, seen.interval)
        return [spread.mean, spread.half, spread.n]
    by = seen.group_value if column.key == "delta" else seen.group_text
    return [by(column, item)]


def _text(item: Item, column: Column, seen: CellContext) -> str:
    return seen.group_text(column, item) if isinstance(item, Group) else seen.text(column, item)


def _check_keys(option: str, keys: Sequence[str], known: Sequence[str], also: str) -> None:
    for key in keys:
        if key not in known:
            near = get_close_matches(key, known, 1) or [also]
            raise OptionError(option, f"--{option} {key!r} is no key of these runs: use {near[0]}.")
    if not keys:
        raise OptionError(option, f"--{option} names no key: use {also}.")
