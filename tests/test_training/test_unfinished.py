"""A training that is cut off goes on where it stood, and takes up nothing but what it would have fitted itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.shop import Shop
from serving.recipe import SourceSpec
from tests.test_training.test_fitting import two_tastes
from training import fitting, unfinished
from training.fitting import Cut
from training.interactions import Fitted
from training.session import TrainOptions
from training.train import train
from training.unfinished import Unfinished

MakeShop = Callable[..., Shop]
MADE = Fitted(
    {"item_factors": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"loss": np.float64("nan"), "steps": 3.0}, 60.0
)


def refused() -> Fitted:
    raise AssertionError("it was fitted already")


def same(one: Fitted, other: Fitted) -> bool:
    return (
        one.arrays.keys() == other.arrays.keys()
        and all(np.array_equal(array, other.arrays[name]) and array.dtype == other.arrays[name].dtype
                for name, array in one.arrays.items())
        and np.array_equal(list(one.figures.values()), list(other.figures.values()), equal_nan=True)
        and one.seconds == other.seconds
    )  # fmt: skip


def test_what_was_fitted_is_not_fitted_again(tmp_path: Path) -> None:
    Unfinished(tmp_path, "data").fitted(b"fit", b"ials", 7, fit=lambda: MADE)
    assert same(Unfinished(tmp_path, "data").fitted(b"fit", b"ials", 7, fit=refused), MADE)


@pytest.mark.parametrize("key", [(b"index", b"ials", 7), (b"fit", b"bpr", 7), (b"fit", b"ials", 8), (b"fit", b"ials7")])
def test_another_fit_is_another(tmp_path: Path, key: tuple[bytes | int, ...]) -> None:
    store = Unfinished(tmp_path, "data")
    store.fitted(b"fit", b"ials", 7, fit=lambda: MADE)
    with pytest.raises(AssertionError, match="already"):
        store.fitted(*key, fit=refused)


def test_other_data_and_another_program_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left of others goes: nobody will ask for it again."""
    Unfinished(tmp_path, "data").fitted(b"fit", fit=lambda: MADE)
    Unfinished(tmp_path, "more-data")
    assert not list(tmp_path.iterdir())
    Unfinished(tmp_path, "data").fitted(b"fit", fit=lambda: MADE)
    monkeypatch.setattr(unfinished, "_program", lambda: "another")
    Unfinished(tmp_path, "data")
    assert not list(tmp_path.iterdir())


def test_short_fits_leave_no_file(tmp_path: Path) -> None:
    short = Fitted(MADE.arrays, MADE.figures, unfinished.LASTING - 1)
    assert same(Unfinished(tmp_path, "data").fitted(b"fit", fit=lambda: short), short)
    assert not list(tmp_path.rglob("*.fit"))


@pytest.mark.parametrize("broken", [b"", b"\x93\x01", None])
def test_a_file_that_cannot_be_read_is_fitted_anew(tmp_path: Path, broken: bytes | None) -> None:
    """Empty, not an archive, cut in half: as if it had never been."""
    store = Unfinished(tmp_path, "data")
    store.fitted(b"fit", fit=lambda: MADE)
    [path] = tmp_path.rglob("*.fit")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if broken is None else broken)
    other = Fitted({"item_factors": np.zeros((1, 1), np.float32)}, {}, 60.0)
    assert same(store.fitted(b"fit", fit=lambda: other), other)
    assert same(store.fitted(b"fit", fit=refused), other)


def test_nothing_but_numbers_is_read(tmp_path: Path) -> None:
    """Objects, and bytes that are too few for their shape, are as if they were not there."""
    store = Unfinished(tmp_path, "data")
    store.fitted(b"fit", fit=lambda: MADE)
    [path] = tmp_path.rglob("*.fit")
    for kind, shape in (("|O", [1]), ("<f4", [9]), ("nonsense", [1])):
        told = {"arrays": {"item_factors": (kind, shape, bytes(8))}, "figures": {}, "seconds": 60.0}
        path.write_bytes(msgspec.msgpack.encode(told))
        assert same(store.fitted(b"fit", fit=lambda: MADE), MADE)


def test_a_disk_that_refuses_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    assert same(Unfinished(tmp_path / "file", "data").fitted(b"fit", fit=lambda: MADE), MADE)


def test_a_cut_takes_up_what_another_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same arrays as without it; another moment and another catalogue are fitted on their own."""
    monkeypatch.setattr(unfinished, "LASTING", 0.0)
    histories, spec = two_tastes(), SourceSpec("ials", "factors", "ials")
    moment = int(histories.events.time.max()) + 1
    alone = Cut(histories, moment, min_customers=3).fit(spec)
    first = Cut(histories, moment, min_customers=3, unfinished=Unfinished(tmp_path, "data")).fit(spec)
    monkeypatch.setattr(fitting.Cut, "_fit", lambda *_: refused())
    again = Cut(histories, moment, min_customers=3, unfinished=Unfinished(tmp_path, "data"))
    assert same(again.fit(spec), first)
    assert all(np.array_equal(array, first.arrays[name]) for name, array in alone.arrays.items())
    for other in (Cut(histories, moment - 1, min_customers=3, unfinished=Unfinished(tmp_path, "data")),
                  Cut(histories, moment, min_customers=1, unfinished=Unfinished(tmp_path, "data"))):  # fmt: skip
        with pytest.raises(AssertionError, match="already"):
            other.fit(spec)


class CutOffError(Exception):
    """The power went."""


def test_a_training_goes_on_where_it_was_cut_off(
    make_shop: MakeShop, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run fits less than the first would have, publishes, and leaves nothing behind."""
    monkeypatch.setattr(unfinished, "LASTING", 0.0)
    shop, counted, fit = make_shop(tmp_path), [0], fitting.Cut._fit
    shutil.copytree(tiny_dataset, shop.dataset)

    def fits(self: Cut, *rest: object) -> Fitted:
        counted[0] += 1
        return fit(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fitting.Cut, "_fit", fits)

    def cut_off(what: str, done: int, total: int) -> None:
        if what.startswith("judge"):
            raise CutOffError

    with pytest.raises(CutOffError):
        train(shop, TrainOptions(), cut_off)
    before, counted[0] = counted[0], 0
    assert list(shop.unfinished.rglob("*.fit"))
    outcome = train(shop, TrainOptions())
    assert outcome.version is not None
    assert counted[0] < before
    assert not shop.unfinished.exists()
