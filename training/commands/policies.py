"""`kokyaku policies`: the learned policies that lie beside the bundles, and which slots they decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop

if TYPE_CHECKING:
    from pathlib import Path

    from serving.config import ShopConfig


def command(shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """List the learned policies: what they choose from, how, where they come from, which slots they decide.

    A slot of shop.toml uses one with policy = "NAME".

    Examples:

      kokyaku policies

      kokyaku policies --shop mine
    """
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    from serving.config import load_config
    from serving.policy_files import policy_names

    opened = open_shop(shop, root)
    config, names = load_config(opened.config), policy_names(opened.policies)
    if not names:
        console.print(f"No policies yet. Learn one: kokyaku train uplift --shop {opened.id}")
        return
    table = Table(box=SIMPLE, title=f"Policies of {opened.id}", title_justify="left")
    for heading in ("policy", "decides", "chooses from", "how", "made of"):
        table.add_column(heading, no_wrap=heading == "policy", overflow="fold")  # names are copied into shop.toml
    for name in names:
        cells = line_of(opened.policies / name, config)
        table.add_row(*map(escape, cells), style="bold" if cells[1] else "dim")
    console.print(table)


def line_of(folder: Path, config: ShopConfig) -> tuple[str, ...]:
    """One policy: name, slots, actions, how it chooses, where it comes from; or what is wrong with it.

    Args:
        folder: of the policy.
        config: the shop's slots.
    """
    from features.errors import BundleError
    from serving.policy_files import open_policy

    slots = [place for place, name, _ in config.learned() if name == folder.name]
    try:
        sheet = (policy := open_policy(folder)).sheet
    except BundleError as error:
        return folder.name, ", ".join(slots), "", f"cannot be used: {error.what}", ""
    how = f"effects by {len(policy.forests)} forests" if policy.forests else "averages, the same for everybody"
    if sheet.blocks:
        how += f", {len(sheet.blocks)} groups left alone"
    return folder.name, ", ".join(slots), ", ".join(sheet.spec.actions), how, sheet.about
