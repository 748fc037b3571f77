"""Declared options: one field gives the form, the command line, the TOML and the checks."""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from metaviz.config.cells import checked_cell

Plain = bool | int | float | str | None
Model = TypeVar("Model", bound=BaseModel)


class Options(BaseModel):
    """Base of every option model: frozen, and unknown keys are errors.

    Nothing at all may be written as an empty text, as TOML has no other way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _keep_kind(cls, value: Any, info: ValidationInfo) -> Any:
        annotation: Any = cls.model_fields[str(info.field_name)].annotation
        kinds = set(get_args(annotation)) if isinstance(annotation, UnionType) else {annotation}
        if value is None and annotation is str:
            return ""
        if value == "" and NoneType in kinds:
            return None
        numeric = bool(kinds & {int, float}) and kinds <= {int, float, NoneType}
        if numeric and isinstance(value, bool | str):
            raise PydanticCustomError("not_a_number", "Input should be a number")
        extra = cls.model_fields[str(info.field_name)].json_schema_extra
        if isinstance(extra, dict) and extra.get("operations") and isinstance(value, str):
            return checked_cell(value, tuple(map(str, extra["operations"])))  # type: ignore[arg-type]
        return value


def option(  # a typed veneer over pydantic's Field, which is untyped for extra metadata
    default: Any,
    title: str,
    description: str,
    *,
    unit: str = "",
    log: bool = False,
    labels: dict[str, str] | None = None,
    formerly: Plain = None,
    operations: tuple[str, ...] = (),
    **bounds: Any,
) -> Any:
    """Declare one option.

    `description` explains the option to a person and may hold its formula; `log` asks for
    multiplicative steps in the form; `labels` names the values of a choice; `formerly` is what
    runs had that were stored before there was the option; a text with `operations` is a cell of
    these; `bounds` are pydantic's ge, gt, le and lt.
    """
    extra: dict[str, Any] = {
        "unit": unit, "log": log, "labels": labels or {}, "formerly": formerly
    }  # fmt: skip
    extra |= {"operations": operations} if operations else {}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


class OptionSpec(BaseModel):
    """What a form or a help page needs to know about one option, as plain data."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    description: str
    kind: Literal["int", "float", "bool", "choice", "text"]
    default: Plain
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    unit: str = ""
    log: bool = False
    choices: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    refused: dict[str, str] = {}
    """Choices that this method cannot take, each with the sentence that says why."""
    formerly: Plain = None
    """The value of stored runs that do not name the option, as they are older than it."""
    operations: tuple[str, ...] = ()
    """What a cell is made of, where the text is one."""

    @property
    def range_text(self) -> str:
        """Say in words which values are right."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "bool":
            return "true or false"
        if self.kind == "text":
            return "text"
        noun = "a whole number" if self.kind == "int" else "a number"
        bounds = []
        if self.minimum is not None:
            low = "above" if self.exclusive_minimum else "at least"
            bounds.append(f"{low} {_figure(self.minimum)}")
        if self.maximum is not None:
            bounds.append(f"at most {_figure(self.maximum)}")
        return " ".join((noun, " and ".join(bounds))).strip()


def _figure(value: float) -> str:
    """Write a bound in full, not as 1e+06."""
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def specs(model: type[BaseModel]) -> tuple[OptionSpec, ...]:
    """Describe every option of a model, in the order of declaration."""
    return tuple(
        _spec(name, field) for name, field in model.model_fields.items() if field.json_schema_extra
    )


def _spec(name: str, field: FieldInfo) -> OptionSpec:
    annotation: Any = field.annotation
    optional = type(None) in get_args(annotation)
    if optional:
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    choices: tuple[str, ...] = ()
    kind = next((name for name, type_ in _KINDS.items() if type_ is annotation), "text")
    if get_origin(annotation) is Literal:
        kind, choices = "choice", tuple(str(value) for value in get_args(annotation))
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    bounds = {key: value for item in field.metadata for key, value in _bounds(item)}
    return OptionSpec.model_validate(
        {
            "name": name,
            "title": field.title or name,
            "description": field.description or "",
            "kind": kind,
            "default": field.default,
            "optional": optional,
            "choices": choices,
            **extra,
            **bounds,
        }
    )


def model_of(described: Iterable[OptionSpec]) -> type[Options]:
    """Return a model of described options.

    It refuses keys, kinds and ranges as the described model does, in the same sentences; validators
    that the model has besides are unknown to it.
    """
    fields: dict[str, Any] = {}
    for spec in described:
        kind: Any = _KINDS.get(spec.kind) or Literal[spec.choices]
        low = "gt" if spec.exclusive_minimum else "ge"
        bounds = {low: spec.minimum, "le": spec.maximum}
        given: dict[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
        declared = option(
            *(spec.default, spec.title, spec.description), operations=spec.operations, **given
        )
        fields[spec.name] = (kind | None if spec.optional else kind, declared)
    return create_model("Described", __base__=Options, **fields)


_KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool, "text": str}


def _bounds(item: object) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if hasattr(item, "ge"):
        found.append(("minimum", item.ge))
    if hasattr(item, "gt"):
        found += [("minimum", item.gt), ("exclusive_minimum", True)]
    if hasattr(item, "le"):
        found.append(("maximum", item.le))
    return found


class OptionError(ValueError):
    """Wrong options; `field` is the dotted key and the message is one sentence."""

    def __init__(self, field: str, message: str) -> None:
        """Remember which field the sentence is about; it stays one line, whatever it quotes."""
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        super().__init__("".join(shown))
        self.field = field


def checked(model: type[Model], values: dict[str, Any], prefix: str = "") -> Model:
    """Build a model from plain values.

    Raises: OptionError with the first wrong key, its value and what would be right.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        key = f"{prefix}{name}" if name else prefix.rstrip(".")
        raise OptionError(key, _refusal(model, dict(first), prefix)) from None


def _refusal(model: type[BaseModel], error: dict[str, Any], prefix: str) -> str:
    """Say in one sentence what pydantic found wrong, with the value and what would be right."""
    *_, last = parts = [str(part) for part in error["loc"]] or [""]
    if error["type"] == "extra_forbidden":
        known = [prefix + other for other in model.model_fields if other != "version"]
        return f"There is no option {prefix}{last}; {known_text(prefix + last, known)}."
    if error["type"] == "missing":
        return f"{prefix}{'.'.join(parts)} is missing."
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    described = {spec.name: spec for spec in specs(model)}
    value = "nothing" if error["input"] is None else reprlib.repr(error["input"])
    if len(parts) == 1 and last in described:
        spec = described[last]
        return f"{prefix}{last} = {value} is not valid ({spec.title}): use {spec.range_text}."
    if len(parts) > 1 and last in _PLAIN_KINDS:  # which member of Plain pydantic tried first
        parts.pop()
    use = _RIGHT.get(error["type"])
    advice = f"use {use}" if use else str(error["msg"]).lower()
    return f"{prefix}{'.'.join(parts)} = {value} is not valid: {advice}."


def known_text(name: str, known: Iterable[str]) -> str:
    """Return `known: inner_lr, ways (did you mean ways?)`; the question only where one is near."""
    names = list(known)
    return f"known: {', '.join(names)}{did_you_mean(name, names)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean inner_lr?)` for a name that is nearly a known one, else nothing.

    Dotted names are compared with those of the same owner.
    """
    owner, dot, own = name.rpartition(".")
    prefix = owner + dot
    others = [other.removeprefix(prefix) for other in known if other.startswith(prefix)]
    near = get_close_matches(own, others, 1)
    return f" (did you mean {prefix}{near[0]}?)" if near else ""


_PLAIN_KINDS = {"bool", "int", "float", "str"}
_RIGHT = {
    "bool_type": "a number, text, true or false",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list, with brackets",
    "not_a_number": "a number",
    "string_type": "text",
    "tuple_type": "a list, with brackets",
}
