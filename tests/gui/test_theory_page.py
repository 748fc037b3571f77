"""The Theory page: its views of stored runs, what it asks of the engine, and its export."""

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QWidget

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.charts.values import Panels
from metaviz.gui.pages.theory_page import VIEWS, TheoryTab
from metaviz.gui.widgets.theme import DARK, LIGHT
from metaviz.runs.analysis.meta_gradient_charts import expansion_text, intervals
from metaviz.runs.analysis.optimality import WhatIf, example, history, singular_rates
from metaviz.runs.export.figures import save_figure
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record
from metaviz.runs.model.theory import (
    Expanded,
    ExpandedOverTraining,
    MeasuredAccuracy,
    Replay,
    ReplayedStep,
)
from metaviz.theory.expansion import METHODS, coefficients
from metaviz.theory.optimality import optimality

WAIT = 60_000
STEPS = (0, 10, 20)


def linear_record(width: int = 2, loss: str = "logistic", name: str = "") -> Record:
    """A run of linear models whose points go to the minimiser step by step."""
    generator = np.random.default_rng(width)
    tables = generator.dirichlet(np.ones(12), 3).reshape(3, 6, 2)
    features = generator.standard_normal((6, width))
    config = {"algorithm": "maml", "problem": "linear", "seed": 0, "steps": 20}
    record = Record(name or f"maml-{width}", config)
    for step in STEPS:
        omega = np.full(width, 1.0 - step / 25)
        risk_predictions = np.stack([np.tile(features @ omega, (3, 1))] * 2)
        arrays = {
            "optimality_tables": tables,
            "optimality_features": features,
            "optimality_loss": np.array(loss),
            "optimality_rate": np.array(0.5),
            "optimality_predictions": risk_predictions,
        }
        record.apply(Pictured(step, arrays))
    return record


def expanded(run: str, share: float = 1.0) -> Expanded:
    """An expansion that holds exactly, or in which gradients are scaled by a share."""
    generator = np.random.default_rng(0)
    rates = np.array([0.001, 0.01, 0.1])
    products: dict[str, np.ndarray] = {}
    for method in METHODS:
        c0, c1 = coefficients(method, 4)
        rows = []
        for rate in rates.tolist():
            a, b = generator.standard_normal((2, 8, 5))
            g = share * (c0 * a - rate * c1 * b)
            pairs = ((g, a), (g, b), (a, a), (a, b), (b, b), (g, g))
            rows.append(np.stack([(one * other).sum(1) for one, other in pairs], axis=1))
        products[method] = np.array(rows)
    return Expanded(run, run, 20, 4, 24, 0.01, rates, products)


def measured(run: str) -> MeasuredAccuracy:
    steps = np.array([1, 2, 5])
    errors = np.tile(0.5 ** steps[None, :], (3, 1))
    return MeasuredAccuracy(
        run, run, 20, 0.1, 3, 1 / 0.3, steps, errors, errors, 2 * errors, errors, np.ones(3),
        (0.5, 2.0), np.array([2.0, 0.5]), np.diag([2.0, 0.5]),
    )  # fmt: skip


def replayed(run: str, flow: str = "path") -> Replay:
    k = np.arange(4.0)
    steps = tuple(
        ReplayedStep(
            step, 3 - k / step, 4 - k / step, 1 / (1 + k), k / 10,
            {"pre_query_loss": 4.0, "post_query_loss": 4 - 3 / step, "meta_gradient_norm": 0.5},
            {"theta": 0.01 * step},
        )
        for step in (1, 2)
    )  # fmt: skip
    return Replay(run, run, flow, False, steps)  # type: ignore[arg-type]


@pytest.fixture
def page(qtbot) -> TheoryTab:
    made = TheoryTab()
    qtbot.addWidget(made)
    made.apply_theme(LIGHT)
    made.resize(1280, 800)
    made.show()
    qtbot.waitExposed(made)
    return made


def show(page: TheoryTab, view: str) -> None:
    page.what.setCurrentIndex(page.what.findData(view))


def test_the_example_shows_maxima_where_the_gradient_vanishes(page):
    assert page.view == "example"
    assert "θ = -0.852 is stationary" in page.text.text()
    curve = page.plots["example"].panels[0]
    x, _ = curve.traces["maxima"].getData()
    assert x == pytest.approx([-0.851929301, 0.851929301])
    page.eta.setValue(50)
    assert page.eta_text.text() == "0.50"
    assert "here ε = 0 means optimal" in page.text.text()
    assert set(curve.traces) == {"L", "minima"}


def test_optimality_draws_the_numbers_of_the_run(page):
    record = linear_record()
    page.show_records([record, linear_record(3)])
    show(page, "optimality")
    assert page.run.count() == 2
    panels = page.plots["optimality"].panels
    assert len(panels) == 4  # a plane for two weights
    found = history(record)
    assert found is not None
    step, gap = panels[0].traces["gap"].getData()
    assert step.tolist() == list(STEPS)
    assert 10**gap == pytest.approx([one.found.gap for one in found.judged])
    widths, _ = panels[2].traces["bound"].getData()
    assert widths.tolist() == [2, 3]
    page.evaluation.setValue(1)
    assert page.evaluation_text.text() == "10"
    _, heights = panels[1].traces["bound"].getData()
    assert 10**heights == pytest.approx(found.judged[1].found.bound)
    text = page.text.text()
    assert "K_η is singular at" in text
    assert "One marginal of x for all tasks, as Corollary 1 needs: does not hold here" in text
    assert "Every R_i is convex in h: holds" in text
    assert "The run adapts by one gradient step of size eta: does not hold here" in text


def test_what_if_shows_the_same_points_with_another_loss_and_one_marginal(page):
    record = linear_record()
    page.show_records([record])
    show(page, "optimality")
    page.loss.setCurrentIndex(page.loss.findData("squared"))
    page.shared.setChecked(True)
    found = history(record, WhatIf("squared", shared=True))
    assert found is not None
    assert found.risk.shared
    assert found.judged[0].found.corollary is not None
    _, heights = page.plots["optimality"].panels[0].traces["corollary"].getData()
    bounds = [one.found.corollary.bound.min() for one in found.judged]  # type: ignore[union-attr]
    assert 10**heights == pytest.approx(bounds)
    assert "as Corollary 1 needs: holds" in page.text.text()


def test_a_run_of_a_wider_problem_has_no_plane(page):
    page.show_records([linear_record(3)])
    show(page, "optimality")
    assert len(page.plots["optimality"].panels) == 3


def test_views_without_runs_say_what_to_tick(page):
    for view, words in (("optimality", "Linear models"), ("expansion", "MAML"), ("prior", "MAML")):
        show(page, view)
        assert words in page.plots[view].chart.message
        assert not page.plots[view].panels


def over_training(run: str) -> ExpandedOverTraining:
    """An expansion that holds at the start, and in which gradients are half as long later."""
    at = [expanded(run).products, expanded(run, share=0.5).products]
    products = {method: np.stack([one[method][1] for one in at]) for method in METHODS}
    return ExpandedOverTraining(run, run, 4, 0.01, np.array([0, 20]), 1, products)


def test_expansion_over_training_has_a_place_for_each_meta_step(page):
    record = linear_record()
    page.show_records([record])
    show(page, "expansion")
    found = over_training(record.id)
    page.show_result(found)
    ratios, shares, cosine = page.plots["expansion"].panels
    for method in METHODS:
        steps, heights = ratios.traces[method].getData()
        assert steps.tolist() == [0, 20]
        assert heights[0] == pytest.approx(1.0)
        assert shares.traces[method].getData()[1][0] == pytest.approx(1.0)
    first = found.products["maml"][0].sum(0)
    assert cosine.traces["cosine"].getData()[1][0] == pytest.approx(
        first[3] / np.sqrt(first[2] * first[4])
    )
    assert "1 of these meta-steps were taken again from the seed, 1 are" in page.text.text()
    page.show_result(expanded(record.id))
    assert len(ratios.traces["maml"].getData()[0]) == 3


def test_expansion_shows_fits_with_intervals(page):
    record = linear_record()
    page.show_records([record])
    show(page, "expansion")
    assert "Press Compute" in page.plots["expansion"].chart.message
    found = expanded(record.id)
    page.show_result(found)
    ratios = page.plots["expansion"].panels[0]
    for method in METHODS:
        _, heights = ratios.traces[method].getData()
        assert heights == pytest.approx(np.ones(3))
        assert intervals(found, method) == pytest.approx(np.ones((3, 3)))
    assert "explains 100% of MAML's" in page.text.text()
    assert "does not hold here" not in page.text.text()
    page.show_result(expanded(record.id, share=0.5))
    assert "does not hold here" in page.text.text()
    assert "explains 0% of MAML's" in expansion_text(expanded(record.id, share=0.5))


def test_prior_follows_its_sliders_and_shows_what_was_measured(page):
    record = linear_record()
    page.show_records([record])
    show(page, "prior")
    panels = page.plots["prior"].panels
    assert [panel.chart.id for panel in panels] == ["precision", "spectrum", "dimension", "ellipse"]
    before = panels[0].chart.values
    page.steps.setValue(20)
    assert page.steps_text.text() == "20"
    assert np.abs(panels[0].chart.values).max() < np.abs(before).max()
    page.show_result(measured(record.id))
    assert page.plots["prior"].panels[-1].chart.id == "accuracy"
    assert "Envelopes need a convex support loss: holds" in page.text.text()
    page.alpha.setValue(100)
    assert page.alpha_text.text() == "1"


def test_a_run_is_walked_through_inner_step_by_inner_step(qtbot, page):
    record = linear_record()
    page.show_records([record])
    show(page, "replay")
    assert "Press Replay" in page.plots["replay"].chart.message
    assert not page.inner.isEnabled()
    page.show_result(replayed(record.id))
    drawn, inner, outer = page.plots["replay"].panels
    assert drawn.chart.names == ("θ", "φ¹", "φ²", "φ³", "L_Q", "meta-gradient")
    assert "k = 0 of 3: support loss 3, query loss 4" in page.text.text()
    for k in (1, 2, 3):
        page.inner.click()
        assert drawn.chart.roles[k] == "accent"
        assert f"k = {k} of 3: support loss {3 - k:g}" in page.text.text()
        x, y = inner.traces["query"].getData()
        assert (x.tolist(), y.tolist()) == (list(range(k + 1)), [4.0 - at for at in range(k + 1)])
    assert len(outer.traces["post"].getData()[0]) == 0
    page.inner.click()
    assert set(drawn.chart.roles[:5]) == {"method-1"}  # differentiated through all of the path
    assert "meta-gradient of length 0.5 moves theta by 0.01" in page.text.text()
    assert outer.traces["post"].getData()[1].tolist() == [1.0]
    page.outer.click()
    assert "Meta-step 2, k = 0" in page.text.text()
    page.outer.click()
    assert outer.traces["post"].getData()[1].tolist() == [1.0, 2.5]
    page.play.click()
    qtbot.waitUntil(lambda: "Meta-step 1, k = 0" in page.text.text(), timeout=WAIT)
    page.play.click()


@pytest.mark.parametrize(
    ("flow", "lit"),
    [("end", [3, 4]), ("sum", [1, 2, 3]), ("solve", [3, 4]), ("start", [0, 4]), ("other", [])],
)
def test_only_what_is_differentiated_is_lit(page, flow, lit):
    record = linear_record()
    page.show_records([record])
    show(page, "replay")
    page.show_result(replayed(record.id, flow))
    page.outer.click()
    roles = page.plots["replay"].panels[0].chart.roles
    assert [at for at, role in enumerate(roles) if role == "method-1"] == lit


def test_buttons_ask_for_the_chosen_run_and_errors_are_told(qtbot, page, tmp_path):
    record = linear_record()
    record.environment["folder"] = str(tmp_path)
    page.show_records([record])
    show(page, "expansion")
    with qtbot.waitSignal(page.requested, timeout=WAIT) as asked:
        page.expand.click()
    assert asked.args == ["expansion", tmp_path]
    assert not page.expand.isEnabled()
    page.show_error("There is no answer.")
    assert page.status.text() == "There is no answer."
    assert page.expand.isEnabled()
    with qtbot.waitSignal(page.requested, timeout=WAIT) as asked:
        page.over.click()
    assert asked.args == ["over_training", tmp_path]


def test_every_view_is_exported_light_and_dark(page, tmp_path):
    record = linear_record()
    for theme in (LIGHT, DARK):
        page.apply_theme(theme)
        page.show_records([record])
        page.show_result(expanded(record.id))
        page.show_result(measured(record.id))
        page.show_result(replayed(record.id))
        for view in VIEWS:
            show(page, view)
            assert isinstance(page.chart(), Panels)
            save_figure(figure_of(page.chart(), Page(20.0)), tmp_path / f"{view}.png")
            assert (tmp_path / f"{view}.png").stat().st_size > 5000
            assert not page.grab().isNull()


def test_everything_that_can_be_reached_has_a_name(page):
    for widget in page.findChildren(QWidget):
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.objectName():
            inside = isinstance(widget.parent(), QComboBox) or "qt_" in widget.objectName()
            assert inside or widget.accessibleName(), widget.objectName()


def test_singular_rates_are_those_where_a_jacobian_is_singular():
    risk = example(1.0)
    squared = type(risk)(risk.tables, risk.features, risk.outcomes, "squared", 1.0)
    (rate,) = singular_rates(squared)
    at = type(risk)(risk.tables, risk.features, risk.outcomes, "squared", float(rate))
    assert np.abs(at.jacobians(np.zeros(1))).max() < 1e-12
    assert optimality(at, np.ones(1), np.ones(1)).gap >= 0


def test_the_window_computes_what_the_page_asks_for(qtbot, window):
    window.form.field("steps").set_value(10)
    box = window.findChild(QComboBox, "problem")
    assert box is not None
    box.setCurrentIndex(box.findData("linear"))
    window.form.field("eval_every").set_value(5)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: window.controller.phase == "training", timeout=WAIT)
    qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)
    window.tabs.open_page("theory")
    page = window.tabs.theory
    qtbot.waitUntil(page.isVisible, timeout=WAIT)
    show(page, "optimality")
    assert page.plots["optimality"].panels
    asked = (
        *(("expansion", page.expand), ("expansion", page.over)),
        *(("prior", page.measure), ("replay", page.again)),
    )
    for view, button in asked:
        show(page, view)
        button.click()
        qtbot.waitUntil(lambda: not page._busy, timeout=WAIT)
        assert page.status.text() == ""
        assert page.plots[view].panels
    assert Path(page._records[0].environment["folder"]).is_dir()
