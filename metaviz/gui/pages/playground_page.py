"""The Playground: gradient, preconditioned and mirror descent in the plane, to be dragged."""

import csv
import io
from dataclasses import replace
from functools import partial

from PySide6.QtCore import QSignalBlocker, QTimer, Slot
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLayout, QWidget

from metaviz.charts.values import Panels
from metaviz.gui.pages.layouts import flow, page, row, slider, split
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.drag_view import DragView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    named,
    offer,
    push_button,
    switch,
    text_label,
    whole_number,
)
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.playground_charts import (
    HANDLE,
    Playground,
    dragged,
    dual_chart,
    fitted_view,
    inner_problems,
    loss_chart,
    paths_table,
    playground_chart,
    preset,
    primal_chart,
    told,
)
from metaviz.theory.mirror_maps import Burg, Entropy, Hypentropy, MirrorMap, PNorm, Simplex
from metaviz.theory.playground import (
    LogisticLoss,
    Loss2D,
    Path,
    QuadraticLoss,
    Rosenbrock,
    TwoBasins,
)

_PLAY_MS, _REST_MS = 350, 40
_LOSSES: dict[str, tuple[str, type[Loss2D]]] = {
    "quadratic": ("quadratic", QuadraticLoss),
    "rosenbrock": ("bent valley", Rosenbrock),
    "basins": ("two basins", TwoBasins),
    "logistic": ("logistic", LogisticLoss),
}
_MIRRORS: dict[str, tuple[str, type[MirrorMap]]] = {
    "entropy": ("entropy", Entropy),
    "simplex": ("simplex", Simplex),
    "burg": ("Burg's entropy", Burg),
    "hypentropy": ("hypentropy", Hypentropy),
    "pnorm": ("p-norm", PNorm),
}
_PARAMETERS = {"hypentropy": ("β", 0.5, 0.01, 100.0), "pnorm": ("q", 3.0, 1.05, 4.0)}
_PRESETS = {
    "": "choose…",
    "same": "same path: P = A⁻¹, α = 1",
    "simplex": "on the simplex",
    "inner": "MAML's inner loop",
    "prior": "its implicit prior",
}
_FOCUS = {"euclid": "gradient descent", "quadratic": "preconditioned", "mirror": "mirror"}


class PlaygroundTab(PlotPage):
    """A plane with handles, the dual plane beside it, and the loss along the paths."""

    export_name = "playground"
    on_demand = True
    stands_alone = True

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show three methods on a quadratic loss."""
        super().__init__("playground", parent)
        self.state = Playground()
        self.plane = DragView("playgroundPlane", "The plane: loss, paths and handles", HANDLE)
        self.dual = ChartView("playgroundDual", "The dual plane")
        self.losses = ChartView("playgroundLosses", "Loss and gradient along the paths")
        for view in (self.dual, self.losses):
            view.has_grid = False  # a grid takes as long to draw as all curves of a drag
        self.plane.moved.connect(self._move)
        self.plane.resized.connect(self._draw_again)
        self.plane.released.connect(self.redraw)
        self._dual_is_next = False
        self._resting = QTimer(self)
        self._resting.setSingleShot(True)
        self._resting.setInterval(_REST_MS)
        self._resting.timeout.connect(self._paint_all)
        self._timer = QTimer(self)
        self._timer.setInterval(_PLAY_MS)
        self._timer.timeout.connect(self._advance)
        beside = split("playgroundBeside", self.dual, self.losses, upright=True, sizes=(300, 300))
        body = split("playgroundBody", self.plane, beside, sizes=(620, 420))
        self.readout = text_label("playgroundReadout")
        self.muted = (self.readout,)
        # Of one height whatever it says: the plots would be laid out anew during a drag.
        self.readout.setFixedHeight(2 * self.readout.fontMetrics().lineSpacing())
        parts = self._choices(), self._looks(), body, self._scrubber(), self.readout
        page(self, *parts, stretch=body)
        self._show_controls()

    def take_records(self) -> None:
        """Offer the inner loops of the shown runs as presets."""
        runs = {
            f"run {one.id}": f"inner loop of {one.label}" for one in inner_problems(self._records)
        }
        offer(self.preset, _PRESETS | runs)

    def chart(self) -> Panels:
        """Return the three plots beside each other."""
        return playground_chart(self.state)

    def tables(self) -> dict[str, str]:
        """Return the points of all paths as a table."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(paths_table(self.state))
        return {"playground.csv": text.getvalue()}

    def drawing(self) -> list[Piece]:
        """Return what draws the three plots."""
        paths = self.state.paths()
        return [
            self._take_turns,
            partial(self._draw_plane, paths),
            lambda: self.dual.show_chart(dual_chart(self.state, paths[self.state.focus])),
            lambda: self.losses.show_chart(loss_chart(self.state, paths)),
            lambda: self.readout.setText(told(self.state, paths)),
        ]

    def _take_turns(self) -> None:
        """During a drag let the two views beside the plane be painted at every other event.

        They show the present state all the same; both are painted when the pointer rests.
        """
        if not self.plane.held:
            self._paint_all()
            return
        self._dual_is_next = not self._dual_is_next
        self.dual.viewport().setUpdatesEnabled(self._dual_is_next)
        self.losses.viewport().setUpdatesEnabled(not self._dual_is_next)
        self._resting.start()

    @Slot()
    def _paint_all(self) -> None:
        self._resting.stop()
        for view in (self.dual, self.losses):
            view.viewport().setUpdatesEnabled(True)

    def show_state(self, state: Playground) -> None:
        """Show this state, in the plots and in the controls."""
        self.state = replace(state, step=min(state.step, state.steps - 1))
        self._show_controls()
        self.redraw()

    def _draw_plane(self, paths: dict[str, Path]) -> None:
        # Rough edges while a handle is on its way: its next place is due within a frame.
        chart = primal_chart(self.state, paths, self.plane.shape)
        self.plane.show_chart(chart, fine=not self.plane.held)

    @Slot()
    def _draw_again(self) -> None:
        if self._theme is not None:
            self._draw_plane(self.state.paths())

    def _choices(self) -> QLayout:
        tip = "Begin with an example."
        self.preset = combo("playgroundPreset", "Example", _PRESETS, tip, letters=16)
        names = {name: title for name, (title, _) in _LOSSES.items()}
        self.preset.setProperty("transient", True)
        self.loss = combo("playgroundLoss", "Loss", names)
        names = {name: title for name, (title, _) in _MIRRORS.items()}
        self.mirror = combo("playgroundMirror", "Mirror map", names, "h of mirror descent.")
        self.parameter = named(QDoubleSpinBox(), "playgroundParameter", "Parameter of the map")
        self.parameter.setSingleStep(0.1)
        self.parameter_text = PlainLabel()
        tip = "Step size α of all methods; dragging the end of the first step sets it, too."
        self.rate = named(QDoubleSpinBox(), "playgroundRate", "Step size", tip)
        self.rate.setRange(0.0001, 10.0)
        self.rate.setDecimals(4)
        self.rate.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.steps = whole_number("playgroundSteps", "Steps", "Number of steps.", (1, 200), 10)
        self.preset.activated.connect(self._take_preset)
        connect_controls(self._take_loss, self.loss)
        connect_controls(self._take_mirror, self.mirror, self.parameter)
        connect_controls(self._take_numbers, self.rate, self.steps)
        parameter = self.parameter_text, self.parameter
        maps = ("&loss", self.loss), ("&mirror map", self.mirror), *parameter
        numbers = ("α", self.rate), ("&steps", self.steps)
        return flow(("e&xample", self.preset), *maps, *numbers)

    def _looks(self) -> QLayout:
        tip = "Draw this path."
        self.shown = {
            name: switch(f"playgroundShow_{name}", text, tip, on=True)
            for name, text in _FOCUS.items()
        }
        tip = "Whose Bregman ball and dual plane are shown."
        self.focus = combo("playgroundFocus", "Ball and dual plane of", _FOCUS, tip)
        tip = "The Gaussian prior that k steps of gradient descent on a quadratic loss stand for."
        self.prior = switch("playgroundPrior", "&implicit prior", tip)
        tip = "Show start, minimiser and paths."
        self.fit = push_button("playgroundFit", "Fi&t view", tip)
        self.fit.clicked.connect(self._fit)
        connect_controls(self._take_looks, *self.shown.values(), self.focus, self.prior)
        focus = "&ball and dual of", self.focus
        return flow(*self.shown.values(), focus, self.prior, self.fit)

    def _scrubber(self) -> QHBoxLayout:
        tip = "Step k forward by itself."
        self.play = push_button("playgroundPlay", "Pla&y", tip, "Play the steps")
        self.play.setCheckable(True)
        self.play.toggled.connect(self._play)
        self.k = slider("playgroundK", "Step k", "Move along the path.", transient=True, ticks=True)
        self.k.setEnabled(True)
        self.k_text = PlainLabel("k = 0")
        self.k_text.setMinimumWidth(60)
        connect_controls(self._take_step, self.k)
        return row(self.play, self.k_text, self.k, spacing=6, stretch=self.k)

    def _show_controls(self) -> None:
        """Set the controls to the state; emits nothing."""
        state = self.state
        named_maps = {kind: name for name, (_, kind) in _MIRRORS.items()}
        named_losses = {kind: name for name, (_, kind) in _LOSSES.items()}
        controls = (self.loss, self.mirror, self.parameter, self.rate, self.steps, self.focus)
        others = (self.prior, self.k, *self.shown.values())
        blockers = [QSignalBlocker(one) for one in (*controls, *others)]
        self.loss.setCurrentIndex(self.loss.findData(named_losses[type(state.loss)]))
        name = named_maps[type(state.mirror)]
        self.mirror.setCurrentIndex(self.mirror.findData(name))
        text, _, least, most = _PARAMETERS.get(name, ("", 0.0, 0.0, 1.0))
        self.parameter.setVisible(bool(text))
        self.parameter_text.setText(text)
        if isinstance(state.mirror, Hypentropy | PNorm):
            self.parameter.setRange(least, most)
            of_map = state.mirror.beta if isinstance(state.mirror, Hypentropy) else state.mirror.q
            self.parameter.setValue(of_map)
        self.rate.setValue(state.rate)
        self.steps.setValue(state.steps)
        self.k.setMaximum(state.steps - 1)
        self.k.setValue(state.step)
        self.k_text.setText(f"k = {state.step}")
        self.focus.setCurrentIndex(self.focus.findData(state.focus))
        self.prior.setChecked(state.prior)
        for name, box in self.shown.items():
            box.setChecked(name in state.shown)
        del blockers

    @Slot(str, float, float)
    def _move(self, name: str, x: float, y: float) -> None:
        self.show_state(dragged(self.state, name, x, y))

    @Slot()
    def _take_preset(self) -> None:
        name = str(self.preset.currentData())
        chosen = {f"run {one.id}": one.problem for one in inner_problems(self._records)}
        if name:
            self.show_state(
                preset("inner" if name in chosen else name, self.state, chosen.get(name))
            )

    @Slot()
    def _take_loss(self) -> None:
        _, kind = _LOSSES[self.loss.currentData()]
        self.show_state(replace(self.state, loss=kind(self.state.loss.centre)))

    @Slot()
    def _take_mirror(self) -> None:
        name = self.mirror.currentData()
        _, kind = _MIRRORS[name]
        mirror = kind()
        if name in _PARAMETERS and isinstance(self.state.mirror, kind):
            value = self.parameter.value()
            mirror = Hypentropy(value) if name == "hypentropy" else PNorm(value)
        self.show_state(replace(self.state, mirror=mirror))

    @Slot()
    def _take_numbers(self) -> None:
        steps = self.steps.value()
        self.show_state(replace(self.state, rate=self.rate.value(), steps=steps))

    @Slot()
    def _take_looks(self) -> None:
        shown = tuple(name for name, box in self.shown.items() if box.isChecked())
        focus, prior = self.focus.currentData(), self.prior.isChecked()
        self.show_state(replace(self.state, shown=shown, focus=focus, prior=prior))

    @Slot()
    def _take_step(self) -> None:
        self.show_state(replace(self.state, step=self.k.value()))

    @Slot()
    def _fit(self) -> None:
        self.show_state(replace(self.state, view=fitted_view(self.state)))

    @Slot(bool)
    def _play(self, on: bool) -> None:
        self.play.setText("Pa&use" if on else "Pla&y")
        (self._timer.start if on else self._timer.stop)()

    @Slot()
    def _advance(self) -> None:
        self.k.setValue(0 if self.k.value() >= self.k.maximum() else self.k.value() + 1)
