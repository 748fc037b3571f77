"""What predicts the score of a cell before it is trained: an ensemble of small LSTMs.

Source: Liu et al. 2018, arXiv:1712.00559, section 4.2. Deviation: 32 units in place of 100, as a
desktop's searches have tens of children, not hundreds.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from metaviz.config.cells import INPUTS, MOST_BLOCKS, Cell
from metaviz.problems.stream import derived_seed

MEMBERS = 5
SHARE = 0.8
EPOCHS = 120
UNITS = 32
RATE = 1e-2
FIRST_BIAS = 1.0


class Surrogate(nn.Module):
    """Reads a cell's inputs and operations one after another, and ends with a score in (0, 1)."""

    def __init__(self, operations: Sequence[str], generator: torch.Generator) -> None:
        """Draw weights: normal embeddings, all else uniform in +-1/sqrt(units)."""
        super().__init__()
        self.numbers = {name: number for number, name in enumerate(operations)}
        self.inputs = nn.Embedding(INPUTS + MOST_BLOCKS, UNITS, dtype=torch.float64)
        self.operations = nn.Embedding(len(operations), UNITS, dtype=torch.float64)
        self.lstm = nn.LSTM(UNITS, UNITS, batch_first=True, dtype=torch.float64)
        self.head = nn.Linear(UNITS, 1, dtype=torch.float64)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if name.startswith(("inputs", "operations")):
                    weight.normal_(generator=generator)
                else:
                    weight.uniform_(-(UNITS**-0.5), UNITS**-0.5, generator=generator)
            self.head.bias.fill_(FIRST_BIAS)

    def forward(self, cells: Sequence[Cell]) -> Tensor:
        """Map cells of equally many blocks to scores (n,)."""
        halves = [[half for block in cell for half in block] for cell in cells]
        inputs = torch.tensor([[half.input for half in one] for one in halves])
        operations = torch.tensor(
            [[self.numbers[half.operation] for half in one] for one in halves]
        )
        tokens = torch.stack([self.inputs(inputs), self.operations(operations)], 2).flatten(1, 2)
        states, _ = self.lstm(tokens)
        scores: Tensor = torch.sigmoid(self.head(states[:, -1])).squeeze(1)
        return scores


def rank(
    known: Sequence[tuple[Cell, float]], candidates: Sequence[Cell], seed: int
) -> tuple[list[float], list[float]]:
    """Return the predicted scores of candidates: means and deviations over the ensemble.

    The same numbers for the same seed, whatever the order in which the scores came.
    """
    ordered = sorted(known)
    operations = sorted({h.operation for cell in (*(c for c, _ in ordered), *candidates)
                         for block in cell for h in block})  # fmt: skip
    with _one_thread():
        each = torch.stack(
            [
                _predicted(
                    _fitted(ordered, operations, derived_seed(seed, f"surrogate {m}")), candidates
                )
                for m in range(MEMBERS)
            ]
        )
    return each.mean(0).tolist(), each.std(0, correction=0).tolist()


def _fitted(known: Sequence[tuple[Cell, float]], operations: Sequence[str], seed: int) -> Surrogate:
    """Fit a member to a random part of the known scores, by the mean absolute error."""
    generator = torch.Generator().manual_seed(seed)
    model = Surrogate(operations, generator)
    order = torch.randperm(len(known), generator=generator).tolist()
    some = [known[place] for place in order[: max(1, round(SHARE * len(known)))]]
    batches = [
        (cells, torch.tensor(scores, dtype=torch.float64)) for cells, scores in _by_length(some)
    ]
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(EPOCHS):
        for cells, scores in batches:
            optimiser.zero_grad()
            (model(cells) - scores).abs().mean().backward()
            optimiser.step()
    return model


@torch.no_grad()
def _predicted(model: Surrogate, cells: Sequence[Cell]) -> Tensor:
    """Return the scores of cells of equally many blocks, (n,)."""
    scores: Tensor = model(cells)
    return scores


def _by_length(known: Sequence[tuple[Cell, float]]) -> Iterator[tuple[list[Cell], list[float]]]:
    """Yield cells and scores by the number of blocks, each a whole batch."""
    found: dict[int, list[tuple[Cell, float]]] = defaultdict(list)
    for cell, score in known:
        found[len(cell)].append((cell, score))
    for length in sorted(found):
        cells, scores = zip(*found[length], strict=True)
        yield list(cells), list(scores)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order, whatever the machine has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
