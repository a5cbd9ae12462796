"""Base class and common types of the sections of params.yaml."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from hdnet.errors import ParamsError

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all sections: frozen; an unknown key is an error.

    A field declares type, limits, default (the demo's value) and meaning, the docstring below it. Its first paragraph
    is the comment in params.yaml and the help of an option.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def meaning(field: FieldInfo) -> str:
    """Return what a parameter controls, as a comment or a help text: the first paragraph of its docstring."""
    is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    text = field.description or (inspect.getdoc(field.annotation) if is_section else None) or ""
    text = " ".join(text.partition("\n\n")[0].split()).removesuffix(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


SectionT = TypeVar("SectionT", bound=Section)


def parse_section(section: type[SectionT], values: Any, where: str) -> SectionT:
    """Build a section from the values of a file, which has to hold every key.

    Defaults are for code that builds a section by itself: a key that a file lacks never gets one silently.

    Args:
        section: Class of the section.
        values: Nested mapping, as YAML reads it.
        where: Name of the file in errors.

    Raises:
        ParamsError: If a key is missing, unknown or out of range; one line that names the key.
    """
    missing = list(_missing_keys(section, values))
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ParamsError(f"{where}: {missing[0]}: missing{more}; expected every key of params.yaml")
    try:
        return section.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        # Keys that contradict each other are named by the message; the whole section would not help.
        found = "" if first["type"] == "value_error" else f", found {first['input']!r}"
        raise ParamsError(f"{where}: {key}: {first['msg']}{found}{more}") from error


def _missing_keys(section: type[Section], values: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(values, Mapping):
        return  # pydantic says what was expected
    for name, field in section.model_fields.items():
        key, kind = field.alias or name, field.annotation
        if key not in values:
            yield prefix + key
        elif isinstance(kind, type) and issubclass(kind, Section):
            yield from _missing_keys(kind, values[key], f"{prefix}{key}.")
