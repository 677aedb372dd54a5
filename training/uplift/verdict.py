"""What a check of a log of decisions says: passed, warned or failed, with its figure, its limit and what to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from features.errors import ConfigError, DataError

Verdict = Literal["passed", "warned", "failed"]
SIGNIFICANT: Final = 0.001
"""A test that fails at this level, after correcting for the number of tests, is no accident."""
DOUBTFUL: Final = 0.01
"""One below this deserves a look."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: by which it can be overridden.
        verdict: `failed` stops a fit.
        figure: what was measured; NaN where nothing could be.
        threshold: the limit beyond which it fails.
        sentence: what was found, for people.
        remedy: what to do; empty where nothing need be done.
    """

    name: str
    verdict: Verdict
    figure: float
    threshold: float
    sentence: str
    remedy: str = ""


def by_p(name: str, p: float, sentence: str, remedy: str) -> Check:
    """A check whose figure is a p-value, already corrected for multiplicity."""
    verdict: Verdict = "failed" if p < SIGNIFICANT else "warned" if p < DOUBTFUL else "passed"
    return Check(name, verdict, p, SIGNIFICANT, sentence, "" if verdict == "passed" else remedy)


def by_limit(name: str, figure: float, limits: tuple[float, float], sentence: str, remedy: str) -> Check:
    """A check whose figure must stay at or below limits: (warned above, failed above)."""
    verdict: Verdict = "failed" if figure > limits[1] else "warned" if figure > limits[0] else "passed"
    return Check(name, verdict, figure, limits[1], sentence, "" if verdict == "passed" else remedy)


def untested(name: str, threshold: float, why: str, remedy: str) -> Check:
    """Nothing could be measured, which is no pass."""
    return Check(name, "warned", float("nan"), threshold, f"Not tested: {why}", remedy)


def refuse_unless(checks: Sequence[Check], overridden: Collection[str] = ()) -> None:
    """Stop before a fit unless every check that failed was overridden by name.

    Args:
        checks: from `run_checks`.
        overridden: names; what was overridden belongs into the record of the run.

    Raises:
        ConfigError: an override that names no check.
        DataError: with a sentence and a remedy for each check that failed.
    """
    names = [check.name for check in checks]
    for name in overridden:
        if name not in names:
            raise ConfigError("no such check", where="override", got=name, hint=f"there are: {', '.join(names)}")
    failed = [check for check in checks if check.verdict == "failed" and check.name not in overridden]
    if failed:
        told = " ".join(f"{check.name}: {check.sentence} {check.remedy}" for check in failed)
        hint = f"mend the log, or override by name: {', '.join(check.name for check in failed)}"
        raise DataError(f"{len(failed)} of {len(checks)} checks failed. {told}", hint=hint)
