"""What each customer is expected to bring over the next months, judged on the last ones."""

from training.value.forecast import ValueReport, forecast_value

__all__ = ["ValueReport", "forecast_value"]
