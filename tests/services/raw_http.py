"""Raw HTTP/1 requests on which proxies, parsers and fuzzers disagree, and the statuses that are right for each.

`OK` stands for the status of the good request. A case that ends with CLOSED ends its connection.
"""

import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

OK = 200
CLOSED = -1
REFUSED = (400, CLOSED)
KEPT = (OK,)
CHUNKED = "Transfer-Encoding: chunked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """Path and body of a request that a server accepts."""

    path: str
    body: bytes

    @property
    def length(self) -> str:
        return f"Content-Length: {len(self.body)}"

    def request(self, *headers: str, line: str = "", body: bytes | None = None, host: bool = True) -> bytes:
        """A request with exactly these headers, and Host."""
        lines = [line or f"POST {self.path} HTTP/1.1", *(["Host: a"] if host else []), *headers, "", ""]
        return "\r\n".join(lines).encode("latin-1") + (self.body if body is None else body)

    def with_length(self, text: str) -> bytes:
        return self.request(f"Content-Length: {text.format(len(self.body))}")

    def chunked(self, size: str = "{:x}", *, header: str = CHUNKED, end: bytes = b"0\r\n\r\n", line: str = "") -> bytes:
        """The body in one chunk, whose size is written as in `size`."""
        chunk = size.format(len(self.body)).encode() + b"\r\n" + self.body + b"\r\n" + end
        return self.request(header, body=chunk, line=line)


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and the statuses that transformer and stage give; and those of the router where they differ.

    `same`: a 200 has the result of the good request.
    """

    make: Callable[[Good], bytes]
    model: tuple[int, ...]
    router: tuple[int, ...] | None = None
    same: bool = True

    def expected(self, server: str) -> tuple[int, ...]:
        return self.router if server == "router" and self.router is not None else self.model


def _line(text: str, *headers: str) -> Callable[[Good], bytes]:
    return lambda good: good.request(good.length, *headers, line=text.format(path=good.path))


def _with(*headers: str) -> Callable[[Good], bytes]:
    return lambda good: good.request(good.length, *headers)


def _length(text: str) -> Callable[[Good], bytes]:
    return lambda good: good.with_length(text)


def _chunked(size: str = "{:x}", header: str = CHUNKED, end: bytes = b"0\r\n\r\n") -> Callable[[Good], bytes]:
    return lambda good: good.chunked(size, header=header, end=end)


def _encoding(text: str) -> Callable[[Good], bytes]:
    return _chunked(header=f"Transfer-Encoding:{text}")


def _bare(line: str) -> Callable[[Good], bytes]:
    return lambda good: good.request(line=line, body=b"")


def _plain(good: Good) -> bytes:
    return good.request(good.length)


CASES: dict[str, Case] = {
    "plain": Case(_plain, KEPT),
    # versions and request lines
    "HTTP/1.0": Case(_line("POST {path} HTTP/1.0"), (OK, CLOSED)),
    "HTTP/1.0 kept": Case(_line("POST {path} HTTP/1.0", "Connection: keep-alive"), (OK, CLOSED), KEPT),
    "HTTP/1.0 without Host": Case(
        lambda good: good.request(good.length, line=f"POST {good.path} HTTP/1.0", host=False), (OK, CLOSED)
    ),
    "HTTP/1.0 chunked": Case(lambda good: good.chunked(line=f"POST {good.path} HTTP/1.0"), REFUSED, (OK, CLOSED)),
    "HTTP/1.2": Case(_line("POST {path} HTTP/1.2"), REFUSED),
    "HTTP/9.9": Case(_line("POST {path} HTTP/9.9"), REFUSED),
    "no version": Case(_line("POST {path}"), REFUSED, (OK, CLOSED)),
    "HTTP/2 preface": Case(lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    "TLS hello": Case(lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), REFUSED),
    "absolute URI": Case(_line("POST http://a{path} HTTP/1.1"), KEPT),
    "absolute URI of another host": Case(_line("POST http://b{path} HTTP/1.1"), KEPT),
    "CONNECT": Case(_bare("CONNECT a:80 HTTP/1.1"), REFUSED, (404,)),
    "OPTIONS *": Case(_bare("OPTIONS * HTTP/1.1"), (404,)),
    "lower-case method": Case(_line("post {path} HTTP/1.1"), REFUSED),
    "unknown method": Case(_line("FROB {path} HTTP/1.1"), REFUSED),
    "empty path": Case(_bare("GET  HTTP/1.1"), REFUSED),
    "NUL in the path": Case(_bare("GET /\0 HTTP/1.1"), REFUSED),
    "empty lines in front": Case(lambda good: b"\r\n\r\n" + _plain(good), KEPT),
    "lines end in LF": Case(lambda good: _plain(good).replace(b"\r\n", b"\n", 4), REFUSED),
    "lines end in CR": Case(lambda good: _plain(good).replace(b"\r\n", b"\r", 4), REFUSED),
    # headers
    "no Host": Case(lambda good: good.request(good.length, host=False), REFUSED),
    "two Hosts": Case(_with("Host: b"), REFUSED),
    "header folded": Case(_with("X: a\r\n b"), REFUSED),
    "space before the colon": Case(lambda good: good.request(good.length.replace(":", " :")), REFUSED),
    "header without a colon": Case(_with("X"), REFUSED),
    "header without a name": Case(_with(": x"), REFUSED),
    "NUL in a header": Case(_with("X: a\0b"), REFUSED),
    "bytes over 127 in a header": Case(_with("X: \xff\xfe"), KEPT),
    "upgrade": Case(_with("Connection: Upgrade", "Upgrade: h2c"), REFUSED, KEPT),
    "Expect: 100-continue": Case(_with("Expect: 100-continue"), (100, OK)),
    "Expect of another kind": Case(_with("Expect: frob"), KEPT, (417,)),
    # lengths
    "length too short": Case(lambda good: good.with_length(str(len(good.body) - 5)), REFUSED),
    "length twice": Case(lambda good: good.request(good.length, good.length), REFUSED),
    "two lengths": Case(_with("Content-Length: 1"), REFUSED),
    "length as a list": Case(_length("{0}, {0}"), REFUSED),
    "length with a sign": Case(_length("+{}"), REFUSED),
    "negative length": Case(_length("-1"), REFUSED),
    "hexadecimal length": Case(_length("0x{:x}"), REFUSED),
    "length with letters": Case(_length("{}a"), REFUSED),
    "empty length": Case(_length(""), REFUSED),
    "length over 64 bits": Case(_length("9" * 30), REFUSED),
    "length with zeros": Case(_length("000{}"), KEPT),
    "length, then chunked": Case(lambda good: good.chunked(header=f"{good.length}\r\n{CHUNKED}"), REFUSED),
    "chunked, then a length": Case(_chunked(header=f"{CHUNKED}\r\nContent-Length: 0"), REFUSED),
    # chunks
    "chunked": Case(_chunked(), KEPT),
    "chunked in capitals": Case(_chunked("{:X}", "TRANSFER-ENCODING: CHUNKED"), KEPT),
    "chunk size with zeros": Case(_chunked("0000{:x}"), KEPT),
    "chunk with an extension": Case(_chunked('{:x};a="b"'), KEPT),
    "length in a trailer": Case(_chunked(end=b"0\r\nContent-Length: 5\r\n\r\n"), REFUSED),
    "chunk size with 0x": Case(_chunked("0x{:x}"), REFUSED),
    "chunk size with a sign": Case(_chunked("+{:x}"), REFUSED),
    "chunk size with a space": Case(_chunked(" {:x}"), REFUSED),
    "chunk size over 64 bits": Case(_chunked("1" + "0" * 16), REFUSED),
    "chunk longer than its size": Case(_chunked("1"), REFUSED),
    "chunks that end in LF": Case(lambda good: good.chunked().replace(b"\r\n" + good.body, b"\n" + good.body), REFUSED),
    # encodings
    "chunked twice": Case(_encoding(f" chunked\r\n{CHUNKED}"), REFUSED),
    "chunked, chunked": Case(_encoding(" chunked, chunked"), REFUSED),
    "gzip, chunked": Case(_encoding(" gzip, chunked"), REFUSED, KEPT),
    "chunked, gzip": Case(_encoding(" chunked, gzip"), REFUSED),
    "identity": Case(_encoding(" identity"), REFUSED),
    "xchunked": Case(_encoding(" xchunked"), REFUSED),
    "chunked behind a tab": Case(_encoding("\tchunked"), KEPT),
    "chunked behind a form feed": Case(_encoding(" \x0cchunked"), REFUSED),
    # several requests on one connection
    "pipelining": Case(lambda good: _plain(good) * 3, (OK, OK, OK)),
    "pipelining, then rubbish": Case(lambda good: _plain(good) + b"rubbish\r\n\r\n", REFUSED),
    "behind Connection: close": Case(
        lambda good: _with("Connection: close")(good) + _plain(good), (OK, CLOSED), REFUSED
    ),
    "a request as a body": Case(
        lambda good: good.request(f"Content-Length: {len(_plain(good))}", line="PUT /x HTTP/1.1", body=_plain(good)),
        (404,),
        KEPT,
        same=False,
    ),
}


@dataclass(frozen=True, slots=True)
class RawReply:
    """Status and body of a response."""

    status: int
    body: bytes


def send(port: int, data: bytes, replies: int, *, half_close: bool = False) -> tuple[list[RawReply], bool]:
    """Send bytes on a new connection; returns as many replies, or all until it is closed, and whether it is closed."""
    found: list[RawReply] = []
    with closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as client, client.makefile("rb") as file:
        client.sendall(data)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        try:
            while len(found) < replies:
                line = file.readline()
                if not line:
                    return found, True
                length = 0
                while header := file.readline().strip():
                    name, _, value = header.decode("latin-1").partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                found.append(RawReply(int(line.split()[1]), file.read(length)))
        except ConnectionResetError:
            return found, True
    return found, False
