"""Promotion rule: significantly better in one metric, and not worse in the guards."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hdnet.errors import PromotionError
from hdnet.evaluation import HIGHER_IS_BETTER, EvaluationResult
from hdnet.evaluation.confidence import Interval, paired_difference, verdict_of
from hdnet.params import PromoteParams

# A bootstrap over fewer people underestimates how people differ: its intervals are too narrow.
MIN_SAMPLES = 8

Finding = Literal["better", "worse", "not told apart", "not worse", "worse than tolerated"]


@dataclass(frozen=True)
class Judgement:
    """One metric of both versions.

    Attributes:
        metric: Key of the metric.
        is_guard: Whether the metric only must not get worse.
        challenger: Challenger's mean over the samples.
        champion: Champion's mean over the samples.
        difference: Challenger minus champion, with the paired bootstrap's confidence interval.
        finding: Meaning of the difference.
    """

    metric: str
    is_guard: bool
    challenger: float
    champion: float
    difference: Interval
    finding: Finding

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """Verdict of the rule.

    Attributes:
        is_better: Whether the challenger may become the champion.
        reason: Reason in one sentence.
        judgements: The main metric, then the guards.
        samples: Number of people that were measured.
    """

    is_better: bool
    reason: str
    judgements: tuple[Judgement, ...]
    samples: int


def judge(rule: PromoteParams, challenger: EvaluationResult, champion: EvaluationResult) -> Verdict:
    """Compare two evaluations on the same samples.

    The challenger is better if the interval of the paired differences of ``rule.metric`` lies on the better side of 0
    as a whole, and no guard's mean is worse by more than ``rule.guard_tolerance`` of the champion's.

    Raises:
        PromotionError: The two were measured on different samples.
        DataError: The samples have no ground truth for a metric.
    """
    if challenger.names != champion.names or challenger.data_sha256 != champion.data_sha256:
        raise PromotionError(
            f"the challenger was measured on other samples ({len(challenger.names)}) than the champion "
            f"({len(champion.names)}); both need the same held-out people"
        )
    main = _judgement(rule, rule.metric, challenger, champion, is_guard=False)
    guards = [_judgement(rule, metric, challenger, champion, is_guard=True) for metric in rule.guards]
    failed = [guard.metric for guard in guards if guard.finding == "worse than tolerated"]
    samples = len(challenger.names)
    is_better = main.finding == "better" and not failed and samples >= MIN_SAMPLES
    return Verdict(is_better, _reason(rule, main, failed, samples), (main, *guards), samples)


def _judgement(
    rule: PromoteParams, metric: str, challenger: EvaluationResult, champion: EvaluationResult, *, is_guard: bool
) -> Judgement:
    ours, theirs = challenger.values(metric), champion.values(metric)
    difference = paired_difference(ours, theirs, level=rule.level)
    higher_is_better = metric in HIGHER_IS_BETTER
    finding: Finding
    if is_guard:
        loss = -difference.value if higher_is_better else difference.value
        is_worse = loss > rule.guard_tolerance * abs(float(theirs.mean()))
        finding = "worse than tolerated" if is_worse else "not worse"
    else:
        finding = verdict_of(difference, higher_is_better=higher_is_better)
    return Judgement(metric, is_guard, float(ours.mean()), float(theirs.mean()), difference, finding)


def _reason(rule: PromoteParams, main: Judgement, failed_guards: list[str], samples: int) -> str:
    gap = main.difference
    measured = (
        f"{rule.metric} {main.challenger:.4g} against {main.champion:.4g}, difference {gap.value:+.3g} "
        f"({100 * rule.level:g} % interval {gap.low:+.3g} to {gap.high:+.3g}, {samples} people)"
    )
    if samples < MIN_SAMPLES:
        return f"{measured}: {samples} people tell nothing apart, at least {MIN_SAMPLES} are needed"
    if main.finding != "better":
        return f"{measured}: {main.finding}"
    if failed_guards:
        return f"{measured}: better, but worse than tolerated in {', '.join(failed_guards)}"
    return f"{measured}: better, and not worse in {', '.join(rule.guards) or 'anything else that is asked for'}"
