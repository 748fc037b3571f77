"""`metaviz gradients`, `list` and `options`: results on standard output, readable at 80 columns."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.run_config import Shared
from metaviz.meta.checkpoint_files import CHECKPOINT
from metaviz.problems.registry import find_problem
from metaviz.runs.storage.store import list_runs
from tests.unit.command_line import compare, metaviz, refusal

CATALOGUE = shipped_catalogue()
METHODS = tuple(entry.id for entry in CATALOGUE.algorithms)
SINUSOID = CATALOGUE.problem("sinusoid")
assert SINUSOID is not None
SUITED = tuple(name for name in METHODS if name not in CATALOGUE.unsuited(SINUSOID))
SMALL = ("--set", "sinusoid.hidden=4", "--set", "meta_batch=3", "--set", "inner_steps=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train one tiny run and return its folder."""
    out = tmp_path_factory.mktemp("trained")
    compare(out, "--steps", "3", "--dtype", "float64")
    return list_runs(out / "runs")[0]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run's folder that a test may damage."""
    return shutil.copytree(trained, tmp_path / "comparison" / "runs" / trained.name)


def gradient(*arguments: str | Path) -> np.ndarray:
    """Return MAML's meta-gradient."""
    outcome = metaviz("gradients", "--algorithms", "maml", "--json", *SMALL, *arguments)
    assert outcome.code == 0, outcome.error
    return np.array(json.loads(outcome.out)["algorithms"]["maml"]["gradient"])


def test_json_holds_gradients_lengths_cosines_and_costs() -> None:
    outcome = metaviz("gradients", "--json", *SMALL)
    found = json.loads(outcome.out)
    assert (outcome.code, outcome.error) == (0, "")
    assert tuple(found["algorithms"]) == tuple(found["cosine"]) == SUITED
    maml, fomaml = (np.array(found["algorithms"][n]["gradient"]) for n in ("maml", "fomaml"))
    assert maml.shape == (4 + 4 + 16 + 4 + 4 + 1,)
    assert found["algorithms"]["maml"]["norm"] == pytest.approx(np.linalg.norm(maml), rel=1e-12)
    cosine = maml @ fomaml / np.linalg.norm(maml) / np.linalg.norm(fomaml)
    assert found["cosine"]["maml"]["fomaml"] == pytest.approx(cosine, rel=1e-12)
    assert found["cosine"]["scratch"]["maml"] is None
    assert found["algorithms"]["maml"]["hessian_vector_products"] == 3 * 2
    assert found["algorithms"]["imaml"]["inner_residual"] > 0
    assert found["algorithms"]["maml"]["inner_residual"] is None


@pytest.mark.parametrize(
    ("problem", "sizes"),
    [
        ("sinusoid", ("sinusoid.hidden=4", "meta_batch=3")),
        ("strokes", ("strokes.channels=3", "meta_batch=1", "ways=3")),
    ],
)
def test_the_layout_says_where_each_tensor_lies(problem: str, sizes: tuple[str, ...]) -> None:
    settings = [word for size in sizes for word in ("--set", size)]
    outcome = metaviz(
        *("gradients", "--json", "--problem", problem, "--algorithms", "fomaml,reptile", *settings)
    )
    found = json.loads(outcome.out)
    flat = np.array(found["algorithms"]["fomaml"]["gradient"])
    rebuilt = {
        part["name"]: flat[part["first"] : part["first"] + part["size"]]
        .reshape([part["shape"][axis] for axis in part["axes"]])
        .transpose(np.argsort(part["axes"]))
        for part in found["layout"]
    }
    options = {key.split(".")[1]: int(value) for key, _, value in (s.partition("=") for s in sizes)
               if "." in key}  # fmt: skip
    shared = Shared(**{k: int(v) for k, _, v in (s.partition("=") for s in sizes) if "." not in k})
    net = find_problem(problem).build(options, shared, 0).net()
    named = net.layout.split(torch.from_numpy(flat))
    assert list(rebuilt) == list(named)
    for name, value in named.items():
        np.testing.assert_array_equal(rebuilt[name], value.numpy())


def test_quadratic_gradient_is_what_numpy_says(tmp_path: Path) -> None:
    a, b = np.array([[3.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    c, d = np.array([[1.0, -0.25], [-0.25, 3.0]]), np.array([0.5, 2.0])
    start = np.array([1.0, 2.0])
    path = tmp_path / "m.toml"
    path.write_text(
        f"support_hessian = {a.tolist()}\nsupport_linear = {b.tolist()}\n"
        f"query_hessian = {c.tolist()}\nquery_linear = {d.tolist()}\nstart = {start.tolist()}\n"
    )
    outcome = metaviz(
        *("gradients", "--problem", "quadratic", "--problem-file", path, "--json"),
        *("--algorithms", "maml,fomaml", "--set", "inner_lr=0.1", "--set", "inner_steps=1"),
    )
    found = json.loads(outcome.out)["algorithms"]
    outer = c @ (start - 0.1 * (a @ start - b)) - d
    assert found["fomaml"]["gradient"] == pytest.approx(outer, abs=1e-14)
    assert found["maml"]["gradient"] == pytest.approx((np.eye(2) - 0.1 * a) @ outer, abs=1e-14)


def test_seed_step_and_start_choose_batch_and_point(run: Path) -> None:
    here = gradient()
    assert np.array_equal(here, gradient("--seed", "0", "--step", "0"))
    for elsewhere in (("--seed", "1"), ("--step", "1"), ("--start", run)):
        assert not np.allclose(here, gradient(*elsewhere), rtol=1e-3)


def test_gradient_that_is_not_finite_is_noted() -> None:
    outcome = metaviz(
        *("gradients", "--json", "--algorithms", "maml", *SMALL),
        *("--set", "inner_lr=1000", "--set", "maml.inner_steps=60"),
    )
    found = json.loads(outcome.out)["algorithms"]["maml"]
    assert found["norm"] is None
    assert any("not finite" in note for note in found["notes"])


def test_start_with_another_network_is_refused(run: Path) -> None:
    said = refusal("gradients", "--start", run)
    assert said == (
        f"{run.name} has 33 weights, but this problem's network has 1761: choose a run of the same "
        "problem and network."
    )


class Hostile:
    """Touches a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_checkpoint_with_code_is_refused_and_not_run(run: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    torch.save({"meta": Hostile(touched), "optimizer": {}, "step": 1}, run / CHECKPOINT)
    said = refusal("gradients", *SMALL, "--start", run)
    assert said == (
        f"{run / CHECKPOINT} is not a readable checkpoint: it is damaged, or it holds code, which "
        "is never run."
    )
    assert not touched.exists()
    torch.load(run / CHECKPOINT, weights_only=False)
    assert touched.exists(), "the file was not hostile"


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_checkpoint_is_refused(run: Path, keep: float) -> None:
    data = (run / CHECKPOINT).read_bytes()
    kept = int(keep * len(data)) if 0 < keep < 1 else int(keep)
    (run / CHECKPOINT).write_bytes(data[:kept])
    said = refusal("gradients", *SMALL, "--start", run)
    assert said.startswith(f"{run / CHECKPOINT} is not a readable checkpoint: ")


@pytest.mark.parametrize(
    "state",
    [
        torch.zeros(33),
        {"meta": {}, "optimizer": {}, "step": 0},
        {"meta": 3, "optimizer": {}, "step": 0},
        {"meta": {"init": [0.0] * 33}, "optimizer": {}, "step": 0},
        {"meta": {"init": torch.zeros(1).expand(10**12)}, "optimizer": {}, "step": 0},
    ],
)
def test_checkpoint_of_something_else_is_refused(run: Path, state: object) -> None:
    torch.save(state, run / CHECKPOINT)
    assert str(run.name) in refusal("gradients", *SMALL, "--start", run)


def test_tables_fit_80_columns_and_cut_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = [("gradients", *SMALL), ("list",), ("options", "shared"), ("compare", "--help")]
    commands += [("options", name) for name in (*METHODS, "sinusoid", "quadratic", "omniglot")]
    for command in commands:
        out = metaviz(*command).out
        assert max(len(line) for line in out.splitlines()) <= 80
        assert "…" not in out, command


def test_options_cut_nothing_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert "…" not in metaviz("options", "imaml").out


def test_gradients_table_names_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = metaviz("gradients", *SMALL).out.splitlines()
    seen = {}
    for first in range(0, len(SUITED), 7):
        heads = SUITED[first : first + 7]
        top = next(i for i, line in enumerate(lines) if line.split() == [n[:9] for n in heads])
        table = [line.split() for line in lines[top + 1 : top + 1 + len(SUITED)]]
        assert [row[0] for row in table] == list(SUITED)
        seen |= {name: table[first + i][i + 1] for i, name in enumerate(heads)}
    assert seen == dict.fromkeys(SUITED, "1.0000") | {"scratch": "–"}


@pytest.mark.parametrize("others", ["", "maml,"])
def test_gradients_of_a_method_without_an_inner_loop_are_those_of_its_episodes(others: str) -> None:
    outcome = metaviz(
        *("gradients", "--problem", "strokes", "--algorithms", f"{others}protonet", "--json"),
        *("--set", "strokes.channels=2", "--set", "meta_batch=2", "--set", "inner_steps=1"),
    )
    assert (outcome.code, outcome.error) == (0, "")
    found = json.loads(outcome.out)["algorithms"]["protonet"]
    gradient = np.array(found["gradient"])
    head = 2 * 5 + 5
    assert np.abs(gradient[:-head]).max() > 0
    assert not gradient[-head:].any()
    assert found["norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)
    assert (found["gradient_evaluations"], found["hessian_vector_products"]) == (2, 0)
    assert (found["inner_residual"], found["solver_residual"]) == (None, None)


def test_a_method_that_needs_classes_is_refused_where_there_are_none() -> None:
    assert refusal("gradients", "--algorithms", "protonet") == (
        "ProtoNet tells classes apart, and the sinusoid problem has none."
    )


def test_list_names_what_can_be_chosen_and_runs(run: Path) -> None:
    out = metaviz("list").out
    for name in (*METHODS, "sinusoid", "quadratic", "omniglot"):
        assert f"│ {name} " in out
    listed = metaviz("list", "--runs", run.parent.parent)
    assert listed.code == 0
    assert run.name in listed.out
    assert "done" in listed.out


def test_list_goes_on_after_a_run_it_cannot_read(run: Path) -> None:
    bad = run.parent / "bad"
    bad.mkdir()
    (bad / "run.toml").write_text("[run")
    listed = metaviz("list", "--runs", run.parent)
    assert listed.code == 0
    assert run.name in listed.out
    assert listed.error.startswith(f"{bad} is not a readable run: ")


def test_options_explains_keys_values_and_presets() -> None:
    out = " ".join(metaviz("options", "imaml").out.replace("│", " ").split())
    for text in ("imaml.prox", "0.5", "a number above 0 and at most 1000000", "official code:"):
        assert text in out
