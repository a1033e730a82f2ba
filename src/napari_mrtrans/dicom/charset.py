"""Text of a DICOM file in the character set that it names (PS3.3 C.12.1.1.2; PS3.5, annexes on character sets)."""

from __future__ import annotations

import re

#: Of Specific Character Set.
CHARSET = "0008|0005"
#: What Python calls the sets, by their ISO registration number.
_CODECS = {
    "6": "ascii", "13": "shift_jis", "58": "gb2312", "87": "iso2022_jp", "100": "latin_1", "101": "iso8859_2",
    "109": "iso8859_3", "110": "iso8859_4", "126": "iso8859_7", "127": "iso8859_6", "138": "iso8859_8",
    "144": "iso8859_5", "148": "iso8859_9", "149": "euc_kr", "159": "iso2022_jp_2", "166": "tis_620", "192": "utf_8",
    "203": "iso8859_15",
}  # fmt: skip


def decoded(value: str, charset: str) -> str:
    """A value as SimpleITK gives it, whose bytes are not decoded, as text; never with halves of characters.

    Args:
        value: Bytes beyond UTF-8 stand in it as lone surrogates.
        charset: What the file says of its character sets, perhaps nothing.
    """
    raw = value.encode("utf-8", "surrogateescape")
    # Korean and simplified Chinese are announced once, and then stand there as they do without that
    raw = raw.replace(b"\x1b$)C", b"").replace(b"\x1b$)A", b"")
    codecs = _named(charset)
    if b"\x1b" in raw:
        codecs.sort(key=lambda codec: not codec.startswith("iso2022"))
    for codec in (*codecs, "utf_8"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin_1")


def _named(charset: str) -> list[str]:
    """Codecs of the sets, those of ASCII alone left out: files say it and hold more."""
    found = []
    for part in charset.split("\\"):
        name = part.strip(" \0").upper()
        number = re.search(r"(\d+)$", name) if name.startswith("ISO") else None
        codec = _CODECS.get(number[1]) if number else {"GB18030": "gb18030", "GBK": "gbk"}.get(name)
        if codec not in (None, "ascii"):
            found.append(str(codec))
    return found
