"""Conv4 against PyTorch's own layers, one task at a time, and against finite differences."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor
from torch.autograd import grad

from metaviz.config.options import OptionError
from metaviz.nets.conv4 import Conv4, Pooling

TASKS, EXAMPLES, WAYS, RATE = 3, 6, 4, 0.1
CLOSE = 1e-10


@dataclass(frozen=True)
class Case:
    """Sizes that reach one path through the convolution code."""

    pooling: Pooling
    in_channels: int
    image: int
    channels: int = 5

    def net(self) -> Conv4:
        """Build the net."""
        return Conv4(self.channels, WAYS, self.in_channels, self.image, self.pooling)

    def weights(self, net: Conv4, tasks: int = TASKS) -> Tensor:
        """Draw weights (tasks, P) that differ between tasks, gammas of both signs among them."""
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(tasks, net.layout.size, generator=generator, dtype=torch.float64)
        flat = net.init(generator) + 0.1 * noise
        for name, view in net.layout.split(flat).items():
            if name.endswith("gamma"):
                view[:, 1::2].neg_()
        return flat.requires_grad_()

    def images(self, seed: int, tasks: int = TASKS) -> Tensor:
        """Draw images without equal pixels, hence without ties in the pooling windows."""
        generator = torch.Generator().manual_seed(seed)
        size = (tasks, EXAMPLES, self.in_channels, self.image, self.image)
        return torch.randn(size, generator=generator, dtype=torch.float64)


CASES = [
    Case("max", 1, 28),
    Case("max", 3, 21),
    Case("max", 6, 18),
    Case("max", 1, 30, channels=64),
    Case("stride", 1, 28),
    Case("stride", 3, 15),
    Case("twice", 1, 28),
    Case("twice", 3, 15),
]
LABELS = torch.arange(EXAMPLES) % WAYS
every_case = pytest.mark.parametrize("case", CASES, ids=str)
Forward = Callable[[Tensor, Tensor], Tensor]


def plain(net: Conv4, flat: Tensor, x: Tensor) -> Tensor:
    """Logits (n, ways) of one task by torch.nn.functional, in the order of the papers."""
    p = net.layout.split(flat)
    for block in range(1, 5):
        weight, bias = p[f"conv{block}.weight"], p[f"conv{block}.bias"]
        if net.pooling == "max":
            x = F.conv2d(x, weight, bias, padding=1)
        elif net.pooling == "twice":
            x = F.conv2d(x, weight, bias, padding=0 if block < 3 else 1)
        else:
            side = x.shape[-1]
            missing = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
            before = missing // 2
            x = F.pad(x, (before, missing - before, before, missing - before))
            x = F.conv2d(x, weight, bias, stride=2)
        gamma, beta = p[f"norm{block}.gamma"], p[f"norm{block}.beta"]
        x = F.relu(F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5))
        if net.pooling == "max" or (net.pooling == "twice" and block < 3):
            x = F.max_pool2d(x, 2)
    x = x.mean((2, 3)) if net.pooling == "stride" else x.flatten(1)
    return F.linear(x, p["head.weight"], p["head.bias"])


def task_loop(net: Conv4) -> Forward:
    """Apply the plain net to one task after another."""
    return lambda flat, x: torch.stack([plain(net, w, d) for w, d in zip(flat, x, strict=True)])


def batched(net: Conv4) -> Forward:
    """Apply the net under test to all tasks."""
    return lambda flat, x: net(net.layout.split(flat), x)


def loss(logits: Tensor) -> Tensor:
    """Mean cross-entropy of every task, summed over the tasks."""
    labels = LABELS.expand(len(logits), -1)
    return F.cross_entropy(logits.mT, labels, reduction="sum") / EXAMPLES


def maml_loss(forward: Forward, theta: Tensor, case: Case) -> Tensor:
    """Query loss after two differentiable inner steps."""
    support, query = case.images(seed=1), case.images(seed=2)
    phi = theta
    for _ in range(2):
        (slope,) = grad(loss(forward(phi, support)), phi, create_graph=True)
        phi = phi - RATE * slope
    return loss(forward(phi, query))


def distance(value: Tensor, oracle: Tensor) -> float:
    """Relative distance to an oracle that must not be zero."""
    assert oracle.norm() > 0
    return float((value - oracle).detach().norm() / oracle.detach().norm())


@every_case
def test_conv4_logits_equal_plain_layers(case: Case) -> None:
    net = case.net()
    flat, x = case.weights(net), case.images(seed=1)
    assert distance(batched(net)(flat, x), task_loop(net)(flat, x)) < CLOSE


@every_case
def test_conv4_gradient_equals_plain_layers(case: Case) -> None:
    net = case.net()
    flat, x = case.weights(net), case.images(seed=1)
    (ours,) = grad(loss(batched(net)(flat, x)), flat)
    (oracle,) = grad(loss(task_loop(net)(flat, x)), flat)
    assert distance(ours, oracle) < CLOSE


@every_case
def test_conv4_maml_gradient_equals_plain_layers(case: Case) -> None:
    net = case.net()
    flat = case.weights(net)
    (ours,) = grad(maml_loss(batched(net), flat, case), flat)
    (oracle,) = grad(maml_loss(task_loop(net), flat, case), flat)
    assert distance(ours, oracle) < CLOSE


@every_case
def test_conv4_second_order_part_is_not_zero(case: Case) -> None:
    net = case.net()
    flat = case.weights(net)
    phi = flat.detach().requires_grad_()
    (slope,) = grad(loss(batched(net)(phi, case.images(seed=1))), phi, create_graph=True)
    (curved,) = grad(slope.square().sum(), phi)
    assert curved.norm() > 1e-3 * slope.norm()


@every_case
def test_conv4_maml_gradient_equals_finite_difference(case: Case) -> None:
    net = case.net()
    flat = case.weights(net)
    (ours,) = grad(maml_loss(batched(net), flat, case), flat)
    along = torch.randn(flat.shape, generator=torch.Generator().manual_seed(11), dtype=flat.dtype)
    # Kinks of ReLU and pooling make the inner slopes jump: stay between two of them.
    step = 1e-8
    up, down = (
        maml_loss(batched(net), (flat + sign * step * along).detach().requires_grad_(), case)
        for sign in (1, -1)
    )
    measured = float((up - down).detach() / (2 * step))
    assert float((ours * along).sum()) == pytest.approx(measured, rel=1e-6)


@every_case
def test_conv4_gradient_of_images_equals_plain_layers(case: Case) -> None:
    net = case.net()
    flat, x = case.weights(net), case.images(seed=1).requires_grad_()
    (ours,) = grad(loss(batched(net)(flat, x)), x)
    (oracle,) = grad(loss(task_loop(net)(flat, x)), x)
    assert distance(ours, oracle) < CLOSE


@every_case
def test_conv4_shared_weights_serve_all_tasks(case: Case) -> None:
    net = case.net()
    shared, x = case.weights(net, tasks=1), case.images(seed=1)
    (ours,) = grad(loss(batched(net)(shared, x)), shared)
    (oracle,) = grad(loss(task_loop(net)(shared.expand(TASKS, -1), x)), shared)
    assert distance(ours, oracle) < CLOSE


def test_conv4_pooling_ties_choose_as_plain_layers() -> None:
    case = Case("max", 1, 28)
    net = case.net()
    flat, x = case.weights(net), (case.images(seed=1) > 1).to(torch.float64)
    (ours,) = grad(loss(batched(net)(flat, x)), flat)
    (oracle,) = grad(loss(task_loop(net)(flat, x)), flat)
    assert distance(ours, oracle) < CLOSE


@every_case
def test_conv4_float32_stays_near_float64(case: Case) -> None:
    net = case.net()
    flat, x = case.weights(net), case.images(seed=1)
    exact = batched(net)(flat, x)
    assert distance(batched(net)(flat.float(), x.float()).double(), exact) < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_case
def test_conv4_maml_gradient_is_the_same_on_cuda(case: Case) -> None:
    net = case.net()
    flat, x = case.weights(net).detach(), case.images(seed=1)
    slopes = []
    for device in ("cpu", "cuda"):
        phi = flat.to(device).requires_grad_()
        labels = LABELS.to(device).expand(TASKS, -1)
        logits = net(net.layout.split(phi), x.to(device))
        (slope,) = grad(F.cross_entropy(logits.mT, labels), phi, create_graph=True)
        slopes.append(grad(slope.square().sum(), phi)[0].cpu())
    assert distance(slopes[1], slopes[0]) < CLOSE


@pytest.mark.parametrize(("image", "side"), [(28, 5), (84, 19), (10, 1), (15, 2)])
def test_pooling_twice_leaves_larger_maps(image: int, side: int) -> None:
    net = Conv4(3, WAYS, 1, image, "twice")
    assert net.feature_shape == (3, side, side)
    x = torch.zeros(1, 2, 1, image, image, dtype=torch.float64)
    flat = net.init(torch.Generator().manual_seed(0)).unsqueeze(0)
    assert net.features(flat, x).shape == (1, 2, 3 * side**2)
    with pytest.raises(OptionError, match="of 9 pixels cannot be max-pooled twice"):
        Conv4(3, WAYS, 1, 9, "twice")
