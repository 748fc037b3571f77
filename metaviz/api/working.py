"""Training and evaluation from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaviz.api.comparing import Comparison
from metaviz.api.judging import Evaluation, judge_folders
from metaviz.api.stored import Place, Run, Runs, runs_at


def train(
    problem: str = "sinusoid",
    algorithms: str | Sequence[str] | None = None,
    *,
    steps: int | None = None,
    seeds: Sequence[int] = (0,),
    out: Place | None = None,
    settings: Mapping[str, Any] | None = None,
    source: Place | Run | None = None,
    **machine: Any,
) -> Runs:
    """Train methods on the same tasks, one run for each and for each seed; return the runs.

    `settings` are those of `--set`, like {"inner_lr": 0.01, "imaml.prox": 2}; `out` is the folder
    under which runs go, without one the window's; `source` is a run whose weights all start from;
    `machine` are device, dtype, engine, memory_gib or tf32. A run that diverges or fails is
    returned with that state.
    Raises: OptionError or ValueError before anything trains, StoreError where runs cannot be
    stored; Ctrl+C stops the runs, which keep what they have.
    """
    from metaviz.api.training import trained

    names = algorithms if isinstance(algorithms, str) else ",".join(algorithms or ())
    asked = {"problem": problem, "algorithms": names or None, "steps": steps, **machine}
    start = None if source is None else runs_at(source)[0].folder
    root = None if out is None else Path(out).expanduser()
    return Runs([Run(place) for place in trained(asked, seeds, settings or {}, root, start)])


def compare(
    runs: Place | Run | Sequence[Place | Run],
    measure: str | None = None,
    *,
    axis: str = "step",
    interval: str = "ci95",
    smoothing: float = 0.0,
    by: Sequence[str] | None = None,
) -> Comparison:
    """Compare groups of runs as the Compare page does: a mean curve and an interval for each.

    `measure` is one of the runs' `measures`, by default what they are judged by; `axis` is step,
    seconds, gradient_evaluations or hessian_vector_products; `interval` std, se, ci95 or range;
    groups are of runs that differ in their seed alone, or have the same values of the keys `by`.
    Raises: OptionError, StoreError.
    """
    return runs_at(runs).compare(measure, axis=axis, interval=interval, smoothing=smoothing, by=by)


def evaluate(
    runs: Place | Run | Sequence[Place | Run], **protocol: Any
) -> Evaluation | list[Evaluation]:
    """Judge stored weights on held-out tasks, and store what is found; one result for one run.

    `protocol` are those of `metaviz evaluate --set`: tasks, split, seed, shots, query_shots, steps,
    together or draws. Raises: OptionError, StoreError, ValueError for data that cannot be read.
    """
    found = judge_folders([run.folder for run in runs_at(runs)], protocol)
    return found[0] if isinstance(runs, str | Path | Run) and len(found) == 1 else found
