"""WarpGrad: learned layers between those that adapt bend the inner loop."""

from typing import Literal

import torch
from torch import Tensor

from metaviz.algorithms.geometry import TrainedApartOptions, refuse_too_many
from metaviz.algorithms.registry import register
from metaviz.config.options import OptionError, option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.trajectory import InitObjective, Trajectory
from metaviz.meta.pictures import (
    SMALL,
    Arrays,
    labelled,
    of_factors,
    of_merged,
)
from metaviz.meta.rules import Enters, GradientDescent
from metaviz.nets.base import Net
from metaviz.nets.layout import Layout, Params
from metaviz.nets.mlp import MLP

_MATRIX = 2


class WarpedDescent(GradientDescent):
    """Plain steps on a network with warp layers, which adaptation leaves alone.

    For linear warps T the effective preconditioner is T T' (of each layer, through the layers
    after it); non-linear ones depend on the data. Source: Flennerhag et al. 2020, section 2.
    """

    def __init__(self, rate: float, *, residual: bool, identity: bool, trains_start: bool) -> None:
        """Choose the warps' form and first values, and whether the start is trained."""
        super().__init__(rate)
        self.residual = residual
        self.identity = identity
        start = {Enters.START} if trains_start else {Enters.START, Enters.FIXED}
        self.groups = {"init": frozenset(start), "warp": frozenset({Enters.DECODE})}

    def fit(self, net: Net) -> None:
        """Plan the warps."""
        self.layout = net.layout
        self.warps: Layout = net.warps(residual=self.residual)
        refuse_too_many("warpgrad", self.warps.size, "use a narrower network")
        if not self.warps.shapes:
            raise OptionError("warpgrad", "WarpGrad needs a network with hidden layers to warp.")

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start and the warps."""
        meta = super().init(net, generator)
        params: Params = {}
        bound = 1.0
        for name, shape in self.warps.shapes:
            if len(shape) > 1:
                bound = torch.empty(shape[1:]).numel() ** -0.5
            draw = (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * bound
            params[name] = draw
            if self.identity and (name.endswith("back") or not self.residual):
                params[name] = torch.zeros_like(draw)
            if self.identity and not self.residual and name.endswith("weight"):
                keep = torch.nn.init.eye_ if len(shape) == _MATRIX else torch.nn.init.dirac_
                params[name] = keep(draw)
        return {**meta, "warp": self.warps.join(params)}

    def decode(self, meta: Meta, point: Tensor) -> Params:
        """Return the adapted weights and the warps."""
        warps = self.warps.split(meta["warp"])
        shared = {name: value.expand(len(point), *value.shape) for name, value in warps.items()}
        return {**self.layout.split(point), **shared}

    def picture(self, context: Context, meta: Meta) -> Arrays:
        """Return the warps, and P of the plain network into which linear warps can be merged."""
        warps = self.warps.split(meta["warp"])
        square = {name: warp for name, warp in warps.items() if warp.dim() > 1}
        images, summary = of_factors({name: warp.flatten(1) for name, warp in square.items()})
        whole: Arrays = {}
        net = context.learner.net
        if isinstance(net, MLP) and not self.residual and net.layout.size <= SMALL:

            def merge(points: Tensor) -> Tensor:
                decoded = self.decode(meta, points)
                return net.layout.join(net.merged(decoded))

            whole = of_merged(self, context, meta, merge, self._spectrum(warps))
        return labelled("warps", summary, {**images, **whole})

    def _spectrum(self, warps: Params) -> Tensor:
        """Return the eigenvalues of P: those of B B', B = [[T, c], [0, 1]], for each output."""
        shapes = dict(self.layout.shapes)
        outputs, inputs = shapes["layer1.weight"]
        found = [warps["warp1.weight"].new_ones(outputs * (inputs + 1))]
        for layer in range(1, len(shapes) // 2):
            warp, shift = warps[f"warp{layer}.weight"], warps[f"warp{layer}.bias"]
            both = torch.cat([warp, shift[:, None]], dim=1)
            last = torch.nn.functional.one_hot(torch.tensor(len(warp)), len(warp) + 1).to(both)
            values = torch.linalg.svdvals(torch.cat([both, last[None]])).square()
            found.append(values.repeat(shapes[f"layer{layer + 1}.weight"][0]))
        return torch.cat(found)


class WarpGradOptions(TrainedApartOptions):
    """Options of WarpGrad."""

    objective: Literal["exact", "approximate"] = option(
        "exact",
        "Warp objective",
        "Exact: the query loss after one more step from each point of the path, differentiated "
        "through that step. Approximate: the query loss at each point, without a step.",
    )
    init_objective: InitObjective = option(
        "leap",
        "Start",
        "Leap: follow the path, each step at unit length. Path: the whole path, as Reptile does. "
        "None: the start stays as drawn.",
        labels={"leap": "Leap (unit steps)", "path": "path (Reptile)", "none": "not trained"},
    )
    warp: Literal["linear", "residual"] = option(
        "linear",
        "Warps",
        "Linear: x → T x + b, a 3 × 3 convolution in convolutional networks. Residual: "
        "x → x + V relu(U x + b).",
        labels={"linear": "linear", "residual": "non-linear, residual"},
    )
    warp_start: Literal["identity", "random"] = option(
        "identity",
        "First warps",
        "Identity: training begins with the plain network. Random: PyTorch's default, as in the "
        "authors' code.",
        labels={"identity": "identity", "random": "random (authors' code)"},
    )


@register(
    WarpGradOptions,
    id="warpgrad",
    title="WarpGrad",
    group="Learned geometry",
    needs={"layers": "WarpGrad puts layers between layers"},
    color=13,
    summary="Learns layers between those that adapt, along the inner path.",
    formula="min_ω mean_k L_Q(φ^k − α ∇L_S(φ^k; ω); ω),  φ^k constant",
    cost="3 K gradients and K Hessian-vector products per task (approximate: 2 K); no long graph",
    citation="Flennerhag, Rusu, Pascanu, Visin, Yin & Hadsell 2020, arXiv:1909.00025",
    presets={"authors' code": {"warp_start": "random"}},
)
def warpgrad(options: WarpGradOptions, shared: Shared) -> Algorithm:
    """Build WarpGrad."""
    rule = WarpedDescent(
        options.rate(shared),
        residual=options.warp == "residual",
        identity=options.warp_start == "identity",
        trains_start=options.init_objective != "none",
    )
    estimator = Trajectory(
        approximate=options.objective == "approximate", init_objective=options.init_objective
    )
    return compose(rule, estimator, options.steps(shared))
