"""Commands that write files of stored runs: export, report, weights, pack and unpack."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metaviz.cli import options as opt
from metaviz.cli.errors import need_ending
from metaviz.cli.output import put, say

if TYPE_CHECKING:
    from metaviz.charts.matplotlib import Page
    from metaviz.runs.model.record import Record


def export(
    runs: opt.Runs,
    out: Annotated[Path, typer.Option(help="Where tables and figures go.")] = Path(
        "metaviz-export"
    ),
    formats: Annotated[str, typer.Option("--formats", help="Of png,pdf,svg.")] = "png",
    width_cm: Annotated[float | None, opt.number(float, 2, 200, "2 to 200.", "CM")] = None,
    height_cm: Annotated[float | None, opt.number(float, 2, 200, "2 to 200.", "CM")] = None,
    dpi: Annotated[int, opt.number(int, 30, 1200, "30 to 1200.")] = 150,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard event files, too.")
    ] = False,
) -> int:
    """Write tables and figures of stored runs."""
    from metaviz.charts.matplotlib import Page
    from metaviz.cli.folders import readable
    from metaviz.config.options import OptionError
    from metaviz.runs.export.figures import FORMATS
    from metaviz.runs.export.tables import write_tables
    from metaviz.runs.export.tensorboard import MISSING, has_tensorboard, write_event_files

    if tensorboard and not has_tensorboard():
        raise OptionError("tensorboard", MISSING)
    kinds = opt.split_names(formats.lower())
    if not kinds or not set(kinds) <= set(FORMATS):
        raise OptionError("formats", f"formats = {formats!r} is not valid: use png, pdf or svg.")
    by_folder, unreadable = readable(runs)
    records = list(by_folder.values())
    paths = write_tables(records, out, by_folder)

    def page(width: float = 16.0) -> Page:
        return Page(width_cm or width, height_cm, dpi)

    paths += write_figures(records, out, kinds, page, each_run=True)
    if tensorboard:
        paths += write_event_files(records, out / "tensorboard")
    put(*paths)
    say(*(f"Left out: {sentence}" for sentence in unreadable))
    return int(bool(unreadable))


def write_figures(
    records: "Sequence[Record]",
    out: Path,
    formats: Sequence[str],
    page: "Callable[..., Page]",
    *,
    each_run: bool,
) -> list[Path]:
    """Write the figures that runs are drawn in together, and those of each run; return the files.

    `page` makes a figure's size from the width that suits it, in centimetres.
    """
    from metaviz.files.platform import plain_names
    from metaviz.runs.export.figures import comparison_figures, run_figures, save_figure

    paths = []
    sets = [("", comparison_figures(records, page))]
    own = plain_names(record.id for record in records)
    sets += [(f"-{own[record.id]}", run_figures(record, page)) for record in records if each_run]
    for ending, figures in sets:
        for (name, figure), kind in itertools.product(dict(figures).items(), formats):
            paths.append(out / f"{name}{ending}.{kind}")
            save_figure(figure, paths[-1])
    return paths


def report(
    runs: opt.Runs,
    out: Annotated[Path, typer.Option(help="The HTML file; figures and tables go beside it.")],
    title: Annotated[str, typer.Option(help="Its heading.")] = "",
) -> int:
    """Write a report of stored runs: one HTML file, its figures, tables and configurations."""
    need_ending(out, ".html", ".htm")
    from metaviz.cli.folders import readable
    from metaviz.runs.export.html_report import write_report

    records, unreadable = readable(runs)
    folders = {record.id: folder for folder, record in records.items()}
    put(*write_report(list(records.values()), folders, out, title))
    say(*(f"Left out: {sentence}" for sentence in unreadable))
    return int(bool(unreadable))


def weights(
    run: opt.Run,
    out: Annotated[Path, typer.Option(help="The file: .safetensors, .pt or .onnx.")],
    support: Annotated[
        list[Path] | None,
        typer.Option(help="Adapt to these examples first: a folder, zip or .npz file."),
    ] = None,
    steps: Annotated[
        int | None, opt.number(int, 0, 10_000, "Inner steps; the run's own unless given.")
    ] = None,
) -> None:
    """Write a run's weights by name for other programs, as trained or adapted to examples."""
    need_ending(out, ".safetensors", ".pt", ".onnx")
    from metaviz.cli.folders import one_run

    if steps is not None and not support:
        from metaviz.config.options import OptionError

        raise OptionError("steps", "--steps needs --support: name the examples to adapt to.")
    folder = one_run(run)
    if out.suffix.lower() == ".safetensors" and not support:
        from metaviz.training.weights import write_weights

        write_weights(folder, out)
    else:
        from metaviz.training.prediction.examples import read_given
        from metaviz.training.prediction.export import write_network
        from metaviz.training.prediction.predict import adapted_weights, trained_network

        if support:
            given = read_given([place.expanduser() for place in support], "support")
            network = adapted_weights(folder, given, steps)
        else:
            network = trained_network(folder)
        write_network(network, out)
    put(out)


def pack(
    run: opt.Run, out: Annotated[Path, typer.Option(help="The file, ending in .zip.")]
) -> None:
    """Write a run with everything of it into one zip archive."""
    need_ending(out, ".zip")
    from metaviz.cli.folders import one_run
    from metaviz.runs.storage.archive import pack_run

    pack_run(one_run(run), out)
    put(out)


def unpack(
    archive: Annotated[Path, typer.Argument(help="What `metaviz pack` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of runs; the window's unless given.")
    ] = None,
) -> None:
    """Check a packed run and put it among the runs; nothing is overwritten."""
    from metaviz.paths import runs_dir
    from metaviz.runs.storage.archive import unpack_run

    put(unpack_run(archive, out or runs_dir()))
