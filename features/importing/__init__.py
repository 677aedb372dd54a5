"""Import: a shop's exports become events, items, customers, orders and links of a dataset, or say why not.

`open_source` names what to read, `run_import` reads it into a dataset as one commit.
"""

from features.importing.mapping import Mapping, load_mapping, parse_mapping
from features.importing.report import ImportReport, TableCounts
from features.importing.runner import run_import
from features.importing.source import Source
from features.importing.sources.registry import SOURCES, SourceOptions, open_source
from features.importing.totals import MonthTotals, Totals

__all__ = [
    "SOURCES",
    "ImportReport",
    "Mapping",
    "MonthTotals",
    "Source",
    "SourceOptions",
    "TableCounts",
    "Totals",
    "load_mapping",
    "open_source",
    "parse_mapping",
    "run_import",
]
