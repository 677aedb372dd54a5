"""Batch answers: the ranker's own, as of a moment, for everybody asked about, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features.dataset import Dataset
from features.errors import BundleError, ConfigError, DataError
from features.files import write_atomically
from features.history import customer_subject
from features.moments import parse_instant
from features.shop import Shop
from serving.artifact import publish_live
from serving.bundle import write_bundle
from serving.query import Query
from serving.recipe import Recipe, SourceSpec
from serving.store import Store
from tests.test_serving.grown import AGREED
from training import batch
from training.batch import SCHEMA, answer_all, open_answerer, read_customers, write_answers
from training.catalogue import item_arrays
from training.fitting import Cut, fit_bundle
from training.material import load_material
from training.session import TrainOptions

NOW = parse_instant("2017-06-01")
RECIPE = Recipe(
    "personal-frequency",
    (SourceSpec("popularity", "popularity"), SourceSpec("personal-frequency", "personal-frequency")),
    {"personal-frequency": 1.0},
)
BOUGHT = {
    "ann": [("tea", "2017-05-01"), ("tea", "2017-05-08"), ("cup", "2017-05-08")],
    "bob": [("tea", "2017-05-02"), ("pot", "2017-05-20")],
    "cat": [("tea", "2017-05-03")],
}


@pytest.fixture
def shop(tmp_path: Path, make_dataset: Callable[..., Dataset]) -> Shop:
    """Three customers, three items, nobody held out, a bundle as of June that serves."""
    shop = Shop("toy", tmp_path / "toy")
    events = [
        {"customer_id": who, "item_id": what, "at": at} for who, lines in BOUGHT.items() for what, at in lines
    ]  # fmt: skip
    customers = [{"customer_id": "ann", "region": "Kyoto"}]
    make_dataset(shop.dataset, events=events, customers=customers, items=[{"item_id": "tea", "title": "Green tea"}])
    write_atomically(shop.config, (AGREED + "[model]\nmin-customers = 1\n[shop]\nholdout = 0.0\n").encode())
    publish(shop, NOW)
    return shop


def publish(shop: Shop, moment: int) -> str:
    """Fit and publish a bundle of RECIPE as of a moment, live."""
    dataset = Dataset(shop.dataset)
    from features.build import histories_as_of

    histories = histories_as_of(dataset, moment)
    cut = Cut(histories, moment, min_customers=1)
    bundle = fit_bundle(cut, RECIPE, items=item_arrays(dataset, histories.items, moment))
    write_bundle(shop.bundles / bundle.id, bundle)
    publish_live(shop.bundles, bundle.id)
    return bundle.id


def test_answers_are_the_rankers(shop: Shop) -> None:
    """Items, order, scores and reasons are what the ranker gives for the same history and moment."""
    answerer = open_answerer(shop, as_of=NOW)
    rows = answerer.answer("ann", 3)
    history = answerer.histories.of(customer_subject("ann"))
    slate = answerer.ranker.rank(Query(now=NOW, history=history, num_results=3))
    items = answerer.ranker.bundle.items
    assert [row["item_id"] for row in rows] == [items[int(row)] for row in slate.items] == ["tea", "cup", "pot"]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert [row["source"] for row in rows] == ["personal-frequency", "personal-frequency", "popularity"]
    assert rows[0]["reason"] == "You bought this 2 times, last 24 days ago"
    assert {row["bundle_id"] for row in rows} == {answerer.ranker.bundle.id}


def test_a_customer_nobody_knows_gets_what_is_popular(shop: Shop) -> None:
    """Never an empty answer and never the wrong person's."""
    rows = open_answerer(shop).answer("nobody", 3)
    assert (rows[0]["item_id"], rows[0]["source"]) == ("tea", "popularity")
    assert len(rows) == 3


def test_as_of_sees_nothing_later(shop: Shop, make_dataset: Callable[..., Dataset]) -> None:
    """An event after the moment changes no answer as of it, and changes the answer of today."""
    then = open_answerer(shop, as_of=NOW).answer("cat", 3)
    make_dataset(shop.dataset, events=[{"customer_id": "cat", "item_id": "pot", "at": day} for day in
                                       ("2017-06-02", "2017-06-03", "2017-06-04")])  # fmt: skip
    assert open_answerer(shop, as_of=NOW).answer("cat", 3) == then
    assert open_answerer(shop).answer("cat", 3)[0]["item_id"] == "pot"


def test_as_of_takes_the_latest_bundle_that_does_not_know_the_future(shop: Shop) -> None:
    """With bundles of May and June, the middle of May is answered by May's; before both there is none."""
    may = publish(shop, parse_instant("2017-05-10"))
    june = open_answerer(shop, as_of=NOW).ranker.bundle.id
    assert june != may
    assert open_answerer(shop, as_of=parse_instant("2017-05-15")).ranker.bundle.id == may
    with pytest.raises(ConfigError, match="kokyaku train --as-of 2017-05-01T00:00:00Z"):
        open_answerer(shop, as_of=parse_instant("2017-05-01"))


def test_the_holdout_is_kept_for_mails_and_not_for_judgements(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out customers get what is the same for all; as of a moment of the past nothing is sent to anybody."""
    shop.config.write_text(AGREED + "[model]\nmin-customers = 1\n[shop]\nholdout = 0.5\n")
    monkeypatch.setattr(batch, "in_holdout", lambda _, query, share: share == 0.5 and query.user_id == "ann")
    today, then = open_answerer(shop), open_answerer(shop, as_of=NOW)
    assert {row["source"] for row in today.answer("ann", 3)} == {"popularity"}
    assert today.answer("bob", 3)[0]["source"] == "personal-frequency"
    assert then.answer("ann", 3)[0]["source"] == "personal-frequency"


def test_an_erased_customer_is_forgotten_at_once(shop: Shop) -> None:
    """Before the dataset is rewritten, the tombstone in the store already counts, here and in training."""
    from serving.ops import erase_customer

    Store.open(shop.store, shop.secret).close()
    erase_customer(shop, "ann")
    assert open_answerer(shop).answer("ann", 3)[0]["source"] == "popularity"
    from serving.config import load_config

    material = load_material(shop, load_config(shop.config))
    assert len(material.histories.of(customer_subject("ann"))) == 0
    assert len(material.histories.of(customer_subject("bob"))) == 2


def test_a_withdrawn_item_is_not_recommended(shop: Shop) -> None:
    """What the shop told the service counts in mails of today."""
    store = Store.open(shop.store, shop.secret)
    store.put_items([("tea", {"withdraw": True})], at=NOW)
    store.close()
    assert [row["item_id"] for row in open_answerer(shop).answer("ann", 3)] == ["cup", "pot"]


def test_without_a_bundle_it_says_what_to_do(tmp_path: Path, make_dataset: Callable[..., Dataset]) -> None:
    """One line with the command."""
    shop = Shop("toy", tmp_path)
    make_dataset(shop.dataset, events=[{"customer_id": "ann", "item_id": "tea"}])
    with pytest.raises(BundleError, match="kokyaku train --shop toy"):
        open_answerer(shop)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_files_hold_every_row(shop: Shop, tmp_path: Path, suffix: str) -> None:
    """All columns, customers in the given order, progress told for each."""
    heard: list[int] = []
    out = tmp_path / f"mail{suffix}"
    customers = ["cat", "nobody", "ann"]
    rows = write_answers(out, answer_all(open_answerer(shop), customers, 2, heard.append))
    table = pq.read_table(out) if suffix == ".parquet" else pyarrow.csv.read_csv(out)
    assert (rows, table.num_rows, table.column_names) == (6, 6, SCHEMA.names)
    assert table["customer_id"].to_pylist() == ["cat", "cat", "nobody", "nobody", "ann", "ann"]
    assert table["rank"].to_pylist() == [1, 2] * 3
    assert sum(heard) == 3


def test_an_interrupted_file_is_not_there(shop: Shop, tmp_path: Path) -> None:
    """Half a mailing never lies where the whole one is expected."""
    out = tmp_path / "mail.csv"

    def interrupted(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_answers(out, answer_all(open_answerer(shop), ["ann"], 2, interrupted))
    assert list(tmp_path.glob("*mail*")) == []


@pytest.mark.parametrize(
    ("name", "said"), [("mail.xlsx", "neither .parquet nor .csv"), ("no/mail.csv", "no such folder")]
)
def test_where_it_cannot_write_it_says_so(tmp_path: Path, name: str, said: str) -> None:
    """Before anything is computed."""
    with pytest.raises(ConfigError, match=said):
        write_answers(tmp_path / name, iter(()))


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("ids.txt", "\ufeffann\nbob\n\nann\n 個客 \n", ["ann", "bob", "個客"]),
        ("ids.csv", 'name,customer_id\nx,ann\ny,"b,ob"\n', ["ann", "b,ob"]),
        ("ids.csv", "ann\nbob\n", ["ann", "bob"]),
        ("ids.txt", "001\n1\n", ["001", "1"]),
    ],
)
def test_customer_files(tmp_path: Path, name: str, text: str, ids: list[str]) -> None:
    """One id a line, or a column; each once, as text, never as a number."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_customers(path) == ids


def test_customers_from_parquet(shop: Shop, tmp_path: Path) -> None:
    """The file that an earlier batch wrote is a list of customers too."""
    out = tmp_path / "mail.parquet"
    write_answers(out, answer_all(open_answerer(shop), ["cat", "ann"], 2))
    assert read_customers(out) == ["cat", "ann"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ids.txt", b"\n \n", "no customer id"),
        ("ids.csv", b"a,b\n1,2\n", "no column customer_id"),
        ("ids.txt", "個客".encode("cp932"), "not UTF-8"),
        ("ids.parquet", b"not parquet at all", "not a Parquet file"),
        ("missing.txt", None, "no such file"),
    ],
)
def test_bad_customer_files_are_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    """What is wrong and where."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=said) as raised:
        read_customers(path)
    assert name in raised.value.line()


def test_options_have_the_promised_defaults() -> None:
    """`kokyaku train` without options: everything known, the quick preset, promoted."""
    assert (TrainOptions().as_of, TrainOptions().preset, TrainOptions().promote) == (None, "quick", True)


def test_the_shops_wishes_hold_for_files_too(shop: Shop) -> None:
    """A boost puts the pot before the tea for a stranger, in a file as in an answer over HTTP."""
    wishes = '[[selection.boosts]]\nitem-id = "pot"\nfactor = 100.0\n'
    shop.config.write_text(AGREED + f"[model]\nmin-customers = 1\n[shop]\nholdout = 0.0\n{wishes}", encoding="utf-8")
    assert [row["item_id"] for row in open_answerer(shop).answer("nobody", 3)] == ["pot", "tea", "cup"]


def test_cost_and_tax_reach_the_bundle(shop: Shop, make_dataset: Callable[..., Dataset]) -> None:
    """What an item costs, and 1 / 1.25 of a price with 25 % tax in it; without a rate the whole price is the shop's."""
    told = [
        {
            "item_id": "tea",
            "price": 5.0,
            "unit_cost": 2.0,
            "tax_included": True,
            "tax_rate": 0.25,
            "valid_from": "2017-02-01",
        },
        {"item_id": "cup", "price": 8.0, "unit_cost": 3.0, "tax_included": False, "tax_rate": 0.25},
        {"item_id": "pot", "price": 9.0},
    ]
    make_dataset(shop.dataset, items=told)
    publish(shop, NOW + 1)
    bundle = open_answerer(shop).ranker.bundle
    rows = [bundle.items.row(name) for name in ("tea", "cup", "pot")]
    assert bundle.arrays["item.unit_cost"][rows].tolist() == pytest.approx([2.0, 3.0, np.nan], nan_ok=True)
    assert bundle.arrays["item.net_share"][rows].tolist() == pytest.approx([0.8, 1.0, 1.0])


def test_who_has_not_agreed_gets_what_is_the_same_for_all(shop: Shop) -> None:
    """Without a basis and without a consent nothing of a customer's past is looked at; a refusal counts always."""
    answerer = open_answerer(shop)

    def items(of: batch.Answerer, customer: str) -> list[str]:
        return [row["item_id"] for row in of.answer(customer, 3)]

    stranger = items(answerer, "nobody")
    assert items(answerer, "bob") != stranger
    assert items(replace(answerer, assumed=False), "bob") == stranger
    assert items(replace(answerer, assumed=False, agreed={"bob": True}), "bob") != stranger
    assert items(replace(answerer, agreed={"bob": False}), "bob") == stranger


def test_a_refusal_counts_before_the_next_sync_and_after_the_last_event(shop: Shop, make_dataset) -> None:
    """What the service was told today, and what a file says of a day on which nothing was bought."""
    store = Store.open(shop.store, shop.secret)
    refused = {"consents": {"personalization": {"granted": False}}}
    store.put_customer("bob", refused, NOW)
    store.put_customer("cat", {"guest": refused}, NOW)
    store.close()
    row = {"customer_id": "ann", "consents": '{"personalization": {"granted": false}}', "valid_from": NOW + 1}
    make_dataset(shop.dataset, customers=[row])
    answerer = open_answerer(shop)
    assert answerer.now <= NOW and answerer.agreed == {"ann": False, "bob": False, "cat": False}
    assert open_answerer(shop, as_of=answerer.now).agreed == {}
