"""The two baselines: no inner loop while training, and no training at all."""

import torch

from metaviz.meta.estimators.base import MetaStep, differentiate, groups_entering, leaves, read
from metaviz.meta.inner import descend
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Enters, InnerRule, Meta
from metaviz.meta.tasks import TaskBatch


class Joint:
    """Train one model on the query sets of all tasks: the meta-gradient without inner steps.

    What is shown after adaptation is measured with the rule's steps but has no part in training.
    """

    sequential = False

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups that fix the starting point."""
        return groups_entering(rule, [Enters.START])

    def __call__(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        steps: int,
        generator: torch.Generator,
    ) -> MetaStep:
        """Return grad L_Q(theta), averaged over tasks."""
        del generator
        trained = self.trains(rule)
        inside = leaves(meta, trained)
        start = rule.point(inside, rule.start(inside, len(tasks)))
        loss = learner.losses(rule.decode(inside, start), tasks.query).mean()
        gradients = differentiate(loss, inside, trained)
        descent = descend(rule, learner, meta, tasks.support, len(tasks), steps)
        readings, curve = read(rule, learner, meta, tasks, descent)
        return MetaStep(gradients, readings, curve, descent.gradient_norm, 1)


class Untrained:
    """Leave the meta-parameters as they were drawn; every task is learnt from scratch."""

    sequential = False

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return all groups: each is given a gradient of zero."""
        return groups_entering(rule, [Enters.START])

    def __call__(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        steps: int,
        generator: torch.Generator,
    ) -> MetaStep:
        """Return zero gradients and what adaptation from the untrained start achieves."""
        del generator
        descent = descend(rule, learner, meta, tasks.support, len(tasks), steps)
        readings, curve = read(rule, learner, meta, tasks, descent)
        gradients = {name: torch.zeros_like(meta[name]) for name in self.trains(rule)}
        return MetaStep(gradients, readings, curve, descent.gradient_norm, steps)
