"""`metaviz search`: look for the cell of a network by training many small ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say
from metaviz.cli.queue import Workers, opened_queue

if TYPE_CHECKING:
    from metaviz.config.search import SearchPlan
    from metaviz.runs.storage.searches import Progress

search_app = typer.Typer(help="Search for a network: Auto-Meta (reconstructed).")
_OWN = "search."
Name = Annotated[str | None, typer.Argument(help="A search; the newest unless given.")]


@search_app.command()
def run(
    file: Annotated[Path | None, typer.Argument(help="A search as TOML.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="A shipped search: omniglot, strokes or sinusoid.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="search.beam=8, search.final_steps=80, steps=20, omniglot.path=FOLDER, and what "
            "else children have.",
        ),
    ] = None,
    workers: Workers = 2,
) -> int:
    """Queue a search and work it off; the same search again goes on where it was."""
    from metaviz.paths import data_dir
    from metaviz.runs.storage.searches import write_search

    plan = _asked(file, preset, name, settings or [])
    write_search(data_dir(), plan)
    return _work(plan.name, workers)


@search_app.command()
def resume(name: Name = None, workers: Workers = 2) -> int:
    """Let a search go on that was broken off: it proposes the same children again."""
    return _work(_named(name), workers)


@search_app.command()
def status(
    name: Name = None,
    as_json: opt.AsJson = False,
    figures: Annotated[
        Path | None, typer.Option(help="Draw the search and its best cell into this folder.")
    ] = None,
) -> None:
    """Print how far a search is, how well its surrogate predicts, and what came out."""
    from metaviz.paths import data_dir
    from metaviz.runs.analysis.search import search_table, search_values
    from metaviz.runs.storage.searches import read_progress, read_search

    chosen = _named(name)
    read_search(data_dir(), chosen, opt.known_catalogue())
    progress = read_progress(data_dir(), chosen)
    if as_json:
        import json

        values = search_values(progress) if progress is not None else {"name": chosen}
        put(json.dumps(values, indent=1))
    elif progress is None:
        put(f"The search {chosen} has not begun: `metaviz search resume {chosen}` begins it.")
    else:
        put(*search_table(progress))
    if figures is not None and progress is not None:
        put(*_drawn(progress, figures))


def _drawn(progress: "Progress", folder: Path) -> list[Path]:
    """Write every chart of a search as PNG; return the files."""
    from metaviz.charts.matplotlib import figure_of
    from metaviz.runs.analysis.search import search_charts
    from metaviz.runs.export.figures import save_figure

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for chart in search_charts(progress):
        files.append(folder / f"{chart.id}.png")
        save_figure(figure_of(chart), files[-1])
    return files


def _work(name: str, workers: int) -> int:
    """Work the queue off until the search is done; exit code 1 where it is not."""
    from metaviz.cli.queue_runner import work_off
    from metaviz.paths import data_dir, runs_dir
    from metaviz.training.search.steps import next_step

    home = data_dir()
    with opened_queue() as queue:
        if queue.paused:
            say("The queue is paused: `metaviz queue go` lets it go on.")
            return 1
        from metaviz.config.search import SWEEP

        mine = [entry for entry in queue.entries() if entry.sweep == f"{SWEEP}{name}"]
        queue.resume([entry.id for entry in mine if entry.state == "interrupted"])
        progress = next_step(queue, home, runs_dir(), name)
        code = 0 if progress.is_done else work_off(queue, home, workers)
        if code == _BROKEN_OFF:
            say(f"`metaviz search resume {name}` goes on.")
            return code
        progress = next_step(queue, home, runs_dir(), name)
    from metaviz.runs.analysis.search import search_table

    put(*search_table(progress))
    return 0 if progress.is_done else 1


_BROKEN_OFF = 130


def _named(name: str | None) -> str:
    """Return the name of a search. Raises: StoreError where there is none."""
    from metaviz.paths import data_dir
    from metaviz.runs.storage.searches import list_searches
    from metaviz.runs.storage.store import StoreError

    known = list_searches(data_dir())
    if name is None and not known:
        raise StoreError("There is no search yet: `metaviz search run --preset sinusoid` has one.")
    return name or known[-1]


def _asked(
    file: Path | None, preset: str | None, name: str | None, settings: list[str]
) -> "SearchPlan":
    """Join a file, or a shipped search, and settings. Raises: OptionError with one sentence."""
    from metaviz.config.options import OptionError
    from metaviz.config.overrides import parse_value
    from metaviz.config.run_config import read_toml
    from metaviz.config.search import find_search, read_plan

    if (file is None) == (preset is None):
        raise typer.BadParameter("Name a file, or --preset omniglot, strokes or sinusoid.")
    values = read_toml(find_search(preset) if preset is not None else file or Path())
    tables: dict[str, Any] = {key: values.get(key, {}) for key in ("search", "comparison")}
    for key, table in tables.items():
        if not isinstance(table, Mapping):
            raise OptionError(key, f"{key} = {table!r:.60} is not valid: it must be a table.")
    own = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if key.strip().startswith(_OWN) and equals:
            own[key.strip().removeprefix(_OWN)] = parse_value(value)
    outer = {key: table for key, table in (_outer(text) for text in settings) if key}
    others = [
        text for text in settings if not text.strip().startswith(_OWN) and not _outer(text)[0]
    ]
    known = {**tables["comparison"], **outer}
    comparison = opt.read_asked({}, others, None, known)
    plain = {**values, "search": {**tables["search"], **own}}
    plain["comparison"] = comparison.model_dump(mode="json")
    if name is not None:
        plain["name"] = name
    return read_plan(plain, opt.known_catalogue())


def _outer(text: str) -> tuple[str, Any]:
    """Return a setting of the comparison itself, like steps=20; an empty key for others."""
    from metaviz.config.overrides import parse_value

    key, equals, value = text.partition("=")
    named = equals and key.strip() in {"steps", "device", "dtype", "engine", "memory_gib"}
    return (key.strip(), parse_value(value)) if named else ("", None)
