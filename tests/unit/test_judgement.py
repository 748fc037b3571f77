"""Judging stored weights on held-out tasks, and comparing runs task by task."""

import csv
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from scipy.stats import binom

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.config.run_config import EvaluationProtocol, RunConfig, Shared
from metaviz.meta.predictor import one_by_one
from metaviz.meta.tasks import Batch
from metaviz.runs.analysis.benchmark import Choice, Judged, rows_of
from metaviz.runs.analysis.published import Published, beside, differences, distance, published
from metaviz.runs.analysis.result_charts import benchmark_chart
from metaviz.runs.model.evaluation import Judgement, paired, store, stored
from metaviz.runs.model.robustness import stored_robustness
from metaviz.runs.model.styles import Style
from metaviz.runs.storage.store import StoreError, list_runs, open_run
from metaviz.training.protocol import episode, judge, robustness
from tests.oracle.engine import build, initial, sinusoid
from tests.unit.command_line import metaviz
from tests.unit.stored import train
from tests.unit.test_episodes import small


def test_paired_difference_of_known_numbers() -> None:
    b = np.zeros(12)
    a = np.array([1.0] * 9 + [-1.0] * 2 + [0.0])
    found = paired(a, b)
    assert found.mean == pytest.approx(7 / 12)
    assert (found.above, found.below) == (9, 2)
    assert found.p == pytest.approx(2 * binom.cdf(2, 11, 0.5))
    assert -1 <= found.low < found.mean < found.high <= 1


def test_bootstrap_interval_is_the_normal_one_for_many_tasks() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(0.3, 1.0, 2000), generator.normal(0.0, 1.0, 2000)
    found = paired(a, b)
    half = 1.96 * (a - b).std(ddof=1) / math.sqrt(2000)
    assert (found.low, found.high) == pytest.approx(
        (found.mean - half, found.mean + half), abs=0.004
    )
    assert paired(a, b) == found


def test_equal_runs_differ_in_nothing() -> None:
    values = np.array([0.5, 0.7])
    assert paired(values, values).p == 1.0
    assert (paired(values, values).low, paired(values, values).high) == (0.0, 0.0)
    with pytest.raises(ValueError, match="3 and 2 tasks"):
        paired(np.zeros(3), values)


def test_tasks_that_are_not_a_number_are_named_and_not_counted() -> None:
    b = np.zeros(12)
    a = np.array([1.0] * 6 + [-1.0] * 2 + [0.0] + [np.nan] * 2 + [np.inf])
    b[-1] = np.inf
    found = paired(a, b)
    assert (found.above, found.below, found.unknown) == (6, 2, 3)
    assert found.p == pytest.approx(2 * binom.cdf(2, 8, 0.5))
    one = judgement(per_task={"query_loss": np.stack([a, a])})
    other = judgement(per_task={"query_loss": np.stack([b, b])})
    assert one.minus(other)[1] == "2 / 6, 3 not a number"


def test_no_difference_is_written_as_nan() -> None:
    known = judgement()
    for broken in (np.nan, np.inf):
        values = np.array([[2.0, 2.0, 2.0], [1.0, 2.0, broken]])
        one = judgement(per_task={"query_loss": values})
        other = judgement(per_task={"query_loss": known.per_task["query_loss"]})
        told = " ".join([*one.minus(other), one.after_text(), one.before_text()])
        assert "nan" not in told.replace("not a number", "")
        assert "inf" not in told
    assert judgement(per_task={"query_loss": np.full((2, 3), np.nan)}).after_text() == "–"


def test_runs_judged_otherwise_are_not_subtracted_in_the_table() -> None:
    def judged(*, as_trained: bool = False, **changes: object) -> Judged:
        one = judgement(**changes)
        return Judged("r", "r", Style("#0077bb", "solid"), one, as_trained=as_trained)

    per_task = {"query_loss": np.ones((6, 3)), "query_accuracy": np.full((6, 3), 0.5)}
    first = judged()
    longer = judged(k=5, protocol={**judgement().protocol, "k": 5}, per_task=per_task)
    apart = judged(protocol={**judgement().protocol, "together": False})
    rows = rows_of([first, longer, apart, judged()], Choice("nothing"))
    assert rows[1].minus_first == "not subtracted: k = 5, not 1"
    assert rows[2].minus_first == "not subtracted: query examples predicted otherwise"
    assert (rows[1].counts, rows[1].p, rows[2].p) == ("", "", "")
    assert rows[3].minus_first == "+0 [+0, +0]"
    trained = judged(as_trained=True, k=5, per_task=per_task)
    assert not trained.unlike(judged(as_trained=True))
    assert not judged(k=0).unlike(longer)


def judgement(**changes: object) -> Judgement:
    values = {
        "run": "maml-s0-1",
        "label": "MAML · seed 0",
        "config": {
            "algorithm": "maml",
            "problem": "images",
            "seed": 0,
            "problem_options": {"channels": 32},
        },
        "step": 500,
        "k": 1,
        "protocol": {
            "tasks": 3,
            "ways": 5,
            "shots": 1,
            "query": 15,
            "k": 1,
            "seed": 0,
            "split": "test",
        }
        | {"together": True},
        "dataset": "miniImageNet",
        "per_task": {
            "query_loss": np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]]),
            "query_accuracy": np.array([[0.2, 0.2, 0.2], [0.4, 0.5, 0.6]]),
        },
    }
    return Judgement(**{**values, **changes})


def test_judgements_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = judgement()
    store(made, tmp_path)
    (tmp_path / "evaluations" / "broken.npz").write_bytes(b"PK")
    (found,) = stored(tmp_path)
    assert found.protocol == made.protocol
    assert found.interval() == made.interval()
    assert made.interval()[0] == pytest.approx(0.5)
    assert made.interval()[1] == pytest.approx(1.96 * 0.1 / math.sqrt(3))
    assert found.interval("query_loss")[0] == 2


def test_only_runs_on_the_same_tasks_are_compared() -> None:
    one = judgement()
    assert one.minus(judgement())[1:] == ("0 / 0", "1")
    for changes in ({"k": 9}, {"together": False}):
        assert judgement(protocol={**one.protocol, **changes}).task_list == one.task_list
    assert judgement(dataset="Omniglot").task_list != one.task_list
    for changes in ({"seed": 1}, {"shots": 5}, {"split": "validation"}):
        assert judgement(protocol={**one.protocol, **changes}).task_list != one.task_list


def test_published_rows_are_the_shipped_ones_and_say_what_differs() -> None:
    assert len(published()) > 50
    rows = beside(judgement(), "miniImageNet")
    assert {row.value for row in rows if row.is_of("maml")} == {48.7}
    assert not any(row.is_of("reptile") and row.method.startswith("MAML") for row in rows)
    row = next(row for row in rows if row.is_of("maml") and row.backbone == "conv4_64")
    assert differences(judgement(), row) == [
        "500 of usually 60000 meta-steps",
        "32 channels, not 64",
        "3 tasks, not 600",
        "transductive BatchNorm",
        "BatchNorm with a scale",
        "BatchNorm adapted",
        SUMMED,
    ]


def told(
    method: str, network: str = "convnet", *, together: bool = True, **options: object
) -> list[str]:
    """Differences of a run with these options, but for its length and number of tasks."""
    plain = judgement()
    made = judgement(
        config={**plain.config, "problem_options": options},
        protocol={**plain.protocol, "together": together, "tasks": 600},
        step=60_000,
    )
    row = Published(method, 2017, "miniImageNet", network, 5, 1, 50.0, None, "")
    return differences(made, row)


SUMMED = "α is on the mean loss, theirs on the sum over 5 classes"
OFFICIAL = {"norm": "batch", "norm_affine": "beta", "norm_adapted": False}


def test_network_of_the_run_is_held_against_the_published_one() -> None:
    plain = {"channels": 64, "norm": "support"}
    assert told("X", "conv4_64", **plain) == []
    assert told("X", "conv4_128", **plain) == ["64 channels, not 128"]
    assert told("X", "resnet12", **plain) == ["Conv4-64, not resnet12"]
    deep = {**plain, "backbone": "resnet12", "widths": "64-128-256-512"}
    assert told("X", "resnet12", **deep) == ["no dropout"]
    assert told("X", "conv4_64", **deep) == ["ResNet-12 (64-128-256-512), not conv4 64"]
    simple = {**plain, "backbone": "resnet12_simple"}
    assert told("X", "resnet12", **simple) == ["simple ResNet-12, not resnet12"]


def test_normalisation_of_the_run_is_held_against_the_published_one() -> None:
    assert told("MAML", **OFFICIAL) == ["transductive BatchNorm", SUMMED]
    assert told("MAML", together=False, **OFFICIAL) == [SUMMED]
    assert told("FOMAML + transduction", **OFFICIAL) == [SUMMED]
    assert told("FOMAML + transduction", together=False, **OFFICIAL) == ["not transductive", SUMMED]
    support = {**OFFICIAL, "norm": "support"}
    assert told("FOMAML + transduction", **support) == ["not transductive", SUMMED]
    assert "BatchNorm adapted" in told("FOMAML + transduction", norm="support")
    assert told("X", **support) == []
    assert told("X", norm="group") == ["GroupNorm, not BatchNorm"]
    assert told("MAML", norm="support") == [
        "BatchNorm with a scale",
        "BatchNorm adapted",
        SUMMED,
    ]
    assert told("X") == ["transductive BatchNorm"]


def test_the_nearest_published_row_has_the_same_network_and_no_addition() -> None:
    def nearest(algorithm: str, **changes: object) -> str:
        one = judgement(config={**judgement().config, "algorithm": algorithm}, **changes)
        rows = [row for row in beside(one, one.dataset) if row.is_of(algorithm)]
        return min(rows, key=lambda row: distance(one, row)).method

    # The multilayer perceptron of "MAML (no conv)" has fewer differences, but is another network.
    assert nearest("maml", dataset="Omniglot") == "MAML"
    assert nearest("maml") == "MAML"
    assert nearest("reptile", dataset="Omniglot") == "Reptile + transduction"
    apart = {**judgement().protocol, "together": False}
    assert nearest("reptile", dataset="Omniglot", protocol=apart) == "Reptile"


def test_other_classes_queries_sizes_and_augmentation_are_told() -> None:
    one = judgement()
    row = next(row for row in beside(one, "miniImageNet") if row.method == "MAML")
    options = {"channels": 32, "side": 32, "flips": True}
    found = differences(
        judgement(
            protocol={**one.protocol, "split": "validation", "query": 5},
            config={**one.config, "problem_options": options},
        ),
        row,
    )
    for said in (
        "validation classes, not test classes",
        "5 query images per class, usually 15",
        "images of 32 pixels, not 84",
        "augmented training images",
    ):
        assert said in found
        assert said not in differences(one, row)


def test_one_by_one_is_each_query_example_beside_the_support_set() -> None:
    learner, tasks = sinusoid()
    weights = torch.randn(4, learner.net.layout.size, dtype=torch.float64)

    def outputs(batch: Batch) -> torch.Tensor:
        return learner.outputs(weights, batch)

    found = one_by_one(outputs, tasks.support, tasks.query)
    # The network has no BatchNorm: company changes nothing.
    assert torch.allclose(found, learner.outputs(weights, tasks.query))
    seen: list[int] = []

    def spied(batch: Batch) -> torch.Tensor:
        seen.append(batch.x.shape[1])
        return outputs(batch)

    one_by_one(spied, tasks.support, tasks.query)
    assert seen == [6] * 6


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two runs on tiny images."""
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    outcome = metaviz(
        *("compare", "--problem", "images", "--algorithms", "fomaml,reptile", "--steps", "2"),
        *("--set", f"images.path={small(tmp_path / 'data')}", "--set", "images.side=16"),
        *("--set", "images.channels=4", "--set", "ways=3", "--set", "query_shots=3"),
        *("--set", "eval_tasks=4", "--set", "eval_steps=2", "--set", "inner_steps=2"),
        *("--out", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.error
    assert "Decoded 66 of 66 images" in outcome.error
    return list_runs(tmp_path / "out" / "runs")


def test_evaluation_is_the_same_from_the_command_line_and_from_a_copied_folder(
    runs: list[Path], tmp_path: Path
) -> None:
    found = judge(runs[0], EvaluationProtocol(tasks=6, steps=3))
    assert found.per_task["query_accuracy"].shape == (4, 6)
    assert found.protocol["split"] == "test"
    copied = tmp_path / "elsewhere" / "a run"
    shutil.copytree(runs[0], copied)
    again = judge(copied, EvaluationProtocol(tasks=6, steps=3))
    for name, values in found.per_task.items():
        np.testing.assert_array_equal(values, again.per_task[name])
    table = tmp_path / "tasks.csv"
    settings = ("--set", "tasks=6", "--set", "steps=3")
    outcome = metaviz("evaluate", runs[0].parent, *settings, "--out", table)
    assert outcome.code == 0, outcome.error
    with table.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["run"] == runs[0].name]
    told = [float(row["post_query_loss"]) for row in rows]
    assert told == found.per_task["query_loss"][3].tolist()
    assert "sign test" in outcome.out
    assert len(stored(runs[0])) == 1


def test_other_protocols_give_other_numbers(runs: list[Path]) -> None:
    plain = judge(runs[0], EvaluationProtocol(tasks=5))
    for other in (
        EvaluationProtocol(tasks=5, seed=1),
        EvaluationProtocol(tasks=5, split="validation"),
        EvaluationProtocol(tasks=5, together=False),
        EvaluationProtocol(tasks=5, shots=2),
    ):
        found = judge(runs[0], other)
        assert (found.values("query_loss") != plain.values("query_loss")).any(), other
    assert len(stored(runs[0])) == 5


@pytest.mark.parametrize("problem", ["sinusoid", "strokes"])
def test_held_out_tasks_are_none_that_training_evaluated_on(problem: str, tmp_path: Path) -> None:
    asked = RunConfig(
        problem=problem,
        algorithm="maml",
        seed=0,
        steps=2,
        device="cpu",
        shared=Shared(inner_steps=1, eval_tasks=5, meta_batch=2, query_shots=3, ways=2, shots=2),
        problem_options={"hidden": 6} if problem == "sinusoid" else {"channels": 2},
    )
    folder = train(asked, tmp_path)
    evaluated = open_run(folder).evaluations[-1].per_task["query_loss"]
    same = judge(folder, EvaluationProtocol(tasks=5, draws="training"))
    assert same.values("query_loss") == pytest.approx(evaluated, rel=1e-5)
    own = judge(folder, EvaluationProtocol(tasks=5))
    assert np.abs(own.values("query_loss")[:, None] - evaluated).min() > 1e-6
    assert own.task_list != same.task_list
    assert same.protocol_text().endswith(", drawn as training draws")
    assert "drawn" not in own.protocol_text()
    assert "draws" not in same.protocol  # as it was stored before there was the choice
    assert len(stored(folder)) == 2


def test_a_figure_of_held_out_results_names_interval_and_population() -> None:
    one = Judged("maml-s0-1", "maml", Style("#0077bb", "solid"), judgement())
    rows = rows_of([one], Choice("miniImageNet", 5, 1))
    drawn = figure_of(benchmark_chart(rows, "accuracy (%)"), Page())
    told = " ".join(text.get_text() for text in drawn.findobj(Text))
    assert "mean ± 1.96 s/√n over held-out tasks" in told
    assert "hollow: as published" in told
    ours = benchmark_chart(rows[:1], "accuracy (%)")
    assert all(one.filled for one in ours.series)
    assert "hollow" not in ours.caption
    unknown = replace(rows[0], value=math.nan)
    assert benchmark_chart([unknown], "accuracy (%)", "No number.").message == "No number."


def test_a_protocol_says_what_its_tasks_have(tmp_path: Path) -> None:
    """Sinusoids are judged on 100 points whatever is asked for; quadratic losses have none."""
    texts = {}
    for problem in ("sinusoid", "quadratic"):
        shared = Shared(inner_steps=1, eval_tasks=2, meta_batch=2, shots=4, query_shots=3)
        asked = RunConfig(
            problem=problem, algorithm="maml", seed=0, steps=1, device="cpu", shared=shared
        )
        found = judge(train(asked, tmp_path), EvaluationProtocol(tasks=2))
        assert found.protocol["ways"] == 0
        texts[problem] = found.protocol_text()
    assert texts["quadratic"] == "2 test tasks, k = 1, seed 0"
    points = "4-shot, 100 query examples predicted together"
    assert texts["sinusoid"] == f"2 test tasks, {points}, k = 1, seed 0"


def test_step_sizes_and_numbers_at_test_time_are_those_of_runs_with_them(runs: list[Path]) -> None:
    protocol = EvaluationProtocol(tasks=7, steps=4)
    for folder in runs:
        found = robustness(folder, protocol)
        assert stored_robustness(folder) is not None
        as_trained = judge(folder, protocol).per_task[found.measure].mean(axis=1)
        assert found.mean[found.factors.index(1.0)] == pytest.approx(as_trained, abs=1e-7)
        assert found.mean.shape == (len(found.factors), 5)
        assert found.mean[:, 0] == pytest.approx(found.mean[0, 0])
        assert np.ptp(found.mean[:, 4]) > 0


@pytest.mark.parametrize("name", ["maml", "metasgd", "mtnet", "metacurvature", "metalstm"])
def test_scaled_rules_step_that_much_further(name: str) -> None:
    learner, tasks = sinusoid()
    algorithm = build(name)
    meta = initial(algorithm, learner)
    ends = [
        scaled.descend(learner, meta, tasks.support, 1).point
        for scaled in (algorithm.scaled(1.0), algorithm.scaled(2.0), algorithm.scaled(4.0))
    ]
    # What does not come from the gradient, like the shrinking by gates, is not scaled.
    assert torch.allclose(ends[2] - ends[0], 3 * (ends[1] - ends[0]), rtol=1e-9, atol=1e-13)
    assert not torch.equal(ends[0], ends[1])


def test_an_episode_shows_the_losses_that_its_task_was_judged_by(runs: list[Path]) -> None:
    protocol = EvaluationProtocol(tasks=6, steps=3)
    for folder in runs:
        found = judge(folder, protocol)
        for number in (0, 4):
            task = episode(folder, protocol, number)
            assert task.query_loss == pytest.approx(
                found.per_task["query_loss"][:, number], rel=1e-5
            )
            assert task.support_loss == pytest.approx(
                found.per_task["support_loss"][:, number], rel=1e-5
            )
            if task.has_classes:
                right = task.query.right().mean(axis=1)
                assert right == pytest.approx(found.per_task["query_accuracy"][:, number])
                assert task.has_images
                assert np.allclose(task.query.probabilities().sum(axis=2), 1)


def test_runs_that_cannot_be_judged_do_not_stop_the_others(
    runs: list[Path], tmp_path: Path
) -> None:
    (runs[0] / "checkpoint.pt").unlink()
    for other in runs[0].glob("checkpoint-*.pt"):
        other.unlink()
    table = tmp_path / "tasks.csv"
    settings = ("--set", "tasks=3", "--out", table)
    outcome = metaviz("evaluate", runs[0].parent, *settings)
    assert outcome.code == 1
    assert f"Left out: {runs[0].name}." in outcome.error
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["run"] for row in rows} == {runs[1].name}
    assert {(row["ways"], row["shots"], row["query_shots"]) for row in rows} == {("3", "1", "3")}


def test_bad_protocols_are_one_sentence(runs: list[Path], tmp_path: Path) -> None:
    for settings, said in (
        (("--set", "tasks=1"), "tasks = 1 is not valid"),
        (("--set", "nonsense=1"), "nonsense"),
        (("--set", "tasks"), "is not KEY=VALUE"),
        (("--set", "shots=9"), "no train classes with the 12 images"),
        (("--set", "ways=5"), "ways cannot be chosen"),
    ):
        outcome = metaviz("evaluate", runs[0], *settings)
        assert outcome.code == 2, outcome.error
        assert said in outcome.error
        assert len(outcome.error.strip().splitlines()) <= 2
    (runs[0] / "checkpoint.pt").unlink()
    with pytest.raises(StoreError, match="no checkpoint"):
        judge(runs[0], EvaluationProtocol(tasks=2))
    assert metaviz("evaluate", tmp_path / "nothing").code == 2


def test_features_of_a_backbone_are_told_beside_published_rows() -> None:
    plain = {"pretrained": "classifier-s0-1a2b3c4d", "backbone": "", "path": ""}
    found = told("X", "conv4_64", **plain)
    assert found == ["features of classifier-s0-1a2b3c4d, not conv4 64"]
    assert told("X", "resnet12", **{**plain, "pretrained": ""}) == [
        "features of a file, not resnet12"
    ]
