"""Measures both versions, decides, moves the alias, and leaves the decision as a run in MLflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hdnet import registry
from hdnet.errors import DataError, ModelError, PromotionError
from hdnet.evaluation import EvaluationResult, evaluate_source
from hdnet.files import write_json
from hdnet.params import Params, PromoteParams
from hdnet.registry.promotion.decision import Decision, Outcome
from hdnet.registry.promotion.rule import Verdict, judge
from hdnet.tracking import runs
from hdnet.tracking.tracker import Tracker

DECISION_FILE, TABLE_FILE = "decision.json", "decision.md"
# So often another promotion may come first before this one gives up.
_ATTEMPTS = 5


@dataclass(frozen=True)
class Contest:
    """What competes, and where.

    Attributes:
        name: Registered model.
        challenger_alias: Alias of the version that waits.
        rule: Section ``promote`` of params.yaml.
        heldout: Folder of held-out people, packed or in the Tang layout.
        measured: What was measured already, by version: nothing is measured twice.
    """

    name: str
    challenger_alias: str
    rule: PromoteParams
    heldout: Path
    measured: dict[str, EvaluationResult] = field(default_factory=dict)

    def champions(self) -> registry.Champions:
        """The registry's side."""
        return registry.Champions(self.name, self.rule.alias, self.challenger_alias)

    def evaluation(self, version: str) -> EvaluationResult:
        """A version on the held-out people."""
        if version not in self.measured:
            self.measured[version] = evaluate_source(f"models:/{self.name}/{version}", self.heldout)
        return self.measured[version]


def contest_of(params: Params, heldout: Path) -> Contest:
    """The contest that params.yaml describes, on these people."""
    return Contest(params.register_.name, params.register_.alias, params.promote, heldout)


def promote(contest: Contest, folder: Path, version: str | None = None, force_reason: str | None = None) -> Decision:
    """Decides whether a version becomes the champion; the decision is a run, whichever it is.

    Without a champion the version becomes it. By force the rule is asked too, where that is possible, and set aside.
    If another promotion comes first, this one compares with the new champion.

    Args:
        contest: What competes.
        folder: Gets ``decision.json`` and ``decision.md``.
        version: The one to decide about; None takes the challenger.
        force_reason: Set the rule aside, for this reason.

    Raises:
        PromotionError: If there is no challenger, a reason is empty, or others change the champion all the time.
        ModelError: If there is no such version, or one of the two cannot be loaded.
        TrackingError: If MLflow is away.
    """
    if force_reason is not None and not force_reason.strip():
        raise PromotionError("a promotion by force needs a reason: --force --reason TEXT")
    champions = contest.champions()
    version = champions.challenger() if version is None else champions.existing(version)
    params = {"promote": contest.rule.model_dump()}
    with runs.run("promote", params, {"model.name": contest.name, "model.version": version}) as tracker:
        run_id = runs.open_run_id()
        for _ in range(_ATTEMPTS):
            decision = _decide(contest, champions, version, force_reason)
            if decision.outcome != "promoted" or champions.install(
                version, decision.champion_before, run_id, decision.reason
            ):
                _keep(decision, folder, tracker)
                return decision
    raise PromotionError(
        f"others changed the champion of {contest.name} {_ATTEMPTS} times meanwhile; promote again later"
    )


def _decide(contest: Contest, champions: registry.Champions, version: str, force_reason: str | None) -> Decision:
    champion = champions.champion()
    rolled_back = champions.rolled_back(version)
    if champion == version:
        return _decision(contest, "already_champion", version, champion, "there is nothing to decide")
    if force_reason is not None:
        verdict, said = _asked_in_vain(contest, version, champion)
        return _decision(contest, "promoted", version, champion, f"{force_reason} ({said})", verdict, is_forced=True)
    if rolled_back is not None:
        return _decision(
            contest, "kept", version, champion, f"it was rolled back ({rolled_back}); only --force brings it"
        )
    if champion is None:
        contest.evaluation(version)  # what cannot be measured is not served
        return _decision(contest, "promoted", version, None, "there was no champion to compare with")
    verdict = judge(contest.rule, contest.evaluation(version), contest.evaluation(champion))
    return _decision(contest, "promoted" if verdict.is_better else "kept", version, champion, verdict.reason, verdict)


def _asked_in_vain(contest: Contest, version: str, champion: str | None) -> tuple[Verdict | None, str]:
    """The rule's opinion of a promotion by force, and how to quote it."""
    if champion is None:
        return None, "there was no champion"
    try:
        verdict = judge(contest.rule, contest.evaluation(version), contest.evaluation(champion))
    except (DataError, ModelError, PromotionError) as error:
        return None, f"the rule could not be asked: {error}"
    return verdict, f"the rule says: {verdict.reason}"


def _decision(
    contest: Contest,
    outcome: Outcome,
    version: str,
    champion: str | None,
    reason: str,
    verdict: Verdict | None = None,
    *,
    is_forced: bool = False,
) -> Decision:
    measured = contest.measured.get(version)
    return Decision(
        outcome=outcome,
        name=contest.name,
        version=version,
        champion_before=champion,
        champion_after=version if outcome == "promoted" else champion,
        is_forced=is_forced,
        reason=reason,
        verdict=verdict,
        data=str(contest.heldout) if measured else None,
        data_sha256=measured.data_sha256 if measured else None,
        decided_at=_now(),
    )


def roll_back(contest: Contest, folder: Path, reason: str | None = None) -> Decision:
    """Gives the alias back to the champion before; nothing is measured.

    Args:
        contest: What competes.
        folder: As of :func:`promote`.
        reason: Why, for the record.

    Raises:
        PromotionError: If there is no champion, or none before it.
        TrackingError: If MLflow is away.
    """
    champions = contest.champions()
    reason = reason or "no reason was given"
    with runs.run("rollback", {}, {"model.name": contest.name}) as tracker:
        taken_back, again = champions.roll_back(runs.open_run_id(), reason)
        decision = Decision(
            outcome="rolled_back",
            name=contest.name,
            version=taken_back,
            champion_before=taken_back,
            champion_after=again,
            is_forced=False,
            reason=reason,
            verdict=None,
            data=None,
            data_sha256=None,
            decided_at=_now(),
        )
        _keep(decision, folder, tracker)
        return decision


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _keep(decision: Decision, folder: Path, tracker: Tracker) -> None:
    """The decision as files and in the run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / DECISION_FILE, decision.to_dict())
    (folder / TABLE_FILE).write_text(decision.to_markdown(), encoding="utf-8")
    tracker.set_tags(decision.tags())
    if decision.metrics():
        tracker.log_metrics(decision.metrics(), 0)
    for name in (DECISION_FILE, TABLE_FILE):
        tracker.log_file(folder / name)
