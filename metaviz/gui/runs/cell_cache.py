"""What the cells of a table show, so that only those that change are redrawn."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

Columns = tuple[int, int]


@dataclass(frozen=True)
class Block:
    """Neighbouring rows of one parent, and the first and last column to redraw in them."""

    parent: int
    top: int
    bottom: int
    left: int
    right: int


class CellCache:
    """Remembers the texts of rows by name, and the look of each: colours, ticks and marks."""

    def __init__(self) -> None:
        """Make an empty cache."""
        self._known: dict[Hashable, tuple[object, tuple[str, ...]]] = {}

    def forget(self) -> None:
        """Treat every row as changed from now on."""
        self._known.clear()

    def renew(self, name: Hashable, look: object, texts: Sequence[str]) -> Columns | None:
        """Remember a row; return its first and last column that changed, None if none did."""
        before, now = self._known.get(name), (look, tuple(texts))
        self._known[name] = now
        if before is None or before[0] != look or len(before[1]) != len(now[1]):
            return 0, len(now[1]) - 1
        places = [i for i, (a, b) in enumerate(zip(before[1], now[1], strict=True)) if a != b]
        return (places[0], places[-1]) if places else None


def blocks(changed: Iterable[tuple[int, int, Columns]]) -> list[Block]:
    """Join (parent, row, columns) of neighbouring rows."""
    found: list[Block] = []
    for parent, row, (left, right) in sorted(changed):
        last = found[-1] if found else None
        if last is not None and (last.parent, last.bottom + 1) == (parent, row):
            found[-1] = replace(
                last, bottom=row, left=min(left, last.left), right=max(right, last.right)
            )
        else:
            found.append(Block(parent, row, row, left, right))
    return found
