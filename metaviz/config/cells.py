"""Cells: small networks as strings, their forms, and all that one can be grown to.

A cell is a list of blocks, and a block the sum of two operations on two inputs: `0.conv3+1.id`.
Input 0 is what the cell before gave, 1 what the one before that gave, and 2 + j block j of the
same cell. Blocks follow each other behind `|`.
Source: Liu et al. 2018, arXiv:1712.00559 (PNAS), as far as Kim et al. 2018, arXiv:1806.06927, use
it.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

INPUTS = 2
"""Inputs of a cell from outside."""
MOST_BLOCKS = 5
IDENTITY = "id"
IMAGE_OPERATIONS = ("id", "conv3", "sep3", "max3", "avg3", "dil3", "conv1", "sep5")
VECTOR_OPERATIONS = ("id", "relu", "tanh", "sin")
IMAGE_CELL = "1.conv3+1.conv3|0.conv3+2.id"
VECTOR_CELL = "0.tanh+1.id"


class Half(NamedTuple):
    """An operation on one input."""

    input: int
    operation: str


Block = tuple[Half, Half]
Cell = tuple[Block, ...]


class CellError(ValueError):
    """A text is no cell; the message is a clause."""


def parse_cell(text: str, operations: Sequence[str]) -> Cell:
    """Read a cell. Raises: CellError."""
    blocks = text.split("|")
    if len(blocks) > MOST_BLOCKS:
        raise CellError(f"it has {len(blocks)} blocks: use at most {MOST_BLOCKS}")
    return tuple(_block(part, number, operations) for number, part in enumerate(blocks))


def cell_text(cell: Cell) -> str:
    """Write a cell as `parse_cell` reads it."""
    return "|".join("+".join(f"{h.input}.{h.operation}" for h in block) for block in cell)


def checked_cell(text: str, operations: Sequence[str], key: str = "cell") -> str:
    """Return a text that is a cell. Raises: ValueError with one sentence."""
    try:
        return cell_text(parse_cell(text, operations))
    except CellError as error:
        raise ValueError(
            f"{key} = {text!r:.120} is no cell: {error}. Write blocks like 0.{operations[1]}+1.id "
            f"with | between, of {', '.join(operations)}."
        ) from None


def canonical(cell: Cell) -> Cell:
    """Return the one form of all cells that are the same network.

    Halves come by input and operation; of all orders of the blocks in which none stands before one
    that it uses, that comes first which is the smallest by depth and then by its halves.
    """
    return min(_ordered(cell), key=lambda form: (depths(form), form))


def depths(cell: Cell) -> tuple[int, ...]:
    """Return how many blocks stand before each block, one upon another."""
    found: list[int] = []
    for block in cell:
        found.append(max(0 if h.input < INPUTS else 1 + found[h.input - INPUTS] for h in block))
    return tuple(found)


def loose_ends(cell: Cell) -> tuple[int, ...]:
    """Return the blocks that no other uses: they are what the cell gives."""
    used = {half.input - INPUTS for block in cell for half in block}
    return tuple(number for number in range(len(cell)) if number not in used)


def blocks_of(inputs: int, operations: Sequence[str]) -> list[Block]:
    """Return every block of so many inputs but those that double an input as it is."""
    halves = [Half(number, name) for number in range(inputs) for name in operations]
    return [
        (first, second)
        for place, first in enumerate(halves)
        for second in halves[place:]
        if not first == second == Half(first.input, IDENTITY)
    ]


def expanded(cell: Cell, operations: Sequence[str]) -> list[Cell]:
    """Return the cell with one more block, in every form."""
    return [(*cell, block) for block in blocks_of(INPUTS + len(cell), operations)]


def grown(cells: Sequence[Cell], operations: Sequence[str]) -> list[Cell]:
    """Return all cells of one more block than these have, each once, in canonical form."""
    return sorted({canonical(form) for cell in cells for form in expanded(cell, operations)})


def _ordered(cell: Cell) -> Iterator[Cell]:
    """Yield the cell with its blocks in every order in which all inputs come before their use."""
    for order in permutations(range(len(cell))):
        place = {old: new for new, old in enumerate(order)}
        form = []
        for new, old in enumerate(order):
            halves = [_moved(half, place) for half in cell[old]]
            if any(half.input >= INPUTS + new for half in halves):
                break
            form.append((min(halves), max(halves)))
        else:
            yield tuple(form)


def _moved(half: Half, place: dict[int, int]) -> Half:
    if half.input < INPUTS:
        return half
    return half._replace(input=INPUTS + place[half.input - INPUTS])


def _block(text: str, number: int, operations: Sequence[str]) -> Block:
    halves = [_half(part.strip(), number, operations) for part in text.split("+")]
    if len(halves) != 2:  # noqa: PLR2004  (a block is a sum of two)
        raise CellError(f"block {number + 1} is a sum of {len(halves)} operations, not of two")
    return halves[0], halves[1]


def _half(text: str, number: int, operations: Sequence[str]) -> Half:
    place, dot, operation = text.partition(".")
    if not dot or not place.isascii() or not place.isdecimal() or len(place) > 1:
        raise CellError(f"{text!r:.30} is no operation on an input")
    if int(place) >= INPUTS + number:
        before = "" if number == 0 else f", or blocks before it from {INPUTS} on"
        raise CellError(f"block {number + 1} has the inputs 0 and 1{before}, and no {place}")
    if operation not in operations:
        raise CellError(f"there is no operation {operation!r:.30}")
    return Half(int(place), operation)
