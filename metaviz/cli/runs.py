"""`metaviz runs` and `metaviz mark`: the runs table and a person's marks on the command line."""

from pathlib import Path
from typing import Annotated, Any

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say, write_file


def runs(
    query: Annotated[
        str, typer.Argument(help="A search like `algo:maml alpha<0.1 tag:paper`.")
    ] = "",
    folder: opt.RunsFolder = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEYS", help="Keys with commas between; all: everything but the seed."
        ),
    ] = None,
    interval: Annotated[str, typer.Option(help="Of groups: std, se or ci95.")] = "ci95",
    baseline: Annotated[
        str | None, typer.Option(metavar="RUN", help="Show how far all are from this run.")
    ] = None,
    result: Annotated[str, typer.Option(help="What is compared: loss or accuracy.")] = "loss",
    columns: Annotated[
        str | None, typer.Option(metavar="KEYS", help="Like run,loss,inner_lr,imaml.prox,tags.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--csv", help="Write raw numbers here.")] = None,
) -> None:
    """List stored runs as the window does: searched, grouped, compared with a baseline."""
    from metaviz.cli import listing
    from metaviz.runs.table.columns import cell_context

    spread = listing.one_of("interval", interval, listing.INTERVALS)
    compared = listing.one_of("result", result, listing.RESULTS)
    entries, warnings = listing.stored_entries(folder)
    found = listing.search(entries, query)
    say(*warnings)
    if not found:
        say(f"None of {len(entries)} runs matches {query!r}." if entries else "No stored runs.")
    items = found if group_by is None else listing.grouped_by(group_by, found, entries)
    seen = cell_context(entries, spread, listing.baseline_of(baseline, entries), compared)
    with_id = out is None and group_by is None
    shown = listing.chosen_columns(columns, entries, seen, with_id=with_id)
    if out is None:
        listing.print_items(items, shown, seen, grouped=group_by is not None)
    else:
        write_file(out, listing.items_csv(items, shown, seen))
        put(out)


def mark(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or ids in the folder of runs.")],
    folder: opt.RunsFolder = None,
    star: Annotated[bool | None, typer.Option("--star/--no-star", help="Star or not.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tags to add, with commas between.")] = None,
    untag: Annotated[str | None, typer.Option(help="Tags to remove.")] = None,
    note: Annotated[str | None, typer.Option(help="Notes; they replace those there are.")] = None,
    name: Annotated[str | None, typer.Option(help="A name; empty: automatic.")] = None,
    colour: Annotated[
        str | None,
        typer.Option("--colour", "--color", help="Of the curves, as #rrggbb; empty: automatic."),
    ] = None,
    trash: Annotated[
        bool | None, typer.Option("--trash/--restore", help="Into the trash, or out of it.")
    ] = None,
) -> None:
    """Star, tag, note, name or trash stored runs; their files stay as they are."""
    from metaviz.cli.folders import marked_run
    from metaviz.config.options import OptionError
    from metaviz.runs.model.marks import (
        change_marks,
        is_color,
        read_marks,
        split_tags,
        with_tags,
    )

    given = {"star": star, "notes": note, "name": name, "color": colour, "trashed": trash}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if not changes and tag is None and untag is None:
        raise OptionError(
            "mark", "Nothing to mark: use --star, --tag, --note, --name, --colour or --trash."
        )
    if colour and not is_color(colour):
        raise OptionError(
            "colour",
            f"--colour {colour!r} is not valid: use #rrggbb, like #1f77b4, or nothing for the "
            "automatic one.",
        )
    for place in [marked_run(run, folder) for run in runs]:
        own = dict(changes)
        if tag is not None or untag is not None:
            before = read_marks(place)
            own["tags"] = with_tags(before, split_tags(tag or ""), split_tags(untag or ""))
        change_marks(place, own)
        put(place.name)
