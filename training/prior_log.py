"""What a contextual prior learns of actions from: drawn decisions about somebody of whom only the visit was known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.covariates import Value
from features.errors import DataError
from serving.prior import DIMENSIONS, NOTHING, Codes, words_of
from training.prior_rows import Seen
from training.uplift.log import DecisionLog, Mask


def seen_in(log: DecisionLog, reward: str, southern: Sequence[str] = ()) -> Seen:
    """Decisions about somebody unknown, as tries of actions (`tries_of`).

    Where the log does not tell who was known (a column `known`), all decisions count.

    Args:
        log: of one slot; its features are those of a visit (`features.covariates.VISIT`), as far as it has them.
        reward: one that is 0 or 1.
        southern: regions south of the equator.

    Raises:
        DataError: no such reward, or no decision is left.
    """
    some = log.take(strangers(log))
    codes, words = contexts(some, southern)
    return tries_of(some, reward, codes, DIMENSIONS, words)


def tries_of(
    log: DecisionLog, reward: str, codes: Codes, names: tuple[str, ...], words: tuple[tuple[str, ...], ...]
) -> Seen:
    """Decisions as tries of actions: the usable ones whose reward and propensity are known.

    Args:
        log: of one slot.
        reward: one that is 0 or 1.
        codes: int64[n, dimensions], what is known of each decision.
        names, words: of the dimensions.

    Raises:
        DataError: no such reward, or no decision is left.
    """
    rows = log.usable & np.isfinite(log.reward(reward)) & np.isfinite(log.taken)
    if not rows.any():
        raise DataError("no decision to learn from", hint="log some first: the slot must be drawn")
    some = log.take(rows)
    arms = tuple(NOTHING if action is None else action for action in some.actions)
    return Seen(
        some.action.astype(np.int64), some.reward(reward), 1 / some.taken, some.decided_at, some.subject, codes[rows],
        arms, names, words,
    )  # fmt: skip


def strangers(log: DecisionLog) -> Mask:
    """bool[n]: decisions about somebody who was not known; all where the log does not say."""
    if "known" not in log.names:
        return np.ones(len(log), np.bool_)
    known: Mask = log.features[:, log.names.index("known")] == 1
    return ~known


def contexts(log: DecisionLog, southern: Sequence[str] = ()) -> tuple[Codes, tuple[tuple[str, ...], ...]]:
    """int64[n, DIMENSIONS], -1 where not told, and the words of each dimension, sorted."""
    columns = {name: at for at, name in enumerate(log.names)}
    texts = log.words or ((),) * len(log.names)
    asked = [name for name in ("region", "month", "hour", "traffic_source", "device") if name in columns]
    block = np.nan_to_num(log.features[:, [columns[name] for name in asked]], nan=-1).astype(np.int64)
    distinct, where = np.unique(block, axis=0, return_inverse=True)
    told = []
    for row in distinct.tolist():
        visit: dict[str, Value] = {
            name: (texts[columns[name]][value] if texts[columns[name]] else value)
            for name, value in zip(asked, row, strict=True)
            if value >= 0
        }
        told.append(words_of(visit, southern))
    words = tuple(tuple(sorted({each[name] for each in told if name in each})) for name in DIMENSIONS)
    place = [{word: code for code, word in enumerate(each)} for each in words]
    codes = [[place[at].get(each.get(name, ""), -1) for at, name in enumerate(DIMENSIONS)] for each in told]
    return np.array(codes, np.int64).reshape(-1, len(DIMENSIONS))[where.ravel()], words
