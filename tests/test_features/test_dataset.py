"""The dataset: an import is there whole or not at all, and old questions keep their old answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import columns as c
from features import dataset as dataset_module
from features.dataset import Dataset, ImportRecord, Manifest, events_as_of, versions_as_of
from features.errors import DataError
from features.moments import parse_instant
from features.schemas import EVENTS, SCHEMA_VERSION, TABLES

MakeDataset = Callable[..., Dataset]
TEA = {"customer_id": "ann", "item_id": "tea", "at": "2017-03-01"}
COFFEE = {"customer_id": "bob", "item_id": "coffee", "at": "2017-04-01"}


def record(name: str, **fields: object) -> ImportRecord:
    """A record with only what the test is about."""
    return ImportRecord(id=name, source="test", at="2020-01-01T00:00:00Z", **{"parts": {}, **fields})  # type: ignore[arg-type]


def items_at(dataset: Dataset, now: str) -> list[tuple[str, float]]:
    """(item, quantity) of the events known at a moment."""
    query = events_as_of(parse_instant(now), amended=dataset.manifest().amended)
    with dataset.connect() as connection:
        return connection.sql(f"SELECT item_id, quantity FROM ({query}) ORDER BY ALL").fetchall()


def parquet_files(dataset: Dataset) -> set[str]:
    """Relative paths of every Parquet file on disk, committed or not."""
    return {path.relative_to(dataset.root).as_posix() for path in dataset.root.rglob("*.parquet")}


# what is committed


def test_what_is_committed_is_read_back(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Rows come back in the schema of the table, through Arrow and through DuckDB."""
    dataset = make_dataset(tmp_path, events=[TEA, COFFEE], items=[{"item_id": "tea", "category": ["drinks", "tea"]}])
    table = dataset.read("events")
    assert table.schema == EVENTS
    assert sorted(table[c.ITEM_ID].to_pylist()) == ["coffee", "tea"]
    assert dataset.read("items", [c.CATEGORY]).to_pylist() == [{c.CATEGORY: ["drinks", "tea"]}]
    with dataset.connect() as connection:
        assert connection.sql("SELECT count(*) FROM events").fetchall() == [(2,)]
        assert connection.sql("SELECT category[2] FROM items").fetchall() == [("tea",)]


def test_events_lie_in_one_folder_a_month(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Months are cut in UTC, half-open: the last microsecond of March is March."""
    edges = ["2017-03-31T23:59:59.999999Z", "2017-04-01T00:00Z"]
    dataset = make_dataset(tmp_path, events=[{**TEA, "at": at} for at in edges], id="x")
    assert parquet_files(dataset) == {"events/month=2017-03/x.parquet", "events/month=2017-04/x.parquet"}


def test_tables_without_rows_are_empty_not_missing(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Every table can be asked, with all its columns, before anything was imported into it."""
    dataset = make_dataset(tmp_path)
    with dataset.connect() as connection:
        for table, schema in TABLES.items():
            assert connection.sql(f"SELECT * FROM {table}").columns == schema.names
            assert connection.sql(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]
            assert len(dataset.read(table)) == 0


def test_folders_may_have_awkward_names(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Apostrophes, spaces and Japanese in the path do not break the SQL."""
    dataset = make_dataset(tmp_path / "o'neil's shop 店", events=[TEA])
    with dataset.connect() as connection:
        assert connection.sql("SELECT item_id FROM events").fetchall() == [("tea",)]


def test_rows_that_break_the_schema_are_refused(tmp_path: Path) -> None:
    """An event without an id cannot be written."""
    rows = pa.table({name: pa.nulls(1, EVENTS.field(name).type) for name in EVENTS.names})
    with pytest.raises(ValueError, match="non-nullable"):
        Dataset(tmp_path).write_part("events", rows, "x")


# imports are whole or not there


def test_no_dataset_says_what_to_do() -> None:
    """Asking for a manifest where nothing was committed is a DataError with a hint."""
    with pytest.raises(DataError, match="kokyaku import"):
        Dataset(Path("/nonexistent")).manifest()


def test_parts_count_only_when_committed(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Files that a running import has written are not read."""
    dataset = make_dataset(tmp_path, events=[TEA])
    dataset.write_part("events", dataset.read("events"), "half-done")
    assert len(dataset.read("events")) == 1


def test_a_crash_before_the_manifest_leaves_the_old_state(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the commit dies, reads are as before; the next commit removes what was left behind."""
    dataset = make_dataset(tmp_path, events=[TEA], id="first")

    def crash(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset_module, "write_atomically", crash)
        with pytest.raises(KeyboardInterrupt):
            make_dataset(tmp_path, events=[COFFEE], id="killed")
    assert items_at(dataset, "2018-01-01") == [("tea", 1.0)]
    assert any("killed" in path for path in parquet_files(dataset))

    make_dataset(tmp_path, events=[COFFEE], id="second")
    assert items_at(dataset, "2018-01-01") == [("coffee", 1.0), ("tea", 1.0)]
    assert not any("killed" in path for path in parquet_files(dataset))


def test_an_import_is_committed_once(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """The same import id a second time is refused and changes nothing."""
    dataset = make_dataset(tmp_path, events=[TEA], id="x")
    with pytest.raises(DataError, match="already committed"):
        dataset.commit(record("x"))
    assert [each.id for each in dataset.manifest().imports] == ["x"]
    assert len(dataset.read("events")) == 1


def test_a_manifest_never_lists_what_is_not_there(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """A commit whose part is missing is refused, and the old state stays."""
    dataset = make_dataset(tmp_path, events=[TEA])
    with pytest.raises(DataError, match=r"missing; got 'events/gone\.parquet'"):
        dataset.commit(record("x", parts={"events": ["events/gone.parquet"]}))
    assert len(dataset.manifest().imports) == 1


def test_writers_exclude_each_other(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """While one writes its parts, another's commit (which would sweep them) is refused, in any process."""
    dataset = make_dataset(tmp_path, events=[TEA], id="first")
    code = (
        "import sys; from pathlib import Path; from features.dataset import Dataset, ImportRecord\n"
        "from features.errors import DataError\n"
        "try: Dataset(Path(sys.argv[1])).commit(ImportRecord(id='other', source='test', at='', parts={}))\n"
        "except DataError as error: print(error.what)"
    )
    with dataset.writing():
        parts = {"events": dataset.write_part("events", dataset.read("events"), "slow")}
        command = [sys.executable, "-c", code, str(tmp_path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        assert told.strip() == "another command is writing to this dataset"
        dataset.commit(record("slow", parts=parts))
    assert [each.id for each in dataset.manifest().imports] == ["first", "slow"]
    make_dataset(tmp_path, id="third")  # the lock is free again


# replacing parts (erasure)


def test_replaced_parts_are_swapped_and_dropped(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """A rewritten part takes the old one's place, a dropped one is gone, and their files are deleted."""
    dataset = make_dataset(tmp_path, events=[TEA, COFFEE], id="first")
    march, april = dataset.manifest().parts("events")
    rewritten = dataset.read("events").filter(pa.array([True, False])).set_column(
        EVENTS.get_field_index(c.CUSTOMER_ID), EVENTS.field(c.CUSTOMER_ID), pa.array(["erased"])
    )  # fmt: skip
    [new] = dataset.write_part("events", rewritten, "erase-1")
    dataset.commit(record("erase-1"), replaces={march: new, april: None})
    assert dataset.read("events", [c.CUSTOMER_ID]).to_pylist() == [{c.CUSTOMER_ID: "erased"}]
    assert parquet_files(dataset) == {new}
    assert [each.id for each in dataset.manifest().imports] == ["first", "erase-1"]


# what was known when


def test_as_of_is_half_open_in_time_and_closed_in_knowledge(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """As of T means occurred before T and recorded by T."""
    noon = "2017-03-01T12:00Z"
    late = {**TEA, "occurred_at": "2017-02-01", "recorded_at": noon}
    dataset = make_dataset(tmp_path, events=[{**COFFEE, "at": noon}, late])
    assert items_at(dataset, "2017-03-01T11:59:59.999999Z") == []
    assert items_at(dataset, noon) == [("tea", 1.0)]
    assert items_at(dataset, "2017-03-01T12:00:00.000001Z") == [("coffee", 1.0), ("tea", 1.0)]


def test_amendments_rule_from_when_they_were_known(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Totals follow a correction and a cancellation; a read as of an earlier moment sees the old truth."""
    line = {**TEA, "event_id": "e"}
    dataset = make_dataset(tmp_path, events=[line])
    fixed = {**line, "quantity": 2.0, "revision": 1, "recorded_at": "2017-05-01"}
    make_dataset(tmp_path, events=[fixed], amends=True)
    gone = {**line, "withdrawn": True, "revision": 2, "recorded_at": "2017-07-01"}
    make_dataset(tmp_path, events=[gone], amends=True)
    assert dataset.manifest().amended
    assert items_at(dataset, "2017-04-30") == [("tea", 1.0)]
    assert items_at(dataset, "2017-05-01") == [("tea", 2.0)]
    assert items_at(dataset, "2017-07-01") == []


def test_a_correction_may_move_an_event_in_time(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """After a date is corrected to the future of T, T no longer sees the event; it did before it knew."""
    line = {**TEA, "event_id": "e"}
    dataset = make_dataset(tmp_path, events=[line])
    moved = {**line, "revision": 1, "occurred_at": "2017-06-01", "recorded_at": "2017-03-15"}
    make_dataset(tmp_path, events=[moved], amends=True)
    assert items_at(dataset, "2017-03-10") == [("tea", 1.0)]
    assert items_at(dataset, "2017-04-01") == []
    assert items_at(dataset, "2017-06-02") == [("tea", 1.0)]


def test_versions_as_of(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """The latest version at or before T of each item; items that did not exist yet are not there."""
    versions = [("tea", "2017-01-01", 5.0), ("tea", "2017-06-01", 6.0), ("coffee", "2017-06-01", 9.0)]
    items = [{"item_id": item, "valid_from": at, "price": price} for item, at, price in versions]
    dataset = make_dataset(tmp_path, items=items)

    def prices(now: str) -> list[tuple[str, float]]:
        query = versions_as_of("items", parse_instant(now))
        with dataset.connect() as connection:
            return connection.sql(f"SELECT item_id, price FROM ({query}) ORDER BY ALL").fetchall()

    assert prices("2016-12-31") == []
    assert prices("2017-05-31T23:59:59Z") == [("tea", 5.0)]
    assert prices("2017-06-01") == [("coffee", 9.0), ("tea", 6.0)]


# versions of the format


def test_parts_that_lack_a_newer_column_are_read(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """A file of before a column existed reads with nulls there, beside files that have it."""
    dataset = make_dataset(tmp_path, events=[{**TEA, "region": "kanto"}])
    old = dataset.read("events").drop_columns([c.REGION, c.ATTRIBUTES])
    pq.write_table(old.select(old.column_names[::-1]), tmp_path / "events" / "old.parquet")
    dataset.commit(record("old", parts={"events": ["events/old.parquet"]}))
    assert dataset.read("events").schema == EVENTS
    assert dataset.read("events")[c.REGION].to_pylist() == ["kanto", None]
    with dataset.connect() as connection:
        assert connection.sql("SELECT region, item_id FROM events ORDER BY ALL").fetchall() == [
            ("kanto", "tea"),
            (None, "tea"),
        ]


@pytest.mark.parametrize(
    ("table", "newer"),
    [
        ("orders", ["confirmed_for", "pickup_place", "pickup_hours"]),
        ("customers", ["name", "asked", "shown", "projects"]),
    ],
)
def test_files_from_before_carriers_and_names_are_read(
    tmp_path: Path, make_dataset: MakeDataset, table: str, newer: list[str]
) -> None:
    """Both ways of reading give nulls for what the file does not have, beside files that have it."""
    key = {"orders": {"order_id": "o"}, "customers": {"customer_id": "ann"}}[table]
    dataset = make_dataset(tmp_path, **{table: [{**key, "valid_from": 1}]})
    (part,) = dataset.parts(table)
    old = pq.read_table(part, partitioning=None)
    assert set(newer) <= set(old.column_names)
    pq.write_table(old.drop_columns(newer), part)
    told = {name: parse_instant("2020-01-01") if name == "confirmed_for" else "x" for name in newer}
    make_dataset(tmp_path, **{table: [{**key, "valid_from": 2, **told}]})
    read = dataset.read(table).select([c.VALID_FROM, *newer]).sort_by(c.VALID_FROM)
    assert read.schema.names[1:] == newer and read.slice(0, 1).to_pylist()[0][newer[0]] is None
    with dataset.connect() as connection:
        texts = ", ".join(f"{name}::VARCHAR" for name in newer)
        found = connection.sql(f"SELECT {texts} FROM {table} ORDER BY valid_from").fetchall()
    assert found[0] == (None,) * len(newer) and None not in found[1]


def test_a_dataset_of_a_newer_program_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """An old program says so instead of reading half of a newer dataset."""
    dataset = make_dataset(tmp_path)
    newer = msgspec.structs.replace(dataset.manifest(), version=SCHEMA_VERSION + 1)
    dataset.manifest_path.write_bytes(msgspec.json.encode(newer))
    with pytest.raises(DataError, match="newer than this program"):
        dataset.read("events")


def test_a_damaged_manifest_is_one_line(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """A manifest that is no JSON is a DataError that names the file."""
    dataset = make_dataset(tmp_path)
    dataset.manifest_path.write_bytes(b"{half")
    with pytest.raises(DataError, match=r"manifest\.json: a damaged manifest"):
        dataset.manifest()


def test_manifest_adds_up_its_imports() -> None:
    """Parts are listed in the order of imports; flags hold when any import has them."""
    manifest = Manifest(imports=[
        record("a", parts={"events": ["1"], "items": ["2"]}),
        record("b", parts={"events": ["3"]}, amends=True, static_catalogue=True),
    ])  # fmt: skip
    assert manifest.parts("events") == ["1", "3"]
    assert manifest.parts("orders") == []
    assert (manifest.amended, manifest.static_catalogue) == (True, True)
    assert (Manifest().amended, Manifest().static_catalogue) == (False, False)
