"""The tables that describe the shop and its customers over time: items, actions, customers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from features.kinds import EventType
from features.schemas import ACTIONS as ACTION_SCHEMA
from features.schemas import CUSTOMERS, ITEMS
from training.simulation import arrow
from training.simulation.catalogue import NEVER
from training.simulation.effects import ACTIONS, CAMPAIGN, Action
from training.simulation.locale import Locale
from training.simulation.people import TIERS, World
from training.simulation.rows import Array
from training.simulation.tables import PETS, Names, item_ids
from training.simulation.world import CATEGORIES

AGES: Final = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
HOUSEHOLDS: Final = ("single", "couple", "family", "shared")
CONTACTS: Final = ("as usual", "rarely")
PURPOSES: Final = ("personalization", "email", "training")


def item_table(world: World, source: str) -> pa.Table:
    """All versions of all items: at launch, at a change of price, when stock runs out and comes back."""
    items, locale = world.catalogue.items, world.locale
    item, at = _item_versions(world)
    n = len(item)
    gone = at >= items.until[item]  # nobody knew before
    rates = np.array([locale.tax_of(category.department) for category in CATEGORIES])
    category = items.category[item]
    lead = np.array([c.lead_days for c in CATEGORIES])[category]
    paths = [[locale.departments[c.department], name] for c, name in zip(CATEGORIES, locale.categories, strict=True)]
    ids = item_ids(world.size.items)
    columns = {
        "item_id": arrow.words(item, ids),
        "valid_from": arrow.instants(at),
        "product_id": arrow.ids(
            items.product[item], pa.array([f"p{row:06d}" for row in range(int(items.product.max()) + 1)])
        ),
        "successor_id": arrow.words(np.where(gone, _successors(world)[item], -1), ids),
        "title": arrow.words(item, _titles(world)),
        "category": pa.array(paths, pa.list_(pa.string())).take(pa.array(category)),
        "brand": arrow.words(items.brand[item], locale.brands),
        "price": arrow.numbers(items.price_at(item, at)),
        "tax_included": pa.array(np.full(n, locale.tax_included)),
        "tax_rate": arrow.numbers(rates[category]),
        "unit_cost": arrow.numbers(items.cost[item]),
        "attributes": arrow.words(item, _item_attributes(world)),
        "tags": pa.array(_tags(world), pa.list_(pa.string())).take(pa.array(item)),
        "in_stock": pa.array(items.sellable(item, at)),
        "available_from": arrow.instants(items.launched[item]),
        "available_until": arrow.instants(np.where(gone, items.until[item], NEVER)),
        "lead_time_days": arrow.numbers(lead),
        "image_url": arrow.words(category, [f"https://shop.example/images/{c.key}.jpg" for c in CATEGORIES]),
        "private": pa.array(np.zeros(n, np.bool_)),
        "age_limited": pa.array(np.zeros(n, np.bool_)),
        "source": arrow.one_word(n, source),
    }
    return arrow.table(ITEMS, n, columns)


def _item_versions(world: World) -> tuple[Array, Array]:
    items, end = world.catalogue.items, world.calendar.end
    moments = [items.launched, items.price_changes, items.until, *items.out_from.T, *items.out_to.T]
    item = np.tile(np.arange(len(items)), len(moments))
    at = np.concatenate(moments)
    real = (at < end) & (at >= items.launched[item])
    pairs = np.unique(np.stack([item[real], at[real]], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _successors(world: World) -> Array:
    """Discontinued items are followed by the strongest of their category and style."""
    items = world.catalogue.items
    follows = world.catalogue.staple(items.category, items.style.astype(np.int64))
    return np.where(items.until < world.calendar.end, follows, -1)


def _titles(world: World) -> list[str]:
    items, locale = world.catalogue.items, world.locale
    style = [word for group in locale.styles for word in group]
    columns = (items.word.tolist(), items.category.tolist(), items.colour.tolist(), items.product.tolist())
    return [
        locale.title.format(
            style=style[word], category=locale.categories[category], colour=locale.colours[colour], number=100 + product
        )
        for word, category, colour, product in zip(*columns, strict=True)
    ]


def _item_attributes(world: World) -> list[str]:
    items, locale = world.catalogue.items, world.locale
    return [
        orjson.dumps({"colour": locale.colours[colour], "material": locale.materials[material]}).decode()
        for colour, material in zip(items.colour.tolist(), items.material.tolist(), strict=True)
    ]


def _tags(world: World) -> list[list[str]]:
    gifts = [category.gift >= 0.4 for category in CATEGORIES]
    return [["gift"] if gifts[category] else [] for category in world.catalogue.items.category.tolist()]


def action_table(world: World, source: str) -> pa.Table:
    """The actions, valid from the start."""
    n = len(ACTIONS)
    start = np.full(n, world.calendar.start)
    columns = {
        "action_id": arrow.words(np.arange(n), [action.id for action in ACTIONS]),
        "valid_from": arrow.instants(start),
        "kind": arrow.words(np.arange(n), [action.kind for action in ACTIONS]),
        "texts": pa.array([orjson.dumps(_texts(action)).decode() for action in ACTIONS]),
        "eligibility": pa.array([orjson.dumps(_eligibility(action, world.locale)).decode() for action in ACTIONS]),
        "value": pa.nulls(n, pa.float64()),
        "cost": arrow.numbers(np.array([action.cost for action in ACTIONS])),
        "starts_at": arrow.instants(start),
        "source": arrow.one_word(n, source),
    }
    return arrow.table(ACTION_SCHEMA, n, columns)


def _texts(action: Action) -> dict[str, dict[str, str]]:
    english, japanese = _ACTION_TEXTS[action.id]
    return {"en": {"title": english}, "ja": {"title": japanese}}


def _eligibility(action: Action, locale: Locale) -> dict[str, Any]:
    rules: dict[str, Any] = {"slots": sorted(action.slots)}
    if action.known_only or CAMPAIGN in action.slots:
        rules["known"] = True
    if action.metro_only:
        rules["regions"] = [region.name for region in locale.regions if region.metro]
    if action.needs or action.without:
        rules["segments"] = {
            "all": [flag.name for flag in action.needs],
            "none": [flag.name for flag in action.without],
        }
    return rules


_ACTION_TEXTS: Final = {
    "content-season": ("Warm evenings at home", "冬の夜を、あたたかく"),
    "early-access": ("See the new things a week early", "新作をひと足お先に"),
    "event-open-house": ("Open house this Saturday", "土曜日の店舗イベント"),
    "exclusive-atelier": ("From our atelier, for gold members", "ゴールド会員様限定のアトリエ品"),
    "guide-choosing": ("How to choose well", "失敗しない選び方ガイド"),
    "invite-club": ("Join our club", "会員クラブへのご招待"),
    "offer-ten-percent": ("Ten per cent off today", "本日10%オフ"),
    "products-buy-again": ("Running low?", "そろそろ買い足しませんか"),
    "products-popular": ("Popular near you", "お近くで人気"),
    "question-pet": ("Do you live with a dog or a cat?", "わんちゃん、ねこちゃんはいますか"),
    "status-order": ("Your order", "ご注文の状況"),
    "tip-pet-care": ("Caring for a pet in every season", "季節ごとのペットケア"),
    "video-workshop": ("A look into our workshop", "工房の動画"),
    "mail-care-tips": ("Care tips for your home", "お手入れのヒント"),
    "mail-new-arrivals": ("New this month", "今月の新着"),
    "mail-offer": ("Ten per cent for you", "10%オフクーポン"),
    "mail-replenish": ("Time to stock up", "買い足しのお知らせ"),
}


def customer_table(names: Names) -> pa.Table:
    """All versions of the block's customers: when they join, when they answer, when they unsubscribe."""
    block, world = names.block, names.world
    people, mails, log = block.people, block.mails, block.log
    left = np.full(len(people), NEVER)
    np.minimum.at(left, mails.person, mails.left)
    answered = np.full(len(people), NEVER)
    told = (log.type == EventType.ANSWER) & log.known
    np.minimum.at(answered, log.person[told], log.at[told])
    person = np.tile(np.flatnonzero(people.known), 3)
    third = len(person) // 3
    at = np.concatenate([people.joined[person[:third]], left[person[:third]], answered[person[:third]]])
    versions = np.unique(np.stack([person, at], axis=1)[at < world.calendar.end], axis=0)
    person, at = versions[:, 0], versions[:, 1]
    n = len(person)
    zones = [region.zone for region in world.locale.regions]
    traits = ((people.age * 4 + people.household) * 2 + people.contact) * 2 + people.deal_alerts
    columns = {
        "customer_id": arrow.ids(person, names.customers),
        "valid_from": arrow.instants(at),
        "region": arrow.words(people.region[person], names.regions),
        "attributes": arrow.words(traits[person], _trait_texts()),
        "answers": arrow.words(
            np.where(answered[person] <= at, people.pet[person], -1),
            [orjson.dumps({"pet": pet}).decode() for pet in PETS],
        ),
        "tier": arrow.words(people.tier[person], TIERS),
        "points": arrow.numbers(np.round(people.pace[person] * 100) * (people.tier[person] + 1)),
        "consents": _consents(names, person, at, left),
        "time_zone": arrow.words(people.region[person], zones),
        "channels": pa.array([["web"], ["web", "email"]], pa.list_(pa.string())).take(
            pa.array((people.mails[person] & (left[person] > at)).astype(np.int8))
        ),
        "source": arrow.one_word(n, names.source),
    }
    return arrow.table(CUSTOMERS, n, columns)


def _trait_texts() -> list[str]:
    return [
        orjson.dumps({"age": age, "household": household, "contact": contact, "deal_alerts": alerts}).decode()
        for age in AGES
        for household in HOUSEHOLDS
        for contact in CONTACTS
        for alerts in (False, True)
    ]


def _consents(names: Names, person: Array, at: Array, left: Array) -> pa.Array:
    """What each customer has agreed to, by purpose; the time is that of registration or withdrawal."""
    people = names.block.people
    given = (people.personal[person], people.mails[person] & (left[person] > at), np.ones(len(person), np.bool_))
    moment = [
        pa.compute.strftime(arrow.instants(when), format="%Y-%m-%dT%H:%M:%SZ")
        for when in (people.joined[person], np.where(left[person] <= at, at, people.joined[person]))
    ]
    pieces: list[Any] = []
    for place, (purpose, yes) in enumerate(zip(PURPOSES, given, strict=True)):
        begin = ("{" if place == 0 else ",") + f'"{purpose}":{{"granted":'
        pieces += [begin, arrow.words(yes.astype(np.int8), ["false", "true"]).cast(pa.string())]
        pieces += [',"wording":"2024-10","source":"registration","at":"', moment[int(purpose == "email")], '"}']
    return pa.compute.binary_join_element_wise(*pieces, "}", "")
