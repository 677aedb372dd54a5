"""The value of a whole page whose slots were drawn one after the other, without replacement, in a logged order.

rho_l = pi(a_l | x, a_1..a_l-1) / p(a_l | x, a_1..a_l-1) is the conditional weight of slot l, w_l = rho_1 ... rho_l. The
target policy is asked slot by slot, with the earlier slots as they were logged: so its probabilities are conditional,
like the log's. The value of a page is the sum of its slots' rewards r_l.

    SIPS        mean of w_L times the sum of r_l           no assumption; the largest weights
    IIPS        mean of the sum of rho_l r_l               a slot's reward depends on its own action alone, and on the
                                                           earlier ones as they were logged (Li et al. 2018)
    RIPS        mean of the sum of w_l r_l                 it depends on no later slot: the page is read from the top
                                                           (McInerney et al. 2020)
    SNRIPS      RIPS with each slot's weights normalised
    Cascade-DR  mean of the sum of w_l (r_l - Q_l(a_l)) + w_l-1 V_l, where Q_l(a) is the expected sum of rewards from
                slot l on and V_l its mean under the policy; w_0 = 1 (Kiyohara et al. 2022)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from features.errors import DataError
from training.offpolicy.estimators import Score, check_policy, counted, mean_of
from training.offpolicy.models import RewardModel, dealt_folds
from training.uplift.log import DecisionLog, Doubles, Mask, Whole


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages as rows and their slots as columns, in the order of `position`; L is the most slots that a page has.

    Args:
        here: bool[pages, L], whether the page has such a slot.
        ratio: float64[pages, L], rho; 1 where there is no slot.
        reward, fitted, expected: float64[pages, L], r, Q(a) and V; 0 where there is no slot or no model.
        cluster: int64[pages], numbers of subjects, from 0.
        left_out: pages of which a slot is not usable or its reward is not known.
    """

    here: Mask
    ratio: Doubles
    reward: Doubles
    fitted: Doubles
    expected: Doubles
    cluster: Whole
    left_out: int

    def __len__(self) -> int:
        return len(self.here)

    @property
    def weight(self) -> Doubles:
        """float64[pages, L]: w, the product of the conditional weights down to each slot."""
        return np.cumprod(self.ratio, axis=1, dtype=np.float64)


def pages_of(log: DecisionLog, policy: Doubles, reward: str, predictions: Doubles | None = None) -> Pages:
    """The pages of a log as rows.

    Args:
        log: the decisions.
        policy: float64[n, k], conditional on the earlier slots of the page as logged.
        reward: name of the reward of each slot.
        predictions: float64[n, k], Q (`to_go`); None: no model.

    Raises:
        DataError: the policy does not fit the log, or a page has one position twice.
    """
    check_policy(log, policy)
    rows, page, place = _whole(log, reward)
    shape = (int(page.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    subject = np.zeros(shape[0], np.int64)
    subject[page] = log.subject[rows]
    action = log.action[rows]
    model = np.zeros((len(rows), policy.shape[1])) if predictions is None else predictions[rows]
    target = policy[rows]
    at = np.arange(len(rows))

    def laid(values: Doubles | Mask, empty: float) -> Doubles:
        grid = np.full(shape, empty)
        grid[page, place] = values
        return grid

    return Pages(
        here=laid(np.ones(len(rows)), 0.0) > 0, ratio=laid(target[at, action] / log.taken[rows], 1.0),
        reward=laid(log.reward(reward)[rows], 0.0), fitted=laid(model[at, action], 0.0),
        expected=laid((target * model).sum(axis=1), 0.0),
        cluster=np.unique(subject, return_inverse=True)[1].astype(np.int64),
        left_out=len(np.unique(log.request)) - shape[0],
    )  # fmt: skip


def _whole(log: DecisionLog, reward: str) -> tuple[Whole, Whole, Whole]:
    """`_laid_out` of the pages of which every slot counts."""
    rows, page, place = _laid_out(log)
    bad = np.bincount(page, weights=~counted(log, reward)[rows]) > 0
    kept = ~bad[page]
    return rows[kept], (np.cumsum(~bad) - 1)[page[kept]], place[kept]


def _laid_out(log: DecisionLog) -> tuple[Whole, Whole, Whole]:
    """Rows by page and position, with the number of the page and the place (0, 1, ...) on it."""
    rows = np.lexsort((log.position, log.request))
    request, position = log.request[rows], log.position[rows]
    new = np.append(True, request[1:] != request[:-1]) if len(rows) else np.zeros(0, np.bool_)
    twice = ~new[1:] & (position[1:] == position[:-1])
    if twice.any():
        raise DataError("a page has two decisions at one position", got=int(request[1:][twice][0]), where="request")
    page = np.cumsum(new) - 1
    first = np.flatnonzero(new)
    return rows, page, np.arange(len(rows)) - first[page]


def sips(pages: Pages) -> Score:
    """Standard IPS: the weight of the whole page."""
    return mean_of(pages.ratio.prod(axis=1) * pages.reward.sum(axis=1))


def iips(pages: Pages) -> Score:
    """Independent IPS: each slot with its own conditional weight."""
    return mean_of((pages.ratio * pages.reward).sum(axis=1))


def rips(pages: Pages) -> Score:
    """Reward-interaction IPS: each slot with the weights down to it; unbiased under the cascade assumption."""
    return mean_of((pages.weight * pages.reward).sum(axis=1))


def snrips(pages: Pages) -> Score:
    """RIPS with the weights of each slot divided by their mean over the pages that have the slot."""
    n, value, influence = len(pages), 0.0, np.zeros(len(pages))
    if not n:
        return Score(np.nan, influence)
    for here, weight, reward in zip(pages.here.T, pages.weight.T, pages.reward.T, strict=True):
        share, total = float(here.mean()), float(weight[here].sum())
        mean = float((weight * reward)[here].sum()) / total if total > 0 else np.nan
        value += share * mean
        influence += share * here * weight * (reward - mean) * (n / total if total > 0 else np.nan)
        influence += mean * (here - share)
    return Score(value, influence)


def cascade_dr(pages: Pages) -> Score:
    """Doubly robust under the cascade assumption; RIPS where the model says 0, DR on pages of one slot."""
    before = np.concatenate([np.ones((len(pages), 1)), pages.weight[:, :-1]], axis=1)[:, : pages.here.shape[1]]
    terms = pages.weight * (pages.reward - pages.fitted) + before * pages.expected
    return mean_of(terms.sum(axis=1))


PAGE_ESTIMATORS: Mapping[str, Callable[[Pages], Score]] = {
    "rips": rips, "snrips": snrips, "cascade-dr": cascade_dr, "iips": iips, "sips": sips,
}  # fmt: skip


def to_go(
    log: DecisionLog, policy: Doubles, reward: str, model: RewardModel, *, folds: int = 5, seed: int = 0
) -> Doubles:
    """float64[n, k]: Q, the expected sum of rewards from each slot on under the policy, cross-fitted by subject.

    Fitted from the last place of the page upwards: the target of place l is r_l + V_l+1 (Kiyohara et al. 2022). The
    models of all places are fitted on the same other subjects, so no prediction has seen its own subject. Where they
    have no page of that length the prediction is 0; rows of pages that are left out are NaN.

    Args:
        log, policy, reward: as for `pages_of`.
        model: the reward model.
        folds, seed: as for `cross_fitted`.
    """
    rows, page, place = _whole(log, reward)
    found = np.full(policy.shape, np.nan)
    if not len(rows):
        return found
    known, target, gained = log.take(rows), policy[rows], log.reward(reward)[rows]
    following = np.append(np.where(page[1:] == page[:-1], np.arange(1, len(rows)), -1), -1)
    fold = dealt_folds(known.subject, folds, seed)
    for number in np.unique(fold).tolist():
        value = np.zeros(len(rows) + 1)  # V; the last stands for no slot further down
        for level in range(int(place.max()), -1, -1):
            here = np.flatnonzero(place == level)
            learnt = here[fold[here] != number]
            predicted = np.zeros((len(here), policy.shape[1]))
            if len(learnt):
                fitted = model.fit(known.take(learnt), (gained + value[following])[learnt])
                predicted = fitted(known.take(here))
            value[here] = (target[here] * predicted).sum(axis=1)
            own = fold[here] == number
            found[rows[here[own]]] = predicted[own]
    return found
