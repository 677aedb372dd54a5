"""`kokyaku bench import`: rows a second and peak memory of an import, at N rows and at 4 N.

Each import runs in a process of its own, so that its peak memory is its own. The rows are made up (seeded, the same on
every machine): order lines of a shop in Tokyo, one year, in the order of time.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import typer

from features.moments import DAY, SECOND, parse_instant
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import JsonOption, console

START = parse_instant("2024-01-01")
NOW = parse_instant("2025-06-01")
GROWTH = 4
CHUNK = 200_000
MAPPING = {
    "source": "bench",
    "format": "csv",
    "time_zone": "Asia/Tokyo",
    "columns": {
        "occurred_at": "ordered", "customer_id": "member", "item_id": "sku", "quantity": "qty", "unit_price": "price",
        "order_id": "order",
    },
    "constants": {"type": "purchase"},
}  # fmt: skip


def command(
    rows: Annotated[int, typer.Option(min=1_000, help="Rows of the small file; the large one has four times more.")] = (
        500_000
    ),
    json_file: JsonOption = None,
) -> None:
    """Import made-up order lines and measure rows a second, peak memory and how it grows with the file.

    Examples:

      kokyaku bench import

      kokyaku bench import --rows 2000000 --json import.json
    """
    with tempfile.TemporaryDirectory(prefix="kokyaku-bench-") as folder, console.status("importing"):
        small, large = (measure(Path(folder), count) for count in (rows, rows * GROWTH))
    found = [*_rows(rows, small), *_rows(rows * GROWTH, large)]
    ratio = large["peak_mb"] / small["peak_mb"]
    found.append(Row("import", f"{rows}->{rows * GROWTH}", "import", "kokyaku", "memory-growth", ratio))
    print_rows(console, found, "Import")
    if json_file is not None:
        write_rows(json_file, found)


def _rows(count: int, measured: dict[str, float]) -> list[Row]:
    figures = {
        "rows-per-second": (count / measured["seconds"], "rows/s"),
        "processor-time": (measured["cpu"] / count * 1e6, "us/row"),
        "peak-memory": (measured["peak_mb"], "MiB"),
        "again-rows-per-second": (count / measured["again_seconds"], "rows/s"),
        "again-peak-memory": (measured["again_peak_mb"], "MiB"),
    }
    return [
        Row("import", str(count), "import", "kokyaku", metric, value, unit=unit)
        for metric, (value, unit) in figures.items()
    ]


def measure(folder: Path, count: int) -> dict[str, float]:
    """Make a file, import it, and import it again, each in a fresh process; seconds and peak memory of both."""
    file = folder / f"{count}.csv"
    write_orders(file, count)
    first, again = (_in_process(file, folder / f"dataset-{count}") for _ in range(2))
    file.unlink()
    return {**first, **{f"again_{name}": value for name, value in again.items()}}


def _in_process(file: Path, folder: Path) -> dict[str, float]:
    arguments = [sys.executable, "-m", "training.bench.importing", str(file), str(folder)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def write_orders(path: Path, count: int, seed: int = 1) -> None:
    """Order lines as CSV: three lines an order, prices in yen, popular and rare items.

    Args:
        path: the file to write.
        count: lines.
        seed: of the generator; the same seed gives the same bytes.
    """
    generator = np.random.default_rng(seed)
    schema = pa.schema([(name, pa.string()) for name in ("order", "ordered", "member", "sku", "qty", "price")])
    with pa_csv.CSVWriter(path, schema) as writer:
        for start in range(0, count, CHUNK):
            writer.write_table(_lines(generator, start, min(count, start + CHUNK), count, schema))


def _lines(generator: np.random.Generator, start: int, stop: int, count: int, schema: pa.Schema) -> pa.Table:
    order = np.arange(start, stop) // 3
    moment = START // SECOND + (order * 3 * 365 * (DAY // SECOND)) // count
    wall = pc.strftime(pa.array(moment, pa.timestamp("s")), format="%Y-%m-%d %H:%M:%S")
    item = np.minimum(generator.pareto(1.1, stop - start) * 20, 50_000).astype(np.int64)
    columns = [
        pc.binary_join_element_wise("o", pa.array(order).cast(pa.string()), ""),
        wall,
        pc.binary_join_element_wise("m", pa.array(order * 7_919 % 100_003).cast(pa.string()), ""),
        pc.binary_join_element_wise("sku-", pa.array(item).cast(pa.string()), ""),
        pa.array(generator.integers(1, 5, stop - start)).cast(pa.string()),
        pa.array(generator.integers(1, 500, stop - start) * 10).cast(pa.string()),
    ]
    return pa.table(columns, schema=schema)


def _import_once(file: Path, folder: Path) -> dict[str, float]:
    from features.dataset import Dataset
    from features.importing import open_source, parse_mapping, run_import

    began, worked = time.perf_counter(), time.process_time()
    run_import(Dataset(folder), open_source("csv", file, parse_mapping(MAPPING)), now=NOW)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes on macOS, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked, "peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(_import_once(Path(sys.argv[1]), Path(sys.argv[2]))))
