"""`python -m serving VERB`: what an operator needs where only the service is installed.

The verbs are those of `kokyaku`: erase, export, receipt, sync, doctor, keys, sign, shop check; and `compile`, before a
first start. Errors are one line on stderr, and the exit code is 2.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from features.compiled import warm
from features.errors import KokyakuError
from features.shop import Shop
from serving import key_file, ops, sign_published
from serving.checking import told
from serving.checks.words import PASSED_OVER, renderings
from serving.keys import read_keys
from serving.shop_check import check_shop, read_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 when all is well, 1 when `doctor` found something broken, 2 on an error and when `shop check` found one.
    """
    given = _parser().parse_args(arguments)
    try:
        shop = Shop.from_environment(given.shop, (given.root or Path("shops") / given.shop).absolute())
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
    doctor = verbs.add_parser("doctor", help="look whether all is well")
    doctor.add_argument("--json", action="store_true", help="for programs: ok, and checks with their remedies")
    doctor.set_defaults(run=_doctor)
    compiling = verbs.add_parser("compile", help="compile what serving runs, so that the first start need not")
    compiling.set_defaults(run=lambda shop, given: _print({"kernels": warm()}))
    sign = verbs.add_parser("sign", help="sign what was published before there was a signing key")
    sign.set_defaults(run=lambda shop, given: _print(sign_published.sign_shop(shop)))
    _add_keys(verbs.add_parser("keys", help="make, list and revoke API keys"))
    shop = verbs.add_parser("shop", help="look through shop.toml").add_subparsers(required=True, metavar="VERB")
    check = shop.add_parser("check", help="say what is wrong with it, and what is hardly meant")
    check.add_argument("--file", type=Path, help="a draft instead of the shop's file")
    check.add_argument("--words", action="store_true", help="print every text as it reads")
    check.set_defaults(run=_check)
    return parser


def _add_keys(keys: argparse.ArgumentParser) -> None:
    named = os.environ.get("KOKYAKU_KEY_FILE")
    keys.add_argument("--file", type=Path, default=named and Path(named), help="default: keys.json in the folder")
    verbs = keys.add_subparsers(required=True, metavar="VERB")
    make = verbs.add_parser("make", help="print a new key, once")
    make.add_argument("name", help="who will use it")
    make.add_argument("--scopes", required=True, help="read+events+admin+metrics, or browser")
    for name, kind in (("days", int), ("rate", float), ("burst", int), ("body", int)):
        make.add_argument(f"--{name}", type=kind, default=0, help="see kokyaku keys make --help; 0: no limit")
    make.set_defaults(run=_make_key)
    verbs.add_parser("list", help="names, scopes, ends and limits").set_defaults(run=_list_keys)
    revoke = verbs.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("name", help="its name, or #2 for the second of the list")
    revoke.set_defaults(run=lambda shop, given: _print(key_file.revoke_key(given.file or shop.keys, given.name).name))


def _make_key(shop: Shop, given: argparse.Namespace) -> int:
    limits = {"days": given.days, "rate": given.rate, "burst": given.burst, "body": given.body}
    entry = key_file.asked(given.name, given.scopes, **limits, now=time.time())
    sys.stdout.write(f"{key_file.new_key(given.file or shop.keys, entry)}\n")
    return 0


def _list_keys(shop: Shop, given: argparse.Namespace) -> int:
    return _print(key_file.told(read_keys(given.file or shop.keys), time.time()))


def _check(shop: Shop, given: argparse.Namespace) -> int:
    checked = check_shop(shop, None if given.file is None else read_text(given.file))
    for each in checked.findings:
        remedy = f"; {each.remedy}" if each.remedy else ""
        sys.stdout.write(f"{each.verdict:4}  {each.where}: {each.what}{remedy}\n")
    if given.words and checked.look is not None:
        for said in renderings(checked.look):
            sys.stdout.write(
                f"{said.where} {said.key} ({said.case}): {PASSED_OVER if said.words is None else said.words}\n"
            )
    for sentence in (*checked.unseen, f"{checked.summary}."):
        sys.stdout.write(f"{sentence}\n")
    return checked.exit_code


def _doctor(shop: Shop, given: argparse.Namespace) -> int:
    checks = ops.doctor(shop)
    found = told(checks)
    if given.json:
        _print(found)
        return int(not found["ok"])
    for check in checks:
        remedy = f"; {check.remedy}" if check.remedy else ""
        sys.stdout.write(f"{check.verdict:4}  {check.name}: {check.detail}{remedy}\n")
    return int(not found["ok"])


def _print(answer: Any) -> int:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
