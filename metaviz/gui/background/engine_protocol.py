"""What the window asks of the engine. The window never imports the engine; app.py passes it in."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from metaviz.config.catalogue import Catalogue
from metaviz.config.run_config import Comparison, EvaluationProtocol, RunConfig
from metaviz.config.sweep import Estimate
from metaviz.files.progress import Report
from metaviz.runs.model.dataset import DatasetView
from metaviz.runs.model.episode import Episode
from metaviz.runs.model.evaluation import Judgement
from metaviz.runs.model.events import Event, State
from metaviz.runs.model.gradients import GradientComparison
from metaviz.runs.model.prediction import Predicted
from metaviz.runs.model.robustness import Robustness
from metaviz.runs.model.speed import Gauge
from metaviz.runs.model.theory import Expanded, ExpandedOverTraining, MeasuredAccuracy, Replay


class Session(Protocol):
    """One run under way. It stores every event before handing it on."""

    id: str
    folder: Path

    @property
    def step(self) -> int:
        """How many meta-steps the run has taken."""

    @property
    def band(self) -> object | None:
        """What sessions share that compute together: advance the one that is behind first."""

    def advance(self) -> Event | None:
        """Compute and return the next event; None once the run has ended.

        A run that fails or diverges returns an Ended event that says why; only a store that
        cannot be written raises (StoreError).
        """

    def end(self, state: State) -> Event:
        """End the run early as `stopped` or `aborted`, keeping what it has; return Ended."""

    @property
    def tasks_done(self) -> int:
        """How many tasks of an evaluation under way are done; from any thread."""

    def cut_short(self) -> None:
        """Cut an evaluation short, because `end` is about to be called; from any thread."""

    def set_state(self, state: State) -> None:
        """Record that the run is `paused` or `running`."""

    def gauge(self) -> Gauge:
        """Count the operations of a meta-step, and measure what the machine can do at most."""


class Engine(Protocol):
    """The engine's front door. Its methods may be slow: call them on the worker's thread only."""

    device_text: str

    @property
    def catalogue(self) -> Catalogue:
        """Everything that can be chosen."""

    def start(
        self, comparison: Comparison, root: Path, source: Path | None = None
    ) -> Sequence[Session]:
        """Check a comparison and make its runs under `root`.

        `source` is the folder of a run whose weights all of them start from.
        Raises: OptionError for wrong values, StoreError where `root` cannot be written,
        ValueError with one sentence for data that cannot be read.
        """

    def resume(
        self, folders: Sequence[Path], steps: int | None, remedy: str = ""
    ) -> Sequence[Session]:
        """Open stored runs to be trained further, each from its newest checkpoint.

        `steps` is the new number of meta-steps, or None for the one they were begun with. `remedy`
        is the id of a change that was offered when the runs diverged.
        Raises: as `start`; no run is changed then.
        """

    def repeat(self, folder: Path, root: Path) -> Sequence[Session]:
        """Make a run with the settings of a stored one; it notes whether its numbers differ.

        Raises: as `start`.
        """

    def gradients(
        self, comparison: Comparison, start: Path | None, step: int
    ) -> GradientComparison:
        """Compare meta-gradients of the comparison's algorithms on meta-batch number `step`.

        `start` is the folder of a run whose weights are the point, or None for the seed's
        initial weights. Raises: as `start`.
        """

    def judge(
        self, folders: Sequence[Path], protocol: EvaluationProtocol, report: Report
    ) -> Sequence[Judgement]:
        """Evaluate stored runs on the same held-out tasks, and store the results with them.

        Raises: OptionError, StoreError or ValueError with one sentence.
        """

    def robustness(
        self, folders: Sequence[Path], protocol: EvaluationProtocol, report: Report
    ) -> Sequence[Robustness]:
        """Evaluate stored runs with other numbers and sizes of inner steps. Raises: as `judge`."""

    def episode(self, folder: Path, protocol: EvaluationProtocol, number: int) -> Episode:
        """Adapt a stored run to one task of a protocol. Raises: as `judge`."""

    def predict(
        self, folder: Path, support: Sequence[Path], query: Sequence[Path], *, together: bool
    ) -> Predicted:
        """Adapt a stored run to a person's examples and predict others.

        Raises: StoreError, OptionError, ValueError with one sentence.
        """

    def expansion(self, folder: Path, report: Report) -> Expanded:
        """Compare a run's meta-gradients with their expansion. Raises: as `judge`."""

    def expansion_over_training(self, folder: Path, report: Report) -> ExpandedOverTraining:
        """Compare the same at several meta-steps of a run. Raises: as `judge`."""

    def replay(self, folder: Path, report: Report) -> Replay:
        """Take the first meta-steps of a run again, one by one. Raises: as `judge`."""

    def accuracy(self, folder: Path, report: Report) -> MeasuredAccuracy:
        """Compare a run's meta-gradients after K steps with the exact one. Raises: as `judge`."""

    def estimate(self, configs: Sequence[RunConfig], report: Report) -> Estimate:
        """Time a few steps of each kind of run, and return how long all of them will take.

        Raises: OptionError or ValueError with one sentence.
        """

    def dataset_view(
        self, comparison: Comparison, split: str, number: int, report: Report
    ) -> DatasetView:
        """Read the images of a comparison's problem and draw task `number` of a split.

        What `report` raises breaks decoding off, and leaves nothing of it.
        Raises: OptionError or ValueError with one sentence.
        """

    def save_weights(self, folder: Path, path: Path) -> Path:
        """Write the newest weights of a stored run as safetensors; return the file.

        Raises: StoreError, OptionError or ValueError with one sentence.
        """

    def download(self, dataset: str, report: Report) -> Path:
        """Download a data set because a person asked; return its folder.

        What `report` raises breaks it off; another try goes on from there.
        Raises: ValueError with one sentence where that fails.
        """


EngineLoader = Callable[[], Engine]
EngineCall = Callable[[Engine, Report], object]
"""What is asked of the engine besides training; it may report how far it is."""
