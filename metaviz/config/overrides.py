"""`--set KEY=VALUE`: where each key belongs in a comparison, and what the catalogue refuses."""

from collections.abc import Container, Iterable
from typing import Any

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError, Plain, checked, did_you_mean, known_text, model_of
from metaviz.config.run_config import Comparison, Shared


def parse_value(text: str) -> Plain:
    """Read a number, true, false or text; nothing at all is None."""
    lowered = text.strip().lower()
    if lowered in {"true", "false"}:
        return lowered == "true"
    if not lowered:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()


def place_settings(
    settings: list[str], comparison: dict[str, Any], catalogue: Catalogue
) -> dict[str, Any]:
    """Return the comparison's plain values with every KEY=VALUE put where it belongs.

    Raises: OptionError with one sentence for a key that is not known or text without `=`.
    """
    shared = dict(comparison.get("shared", {}))
    options = {name: dict(values) for name, values in comparison.get("options", {}).items()}
    problem_options = dict(comparison.get("problem_options", {}))
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        owner, dot, name = key.partition(".")
        if not equals or not key or (dot and not name):
            raise OptionError(key, f"--set {setting!r} is not KEY=VALUE, like inner_lr=0.01.")
        value = text.strip() if _is_text(catalogue, owner, name) else parse_value(text)
        if not dot:
            known = [spec.name for spec in catalogue.shared]
            if key not in known:
                raise OptionError(key, f"There is no setting {key!r}; {known_text(key, known)}.")
            shared[key] = value
        elif catalogue.algorithm(owner) is not None:
            options.setdefault(owner, {})[name] = value
        elif catalogue.problem(owner) is not None:
            chosen = comparison.get("problem", "sinusoid")
            if owner != chosen:
                raise OptionError(key, f"{key} is set, but the problem is {chosen!r}.")
            problem_options[name] = value
        else:
            near = did_you_mean(owner, catalogue.ids)
            raise OptionError(
                key, f"There is no algorithm or problem {owner!r}{near}, so {key} cannot be set."
            )
    return {
        **comparison,
        "shared": shared,
        "options": options,
        "problem_options": problem_options,
    }


def check_comparison(comparison: Comparison, catalogue: Catalogue) -> None:
    """Refuse ids, keys, kinds and ranges that the catalogue knows to be wrong.

    What only an option model's own validator knows is refused later, when the method is made.
    Raises: OptionError with the sentence that the option's model gives.
    """
    check_ids(comparison, catalogue)
    for name, values in comparison.options.items():
        if entry := catalogue.algorithm(name):
            checked(model_of(entry.options), entry.without_preset(values), f"{name}.")
    if problem := catalogue.problem(comparison.problem):
        checked(Shared, {**problem.shared, **comparison.shared})
        checked(model_of(problem.options), dict(comparison.problem_options), f"{problem.id}.")


def check_used(
    settings: Iterable[str], comparison: Comparison, left_out: Container[str] = ()
) -> None:
    """Refuse options of methods that are not compared, unless those were left out of all.

    Raises: OptionError.
    """
    known = {*comparison.algorithms, comparison.problem}
    for key in map(_key_of, settings):
        owner, dot, _ = key.partition(".")
        if dot and owner not in known and owner not in left_out:
            chosen = ", ".join(comparison.algorithms)
            raise OptionError(
                key,
                f"{key} is set, but {owner} is not among the algorithms ({chosen}): add it to "
                "them, or leave the setting out.",
            )


def meaningless(settings: Iterable[str], comparison: Comparison, catalogue: Catalogue) -> list[str]:
    """Return a sentence for each shared setting that means nothing in a comparison."""
    problem = catalogue.problem(comparison.problem)
    hidden = problem.hidden if problem is not None else ()
    keys = dict.fromkeys(map(_key_of, settings))
    return [f"{key} means nothing for {comparison.problem}." for key in keys if key in hidden]


def _key_of(setting: str) -> str:
    return setting.partition("=")[0].strip()


def check_ids(comparison: Comparison, catalogue: Catalogue) -> None:
    """Refuse a problem or methods that are unknown, and methods that do not suit the problem.

    Raises: OptionError with one sentence.
    """
    problem = catalogue.problem(comparison.problem)
    if problem is None:
        known = known_text(comparison.problem, (entry.id for entry in catalogue.problems))
        raise OptionError("problem", f"There is no problem {comparison.problem!r}; {known}.")
    for name in (*comparison.options, *comparison.algorithms):
        if catalogue.algorithm(name) is None:
            known = known_text(name, (entry.id for entry in catalogue.algorithms))
            raise OptionError("algorithms", f"There is no algorithm {name!r}; {known}.")
    for entry in map(catalogue.algorithm, comparison.algorithms):
        if entry is not None and (reason := entry.unsuited(problem)):
            raise OptionError("algorithms", reason)


def _is_text(catalogue: Catalogue, owner: str, name: str) -> bool:
    """Return whether an option takes any text, so that a folder may be called 3."""
    entry = catalogue.algorithm(owner) or catalogue.problem(owner)
    options = entry.options if entry else ()
    return any(spec.name == name and spec.kind == "text" for spec in options)
