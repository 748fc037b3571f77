"""A flat vector and its named tensors."""

import torch

from metaviz.nets.layout import Layout

LAYOUT = Layout((("weight", (2, 3)), ("bias", (2,)), ("kernel", (2, 3, 2, 2))))


def test_join_undoes_split() -> None:
    flat = torch.arange(float(LAYOUT.size))
    params = LAYOUT.split(flat)
    assert {name: tuple(value.shape) for name, value in params.items()} == dict(LAYOUT.shapes)
    assert torch.equal(LAYOUT.join(params), flat)


def test_matrices_lie_column_by_column_for_every_task() -> None:
    flat = torch.arange(2.0 * LAYOUT.size).reshape(2, -1)
    weight = LAYOUT.split(flat)["weight"]
    assert weight.shape == (2, 2, 3)
    assert torch.equal(weight[0], torch.tensor([[0.0, 2, 4], [1, 3, 5]]))
    assert torch.equal(weight[1], LAYOUT.split(flat[1])["weight"])


def test_kernels_lie_with_their_input_channels_last() -> None:
    flat = torch.arange(2.0 * LAYOUT.size).reshape(2, -1)
    kernel = LAYOUT.split(flat)["kernel"]
    assert kernel.shape == (2, 2, 3, 2, 2)
    first = flat[1, 8]
    assert kernel[1, 0, :, 0, 0].tolist() == [first, first + 1, first + 2]
    assert kernel[1, 0, 0, 0, 1] == first + 3
    assert kernel[1].is_contiguous(memory_format=torch.channels_last)


def test_pieces_are_the_numbers_of_each_tensor_as_they_lie() -> None:
    flat = torch.arange(2.0 * LAYOUT.size).reshape(2, -1)
    named = LAYOUT.split(flat)
    weight, bias, kernel = LAYOUT.pieces(flat)
    assert torch.equal(weight, named["weight"].mT.flatten(1))
    assert torch.equal(bias, named["bias"])
    assert torch.equal(kernel, named["kernel"].permute(0, 1, 3, 4, 2).flatten(1))


def test_weights_are_read_by_name_whichever_way_they_are_given() -> None:
    flat = torch.arange(float(LAYOUT.size))
    named = LAYOUT.named(flat)
    assert LAYOUT.named(named) is named
    assert torch.equal(LAYOUT.join(named), flat)
