"""How strong something unseen would have to be to explain an effect away, where nobody drew who got what.

No log can show that it holds everything that moved both the choice and the outcome. Two figures say how much it would
take, each for the effect and for the end of its interval that is nearer to nothing:

- E-value (VanderWeele & Ding 2017), of outcomes of 0 and 1: RR + sqrt(RR (RR - 1)) with RR the risk ratio, or 1 / RR
  where it is below 1. Something unseen must be tied to the action and to the outcome, beyond everything known, by risk
  ratios of at least so much each.
- Robustness value (Cinelli & Hazlett 2020; for doubly robust effects Chernozhukov, Cinelli, Newey, Sharma & Syrgkanis
  2022): (sqrt(f^4 + 4 f^2) - f^2) / 2 with f = |effect| / S and S^2 = E[(Y - mu_A)^2] E[a^2], where
  a = [A = action] / e - [A = null] / e_0. Something unseen must explain so much of what is left of the outcome and of
  the choice each: a bias is at most S sqrt(r_Y r_A / (1 - r_A)), with r_Y the share of E[(Y - mu_A)^2] that knowing it
  explains, and r_A = 1 - E[a^2] / E[a'^2], a' being a with the probabilities that know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from training.intervals import Interval
from training.uplift.crossfit import CrossFit
from training.uplift.estimate import estimated, mean_of
from training.uplift.log import NULL, Mask
from training.uplift.study import Study

NO_INTERVAL: Final = (float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What it would take to explain one action's effect on one outcome away.

    Args:
        action, reward: of what.
        effect: against nothing, a decision.
        ratio: risk ratio against nothing; NaN where the outcome is not 0 or 1, or a mean is not positive.
        e_value: of the ratio, and of the end of its interval; NaN with it.
        robustness: robustness value of the effect, and of the end of its interval, as shares.
    """

    action: str
    reward: str
    effect: Interval
    ratio: Interval
    e_value: tuple[float, float]
    robustness: tuple[float, float]


def sensitivities(found: Study) -> list[Sensitivity]:
    """Of every action and every outcome that is worth something; none where chance decided who got what."""
    if not found.log.observational:
        return []
    rewards = [reward for reward, worth in found.options.worth.items() if worth]
    pairs = [(reward, place) for reward in rewards for place in range(1, len(found.log.actions))]
    return [sensitivity(found.fits[reward], place) for reward, place in pairs]


def sensitivity(fit: CrossFit, place: int) -> Sensitivity:
    """Of one action.

    Args:
        fit: effects on the outcome.
        place: of the action.
    """
    scores = fit.scores[:, [NULL, place]]
    rows = np.isfinite(scores).all(axis=1)
    effect = mean_of(np.where(rows, scores[:, 1] - scores[:, 0], np.nan), fit.log.subject).interval
    ratio = risk_ratio(fit, place)
    size = bias_scale(fit, place)
    ends = (abs(effect.value), nearer_end(effect, 0.0))
    return Sensitivity(
        str(fit.log.actions[place]), fit.reward, effect, ratio,
        (e_value(ratio.value), e_value(nearer_end(ratio, 1.0))) if np.isfinite(ratio.value) else NO_INTERVAL,
        (robustness_value(strength_of(ends[0], size)), robustness_value(strength_of(abs(ends[1]), size))),
    )  # fmt: skip


def e_value(ratio: float) -> float:
    """Of a risk ratio; at least 1.

    >>> round(e_value(3.9), 2)
    7.26
    """
    above = ratio if ratio >= 1 else 1 / ratio if ratio > 0 else float("inf")
    return float(above + np.sqrt(above * (above - 1))) if np.isfinite(above) else above


def strength_of(effect: float, scale: float) -> float:
    """f of `robustness_value`; NaN where nothing is left of the outcome, so that no unseen cause can be measured."""
    return effect / scale if scale > 0 else float("nan")


def robustness_value(strength: float) -> float:
    """Of f, the effect over the scale of its bias: |t| / sqrt(degrees of freedom) for a coefficient of a regression.

    >>> round(robustness_value(4.184 / 783**0.5), 3)
    0.139
    """
    square = strength * strength
    return float((np.sqrt(square * square + 4 * square) - square) / 2)


def nearer_end(found: Interval, nothing: float) -> float:
    """The end of an interval that is nearer to nothing: nothing itself where it lies inside, NaN without one."""
    if not np.isfinite(found.low):
        return float("nan")
    return float(np.clip(nothing, found.low, found.high))


def risk_ratio(fit: CrossFit, place: int) -> Interval:
    """Mean outcome were an action always taken over that of nothing, on doubly robust scores.

    The interval is that of the logarithm, clustered by subject. Undefined for outcomes other than 0 and 1, and where a
    mean score is not positive.
    """
    scores, value = fit.scores[:, [NULL, place]], fit.log.reward(fit.reward)
    rows: Mask = np.isfinite(scores[:, 1] - scores[:, 0])
    undefined = Interval(np.nan, np.nan, np.nan, 0, len(rows))
    if not rows.any() or not np.isin(value[rows], (0.0, 1.0)).all():
        return undefined
    means = scores[rows].mean(axis=0)
    if not (means > 0).all():
        return undefined
    each = scores[rows] / means
    log = estimated(
        float(np.log(means[1] / means[0])), (each[:, 1] - each[:, 0]) / rows.sum(), fit.log.subject, kept=rows
    )  # fmt: skip
    return Interval(
        float(np.exp(log.value)), float(np.exp(log.low)), float(np.exp(log.high)), log.n, log.undefined
    )  # fmt: skip


def bias_scale(fit: CrossFit, place: int) -> float:
    """S: what an unseen cause that explains everything left would be multiplied by. NaN without rows."""
    rows = np.flatnonzero(np.isfinite(fit.scores[:, [NULL, place]]).all(axis=1))
    if not len(rows):
        return float("nan")
    action, chance = fit.log.action[rows], fit.choice.chance[rows][:, [NULL, place]]
    told = fit.outcomes.out[rows, action]
    left = np.where(np.isin(action, (NULL, place)), fit.log.reward(fit.reward)[rows] - told, 0.0)
    return float(np.sqrt((left**2).mean() * (1 / chance).sum(axis=1).mean()))


def unseen(each: Sensitivity, language: Literal["en", "ja"] = "en") -> str:
    """What it would take, as a sentence or two."""
    return {"en": _english, "ja": _japanese}[language](each)


def _english(each: Sensitivity) -> str:
    told = f"{each.action} on {each.reward}, {each.effect.value:+.4g} a decision: "
    if not np.isfinite(each.robustness[0]):
        return told + "what could explain it away cannot be said."
    if not each.robustness[1] > 0:
        told += "no effect at all lies within its interval; "
    told += (
        f"something unseen that explains {_percent(each.robustness[0])} of what is left of both the choice and the "
        f"outcome would explain it away ({_percent(each.robustness[1])}: the nearer end of its interval)"
    )
    if np.isfinite(each.e_value[0]):
        told += (
            f"; so would something that makes both {each.e_value[0]:.2f} times as likely beyond all that is known "
            f"({each.e_value[1]:.2f} times: the nearer end)"
        )
    return told + "."


def _japanese(each: Sensitivity) -> str:
    told = f"{each.action}の{each.reward}への効果(1回あたり{each.effect.value:+.4g}):"
    if not np.isfinite(each.robustness[0]):
        return told + "何がこれを説明しうるかは分かりません。"
    if not each.robustness[1] > 0:
        told += "区間は「効果なし」を含みます。"
    told += (
        f"記録にない要因が選ばれ方と成果の残りのばらつきをそれぞれ{_percent(each.robustness[0])}"
        f"(区間の近い端では{_percent(each.robustness[1])})説明するなら、この効果は見かけだけかもしれません。"
    )
    if np.isfinite(each.e_value[0]):
        told += f"両方を{each.e_value[0]:.2f}倍(近い端では{each.e_value[1]:.2f}倍)起こりやすくする要因でも同じです。"
    return told


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.1 or not share else f"{share:.2%}"
