"""Report of an import: items taken and refused, with reasons, as a table and as JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

REPORT_FILE = "import.json"

_EXAMPLES = 3
# Varying parts of equal reasons: the file at the front, numbers, quoted words.
_FILE = re.compile(r"^\S.*?: (?=\S)")
_DETAIL = re.compile(r"'[^']*'|(?<![A-Za-z_])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![A-Za-z_])")


@dataclass(frozen=True)
class Outcome:
    """Outcome of one item (frame, sample, pair of frames).

    Attributes:
        source: Name for the user, unique in the import, for example "00012/images/0034.png".
        name: Its new name of 7 digits; None if it was refused or has no name.
        reason: Reason of the refusal, one complete line; None if it was taken.
        notes: Changes made to it, for example "normals computed from depth".
    """

    source: str
    name: str | None
    reason: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def taken(self) -> bool:
        """Return whether it was imported."""
        return self.reason is None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form without empty values."""
        content = {"source": self.source, "name": self.name, "reason": self.reason, "notes": list(self.notes)}
        return {key: value for key, value in content.items() if value}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Outcome:
        """Return the outcome of :meth:`to_dict`."""
        return cls(content["source"], content.get("name"), content.get("reason"), tuple(content.get("notes", ())))


@dataclass(frozen=True)
class ImportReport:
    """All outcomes of an import.

    Attributes:
        kind: Name of the importer, for example "authors' archive".
        source: Source of the import.
        out: The raw folder written.
        outcomes: One an item.
        extra: Further facts worth a line each (JSON-able), for example the camera that was assumed.
    """

    kind: str
    source: str
    out: str
    outcomes: Sequence[Outcome]
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def taken(self) -> list[Outcome]:
        """Outcomes of the imported items."""
        return [outcome for outcome in self.outcomes if outcome.taken]

    @property
    def refused(self) -> list[Outcome]:
        """Outcomes of the refused items."""
        return [outcome for outcome in self.outcomes if not outcome.taken]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form; ``notes`` counts how many items have each note."""
        return {
            "kind": self.kind,
            "source": self.source,
            "out": self.out,
            "counts": {"items": len(self.outcomes), "taken": len(self.taken), "refused": len(self.refused)},
            "extra": self.extra,
            "notes": dict(self._notes()),
            "refused": [outcome.to_dict() for outcome in self.refused],
            "taken": [outcome.to_dict() for outcome in self.taken],
        }

    def to_table(self) -> str:
        """Return a compact text: counts, refusals grouped by reason with examples, notes with counts, extra facts."""
        lines = [f"{self.kind}: {self.source} -> {self.out}", _row("taken", len(self.taken))]
        lines.append(_row("refused", len(self.refused)))
        for reason, sources in self._reasons():
            lines.append(_row("", len(sources)) + f"  {reason}")
            shown = ", ".join(sources[:_EXAMPLES])
            more = len(sources) - _EXAMPLES
            lines.append(f"{'':18}in {shown}" + (f" and {more} more" if more > 0 else ""))
        for note, count in self._notes().most_common():
            lines.append(_row("note", count) + f"  {note}")
        lines.extend(f"{key}: {_brief(value)}" for key, value in self.extra.items())
        return "\n".join(lines)

    def _notes(self) -> Counter[str]:
        return Counter(note for outcome in self.taken for note in outcome.notes)

    def _reasons(self) -> list[tuple[str, list[str]]]:
        """(reason, sources): the first full reason of every group, the most frequent group first."""
        groups: dict[str, tuple[str, list[str]]] = {}
        for outcome in self.refused:
            reason = outcome.reason or ""
            groups.setdefault(_group_key(reason), (reason, []))[1].append(outcome.source)
        return sorted(groups.values(), key=lambda group: -len(group[1]))


def _group_key(reason: str) -> str:
    return _DETAIL.sub("#", _FILE.sub("", reason, count=1))


def _row(label: str, count: int) -> str:
    return f"  {label:<8}{count:>6}"


def _brief(value: Any) -> str:
    if isinstance(value, list):
        shown = ", ".join(str(item) for item in value[:10])
        return f"{len(value)}: {shown}" + (" ..." if len(value) > 10 else "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
