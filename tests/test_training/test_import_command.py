"""`kokyaku import` as its users meet it: what it prints, what it writes, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from features.dataset import Dataset
from training.cli import main

ORDERS = "order,date,member,sku,qty,price\no1,2024-01-05 10:00,ann,tea,2,100\no1,2024-01-05 10:00,ann,cup,1,bad\n"
MAPPING = """
source = "till"
time_zone = "UTC"
[columns]
order_id = "order"
occurred_at = "date"
customer_id = "member"
item_id = "sku"
quantity = "qty"
unit_price = "price"
[constants]
type = "purchase"
"""


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files in the working folder, and the arguments that import them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "orders.toml").write_text(MAPPING)
    return ["import", "csv", "--path", "orders.csv", "--mapping", "orders.toml", "--shop", "mine"]


def run(arguments: list[str]) -> int:
    """The exit code."""
    try:
        main(arguments)
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def test_an_import_says_where_the_rows_went(
    orders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts, reasons, totals by month, and where quarantine lies."""
    assert run(orders) == 0
    printed = capsys.readouterr().out
    for words in ("Import of till", "quarantined 1 bad-number", "2024-01", "200.00", "quarantine/", "imported as"):
        assert words in printed
    assert len(Dataset(tmp_path / "shops" / "mine" / "dataset").read("events")) == 1
    assert run(orders) == 0
    assert "nothing new" in capsys.readouterr().out


def test_several_files_in_one_command(orders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, so that overlapping exports do not count twice."""
    (tmp_path / "later.csv").write_text(ORDERS + "o2,2024-02-05 10:00,bob,tea,1,100\n")
    assert run([*orders, "--path", "later.csv"]) == 0
    assert capsys.readouterr().out.count("imported as") == 2
    assert len(Dataset(tmp_path / "shops" / "mine" / "dataset").read("events")) == 2


def test_the_moment_of_the_import_is_an_option(orders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And is recorded."""
    assert run([*orders, "--now", "2023-01-01"]) == 0
    assert "future-time" in capsys.readouterr().out


def test_inspecting_writes_a_mapping_that_imports(
    orders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proposal, the rows as read, what to check; the shop is not touched."""
    assert run(["import", "--inspect", "orders.csv", "--write-mapping", "proposed.toml", "--shop", "mine"]) == 0
    printed = capsys.readouterr().out
    for words in ("occurred_at", "would quarantine 1 of 2 rows", "check:", "proposed.toml"):
        assert words in printed
    assert not (tmp_path / "shops").exists()
    assert run([*orders[:5], "proposed.toml", "--shop", "mine"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import"], "what to import?"),
        (["import", "cvs"], "did you mean csv?"),
        (["import", "csv", "--path", "orders.csv"], "a mapping is needed"),
        (["import", "csv", "--mapping", "orders.toml"], "add --path FILE"),
        (["import", "csv", "--path", "none.csv", "--mapping", "orders.toml"], "no such file"),
        (["import", "csv", "--path", "orders.csv", "--mapping", "none.toml"], "cannot read the mapping"),
        (["import", "jsonl", "--path", "orders.csv", "--mapping", "csv.toml"], "say: kokyaku import csv"),
        (["import", "pairs", "--path", "orders.csv"], "add --type purchase"),
        (["import", "csv", "--now", "soon"], "not a time"),
    ],
)
def test_every_mistake_costs_one_line(
    orders: list[str], tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What, where, got, what to do; exit code 2; no traceback."""
    (tmp_path / "csv.toml").write_text('format = "csv"\n' + MAPPING)
    assert run(arguments) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Every source is shown once."""
    assert run(["import", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("complete-journey", "online-retail", "--inspect", "pairs", "personalize"))


def test_the_bench_measures_speed_and_memory(tmp_path: Path) -> None:
    """Rows in the common shape, the growth of memory among them; the made-up file is the same every time."""
    from training.bench import importing

    importing.command(rows=1_000, json_file=tmp_path / "import.json")
    rows = {(row["data"], row["metric"]): row["value"] for row in json.loads((tmp_path / "import.json").read_text())}
    assert rows["1000", "rows-per-second"] > 0
    assert 0.5 < rows["1000->4000", "memory-growth"] < 2
    for name in ("a.csv", "b.csv"):
        importing.write_orders(tmp_path / name, 500)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_on_what_ground_data_may_be_used(orders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without consents the import says so; with a basis it stands in the shop's first file, for everybody to see."""
    from serving.config import load_config

    assert run(orders) == 0
    assert "No consent to personalization is recorded" in capsys.readouterr().out
    path = tmp_path / "shops" / "mine" / "shop.toml"
    assert not path.exists()
    assert run([*orders, "--basis", 'terms of "2024", section 4']) == 0
    assert "No consent" not in capsys.readouterr().out
    consent = load_config(path).consent
    assert (set(consent.assumed), consent.basis) == ({"personalization", "training"}, 'terms of "2024", section 4')
    before = path.read_text()
    assert run([*orders, "--basis", "another"]) == 0
    assert "write the basis into its table" in capsys.readouterr().out and path.read_text() == before
