"""Commands that train: compare, resume, repeat and demo."""

from pathlib import Path
from typing import Annotated

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say


def compare(
    problem: opt.Problem = None,
    algorithms: opt.Algorithms = None,
    steps: opt.Steps = None,
    seeds: opt.Seeds = None,
    settings: opt.Settings = None,
    config: opt.Config = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings of a published experiment; `metaviz list --presets` names them."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A run whose weights to start from; its settings hold unless others do. Or a file "
            "with a network's weights: .pt, .pth or .safetensors.",
        ),
    ] = None,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    engine: opt.Engine = None,
    memory: opt.Memory = None,
    tf32: opt.Tf32 = None,
    out: Annotated[Path, typer.Option(help="Where runs, tables and figures go.")] = Path(
        "metaviz-comparison"
    ),
) -> int:
    """Train several algorithms on the same tasks; write runs, tables and figures."""
    file, known = opt.toml_file(config, preset), None
    if source is not None and not source.is_file():
        from metaviz.cli.folders import one_run
        from metaviz.config.run_config import comparison_of
        from metaviz.runs.storage.store import open_run

        source = one_run(source)
        known = comparison_of(open_run(source).config).model_dump(mode="json")
    asked = {"problem": problem, "algorithms": algorithms, "steps": steps, "seeds": seeds}
    machine = {"device": device, "dtype": dtype, "engine": engine, "memory_gib": memory}
    comparison = opt.read_asked({**asked, **machine, "tf32": tf32}, settings, file, known)
    from metaviz.cli.tables import print_results
    from metaviz.cli.training import run_comparison
    from metaviz.training.engine import LocalEngine

    remarks = opt.unused(comparison, algorithms, settings)
    records, code = run_comparison(LocalEngine(), comparison, out, source, remarks)
    print_results(records)
    return code


def resume(
    runs: opt.Runs,
    steps: Annotated[
        int | None,
        opt.number(int, 1, 10_000_000, "Meta-steps in all; trains runs that are done further."),
    ] = None,
    remedy: Annotated[
        str,
        typer.Option(
            metavar="ID", help="For runs that diverged: half-inner, half-outer, clip or skip-task."
        ),
    ] = "",
) -> int:
    """Train runs further that were interrupted or stopped, each from its newest checkpoint."""
    from metaviz.cli.folders import run_folders
    from metaviz.runs.storage.store import StoreError, open_run

    def unfinished(folder: Path) -> bool:
        record = open_run(folder)
        return record.state != "done" if steps is None else record.step < steps

    folders, named, refused = [], False, list[str]()
    for place in runs:
        for folder in run_folders([place]):
            named = named or folder == place
            try:
                folders += [folder] if folder == place or unfinished(folder) else []
            except StoreError as error:
                refused.append(str(error))
    if not folders and not refused:
        raise StoreError(f"All runs in {runs[0]} are done: give --steps to train them further.")
    from metaviz.cli.tables import print_results
    from metaviz.cli.training import logged_data, train
    from metaviz.training.engine import LocalEngine

    with logged_data():
        sessions = LocalEngine().resume(folders, steps, remedy, None if named else refused)
    if not sessions:
        raise StoreError(refused[0])
    say(*(f"Left out: {sentence}" for sentence in refused))
    trained = train(sessions)
    print_results(trained.records)
    return trained.exit_code() or int(bool(refused))


def repeat(
    run: opt.Run,
    out: Annotated[
        Path | None, typer.Option(help="Where the new run goes; beside the first unless given.")
    ] = None,
) -> int:
    """Train a run's settings again, and say where the numbers differ; exit code 1 where they do."""
    from metaviz.cli.folders import one_run

    folder = one_run(run)
    from metaviz.cli.training import logged_data, train
    from metaviz.training.engine import LocalEngine

    with logged_data():
        sessions = LocalEngine().repeat(folder, out or folder.parent)
    trained = train(sessions)
    if code := trained.exit_code():
        return code
    found = trained.records[0].notes[-1]
    put(found.message, sessions[0].folder)
    return int(found.level == "warning")


def demo(
    out: Annotated[Path, typer.Option(help="Where the demo's files go.")] = Path("metaviz-demo"),
) -> int:
    """Run a short sinusoid comparison and draw the window, without a display."""
    from metaviz.charts.matplotlib import Page, figure_of
    from metaviz.cli.tables import print_results
    from metaviz.cli.training import run_comparison
    from metaviz.config.run_config import read_demo
    from metaviz.runs.analysis.result_charts import gradients_chart
    from metaviz.runs.export.figures import save_figure
    from metaviz.training.engine import LocalEngine

    engine = LocalEngine()
    comparison = read_demo("command")
    records, code = run_comparison(engine, comparison, out)
    save_figure(
        figure_of(gradients_chart(engine.gradients(comparison, None, 0)), Page(20.0)),
        out / "gradients.png",
    )
    from metaviz.app import render_window

    render_window(out / "window.png", records)
    print_results(records)
    say(f"The demo's pictures and tables are in {out}.")
    return code
