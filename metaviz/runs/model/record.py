"""The record of a run: numpy columns that grow while it trains, the same live and reopened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.config.quantities import Quantity, quantity_of
from metaviz.config.run_config import OF_INNER_LOOPS
from metaviz.config.traits import USUAL, Traits
from metaviz.runs.model.events import (
    STEP_COLUMNS,
    Divergence,
    Ended,
    Evaluated,
    Event,
    Noted,
    Pictured,
    State,
    Stepped,
    Waiting,
)
from metaviz.runs.model.labels import run_label
from metaviz.runs.model.marks import Marks

MOST_PICTURES = 128
"""So many pictures of a run a window keeps, spread evenly over its evaluations."""
_FIRST_CAPACITY = 256
_ROWS = len(STEP_COLUMNS) + 1
_SIZES = {"meta_batch", "ways", "shots", "query_shots"}
_PLACES = {name: row for row, name in enumerate(("step", *STEP_COLUMNS))}


def run_id(folder: Path) -> str:
    """Return what the run in a folder is known by: the folder's name, also of `.` and `..`."""
    return os.path.basename(os.path.abspath(folder))  # noqa: PTH100, PTH119 - a link keeps its name


@dataclass
class Record:
    """Everything that is known of one run, as numbers and text.

    `config` is the plain form of its RunConfig, `environment` what it ran on. `revision` grows
    with every event, so that a plot can check whether there is something new.

    `id` is the name of the run's folder, which no other run beside it has. What its file says it
    is called is `stored_id`: other once a person has copied or renamed the folder.
    """

    id: str
    config: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)
    state: State = "running"
    message: str = ""
    divergence: Divergence | None = None
    marks: Marks = field(default_factory=Marks)
    parent: dict[str, Any] = field(default_factory=dict)
    """Which run this one came from: `run`, its id, and `kind`, why; empty for most."""
    network: dict[str, Any] = field(default_factory=dict)
    """What its weights belong to: `id`, `version` and `options`; empty for runs of 0.1."""
    traits: Traits = USUAL
    """What is true of its method; usual in runs of 0.1, which all have an inner loop."""
    resolved: dict[str, Any] = field(default_factory=dict)
    """The step sizes in force, never read back as options; empty in runs of 0.1."""
    evaluations: list[Evaluated] = field(default_factory=list)
    pictures: list[Pictured] = field(default_factory=list)
    notes: list[Noted] = field(default_factory=list)
    doing: str = ""
    """What a run does before its next meta-step can be taken, empty where it goes on."""
    doing_tasks: int = 0
    """Of how many tasks that consists, 0 where it is not counted in tasks."""
    is_stalled: bool = False
    """Whether that is no part of the usual pace: its meta-step is being compiled."""
    last_inner: tuple[np.ndarray, np.ndarray] | None = None
    stored_id: str | None = None
    """The id that the run was made with; None where that is `id`."""
    most_pictures: int | None = None
    """How many pictures are kept; of more, every second, fourth, ... and the newest. None: all."""
    pictured: int = 0
    """How many pictures there were, kept or not."""
    revision: int = 0
    latest: dict[str, float] = field(default_factory=dict)
    """Last numbers of quantities by id, where not all meta-steps were read."""
    _stride: int = 1
    _rows: int = 0
    _table: np.ndarray = field(default_factory=lambda: np.full((_ROWS, _FIRST_CAPACITY), np.nan))
    _own: dict[str, Quantity] = field(default_factory=dict)
    """What the rows of the table after those of STEP_COLUMNS mean, in their order."""

    @property
    def made_as(self) -> str:
        """The id that the run was made with."""
        return self.id if self.stored_id is None else self.stored_id

    @property
    def applied(self) -> dict[str, Any]:
        """The configuration without the shared settings that mean nothing to the method."""
        if self.traits.has_inner_loop:
            return self.config
        shared = self.config.get("shared", {}).items()
        return {**self.config, "shared": {k: v for k, v in shared if k not in OF_INNER_LOOPS}}

    @property
    def algorithm(self) -> str:
        """Id of the algorithm."""
        return str(self.config["algorithm"])

    @property
    def problem(self) -> str:
        """Id of the problem."""
        return str(self.config["problem"])

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config["seed"])

    @property
    def total_steps(self) -> int:
        """Meta-steps that were asked for."""
        return int(self.config["steps"])

    @property
    def label(self) -> str:
        """Name given by a person, or algorithm and seed."""
        return run_label(self.marks, self.algorithm, self.seed)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state not in {"running", "paused"}

    @property
    def step(self) -> int:
        """Number of the last meta-step, 0 before the first."""
        return int(self._table[0, self._rows - 1]) if self._rows else 0

    def __len__(self) -> int:
        """Return the number of recorded meta-steps."""
        return self._rows

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What the run recorded beyond STEP_COLUMNS, in the order in which it came."""
        return tuple(self._own.values())

    def column(self, name: str) -> np.ndarray:
        """Return one column over the recorded meta-steps; NaN where a number does not apply.

        `name` is `step`, one of STEP_COLUMNS, or the id of another quantity, which may be one that
        this run has not recorded. The array is a view: do not write to it.
        """
        row = _PLACES.get(name)
        if row is None:
            if name not in self._own:
                return self._counted(name)
            row = _ROWS + list(self._own).index(name)
        return self._table[row, : self._rows]

    def _counted(self, name: str) -> np.ndarray:
        """Return what meta-steps have taken; NaN where that is not stored, or was changed."""
        changed = {
            key for one in self.config.get("amendments", ()) for key in one.get("shared", {})
        }
        each = self.resolved.get("per_step", {}).get(name, np.nan)
        return self._table[0, : self._rows] * (np.nan if changed & _SIZES else each)

    def last(self, name: str) -> float:
        """Return the last number of a column that is one, NaN without any."""
        column = self.column(name)
        known = column[np.isfinite(column)]
        return float(known[-1]) if known.size else self.latest.get(name, np.nan)

    def own_results(self) -> dict[str, tuple[Quantity, float]]:
        """Return the last numbers of the quantities that not every run has, by their ids.

        Of one that was evaluated that is the number after adaptation.
        """
        found = {own.id: (own, self.last(own.id)) for own in self.quantities}
        for name in self.evaluations[-1].own if self.evaluations else ():
            known = self._own.get(name) or quantity_of(name)
            found[name] = known, self.evaluations[-1].at(name)
        return found

    def apply(self, event: Event) -> None:
        """Take in one event."""
        self.revision += 1
        self.doing = event.message if isinstance(event, Waiting) else ""
        self.doing_tasks = event.tasks if isinstance(event, Waiting) else 0
        self.is_stalled = isinstance(event, Waiting) and not event.is_usual
        if isinstance(event, Stepped):
            for quantity in event.quantities:
                self.describe(quantity)
            numbers = [event.values.get(name) for name in STEP_COLUMNS]
            self.append_row(event.step, numbers, event.values)
            self.last_inner = (event.inner_support_loss, event.inner_gradient_norm)
        elif isinstance(event, Evaluated):
            self.evaluations.append(event)
        elif isinstance(event, Pictured):
            self._keep(event)
        elif isinstance(event, Noted):
            self.notes.append(event)
        elif isinstance(event, Ended):
            self.state, self.message = event.state, event.message
            self.divergence = event.divergence

    @property
    def is_thinned(self) -> bool:
        """Whether there were pictures that are not kept here; all of them are stored."""
        return len(self.pictures) < self.pictured

    def _keep(self, picture: Pictured) -> None:
        """Add a picture; where there are too many, keep half of the others, evenly spread."""
        if self.pictures and (self.pictured - 1) % self._stride:
            self.pictures.pop()  # it was there as the newest only
        if self.most_pictures is not None:
            # What the training thread allocated lies between its tensors and keeps their heap.
            own = {name: array.copy() for name, array in picture.arrays.items()}
            picture = Pictured(picture.step, own)
        self.pictures.append(picture)
        self.pictured += 1
        if self.most_pictures is not None and len(self.pictures) > self.most_pictures:
            self._stride *= 2
            self.pictures[:] = [*self.pictures[:-1:2], picture]

    def describe(self, quantity: Quantity) -> None:
        """Make room for a quantity without a column of its own in the database."""
        if quantity.id not in self._own and quantity.id not in _PLACES:
            self._own[quantity.id] = quantity
            room = np.full((1, self._table.shape[1]), np.nan)
            self._table = np.concatenate([self._table, room])

    def append_row(
        self,
        step: int,
        values: list[float | None],
        own: Mapping[str, float | None] | None = None,
    ) -> None:
        """Append the numbers of one meta-step, in the order of STEP_COLUMNS, and others by id."""
        if self._rows == self._table.shape[1]:
            room = np.full((len(self._table), _FIRST_CAPACITY + self._rows // 4), np.nan)
            self._table = np.concatenate([self._table, room], axis=1)
        if self._own:
            values = [*values, *((own or {}).get(name) for name in self._own)]
        self._table[0, self._rows] = step
        self._table[1:, self._rows] = [np.nan if value is None else value for value in values]
        self._rows += 1
