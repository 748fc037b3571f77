"""Training steps of few-shot systems beside plain PyTorch loops that do the same.

A step is meta-gradient and Adam: for ProtoNet, TPN and SNAIL of one 5-way 1-shot episode with 15
queries on Conv4-64, for LEO of 12 tasks of 640 features. The plain loops are written as one finds
them in tutorials and easy-few-shot-learning: modules, a loop over tasks where there are several,
autograd. ProtoNet embeds both sets in two calls, like theirs. Rounds are interleaved, one thread.
Ours reads losses and accuracies, as a run does at every step; theirs does not. With `--memory` the
peak of steps over what was held before is measured, each in a process of its own.

Run as `python -m tests.benchmarks.metric_episodes [--rounds 7] [--memory]`.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from metaviz.algorithms.registry import find_algorithm
from metaviz.benchmarking.memory import weigh
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import Shared
from metaviz.meta.context import Context
from metaviz.meta.draws import Draws
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.base import Net
from metaviz.nets.conv4 import Conv4
from metaviz.nets.linear import Linear
from metaviz.training.outer import OuterOptimizer
from tests.oracle.engine import ClassificationLoss, draws

WAYS, QUERIES, FEATURES, TASKS = 5, 15, 640, 12
WANTED = {"ProtoNet 28x28": 1.5, "ProtoNet 84x84": 1.5, "TPN": 1.0, "SNAIL": 1.0, "LEO": 1.0}
Step = Callable[[], object]


def conv4(channels: int) -> nn.Sequential:
    """Return four blocks of convolution, normalisation, ReLU and max-pooling, and flatten."""
    blocks: list[nn.Module] = []
    for inputs in (channels, 64, 64, 64):
        convolution = nn.Conv2d(inputs, 64, 3, padding=1)
        blocks += [convolution, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten())


def labels(n: int) -> Tensor:
    """Return the labels of n examples of every class."""
    return torch.arange(WAYS).repeat_interleave(n)


def trained(model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """Return a step of Adam on a loss."""
    optimizer = torch.optim.Adam(model.parameters(), 0.001)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def plain_protonet(support: Tensor, query: Tensor) -> Step:
    """Return a step of prototypical networks."""
    net, y, asked = conv4(support.shape[1]), labels(1), labels(QUERIES)

    def loss() -> Tensor:
        z = net(support)
        prototypes = torch.stack([z[y == n].mean(0) for n in range(WAYS)])
        return functional.cross_entropy(-(torch.cdist(net(query), prototypes) ** 2), asked)

    return trained(net, loss)


class PlainTPN(nn.Module):
    """Transductive propagation on maps of one pixel, with a length scale of each example."""

    def __init__(self, channels: int) -> None:
        """Make embedding and length scales."""
        super().__init__()
        self.net = conv4(channels)
        blocks: list[nn.Module] = []
        for inputs, outputs in ((64, 64), (64, 1)):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
            pool = nn.MaxPool2d(2, ceil_mode=True)
            blocks += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), pool]
        head = (nn.Flatten(), nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        self.sigma = nn.Sequential(*blocks, *head)

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        """Return the labels that all examples receive."""
        parts = []
        for x in (support, query):
            z = self.net(x)
            parts.append(z / self.sigma(z.view(len(z), 64, 1, 1)))
        nodes = torch.cat(parts)
        apart = ((nodes.unsqueeze(0) - nodes.unsqueeze(1)) ** 2).mean(2)
        weights = torch.exp(-apart / 2)
        places = torch.topk(weights, 20).indices
        mask = torch.zeros_like(weights).scatter(1, places, 1.0)
        weights = weights * ((mask + mask.T) > 0)
        inverse = (weights.sum(0) + 1e-8).rsqrt()
        spreading = inverse.unsqueeze(1) * weights * inverse.unsqueeze(0)
        y = torch.zeros(len(nodes), WAYS)
        y[: len(support)] = functional.one_hot(labels(1), WAYS).float()
        return torch.linalg.solve(torch.eye(len(nodes)) - 0.99 * spreading, y)


def plain_tpn(support: Tensor, query: Tensor) -> Step:
    """Return a step of transductive propagation."""
    net, answers = PlainTPN(support.shape[1]), torch.cat([labels(1), labels(QUERIES)])
    return trained(net, lambda: functional.cross_entropy(net(support, query), answers))


class Attention(nn.Module):
    """Causal attention, joined to its input."""

    def __init__(self, inputs: int, key: int, value: int) -> None:
        """Make the three linear maps."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(inputs, n) for n in (key, key, value))
        self.scale = key**0.5

    def forward(self, x: Tensor) -> Tensor:
        """Return (sequences, T, inputs + value)."""
        scores = self.q(x) @ self.k(x).transpose(1, 2) / self.scale
        ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return torch.cat([x, scores.masked_fill(ahead, -torch.inf).softmax(2) @ self.v(x)], 2)


class Dense(nn.Module):
    """A gated causal convolution, joined to its input."""

    def __init__(self, inputs: int, dilation: int) -> None:
        """Make both convolutions."""
        super().__init__()
        self.dilation = dilation
        self.value, self.gate = (nn.Conv1d(inputs, 128, 2, dilation=dilation) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return (sequences, T, inputs + 128)."""
        padded = functional.pad(x.transpose(1, 2), (self.dilation, 0))
        out = torch.tanh(self.value(padded)) * torch.sigmoid(self.gate(padded))
        return torch.cat([x, out.transpose(1, 2)], 2)


def plain_snail(support: Tensor, query: Tensor) -> Step:
    """Return a step of SNAIL: a whole sequence for every query, images embedded once."""
    net, parts, size = conv4(support.shape[1]), list[nn.Module](), 64 + WAYS
    for number, (key, value) in enumerate(((64, 32), (256, 128), (512, 256))):
        parts.append(Attention(size, key, value))
        size += value
        for dilation in (1, 2, 4, 8, 16) if number < 2 else ():
            parts.append(Dense(size, dilation))
            size += 128
    body = nn.Sequential(*parts, nn.Linear(size, WAYS))
    y, answers = functional.one_hot(labels(1), WAYS).float(), labels(QUERIES)

    def loss() -> Tensor:
        known = torch.cat([net(support), y], 1)
        last = functional.pad(net(query), (0, WAYS))
        repeated = known.expand(len(last), -1, -1)
        return functional.cross_entropy(
            body(torch.cat([repeated, last[:, None]], 1))[:, -1], answers
        )

    return trained(nn.ModuleList([net, body]), loss)


class PlainLEO(nn.Module):
    """LEO for one task: 5 steps of codes and 5 of weights, through all of them."""

    def __init__(self) -> None:
        """Draw the matrices."""
        super().__init__()
        self.encoder = nn.Linear(FEATURES, 64, bias=False)
        parts = [nn.Linear(128, 128, bias=False) for _ in range(3)]
        self.relation = nn.Sequential(parts[0], nn.ReLU(), parts[1], nn.ReLU(), parts[2])
        self.decoder = nn.Linear(64, 2 * FEATURES, bias=False)
        self.of_codes = nn.Parameter(torch.full((64,), 5.0))
        self.of_weights = nn.Parameter(torch.full((FEATURES,), 0.005))

    def forward(self, x: Tensor, y: Tensor, query: Tensor, answers: Tensor) -> Tensor:
        """Return the query loss after adaptation."""
        e = self.encoder(x)
        n = len(e)
        pairs = torch.cat([e.repeat_interleave(n, 0), e.repeat(n, 1)], 1)
        found = self.relation(pairs).view(n, n, -1).mean(1)
        mean, u = torch.stack([found[y == c].mean(0) for c in range(WAYS)]).chunk(2, 1)
        z = mean + (u.exp() - 1).clamp_min(1e-10) * torch.randn_like(mean)
        for _ in range(5):
            w = self.decoder(z)[:, :FEATURES]
            (slope,) = torch.autograd.grad(
                functional.cross_entropy(x @ w.T, y), z, create_graph=True
            )
            z = z - self.of_codes * slope
        w = self.decoder(z)[:, :FEATURES]
        for _ in range(5):
            (slope,) = torch.autograd.grad(
                functional.cross_entropy(x @ w.T, y), w, create_graph=True
            )
            w = w - self.of_weights * slope
        return functional.cross_entropy(query @ w.T, answers)


def plain_leo(support: Tensor, query: Tensor) -> Step:
    """Return a step of LEO, task by task."""
    net, y, answers = PlainLEO(), labels(1), labels(QUERIES)
    pairs = list(zip(support, query, strict=True))
    return trained(net, lambda: torch.stack([net(x, y, q, answers) for x, q in pairs]).mean())


def ours(method: str, net: Net, support: Tensor, query: Tensor, shared: Shared) -> Step:
    """Return a step of a method as a run takes it; examples are (tasks, n, ...)."""
    algorithm = find_algorithm(method).build({}, shared)
    tasks = len(support)
    y, asked = (labels(n).expand(tasks, -1).contiguous() for n in (1, QUERIES))
    flat = [x.flatten(2) if isinstance(net, Linear) else x for x in (support, query)]
    batch = TaskBatch(Batch(flat[0], y), Batch(flat[1], asked))
    learner = Learner(net, ClassificationLoss())
    algorithm.fit(learner)
    generator = torch.Generator().manual_seed(0)
    meta = {name: value.float() for name, value in algorithm.init(learner, generator).items()}
    rules = {name: OuterRule(0.001) for name in algorithm.trained()}
    optimizer = OuterOptimizer("adam", meta, rules)
    taken = iter(range(10**9))

    def step() -> None:
        drawn: Draws = draws(tasks, next(taken))
        context = Context(learner, batch, algorithm.steps, drawn, ways=WAYS)
        optimizer.step(algorithm.meta_gradient(context, meta).gradients)

    return step


def pair(name: str) -> tuple[Step, Step]:
    """Return our step and the plain one."""
    method, _, side = name.lower().partition(" ")
    generator = torch.Generator().manual_seed(1)
    if method == "leo":
        support, query = (
            functional.normalize(torch.rand(TASKS, n, FEATURES, generator=generator), dim=2)
            for n in (WAYS, WAYS * QUERIES)
        )
        shared = Shared(ways=WAYS, inner_lr=5.0, inner_steps=10)
        net = Linear(FEATURES, WAYS, bias=False)
        return ours("leo", net, support, query, shared), plain_leo(support, query)
    pixels, channels = (84, 3) if side == "84x84" else (28, 1)
    support, query = (
        torch.rand(n, channels, pixels, pixels, generator=generator) for n in (WAYS, WAYS * QUERIES)
    )
    net = Conv4(64, WAYS, channels, pixels, "max")
    shared = Shared(ways=WAYS, shots=1, query_shots=QUERIES)
    known = {"protonet": plain_protonet, "tpn": plain_tpn, "snail": plain_snail}[method]
    return ours(method, net, support[None], query[None], shared), known(support, query)


def timed(step: Step, laps: int) -> float:
    """Return the milliseconds of a step."""
    began = time.perf_counter()
    for _ in range(laps):
        step()
    return 1000 * (time.perf_counter() - began) / laps


def memory(name: str, which: int) -> float:
    """Return the peak MiB of a step over what the process held before, in a new process."""
    code = f"from tests.benchmarks.metric_episodes import held; print(held({name!r}, {which}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def held(name: str, which: int) -> float:
    """Return the same of this process."""
    torch.set_num_threads(1)
    step = pair(name)[which]
    return weigh(step, torch.device("cpu")) or float("nan")


def main() -> None:
    """Measure everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="A part of a name.")
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("step", "plain ms", "MetaViz ms", "ratio", "wanted", "MiB plain / MetaViz")
    for name, wanted in WANTED.items():
        if asked.only.lower() not in name.lower():
            continue
        steps = pair(name)
        laps = max(1, round(300 / max(timed(step, 2) for step in steps)))
        rounds = [[timed(step, laps) for step in steps] for _ in range(asked.rounds)]
        mine, plain = (statistics.median(column) for column in zip(*rounds, strict=True))
        peaks = f"{memory(name, 1):.0f} / {memory(name, 0):.0f}" if asked.memory else ""
        row = (f"{plain:.1f}", f"{mine:.1f}", f"{plain / mine:.2f}x", f"{wanted}x", peaks)
        table.add_row(name, *row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
