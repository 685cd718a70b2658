"""Plain text of a note: out of HTML, RTF and the debris that a wrong encoding leaves.

Spans count characters of the text that comes out of here; it is what a case keeps.
"""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

MAX_NOTE = 200_000  # characters; what is longer is read to here

_TAG = re.compile(
    r"<(?:!doctype|html|body|p|br|div|span|b|i|ul|li|table|tr|td|h[1-6]|strong|em)\b[^<>]*>", re.IGNORECASE
)
_BLOCKS = frozenset("p br div li tr table ul ol h1 h2 h3 h4 h5 h6".split())
_MOJIBAKE = re.compile(r"[ÂÃâð][\x80-\xff€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œžŸŽ]{1,3}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\ufeff]")
_RTF = re.compile(
    r"\\([a-z]{1,32})(-?\d{1,10})?[ ]?|\\'([0-9a-f]{2})|\\([^a-z])|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.IGNORECASE
)
_RTF_HIDDEN = frozenset(
    "fonttbl colortbl stylesheet info pict header footer generator object themedata datastore".split()
)


def plain(text: str) -> str:
    """The note as plain text with line breaks; a text that is plain already comes back as it is, but for its debris."""
    if text.lstrip().startswith("{\\rtf"):
        text = _from_rtf(text)
    elif _TAG.search(text):
        text = _from_html(text)
    if "&" in text:
        text = html.unescape(text)
    text = _mended(text).replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    return _CONTROL.sub("", text)[:MAX_NOTE]


def _mended(text: str) -> str:
    """UTF-8 that was read as Latin-1 or Windows-1252, read aright wherever it can be."""
    return _MOJIBAKE.sub(lambda found: _decoded(found[0]), text)


def _decoded(run: str) -> str:
    for length in range(len(run), 1, -1):
        for encoding in ("cp1252", "latin-1"):
            try:
                return run[:length].encode(encoding).decode() + run[length:]
            except UnicodeError:
                continue
    return run


class _Html(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style", "head")
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style", "head") and self.hidden > 0
        if tag in _BLOCKS:
            self.parts.append("\n")
        elif tag == "td":
            self.parts.append(" ")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def _from_html(text: str) -> str:
    parser = _Html()
    parser.feed(text)
    parser.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(parser.parts)).strip()


def _from_rtf(text: str) -> str:
    """The words of an RTF document (1.9): groups of tables and pictures left out, paragraphs as lines."""
    parts: list[str] = []
    hidden: list[bool] = [False]
    for word, number, code, sign, brace, chars in _RTF.findall(text):
        if brace == "{":
            hidden.append(hidden[-1])
        elif brace == "}":
            hidden = hidden[:-1] or [False]
        elif word in _RTF_HIDDEN or sign == "*":
            hidden[-1] = True
        elif not hidden[-1]:
            parts.append(_rtf_text(word, number, code, sign, chars))
    return "".join(parts).strip()


def _rtf_text(word: str, number: str, code: str, sign: str, chars: str) -> str:
    if word == "u":
        return chr(int(number) % 65536)
    if code:
        return bytes.fromhex(code).decode("cp1252", "replace")
    return (
        {"par": "\n", "line": "\n", "tab": " ", "cell": " ", "row": "\n"}.get(word, "")
        if word
        else (chars or (sign if sign in "\\{}" else ""))
    )
