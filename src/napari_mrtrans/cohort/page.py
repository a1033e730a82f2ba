"""A cohort as one page, worst first, with nothing outside the file but links to the results beside it."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..page.html import document
from ..paths import holds_something
from ..wording import plural
from .summary import DONE, FAILED, MISSING, Row
from .thumbnail import SPREAD

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 0 auto; padding: 0 1rem 4rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2rem; } p { max-width: 50rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: middle; border-bottom: 1px solid #e5e5e5; }
th { border-bottom: 2px solid #888; } td small { display: block; color: #555; max-width: 26rem; }
img { height: 120px; display: block; } .bar { background: #eee; width: 6rem; height: .5rem; }
.bar div { background: #d55e00; height: 100%; } .failed td:first-child { border-left: 4px solid #d55e00; }
"""


def page(title: str, about: str, rows: Sequence[Row], pictures: Path | None) -> str:
    """The whole document.

    Args:
        title: Heading.
        about: Below it: what was run.
        rows: Worst first.
        pictures: Folder that the rows' thumbnails lie below; None = without them.
    """
    counts = Counter(row.status for row in rows)
    said = ", ".join(f"{counts[status]} {status}" for status in (DONE, FAILED, MISSING) if counts[status])
    legend = f"Pictures: source, mean, standard deviation (0 to {SPREAD}) of the largest slice. "
    done = [row for row in rows if row.status == DONE]
    failed = [row for row in rows if row.status == FAILED]
    counted = f"{plural(len(rows), 'scan')}: {said}"
    parts = [f"<p>{escape(about)}</p>", f"<p><b>{counted}.</b></p>"]
    if failed:
        lines = "".join(
            f'<tr class="failed"><td>{escape(row.scan)}</td><td>{escape(row.reason)}</td></tr>\n' for row in failed
        )
        parts.append(f"<h2>Failed</h2>\n<table><tr><th>scan</th><th>reason</th></tr>\n{lines}</table>")
    if done:
        parts.append(
            "<h2>Results, least like the training scans first</h2>\n<p>P(OOD) is the calibrated probability that a "
            "scan is unlike those the model has learned from; σ̂ is the mean standard deviation over the head, in the "
            f"target's normalised units [0, 1]. {legend if pictures and any(row.thumbnail for row in done) else ''}"
            "For research use only, not for diagnosis.</p>\n"
            "<table><tr><th>scan</th><th>P(OOD)</th><th>verdict</th><th>σ̂</th><th></th></tr>\n"
            f"{''.join(_done(row, pictures) for row in done)}</table>"
        )
    if missing := [f"{row.scan} ({row.reason})" if row.reason else row.scan for row in rows if row.status == MISSING]:
        parts.append(f"<h2>Not done</h2>\n<p>{escape(', '.join(missing))}. Run their command again to go on.</p>")
    return document(title, _STYLE, "\n".join(parts))


def _done(row: Row, pictures: Path | None) -> str:
    note = f"<small>{escape(row.reason)}</small>" if row.reason else ""
    scan = f'<a href="{quote(os.fsencode(row.result))}">{escape(row.scan)}</a>{note}'
    p = row.ood_probability
    said = "–" if p is None else f'{p:.2f}<div class="bar"><div style="width:{100 * p:.0f}%"></div></div>'
    sigma = "–" if row.sigma_hat is None else f"{row.sigma_hat:.4f}"
    picture = _img(pictures / row.thumbnail) if pictures else ""
    verdict = escape(row.verdict) + (f"<small>{escape(row.ood_reason)}</small>" if row.ood_reason else "")
    cells = (scan, said, verdict, sigma, picture)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"


def _img(path: Path) -> str:
    if not holds_something(path):
        return ""
    return (
        f'<img src="data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}" alt="{escape(path.stem)}">'
    )
