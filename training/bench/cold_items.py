"""Items that nobody knows yet: do their first buyers find them?

Items that are known well and found new buyers in the judged window are hidden but for their last few events, from the
histories and from every shared statistic; all sources are fitted again, and the ranker's trees stay (they know columns,
not items). The items are listed as a shop lists new ones. Asked are customers who bought one of them in the window and
had never bought it before; the same purchases whatever is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from features.dataset import Dataset
from features.errors import DataError
from features.history import Histories
from features.ids import Array
from features.kinds import EventType
from serving.bundle import Bundle
from serving.query import Context, Query
from serving.ranker import Ranker, Voice
from serving.recipe import Recipe, as_json
from training.bench.hiding import HidingDataset, ListingCut, items_but_last
from training.category_lists import place_in
from training.contest import remembering, sampled
from training.evaluate import FILTERS
from training.fitting import fit_bundle
from training.split import Truth, Window

K = 20
KNOWN_WELL = 10
"""Events before the window that an item must have to be taken: hiding must take something away."""
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]


@dataclass(frozen=True)
class ItemTrial:
    """Where items and their first buyers come from.

    Args:
        histories: all events.
        dataset: where items are described.
        window: the judged window.
        items: int32[n], the held-out items.
        truth: their first purchases in the window, by customer.
        regions: subject row -> region, where known.
        min_customers: the catalogue's rule for all other items.
    """

    histories: Histories
    dataset: Dataset
    window: Window
    items: Rows
    truth: Truth
    regions: Mapping[int, str]
    min_customers: int


@dataclass(frozen=True, slots=True)
class Found:
    """What one entry did with the purchases of held-out items.

    Args:
        hit: float64[m], 1 where the item stood within the first 20 of the customer's list.
        percentile: float64[m], 1 at the top of the catalogue and 0 at its end; NaN where the entry does not order it.
    """

    hit: Floats
    percentile: Floats


def item_trial(
    histories: Histories, dataset: Dataset, window: Window, listed: Mask, truth: Truth, *, items: int, buyers: int,
    regions: Mapping[int, str], min_customers: int, seed: int = 0,
) -> ItemTrial:  # fmt: skip
    """Draw the items and their buyers.

    Args:
        histories, dataset, window, regions, min_customers: as in `ItemTrial`.
        listed: the catalogue when nothing is hidden.
        truth: what all customers bought in the window.
        items, buyers: at most so many.
        seed: of the draw.
    """
    known = histories.as_of(window.start).events.item
    well = np.bincount(known[known >= 0], minlength=len(histories.items)) > KNOWN_WELL
    able = np.unique(truth.items[~truth.repeat & listed[truth.items] & well[truth.items]])
    drawn = np.sort(np.random.default_rng(seed).permutation(able)[:items]).astype(np.int32)
    first = truth.only(np.isin(truth.items, drawn) & ~truth.repeat)
    asked = first.counts > 0
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(first.counts[asked], dtype=np.int64)])
    some = sampled(Truth(first.subjects[asked], indptr, first.items, first.repeat), buyers, seed)
    return ItemTrial(histories, dataset, window, drawn, some, regions, min_customers)


def tried(
    trial: ItemTrial, keep: int | None, recipes: Sequence[Recipe], judged: str, trees: Mapping[str, Array],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, Found], dict[str, str]]:  # fmt: skip
    """Hide all but so many events of the items, fit, and ask for every buyer.

    Args:
        trial: items and buyers.
        keep: events of each item that stay; None: all.
        recipes: entries; a recipe of one source is ordered by that source alone.
        judged: the name of the recipe that orders the whole catalogue as `rank_given` does.
        trees: arrays of its ranker, where it has one.
        progress: told how many customers were done.

    Returns:
        Name -> what it found, purchase by purchase in the order of the truth; and why, for each source that cannot be
        fitted on what is left (an entry that needs it is undefined).
    """
    bundle, failed = _fitted(trial, keep, next(each for each in recipes if each.name == judged), recipes, trees)
    whole = {name: Found(*np.full((2, len(trial.truth.items)), np.nan)) for name in (each.name for each in recipes)}
    recipes = [each for each in recipes if not _needs(each) & failed.keys()]
    known = trial.histories.where(~_hidden(trial, keep)).as_of(trial.window.start)
    ranker, voices = remembering(Ranker(bundle)), {each.name: _voice(each) for each in recipes}
    listed = np.flatnonzero(bundle.catalogue).astype(np.int32)
    with threadpool_limits(1, "blas"):
        for place, row in enumerate(trial.truth.subjects.tolist()):
            query = Query(
                now=trial.window.start, history=known.at(row), num_results=K, filter=FILTERS["new"],
                context=Context(region=trial.regions.get(row)),
            )  # fmt: skip
            wanted = trial.truth.of(place)
            rows = np.setdiff1d(listed, query.history.of_types(EventType.PURCHASE).item).astype(np.int32)
            at = slice(int(trial.truth.indptr[place]), int(trial.truth.indptr[place + 1]))
            for name, slate in zip(voices, ranker.rank_each(query, list(voices.values())), strict=True):
                whole[name].hit[at] = np.isin(wanted, slate.items)
            for each in recipes:
                ranks = _ranks(ranker, query, each, judged, rows, wanted)
                whole[each.name].percentile[at] = 1 - (ranks - 1) / max(len(rows) - 1, 1)
            progress(1)
    return whole, failed


def _ranks(ranker: Ranker, query: Query, recipe: Recipe, judged: str, rows: Rows, wanted: Rows) -> Floats:
    """The rank of each wanted item among the rows; what a source has no opinion of shares the last places."""
    if recipe.name == judged:
        order = ranker.rank_given(query, rows).items
        places = {item: rank for rank, item in enumerate(order.tolist(), start=1)}
        return np.array([places.get(item, np.nan) for item in wanted.tolist()])
    (name,) = recipe.weights
    said = ranker.sources[name].opine(query).of(rows).astype(np.float64)
    scores = np.where(np.isnan(said), -np.inf, said)
    return np.array([place_in(scores, int(np.searchsorted(rows, item))) for item in wanted.tolist()])


def _fitted(
    trial: ItemTrial, keep: int | None, judged: Recipe, recipes: Sequence[Recipe], trees: Mapping[str, Array]
) -> tuple[Bundle, dict[str, str]]:
    """The sources that can be fitted on what is not hidden, in one bundle that serves the judged recipe."""
    hidden, start = _hidden(trial, keep), trial.window.start
    cut = ListingCut(
        trial.histories.where(~hidden), start, also=_mask(trial.items, len(trial.histories.items)),
        min_customers=trial.min_customers, regions=trial.regions,
        dataset=HidingDataset(trial.dataset.root, trial.histories.events.key[hidden]),
    )  # fmt: skip
    sources, failed = {spec.name: spec for recipe in recipes for spec in recipe.sources}, {}
    for name, spec in sources.items():
        try:
            cut.fit(spec)
        except DataError as error:
            failed[name] = error.line()
    there = tuple(spec for name, spec in sources.items() if name not in failed)
    bundle = fit_bundle(cut, Recipe("arena", there, {judged.fill: 1.0}), rankers=trees)
    if _needs(judged) & failed.keys():
        return bundle, failed
    serving = msgspec.structs.replace(judged, sources=bundle.recipe.sources)
    return Bundle({**bundle.manifest, "recipe": as_json(serving)}, bundle.arrays), failed


def _needs(recipe: Recipe) -> set[str]:
    """Names of the sources without which a recipe cannot rank."""
    voices = recipe.ranker.voices if recipe.ranker else ()
    return {*recipe.weights, *recipe.new_weights, *voices}


def _hidden(trial: ItemTrial, keep: int | None) -> Mask:
    if keep is None:
        return np.zeros(len(trial.histories.events), bool)
    return items_but_last(trial.histories, trial.items, trial.window.start, keep)


def _voice(recipe: Recipe) -> Voice:
    return recipe.ranker or recipe.new_weights or recipe.weights


def _mask(items: Rows, n: int) -> Mask:
    found = np.zeros(n, bool)
    found[items] = True
    return found
