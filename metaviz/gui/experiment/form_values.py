"""What the form holds as plain values: all texts, what changed, names and seeds of comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError, Plain
from metaviz.config.run_config import Comparison


@dataclass(frozen=True)
class FormState:
    """Problem, ticks, and the text of every field that differs from its default, right or wrong."""

    problem: str
    ticked: tuple[str, ...]
    texts: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return it as values that TOML can hold."""
        return {
            "problem": self.problem,
            "ticked": list(self.ticked),
            "texts": dict(self.texts),
        }


def read_form_state(values: Mapping[str, Any]) -> FormState:
    """Read what `plain` returned. Raises: KeyError or TypeError where it is something else."""
    texts = values["texts"]
    if not isinstance(texts, Mapping) or not isinstance(values["ticked"], list):
        raise TypeError("ticks are a list and texts a table")
    return FormState(
        str(values["problem"]),
        tuple(str(name) for name in values["ticked"]),
        {str(key): str(text) for key, text in texts.items()},
    )


def changed_keys(before: FormState, after: FormState) -> list[str]:
    """Return the keys of fields whose text differs."""
    keys = dict.fromkeys([*before.texts, *after.texts])
    return [key for key in keys if before.texts.get(key) != after.texts.get(key)]


def check_names(comparison: Comparison, catalogue: Catalogue) -> None:
    """Refuse a comparison that names something which the catalogue does not have.

    Raises: OptionError with one sentence.
    """
    problem = catalogue.problem(comparison.problem)
    if problem is None:
        raise OptionError("problem", f"There is no problem {comparison.problem!r} here.")
    _check_keys("", comparison.shared, [spec.name for spec in catalogue.shared])
    _check_keys(
        f"{problem.id}.", comparison.problem_options, [spec.name for spec in problem.options]
    )
    for name in (*comparison.algorithms, *comparison.options):
        entry = catalogue.algorithm(name)
        if entry is None:
            raise OptionError("algorithms", f"There is no algorithm {name!r} here.")
        known = [spec.name for spec in entry.options]
        _check_keys(f"{name}.", comparison.options.get(name, {}), known)


def _check_keys(prefix: str, values: dict[str, Plain], known: list[str]) -> None:
    for key in values:
        if key not in known:
            raise OptionError(f"{prefix}{key}", f"There is no option {prefix}{key} here.")


def seeds_text(seeds: tuple[int, ...]) -> str:
    """Write seeds as a person would: 0-4 where they follow each other."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):  # noqa: PLR2004
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(str(seed) for seed in seeds)
