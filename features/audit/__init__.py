"""Named checks over a dataset: what is odd in it, how odd, and what to do.

    report = audit(dataset, now)
    print(as_markdown(report))

Every check is a function `check(look) -> Finding` that asks DuckDB for a few figures; `CHECKS` lists them.
No finding names a customer: the report is logged beside models, where rows about people have no place.
"""

from features.audit.html import as_html
from features.audit.markdown import as_markdown
from features.audit.registry import CHECKS, audit
from features.audit.report import AuditReport, Finding, Table, Verdict

__all__ = ["CHECKS", "AuditReport", "Finding", "Table", "Verdict", "as_html", "as_markdown", "audit"]
