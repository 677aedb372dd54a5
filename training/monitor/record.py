"""Windows in MLflow: a run for each, with its table and pictures, and one run of all of them that draws the lines.

MLflow draws a line along the steps of one run. So all windows of a length log their figures into one run, at the step
and the moment of their end, and each has a run of its own beneath it. A window is there when its run ended well: that
comes last, so what was interrupted is made again, and figures that were logged already are logged again without effect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec
import orjson

from features.shop import Shop
from training.meter import package_versions
from training.monitor.pictures import course, pictures
from training.monitor.report import HEADS, Found, headline, markdown, metrics, read_back, rows, written
from training.monitor.windows import Window
from training.tracking import Kept, Run, Tracking

SOURCE: Final = {"mlflow.source.name": "kokyaku monitor", "kokyaku.kind": "monitor"}
SERIES, WINDOW = "kokyaku.series", "kokyaku.window"
FILE: Final = "window.json"
SHOWN: Final = 60
"""Windows in the picture of the course, the last."""


@dataclass
class Record:
    """The windows of one length of a shop.

    Args:
        shop: whose.
        length: `day` or `week`.
    """

    shop: Shop
    length: str
    tracking: Tracking = field(init=False)

    def __post_init__(self) -> None:
        self.tracking = Tracking(self.shop, monitor=True)

    def stored(self, window: Window) -> Found | None:
        """What was found in a window before; None where its run is not there, not whole, or was deleted."""
        several = map(self._found, self.tracking.kept(WINDOW, self._key(window)))
        return next((found for found in several if found is not None), None)

    def _found(self, kept: Kept) -> Found | None:
        """What a run says of its window; None where it did not end well, or its file is gone or damaged."""
        path = self.tracking.artefact(kept.id, FILE)
        if not kept.finished or not path.exists():
            return None
        try:
            return read_back(path.read_bytes())
        except (msgspec.ValidationError, orjson.JSONDecodeError, KeyError, TypeError):
            return None

    def keep(self, window: Window, found: Found) -> str:
        """Log a window; what an interrupted run left of it is deleted.

        Returns:
            The id of its run.
        """
        for kept in self.tracking.kept(WINDOW, self._key(window)):
            self.tracking.delete(kept.id)
        with self._series() as series:
            series.log_metrics(metrics(found), window.step, window.end)
            tags = {**SOURCE, WINDOW: self._key(window), "kokyaku.shop": self.shop.id, "verdict": found.verdict.value}
            with series.child(found.window, tags) as run:
                self._log(run, found, window)
                return run.id

    def draw_course(self) -> str:
        """Draw all windows so far into the run of all of them.

        Returns:
            Its id.
        """
        with self._series() as series:
            told = map(self._found, self.tracking.kept("mlflow.parentRunId", series.id))
            several = sorted((found for found in told if found is not None), key=lambda one: one.step)
            if several:
                series.log_file("plots/course.png", course(several[-SHOWN:]))
                series.describe(
                    f"**{headline(several[-1])}**\n\n{len(several)} windows; plots/course.png shows the last."
                )
            return series.id

    def _series(self) -> Run:
        tags = {**SOURCE, "kokyaku.shop": self.shop.id}
        return self.tracking.continued(f"all {self.length}s", SERIES, self.length, tags)

    def _key(self, window: Window) -> str:
        return f"{self.length}:{window.key}"

    def _log(self, run: Run, found: Found, window: Window) -> None:
        run.log_params({
            "start": found.start, "end": found.end, "reference_since": found.since, "reference_until": found.until,
            "bundle": found.bundle or "none",
            **{f"version.{name}": version for name, version in package_versions().items()},
        })  # fmt: skip
        run.log_metrics(metrics(found), window.step, window.end)
        run.log_table("measures.csv", ("group", "name", *HEADS[1:], "verdict"), [
            [each.group, each.name, *cells[1:], each.verdict.value] for each, cells in rows(found)
        ])  # fmt: skip
        for path, picture in pictures(found).items():
            run.log_file(path, picture)
        run.describe(markdown(found))
        run.log_file(FILE, written(found))
