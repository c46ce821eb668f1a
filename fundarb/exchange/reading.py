"""One HTTP answer as it arrives: head and body put together by ``httptools`` (llhttp), which refuses what is
ambiguous, within a bounded size.

An answer counts as whole only when its announced length, its last chunk, or, where neither was announced, the
end of the connection has come. Knows nothing of sockets and of what an answer means.
"""

from __future__ import annotations

import zlib
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from fundarb.errors import BadAnswer
from fundarb.exchange.strict import MAX_BODY

_MAX_HEAD = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_FINAL = 200
"""Below stand interim answers, which the real one follows."""


class Reading:
    """Feed it what arrives until it is ``complete``.

    ``keep`` says whether the connection may carry another request: the answer was delimited, the server wants
    to go on, and nothing came behind it.
    """

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.status = 0
        self.complete = False
        self.keep = False
        self._parser: Any = HttpResponseParser(self)
        self._headed = False
        self._delimited = False
        self._encoding = b"identity"
        self._head = 0
        self._fresh: list[bytes] = []
        self._body: list[bytes] = []
        self._room = MAX_BODY
        self._unpack: Any = None

    @property
    def body(self) -> bytes:
        """The decoded body."""
        return b"".join(self._body)

    def feed(self, data: bytes) -> None:
        """The next bytes; ``ConnectionError`` if they are no HTTP, ``BadAnswer`` if the answer is too large
        or badly packed.
        """
        if not self._headed:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.keep = False
        except HttpParserError as error:
            self.keep = False
            if not self.complete:  # else it is what came behind the answer
                raise ConnectionError(f"what came is not HTTP ({error})") from error
        if not self._headed and self._head > _MAX_HEAD:
            raise BadAnswer("the head of the answer has no end")
        self._take()
        if self.complete and self._unpack is not None and not self._unpack.eof:
            raise BadAnswer("the answer is badly packed")

    def end(self) -> None:
        """The connection has ended; ``ConnectionError`` unless that is what ends this answer."""
        if not self._headed:
            raise ConnectionError("closed without an answer")
        if self._delimited:
            raise ConnectionError("the answer was cut")
        self.complete = True

    def _take(self) -> None:
        """Decode what has arrived of the body."""
        if self._headed and self._encoding not in {b"gzip", b"identity"}:
            raise BadAnswer("the answer is packed in a way that was not asked for")
        fresh, self._fresh = self._fresh, []
        for packed in fresh:
            piece = packed if self._unpack is None else self._unpacked(packed)
            self._room -= len(piece)
            if self._room < 0:
                raise BadAnswer(f"the answer is larger than {MAX_BODY // 2**20} MiB")
            self._body.append(piece)

    def _unpacked(self, packed: bytes) -> bytes:
        """At most a byte more than there is room for."""
        try:
            piece: bytes = self._unpack.decompress(packed, self._room + 1)
        except zlib.error as error:
            raise BadAnswer("the answer is badly packed") from error
        return piece

    # ------------------------------------------------------------------------------------------ the parser's
    # events

    def on_message_begin(self) -> None:
        """A second answer to one request: nobody asked for it."""
        if self.complete:
            self.keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        if self.complete:
            return
        lower = name.lower()
        if lower == b"content-encoding":
            self._encoding = value.strip().lower()
        elif lower in {b"content-length", b"transfer-encoding"}:
            self._delimited = True

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        self._headed = self.status >= _FINAL
        if self._encoding == b"gzip":
            self._unpack = zlib.decompressobj(_GZIP)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if not self.complete:
            self._fresh.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole, or an interim one is over."""
        if self._headed and not self.complete:
            self.complete = True
            self.keep = self._parser.should_keep_alive()
