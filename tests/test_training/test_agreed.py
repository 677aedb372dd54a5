"""Consent to training filters rows before anything is fitted: the rule of `training.agreed`, case by case."""

from __future__ import annotations

import json

import pytest

from features.build import histories_as_of
from features.errors import DataError
from features.moments import parse_instant
from features.shop import Shop
from serving.config import ShopConfig, read_config
from serving.tombstones import Erased
from training.agreed import agreed_only
from training.delivery_lines import read_lines
from training.material import load_material
from training.questions import answers_of

NOW = parse_instant("2020-01-01")
YES, NO = json.dumps({"training": {"granted": True}}), json.dumps({"training": {"granted": False}})
OTHER = json.dumps({"marketing": {"granted": True}})


@pytest.fixture
def told(make_dataset, tmp_path):
    def make(**consents: str):
        customers = [{"customer_id": who, "consents": said} for who, said in consents.items()]
        events = [{"customer_id": who, "item_id": "tea"} for who in ("yes", "no", "other", "silent")]
        events.append({"visitor_id": "v", "item_id": "tea"})
        return make_dataset(tmp_path / "dataset", events=events, items=[{"item_id": "tea"}], customers=customers)

    return make


def left_in(dataset, *assumed: str) -> set[str]:
    histories = histories_as_of(dataset, NOW)
    found, _ = agreed_only(dataset, histories, assumed, NOW)
    return {subject for subject in found.subjects if len(found.of(subject))}


def test_where_consents_are_recorded_unknown_is_no(told) -> None:
    dataset = told(yes=YES, no=NO, other=OTHER)
    assert left_in(dataset) == {"c:yes", "v:v"}


def test_another_basis_takes_in_everybody_but_who_refused(told) -> None:
    dataset = told(yes=YES, no=NO, other=OTHER)
    assert left_in(dataset, "training") == {"c:yes", "c:other", "c:silent", "v:v"}


def test_a_shop_that_records_no_such_consent_has_nothing_to_go_by(told) -> None:
    assert left_in(told(other=OTHER)) == {"c:yes", "c:no", "c:other", "c:silent", "v:v"}


def test_later_consents_are_not_known(make_dataset, tmp_path) -> None:
    versions = [
        {"customer_id": "ann", "consents": NO, "valid_from": "2017-01-01"},
        {"customer_id": "ann", "consents": YES, "valid_from": "2017-06-01"},
    ]
    dataset = make_dataset(
        tmp_path / "d",
        events=[{"customer_id": "ann", "item_id": "tea"}],
        items=[{"item_id": "tea"}],
        customers=versions,
    )
    histories = histories_as_of(dataset, NOW)
    moment = 1_490_000_000_000_000
    assert not len(agreed_only(dataset, histories, (), moment)[0].events)
    assert len(agreed_only(dataset, histories, (), NOW)[0].events)


def test_the_run_says_who_is_left_out_and_refuses_when_nobody_is_left(told, tmp_path) -> None:
    told(yes=NO, no=NO, other=NO, silent=NO)
    shop = Shop("toy", tmp_path)
    material = load_material(shop, ShopConfig())
    assert material.notes[0] == "4 of 4 customers have not agreed to be learned from: left out."
    config = read_config('[consent]\nassumed = ["training"]\nbasis = "terms"', "shop.toml")
    assert "4 of 4" in load_material(shop, config).notes[0]


def test_nobody_at_all(make_dataset, tmp_path) -> None:
    make_dataset(
        tmp_path / "dataset", events=[{"customer_id": "ann", "item_id": "tea"}], items=[{"item_id": "tea"}],
        customers=[{"customer_id": "ann", "consents": NO}],
    )  # fmt: skip
    with pytest.raises(DataError, match="nobody has agreed"):
        load_material(Shop("toy", tmp_path), ShopConfig())


def test_a_refusal_counts_at_once_also_when_nothing_happened_since(make_dataset, tmp_path) -> None:
    """A run without a moment of its own ends at the last event, and knows what was told after it."""
    make_dataset(
        tmp_path / "dataset", events=[{"customer_id": who, "item_id": "tea"} for who in ("ann", "bob")],
        items=[{"item_id": "tea"}], customers=[{"customer_id": "ann", "consents": NO, "valid_from": NOW}],
    )  # fmt: skip
    config = read_config('[consent]\nassumed = ["training"]\nbasis = "terms"', "shop.toml")
    material = load_material(Shop("toy", tmp_path), config)
    assert material.as_of < NOW and material.unlearned("c:ann") and not material.unlearned("c:bob")
    assert not len(material.histories.of("c:ann")) and len(material.histories.of("c:bob"))
    assert not load_material(Shop("toy", tmp_path), config, material.as_of).unlearned("c:ann")


def test_another_ground_or_another_time_of_telling_is_other_data(make_dataset, tmp_path) -> None:
    """What was fitted, or published, from some people's events does not stand for what others' would give."""
    make_dataset(
        tmp_path / "dataset", events=[{"customer_id": who, "item_id": "tea"} for who in ("ann", "bob")],
        items=[{"item_id": "tea"}], customers=[{"customer_id": "ann", "consents": NO, "valid_from": NOW}],
    )  # fmt: skip
    shop = Shop("toy", tmp_path)
    declared = read_config('[consent]\nassumed = ["training"]\nbasis = "terms"', "shop.toml")
    more = read_config('[consent]\nassumed = ["training", "marketing"]\nbasis = "terms"', "shop.toml")
    material = load_material(shop, declared)
    hashes = {
        material.data_hash, load_material(shop, more).data_hash,
        load_material(shop, declared, material.as_of).data_hash,
    }  # fmt: skip
    assert len(hashes) == 3
    assert load_material(shop, declared).data_hash == material.data_hash


def test_who_is_erased_is_read_once(make_dataset, tmp_path, monkeypatch) -> None:
    """An erasure while a training reads: what it read before stands under the hash of before, not of after."""
    make_dataset(
        tmp_path / "dataset", events=[{"customer_id": "ann", "item_id": "tea"}], items=[{"item_id": "tea"}],
        customers=[{"customer_id": "ann", "consents": YES}],
    )  # fmt: skip
    shop, read = Shop("toy", tmp_path), []
    expected = load_material(shop, ShopConfig()).data_hash

    def growing(of: Shop) -> Erased:
        read.append(of)
        return Erased(b"", [bytes([n]) for n in range(len(read) - 1)])

    monkeypatch.setattr("training.material.erased_of", growing)
    assert load_material(shop, ShopConfig()).data_hash == expected
    assert read == [shop]


def test_nothing_of_those_who_refused_is_in_any_table_of_a_bundle(make_dataset, tmp_path) -> None:
    """Answers, what they are worth, and deliveries, beside the histories."""
    answer = {"type": "answer", "attributes": '{"question": "pet", "answer": "fish"}'}
    order = {"order_id": "o", "item_id": "tea", "shipment_state": "confirmed"}
    make_dataset(
        tmp_path / "dataset",
        events=[{"customer_id": "no", **answer}, {"customer_id": "yes", "item_id": "tea"}],
        items=[{"item_id": "tea"}],
        orders=[
            {**order, "customer_id": "no", "valid_from": 1},
            {**order, "shipment_state": "shipped", "valid_from": 2},
        ],
        customers=[{"customer_id": "no", "consents": NO}, {"customer_id": "yes", "consents": YES}],
    )
    material = load_material(Shop("toy", tmp_path), ShopConfig())
    assert answers_of(material.dataset, NOW, "UTC") and read_lines(material.dataset, NOW)
    assert not answers_of(material.dataset, NOW, "UTC", erased=material.unlearned)
    assert not read_lines(material.dataset, NOW, material.unlearned), "a line is his whichever step names him"
