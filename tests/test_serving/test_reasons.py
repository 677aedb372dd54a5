"""Why an item is shown: sentences for each kind of source, in both languages, that say what is true."""

from __future__ import annotations

import string

import numpy as np
import pytest

from features.history import History
from features.moments import DAY
from serving.query import Context, Query
from serving.ranker import Ranker
from serving.reasons import WORDS, duration, item_reasons

AS_OF = 20_000 * DAY
MINUTES = 1 / 1440


@pytest.fixture
def told(toy_bundle, history_of):
    """The reason for one item, by a source, after some events."""

    def made(source: str, item: str, *events: tuple, locale: str = "en", ranker: Ranker | None = None, **query) -> str:
        past = history_of(*events) if events else History.empty()
        asked = Query(now=AS_OF, history=past, **query)
        row = np.array([toy_bundle.items.row(item)], np.int32)
        return item_reasons(ranker or Ranker(toy_bundle), asked, row, [source], locale)[0]

    return made


def test_both_languages_have_the_same_sentences_with_the_same_places() -> None:
    """A place that only one language fills would be an error at a request, or a gap."""
    assert set(WORDS["en"]) == set(WORDS["ja"])
    for key, text in WORDS["en"].items():
        english, japanese = (
            {name for _, name, _, _ in string.Formatter().parse(each) if name} for each in (text, WORDS["ja"][key])
        )
        assert english == japanese, key


def test_buy_again_tells_the_rhythm(told) -> None:
    """Twice 28 days apart: about every 4 weeks. Once: the item's usual cycle."""
    twice = (("purchase", "a0", 53), ("purchase", "a0", 25))
    assert told("replenishment", "a0", *twice) == "You buy this about every 4 weeks; the last time was 25 days ago"
    assert told("replenishment", "a0", *twice, locale="ja") == "およそ4週間ごとにお買い上げ、前回は25日前"
    assert told("replenishment", "a0", ("purchase", "a0", 25)).startswith("Customers buy this about every 4 weeks; ")
    assert told("replenishment", "a0", ("purchase", "a0", 0)) == "You bought this today"


def test_a_wish_tells_its_age_or_the_price_that_fell(told, toy_bundle) -> None:
    """Wished at 2.0 (the history's price); a live price of 1.5 is a quarter less."""
    assert told("wishlist", "a3", ("wishlist", "a3", 12)) == "On your wishlist for 12 days"
    assert told("wishlist", "a3", ("wishlist", "a3", 0.5)) == "On your wishlist"
    ranker = Ranker(toy_bundle)
    ranker.shelf.apply([("a3", {"price": 1.5})])
    cheaper = told("wishlist", "a3", ("wishlist", "a3", 12), ranker=ranker)
    assert cheaper == "On your wishlist, now 25 % cheaper than when you added it"
    assert "25%" in told("wishlist", "a3", ("wishlist", "a3", 12), ranker=ranker, locale="ja")


def test_a_wish_tells_its_age_without_a_source_that_knows_wishes(told, toy_bundle) -> None:
    """A page may list wishes where the recipe has no such source; what was taken off again is just a wish."""
    ranker = Ranker(toy_bundle)
    del ranker.sources["wishlist"]
    kept, gone = ("wishlist", "a3", 12), ("wishlist_remove", "a3", 3)
    assert told("wishlist", "a3", kept, ranker=ranker) == "On your wishlist for 12 days" == told("wishlist", "a3", kept)
    assert told("wishlist", "a3", kept, gone, ranker=ranker) == "On your wishlist" == told("wishlist", "a3", kept, gone)


def test_a_title_with_braces_is_told_as_it_is(told, toy_bundle) -> None:
    ranker = Ranker(toy_bundle)
    ranker.shelf.apply([("a0", {"title": "{item} {0}"})])
    assert told("sequence", "a1", ("purchase", "a0", 3), ranker=ranker) == "Often chosen after {item} {0}"
    assert told("item-item", "a1", ("purchase", "a0", 3), ranker=ranker) == "Because you chose {item} {0}"


def test_each_place_gets_the_words_of_its_own_source(toy_bundle, history_of) -> None:
    """Sources are asked once each, however their items lie between those of others."""
    asked = Query(now=AS_OF, history=history_of(("purchase", "a0", 3), ("view", "b1", 2)))
    rows = toy_bundle.items.rows_of(["a1", "b2", "b1", "a0", "b0"])
    sources = ["item-item", "popularity", "viewed", "personal-frequency", "popularity"]
    mixed = item_reasons(Ranker(toy_bundle), asked, rows, sources, "en")
    alone = [item_reasons(Ranker(toy_bundle), asked, rows[[at]], [sources[at]], "en")[0] for at in range(len(rows))]
    assert mixed == alone and mixed[2] == "You looked at this" and mixed[3] == "You bought this 3 days ago"


def test_the_next_item_names_what_it_follows(told) -> None:
    assert told("sequence", "a1", ("purchase", "a0", 3)) == "Often chosen after Title a0"
    assert told("sequence", "b1", ("purchase", "a0", 3)) == WORDS["en"]["for-you"]


def test_the_session_tells_what_was_just_done(told) -> None:
    seen = ("view", "a0", 2 * MINUTES)
    assert told("session", "a0", seen) == "You looked at this just now"
    assert told("session", "a0", seen, ("cart", "a0", MINUTES)) == "In your cart"
    assert told("session", "a1", seen) == "Goes with Title a0, which you looked at just now"
    assert told("session", "a1", seen, anchors=(0,)) == "Goes with Title a0"


def test_popularity_by_context_names_region_and_season_only_where_the_list_is_theirs(told) -> None:
    """The toy's one cell is the north by phone; a request from the north by desktop gets the shop's list."""
    by_phone = told("context-popularity", "b2", context=Context(region="north", device="phone"))
    assert by_phone == "Popular in north"
    assert told("context-popularity", "a0", context=Context(region="north")) == "Popular now"


@pytest.mark.parametrize(("days", "text"), [(0.4, "day"), (2, "2 days"), (7, "week"), (13, "13 days"), (20, "3 weeks"),
                                            (59, "8 weeks"), (61, "2 months"), (365, "12 months")])  # fmt: skip
def test_durations_are_said_as_people_say_them(days: float, text: str) -> None:
    assert duration(days, WORDS["en"]) == text
