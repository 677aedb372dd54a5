"""The memory budget: computed from what is published, told, and refused where it cannot fit; slices that are read."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.compiled import switched
from features.errors import BundleError, ConfigError
from features.history import FIELDS, Histories, History
from features.ids import Vocabulary
from features.moments import DAY
from features.shop import Shop
from serving import histories as history_files
from serving import memory
from serving.artifact import write_artifact
from serving.histories import open_history, overwrite, publish_history, verify_history, write_history
from serving.memory import AN_ITEM, PROGRAM, Room, admit, budget_of, room_of, words
from serving.slices import EVENTS, ColumnSlices, Slices

MIB = 1 << 20


@pytest.fixture
def histories(toy_bundle, history_of) -> Histories:
    """Three subjects with two, none and three events."""
    parts = [history_of(("view", "a0", 3), ("purchase", "b1", 2)), History.empty(),
             history_of(("view", "a1", 9), ("cart", "a2", 8), ("purchase", "a3", 1))]  # fmt: skip
    events = History(*(np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS))
    late = msgspec.structs.replace(events, recorded=events.time + np.array([9 * DAY, 0, 0, 0, 0]))
    return Histories(Vocabulary.of(["c:ann", "c:bob", "c:cat"]), toy_bundle.items, np.array([0, 2, 2, 5]), late)


@pytest.fixture(params=["records", "columns"])
def published(toy_shop, histories, request, tmp_path) -> Shop:
    """The toy shop with a history, as this program writes it or as one of format 2 did: with a file a column."""
    manifest = {"store_id": "s", "store_seq": 0, "as_of": 1, "dataset": None}
    if request.param == "records":
        name = write_history(toy_shop.histories, histories, [], manifest)
    else:
        name = "older"
        people = history_files.people_arrays(histories.subjects, history_files.spooled((), tmp_path))
        arrays = {**histories.arrays(), **people}
        write_artifact(toy_shop.histories / name, arrays, {"kind": "history", "format": 2, **manifest})
    publish_history(toy_shop.histories, name)
    return toy_shop


def equal(one: History, other: History) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "value") for name in FIELDS)


class TestBudget:
    def test_it_counts_what_is_published(self, published) -> None:
        """Every byte of both artefacts' arrays is in one of its parts, and items, factors, customers are theirs."""
        (published.bundles / "older").mkdir()
        (published.bundles / "older" / "items.rows.bin").write_bytes(bytes(MIB))
        budget = budget_of(published)
        assert (budget.items, budget.factors, budget.customers) == (8, 2, 3)
        files = [path for folder in (published.bundles, published.histories) for path in folder.glob("*/*.npy")]
        assert budget.bundle + budget.index + budget.history == sum(path.stat().st_size for path in files)
        assert budget.history == sum(path.stat().st_size for path in files if path.stem in (EVENTS, *FIELDS))
        assert budget.own > PROGRAM + 8 * AN_ITEM
        assert budget.needed == budget.worker + budget.bundle + 8 * AN_ITEM

    def test_a_bundle_of_before_takes_more_of_each_worker(self, toy_shop) -> None:
        """What is made anew when it is opened: pairs of its neighbours and weights, and an index of its vectors."""
        arrays = {path.stem: path.stat().st_size for path in toy_shop.bundles.glob("*/*.npy")}
        anew = [size for name, size in arrays.items() if name.endswith((".indices", ".weights", ".item_factors"))]
        assert len(anew) >= 3
        assert budget_of(toy_shop).own == PROGRAM + 8 * AN_ITEM + sum(anew)
        name = next(name for name in arrays if name.endswith(".item_factors"))
        indexed = {**arrays, f"{name.removesuffix('item_factors')}index.axes": 9}
        assert memory._made_anew(indexed) == sum(anew) - arrays[name]

    def test_a_shop_without_a_history_needs_none(self, toy_shop) -> None:
        budget = budget_of(toy_shop)
        assert (budget.customers, budget.index, budget.history) == (0, 0, 0)

    def test_a_shop_without_a_bundle_says_so(self, tmp_path) -> None:
        with pytest.raises(BundleError, match="no bundle serves yet"):
            budget_of(Shop("none", tmp_path))

    def test_what_fits_is_told_in_one_line(self, published) -> None:
        needed = budget_of(published).needed
        line = admit(published, Room(needed + MIB, "the machine"))
        assert "8 items x 2 factors" in line
        assert "3 customers" in line
        assert "the machine allows" in line
        assert "from the disk" not in line

    def test_events_that_do_not_fit_come_from_the_disk(self, published) -> None:
        """The last byte that is needed fits; of the events nothing does."""
        line = admit(published, Room(budget_of(published).needed, "the container (memory.max)"))
        assert "of the events come from the disk" in line

    def test_what_cannot_fit_is_refused_with_what_to_do(self, published) -> None:
        needed = budget_of(published).needed
        with pytest.raises(ConfigError) as refused:
            admit(published, Room(needed - 1, "the container (memory.max)"))
        line = refused.value.line()
        assert line.startswith("memory: the shop does not fit: ")
        assert "the container (memory.max) allows" in line
        assert f"allow {words(needed)} or more, or publish fewer items" in line

    def test_the_service_is_refused_before_it_starts(self, published) -> None:
        """`kokyaku serve` says so in one line and ends with 2."""
        command = [sys.executable, "-m", "training", "serve", "--dev", "--shop", "toy", "--root", str(published.root)]
        environment = {**os.environ, memory.VARIABLE: "100M"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        assert "KOKYAKU_MEMORY allows 105 MB" in ended.stderr
        assert "Traceback" not in ended.stderr


class TestRoom:
    @pytest.fixture
    def machine(self, tmp_path):
        """Builds the files of a machine of 8 GiB: the process's group, and bounds by their path."""

        def build(own: str = "/", bounds: dict[str, object] = {}) -> dict[str, Path]:  # noqa: B006
            proc, groups = tmp_path / "proc", tmp_path / "groups"
            (proc / "self").mkdir(parents=True)
            (proc / "self/cgroup").write_text(f"4:memory:/old\n0::{own}\n")
            (proc / "meminfo").write_text("MemTotal:  8388608 kB\nMemFree: 1 kB\n")
            for name, value in bounds.items():
                path = groups / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{value}\n")
            return {"proc": proc, "groups": groups}

        return build

    def test_without_a_container_the_machine_bounds(self, machine) -> None:
        assert room_of({}, **machine()) == Room(8 << 30, "the machine")

    def test_where_nothing_can_be_seen_there_is_no_bound(self) -> None:
        assert room_of({}, proc=Path("/nowhere"), groups=Path("/nowhere")) is None

    def test_a_containers_own_bound_is_the_root(self, machine) -> None:
        assert room_of({}, **machine(bounds={"memory.max": 512 * MIB})) == Room(512 * MIB, "the container (memory.max)")

    def test_no_bound_is_no_bound(self, machine) -> None:
        assert room_of({}, **machine(bounds={"memory.max": "max"})) == Room(8 << 30, "the machine")

    def test_the_narrowest_of_all_groups_above_counts(self, machine) -> None:
        files = machine("/slice/pod", {
            "slice/memory.max": 700 * MIB, "slice/pod/memory.max": "max", "slice/pod/memory.high": 900 * MIB,
        })  # fmt: skip
        assert room_of({}, **files) == Room(700 * MIB, "the container (memory.max)")

    def test_where_it_throttles_it_ends(self, machine) -> None:
        files = machine("/pod", {"pod/memory.max": 900 * MIB, "pod/memory.high": 600 * MIB})
        assert room_of({}, **files) == Room(600 * MIB, "the container (memory.high)")

    @pytest.mark.parametrize(("given", "size"), [("1500M", 1500 * MIB), ("1.5 GiB", 1536 * MIB), ("2048", 2048)])
    def test_the_operator_may_bound_it_further(self, machine, given: str, size: int) -> None:
        assert room_of({"KOKYAKU_MEMORY": given}, **machine()) == Room(size, "KOKYAKU_MEMORY")

    @pytest.mark.parametrize("given", ["lots", "-1G", "0", "1.G"])
    def test_what_is_no_size_is_refused(self, given: str) -> None:
        with pytest.raises(ConfigError, match="KOKYAKU_MEMORY: not a size of memory"):
            room_of({"KOKYAKU_MEMORY": given})


class TestSlices:
    def test_what_is_read_is_what_is_mapped(self, published, histories) -> None:
        folder = next(published.histories.glob("*/"))
        read, _ = open_history(folder)
        assert isinstance(read.read, Slices if (folder / f"{EVENTS}.npy").exists() else ColumnSlices)
        assert equal(read.events, histories.events)
        assert all(equal(read.at(row), histories.at(row)) for row in range(3))
        assert len(read.of("c:bob")) == 0
        assert equal(read.of("c:cat"), histories.at(2))

    def test_a_selection_of_events_is_not_read_from_the_file(self, published, histories) -> None:
        """Its events have other numbers than those in the files."""
        read, _ = open_history(next(published.histories.glob("*/")))
        later = read.where(np.array([False, True, True, True, True]))
        assert equal(later.of("c:cat"), histories.at(2))
        assert equal(later.of("c:ann"), histories.at(0).take(slice(1, 2)))

    def test_an_erasure_is_seen_by_who_has_it_open(self, published) -> None:
        folder = next(published.histories.glob("*/"))
        read, _ = open_history(folder)
        assert len(read.of("c:ann")) == 2
        assert overwrite(folder, ["c:ann"]) == (2, 0)
        assert len(read.of("c:ann")) == 0
        assert read.at(0).item.tolist() == [-1, -1]
        assert read.at(0).time.tolist() == read.at(0).key.tolist() == read.at(0).type.tolist() == [0, 0]
        assert np.isnan(read.at(0).value).all()
        verify_history(folder)

    def test_its_files_are_closed_with_it(self, published) -> None:
        def opened() -> int:
            files = {path.resolve() for path in published.histories.glob("*/*.npy")}
            return sum(each.resolve() in files for each in Path("/proc/self/fd").iterdir())

        if not Path("/proc/self/fd").exists():
            pytest.skip("open files are counted in /proc")
        folder = next(published.histories.glob("*/"))
        records = (folder / f"{EVENTS}.npy").exists()
        slices = Slices(folder) if records else ColumnSlices(folder)
        assert opened() == (1 if records else len(FIELDS))
        del slices
        gc.collect()
        assert opened() == 0

    @pytest.mark.parametrize("kernels", [True, False])
    def test_a_file_that_is_too_short_is_told(self, published, kernels) -> None:
        folder = next(published.histories.glob("*/"))
        read, _ = open_history(folder)
        file = next(path for name in (EVENTS, "value") if (path := folder / f"{name}.npy").exists())
        os.truncate(file, file.stat().st_size - 1)
        with switched(kernels), pytest.raises(BundleError, match="ends too early"):
            read.at(2)

    @pytest.mark.parametrize("kernels", [True, False])
    def test_by_when_all_of_it_was_known(self, published, histories, kernels) -> None:
        """The latest instant of its columns, whether whoever read it has looked or not."""
        with switched(kernels):
            read, _ = open_history(next(published.histories.glob("*/")))
            for row in (0, 2):
                expected = max(histories.at(row).time.max(), histories.at(row).recorded.max())
                mine = read.at(row)
                assert mine.last == histories.at(row).last == expected
                assert mine.as_of(expected + 1) is mine
                assert mine.known_by in (expected, None) and histories.at(row).known_by is None
            assert read.at(1).last == 0
