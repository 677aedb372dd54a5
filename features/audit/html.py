"""An audit as one HTML page: no scripts, no fonts, nothing from elsewhere."""

from __future__ import annotations

from html import escape

from features.audit.report import AuditReport, Cell, Finding, Table, Verdict
from features.audit.words import number

STYLE = """
:root { color-scheme: light dark; --ink: #22272b; --soft: #667078; --line: #dfe3e6; --paper: #fbfbfa; --card: #fff;
  --ok: #4d7c5f; --note: #4a6d96; --warning: #a87418; --failed: #a8423a; --bar: #c9d6e2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e8; --soft: #9aa4ab; --line: #343a3f; --paper: #1b1e20;
  --card: #232729; --ok: #86b698; --note: #8fb0d6; --warning: #d9ab57; --failed: #de8379; --bar: #3d5063; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Hiragino Sans", "Noto Sans JP", sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.7rem; font-weight: 600; margin: 0 0 .25rem }
h2 { font-size: 1.05rem; font-weight: 600; margin: 0 }
p { margin: .35rem 0; max-width: 46rem }
.soft, .remedy { color: var(--soft) }
.counts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.4rem 0; padding: 0; list-style: none }
.counts li { border: 1px solid var(--line); background: var(--card); border-radius: .5rem; padding: .35rem .9rem }
.counts b { font-size: 1.25rem; margin-right: .35rem }
article { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--tone);
  border-radius: .5rem; padding: .9rem 1.2rem; margin: .7rem 0 }
article header { display: flex; align-items: baseline; gap: .7rem; flex-wrap: wrap }
.verdict { color: var(--tone); font-weight: 600; font-size: .85rem }
.ok { --tone: var(--ok) } .note { --tone: var(--note) }
.warning { --tone: var(--warning) } .failed { --tone: var(--failed) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: .88rem; margin-top: .6rem; font-variant-numeric: tabular-nums }
th, td { padding: .22rem .8rem .22rem 0; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 500 }
td.number, th.number { text-align: right }
td.bar { min-width: 7rem; background: linear-gradient(var(--bar), var(--bar)) left / var(--share) 72% no-repeat }
details { margin-top: .5rem; font-size: .88rem } summary { color: var(--soft); cursor: pointer }
h2.well { margin: 2rem 0 .6rem }
.rows details { margin: 0; font-size: .95rem; border-bottom: 1px solid var(--line); padding: .4rem 0 }
.rows summary { color: var(--ink) } .rows summary b { display: inline-block; min-width: 14rem; font-weight: 500 }
.rows summary span { color: var(--soft) } .rows .scroll { padding-left: 1.1rem; font-size: .92rem }
"""


def as_html(report: AuditReport) -> str:
    """The whole page, findings worst first; it needs nothing else."""
    counts = "".join(
        f'<li class="{verdict}"><b>{n}</b><span class="verdict">{verdict}</span></li>'
        for verdict, n in report.verdicts().items()
    )
    sizes = Table(("table", "rows"), [(size.table, size.rows) for size in report.sizes if size.rows])
    imports = Table(
        ("import", "source", "at", "refused rows"),
        [(each.id, each.source, each.at, each.quarantined) for each in report.imports],
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Audit of {escape(report.dataset)}</title><style>{STYLE}</style></head><body><main>
<h1>Audit of {escape(report.dataset)}</h1>
<p class="soft">{escape(report.period)}</p>
<ul class="counts">{counts}</ul>
{"".join(_article(finding) for finding in report.by_severity() if finding.verdict is not Verdict.OK)}
<h2 class="well">What is well</h2><div class="rows">
{"".join(_row(finding) for finding in report.by_severity() if finding.verdict is Verdict.OK)}</div>
<details><summary>Tables and imports</summary>{_table(sizes)}{_table(imports)}</details>
</main></body></html>
"""


def _article(finding: Finding) -> str:
    verdict = finding.verdict.value
    remedy = f'<p class="remedy">{escape(finding.remedy)}</p>' if finding.remedy else ""
    figures = Table(("figure", "value"), list(finding.figures.items()))
    shown = _table(finding.table) if finding.table else ""
    return f"""<article class="{verdict}" id="{escape(finding.id)}">
<header><h2>{escape(finding.title)}</h2><span class="verdict">{verdict}</span></header>
<p>{escape(finding.sentence)}</p>{remedy}{shown}
<details><summary>Figures</summary>{_table(figures)}</details></article>
"""


def _row(finding: Finding) -> str:
    """A check with nothing to say, on one line that opens to its figures."""
    figures = Table(("figure", "value"), list(finding.figures.items()))
    shown = _table(finding.table) if finding.table else ""
    return f"""<details id="{escape(finding.id)}"><summary><b>{escape(finding.title)}</b>
<span>{escape(finding.sentence)}</span></summary>{shown}{_table(figures)}</details>
"""


def _table(table: Table) -> str:
    """A table whose first column of counts has bars behind it."""
    numeric = [any(isinstance(row[at], int | float) for row in table.rows) for at in range(len(table.columns))]
    bar = _bar_column(table)
    head = "".join(
        f'<th class="number">{escape(name)}</th>' if right else f"<th>{escape(name)}</th>"
        for name, right in zip(table.columns, numeric, strict=True)
    )
    rows = "".join(f"<tr>{_cells(row, numeric, bar)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _bar_column(table: Table) -> tuple[int, float] | None:
    """The first column of whole numbers, and its largest; only where there are rows to compare."""
    if len(table.rows) < 2 or table.columns[0] == "figure":
        return None
    for at in range(1, len(table.columns)):
        values = [row[at] for row in table.rows]
        if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            return at, float(max(max(int(value or 0) for value in values), 1))
    return None


def _cells(row: tuple[Cell, ...], numeric: list[bool], bar: tuple[int, float] | None) -> str:
    cells = []
    for at, cell in enumerate(row):
        text = "" if cell is None else number(cell) if isinstance(cell, int | float) else escape(cell)
        if bar and at == bar[0] and isinstance(cell, int):
            cells.append(f'<td class="number bar" style="--share: {100 * cell / bar[1]:.1f}%">{text}</td>')
        else:
            cells.append(f'<td class="number">{text}</td>' if numeric[at] else f"<td>{text}</td>")
    return "".join(cells)
