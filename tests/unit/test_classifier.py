"""Plain classification: its batches, its gradient, its running statistics and its optimiser."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from metaviz.algorithms.registry import find_algorithm
from metaviz.config.options import OptionError
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.classification import ACCURACIES, CENTRE, PlainClassification, running_layout
from metaviz.meta.tasks import Batch
from metaviz.problems.image_options import ImageOptions
from metaviz.problems.images import FewShotImages
from metaviz.problems.sinusoid import Sinusoid, SinusoidOptions
from metaviz.problems.strokes import CLASSES, DRAWERS
from metaviz.runs.storage.store import open_run
from metaviz.training.outer import OuterOptimizer
from metaviz.training.session import open_sessions
from metaviz.training.setting import Setting, settle
from tests.oracle.engine import assert_close
from tests.unit.command_line import refusal
from tests.unit.stored import finish

SHARED = Shared(shots=1, query_shots=3, meta_batch=4, eval_tasks=6, eval_every=2)


def config(steps: int = 2, problem: str = "strokes", **options: Any) -> RunConfig:
    """A short run on drawings with a tiny Conv4, in float64."""
    return RunConfig(
        problem=problem,
        algorithm="classifier",
        seed=3,
        steps=steps,
        options={"batch_size": 8, **options},
        problem_options={"channels": 3},
        shared=SHARED,
        dtype="float64",
        device="cpu",
    )


def parts(**options: Any) -> tuple[Setting, PlainClassification]:
    setting = settle(config(**options))
    assert isinstance(setting.algorithm, PlainClassification)
    return setting, setting.algorithm


def test_an_epoch_shows_every_example_once_in_an_order_of_its_own() -> None:
    problem = settle(config()).problem
    total = int(problem.sizes("validation").sum())
    assert total == CLASSES["validation"] * DRAWERS
    whole = [problem.examples("validation", epoch * total, total) for epoch in range(2)]
    listed = problem.examples("validation", 0, total, drawn=False)
    assert torch.equal(listed.y[0], torch.arange(CLASSES["validation"]).repeat_interleave(DRAWERS))

    def contents(batch: Batch) -> list[bytes]:
        pairs = zip(batch.x[0], batch.y[0].tolist(), strict=True)
        return [label.to_bytes(4, "big") + x.numpy().tobytes() for x, label in pairs]

    known = sorted(contents(listed))
    orders = [contents(batch) for batch in whole]
    assert [sorted(order) for order in orders] == [known, known]
    assert orders[0] != orders[1]
    assert orders[0] != contents(listed)
    # Whatever batch they come in, also across the end of an epoch.
    middle = contents(problem.examples("validation", total - 3, 7))
    assert middle == orders[0][-3:] + orders[1][:4]


def test_a_batch_is_one_task_of_training_classes_alone() -> None:
    setting, _ = parts()
    batch = setting.batch(5)
    assert batch.support.x.shape == (1, 0, 1, 28, 28)
    assert batch.query.x.shape == (1, 8, 1, 28, 28)
    raw = setting.problem.examples("train", 5 * 8, 8)
    assert torch.equal(batch.query.y, raw.y)
    assert setting.learner.classes == CLASSES["train"]
    trained = {
        x.numpy().tobytes() for x in setting.problem.examples("train", 0, 2000 * DRAWERS).x[0]
    }
    for split in ("validation", "test"):
        total = CLASSES[split] * DRAWERS
        held_out = setting.problem.examples(split, 0, total, drawn=False).x[0]
        assert not trained & {x.numpy().tobytes() for x in held_out}


def test_the_gradient_is_that_of_cross_entropy_over_all_classes() -> None:
    setting, algorithm = parts(label_smoothing=0.1)
    meta, context = setting.init(), setting.context(0)
    step = algorithm.meta_gradient(context, meta)
    learner, batch = setting.learner, context.tasks.query
    init, base = (meta[name].clone().requires_grad_() for name in ("init", "base"))
    z = learner.net.features(init[None], batch.x)[0]
    classes = CLASSES["train"]
    weight = base[:-classes].view(z.shape[1], classes).mT  # matrices lie column by column
    logits = z @ weight.mT + base[-classes:]
    loss = functional.cross_entropy(logits, batch.y[0], label_smoothing=0.1)
    wanted = dict(zip(("init", "base"), torch.autograd.grad(loss, (init, base)), strict=True))
    for name, gradient in wanted.items():
        assert_close(step.gradients[name], gradient, 1e-10)
    plain = functional.cross_entropy(logits, batch.y[0])
    assert_close(step.readings["post_query_loss"], plain.detach()[None], 1e-12)
    running = running_layout(learner.net).split(step.replaced["running"])
    assert_close(running[CENTRE], 0.1 * z.detach().mean(0), 1e-12)
    assert set(step.replaced) == {"running"}


def test_predictions_do_not_depend_on_other_query_examples() -> None:
    setting, algorithm = parts()
    meta = setting.init()
    meta["running"] = algorithm.meta_gradient(setting.context(0), meta).replaced["running"]
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 2))
    (state,) = algorithm.adapt(setting.adapting(tasks, 0), meta)
    whole = state.predict(tasks.query)
    some = state.predict(tasks.query.examples(slice(4)))
    assert_close(some.outputs, whole.outputs[:, :4], 1e-9)
    assert_close(state.predict(tasks.query, alone=True).outputs, whole.outputs, 1e-9)
    assert setting.config.problem_options["norm"] == "batch"
    assert not setting.traits.transductive


@pytest.mark.parametrize("head", ["un", "l2n", "cl2n", "cosine", "logistic"])
def test_every_head_is_measured_and_the_chosen_one_answers(head: str) -> None:
    setting, algorithm = parts(head=head)
    meta = setting.init()
    meta["running"] = algorithm.meta_gradient(setting.context(0), meta).replaced["running"]
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 3))
    (state,) = algorithm.adapt(setting.adapting(tasks, 0), meta)
    found = state.predict(tasks.query)
    assert found.readings.keys() == {quantity.id for quantity in ACCURACIES.values()}
    own = setting.learner.accuracy(found.outputs, tasks.query)
    assert own is not None
    assert torch.equal(found.readings[f"accuracy_{head}"], own)
    quiet = parts(head=head, every_head=False)[1]
    (state,) = quiet.adapt(setting.adapting(tasks, 0), meta)
    assert state.predict(tasks.query).readings == {}


OPTIMIZERS: list[tuple[OuterRule, Any]] = [
    (
        OuterRule(0.1, optimizer="sgd", momentum=0.9, decay=0.01, drops=(2, 3), drop=0.5),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    ),
    (
        OuterRule(0.1, optimizer="sgd", momentum=0.9, nesterov=True, drops=(2, 3), drop=0.5),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    ),
    (
        OuterRule(0.1, optimizer="sgd", decay=0.01, drops=(2, 3), drop=0.5),
        lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01),
    ),
    (
        OuterRule(0.1, optimizer="adam", decay=0.01, drops=(2, 3), drop=0.5),
        lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.01),
    ),
]


@pytest.mark.parametrize(("rule", "theirs"), OPTIMIZERS)
def test_optimisers_are_those_of_pytorch_also_after_a_restart(rule: OuterRule, theirs: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    mine, wanted = start.clone(), start.clone().requires_grad_()
    optimizer, reference = OuterOptimizer("adam", {"init": mine}, {"init": rule}), theirs([wanted])
    schedule = torch.optim.lr_scheduler.MultiStepLR(reference, [2, 3], 0.5)
    for epoch in range(5):
        for _ in range(2):
            gradient = torch.randn(5, generator=generator, dtype=torch.float64)
            wanted.grad = gradient.clone()
            reference.step()
            optimizer.step({"init": gradient}, epochs=epoch)
        schedule.step()
        again = OuterOptimizer("adam", {"init": mine}, {"init": rule})
        again.restore(optimizer.state())
        optimizer = again
    assert_close(mine, wanted.detach(), 1e-12)


def test_the_step_size_drops_after_whole_epochs() -> None:
    setting = settle(config(batch_size=1000, drops="1,2", drop=0.5))
    rule = setting.outer["init"]
    assert (rule.drops, rule.drop) == ((1, 2), 0.5)
    assert [setting.epochs(step) for step in (0, 39, 40, 79, 80)] == [0, 0, 1, 1, 2]
    assert [rule.share(setting.epochs(step)) for step in (39, 40, 80)] == [1.0, 0.5, 0.25]
    assert setting.resolved["training_examples"] == {
        "classes": 2000,
        "examples": 40_000,
        "batch": 1000,
        "epochs": 2 * 1000 / 40_000,
    }


@pytest.mark.parametrize("text", ["45;67", "0", "-3", "1,,2", "x"])
def test_wrong_epochs_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="whole numbers of epochs"):
        find_algorithm("classifier").build({"drops": text}, Shared())
    spaced = find_algorithm("classifier").checked({"drops": " 45, 67"})
    assert spaced.outer_rule(Shared(), of_network=True).drops == (45, 67)


def test_regression_has_no_examples_of_classes() -> None:
    problem = Sinusoid(SinusoidOptions(), Shared(), 0)
    assert len(problem.sizes("train")) == 0
    with pytest.raises(OptionError, match="no classes"):
        problem.examples("train", 0, 1)
    assert "tells classes apart" in refusal(
        "compare", "--problem", "sinusoid", "--algorithms", "classifier"
    )


def test_a_run_learns_and_is_stored_with_every_head(tmp_path: Path) -> None:
    (session,) = open_sessions([config(4)], tmp_path)
    record = open_run(finish(session))
    assert record.state == "done"
    assert np.isfinite(record.column("post_query_loss")).all()
    last = record.evaluations[-1]
    for quantity in ACCURACIES.values():
        assert last.per_task[quantity.id].shape == (6,)
    assert not record.traits.transductive
    assert record.traits.inductive


def photographs(root: Path, per_class: int = 4) -> Path:
    """Write noise, so that no image is another one turned or mirrored: 3 classes of each split."""
    noise = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in range(3):
            folder = root / split / f"{split}{name}"
            folder.mkdir(parents=True)
            for row in range(per_class):
                levels = noise.integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(levels).save(folder / f"{row}.png")
    return root


def of_photographs(path: Path, **options: Any) -> FewShotImages:
    shared = Shared(shots=1, query_shots=1, ways=2)
    return FewShotImages(ImageOptions(path=str(path), side=16, **options), shared, 1)


def test_photographs_are_changed_in_training_and_left_alone_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    path = photographs(tmp_path / "data")
    plain, problem = of_photographs(path), of_photographs(path, flips=True, rotations=True)
    assert plain.sizes("train").tolist() == [4, 4, 4]
    assert problem.sizes("train").tolist() == [4] * 12
    assert problem.sizes("test").tolist() == [4, 4, 4]
    upright = plain.examples("train", 0, 12, drawn=False)
    ordered = problem.examples("train", 0, 48, drawn=False)
    assert torch.equal(ordered.x[:, :12], upright.x)
    assert torch.equal(ordered.x[:, 12:24], torch.rot90(upright.x, 1, (3, 4)))
    known = {x.numpy().tobytes(): int(y) for x, y in zip(ordered.x[0], ordered.y[0], strict=True)}
    drawn = problem.examples("train", 0, 48)
    kinds = {"straight": 0, "mirrored": 0}
    for x, y in zip(drawn.x[0], drawn.y[0].tolist(), strict=True):
        kind = "straight" if known.get(x.numpy().tobytes()) == y else "mirrored"
        assert known[(x if kind == "straight" else x.flip(-1)).numpy().tobytes()] == y
        kinds[kind] += 1
    assert min(kinds.values()) > 10
    assert torch.equal(drawn.x[:, 40:], problem.examples("train", 40, 8).x)


def test_no_image_of_test_classes_reaches_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    problem = of_photographs(photographs(tmp_path / "data"))
    seen = {x.numpy().tobytes() for x in problem.examples("train", 0, 36).x[0]}
    assert len(seen) == 12
    for split in ("validation", "test"):
        held_out = problem.examples(split, 0, 12, drawn=False).x[0]
        assert len({x.numpy().tobytes() for x in held_out} | seen) == 24
