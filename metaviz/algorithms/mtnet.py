"""MT-net and T-net: layers followed by learned transforms that adaptation leaves alone."""

import hashlib
import math
from math import prod
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.geometry import GeometryOptions, refuse_too_many
from metaviz.algorithms.registry import register
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.pictures import (
    SMALL,
    Arrays,
    labelled,
    of_factors,
    of_merged,
    sampled_rows,
)
from metaviz.meta.rules import Enters, GradientDescent, State
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net
from metaviz.nets.layout import Layout, Params

Masks = Literal["sampled", "threshold", "none"]
_HALF = 0.5
_RARELY = 0.01


class MaskedState(NamedTuple):
    """Point (tasks, P) and mask (tasks, P) of zeros and ones."""

    point: Tensor
    mask: Tensor


class LayerTransform(GradientDescent):
    """Each layer computes T (W x + b); only W and b adapt, along rows that a mask lets through.

    On A = T W one step is A <- A - alpha T diag(m) T' grad_A L. T begins as the identity. The mask
    m of a task has one entry per output unit, drawn once by a straight-through Gumbel-softmax over
    (zeta, 0): m is hard on the way forward and its soft value is differentiated.
    The noise of a task is derived from its support set, so that it belongs to the task and
    neither to its place in a batch nor to the device. Source: Lee & Choi 2018, sections 3 and 4.
    """

    def __init__(self, rate: float, *, masks: Masks, zeta: float) -> None:
        """Take alpha, how masks are made, and the first value of their logits."""
        super().__init__(rate)
        self.masks = masks
        self.zeta = zeta
        self.groups = {"init": frozenset({Enters.START}), "transform": frozenset({Enters.DECODE})}
        if masks != "none":
            self.groups["masks"] = frozenset({Enters.STEP})

    def fit(self, net: Net) -> None:
        """Find the layers and their output units."""
        self.layout = net.layout
        self.units = {
            name.removesuffix(".weight"): shape[0]
            for name, shape in net.layout.shapes
            if name.endswith(".weight")
        }
        self.transforms = Layout(tuple((name, (n, n)) for name, n in self.units.items()))
        refuse_too_many("mtnet", self.transforms.size, "use a narrower network")

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start; transforms are identities and all mask logits are zeta."""
        identities = {name: torch.eye(n, dtype=torch.float64) for name, n in self.units.items()}
        meta = {**super().init(net, generator), "transform": self.transforms.join(identities)}
        if self.masks != "none":
            logits = torch.full((sum(self.units.values()),), self.zeta, dtype=torch.float64)
            meta["masks"] = logits
        return meta

    def start(self, meta: Meta, support: Batch) -> State:
        """Give every task the same start, and its mask."""
        return MaskedState(super().start(meta, support), self._mask(meta, support))

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return the point of the state."""
        del meta
        point: Tensor = state.point
        return point

    def decode(self, meta: Meta, point: Tensor) -> Params:
        """Return T W and, where there is a bias, T b of every layer."""
        params = self.layout.split(point)
        for name, transform in self.transforms.split(meta["transform"]).items():
            weight, bias = params[f"{name}.weight"], params.get(f"{name}.bias")
            params[f"{name}.weight"] = (transform @ weight.flatten(2)).reshape(weight.shape)
            if bias is not None:
                params[f"{name}.bias"] = bias @ transform.mT
        return params

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Take one gradient step along the rows that the mask lets through."""
        moved = super().step(meta, state.point, state.mask * gradient, loss, k)
        return MaskedState(moved, state.mask)

    def _mask(self, meta: Meta, support: Batch) -> Tensor:
        """Return the mask of every weight, shape (tasks, P) or (1, P)."""
        if self.masks == "none":
            return torch.ones_like(meta["init"]).unsqueeze(0)
        logits = meta["masks"]
        if self.masks == "threshold":
            soft = torch.sigmoid(logits).unsqueeze(0)
        else:
            soft = torch.sigmoid(logits + _logistic_noise(support.at(0), len(logits)).to(logits))
        hard = (soft >= _HALF).to(soft.dtype)
        # Infinite logits have a slope of zero, not one that is undefined.
        units = hard + torch.where(torch.isfinite(logits), soft - soft.detach(), 0)
        return self._spread(units)

    def _spread(self, units: Tensor) -> Tensor:
        """Give every weight and bias the mask of its output unit; others (BatchNorm) adapt."""
        parts = dict(zip(self.units, units.split(list(self.units.values()), dim=1), strict=True))
        masks = {}
        for name, shape in self.layout.shapes:
            unit = parts.get(name.rpartition(".")[0])
            if unit is None:
                unit = units.new_ones(len(units), shape[0])
            masks[name] = unit.reshape(*unit.shape, *[1] * (len(shape) - 1)).expand(-1, *shape)
        return self.layout.join(masks)

    def picture(self, context: Context, meta: Meta) -> Arrays:
        """Return the transform of every layer, how likely its units adapt, and P = T diag(m) T'."""
        images, summary = of_factors(self.transforms.split(meta["transform"]))
        likely = torch.ones(sum(self.units.values())).to(meta["init"])
        if self.masks != "none":
            likely = torch.sigmoid(meta["masks"])
            if self.masks == "threshold":
                likely = (likely >= _HALF).to(likely)
            parts = likely.split(list(self.units.values()))
            images["mask_names"] = np.array(list(self.units))
            images["mask_probabilities"] = sampled_rows(parts)
            summary += [
                (name, "mean probability to adapt", float(part.mean()))
                for name, part in zip(self.units, parts, strict=True)
            ]
        whole: Arrays = {}
        if self.layout.size <= SMALL:

            def merge(points: Tensor) -> Tensor:
                return self.layout.join(self.decode(meta, points))

            spread = self._spread(likely.unsqueeze(0))
            whole = of_merged(self, context, meta, merge, self._spectrum(meta, likely), spread)
        return labelled("layers", summary, {**images, **whole})

    def _spectrum(self, meta: Meta, mask: Tensor) -> Tensor:
        """Return the eigenvalues of P: those of T diag(m) T' for each input, and for the bias."""
        masks = dict(zip(self.units, mask.split(list(self.units.values())), strict=True))
        shapes = dict(self.layout.shapes)
        found = []
        for name, transform in self.transforms.split(meta["transform"]).items():
            values = torch.linalg.svdvals(transform * masks[name].sqrt()).square()
            biases = int(f"{name}.bias" in shapes)
            found.append(values.repeat(prod(shapes[f"{name}.weight"][1:]) + biases))
        known = sum(map(len, found))
        return torch.cat([*found, mask.new_ones(self.layout.size - known)])


def _logistic_noise(support: Batch, count: int) -> Tensor:
    """Return the difference of two Gumbel draws for each task and unit, shape (tasks, count)."""
    rows = []
    for x, y in zip(support.x, support.y, strict=True):
        content = torch.cat([x.flatten().float(), y.flatten().float()]).cpu().numpy().tobytes()
        seed = int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(count, generator=generator, dtype=torch.float64)
        rows.append(torch.logit(uniform, eps=1e-12))
    return torch.stack(rows)


class MTNetOptions(GeometryOptions):
    """Options of MT-net."""

    masks: Masks = option(
        "sampled",
        "Masks",
        "Sampled: each task draws which units adapt, m ~ Bernoulli(σ(ζ)). Threshold: units with "
        "ζ ≥ 0 adapt. None: all do, which is the T-net.",
        labels={"sampled": "sampled per task", "threshold": "threshold", "none": "none (T-net)"},
    )
    zeta: float = option(
        0.0,
        "First mask logit ζ",
        "Log-odds with which a unit adapts at first; 0 is one half.",
        ge=-50,
        le=50,
    )


@register(
    MTNetOptions,
    id="mtnet",
    title="MT-net",
    group="Learned geometry",
    needs={"layers": "MT-net transforms layers"},
    color=11,
    summary="Learns a transform after each layer, and which units adapt.",
    defaults={
        "sinusoid": {"geometry_lr": 0.0003},
    },
    formula="h = T (W x + b);  W ← W − α (m 1ᵀ) ⊙ ∇_W L_S, so P = T diag(m) Tᵀ per layer",
    cost="as MAML, and one product of n × n per layer",
    citation="Lee & Choi 2018, arXiv:1801.05558",
    presets={"T-net": {"masks": "none"}},
)
def mtnet(options: MTNetOptions, shared: Shared) -> Algorithm:
    """Build MT-net."""
    adapting = 1 / (1 + math.exp(-options.zeta))
    if options.masks == "threshold" and options.zeta < 0:
        raise OptionError(
            "mtnet.zeta",
            f"mtnet.zeta = {options.zeta:g} lets no unit adapt with mtnet.masks = threshold: use 0 "
            "or more.",
        )
    if options.masks == "sampled" and adapting < _RARELY:
        raise OptionError(
            "mtnet.zeta",
            f"mtnet.zeta = {options.zeta:g} lets {100 * adapting:.2g} % of the units adapt: use at "
            "least -4.5, which is 1 %.",
        )
    rule = LayerTransform(options.rate(shared), masks=options.masks, zeta=options.zeta)
    return options.compose(rule, shared)
