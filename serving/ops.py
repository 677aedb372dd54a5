"""What an operator does: forget a customer, sync, look whether all is well; for `python -m serving` and `kokyaku`."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import KokyakuError
from features.moments import DAY, MINUTE, format_instant, parse_instant
from features.shop import Shop
from serving import erase as erasing
from serving import machine
from serving import store_erasure as erasure
from serving import store_upkeep as upkeep
from serving.artifact import live_name, read_manifest
from serving.bundle import open_bundle
from serving.business import Business
from serving.checking import Check
from serving.clock import shop_clock
from serving.config import load_config
from serving.effects import SlotPolicy
from serving.frames import SUFFIX
from serving.histories import verify_history
from serving.policy_files import open_policies
from serving.shop_check import check_shop
from serving.store import TRUST_SECONDS, Store
from serving.store_latest import latest_recorded

if TYPE_CHECKING:
    from serving.sync import SyncReport

_FREE_BYTES = 1 << 30
_YEAR_2024 = parse_instant("2024-01-01")
_STALE_EVENTS = 1_000_000
_BACKLOG_BYTES = 64 << 20


def erase_customer(shop: Shop, customer_id: str) -> dict[str, Any]:
    """Forget a customer, beside a running service or without one.

    Returns:
        The receipt.
    """
    store = Store.of(shop)
    try:
        receipt = erasing.erase(shop, store, customer_id, now=shop_clock(shop).now())
    finally:
        store.close()
    time.sleep(TRUST_SECONDS)  # a service that runs beside this knows it by then
    return receipt


def export_customer(shop: Shop, customer_id: str) -> dict[str, Any]:
    """All that the service keeps of one person.

    Raises:
        NotFoundError: nothing is known of them, or not any more.
        BundleError: nothing serves yet.
    """
    from serving.engine import Engine
    from serving.export import export_customer

    engine = Engine(shop, worker=None)
    try:
        return export_customer(engine, customer_id)
    finally:
        engine.close()


def read_receipt(shop: Shop, receipt_id: str) -> dict[str, Any]:
    """A receipt of this shop.

    Raises:
        NotFoundError: there is none of that id.
    """
    store = Store.of(shop)
    try:
        return erasing.read_receipt(store, receipt_id)
    finally:
        store.close()


def sync_shop(shop: Shop, after_step: Callable[[str], None] = lambda step: None) -> SyncReport:
    """Bring what the service received into the dataset, at the shop's own time."""
    from serving.sync import sync

    return sync(shop, now=shop_clock(shop).now(), after_step=after_step)


def doctor(shop: Shop) -> list[Check]:
    """Look at everything that a service needs, and write one harmless row to see whether the store takes it."""
    checks = (
        _folder, _secret, _settings, _clock, _disk, _store, _erasures, _bundle, _selection, _policies, _shop_check,
        _history, _decision_logs, machine.keys, machine.proxies, machine.threads, machine.limits, machine.memory,
        machine.registry,
    )  # fmt: skip
    return [result for check in checks for result in _guarded(check, shop)]


def _guarded(check: Callable[[Shop], Iterator[Check]], shop: Shop) -> Iterator[Check]:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        yield from check(shop)
    except KokyakuError as error:
        yield Check(name, "fail", error.what, error.hint or error.line())
    except OSError as error:
        yield Check(name, "fail", str(error), "check the path and its permissions")


def _folder(shop: Shop) -> Iterator[Check]:
    if not shop.root.is_dir():
        yield Check(
            "folder", "fail", f"{shop.root} is not there", "name the shop's folder with --root, or import first"
        )
    elif not os.access(shop.root, os.W_OK):
        yield Check("folder", "fail", f"{shop.root} cannot be written", "give this user the right to write there")
    else:
        yield Check("folder", "ok", str(shop.root))


def _secret(shop: Shop) -> Iterator[Check]:
    path = shop.secret_path
    if shop.secret_file is not None or path.exists():
        len(shop.secret)  # none is made here: it can be read, or this says what to do
    if not path.exists():
        yield Check("secret", "ok", "none yet; it is made on first use")
    elif stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Check("secret", "fail", f"others can read {path.name}", f"chmod 600 {path}")
    else:
        yield Check("secret", "ok", "only its owner can read it")


def _settings(shop: Shop) -> Iterator[Check]:
    config = load_config(shop.config)
    yield Check("settings", "ok", f"shop.toml, hash {config.hash}")


def _clock(shop: Shop) -> Iterator[Check]:
    machine, shops = time.time_ns() // 1000, shop_clock(shop).now()
    if machine < _YEAR_2024:
        yield Check("clock", "fail", f"the machine says {format_instant(machine)}", "set the machine's clock")
        return
    if Store.exists(shop):
        latest = _in_store(shop, latest_recorded)
        if latest is not None and latest > shops + MINUTE:
            detail = f"the store holds events received at {format_instant(latest)}, after now"
            yield Check("clock", "warn", detail, "the clock was set back; check its time service")
            return
    yield Check("clock", "ok", f"it is {format_instant(shops)} in the shop")


def _disk(shop: Shop) -> Iterator[Check]:
    free = shutil.disk_usage(shop.root if shop.root.exists() else Path.cwd()).free
    detail = f"{free / 2**30:.1f} GiB free"
    low = free < _FREE_BYTES
    yield Check("disk", "warn" if low else "ok", detail, "free some space, or events will be refused" if low else "")


def _store(shop: Shop) -> Iterator[Check]:
    if not Store.exists(shop):
        yield Check("store", "ok", "none yet; the service makes it")
        return
    found, events = _in_store(shop, lambda store: (store.database.condition(), upkeep.try_writing(store)))
    detail = found.detail if found.verdict == "fail" else f"{found.detail}, takes writes, {events} events so far"
    yield Check("store", found.verdict, detail, found.remedy)


def _erasures(shop: Shop) -> Iterator[Check]:
    if not Store.exists(shop):
        return
    now = shop_clock(shop).now()
    unfinished = _in_store(shop, lambda store: erasure.receipts_in(store, erasing.ERASING))
    waiting = _in_store(shop, lambda store: erasure.receipts_in(store, erasing.ERASED))
    late = [receipt for receipt, _ in waiting if parse_instant(receipt["requestedAt"]) < now - DAY]
    if unfinished:
        yield Check("erasures", "fail", f"{len(unfinished)} were interrupted", "run kokyaku sync: it finishes them")
    elif late:
        yield Check("erasures", "fail", f"{len(late)} wait for the dataset longer than a day", "run kokyaku sync now")
    else:
        yield Check("erasures", "ok", f"{len(waiting)} wait for the next sync")


def _bundle(shop: Shop) -> Iterator[Check]:
    name = live_name(shop.bundles)
    if name is None:
        yield Check("bundle", "fail", "no bundle serves yet", "train and promote one: kokyaku train")
        return
    open_bundle(shop.bundles / name, verify=True)
    yield Check("bundle", "ok", f"{name}, checksums match")


def _selection(shop: Shop) -> Iterator[Check]:
    """Do the boosts and the objective of `shop.toml` fit the bundle that serves?"""
    name = live_name(shop.bundles)
    try:
        config, bundle = load_config(shop.config), open_bundle(shop.bundles / (name or ""), verify=False)
    except (KokyakuError, OSError, EOFError, ValueError):  # other checks say what is wrong with them
        detail = "not looked at: it needs valid settings and a bundle"
        yield Check("selection", "warn", detail, "mend the settings and the bundle first")
        return
    business = Business.of(bundle, config)
    if business is None:
        yield Check("selection", "ok", "relevance alone: no boosts, pins or quotas, no objective in money")
        return
    said = config.selection
    counts = {"boosts": len(said.boosts), "pins": len(said.pins), "quotas": len(said.quotas)}
    detail = ", ".join((f"objective {said.objective}", *(f"{count} {name}" for name, count in counts.items() if count)))
    idle = [each.named for each in business.idle()]
    remedy = "look for a typo in [selection] of shop.toml"
    if idle:
        yield Check("selection", "warn", f"{detail}; no item is of {', '.join(idle)}", remedy)
    else:
        yield Check("selection", "ok", detail)


def _policies(shop: Shop) -> Iterator[Check]:
    """Are the policies that slots name there and whole, and do slots and policies know each other's modules?"""
    try:
        config = load_config(shop.config)
    except KokyakuError:  # another check says what is wrong with it
        yield Check("policies", "warn", "not looked at: it needs valid settings", "mend the settings first")
        return
    named = list(config.learned())
    if not named:
        yield Check("policies", "ok", "no slot or channel names one")
        return
    opened = open_policies(shop.policies, config)
    detail = f"{len(opened)} decide in {len(named)} place{'s' if len(named) > 1 else ''}, checksums match"
    odd = [text for place, name, able in named for text in _unlike(place, name, able, opened[name])]
    remedy = "train again with them, or take them out of the slot" if odd else ""
    yield Check("policies", "warn" if odd else "ok", "; ".join([detail, *odd]), remedy)


def _shop_check(shop: Shop) -> Iterator[Check]:
    """Does `shop.toml` hold what nobody would want? Failures have checks of their own."""
    checked = check_shop(shop)
    if checked.look is None:
        yield Check("shop check", "warn", "not looked at: it needs valid settings", "mend the settings first")
        return
    odd = checked.count("fail") + checked.count("warn") > 0
    yield Check("shop check", "warn" if odd else "ok", checked.summary, "kokyaku shop check" if odd else "")


def _unlike(place: str, name: str, able: tuple[str, ...], policy: SlotPolicy) -> Iterator[str]:
    """What a place could show and its policy never draws, and actions of a policy that the place cannot show."""
    if strange := policy.strange(able):
        yield f"{place}: {', '.join(strange)} are never drawn, as {name} does not know them"
    if absent := [action for action in policy.places if action not in able]:
        yield f"{place}: {', '.join(absent)} of {name} are not among what it can show"


def _history(shop: Shop) -> Iterator[Check]:
    name = live_name(shop.histories)
    if name is None:
        yield Check("history", "warn", "none yet: only what the store holds is known", "run kokyaku sync")
        return
    verify_history(shop.histories / name)
    behind = 0
    if Store.exists(shop):
        behind = _in_store(shop, Store.last_seq) - int(read_manifest(shop.histories / name)["store_seq"])
    stale = behind > _STALE_EVENTS
    detail = f"{name}, checksums match, {behind} events newer"
    yield Check("history", "warn" if stale else "ok", detail, "run kokyaku sync" if stale else "")


def _decision_logs(shop: Shop) -> Iterator[Check]:
    files = sorted(shop.decision_logs.rglob(f"*{SUFFIX}")) if shop.decision_logs.exists() else []
    size = sum(path.stat().st_size for path in files)
    full = size > _BACKLOG_BYTES
    remedy = "start the service or run kokyaku sync: they drain them" if full else ""
    yield Check("decision logs", "warn" if full else "ok", f"{len(files)} files, {size / 2**20:.1f} MiB", remedy)


def _in_store(shop: Shop, look: Callable[[Store], Any]) -> Any:
    store = Store.of(shop)
    try:
        return look(store)
    finally:
        store.close()
