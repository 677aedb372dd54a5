"""Search spaces suit the parameters that they are of; a bad one says what is wrong, where, and what was got."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from features.errors import ConfigError
from serving.settings.shop import ModelSettings
from training.methods import METHODS
from training.params import named
from training.ranking import RankerParams
from training.recipes import SESSION, Menu, menu
from training.spaces import FOLDER, Dimension, checked, read_space, widened


def everything() -> Menu:
    return menu(ModelSettings(), preset="full", customers=2000, items=500, texts=True)


def test_every_source_and_the_ranker_have_a_space_and_no_other_file_lies_there() -> None:
    wanted = {spec.method for spec in everything().sources if spec.name != SESSION} | {"ranker"}
    assert {path.stem for path in FOLDER.glob("*.toml")} == wanted


@pytest.mark.parametrize("method", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_shipped_spaces_suit_their_parameters(method: str) -> None:
    """Every name is a parameter, both ends can be had, and the defaults of both presets lie inside."""
    struct = RankerParams if method == "ranker" else METHODS[method].params
    space, where = read_space(method)
    checked(space, msgspec.to_builtins(struct()), lambda params: msgspec.convert(params, struct), where)
    defaults = [named(msgspec.to_builtins(struct()))]
    defaults += [named(spec.params) for spec in everything().sources if spec.method == method]
    _, notes = widened(space, [{key: each[key] for key in space} for each in defaults], where)
    assert notes == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("factors = {low = 1", "not valid TOML"),
        ("", "the search space is empty"),
        ("factor = {low = 8, high = 16}", "no such parameter; got 'factor'; did you mean \"factors\""),
        ("confidence.half_life = {low = 8.0, high = 16.0}", 'did you mean "confidence.half_life_days"'),
        ("factors = {low = 16, high = 8}", "low must be below high"),
        ("factors = {low = 8}", "a range needs both ends"),
        ("factors = {low = 0, high = 8}", "Expected `int` >= 1"),
        ("factors = {low = 8.0, high = 16.5}", "Expected `int`, got `float`"),
        ("factors = {low = 8, high = 16, steps = 3}", "unknown field `steps`"),
        ("factors = {choices = []}", "neither a range nor choices"),
        ("factors = {low = 8, high = 9, choices = [8]}", "neither a range nor choices"),
        ("factors = {choices = [8, 'many']}", "Expected `int`, got `str`"),
        ("factors = 8", "Expected `object`, got `int`"),
        ("alpha = {low = 0.0, high = 1.0, log = true}", "must begin above 0"),
        ("alpha = {low = 1.0, high = inf}", "a range needs both ends"),
        ("confidence.damped = {choices = [1.5]}", "Expected `bool`, got `float`"),
    ],
)
def test_a_bad_space_says_what_where_and_got(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    params = METHODS["ials"].params
    with pytest.raises(ConfigError) as error:
        space, where = read_space("ials", file)
        checked(space, msgspec.to_builtins(params()), lambda given: msgspec.convert(given, params), where)
    assert message in error.value.line()
    assert str(file) in error.value.where


def test_a_space_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bm25\.toml.*ials"):
        read_space("bm25")
    with pytest.raises(ConfigError, match="nowhere"):
        read_space("ials", tmp_path / "nowhere.toml")


def test_a_space_is_widened_to_hold_the_default() -> None:
    space = {"a": Dimension(1, 4), "b": Dimension(choices=("x",)), "c": Dimension(0.5, 1.0, log=True)}
    wide, notes = widened(space, [{"a": 9, "b": "y", "c": 0.7}], "here")
    assert (wide["a"], wide["b"].choices, wide["c"]) == (Dimension(1, 9), ("x", "y"), space["c"])
    assert len(notes) == 2
    assert wide["a"].whole
    with pytest.raises(ConfigError, match="logarithmic range cannot hold"):
        widened(space, [{"a": 1, "b": "x", "c": 0.0}], "here")


def test_truth_values_are_no_numbers() -> None:
    assert not Dimension(choices=(1, 2)).holds(value=True)
    assert Dimension(choices=(True, False)).holds(value=False)
