"""When an estimate would be a guess: the reasons, as data, that stand in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.offpolicy.diagnostics import Diagnosis, Diagnostics


@dataclass(frozen=True, slots=True)
class Limits:
    """What a log must have before anything is estimated from it.

    Args:
        effective: least effective sample size.
        unsupported: most of the policy's mass that may lie where the log has none.
        mean_weight_p: the weights must not average other than 1 at this p-value ...
        mean_weight_gap: ... and by more than this.
    """

    effective: float = 100.0
    unsupported: float = 0.01
    mean_weight_p: float = 1e-4
    mean_weight_gap: float = 0.01


@dataclass(frozen=True, slots=True)
class Reason:
    """Why nothing is said.

    Attributes:
        code: `no-decisions`, `one-subject`, `nothing-randomised`, `effective-sample-size`, `support`, `mean-weight`,
            `slot-not-randomised`; of pipelines `not-reproduced`, `other-slots`, `items-not-randomised`.
        figure, limit: what was found, and what would have been needed.
        text: both as a sentence.
    """

    code: str
    figure: float
    limit: float
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What stands in the place of an estimate that the log does not allow."""

    reasons: tuple[Reason, ...]

    @property
    def text(self) -> str:
        """All reasons, one sentence after the other."""
        return " ".join(reason.text for reason in self.reasons)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the reasons."""
        return tuple(reason.code for reason in self.reasons)


def refuse(found: Diagnostics, limits: Limits) -> Refusal | None:
    """The refusal where a log cannot say what a policy is worth, else None.

    A policy that never departs from the log is worth what the log earned, whether or not anything was randomised.
    """
    if found.n == 0:
        return Refusal(
            (Reason("no-decisions", 0, 1, "No usable decision has a known reward and a recorded probability."),)
        )
    if found.clusters < 2:
        text = "All decisions are of one subject, who says nothing of others."
        return Refusal((Reason("one-subject", found.clusters, 2, text),))
    reasons = [*_randomised(found), *_effective(found, limits), *_support(found, limits), *_mean_weight(found, limits)]
    return Refusal(tuple(reasons)) if reasons else None


def also(refusal: Refusal | None, reasons: Sequence[Reason]) -> Refusal | None:
    """A refusal with further reasons first; None without any."""
    told = (*reasons, *(refusal.reasons if refusal else ()))
    return Refusal(told) if told else None


def settled(diagnosis: Diagnosis, limits: Limits) -> list[Reason]:
    """Slots in which the log could never have done anything else, and the policy would, beyond what may be.

    Support says that something was never possible; this says where, and what can be done.
    """
    if not diagnosis.whole.unsupported > limits.unsupported:
        return []
    return [
        Reason(
            "slot-not-randomised", each.departs, 0.0,
            f"Slot {each.of} was never randomised: in all {each.n:,} decisions one action had the probability 1, and"
            f" the policy would do something else in {each.departs:.1%} of them. Let a policy with a floor draw it, or"
            " leave it out (--slot names one of the others).",
        )
        for each in diagnosis.slots
        if len(diagnosis.slots) > 1 and each.randomised == 0 and each.departs > 0
    ]  # fmt: skip


def _randomised(found: Diagnostics) -> list[Reason]:
    if found.randomised > 0 or found.departs == 0:
        return []
    text = "Nothing was randomised: in no decision could the log have taken another action."
    return [Reason("nothing-randomised", 0.0, 0.0, text)]


def _effective(found: Diagnostics, limits: Limits) -> list[Reason]:
    if found.effective >= limits.effective:
        return []
    text = (
        f"The effective sample size is {found.effective:,.1f} of {found.n:,} decisions; {limits.effective:,.0f} are"
        " needed."
    )
    if found.effective > 0:
        text += f" The heaviest decision has {found.largest:.0%} of the weight."
    return [Reason("effective-sample-size", found.effective, limits.effective, text)]


def _support(found: Diagnostics, limits: Limits) -> list[Reason]:
    if found.unsupported <= limits.unsupported:
        return []
    text = (
        f"{found.unsupported:.1%} of what the policy would do was never possible in the log; at most"
        f" {limits.unsupported:.1%} may be."
    )
    return [Reason("support", found.unsupported, limits.unsupported, text)]


def _mean_weight(found: Diagnostics, limits: Limits) -> list[Reason]:
    gap = abs(found.mean_weight - 1)
    if not (found.p < limits.mean_weight_p and gap > limits.mean_weight_gap):
        return []
    text = (
        f"Weights average {found.mean_weight:.3f} where they should average 1 (z {found.z:+.1f}, p {found.p:.1g}):"
        " the logged propensities are wrong, or do not cover the policy."
    )
    return [Reason("mean-weight", found.mean_weight, 1.0, text)]


def cautions(diagnosis: Diagnosis, limits: Limits, *, observational: bool) -> list[str]:
    """Sentences that belong beside estimates that are not refused."""
    found, said = diagnosis.whole, []
    if observational:
        said.append(
            "The log is observational: its propensities are estimates, and something unrecorded may explain it."
        )
    if found.tail < 2:
        said.append(f"The weights have a heavy tail (index {found.tail:.1f}, below 2): intervals are too short.")
    if 0 < found.unsupported <= limits.unsupported:
        said.append(f"{found.unsupported:.2%} of the policy's mass is outside the log and counts as reward 0 in IPS.")
    for each in diagnosis.slots if len(diagnosis.slots) > 1 else ():
        refusal = refuse(each, limits)
        if refusal:
            said.append(f"Slot {each.of} alone could not be valued. {refusal.text}")
    off = sum(each.p < limits.mean_weight_p / max(len(diagnosis.days), 1) for each in diagnosis.days)
    if off and np.isfinite(off):
        said.append(f"On {off} of {len(diagnosis.days)} days the weights do not average 1.")
    return said
