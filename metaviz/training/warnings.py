"""Difficulties of a run's tasks: noted when one first occurs, summed up at evaluations."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from metaviz.files.values import of_kind
from metaviz.runs.model.events import Noted


class Warnings:
    """Counts tasks that met a difficulty, by the sentence that says which."""

    def __init__(self, saved: dict[str, Any] | None = None) -> None:
        """Begin at nothing, or where `state` left off. Raises: ForeignError where it is damaged."""
        stored = of_kind(saved or {}, dict, "warnings")
        counts = of_kind(stored.get("counts", {}), dict, "counts")
        self._counts: dict[str, int] = {
            of_kind(name, str, "counts"): of_kind(count, int, "counts")
            for name, count in counts.items()
        }
        new, known = (of_kind(stored.get(key, []), list, key) for key in ("new", "known"))
        self._new = [of_kind(one, str, "new") for one in new]
        self._known = {of_kind(one, str, "known") for one in known}
        self._tasks = of_kind(stored.get("tasks", 0), int, "tasks")

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            "counts": dict(self._counts),
            "new": list(self._new),
            "known": sorted(self._known),
            "tasks": self._tasks,
        }

    def once(self, sentence: str) -> None:
        """Take in what is to be said a single time."""
        if sentence not in self._known:
            self._known.add(sentence)
            self._new.append(sentence)

    def count(self, masks: dict[str, Tensor], tasks: int) -> None:
        """Take in which tasks of a meta-batch met what, each mask of shape (tasks,)."""
        self._tasks += tasks
        for sentence, mask in masks.items():
            hits = int(mask.sum())
            if hits:
                self._counts[sentence] = self._counts.get(sentence, 0) + hits
                if sentence not in self._known:
                    self._known.add(sentence)
                    self._new.append(f"{sentence} ({hits} of {tasks} tasks).")

    def first(self, step: int) -> Iterator[Noted]:
        """Yield what happened for the first time."""
        while self._new:
            yield Noted(step, "warning", self._new.pop(0))

    def summary(self, step: int) -> Iterator[Noted]:
        """Yield how often each difficulty was met since the last summary."""
        while self._counts:
            sentence = next(iter(self._counts))
            hits = self._counts.pop(sentence)
            head = sentence.split(",")[0].split(";")[0]
            share = f"in {hits} of {self._tasks} task solves since the last evaluation"
            yield Noted(step, "warning", f"{head}: {share}.")
        self._tasks = 0
