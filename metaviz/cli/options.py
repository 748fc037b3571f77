"""Options that several commands share, and a parser of numbers for the command line."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="inner_lr=0.01, imaml.prox=2, sinusoid.noise=0.3"
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64.")]
Engine = Annotated[
    str | None,
    typer.Option(
        help="eager, compiled (by a C++ compiler), captured (CUDA), or auto: captured on CUDA, "
        "else eager."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(metavar="GIB", help="What a meta-step may use; half of the memory by default."),
]
Tf32 = Annotated[bool | None, typer.Option("--tf32/--no-tf32", help="TF32 products on CUDA.")]


def machine_asked(
    device: str | None,
    dtype: str | None,
    engine: str | None,
    memory: str | None,
    tf32: bool | None,
) -> dict[str, Any]:
    """Return what was asked of where and how to compute, by the names of a comparison."""
    from metaviz.config.overrides import parse_value

    gib = None if memory is None else parse_value(memory)
    return {"device": device, "dtype": dtype, "engine": engine, "memory_gib": gib, "tf32": tf32}


def number_within(
    kind: type[int] | type[float], least: float, most: float
) -> Callable[[Any], int | float]:
    """Return a parser of numbers; its errors name the value and the range."""

    def parse(text: Any) -> int | float:
        try:
            value = kind(text)
            if least <= value <= most:
                return value
        except ValueError:
            pass
        noun = "a whole number" if kind is int else "a number"
        raise typer.BadParameter(f"{text} is not {noun} from {least} to {most}.")

    return parse
