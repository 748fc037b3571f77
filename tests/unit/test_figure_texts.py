"""Texts of exported figures neither meet nor leave the figure, and are large enough for paper."""

from collections.abc import Iterator

import pytest
from matplotlib.figure import Figure

from metaviz.charts.matplotlib import Page
from metaviz.gui.window.export_dialog import PRESETS
from metaviz.runs.export.figures import comparison_figures, run_figures
from metaviz.runs.storage.store import open_run
from tests.pictures import examples
from tests.pictures.figure_checks import figure_faults, small_texts


def page_of(preset: str) -> Page:
    _, width, height, font = PRESETS[preset]
    return Page(width, height, 150, font, caption=width > 12)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    home = tmp_path_factory.mktemp("figures")
    found = examples.train(home)
    return {
        problem: [open_run(home / "runs" / name) for name in names]
        for problem, names in found.items()
    }


def figures(runs: dict[str, list], page: Page) -> Iterator[tuple[str, Figure]]:
    for problem, records in runs.items():
        for name, figure in comparison_figures(records, lambda _: page):
            yield f"{problem}: {name}", figure
        for record in records:
            for name, figure in run_figures(record, lambda _: page):
                yield f"{record.id}: {name}", figure


@pytest.mark.parametrize("preset", PRESETS)
def test_texts_of_figures_neither_meet_nor_leave_the_figure(runs, preset: str) -> None:
    page = page_of(preset)
    found = {
        name: faults for name, figure in figures(runs, page) if (faults := figure_faults(figure))
    }
    told = "\n".join(f"{name}: {'; '.join(faults[:4])}" for name, faults in found.items())
    assert not found, told


def test_texts_of_a_single_column_are_large_enough(runs) -> None:
    page = page_of("single")
    assert [text for _, figure in figures(runs, page) for text in small_texts(figure)] == []
