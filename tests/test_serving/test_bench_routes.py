"""What `kokyaku bench serve` asks a shop's service for."""

from __future__ import annotations

import orjson

from training.bench.serve import FLOOR, routes_of

PAGE = "\n[[pages.full.slots]]\n" + "[[pages.full.slots]]\n".join(
    f'name = "slot-{number}"\nmodules = ["popular"]\n' for number in range(8)
)


def test_the_fullest_page_is_loaded_beside_the_home_page(toy_shop) -> None:
    """Its number of slots is in its name, and both are asked for the same people."""
    toy_shop.config.write_text(toy_shop.config.read_text(encoding="utf-8") + PAGE, encoding="utf-8")
    routes = routes_of(toy_shop)
    assert FLOOR not in routes
    home, full = ([orjson.loads(body) for body in routes[name].bodies] for name in ("pages", "pages-8-slots"))
    assert {body["page"] for body in home} == {"home"}
    assert {body["page"] for body in full} == {"full"}
    assert [body["userId"] for body in home] == [body["userId"] for body in full]
