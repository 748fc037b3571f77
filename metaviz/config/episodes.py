"""Of how many classes and examples an episode is made."""

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

    def purpose(self, text: str, usual: "EpisodeShape") -> str:
        """Return the purpose of a stream of draws: of another shape, tasks are others.

        Streams take the same number of draws for every task of a purpose.
        """
        return text if self == usual else f"{text} {self.ways}-way {self.shots}+{self.query}"
