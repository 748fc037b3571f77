"""What methods that need no training predict for an episode of vectors."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from metaviz.algorithms.registry import ALGORITHMS, find_algorithm
from metaviz.config.options import OptionError, Plain, known_text
from metaviz.config.run_config import Shared
from metaviz.meta.context import Context
from metaviz.meta.learner import Learner
from metaviz.nets.identity import Identity
from metaviz.problems.base import ClassificationJudge
from metaviz.problems.episode_file import Episode

IDENTITY = "identity"


@dataclass(frozen=True)
class Answer:
    """What is predicted for query examples, by row, of classes, by column, in increasing order."""

    classes: tuple[int, ...]
    probabilities: list[list[float]]
    outputs: list[list[float]]


def predict_untrained(
    algorithm: str,
    network: str,
    episode: Episode,
    values: Mapping[str, Plain],
    dtype: torch.dtype = torch.float64,
) -> Answer:
    """Predict the query examples of an episode by a method that needs no training.

    Outputs are the method's own, logits or logarithms. Probabilities are its own where it has
    some (those of attention, which the outputs hold up to 1e-6), else the softmax of the outputs.
    Raises: OptionError for a method that must be trained, a network with weights or wrong options.
    """
    method = find_algorithm(algorithm)
    if network != IDENTITY:
        raise OptionError(
            "network",
            f"network = {network!r} is not valid: without a run there are no weights, "
            f"{known_text(network, [IDENTITY])}.",
        )
    chosen = method.checked(values).untrained(episode.examples)
    if chosen is None:
        raise OptionError("algorithm", _must_be_trained(algorithm, values))
    shared = Shared(ways=len(episode.classes))
    made = method.make(chosen, shared)
    tasks = episode.tasks.to("cpu", dtype)
    if not all((4 * part.x.square().sum()).isfinite() for part in (tasks.support, tasks.query)):
        raise OptionError(
            "episode",
            f"The numbers of the episode are too large to be squared in {str(dtype)[6:]}: scale "
            "them all alike.",
        )
    learner = Learner(Identity(episode.size), ClassificationJudge())
    made.fit(learner)
    drawn = made.init(learner, torch.Generator().manual_seed(0))
    meta = {name: value.to(dtype) for name, value in drawn.items()}
    context = Context(learner, tasks, made.steps, ways=len(episode.classes))
    *_, state = made.adapt(context, meta)
    found = state.predict(tasks.query, maps=True)
    probabilities = found.maps.get("probabilities")
    if probabilities is None:
        probabilities = torch.softmax(found.outputs, 2)
    return Answer(episode.classes, probabilities[0].tolist(), found.outputs[0].tolist())


def _must_be_trained(algorithm: str, values: Mapping[str, Plain]) -> str:
    """Say why a method cannot predict, and which can."""
    able = [name for name, one in ALGORITHMS.items() if one.checked({}).untrained(2) is not None]
    if algorithm in able:
        chosen = ", ".join(f"{algorithm}.{key} = {value}" for key, value in values.items())
        return f"{algorithm} has weights to learn with {chosen}: leave that out."
    return f"{algorithm} has to be trained before it predicts; without a run: {', '.join(able)}."
