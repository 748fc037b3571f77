"""What pages and figures need of runs, and what they say of runs that have it not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metaviz.config.catalogue import shipped_catalogue
from metaviz.runs.analysis.geometry import has_learned, has_map
from metaviz.runs.model.record import Record

_MOST_NAMES = 3


@dataclass(frozen=True)
class Need:
    """Something that runs have or have not, as their stored traits and pictures tell."""

    has: Callable[[Record], bool]
    lack: str
    """What a run without it has, like "no inner loop"."""
    missing: str
    """The sentence that is shown where no run has it."""
    learned: bool = False
    """Whether a run has it from its first evaluation on, and not before."""

    def lacks(self, record: Record) -> bool:
        """Return whether a run has it not, and will not get it."""
        return not self.has(record) and (not self.learned or bool(record.evaluations))

    def left_out(self, records: Sequence[Record], why: str = "{} not drawn here") -> str:
        """Name the methods of the runs that lack it in a sentence; empty where none does."""
        found = dict.fromkeys(record.algorithm for record in records if self.lacks(record))
        names = [_title(name) for name in found]
        if not names:
            return ""
        more = len(names) - _MOST_NAMES
        names = [*names[:_MOST_NAMES], f"{more} more"] if more > 0 else names
        several = len(names) > 1
        subject = ", ".join(names[:-1]) + " and " + names[-1] if several else names[0]
        rest = why.format("they are" if several else "it is")
        return f"{subject} {'have' if several else 'has'} {self.lack}: {rest}."


def why_no_step(records: Sequence[Record]) -> str:
    """Say why runs have taken no meta-step: what ended each, as far as that is stored."""
    told = [
        f"{record.label} {record.state}: {record.message.partition(' What may help')[0]}"
        if record.message
        else ""
        for record in records
        if not len(record)
    ]
    known = list(dict.fromkeys(filter(None, told)))
    more = len(known) - _MOST_NAMES
    rest = [f"And {more} more."] if more > 0 else []
    return "\n".join(["No shown run has taken a meta-step.", *known[:_MOST_NAMES], *rest])


def _title(algorithm: str) -> str:
    entry = shipped_catalogue().algorithm(algorithm)
    return algorithm if entry is None else entry.title


INNER_LOOP = Need(
    lambda record: record.traits.has_inner_loop,
    "no inner loop",
    "The ticked methods have no inner loop, so that there are no inner steps to draw. Tick a run "
    "of one that adapts step by step, like MAML.",
)
LEARNED = Need(
    has_learned,
    "no learned geometry",
    "Tick a run of a method that learns a geometry, like Meta-SGD. "
    "Its first evaluation opens this page.",
    learned=True,
)
MAP = Need(
    has_map,
    "no mirror map",
    "Tick a run of Mirror descent. Its first evaluation opens this page.",
    learned=True,
)
POSTERIOR = Need(
    lambda record: record.traits.probabilistic,
    "no posterior",
    "Tick a run of a method that says how sure it is of its predictions, like PLATIPUS or LLAMA.",
    learned=True,
)
