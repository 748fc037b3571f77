"""`metaviz predict RUN`: agrees with episodes and evaluations; bad examples are refused."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metaviz.config.run_config import EvaluationProtocol, RunConfig, Shared
from metaviz.training.prediction.examples import given_arrays, read_given
from metaviz.training.prediction.predict import predict_given
from metaviz.training.protocol import episode, judge
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import config, train

PROTOCOL = EvaluationProtocol(tasks=2)


def strokes(algorithm: str, root: Path, **options: Any) -> Path:
    """Train a small run on drawings."""
    return train(
        RunConfig(
            problem="strokes",
            algorithm=algorithm,
            seed=3,
            steps=2,
            device="cpu",
            options=options,
            problem_options={"channels": 4},
            shared=Shared(
                ways=3,
                shots=2,
                query_shots=3,
                meta_batch=2,
                eval_tasks=2,
                eval_every=2,
                inner_steps=2,
                eval_steps=3,
            ),
        ),
        root,
    )


@pytest.fixture(scope="module")
def maml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strokes("maml", tmp_path_factory.mktemp("maml"))


@pytest.fixture(scope="module")
def protonet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strokes("protonet", tmp_path_factory.mktemp("protonet"))


def draw(folder: Path, x: np.ndarray, y: np.ndarray | None) -> Path:
    """Write drawings (n, 1, 28, 28), bright on dark, as a person has them: dark on paper."""
    for number, levels in enumerate(x):
        place = folder if y is None else folder / f"character {y[number]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - levels[0]).save(place / f"{number:03d}.png")
    return folder


def drawn(run: Path, root: Path, number: int = 0) -> tuple[Path, Path, Any]:
    """Draw an episode into folders."""
    one = episode(run, PROTOCOL, number)
    support = draw(root / "support", one.support.x, one.support.y)
    return support, draw(root / "query", one.query.x, None), one


def predicted(run: Path, support: Path, query: Path, *more: str) -> Any:
    outcome = metaviz("predict", run, "--support", support, "--query", query, "--json", *more)
    assert outcome.code == 0, outcome.error
    return json.loads(outcome.out)


@pytest.mark.parametrize("name", ["maml", "protonet", "tpn", "matching", "snail"])
def test_pictures_of_an_episode_are_predicted_as_the_episode(name: str, tmp_path: Path) -> None:
    run = strokes(name, tmp_path)
    support, query, one = drawn(run, tmp_path)
    found = predict_given(run, read_given([support], "support"), read_given([query], "query"))
    assert np.abs(one.query.outputs).max() > 0
    steps = len(found.query.outputs)
    assert found.k == one.k
    assert np.array_equal(found.query.outputs.astype(np.float32), one.query.outputs[:steps])
    assert np.array_equal(found.support.x, one.support.x)
    assert np.array_equal(found.query.x, one.query.x)
    assert found.probabilities is not None
    assert found.probabilities.sum(2) == pytest.approx(1)
    right = [int(answer[-1]) == y for answer, y in zip(found.answers(), one.query.y, strict=True)]
    told = judge(run, PROTOCOL)
    assert np.mean(right) == pytest.approx(told.per_task["query_accuracy"][told.k, 0])


def test_a_run_needs_no_data_of_training(maml: Path, tmp_path: Path) -> None:
    support, query, _ = drawn(maml, tmp_path)
    moved = tmp_path / maml.name
    shutil.copytree(maml, moved)
    before = predicted(maml, support, query)
    assert predicted(moved, support, query) == before
    assert before["classes"] == ["character 0", "character 1", "character 2"]
    assert before["truth"] == [None] * 9
    assert len(before["probabilities"]) == 3


def test_steps_choose_k_and_each_is_told(maml: Path, tmp_path: Path) -> None:
    support, query, _ = drawn(maml, tmp_path)
    usual, more = predicted(maml, support, query), predicted(maml, support, query, "--steps", "4")
    assert (usual["k"], more["k"], len(more["outputs"])) == (2, 4, 5)
    assert more["outputs"][:3] == usual["outputs"]
    out = tmp_path / "p.csv"
    outcome = metaviz("predict", maml, "--support", support, "--query", query, "--csv", out)
    assert outcome.out == f"{out}\n"
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == 3 * 9
    assert [float(row["p(character 1)"]) for row in rows[:9]] == [
        shares[1] for shares in usual["probabilities"][0]
    ]


def test_folders_of_the_query_say_what_is_right(maml: Path, tmp_path: Path) -> None:
    one = episode(maml, PROTOCOL, 0)
    support = draw(tmp_path / "s", one.support.x, one.support.y)
    query = draw(tmp_path / "q", one.query.x, one.query.y)
    outcome = metaviz("predict", maml, "--support", support, "--query", query)
    share = (one.query.outputs[one.k].argmax(1) == one.query.y).mean()
    assert f"{share:.1%} right of 9 whose class is known" in outcome.out
    assert "depend on each other (transductive)" in outcome.error
    alone = metaviz("predict", maml, "--support", support, "--query", query, "--one-by-one")
    assert "transductive" not in alone.error


def test_arrays_of_levels_are_pictures_and_numbers_inputs(maml: Path, tmp_path: Path) -> None:
    support, query, one = drawn(maml, tmp_path)
    from_pictures = predicted(maml, support, query)["outputs"]
    task = tmp_path / "task.npz"
    paper = {"support_x": 255 - one.support.x, "query_x": 255 - one.query.x[:, 0]}
    np.savez(task, **paper, support_y=one.support.y)
    assert predicted(maml, task, task)["outputs"] == from_pictures
    inputs = (part.x.astype(np.float32) * np.float32(1 / 255) for part in (one.support, one.query))
    x, asked = inputs
    np.savez(task, x=x, y=one.support.y)
    np.savez(tmp_path / "query.npz", x=asked)
    found = predicted(maml, task, tmp_path / "query.npz")
    assert found["outputs"] == from_pictures
    assert found["classes"] == ["0", "1", "2"]


def test_regression_predicts_values(tmp_path: Path) -> None:
    run = train(config("maml"), tmp_path)
    one = episode(run, PROTOCOL, 1)
    support = given_arrays("support", one.support.x, one.support.y)
    found = predict_given(run, support, given_arrays("query", one.query.x, None))
    assert np.abs(found.query.outputs - one.query.outputs[:4]).max() < 1e-6
    assert found.probabilities is None
    np.savez(tmp_path / "s.npz", x=one.support.x, y=one.support.y)
    np.savez(tmp_path / "q.npz", x=one.query.x)
    told = predicted(run, tmp_path / "s.npz", tmp_path / "q.npz")
    assert told["outputs"] == found.query.outputs.tolist()
    table = metaviz("predict", run, "--support", tmp_path / "s.npz", "--query", tmp_path / "q.npz")
    assert "Outputs of MAML" in table.out


@pytest.mark.parametrize("centre", [True, False])
def test_features_are_changed_as_in_training(tmp_path: Path, *, centre: bool) -> None:
    asked = config("maml").model_copy(
        update={
            "problem": "features",
            "problem_options": {
                "path": str(Path(__file__).parents[1] / "fixtures/features.npz"),
                "centre": centre,
                "l2": True,
            },
            "shared": Shared(shots=1, query_shots=3, eval_tasks=2, meta_batch=2),
        }
    )
    run = train(asked, tmp_path)
    from metaviz.problems.registry import find_problem

    real: Any = find_problem("features").build(
        {**asked.problem_options, "l2": False, "centre": False}, asked.shared, 0
    )
    raw = real.tasks("test", 0, 1)
    changed: Any = find_problem("features").build(asked.problem_options, asked.shared, 0)
    np.testing.assert_array_equal(changed.tasks("test", 0, 1).support.y, raw.support.y)
    support = given_arrays("support", raw.support.x[0].numpy(), raw.support.y[0].numpy())
    query = given_arrays("query", raw.query.x[0].numpy(), None)
    found = predict_given(run, support, query)
    assert np.array_equal(
        found.query.x, changed.tasks("test", 0, 1).query.x[0].numpy().astype(np.float32)
    )


def fewer(folder: Path, keep: int) -> Path:
    for place in sorted(folder.iterdir())[keep:]:
        shutil.rmtree(place)
    return folder


def test_other_numbers_of_classes(maml: Path, protonet: Path, tmp_path: Path) -> None:
    support, query, one = drawn(maml, tmp_path)
    (support / "fourth").mkdir()
    shutil.copy(query / "000.png", support / "fourth")
    said = refusal("predict", maml, "--support", support, "--query", query)
    assert "tells 3 classes apart, and 4 are given: give 3" in said
    found = predicted(protonet, support, query)
    assert len(found["probabilities"][0][0]) == 4
    assert found["remarks"][0] == "Trained with 3 classes a task, and used with 4 here."
    found = predicted(maml, fewer(support, 2), query)
    assert "its other outputs are left out" in found["remarks"][0]
    shares = np.array(found["probabilities"])
    assert shares.shape == (3, len(one.query.y), 2)
    assert shares.sum(2) == pytest.approx(1)
    snail = strokes("snail", tmp_path / "snail")
    assert "2 are given" in refusal("predict", snail, "--support", support, "--query", query)
    said = refusal("predict", maml, "--support", fewer(support, 1), "--query", query)
    assert said == "All support examples are of the class character 0: give two classes or more."


def test_pictures_of_all_kinds_are_read_as_by_a_viewer(protonet: Path, tmp_path: Path) -> None:
    support, query, _ = drawn(protonet, tmp_path)
    plain = Image.open(query / "000.png")
    shutil.rmtree(query)
    query.mkdir()
    plain.save(query / "a-grey.png")
    plain.convert("RGB").save(query / "b-colour.bmp")
    alpha = Image.new("LA", plain.size)
    ink = Image.fromarray(255 - np.asarray(plain))
    alpha.putalpha(ink)  # black ink on nothing is black ink on paper
    alpha.save(query / "c-alpha.png")
    turned = plain.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    turned.save(query / "d-exif.png", exif=exif)
    plain.resize((4100, 4100), Image.Resampling.NEAREST).save(query / "e-large.png")
    (query / "f-broken.png").write_bytes((query / "a-grey.png").read_bytes()[:60])
    (query / "notes.txt").write_text("no picture")
    found = predicted(protonet, support, query, "--one-by-one")
    assert found["names"] == [
        f"query/{name}"
        for name in ("a-grey.png", "b-colour.bmp", "c-alpha.png", "d-exif.png", "e-large.png")
    ]
    outputs = np.array(found["outputs"][0])
    assert np.abs(outputs).max() > 0
    for row in outputs[1:4]:
        assert np.array_equal(row, outputs[0])
    assert np.isfinite(outputs[4]).all()
    assert any("f-broken.png" in remark for remark in found["remarks"])


def test_places_of_pictures(protonet: Path, tmp_path: Path) -> None:
    support, query, _ = drawn(protonet, tmp_path)
    expected = predicted(protonet, support, query)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", support)
    assert predicted(protonet, Path(archive), query)["outputs"] == expected["outputs"]
    folders = [part for place in sorted(support.iterdir()) for part in ("--support", place)]
    files = [part for place in sorted(query.iterdir()) for part in ("--query", place)]
    outcome = metaviz("predict", protonet, *folders, *files, "--json")
    assert json.loads(outcome.out)["outputs"] == expected["outputs"]
    wrapped = tmp_path / "outer" / "inner"
    shutil.copytree(support, wrapped)
    assert predicted(protonet, tmp_path / "outer", query)["classes"] == expected["classes"]


def test_bad_examples_are_refused_in_one_sentence(maml: Path, tmp_path: Path) -> None:
    support, query, _ = drawn(maml, tmp_path)

    def said(shown: Path, asked: Path) -> str:
        return refusal("predict", maml, "--support", shown, "--query", asked)

    assert "does not exist" in said(tmp_path / "none", query)
    (tmp_path / "empty").mkdir()
    assert "holds no pictures that are read" in said(support, tmp_path / "empty")
    assert "is of no class: put the pictures of each class" in said(query / "000.png", query)
    array = tmp_path / "a.npz"
    for arrays, clause in (
        ({"x": np.zeros((2, 4)), "y": [0, 1]}, "have the shape (4,), and those of"),
        ({"x": np.full((2, 1, 28, 28), np.nan), "y": [0, 1]}, "x[0] has a number that is not"),
        ({"x": np.zeros((2, 1, 28, 28)), "y": [0.5, 1]}, "support_y has fractions"),
        ({"x": np.zeros((2, 1, 28, 28)), "y": [0]}, "give a label for each of the 2 rows"),
        ({"z": np.zeros(3)}, "has neither x nor support_x"),
        ({"x": np.array([b"a"])}, "give numbers with a row for each example"),
    ):
        np.savez(array, **{name: np.asarray(value) for name, value in arrays.items()})
        assert clause in said(array, query), clause
    array.write_bytes(b"PK\3\4 broken")
    assert "These are no support examples" in said(array, query)
    assert "Missing option '--query'" in refusal("predict", maml, "--support", support)
    assert "--support needs a run" in refusal("predict", "--support", support)
    said_both = refusal("predict", maml, "--algorithm", "protonet")
    assert said_both == "--algorithm is for predictions without a run: leave it out."
    chain = train(
        config("maml").model_copy(update={"problem": "quadratic", "problem_options": {}}),
        tmp_path / "runs",
    )
    assert "whose tasks have no examples" in refusal(
        "predict", chain, "--support", support, "--query", query
    )
