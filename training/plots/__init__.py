"""Plots: the one package that speaks matplotlib. Each function gives the bytes of a PNG."""

from training.plots.drawing import Mark
from training.plots.evidence import Spot, deciles, places, reliability, variety
from training.plots.recipes import comparison, coverage, forest, learned, months, slices
from training.plots.search import Point, history

__all__ = [
    "Mark",
    "Point",
    "Spot",
    "comparison",
    "coverage",
    "deciles",
    "forest",
    "history",
    "learned",
    "months",
    "places",
    "reliability",
    "slices",
    "variety",
]
