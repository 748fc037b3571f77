"""What a run predicts for examples that a person gave."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metaviz.runs.model.episode import Examples

UNKNOWN = -1
"""The class of a query example of which nobody said what it is."""


@dataclass(frozen=True)
class Predicted:
    """One task of a person's own, and what is predicted after k = 0..K inner steps.

    `k` is the run's own number of steps, or the number that was asked for. `classes` are names in
    the order of the columns; in regression there are none, and `probabilities` is None. Shapes:
    probabilities (K+1, n, classes), outputs of the query (K+1, n, d), support_loss (K+1,).
    `support_names` and `names` are those of files, or numbers of rows; `remarks` are sentences
    that a person should read beside the numbers.
    """

    run: str
    label: str
    step: int
    k: int
    classes: tuple[str, ...]
    support_names: tuple[str, ...]
    names: tuple[str, ...]
    support: Examples
    query: Examples
    probabilities: np.ndarray | None
    support_loss: np.ndarray
    remarks: tuple[str, ...] = ()

    @property
    def has_steps(self) -> bool:
        """Whether adaptation took steps."""
        return len(self.support_loss) > 1

    @property
    def has_images(self) -> bool:
        """Whether the examples are pictures."""
        return self.query.x.dtype == np.uint8

    def at(self, k: int | None = None) -> int:
        """Return a number of steps that there is. Raises: IndexError."""
        place = self.k if k is None else k
        if not 0 <= place < len(self.support_loss):
            raise IndexError(f"k = {place} is not one of 0 to {len(self.support_loss) - 1}")
        return place

    def answers(self, k: int | None = None) -> tuple[str, ...]:
        """Return the likeliest class of each query example after k steps."""
        if self.probabilities is None:
            return ()
        best = self.probabilities[self.at(k)].argmax(axis=1)
        return tuple(self.classes[place] for place in best)

    def truth(self) -> tuple[str | None, ...]:
        """Return what each query example is, where its folder or label says so."""
        if not self.classes:
            return (None,) * len(self.names)
        return tuple(None if y == UNKNOWN else self.classes[y] for y in self.query.y.tolist())

    def accuracy(self, k: int | None = None) -> float | None:
        """Return the share of right answers among examples whose class is known."""
        pairs = zip(self.answers(k), self.truth(), strict=False)
        known = [answer == truth for answer, truth in pairs if truth is not None]
        return sum(known) / len(known) if known else None

    def values(self) -> dict[str, Any]:
        """Return everything as plain values: with each k a row of rows."""
        found: dict[str, Any] = {
            "run": self.run,
            "step": self.step,
            "k": self.k,
            "classes": list(self.classes),
            "names": list(self.names),
            "outputs": self.query.outputs.tolist(),
            "support_loss": self.support_loss.tolist(),
            "remarks": list(self.remarks),
        }
        if self.probabilities is not None:
            found["probabilities"] = self.probabilities.tolist()
            found["predicted"] = [list(self.answers(k)) for k in range(len(self.support_loss))]
            found["truth"] = list(self.truth())
        return found

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns of `rows`."""
        if self.probabilities is None:
            return ("name", "k", *(f"output{n}" for n in range(self.query.outputs.shape[2])))
        return ("name", "k", "predicted", "truth", *(f"p({name})" for name in self.classes))

    def rows(self) -> list[tuple[str | int | float | None, ...]]:
        """Return a row for each query example and k."""
        found: list[tuple[str | int | float | None, ...]] = []
        for k in range(len(self.support_loss)):
            answers, truth = self.answers(k), self.truth()
            for n, name in enumerate(self.names):
                if self.probabilities is None:
                    found.append((name, k, *self.query.outputs[k, n].tolist()))
                else:
                    shares = self.probabilities[k, n].tolist()
                    found.append((name, k, answers[n], truth[n], *shares))
        return found
