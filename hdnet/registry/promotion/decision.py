"""What was decided, in the forms in which it is kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hdnet.registry.promotion.rule import Judgement, Verdict

Outcome = Literal["promoted", "kept", "already_champion", "rolled_back"]


@dataclass(frozen=True)
class Decision:
    """One decision about the champion.

    Attributes:
        outcome: "kept" is the champion that was not replaced.
        name: Registered model.
        version: The version that was decided about; of a rollback the one that was taken back.
        champion_before: Version that served before; None if there was none.
        champion_after: Version that serves from now on.
        is_forced: Whether the rule was set aside.
        reason: Why, in one sentence.
        verdict: What the rule said, where it was asked.
        data: The held-out people, as they were named.
        data_sha256: Digest of them.
        decided_at: ISO 8601, UTC.
    """

    outcome: Outcome
    name: str
    version: str
    champion_before: str | None
    champion_after: str | None
    is_forced: bool
    reason: str
    verdict: Verdict | None
    data: str | None
    data_sha256: str | None
    decided_at: str

    @property
    def line(self) -> str:
        """The decision in one line."""
        said = {
            "promoted": f"version {self.version} of {self.name} is the champion{' by force' if self.is_forced else ''}",
            "kept": f"version {self.version} of {self.name} stays challenger, version {self.champion_before} champion",
            "already_champion": f"version {self.version} of {self.name} is the champion already",
            "rolled_back": f"version {self.champion_after} of {self.name} is the champion again",
        }
        return f"{said[self.outcome]}: {self.reason}"

    def tags(self) -> dict[str, str]:
        """For the run in MLflow."""
        return {
            "decision": self.outcome,
            "forced": str(self.is_forced).lower(),
            "reason": self.reason,
            "model.name": self.name,
            "model.version": self.version,
            "champion.before": self.champion_before or "none",
            "champion.after": self.champion_after or "none",
            **({"data.heldout": self.data_sha256} if self.data_sha256 else {}),
        }

    def metrics(self) -> dict[str, float]:
        """Flat, for the run: ``challenger/depth_mae_mm``, ``champion/...``, ``difference/...`` and its interval."""
        flat: dict[str, float] = {}
        for judged in self.verdict.judgements if self.verdict else ():
            flat |= {
                f"challenger/{judged.metric}": judged.challenger,
                f"champion/{judged.metric}": judged.champion,
                f"difference/{judged.metric}": judged.difference.value,
                f"difference_low/{judged.metric}": judged.difference.low,
                f"difference_high/{judged.metric}": judged.difference.high,
            }
        return flat

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """The line and, where there was something to compare, a table."""
        lines = [f"{self.line}.", ""]
        if self.verdict is not None:
            lines += [
                f"Measured on {self.verdict.samples} held-out people ({self.data}, {self.data_sha256}).",
                "",
                f"| metric | challenger {self.version} | champion {self.champion_before} | difference | interval | |",
                "|---|---:|---:|---:|---:|---|",
                *map(_row, self.verdict.judgements),
                "",
            ]
        return "\n".join(lines)


def _row(judged: Judgement) -> str:
    gap = judged.difference
    name = f"{judged.metric} (guard)" if judged.is_guard else judged.metric
    return (
        f"| {name} | {judged.challenger:.4g} | {judged.champion:.4g} | {gap.value:+.3g} | "
        f"{gap.low:+.3g} to {gap.high:+.3g} ({100 * gap.level:g} %) | {judged.finding} |"
    )
