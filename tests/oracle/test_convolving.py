"""Two ways to convolve are one function, and the faster one is kept."""

import pytest
import torch

from metaviz.nets import fastest as choosing
from metaviz.nets.convolution import _by_patches, _grouped, fold
from metaviz.nets.fastest import _twice_differentiated, fastest


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 0), (1, 0)])
@pytest.mark.parametrize("tasks", [1, 3])
def test_patches_are_a_grouped_convolution_in_every_order(tasks, stride, padding):
    torch.manual_seed(0)
    x = fold(torch.randn(tasks, 4, 2, 7, 9, dtype=torch.float64))
    weight = torch.randn(tasks, 5, 2, 3, 3, dtype=torch.float64)
    pair = [way(x, weight, stride, padding) for way in (_grouped, _by_patches)]
    torch.testing.assert_close(pair[1], pair[0], rtol=1e-13, atol=1e-13)
    slopes = [
        _twice_differentiated(way, x, weight, stride, padding) for way in (_grouped, _by_patches)
    ]
    for found, expected in zip(*slopes, strict=True):
        assert expected.norm() > 1
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-10)


def test_the_faster_way_is_measured_once(monkeypatch):
    monkeypatch.setattr(choosing, "_known", {})
    calls = []

    def slow(x, weight, stride, padding):
        calls.append("slow")
        for _ in range(50):
            result = _grouped(x, weight, stride, padding)
        return result

    def quick(x, weight, stride, padding):
        calls.append("quick")
        return _grouped(x, weight, stride, padding)

    x, weight = torch.randn(4, 2, 8, 8), torch.randn(1, 5, 2, 3, 3)
    assert fastest((slow, quick), x, weight, 1, 1) is quick
    before = len(calls)
    assert before >= 4
    assert fastest((slow, quick), x, weight, 1, 1) is quick
    assert len(calls) == before
    assert fastest((quick, slow), x[:2], weight, 1, 1) is quick
    assert len(calls) > before
