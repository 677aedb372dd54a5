"""Asks scikit-uplift, causalml and EconML about the logs of `worlds` and writes `recorded.json` beside this file.

Not a test: it needs an environment of its own, because no causal library is a dependency of this project.

    python3.11 -m venv peers && peers/bin/pip install scikit-uplift==0.5.1 causalml==0.18.0 econml==0.17.0
    PYTHONPATH=. peers/bin/python -m tests.test_uplift.peers.record

`test_peers` compares our metrics with what was recorded; the versions that were asked are in the file.
"""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from tests.test_uplift.peers.worlds import SEEDS, SHARES, ThreeArms, TwoArms, three_arms, two_arms

PACKAGES = ("scikit-uplift", "causalml", "econml", "statsmodels", "numpy", "pandas")
PERCENTILES = np.linspace(5, 95, 10)
"""EconML takes 50 of them where nobody says."""


def scikit_uplift(world: TwoArms) -> dict[str, float]:
    """Normalised areas on scores with ties, and uplift at shares on scores without."""
    from sklift.metrics import qini_auc_score, qini_curve, uplift_at_k, uplift_auc_score, uplift_curve

    asked = world.visit, world.coarse, world.treated
    found = {
        "qini_auc_score": qini_auc_score(*asked),
        "qini_auc_score, no negative effect": qini_auc_score(*asked, negative_effect=False),
        "uplift_auc_score": uplift_auc_score(*asked),
        "area under qini_curve": _area(*qini_curve(*asked)),
        "area under uplift_curve": _area(*uplift_curve(*asked)),
    }
    for share in SHARES:
        found[f"uplift_at_k {share}"] = uplift_at_k(world.visit, world.fine, world.treated, "overall", k=share)
    return found


def causalml(world: TwoArms) -> dict[str, float]:
    """Sums over rows, which want scores without ties."""
    from causalml.metrics import auuc_score, get_cumlift, qini_score

    table = pd.DataFrame({"model": world.fine, "y": world.visit, "w": world.treated})
    lift = get_cumlift(table)["model"]
    return {
        "qini_score": qini_score(table, normalize=False)["model"],
        "qini_score, normalised": qini_score(table)["model"],
        "auuc_score": auuc_score(table, normalize=False)["model"],
        "auuc_score, normalised": auuc_score(table)["model"],
        **{f"get_cumlift {share}": lift.loc[round(share * len(table))] for share in SHARES},
    }


def causalml_rate(world: ThreeArms, scores: np.ndarray) -> dict[str, float]:
    """Rank-weighted effects on doubly robust scores that are given."""
    from causalml.metrics.rate import get_toc, rate_score

    found = {}
    for arm in range(2):
        table = pd.DataFrame({"model": world.effect[:, arm], "tau": scores[:, arm]})
        found[f"mean of get_toc, arm {arm}"] = get_toc(table)["model"].iloc[1:].mean()
        for weighting in ("autoc", "qini"):
            found[f"rate_score {weighting}, arm {arm}"] = rate_score(table, weighting=weighting)["model"]
    return found


def econml(world: ThreeArms) -> tuple[dict[str, float | list[float]], np.ndarray]:
    """Doubly robust scores, and what DRTester makes of them; its nuisances are given, so nothing is fitted."""
    from econml.validate import DRTester
    from econml.validate.utils import calculate_dr_outcomes

    scores = calculate_dr_outcomes(world.arm, world.money, world.outcome, world.chance)
    tester = DRTester(model_regression=None, model_propensity=None, cate=None)
    tester.treatments, tester.n_treat = np.arange(3), 2
    tester.dr_val_ = tester.dr_train_ = scores
    tester.ate_val = scores.mean(axis=0)
    tester.cate_preds_val_ = tester.cate_preds_train_ = world.effect
    line, tenths = tester.evaluate_blp(), tester.evaluate_cal(n_groups=4)
    found: dict[str, float | list[float]] = {}
    policy = np.where(world.effect.max(axis=1) > 0, world.effect.argmax(axis=1), -1)
    gain = np.where(policy >= 0, scores[np.arange(len(scores)), np.maximum(policy, 0)], 0.0)
    found["gain of the best by effect"] = gain.mean()
    for arm in range(2):
        groups = tenths.plot_data_dict[arm + 1]
        found[f"ate, arm {arm}"] = tester.ate_val[arm]
        found[f"blp, arm {arm}"] = line.params[arm]
        found[f"blp error, arm {arm}"] = line.errs[arm]
        found[f"gate, arm {arm}"] = groups["gate"].tolist()
        found[f"g_cate, arm {arm}"] = groups["g_cate"].tolist()
        for metric in ("qini", "toc"):
            uplift = tester.evaluate_uplift(percentiles=PERCENTILES, metric=metric, n_bootstrap=10)
            found[f"{metric}, arm {arm}"] = uplift.params[arm]
            found[f"{metric} points, arm {arm}"] = uplift.curves[arm + 1]["value"].tolist()
            found[f"{metric} errors, arm {arm}"] = uplift.curves[arm + 1]["err"].tolist()
    return found, scores


def econml_sensitivity(world: ThreeArms) -> dict[str, float]:
    """Robustness values by EconML; it wants outcomes with the doubly robust correction in them."""
    from econml.validate.sensitivity_analysis import RV, dr_sensitivity_values

    taken = world.arm[:, None] == np.arange(3)
    corrected = world.outcome + taken * (world.money[:, None] - world.outcome) / world.chance
    found = dr_sensitivity_values(world.money, taken[:, 1:].astype(float), corrected, world.chance)
    said = {}
    for arm in range(2):
        parts = float(found.theta[arm]), float(found.sigma[arm]), float(found.nu[arm])
        said |= {f"{name}, arm {arm}": each for name, each in zip(("theta", "sigma", "nu"), parts, strict=True)}
        said[f"robustness, arm {arm}"] = RV(*parts, found.cov[arm], 0.05, interval_type="theta")
    return said


def main() -> None:
    """Ask all of them about all logs and write what they say."""
    warnings.simplefilter("ignore")  # of plotting libraries, at import
    said: dict[str, dict[str, object]] = {"versions": {name: version(name) for name in PACKAGES}}
    for seed in SEEDS:
        two, three = two_arms(seed), three_arms(seed)
        by_econml, scores = econml(three)
        asked = {
            "scikit-uplift": scikit_uplift(two), "causalml": causalml(two) | causalml_rate(three, scores),
            "econml": by_econml | econml_sensitivity(three),
        }  # fmt: skip
        said[str(seed)] = {name: {key: _plain(value) for key, value in each.items()} for name, each in asked.items()}
    path = Path(__file__).with_name("recorded.json")
    path.write_text(json.dumps(said, indent=1) + "\n")


def _area(share: np.ndarray, value: np.ndarray) -> float:
    return float(np.trapezoid(value, share))


def _plain(value: object) -> object:
    return value if isinstance(value, list) else float(value)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
