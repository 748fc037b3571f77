"""`metaviz predict`: what a method without training says of an episode in a file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put


def predict(
    algorithm: Annotated[str, typer.Option(help="A method that needs no training.")],
    network: Annotated[str, typer.Option(help="identity: examples are embeddings already.")],
    episode: Annotated[
        Path,
        typer.Option(help=".npz with support_x (n, d), support_y (n,) and query_x (m, d)."),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Its options: matching.scale=1"),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    as_json: opt.AsJson = False,
) -> None:
    """Predict the query examples of an episode without a run, by a method that needs none."""
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
