"""DEML against published numbers, which were found twice, and against Meta-SGD."""

from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.auxiliary import AUXILIARY, base_layout
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import OBJECTIVE
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.layout import Layout, Weights
from tests.oracle.engine import ClassificationLoss, assert_close, build, initial, shared
from tests.oracle.episodes import double, golden

KNOWN = golden("deml")


class Generator:
    """Two linear layers without bias: features G x, and a head on them."""

    held: frozenset[str] = frozenset()
    independent = True
    norm = None
    feature_shape = (2,)
    layout = Layout((("body.weight", (2, 3)), ("head.weight", (3, 2))))

    def init(self, generator: torch.Generator) -> Tensor:
        return torch.randn(self.layout.size, generator=generator, dtype=torch.float64)

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        del beside
        return x @ self.layout.named(weights)["body.weight"].mT

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        return self.features(weights, x, beside) @ self.layout.named(weights)["head.weight"].mT


def tasks() -> TaskBatch:
    inputs, external = KNOWN["inputs"], KNOWN["external"]
    support, query, plain = (
        Batch(double(x)[None], torch.tensor(y)[None])
        for x, y in (
            (inputs["z_support"], inputs["y_support"]),
            (inputs["z_query"], inputs["y_query"]),
            (external["x"], external["y"]),
        )
    )
    return TaskBatch(support, query, plain)


def learner() -> Learner:
    return Learner(Generator(), ClassificationLoss(), frozenset({"body.weight"}), classes=4)


def deml(**options: Any) -> Algorithm:
    settings = shared(inner_lr=0.5, inner_steps=KNOWN["steps"])
    return build("deml", settings, form="direct", **options)


def parts(values: Tensor) -> dict[str, Tensor]:
    return Generator.layout.split(values)


def known_meta() -> Meta:
    body, head = double(KNOWN["generator"]), double(KNOWN["start"])
    start = {"body.weight": body, "head.weight": head}
    rates = {"body.weight": torch.full_like(body, 0.7), "head.weight": double(KNOWN["rates"])}
    discriminator = double(KNOWN["discriminator"])
    base = {"base.weight": discriminator, "base.bias": discriminator.new_zeros(4)}
    return {
        "init": Generator.layout.join(start),
        "rates": Generator.layout.join(rates),
        "base": base_layout(learner()).join(base),
    }


def taken(method: Algorithm, meta: Meta) -> MetaStep:
    context = Context(learner(), tasks(), KNOWN["steps"], ways=3)
    return method.meta_gradient(context, meta)


def test_losses_and_gradients_are_the_published_ones() -> None:
    method, meta = deml(weight=KNOWN["weight"]), known_meta()
    assert {name: value.shape for name, value in meta.items()} == {
        name: value.shape for name, value in initial(method, learner()).items()
    }
    step = taken(method, meta)
    assert_close(step.readings["post_query_loss"], [KNOWN["task_loss"]], 1e-9)
    assert_close(step.readings[AUXILIARY.id], [KNOWN["external_loss"]], 1e-9)
    assert_close(step.readings[OBJECTIVE.id], [KNOWN["objective"]], 1e-9)
    wanted = KNOWN["gradients"]
    start, rates = parts(step.gradients["init"]), parts(step.gradients["rates"])
    base = base_layout(learner()).split(step.gradients["base"])
    for found, name in (
        (start["body.weight"], "generator"),
        (start["head.weight"], "start"),
        (rates["head.weight"], "rates"),
        (base["base.weight"], "discriminator"),
    ):
        assert_close(found, double(wanted[name]), 1e-9)
    assert not rates["body.weight"].any()  # features are not adapted


def test_without_the_external_loss_it_is_meta_sgd_on_the_head() -> None:
    meta = known_meta()
    step = taken(deml(weight=0), meta)
    other = build("metasgd", shared(inner_lr=0.5, inner_steps=KNOWN["steps"]), form="direct")
    plain = taken(other, {name: meta[name] for name in ("init", "rates")})
    for name in ("init", "rates"):
        assert_close(step.gradients[name], plain.gradients[name], 1e-12)
    assert not step.gradients["base"].any()


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_every_gradient_is_that_of_its_objective(weight: float) -> None:
    method, meta = deml(weight=weight), known_meta()
    gradients = taken(method, meta).gradients
    assert set(gradients) == {"init", "rates", "base"} == set(method.trained())

    def objective(name: str, moved: Tensor) -> Tensor:
        return taken(method, meta | {name: moved}).readings[OBJECTIVE.id].mean()

    for name, gradient in gradients.items():
        at, slopes = meta[name], torch.zeros_like(gradient)
        for place in range(at.numel()):
            step = torch.zeros_like(at)
            step[place] = 1e-5
            slopes[place] = (objective(name, at + step) - objective(name, at - step)) / 2e-5
        torch.testing.assert_close(gradient, slopes, rtol=1e-7, atol=1e-8)
        assert slopes.any() or (name == "base" and not weight)


def test_without_plain_examples_the_external_loss_is_zero() -> None:
    context = Context(learner(), TaskBatch(tasks().support, tasks().query), 2, ways=3)
    step = deml().meta_gradient(context, known_meta())
    assert step.readings[AUXILIARY.id].tolist() == [0.0]
