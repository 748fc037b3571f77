"""`metaviz runs` and `metaviz mark`: the runs table and a person's marks on the command line."""

import csv
import io
import math
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from rich.table import Table

from metaviz.cli.tables import console
from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError
from metaviz.files.atomic import write_text
from metaviz.paths import data_dir, resource, runs_dir
from metaviz.runs.export.tables import safe_text
from metaviz.runs.model.marks import change_marks, read_marks, split_tags, with_tags
from metaviz.runs.storage.store import ABOUT, StoreError
from metaviz.runs.table.baseline import Baseline
from metaviz.runs.table.columns import Column, Columns, Sight, sight
from metaviz.runs.table.groups import BASIC, Group, Interval, Result, grouped
from metaviz.runs.table.index import INDEX, Index
from metaviz.runs.table.search import QueryError, parse
from metaviz.runs.table.summary import Entry

_SHOWN = ("run", "seed", "state", "step", "loss", "accuracy", "seconds")
_BESIDES = ("step", "seconds")
"""What 80 columns have no room for beside a baseline."""
_ALL = "all"


def runs_command(
    query: str,
    folder: Path | None,
    group_by: str | None,
    interval: str,
    baseline: str | None,
    result: str,
    columns: str | None,
    out: Path | None,
) -> None:
    """Print the runs that a search finds, as the window lists them, or write them as CSV."""
    chosen_interval: Interval = _one_of("interval", interval, get_args(Interval))
    chosen_result: Result = _one_of("result", result, ("loss", "accuracy"))
    entries, warnings = _entries(folder or runs_dir())
    found = _search(entries, query)
    sys.stderr.writelines(f"{sentence}\n" for sentence in warnings)
    items: Sequence[Entry | Group] = found
    if group_by is not None:
        items = grouped(found, _keys(group_by, entries))
    base = _baseline(baseline, entries) if baseline is not None else Baseline()
    seen = sight(entries, chosen_interval, base, chosen_result)
    shown = _columns(columns, entries, seen)
    if out is None:
        _print(items, shown, seen, grouped=group_by is not None)
        return
    try:
        write_text(out, _csv(items, shown, seen))
    except OSError as error:
        raise StoreError(f"Cannot write {out}: {error.strerror or error}.") from error
    sys.stdout.write(f"{out}\n")


def mark_command(
    runs: Sequence[str],
    folder: Path | None,
    *,
    star: bool | None,
    tags: str | None,
    untag: str | None,
    note: str | None,
    name: str | None,
    color: str | None,
    trash: bool | None,
) -> None:
    """Mark runs; what is not given stays."""
    plain = {"star": star, "notes": note, "name": name, "color": color, "trashed": trash}
    changes: dict[str, Any] = {key: value for key, value in plain.items() if value is not None}
    if not changes and tags is None and untag is None:
        raise OptionError(
            "mark", "Nothing to mark: use --star, --tag, --note, --name, --colour or --trash."
        )
    places = [_run_folder(run, folder or runs_dir()) for run in runs]
    for place in places:
        own = dict(changes)
        if tags is not None or untag is not None:
            before = read_marks(place)
            own["tags"] = with_tags(before, split_tags(tags or ""), split_tags(untag or ""))
        change_marks(place, own)
        sys.stdout.write(f"{place.name}\n")


def _entries(root: Path) -> tuple[list[Entry], list[str]]:
    index = Index(data_dir() / INDEX)
    try:
        place = root if not (root / "runs").is_dir() else root / "runs"
        batches = list(index.scan(place))
    except OSError as error:
        raise StoreError(f"{root} cannot be read: {error.strerror or error}.") from error
    finally:
        index.close()
    entries = [entry for batch in batches for entry in batch.entries]
    return entries, [sentence for batch in batches for sentence in batch.warnings]


def _search(entries: Sequence[Entry], text: str) -> list[Entry]:
    """Return what a search finds, without the trash unless it asks for that."""
    known = _columns_of_catalogue().spec_keys()
    try:
        query = parse(text, [*known, *(key for entry in entries for key in entry.keys)])
    except QueryError as error:
        raise OptionError("query", str(error)) from None
    return [
        entry
        for entry in entries
        if (query.about_trash or not entry.marks.trashed) and query.matches(entry)
    ]


def _keys(text: str, entries: Sequence[Entry]) -> tuple[str, ...] | None:
    if text == _ALL:
        return None
    known = [*BASIC, "seed", "state", "tags", *(key for e in entries for key in e.values)]
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    _known("group-by", keys, known, f"{_ALL} (everything but the seed)")
    return keys


def _known(option: str, keys: Sequence[str], known: Sequence[str], also: str) -> None:
    for key in keys:
        if key not in known:
            near = get_close_matches(key, known, 1) or [also]
            raise OptionError(option, f"--{option} {key!r} is no key of these runs: use {near[0]}.")
    if not keys:
        raise OptionError(option, f"--{option} names no key: use {also}.")


def _baseline(text: str, entries: Sequence[Entry]) -> Baseline:
    found = [e.id for e in entries if text in {e.id, e.marks.name} or e.folder == Path(text)]
    if not found:
        found = [e.id for e in entries if e.id.startswith(text)]
    if len(found) != 1:
        many = "names no run" if not found else f"names {len(found)} runs"
        raise OptionError("baseline", f"--baseline {text!r} {many}: use one run's id or name.")
    return Baseline(found[0])


def _columns(text: str | None, entries: Sequence[Entry], seen: Sight) -> list[Column]:
    every = _columns_of_catalogue()
    left_out = _BESIDES if seen.baseline else ()
    keys: Sequence[str] = [
        key
        for key in _SHOWN
        if key not in left_out and any(every.column(key).text(entry) for entry in entries)
    ]
    if text is not None:
        keys = tuple(part.strip() for part in text.split(",") if part.strip())
        known = [column.key for column in every.known(entries)] + every.spec_keys()
        _known("columns", keys, known, "run,loss")
    shown = [every.column(key) for key in keys]
    return [*shown, seen.delta_column()] if seen.baseline else shown


def _columns_of_catalogue() -> Columns:
    text = resource("catalogue.json").read_text(encoding="utf-8")
    return Columns(Catalogue.model_validate_json(text))


def _print(
    items: Sequence[Entry | Group], shown: Sequence[Column], seen: Sight, *, grouped: bool
) -> None:
    table = Table()
    for column in shown:
        title = seen.title(column, grouped=grouped)
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(title, justify=justify, overflow="fold")
    for item in items:
        table.add_row(*(_text(item, column, seen) for column in shown))
    console().print(table)


def _text(item: Entry | Group, column: Column, seen: Sight) -> str:
    if isinstance(item, Group):
        return seen.group_text(column, item)
    return seen.text(column, item)


def _csv(items: Sequence[Entry | Group], shown: Sequence[Column], seen: Sight) -> str:
    """Return raw numbers; of groups the mean, its half-width under the interval's name, and n."""
    groups = [item for item in items if isinstance(item, Group)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header: list[str] = []
    for column in shown:
        header.append(column.key)
        if groups and column.result:
            header += [f"{column.key}_{seen.interval}", f"{column.key}_n"]
    writer.writerow(header)
    for item in items:
        line: list[Any] = []
        for column in shown:
            if isinstance(item, Group) and column.result:
                spread = item.spread(column.result, seen.interval)
                line += [spread.mean, spread.half, spread.n]
            elif isinstance(item, Group) and column.key != "delta":
                line.append(seen.group_text(column, item))
            elif isinstance(item, Group):
                line.append(seen.group_value(column, item))
            elif column.key in {"run", "tags", "note", "started"}:
                line.append(column.text(item))
            else:
                line.append(seen.value(column, item))
        writer.writerow([_cell(value) for value in line])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return safe_text(value).replace("\r", "\n") if isinstance(value, str) else repr(value)


def _run_folder(text: str, root: Path) -> Path:
    """Return the folder of a run given by its path, or by its id in the folder of runs."""
    for place in (Path(text), root / text):
        if (place / ABOUT).is_file():
            return place
    near = get_close_matches(text, [p.name for p in root.glob("*")] if root.is_dir() else [], 1)
    hint = f"did you mean {near[0]}?" if near else f"name a run's folder, or its id in {root}."
    raise StoreError(f"{text} is no run: {hint}")


def _one_of(option: str, text: str, choices: Sequence[str]) -> Any:
    if text not in choices:
        raise OptionError(
            option, f"--{option} {text!r} is not valid: use one of {', '.join(choices)}."
        )
    return text
