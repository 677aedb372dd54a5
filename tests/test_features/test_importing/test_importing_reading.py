"""Reading files: encodings, compression, quotes, damaged rows; one bad row costs one row."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.importing import delimited
from features.importing.blocks import Block, blocks_of, guess_encoding
from features.importing.delimited import Dialect, open_delimited, read_delimited, unique_names

ROW = "o1,2024-01-05 10:00,ann,tea,1,100"


def read_all(path: Path, **options: Any) -> tuple[list[tuple[Any, ...]], list[tuple[int, str]]]:
    """All rows of a CSV file, and (place, reason) of the bad ones; places count over the whole file."""
    dialect, blocks = open_delimited(path, **options)
    rows: list[tuple[Any, ...]] = []
    bad: list[tuple[int, str]] = []
    start = 0
    for block in blocks:
        raw = read_delimited(block, dialect)
        rows += [tuple(row.values()) for row in raw.rows.to_pylist()]
        bad += [(start + row.at, row.reason) for row in raw.bad]
        start += raw.read
    return rows, bad


def test_cp932_is_recognised(till: Any) -> None:
    """A file of a Japanese system, second bytes like backslash and vertical bar included."""
    text = '注文,日時,会員,商品,数量,単価\nA,2024-01-05 10:00,表示,ソ能|予,２,"￥1,980"\n'
    columns = {
        "order_id": "注文", "occurred_at": "日時", "customer_id": "会員", "item_id": "商品", "quantity": "数量",
        "unit_price": "単価",
    }  # fmt: skip
    till.run(till.file(text.encode("cp932")), columns=columns)
    assert till.events() == [("表示", "ソ能|予", 2.0)]


def test_a_byte_order_mark_is_no_part_of_the_first_name(till: Any) -> None:
    """UTF-8 with and without it are the same file."""
    text = f"order,time,who,what,qty,price\n{ROW}\n".encode()
    first = till.run(till.file(b"\xef\xbb\xbf" + text))
    again = till.run(till.file(text), encoding="utf-8-sig")
    assert (first.added, again.added) == (1, 0)


def test_the_encoding_is_settled_by_what_fails_less() -> None:
    """UTF-8 with one broken line stays UTF-8; what CP932 reads better is CP932; doubt is UTF-8."""
    assert guess_encoding("緑茶\n急須\n".encode() + b"\xff\xfe\n") == "utf-8"
    assert guess_encoding("緑茶\n急須\n".encode() + "茶\n".encode("cp932")) == "utf-8"
    assert guess_encoding("緑茶\n急須\n".encode("cp932")) == "cp932"
    assert guess_encoding(b"\xff\xff\n") == "utf-8"


def test_bytes_that_no_encoding_reads_cost_their_row(till: Any) -> None:
    """The row goes to quarantine with the bytes written out; its neighbours are imported."""
    content = (
        f"order,time,who,what,qty,price\n{ROW}\n".encode()
        + b"o2,2024-01-05 10:00,b\xffb,tea,1,1\n"
        + ("o3,2024-01-05 10:00,茶々,tea,1,1\n".encode())
    )
    report = till.run(till.file(content))
    (bad,) = till.quarantine(report)
    assert (bad["row_number"], bad["reason"]) == (2, "bad-encoding")
    assert r"b\xffb" in bad["raw"]
    assert [row[0] for row in till.events()] == ["ann", "茶々"]


def test_utf_16_is_named(till: Any) -> None:
    """Instead of a hundred thousand strange rows."""
    with pytest.raises(DataError, match="UTF-16"):
        till.run(till.file("order,time\n".encode("utf-16")))


def test_gzip_is_told_by_its_first_bytes(till: Any) -> None:
    """Whatever its name; the same rows are already there afterwards."""
    text = f"order,time,who,what,qty,price\n{ROW}\n"
    assert till.run(till.file(gzip.compress(text.encode()), suffix=".csv.gz")).added == 1
    assert till.run(till.file(text)).added == 0


def test_a_damaged_gzip_imports_nothing(till: Any) -> None:
    """A download that stopped is an error, not a short file."""
    whole = gzip.compress(f"order,time,who,what,qty,price\n{ROW}\n".encode() * 500)
    with pytest.raises(DataError, match="compressed file is damaged"):
        till.run(till.file(whole[:-20]))
    assert not till.dataset.exists()


@pytest.mark.parametrize("content", ["", "\n\n", "\r\n"])
def test_an_empty_file_is_an_error(till: Any, content: str) -> None:
    """Nothing to import is probably a mistake."""
    with pytest.raises(DataError, match="empty"):
        till.run(till.file(content))


def test_a_header_without_rows_is_no_error(till: Any) -> None:
    """A day without orders."""
    assert till.lines().tables["events"].read == 0
    assert not till.dataset.exists()


def test_rows_with_wrong_numbers_of_fields(tmp_path: Path) -> None:
    """Too few and too many, in the middle and at the end, with a missing last line break."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n3\n4,5\n\n6,7,8\r\n9,10")
    assert read_all(path) == ([("1", "2"), ("4", "5"), ("9", "10")], [(1, "bad-row"), (3, "bad-row")])


def test_line_breaks_inside_quotes(tmp_path: Path) -> None:
    """A field over two lines is one field, and quotes inside are doubled."""
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,"two\nlines"\n2,"say ""hi"""\n')
    assert read_all(path) == ([("1", "two\nlines"), ("2", 'say "hi"')], [])


@pytest.mark.parametrize(
    ("stray", "bad"),
    [('2,"open', [(1, "bad-row")]), ('2,12" nails', []), ('2,"a"b', [(1, "bad-row")]), ('"', [(1, "bad-row")])],
)
def test_a_stray_quote_swallows_nobody(tmp_path: Path, stray: str, bad: list[tuple[int, str]]) -> None:
    """Its own row may be lost; the rows after it are read, even where a later quote seems to close it."""
    path = tmp_path / "x.csv"
    path.write_text(f'a,b\n1,x\n{stray}\n3,y\n4,"z"\n5,w\n')
    rows, found = read_all(path)
    assert [row for row in rows if row[0] != "2"] == [("1", "x"), ("3", "y"), ("4", "z"), ("5", "w")]
    if stray == '2,"a"b':  # lenient readers take it for ab
        assert found in ([], bad)
    else:
        assert found == bad


FIELDS = st.text(st.sampled_from('ab",;\n\u3042 '), max_size=5)


@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=12), st.integers(20, 60), st.sampled_from(",;"))
def test_what_a_csv_writer_writes_is_read(rows: list[tuple[str, str]], size: int, delimiter: str) -> None:
    """Any content, cut into blocks anywhere: every row comes back, in order."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    data = buffer.getvalue().encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_bytes(data)
        found = []
        for block in blocks_of(path, size=size):
            raw = read_delimited(block, Dialect(("a", "b"), delimiter))
            assert not raw.bad
            found += [(row["a"] or "", row["b"] or "") for row in raw.rows.to_pylist()]
    assert found == rows


@given(st.lists(st.text(st.sampled_from("ab,\"'\n\x80é"), max_size=8), max_size=8), st.integers(3, 30))
def test_nothing_is_lost_of_garbage(lines: list[str], size: int) -> None:
    """Whatever the bytes, reading neither fails nor hangs, and the careful way counts as the fast way does."""
    data = "\n".join(lines).encode("latin-1")
    block = Block(data, "utf-8")
    dialect = Dialect(("a", "b"))
    careful = delimited._read_carefully(block, dialect)
    assert sorted([*careful.at.tolist(), *(row.at for row in careful.bad)]) == list(range(careful.read))
    either = read_delimited(block, dialect)
    assert sorted([*either.at.tolist(), *(row.at for row in either.bad)]) == list(range(either.read))


def test_lines_that_end_with_a_carriage_return_alone(till: Any) -> None:
    """As spreadsheets on old Macs write them."""
    assert till.run(till.file(f"order,time,who,what,qty,price\r{ROW}\r{ROW}x\r")).tables["events"].read == 2


def test_a_file_without_line_breaks_is_read_in_pieces(tmp_path: Path) -> None:
    """Memory does not grow with what is no table at all."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"x" * 1_000)
    pieces = [block.data for block in blocks_of(path, size=10)]
    assert b"".join(pieces) == b"x" * 1_000
    assert max(map(len, pieces)) <= 50


def test_repeated_and_empty_names() -> None:
    """Each column can be named in a mapping."""
    assert unique_names(["a", "a", "", "a"]) == ("a", "a.2", "column 3", "a.3")


def test_a_file_without_a_header(till: Any) -> None:
    """The mapping names its columns."""
    names = ["order", "time", "who", "what", "qty", "price"]
    assert till.run(till.file(ROW + "\n"), header=False, column_names=names).added == 1


def test_tabs_and_semicolons(till: Any) -> None:
    """Any one character separates."""
    for delimiter in "\t;|":
        text = f"order,time,who,what,qty,price\n{ROW}\n".replace(",", delimiter)
        till.run(till.file(text), delimiter=delimiter)
    assert len(till.events()) == 1


JSON = '{"order": "o1", "time": "2024-01-05T10:00:00Z", "who": {"id": "ann"}, "what": "tea", "qty": 2, "price": 1.5}'


def test_json_lines(till: Any) -> None:
    """Numbers and nested values by pointer; broken lines and other values go to quarantine."""
    columns = {
        "order_id": "order",
        "occurred_at": "time",
        "customer_id": "/who/id",
        "item_id": "what",
        "quantity": "qty",
    }
    lines = [JSON, "", "{broken", "[1, 2]", JSON.replace("ann", "茶").replace("2,", "null,")]
    report = till.run(till.file("\n".join(lines), ".jsonl"), form="jsonl", columns=columns)
    assert till.events() == [("ann", "tea", 2.0), ("茶", "tea", None)]
    assert [(row["row_number"], row["reason"]) for row in till.quarantine(report)] == [(2, "bad-row"), (3, "bad-row")]


def test_the_raw_row_of_json_lines_is_the_line(till: Any) -> None:
    """Quarantine keeps what the mapping did not ask for."""
    columns = {"occurred_at": "time", "customer_id": "/who/id", "item_id": "what"}
    line = JSON.replace("2024-01-05T10:00:00Z", "soon")
    report = till.run(till.file(line), form="jsonl", columns=columns)
    assert till.quarantine(report)[0]["raw"]["price"] == 1.5


def test_bad_bytes_in_json_lines(till: Any) -> None:
    """One line, one row of quarantine."""
    columns = {"occurred_at": "time", "customer_id": "/who/id", "item_id": "what"}
    content = JSON.encode() + b'\n{"what": "\xff"}\n' + JSON.replace("ann", "茶").encode()
    report = till.run(till.file(content), form="jsonl", columns=columns)
    assert report.reasons == {"bad-encoding": 1}
    assert report.added == 2


def test_parquet(till: Any) -> None:
    """Typed columns: integers as ids, timestamps, floats that are whole ids, categories."""
    import datetime

    table = pa.table(
        {
            "order": pa.array([1, 2]),
            "time": pa.array([datetime.datetime(2024, 1, 5, 10), None], pa.timestamp("ns")),
            "who": pa.array([17850.0, 3.0]),
            "what": pa.array(["tea", "tea"]).dictionary_encode(),
            "qty": pa.array([2, 1], pa.int8()),
            "price": pa.array([1.5, 1.0], pa.float32()),
        }
    )
    path = till.root / "x.parquet"
    pq.write_table(table, path)
    report = till.run(path, form="parquet")
    assert till.events() == [("17850", "tea", 2.0)]
    (bad,) = till.quarantine(report)
    assert (bad["row_number"], bad["reason"], bad["raw"]["order"]) == (2, "missing-time", 2)


def test_what_is_no_parquet_is_said_to_be_none(till: Any) -> None:
    """One line that names the file."""
    with pytest.raises(DataError, match="not a readable Parquet file"):
        till.run(till.file("a,b\n"), form="parquet")


def test_a_column_of_an_unsuitable_type_is_the_mappings_fault(till: Any) -> None:
    """A list is no customer id."""
    path = till.root / "x.parquet"
    pq.write_table(pa.table({"who": [["a"]], "what": ["t"], "time": ["2024-01-05"]}), path)
    columns = {"customer_id": "who", "item_id": "what", "occurred_at": "time"}
    with pytest.raises(ConfigError, match="unsuitable type"):
        till.run(path, form="parquet", columns=columns)


def test_a_missing_column_is_named_with_the_nearest(till: Any) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigError, match=r"no such column.*'whom'.*did you mean who\?"):
        till.lines(ROW, columns={"customer_id": "whom", "occurred_at": "time", "item_id": "what"})
    with pytest.raises(DataError, match="no such file"):
        till.run(till.root / "nowhere.csv")
