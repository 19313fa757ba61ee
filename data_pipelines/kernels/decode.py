"""Bytes to text: the charset by mark, header, page or detection, in that order.

The order is that of the WHATWG encoding sniffing algorithm
(https://html.spec.whatwg.org/multipage/parsing.html#determining-the-character-encoding), with one
change: bytes that are valid UTF-8 are UTF-8 whatever a header says, since servers declare
ISO-8859-1 for everything and text in another encoding is next to never valid UTF-8 by accident.
"""

import codecs
import re
from typing import NamedTuple

from resiliparse.parse.encoding import detect_encoding

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
         (codecs.BOM_UTF16_BE, "utf-16-be"))
META = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([\w:.-]{2,40})", re.I)
CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w:.-]{2,40})", re.I)
META_BYTES = 1024         # the standard's window
# What browsers do (https://encoding.spec.whatwg.org/#names-and-labels): supersets of the names.
SUPERSETS = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030",
             "shift_jis": "cp932", "euc_kr": "cp949", "iso8859-9": "cp1254", "tis-620": "cp874"}


class Decoded(NamedTuple):
    """Text, the codec's name, and who named it: "mark", "utf-8", "header", "meta", "detected"."""

    text: str
    encoding: str
    by: str


def decode(data: bytes, content_type: str = "") -> Decoded:
    """Return the text of bytes; what no encoding explains becomes U+FFFD.

    Args:
        data: a page or a document.
        content_type: the HTTP header, or "".
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return Decoded(data[len(mark):].decode(name, "replace"), name, "mark")
    try:
        return Decoded(data.decode("utf-8"), "utf-8", "utf-8")
    except UnicodeDecodeError:
        pass
    header = CHARSET.search(content_type)
    meta = META.search(data[:META_BYTES])
    named = (("header", header and header[1]), ("meta", meta and meta[1].decode("ascii", "ignore")))
    candidates = [(by, codec) for by, name in named if name and (codec := codec_name(name))]
    for by, codec in candidates:
        try:
            return Decoded(data.decode(codec), codec, by)
        except (UnicodeDecodeError, LookupError):
            continue
    # Truncation and stray bytes leave no encoding that fits: the one named is still likeliest.
    by, codec = candidates[0] if candidates else ("detected", codec_name(detect_encoding(data)))
    return Decoded(data.decode(codec or "utf-8", "replace"), codec or "utf-8", by)


def codec_name(label: str) -> str:
    """Return Python's name of a charset as browsers understand it, "" where it is none."""
    try:
        info = codecs.lookup(label)
    except LookupError:
        return ""
    return SUPERSETS.get(info.name, info.name) if getattr(info, "_is_text_encoding", True) else ""
