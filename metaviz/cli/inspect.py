"""`metaviz list`, `options`, `gradients` and `data inspect`: what there is, and what it means."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say


def list_(
    runs: Annotated[Path | None, typer.Option(help="List the runs in this folder instead.")] = None,
    presets: Annotated[
        bool, typer.Option("--presets", help="List published experiments instead.")
    ] = False,
) -> None:
    """List algorithms and problems, or runs, or presets."""
    from metaviz.cli.tables import print_catalogue, print_presets, print_runs

    if presets:
        print_presets()
    elif runs is None:
        print_catalogue(opt.known_catalogue())
    else:
        from metaviz.cli.folders import readable

        records, unreadable = readable([runs], some=False)
        print_runs(list(records.values()))
        say(*unreadable)


def options(
    name: Annotated[str, typer.Argument(help="An algorithm, a problem, or shared.")] = "shared",
    problem: Annotated[
        str | None, typer.Option(help="Show the defaults for this task family.")
    ] = None,
) -> None:
    """Explain the options of an algorithm, a problem, or those that all share."""
    from metaviz.cli.tables import print_options
    from metaviz.config.options import OptionError, known_text
    from metaviz.config.schedule import default_text

    catalogue = opt.known_catalogue()
    chosen = None if problem is None else catalogue.problem(problem)
    if problem is not None and chosen is None:
        known = known_text(problem, (entry.id for entry in catalogue.problems))
        raise OptionError("problem", f"There is no problem {problem!r}; {known}.")
    every = [chosen] if chosen else catalogue.problems
    shared = {entry.id: entry.shared for entry in every}
    if method := catalogue.algorithm(name):
        own = {entry.id: method.defaults.get(entry.id, {}) for entry in every}
        print_options(method.options, f"{name}.", own, method.presets, only=problem)
        if chosen and (reason := method.unsuited(chosen)):
            say(reason)
    elif family := catalogue.problem(name):
        if problem not in {None, name}:
            raise OptionError("problem", f"{name} is a problem itself: leave --problem out.")
        print_options(family.options, f"{name}.")
        put(f"Shared settings for {name}: metaviz options --problem {name}")
    elif name == "shared":
        hidden = chosen.hidden if chosen else ()
        described = (spec for spec in catalogue.shared if spec.name not in hidden)
        when = (
            f"at {chosen.steps} steps: {default_text(chosen.shared, chosen.steps, chosen)}"
            if chosen
            else "about 40 evaluations"
        )
        print_options(described, "", shared, only=problem, empty={"eval_every": when})
        if hidden:
            put(f"Left out, as they mean nothing for {problem}: {', '.join(hidden)}.")
    else:
        known = known_text(name, ["shared", *catalogue.ids])
        raise OptionError("id", f"There is no {name!r}; {known}.")


def gradients(
    problem: Annotated[str, typer.Option(help="Task family; see `metaviz list`.")] = "sinusoid",
    problem_file: Annotated[
        Path | None,
        typer.Option(
            help="TOML file: matrices of the quadratic problem, or for chain transition (s, a, "
            "s'), rewards (tasks, s, a), horizon, start (logits), and perhaps exact, rate, "
            "trajectories."
        ),
    ] = None,
    algorithms: Annotated[
        str | None, typer.Option(help="Ids with commas between; all unless given.")
    ] = None,
    settings: opt.Settings = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    device: opt.Device = None,
    seed: Annotated[int, opt.number(int, 0, 2**31 - 1, "Seed of tasks and initial weights.")] = 0,
    step: Annotated[int, opt.number(int, 0, 10**9, "Which meta-batch, from 0.")] = 0,
    start: Annotated[Path | None, typer.Option(help="A run whose weights are the point.")] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Compare the meta-gradients of algorithms on one batch at one point.

    With the file of a chain: the exact meta-gradient of its mean return after one policy-gradient
    step, by enumeration, beside the expectations of the estimators. --json: exact, lvc, plain, dice
    and first_order in the shape of start; objective, returns, adapted_returns; distance and, of
    small worlds, hessian_error by estimator. Without trajectories the update is the expected one;
    with a number of them it is sampled, and score is what their probabilities add. --set
    inner_lr=0.1 stands for a rate that the file does not have.
    """
    settings = list(settings or [])
    if problem_file is not None and problem == "chain":
        from metaviz.cli.chain import chain_gradients

        chain_gradients(problem_file, settings, as_json=as_json)
        return
    if problem_file is not None:
        if problem != "quadratic":
            from metaviz.config.options import OptionError

            raise OptionError(
                "problem_file",
                "--problem-file holds numbers of quadratic or chain: name one with --problem.",
            )
        settings.append(f"quadratic.file={problem_file}")
    asked = {"problem": problem, "algorithms": algorithms or "all", "seeds": str(seed)}
    comparison = opt.read_asked({**asked, "device": device, "dtype": dtype}, settings)
    from metaviz.cli.tables import print_gradients
    from metaviz.training.engine import LocalEngine

    result = LocalEngine().gradients(comparison, start, step)
    say(*opt.unused(comparison, algorithms, settings))
    if as_json:
        put(result.to_json())
    else:
        print_gradients(result)


def inspect_data(
    path: Annotated[Path, typer.Argument(help="A folder or zip archive of images.")],
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Decode every image, to find damaged ones.")
    ] = True,
    as_json: opt.AsJson = False,
) -> None:
    """Say what a folder or archive of images holds, as training would read it."""
    from metaviz.cli.tables import console, print_inspection
    from metaviz.problems.inspection import inspect_data as inspected

    with console(stderr=True).status("Finding out what is there") as status:
        found = inspected(path.expanduser(), status.update, check=check)
    if as_json:
        put(json.dumps(asdict(found)))
    else:
        print_inspection(found)
