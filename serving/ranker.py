"""From a query to ranked items: gather, filter, score, select, fill.

It is a pure function of a bundle, the shelf and the query. Offline evaluation replays it as it serves.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from features.history import History
from features.kinds import EventType
from features.pace import breathe
from serving.bundle import Bundle
from serving.business import PLAIN, Business, Wish
from serving.candidates import NOTHING, Candidates, Opinion, Rows
from serving.filters import BOUGHT, apply_filters
from serving.placing import PIN, place
from serving.query import Context, Query
from serving.recipe import RankerSpec, Recipe, SelectionSpec
from serving.scoring import TASKS, Beside, Blend, InSession, Order, Scorer, Task, Trees, Weights
from serving.selecting import Selector, first, joined, taken
from serving.shelf import Shelf
from serving.slate import Blocks, Scored, Slate, choose, descending, score
from serving.sources import Popularity, Source, build_sources
from serving.steps import Steps, finished
from serving.union import shortened, united
from serving.watch import lap, watching

Voice = Order | InSession
"""Who orders the candidates, with or without the running session beside it."""
WIDE, LONG = 2, 4
"""For each place of a list at least so many candidates are asked of each source, and so many are ordered."""
FILL_SPARE = 64
"""So many more popular items are looked at than are missing, because filters take some away."""


class Ranker:
    """A bundle ready to rank, with the shop's wishes where it has any."""

    def __init__(self, bundle: Bundle, shelf: Shelf | None = None, business: Business | None = None) -> None:
        self.bundle = bundle
        self.shelf = shelf or Shelf(bundle)
        self.business = business
        self.sources: Mapping[str, Source] = build_sources(bundle, self.shelf)
        self._trees: dict[tuple[str, Task], Trees] = {}
        self._voices = {
            (task, given): _own_voice(bundle.recipe, task, given) for task in TASKS for given in (True, False)
        }

    def prepare(self) -> None:
        """Work out what the first request would otherwise wait for.

        Raises:
            BundleError: the trees that the recipe names are missing or damaged.
        """
        if (voice := self.bundle.recipe.ranker) is not None:
            for task in TASKS:
                if self.bundle.ranker_arrays(voice.name, task):
                    self._tree(voice, task).prepare()
                    breathe()
        # A stranger's list, and what sells in each region: what is made when it is first looked at is there then.
        self.rank(Query(self.bundle.as_of, History.empty()))
        for region in self.regions():
            query = Query(self.bundle.as_of, History.empty(), context=Context(region=region))
            self.opinion(self.bundle.recipe.fill, query)
            breathe()

    def with_business(self, business: Business | None) -> Ranker:
        """The same bundle, shelf and sources under other wishes; this one stays as it is."""
        made = copy.copy(self)
        made.business = business
        return made

    def rank(
        self, query: Query, voice: Voice | None = None, *,
        personal: bool = True, filled: bool = True, selection: SelectionSpec | None = None,
    ) -> Slate:  # fmt: skip
        """`ranking`, in one go."""
        return finished(self.ranking(query, voice, personal=personal, filled=filled, selection=selection))

    def ranking(
        self, query: Query, voice: Voice | None = None, *,
        personal: bool = True, filled: bool = True, selection: SelectionSpec | None = None,
    ) -> Steps[Slate]:  # fmt: skip
        """The whole way from a query to a slate of at most `query.num_results` items.

        Args:
            query: who, when and what.
            voice: weights of sources, or a ranker of the bundle; default: the recipe's for this task, the running
                session beside it where the recipe says so.
            personal: False leaves out every source that reads the subject's events (holdout, no consent).
            filled: whether what is missing is filled by the fallback source.
            selection: what is traded off. By default the recipe's where no voice is named; a named voice is a promise
                (`Buy again`, `Goes with ...`), and nothing is traded off against it, not even the shop's wishes.
        """
        scorer = self.scorer(query, voice) if personal else self.impersonal(query, voice)
        wishes = self.business.of_lists(query) if self.business and filled and voice is None else None
        # Quotas choose from all that was gathered, and from what is popular where that is too little.
        most = 0 if wishes and wishes[1] else self._most(query)
        opinions = self._gathered(query, scorer.voices)
        yield
        candidates = self._left(query, opinions, most)
        yield
        selector = self.selector(voice, selection)
        scored = score(candidates, scorer, query)
        yield
        if wishes is not None:
            far = max(query.num_results + FILL_SPARE, len(candidates)) if wishes[1] else query.num_results
            deep = msgspec.structs.replace(query, num_results=far)
            return self._placed(query, self.fill(deep, choose(scored, deep, selector), selector), *wishes)
        slate = choose(scored, query, selector)
        return self.fill(query, slate, selector) if filled else slate

    def rank_each(
        self, query: Query, several: Sequence[Voice], selections: Sequence[SelectionSpec] | None = None
    ) -> list[Slate]:
        """`rank` by several voices at once: candidates are gathered and filtered once for all of them.

        Equal to `rank(query, voice, selection=selection)` for each pair, only faster; tuning asks for dozens. A voice
        that stands there under several selections scores once.

        Args:
            query: who, when and what.
            several: the voices.
            selections: one a voice; default: nothing is traded off.
        """
        scorers = [self.scorer(query, voice) for voice in several]
        names = dict.fromkeys(name for scorer in scorers for name in scorer.voices)
        candidates = self.remaining(query, names)
        scored: dict[int, Scored] = {}
        blocks: Blocks = {}
        slates = []
        for voice, scorer, spec in zip(several, scorers, selections or [PLAIN] * len(several), strict=True):
            if id(voice) not in scored:
                heard = shortened(candidates.heard(scorer.voices), self._most(query))
                scored[id(voice)] = score(heard, scorer, query, blocks)
            selector = self.selector(voice, spec)
            slates.append(self.fill(query, choose(scored[id(voice)], query, selector), selector))
        return slates

    def rank_given(self, query: Query, rows: Rows, *, personal: bool = True) -> Slate:
        """Order given items, and only these: what no source knows comes last, by what sells.

        Args:
            query: who and when; filters count.
            rows: int32[m], distinct item rows.
            personal: as for `rank`.
        """
        scorer = self.scorer(query) if personal else self.impersonal(query)
        asked = msgspec.structs.replace(query, num_results=len(rows))
        slate = choose(score(self._heard(asked, np.sort(rows), scorer.voices), scorer, asked), asked)
        rest = np.setdiff1d(rows, slate.items).astype(np.int32)
        floor = self.bundle.recipe.fill
        last = choose(score(self._heard(asked, rest, (floor,)), Blend({floor: 1.0}), asked), asked)
        return msgspec.structs.replace(
            slate,
            items=np.concatenate([slate.items, last.items]),
            scores=np.concatenate([slate.scores, np.zeros(len(last.items), np.float32)]),
            sources=(*slate.sources, *last.sources),
            filled=len(last.items),
            features=None,
        )

    def _heard(self, query: Query, rows: Rows, voices: tuple[str, ...]) -> Candidates:
        """Given items as candidates, where at least one of the sources has an opinion of them."""
        opinions = np.full((len(rows), len(voices)), np.nan, np.float32)
        for column, name in enumerate(voices):
            self.opinion(name, query).tell(rows, opinions, column)
        given = Candidates(rows, voices, opinions, opinions).heard(voices)
        return apply_filters(self.shelf, query, given, self.business)

    def scorer(self, query: Query, voice: Voice | None = None) -> Scorer:
        """What orders the candidates of this query; where no session runs, as if there were no such thing."""
        task = task_of(query)
        voice = self._voices[task, bool(query.anchors)] if voice is None else voice
        order = voice.voice if isinstance(voice, InSession) else voice
        scorer = self._tree(order, task) if isinstance(order, RankerSpec) else Blend(order)
        if isinstance(voice, InSession) and voice.weight > 0 and len(self.opinion(voice.source, query).items):
            return Beside(scorer, voice.source, voice.weight)
        return scorer

    def _tree(self, voice: RankerSpec, task: Task) -> Trees:
        found = self._trees.get((voice.name, task))
        if found is None:
            found = self._trees[voice.name, task] = Trees(self.bundle, voice, task)
        return found

    def impersonal(self, query: Query, voice: Voice | None = None) -> Scorer:
        """A blend of the sources that know nothing of the subject; trees and the session read what is personal."""
        weights = self.weights_for(query) if voice is None or isinstance(voice, RankerSpec | InSession) else voice
        return Blend({name: weight for name, weight in weights.items() if not self.sources[name].personal})

    def selector(self, voice: Voice | None, selection: SelectionSpec | None = None) -> Selector | None:
        """What trades off, as `rank` says; None where nothing does."""
        if selection is None and voice is not None:
            return None
        spec = self.bundle.recipe.selection if selection is None else selection
        return None if spec == PLAIN and self.business is None else Selector(self.shelf, spec, self.business)

    def weights_for(self, query: Query) -> Weights:
        """The recipe's weights: another set where what was bought before is excluded."""
        return _weights(self.bundle.recipe, task_of(query))

    def considered(self, query: Query, names: Iterable[str]) -> Candidates:
        """The foremost of what the named sources propose and the filters leave: what a scorer orders."""
        return self.remaining(query, names, self._most(query))

    def _most(self, query: Query) -> int:
        """So many candidates are ordered; 0: all."""
        most = self.bundle.recipe.candidates
        return most and max(most, LONG * query.num_results)

    def remaining(self, query: Query, names: Iterable[str], most: int = 0) -> Candidates:
        """What the named sources propose and the filters leave; of that the foremost where it is to be no more."""
        return self._left(query, self._gathered(query, names), most)

    def _gathered(self, query: Query, names: Iterable[str]) -> dict[str, Opinion]:
        opinions = {name: self.opinion(name, query) for name in names}
        lap("gather")
        return opinions

    def _left(self, query: Query, opinions: Mapping[str, Opinion], most: int) -> Candidates:
        # Filters take some away: ask for enough that the answer can still be filled.
        count = max(self.bundle.recipe.candidates_per_source, WIDE * query.num_results)
        bought = NOTHING
        if BOUGHT in query.filter.exclude:
            bought = query.once("bought", _bought, query.history)
        left = united(opinions, count, most, bought, self.shelf, query, self.business)
        lap("filter")
        watching().removed(left.removed)
        return left

    def allowed(self, query: Query, rows: Rows) -> Rows:
        """int32: those of some distinct items that the filters of a query leave."""
        return self._filtered(query, rows).items

    def why_gone(self, query: Query, row: int) -> str | None:
        """The filter of a query that takes an item out; None where none does."""
        removed = self._filtered(query, np.array([row], np.int32)).removed
        return removed[0][0] if removed else None

    def _filtered(self, query: Query, rows: Rows) -> Candidates:
        nothing = np.empty((len(rows), 0), np.float32)
        return apply_filters(self.shelf, query, Candidates(rows, (), nothing, nothing), self.business)

    def _placed(self, query: Query, slate: Slate, pins: Sequence[Wish], quotas: Sequence[Wish]) -> Slate:
        """A list that was ranked further than it is shown, under pins and quotas."""
        found = place(slate.items, pins, quotas, query.num_results, lambda row: self.why_gone(query, row))
        count, order = len(slate.items), np.array(found.order, np.intp)
        items = np.concatenate([slate.items, np.array(found.added, np.int32)])[order]
        scores = np.concatenate([slate.scores, np.zeros(len(found.added), np.float32)])[order]
        sources = [*slate.sources, *(PIN for _ in found.added)]
        pinned = np.isin(items, list(found.pinned))
        return msgspec.structs.replace(
            slate, items=items, scores=scores,
            sources=tuple(PIN if fixed else sources[at] for at, fixed in zip(order, pinned, strict=True)),
            filled=int((~pinned & (order >= count - slate.filled) & (order < count)).sum()),
            trace=taken(slate.trace, np.where(order < count, order, -1)), placed=found, features=None,
        )  # fmt: skip

    def opinion(self, name: str, query: Query) -> Opinion:
        """What a source says; one that reads the subject's events is asked once a query, however many slots want it."""
        source = self.sources[name]
        if not source.personal:
            return source.opine(query)
        what = (source.opine, query.anchors) if query.anchors else source.opine
        return query.once(what, source.opine, query)

    def fill(self, query: Query, slate: Slate, selector: Selector | None = None) -> Slate:
        """Fill the places at the end that the sources left empty; never displace what they chose.

        The selector chooses among the most popular as well: to a stranger they are the whole list.
        """
        missing = query.num_results - len(slate.items)
        floor = self.bundle.recipe.fill
        if missing <= 0 or query.anchors:
            return slate
        asked, opinion = missing + len(slate.items) + FILL_SPARE, self.opinion(floor, query)
        while True:  # most often the first few will do; filters may take more away
            found = Candidates.of_best({floor: opinion}, asked)
            proposed = len(found)
            found = found.without(np.isin(found.items, slate.items), "already-there")
            found = apply_filters(self.shelf, query, found, self.business)
            if len(found) >= missing or proposed < asked:
                break
            asked *= 8
        ranked = descending(found.scores[:, 0])
        items, scores = found.items[ranked], found.scores[ranked, 0]
        chosen = (
            selector.select(items, scores, missing, query.now, slate.items, query.fits)
            if selector else first(scores, missing)
        )  # fmt: skip
        return msgspec.structs.replace(
            slate,
            items=np.concatenate([slate.items, items[chosen.places]]),
            scores=np.concatenate([slate.scores, np.zeros(len(chosen.places), np.float32)]),
            sources=(*slate.sources, *(floor for _ in chosen.places)),
            filled=len(chosen.places),
            trace=joined(slate.trace, chosen.trace),
            features=None,
        )

    def regions(self) -> list[str]:
        """Regions with a popularity list of their own."""
        floor = self.sources[self.bundle.recipe.fill]
        return list(floor.regions) if isinstance(floor, Popularity) else []


def _bought(history: History) -> Rows:
    """int32, ascending: what was ever bought."""
    return np.unique(history.of_types(EventType.PURCHASE).item)


def task_of(query: Query) -> Task:
    """`new` where what was bought before is excluded, else `all`."""
    return "new" if BOUGHT in query.filter.exclude else "all"


def _weights(recipe: Recipe, task: Task) -> Weights:
    return recipe.new_weights if task == "new" and recipe.new_weights else recipe.weights


def _own_voice(recipe: Recipe, task: Task, given: bool) -> Voice:
    """The recipe's; where items are given that the answer should relate to, the running session has no part in it."""
    voice: Order = recipe.ranker or _weights(recipe, task)
    session = recipe.session if recipe.session_weight and not given else None
    return voice if session is None else InSession(voice, session, recipe.session_weight)
