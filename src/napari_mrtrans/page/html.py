"""A page: style, pictures and all in one file, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import zip_longest

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 0 auto; padding: 0 1rem 4rem; }
p, ul, figcaption { max-width: 50rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; } .note, figcaption, small { color: #555; font-size: .85rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; text-align: left; vertical-align: top; white-space: nowrap; }
td { border-bottom: 1px solid #e5e5e5; }
th { border-bottom: 2px solid #888; white-space: normal; vertical-align: bottom; }
td small { display: block; font-size: .75rem; } tr > td:first-child { font-weight: 600; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } summary { cursor: pointer; margin-top: 1rem; }
pre { background: #f5f5f5; padding: .6rem .8rem; overflow-x: auto; font-size: .82rem; }
.warning { background: #fff4e0; border-left: 4px solid #e69f00; padding: .5rem 1rem .5rem 2rem; }
"""


#: In a cell that has no value.
NONE = "–"


@dataclass(frozen=True)
class Cell:
    """Text, a second smaller line, and whether it is a best one or only leads."""

    text: str
    small: str = ""
    best: bool = False
    leads: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a page; in each row the first cells are names."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """An image with a caption; ``kind`` is ``png`` or ``svg+xml``."""

    data: bytes
    kind: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading with text and what stands below it; ``more`` is folded away, ``code`` is to be copied."""

    title: str
    text: str = ""
    tables: Sequence[Table | None] = ()
    pictures: Sequence[Picture | None] = ()
    more: Sequence[Table | None] = ()
    warnings: Sequence[str] = field(default=())
    code: Sequence[str] = field(default=())


def page(title: str, sections: Iterable[Section]) -> str:
    """The whole document."""
    return document(title, _STYLE, "\n".join(_section(section) for section in sections))


def document(title: str, style: str, body: str) -> str:
    """The whole document of a ``body`` that stands below the heading, with its style sheet."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n"
        "</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    if section.warnings:
        parts.append(f'<ul class="warning">{"".join(f"<li>{escape(line)}</li>" for line in section.warnings)}</ul>')
    parts += [_picture(picture) for picture in section.pictures if picture]
    parts.append(_tables(section.tables))
    parts += [f"<pre>{escape(text)}</pre>" for text in section.code]
    if more := _tables(section.more):
        parts.append(f"<details><summary>The same inside the head only</summary>{more}</details>")
    return "\n".join(parts)


def _tables(tables: Sequence[Table | None]) -> str:
    """One below the other; a note that several have in a row is said once, below the last."""
    shown = [table for table in tables if table]
    pairs = zip_longest(shown, shown[1:])
    return "\n".join(_table(table, after is None or after.note != table.note) for table, after in pairs)


def _table(table: Table, with_note: bool) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note and with_note else ""
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    return f'{title}<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{note}'


def _cell(cell: Cell) -> str:
    tag = "b" if cell.best else "u" if cell.leads else ""
    text = f"<{tag}>{escape(cell.text)}</{tag}>" if tag else escape(cell.text)
    return f"<td>{text}{f'<small>{escape(cell.small)}</small>' if cell.small else ''}</td>"


def _picture(picture: Picture) -> str:
    source = f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"
    caption = escape(picture.caption)
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
