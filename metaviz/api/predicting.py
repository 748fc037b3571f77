"""Runs that adapt to a person's examples and predict others."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metaviz.api.stored import Place, Run, runs_at
from metaviz.api.tables import Table, html_table, table_of
from metaviz.config.options import OptionError
from metaviz.runs.export.tables import Table as Written
from metaviz.runs.model.prediction import Predicted

if TYPE_CHECKING:
    from metaviz.training.prediction.examples import Given

Examples = Place | Sequence[Place] | np.ndarray | tuple[Any, Any]
"""Folders, archives, pictures or an .npz file; an array; or an array and its labels."""


class Predictions:
    """What a run predicts for query examples after k = 0..K inner steps."""

    def __init__(self, found: Predicted) -> None:
        """Take what was found. Made by `predict`."""
        self._found = found
        self.k = found.k
        """The run's own number of steps, or the one that was asked for."""
        self.classes = found.classes
        """The names of the classes, in the order of the columns; empty in regression."""
        self.names = found.names
        """The names of the query examples."""
        self.outputs: np.ndarray = found.query.outputs
        """Outputs after every step, (K+1, n, d)."""
        self.probabilities: np.ndarray | None = found.probabilities
        """Probabilities after every step, (K+1, n, classes); None in regression."""
        self.remarks = found.remarks
        """Sentences that one should know beside the numbers."""

    def answers(self, k: int | None = None) -> tuple[str, ...]:
        """Return the likeliest class of every query example after k steps, by default `k`."""
        return self._found.answers(k)

    def accuracy(self, k: int | None = None) -> float | None:
        """Return the share of right answers, None where nobody said what the examples are."""
        return self._found.accuracy(k)

    def table(self) -> Table:
        """Return what `metaviz predict --csv` writes: a row for each example and step."""
        return table_of(Written(self._found.header(), self._found.rows()))

    def __repr__(self) -> str:
        """Say what was predicted."""
        return f"Predictions({self._found.run}: {len(self.names)} examples, k = {self.k})"

    def _repr_html_(self) -> str:
        rows = [[str(cell) for cell in row] for row in self._found.rows() if row[1] == self.k]
        return html_table(self._found.header(), rows)


class Adapted:
    """A run's network, adapted to a support set."""

    def __init__(self, run: Run, support: Examples, steps: int | None) -> None:
        """Adapt. Made by `adapt`."""
        from metaviz.training.prediction.predict import adapted_weights

        self.run = run
        """The run."""
        self._support, self._steps = given(support, "support"), steps
        self._network = adapted_weights(run.folder, self._support, steps)
        self.classes = self._network.classes
        """The names of the classes, in the order of the outputs; empty in regression."""
        self.k = self._network.k
        """The number of inner steps that it took."""

    def predict(self, query: Examples, *, together: bool = True) -> Predictions:
        """Predict query examples. Raises: as `predict`."""
        from metaviz.training.prediction.predict import predict_given

        asked = given(query, "query")
        steps, place = self._steps, self.run.folder
        return Predictions(predict_given(place, self._support, asked, steps, together=together))

    def weights(self) -> dict[str, np.ndarray]:
        """Return the adapted weights by the names of a plain PyTorch network, see docs."""
        return {name: value.numpy() for name, value in self._network.state_dict().items()}

    def save(self, path: Place) -> Path:
        """Write the network as .safetensors, as .pt (a state_dict), or as .onnx; return the file.

        Raises: OptionError for another ending or a package that is missing, StoreError where the
        file cannot be written.
        """
        from metaviz.training.prediction.export import write_network

        file = Path(path).expanduser()
        write_network(self._network, file)
        return file

    def __repr__(self) -> str:
        """Say what was adapted."""
        return f"Adapted({self.run.id}: k = {self.k})"


def predict(
    run: Place | Run,
    support: Examples,
    query: Examples,
    *,
    steps: int | None = None,
    together: bool = True,
) -> Predictions:
    """Adapt a run to support examples and predict query examples, as `metaviz predict` does.

    `support` are folders of pictures, one for each class, or an array and its labels; `query` are
    pictures or an array. Arrays of 8-bit levels are pictures; others are what the network takes.
    `steps` is the number of inner steps to look at; with `together` query examples are one batch.
    Raises: OptionError, StoreError, ValueError with one sentence.
    """
    from metaviz.training.prediction.predict import predict_given

    asked = given(support, "support"), given(query, "query")
    return Predictions(predict_given(_one(run).folder, *asked, steps, together=together))


def adapt(run: Place | Run, support: Examples, *, steps: int | None = None) -> Adapted:
    """Adapt a run's network to support examples, to predict with it or to take it along.

    Raises: as `predict`; OptionError for methods that predict by other than one network.
    """
    return Adapted(_one(run), support, steps)


def given(examples: Examples, part: str) -> "Given":
    """Read examples, wherever they are. Raises: OptionError, DataError."""
    from metaviz.training.prediction.examples import given_arrays, read_given

    if isinstance(examples, np.ndarray):
        return given_arrays(part, examples, None)
    if isinstance(examples, tuple) and len(examples) == _PAIR and _is_array(examples[0]):
        x, y = examples
        return given_arrays(part, np.asarray(x), None if y is None else np.asarray(y))
    places = [examples] if isinstance(examples, str | Path) else list(examples)
    return read_given([Path(place).expanduser() for place in places], part)


_PAIR = 2


def _is_array(value: object) -> bool:
    return not isinstance(value, str | Path)


def _one(run: Place | Run) -> Run:
    found = runs_at(run)
    if len(found) != 1:
        raise OptionError("run", f"{run} holds {len(found)} runs: name one.")
    return found[0]
