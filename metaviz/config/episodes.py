"""Of how many classes and examples an episode, or a batch without episodes, is made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpisodeShape:
    """Classes of a task, and support and query examples of each."""

    ways: int
    shots: int
    query: int

    @property
    def examples(self) -> int:
        """Examples of each class."""
        return self.shots + self.query

    @property
    def parts(self) -> tuple[slice, slice]:
        """The support and the query examples of a class."""
        return slice(self.shots), slice(self.shots, self.examples)

    def purpose(self, text: str, usual: "EpisodeShape") -> str:
        """Return the purpose of a stream of draws: of another shape, tasks are others.

        Streams take the same number of draws for every task of a purpose.
        """
        return text if self == usual else f"{text} {self.ways}-way {self.shots}+{self.query}"


@dataclass(frozen=True)
class TrainingEpisodes:
    """What a method asks of its training episodes; None as in evaluation.

    `plain` examples of all training classes come beside each task.
    """

    ways: int | None = None
    shots: int | None = None
    query: int | None = None
    plain: int = 0

    @property
    def usual(self) -> bool:
        """Whether episodes have the shape of evaluation tasks."""
        return (self.ways, self.shots, self.query) == (None, None, None)

    def shape(self, usual: EpisodeShape) -> EpisodeShape:
        """Return the shape of training episodes where that of evaluation is the usual one."""
        return EpisodeShape(
            usual.ways if self.ways is None else self.ways,
            usual.shots if self.shots is None else self.shots,
            usual.query if self.query is None else self.query,
        )


@dataclass(frozen=True)
class PlainBatches:
    """Training without episodes: batches of so many examples of all training classes."""

    size: int
