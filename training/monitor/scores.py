"""Drift of scores: what the bundle says to customers of the window, beside customers of its reference.

Scores are not logged, so the serving pipeline is asked again: some customers of both sides, each at a moment at which
they were there, with what was known of them then. A bundle that scores strangers otherwise than those it was trained on
is asked about people it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import BundleError
from features.history import Histories, customer_subject
from features.shop import Shop
from serving.bundle import open_bundle
from serving.person import PERSONALIZATION
from serving.query import Context, Query
from serving.ranker import Ranker
from serving.tombstones import erased_of
from training.agreed import consents_to
from training.material import regions_of, without_erased
from training.monitor.drift import BINS, RETRAIN, Feature, between, measured
from training.monitor.measure import NAN, Measure
from training.monitor.psi import histogram
from training.monitor.reading import Look
from training.monitor.windows import Window
from training.parallel import in_parts

GROUP: Final = "answers"
ASKED: Final = 300
"""Customers of each side, at most."""
LISTED: Final = 10
"""Items of each list."""
FEATURE: Final = Feature("score", "Scores of recommended items", "", "person", number=True, remedy=RETRAIN)


@dataclass
class Scorer:
    """Asks the bundles of a shop; each is opened, and all histories are read, when they are first needed.

    Args:
        shop: whose.
        assumed: whether those of whom no consent is known are personalised.
    """

    shop: Shop
    assumed: bool
    rankers: dict[str, Ranker] = field(default_factory=dict)
    histories: Histories | None = None

    def scores(self, look: Look, window: Window) -> Measure:
        """PSI of the scores of the window that `look` is narrowed to."""
        if window.bundle is None:
            reason = "no bundle of the shop is as old as the window"
            return Measure(GROUP, "psi/score", FEATURE.title, p=NAN, reason=reason, remedy=RETRAIN)
        asked = [(side, *each) for side in (0, 1) for each in _asked(look, side)]
        try:
            who, found = self._told(asked, window.bundle.name, window.end)
        except BundleError as error:
            return Measure(GROUP, "psi/score", FEATURE.title, p=NAN, reason=error.line(), remedy=RETRAIN)
        if not len(who):
            return Measure(GROUP, "psi/score", FEATURE.title, p=NAN, reason="nobody to ask for", remedy=RETRAIN)
        side = np.array([each[0] for each in asked])[who]
        person = np.array([each[1] for each in asked])[who]
        edges = _edges(found[side == 0])
        labels = between(edges)
        code = np.searchsorted(edges, found, side="right").astype(np.int64)
        rows = np.ones(len(found))
        one, other = (histogram(person[side == at], code[side == at], rows[side == at], len(labels)) for at in (0, 1))
        return measured(FEATURE, GROUP, labels, one, other)

    def _told(
        self, asked: list[tuple[int, int, str, int]], bundle: str, now: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Of all lists together: places in `asked`, and scores."""
        ranker, histories = self._ranker(bundle), self._histories()
        moved = histories.items.translate_to(ranker.bundle.items)
        dataset = Dataset(self.shop.dataset)
        agreed, regions = consents_to(dataset, PERSONALIZATION, now), regions_of(dataset, histories, now)

        def heard(places: range) -> list[tuple[int, list[float]]]:
            told = []
            for place in places:
                _, _, subject, moment = asked[place]
                row = histories.subjects.find(subject)
                if row is None or not agreed.get(subject.removeprefix(customer_subject("")), self.assumed):
                    continue
                history = histories.at(row).as_of(moment).with_items(moved)
                query = Query(moment, history, context=Context(region=regions.get(row)), num_results=LISTED)
                told.append((place, ranker.rank(query, filled=False).scores.astype(np.float64).tolist()))
            return told

        told = [each for part in in_parts(heard, len(asked)) for each in part]
        who = np.array([place for place, scores in told for _ in scores], np.intp)
        scores = np.array([score for _, scores in told for score in scores], np.float64)
        kept = np.isfinite(scores)
        return who[kept], scores[kept]

    def _ranker(self, bundle: str) -> Ranker:
        if bundle not in self.rankers:
            self.rankers[bundle] = Ranker(open_bundle(self.shop.bundles / bundle))
        return self.rankers[bundle]

    def _histories(self) -> Histories:
        if self.histories is None:
            self.histories = without_erased(erased_of(self.shop), histories_as_of(Dataset(self.shop.dataset)))
        return self.histories


def _asked(look: Look, side: int) -> list[tuple[int, str, int]]:
    """Some customers of a side, always the same ones: number, subject, and a moment at which they were there."""
    return look.rows(f"""
        SELECT who, any_value(subject), arg_min(moment, md5(subject || day::VARCHAR))
        FROM person JOIN people USING (who) WHERE side = {side}
        GROUP BY who ORDER BY md5(any_value(subject)) LIMIT {ASKED}""")


def _edges(scores: npt.NDArray[np.float64]) -> list[float]:
    if not len(scores):
        return []
    edges: list[float] = np.unique(np.quantile(scores, np.arange(1, BINS) / BINS)).tolist()
    return edges
