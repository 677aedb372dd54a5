"""Visitors whom nobody knows: the pet shop in December, and a refrigerator at five in the morning."""

from __future__ import annotations

import pytest

from tests.test_scenes.conftest import House, actions, items, slot

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148"
NORTH = {"region": "north", "timeZone": "UTC", "category": "Pets"}


def kinds(page) -> set[str]:
    return {item.rstrip("0123456789") for item in items(page)}


def test_the_pet_shop_in_december(house: House) -> None:
    """What sells in the north in winter; two short answers change greeting, picture, words, modules and ranking."""
    seen = house.page(visitorId="v1", context=NORTH)
    assert actions(seen)[0] == "hero-season"
    assert "north" in seen["slots"][0]["text"] and seen["slots"][0]["imageUrl"].endswith("winter.svg")
    popular = next(each for each in seen["slots"] if each["actionId"] == "popular")
    assert {item["itemId"][:-1] for item in popular["items"][:8]} == {"blanket", "dogfood"}
    assert seen["basis"]["kind"] == "context"
    asked = slot(seen, "ask-pet")["question"]
    assert [option["value"] for option in asked["options"]] == ["dog", "cat"] and asked["why"]
    assert "ask-name" not in actions(seen)  # one question a visit

    house.post("/v1/customers/answer", visitorId="v1", question="pet", answer="cat")
    cat = house.page(visitorId="v1", context=NORTH)
    assert actions(cat)[:2] == ["hero-pet", "for-your-cat"]
    assert cat["slots"][0]["imageUrl"].endswith("/cat.svg") and "cat" in cat["slots"][0]["title"]
    assert {item["itemId"][:-1] for item in slot(cat, "for-your-cat")["items"]} == {"catfood"}
    assert "ask-pet" not in actions(cat)

    house.at(1)  # another visit: the other question
    assert "ask-name" in actions(house.page(visitorId="v1", context=NORTH))
    house.post("/v1/customers/answer", visitorId="v1", question="name", answer="Ann")
    named = house.page(visitorId="v1", context=NORTH)
    assert named["greeting"]["text"] == "Welcome, Ann"
    assert named["slots"][0]["title"] == "Ann, your cat will like this"
    assert "answers" in house.page(visitorId="v1", context=NORTH, explain=True)["explain"]["personalData"]


def test_who_refuses_consent_gets_the_contextual_page_and_nothing_personal_is_read(house: House, monkeypatch) -> None:
    house.post("/v1/customers/answer", visitorId="v1", question="pet", answer="dog")
    house.events({"type": "view", "itemId": "catfood1", "visitorId": "v1"})
    house.post("/v1/customers/consent", visitorId="v1", purpose="personalization", granted=False)
    stranger = house.page(visitorId="nobody", context={"region": "north", "timeZone": "UTC"})
    with monkeypatch.context() as patched:
        for name in ("history_of", "person_of"):
            patched.setattr(type(house.engine), name, lambda *given: pytest.fail("a personal column was read"))
        page = house.page(visitorId="v1", context={"region": "north", "timeZone": "UTC"})
        for path, body in (
            ("/v1/recommendations", {}), ("/v1/related-items", {"itemIds": ["sofa0"]}),
            ("/v1/rankings", {"inputList": ["sofa0", "dogfood1"]}),
        ):  # fmt: skip
            house.post(path, visitorId="v1", **body)
    assert (page["personalized"], page["basis"]["kind"]) == (False, "consent")
    assert actions(page) == actions(stranger) and items(page) == items(stranger)
    house.post("/v1/customers/consent", visitorId="v1", purpose="personalization", granted=True)
    assert actions(house.page(visitorId="v1", context=NORTH))[0] == "hero-pet"


@pytest.mark.parametrize(
    ("category", "hour"), [("Appliances > Refrigerators", 5), ("Appliances > Water heaters", 23)]
)  # fmt: skip
def test_at_an_unusual_hour_one_question_is_asked(house: House, category: str, hour: float) -> None:
    """Yes leads to first aid and what can be delivered today, no to guides; the question is not asked again."""
    where = {"userAgent": PHONE, "timeZone": "UTC", "category": category}
    house.at(0, hour)
    for who, answer in (("yes", "yes"), ("no", "no"), ("skip", None)):
        page = house.page(visitorId=who, context=where)
        assert actions(page)[0] == "ask-urgent", page["slots"][0]
        again = house.page(visitorId=who, context=where)
        assert actions(again)[0] == "ask-urgent"  # it stays on the screen until something is said
        house.post("/v1/customers/answer", visitorId=who, question="urgent", answer=answer)
    yes, no, skip = (house.page(visitorId=who, context=where) for who in ("yes", "no", "skip"))
    assert actions(yes)[:2] == ["first-aid", "today"]
    assert {"fridge0", "heater0"} <= items(yes)
    assert not {each["itemId"][:-1] for each in slot(yes, "today")["items"]} & {"sofa", "rug"}
    assert "compare-guide" in actions(no) and "first-aid" not in actions(no)
    for page in (yes, no, skip):
        assert "ask-urgent" not in actions(page)
    house.at(3, hour)
    for who in ("yes", "no", "skip"):
        assert "ask-urgent" not in actions(house.page(visitorId=who, context=where))


def test_no_question_for_snacks_at_five_nor_for_refrigerators_at_noon(house: House) -> None:
    house.at(0, 5)
    snacks = {"userAgent": PHONE, "timeZone": "UTC", "category": "Food > Snacks"}
    assert "ask-urgent" not in actions(house.page(visitorId="v", context=snacks))
    house.at(0, 12)
    fridges = {**snacks, "category": "Appliances > Refrigerators"}
    assert "ask-urgent" not in actions(house.page(visitorId="v", context=fridges))


def test_a_question_that_was_shown_and_left_is_not_put_in_another_session(house: House) -> None:
    house.page(visitorId="v1", context=NORTH)
    house.at(2)
    page = house.page(visitorId="v1", context=NORTH)
    assert "ask-pet" not in actions(page) and "ask-name" in actions(page)


def test_a_visitor_who_signs_in_brings_his_answers(house: House) -> None:
    house.post("/v1/customers/answer", visitorId="v1", question="pet", answer="dog")
    house.events({"type": "sign_in", "visitorId": "v1", "userId": "ann"})
    assert actions(house.page(userId="ann", context={"timeZone": "UTC"}))[0] == "hero-pet"


def test_one_purchase_or_a_hundred(house: House) -> None:
    """Both get a full page; thin data says so."""
    house.events({"type": "purchase", "itemId": "lamp1", "userId": "one", "unitPrice": 30.0})
    house.events(
        *({"type": "purchase", "itemId": f"snack{n % 5}", "userId": "many", "unitPrice": 3.0} for n in range(100))
    )
    one, many = (house.page(userId=who) for who in ("one", "many"))
    assert (one["basis"]["kind"], many["basis"]["kind"]) == ("little", "history")
    assert "little" in one["basis"]["text"]
    assert len(kinds(one)) > len(kinds(many)) or len(kinds(one)) >= 3
    for page in (one, many):
        assert all(each["actionId"] for each in page["slots"])
