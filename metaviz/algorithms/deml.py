"""DEML: Meta-SGD on features that are learned together with a plain classifier."""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.auxiliary import AUXILIARY, base_losses, drawn_base
from metaviz.algorithms.metasgd import LearnedRates
from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.episodes import TrainingEpisodes
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, Composed
from metaviz.meta.context import Meta
from metaviz.meta.episodic import OBJECTIVE
from metaviz.meta.estimators.base import Case, MetaStep
from metaviz.meta.estimators.unrolled import End, Term, Unrolled
from metaviz.meta.inner import Descent
from metaviz.meta.learner import Learner
from metaviz.meta.rules import InnerRule

BASE = "base"


class JointObjective(Unrolled):
    """L_Q(phi^K) + lambda L_ext, by reverse mode through all steps.

    L_ext is the mean cross-entropy of a linear layer on the features of plain examples, which
    passes the same layers below the head. Without plain examples it is 0.
    """

    def __init__(self, weight: float) -> None:
        """Take lambda."""
        super().__init__(terms=(Term(_external, weight, AUXILIARY.id, cost=(1, 0)),))
        self.weight = weight

    @override
    def trains(self, rule: InnerRule) -> frozenset[str]:
        return super().trains(rule) | {BASE}

    @override
    def _finish(self, case: Case, descent: Descent, end: End, gradients: Meta) -> MetaStep:
        result = super()._finish(case, descent, end, gradients)
        if AUXILIARY.id not in end.terms:
            return result
        loss = end.after[1].detach() + self.weight * end.terms[AUXILIARY.id]
        return replace(result, readings={**result.readings, OBJECTIVE.id: loss})


def _external(case: Case, _descent: Descent) -> Tensor:
    """Return the mean loss of each task's plain examples, (tasks,)."""
    plain, count = case.context.tasks.plain, len(case.context.tasks)
    if plain is None:
        return case.meta["init"].new_zeros(count)
    flat = (case.meta[name].expand(count, -1) for name in ("init", BASE))
    return base_losses(case.context.learner, plain, *flat)


@dataclass(frozen=True)
class JointlyTrained(Composed):
    """Meta-SGD on the head, beside a linear layer of all training classes."""

    episodes: TrainingEpisodes = field(default_factory=TrainingEpisodes)

    @override
    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        meta = super().init(learner, generator)
        return meta | {BASE: drawn_base(learner, generator)}


class DEMLOptions(AlgorithmOptions):
    """Options of DEML."""

    weight: float = option(
        1.0,
        "Weight of the external loss λ",
        "λ of L_Q + λ L_ext, L_ext the cross-entropy of plain examples of all training classes. "
        "The authors' value is not known.",
        ge=0,
        le=1e6,
        log=True,
    )
    batch: int = option(64, "Plain examples", "Beside each task.", ge=1, le=10_000)
    form: Literal["direct", "log"] = option(
        "log",
        "Form of the rates",
        "As of Meta-SGD. Log: a = exp(b), always positive. Direct: entries of a may turn negative.",
        labels={"direct": "direct, a", "log": "log, a = exp(b)"},
    )


@register(
    DEMLOptions,
    id="deml",
    color=33,
    title="DEML + Meta-SGD",
    group="Learned geometry",
    summary="Meta-SGD on features that a plain classification of all training classes shapes, too.",
    needs={
        "classes": "DEML tells classes apart",
        "layers": "DEML needs a layer before the last",
        "examples": "DEML learns from examples of all training classes as well",
    },
    quantities=(OBJECTIVE.id, AUXILIARY.id),
    formula="L_Q(φ^K) + λ L_ext,   φ ← φ − a ⊙ ∇L_S(φ) on the head W of W G(x)",
    cost="as Meta-SGD on the last layer, and one pass over the plain examples",
    citation="Zhou, Wu & Li 2018, arXiv:1802.03596",
    note="DEML without extra data: the authors' external images are 200 further classes of "
    "ImageNet, here they are the training classes as a whole. No code was found: λ, step sizes "
    "and network are not verified.",
)
def deml(options: DEMLOptions, shared: Shared) -> Algorithm:
    """Build DEML."""
    rule = LearnedRates(options.rate(shared), logarithms=options.form == "log")
    return JointlyTrained(
        rule,
        JointObjective(options.weight),
        options.steps(shared),
        "head",
        TrainingEpisodes(plain=options.batch),
    )
