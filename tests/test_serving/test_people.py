"""A person as of now: what was told before the last sync and since, at sign-ins, and with consents read first."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.ids import Vocabulary
from features.moments import DAY
from features.order_reports import Report, lines_of
from features.orders import OrderLine, Step, as_of
from serving import people
from serving import store_upkeep as upkeep
from serving.clock import set_clock
from serving.engine import Engine
from serving.events import StoredEvent
from serving.fields import GUEST, decode, plain
from serving.newer import NOTHING
from serving.people import consents_of
from serving.person import NOBODY, Consents, Person, Project
from serving.profiles import People, Profile, people_arrays, spooled
from serving.sync import sync
from tests.test_serving.conftest import AS_OF

YES, NO = {"granted": True, "at": "2020-01-01T00:00:00Z"}, {"granted": False, "at": "2020-01-02T00:00:00Z"}
LATER = AS_OF + 100 * DAY


def person(engine, user_id=None, visitor_id=None, now=LATER):
    return engine.person_of(engine.live, user_id, visitor_id, now)


def consents(engine, user_id=None, visitor_id=None, assumed=frozenset()):
    found = engine.find(engine.live, user_id, visitor_id)
    return consents_of(engine.live, user_id, visitor_id, assumed, found)


def sign_in(engine, visitor_id, customer_id, at, kind="sign_in"):
    event = StoredEvent(
        event_id=f"{kind}-{visitor_id}-{customer_id}-{at}", occurred_at=at, recorded_at=at, type=kind,
        customer_id=customer_id, visitor_id=visitor_id,
    )  # fmt: skip
    assert engine.store.append_sync([event]) == ["accepted"]


def report(order_id="o1", line="1", at=AS_OF, item_id="a0", **fields):
    return Report(order_id=order_id, line=line, at=at, item_id=item_id, **fields)


def renewed(engine, now=LATER):
    """A sync, and the history that it made mapped by the engine."""
    sync(engine.shop, now=now)
    engine.refresh()


# --- fields -----------------------------------------------------------------------------------------------------------


def test_of_a_stranger_nothing_is_known_and_nothing_is_agreed(toy_engine):
    assert person(toy_engine, "ann") is person(toy_engine, None, "v") is person(toy_engine) is NOBODY
    assert consents(toy_engine, "ann") == consents(toy_engine, None, "v") == Consents()
    assert consents(toy_engine, None, None, frozenset({"personalization"})).to("personalization")


FIELDS = {
    "name": "Ann", "region": "north", "postalPrefix": "060", "timeZone": "Asia/Tokyo", "tier": "gold", "points": 5,
    "attributes": {"rooms": 3}, "channels": ["email", "web"], "answers": {"pet": "dog"}, "asked": {"pet": 7},
    "shown": {"pet": 6},
    "projects": [{"kind": "basement", "since": 9, "note": "for a teenager", "until": None, "source": "staff"}],
    "consents": {"personalization": YES},
}  # fmt: skip
ANN = Person(
    name="Ann", region="north", postal_prefix="060", time_zone="Asia/Tokyo", tier="gold", points=5.0,
    attributes={"rooms": 3}, channels=("email", "web"), answers={"pet": "dog"}, asked={"pet": 7}, shown={"pet": 6},
    projects=(Project("basement", 9, "for a teenager"),),
)  # fmt: skip


def test_all_that_was_told_is_there_before_a_sync_and_after(toy_engine):
    """Each field goes through store, dataset and history and comes out as it was."""
    toy_engine.store.put_customer("ann", FIELDS, AS_OF)
    assert person(toy_engine, "ann") == ANN
    renewed(toy_engine)
    assert toy_engine.live.people is not None and toy_engine.find(toy_engine.live, "ann", None).newer == NOTHING
    assert person(toy_engine, "ann") == ANN
    assert consents(toy_engine, "ann") == Consents({"personalization": YES})


def test_what_was_imported_and_what_was_told_since_are_one_person(toy_engine, make_dataset):
    """Maps key by key, also after the sync; None forgets a value, and an import later than a word has the last one."""
    make_dataset(
        toy_engine.shop.dataset,
        customers=[
            {"customer_id": "ann", "name": "Ann", "answers": '{"tea": "green", "size": 3}', "tier": "gold",
             "valid_from": AS_OF - DAY},
        ],
    )  # fmt: skip
    renewed(toy_engine, AS_OF)
    toy_engine.store.put_customer("ann", {"answers": {"pet": "dog"}, "tier": None}, AS_OF + 1)
    expected = Person(name="Ann", answers={"tea": "green", "size": "3", "pet": "dog"})
    assert person(toy_engine, "ann") == expected
    renewed(toy_engine, AS_OF + DAY)
    assert person(toy_engine, "ann") == expected
    make_dataset(
        toy_engine.shop.dataset, customers=[{"customer_id": "ann", "name": "Anna", "valid_from": AS_OF + 2 * DAY}]
    )
    toy_engine.store.put_customer("ann", {"region": "north"}, AS_OF + 3 * DAY)
    renewed(toy_engine, AS_OF + 4 * DAY)
    assert (person(toy_engine, "ann").name, person(toy_engine, "ann").region) == ("Anna", "north")


def test_the_answer_to_the_question_of_the_name_is_how_they_are_greeted(toy_engine):
    """Unless the shop says another one."""
    toy_engine.store.put_visitor("v", {"answers": {"name": "Annie"}}, AS_OF)
    assert person(toy_engine, None, "v").name == "Annie"
    sign_in(toy_engine, "v", "ann", AS_OF + 1)
    assert person(toy_engine, "ann").name == "Annie"
    toy_engine.store.put_customer("ann", {"name": "Ms Ann"}, AS_OF + 2)
    assert person(toy_engine, "ann").name == "Ms Ann"


def test_nonsense_of_an_import_is_left_out_and_the_rest_is_read(toy_engine, make_dataset):
    """Columns of open text may hold anything."""
    make_dataset(
        toy_engine.shop.dataset,
        customers=[
            {"customer_id": "ann", "answers": "no json", "asked": '{"q": "late"}', "attributes": "[1]", "region": "x",
             "projects": '[{"kind": "garden", "since": 1}, {"note": "no kind"}, 5]', "consents": '"all"'},
        ],
    )  # fmt: skip
    renewed(toy_engine)
    assert person(toy_engine, "ann") == Person(region="x", projects=(Project("garden", 1),))
    assert consents(toy_engine, "ann") == Consents()


WORDS = st.sampled_from(["dog", "", "Ann"])
ANYTHING = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | WORDS | st.lists(WORDS, max_size=2)
MAPPED = st.dictionaries(st.sampled_from(["name", "pet"]), ANYTHING | WORDS, max_size=2)
PROJECTS = st.lists(
    st.fixed_dictionaries({"kind": WORDS}, optional={"since": st.integers(0, 3), "note": ANYTHING}), max_size=2
)
TOLD = st.fixed_dictionaries({}, optional={
    **dict.fromkeys(("name", "region", "postalPrefix", "timeZone", "tier"), WORDS | ANYTHING),
    "points": st.integers(0, 9) | ANYTHING, "projects": PROJECTS | ANYTHING, "orders": ANYTHING, "postal_prefix": WORDS,
    **dict.fromkeys(("attributes", "answers", "asked", "shown", "channels", "consents"), MAPPED | ANYTHING),
    GUEST: st.none() | st.fixed_dictionaries({}, optional={"name": WORDS, "answers": MAPPED}),
})  # fmt: skip


USUAL = st.fixed_dictionaries({}, optional={
    **dict.fromkeys(("name", "region", "postalPrefix", "timeZone", "tier"), WORDS), "points": st.integers(0, 9),
    "attributes": st.dictionaries(WORDS, st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | WORDS, max_size=2),
    "answers": st.dictionaries(st.sampled_from(["name", "pet"]), WORDS, max_size=2), "consents": MAPPED,
    **dict.fromkeys(("asked", "shown"), st.dictionaries(WORDS, st.integers(0, 3), max_size=2)),
    "channels": st.lists(WORDS, max_size=2),
})  # fmt: skip


def mapped_in(ids, profiles, *, whole=False):
    """Profiles as a worker maps them; `whole`: as they were written before they had parts."""
    subjects = Vocabulary.of(ids)
    if not whole:
        arrays = people_arrays(subjects, spooled(sorted(profiles.items()), Path(tempfile.gettempdir())))
        return People(subjects, arrays["people.offsets"], arrays["people.bytes"], (0, 0))
    told = [msgspec.json.encode(profiles[name]) if name in profiles else b"" for name in ids]
    offsets = np.cumsum([0, *map(len, told)])
    return People(subjects, offsets, np.frombuffer(b"".join(told), np.uint8), (0, 0))


@given(TOLD | USUAL, st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_profile_read_in_one_go_is_what_a_closer_look_finds(fields, ordered, whole):
    """Whatever stands in it: what is not as it nearly always is gets the closer look."""
    profile = Profile(fields=fields, orders=(report(), report(at=LATER, state="shipped")) if ordered else ())
    mapped = mapped_in(["c:ann", "c:bob"], {"c:ann": profile}, whole=whole)
    closer = people._person(plain(decode(msgspec.json.encode(fields))), list(profile.orders), LATER)
    found = people._synced(mapped, 0, LATER)
    assert found is None or repr(found) == repr(closer)  # a number stays whole where it is
    assert people._synced(mapped, 1, LATER) is people._synced(None, None, LATER) is NOBODY
    usual = all(
        isinstance(fields.get(name, ""), str) for name in ("name", "region", "postalPrefix", "timeZone", "tier")
    )
    if usual and not fields.keys() - {"name", "region", "postalPrefix", "timeZone", "tier", "consents"}:
        assert found is not None


REPORTS = st.lists(st.builds(
    Report, order_id=st.sampled_from(["o1", "o2"]), line=st.sampled_from(["1", "2"]), at=st.integers(0, 9),
    item_id=st.none() | st.sampled_from(["a0", "b0"]), quantity=st.none() | st.integers(1, 3).map(float),
    ordered_at=st.none() | st.integers(0, 9), promised_at=st.none() | st.integers(0, 3),
    state=st.sampled_from(["", "confirmed", "shipped", "delivered"]), text=st.none() | WORDS,
    confirmed_for=st.none() | st.integers(0, 3), gift=st.none() | st.booleans(),
), max_size=8)  # fmt: skip


@given(REPORTS, st.integers(0, 11), st.booleans())
def test_lines_that_were_made_at_a_sync_are_those_of_the_reports(reports, now, whole):
    """As of every moment, and also of a profile that was written before there were lines."""
    profile = Profile(fields={"tier": "gold"}, orders=tuple(reports))
    mapped = mapped_in(["c:ann"], {"c:ann": profile}, whole=whole)
    assert people._synced(mapped, 0, now).orders == as_of(lines_of(reports), now)
    assert mapped.of("c:ann") == profile


LOGGED = st.lists(st.tuples(st.sampled_from(["email", "training"]), st.booleans()), max_size=2)


@given(TOLD | USUAL, REPORTS, LOGGED, st.booleans())
def test_all_of_a_profile_is_kept_and_its_consents_are_read_alone(fields, reports, consents, whole):
    """Whatever of it there is; beside it lies somebody else's. Parts keep no consents that are none; a whole does."""
    profiles = {
        "c:ann": Profile(fields, tuple(reports), tuple(consents)),
        "c:cyd": Profile({"consents": {"email": {"granted": True}}}),
    }
    mapped = mapped_in(["c:ann", "c:bob", "c:cyd"], profiles, whole=whole)
    told = {name: value for name, value in fields.items() if whole or name != "consents" or value is not None}
    assert repr(sorted(mapped.of("c:ann").fields.items())) == repr(sorted(told.items()))
    assert mapped.agreed(0) == fields.get("consents")
    assert (mapped.of("c:ann").orders, mapped.of("c:ann").consents) == (tuple(reports), tuple(consents))
    assert [mapped.of("c:bob"), mapped.agreed(1), mapped.shown_at(1)] == [None] * 3
    assert mapped.agreed(2) == {"email": {"granted": True}} == mapped.of("c:cyd").fields["consents"]
    assert mapped.at(None) is mapped.agreed(None) is mapped.shown_at(None) is None


def test_profiles_are_spooled_in_the_order_of_their_subjects(tmp_path):
    """Nothing of them is left beside the history, and who comes out of turn is refused."""
    profiles = [("c:ann", Profile({"name": "Ann"})), ("c:cyd", Profile({"name": "Cyd"}))]
    subjects = Vocabulary.of(["c:ann", "c:bob", "c:cyd"])
    told = spooled(profiles, tmp_path)
    assert list(tmp_path.iterdir()) == []
    arrays = people_arrays(subjects, told)
    mapped = People(subjects, arrays["people.offsets"], arrays["people.bytes"], (0, 0))
    assert [mapped.of(subject) for subject in subjects] == [profiles[0][1], None, profiles[1][1]]
    with pytest.raises(ValueError, match="ascend"):
        spooled([*profiles, profiles[0]], tmp_path)


def test_a_profile_whose_reports_are_none_gets_the_closer_look():
    """Of a program that nobody knows, or being overwritten right now: it is no error of the request."""
    raw = np.frombuffer(b'{"fields":{"tier":"gold"},"orders":[{"order_id":1}]}', np.uint8)
    mapped = People(Vocabulary.of(["c:ann"]), np.array([0, len(raw)]), raw, (0, 0))
    assert people._synced(mapped, 0, LATER) is None


# --- visitors and sign-ins --------------------------------------------------------------------------------------------


def test_a_visitor_s_words_go_to_the_customer_at_the_sign_in(toy_engine):
    """Before it they are the visitor's alone, after it the customer's alone."""
    store = toy_engine.store
    store.put_visitor("v", {"answers": {"pet": "dog"}, "asked": {"pet": 5}, "consents": {"marketing": YES}}, AS_OF)
    assert person(toy_engine, "ann", "v") is NOBODY
    assert person(toy_engine, None, "v") == Person(answers={"pet": "dog"}, asked={"pet": 5})
    sign_in(toy_engine, "v", "ann", AS_OF + 1)
    assert person(toy_engine, None, "v") is NOBODY
    assert person(toy_engine, "ann") == Person(answers={"pet": "dog"}, asked={"pet": 5})
    assert consents(toy_engine, "ann") == Consents({"marketing": YES})
    assert consents(toy_engine, None, "v") == Consents()


@pytest.mark.parametrize("synced", [False, True])
def test_the_customer_s_own_words_stay_at_a_sign_in(toy_engine, synced):
    """Only what the customer has not told is added, whether it was told before the last sync or since."""
    store = toy_engine.store
    store.put_customer("ann", {"answers": {"pet": "cat"}, "consents": {"training": YES}}, AS_OF)
    if synced:
        renewed(toy_engine, AS_OF + 1)
    other = {"granted": True, "at": "another"}
    store.put_visitor("v", {"answers": {"pet": "dog", "tea": "green"}, "consents": {"training": other}}, AS_OF + 2)
    sign_in(toy_engine, "v", "ann", AS_OF + 3)
    for _ in range(2):
        assert person(toy_engine, "ann").answers == {"pet": "cat", "tea": "green"}
        assert consents(toy_engine, "ann").told == {"training": YES}
        renewed(toy_engine)


@pytest.mark.parametrize("synced", [False, True])
@pytest.mark.parametrize(
    ("customer", "visitor", "may"), [(YES, NO, False), (NO, YES, False), (NO, NO, False), (YES, YES, True)]
)
def test_a_refusal_by_either_stays_a_refusal(toy_engine, customer, visitor, may, synced):
    toy_engine.store.put_customer("ann", {"consents": {"personalization": customer}}, AS_OF)
    if synced:
        renewed(toy_engine, AS_OF + 1)
    toy_engine.store.put_visitor("v", {"consents": {"personalization": visitor}}, AS_OF + 2)
    sign_in(toy_engine, "v", "ann", AS_OF + 3)
    assert consents(toy_engine, "ann").to("personalization") is may
    renewed(toy_engine)
    assert consents(toy_engine, "ann").to("personalization") is may
    toy_engine.store.put_customer("ann", {"consents": {"personalization": YES}}, AS_OF + 4)
    assert consents(toy_engine, "ann").to("personalization")  # who was asked again may change their mind


def test_the_next_one_at_a_shared_device_has_agreed_to_nothing(toy_engine):
    """A refusal stays with the device, but is not the next customer's; consents and answers go."""
    store, assumed = toy_engine.store, frozenset({"personalization"})
    store.put_visitor("tablet", {"consents": {"personalization": NO, "marketing": YES}, "name": "Ann"}, AS_OF)
    sign_in(toy_engine, "tablet", "ann", AS_OF + 1)
    sign_in(toy_engine, "tablet", None, AS_OF + 2, "sign_out")
    assert person(toy_engine, None, "tablet") == NOBODY
    anybody = consents(toy_engine, None, "tablet", assumed)
    assert not anybody.to("personalization") and not anybody.to("marketing")
    store.put_visitor("tablet", {"answers": {"pet": "cat"}}, AS_OF + 3)
    sign_in(toy_engine, "tablet", "bob", AS_OF + 4)
    assert consents(toy_engine, "bob", None, assumed) == Consents({}, assumed)
    assert person(toy_engine, "bob") == Person(answers={"pet": "cat"})
    assert not consents(toy_engine, None, "tablet", assumed).to("personalization")
    assert person(toy_engine, "ann").name == "Ann"


def test_what_was_said_after_a_late_sign_in_stays_the_visitor_s(toy_engine):
    """The rule of events: what comes after the sign-in belongs to the next one."""
    toy_engine.store.put_visitor("v", {"answers": {"pet": "dog"}}, AS_OF)
    toy_engine.store.put_visitor("v", {"answers": {"tea": "green"}}, AS_OF + 9)
    sign_in(toy_engine, "v", "ann", AS_OF + 5)
    assert person(toy_engine, "ann").answers == {"pet": "dog"}
    assert person(toy_engine, None, "v").answers == {"tea": "green"}


def test_what_visitors_told_long_ago_goes_and_their_refusals_stay(toy_engine):
    """Those who come no more would fill the store for good; who does come back has agreed to nothing since."""
    store, words = toy_engine.store, {"answers": {"pet": "dog"}}
    for visitor in ("gone", "back", "refused"):
        store.put_visitor(visitor, words, AS_OF)
    store.put_visitor("back", {"name": "Bea"}, AS_OF + 300 * DAY)
    store.put_visitor("refused", {"consents": {"personalization": NO}}, AS_OF)
    sync(toy_engine.shop, now=AS_OF + 399 * DAY)
    assert store.read_visitor("gone") == words
    sync(toy_engine.shop, now=AS_OF + 401 * DAY)
    assert store.read_visitor("gone") is None
    assert store.read_visitor("back") == {**words, "name": "Bea"}
    assert store.read_visitor("refused") == {"consents": {"personalization": NO}}


def test_to_know_consents_nothing_else_is_decoded(toy_engine, monkeypatch):
    """Neither of the profile nor of what was told since, though it stands in the same bytes."""
    store = toy_engine.store
    store.put_customer("ann", FIELDS | {"name": "secret one"}, AS_OF)
    store.put_orders([("ann", report(text="secret two"))], AS_OF)
    renewed(toy_engine)
    store.put_customer("ann", {"answers": {"pet": "secret three"}, "consents": {"marketing": NO}}, AS_OF + DAY)
    seen: list[object] = []
    for name in ("serving.fields.decode", "serving.people.person_of", "serving.profiles._profile"):
        monkeypatch.setattr(name, lambda *given: seen.append(given))
    from serving import people, profiles

    originals = profiles._agreed, people._agreed

    class Watched:
        def __init__(self, decoder):
            self.decode = lambda raw: seen.append(found := decoder.decode(raw)) or found

    monkeypatch.setattr(profiles, "_agreed", Watched(originals[0]))
    monkeypatch.setattr(people, "_agreed", Watched(originals[1]))
    assert consents(toy_engine, "ann").told == {"personalization": YES, "marketing": NO}
    assert len(seen) == 2 and "secret" not in repr(seen)


# --- orders -----------------------------------------------------------------------------------------------------------


def test_order_lines_are_known_as_of_now_before_and_after_a_sync(toy_engine):
    """Steps of the future are not known; those of before the sync and since are one line."""
    store = toy_engine.store
    first = report(state="confirmed", ordered_at=AS_OF - 5, promised_at=AS_OF + DAY, quantity=2.0, gift=True)
    second = report(at=AS_OF + 10, state="shipped", tracking_url="https://t/1", confirmed_for=AS_OF + 50)
    third = report(at=AS_OF + 20, state="ready_for_pickup", place="Shop", hours="9-17", text="here")
    assert store.put_orders([("ann", first), ("ann", second)], AS_OF + 15) == ["accepted"] * 2
    renewed(toy_engine)
    store.put_orders([("ann", third)], AS_OF + 25)
    steps = (
        Step(AS_OF, "confirmed", promised_at=AS_OF + DAY),
        Step(AS_OF + 10, "shipped", tracking_url="https://t/1", confirmed_for=AS_OF + 50),
        Step(AS_OF + 20, "ready_for_pickup", "here", place="Shop", hours="9-17"),
    )
    for _ in range(2):
        (line,) = person(toy_engine, "ann").orders
        assert line == OrderLine("o1", "1", "a0", AS_OF - 5, steps, 2.0, True)
        assert person(toy_engine, "ann", now=AS_OF + 20).orders[0].steps == steps[:2]
        assert person(toy_engine, "ann", now=AS_OF).orders == ()
        renewed(toy_engine, LATER + DAY)


def test_rows_are_dropped_when_every_history_has_them_and_the_last_of_a_line_is_known_longer(toy_engine):
    """A state that the shop tells each night is a duplicate for three months, and no step after that either."""
    store = toy_engine.store
    told = [report(at=AS_OF, state="confirmed"), report(at=AS_OF + 1, state="shipped", stamped=True)]
    store.put_orders([("ann", each) for each in told], AS_OF + 1)
    count = "SELECT count(*) FROM orders"
    renewed(toy_engine, AS_OF + 2 * DAY)
    assert store.database.query(count) == [(2,)]  # a worker may serve without any history yet
    store.put_customer("bob", {"tier": "gold"}, AS_OF + 3 * DAY)
    renewed(toy_engine, AS_OF + 3 * DAY)
    assert store.database.query(count) == [(1,)]
    again = report(at=AS_OF + 4 * DAY, state="shipped", stamped=True)
    assert store.put_orders([("ann", again)], AS_OF + 4 * DAY) == ["duplicate"]
    store.put_customer("bob", {"tier": "none"}, AS_OF + 99 * DAY)
    renewed(toy_engine, AS_OF + 99 * DAY)
    assert store.database.query(count) == [(0,)]
    assert store.put_orders([("ann", again)], AS_OF + 99 * DAY) == ["accepted"]
    assert [step.state for step in person(toy_engine, "ann").orders[0].steps] == ["confirmed", "shipped"]


def test_a_history_of_the_program_before_has_no_people_and_the_store_answers(toy_engine, monkeypatch):
    """Until the next sync; then the same history is written anew."""
    store = toy_engine.store
    store.put_customer("ann", {"name": "Ann"}, AS_OF)
    with monkeypatch.context() as before:
        before.setattr("serving.histories.FORMAT", 1)
        before.setattr("serving.histories.people_arrays", lambda *given: {})
        before.setattr("serving.sync.REACH", {})
        renewed(toy_engine)
    assert toy_engine.live.history_name is not None and toy_engine.live.people is None
    assert person(toy_engine, "ann").name == "Ann"
    assert sync(toy_engine.shop, now=LATER + 1).history_renewed
    toy_engine.refresh()
    assert toy_engine.live.people is not None and person(toy_engine, "ann").name == "Ann"


def test_numbers_of_another_store_mean_nothing(toy_engine, tmp_path):
    """A history that came with a copied dataset: all that this store holds is newer."""
    toy_engine.store.put_customer("ann", {"name": "Ann"}, AS_OF)
    renewed(toy_engine)
    toy_engine.store.database.query("SELECT 1")
    with toy_engine.store.database.transaction() as connection:
        connection.execute("UPDATE meta SET value = 'another' WHERE name = 'store_id'")
        connection.execute("DELETE FROM customers")
    toy_engine.store.put_customer("ann", {"tier": "gold"}, LATER + 1)
    other = Engine(toy_engine.shop, worker=None)
    assert other.live.people is not None and other.live.people.after == (0, 0)
    assert person(other, "ann") == Person(name="Ann", tier="gold")
    other.close()


# --- whatever the order of things -------------------------------------------------------------------------------------

_VALUES = st.sampled_from(["x", "y", None])
_MAPS = st.dictionaries(st.sampled_from(["p", "q"]), _VALUES, max_size=2)
_SAID = st.dictionaries(st.sampled_from(["p", "q"]), st.sampled_from(["x", "y"]), max_size=2)
_HOW = st.builds(lambda granted, n: {"granted": granted, "wording": str(n)}, st.booleans(), st.integers(0, 2))
_AGREED = st.dictionaries(st.sampled_from(["personalization", "marketing"]), _HOW, max_size=2)
_CHANGE = st.fixed_dictionaries(
    {}, optional={"name": _VALUES, "region": _VALUES, "answers": _SAID, "attributes": _MAPS, "consents": _AGREED}
)
_GUEST = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["x", "y"]), "answers": _SAID, "consents": _AGREED}
)
_REPORT = st.builds(
    report,
    order_id=st.sampled_from(["o1", "o2"]),
    at=st.integers(AS_OF, AS_OF + 4),
    item_id=st.sampled_from(["a0", "a1"]),
    state=st.sampled_from(["", "confirmed", "shipped", "delivered"]),
    text=st.sampled_from([None, "words"]),
    quantity=st.sampled_from([None, 1.0, 2.0]),
    promised_at=st.sampled_from([None, AS_OF + DAY, AS_OF + 2 * DAY]),
    gift=st.sampled_from([None, False, True]),
    payment_state=st.sampled_from([None, "paid"]),
    stamped=st.booleans(),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("customer"), _CHANGE),
        st.tuples(st.just("visitor"), _GUEST),
        st.tuples(st.just("sign_in"), st.none()),
        st.tuples(st.just("report"), _REPORT),
        st.tuples(st.just("sync"), st.none()),
    ),
    max_size=7,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_with_syncs_between_or_without_any_the_person_is_the_same(tmp_path_factory, toy_bundle, steps):
    """Store rows + sync + store rows give the same person, and the same consents, as all rows at once."""
    one = _told(tmp_path_factory.mktemp("one"), steps, synced=False)
    other = _told(tmp_path_factory.mktemp("other"), steps, synced=True)
    assert one == other


def _told(folder: Path, steps, *, synced: bool) -> tuple[Person, Consents]:
    from features.shop import Shop
    from serving.artifact import publish_live
    from serving.bundle import write_bundle
    from tests.test_serving.conftest import build_toy_bundle

    shop = Shop("toy", folder)
    write_bundle(shop.bundles / "toy-1", build_toy_bundle())
    publish_live(shop.bundles, "toy-1")
    set_clock(shop, AS_OF)
    engine = Engine(shop, worker=None)
    for at, (kind, what) in enumerate(steps, AS_OF + 10):
        if kind == "customer":
            engine.store.put_customer("ann", what, at)
        elif kind == "visitor":
            engine.store.put_visitor("v", what, at)
        elif kind == "sign_in":
            sign_in(engine, "v", "ann", at)
        elif kind == "report":
            engine.store.put_orders([("ann", what)], at)
        elif synced:
            sync(shop, now=at)
            engine.refresh()
    found = person(engine, "ann"), consents(engine, "ann")
    engine.close()
    return found


def test_a_step_that_says_nothing_new_is_in_the_dataset_and_no_step(toy_engine):
    """What was reported stays what was reported."""
    store = toy_engine.store
    paid = report(at=AS_OF + 1, payment_state="paid")
    assert store.put_orders([("ann", report(state="confirmed")), ("ann", paid)], AS_OF) == ["accepted"] * 2
    renewed(toy_engine)
    assert len(Dataset(toy_engine.shop.dataset).read("orders")) == 2
    assert len(person(toy_engine, "ann").orders[0].steps) == 1
    assert upkeep.store_id(store)
