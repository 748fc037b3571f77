"""Meta-KFO: a learned Kronecker-factored transform of gradients that adapts with the task."""

from typing import NamedTuple

import torch
from torch import Tensor

from metaviz.algorithms.geometry import GeometryOptions, refuse_too_many
from metaviz.algorithms.registry import register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.inner import inner_states
from metaviz.meta.modes import ModeFactors
from metaviz.meta.pictures import SMALL, Arrays, of_mode_factors
from metaviz.meta.rules import Enters, GradientDescent, State
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net

_MODES = {3: (1, 2), 2: (0, 1), 1: (0,)}


class TransformedState(NamedTuple):
    """Point (tasks, P), factors (tasks, size) or (size,), and the last gradient (tasks, P)."""

    point: Tensor
    factors: Tensor
    last: Tensor


class KroneckerTransform(GradientDescent, rowwise=True):
    """phi <- phi - alpha U(grad L_S(phi)) with U(G) = L'L G R'R on every weight matrix.

    From the second step on the factors take a gradient step of the same size too: the loss at phi
    depends on them through the step that led there, d L_S / d xi = -alpha d <g_k, U(g_{k-1})> / d
    xi. A kernel (out, in, h, w) is seen for each output as a matrix (in, h w); a bias has one
    factor. Source: Arnold et al. 2021, section 3, and its authors' code.
    """

    def __init__(self, rate: float, *, adapt: bool, limit: int) -> None:
        """Take alpha, whether the transform adapts, and the largest full factor."""
        super().__init__(rate)
        self.adapt = adapt
        self.limit = limit
        self.groups = {"init": frozenset({Enters.START}), "transform": frozenset({Enters.STEP})}

    def fit(self, net: Net) -> None:
        """Plan the factors."""
        self.factors = ModeFactors(net.layout, limit=self.limit, modes=_MODES)
        refuse_too_many("metakfo", self.factors.parameters.size, "use a smaller metakfo.limit")

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start; the factors begin as identities."""
        return {**super().init(net, generator), "transform": self.factors.identity()}

    def start(self, meta: Meta, support: Batch) -> State:
        """Give every task the same start and factors."""
        point = super().start(meta, support)
        factors = meta["transform"]
        if self.adapt:
            factors = factors.expand(len(support), -1)
        return TransformedState(point, factors, torch.zeros_like(point))

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return the point of the state."""
        del meta
        point: Tensor = state.point
        return point

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Let the factors take their step, then the weights."""
        del meta, loss
        factors = state.factors
        if self.adapt and k > 0:
            slope = self._slope(factors, state.last, gradient)
            factors = factors + self.rate**2 * slope
        moved = state.point - self.rate * self.precondition(factors, gradient)
        return TransformedState(moved, factors, gradient)

    def precondition(self, factors: Tensor, gradient: Tensor) -> Tensor:
        """Return L'L G R'R for gradients (tasks, P)."""
        return self.factors(factors, gradient, gram=True)

    def _slope(self, factors: Tensor, last: Tensor, gradient: Tensor) -> Tensor:
        """Return d <gradient, U(last)> / d factors for each task."""
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            # Of its own, because the gradients too may depend on the factors of earlier steps.
            leaf = factors.clone() if factors.requires_grad else factors.detach().requires_grad_()
            inner = (gradient * self.precondition(leaf, last)).sum()
            (slope,) = torch.autograd.grad(inner, leaf, create_graph=graph)
        return slope

    def picture(self, context: Context, meta: Meta) -> Arrays:
        """Return the factors of every tensor; those of a task's later steps shape its condition."""
        factors, later = meta["transform"], list[Tensor]()
        if self.adapt and self.factors.layout.size <= SMALL:
            # Step k moves the factors before it uses them.
            later = [state.factors[0] for state in inner_states(self, context, meta, more=1)][2:]
        return of_mode_factors(self, context, meta, self.factors, factors, gram=True, later=later)


class MetaKFOOptions(GeometryOptions):
    """Options of Meta-KFO."""

    adapt_transform: bool = option(
        True,
        "Adapt the transform",
        "Let the factors take inner steps too, from the second step on, as published. Without, "
        "identity factors are MAML.",
    )
    limit: int = option(
        512,
        "Largest full factor",
        "A mode with more entries gets a diagonal factor.",
        ge=1,
        le=4096,
    )


@register(
    MetaKFOOptions,
    id="metakfo",
    title="Meta-KFO",
    group="Learned geometry",
    color=12,
    summary="Learns a Kronecker transform of gradients that adapts together with the weights.",
    formula="φ ← φ − α LᵀL G RᵀR;  ξ ← ξ − α ∇_ξ L_S with ξ = (L, R)",
    cost="as MAML, two products per mode, and one more backward pass per step for ξ",
    citation="Arnold, Iqbal & Sha 2021, arXiv:1910.13603",
)
def metakfo(options: MetaKFOOptions, shared: Shared) -> Algorithm:
    """Build Meta-KFO."""
    rule = KroneckerTransform(
        options.rate(shared), adapt=options.adapt_transform, limit=options.limit
    )
    return options.compose(rule, shared)
