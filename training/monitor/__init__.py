"""Health over time: whether data, answers and policies are still what the serving bundle was trained on and judged by.

`watch` looks at windows, `record` keeps them in MLflow, `report` shows them; the figures are in `psi`, `shares`,
`measure`.
"""
