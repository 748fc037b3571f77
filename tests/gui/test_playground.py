"""The Playground: what is dragged is what is computed and drawn, by mouse and by keyboard."""

import csv
import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QComboBox, QWidget

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.gui.pages.playground_page import PlaygroundTab
from metaviz.gui.widgets.theme import DARK, LIGHT, Theme
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.runs.analysis.playground_charts import Playground, dragged
from metaviz.runs.export.figures import save_figure
from metaviz.runs.model.record import Record
from metaviz.theory.mirror_maps import divergence
from metaviz.theory.playground import LogisticLoss, path

WAIT = 20_000


@pytest.fixture
def page(qtbot) -> PlaygroundTab:
    made = PlaygroundTab()
    qtbot.addWidget(made)
    made.apply_theme(LIGHT)
    made.resize(1280, 800)
    made.show()
    qtbot.waitExposed(made)
    return made


def drag(qtbot, page: PlaygroundTab, name: str, by: QPoint) -> list[Playground]:
    """Drag a handle in steps; return the state at each, where what is drawn was looked at."""
    view = page.plane
    place = view.pixels(view.handles()[name]).toPoint()
    qtbot.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    states = []
    for share in (0.25, 0.5, 1.0):
        to = place + QPoint(int(by.x() * share), int(by.y() * share))
        qtbot.mouseMove(view.viewport(), to)
        states.append(page.state)
        assert_drawn(page)
    qtbot.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=to)
    return states


def assert_drawn(page: PlaygroundTab) -> None:
    """Compare what the views draw with paths computed anew."""
    state = page.state
    for name in state.shown:
        start = np.array(state.start)
        found = path(state.loss, state.maps[name], start, state.rate, state.steps)
        x, y = page.plane.traces[f"path {name}"].getData()
        np.testing.assert_allclose(np.stack([x, y], axis=1), found.points, rtol=0, atol=1e-12)
        if name == state.focus:
            z = np.stack(page.dual.traces["dual path"].getData(), axis=1)
            np.testing.assert_allclose(z, found.duals, rtol=0, atol=1e-12)
        k, heights = page.losses.traces[f"f {name}"].getData()
        assert len(k) == len(found.points)
        np.testing.assert_allclose(10**heights, state.loss.value(found.points), rtol=1e-9)


@pytest.mark.parametrize("name", ["start", "minimiser", "axis 1", "axis 2", "ball"])
def test_during_a_drag_the_drawn_path_is_the_computed_one(qtbot, page, name):
    before = page.state
    states = drag(qtbot, page, name, QPoint(-37, 23))
    assert len({*states, before}) == 4
    assert page.state == states[-1]


def test_during_a_drag_the_views_beside_take_turns_and_rest_painted(qtbot, page):
    view, beside = page.plane, (page.dual.viewport(), page.losses.viewport())
    place = view.pixels(view.handles()["start"]).toPoint()
    qtbot.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    painted = []
    for event in range(4):
        qtbot.mouseMove(view.viewport(), place + QPoint(5 * event + 5, 3))
        painted.append(tuple(one.updatesEnabled() for one in beside))
    assert painted == 2 * [(True, False), (False, True)]
    qtbot.waitUntil(lambda: all(one.updatesEnabled() for one in beside), timeout=WAIT)
    qtbot.mouseMove(view.viewport(), place)
    qtbot.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert all(one.updatesEnabled() for one in beside)


def test_points_of_the_logistic_loss_are_dragged(qtbot, page):
    page.show_state(replace(page.state, loss=LogisticLoss()))
    before = page.state.loss
    first = page.plane.pixels(page.plane.handles()["point 3"]).toPoint()
    states = drag(qtbot, page, "point 3", QPoint(-30, 25))
    place = page.plane.handles()["point 3"]
    apart = page.plane.pixels(place) - QPointF(first + QPoint(-30, 25))
    assert abs(apart.x()) < 1 and abs(apart.y()) < 1
    loss = page.state.loss
    assert isinstance(loss, LogisticLoss)
    assert loss.places[2] == pytest.approx((place.x(), place.y()))
    assert (loss.x[:2], loss.x[3:]) == (before.x[:2], before.x[3:])
    assert loss.x[2] != before.x[2]
    assert len(set(states)) == 3
    page.show_state(dragged(page.state, "minimiser", 1.0, 0.5))
    assert page.state.loss.x == loss.x


def test_a_dragged_handle_follows_the_pointer(qtbot, page):
    for name in ("start", "minimiser", "axis 1"):
        place = page.plane.pixels(page.plane.handles()[name]).toPoint()
        drag(qtbot, page, name, QPoint(30, -40))
        apart = page.plane.pixels(page.plane.handles()[name]) - QPointF(place + QPoint(30, -40))
        assert abs(apart.x()) < 1 and abs(apart.y()) < 1, name


def test_dragging_the_ball_sets_the_step_size(qtbot, page):
    drag(qtbot, page, "ball", QPoint(-50, 40))
    state = page.state
    first = state.paths()["euclid"].points[1]
    start = np.array(state.start)
    edge = page.plane.handles()["ball"]
    assert [edge.x(), edge.y()] == pytest.approx(first, abs=1e-12)
    x, y = page.plane.traces["ball"].getData()
    radius = divergence(state.focused, first, start)
    far = divergence(state.focused, np.stack([x, y], axis=1), start)
    assert far == pytest.approx(np.full(len(far), radius), rel=1e-9)
    assert page.rate.value() == pytest.approx(state.rate, abs=1e-4)
    assert state.rate > 0.1


def test_tab_chooses_a_handle_and_arrows_move_it(qtbot, page):
    page.activateWindow()
    page.fit.setFocus()
    page.plane.setFocus(Qt.FocusReason.TabFocusReason)
    assert page.plane.chosen == "start"
    qtbot.keyClick(page.plane, Qt.Key.Key_Tab)
    assert page.plane.chosen == "minimiser"
    (left, right), _ = page.plane.getPlotItem().getViewBox().viewRange()
    before = page.state.loss.centre
    qtbot.keyClick(page.plane, Qt.Key.Key_Right)
    qtbot.keyClick(page.plane, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
    x, y = np.subtract(page.state.loss.centre, before)
    assert x > 0
    assert x == pytest.approx((right - left) / 100)
    assert y == pytest.approx(x / 10, rel=0.2)  # a tenth of a step of the other axis
    assert "minimiser at" in page.plane.accessibleDescription()
    assert_drawn(page)
    qtbot.keyClick(page.plane, Qt.Key.Key_Backtab)
    assert page.plane.chosen == "start"


def test_steps_play_and_the_ball_follows(qtbot, page):
    page.k.setValue(4)
    x, _ = page.plane.traces["ball"].getData()
    points = page.state.paths()["euclid"].points
    assert x.min() < points[4][0] < x.max()
    assert "ball" not in page.plane.handles()
    assert "k = 4" in page.readout.text()
    page.play.click()
    qtbot.waitUntil(lambda: page.k.value() > 4, timeout=WAIT)
    page.play.click()
    page.steps.setValue(3)
    assert page.k.value() <= 2


def test_examples_say_what_they_promise(page):
    def choose(name: str) -> None:
        page.preset.setCurrentIndex(page.preset.findData(name))
        page.preset.activated.emit(page.preset.currentIndex())

    choose("same")
    points = page.state.paths()["quadratic"].points
    assert points[1] == pytest.approx(page.state.loss.centre, abs=1e-12)
    choose("simplex")
    assert page.state.paths()["mirror"].points.sum(1) == pytest.approx(1)
    choose("prior")
    assert "prior" in page.plane.traces
    choose("inner")
    assert page.state.steps == 3
    assert page.state.loss.gradient(np.array(page.state.start)) == pytest.approx([2.0, 3.5])


def test_the_inner_loop_of_a_run_can_be_opened(page):
    shared = {"inner_lr": 0.05, "inner_steps": 6}
    config = {"algorithm": "maml", "problem": "quadratic", "seed": 0, "steps": 1, "shared": shared}
    page.show_records([Record("maml-s0", config)])
    place = page.preset.findData("run maml-s0")
    page.preset.setCurrentIndex(place)
    page.preset.activated.emit(place)
    assert (page.state.rate, page.state.steps) == (0.05, 6)


@pytest.mark.parametrize("loss", ["quadratic", "rosenbrock", "basins", "logistic"])
@pytest.mark.parametrize("mirror", ["entropy", "simplex", "burg", "hypentropy", "pnorm"])
def test_every_loss_with_every_map_is_drawn(page, loss, mirror):
    for box, name in ((page.loss, loss), (page.mirror, mirror)):
        box.setCurrentIndex(box.findData(name))
    for focus in ("euclid", "quadratic", "mirror"):
        page.focus.setCurrentIndex(page.focus.findData(focus))
        assert_drawn(page)
    assert page.parameter.isVisible() == (mirror in {"hypentropy", "pnorm"})
    page.rate.setValue(10.0)  # paths that diverge or leave their domain
    assert page.readout.text()


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_it_is_exported_as_picture_and_table(page, tmp_path, theme: Theme):
    page.apply_theme(theme)
    for kind in ("png", "svg"):
        save_figure(figure_of(page.chart(), Page()), tmp_path / f"playground.{kind}")
        assert (tmp_path / f"playground.{kind}").stat().st_size > 5000
    (text,) = page.tables().values()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * 11
    last = [row for row in rows if row["map"] == "euclid"][-1]
    assert [float(last["x"]), float(last["y"])] == page.state.paths()["euclid"].points[-1].tolist()


def test_it_can_be_exported_without_any_run(qtbot, page, tmp_path):
    dialog = ExportDialog([page], [], None, {})
    qtbot.addWidget(dialog)
    assert dialog.export.isEnabled()
    dialog.folder.setText(str(tmp_path))
    dialog.start()
    qtbot.waitUntil(lambda: not dialog._is_writing, timeout=WAIT)
    assert {one.name for one in dialog.written} == {"playground.png", "playground.csv"}


def test_everything_that_can_be_reached_has_a_name(page):
    for widget in page.findChildren(QWidget):
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.objectName():
            inside = isinstance(widget.parent(), QComboBox) or "qt_" in widget.objectName()
            assert inside or widget.accessibleName(), widget.objectName()


def test_a_point_dragged_out_of_the_domain_stays_in_it():
    state = Playground(focus="mirror")
    moved = dragged(state, "start", -1.0, 0.5)
    assert moved.start == (0.001, 0.5)
    assert np.isfinite(moved.paths()["mirror"].points).all()


def test_it_needs_no_torch():
    code = (
        "import sys; import metaviz.gui.pages.playground_page; "
        "print(sorted({'torch', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
