"""The command line of the benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from metaviz.cli.options import (
    Device,
    Dtype,
    Engine,
    Memory,
    Settings,
    Tf32,
    machine_asked,
    number_within,
)


def benchmark(
    problems: Annotated[
        str, typer.Option(help="Task families with commas between; see `metaviz list`.")
    ] = "sinusoid,strokes",
    algorithms: Annotated[str, typer.Option(help="Ids with commas between, or all.")] = "all",
    rounds: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number_within(int, 1, 1000),
            help="Times that each is timed, all of them in turn.",
        ),
    ] = 5,
    settings: Settings = None,
    device: Device = None,
    dtype: Dtype = None,
    engine: Engine = None,
    memory: Memory = None,
    tf32: Tf32 = None,
    peers: Annotated[
        bool,
        typer.Option("--peers", help="MAML by higher, learn2learn and torchopt beside it."),
    ] = False,
    weigh: Annotated[
        bool, typer.Option("--weigh/--no-weigh", help="Measure peak memory, too.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Where benchmark.csv and benchmark.png go.")] = Path(
        "metaviz-benchmark"
    ),
) -> None:
    """Measure this machine: meta-steps per second, memory, and how near the limit they are."""
    from metaviz.cli.benchmark_command import benchmark_command

    asked = {"algorithms": algorithms, **machine_asked(device, dtype, engine, memory, tf32)}
    code = benchmark_command(
        problems, asked, settings or [], rounds, out, memory=weigh, peers=peers
    )
    raise typer.Exit(code)


def benchmark_memory() -> None:
    """Take a few steps and say how much memory they took. Started by MetaViz itself."""
    from metaviz.benchmarking.memory import measure_memory

    measure_memory()
