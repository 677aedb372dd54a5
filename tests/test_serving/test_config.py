"""shop.toml: defaults are a valid shop, typos are told the nearest name, and the hash follows every setting."""

from __future__ import annotations

import pytest

from features.errors import ConfigError
from serving.config import ShopConfig, load_config


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "shop.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_no_file_and_an_empty_file_are_the_default_shop(tmp_path, written):
    assert load_config(tmp_path / "none.toml") == ShopConfig() == load_config(written(""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[shop]\nnmae = "x"', 'did you mean "name"?'),
        ("[modle]\n", 'did you mean "model"?'),
        ("[shop]\nholdout = 0.9", "share from 0 to 0.5"),
        ('[shop]\ntime-zone = "Mars/Base"', "unknown time zone"),
        ("[shop]\nholdout = 'much'", "float"),
        ("[shop", "not valid TOML"),
        ('[[pages.home.slots]]\nname = "a"\nmodules = ["by-again"]', 'did you mean "buy-again"?'),
    ],
)
def test_mistakes_are_named(written, text, message):
    with pytest.raises(ConfigError, match=r"shop\.toml") as caught:
        load_config(written(text))
    assert message in caught.value.line()


def test_the_hash_changes_with_any_setting(written):
    one = load_config(written("[shop]\nholdout = 0.02"))
    two = load_config(written("[shop]\nholdout = 0.03"))
    assert one.hash == ShopConfig().hash != two.hash


def test_pages_and_modules_are_the_shops_own(written):
    config = load_config(
        written("""
[modules.again]
kind = "buy-again"
title = { en = "Once more" }
size = 4

[[pages.home.slots]]
name = "top"
modules = ["again"]
""")
    )
    assert config.modules["again"].size == 4
    assert [slot.name for slot in config.pages["home"].slots] == ["top"]
