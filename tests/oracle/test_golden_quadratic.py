"""The golden quadratic through `metaviz gradients`, as a person would ask for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from metaviz.cli.main import app

MATRICES = """
support_hessian = [[2.0, 0.5], [0.5, 1.0]]
support_linear = [1.0, -1.0]
query_hessian = [[1.0, -0.25], [-0.25, 3.0]]
query_linear = [0.5, 2.0]
start = [1.0, 2.0]
"""

GOLDEN = [
    ("maml", {}, (-0.22792009, 0.82692194)),
    ("maml", {"memory": "recompute"}, (-0.22792009, 0.82692194)),
    ("fomaml", {}, (-0.21065625, 1.0931875)),
    ("reptile", {"scale": "none"}, (0.44125, 0.922375)),
    ("reptile", {"scale": "rate"}, (4.4125, 9.22375)),
    ("imaml", {}, (-0.08782254, 0.36215482)),
    ("imaml", {"operator": "hessian"}, (-0.08782254, 0.36215482)),
    ("imaml", {"cg_steps": 1}, (-0.05937094, 0.36364704)),
    ("imaml", {"cg_steps": 2}, (-0.08782254, 0.36215482)),
    ("imaml", {"operator": "damped"}, (-0.04410862, 0.25109494)),
    ("neumann", {"variant": "implicit", "terms": 1}, (-0.13031915, 0.28191489)),
    ("neumann", {"variant": "implicit", "terms": 3}, (-0.16306516, 0.32114362)),
    ("neumann", {"variant": "implicit", "terms": 10}, (0.06908419, 0.42716287)),
    ("neumann", {"variant": "implicit", "terms": 30}, (1.03813857, 0.82854319)),
    ("neumann", {"variant": "implicit", "prox": 4, "terms": 1}, (-0.27993697, 1.36554622)),
    ("neumann", {"variant": "implicit", "prox": 4, "terms": 3}, (-0.22627528, 1.44598543)),
    ("neumann", {"variant": "implicit", "prox": 4, "terms": 10}, (-0.19411298, 1.46168835)),
    ("neumann", {"variant": "implicit", "prox": 4, "terms": 30}, (-0.19461902, 1.46147871)),
    ("neumann", {"terms": 1}, (-0.07190114, 0.32371716)),
    ("neumann", {"terms": 5}, (-0.08761926, 0.36166405)),
    ("neumann", {"terms": 20}, (-0.08782254, 0.36215482)),
    ("neumann", {"variant": "notes", "terms": 200}, (-0.07042776, 0.57528356)),
    ("neumann", {"variant": "lorraine", "terms": 1000}, (-0.19756839, 0.62006079)),
    ("neumann", {"variant": "truncated", "terms": 1000}, (-0.08782254, 0.36215482)),
    ("penalty", {"variant": "start", "weight": 0.1}, (1.15, 4.65)),
    ("joint", {}, (0.0, 3.75)),
    ("scratch", {}, (0.0, 0.0)),
]


def ask(folder: Path, *algorithms: str, **settings: Any) -> dict[str, Any]:
    """Run `metaviz gradients` on the golden matrices and return its JSON."""
    file = folder / "golden.toml"
    file.write_text(MATRICES, encoding="utf-8")
    arguments = ["gradients", "--problem", "quadratic", "--problem-file", str(file), "--json"]
    arguments += ["--dtype", "float64", "--algorithms", ",".join(algorithms)]
    for key, value in {"inner_lr": 0.1, "inner_steps": 3, **settings}.items():
        arguments += ["--set", f"{key}={value}"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(("name", "options", "expected"), GOLDEN)
def test_golden_row(
    name: str, options: dict[str, Any], expected: tuple[float, float], tmp_path: Path
) -> None:
    prox = {"prox": 2} if name in {"imaml", "neumann"} else {}
    settings = {f"{name}.{key}": value for key, value in {**prox, **options}.items()}
    gradient = ask(tmp_path, name, **settings)["algorithms"][name]["gradient"]
    assert gradient == pytest.approx(expected, abs=1e-8)


def test_learned_prox_gradient(tmp_path: Path) -> None:
    answer = ask(tmp_path, "imaml", **{"imaml.prox": 2, "imaml.learn_prox": "true"})
    other = answer["algorithms"]["imaml"]["other_gradients"]["prox"]
    assert other == pytest.approx([0.184458164], abs=1e-8)


def test_solvers_report_their_residuals(tmp_path: Path) -> None:
    answer = ask(tmp_path, "maml", "imaml", **{"imaml.prox": 2, "imaml.cg_steps": 1})
    row = answer["algorithms"]["imaml"]
    assert row["inner_residual"] < 1e-12
    # From the first CG iterate: ||v - (I + A/2) x|| / ||v||.
    assert row["solver_residual"] == pytest.approx(0.10987689, abs=1e-8)
    assert answer["algorithms"]["maml"]["inner_residual"] is None


def test_diverging_series_is_flagged(tmp_path: Path) -> None:
    settings = {"neumann.prox": 2, "neumann.variant": "implicit", "neumann.terms": 30}
    diverging = ask(tmp_path, "neumann", **settings)["algorithms"]["neumann"]["notes"]
    converging = ask(tmp_path, "neumann", **{**settings, "neumann.prox": 4})
    assert "diverges" in diverging[0]
    assert converging["algorithms"]["neumann"]["notes"] == []


def test_all_algorithms_with_cosines(tmp_path: Path) -> None:
    answer = ask(tmp_path, "all", **{"imaml.prox": 2})
    names = set(answer["algorithms"])
    assert names == {
        "maml", "fomaml", "reptile", "imaml", "neumann", "penalty", "joint", "scratch",
        "metasgd", "metacurvature", "metakfo", "mirror", "metalstm",
    }  # fmt: skip
    assert answer["cosine"]["maml"]["maml"] == pytest.approx(1)
    assert answer["cosine"]["maml"]["fomaml"] == pytest.approx(0.9971, abs=1e-3)
    assert answer["cosine"]["scratch"]["maml"] is None
