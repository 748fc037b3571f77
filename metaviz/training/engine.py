"""The engine as the window and the command line use it."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from metaviz.algorithms.registry import ALGORITHMS, find_algorithm
from metaviz.config.backbones import training_key
from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError, specs
from metaviz.config.run_config import Comparison, EvaluationProtocol, RunConfig, Shared
from metaviz.config.sweep import Estimate
from metaviz.files.progress import Report
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from metaviz.nets.layout import Layout, lying_axes
from metaviz.paths import runs_dir
from metaviz.problems.registry import PROBLEMS, find_problem
from metaviz.runs.model.dataset import DatasetView
from metaviz.runs.model.episode import Episode
from metaviz.runs.model.evaluation import Judgement
from metaviz.runs.model.gradients import GradientComparison, MetaGradientRow, Part
from metaviz.runs.model.prediction import Predicted
from metaviz.runs.model.robustness import Robustness
from metaviz.runs.model.theory import Expanded, ExpandedOverTraining, MeasuredAccuracy, Replay
from metaviz.runs.storage.backbones import planned
from metaviz.runs.storage.store import StoreError
from metaviz.training.protocol import episode, judge, robustness
from metaviz.training.resume import resume_sessions
from metaviz.training.session import Session, open_sessions, repeat_session
from metaviz.training.setting import Setting, device_text, settle, settle_process
from metaviz.training.start import stored_meta

Found = TypeVar("Found")


class LocalEngine:
    """Trains on this machine."""

    def __init__(self) -> None:
        """Load torch's settings and every method."""
        settle_process()
        self.device_text = device_text()

    @cached_property
    def catalogue(self) -> Catalogue:
        """Everything that can be chosen."""
        return build_catalogue()

    def start(
        self, comparison: Comparison, root: Path, source: Path | None = None
    ) -> list[Session]:
        """Check a comparison and make its runs under `root`.

        `source` is the folder of a run whose weights all of them start from.
        Raises: OptionError for wrong values, StoreError where `root` cannot be written,
        ValueError with one sentence for data that cannot be read.
        """
        return open_sessions(planned_runs(comparison), root, source)

    def backbones(self, comparison: Comparison) -> list[Session]:
        """Make the runs that a comparison needs and that nobody has trained yet, each once.

        They go where all comparisons find them. Raises: as `start`.
        """
        runs = [run.model_dump(mode="json") for run in planned_runs(comparison)]
        needs = {
            training_key(need.model_dump(mode="json")): need
            for one in planned(runs, runs_dir())
            for need in one.needs
        }
        return open_sessions(list(needs.values()), runs_dir()) if needs else []

    def resume(
        self,
        folders: Sequence[Path],
        steps: int | None,
        remedy: str = "",
        refused: list[str] | None = None,
    ) -> list[Session]:
        """Open stored runs to be trained further, each from its newest checkpoint.

        `steps` is the new number of meta-steps, or None for the one they were begun with. `remedy`
        is the id of a change that was offered when the runs diverged. Where `refused` takes why
        some cannot go on, the others do.
        Raises: OptionError or StoreError with one sentence, ValueError for data that cannot be
        read; no run is changed then.
        """
        return resume_sessions(folders, steps, remedy, refused)

    def repeat(self, folder: Path, root: Path) -> list[Session]:
        """Make a run under `root` with the settings of a stored one; it notes whether it differs.

        Raises: as `resume`.
        """
        return [repeat_session(folder, root)]

    def gradients(
        self, comparison: Comparison, start: Path | None, step: int
    ) -> GradientComparison:
        """Compare meta-gradients on meta-batch number `step`, at one point.

        `start` is the folder of a run whose weights are the point, or None for the seed's initial
        weights. Raises: as `start`.
        """
        return compare_gradients(planned_runs(comparison), start, step)

    def judge(
        self, folders: Sequence[Path], protocol: EvaluationProtocol, report: Report
    ) -> list[Judgement]:
        """Evaluate stored runs on the same held-out tasks, and store the results with them.

        Raises: OptionError, StoreError or ValueError with one sentence.
        """
        return _of_each(folders, lambda folder: judge(folder, protocol, report))

    def robustness(
        self, folders: Sequence[Path], protocol: EvaluationProtocol, report: Report
    ) -> list[Robustness]:
        """Evaluate stored runs with other numbers and sizes of inner steps. Raises: as `judge`."""
        return _of_each(folders, lambda folder: robustness(folder, protocol, report))

    def episode(self, folder: Path, protocol: EvaluationProtocol, number: int) -> Episode:
        """Adapt a stored run to one task of a protocol. Raises: as `judge`."""
        return episode(folder, protocol, number)

    def predict(
        self, folder: Path, support: Sequence[Path], query: Sequence[Path], *, together: bool
    ) -> Predicted:
        """Adapt a stored run to a person's examples and predict others. Raises: as `judge`."""
        from metaviz.training.prediction.examples import read_given
        from metaviz.training.prediction.predict import predict_given

        shown, asked = read_given(support, "support"), read_given(query, "query")
        return predict_given(folder, shown, asked, together=together)

    def expansion(self, folder: Path, report: Report) -> Expanded:
        """Compare a run's meta-gradients with their expansion. Raises: as `judge`."""
        from metaviz.training.theory.runs import expand

        return expand(folder, report)

    def expansion_over_training(self, folder: Path, report: Report) -> ExpandedOverTraining:
        """Compare the same at several meta-steps of a run. Raises: as `judge`."""
        from metaviz.training.theory.over_training import expand_over_training

        return expand_over_training(folder, report)

    def replay(self, folder: Path, report: Report) -> Replay:
        """Take the first meta-steps of a run again, one by one. Raises: as `judge`."""
        from metaviz.training.theory.replay import replay

        return replay(folder, report)

    def accuracy(self, folder: Path, report: Report) -> MeasuredAccuracy:
        """Compare a run's meta-gradients after K steps with the exact one. Raises: as `judge`."""
        from metaviz.training.theory.runs import measure_accuracy

        return measure_accuracy(folder, report)

    def estimate(self, configs: Sequence[RunConfig], report: Report) -> Estimate:
        """Time a few steps of each kind of run, and return how long all of them will take.

        Raises: OptionError or ValueError with one sentence.
        """
        from metaviz.training.estimate import estimate

        return estimate(configs, report)

    def dataset_view(
        self, comparison: Comparison, split: str, number: int, report: Report
    ) -> DatasetView:
        """Read the images of a comparison's problem and draw task `number` of a split.

        Raises: OptionError or ValueError with one sentence.
        """
        from metaviz.problems.dataset_view import dataset_view

        return dataset_view(planned_runs(comparison)[0], split, number, report)

    def save_weights(self, folder: Path, path: Path) -> Path:
        """Write the newest weights of a stored run as safetensors; return the file.

        Raises: StoreError, OptionError or ValueError with one sentence.
        """
        from metaviz.training.weights import write_weights

        write_weights(folder, path)
        return path

    def download(self, dataset: str, report: Report) -> Path:
        """Download a data set because a person asked; return its folder.

        Raises: ValueError with one sentence where that fails.
        """
        from metaviz.problems.downloads import download

        return download(dataset, report)


def _of_each(folders: Sequence[Path], call: Callable[[Path], Found]) -> list[Found]:
    """Return what a call finds for each folder; what went wrong is raised after the last one.

    Raises: ValueError, which names the runs that were left out.
    """
    found: list[Found] = []
    failures: list[str] = []
    for folder in folders:
        try:
            found.append(call(folder))
        except (OptionError, StoreError) as error:
            failures.append(f"{folder.name} was left out: {error}")
    if failures:
        raise ValueError(" ".join(failures))
    return found


def build_catalogue() -> Catalogue:
    """Describe every method and problem as plain data."""
    return Catalogue(
        shared=specs(Shared),
        comparison=specs(Comparison),
        algorithms=tuple(known.entry for known in ALGORITHMS.values()),
        problems=tuple(known.entry for known in PROBLEMS.values()),
    )


def planned_runs(comparison: Comparison) -> list[RunConfig]:
    """Return the runs of a comparison after checking ids and option keys.

    Raises: OptionError with one sentence.
    """
    problem = find_problem(comparison.problem)
    for name, values in comparison.options.items():
        find_algorithm(name).checked(values)
    for name in comparison.algorithms:
        if reason := find_algorithm(name).entry.unsuited(problem.entry):
            raise OptionError("algorithms", reason)
    return comparison.runs(problem.entry.shared)


def compare_gradients(
    configs: list[RunConfig], start: Path | None, step: int
) -> GradientComparison:
    """Compute the meta-gradient of every run's method on one batch at one point.

    Raises: OptionError, StoreError or ValueError with one sentence.
    """
    configs = [config for config in configs if config.seed == configs[0].seed]
    rows: list[MetaGradientRow] = []
    layout: tuple[Part, ...] = ()
    problem = None
    for config in configs:
        setting = settle(config, problem)
        problem = setting.problem
        rows.append(_row(setting, start, step))
        layout = _parts(setting.learner.net.layout)
    return GradientComparison(tuple(rows), layout)


def _parts(layout: Layout) -> tuple[Part, ...]:
    """Say where each tensor of a network lies in a flat gradient."""
    places = accumulate(layout.sizes, initial=0)
    return tuple(
        Part(name, first, size, shape, lying_axes(len(shape)))
        for (name, shape), size, first in zip(layout.shapes, layout.sizes, places, strict=False)
    )


def _row(setting: Setting, start: Path | None, step: int) -> MetaGradientRow:
    meta, network = setting.init(), setting.algorithm.network
    if network is None:
        name = setting.config.algorithm
        raise OptionError(
            "algorithms",
            f"{name} learns no weights of the problem's network, so that its meta-gradient cannot "
            "be compared with others: leave it out.",
        )
    if start is not None:
        meta[network] = _point(setting, network, start)
    context = setting.context(step)
    began = time.perf_counter()
    result = sharded_meta_gradient(setting.algorithm, context, meta, Shards(1))
    # A start that is not trained stays: that is a meta-gradient of zero.
    start_gradient = result.gradients.get(network, torch.zeros_like(meta[network]))
    gradient = start_gradient.double().cpu().numpy()
    seconds = time.perf_counter() - began
    inner, solver = (
        float(result.readings[name].mean()) if name in result.readings else None
        for name in ("inner_residual", "solver_residual")
    )
    notes = tuple(
        f"{text} ({int(mask.sum())} of {len(context.tasks)} tasks)."
        for text, mask in result.warnings.items()
        if bool(mask.any())
    )
    if not np.isfinite(gradient).all():
        notes += ("The meta-gradient is not finite: try a smaller inner step size.",)
    return MetaGradientRow(
        algorithm=setting.config.algorithm,
        gradient=gradient,
        inner_residual=inner,
        solver_residual=solver,
        seconds=seconds,
        gradient_evaluations=result.gradient_evaluations * len(context.tasks),
        hessian_vector_products=result.hessian_vector_products * len(context.tasks),
        notes=notes,
        others={
            name: value.double().cpu().numpy()
            for name, value in result.gradients.items()
            if name != network
        },
    )


def _point(setting: Setting, network: str, folder: Path) -> torch.Tensor:
    layout = setting.learner.net.layout
    state = load_checkpoint(folder / CHECKPOINT)
    saved = stored_meta(state, layout, folder, network)[network]
    if saved.shape != (layout.size,):
        raise OptionError(
            "start",
            f"{folder.name} has {saved.numel()} weights, but this problem's network has "
            f"{layout.size}: choose a run of the same problem and network.",
        )
    return saved.to(setting.device, setting.dtype)
