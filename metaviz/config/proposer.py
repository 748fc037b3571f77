"""The door for whatever decides which runs come next: sweeps, searches, and others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from metaviz.config.catalogue import Catalogue
from metaviz.config.run_config import RunConfig


@dataclass(frozen=True)
class Finished:
    """A run that is over. `config` is the plain form of its RunConfig.

    `score` is larger for better runs and 0 for those that failed or diverged; `half` is the
    half-width of its 95 % interval, NaN where unknown; `parameters` is how many the network has.
    """

    config: Mapping[str, Any]
    score: float
    state: str = "done"
    half: float = float("nan")
    parameters: int = 0
    run: str = ""


class Proposer(Protocol):
    """Proposes runs. It keeps nothing in mind but the finished runs that it is shown.

    So a proposer that is asked again after a crash proposes what it proposed before.
    """

    def propose(self, finished: Sequence[Finished]) -> list[RunConfig] | None:
        """Return the runs that are to be trained now and are not finished; None at the end."""


def run_key(config: Mapping[str, Any], catalogue: Catalogue) -> str:
    """Return what equal runs share, whether they name their defaults or not.

    Where a run is computed is no part of it, but for its precision.
    """
    problem, name = catalogue.problem(str(config.get("problem"))), str(config.get("algorithm"))
    method = catalogue.algorithm(name)
    own = {spec.name: spec.default for spec in method.options} if method else {}
    own |= method.defaults.get(str(config.get("problem")), {}) if method else {}
    theirs = {spec.name: spec.default for spec in problem.options} if problem else {}
    parts = (
        *(config.get(key) for key in ("problem", "algorithm", "seed", "steps")),
        config.get("dtype", "float32"),
        _known(config.get("shared", {})),
        _known({**own, **config.get("options", {})}),
        _known({**theirs, **config.get("problem_options", {})}),
    )
    return json.dumps(parts, sort_keys=True)


def not_finished(
    runs: Sequence[RunConfig], finished: Sequence[Finished], catalogue: Catalogue
) -> list[RunConfig]:
    """Return the runs that are not among the finished ones, in order, each once."""
    over = {run_key(one.config, catalogue) for one in finished}
    wanted = {run_key(run.model_dump(mode="json"), catalogue): run for run in runs}
    return [run for key, run in wanted.items() if key not in over]


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != ""}
