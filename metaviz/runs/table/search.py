"""A small language to search runs: `algo:maml alpha<0.1 tag:paper -state:failed`."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from metaviz.config.options import OptionError, Plain
from metaviz.config.run_config import Shared, parse_seeds
from metaviz.runs.table.summary import OWN, Entry, own_of

Predicate = Callable[[Entry], bool]

HELP = (
    "maml omniglot: both words in name, id, tags, notes, algorithm or problem",
    '"a phrase in quotes", name:draft, note:cluster: words in one place only',
    "algo:maml, problem:sin*, state:done, tag:paper: the whole word, * for any letters",
    "alpha<0.1, K>=5, imaml.prox=2, outer_optimizer=adam: hyperparameters (key or symbol)",
    "loss<0.5, accuracy>0.9, steps>=1000, seconds<60, condition_loss<1: last results of runs",
    "seed:3 or seed:0-4 or seed:0,2: seeds",
    "star:yes, is:starred, is:trashed, is:tagged, is:noted, is:named: marks",
    "-state:failed or not state:failed: everything else",
    "algo:maml or algo:reptile, (a or b) c: alternatives; what stands side by side must all hold",
    "A run without a hyperparameter matches no comparison with it; -K<5 finds it.",
)
LONGEST = 2000
_DEEPEST = 40
_STATES = ("running", "paused", "done", "stopped", "aborted", "failed", "diverged", "interrupted")
_ALIASES = {
    "alpha": "inner_lr",
    "α": "inner_lr",
    "beta": "outer_lr",
    "β": "outer_lr",
    "k": "inner_steps",
    "b": "meta_batch",
    "n": "ways",
    "lr": "inner_lr",
    "optimizer": "outer_optimizer",
}
_TEXTS: dict[str, Callable[[Entry], Collection[str]]] = {
    "algo": lambda e: (e.summary.algorithm,),
    "algorithm": lambda e: (e.summary.algorithm,),
    "problem": lambda e: (e.summary.problem,),
    "state": lambda e: (e.summary.state,),
    "tag": lambda e: e.marks.tags,
    "id": lambda e: (e.id,),
    "device": lambda e: (e.summary.device,),
    "version": lambda e: (e.summary.version,),
}
_PARTS: dict[str, Callable[[Entry], str]] = {
    "name": lambda e: e.label,
    "note": lambda e: e.marks.notes,
    "notes": lambda e: e.marks.notes,
}
_RESULTS: dict[str, Callable[[Entry], float]] = {
    "loss": lambda e: e.summary.loss,
    "accuracy": lambda e: e.summary.accuracy,
    "steps": lambda e: e.summary.step,
    "seconds": lambda e: e.summary.seconds,
}
_IS: dict[str, Predicate] = {
    "starred": lambda e: e.marks.star,
    "trashed": lambda e: e.marks.trashed,
    "tagged": lambda e: bool(e.marks.tags),
    "noted": lambda e: bool(e.marks.notes),
    "named": lambda e: bool(e.marks.name),
    **{state: lambda e, state=state: e.summary.state == state for state in _STATES},  # type: ignore[misc]
}
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: math.isclose(a, b, rel_tol=1e-9),
    "!=": lambda a, b: not math.isclose(a, b, rel_tol=1e-9),
}
KEYS = (*_TEXTS, *_PARTS, *_RESULTS, "seed", "star", "is")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<paren>[()])
    | (?P<negation>-(?=[^\s\d.)]))
    | (?P<key>[^\W\d][\w.]*)\s*(?P<operator><=|>=|!=|<|>|=|:)\s*(?P<value>"[^"]*"?|[^\s()"]+)?
    | "(?P<quoted>[^"]*)(?P<end>"?)
    | (?P<word>[^\s()"]+)
    )""",
    re.VERBOSE,
)


class QueryError(ValueError):
    """A search that makes no sense; the message is one sentence naming the word."""


@dataclass(frozen=True)
class Query:
    """What a search text means."""

    text: str
    matches: Predicate
    about_trash: bool = False
    """Whether the text itself says which runs of the trash it wants."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    key: str = ""
    operator: str = ""
    value: str | None = None


def parse(text: str, keys: Iterable[str] = ()) -> Query:
    """Read a search; an empty one matches every run.

    `keys` are hyperparameters that runs have, dotted where they belong to one method or problem,
    and quantities of their own.
    Raises: QueryError with one sentence.
    """
    if len(text) > LONGEST:
        raise QueryError(
            f"The search has {len(text)} characters, which is too long: use at most {LONGEST}."
        )
    tokens = _tokens(text)
    if not tokens:
        return Query(text, lambda _: True)
    reader = _Reader(tokens, frozenset(keys) | set(Shared.model_fields) | {"total_steps", "dtype"})
    predicate = reader.alternatives(0)
    if reader.place < len(tokens):
        raise QueryError("“)” closes nothing: remove it, or put “(” before it.")
    about_trash = any(t.key == "is" and t.value == "trashed" for t in tokens)
    return Query(text, predicate, about_trash)


def completions(text: str, entries: Sequence[Entry]) -> list[str]:
    """Return what the last word of a search may become, keys first."""
    word = re.split(r"[\s()]", text)[-1].removeprefix("-")
    key, colon, begun = word.partition(":")
    key = key.casefold()
    if colon:
        found = sorted(_known_values(key, entries))
        return [f"{key}:{_quoted(v)}" for v in found if v.casefold().startswith(begun.casefold())]
    hyper = dict.fromkeys(name for entry in entries for name in entry.values)
    names = [f"{name}:" for name in (*_TEXTS, *_PARTS, "seed", "star", "is")]
    names += [f"{name}<" for name in (*_RESULTS, *own_of(entries))]
    names += [f"{name}=" for name in (*hyper, "alpha", "beta", "K")]
    return [name for name in names if word and name.casefold().startswith(word.casefold())]


def _known_values(key: str, entries: Sequence[Entry]) -> set[str]:
    if key == "is":
        return set(_IS)
    if key == "star":
        return {"yes", "no"}
    if key in _TEXTS:
        return {value for entry in entries for value in _TEXTS[key](entry) if value}
    return set()


def _quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"[\s()]", text) else text


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:  # whitespace of another kind
            place += 1
            continue
        place = match.end()
        found.append(_token(match))
    return found


def _token(match: re.Match[str]) -> _Token:
    part = match.groupdict()
    if part["paren"]:
        return _Token(part["paren"], part["paren"])
    if part["negation"]:
        return _Token("not", "-")
    if part["key"] is not None:
        value = part["value"]
        if value is not None and value.startswith('"'):
            if len(value) == 1 or not value.endswith('"'):
                raise QueryError(f'{value} has no closing quote: end it with ".')
            value = value[1:-1]
        key, operator = part["key"], part["operator"]
        return _Token("term", f"{key}{operator}{part['value'] or ''}", key, operator, value)
    if part["quoted"] is not None:
        if not part["end"]:
            raise QueryError(f'"{part["quoted"]} has no closing quote: end it with ".')
        return _Token("word", part["quoted"])
    word = part["word"]
    lowered = word.casefold()
    return _Token(lowered if lowered in {"or", "not", "and"} else "word", word)


class _Reader:
    """Recursive descent: alternatives of conjunctions of terms."""

    def __init__(self, tokens: list[_Token], keys: Collection[str]) -> None:
        self.tokens, self.keys, self.place = tokens, keys, 0

    def alternatives(self, depth: int) -> Predicate:
        """Read `a or b`."""
        if depth > _DEEPEST:
            raise QueryError(f"“(” is nested too deeply: use at most {_DEEPEST} levels.")
        found = [self._conjunction(depth)]
        while self._kind() == "or":
            self.place += 1
            found.append(self._conjunction(depth))
        return found[0] if len(found) == 1 else lambda e: any(p(e) for p in found)

    def _conjunction(self, depth: int) -> Predicate:
        found: list[Predicate] = []
        while self._kind() not in {"or", ")", ""}:
            if self._kind() == "and":
                self.place += 1
                if self._kind() in {"or", ")", "", "and"} or not found:
                    raise QueryError("“and” stands alone: write what must hold on both sides.")
            found.append(self._negated(depth))
        if not found:
            before = self.tokens[self.place - 1].text if self.place else ""
            after = self.tokens[self.place].text if self.place < len(self.tokens) else ""
            word = next((w for w in (after, before) if w.casefold() == "or"), before or after)
            raise QueryError(f"“{word}” needs something to search for beside it, like algo:maml.")
        return found[0] if len(found) == 1 else lambda e: all(p(e) for p in found)

    def _negated(self, depth: int) -> Predicate:
        negated = False
        while self._kind() == "not":
            word = self.tokens[self.place].text
            self.place += 1
            negated = not negated
            if self._kind() in {"or", "and", ")", ""}:
                raise QueryError(f"“{word}” needs something after it, like {word} state:failed.")
        predicate = self._single(depth)
        return (lambda e: not predicate(e)) if negated else predicate

    def _single(self, depth: int) -> Predicate:
        token = self.tokens[self.place]
        self.place += 1
        if token.kind == "(":
            inner = self.alternatives(depth + 1)
            if self._kind() != ")":
                raise QueryError("“(” is not closed: put “)” after it.")
            self.place += 1
            return inner
        if token.kind == "term":
            return _term(token, self.keys)
        word = token.text.casefold()
        return lambda e: word in e.haystack

    def _kind(self) -> str:
        return self.tokens[self.place].kind if self.place < len(self.tokens) else ""


def _term(token: _Token, keys: Collection[str]) -> Predicate:
    key = token.key.casefold()
    if not token.value:
        raise QueryError(f"“{token.text}” has nothing after “{token.operator}”: write a value.")
    if key in _RESULTS:
        return _result(token, _RESULTS[key])
    special = key in _TEXTS or key in _PARTS or key in {"seed", "star", "is"}
    if not special:
        return _hyperparameter(token, keys)
    if key == "seed" and token.operator not in {":", "="}:
        return _result(token, lambda e: e.summary.seed)
    if token.operator not in {":", "=", "!="}:
        raise QueryError(f"“{token.text}” compares text by size: write {key}:{token.value}.")
    predicate = _mark_or_text(key, token)
    return (lambda e: not predicate(e)) if token.operator == "!=" else predicate


def _mark_or_text(key: str, token: _Token) -> Predicate:
    value = str(token.value).casefold()
    if key in _PARTS:
        part = _PARTS[key]
        return lambda e: value in part(e).casefold()
    if key == "seed":
        try:
            seeds = frozenset(parse_seeds(value))
        except OptionError:
            raise QueryError(f"“{token.text}” names no seeds: write seed:3 or seed:0-4.") from None
        return lambda e: e.summary.seed in seeds
    if key == "star":
        if value not in _YES:
            raise QueryError(f"“{token.text}” is not valid: write star:yes or star:no.")
        return lambda e: e.marks.star == _YES[value]
    if key == "is":
        if value not in _IS:
            raise QueryError(f"“{token.text}” is not known: use is: with {', '.join(_IS)}.")
        return _IS[value]
    if key == "state" and not ("*" in value or value in _STATES):
        raise QueryError(f"“{token.text}” is no state: use {', '.join(_STATES)}.")
    texts = _TEXTS[key]
    parts = value.split("*")
    return lambda e: any(_fits(text.casefold(), parts) for text in texts(e))


def _fits(text: str, parts: Sequence[str]) -> bool:
    """Return whether a text consists of these parts with anything between them.

    The first place of each part is the best one, so that none has to be tried twice.
    """
    first, *middle = parts
    if not middle:
        return text == first
    last = middle.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _result(token: _Token, value: Callable[[Entry], float]) -> Predicate:
    wanted = _number(token)
    compare = _OPERATORS["=" if token.operator == ":" else token.operator]

    def matches(entry: Entry) -> bool:
        found = value(entry)
        return not math.isnan(found) and compare(found, wanted)

    return matches


def _hyperparameter(token: _Token, keys: Collection[str]) -> Predicate:
    key = _ALIASES.get(token.key.casefold(), token.key)
    lowered = key.casefold()
    names = [n for n in keys if n.casefold() == lowered or n.casefold().endswith(f".{lowered}")]
    owner, _, own = lowered.partition(".")
    if own in OWN:
        names, only = [own], owner
    elif names:
        only = ""
    else:
        known = sorted({*KEYS, *_ALIASES, *keys})
        near = get_close_matches(token.key, known, 1, 0.5) or get_close_matches(lowered, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one like {', '.join(KEYS[:4])}, alpha."
        raise QueryError(f"“{token.key}” is no key: {hint}")
    operator = "=" if token.operator == ":" else token.operator
    test = _test(token, operator)

    def matches(entry: Entry) -> bool:
        if only and entry.summary.algorithm != only:
            return False
        values = entry.values
        results = (entry.summary.result(name) for name in names if name not in values)
        found = [values[name] for name in names if name in values]
        return any(map(test, [*found, *(value for value in results if not math.isnan(value))]))

    return matches


def _test(token: _Token, operator: str) -> Callable[[Plain], bool]:
    """Return a comparison with a token's value, which may be a number or a text."""
    if operator not in {"=", "!="}:
        number, compare = _number(token), _OPERATORS[operator]
        return lambda value: _is_number(value) and compare(float(value or 0), number)
    text = str(token.value).casefold()
    wanted = _as_number(text)
    if wanted is not None and math.isnan(wanted):
        wanted = None

    def equal(value: Plain) -> bool:
        if _is_number(value):
            return wanted is not None and math.isclose(float(value or 0), wanted, rel_tol=1e-9)
        return _lowered(value) == text

    return equal if operator == "=" else (lambda value: not equal(value))


def _lowered(value: Plain) -> str:
    return str(value).casefold()


def _is_number(value: Plain) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(token: _Token) -> float:
    number = _as_number(str(token.value))
    if number is None or math.isnan(number):
        right = f"{token.key}{'=' if token.operator == ':' else token.operator}0.1"
        raise QueryError(f"“{token.value}” in “{token.text}” is no number: write {right}.")
    return number


def _as_number(text: str) -> float | None:
    try:
        return float(text.replace("−", "-"))
    except ValueError:
        return None
