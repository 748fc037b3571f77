"""What a sweep varies: ranges of hyperparameters as text, and the runs that they come to."""

import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError, OptionSpec, Plain, checked, known_text
from metaviz.config.overrides import check_ids, parse_value, place_settings
from metaviz.config.proposer import Finished, not_finished
from metaviz.config.run_config import OF_INNER_LOOPS, Comparison, RunConfig
from metaviz.config.schedule import with_equal_tasks

MAX_RUNS = 10_000
DIGITS = 6
"""Points of a range are rounded to so many digits, so that a person can type them again."""
_LARGEST = 1e300
_MINUTE, _DAY = 60, 24
_SPACED, _DRAWN = ("lin", "log"), ("uniform", "loguniform")
_CALL = re.compile(r"\s*([A-Za-z_]+)\s*\(([^()]*)\)\s*", re.ASCII)
_HOW = "write 0.01, 0.03, 0.1 or lin(0.1, 1, 5), log(0.001, 0.1, 5), loguniform(1e-4, 0.1, 8)"
_ARGUMENTS = 3

Point = dict[str, Plain]


@dataclass(frozen=True)
class Axis:
    """The values that one dotted key takes; the values of random axes are drawn jointly."""

    key: str
    values: tuple[Plain, ...]
    drawn: bool = False


@dataclass(frozen=True)
class Estimate:
    """How long runs will take; `seconds` is for all of them one after another."""

    runs: int
    seconds: float
    longest: float

    def with_workers(self, workers: int) -> float:
        """Return the seconds for so many workers; no run is divided among them."""
        return max(self.seconds / max(workers, 1), self.longest)

    def text(self, workers: int) -> str:
        """Say how long it takes."""
        beside = "one worker" if workers == 1 else f"{workers} workers"
        noun = "run" if self.runs == 1 else "runs"
        return f"{self.runs} {noun}, about {duration(self.with_workers(workers))} with {beside}"


def duration(seconds: float) -> str:
    """Write about how long something takes, in the unit a person would use."""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 100 * _MINUTE:
        return f"{round(seconds / _MINUTE)} min"
    hours = seconds / _MINUTE / _MINUTE
    return f"{hours:.1f} h" if hours < 2 * _DAY else f"{hours / _DAY:.1f} days"


def parse_range(key: str, text: str, seed: int = 0) -> Axis:
    """Read the values of a key: a list, or lin, log, uniform or loguniform (low, high, count).

    The same seed draws the same values, and other ones for each key.
    Raises: OptionError with one sentence.
    """
    call = _CALL.fullmatch(text)
    if call is None:
        return Axis(key, _listed(key, text))
    name = call[1].lower()
    if name not in (*_SPACED, *_DRAWN):
        known = ", ".join((*_SPACED, *_DRAWN))
        raise _invalid(key, text, f"{name!r} is none of {known}.")
    low, high, count = _arguments(key, text, call[2])
    logarithmic = name in {"log", "loguniform"}
    if logarithmic and min(low, high) <= 0:
        raise _invalid(key, text, "a logarithmic range needs ends above 0.")
    if name in _DRAWN and low >= high:
        raise _invalid(key, text, "the first number must be the smaller one.")
    if name in _SPACED:
        shares = [place / max(count - 1, 1) for place in range(count)]
        values = [_between(low, high, share, logarithmic=logarithmic) for share in shares]
        return Axis(key, tuple(dict.fromkeys(values)))
    chance = random.Random(f"{seed} {key}")
    drawn = [_between(low, high, chance.random(), logarithmic=logarithmic) for _ in range(count)]
    return Axis(key, tuple(drawn), drawn=True)


def parse_axis(setting: str, seed: int = 0) -> Axis:
    """Read KEY=RANGE. Raises: OptionError with one sentence."""
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise OptionError("over", f"--over {setting!r} is not KEY=RANGE, like inner_lr=0.01,0.1.")
    return parse_range(key.strip(), text, seed)


def sweepable(catalogue: Catalogue, comparison: Comparison) -> dict[str, OptionSpec]:
    """Return what can be varied for a comparison, by dotted key."""
    problem = catalogue.problem(comparison.problem)
    found = {spec.name: spec for spec in (*catalogue.comparison, *catalogue.shared)}
    hidden = problem.hidden if problem is not None else ()
    found = {name: spec for name, spec in found.items() if name not in hidden}
    if problem is not None:
        found |= {f"{problem.id}.{spec.name}": spec for spec in problem.options}
    for name in comparison.algorithms:
        if (entry := catalogue.algorithm(name)) is not None:
            found |= {f"{name}.{spec.name}": spec for spec in entry.options}
    return found


@dataclass(frozen=True)
class Sweep:
    """A comparison and what is varied in it; every value fits its option."""

    comparison: Comparison
    axes: tuple[Axis, ...]
    catalogue: Catalogue

    def points(self, algorithm: str) -> Iterator[Point]:
        """Yield the points of one algorithm: a product of its grids and its joint draws.

        An axis of another algorithm's option does not multiply them.
        """
        mine = [axis for axis in self.axes if self._concerns(axis, algorithm)]
        grid = [[(axis.key, value) for value in axis.values] for axis in mine if not axis.drawn]
        drawn = [[(axis.key, value) for value in axis.values] for axis in mine if axis.drawn]
        draws = list(dict.fromkeys(zip(*drawn, strict=True))) if drawn else [()]
        for fixed in itertools.product(*grid):
            for draw in draws:
                yield dict((*fixed, *draw))

    def listed(self) -> Iterator[tuple[str, int, Point]]:
        """Yield algorithm, seed and point of every run, in the order of `runs`."""
        for seed in self.comparison.seeds:
            for name in self.comparison.algorithms:
                for point in self.points(name):
                    yield name, seed, point

    @property
    def count(self) -> int:
        """Number of runs."""
        each = [sum(1 for _ in self.points(name)) for name in self.comparison.algorithms]
        return sum(each) * len(self.comparison.seeds)

    def runs(self) -> list[RunConfig]:
        """Return the runs: every point of every algorithm with one seed, then with the next.

        All are evaluated on equally many tasks, unless an interval was asked for.
        Raises: OptionError with one sentence where a run is not valid.
        """
        problem = self.catalogue.problem(self.comparison.problem)
        shared = problem.shared if problem is not None else {}
        each = [
            placed
            for name in self.comparison.algorithms
            for point in self.points(name)
            for placed in self._placed(name, point).runs(shared)
        ]
        seeds = {seed: place for place, seed in enumerate(self.comparison.seeds)}
        equal = with_equal_tasks(each, problem)
        return sorted(equal, key=lambda config: seeds[config.seed])

    def propose(self, finished: Sequence[Finished]) -> list[RunConfig] | None:
        """Return the runs that are not finished, all at once; None where there is none.

        Raises: OptionError with one sentence where a run is not valid.
        """
        return not_finished(self.runs(), finished, self.catalogue) or None

    def _placed(self, algorithm: str, point: Point) -> Comparison:
        own = self.comparison.options.get(algorithm)
        values: dict[str, Any] = {
            **self.comparison.model_dump(mode="json"),
            "algorithms": (algorithm,),
            "options": {} if own is None else {algorithm: own},
        }
        outer = {spec.name for spec in self.catalogue.comparison}
        values |= {key: value for key, value in point.items() if key in outer}
        settings = [f"{key}={_written(v)}" for key, v in point.items() if key not in outer]
        return checked(Comparison, place_settings(settings, values, self.catalogue))

    def _concerns(self, axis: Axis, algorithm: str) -> bool:
        owner, dot, _ = axis.key.partition(".")
        entry = self.catalogue.algorithm(algorithm)
        means = entry is None or entry.traits.has_inner_loop or axis.key not in OF_INNER_LOOPS
        return means and (not dot or owner in {algorithm, self.comparison.problem})


def plan_sweep(comparison: Comparison, axes: Sequence[Axis], catalogue: Catalogue) -> Sweep:
    """Check what is varied: keys, kinds, ranges, joint draws and the number of runs.

    Raises: OptionError with one sentence.
    """
    check_ids(comparison, catalogue)
    known = sweepable(catalogue, comparison)
    fitted: dict[str, Axis] = {}
    for axis in axes:
        if axis.key in fitted:
            raise OptionError(axis.key, f"{axis.key} is varied twice: give all values in one list.")
        if axis.key in {"seed", "seeds"}:
            raise OptionError(axis.key, "Seeds are not varied by a range: write them as seeds.")
        if axis.key not in known:
            raise OptionError(axis.key, _unknown(axis.key, known, comparison, catalogue))
        values = (fit_value(known[axis.key], axis.key, value) for value in axis.values)
        kept = tuple(values if axis.drawn else dict.fromkeys(values))
        fitted[axis.key] = Axis(axis.key, kept, axis.drawn)
    counts = {axis.key: len(axis.values) for axis in fitted.values() if axis.drawn}
    if len(set(counts.values())) > 1:
        sizes = ", ".join(f"{key} has {count}" for key, count in counts.items())
        raise OptionError(
            next(iter(counts)), f"Random ranges are drawn together, but {sizes}: use one number."
        )
    _check_size(comparison, tuple(fitted.values()))
    return Sweep(comparison, tuple(fitted.values()), catalogue)


def fit_value(spec: OptionSpec, key: str, value: Plain) -> Plain:
    """Return a value as an option takes it; whole numbers are rounded.

    Raises: OptionError with the value and what would be right.
    """
    shown = "nothing" if value is None else str(value)
    wrong = OptionError(key, f"{key} = {shown} is not valid ({spec.title}): use {spec.range_text}.")
    if value is None or (isinstance(value, str) and value.lower() == "none" and spec.optional):
        if spec.optional:
            return None
        raise wrong
    if spec.kind in {"text", "choice"}:
        if str(value) in spec.refused:
            raise OptionError(key, spec.refused[str(value)])
        if spec.kind == "choice" and str(value) not in spec.choices:
            raise wrong
        return str(value)
    if spec.kind == "bool" and isinstance(value, bool):
        return value
    number = _number(spec, value)
    if number is None:
        raise wrong
    return number


def _number(spec: OptionSpec, value: Plain) -> int | float | None:
    """Return a number of the option's kind and range, or None."""
    if spec.kind == "bool" or value is None or isinstance(value, bool | str):
        return None
    if not abs(value) < _LARGEST:
        return None
    number = round(value) if spec.kind == "int" else float(value)
    return number if _within(spec, number) else None


def _within(spec: OptionSpec, number: float) -> bool:
    low, high = spec.minimum, spec.maximum
    if low is not None and (number < low or (spec.exclusive_minimum and number == low)):
        return False
    return high is None or number <= high


def _invalid(key: str, text: str, why: str) -> OptionError:
    return OptionError(key, f"{key} = {text.strip() or 'nothing'} is not valid: {why}")


def _listed(key: str, text: str) -> tuple[Plain, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts) or any(mark in text for mark in "()"):
        raise _invalid(key, text, f"{_HOW}.")
    if len(parts) > MAX_RUNS:
        raise OptionError(key, f"{key} has {len(parts)} values: use at most {MAX_RUNS}.")
    values = []
    for part in parts:
        try:
            values.append(parse_value(part))
        except ValueError:  # Python reads no whole number of thousands of digits
            raise _invalid(key, f"{part[:20]}…", "it is too long.") from None
    return tuple(dict.fromkeys(values))


def _arguments(key: str, text: str, inside: str) -> tuple[float, float, int]:
    wrong = _invalid(key, text, f"{_HOW}.")
    parts = inside.split(",")
    if len(parts) != _ARGUMENTS:
        raise wrong
    try:
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except ValueError:
        raise wrong from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise wrong
    if not 1 <= count <= MAX_RUNS:
        raise _invalid(key, text, f"the count goes from 1 to {MAX_RUNS}.")
    return low, high, count


def _between(low: float, high: float, share: float, *, logarithmic: bool) -> float:
    if share in {0.0, 1.0}:
        return high if share else low
    if logarithmic:
        value = math.exp(math.log(low) * (1 - share) + math.log(high) * share)
    else:
        value = low * (1 - share) + high * share
    return min(max(float(f"{value:.{DIGITS}g}"), min(low, high)), max(low, high))


def _written(value: Plain) -> str:
    return "" if value is None else str(value)


def _unknown(
    key: str, known: dict[str, OptionSpec], comparison: Comparison, catalogue: Catalogue
) -> str:
    owner, dot, _ = key.partition(".")
    if dot and catalogue.algorithm(owner) is not None and owner not in comparison.algorithms:
        return f"{key} cannot be varied, because {owner} is not among the algorithms."
    near = [name for name in known if name.startswith(f"{owner}.")] if dot else []
    listed = near or [name for name in known if "." not in name]
    return f"There is no option {key!r} to vary; {known_text(key, listed)}."


def _check_size(comparison: Comparison, axes: tuple[Axis, ...]) -> None:
    """Refuse more runs than a queue takes, without counting them one by one."""
    total = 0
    for name in comparison.algorithms:
        mine = [a for a in axes if a.key.partition(".")[0] in {name, comparison.problem, a.key}]
        draws = max((len(a.values) for a in mine if a.drawn), default=1)
        total += draws * math.prod(len(a.values) for a in mine if not a.drawn)
    total *= len(comparison.seeds)
    if total > MAX_RUNS:
        raise OptionError("over", f"This sweep has {total} runs: use at most {MAX_RUNS}.")
