"""Our metrics against those of scikit-uplift, causalml and EconML on the same predictions.

`peers/record.py` asked the packages about the logs of `peers/worlds.py`; the answers, with versions, are in
`peers/recorded.json`. Each test says in a formula how the definitions differ. In all of them n = rows, n_t = treated
rows, Q and G our Qini and gain curves, q our Qini per treated, u the uplift above a cut.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.test_uplift.peers.worlds import ROWS, SEEDS, SHARES, ThreeArms, TwoArms, three_arms, two_arms
from tests.test_uplift.worlds import log_of, trial
from training.offpolicy.estimators import ESTIMATORS, sample_of
from training.uplift.calibration import calibrated
from training.uplift.curves import Trial, auuc, curve, qini, uplift_at
from training.uplift.estimate import mean_of
from training.uplift.nuisance import contrast_scores
from training.uplift.ranked import autoc, by_decile, gain_at

CLOSE = {"rel": 1e-9, "abs": 1e-12}
ARMS = (0, 1)
PERCENTILES = np.linspace(5, 95, 10)


@cache
def recorded() -> dict:
    return json.loads(Path(__file__).with_name("peers").joinpath("recorded.json").read_text())


@pytest.fixture(params=SEEDS)
def seed(request) -> int:
    return request.param


@pytest.fixture
def two(seed) -> TwoArms:
    return two_arms(seed)


@pytest.fixture
def rows(two) -> Trial:
    return trial(two.treated, two.visit)


@pytest.fixture
def three(seed) -> ThreeArms:
    return three_arms(seed)


@pytest.fixture
def scores(three) -> np.ndarray:
    return contrast_scores(three.arm, three.money, three.chance, three.outcome)


def test_what_was_asked_is_known():
    """Versions stand beside the answers, and there is an answer for every log."""
    assert set(recorded()) == {"versions", *map(str, SEEDS)}
    assert (
        recorded()["versions"].items() >= {"scikit-uplift": "0.5.1", "causalml": "0.18.0", "econml": "0.17.0"}.items()
    )


def test_areas_of_scikit_uplift(seed, two, rows):
    """Its curves count heads and rewards: qini_curve is n_t Q against n x, uplift_curve n G against n x.

    So the areas are n n_t (q + Q(1) / 2) and n^2 AUUC, where the first cut has rows of both arms; before it
    scikit-uplift counts the missing arm as 0, and we draw a line.
    """
    said, treated = recorded()[str(seed)]["scikit-uplift"], two.treated.sum()
    end = curve(two.coarse, rows).value[-1]
    mine = ROWS * treated * (qini(two.coarse, rows).value + end / 2)
    assert mine == pytest.approx(said["area under qini_curve"], **CLOSE)
    assert ROWS**2 * auuc(two.coarse, rows).value == pytest.approx(said["area under uplift_curve"], **CLOSE)


def test_normalised_areas_of_scikit_uplift(seed, two, rows):
    """`qini_auc_score` is n n_t q / A, A the area for the order that knows outcomes, less the line to its end.

    That order puts treated responders first, then all who did not respond, then untreated responders. Its first cut has
    no untreated row: their curve has a corner there at (r, r), r the treated responders; ours is a line to the second
    cut, which lies r m / 2 lower in area, with m those who did not respond. Without negative effects A is the area of a
    line to (r - n_t r_c / n_c) and level from there, less the line to the end: E (n - E) / 2 with E = n_t Q(1).

    `uplift_auc_score` is (AUUC - G(1) / 2) over the same for the best order; there the corner lies on our line.
    """
    said, treated = recorded()[str(seed)]["scikit-uplift"], two.treated.sum()
    value, visit, taken = qini(two.coarse, rows).value, two.visit, two.treated
    responders, others = int((visit * taken).sum()), int((visit == 0).sum())
    best = ROWS * treated * qini((visit * (2.0 * taken - 1)), rows).value + responders * others / 2
    assert ROWS * treated * value / best == pytest.approx(said["qini_auc_score"], **CLOSE)
    end = treated * curve(two.coarse, rows).value[-1]
    plain = end * (ROWS - end) / 2
    assert ROWS * treated * value / plain == pytest.approx(said["qini_auc_score, no negative effect"], **CLOSE)
    more = visit if ((visit == 1) & (taken == 0)).sum() > ((visit == 0) & (taken == 1)).sum() else taken
    half = auuc(np.zeros(ROWS), rows).value
    ratio = (auuc(two.coarse, rows).value - half) / (auuc(2.0 * (visit == taken) + more, rows).value - half)
    assert ratio == pytest.approx(said["uplift_auc_score"], **CLOSE)


def test_uplift_at_a_share(seed, two, rows):
    """`uplift_at_k(strategy="overall")` and causalml's `get_cumlift` are u(k), n k whole and no scores equal.

    Theirs cuts among equal scores by the order of the file, ours takes each in part. `strategy="by_group"` takes the
    top k of each arm by itself; nothing of ours is defined so.
    """
    said = recorded()[str(seed)]
    for share in SHARES:
        mine = uplift_at(two.fine, rows, share).value
        assert mine == pytest.approx(said["scikit-uplift"][f"uplift_at_k {share}"], **CLOSE)
        assert mine == pytest.approx(said["causalml"][f"get_cumlift {share}"], **CLOSE)


def test_scores_of_causalml(seed, two, rows):
    """It takes means of n + 1 points where we take trapezoids, and lines of the uplift where ours are of the curve.

    - `qini_score(normalize=False)` = n_t q n / (n + 1); normalised it is divided by n_t |Q(1)|
    - `auuc_score(normalize=False)` = n (n AUUC + G(1) / 2 + d / n) / (n + 1); normalised it is divided by n |G(1)|

    d is what the curves differ by before row m, the first with both arms above it: there causalml's uplift rises from 0
    to u_m, its gain as i^2 u_m / m, and ours as i u_m. No scores may be equal, and the first row has to be treated.
    """
    said, treated = recorded()[str(seed)]["causalml"], two.treated.sum()
    found, gain = curve(two.fine, rows), curve(two.fine, rows, "gain")
    mine = treated * qini(two.fine, rows).value * ROWS / (ROWS + 1)
    assert mine == pytest.approx(said["qini_score"], **CLOSE)
    assert mine / (treated * abs(found.value[-1])) == pytest.approx(said["qini_score, normalised"], **CLOSE)
    first = round(gain.share[1] * ROWS)
    i = np.arange(first)
    short = float((i**2 / first - i).sum()) * gain.value[1] / gain.share[1]
    end = gain.value[-1]
    mine = ROWS * (ROWS * auuc(two.fine, rows).value + end / 2 + short / ROWS) / (ROWS + 1)
    assert mine == pytest.approx(said["auuc_score"], **CLOSE)
    assert mine / (ROWS * abs(end)) == pytest.approx(said["auuc_score, normalised"], **CLOSE)


def test_doubly_robust_scores_of_econml(seed, three, scores):
    """`calculate_dr_outcomes` gives our contrast scores; it raises probabilities to .01, here none is so low."""
    for arm in ARMS:
        mine = mean_of(scores[:, arm], np.arange(ROWS)).value
        assert mine == pytest.approx(recorded()[str(seed)]["econml"][f"ate, arm {arm}"], **CLOSE)


def test_a_policy_by_doubly_robust_scores(seed, three):
    """Our DR value of a policy less that of giving nobody anything is the mean of EconML's scores of what it gives."""
    log = log_of(three.arm, three.chance, np.zeros((ROWS, 1)), three.money)
    taken = np.where(three.effect.max(axis=1) > 0, three.effect.argmax(axis=1) + 1, 0)
    policies = np.eye(3)[taken], np.tile([1.0, 0.0, 0.0], (ROWS, 1))
    policy, nothing = (ESTIMATORS["dr"](sample_of(log, each, "visit", three.outcome)).value for each in policies)
    assert policy - nothing == pytest.approx(recorded()[str(seed)]["econml"]["gain of the best by effect"], **CLOSE)


def test_calibration_of_econml(seed, three, scores):
    """`evaluate_blp` is our slope; its error (HC1) divides by n - 2 where ours, one subject a row, divides by n - 1.

    `evaluate_cal` gives our groups: mean prediction and mean score. Its R^2 is not a metric of ours.
    """
    said = recorded()[str(seed)]["econml"]
    for arm in ARMS:
        slope = calibrated(three.effect[:, arm], scores[:, arm], np.arange(ROWS)).slope
        assert slope.value == pytest.approx(said[f"blp, arm {arm}"], **CLOSE)
        assert slope.error * np.sqrt((ROWS - 1) / (ROWS - 2)) == pytest.approx(said[f"blp error, arm {arm}"], **CLOSE)
        groups = by_decile(three.effect[:, arm], scores[:, arm], np.arange(ROWS), parts=4)
        assert [each.observed.value for each in groups] == pytest.approx(said[f"gate, arm {arm}"], **CLOSE)
        assert [each.predicted for each in groups] == pytest.approx(said[f"g_cate, arm {arm}"], **CLOSE)


def test_curves_of_econml(seed, three, scores):
    """Its Qini curve is our gain at a share beyond random, its TOC that over the share; areas are sums to the right.

    Shares are those at or above percentiles of the predictions; the areas leave the lowest and highest 5 % out, so they
    are no estimates of our AUTOC. Its errors let the share vary with the sample: the scores stand in them less their
    mean, in ours, where the share is fixed, as they are.
    """
    said = recorded()[str(seed)]["econml"]
    subject, width = np.arange(ROWS), np.diff(PERCENTILES) / 100
    for arm in ARMS:
        effect, score = three.effect[:, arm], scores[:, arm]
        share = np.array([(effect >= each).mean() for each in np.percentile(effect, PERCENTILES)])
        gain = np.array([gain_at(effect, score, subject, each, over_random=True).value for each in share])
        assert gain == pytest.approx(np.array(said[f"qini points, arm {arm}"]), **CLOSE)
        assert gain / share == pytest.approx(np.array(said[f"toc points, arm {arm}"]), **CLOSE)
        assert float(gain[:-1] @ width) == pytest.approx(said[f"qini, arm {arm}"], **CLOSE)
        assert float((gain / share)[:-1] @ width) == pytest.approx(said[f"toc, arm {arm}"], **CLOSE)
        level = gain_at(effect, score - score.mean(), subject, share[4], over_random=True)
        assert level.error * np.sqrt((ROWS - 1) / ROWS) == pytest.approx(said[f"qini errors, arm {arm}"][4], **CLOSE)


def test_rank_weighted_effects_of_causalml(seed, three, scores):
    """The mean of its `get_toc` over 1/n, 2/n ... 1 is our AUTOC. Its `rate_score` is another thing by the same names.

    `rate_score` averages TOC over the middles of steps with weights that sum to 1: 1/q for "autoc", q for "qini". The
    paper (Yadlowsky et al. 2021) has the weight 1 for AUTOC, which is ours, and q for Qini, without scaling: causalml's
    "qini" is about twice that, its "autoc" has no counterpart here. From gains at all shares both follow.
    """
    said, q = recorded()[str(seed)]["causalml"], np.arange(ROWS + 1) / ROWS
    middle = (q[1:] + q[:-1]) / 2
    for arm in ARMS:
        effect, score, subject = three.effect[:, arm], scores[:, arm], np.arange(ROWS)
        assert autoc(effect, score, subject).value == pytest.approx(said[f"mean of get_toc, arm {arm}"], **CLOSE)
        toc = np.array([0.0, *(gain_at(effect, score, subject, x, over_random=True).value / x for x in q[1:])])
        height = (toc[1:] + toc[:-1]) / 2
        for weighting, weight in (("autoc", 1 / middle), ("qini", middle)):
            mine = float(np.average(height, weights=weight))
            assert mine == pytest.approx(said[f"rate_score {weighting}, arm {arm}"], **CLOSE)
