"""What `doctor` looks at beside the shop's own folder: keys, proxies, threads, limits, memory, the registry.

In the service's own environment, which `KOKYAKU_ROOT` tells, what is not set is a fault; in an operator's shell it is
not, for the service gets its settings elsewhere.
"""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from features.errors import DataError
from features.shop import Shop
from serving.access import Access
from serving.artifact import live_name
from serving.checking import Check
from serving.keeper import BELIEVED, listens, unknown_proxies
from serving.memory import PROGRAM, look, words

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Libraries beside ours that would start a thread a core in each worker, and then wait for one another."""
FILES, FEW_FILES = 2_048, 256
"""Open files: a thousand connections, the mapped arrays of two bundles while one is swapped, logs, the store."""
CHAMPION = "champion"
CGROUP = Path("/sys/fs/cgroup")
LEAST_KEY = 22
"""Characters of a key that somebody thought of: 128 random bits take so many, and what is shorter may be guessed."""
_ABOUT_KEYS = "set KOKYAKU_KEY_FILE or KOKYAKU_KEYS"


def keys(shop: Shop) -> Iterator[Check]:
    """Are the API keys that the environment names usable, and theirs alone who may read them?"""
    if os.environ.get("KOKYAKU_DEV") == "1":
        detail = "development mode: no keys, and nobody but this machine is answered"
        mixed = bool(os.environ.get("KOKYAKU_KEY_FILE") or os.environ.get("KOKYAKU_KEYS"))
        remedy = "unset KOKYAKU_DEV where others shall be answered"
        yield Check("keys", "warn", f"{detail}; the keys are ignored", remedy) if mixed else Check("keys", "ok", detail)
    elif os.environ.get("KOKYAKU_KEY_FILE") or os.environ.get("KOKYAKU_KEYS"):
        found = Access.from_environment(os.environ).keys
        short = sum(0 < len(each.key) < LEAST_KEY for each in found)  # of a hash nobody knows how long its key is
        detail = f"{_counted(len(found))}; no file of them can be read by others"
        remedy = "give out keys of kokyaku keys make instead, and take the short ones away"
        if short:
            yield Check("keys", "warn", f"{detail}; {_counted(short)} of under {LEAST_KEY} characters", remedy)
        else:
            yield Check("keys", "ok", detail)
    elif _serves():
        yield Check("keys", "fail", "no API key is configured: the service refuses to start", _ABOUT_KEYS)
    else:
        yield Check("keys", "ok", "none named in this environment; the service is given its own")


def _counted(count: int) -> str:
    return f"{count} key{'s' if count > 1 else ''}"


def proxies(shop: Shop) -> Iterator[Check]:
    """Is it said whose word is taken for which address a client has, and for TLS having been spoken before a proxy?"""
    named = [name for part in os.environ.get(BELIEVED, "").split(",") if (name := part.strip())]
    networks = {name: _network(name) for name in named}
    remedy = f"set {BELIEVED} to the network that the proxies come from, with commas between several"
    if unknown_proxies(listens(os.environ), os.environ):
        detail = f"{BELIEVED} is not set: a proxy counts as one client for all, and nobody seems to speak TLS"
        yield Check("proxies", "warn", detail, f"{remedy}; to 127.0.0.1 where none stands before this service")
    elif named == ["*"] or any(found is not None and found.prefixlen == 0 for found in networks.values()):
        detail = f"{BELIEVED} believes everybody: whoever reaches the port chooses their own address"
        yield Check("proxies", "warn", detail, remedy)
    elif strange := [name for name, found in networks.items() if found is None]:
        detail = f"{', '.join(strange)} of {BELIEVED} is no address and no network: nobody is believed by it"
        yield Check("proxies", "warn", detail, f"{remedy}, such as 10.1.0.0/16: all bits after the length are zero")
    else:
        yield Check("proxies", "ok", f"believed about clients: {', '.join(named) or 'this machine alone'}")


def _network(name: str) -> IPv4Network | IPv6Network | None:
    """As the server reads it; None for what it takes for a name, which no client has."""
    try:
        return ip_network(name)
    except ValueError:
        return None


def threads(shop: Shop) -> Iterator[Check]:
    """One thread a numeric library, and a whole processor for the worker."""
    odd = [
        f"{name} is {value or 'not set'}"
        for name in THREADS
        if (value := os.environ.get(name, "" if _serves() else "1")) != "1"
    ]
    share = _processors()
    detail = f"{share:g} processor{'s' if share != 1 else ''} for this process"
    remedy = "; ".join(
        [f"set {', '.join(THREADS)} to 1: kokyaku serve does"] * bool(odd)
        + ["give the worker a whole processor: with less it is stopped in the middle of requests"] * (share < 1)
    )
    yield Check("threads", "warn" if remedy else "ok", ", ".join([detail, *odd]), remedy)


def limits(shop: Shop) -> Iterator[Check]:
    """May the process open enough files?"""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= FILES
    few = not enough and soft < FEW_FILES
    most = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} at most"
    where = "ulimit -n, LimitNOFILE of the unit, or ulimits of the container"
    remedy = "" if enough else f"allow {FILES} or more: {where}; each connection takes one"
    yield Check("limits", "ok" if enough else "fail" if few else "warn", f"open files: {most}", remedy)


def memory(shop: Shop) -> Iterator[Check]:
    """Is there room for a worker and for a swap? The service asks the same when it starts."""
    if live_name(shop.bundles) is None:
        yield Check("memory", "ok", f"no bundle serves yet; a service takes {words(PROGRAM)} before it maps anything")
        return
    found = look(shop)
    yield Check("memory", found.verdict, found.detail, found.remedy)


def registry(shop: Shop) -> Iterator[Check]:
    """Does the registry's champion serve? The service itself needs no registry; promotions and rollbacks do."""
    live = live_name(shop.bundles)
    if not shop.mlflow_db.exists():
        yield Check("registry", "ok", "none in this folder; only training and promotion need one")
        return
    try:
        champion = _champion(shop)
    except sqlite3.Error as error:
        hint = f"mlflow db upgrade sqlite:///{shop.mlflow_db}, or restore it from a backup"
        raise DataError(f"the registry cannot be read: {error}", where=str(shop.mlflow_db), hint=hint) from error
    if champion is None:
        remedy = "" if live is None else "kokyaku promote"
        yield Check("registry", "warn" if live else "ok", "it names no champion", remedy)
    elif champion != live:
        detail = f"its champion is {champion}, {live or 'nothing'} serves"
        yield Check("registry", "warn", detail, "kokyaku promote: it takes up where it was interrupted")
    else:
        yield Check("registry", "ok", f"its champion {champion} serves{_not_followed()}")


def _not_followed() -> str:
    """What to know where the environment names a tracking server: that may be right for other programs."""
    told = "; MLFLOW_TRACKING_URI is not followed, runs and models are in the shop's folder"
    return told if os.environ.get("MLFLOW_TRACKING_URI") else ""


def _champion(shop: Shop) -> str | None:
    """The bundle of the registry's champion. Looked up in the tables: a service's folder has no MLflow to ask."""
    with closing(sqlite3.connect(f"file:{shop.mlflow_db}?mode=ro", uri=True, timeout=2)) as opened:
        found = opened.execute(
            "SELECT t.value FROM registered_model_aliases a JOIN model_version_tags t"
            " ON t.name = a.name AND t.version = a.version AND t.key = 'bundle_id'"
            " WHERE a.name = ? AND a.alias = ?",
            (shop.registered_model, CHAMPION),
        ).fetchone()
    return None if found is None else str(found[0])


def _serves() -> bool:
    """Whether this is the environment of a service."""
    return bool(os.environ.get("KOKYAKU_ROOT"))


def _processors() -> float:
    """How many processors' time this process may use."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))
