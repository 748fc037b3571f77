"""Episodes of given embeddings, and small ones of drawings, for tests of episodic methods."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Adapted, Prediction
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.identity import Identity
from metaviz.nets.layout import Layout, Weights
from metaviz.training.setting import Setting, settle
from tests.oracle.engine import (
    DOUBLE,
    ClassificationLoss,
    build,
    called,
    meta_step,
    shared,
)

GOLDEN = Path(__file__).parent / "golden"
NORMS = ("batch", "support", "group")


def golden(name: str) -> dict[str, Any]:
    """Read published numbers of a method."""
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return found


def double(values: Any) -> Tensor:
    """Return numbers in float64."""
    return torch.tensor(values, dtype=DOUBLE)


class Table:
    """A network whose weights are the embeddings: an example is the number of its row."""

    held: frozenset[str] = frozenset()
    independent = True
    norm = None

    def __init__(self, rows: int, width: int) -> None:
        self.width = width
        self.example_size = 1
        self.feature_shape = (width,)
        self.layout = Layout((("rows", (rows, width)),))

    def warps(self, *, residual: bool) -> Layout:
        raise NotImplementedError(f"no layers, residual or not: {residual}")

    def init(self, generator: torch.Generator) -> Tensor:
        return torch.randn(self.layout.size, generator=generator, dtype=DOUBLE)

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        del beside
        rows = self.layout.named(weights)["rows"]
        return rows.gather(1, x.long().expand(-1, -1, self.width))

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        raise NotImplementedError("no head")


@dataclass(frozen=True)
class Episode:
    """Embeddings (n, d) and labels (n,) of a support and a query set, as one task of a method.

    `own` are meta-parameters of the method's own groups; others are drawn.
    """

    support: Tensor
    support_y: Tensor
    query: Tensor
    query_y: Tensor
    method: str = "protonet"
    own: Meta = field(default_factory=dict)

    @property
    def learner(self) -> Learner:
        rows = torch.cat([self.support, self.query])
        return Learner(Table(*rows.shape), ClassificationLoss())

    @property
    def tasks(self) -> TaskBatch:
        count = len(self.support)
        x = torch.arange(count + len(self.query)).view(1, -1, 1).to(self.support.dtype)
        return TaskBatch(
            Batch(x[:, :count], self.support_y.unsqueeze(0)),
            Batch(x[:, count:], self.query_y.unsqueeze(0)),
        )

    def algorithm(self, **options: Any) -> Algorithm:
        return build(self.method, shared(ways=int(self.support_y.max()) + 1), **options)

    def meta(self, **options: Any) -> Meta:
        rows = torch.cat([self.support, self.query])
        drawn = self.algorithm(**options).init(self.learner, torch.Generator().manual_seed(8))
        kept = {name: value.to(rows.dtype) for name, value in (drawn | self.own).items()}
        return kept | {"init": self.learner.net.layout.join({"rows": rows})}

    def step(self, **options: Any) -> MetaStep:
        algorithm = self.algorithm(**options)
        return meta_step(algorithm, self.learner, self.meta(**options), self.tasks)

    def gradients(self, **options: Any) -> tuple[Tensor, Tensor]:
        """Return derivatives of what is minimised by support and query embeddings."""
        gradient = self.step(**options).gradients["init"]
        rows = self.learner.net.layout.split(gradient)["rows"]
        return rows[: len(self.support)], rows[len(self.support) :]

    def state(self, **options: Any) -> Adapted:
        algorithm = self.algorithm(**options)
        context = called(algorithm, self.learner, self.tasks)
        (state,) = algorithm.adapt(context, self.meta(**options))
        return state

    def found(self, **options: Any) -> Prediction:
        return self.state(**options).predict(self.tasks.query, maps=True)

    def outputs(self, **options: Any) -> Tensor:
        return self.state(**options).predict(self.tasks.query).outputs[0]

    def logs(self, **options: Any) -> Tensor:
        return torch.log_softmax(self.outputs(**options), 1)

    def on_identity(self, **options: Any) -> Prediction:
        """Predict with the identity as the network: examples are embeddings already."""
        algorithm = self.algorithm(**options)
        learner = Learner(Identity(self.support.shape[1]), ClassificationLoss())
        tasks = TaskBatch(
            Batch(self.support.unsqueeze(0), self.support_y.unsqueeze(0)),
            Batch(self.query.unsqueeze(0), self.query_y.unsqueeze(0)),
        )
        meta = self.meta(**options) | {"init": torch.empty(0, dtype=self.support.dtype)}
        (state,) = algorithm.adapt(called(algorithm, learner, tasks), meta)
        return state.predict(tasks.query, maps=True)


def episode_of(inputs: dict[str, Any], method: str) -> Episode:
    """Return the episode of published inputs."""
    z = (double(inputs[name]) for name in ("z_support", "z_query"))
    y = (torch.tensor(inputs[name]) for name in ("y_support", "y_query"))
    (support, query), (labels, answers) = z, y
    return Episode(support, labels, query, answers, method)


def drawn(
    shots: int = 2, ways: int = 3, width: int = 4, queries: int = 5, method: str = "protonet"
) -> Episode:
    """Return drawn embeddings, labels interleaved."""
    generator = torch.Generator().manual_seed(6)
    z = torch.randn(ways * shots + queries, width, generator=generator, dtype=DOUBLE)
    labels = torch.arange(ways).repeat(shots)
    answers = torch.arange(queries) % ways
    return Episode(z[: ways * shots], labels, z[ways * shots :], answers, method)


def drawings(algorithm: str, norm: str, **options: Any) -> Setting:
    """A small convolutional network on drawings, in float64."""
    return settle(
        RunConfig(
            problem="strokes",
            algorithm=algorithm,
            seed=3,
            steps=1,
            options=options,
            problem_options={"channels": 4, "norm": norm},
            shared=Shared(ways=3, shots=2, query_shots=2, meta_batch=2, inner_lr=0.4),
            dtype="float64",
            device="cpu",
        )
    )


def adapted(setting: Setting) -> tuple[TaskBatch, Adapted]:
    tasks = setting.prepare(setting.problem.evaluation_tasks(0, 2))
    *_, state = setting.algorithm.adapt(setting.adapting(tasks, 1), setting.init())
    return tasks, state
