"""The convergence tab shows what the records hold."""

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.gui.pages.convergence_page import ConvergenceTab
from metaviz.gui.widgets.theme import DARK, LIGHT, Theme
from metaviz.runs.export.figures import save_figure
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record
from tests.unit.test_convergence import evaluated


@pytest.fixture
def records() -> list[Record]:
    """Two runs, the second with a plane."""
    runs = [
        evaluated("maml", 2.0 * 0.5 ** np.arange(8), 5),
        evaluated("mirror", 2.0 * 0.25 ** np.arange(8), 5),
    ]
    t = np.linspace(-0.5, 1.5, 41)
    arrays = {"slice": np.array("loss"), "line_t": t, "line_support": 2 - t, "line_query": 3 - t}
    # The middle step lies beside the line, where the loss is another.
    arrays |= {"line_path": np.array([0.0, 0.6, 1.0]), "path_support": np.array([2.0, 1.7, 1.0])}
    runs[0].apply(Pictured(1, arrays))
    u = np.linspace(-1, 1, 15)
    plane = {
        "plane_u": u,
        "plane_v": u,
        "plane_support": 1 + u[:, None] ** 2 + u**2,
        "plane_path": np.array([[0.0, 0.0], [0.5, 0.1], [0.8, 0.0]]),
        "plane_explained": np.array([0.9, 0.1]),
    }
    runs[1].apply(Pictured(1, {**arrays, **plane}))
    return runs


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_curves_numbers_and_slices(
    qtbot, records: list[Record], theme: Theme, tmp_path: Path
) -> None:
    tab = ConvergenceTab()
    qtbot.addWidget(tab)
    tab.apply_theme(theme)
    tab.show_records(records)
    tab.resize(800, 560)
    tab.show()
    QApplication.processEvents()
    drawn = tab.plots["support_loss"].traces["mirror"].getData()[1]
    assert drawn == pytest.approx(np.log10(2.0 * 0.25 ** np.arange(8)))
    assert [r.getRegion() for r in tab.plots["support_loss"].regions.values()] == [(5, 7)]
    tab.loss.setValue(1.0)
    assert [tab.table.item(row, 1).text() for row in range(2)] == ["1", "1"]
    texts = [tab.table.item(row, 2).text() for row in range(2)]
    assert texts == ["1", "0.6667"]
    assert tab.line.traces["k"].getData()[1] == pytest.approx([2.0, 1.7, 1.0])
    assert not tab.plane.images
    tab.run.setCurrentIndex(1)
    assert tab.plane.images["plane"].image.shape == (15, 15)
    assert tab.plane.traces["path"].getData()[0] == pytest.approx([0, 0.5, 0.8])
    chart = tab.chart()
    assert chart is not None
    figure = figure_of(chart, Page(12.0))
    save_figure(figure, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_empty_states(qtbot) -> None:
    tab = ConvergenceTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records([])
    assert tab.chart() is None
    assert tab.table.rowCount() == 0
    assert "Run" in tab.plots["support_loss"]._message.text()
