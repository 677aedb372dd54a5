"""Publishing: a bundle is written whole, registered with its verdict, and serves once the gate's way is gone.

Three things move in this order, so that a crash between any two leaves a shop that serves and a command that
mends it when it is repeated: the bundle's folder (written aside, renamed), the alias `champion` (the record of what
should serve), the live pointer (what the workers look at).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from features.errors import BundleError, GateRefusalError, NotFoundError
from features.shop import Shop
from serving.artifact import live_name, publish_live
from serving.bundle import Bundle, open_bundle, write_bundle
from serving.recipe import Recipe, as_json, from_json
from training.gate import Verdict
from training.report import describe, headline
from training.tracking import CHALLENGER, CHAMPION, Run, Tracking, Version

KEPT_BUNDLES = 5
"""Newest bundles that stay on disk, besides the champion's and its predecessor's."""


class RefusedError(GateRefusalError):
    """A promotion that the gate does not allow; `verdict` holds the table and the reasons."""

    def __init__(self, what: str, verdict: Verdict, *, where: str, hint: str) -> None:
        self.verdict = verdict
        super().__init__(what, where=where, hint=hint)


@dataclass(frozen=True, slots=True)
class ModelLine:
    """One version as `kokyaku models` shows it."""

    version: Version
    recipe: str
    state: str
    """`serves`, `accepted`, `refused`, `served before`, `bundle removed`, or what a crash left to be finished."""
    figures: Mapping[str, float]


def publish(tracking: Tracking, run: Run, bundle: Bundle, verdict: Verdict, figures: Mapping[str, float]) -> Version:
    """Write a bundle and register it; nothing serves it yet.

    A bundle of the same id, left by a run that was interrupted, is used when it is whole and replaced when it is not.

    Args:
        tracking: the shop's store.
        run: the run that made it.
        bundle: in memory; its manifest names its id.
        verdict: the gate's, for `bundle.recipe`.
        figures: primary metric of each task, for the list of models.

    Returns:
        The registered version.
    """
    folder = tracking.shop.bundles / bundle.id
    if folder.exists() and not _is_whole(tracking.shop, bundle.id):
        shutil.rmtree(folder)
    if not folder.exists():
        write_bundle(folder, bundle)
    number = _register(tracking, run, bundle.id, bundle.recipe, verdict, figures, bundle.manifest)
    return tracking.version(number)


def register_refused(
    tracking: Tracking, run: Run, recipe: Recipe, verdict: Verdict, figures: Mapping[str, float]
) -> Version:
    """Register a challenger that the gate refused: its recipe and verdict, without a bundle."""
    number = _register(tracking, run, "", recipe, verdict, figures, {})
    tracking.set_alias(CHALLENGER, number)
    return tracking.version(number)


def promote(shop: Shop, number: int, tracking: Tracking | None = None) -> Version:
    """Let a version serve. Repeating it is harmless and finishes what a crash left half done.

    Args:
        shop: whose.
        number: the version.
        tracking: the shop's store, where it is open already.

    Raises:
        NotFoundError: no such version.
        RefusedError: the gate refused it, or judged it against another champion than today's.
        BundleError: its bundle is missing or damaged; what serves goes on serving.
    """
    tracking = tracking or open_registry(shop)
    version, champion = tracking.version(number), tracking.alias(CHAMPION)
    if champion is None or champion.number != number:
        _check_verdict(tracking, version, champion)
    open_bundle(shop.bundles / version.bundle_id)
    _move(tracking, version, champion)
    _prune(tracking)
    return tracking.version(number)


def rollback(shop: Shop, tracking: Tracking | None = None) -> Version:
    """Let the champion before this one serve again.

    Raises:
        NotFoundError: there was none.
        BundleError: its bundle is missing or damaged.
    """
    tracking = tracking or open_registry(shop)
    champion = tracking.alias(CHAMPION)
    before = predecessor(champion)
    if champion is None or before is None:
        hint = "kokyaku models lists what there is"
        raise NotFoundError("no model served before this one", where=shop.registered_model, hint=hint)
    version = tracking.version(before)
    open_bundle(shop.bundles / version.bundle_id)
    tracking.set_alias(CHAMPION, version.number)
    publish_live(shop.bundles, version.bundle_id)
    return tracking.version(version.number)


def open_registry(shop: Shop) -> Tracking:
    """The shop's registry, where it has one; a mistyped shop does not make an empty one.

    Raises:
        NotFoundError: nothing was trained there yet.
    """
    if not shop.mlflow_db.exists():
        hint = f"train one: kokyaku train --shop {shop.id}"
        raise NotFoundError("no models yet", where=str(shop.root), hint=hint)
    return Tracking(shop)


def newest_accepted(tracking: Tracking) -> Version:
    """The newest version that the gate accepted.

    Raises:
        NotFoundError: there is none.
    """
    for version in tracking.versions():
        if version.accepted:
            return version
    shop = tracking.shop
    hint = f"train one: kokyaku train --shop {shop.id}"
    raise NotFoundError("no model that passed the gate", where=shop.registered_model, hint=hint)


def predecessor(version: Version | None) -> int | None:
    """The version that served before this one was promoted."""
    number = version.tags.get("predecessor") if version else None
    return int(number) if number else None


def verdict_of(tracking: Tracking, version: Version) -> Verdict:
    """The gate's verdict on a version."""
    return msgspec.json.decode(tracking.read(version, "verdict.json"), type=Verdict)


def recipe_of(tracking: Tracking, version: Version) -> Recipe:
    """The recipe that a version was made by."""
    return from_json(orjson.loads(tracking.read(version, "recipe.json")))


def manifest_of(tracking: Tracking, version: Version) -> dict[str, Any]:
    """The manifest of a version's bundle; empty for a refused challenger."""
    manifest: dict[str, Any] = orjson.loads(tracking.read(version, "manifest.json"))
    return manifest


def models(shop: Shop, tracking: Tracking | None = None) -> list[ModelLine]:
    """All versions, newest first, with what became of them."""
    tracking = tracking or open_registry(shop)
    live = live_name(shop.bundles)
    lines = []
    for version in tracking.versions():
        figures = {
            key.removeprefix("figure."): float(v) for key, v in version.tags.items() if key.startswith("figure.")
        }
        lines.append(ModelLine(version, version.tags.get("recipe", ""), _state(shop, version, live), figures))
    return lines


def _state(shop: Shop, version: Version, live: str | None) -> str:
    if CHAMPION in version.aliases:
        return "serves" if version.bundle_id == live else "champion, not live yet: promote it again"
    if not version.accepted:
        return "refused"
    if not (shop.bundles / version.bundle_id).exists():
        return "bundle removed"
    return "served before" if "promoted_at" in version.tags else "accepted"


def _register(
    tracking: Tracking, run: Run, bundle_id: str, recipe: Recipe, verdict: Verdict,
    figures: Mapping[str, float], manifest: Mapping[str, object],
) -> int:  # fmt: skip
    files = {
        "recipe.json": orjson.dumps(as_json(recipe), option=orjson.OPT_INDENT_2),
        "verdict.json": msgspec.json.format(msgspec.json.encode(verdict), indent=2),
        "manifest.json": orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY),
    }
    tags = {
        "verdict": "accepted" if verdict.accepted else "refused",
        "recipe": recipe.name,
        **{f"figure.{name}": f"{value:.6f}" for name, value in figures.items()},
    }
    return tracking.register(run, bundle_id, files, tags, about=f"{headline(verdict)} Made of {describe(recipe)}.")


def _check_verdict(tracking: Tracking, version: Version, champion: Version | None) -> None:
    verdict = verdict_of(tracking, version)
    where = f"{tracking.shop.registered_model} version {version.number}"
    if not verdict.accepted:
        what = f"the gate refused it: {verdict.reasons[0].rstrip('.')}"
        raise RefusedError(what, verdict, where=where, hint="the best recipe goes on serving")
    serving = champion.bundle_id if champion else None
    if "promoted_at" not in version.tags and verdict.champion_bundle != serving:
        what = (
            f"it was judged against {verdict.champion_bundle or 'no champion'}, but {serving or 'nothing'} serves now"
        )
        raise RefusedError(what, verdict, where=where, hint="train again")


def _move(tracking: Tracking, version: Version, champion: Version | None) -> None:
    if champion is None or champion.number != version.number:
        before = {"predecessor": str(champion.number)} if champion else {}
        tracking.tag_version(version.number, {"promoted_at": str(time.time_ns() // 1000), **before})
        tracking.set_alias(CHAMPION, version.number)
    challenger = tracking.alias(CHALLENGER)
    if challenger and challenger.number == version.number:
        tracking.drop_alias(CHALLENGER)
    publish_live(tracking.shop.bundles, version.bundle_id)


def _prune(tracking: Tracking) -> None:
    """Remove old bundles; their versions and verdicts stay in the registry."""
    versions = [version for version in tracking.versions() if version.bundle_id]
    champion = tracking.alias(CHAMPION)
    kept_numbers = {champion.number if champion else None, predecessor(champion)}
    kept = {version.bundle_id for version in versions[:KEPT_BUNDLES]}
    kept |= {version.bundle_id for version in versions if version.number in kept_numbers}
    kept.add(live_name(tracking.shop.bundles) or "")
    for version in versions:
        if version.bundle_id not in kept:
            shutil.rmtree(tracking.shop.bundles / version.bundle_id, ignore_errors=True)


def _is_whole(shop: Shop, name: str) -> bool:
    try:
        open_bundle(shop.bundles / name)
    except BundleError:
        return False
    return True
