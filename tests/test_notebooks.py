"""The notebooks run from top to bottom, on the simulated shop and on a shop that has hardly anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from features.dataset import Dataset
from features.moments import DAY, HOUR, parse_instant

MakeDataset = Callable[..., Dataset]
FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MISSING = [name for name in ("nbformat", "nbclient", "ipykernel") if find_spec(name) is None]
needs_jupyter = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def read(path: Path) -> Any:
    """A notebook of format 4."""
    import nbformat

    return nbformat.read(path, as_version=4)


def executed(path: Path) -> list[Any]:
    """All outputs of a notebook, run by this very Python in a kernel of its own.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisPython(AsyncKernelManager):
        """Whatever kernels are registered on this machine, ours is the one with our packages."""

        @property
        def kernel_spec(self) -> KernelSpec:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="this Python", language="python")

    notebook = read(path)
    client = NotebookClient(
        notebook, kernel_manager_class=ThisPython, timeout=480, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(outputs: list[Any]) -> int:
    """How many pictures were shown; each must be a picture and not a blank of some bytes."""
    shown = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert all(len(png) > 5_000 for png in shown)
    return len(shown)


@needs_jupyter
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    """What a notebook shows is made where it runs: no stale pictures, no rows of anybody's shop in the source."""
    for cell in read(path).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@needs_jupyter
def test_01_events_on_the_simulated_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six pictures and the audit's table, no error, nothing on stderr."""
    monkeypatch.delenv("KOKYAKU_SHOP_ROOT", raising=False)
    outputs = executed(FOLDER / "01_events.ipynb")
    assert [output for output in outputs if output["output_type"] in ("error", "stream")] == []
    assert pictures(outputs) == 6
    tables = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert any("Order of time" in table for table in tables)


@needs_jupyter
def test_01_events_on_a_bare_shop(tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Purchases alone, without catalogue, customers, categories, prices or wishes: the pictures that can be drawn."""
    start = parse_instant("2025-01-06T15:00Z")
    events = [
        {"customer_id": f"c{n % 9}", "item_id": f"i{n % 7}", "at": start + (n // 3) * DAY + n % 5 * HOUR}
        for n in range(400)
    ]
    make_dataset(tmp_path / "dataset", events=events)
    (tmp_path / "shop.toml").write_text('[shop]\ntime-zone = "Asia/Tokyo"\n', encoding="utf-8")
    monkeypatch.setenv("KOKYAKU_SHOP_ROOT", str(tmp_path))
    outputs = executed(FOLDER / "01_events.ipynb")
    assert [output for output in outputs if output["output_type"] in ("error", "stream")] == []
    assert pictures(outputs) == 5
    told = " ".join(output["data"].get("text/markdown", "") for output in outputs if "data" in output)
    assert "400 events" in told
    assert "local time is Asia/Tokyo" in told
    assert "no wishlists" in told


@needs_jupyter
def test_02_recommendations_on_the_simulated_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pictures and a table, no error, nothing on stderr; what was chosen is told in words."""
    monkeypatch.delenv("KOKYAKU_SHOP_ROOT", raising=False)
    outputs = executed(FOLDER / "02_recommendations.ipynb")
    assert [output for output in outputs if output["output_type"] in ("error", "stream")] == []
    assert pictures(outputs) == 4
    told = " ".join(output["data"].get("text/markdown", "") for output in outputs if "data" in output)
    assert "Chosen on the thirty days before" in told
    assert any("popularity" in output["data"].get("text/html", "") for output in outputs if "data" in output)


@needs_jupyter
def test_03_uplift_on_the_simulated_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five pictures, every check with its verdict, the ruling and the card in two languages."""
    for name in ("KOKYAKU_SHOP_ROOT", "KOKYAKU_EXPERIMENT", "KOKYAKU_OUTCOME"):
        monkeypatch.delenv(name, raising=False)
    outputs = executed(FOLDER / "03_uplift.ipynb")
    assert [output for output in outputs if output["output_type"] in ("error", "stream")] == []
    assert pictures(outputs) == 5
    told = " ".join(output["data"].get("text/markdown", "") for output in outputs if "data" in output)
    assert "permanent holdout" in told
    assert "**The answer:**" in told
    assert "顧客ごとに" in told
    assert any("sample-ratio" in output["data"].get("text/html", "") for output in outputs if "data" in output)


@needs_jupyter
def test_04_pages_on_the_simulated_shop() -> None:
    """Six pictures; the sofa's page moves with the journey; the launch is told with what was said of it before."""
    outputs = executed(FOLDER / "04_pages.ipynb")
    assert [output for output in outputs if output["output_type"] in ("error", "stream")] == []
    assert pictures(outputs) == 6
    told = " ".join(output["data"].get("text/markdown", "") for output in outputs if "data" in output)
    assert "`share-photo` is not shown" in told
    assert "The interval held that day" in told
    assert "**one shop**: the gate let no policy through" in told
    assert "more clicks (+" in told and "none of them other than the static page" in told
    tables = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    moved = next(table for table in tables if "came" in table)
    for action in ("care-sofa", "order-status", "share-photo", "next-room"):
        assert action in moved, action
