"""Content neighbours: alike in words is near, with or without an event."""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import DataError
from serving.query import Query
from serving.recipe import Recipe, SourceSpec
from serving.sources import Neighbours
from tests.test_training.test_fitting import NOW, histories_of
from training.content import ContentParams, ItemTexts, fit_content
from training.fitting import Cut, fit_bundle
from training.methods import resolved

SPEC = SourceSpec("content", "neighbours", "content", {"neighbours": 3})
TITLES = ("ソファー", "ｿﾌｧｰ", "ソファ", "白木の机", "白木の椅子", "")


def texts_of(titles: tuple[str, ...], **told: tuple) -> ItemTexts:
    """Titles, and what else is told."""
    n = len(titles)
    prices = np.array(told.get("prices", [np.nan] * n), np.float32)
    return ItemTexts(titles, told.get("categories", ((),) * n), told.get("brands", ("",) * n), prices)


def dense(texts: ItemTexts, **params: float) -> np.ndarray:
    """The neighbours as a matrix."""
    arrays = fit_content(texts, ContentParams(**params), threads=1).arrays
    n = len(texts.titles)
    matrix = np.zeros((n, n))
    matrix[np.repeat(np.arange(n), np.diff(arrays["indptr"])), arrays["indices"]] = arrays["weights"]
    return matrix


def test_spellings_of_one_word_are_the_nearest() -> None:
    """Cosine 1 between the three sofas, nothing to the desk; the desk is nearest to the chair; no words, no edges."""
    matrix = dense(texts_of(TITLES))
    assert matrix[:3, :3] == pytest.approx(1 - np.eye(3))
    assert not matrix[:3, 3:].any()
    assert matrix[3].argmax() == 4
    assert not matrix[5].any()
    assert np.allclose(matrix, matrix.T)


def test_it_is_the_cosine_of_the_weighted_tokens() -> None:
    """Second derivation: words of one letter, tf and idf by hand."""
    matrix = dense(texts_of(("a a b", "a b", "a", "c", "c")))
    vectors = np.array([[(1 + np.log(2)) * np.log(5 / 3), np.log(5 / 2)], [np.log(5 / 3), np.log(5 / 2)]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert matrix[0, 1] == pytest.approx(vectors[0] @ vectors[1])
    assert matrix[0, 2] == pytest.approx(vectors[0, 0])


def test_category_brand_and_price_count() -> None:
    """Each alone joins two items that share no word; a deeper common path is nearer; weight 0 takes it out."""
    paths = (("家具", "机"), ("家具", "机"), ("家具", "椅子"), ("服",), ("服",))
    matrix = dense(texts_of(("",) * 5, categories=paths))
    assert matrix[0, 1] > matrix[0, 2] > 0
    assert matrix[0, 3] == 0
    by_price = dense(texts_of(("x", "x", "y", "y"), prices=(100, 900, 101, 901)))
    assert by_price[0, 2] > 0
    assert dense(texts_of(("x", "x", "y", "y"), prices=(100, 900, 101, 901)), price=0)[0, 2] == 0
    assert dense(texts_of(("x", "x", "y", "y"), brands=("N", "", "Ｎ", "")))[0, 2] > 0


def test_the_commonest_tokens_go_where_there_are_too_many_pairs() -> None:
    """`a` makes 9 pairs and `b` 4: with 4 allowed only `b` joins."""
    matrix = dense(texts_of(("a b", "a b", "a", "c")), pairs=4)
    assert matrix[0, 1] == pytest.approx(1)
    assert matrix[0, 2] == 0


def test_an_item_without_events_is_proposed() -> None:
    """Only item 0 was ever bought; its unsold neighbours are proposed by the source that serves."""
    cut = Cut(histories_of([("c:1", 90, 0)]), NOW, min_customers=1, texts=texts_of(TITLES))
    spec = resolved(SPEC)
    popular = SourceSpec("popularity", "popularity")
    bundle = fit_bundle(cut, Recipe("toy", (spec, popular), {"content": 1.0}))
    proposals = Neighbours(spec, bundle).opine(Query(NOW, cut.known.at(0))).best(10)
    assert proposals.items.tolist() == [1, 2]
    assert not bundle.catalogue[1]


@pytest.mark.parametrize("texts", [None, texts_of(("", ""))])
def test_without_texts_it_says_so(texts: ItemTexts | None) -> None:
    """The run then goes on without it."""
    with pytest.raises(DataError, match="no item texts"):
        Cut(histories_of([("c:1", 90, 0)]), NOW, texts=texts).fit(SPEC)
    with pytest.raises(DataError, match="no two items"):
        fit_content(texts_of(("a", "b")), ContentParams())
