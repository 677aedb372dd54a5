"""LightGBM's boosters as the flat arrays of `serving.trees.Forest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from features.errors import ConfigError
from serving.trees import Forest

Node = Mapping[str, Any]


def forest_of(booster: lightgbm.Booster) -> Forest:
    """The trees of a booster; `Forest.predict` equals `Booster.predict(raw_score=True)` up to the order of a sum.

    Raises:
        ConfigError: the trees are averaged (a random forest), several a round (several classes) or have linear leaves;
            or a split is categorical, or treats zero as missing: codes are numbers here, and NaN is missing.
    """
    model = booster.dump_model()
    if model["average_output"] or model["num_tree_per_iteration"] != 1:
        got = {name: model[name] for name in ("average_output", "num_tree_per_iteration")}
        raise ConfigError("only sums of trees, one a round, can be served", where="ranker", got=got)
    nodes: list[tuple[int, float, int, int, bool, float]] = []
    roots, depth = [], 0
    for tree in model["tree_info"]:
        roots.append(len(nodes))
        depth = max(depth, _add(nodes, tree["tree_structure"]))
    feature, threshold, left, right, nan_left, value = zip(*nodes, strict=True)
    return Forest(
        np.array(feature, np.int32), np.array(threshold, np.float64), np.array(left, np.int32),
        np.array(right, np.int32), np.array(nan_left, bool), np.array(value, np.float64),
        np.array(roots, np.int32), np.array([depth], np.int32),
    )  # fmt: skip


def _add(nodes: list[tuple[int, float, int, int, bool, float]], node: Node) -> int:
    """Append a node and all below it, parents first; returns the height."""
    place = len(nodes)
    if "leaf_features" in node:
        raise ConfigError("linear leaves cannot be served", where="ranker", got=node["leaf_features"])
    if "split_feature" not in node:
        nodes.append((0, np.inf, place, place, True, float(node["leaf_value"])))
        return 0
    if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
        got = (node["decision_type"], node["missing_type"])
        raise ConfigError("only numeric splits, with NaN for what is missing, can be served", where="ranker", got=got)
    nodes.append((0, 0.0, 0, 0, True, 0.0))
    left = len(nodes)
    deep = _add(nodes, node["left_child"])
    right = len(nodes)
    deep = 1 + max(deep, _add(nodes, node["right_child"]))
    # Without missing values in training LightGBM reads NaN as 0.
    nan_left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
    nodes[place] = (
        node["split_feature"], float(node["threshold"]), left, right, bool(nan_left), float(node["internal_value"])
    )  # fmt: skip
    return deep
