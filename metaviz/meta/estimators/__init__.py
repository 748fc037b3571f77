"""Meta-gradient estimators: how the query loss reaches the meta-parameters."""

from metaviz.meta.estimators.implicit import Curvature, Implicit
from metaviz.meta.estimators.plain import Joint, Untrained
from metaviz.meta.estimators.reptile import Reptile
from metaviz.meta.estimators.unrolled import PenalisedEnd, Term, Unrolled
from metaviz.meta.estimators.unsolved import JointPenalty, StartPenalty

__all__ = [
    "Curvature",
    "Implicit",
    "Joint",
    "JointPenalty",
    "PenalisedEnd",
    "Reptile",
    "StartPenalty",
    "Term",
    "Unrolled",
    "Untrained",
]
