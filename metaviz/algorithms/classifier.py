"""Plain classification of all training classes, with a head for new ones: no episodes in training.

SimpleShot, Baseline and Baseline++ are this with their heads.
"""

import re
from typing import Literal, Self

from typing_extensions import override

from metaviz.algorithms.registry import MethodOptions, register
from metaviz.charts.embedding import EMBEDDING
from metaviz.config.options import OptionError, option
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.classification import (
    ACCURACIES,
    PlainModel,
    TrainingHead,
    plain_classification,
)
from metaviz.meta.heads import HeadName, Heads


class ClassifierOptions(MethodOptions):
    """Options of plain classification."""

    head: HeadName = option(
        "cl2n",
        "Head for new classes",
        "How a task's classes are told apart by features z. Nearest mean: −|z − c|², c the mean of "
        "a class's support features; of features of length 1; or of features minus the mean "
        "feature of training, then of length 1. Cosine: of z and c, times a scale. Logistic "
        "regression: the linear classifier with the least cross-entropy, solved to the end.",
        labels={
            "un": "nearest mean (UN)",
            "l2n": "nearest mean, length 1 (L2N)",
            "cl2n": "nearest mean, centred, length 1 (CL2N)",
            "cosine": "cosine",
            "logistic": "logistic regression",
        },
    )
    every_head: bool = option(
        True,
        "Measure every head",
        "Evaluate the accuracy of all heads, each as a quantity of its own.",
    )
    cosine_scale: float = option(
        10.0, "Scale of cosines", "Cosines are multiplied by this.", gt=0, le=1e6, log=True
    )
    ridge: float = option(
        0.001,
        "Ridge of logistic regression",
        "λ of mean cross-entropy + λ/2 |W|², the bias included: the weight decay of Baseline.",
        gt=0,
        le=1e6,
        log=True,
    )
    training: TrainingHead = option(
        "softmax",
        "Head in training",
        "Softmax: a linear layer of all training classes. Cosine: the scale times the cosine of "
        "features and class weights, as in Baseline++.",
        labels={"softmax": "linear", "cosine": "cosine"},
    )
    batch_size: int = option(
        64,
        "Batch size",
        "Training examples of a step, of any classes. An epoch shows every one once.",
        ge=2,
        le=100_000,
    )
    outer_lr: float | None = option(
        None,
        "Own step size β",
        "Step size of training. Empty: the shared value.",
        gt=0,
        le=1000,
        log=True,
    )
    optimizer: Literal["adam", "sgd"] | None = option(
        None,
        "Own optimiser",
        "Adam, or gradient descent with the momentum below. Empty: the shared one.",
        labels={"adam": "Adam", "sgd": "SGD"},
    )
    momentum: float = option(
        0.9, "Momentum of SGD", "v ← μ v + g; weights step along v.", ge=0, le=0.9999
    )
    nesterov: bool = option(False, "Nesterov's momentum", "Weights step along g + μ v.")
    weight_decay: float = option(
        0.0,
        "Weight decay",
        "Times the weights, added to their gradient, also those of the normalisation.",
        ge=0,
        le=1,
    )
    drops: str = option(
        "",
        "Drop the step size after",
        "Epochs with commas between, like 45,67. Empty: never.",
        unit="epochs",
    )
    drop: float = option(
        0.1, "Drop to", "What the step size is multiplied by at each drop.", gt=0, le=1
    )
    label_smoothing: float = option(
        0.0,
        "Label smoothing s",
        "The target is 1 − s for the right class, plus s / C for each of the C classes.",
        ge=0,
        le=0.99,
    )

    def epochs(self) -> tuple[int, ...]:
        """Return after which epochs the step size drops. Raises: OptionError."""
        text = self.drops.replace(" ", "")
        if text and not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8}){0,99}", text):
            raise OptionError(
                "classifier.drops",
                f"classifier.drops = {self.drops[:40]!r} is not valid: use whole numbers of epochs "
                "with commas between, like 45,67.",
            )
        return tuple(map(int, filter(None, text.split(","))))

    @override
    def untrained(self, examples: int) -> Self:
        """Return the options as they are: heads need no training; the mean feature is zero."""
        del examples
        return self

    @override
    def outer_rule(self, shared: Shared, *, of_network: bool) -> OuterRule:
        del of_network
        return OuterRule(
            shared.outer_lr if self.outer_lr is None else self.outer_lr,
            optimizer=self.optimizer,
            momentum=self.momentum,
            nesterov=self.nesterov,
            decay=self.weight_decay,
            drops=self.epochs(),
            drop=self.drop,
        )


@register(
    ClassifierOptions,
    id="classifier",
    title="Classifier",
    group="Baselines",
    color=13,
    summary="A network that tells all training classes apart; its features serve for new classes.",
    needs={
        "classes": "Classifier tells classes apart",
        "examples": "Classifier learns from examples of all training classes together",
    },
    quantities=tuple(quantity.id for quantity in ACCURACIES.values()),
    charts=(EMBEDDING,),
    formula="min Σ CE(W f(x) + b, y) over all training classes;  then p(n | x) ∝ exp(−|z − cₙ|²)",
    cost="1 gradient per example and epoch; no episodes, no inner steps",
    citation="Wang et al. 2019, arXiv:1911.04623 (SimpleShot); Chen et al. 2019, arXiv:1904.04232 "
    "(Baseline, Baseline++)",
)
def classifier(options: ClassifierOptions, shared: Shared) -> Algorithm:
    """Build plain classification."""
    del shared
    options.epochs()  # refused before training, where they are wrong
    model = PlainModel(
        options.head,
        Heads(options.cosine_scale, options.ridge),
        options.training,
        options.cosine_scale,
        options.every_head,
    )
    return plain_classification(model, options.batch_size, options.label_smoothing)
