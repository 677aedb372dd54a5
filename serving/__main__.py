"""`python -m serving VERB`: what an operator needs where only the service is installed.

The verbs are those of `kokyaku`: erase, export, receipt, sync, doctor. Errors are one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from features.errors import KokyakuError
from features.shop import Shop
from serving import ops


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 when all is well, 1 when `doctor` found something broken, 2 on an error.
    """
    given = _parser().parse_args(arguments)
    try:
        shop = Shop(given.shop, (given.root or Path("shops") / given.shop).absolute())
        return int(given.run(shop, given))
    except KokyakuError as error:
        sys.stderr.write(f"error: {error.line()}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m serving", description="Operate a Kokyaku shop.")
    parser.add_argument("--shop", default=os.environ.get("KOKYAKU_SHOP", "demo"), help="name of the shop")
    root = os.environ.get("KOKYAKU_ROOT")
    parser.add_argument("--root", type=Path, default=root and Path(root), help="its folder (default: shops/<shop>)")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    erase = verbs.add_parser("erase", help="forget a customer; prints the receipt")
    erase.add_argument("customer", help="the customer's id")
    erase.set_defaults(run=lambda shop, given: _print(ops.erase_customer(shop, given.customer)))
    export = verbs.add_parser("export", help="all that is kept of a customer")
    export.add_argument("customer", help="the customer's id")
    export.set_defaults(run=lambda shop, given: _print(ops.export_customer(shop, given.customer)))
    receipt = verbs.add_parser("receipt", help="how far an erasure is")
    receipt.add_argument("id", help="the receipt's id")
    receipt.set_defaults(run=lambda shop, given: _print(ops.read_receipt(shop, given.id)))
    sync = verbs.add_parser("sync", help="bring what the service received into the dataset")
    sync.set_defaults(run=lambda shop, given: _print(msgspec.to_builtins(ops.sync_shop(shop))))
    verbs.add_parser("doctor", help="look whether all is well").set_defaults(run=_doctor)
    return parser


def _doctor(shop: Shop, given: argparse.Namespace) -> int:
    checks = ops.doctor(shop)
    for check in checks:
        remedy = f"; {check.remedy}" if check.remedy else ""
        sys.stdout.write(f"{check.verdict:4}  {check.name}: {check.detail}{remedy}\n")
    return int(any(check.verdict == "fail" for check in checks))


def _print(answer: Any) -> int:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
