"""Plain classification of all training classes, with a head for new ones: no episodes in training.

SimpleShot, Baseline and Baseline++ are this with their heads.
"""

from typing import ClassVar, Self

from typing_extensions import override

from metaviz.algorithms.outer_options import OwnOuter
from metaviz.algorithms.registry import register
from metaviz.charts.embedding import EMBEDDING
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.classification import (
    ACCURACIES,
    PlainModel,
    TrainingHead,
    plain_classification,
)
from metaviz.meta.heads import HeadName, Heads


class ClassifierOptions(OwnOuter):
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
    label_smoothing: float = option(
        0.0,
        "Label smoothing s",
        "The target is 1 − s for the right class, plus s / C for each of the C classes.",
        ge=0,
        le=0.99,
    )

    method: ClassVar[str] = "classifier"

    @override
    def untrained(self, examples: int) -> Self:
        """Return the options as they are: heads need no training; the mean feature is zero."""
        del examples
        return self


@register(
    ClassifierOptions,
    id="classifier",
    title="Classifier",
    group="Baselines",
    color=29,
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
