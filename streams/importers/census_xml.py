"""Reads a census file child by child: a safe streaming XML reader that keeps line numbers.

Built on defusedxml's expat reader with document type declarations forbidden, so that no entity is
ever expanded and nothing outside the file is fetched. Only a chunk and one child are held at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from defusedxml.common import DefusedXmlException, DTDForbidden
from defusedxml.expatreader import DefusedExpatParser

from streams.errors import StreamsError

CHUNK_BYTES: Final = 64 * 1024

MAX_SILENCE_BYTES: Final = 4 * 1024 * 1024
"""Bytes read without an element or text; expat would hold an endless comment or tag in memory."""

MAX_DEPTH: Final = 32
"""Elements inside one another; the census itself uses seven."""

MAX_TEXT: Final = 512
"""Characters kept of one element's text; the longest legal value is far shorter."""

MAX_NODES: Final = 20_000
"""Elements kept of one child; the fullest real child has some hundreds."""

_BOM = b"\xef\xbb\xbf"
_OTHER_FILES: Final = {
    b"PK\x03\x04": "This is a zip archive or an Excel workbook, not a census XML file: unpack it first.",
    b"\x1f\x8b": "This is a gzip archive, not a census XML file: unpack it first (gunzip).",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"<\x00", b"\x00<")


class ImportRefused(StreamsError):
    """The import did not take place; the message says why in plain English."""


class NotACensus(ImportRefused):
    """The file is not a Children in Need census, or cannot be read as one; nothing was taken."""


@dataclass(slots=True)
class Node:
    """One element: its name in lower case without namespace, line (from 1), text and children."""

    name: str
    shown: str
    line: int
    text: str = ""
    text_line: int = 0
    children: list[Node] = field(default_factory=list)

    def all(self, name: str) -> list[Node]:
        """Returns the direct children of this name, in file order."""
        return [child for child in self.children if child.name == name]

    def first(self, name: str) -> Node | None:
        """Returns the first direct child of this name."""
        return next((child for child in self.children if child.name == name), None)

    def leaves(self, *names: str) -> list[Node]:
        """Returns the elements of these names, at any depth, that hold text and no elements."""
        return [node for node in self.walk() if node.name in names and not node.children]

    def walk(self) -> Iterator[Node]:
        """Yields this element and everything in it, in file order."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Header:
    """The header element, or None when the file has no header; always comes first."""

    node: Node | None


@dataclass(frozen=True, slots=True)
class ChildNode:
    """One child of the file: its number (from 1), its element, and whether parts were cut off."""

    number: int
    node: Node
    cut: bool


@dataclass(frozen=True, slots=True)
class StrayText:
    """Text that stands outside the header and every child."""

    line: int


Part = Header | ChildNode | StrayText


class _Handler(ContentHandler):
    """Builds the header and one child at a time; everything else passes by."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self._shift = shift
        self._locator: Locator | None = None
        self._depth = 0
        self._stack: list[Node] = []
        self._nodes = 0
        self._skipping = 0
        self.two_bytes = False
        self.calls = 0
        self.children = 0
        self.root_seen = False
        self.header_seen = False
        self.parts: list[Part] = []

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - SAX's name
        self._locator = locator

    def line(self) -> int:
        """Returns the line being read, from 1."""
        return self._shift + ((self._locator.getLineNumber() or 1) if self._locator else 1)

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: ARG002, N802 - SAX's names
        self.calls += 1
        self._depth += 1
        local = name.rpartition(":")[2]
        lower = local.lower()
        if self._depth == 1:
            _check_root(lower, self.line())
            self.root_seen = True
        if self._depth > MAX_DEPTH:
            msg = f"Elements are nested more than {MAX_DEPTH} deep at line {self.line()}."
            raise NotACensus(msg)
        if self._stack:
            self._grow(lower, local)
        elif (self._depth, lower) == (2, "children"):
            self._set_header(None)
        elif (self._depth, lower) in {(2, "header"), (3, "child")}:
            self.children += lower == "child"
            self._nodes = 0
            self._stack = [Node(lower, local, self.line())]

    def _grow(self, lower: str, local: str) -> None:
        self._nodes += 1
        if self._skipping or self._nodes > MAX_NODES:
            self._skipping += 1
            return
        node = Node(lower[:MAX_TEXT], local[:MAX_TEXT], self.line())
        self._stack[-1].children.append(node)
        self._stack.append(node)

    def characters(self, content: str) -> None:
        self.calls += 1
        if self._skipping:
            return
        if not self._stack:
            if content.strip():
                self.parts.append(StrayText(self.line()))
            return
        node = self._stack[-1]
        if not node.text_line and content.strip():
            node.text_line = self.line()
        # Layout between elements is not kept: it would use up the room for a value.
        if len(node.text) <= MAX_TEXT and (node.text or content.strip()):
            node.text += content[: MAX_TEXT + 1]

    def endElement(self, name: str) -> None:  # noqa: ARG002, N802 - SAX's name
        self.calls += 1
        self._depth -= 1
        if self._skipping:
            self._skipping -= 1
            return
        if not self._stack:
            return
        node = self._stack.pop()
        node.text = node.text.strip()
        if self._stack:
            return
        if node.name == "header":
            self._set_header(node)
        else:
            self._set_header(None)
            self.parts.append(ChildNode(self.children, node, self._nodes > MAX_NODES))

    def _set_header(self, node: Node | None) -> None:
        if not self.header_seen:
            self.header_seen = True
            self.parts.append(Header(node))


def read_parts(stream: IO[bytes]) -> Iterator[Part]:
    """Yields the header (first, and always), each child in file order, and stray text.

    Args:
        stream: the file, opened in binary mode; its XML declaration names the encoding.

    Raises:
        NotACensus: for anything that is not one whole, well-formed XML census. What was yielded
            before then is not to be used: the caller takes all of a file or none of it.
    """
    chunk, shift = _first_chunk(stream)
    handler = _Handler(shift)
    handler.two_bytes = chunk.startswith(_UTF16)
    parser = DefusedExpatParser(forbid_dtd=True)
    parser.setContentHandler(handler)
    # Only a parser given a whole file tells its handler where it is; one that is fed does not.
    handler.setDocumentLocator(parser)
    silence, calls = 0, 0
    while chunk:
        _feed(parser, handler, chunk)
        yield from handler.parts
        handler.parts.clear()
        silence = silence + len(chunk) if handler.calls == calls else 0
        calls = handler.calls
        if silence > MAX_SILENCE_BYTES:
            msg = f"A single tag or comment near line {handler.line()} is too long to read."
            raise NotACensus(msg)
        chunk = stream.read(CHUNK_BYTES)
    _feed(parser, handler, None)
    if not handler.header_seen:
        msg = "The file has neither a <Header> nor <Children>: it is not a Children in Need census."
        raise NotACensus(msg)


def _feed(parser: DefusedExpatParser, handler: _Handler, chunk: bytes | None) -> None:
    """Feeds a chunk, or ends the file when there is none; troubles become NotACensus."""
    try:
        if chunk is None:
            parser.close()
        else:
            parser.feed(chunk)
    except NotACensus:
        raise
    except SAXParseException as error:
        raise NotACensus(_broken(error, handler)) from error
    except DefusedXmlException as error:
        raise NotACensus(_forbidden(error)) from error
    except (SAXException, LookupError, ValueError) as error:
        msg = f"The file names a character encoding that cannot be read (line {handler.line()})."
        raise NotACensus(msg) from error


def _first_chunk(stream: IO[bytes]) -> tuple[bytes, int]:
    """Returns the first bytes without leading blanks, and how many lines those blanks took."""
    shift = 0
    while chunk := stream.read(CHUNK_BYTES):
        for start, msg in _OTHER_FILES.items():
            if chunk.startswith(start):
                raise NotACensus(msg)
        rest = chunk.removeprefix(_BOM).lstrip(b" \t\r\n")
        shift += chunk[: len(chunk) - len(rest)].count(b"\n")
        if rest:
            return rest, shift
    msg = "The file is empty."
    raise NotACensus(msg)


def _check_root(name: str, line: int) -> None:
    if name == "message":
        return
    what = "a web page" if name == "html" else "XML, but its outermost element is not <Message>"
    msg = f"This is {what} (line {line}): it is not a Children in Need census."
    raise NotACensus(msg)


def _forbidden(error: DefusedXmlException) -> str:
    if isinstance(error, DTDForbidden) and str(error.name).lower() == "html":
        return "This is a web page: it is not a Children in Need census."
    return (
        "The file declares a document type. A census has none, and one can be used to attack the "
        "reader, so the file was not read."
    )


def _broken(error: SAXParseException, handler: _Handler) -> str:
    reason = error.getMessage()
    if not handler.root_seen:
        hint = " It looks like UTF-16: save it as UTF-8." if handler.two_bytes else ""
        return f"This is not an XML file ({reason}).{hint}"
    child = f", in child {handler.children}" if handler.children else ""
    return (
        f"The file breaks at line {handler.line()}{child} ({reason}): it is cut short or damaged. "
        "Nothing was taken from it; ask for it to be exported again."
    )
