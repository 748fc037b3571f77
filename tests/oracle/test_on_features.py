"""Methods on features against the published numbers, which were found twice."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.episodic import gidaris, qiao
from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import OBJECTIVE
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.meta.vectors import class_means, unit
from metaviz.nets.linear import Linear
from tests.oracle.engine import DOUBLE, ClassificationLoss, assert_close, build, draws, initial

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return found


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def episode(inputs: dict[str, Any], letter: str = "z") -> TaskBatch:
    """The one task of a file."""
    support, query = (
        Batch(tensor(inputs[f"{letter}_{part}"])[None], torch.tensor(inputs[f"y_{part}"])[None])
        for part in ("support", "query")
    )
    return TaskBatch(support, query)


def learner(tasks: TaskBatch, ways: int = 3, base: Tensor | None = None) -> Learner:
    net = Linear(tasks.support.x.shape[2], ways, bias=False)
    return Learner(net, ClassificationLoss(), base=base)


def predicted(algorithm: Algorithm, known: Learner, meta: Meta, tasks: TaskBatch) -> Tensor:
    """What a method's own door returns for the query set, after its last step."""
    *_, last = algorithm.adapt(Context(known, tasks, algorithm.steps, ways=3), meta)
    return last.predict(tasks.query).outputs


def central_differences(loss: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-5) -> Tensor:
    found = torch.zeros_like(at)
    for place in range(at.numel()):
        moved = torch.zeros_like(at)
        moved[place] = step
        found[place] = (loss(at + moved) - loss(at - moved)) / (2 * step)
    return found


def test_meta_sgd_on_features_has_the_published_weights() -> None:
    known = golden("metasgd_features")
    tasks = episode(known["inputs"])
    algorithm = build("metasgd", Shared(inner_lr=known["rate"], inner_steps=known["steps"]))
    on = learner(tasks)
    meta = initial(algorithm, on)
    assert not meta["init"].any()
    *_, last = algorithm.adapt(Context(on, tasks, 2), meta)
    assert last.weights is not None
    weights = on.net.layout.named(last.weights)["head.weight"][0]
    assert_close(weights, tensor(known["weights"]), 1e-9)
    loss = on.judge.loss(last.predict(tasks.query).outputs, tasks.query)
    assert_close(loss, [1.025318987727825], 1e-9)
    step = algorithm.meta_gradient(Context(on, tasks, 2), meta)
    assert_close(step.readings["post_query_loss"], [1.025318987727825], 1e-9)


def bauer(**options: Any) -> tuple[Algorithm, Learner, Meta, TaskBatch, dict[str, Any]]:
    known = golden("bauer")
    tasks = episode(known["inputs"])
    algorithm = build("bauer", **options)
    on = learner(tasks, base=tensor(known["base_weights"]))
    return algorithm, on, initial(algorithm, on), tasks, known


def test_bauer_s_prior_and_classifier_are_the_published_ones() -> None:
    algorithm, on, meta, tasks, known = bauer()
    mean, variance = meta["prior"].chunk(2)
    assert_close(mean, tensor(known["prior_mean"]), 1e-12)
    assert_close(variance, [known["prior_variance_isotropic"]] * 3, 1e-12)
    model: Any = algorithm.model  # type: ignore[attr-defined]
    weights = model.classifier(meta, tasks.support.x, tasks.support.y, 3)[0]
    assert_close(weights, tensor(known["map_weights"]), 1e-9)
    outputs = predicted(algorithm, on, meta, tasks)
    assert_close(torch.log_softmax(outputs[0], 1), tensor(known["log_probabilities"]), 1e-9)
    assert float((weights - mean).sum(0).abs().max()) < 1e-9
    assert_close(
        bauer(covariance="diagonal")[2]["prior"][3:], known["prior_variance_diagonal"], 1e-9
    )


@pytest.mark.parametrize("covariance", ["isotropic", "diagonal"])
def test_bauer_s_classifier_has_the_least_objective(covariance: str) -> None:
    algorithm, _, meta, tasks, known = bauer(covariance=covariance)
    mean, variance = meta["prior"].chunk(2)
    z, y = tasks.support.x[0], tasks.support.y[0]

    def objective(flat: Tensor) -> Tensor:
        w = flat.view(3, 3)
        fit = torch.nn.functional.cross_entropy(z @ w.T, y, reduction="sum")
        return fit + ((w - mean).square() / (2 * variance)).sum()

    model: Any = algorithm.model  # type: ignore[attr-defined]
    best = model.classifier(meta, tasks.support.x, tasks.support.y, 3)[0].flatten()
    slope = central_differences(objective, best)
    assert float(slope.abs().max()) < 1e-8
    if covariance == "isotropic":
        assert_close(objective(best)[None], [known["objective_at_map"]], 1e-9)
        assert_close(objective(mean.repeat(3))[None], [known["objective_at_mean"]], 1e-9)


def test_bauer_without_variance_knows_nothing_and_needs_base_weights() -> None:
    algorithm, on, meta, tasks, _ = bauer(widen=1e-9)
    outputs = torch.softmax(predicted(algorithm, on, meta, tasks), 2)
    torch.testing.assert_close(outputs, torch.full_like(outputs, 1 / 3), atol=1e-6, rtol=0)
    with pytest.raises(OptionError, match=r"features\.pretrained"):
        initial(algorithm, replace(on, base=None))


def of_qiao(**options: Any) -> tuple[Algorithm, Learner, Meta, TaskBatch, dict[str, Any]]:
    known = golden("qiao")
    tasks = episode(known["inputs"], "a")
    algorithm = build("qiao", **options)
    on = learner(tasks)
    return algorithm, on, initial(algorithm, on), tasks, known


def perturbed(meta: Meta, known: dict[str, Any]) -> Meta:
    parts = {name: tensor(value) for name, value in known["perturbed"].items()}
    return {**meta, "psi": qiao.layout(3).join(parts)}


def test_qiao_s_logits_are_the_published_ones() -> None:
    algorithm, on, meta, tasks, known = of_qiao()
    assert_close(predicted(algorithm, on, meta, tasks)[0], tensor(known["identity_logits"]), 1e-9)
    other = perturbed(meta, known)
    assert_close(predicted(algorithm, on, other, tasks)[0], tensor(known["logits"]), 1e-9)
    weights = qiao.psi(other["psi"], tensor(known["class_means"])[None])[0]
    assert_close(weights, tensor(known["weights"]), 1e-9)
    step = algorithm.meta_gradient(Context(on, tasks, 0, ways=3), other)
    assert_close(step.readings["post_query_loss"], [known["loss"]], 1e-9)


@pytest.mark.parametrize("single", [0.0, 0.7, 1.0])
def test_qiao_s_gradient_is_that_of_central_differences(single: float) -> None:
    algorithm, on, meta, tasks, known = of_qiao(single=single)
    other = perturbed(meta, known)
    context = Context(on, tasks, 0, draws(1), ways=3)

    def loss(flat: Tensor) -> Tensor:
        step = algorithm.meta_gradient(context, {**other, "psi": flat})
        return step.readings["post_query_loss"][0]

    step = algorithm.meta_gradient(context, other)
    assert_close(step.gradients["psi"], central_differences(loss, other["psi"]), 1e-7)
    assert step.gradients.keys() == {"psi"}


def test_qiao_draws_one_example_of_the_class_or_its_mean() -> None:
    algorithm, on, meta, tasks, _ = of_qiao(single=0.7)
    model: Any = algorithm.model  # type: ignore[attr-defined]
    many = TaskBatch(tasks.support.repeated(400), tasks.query.repeated(400))
    context = Context(on, many, 0, draws(400), ways=3)
    found = model._statistics(context, many.support.x, many.support.y)
    x, y = tasks.support.x[0], tasks.support.y[0]
    counts = torch.zeros(3)
    for n in range(3):
        examples = [*x[y == n], x[y == n].mean(0)]
        kinds = torch.stack([(found[:, n] == one).all(1) for one in examples])
        assert bool(kinds.any(0).all())
        counts += kinds.float().mean(1)
    assert torch.allclose(counts / 3, torch.tensor([0.35, 0.35, 0.3]), atol=0.05)
    with pytest.raises(OptionError, match="not negative"):
        negative = replace(tasks, query=replace(tasks.query, x=-tasks.query.x))
        predicted(algorithm, on, meta, negative)


def of_gidaris() -> tuple[Algorithm, Learner, Meta, TaskBatch, dict[str, Any]]:
    known = golden("gidaris")
    tasks = episode(known["inputs"])
    algorithm = build("gidaris")
    on = learner(tasks, base=tensor(known["base_weights"]))
    meta = initial(algorithm, on)
    meta["generator"] = gidaris.layout(4, 3).join(
        {
            "average": tensor(known["phi_avg"]),
            "attention": tensor(known["phi_att"]),
            "query": tensor(known["query_matrix"]),
            "bias": tensor(known["query_bias"]),
            "keys": tensor(known["keys"]),
            "sharpness": tensor([known["attention_scale"]]),
        }
    )
    return algorithm, on, meta, tasks, known


def test_gidaris_attention_weights_and_scores_are_the_published_ones() -> None:
    algorithm, on, meta, tasks, known = of_gidaris()
    *_, last = algorithm.adapt(Context(on, tasks, 0, ways=3), meta)
    found = last.predict(tasks.query, maps=True)
    assert_close(found.maps["attention"][0], tensor(known["attention"]), 1e-9)
    assert_close(found.maps["weights"][0], tensor(known["novel_weights"]), 1e-9)
    scores = tensor(known["scores_base_then_novel"]) - known["scale"] * known["bias"]
    assert_close(found.maps["base"][0], scores[:, :4], 1e-9)
    assert_close(found.outputs[0], scores[:, 4:], 1e-9)
    logs = torch.log_softmax(found.outputs[0], 1)
    assert_close(logs, tensor(known["log_probabilities_novel"]), 1e-9)
    step = algorithm.meta_gradient(Context(on, tasks, 0, ways=3), meta)
    assert_close(step.readings[OBJECTIVE.id], [5.660614648038504], 1e-9)


@pytest.mark.parametrize("group", ["generator", "base", "scale"])
@pytest.mark.parametrize("hidden", [None, [2, 0, 1]])
def test_gidaris_gradient_is_that_of_central_differences(
    group: str, hidden: list[int] | None
) -> None:
    algorithm, on, meta, tasks, _ = of_gidaris()
    numbers = None if hidden is None else torch.tensor([hidden])
    chosen = TaskBatch(replace(tasks.support, classes=numbers), tasks.query)
    context = Context(on, chosen, 0, ways=3)

    def loss(flat: Tensor) -> Tensor:
        return algorithm.meta_gradient(context, {**meta, group: flat}).readings[OBJECTIVE.id][0]

    step = algorithm.meta_gradient(context, meta)
    wanted = central_differences(loss, meta[group])
    torch.testing.assert_close(step.gradients[group], wanted, rtol=1e-5, atol=1e-7)


def test_gidaris_takes_the_classes_of_a_training_episode_out_of_the_base() -> None:
    algorithm, on, meta, tasks, _ = of_gidaris()
    hidden = replace(tasks.support, classes=torch.tensor([[2, 0, 1]]))
    context = Context(on, TaskBatch(hidden, tasks.query), 0, ways=3)
    *_, last = algorithm.adapt(context, meta)
    found = last.predict(tasks.query, maps=True)
    assert torch.equal(found.maps["attention"][0, :, 3], torch.ones(6, dtype=DOUBLE))
    assert bool(torch.isinf(found.maps["base"][0, :, :3]).all())
    assert bool(torch.isfinite(found.maps["base"][0, :, 3]).all())
    every = TaskBatch(replace(hidden, classes=torch.tensor([[2, 0, 1, 3]])), tasks.query)
    with pytest.raises(OptionError, match="leave none of the 4 base classes"):
        algorithm.meta_gradient(replace(context, tasks=every), meta)
    plain = build("gidaris", attends=False)
    ones = {**meta, "generator": initial(plain, on)["generator"]}
    outputs = predicted(plain, on, ones, tasks)
    means = class_means(unit(tasks.support.x), tasks.support.y, 3)
    assert_close(outputs, 10 * unit(tasks.query.x) @ unit(means).mT, 1e-10)
