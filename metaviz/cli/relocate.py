"""`metaviz data relocate`: where the data of stored runs lie on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put


def relocate(
    runs: opt.Runs,
    path: Annotated[
        Path, typer.Option(help="The folder, zip archive or file that holds the same data.")
    ],
) -> None:
    """Tell stored runs where their data lie now, so that they can be resumed and evaluated here.

    The data are opened as training would, and must have as many training examples as a run that
    has stored their number; whether they are the same images is not known.
    """
    from metaviz.cli.folders import run_folders

    folders = run_folders(runs)
    from metaviz.cli.training import logged_data

    place = path.expanduser().absolute()
    with logged_data():
        for folder in folders:
            _relocate(folder, place)
            put(folder)


def _relocate(folder: Path, place: Path) -> None:
    """Raises: StoreError, OptionError or ValueError with one sentence; the run is as it was."""
    from metaviz.config.options import OptionError
    from metaviz.runs.model.events import Noted
    from metaviz.runs.storage.store import StoreError, reopen_run, rewrite_about
    from metaviz.training.session import stored_config
    from metaviz.training.setting import settle

    record, writer = reopen_run(folder)
    try:
        options = record.config["problem_options"]
        if not options.get("path"):
            raise OptionError(
                "path", f"{record.id} reads no data of its own: only runs with a path have a place."
            )
        options["path"] = str(place)
        setting = settle(stored_config(record, folder))
        try:
            begun = record.resolved.get("training_examples")
            found = setting.resolved.get("training_examples")
        finally:
            setting.shards.close()
        if begun is not None and found != begun:
            raise StoreError(
                f"{place} has {_examples(found)}, where {record.id} began with "
                f"{_examples(begun)}: other data than its own."
            )
        rewrite_about(folder, record)
        writer.append(Noted(record.step, "info", f"Its data are read from {place} now."))
    finally:
        writer.close()


def _examples(counted: dict[str, float] | None) -> str:
    if counted is None:
        return "no training examples"
    return f"{counted['examples']} training examples of {counted['classes']} classes"
