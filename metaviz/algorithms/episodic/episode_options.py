"""Options of methods whose training episodes may have sizes of their own."""

from typing import Any, Literal

from metaviz.algorithms.registry import MethodOptions
from metaviz.config.episodes import TrainingEpisodes
from metaviz.config.options import option

Embedding = Literal["apart", "together"]


def _size(title: str, description: str, least: int = 1) -> Any:
    text = f"{description} Empty: the shared value."
    return option(None, title, text, ge=least, le=1000)


class SizedEpisodes(MethodOptions):
    """Shots and query examples of training episodes, of methods made for a number of ways."""

    train_shots: int | None = _size(
        "Shots in training", "Support examples per class of a training episode."
    )
    train_query: int | None = _size(
        "Query examples in training", "Query examples per class of a training episode."
    )

    def episodes(self) -> TrainingEpisodes:
        """Return the sizes of training episodes."""
        return TrainingEpisodes(None, self.train_shots, self.train_query)


class EpisodeOptions(SizedEpisodes):
    """Ways, shots and query examples of training episodes."""

    train_ways: int | None = _size(
        "Ways in training",
        "Classes of a training episode. More than at evaluation make training harder, which the "
        "authors found to help.",
        least=2,
    )

    def episodes(self) -> TrainingEpisodes:
        """Return the sizes of training episodes."""
        return TrainingEpisodes(self.train_ways, self.train_shots, self.train_query)


def embed_option() -> Any:
    """Return the option that says which examples normalise each other."""
    return option(
        "apart",
        "Support and query",
        "Where a network normalises by a batch: by the statistics of each set, like methods with "
        "an inner loop, or of both in one call, as published.",
        labels={"apart": "embedded apart", "together": "embedded together"},
    )
