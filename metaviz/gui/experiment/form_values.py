"""All that a person has set in the form, as plain values, and what changed between two of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
