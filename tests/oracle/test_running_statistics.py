"""Running statistics against PyTorch's BatchNorm in training and in evaluation."""

import pytest
import torch
from torch import Tensor, nn

from metaviz.meta.classification import MOMENTUM
from metaviz.nets.base import Net
from metaviz.nets.conv4 import Conv4
from metaviz.nets.layout import Params
from metaviz.nets.mlp import MLP
from metaviz.nets.normalisation import Norm
from metaviz.nets.resnet12 import ResNet12, SimpleResNet12
from tests.oracle.engine import DOUBLE, assert_close

SIDE, CHANNELS = 16, 2


def images(count: int, seed: int) -> Tensor:
    """Random images, so that no two pixels of a window are equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, CHANNELS, SIDE, SIDE, generator=generator, dtype=DOUBLE)


def drawn(net: Net) -> Params:
    """Weights with gammas of both signs, and a running state that is not the first one."""
    generator = torch.Generator().manual_seed(3)
    flat = net.init(generator)
    flat = flat + 0.3 * torch.randn(flat.shape, generator=generator, dtype=DOUBLE)
    weights = net.layout.split(flat)
    for name, value in weights.items():
        if name.endswith("gamma"):
            value[::2] *= -1
    return weights


def theirs(weights: Params, channels: int) -> nn.Sequential:
    """Four blocks of PyTorch's layers with the same weights."""
    layers: list[nn.Module] = []
    for block in range(1, 5):
        kernel = weights[f"conv{block}.weight"]
        convolution = nn.Conv2d(kernel.shape[1], channels, 3, padding=1, bias=False, dtype=DOUBLE)
        norm = nn.BatchNorm2d(channels, momentum=MOMENTUM, dtype=DOUBLE)
        with torch.no_grad():
            convolution.weight.copy_(kernel)
            norm.weight.copy_(weights[f"norm{block}.gamma"])
            norm.bias.copy_(weights[f"norm{block}.beta"])
        layers += [convolution, norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten())


def carried(running: Params, seen: Params) -> Params:
    """One step of the running mean, of statistics with a tasks axis of 1."""
    return {
        name: (1 - MOMENTUM) * value + MOMENTUM * seen[name][0] for name, value in running.items()
    }


def first(net: Net) -> Params:
    """The running statistics before the first batch."""
    return {
        name: torch.full(shape, float(name.endswith("variance")), dtype=DOUBLE)
        for name, shape in net.running.shapes
    }


def by_tasks(params: Params) -> Params:
    return {name: value.unsqueeze(0) for name, value in params.items()}


def test_conv4_is_batch_norm_in_training_and_in_evaluation() -> None:
    net = Conv4(6, 5, CHANNELS, SIDE)
    weights = drawn(net)
    plain, running = theirs(weights, 6), first(net)
    for number in range(3):
        x = images(7, number)
        features, seen = net.features_and_statistics(by_tasks(weights), x[None])
        assert_close(features[0], plain(x).detach(), 1e-10)
        running = carried(running, seen)
    for block in range(1, 5):
        norm = plain[4 * block - 3]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert_close(running[f"norm{block}.mean"], norm.running_mean, 1e-10)
        assert_close(running[f"norm{block}.variance"], norm.running_var, 1e-10)
    plain.eval()
    x = images(4, 9)
    features = net.features(by_tasks({**weights, **running}), x[None])
    assert_close(features[0], plain(x).detach(), 1e-10)


NETS = [
    Conv4(4, 3, CHANNELS, SIDE),
    Conv4(4, 3, CHANNELS, SIDE, "stride"),
    Conv4(4, 3, CHANNELS, SIDE, norm=Norm(affine="beta")),
    Conv4(4, 3, CHANNELS, SIDE, norm=Norm("support")),
    ResNet12((2, 3, 4, 5), 3, CHANNELS, SIDE),
    SimpleResNet12((2, 3, 4, 5), 3, CHANNELS, SIDE),
]


@pytest.mark.parametrize("net", NETS)
def test_a_batch_s_own_statistics_give_its_own_features(net: Net) -> None:
    weights, x = drawn(net), images(6, 1)[None]
    features, seen = net.features_and_statistics(by_tasks(weights), x)
    assert seen.keys() == {name for name, _ in net.running.shapes}
    assert_close(net.features(by_tasks(weights), x), features, 1e-12)
    biased = {}
    for name, value in seen.items():
        assert value.shape == (1, dict(net.running.shapes)[name][0])
        biased[name] = value
    # Variances are unbiased: with many numbers per channel that is nearly the same.
    again = net.features({**by_tasks(weights), **biased}, x)
    assert float((again - features).norm() / features.norm()) < 0.15
    assert not torch.equal(again, features)


@pytest.mark.parametrize("net", NETS)
def test_given_statistics_make_examples_independent(net: Net) -> None:
    weights = by_tasks({**drawn(net), **first(net)})
    x, other = images(5, 1)[None], images(5, 2)[None]
    together = net.features(weights, torch.cat([x[:, :1], other], 1))[:, 0]
    alone = net.features(weights, x[:, :1])[:, 0]
    assert_close(together, alone, 1e-12)


def test_without_normalisation_by_a_batch_there_are_no_statistics() -> None:
    group = Conv4(4, 3, CHANNELS, SIDE, norm=Norm("group"))
    assert not group.running.shapes
    _, seen = group.features_and_statistics(by_tasks(drawn(group)), images(3, 1)[None])
    assert seen == {}
    mlp = MLP((2, 4, 3))
    assert not mlp.running.shapes
    assert (
        mlp.features_and_statistics(mlp.init(torch.Generator())[None], images(2, 1)[0, :1, :2, :2])[
            1
        ]
        == {}
    )
