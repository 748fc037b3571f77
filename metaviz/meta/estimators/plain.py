"""The two baselines: no inner loop while training, and no training at all."""

import torch

from metaviz.meta.estimators.base import Case, MetaStep, TrainsStart, measured


class Joint(TrainsStart):
    """Train one model on the query sets of all tasks: the meta-gradient without inner steps.

    What is shown after adaptation is measured with the rule's steps but has no part in training.
    """

    def __call__(self, case: Case) -> MetaStep:
        """Return grad L_Q(theta), averaged over tasks."""
        trained = self.trains(case.rule)
        inside = case.with_leaves(trained)
        loss = inside.losses(inside.start(), case.context.tasks.query).mean()
        gradients = inside.differentiate(loss, trained)
        return measured(case, gradients, 1)


class Untrained(TrainsStart):
    """Leave the meta-parameters as they were drawn; every task is learnt from scratch."""

    def __call__(self, case: Case) -> MetaStep:
        """Return zero gradients and what adaptation from the untrained start achieves."""
        gradients = {name: torch.zeros_like(case.meta[name]) for name in self.trains(case.rule)}
        return measured(case, gradients, case.context.steps if case.context.reading else 0)
