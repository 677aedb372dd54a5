"""Publishing: what serves moves only through the gate, and a crash leaves a shop that serves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.assemble import FINGERPRINT
from features.errors import BundleError, NotFoundError
from features.ids import Vocabulary
from features.shop import Shop
from serving.artifact import live_name
from serving.bundle import Bundle, open_live_bundle
from serving.recipe import Recipe, SourceSpec, as_json
from training import publish as publishing
from training.gate import Verdict
from training.publish import (
    KEPT_BUNDLES,
    RefusedError,
    models,
    newest_accepted,
    promote,
    publish,
    recipe_of,
    register_refused,
    rollback,
    verdict_of,
)
from training.tracking import CHALLENGER, CHAMPION, Tracking

RECIPE = Recipe("popularity", (SourceSpec("popularity", "popularity"),), {"popularity": 1.0})
Make = Callable[..., int]


def bundle(name: str) -> Bundle:
    """A bundle of two items."""
    manifest = {"bundle_id": name, "as_of": 0, "recipe": as_json(RECIPE), "features": FINGERPRINT, "metrics": {}}
    return Bundle(manifest, {**Vocabulary.of(["tea", "cup"]).arrays("items"), "x": np.arange(3)})


def verdict(against: str | None, *, accepted: bool = True) -> Verdict:
    return Verdict(
        accepted=accepted, winner="popularity" if accepted else "blend", challenger="popularity", champion="blend",
        champion_bundle=against, rules=(), reasons=("popularity is no better than the champion blend.",),
        comparisons=(), table=(),
    )  # fmt: skip


@pytest.fixture
def tracking(tmp_path: Path, make_shop: Callable[[Path], Shop]) -> Tracking:
    return Tracking(make_shop(tmp_path))


@pytest.fixture
def make(tracking: Tracking) -> Make:
    """Publish a bundle judged against another; gives the version."""

    def made(name: str, against: str | None = None) -> int:
        with tracking.run("train") as run:
            return publish(tracking, run, bundle(name), verdict(against), {"all": 0.25, "new": 0.05}).number

    return made


def test_a_published_bundle_serves_only_when_promoted(tracking: Tracking, make: Make) -> None:
    """Publishing writes and registers; the pointer and the alias move with `promote`."""
    number = make("b1")
    assert open_live_bundle(tracking.shop.bundles) is None
    assert tracking.alias(CHAMPION) is None
    promoted = promote(tracking.shop, number, tracking)
    live = open_live_bundle(tracking.shop.bundles)
    assert live is not None
    assert (live.id, promoted.aliases) == ("b1", (CHAMPION,))
    assert recipe_of(tracking, promoted) == RECIPE
    assert verdict_of(tracking, promoted) == verdict(None)


def test_promote_and_rollback_move_pointer_and_alias(tracking: Tracking, make: Make) -> None:
    """Forward, back, and forward again to what served before."""
    shop = tracking.shop
    first = make("b1")
    promote(shop, first, tracking)
    second = make("b2", "b1")
    promote(shop, second, tracking)
    assert live_name(shop.bundles) == "b2"
    assert rollback(shop, tracking).number == first
    assert live_name(shop.bundles) == "b1"
    assert [line.state for line in models(shop, tracking)] == ["served before", "serves"]
    promote(shop, second, tracking)
    assert live_name(shop.bundles) == "b2"
    rollback(shop, tracking)
    with pytest.raises(NotFoundError, match="no model served before"):
        rollback(shop, tracking)


def test_a_refused_challenger_cannot_be_promoted(tracking: Tracking, make: Make) -> None:
    """The error carries the verdict with its table; what serves goes on serving."""
    shop = tracking.shop
    promote(shop, make("b1"), tracking)
    with tracking.run("train") as run:
        refused = register_refused(tracking, run, RECIPE, verdict("b1", accepted=False), {"all": 0.2})
    assert refused.aliases == (CHALLENGER,)
    with pytest.raises(RefusedError, match="no better than the champion") as raised:
        promote(shop, refused.number, tracking)
    assert raised.value.verdict == verdict("b1", accepted=False)
    assert live_name(shop.bundles) == "b1"
    assert newest_accepted(tracking).bundle_id == "b1"
    assert models(shop, tracking)[0].state == "refused"


def test_a_verdict_against_yesterdays_champion_is_stale(tracking: Tracking, make: Make) -> None:
    """b2 and b3 were both judged against b1; once b3 serves, b2 has to be judged anew."""
    promote(tracking.shop, make("b1"), tracking)
    second, third = make("b2", "b1"), make("b3", "b1")
    promote(tracking.shop, third, tracking)
    with pytest.raises(RefusedError, match="judged against b1, but b3 serves now"):
        promote(tracking.shop, second, tracking)


def test_a_crash_between_bundle_and_pointer(tracking: Tracking, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the alias moved and before the pointer did: the old bundle serves, and promoting again finishes."""
    shop = tracking.shop
    promote(shop, make("b1"), tracking)
    second = make("b2", "b1")
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish_live", _killed)
        with pytest.raises(KeyboardInterrupt):
            promote(shop, second, tracking)
    assert live_name(shop.bundles) == "b1"
    assert "promote it again" in models(shop, tracking)[0].state
    promote(shop, second, tracking)
    assert live_name(shop.bundles) == "b2"
    assert rollback(shop, tracking).bundle_id == "b1"


def test_a_crash_between_bundle_and_registration(
    tracking: Tracking, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that was written but never registered is used by the next run, not tripped over."""
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_register", _killed)
        with pytest.raises(KeyboardInterrupt):
            make("b1")
    assert live_name(tracking.shop.bundles) is None
    promote(tracking.shop, make("b1"), tracking)
    assert live_name(tracking.shop.bundles) == "b1"


def test_a_damaged_leftover_is_replaced(tracking: Tracking, make: Make) -> None:
    """A half bundle of the same name does not stand in the way."""
    folder = tracking.shop.bundles / "b1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{")
    promote(tracking.shop, make("b1"), tracking)


def test_a_damaged_bundle_is_not_promoted(tracking: Tracking, make: Make) -> None:
    """Neither alias nor pointer moves to a bundle whose bytes changed."""
    promote(tracking.shop, make("b1"), tracking)
    second = make("b2", "b1")
    (tracking.shop.bundles / "b2" / "x.npy").write_bytes(b"\x00" * 200)
    with pytest.raises(BundleError, match="checksum"):
        promote(tracking.shop, second, tracking)
    champion = tracking.alias(CHAMPION)
    assert champion is not None
    assert (champion.bundle_id, live_name(tracking.shop.bundles)) == ("b1", "b1")
    shutil.rmtree(tracking.shop.bundles / "b2")
    with pytest.raises(BundleError, match="no manifest"):
        promote(tracking.shop, second, tracking)


def test_old_bundles_go_but_champion_and_predecessor_stay(tracking: Tracking, make: Make) -> None:
    """After many promotions five bundles are left, and the one to roll back to is among them."""
    shop, count = tracking.shop, KEPT_BUNDLES + 3
    promote(shop, make("b0"), tracking)
    promote(shop, make("b1", "b0"), tracking)
    for number in range(2, count):
        make(f"b{number}", "b1")  # accepted but never promoted: b0 and b1 grow old
    promote(shop, newest_accepted(tracking).number, tracking)
    left = {path.name for path in shop.bundles.iterdir() if path.is_dir()}
    assert left == {"b1", *(f"b{number}" for number in range(count - KEPT_BUNDLES, count))}
    assert rollback(shop, tracking).bundle_id == "b1"
    assert {line.state for line in models(shop, tracking)} >= {"bundle removed", "serves"}


def _killed(*_: object, **__: object) -> int:
    raise KeyboardInterrupt
