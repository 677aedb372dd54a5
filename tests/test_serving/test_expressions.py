"""Conditions as text: what they mean, what they refuse and where, and that nobody gets further with them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.errors import ConfigError, RequestError
from features.history import History
from serving import conditions, matching
from serving.bundle import Bundle, text_arrays
from serving.config import ShopConfig, read_config
from serving.eligibility import why_not
from serving.expressions import MAX_DEPTH, MAX_TEXT, ExpressionError, bound, compiled
from serving.filters import check_filter
from serving.query import Context, Filter, Query
from serving.ranker import Ranker
from serving.settings.when import When
from serving.shelf import Shelf
from serving.situation import Situation
from serving.terms import ITEM, SITUATION
from tests.test_serving.conftest import AS_OF, ITEMS, build_history, build_toy_bundle
from tests.test_serving.grown import AGREED

TERMS = {"price": "number", "brand": "text", "wished": "truth", "segments": "texts", "answers": "map"}
KNOWN = {"price": 3.0, "brand": "Acme", "wished": True, "segments": ["vip"], "answers": {"pet": "dog"}}


def holds(text: str, values=None, **known) -> bool:
    return compiled(text, TERMS, values).holds({**KNOWN, **known, **bound(values or {})})


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("price < 50 and brand.startsWith('Ac') and not (brand in [\"A\", \"B\"]) and wished", True),
        ("price == 3", True),
        ("price == 3.0 && 1 + 2 * 1 == price", True),
        ("price > 3 or price < 3", False),
        ("price in [1, 2, 3]", True),
        ("brand.endsWith('me') and brand.contains('c') ? wished : false", True),
        ("not wished or brand != \"Acme\"", False),
        ("'vip' in segments and answers.pet == 'dog' and answers[\"pet\"] != 'cat'", True),
        ("brand == 'and' or brand == 'not $x'", False),
        ("1 / 0 > price", True),
        ("\n\twished\n", True),
        ("-price < -2e0", True),
    ],
)  # fmt: skip
def test_what_it_means(text, true) -> None:
    assert holds(text) is true


def test_an_unknown_number_is_compared_with_nothing() -> None:
    """NaN: neither below nor above, and not equal."""
    assert [holds(f"price {sign} 3", price=math.nan) for sign in ("<", ">=", "==", "!=")] == [False] * 3 + [True]


def test_values_are_no_text() -> None:
    """What is handed in is compared, never read: quotes and operators in it are characters."""
    evil = '" or true or "'
    assert holds("brand == $b", {"b": evil}) is False
    assert holds("brand == $b", {"b": evil}, brand=evil) is True
    assert holds("brand in $list", {"list": ("Acme", evil)}) is True
    assert holds("price in $list", {"list": (1.0, 3.0)}) is True
    assert holds("brand in $list", {"list": ()}) is False
    assert holds("wished == $yes and price < $most", {"yes": True, "most": 4.0}) is True


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("prise < 50", "no such name: prise at character 1", 'did you mean "price"?'),
        ("brand == '日本' or prise < 3", "no such name: prise at character 18", "price"),
        ("wished ||\n price < 'a'", "< does not go with (a number, a text) at character 18", ""),
        ("price <", "it ends too early at character 8", "missing"),
        ("", "it ends too early at character 1", "missing"),
        ("price", "it does not answer yes or no", "compare"),
        ("not price < 5", "not does not go with (a number) at character 1", "not (...)"),
        ("brand in $bands", "no value $bands at character 10", 'did you mean "brands"?'),
        ("price < 50 <", "it ends too early", ""),
        ("price % 2 == 1", "'%' is not understood at character 7", ""),
        ("brand.__class__ == 3", "it is not understood at character 6", ""),
        ("brand.__class__.__bases__[0].__subclasses__()", "no such test: __subclasses__", ""),
        ("__import__('os').system('true')", "no such test: __import__ at character 1", ""),
        ("_brands == 'x'", "no such name: _brands", ""),
        ("9**9**9 > price", "it is not understood at character 3", ""),
        ("brand.matches('(a+)+$')", "no such test: matches at character 7", "startsWith"),
        ("[1, 2].all(x, x > 0)", "no such test: all", ""),
        ("has(answers.pet)", "no such test: has", ""),
        ("type(price) == double", "no such test: type", ""),
        ("brand == \"\"\"a\"\"\"", "a text that nothing leads to", ""),
        ("b'a' == b'a'", "no such name: b", ""),
        ("{'a': 1}", "'{' is not understood at character 1", ""),
        ("ｐrice < 1", "'ｐ' is not understood at character 1", ""),
        ("price < 0x10", "no such name: x10", ""),
        ("brand == 'x\\ud800'", "it is not understood at character 10", ""),
        ("brand == 'open", "is not understood at character 10", ""),
        ("(" * (MAX_DEPTH + 1) + "wished", f"it is too deep at character {MAX_DEPTH + 1}", ""),
        ("wished and " * 100 + "wished", "1,106 characters", "values"),
        ("!" * 300 + "wished", "301 words", "values"),
        ("wished ? wished : " * 40 + "wished", "it is too deep", ""),
    ],
)  # fmt: skip
def test_what_it_refuses_and_where(text, what, hint) -> None:
    with pytest.raises(ExpressionError) as caught:
        compiled(text, TERMS, {"brands": ("A",)})
    assert what in caught.value.place
    assert hint in caught.value.hint


def test_a_list_is_of_one_kind() -> None:
    with pytest.raises(ExpressionError, match="texts and numbers"):
        compiled("price in $list", TERMS, {"list": (1.0, "a")})


def test_the_same_text_is_understood_once_and_by_many_at_once() -> None:
    """The same object for the same types of values; threads share it."""
    asked = compiled("price < $most", TERMS, {"most": 1.0})
    assert compiled("price < $most", TERMS, {"most": 2.0}) is asked
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: asked.holds({"price": float(n), "_most": 50.0}), range(400)))
    assert found == [n < 50 for n in range(400)]


PIECES = st.sampled_from([
    "price", "brand", "wished", "answers", "segments", "$v", "__class__", ".", "(", ")", "[", "]", "'a'", '"', "\\",
    "1", "9e999", "in", "and", "or", "not", "!", "&&", "==", "<", "-", "*", "?", ":", ",", "startsWith", "matches",
    "\n", "日", "\x00", "𝕡", "true", "null", "{", "}", "%", "//", "#", "lambda",
])  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES).map("".join)))
@example("(" * MAX_TEXT)
@example("-" * 199)
def test_any_text_is_answered_or_refused(text) -> None:
    """Nothing but an ExpressionError ever comes out, and its place lies in the text."""
    try:
        asked = compiled(text, TERMS, {"v": "x"})
    except ExpressionError as error:
        assert error.at is None or 0 <= error.at <= len(text)
        return
    try:
        assert asked.holds({**KNOWN, "_v": "x"}) in (True, False)
    except ExpressionError as error:
        assert "answers" in text, error  # a question that the map does not hold: `shop.toml` is checked for it


NUMBERS = st.one_of(
    st.just(("price", "price")),
    st.integers(0, 9).map(lambda n: (str(n), f"{n}.0")),
    st.integers(0, 9).map(lambda n: (f"{n}.5", f"{n}.5")),
)
COMPARED = st.builds(
    lambda one, sign, two: (f"{one[0]} {sign} {two[0]}", f"({one[1]} {sign} {two[1]})"),
    NUMBERS, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), NUMBERS,
)  # fmt: skip
LEAVES = st.one_of(COMPARED, st.just(("wished", "wished")), st.just(("brand in ['a', 'b']", "(brand in ['a', 'b'])")))
TREES = st.recursive(
    LEAVES,
    lambda deeper: st.one_of(
        st.builds(
            lambda one, word, two: (f"({one[0]}) {word} ({two[0]})", f"({one[1]} {word} {two[1]})"),
            deeper, st.sampled_from(["and", "or"]), deeper,
        ),
        deeper.map(lambda one: (f"not ({one[0]})", f"(not {one[1]})")),
    ),
    max_leaves=8,
)  # fmt: skip


@given(TREES, st.sampled_from([0.0, 2.0, 3.5, math.nan]), st.sampled_from(["a", "c"]), st.booleans())
def test_it_agrees_with_python_where_both_speak(tree, price, brand, wished) -> None:
    """An independent derivation: the same tree as Python has it."""
    text, python = tree
    known = {"price": price, "brand": brand, "wished": wished}
    try:
        found = holds(text, **known)
    except ExpressionError as error:
        assert "deep" in error.what or "words" in error.what or "characters" in error.what
        return
    assert found == eval(python, {"__builtins__": {}}, known)


class TestItems:
    """`filter.where` over the toy shop."""

    def made(self) -> Bundle:
        made = build_toy_bundle()
        brands = text_arrays("brand", ["Acme", "Acme", "Bolt", "Bolt", "Acme", "", "", ""])
        return Bundle(made.manifest, {**made.arrays, **brands})

    def matched(self, where: str, *events, shelf: Shelf | None = None, **values) -> str:
        query = Query(now=AS_OF, history=build_history(*events), filter=Filter(where=where, values=values))
        held = matching.matching(shelf or Shelf(self.made()), query, np.arange(8, dtype=np.int32))
        return " ".join(name for name, yes in zip(ITEMS, held, strict=True) if yes)

    def test_every_name_has_a_meaning(self) -> None:
        """Each name can be read of an item, and is of the type that it is said to be."""
        assert matching._COLUMNS.keys() == ITEM.keys()
        assert conditions._READ.keys() | {"segments"} == SITUATION.keys()
        test = {"number": "{} < 1 or {} >= 1 or {} != {}", "text": '{} == "x" or {} != "x"', "truth": "{} or not {}"}
        for name, kind in ITEM.items():
            assert self.matched(test[kind].format(*[name] * 4)) == " ".join(ITEMS), name

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ("price <= 2", "a0 a1"),
            ('brand == "Acme" and price > 1', "a1 b0"),
            ('category == "Group > B" and brand == ""', "b1 b2 b3"),
            ('department == "Group" and itemId.startsWith("b")', "b0 b1 b2 b3"),
            ("title.contains('b2')", "b2"),
            ("wished", "a1"),
            ("bought or viewed", "a0 b0"),
            ("not bought and price < 4", "a1 a2"),
            ("buyers == 10 and buyers7Days < buyers28Days and sales28Days == 7 and ageDays == 100", " ".join(ITEMS)),
            ("leadDays < 5", ""),
            ("1 < 2", " ".join(ITEMS)),
        ],
    )
    def test_what_it_finds(self, where, found) -> None:
        past = (("purchase", "a0", 5.0), ("wishlist", "a1", 3.0), ("view", "b0", 1.0), ("purchase", "a3", 9.0))
        expected = "a0 a3 b0" if where == "bought or viewed" else found
        assert self.matched(where, *past) == expected

    def test_it_follows_the_shelf(self) -> None:
        """A price, a stock and a title of this minute."""
        shelf = Shelf(self.made())
        shelf.apply([("a0", {"price": 99.0, "title": "Sofa"}), ("a1", {"inStock": False}), ("b0", {"brand": "New"})])
        assert self.matched("price > 50 and title == 'Sofa'", shelf=shelf) == "a0"
        assert self.matched("not inStock", shelf=shelf) == "a1"
        assert self.matched("brand == $one", shelf=shelf, one="New") == "b0"

    def test_it_is_asked_last_and_named_as_reason(self) -> None:
        query = Query(now=AS_OF, history=History.empty(), num_results=8, filter=Filter(where="price < 3"))
        ranker = Ranker(self.made())
        ranker.shelf.apply([("a0", {"withdraw": True})])
        assert ranker.rank(query).items.tolist() == [1]
        removed = dict(ranker.rank(msgspec.structs.replace(query, anchors=(0,)), {"item-item": 1.0}).considered.removed)
        assert removed["does-not-match"].tolist() == [2, 3]

    def test_it_costs_no_more_than_it_may(self, monkeypatch) -> None:
        monkeypatch.setattr(matching, "SECONDS", -1.0)
        with pytest.raises(RequestError, match="takes longer"):
            self.matched("price < 3")

    def test_a_filter_is_checked_before_anything_is_ranked(self) -> None:
        with pytest.raises(RequestError, match=r"filter\.where: no such name: prise at character 1"):
            check_filter(Filter(where="prise < 3"))


FILTERED = {"visitorId": "v", "numResults": 8}


class TestService:
    """Over HTTP."""

    def ask(self, client, where, path="/v1/recommendations", values=None, **more):
        wanted = {"where": where} | ({} if values is None else {"values": values})
        return client.post(path, json={**FILTERED, **more, "filter": wanted})

    def test_recommendations(self, client) -> None:
        answer = self.ask(client, "price < $most and itemId in $ids", values={"most": 7.5, "ids": ["b3", "b2", "a0"]})
        assert {item["itemId"] for item in answer.json()["itemList"]} == {"a0", "b2"}

    def test_related_items(self, client) -> None:
        answer = self.ask(client, "price > 2", "/v1/related-items", itemIds=["a0"])
        assert [item["itemId"] for item in answer.json()["itemList"]] == ["a2", "a3"]

    def test_rankings_put_what_is_filtered_out_last(self, client) -> None:
        body = {"visitorId": "v", "inputList": ["b1", "a2", "a0"], "filter": {"where": "price != 1"}}
        answer = client.post("/v1/rankings", json=body).json()
        assert [item["itemId"] for item in answer["personalizedRanking"]] == ["a2", "b1", "a0"]

    @pytest.mark.parametrize(
        ("where", "values", "field", "said"),
        [
            ("prise < 3", None, "filter.where", 'did you mean "price"?'),
            ("price < 'x'", None, "filter.where", "at character 7"),
            ("price < $m", None, "filter.where", "no value $m"),
            ("price < $m", {"m": None}, "filter.values", ""),
            ("price < $m", {"m-m": 3}, "filter.values", ""),
            ("price in $m", {"m": [1, "a"]}, "filter.where", "one kind"),
            ("price in $m", {"m": {"a": 1}}, "filter.values", ""),
            ("x" * 5000, None, "filter.where", ""),
            ("(" * 900, None, "filter.where", "too deep"),
            ("brand.__class__.__mro__", None, "filter.where", "not understood"),
            (7, None, "filter.where", ""),
        ],
    )
    def test_mistakes_are_the_callers(self, client, where, values, field, said) -> None:
        for path, more in (("/v1/recommendations", {}), ("/v1/related-items", {"itemIds": ["a0"]})):
            answer = self.ask(client, where, path, values=values, **more)
            assert answer.status_code == 400, answer.text
            assert field in answer.text
            assert said in answer.json()["error"]["message"] + answer.json()["error"].get("hint", "")

    def test_nobody_s_wishes_are_read_without_consent(self, toy_shop, toy_engine, client) -> None:
        client.post("/v1/events", json={"events": [
            {"eventId": "1", "type": "wishlist", "userId": "ann", "itemId": "b2"},
            {"eventId": "2", "type": "purchase", "userId": "ann", "itemId": "b1"},
        ]})  # fmt: skip
        agreed = self.ask(client, "wished or bought", userId="ann").json()
        assert {item["itemId"] for item in agreed["itemList"]} == {"b1", "b2"}
        refused = self.ask(client, "wished or bought or viewed", userId="ann", consents={"personalization": False})
        assert refused.json()["itemList"] == []

    def test_a_module_may_have_a_condition(self, toy_shop, toy_engine, client) -> None:
        toy_shop.config.write_text(
            AGREED + '[shop]\nholdout = 0.0\n[modules.cheap]\nkind = "popular"\ntitle = {en = "Cheap"}\nminimum = 1\n'
            'where = "price < 3 and not bought"\n[pages.home]\nslots = [{name = "one", modules = ["cheap"]}]\n'
        )
        assert toy_engine.refresh(), toy_engine.refusals
        (slot,) = client.post("/v1/pages", json={"visitorId": "v"}).json()["slots"]
        assert [item["itemId"] for item in slot["items"]] == ["a0", "a1"]


class TestSituation:
    """`when.if`."""

    def situation(self, engine, **context) -> Situation:
        return Situation(engine.live, Query(now=AS_OF, history=History.empty(), context=Context(**context)))

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('region == "north" and device == "phone"', None),
            ('region == "south"', 'it does not hold that region == "south"'),
            ("not known and orders == 0 and wishes == 0 and not awaiting and not late", None),
            ("stage == 'awareness' and month >= 1 and hour == 0 and weekday < 7", None),
            ("season in ['summer', 'autumn'] and tier == '' and campaign == ''", None),
            ("unusual or returnedLately", "it does not hold that unusual or returnedLately"),
            ("source == '' and locale == 'en' and not ('x' in ['y'])", None),
        ],
    )
    def test_what_holds(self, toy_engine, text, why) -> None:
        assert why_not(When(if_=text), self.situation(toy_engine, region="north", device="phone")) == why

    def test_only_what_is_named_is_looked_at(self, toy_engine) -> None:
        asked = Query(now=AS_OF, history=build_history(("purchase", "a0", 3.0)), user_id="ann")
        for text, used in (("month == 1", set()), ("orders > 0", {"own events"})):
            now = Situation(toy_engine.live, asked)
            why_not(When(if_=text), now)
            assert now.used == used

    def test_answers_segments_and_stages_are_checked_when_the_file_is_read(self) -> None:
        """Names that lead nowhere are refused with the nearest, and where they stand."""
        head = '[questions.pet]\ntext = {en = "Pet?"}\nwhy = {en = "To help"}\noptions = [{value = "dog", label = {en = "Dog"}}, {value = "cat", label = {en = "Cat"}}]\n[segments.vip]\ntiers = ["gold"]\n'  # noqa: E501
        action = '[actions.a]\nkind = "content"\ntexts = [{title = "T"}]\n'

        def read(text: str) -> ShopConfig:
            return read_config(f"{head}{action}when = {{if = {text!r}}}\n", "shop.toml")

        assert read('answers.pet == "dog" and "vip" in segments').actions["a"].when.if_
        for text, said in (
            ('answers.pte == "dog"', 'did you mean "pet"?'), ('answers["pte"] == "dog"', 'did you mean "pet"?'),
            ('"vpi" in segments', 'did you mean "vip"?'), ('stage == "wating"', 'did you mean "waiting"?'),
            ('season in ["sumer"]', 'did you mean "summer"?'), ('"pet" in answers', "read by question"),
            ("answers[stage] == \"x\"", "read by question"), ("prise < 3", "no such name: prise at character 1"),
            ("orders", "yes or no"), ('"x" in projects', 'no "x" among projects'),
        ):  # fmt: skip
            with pytest.raises(ConfigError, match=r"shop\.toml \[actions\.a\]") as caught:
                read(text)
            assert said in caught.value.line(), caught.value.line()

    def test_a_segment_is_not_made_of_segments(self) -> None:
        text = '[segments.a]\ntiers = ["gold"]\n[segments.b]\nif = \'"a" in segments\'\n'
        with pytest.raises(ConfigError, match="a segment of segments"):
            read_config(text, "shop.toml")

    def test_a_module_s_condition_is_checked(self) -> None:
        text = '[modules.m]\nkind = "popular"\ntitle = {en = "M"}\nwhere = "prise < 3"\n'
        with pytest.raises(ConfigError, match=r"\[modules\.m\].*did you mean \"price\""):
            read_config(text, "shop.toml")


def test_a_file_without_expressions_keeps_its_hash() -> None:
    """The hash of an empty file, as it was before there were any."""
    assert "if" not in msgspec.to_builtins(When())
    assert ShopConfig().hash == msgspec.convert({}, ShopConfig).hash
