"""`metaviz evaluate`: stored weights on held-out tasks."""

from pathlib import Path
from typing import Annotated, Any

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say, write_file


def evaluate(
    runs: opt.Runs,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="tasks, split, seed, shots, query_shots, steps, together or draws; as often as "
            "needed.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the values of every task here.")] = None,
) -> int:
    """Judge stored weights on held-out tasks, and compare the runs task by task."""
    from metaviz.config.options import OptionError, checked
    from metaviz.config.overrides import parse_value
    from metaviz.config.run_config import EvaluationProtocol

    values: dict[str, Any] = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise OptionError("--set", f"--set {text!r} is not KEY=VALUE.")
        values[key.strip()] = parse_value(value)
    if "ways" in values:
        raise OptionError(
            "ways",
            "ways cannot be chosen: a network tells as many classes apart as it was trained for.",
        )
    protocol = checked(EvaluationProtocol, values)
    from metaviz.cli.folders import run_folders

    folders = run_folders(runs)
    from metaviz.cli.tables import print_judgements
    from metaviz.cli.training import logged_data
    from metaviz.runs.export.tables import evaluations_csv
    from metaviz.runs.storage.store import StoreError
    from metaviz.training.protocol import judge

    judgements, failures = [], []
    for place, folder in enumerate(folders, 1):
        say(f"Evaluating {folder.name} ({place} of {len(folders)}).")
        try:
            with logged_data():
                judgements.append(judge(folder, protocol))
            if protocol.steps is not None and not judgements[-1].adapts:
                say(f"{folder.name} has no inner loop: steps means nothing for it.")
        except (OptionError, StoreError) as error:
            if len(folders) == 1:
                raise
            failures.append(f"Left out: {folder.name}. {error}")
    if judgements:
        print_judgements(judgements)
    say(*failures)
    if out is not None:
        write_file(out, evaluations_csv(judgements))
        put(out)
    return int(bool(failures))
