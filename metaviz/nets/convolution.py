"""Convolution, its derivatives of every order, and pooling and statistics that share its work.

Maps of several tasks are folded: (tasks, n, C, H, W) is kept as (n, tasks*C, H, W) in
channels-last memory, so that a grouped convolution with one group per task treats all tasks at
once and a batch statistic per channel is a batch statistic per task and channel.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor
from torch.autograd import Function

from metaviz.nets.fastest import fastest

# Input channels up to which the first layer is a product with 3x3 patches: beyond it the patches
# weigh more than the memory traffic they save.
PATCH_CHANNELS = 4
# Floating point numbers of a response map that stay in a core's own cache while it is pooled.
CACHED_NUMBERS = 131_072


def fold(x: Tensor) -> Tensor:
    """Fold maps (tasks, n, C, H, W) to (n, tasks*C, H, W), channels last."""
    return x.permute(1, 3, 4, 0, 2).flatten(3).contiguous().permute(0, 3, 1, 2)


def unfold(x: Tensor, tasks: int) -> Tensor:
    """Undo fold and flatten each map: (n, tasks*C, H, W) to (tasks, n, C*H*W)."""
    return x.reshape(len(x), tasks, -1).transpose(0, 1)


def convolve(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Convolve every task's maps with that task's kernels.

    Shapes: x (n, tasks*I, H, W), folded; weight (tasks, O, I, kh, kw); result (n, tasks*O, ...).
    Differentiable any number of times. On a GPU the faster of two ways is measured and kept.
    """
    if x.is_cuda and fastest((_grouped, _by_patches), x, weight, stride, padding) is _by_patches:
        return _by_patches(x, weight, stride, padding)
    return _grouped(x, weight, stride, padding)


def _grouped(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve with one group per task."""
    how = (stride, padding, weight.shape[0])
    result: Tensor = _apply(_Convolution, x, weight.flatten(0, 1), how)
    return result


def _by_patches(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve as a batched product of kernels (O, I*kh*kw) and patches (I*kh*kw, places)."""
    tasks, _, _, height, width = weight.shape
    window = (height, width)
    n, _, *size = x.shape
    images = x.unflatten(1, (tasks, -1)).transpose(0, 1).flatten(0, 1)
    patches = F.unfold(images, window, padding=padding, stride=stride).unflatten(0, (tasks, n))
    responses = weight.flatten(2).unsqueeze(1) @ patches
    places = [(size[i] + 2 * padding - window[i]) // stride + 1 for i in (0, 1)]
    return fold(responses.unflatten(-1, places))


def moments(u: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel of u (n, channels, H, W) over the other axes."""
    mean, variance = _apply(_Moments, u)
    return mean, variance


def convolve_and_pool(
    x: Tensor, weight: Tensor, counted: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Max-pooled response u of a 3x3 convolution, and the moments of u before pooling.

    The moments are those of the first `counted` examples, or of all.
    Shapes: x (n, tasks*I, H, W), folded; weight (tasks, O, I, 3, 3); pooled response
    (n, tasks*O, H // 2, W // 2), mean and biased variance (tasks*O,).
    """
    if weight.shape[2] <= PATCH_CHANNELS and not x.requires_grad:
        return _convolve_and_pool_patches(x, weight, counted)
    u = convolve(x, weight, padding=1)
    pooled, _ = _apply(_Pool, u, None)
    return pooled, *moments(u if counted is None else u[:counted])


def _convolve_and_pool_patches(
    x: Tensor, weight: Tensor, counted: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Do the work of convolve_and_pool for constant inputs with few channels.

    A response is u = w.p for a patch p of I*9 numbers, so its moments follow from those of the
    patches, E u = w.E p and Var u = w' Cov(p) w, without a pass over the response map; and the map
    itself, much the largest tensor of the net, need never leave the cache.
    """
    tasks, kernels = weight.shape[:2]
    n, _, height, width = x.shape
    images = x.unflatten(1, (tasks, -1)).transpose(0, 1).flatten(0, 1)
    patches = F.unfold(images, 3, padding=1).mT.contiguous().unflatten(0, (tasks, n))
    w = weight.flatten(2)
    some = patches[:, :counted].flatten(1, 2)
    mean = some.mean(1)
    centred = some - mean.unsqueeze(1)
    covariance = centred.mT @ centred / some.shape[1]
    pooled, _ = _apply(_PooledConvolution, w, patches, (height, width), None)
    return (
        pooled,
        (w @ mean.unsqueeze(-1)).reshape(tasks * kernels),
        ((w @ covariance) * w).sum(-1).reshape(tasks * kernels),
    )


Geometry = tuple[int, int, int]  # stride, padding, groups


def _apply(function: type[Function], *inputs: object) -> Any:
    return function.apply(*inputs)


def _derivative(g: Tensor, x: Tensor, weight: Tensor, how: Geometry, *, of_input: bool) -> Tensor:
    stride, padding, groups = how
    bias, dilation, transposed, output_padding = None, [1, 1], False, [0, 0]
    derivatives = torch.ops.aten.convolution_backward(
        *(g, x, weight, bias, [stride] * 2, [padding] * 2, dilation, transposed, output_padding),
        *(groups, [of_input, not of_input, False]),
    )
    derivative: Tensor = derivatives[0 if of_input else 1]
    return derivative


class _Convolution(Function):
    """C(x, w), bilinear; with <g, C(x, w)> = <I(g, w), x> = <W(x, g), w> the family is closed.

    Every derivative of C, of its input gradient I and of its weight gradient W is again one of
    the three, which keeps the second-order pass at three kinds of fast kernels.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, how: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        stride, padding, groups = how
        return F.conv2d(x, weight, None, stride, padding, 1, groups)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, _ = ctx.needs_input_grad
        return (
            _apply(_InputGradient, g, weight, x.shape, ctx.how) if to_x else None,
            _apply(_WeightGradient, x, g, weight.shape, ctx.how) if to_weight else None,
            None,
        )


class _InputGradient(Function):
    """I(g, w): dI/dg is C and dI/dw is W."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, shape: torch.Size, how: Geometry) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.how = how
        unread = _blank(shape, g)
        return _derivative(g, unread, weight, how, of_input=True)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        to_g, to_weight, _, _ = ctx.needs_input_grad
        return (
            _apply(_Convolution, v, weight, ctx.how) if to_g else None,
            _apply(_WeightGradient, v, g, weight.shape, ctx.how) if to_weight else None,
            None,
            None,
        )


class _WeightGradient(Function):
    """W(x, g): dW/dx is I and dW/dg is C."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, shape: torch.Size, how: Geometry) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.how = how
        return _derivative(g, x, g.new_empty(shape), how, of_input=False)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        x, g = ctx.saved_tensors
        to_x, to_g, _, _ = ctx.needs_input_grad
        return (
            _apply(_InputGradient, g, v, x.shape, ctx.how) if to_x else None,
            _apply(_Convolution, x, v, ctx.how) if to_g else None,
            None,
            None,
        )


class _Moments(Function):
    """Mean m and biased variance v per channel.

    With N numbers per channel dm/du = 1/N and dv/du = 2 (u - m)/N, which together are one
    multiplication and one addition per number: a u + b.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> tuple[Tensor, Tensor]:
        # On a CPU var_mean is some twenty times slower than BatchNorm's own statistics.
        if u.device.type == "cpu":
            mean, variance = torch.batch_norm_update_stats(u, None, None, 0.0)
        else:
            variance, mean = torch.var_mean(u, (0, 2, 3), correction=0)
        ctx.save_for_backward(u, mean)
        return mean, variance

    @staticmethod
    def backward(ctx: Any, to_mean: Tensor, to_variance: Tensor) -> Tensor:
        u, mean = ctx.saved_tensors
        count = u.numel() // u.shape[1]
        a = to_variance * (2 / count)
        b = to_mean / count - a * mean
        return torch.addcmul(b[:, None, None], a[:, None, None], u)


class _Pool(Function):
    """The number at one selected position of each 2x2 window: the largest, or a given one.

    Once selected it is linear; its transpose is _Spread. PyTorch's own pooling keeps positions in
    four times the memory.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, selection: Tensor | None) -> tuple[Tensor, Tensor]:
        size = (u.shape[2], u.shape[3])
        if selection is None:
            values, positions = F.max_pool2d_with_indices(u, [2, 2])
            selection = positions.to(_smallest(size))
        else:
            values = _gather(u, selection.long())
        ctx.save_for_backward(selection)
        ctx.size = size
        ctx.mark_non_differentiable(selection)
        return values, selection

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (selection,) = ctx.saved_tensors
        return _apply(_Spread, g, selection, ctx.size), None


class _Spread(Function):
    """Each number at the selected position of its window, and zeros elsewhere."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, selection: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(selection)
        return _scatter(g, selection.long(), size)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        (selection,) = ctx.saved_tensors
        return _apply(_Pool, v, selection)[0], None, None


class _PooledConvolution(Function):
    """S(w): responses w.p at one selected position of each pooling window, linear in w.

    The selection is that of the largest response, or a given one. The gradient is S'(g), see
    _PooledWeightGradient; each of the two is the other's derivative.
    Shapes: w (tasks, O, I*9); patches (tasks, n, H*W, I*9).
    """

    @staticmethod
    def forward(
        ctx: Any, w: Tensor, patches: Tensor, size: tuple[int, int], selection: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        pooled, chosen = [], []
        for task, (kernels, images) in enumerate(zip(w, patches, strict=True)):
            for start, piece in _pieces(images, len(kernels)):
                rows = piece.flatten(0, 1) @ kernels.T
                u = rows.view(len(piece), *size, -1).permute(0, 3, 1, 2)
                if selection is None:
                    values, indices = F.max_pool2d_with_indices(u, [2, 2])
                    chosen.append(indices.to(_smallest(size)))
                else:
                    values = _gather(u, selection[task, start : start + len(piece)].long())
                pooled.append(values)
        if selection is None:
            selection = torch.cat(chosen).unflatten(0, patches.shape[:2])
        ctx.save_for_backward(patches, selection)
        ctx.size = size
        ctx.mark_non_differentiable(selection)
        return _join(pooled, len(w)), selection

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        patches, selection = ctx.saved_tensors
        return _apply(_PooledWeightGradient, g, patches, ctx.size, selection), None, None, None


class _PooledWeightGradient(Function):
    """S'(g): sum over windows of g times the selected patch."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, patches: Tensor, size: tuple[int, int], selection: Tensor
    ) -> Tensor:
        ctx.save_for_backward(patches, selection)
        ctx.size = size
        tasks = len(patches)
        gradients = []
        for images, chosen, g_task in zip(patches, selection, g.chunk(tasks, 1), strict=True):
            total = g.new_zeros(images.shape[2], g_task.shape[1])
            for start, piece in _pieces(images, g_task.shape[1]):
                rows = slice(start, start + len(piece))
                spread = _scatter(g_task[rows], chosen[rows].long(), size)
                spread = spread.permute(0, 2, 3, 1).flatten(0, 2)
                total.addmm_(piece.flatten(0, 1).T, spread)
            gradients.append(total.T)
        return torch.stack(gradients)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        patches, selection = ctx.saved_tensors
        return _apply(_PooledConvolution, v, patches, ctx.size, selection)[0], None, None, None


def _pieces(images: Tensor, kernels: int) -> list[tuple[int, Tensor]]:
    """Images in pieces whose responses fit into a CPU's cache; all at once on a GPU."""
    count = len(images)
    if images.device.type == "cpu":
        count = max(1, CACHED_NUMBERS // (images.shape[1] * kernels))
    return [(start, images[start : start + count]) for start in range(0, len(images), count)]


def _smallest(size: tuple[int, int]) -> torch.dtype:
    """Return the smallest type that holds the places of a map: selections are kept for long."""
    height, width = size
    return torch.int16 if height * width <= torch.iinfo(torch.int16).max else torch.int32


def _join(pooled: list[Tensor], tasks: int) -> Tensor:
    """Put the pieces of all tasks, in order, into one folded tensor."""
    if tasks == 1:
        return torch.cat(pooled)
    return fold(torch.cat(pooled).unflatten(0, (tasks, -1)))


def _gather(u: Tensor, indices: Tensor) -> Tensor:
    """Read u (n, C, H, W) at flat positions (n, C, h, w), channels last."""
    n, channels, height, width = indices.shape
    rows = u.permute(0, 2, 3, 1).flatten(1, 2)
    picked = rows.gather(1, indices.permute(0, 2, 3, 1).flatten(1, 2))
    return picked.view(n, height, width, channels).permute(0, 3, 1, 2)


def _scatter(g: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """Spread g (n, C, h, w) over full maps (n, C, H, W), channels last."""
    like = _blank((len(g), g.shape[1], *size), g)
    kernel, stride, padding, dilation, ceil = [2, 2], [2, 2], [0, 0], [1, 1], False
    full: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        g, like, kernel, stride, padding, dilation, ceil, indices
    )
    return full


def _blank(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Unset memory, channels last, for kernels that ask for a tensor to learn its shape."""
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )
