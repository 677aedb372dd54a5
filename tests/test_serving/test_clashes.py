"""What is called impossible never happens: conditions that hold together in some situation do not clash."""

from __future__ import annotations

from datetime import time
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from features.moments import season_of
from serving.checks.clashes import ORDERED, clash
from serving.config import read_config
from serving.eligibility import why_not
from serving.query import Context
from serving.settings.when import Hours, When

CONFIG = read_config(
    '[questions.pet]\ntext = {en = "A pet?"}\nwhy = {en = "For this page."}\n'
    '[segments.new]\norders = [0, 0]\n[segments.gold]\ntiers = ["gold"]\nknown = true\n',
    "shop.toml",
)
STAGES = ("awareness", "consideration", "purchase", "waiting", "use", "repeat", "lapsed")
PATHS = ("A", "A > B", "A > C", "D")
TIMES = st.integers(0, 23).map(time)


@st.composite
def situations(draw: st.DrawFn) -> SimpleNamespace:
    """A moment of somebody, as conditions look at it, within what can be: no visitor has a tier, and so on."""
    known, month, stage = draw(st.booleans()), draw(st.integers(1, 12)), draw(st.sampled_from(STAGES))
    local = SimpleNamespace(month=month, weekday=draw(st.integers(0, 6)), season=season_of(month))
    context = Context(device=draw(st.sampled_from(["phone", "desktop"])), traffic_source="ads", campaign="c")
    return SimpleNamespace(
        live=SimpleNamespace(config=CONFIG),
        query=SimpleNamespace(context=context, user_id="ann" if known else None, now=0),
        region=draw(st.sampled_from(["north", "south"])), local=local, minute=draw(st.integers(0, 1439)),
        unusual=draw(st.booleans()), tier=draw(st.sampled_from(["gold", "iron"])) if known else None,
        answers=draw(st.sampled_from([{}, {"pet": "dog"}, {"pet": "cat"}])), stage=SimpleNamespace(name=stage),
        projects=(), segments=None, orders=draw(st.integers(ORDERED.get(stage, 0), 4)), late=draw(st.booleans()),
        codes_under=lambda paths: frozenset(each for each in PATHS if each.startswith(tuple(paths))),
        bought=frozenset(draw(st.sets(st.sampled_from(PATHS)))), looking_at=frozenset(), wished=frozenset(),
        awaiting=frozenset(),
    )  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn) -> When:
    """A few conditions of any kind."""

    def some(*values: object) -> st.SearchStrategy:
        return st.just(()) | st.lists(st.sampled_from(values), max_size=len(values), unique=True).map(tuple)

    flag = st.sampled_from([None, None, True, False])
    spans = st.tuples(st.integers(0, 3), st.integers(0, 4))
    return When(
        stages=draw(some(*STAGES)), regions=draw(some("north", "south")), devices=draw(some("phone", "desktop")),
        seasons=draw(some("winter", "spring", "summer", "autumn")), months=draw(some(*range(1, 13))),
        weekdays=draw(some(*range(7))), hours=draw(st.none() | st.builds(Hours, TIMES, TIMES)), known=draw(flag),
        segments=draw(some("new", "gold")), not_segments=draw(some("new", "gold")), tiers=draw(some("gold", "iron")),
        answers=draw(st.just({}) | st.fixed_dictionaries({"pet": some("dog", "cat")})),
        unanswered=draw(some("pet")), bought=draw(some(*PATHS)), not_bought=draw(some(*PATHS)), late=draw(flag),
        orders=draw(st.none() | spans), unusual=draw(flag),
    )  # fmt: skip


def left(when: When, now: SimpleNamespace) -> When:
    """Of a condition those parts that hold: so that most of them do together."""
    told = {name: getattr(when, name) for name in When.__struct_fields__}
    fits = {name: value for name, value in told.items() if why_not(When(**{name: value}), now) is None}
    return When(**fits)


@given(st.lists(conditions(), min_size=1, max_size=3), situations())
def test_what_holds_is_never_called_impossible(whens: list[When], now: SimpleNamespace) -> None:
    held = [left(when, now) for when in whens]
    assert all(why_not(when, now) is None for when in held)
    assert clash(CONFIG, *held) is None


@given(conditions(), situations())
def test_what_is_called_impossible_does_not_hold(when: When, now: SimpleNamespace) -> None:
    if clash(CONFIG, when) is not None:
        assert why_not(when, now) is not None
