"""Plots: the one package that speaks matplotlib. Each function gives the bytes of a PNG; `sheet` those of a PDF."""

from training.plots.delivery import intervals
from training.plots.drawing import Mark
from training.plots.draws import Gap, love, weights
from training.plots.evidence import Spot, deciles, places, reliability, variety
from training.plots.experiment import differences
from training.plots.journey import Box, Flow, journey_map
from training.plots.monitor import VERDICTS, Level, levels, said_and_came, verdict_map
from training.plots.paper import sheet
from training.plots.recipes import comparison, coverage, forest, learned, months, slices
from training.plots.search import Point, history
from training.plots.uplift import Line, effect_tenths, gains, qini_curves, values

__all__ = [
    "VERDICTS",
    "Box",
    "Flow",
    "Gap",
    "Level",
    "Line",
    "Mark",
    "Point",
    "Spot",
    "comparison",
    "coverage",
    "deciles",
    "differences",
    "effect_tenths",
    "forest",
    "gains",
    "history",
    "intervals",
    "journey_map",
    "learned",
    "levels",
    "love",
    "months",
    "places",
    "qini_curves",
    "reliability",
    "said_and_came",
    "sheet",
    "slices",
    "values",
    "variety",
    "verdict_map",
    "weights",
]
