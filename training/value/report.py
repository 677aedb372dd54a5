"""A forecast of value as tables, a picture and a run in MLflow; per-customer values go to the merchant's file only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from features import columns as c
from features.moments import format_instant
from features.schemas import INSTANT
from features.shop import Shop
from training import plots
from training.tracking import Tracking, Value
from training.value.forecast import ValueReport, verdict_of

SCHEMA = pa.schema(
    [
        (c.CUSTOMER_ID, pa.string()),
        ("value", pa.float64()),
        ("p_buys", pa.float64()),
        ("expected_orders", pa.float64()),
        ("unit", pa.string()),
        ("horizon_days", pa.int32()),
        ("as_of", INSTANT),
        ("method", pa.string()),
    ]
)
"""One row a customer. `value` is the expected margin or revenue (`unit`), less returns, of `horizon_days` after
`as_of`; an order is all of one day; null where the method does not say."""
DECILE_COLUMNS = ("decile", "customers", "predicted", "observed", "low", "high")
METHOD_COLUMNS = (
    "method", "deviance", "mae", "mae_low", "mae_high", "gini", "spearman", "bias", "deviance_where_chosen",
    "deviance_above_chosen", "above_low", "above_high",
)  # fmt: skip


def value_table(report: ValueReport) -> pa.Table:
    """All customers in `SCHEMA`, most valuable first."""
    forecast, n = report.forecast, len(report.customers)
    order = np.argsort(-forecast.value, kind="stable")
    columns = [
        pa.array(report.customers, pa.string()).take(pa.array(order)),
        pa.array(forecast.value[order]),
        pa.array(forecast.buys[order], from_pandas=True),
        pa.array(forecast.orders[order], from_pandas=True),
        pa.array([report.money.unit] * n, pa.string()),
        pa.array([report.horizon_days] * n, pa.int32()),
        pa.array([report.as_of] * n, INSTANT),
        pa.array([report.method] * n, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def decile_rows(report: ValueReport) -> list[tuple[float, ...]]:
    """Rows of `DECILE_COLUMNS`, the highest forecasts first."""
    return [
        (each.number, each.n, each.predicted, each.observed.value, each.observed.low, each.observed.high)
        for each in report.deciles
    ]  # fmt: skip


def method_rows(report: ValueReport) -> list[tuple[str | float, ...]]:
    """Rows of `METHOD_COLUMNS`, plain methods first."""
    return [
        (
            name, of.judged_on.deviance, of.mae.value, of.mae.low, of.mae.high, of.judged_on.gini,
            of.judged_on.spearman, of.judged_on.bias, of.chosen_on.deviance, of.worse.value, of.worse.low,
            of.worse.high,
        )
        for name, of in report.judged.items()
    ]  # fmt: skip


def sentences(report: ValueReport) -> list[str]:
    """Unit, total, verdict and notes, as a person should read them."""
    total, n = float(report.forecast.value.sum()), len(report.customers)
    return [
        f"{n:,} customers are expected to bring {total:,.0f} of {report.money.unit} in the {report.horizon_days} days "
        f"after {format_instant(report.as_of)} ({report.method}).",
        report.money.why, verdict_of(report), *report.notes,
    ]  # fmt: skip


def log_report(shop: Shop, report: ValueReport) -> str:
    """Log tables, picture and figures, in a run of its own beside the training runs.

    Returns:
        The run's id.
    """
    tags = {"kokyaku.shop": shop.id, "mlflow.source.name": "kokyaku value"}
    with Tracking(shop).run("value", tags) as run:
        run.log_params(_params(report))
        run.log_metrics(_metrics(report))
        run.describe("\n\n".join(sentences(report)))
        if report.judged:
            run.log_table("value/deciles.csv", DECILE_COLUMNS, decile_rows(report))
            run.log_table("value/methods.csv", METHOD_COLUMNS, method_rows(report))
            run.log_file("value/deciles.png", picture(report))
        return run.id


def picture(report: ValueReport) -> bytes:
    """Forecast against observed by decile, as a PNG."""
    marks = [
        plots.Mark(str(each.number), each.observed.value, each.observed.low, each.observed.high)
        for each in report.deciles
    ]  # fmt: skip
    return plots.deciles(
        [each.predicted for each in report.deciles], marks, unit=report.money.unit,
        title=f"Forecast and observed, {report.horizon_days} days ahead ({report.method})",
    )  # fmt: skip


def _params(report: ValueReport) -> dict[str, Value]:
    windows = {f"window.{name}": " to ".join(map(format_instant, span)) for name, span in report.windows.items()}
    return {
        "unit": report.money.unit, "horizon_days": report.horizon_days, "method": report.method,
        "as_of": format_instant(report.as_of), "data_hash": report.data_hash, **windows,
    }  # fmt: skip


def _metrics(report: ValueReport) -> Mapping[str, float]:
    scores: Sequence[str] = ("deviance", "mae", "gini", "spearman", "bias")
    return {
        "customers": float(len(report.customers)),
        "expected_total": float(report.forecast.value.sum()),
        **{
            f"{name}/{score}": float(getattr(of.judged_on, score))
            for name, of in report.judged.items()
            for score in scores
        },
    }
