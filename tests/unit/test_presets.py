"""Presets are comparisons that can be run, with a published number that is the shipped one."""

import re
from pathlib import Path

import pytest

from metaviz.config.options import OptionError
from metaviz.config.run_config import find_preset, presets, read_comparison
from metaviz.runs.analysis.published import published
from metaviz.training.engine import planned_runs
from tests.unit.command_line import metaviz
from tests.unit.test_episodes import small

METHODS = {
    *("maml", "fomaml", "reptile", "imaml", "metasgd", "metacurvature", "mtnet", "warpgrad"),
    *("metalstm", "mirror"),
}


def test_every_method_with_a_published_row_has_presets() -> None:
    found = {read_comparison(path).algorithms[0] for path in presets().values()}
    assert found == METHODS
    families = {re.match(r".*-\d+way-\d+shot", name)[0] for name in presets()}  # type: ignore[index]
    assert families == {
        *(f"miniimagenet-5way-{shots}shot" for shots in (1, 5)),
        *(f"omniglot-{ways}way-{shots}shot" for ways in (5, 20) for shots in (1, 5)),
    }


@pytest.mark.parametrize("name", list(presets()))
def test_preset_is_a_valid_comparison_with_its_number(name: str) -> None:
    comparison = read_comparison(presets()[name])
    (run,) = planned_runs(comparison)
    ways, shots = re.fullmatch(r".*-(\d+)way-(\d+)shot-.*", name).groups()  # type: ignore[union-attr]
    assert run.shared.ways == int(ways)
    assert comparison.problem == ("omniglot" if name.startswith("omniglot") else "images")
    text = presets()[name].read_text(encoding="utf-8")
    number = re.search(r"# Published: ([\d.]+)(?: ± ([\d.]+))? % \((.*?)[;)]", text)
    assert number, name
    assert "# Source: " in text
    if "not in resources" in text:
        return
    rows = [
        row
        for row in published()
        if f"{row.value:.10g}" == f"{float(number[1]):.10g}"
        and (row.ways, row.shots) == (int(ways), int(shots))
        and row.is_of(run.algorithm)
    ]
    assert rows, name
    assert (rows[0].half_width is None) == (number[2] is None)


def test_preset_runs_with_what_is_set_on_top(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    small_steps = ("--steps", "1", "--set", "eval_tasks=2", "--set", "eval_steps=1")
    sizes = ("--set", "images.side=16", "--set", "images.channels=4", "--set", "ways=3")
    path = small(tmp_path / "data")
    outcome = metaviz(
        *("compare", "--preset", "miniimagenet-5way-1shot-maml", *small_steps, *sizes),
        *("--set", "query_shots=3", "--set", f"images.path={path}", "--out", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    stored = read_comparison(tmp_path / "out" / "comparison.toml")
    assert (stored.shared["inner_lr"], stored.shared["ways"], stored.steps) == (0.05, 3, 1)


def test_unknown_preset_names_near_ones() -> None:
    with pytest.raises(OptionError, match="like miniimagenet-5way-1shot-maml"):
        find_preset("miniimagenet-5way-1shot-mam")
    outcome = metaviz("compare", "--preset", "nonsense")
    assert outcome.code == 2
    assert "There is no preset 'nonsense'" in outcome.error
    assert "miniimagenet-5way-1shot-maml" in metaviz("list", "--presets").out.replace("\n", "")
