"""Experiment tracking: the one package that speaks MLflow.

A shop has one SQLite store, one folder of artefacts, one experiment for training and one for monitoring, and one
registered model; all names derive from the `Shop`. No server is asked: `MLFLOW_TRACKING_URI` is for other programs.
What goes in are parameters, aggregate figures, plots and hashes, never a customer's row: figures are per recipe, task
and slice.
"""

from training.tracking.client import ENVIRONMENT, RegistryUnavailable
from training.tracking.runs import Run, Value, metric_name
from training.tracking.store import CHALLENGER, CHAMPION, Kept, Tracking, Version

__all__ = [
    "CHALLENGER", "CHAMPION", "ENVIRONMENT", "Kept", "RegistryUnavailable", "Run", "Tracking", "Value", "Version",
    "metric_name",
]  # fmt: skip
