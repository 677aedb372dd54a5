"""The serving pipeline as a policy to be valued: with another bundle, or under another `shop.toml`.

It is trusted only where the pipeline that logged the decisions, rebuilt in the same way, gives the logged probabilities
and items again. What it would show is compared with what was shown: the order of items inside a module is not drawn,
so a log of slots knows nothing of other items under a module's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.dataset import Dataset
from features.errors import DataError, NotFoundError
from features.shop import Shop
from serving.bundle import Bundle
from serving.config import ShopConfig
from serving.live import Live
from serving.pages import layout_of
from training.meter import Tell
from training.offpolicy.agreement import REPRODUCED, Check, checked, not_randomised, not_reproduced, other_items
from training.offpolicy.pages import Request, read_requests
from training.offpolicy.pasts import read_pasts
from training.offpolicy.rebuilding import Answer, Answers, Which, bundle_of, open_live, rebuild
from training.offpolicy.refusal import Limits, Reason
from training.offpolicy.targets import Policy, logging
from training.uplift.log import DecisionLog, Doubles, Mask

PAGES = 5_000
"""Pages that are rebuilt at most where nobody says otherwise: each takes about as long as serving it did."""


@dataclass(frozen=True, slots=True)
class Other:
    """The pipeline that is valued.

    Args:
        config: another `shop.toml`; None: the one that decided.
        bundle: id of another bundle; None: the one that decided.
        known: earlier `shop.toml`s, for pages that the shop's own did not decide.
        pages: how many are rebuilt at most; of more some are drawn at random.
        seed: of that draw.
    """

    config: ShopConfig | None = None
    bundle: str | None = None
    known: Sequence[ShopConfig] = ()
    pages: int = PAGES
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """A pipeline, ready for `training.offpolicy.replay.replay`.

    Attributes:
        policy: its probabilities, conditional on the slots above as they were logged.
        log: the decisions of which it could be asked, with a column for each action that it may take.
        reasons: why nothing may be said of it, beyond what weights tell.
        notes: what to know of it, as sentences.
        check: of the rebuilding.
    """

    policy: Policy
    log: DecisionLog
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]
    check: Check


def pipeline_target(
    log: DecisionLog, shop: Shop, config: ShopConfig, other: Other, *, limits: Limits | None = None,
    tell: Tell = lambda what, done, total: None,
) -> Target:  # fmt: skip
    """Ask a pipeline about all logged pages, beside the one that decided them.

    Args:
        log: of one surface, from the shop's dataset (`training.uplift.reading.read_log`).
        shop: with the bundles and policies that decided.
        config: its `shop.toml` of today.
        other: the pipeline that is valued.
        limits: of what is refused.
        tell: hears how many pages were done.

    Raises:
        NotFoundError: no such bundle.
        ConfigError: a configuration does not fit a bundle, or names a policy that cannot be used.
        RequestError: the other configuration has no such page.
        DataError: no page can be rebuilt, or a policy failed.
    """
    log, drawn = _some_pages(log, other)
    requests = [each for each in read_requests(Dataset(shop.dataset), _keys(log)[log.usable]) if each.page is not None]
    lives, gone = _lives(shop, requests, [config, *other.known], other)
    asked = [each for each in requests if _as_it_was(each) in lives and _instead(each, other) in lives]
    if not asked:
        hint = "--logged-config names an earlier shop.toml" if requests else "recommendations in a list are not drawn"
        raise DataError("no logged page can be rebuilt", got=", ".join(gone) or "no pages", hint=hint)
    for which, page in {(_instead(each, other), each.page) for each in asked}:
        layout_of(lives[which], str(page))
    done = Counter[str]()

    def progress(more: int) -> None:
        done["pages"] += more
        tell("pages rebuilt", done["pages"], len(asked))

    found = rebuild(
        shop, read_pasts(Dataset(shop.dataset)), asked, lives,
        lambda each: list(dict.fromkeys((_as_it_was(each), _instead(each, other)))), progress,
    )  # fmt: skip
    target = _target(log, asked, found, other, limits or Limits(), gone)
    return replace(target, notes=(*drawn, *target.notes))


def _some_pages(log: DecisionLog, other: Other) -> tuple[DecisionLog, Sequence[str]]:
    """The decisions of at most so many pages, and a sentence where that is not all."""
    pages = np.unique(log.request[log.usable])
    if len(pages) <= other.pages:
        return log, ()
    some = np.random.default_rng(other.seed).choice(pages, other.pages, replace=False)
    return log.take(np.isin(log.request, some)), (f"{other.pages:,} of {len(pages):,} pages, drawn at random.",)


def _target(
    log: DecisionLog, asked: Sequence[Request], found: Sequence[Mapping[Which, Answers]], other: Other, limits: Limits,
    gone: Sequence[str],
) -> Target:  # fmt: skip
    was = [answers[_as_it_was(each)] for each, answers in zip(asked, found, strict=True)]
    now = [answers[_instead(each, other)] for each, answers in zip(asked, found, strict=True)]
    check = checked(asked, was)
    told = by_decision(asked, now)
    shown = {slot.key: slot for each in asked for slot in each.slots}
    torn = log.request[log.usable & ~_among(log, told)]
    whole = log.take(~log.usable | ~np.isin(log.request, torn))
    kept, policy = widened(whole, _actions(told)), chances_policy(told)
    others, what = other_items(kept, policy(kept), told, shown)
    lost = int(log.usable.sum() - kept.usable.sum())
    reasons = [*not_reproduced(check), *_other_slots(asked, now), *not_randomised(others, what, limits)]
    notes = [*_notes(check, asked, lost, gone)]
    if 0 < others <= limits.unsupported:
        notes.append(f"{others:.2%} of what it would show are other items; they count as if they were the same.")
    return Target(policy, kept, tuple(reasons), tuple(notes), check)


def _keys(log: DecisionLog) -> np.typing.NDArray[np.uint64]:
    if log.keys is None:
        raise DataError("the log does not say which decisions it holds", hint="read it from the dataset")
    return log.keys


def _among(log: DecisionLog, told: Mapping[int, Answer]) -> Mask:
    found: Mask = np.isin(_keys(log), np.fromiter(told, np.uint64, len(told)))
    return found


def _as_it_was(request: Request) -> Which:
    return request.bundle, request.config


def _instead(request: Request, other: Other) -> Which:
    return other.bundle or request.bundle, request.config if other.config is None else other.config.hash


def _lives(
    shop: Shop, requests: Sequence[Request], known: Sequence[ShopConfig], other: Other
) -> tuple[dict[Which, Live], list[str]]:
    """The pipelines that can be opened, and what is needed and not there any more."""
    configs = {config.hash: config for config in (*known, *([other.config] if other.config else []))}
    bundles: dict[str, Bundle | None] = {}
    if other.bundle is not None:
        bundles[other.bundle] = bundle_of(shop, other.bundle)
    lives: dict[Which, Live] = {}
    gone: dict[str, None] = {}
    for which in dict.fromkeys(
        each for request in requests for each in (_as_it_was(request), _instead(request, other))
    ):
        name, digest = which
        if name not in bundles:
            bundles[name] = _bundle_if_there(shop, name)
        bundle = bundles[name]
        if bundle is None:
            gone[f"bundle {name}"] = None
        elif digest not in configs:
            gone[f"shop.toml {digest}"] = None
        else:
            lives[which] = open_live(shop, bundle, configs[digest])
    return lives, list(gone)


def _bundle_if_there(shop: Shop, name: str) -> Bundle | None:
    try:
        return bundle_of(shop, name)
    except NotFoundError:
        return None


def by_decision(asked: Iterable[Request], answers: Iterable[Answers]) -> dict[int, Answer]:
    """The answer of each decision, by key; one that repeats another has its probabilities, but its own items.

    What repeats a decision that was not asked about has no answer.
    """
    slots = [
        (slot, answer)
        for request, each in zip(asked, answers, strict=True)
        for slot, answer in zip(request.slots, each or (), strict=each is not None)
    ]
    own = {slot.key: answer for slot, answer in slots if slot.root is None}
    again = {slot.key: replace(own[slot.root], items=answer.items) for slot, answer in slots if slot.root in own}
    return own | again


def chances_policy(told: Mapping[int, Answer]) -> Policy:
    """A pipeline's probabilities as a policy; decisions that it was not asked about are decided as in the log."""

    def policy(log: DecisionLog) -> Doubles:
        found = logging(log).copy()
        places = {action: place for place, action in enumerate(log.actions)}
        for row, key in enumerate(_keys(log).tolist()):
            if key in told:
                found[row] = 0
                for action, chance in told[key].chances:
                    found[row, places[action]] = chance
        return found

    return policy


def widened(log: DecisionLog, actions: Iterable[str | None]) -> DecisionLog:
    """The log with a column for each of some actions; those that it never tried have the probability 0 in it."""
    more = sorted({action for action in actions if action is not None} - set(log.actions))
    nothing = np.zeros((len(log), len(more)))
    return replace(log, actions=(*log.actions, *more), propensity=np.hstack([log.propensity, nothing]))


def _actions(told: Mapping[int, Answer]) -> set[str | None]:
    return {action for answer in told.values() for action, _ in answer.chances}


def _other_slots(asked: Sequence[Request], answers: Sequence[Answers]) -> list[Reason]:
    if any(each is not None for each in answers):
        return []
    text = (
        f"It has other slots than were logged ({', '.join(slot.slot for slot in asked[0].slots)}): what fills a slot"
        " can be valued, not a slot that was never there. Give it the logged slots, or try the page in an experiment."
    )
    return [Reason("other-slots", 1.0, 0.0, text)]


def _notes(check: Check, asked: Sequence[Request], lost: int, gone: Sequence[str]) -> Iterable[str]:
    if check.share >= REPRODUCED:
        yield (
            f"The pipeline that decided, rebuilt, gives {check.reproduced:,} of {check.checked:,} decisions again"
            f" ({check.share:.1%})."
        )
        if check.differences:
            yield f"First differences: {'; '.join(check.differences)}."
    if lost:
        why = ", ".join(gone) or "other slots, or the repeat of a decision elsewhere"
        yield f"{lost:,} decisions are left out, because their page cannot be rebuilt ({why})."
    if untold := sum(not each.told for each in asked):
        yield f"{untold:,} pages did not log device, source and region: they are taken as not given."
