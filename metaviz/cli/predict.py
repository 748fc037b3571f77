"""`metaviz predict`: what a run, or a method without training, says of a person's examples."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say, write_file

_OWN = "A folder, zip or .npz file of {}; as often as needed."


def predict(
    run: Annotated[
        Path | None, typer.Argument(help="A run's folder or id; nothing for a method without one.")
    ] = None,
    support: Annotated[
        list[Path] | None,
        typer.Option(help=_OWN.format("examples, a folder for each class")),
    ] = None,
    query: Annotated[
        list[Path] | None, typer.Option(help=_OWN.format("what is to be told"))
    ] = None,
    steps: Annotated[
        int | None, opt.number(int, 0, 10_000, "Inner steps; the run's own unless given.")
    ] = None,
    together: Annotated[
        bool, typer.Option("--together/--one-by-one", help="Query examples as one batch, or not.")
    ] = True,
    algorithm: Annotated[str | None, typer.Option(help="A method that needs no training.")] = None,
    network: Annotated[
        str | None, typer.Option(help="identity: examples are embeddings already.")
    ] = None,
    episode: Annotated[
        Path | None,
        typer.Option(help=".npz with support_x (n, d), support_y (n,) and query_x (m, d)."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Its options: matching.scale=1"),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    as_json: opt.AsJson = False,
    out: Annotated[
        Path | None, typer.Option("--csv", help="Write every number after every step here.")
    ] = None,
) -> None:
    """Predict examples of your own by a stored run, or without one by a method that needs none."""
    from metaviz.config.options import OptionError

    of_run = {"--support": support, "--query": query, "--steps": steps, "--csv": out}
    without = {"--algorithm": algorithm, "--network": network, "--episode": episode}
    if run is None:
        _refuse_given(of_run, "needs a run: name its folder first")
        for option, value in without.items():
            if value is None:
                raise OptionError(option, f"Missing option '{option}'.")
        chosen = str(algorithm), str(network), Path(str(episode))
        _predict_untrained(*chosen, settings, dtype, as_json=as_json)
        return
    _refuse_given({**without, "--set": settings}, "is for predictions without a run: leave it out")
    for option, given in (("--support", support), ("--query", query)):
        if not given:
            raise OptionError(option, f"Missing option '{option}'.")
    from metaviz.cli.folders import one_run

    folder = one_run(run)
    from metaviz.runs.export.tables import csv_text
    from metaviz.training.prediction.examples import read_given
    from metaviz.training.prediction.predict import predict_given

    shown, asked = (
        read_given([place.expanduser() for place in places or []], part)
        for places, part in ((support, "support"), (query, "query"))
    )
    found = predict_given(folder, shown, asked, steps, together=together)
    say(*found.remarks)
    if out is not None:
        write_file(out, csv_text(found.header(), found.rows()))
    if as_json:
        put(json.dumps(found.values()))
    elif out is not None:
        put(out)
    else:
        from metaviz.cli.tables import print_predicted

        print_predicted(found)


def _refuse_given(options: dict[str, Any], clause: str) -> None:
    from metaviz.config.options import OptionError

    for option, value in options.items():
        if value not in (None, []):
            raise OptionError(option, f"{option} {clause}.")


def _predict_untrained(
    algorithm: str,
    network: str,
    episode: Path,
    settings: list[str] | None,
    dtype: str,
    *,
    as_json: bool,
) -> None:
    from metaviz.config.options import OptionError, known_text

    dtypes = ("float32", "float64")
    if dtype not in dtypes:
        sentence = f"dtype = {dtype!r} is not valid: {known_text(dtype, dtypes)}."
        raise OptionError("dtype", sentence)
    values = opt.own_settings(algorithm, settings)
    import torch

    from metaviz.algorithms.untrained import predict_untrained
    from metaviz.problems.episode_file import read_episode

    kind = torch.float64 if dtype == "float64" else torch.float32
    answer = predict_untrained(algorithm, network, read_episode(episode.expanduser()), values, kind)
    if as_json:
        put(json.dumps(asdict(answer)))
    else:
        from metaviz.cli.tables import print_probabilities

        print_probabilities(answer.classes, answer.probabilities)
