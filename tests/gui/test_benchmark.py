"""Evaluations on held-out tasks, from the window: results, maps, tasks, and one task's images."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.benchmark_page import BenchmarkTab
from metaviz.gui.pages.episode_grid import EpisodeGrid
from metaviz.gui.pages.episode_page import EpisodeTab
from metaviz.gui.pages.protocol_dialog import ProtocolDialog
from metaviz.gui.widgets.images import qimage
from metaviz.gui.widgets.theme import DARK, LIGHT, Theme
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.runs.analysis.published import published
from metaviz.runs.export.figures import save_figure
from metaviz.runs.model.episode import Episode, Examples
from metaviz.runs.model.evaluation import Judgement, store, stored
from metaviz.runs.model.record import Record
from metaviz.runs.model.robustness import FACTORS, Robustness, store_robustness
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.storage.store import list_runs, open_run
from tests.unit.command_line import metaviz
from tests.unit.test_episodes import small

WAIT = 60_000


def accuracies(seed: int, mean: float, tasks: int = 40) -> np.ndarray:
    draw = np.random.default_rng(seed).normal(mean, 0.05, tasks)
    return np.stack([np.full(tasks, 0.2), np.round(draw.clip(0, 1) * 75) / 75])


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Two judged runs on miniImageNet, 5-way 1-shot, whose numbers are known."""
    found = []
    for seed, (name, mean) in enumerate((("maml", 0.46), ("reptile", 0.40))):
        config = {
            "algorithm": name,
            "problem": "images",
            "seed": 0,
            "steps": 300,
            "shared": {"inner_lr": 0.05, "inner_steps": 1},
            "options": {},
            "problem_options": {"channels": 32},
        }
        folder = tmp_path / f"{name}-s0-0"
        folder.mkdir()
        record = Record(folder.name, config, {"folder": str(folder)})
        per_task = {"query_accuracy": accuracies(seed, mean)}
        per_task["query_loss"] = 2.0 - per_task["query_accuracy"]
        protocol = {
            "tasks": 40,
            "split": "test",
            "seed": 0,
            "ways": 5,
            "shots": 1,
            "query": 15,
            "k": 1,
            "together": True,
        }
        judgement = Judgement(
            run=record.id,
            label=record.label,
            config=config,
            step=300,
            k=1,
            protocol=protocol,
            dataset="miniImageNet",
            per_task=per_task,
        )
        store(judgement, folder)
        found.append(record)
    return found


def tab_of(qtbot, records: list[Record], theme: Theme = LIGHT) -> BenchmarkTab:
    tab = BenchmarkTab()
    qtbot.addWidget(tab)
    tab.apply_theme(theme)
    tab.show_records(records)
    tab.resize(900, 600)
    tab.show()
    QApplication.processEvents()
    return tab


def cell(tab: BenchmarkTab, row: int, column: int) -> str:
    return tab.table.item(row, column).text()


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_our_runs_stand_above_the_published_rows_of_the_same_data(
    qtbot, records: list[Record], theme: Theme, tmp_path: Path
) -> None:
    tab = tab_of(qtbot, records, theme)
    same = [
        row for row in published() if (row.dataset, row.ways, row.shots) == ("miniImageNet", 5, 1)
    ]
    assert tab.table.rowCount() == 2 + len(same)
    ours = 100 * accuracies(0, 0.46)[1]
    half = 1.96 * ours.std(ddof=1) / math.sqrt(40)
    assert cell(tab, 0, 0) == "MAML · seed 0"
    assert cell(tab, 0, 1) == interval_text(ours.mean(), half)
    assert cell(tab, 0, 4) == "20"
    assert cell(tab, 0, 5) == ""
    apart = 100 * (accuracies(1, 0.40) - accuracies(0, 0.46))[1]
    assert cell(tab, 1, 5).startswith(f"{apart.mean():+.3g} [")
    assert cell(tab, 1, 6) == f"{int((apart > 0).sum())} / {int((apart < 0).sum())}"
    # The published MAML is the one of its own paper, 48.70, whose experiment is nearest.
    assert cell(tab, 0, 2) == f"{ours.mean() - 48.70:+.3g}"
    for word in ("300 of usually 60000 meta-steps", "40 tasks, not 600", "transductive"):
        assert word in cell(tab, 0, 3)
    values = [float(cell(tab, row, 1).split()[0]) for row in range(2, tab.table.rowCount())]
    assert values == sorted(values, reverse=True)
    drawn = tab.dots.traces["dot0 error"].getData()[0][:2]
    assert drawn == pytest.approx([ours.mean() - half, ours.mean() + half])
    chart = tab.chart()
    assert chart is not None
    save_figure(figure_of(chart, Page(14.0)), tmp_path / "b.pdf")


def test_published_rows_are_filtered(qtbot, records: list[Record]) -> None:
    tab = tab_of(qtbot, records)
    for box, value in (
        (tab.filter.ways, 20),
        (tab.filter.dataset, "Omniglot"),
        (tab.filter.backbone, "convnet"),
    ):
        box.setCurrentIndex(box.findData(value))
    wanted = {
        f"{row.method} ({row.year})"
        for row in published()
        if (row.dataset, row.ways, row.shots, row.backbone) == ("Omniglot", 20, 1, "convnet")
    }
    assert {cell(tab, row, 0) for row in range(2, tab.table.rowCount())} == wanted
    # Our runs are of other data: nothing is subtracted.
    assert cell(tab, 0, 2) == ""
    empty = tab_of(qtbot, [])
    assert {row.is_loss for row in empty._rows} == {False}
    for box in (empty.filter.dataset, empty.filter.ways, empty.filter.shots):
        box.setCurrentIndex(0)
    assert empty.table.rowCount() == sum(not row.is_loss for row in published())


def test_losses_are_better_where_they_are_smaller(qtbot, records: list[Record]) -> None:
    tab = tab_of(qtbot, [])
    tab.filter.dataset.setCurrentIndex(tab.filter.dataset.findData("sinusoid"))
    for box, value in ((tab.filter.ways, 0), (tab.filter.shots, 5)):
        box.setCurrentIndex(box.findData(value))
    # Finn et al. 2017 print 0.35 after ten steps.
    assert (cell(tab, 0, 0), cell(tab, 0, 1)) == ("MAML (2017), k = 10", "0.35")
    assert tab.dots.getPlotItem().getAxis("bottom").labelText == "query loss"
    first, second = (stored(Path(record.environment["folder"]))[0] for record in records)
    losses = [
        replace(one, per_task={"query_loss": one.per_task["query_loss"]}) for one in (first, second)
    ]
    below = int((losses[1].values() < losses[0].values()).sum())
    assert losses[1].minus(losses[0])[1].startswith(f"{below} / ")


def test_tasks_are_drawn_by_gain_and_open_by_a_click(qtbot, records: list[Record]) -> None:
    tab = tab_of(qtbot, records)
    tab.views.setCurrentIndex(2)
    tab.tasks.resize(500, 300)
    QApplication.processEvents()
    gain = 100 * (accuracies(1, 0.40)[1] - 0.2)
    assert tab.tasks.traces["reptile-s0-0"].getData()[1] == pytest.approx(gain)
    everyone = np.concatenate([100 * (accuracies(0, 0.46)[1] - 0.2), gain])
    worst = sorted(everyone.tolist())[:5]
    assert [tab.worst.item(row, 0).text() for row in range(5)] == [f"{w:+.4g}" for w in worst]
    opened = []
    tab.episode_requested.connect(lambda *wanted: opened.append(wanted))
    box = tab.tasks.getPlotItem().getViewBox()
    number = int(np.argmin(gain))
    place = box.mapViewToScene(box.mapToView(box.mapFromView(_point(1.8, gain[number]))))
    assert tab.tasks.nearest(place + QPointF(500, 500)) is None
    found = tab.tasks.nearest(place + QPointF(1, 0))
    assert found is not None
    assert gain[found[1]] == pytest.approx(gain[number])
    tab.worst.itemActivated.emit(tab.worst.item(0, 0))
    record, protocol, task = opened[0]
    assert (record, protocol.tasks, protocol.steps) == (found[0], 40, 1)
    assert gain[task] == pytest.approx(worst[0])


def _point(x: float, y: float):
    return QPointF(x, y)


def test_step_sizes_are_coloured_relative_to_what_was_trained(qtbot, records: list[Record]) -> None:
    mean = np.add.outer(np.linspace(0.1, 0.5, len(FACTORS)), np.linspace(0, 0.1, 5))
    found = Robustness(
        run="maml-s0-0",
        label="MAML · seed 0",
        step=300,
        k=1,
        rate=0.05,
        shares_rate=True,
        factors=FACTORS,
        protocol={"tasks": 100, "split": "test"},
        dataset="miniImageNet",
        measure="query_accuracy",
        mean=mean,
        half_width=np.full_like(mean, 0.01),
    )
    store_robustness(found, Path(records[0].environment["folder"]))
    tab = tab_of(qtbot, records)
    tab.views.setCurrentIndex(1)
    here = FACTORS.index(1.0)
    assert tab.map.images["map"].image == pytest.approx(100 * (mean - mean[here, 1]))
    frame = tab.map.traces["frame"].getData()
    assert [min(values) for values in frame] == [1, here]
    tab.map.picked.emit("robustness", "map", 4)
    assert tab.remark.text() == "α = 0.00625, k = 4: 20.0 ± 1.0"
    tab.run.setCurrentIndex(1)
    assert not tab.map.images
    assert "Vary steps" in tab.map._message.text()


def test_protocol_is_asked_for_and_checked(qtbot) -> None:
    dialog = ProtocolDialog(EvaluationProtocol(tasks=1000, seed=3))
    qtbot.addWidget(dialog)
    taken = []
    dialog.chosen.connect(taken.append)
    assert dialog.form.fields["tasks"].value == 1000
    dialog.form.fields["tasks"].editor.setText("1")
    assert not dialog.buttons.button(dialog.buttons.StandardButton.Ok).isEnabled()
    dialog.form.fields["tasks"].editor.setText("50")
    dialog.accept()
    assert taken == [EvaluationProtocol(tasks=50, seed=3)]


def known_episode(*, images: bool = True) -> Episode:
    """Three classes, one support and two query images each; the last query image is wrong."""
    generator = np.random.default_rng(0)
    logits = np.zeros((3, 6, 3))
    truth = np.repeat(np.arange(3), 2)
    for k in range(3):
        logits[k, np.arange(6), truth] = 2.0 * k
    logits[:, 5, 0] = 9.0

    def pixels(count: int) -> np.ndarray:
        if not images:
            return generator.normal(size=(count, 1)).astype(np.float32)
        return generator.integers(0, 256, (count, 3, 20, 20), dtype=np.uint8)

    targets = truth if images else pixels(6)
    outputs = logits if images else generator.normal(size=(3, 6, 1))
    return Episode(
        run="a",
        label="MAML · seed 0",
        step=5,
        k=2,
        number=7,
        protocol={},
        dataset="miniImageNet" if images else "Sinusoid",
        support=Examples(pixels(3), np.arange(3) if images else pixels(3), outputs[:, ::2]),
        query=Examples(pixels(6), targets, outputs),
        support_loss=np.array([1.0, 0.5, 0.2]),
        query_loss=np.array([1.1, 0.9, 0.8]),
    )


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_wrong_images_are_framed_and_bars_are_probabilities(qtbot, theme: Theme) -> None:
    grid = EpisodeGrid()
    qtbot.addWidget(grid)
    grid.apply_theme(theme)
    episode = known_episode()
    grid.show_episode(episode)
    grid.choose(1)
    grid.show_step(2)
    picture = grid.grab().toImage()
    places = grid._places
    assert grid.chart.chosen == places.index((False, 1))
    for at, place in enumerate(places):
        image = grid.images[f"image {at}"]
        rect = image.mapRectToParent(image.boundingRect())
        left, middle, right = (
            grid.pixels(QPointF(x, rect.center().y())).toPoint()
            for x in (rect.left(), rect.center().x(), rect.right())
        )
        edge = {picture.pixelColor(left.x() + by, left.y()).name() for by in (-2, -1, 0)}
        assert (theme.error in edge) == (place == (False, 5))
        support, number = place
        examples = episode.support if support else episode.query
        levels = examples.x[number][:, 9:12, 9:12].astype(int)
        colour = picture.pixelColor(middle).getRgb()
        for level, channel in zip(colour, levels, strict=False):
            assert channel.min() - 2 <= level <= channel.max() + 2
        if support:
            continue
        chance = float(episode.query.probabilities()[2, number, episode.query.y[number]])
        bar = grid.pixels(QPointF(0, rect.top() + 0.95)).toPoint().y()
        filled = [
            picture.pixelColor(x, bar) != QColor(theme.grid) for x in range(left.x(), right.x())
        ]
        assert sum(filled) == pytest.approx(chance * len(filled), abs=1.5)


def test_arrow_keys_choose_images_and_screen_readers_hear_it(qtbot) -> None:
    grid = EpisodeGrid()
    qtbot.addWidget(grid)
    grid.apply_theme(LIGHT)
    grid.show_episode(known_episode())
    grid.show_step(2)
    QTest.keyClick(grid, Qt.Key.Key_Right)
    assert grid.selected == 2
    QTest.keyClick(grid, Qt.Key.Key_Down)
    assert grid.selected == 3
    QTest.keyClick(grid, Qt.Key.Key_Down)
    assert grid.selected == 3
    QTest.keyClick(grid, Qt.Key.Key_Right)
    assert grid.accessibleDescription() == (
        "Query image 6 of class 3: taken for class 1 before adaptation, for 1 after 2 steps; its "
        "own class has 1 %."
    )
    image = grid.images[f"image {grid._places.index((False, 0))}"]
    middle = grid.pixels(image.mapToParent(image.boundingRect().center()))
    QTest.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=middle.toPoint())
    assert grid.selected == 0


def test_grey_and_coloured_levels_become_the_same_pixels() -> None:
    levels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4) * 20
    assert qimage(levels).pixelColor(3, 1).getRgb()[:3] == (140, 140, 140)
    coloured = np.concatenate([levels, levels + 1, levels + 2])
    assert qimage(coloured).pixelColor(3, 1).getRgb()[:3] == (140, 141, 142)


def test_the_step_moves_all_panels_of_an_episode(qtbot, tmp_path: Path) -> None:
    tab = EpisodeTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.resize(800, 500)
    tab.show()
    assert tab.chart() is None
    episode = known_episode()
    tab.show_result(episode)
    assert tab.step.value() == 2
    assert tab.at.text() == "k = 2 of 2 (trained: 2)"
    assert "17 % → 83 %" not in tab.status.text()
    assert "83 % right of 6 query images" in tab.status.text()
    tab.grid.choose(2)
    path = tab.path.traces["class0"].getData()[1]
    assert path == pytest.approx(episode.query.probabilities()[:, 2, 1])
    tab.logits.setChecked(True)
    assert tab.path.traces["class0"].getData()[1] == pytest.approx([0, 2, 4])
    tab.step.setValue(1)
    assert tab.path.marks["cursor"].value() == 1
    assert tab.grid.k == 1
    save_figure(figure_of(tab.chart(), Page(10.0)), tmp_path / "e.png")
    regression = replace(known_episode(images=False), query_loss=np.full(6, 0.5), k=5)
    regression = replace(
        regression,
        support_loss=np.full(6, 0.4),
        query=replace(regression.query, outputs=np.zeros((6, 6, 1))),
    )
    # More steps than the task of images before it had.
    tab.show_result(regression)
    order = np.argsort(regression.query.x[:, 0])
    drawn = tab.fit.traces["after"].getData()[1]
    assert drawn == pytest.approx(regression.query.outputs[5, order, 0])
    save_figure(figure_of(tab.chart(), Page(10.0)), tmp_path / "r.png")


@pytest.fixture
def trained(tmp_path: Path) -> list[Path]:
    """Two runs on tiny images and one without a checkpoint."""
    outcome = metaviz(
        *("compare", "--problem", "images", "--algorithms", "fomaml,reptile", "--steps", "2"),
        *("--set", f"images.path={small(tmp_path / 'data')}", "--set", "images.side=16"),
        *("--set", "images.channels=4", "--set", "ways=3", "--set", "query_shots=3"),
        *("--set", "eval_tasks=4", "--set", "eval_steps=2", "--set", "inner_steps=2"),
        *("--out", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    return list_runs(tmp_path / "out" / "runs")


def test_window_evaluates_varies_and_shows_what_the_command_line_does(
    qtbot, window, trained: list[Path], tmp_path: Path
) -> None:
    (trained[1] / "checkpoint.pt").unlink()
    records = [open_run(folder) for folder in trained]
    for record, folder in zip(records, trained, strict=True):
        record.environment["folder"] = str(folder)
    window.show_records(records)
    tab = window.tabs.benchmark
    window.tabs.open_page("benchmark")
    assert "press Evaluate" in tab.status.text()
    tab._take_protocol(EvaluationProtocol(tasks=6))
    tab.evaluate.click()
    assert window.commands["run"].toolTip().startswith("An evaluation is under way")
    qtbot.waitUntil(lambda: not tab._busy, timeout=WAIT)
    # The run that can be evaluated was, and the other one is named.
    assert "no checkpoint" in tab.status.text()
    (seen,) = stored(trained[0])
    outcome = metaviz("evaluate", trained[0], "--set", "tasks=6")
    assert outcome.code == 0, outcome.error
    (again,) = stored(trained[0])
    for name, values in seen.per_task.items():
        np.testing.assert_array_equal(values, again.per_task[name])
    tab.run.setCurrentIndex(tab.run.findData(records[0].id))
    tab.vary.click()
    qtbot.waitUntil(lambda: not tab._busy, timeout=WAIT)
    assert tab.map.images["map"].image.shape == (len(FACTORS), 5)
    tab.tasks.picked.emit("tasks", records[0].id, 3)
    episode = window.tabs.episode
    qtbot.waitUntil(lambda: episode.result is not None, timeout=WAIT)
    assert window.tabs.current_page() is episode
    assert episode.result.number == 3
    assert episode.result.query_loss == pytest.approx(seen.per_task["query_loss"][:, 3], rel=1e-5)
    folders = {records[0].id: trained[0]}
    dialog = ExportDialog(window.tabs.pages, records[:1], None, folders)
    qtbot.addWidget(dialog)
    dialog.folder.setText(str(tmp_path / "exported"))
    dialog.start()
    qtbot.waitUntil(lambda: not dialog._is_writing, timeout=WAIT)
    written = {path.name for path in dialog.written}
    assert {"benchmark.png", "episode.png", "evaluations.csv"} <= written


def test_evaluation_is_cancelled(qtbot, window, trained: list[Path]) -> None:
    record = open_run(trained[0])
    record.environment["folder"] = str(trained[0])
    window.show_records([record])
    tab = window.tabs.benchmark
    tab._take_protocol(EvaluationProtocol(tasks=100_000))
    tab.evaluate.click()
    qtbot.waitUntil(lambda: " of 100000 tasks" in tab.status.text(), timeout=WAIT)
    tab.cancel.click()
    qtbot.waitUntil(lambda: not tab._busy, timeout=WAIT)
    assert tab.status.text() == "Cancelled."
    assert stored(trained[0]) == []
    assert tab.evaluate.isEnabled()
