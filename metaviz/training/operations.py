"""Counts the floating point operations of a meta-step, by the products that it consists of."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from metaviz.training.setting import Setting

_aten = torch.ops.aten


class Shape(NamedTuple):
    """Shape and kind of a tensor, so that one like it can be made."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class Product(NamedTuple):
    """One call of a matrix product or convolution, its tensors replaced by their shapes."""

    call: Any
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]
    operations: int


Products = Counter[Product]


class ProductRecorder(TorchDispatchMode):
    """Notes every matrix product and convolution that this thread, or its backward pass, calls.

    Formulas are those of PyTorch's FlopCounterMode: two operations for each multiplication of a
    product by its definition. Deviation: it takes the weight gradient of a grouped convolution
    for as many times the operations as there are groups, and does not know `addmm_`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: Products = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Call, and note what was called."""
        del types
        keywords = kwargs or {}
        result = func(*args, **keywords)
        formula = _FORMULAS.get(func.overloadpacket)
        if formula is not None:
            operations = formula(*args, **keywords, out_val=result)
            shapes, names = _shaped(args), tuple((k, _shaped(v)) for k, v in keywords.items())
            self.products[Product(func, shapes, names, operations)] += 1
        return result


def _shaped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Shape(tuple(value.shape), value.stride(), value.dtype, value.device)
    return tuple(map(_shaped, value)) if isinstance(value, list | tuple) else value


def _convolution_backward(
    g: Tensor, x: Tensor, weight: Tensor, *rest: Any, **_others: object
) -> int:
    """Count the wanted gradients of input and weight; each takes as much as the convolution."""
    *_, transposed, _padding, _groups, wanted = rest
    places = x if transposed else g
    return 2 * places.numel() * prod(weight.shape[1:]) * sum(map(bool, wanted[:2]))


_FORMULAS: dict[Any, Callable[..., int]] = {
    **{
        packet: flop_registry[packet]
        for packet in (_aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm, _aten.convolution)
    },
    _aten.addmm_: flop_registry[_aten.addmm],
    _aten.baddbmm_: flop_registry[_aten.baddbmm],
    _aten.convolution_backward: _convolution_backward,
}


def operations(products: Products) -> int:
    """Return the floating point operations of all products together."""
    return sum(product.operations * count for product, count in products.items())


def products_of(setting: Setting, sizes: Iterable[int], *, reading: bool = True) -> list[Products]:
    """Return the products of the meta-gradients of parts of a first meta-batch, one by one.

    Each part has so many tasks, beginning with the first. The products of a part are those that a
    thread calls that gets it; with all readings, or those that are at hand.
    """
    meta, context = setting.init(), setting.context(0, reading=reading)
    found = []
    for size in sizes:
        with ProductRecorder() as recorder:
            setting.algorithm.meta_gradient(context[:size], meta)
        found.append(recorder.products)
    return found


def shares(setting: Setting) -> list[int]:
    """Return how many tasks each part of a meta-batch has that is one tensor batch."""
    tasks = setting.tasks_per_step
    if setting.algorithm.traits.sequential:
        return [tasks]
    return [end - start for start, end in pairwise(setting.shards.edges(tasks))]


def abreast(setting: Setting) -> int:
    """Return how many parts are computed at a time."""
    return 1 if setting.shards.alone else min(setting.shards.count, len(shares(setting)))


def operations_per_step(setting: Setting) -> float:
    """Return the operations of one meta-step, counted in meta-gradients of one and of two tasks.

    What a part costs is something that its tasks have in common and something for each of them.
    Where batches are not read at every step, this is the mean over steps.
    """
    every = setting.config.shared.reading_every
    read = _operations(setting, reading=True)
    if every == 1:
        return read
    return (read + (every - 1) * _operations(setting, reading=False)) / every


def _operations(setting: Setting, *, reading: bool) -> float:
    parts = shares(setting)
    one, two = map(operations, products_of(setting, (1, 2), reading=reading))
    if sum(parts) == 1:
        return one
    return sum(one + (size - 1) * (two - one) for size in parts)
