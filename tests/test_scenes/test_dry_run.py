"""A change of the house shop's file, tried on the requests that it answered: what moves, and what must not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from features.dataset import Dataset
from features.moments import DAY
from serving.asked_before import Asked, asked_in_store
from serving.asked_dataset import asked_in_dataset
from serving.checks.finding import Look
from serving.clock import set_clock
from serving.config import ShopConfig, read_config
from serving.decision_drain import drain
from serving.drafts import read_draft
from serving.dry_run import ERASED, FEW, GONE, NO_SLOT, NOTHING, DryRun, dry_run
from serving.policy_files import write_policy
from serving.shop_check import findings
from serving.sync import sync
from tests.test_scenes.conftest import House, actions
from tests.test_serving.grown import policy
from training.cli import main

NORTH = {"region": "north", "timeZone": "UTC", "category": "Pets"}


def visit(house: House, count: int = 3) -> None:
    """A few people look at the home page, some known, some not; each three times over two days."""
    for day in range(2):
        house.at(day)
        for n in range(count):
            house.events({"type": "purchase", "itemId": f"snack{n % 5}", "userId": f"person{n}", "unitPrice": 3.0})
            house.page(userId=f"person{n}", context={"device": "phone"} if n % 2 else {})
            house.page(visitorId=f"guest{n}", context=NORTH)
        house.page(context=NORTH)


def asked(house: House, last: int = 500) -> list[Asked]:
    drain(house.shop.decision_logs, house.engine.store)
    return asked_in_store(house.engine.store, last)


def changed(house: House, *pairs: tuple[str, str]) -> ShopConfig:
    text = house.shop.config.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return read_draft(text)


def rebuilt(house: House, *pairs: tuple[str, str], last: int = 500) -> DryRun:
    return dry_run(house.engine, changed(house, *pairs), asked(house, last))


def moved(found: DryRun) -> dict[str, int]:
    """Place -> slots that moved."""
    return {place: count for place in found.places if (count := sum(each.place == place for each in found.moved))}


def test_an_unchanged_file_moves_nothing(house: House) -> None:
    visit(house)
    found = rebuilt(house)
    assert (found.requests.hits, found.requests.of, found.moved) == (0, 14, [])
    assert found.vetoed() == []
    assert found.faithful.hits == found.faithful.of == 14 * 5, "what is rebuilt is what was shown"
    assert found.subjects == 6
    newest = asked(house, 6)
    assert len(newest) == 6 and [each.at for each in newest] == sorted((each.at for each in newest), reverse=True)
    assert all(each.at > house.now - DAY // 2 for each in newest), "the newest ones"


def test_what_is_drawn_for_nobody_in_particular_is_drawn_again(house: House) -> None:
    names = ("hero-season", "popular", "for-you")
    write_policy(house.shop.policies, policy("hero", dict.fromkeys(names, 0.1), floor=0.25, nothing=False))
    text = house.shop.config.read_text(encoding="utf-8")
    drawn = f'\n[[pages.drawn.slots]]\nname = "only"\nmodules = {json.dumps(list(names))}\npolicy = "hero"\n'
    house.shop.config.write_text(text + drawn, encoding="utf-8")
    assert house.engine.refresh()
    for _ in range(12):
        house.page("drawn")
    house.page("drawn", visitorId="v1")
    found = rebuilt(house)
    assert found.requests.hits == 0 and found.faithful.hits == found.faithful.of > 0
    assert len({each.shown["only"] for each in found.rebuilt}) > 1, "they are not all alike"


def test_a_changed_list_moves_the_slots_that_it_must_and_no_other(house: House) -> None:
    visit(house)
    found = rebuilt(house, ('"share-photo", "hero-season"]', '"share-photo"]'))
    assert {place for place, count in moved(found).items() if count} >= {"home/first"}
    assert found.of("home/first", lambda each: each.other_action).hits == 14
    assert [(before, after) for before, after, _ in found.flows("home/first")] == [("hero-season", "popular")]
    low, high = found.of("home/first", lambda each: each.other_action).interval or (0, 0)
    assert 0.78 < low < 0.79 and high == 1.0
    words = rebuilt(house, ("This {season} at home", "Our {season}"), ("Warm evenings at home", "Warm nights"))
    assert set(moved(words)) == {"home/first"}
    assert all(each.words and not each.other_action and not each.items for each in words.moved)
    assert words.requests.hits == words.requests.of == 14


def test_items_move_inside_a_module(house: House) -> None:
    visit(house)
    short = (
        '[modules.popular]\nkind = "popular"\ntitle = {en = "Popular"}\nagain = {en = "More"}\nminimum = 1\nsize = 3\n'
    )
    found = rebuilt(house, ("[modules.today]", short + "[modules.today]"))
    held = sum(each.shown["last"] == "popular" for each in found.rebuilt)
    assert found.of("home/last", lambda each: each.items).hits == held > 0
    assert not any(each.other_action or each.words for each in found.moved)


def test_slots_that_become_empty_or_go_away_and_what_is_held_back(house: House) -> None:
    visit(house)
    found = rebuilt(house, ('modules = ["viewed", "popular"]', 'modules = ["viewed"]\nmay-be-empty = true'))
    last = [each for each in found.moved if each.place == "home/last"]
    assert last and all(each.emptied and each.after == NOTHING for each in last)
    gone = rebuilt(house, ('[[pages.home.slots]]\nname = "last"\nmodules = ["viewed", "popular"]\n', ""))
    assert gone.flows("home/last")[0][1] == NO_SLOT
    assert not any(each.emptied for each in gone.moved)
    known = rebuilt(house, ('[actions.hero-season]\nkind = "content"\n',
                            '[actions.hero-season]\nkind = "content"\nwhen = {known = true}\n'))  # fmt: skip
    assert [after - before for why, before, after in known.vetoed() if why == "customers only"] == [8]
    groups = {(kind, value): (share.hits, share.of) for kind, value, share in known.by_group()}
    assert groups["known", "customer"] == (0, 6)
    assert groups["known", "visitor"] == (6, 6) and groups["known", "nobody named"] == (2, 2)
    assert groups["device", "phone"] == (0, 2) and groups["region", "north"] == (8, 8)


def test_who_refused_consent_stays_contextual(house: House, monkeypatch) -> None:
    house.events({"type": "view", "itemId": "catfood1", "visitorId": "shy"})
    house.page(visitorId="shy", context=NORTH)
    house.page(visitorId="late", context=NORTH)
    for who in ("shy", "late"):
        house.post("/v1/customers/consent", visitorId=who, purpose="personalization", granted=False)
    house.page(visitorId="shy", context=NORTH)
    found = asked(house)
    assert [each.visitor for each in found] == [None, "late", "shy"]
    for name in ("history_of", "person_of"):
        monkeypatch.setattr(type(house.engine), name, lambda *given: pytest.fail("a personal column was read"))
    run = dry_run(house.engine, changed(house, ('"share-photo", "hero-season"]', '"share-photo"]')), found)
    assert run.requests.of == 3 and run.requests.hits == 3
    assert {who: len(each) for who, each in run.groups["consent"].items()} == {"not agreed": 2, "nobody named": 1}


def test_erased_subjects_are_not_rebuilt(house: House) -> None:
    visit(house, 2)
    before = asked(house)
    house.post("/v1/customers/erase", status=202, userId="person0")
    found = rebuilt(house, ('"share-photo", "hero-season"]', '"share-photo"]'))
    assert found.left_out == {ERASED: 2}
    assert {each.customer or each.visitor for each in found.rebuilt} == {"person1", "guest0", "guest1", None}
    stale = dry_run(house.engine, changed(house), before)  # read before the erasure
    assert stale.left_out == {ERASED: 2}


def test_actions_of_channels_and_pages_that_one_file_lacks(house: House) -> None:
    channel = '[channels.line]\nactions = ["club", "hero-season"]\npurpose = "marketing"\n'
    text = house.shop.config.read_text(encoding="utf-8")
    house.shop.config.write_text(text + channel, encoding="utf-8")
    assert house.engine.refresh()
    house.at(0, 12)
    house.events({"type": "purchase", "itemId": "lamp1", "userId": "one", "unitPrice": 30.0})
    assert house.post("/v1/actions", channel="line", userId="one")["actionId"] == "club"
    unchanged = rebuilt(house)
    assert (unchanged.requests.hits, unchanged.requests.of) == (0, 1), "its own reservation is not held against it"
    found = rebuilt(house, ('["club", "hero-season"]', '["hero-season"]'))
    assert [(each.place, each.before, each.after) for each in found.moved] == [("line", "club", "hero-season")]
    assert rebuilt(house, (channel, "")).left_out == {GONE: 1}


def test_what_sync_took_is_found_in_the_dataset(house: House) -> None:
    visit(house, 2)
    in_store = asked(house)
    set_clock(house.shop, house.now)
    sync(house.shop, now=house.now)
    dataset = Dataset(house.shop.dataset)
    found = asked_in_dataset(dataset, 500)
    assert found == in_store, "context and all"
    some = [each.request_id for each in in_store[:4]]
    assert asked_in_dataset(dataset, 3, some) == in_store[4:7]
    assert asked_in_dataset(Dataset(house.shop.root / "none"), 5) == []


def run(house: House, draft: Path, capsys, *more: str, status: int = 0) -> str:
    set_clock(house.shop, house.now)
    given = ["shop", "dry-run", str(draft), "--shop", "house", "--root", str(house.shop.root), *more]
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code in ((0, None) if not status else (status,))
    told = capsys.readouterr()
    return told.out + told.err


def test_the_command(house: House, tmp_path, capsys) -> None:
    draft, out = tmp_path / "draft.toml", tmp_path / "moved.json"
    text = house.shop.config.read_text(encoding="utf-8").replace('"share-photo", "hero-season"]', '"share-photo"]')
    draft.write_text(text, encoding="utf-8")
    assert "No request for a page or an action can be rebuilt" in run(house, draft, capsys)
    visit(house, 2)
    said = run(house, draft, capsys, "--json", str(out))
    assert "10 of 10 requests move" in said and f"fewer than {FEW} requests" in said
    assert "hero-season" in said and "person0" not in said and "guest" not in said
    rows = json.loads(out.read_text())
    first = next(each for each in rows["slots"] if each["slot"] == "home/first")
    assert first["otherAction"]["count"] == first["otherAction"]["of"] == 10
    assert len(first["examples"]) == 3 and set(first["examples"][0]) == {"request", "slot", "moves", "before", "after"}
    assert "customer" in run(house, draft, capsys, "--examples")
    draft.write_text(text.replace('"share-photo"]', '"share-foto"]'), encoding="utf-8")
    assert 'did you mean "share-photo"?' in run(house, draft, capsys, status=2)
    assert "cannot be read" in run(house, tmp_path / "none.toml", capsys, status=2)


def test_a_reason_tells_nobodys_answer(house: House) -> None:
    house.post("/v1/customers/answer", visitorId="v1", question="pet", answer="cat")
    house.page(visitorId="v1", context=NORTH)
    found = rebuilt(house)
    reasons = {*found.vetoes[0]}
    assert "the answer to pet is another one" in reasons
    assert not any(" is cat" in why for why in reasons)
    assert read_config("", "x").hash != house.engine.live.shop_hash


def test_what_is_called_unreachable_never_takes_its_slot(house: House) -> None:
    """Nor does a slot that is not called so end empty: the check against the pages themselves."""
    lists = (["hero-season", "care-sofa", "viewed"], ["popular", "for-you"], ["ask-pet", "popular", "buy-again"])
    slots = "".join(
        f'\n[[pages.tried.slots]]\nname = "s{n}"\nmodules = {json.dumps(each)}\n' for n, each in enumerate(lists)
    )
    text = house.shop.config.read_text(encoding="utf-8") + slots
    house.shop.config.write_text(text, encoding="utf-8")
    assert house.engine.refresh()
    said = [each.what for each in findings(Look(house.engine.live.config, None, {}, house.now))]
    assert {each.partition(" stand")[0] for each in said if "which can always be shown" in each} == {
        "care-sofa, viewed", "for-you", "buy-again",
    }  # fmt: skip
    visit(house)
    house.order("o1", "sofa1", "person0", shipmentState="confirmed", promisedAt=house.moment(56))
    for who in ({"userId": "person0"}, {"userId": "person1"}, {"visitorId": "guest1", "context": NORTH}, {}):
        taken = actions(house.page("tried", **who))
        assert not {"care-sofa", "viewed", "for-you", "buy-again"} & set(taken)
