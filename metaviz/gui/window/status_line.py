"""The status line while training: what runs where, how fast, how near the limit, how long yet."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from PySide6.QtCore import QTimer, Slot
from PySide6.QtWidgets import QLabel, QStatusBar

from metaviz.gui.background.training_controller import BUSY, Phase, TrainingController
from metaviz.gui.runs.live_runs import LiveRuns
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.runs.model.record import Record
from metaviz.runs.model.speed import Gauge, place_text

PERIOD_MS = 500
_SAMPLES = 11
_USUAL = "eager"
_ENGINES = {
    _USUAL: "one operation after another",
    "compiled": "translated to machine code before the first",
    "captured": "replayed on the GPU without waiting for Python",
}
_MESSAGE_PX = 200
"""Room that is left for passing remarks."""


class RateMeter:
    """Remembers how far each run was at the last few samples."""

    def __init__(self) -> None:
        self._samples: deque[dict[str, tuple[float, float]]] = deque(maxlen=_SAMPLES)

    def forget(self) -> None:
        """Remove all samples."""
        self._samples.clear()

    def add(self, records: Iterable[Record]) -> None:
        """Note the meta-steps of runs, and the seconds that these took."""
        self._samples.append(
            {r.id: (r.step, float(r.column("seconds")[-1])) for r in records if len(r)}
        )

    def rate(self, worth: Mapping[str, float] | None = None) -> float | None:
        """Return the recent meta-steps per second of training.

        With `worth` only its runs count, and each of a run's steps is worth so much.
        """
        steps = seconds = 0.0
        for name, (step, until) in (self._samples[-1] if self._samples else {}).items():
            if worth is None or name in worth:
                first, since = next(sample[name] for sample in self._samples if name in sample)
                steps += (step - first) * (1.0 if worth is None else worth[name])
                seconds += until - since
        return steps / seconds if seconds > 0 else None


class StatusLine(QLabel):
    """A label at the right of the status bar while runs train; it shortens its text to fit."""

    def __init__(
        self,
        controller: TrainingController,
        live: LiveRuns,
        time_left: Callable[[], str],
        bar: QStatusBar,
    ) -> None:
        """Listen to the worker; `time_left` says how long it will take."""
        super().__init__(bar)
        self.setObjectName("pace_line")
        self.setAccessibleName("What trains where, how fast, and how long yet")
        self._controller, self._live, self._time_left = controller, live, time_left
        self._bar = bar
        self._gauges: dict[str, Gauge] = {}
        self._rates = RateMeter()
        self._timer = QTimer(self)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self.refresh)
        controller.phase_changed.connect(self._on_phase)
        controller.worker.started.connect(self._on_started)
        controller.worker.gauged.connect(self._on_gauged)
        bar.addPermanentWidget(self)
        self.hide()

    @Slot()
    def refresh(self) -> None:
        """Show how it is now."""
        records = list(self._live.records.values())
        if not records:
            return
        if self._controller.phase == "training":
            self._rates.add(records)
        counts = {name: float(gauge.operations) for name, gauge in self._gauges.items()}
        rate, operations = self._rates.rate(), self._rates.rate(counts)
        limit = max((gauge.limit for gauge in self._gauges.values()), default=0.0)
        share = operations / limit if operations is not None and limit else None
        live = [record for record in records if not record.ended] or records
        place = place_text(live[0].environment)
        engines = {
            self._gauges[record.id].engine for record in live if record.id in self._gauges
        } - {""}
        parts = [
            live[0].algorithm if len(live) == 1 else f"{len(live)} runs",
            place,
            " and ".join(sorted(engines - {_USUAL})),
            next((record.doing for record in live if record.is_stalled), ""),
            "" if rate is None else f"{_three_digits(rate)} steps/s",
            "" if share is None else f"{100 * share:.2g} % of the limit",
            self._time_left(),
        ]
        self._show([part for part in parts if part])
        self.setToolTip(
            plain_tip("\n".join(_explained(place, engines, rate, operations, limit, share)))
        )

    @Slot(str)
    def _on_phase(self, phase: Phase) -> None:
        busy = phase in BUSY
        self.setVisible(busy)
        if not busy:
            self._timer.stop()
            self.clear()
        elif not self._timer.isActive():
            self._timer.start()
        if phase != "training":  # what follows is another speed
            self._rates.forget()

    @Slot(object)
    def _on_started(self, _begun: object) -> None:
        self._gauges.clear()
        self._rates.forget()
        self.refresh()

    @Slot(str, object)
    def _on_gauged(self, name: str, gauge: Gauge) -> None:
        self._gauges[name] = gauge

    def _show(self, parts: list[str]) -> None:
        """Drop the first parts until the rest fits; the tooltip has all."""
        others = sum(
            label.sizeHint().width()
            for label in self._bar.findChildren(QLabel)
            if label is not self and label.isVisible()
        )
        room = self._bar.width() - others - _MESSAGE_PX
        while len(parts) > 1 and self.fontMetrics().horizontalAdvance(" · ".join(parts)) > room:
            parts = parts[1:]
        self.setText(" · ".join(parts))


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _explained(
    place: str,
    engines: set[str],
    rate: float | None,
    operations: float | None,
    limit: float,
    share: float | None,
) -> Iterator[str]:
    """Say in plain words what the line means."""
    yield f"Training computes here: {place}."
    for engine in sorted(engines):
        yield f"Meta-steps are {engine}: {_ENGINES[engine.partition(',')[0]]}."
    if rate is not None:
        yield f"{_three_digits(rate)} meta-steps per second, evaluations left out."
    if operations is None or share is None:
        yield "How near the machine's limit that is will be measured in a moment."
    else:
        yield (
            f"They are {operations / 1e9:.3g} billion operations per second, counted. Multiplying "
            f"large matrices with as many threads, this machine does {limit / 1e9:.3g} billion: "
            f"the limit, of which training reaches {100 * share:.2g} %. Small networks stay far "
            "below it, because most of their time goes into starting each operation."
        )
    yield "The time left is that of all runs, evaluations included."
