"""What all sections of params.yaml are made of."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hdnet.errors import ParamsError

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all sections: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


def parse_section(section: type[SectionT], values: Any, where: str) -> SectionT:
    """Builds one section, turning pydantic's report into one line."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        # Keys that contradict each other are named by the message; the whole section would not help.
        found = "" if first["type"] == "value_error" else f", found {first['input']!r}"
        raise ParamsError(f"{where}: {key}: {first['msg']}{found}{more}") from error
