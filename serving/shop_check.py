"""`kokyaku shop check`: what is wrong with a `shop.toml`, and what is allowed and yet unlikely to be meant.

    for finding in findings(Look(config, bundle, policies, now)): ...

Findings are a pure function of the file, the bundle that serves, the policies that the file names and the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import ConfigError, KokyakuError, NotFoundError
from features.shop import Shop
from serving.artifact import live_name
from serving.bundle import Bundle, open_bundle
from serving.business import Business
from serving.checks import paths, rules, slots, usage, words
from serving.checks.finding import Check, Finding, Look, Verdict
from serving.clock import shop_clock
from serving.config import ShopConfig, load_config
from serving.drafts import read_draft
from serving.effects import SlotPolicy
from serving.policy_files import open_policies

CHECKS: tuple[Check, ...] = (
    usage.never_shown, usage.unlikely_conditions, usage.unused, paths.names, slots.unreachable, slots.can_be_empty,
    slots.strange_to_policies, slots.messages, rules.boosts, rules.families, rules.channels, rules.sequences,
    rules.purposes,
    rules.quiet_hours, rules.experiments, words.unsaid, words.odd_words, words.languages,
)  # fmt: skip
_ORDER: Mapping[Verdict, int] = {"fail": 0, "warn": 1, "note": 2}


@dataclass(frozen=True)
class Checked:
    """A file, looked through.

    Args:
        findings: the worst first, then in the order of the checks.
        unseen: what could not be looked at, in sentences.
        look: what was looked at; None where the file cannot be read as one.
    """

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()
    look: Look | None = None

    def count(self, verdict: Verdict) -> int:
        """How many findings are of a verdict."""
        return sum(each.verdict == verdict for each in self.findings)

    @property
    def exit_code(self) -> int:
        """2 where something fails, else 0."""
        return 2 if self.count("fail") else 0

    @property
    def summary(self) -> str:
        """The counts in words."""
        told = [(self.count("fail"), "failure"), (self.count("warn"), "warning"), (self.count("note"), "note")]
        return ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for count, name in told)


def read_text(path: Path) -> str:
    """The text of a draft.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=str(path), hint="save the file as UTF-8") from None
    except OSError as error:
        raise NotFoundError("the file cannot be read", where=str(path), got=error.strerror) from None


def findings(look: Look) -> list[Finding]:
    """Everything that the checks find, the worst first; nothing twice.

    Args:
        look: the file, and what it stands beside; without a bundle names of items and categories are not looked at.
    """
    found = dict.fromkeys(finding for check in CHECKS for finding in check(look))
    return sorted(found, key=lambda finding: _ORDER[finding.verdict])


def check_shop(shop: Shop, draft: str | None = None) -> Checked:
    """Look through a shop's file, or a draft of it, beside the bundle that serves and the shop's policies.

    Hard errors are findings, too: the first of them, as the file cannot be read beyond it.

    Args:
        shop: whose bundle and policies.
        draft: text of a draft; None: the shop's own file.
    """
    try:
        config = load_config(shop.config) if draft is None else read_draft(draft)
    except ConfigError as error:
        return Checked((_failure(error),))
    failures: list[Finding] = []
    bundle, unseen = _bundle(shop)
    if bundle is not None:
        try:
            Business.of(bundle, config)
        except ConfigError as error:
            failures.append(_failure(error))
    policies = _policies(shop, config, failures)
    look = Look(config, bundle, policies, shop_clock(shop).now())
    return Checked((*failures, *findings(look)), unseen, look)


def _failure(error: ConfigError) -> Finding:
    what = error.what if error.got is None else f"{error.what}; got {error.got}"
    return Finding("fail", error.where or "shop.toml", what, error.hint)


def _bundle(shop: Shop) -> tuple[Bundle | None, tuple[str, ...]]:
    name = live_name(shop.bundles)
    unseen = "Categories, regions, brands and items that the file names were not looked up: "
    if name is None:
        return None, (f"{unseen}no bundle serves yet.",)
    try:
        return open_bundle(shop.bundles / name, verify=False), ()
    except (KokyakuError, OSError, EOFError, ValueError) as error:
        return None, (f"{unseen}the bundle cannot be opened ({error}).",)


def _policies(shop: Shop, config: ShopConfig, failures: list[Finding]) -> dict[str, SlotPolicy]:
    try:
        return open_policies(shop.policies, config)
    except ConfigError as error:
        failures.append(_failure(error))
        return {}
