"""Shapes, sizes and initial weights of Conv4."""

import math

import pytest
import torch

from metaviz.nets.conv4 import Conv4, Pooling


def seeded(seed: int) -> torch.Generator:
    """Return a generator with this seed."""
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("pooling", ["max", "stride"])
@pytest.mark.parametrize(("in_channels", "image"), [(1, 28), (3, 84), (2, 17)])
def test_conv4_logits_have_tasks_examples_and_ways(
    pooling: Pooling, in_channels: int, image: int
) -> None:
    net = Conv4(4, 3, in_channels, image, pooling)
    params = net.layout.split(net.init(seeded(0)).expand(2, -1))
    logits = net(params, torch.rand(2, 6, in_channels, image, image, dtype=torch.float64))
    assert logits.shape == (2, 6, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("net", "parameters"),
    [
        (Conv4(), 112_261),
        (Conv4(in_channels=3, image=84), 121_093),
        (Conv4(pooling="stride"), 112_261),
        (Conv4(channels=32, in_channels=3, image=84), 32_901),
    ],
)
def test_conv4_size_is_the_published_one(net: Conv4, parameters: int) -> None:
    assert net.layout.size == parameters
    assert net.init(seeded(0)).shape == (parameters,)


@pytest.mark.parametrize("pooling", ["max", "stride"])
def test_conv4_init_repeats_its_bits(pooling: Pooling) -> None:
    net = Conv4(pooling=pooling)
    assert torch.equal(net.init(seeded(5)), net.init(seeded(5)))
    assert not torch.equal(net.init(seeded(5)), net.init(seeded(6)))


def test_conv4_max_init_has_torch_default_bounds() -> None:
    net = Conv4()
    params = net.layout.split(net.init(seeded(0)))
    for name, fan_in in (("conv1", 9), ("conv2", 576), ("head", 64)):
        for kind in ("weight", "bias"):
            largest = float(params[f"{name}.{kind}"].abs().max())
            assert 0.5 / math.sqrt(fan_in) < largest <= 1 / math.sqrt(fan_in)


def test_conv4_stride_init_is_that_of_maml() -> None:
    net = Conv4(pooling="stride")
    params = net.layout.split(net.init(seeded(0)))
    assert float(params["head.weight"].std()) == pytest.approx(1, rel=0.15)
    assert float(params["conv2.weight"].std()) == pytest.approx(math.sqrt(1 / 576), rel=0.05)
    assert not params["head.bias"].any()
    assert not params["conv1.bias"].any()


def test_conv4_refuses_images_too_small_to_pool() -> None:
    with pytest.raises(ValueError, match="15 pixels cannot be max-pooled four times"):
        Conv4(image=15)
