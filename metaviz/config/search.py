"""A progressive search for the cell of a network: what it is asked, and which runs come next.

Source: Liu et al. 2018, arXiv:1712.00559 (PNAS), with few-shot accuracies as in Kim et al. 2018,
arXiv:1806.06927 (Auto-Meta), whose space and budgets are not known to us: reconstructed.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from metaviz.config.catalogue import Catalogue, ProblemEntry
from metaviz.config.cells import Cell, cell_text, grown, parse_cell
from metaviz.config.options import OptionError, Options, Plain, checked, known_text, option
from metaviz.config.overrides import check_comparison
from metaviz.config.proposer import Finished, not_finished, run_key
from metaviz.config.run_config import Comparison, RunConfig, parse_seeds
from metaviz.paths import resource

LABEL = "Auto-Meta (reconstructed)"
SWEEP = "search "
"""What the name of a search stands behind, where the queue tells what its entries belong to."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", re.ASCII)
_USUAL = ("id", "conv3", "sep3", "max3")
_CONV4 = (16, 32, 64)
_COMPARED = 1
"""Which of the references is trained at length: the middle one."""

Kind = Literal["all", "top", "random", "reference", "final"]
Ranking = Callable[
    [Sequence[tuple[Cell, float]], Sequence[Cell], int], tuple[Sequence[float], Sequence[float]]
]
"""Maps cells with their scores, candidates and a seed to predicted scores and their spreads."""


class SearchOptions(Options):
    """What can be chosen of a search, besides the children's own settings."""

    operations: str = option(
        "",
        "Operations",
        "What blocks are made of, with commas between. Empty: id, conv3, sep3 and max3 for images, "
        "id, relu, tanh and sin for functions.",
    )
    blocks: int = option(
        3, "Blocks", "A cell has at most so many: the number of generations.", ge=1, le=5
    )
    beam: int = option(
        4,
        "Beam K",
        "Cells that are trained in each generation after the first: those that the surrogate ranks "
        "first among all that the K best cells before can be grown to.",
        ge=1,
        le=1000,
    )
    controls: int = option(
        2,
        "Random controls",
        "Candidates drawn at random that are trained beside the K first: without them nobody can "
        "judge the surrogate.",
        ge=1,
        le=1000,
    )
    seed: int = option(
        0, "Seed", "Draws the controls and the surrogate's weights.", ge=0, le=2**31 - 1
    )
    references: bool = option(
        True,
        "References",
        "Train usual networks with the children's budget, too: Conv4 with 16, 32 and 64 channels, "
        "or two hidden layers.",
    )
    final_steps: int | None = option(
        80,
        "Final meta-steps",
        "At the end train the best cell, the best random one and a usual network for so long, with "
        "new seeds, and evaluate on test classes. Empty: not at all.",
        unit="steps",
        ge=1,
        le=10_000_000,
    )
    final_seeds: str = option("101-103", "Final seeds", "0,1,2 or 0-4.")
    final_tasks: int = option(
        60, "Final tasks", "Test tasks of the final evaluation.", ge=2, le=100_000
    )


@dataclass(frozen=True)
class Child:
    """A run of a search. `role` says in words what a final one is; `predicted` in scores."""

    kind: Kind
    generation: int
    label: str
    config: RunConfig
    cell: str = ""
    role: str = ""
    predicted: float | None = None
    spread: float | None = None


@dataclass(frozen=True)
class Generation:
    """Runs that are proposed together, and among how many candidates they were chosen."""

    number: int
    candidates: int
    children: tuple[Child, ...]


class SearchPlan(Options):
    """A search: its name, the settings of its children, and its own."""

    model_config = ConfigDict(allow_inf_nan=True)

    version: Literal[1] = 1
    name: str
    search: SearchOptions = SearchOptions()
    comparison: Comparison

    @property
    def sweep(self) -> str:
        """What its entries in the queue belong to."""
        return f"{SWEEP}{self.name}"


def read_plan(values: Mapping[str, Any], catalogue: Catalogue) -> SearchPlan:
    """Read and check a search: a name, and the tables `search` and `comparison`.

    Raises: OptionError with one sentence.
    """
    if unknown := sorted(values.keys() - SearchPlan.model_fields.keys()):
        raise OptionError(
            unknown[0],
            f"There is no key {unknown[0]!r:.40} in a search: use name and the tables [search] and "
            "[comparison].",
        )
    name = values.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(
            "name",
            f"name = {name!r:.60} is not valid: use up to 40 letters, digits and hyphens.",
        )
    tables = {key: values.get(key, {}) for key in ("search", "comparison")}
    for key, table in tables.items():
        if not isinstance(table, Mapping):
            raise OptionError(key, f"{key} = {table!r:.60} is not valid: it must be a table.")
    search = checked(SearchOptions, dict(tables["search"]), "search.")
    comparison = checked(Comparison, dict(tables["comparison"]))
    check_comparison(comparison, catalogue)
    plan = SearchPlan(name=name, search=search, comparison=comparison)
    Search(plan, catalogue, unranked)
    return plan


class Search:
    """Proposes the children of a search, generation after generation.

    First every cell of one block; then, of all that the best cells can be grown to, those that
    `rank` puts first and some at random; at the end those that are trained at length.
    """

    def __init__(self, plan: SearchPlan, catalogue: Catalogue, rank: Ranking) -> None:
        """Take the settings. Raises: OptionError where they do not make a search."""
        self.plan, self._catalogue, self._rank = plan, catalogue, rank
        comparison, problem = plan.comparison, catalogue.problem(plan.comparison.problem)
        able = [one.id for one in catalogue.problems if _operations(one)]
        if problem is None or not _operations(problem):
            raise OptionError(
                "problem",
                f"Networks of {comparison.problem} are not made of cells: search on "
                f"{', '.join(able)}.",
            )
        if len(comparison.algorithms) != 1 or len(comparison.seeds) != 1:
            raise OptionError(
                "algorithms", "The children of a search have one method and one seed: name one."
            )
        self._problem = problem
        self.has_accuracy = problem.has_accuracy
        self.operations = self._chosen_operations()
        self.final_seeds = parse_seeds(plan.search.final_seeds)
        (self.base,) = comparison.runs(problem.shared)

    def propose(self, finished: Sequence[Finished]) -> list[RunConfig] | None:
        """Return the children that are to be trained now; None where all is done."""
        runs = [c.config for one in self.generations(finished) for c in one.children]
        return not_finished(runs, finished, self._catalogue) or None

    def generations(self, finished: Sequence[Finished]) -> list[Generation]:
        """Return what was proposed until now: the last generation is not over, or there is none."""
        scores = {run_key(one.config, self._catalogue): one.score for one in finished}
        found = [self._first()]
        while self._is_over(found[-1], scores) and len(found) < self.plan.search.blocks:
            found.append(self._next(found, scores))
        if self._is_over(found[-1], scores) and self.plan.search.final_steps is not None:
            found.append(self._last(found, scores))
        return found

    def key(self, child: Child) -> str:
        """Return what a child shares with its finished run."""
        return run_key(child.config.model_dump(mode="json"), self._catalogue)

    def _is_over(self, generation: Generation, scores: Mapping[str, float]) -> bool:
        return all(self.key(child) in scores for child in generation.children)

    def _first(self) -> Generation:
        cells = grown([()], self.operations)
        children = [self._child("all", 1, cell) for cell in cells]
        references = self._references() if self.plan.search.references else []
        return Generation(1, len(cells), (*children, *references))

    def _next(self, before: Sequence[Generation], scores: Mapping[str, float]) -> Generation:
        number, options = len(before) + 1, self.plan.search
        known = [
            (self._parsed(child.cell), scores[self.key(child)])
            for child in _searched(before)
        ]  # fmt: skip
        last = sorted((-score, cell) for cell, score in known if len(cell) == number - 1)
        candidates = grown([cell for _, cell in last[: options.beam]], self.operations)
        means, spreads = self._rank(known, candidates, options.seed + number)
        order = sorted(range(len(candidates)), key=lambda place: (-means[place], place))
        top, rest = order[: options.beam], sorted(order[options.beam :])
        chance = random.Random(f"{options.seed} controls {number}")
        drawn = sorted(chance.sample(rest, min(options.controls, len(rest))))
        chosen = [("top", place) for place in top] + [("random", place) for place in drawn]
        children = [
            self._child(kind, number, candidates[place], means[place], spreads[place])  # type: ignore[arg-type]
            for kind, place in chosen
        ]
        return Generation(number, len(candidates), tuple(children))

    def _last(self, before: Sequence[Generation], scores: Mapping[str, float]) -> Generation:
        def best(children: Sequence[Child]) -> list[Child]:
            return sorted(children, key=lambda c: (-scores[self.key(c)], c.cell))[:1]

        cells = _searched(before)
        chosen = [("best cell", child) for child in best(cells)]
        drawn = [child for child in cells if child.kind == "random"]
        chosen += [("best random cell", child) for child in best(drawn)]
        usual = self._references()[_COMPARED]
        chosen.append((usual.label, usual))
        finals = [
            self._final(role, child, seed, len(before) + 1)
            for role, child in chosen
            for seed in self.final_seeds
        ]
        return Generation(len(before) + 1, len(cells), tuple(finals))

    def _final(self, role: str, child: Child, seed: int, number: int) -> Child:
        options, steps = self.plan.search, self.plan.search.final_steps
        shared = child.config.shared.model_copy(update={"eval_tasks": options.final_tasks})
        named = {spec.name for spec in self._problem.options}
        own = {
            **child.config.problem_options,
            **({"held_out": "test"} if "held_out" in named else {}),
        }
        update = {"seed": seed, "steps": steps, "shared": shared, "problem_options": own}
        config = child.config.model_copy(update=update)
        label = f"{role}, seed {seed}"
        return Child("final", number, label, config, child.cell, role)

    def _child(
        self, kind: Kind, number: int, cell: Cell, mean: float | None = None,
        spread: float | None = None,
    ) -> Child:  # fmt: skip
        text = cell_text(cell)
        own: dict[str, Plain] = {"cell": text}
        if any(spec.name == "backbone" for spec in self._problem.options):
            own["backbone"] = "cells"
        return Child(kind, number, text, self._with(own), text, "", mean, spread)

    def _references(self) -> list[Child]:
        """Return usual networks with the budget of the children, the middle one in the middle."""
        defaults = {spec.name: spec.default for spec in self._problem.options}
        own: list[tuple[str, dict[str, Plain]]]
        if "channels" in defaults:
            own = [
                (f"Conv4-{wide}", {"backbone": "conv4", "channels": wide, "cell": None})
                for wide in _CONV4
            ]
        else:
            usual = self.base.problem_options.get("hidden", defaults["hidden"])
            hidden = int(usual or 1)
            widths = dict.fromkeys((max(hidden // 2, 1), hidden, 2 * hidden))
            own = [(f"MLP-{wide}", {"hidden": wide, "cell": None}) for wide in widths]
        return [
            Child("reference", 1, label, self._with(values))
            for label, values in own
        ]  # fmt: skip

    def _with(self, own: Mapping[str, Plain]) -> RunConfig:
        values = {**self.base.problem_options, **own}
        return self.base.model_copy(update={"problem_options": values})

    def _parsed(self, text: str) -> Cell:
        return parse_cell(text, self.operations)

    def _chosen_operations(self) -> tuple[str, ...]:
        there, text = _operations(self._problem), self.plan.search.operations
        if not text.strip():
            usual = tuple(name for name in _USUAL if name in there)
            return usual if len(usual) == len(_USUAL) else there
        named = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        unknown = [name for name in named if name not in there]
        if unknown or len(named) < 2:  # noqa: PLR2004  (one operation leaves nothing to search)
            wrong = f"there is no operation {unknown[0]!r}" if unknown else "one is no choice"
            raise OptionError(
                "search.operations",
                f"search.operations = {text!r:.80} is not valid: {wrong}; choose two or more of "
                f"{', '.join(there)}.",
            )
        return tuple(name for name in there if name in named)


def _searched(generations: Sequence[Generation]) -> list[Child]:
    """Return the children that are cells of the search."""
    return [
        child
        for one in generations
        for child in one.children
        if child.kind in {"all", "top", "random"}
    ]


def _operations(problem: ProblemEntry) -> tuple[str, ...]:
    """Return what cells of a problem's networks are made of; nothing where there are none."""
    return next((spec.operations for spec in problem.options if spec.name == "cell"), ())


def unranked(*_: object) -> tuple[Sequence[float], Sequence[float]]:
    """Refuse: for what asks for no generation but the first. Raises: NotImplementedError."""
    raise NotImplementedError("Cells are ranked by whatever trains them.")


def shipped_searches() -> dict[str, Path]:
    """Return the shipped searches by name."""
    return {path.stem: path for path in sorted(resource("searches").glob("*.toml"))}


def find_search(name: str) -> Path:
    """Return the file of a shipped search. Raises: OptionError naming those there are."""
    known = shipped_searches()
    if name not in known:
        raise OptionError(
            "preset", f"There is no shipped search {name!r:.60}; {known_text(name, known)}."
        )
    return known[name]
