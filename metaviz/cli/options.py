"""Arguments that several commands share, and the comparison that they ask for."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from metaviz.config.catalogue import Catalogue
    from metaviz.config.options import Plain
    from metaviz.config.run_config import Comparison


def number(
    kind: type[int] | type[float], least: float, most: float, explanation: str, metavar: str = "N"
) -> Any:
    """Declare an option that takes numbers of a range."""
    return typer.Option(metavar=metavar, parser=number_within(kind, least, most), help=explanation)


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


Run = Annotated[Path, typer.Argument(help="A run's folder.")]
Runs = Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")]
RunsFolder = Annotated[
    Path | None, typer.Option("--in", help="Folder of runs; the window's unless given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Problem = Annotated[str | None, typer.Option(help="Task family; see `metaviz list`.")]
Algorithms = Annotated[str | None, typer.Option(help="Ids with commas between, or all.")]
Steps = Annotated[str | None, typer.Option(metavar="N", help="Meta-steps of every run.")]
Seeds = Annotated[str | None, typer.Option(help="0,1,2 or 0-4.")]
Config = Annotated[Path | None, typer.Option(help="A comparison as TOML.")]
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

_NUMBERS = {"steps", "memory_gib"}


def toml_file(config: Path | None, preset: str | None) -> Path | None:
    """Return the file with a comparison's settings. Raises: OptionError for an unknown preset."""
    if preset is None:
        return config
    if config is not None:
        raise typer.BadParameter("--config and --preset exclude each other.")
    from metaviz.config.run_config import find_preset

    return find_preset(preset)


def known_catalogue() -> "Catalogue":
    """Return what can be chosen, without importing torch where nothing did so before.

    That is the shipped catalogue; a method that is not shipped registers itself by an import of
    the registry, and is in the engine's.
    """
    from metaviz.plugin_loader import sources

    if "metaviz.algorithms.registry" in sys.modules or sources():
        from metaviz.training.engine import build_catalogue

        return build_catalogue()
    from metaviz.config.catalogue import shipped_catalogue

    return shipped_catalogue()


def read_asked(
    asked: dict[str, Any],
    settings: list[str] | None,
    config: Path | None = None,
    known: dict[str, Any] | None = None,
) -> "Comparison":
    """Join a TOML file, command-line options and settings into a checked comparison.

    `asked` holds what was written for the fields of a comparison, None for nothing. Without a file
    the values that are `known` already hold. Ids, keys, kinds and ranges are checked here.
    Raises: OptionError with one sentence.
    """
    from metaviz.config.options import OptionError, checked
    from metaviz.config.overrides import (
        check_comparison,
        check_used,
        parse_value,
        place_settings,
    )
    from metaviz.config.run_config import Comparison, parse_seeds, read_toml

    catalogue = known_catalogue()
    values = read_toml(config) if config is not None else dict(known or {})
    read: dict[str, Any] = {
        name: parse_value(text) if name in _NUMBERS and text is not None else text
        for name, text in asked.items()
    }
    given = {name: value for name, value in read.items() if value is not None}
    if "seeds" in given:
        given["seeds"] = parse_seeds(given["seeds"])
    values |= given
    problem = catalogue.problem(str(values.get("problem", "sinusoid")))
    if problem is not None:
        values.setdefault("steps", problem.steps)
    left_out: dict[str, str] = {}
    if "algorithms" in given:
        values["algorithms"] = split_names(given["algorithms"])
        if _means_all(given["algorithms"]):
            left_out = catalogue.unsuited(problem) if problem is not None else {}
            each = (entry.id for entry in catalogue.algorithms)
            values["algorithms"] = tuple(name for name in each if name not in left_out)
    tables = {part: values.get(part, {}) for part in ("shared", "options", "problem_options")}
    if isinstance(tables["options"], dict):
        tables |= {f"options.{name}": table for name, table in tables["options"].items()}
    for part, table in tables.items():
        if not isinstance(table, dict):
            raise OptionError(
                part, f"{part} = {table!r} is not valid: it must be a TOML table, like [{part}]."
            )
    comparison = checked(Comparison, place_settings(settings or [], values, catalogue))
    check_comparison(comparison, catalogue)
    check_used(settings or [], comparison, left_out)
    return comparison


def unused(
    comparison: "Comparison", algorithms: str | None, settings: list[str] | None
) -> list[str]:
    """Return what was asked for and is not used: methods of all that do not suit, and settings."""
    from metaviz.config.overrides import meaningless

    catalogue, found = known_catalogue(), list[str]()
    problem = catalogue.problem(comparison.problem)
    if problem is not None and _means_all(algorithms) and (out := catalogue.unsuited(problem)):
        found.append(f"Left out of all: {', '.join(out)}. {' '.join(out.values())}")
    return [*found, *meaningless(settings or [], comparison, catalogue)]


def _means_all(algorithms: str | None) -> bool:
    return algorithms is not None and algorithms.strip() == "all"


def own_settings(algorithm: str, settings: list[str] | None) -> "dict[str, Plain]":
    """Read settings that may be those of one method alone.

    Raises: OptionError with one sentence, also for a method that there is not.
    """
    from metaviz.config.options import OptionError, known_text
    from metaviz.config.overrides import place_settings

    catalogue = known_catalogue()
    if catalogue.algorithm(algorithm) is None:
        known = known_text(algorithm, (entry.id for entry in catalogue.algorithms))
        raise OptionError("algorithm", f"There is no algorithm {algorithm!r}; {known}.")
    for text in settings or []:
        key = text.partition("=")[0].strip()
        if "=" in text and not key.startswith(f"{algorithm}."):
            sentence = f"{key} is not an option of {algorithm}: use {algorithm}.KEY=VALUE."
            raise OptionError(key, sentence)
    placed = place_settings(settings or [], {}, catalogue)
    found: dict[str, Plain] = placed["options"].get(algorithm, {})
    return found


def split_names(text: str) -> tuple[str, ...]:
    """Read names with commas between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
