"""An audit as Markdown."""

from __future__ import annotations

from features.audit.report import AuditReport, Cell, Finding, Table
from features.audit.words import number


def as_markdown(report: AuditReport) -> str:
    """The whole report with GitHub's tables; findings worst first, tables below the sentence they belong to."""
    parts = [f"# Audit of {_plain(report.dataset)}", _head(report), _overview(report)]
    parts += [_section(finding) for finding in report.by_severity() if finding.remedy or finding.table]
    return "\n\n".join(parts) + "\n"


def _head(report: AuditReport) -> str:
    counts = ", ".join(f"{n} {verdict}" for verdict, n in report.verdicts().items() if n)
    sizes = ", ".join(f"{size.table} {number(size.rows)}" for size in report.sizes if size.rows)
    return f"{report.period}\n\nRows: {sizes or 'none'}.\n\nVerdicts: {counts}."


def _overview(report: AuditReport) -> str:
    table = Table(
        ("verdict", "check", "what was found"),
        [(finding.verdict.value, finding.title, finding.sentence) for finding in report.by_severity()],
    )
    return table_of(table)


def _section(finding: Finding) -> str:
    lines = [f"## {finding.title} ({finding.verdict.value})", finding.sentence]
    if finding.remedy:
        lines.append(f"*What to do:* {finding.remedy}")
    if finding.table:
        lines.append(table_of(finding.table))
    return "\n\n".join(lines)


def table_of(table: Table) -> str:
    """A Markdown table; numbers align right."""
    numeric = [any(isinstance(row[at], int | float) for row in table.rows) for at in range(len(table.columns))]
    lines = [_line(table.columns), "|" + "|".join("---:" if right else "---" for right in numeric) + "|"]
    return "\n".join([*lines, *(_line(row) for row in table.rows)])


def _line(cells: tuple[Cell, ...]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(cell: Cell) -> str:
    """A cell that cannot break out of its table: what stands in it may come from somebody's export."""
    if cell is None:
        return ""
    if isinstance(cell, int | float):
        return number(cell)
    return " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
