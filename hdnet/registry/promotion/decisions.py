"""Decisions about the champion: evaluate both versions, apply the rule, move the alias, record it in MLflow."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hdnet.errors import DataError, ModelError, PromotionError
from hdnet.evaluation import EvaluationResult, evaluate_source
from hdnet.files import write_json
from hdnet.params import Params, PromoteParams
from hdnet.registry.champions import Champions, utc_now
from hdnet.registry.promotion.rule import Judgement, Verdict, judge
from hdnet.tables import markdown_table
from hdnet.tracking import runs
from hdnet.tracking.tracker import Tracker

DECISION_FILE, TABLE_FILE = "decision.json", "decision.md"
# Number of tries, if other promotions change the champion meanwhile.
_ATTEMPTS = 5

Outcome = Literal["promoted", "kept", "already_champion", "rolled_back"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision about the champion.

    Attributes:
        outcome: Result; "kept" means that the champion was not replaced.
        name: Registered model.
        version: Version that was decided about; for a rollback the one that was rolled back.
        champion_before: Champion before; None if there was none.
        champion_after: Champion from now on.
        is_forced: Whether the rule was overruled.
        reason: Reason in one sentence.
        verdict: Verdict of the rule; None if it was not applied.
        data: Source of the held-out people; None if nothing was measured.
        data_sha256: Their digest.
        decided_at: ISO 8601, UTC.
    """

    outcome: Outcome
    name: str
    version: str
    champion_before: str | None
    champion_after: str | None
    is_forced: bool = False
    reason: str
    verdict: Verdict | None = None
    data: str | None = None
    data_sha256: str | None = None
    decided_at: str = field(default_factory=utc_now)

    @property
    def line(self) -> str:
        """Decision in one line."""
        said = {
            "promoted": f"version {self.version} of {self.name} is the champion{' by force' if self.is_forced else ''}",
            "kept": f"version {self.version} of {self.name} stays challenger, version {self.champion_before} champion",
            "already_champion": f"version {self.version} of {self.name} is the champion already",
            "rolled_back": f"version {self.champion_after} of {self.name} is the champion again",
        }
        return f"{said[self.outcome]}: {self.reason}"

    def tags(self) -> dict[str, str]:
        """Return tags for the run in MLflow."""
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
        """Return flat metrics: ``challenger/depth_mae_mm``, ``champion/...``, ``difference/...`` and its interval."""
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
        """Return plain values for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return the decision's line and, if versions were compared, a table."""
        lines = [f"{self.line}.", ""]
        if self.verdict is not None:
            sides = [f"challenger {self.version}", f"champion {self.champion_before}"]
            headings = ["metric", *sides, "difference", "interval", ""]
            lines += [
                f"Measured on {self.verdict.samples} held-out people ({self.data}, {self.data_sha256}).",
                "",
                *markdown_table(headings, map(_row, self.verdict.judgements), "lrrrrl"),
                "",
            ]
        return "\n".join(lines)


@dataclass(frozen=True)
class VersionComparison:
    """Comparison of versions of a registered model on held-out people.

    Attributes:
        name: Registered model.
        challenger_alias: Alias of the version to decide about.
        rule: Section ``promote`` of params.yaml.
        heldout: Folder of held-out people, packed or in the Tang layout.
        measured: Evaluations by version; nothing is measured twice.
    """

    name: str
    challenger_alias: str
    rule: PromoteParams
    heldout: Path
    measured: dict[str, EvaluationResult] = field(default_factory=dict)

    def champions(self) -> Champions:
        """Return the aliases of the model."""
        return Champions(self.name, self.rule.alias, self.challenger_alias)

    def evaluation(self, version: str) -> EvaluationResult:
        """Evaluate a version on the held-out people."""
        if version not in self.measured:
            self.measured[version] = evaluate_source(f"models:/{self.name}/{version}", self.heldout)
        return self.measured[version]


def comparison_of(params: Params, heldout: Path) -> VersionComparison:
    """Return the comparison that params.yaml describes, on these people."""
    return VersionComparison(params.register_.name, params.register_.alias, params.promote, heldout)


def promote(
    comparison: VersionComparison, folder: Path, version: str | None = None, force_reason: str | None = None
) -> Decision:
    """Decide whether a version becomes the champion, and record the decision as a run.

    Without a champion the version becomes the champion. With force the rule is applied if possible, recorded, and
    overruled. If another promotion comes first, the version is compared with the new champion.

    Args:
        comparison: Model, rule and held-out people.
        folder: Folder for ``decision.json`` and ``decision.md``.
        version: Version to decide about; None takes the challenger.
        force_reason: Reason to overrule the rule.

    Raises:
        PromotionError: There is no challenger, a reason is empty, or others change the champion all the time.
        ModelError: There is no such version, or one of the two cannot be loaded.
        TrackingError: MLflow is unreachable.
    """
    if force_reason is not None and not force_reason.strip():
        raise PromotionError("a promotion by force needs a reason: --force --reason TEXT")
    champions = comparison.champions()
    version = champions.challenger() if version is None else champions.existing(version)
    params = {"promote": comparison.rule.model_dump()}
    with runs.run("promote", params, {"model.name": comparison.name, "model.version": version}) as tracker:
        run_id = runs.open_run_id()
        for _ in range(_ATTEMPTS):
            decision = _decide(comparison, champions, version, force_reason)
            if decision.outcome != "promoted" or champions.install(
                version, decision.champion_before, run_id, decision.reason
            ):
                _record(decision, folder, tracker)
                return decision
    raise PromotionError(
        f"others changed the champion of {comparison.name} {_ATTEMPTS} times meanwhile; promote again later"
    )


def _decide(comparison: VersionComparison, champions: Champions, version: str, force_reason: str | None) -> Decision:
    champion = champions.champion()
    rolled_back = champions.rolled_back(version)
    if champion == version:
        return _decision(comparison, "already_champion", version, champion, "there is nothing to decide")
    if force_reason is not None:
        verdict, said = _judge_forced(comparison, version, champion)
        return _decision(comparison, "promoted", version, champion, f"{force_reason} ({said})", verdict, is_forced=True)
    if rolled_back is not None:
        return _decision(
            comparison, "kept", version, champion, f"it was rolled back ({rolled_back}); only --force brings it"
        )
    if champion is None:
        comparison.evaluation(version)  # a version that cannot be measured must not serve
        return _decision(comparison, "promoted", version, None, "there was no champion to compare with")
    verdict = judge(comparison.rule, comparison.evaluation(version), comparison.evaluation(champion))
    return _decision(
        comparison, "promoted" if verdict.is_better else "kept", version, champion, verdict.reason, verdict
    )


def _judge_forced(comparison: VersionComparison, version: str, champion: str | None) -> tuple[Verdict | None, str]:
    """Return the verdict of the rule on a promotion by force, if it can be applied, and a text that quotes it."""
    if champion is None:
        return None, "there was no champion"
    try:
        verdict = judge(comparison.rule, comparison.evaluation(version), comparison.evaluation(champion))
    except (DataError, ModelError, PromotionError) as error:
        return None, f"the rule could not be asked: {error}"
    return verdict, f"the rule says: {verdict.reason}"


def _decision(
    comparison: VersionComparison,
    outcome: Outcome,
    version: str,
    champion: str | None,
    reason: str,
    verdict: Verdict | None = None,
    *,
    is_forced: bool = False,
) -> Decision:
    measured = comparison.measured.get(version)
    return Decision(
        outcome=outcome,
        name=comparison.name,
        version=version,
        champion_before=champion,
        champion_after=version if outcome == "promoted" else champion,
        is_forced=is_forced,
        reason=reason,
        verdict=verdict,
        data=str(comparison.heldout) if measured else None,
        data_sha256=measured.data_sha256 if measured else None,
    )


def roll_back(comparison: VersionComparison, folder: Path, reason: str | None = None) -> Decision:
    """Make the previous champion the champion again, without measuring anything.

    Args:
        comparison: Model and aliases.
        folder: As in :func:`promote`.
        reason: Reason to record.

    Raises:
        PromotionError: There is no champion, or no previous one.
        TrackingError: MLflow is unreachable.
    """
    champions = comparison.champions()
    reason = reason or "no reason was given"
    with runs.run("rollback", {}, {"model.name": comparison.name}) as tracker:
        taken_back, again = champions.roll_back(runs.open_run_id(), reason)
        decision = Decision(
            outcome="rolled_back",
            name=comparison.name,
            version=taken_back,
            champion_before=taken_back,
            champion_after=again,
            reason=reason,
        )
        _record(decision, folder, tracker)
        return decision


def _record(decision: Decision, folder: Path, tracker: Tracker) -> None:
    """Write the decision to files and log it to the run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / DECISION_FILE, decision.to_dict())
    (folder / TABLE_FILE).write_text(decision.to_markdown(), encoding="utf-8")
    tracker.set_tags(decision.tags())
    tracker.log_metrics(decision.metrics(), 0)
    for name in (DECISION_FILE, TABLE_FILE):
        tracker.log_file(folder / name)


def _row(judged: Judgement) -> list[str]:
    gap = judged.difference
    name = f"{judged.metric} (guard)" if judged.is_guard else judged.metric
    interval = f"{gap.low:+.3g} to {gap.high:+.3g} ({100 * gap.level:g} %)"
    return [name, f"{judged.challenger:.4g}", f"{judged.champion:.4g}", f"{gap.value:+.3g}", interval, judged.finding]
