"""`kokyaku sync`: what the service received becomes part of the dataset."""

from __future__ import annotations

from training.commands.common import DEFAULT_SHOP, RootOption, ShopOption, console, open_shop


def command(shop: ShopOption = DEFAULT_SHOP, root: RootOption = None) -> None:
    """Bring events, decisions, links, changed items and erasures into the dataset and renew the history.

    Run it once a day or oftener, beside the running service. Interrupted, it is simply run again; with nothing new
    it changes nothing.

    Examples:

      kokyaku sync

      kokyaku sync --shop mine
    """
    from serving.ops import sync_shop

    opened = open_shop(shop, root)
    with console.status("Syncing") as status:
        report = sync_shop(opened, lambda step: status.update(f"Syncing: {step}"))
    if report.import_id is None:
        console.print("Nothing new.")
    else:
        counts = ", ".join(f"{count:,} {what}" for what, count in sorted(report.counts.items()))
        console.print(f"{report.import_id}: {counts or 'no new rows'}.")
    if report.damaged_log_bytes:
        console.print(f"[yellow]{report.damaged_log_bytes:,} bytes of the decision logs were damaged and skipped.")
    renewed = "is new" if report.history_renewed else "stays"
    console.print(f"History {report.history} {renewed}; {report.events_dropped:,} old rows left the store.")
    if report.receipts_completed:
        console.print(f"{report.receipts_completed} erasures are complete.")
