"""An HTTP server on this machine that misbehaves on purpose, and can stand in for real hosts.

Files are added under a path (``/a.zip``), or, for use as a proxy, under a whole address
(``https://zenodo.org/...``). Every request of a file uses up one of its faults, if it has any;
without one it is answered well: ranges, ETag and all. What was asked and sent is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from running import absent


@dataclass(frozen=True)
class Status:
    """Answer with this status, and no file."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """Promise everything, send this many bytes, and close the connection."""

    after: int


@dataclass(frozen=True)
class Send:
    """Send these bytes instead."""

    content: bytes
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Redirect:
    """Answer with a redirect."""

    to: str


@dataclass(frozen=True)
class Stall:
    """Send this many bytes, then nothing until the server is closed; -1: not even a status."""

    after: int = -1


@dataclass(frozen=True)
class Drip:
    """Send this many bytes, then single ones until the server is closed; -1, -2: before a status.

    With -1 these are of a header, with -2 whole answers of `100 Continue`.
    """

    after: int = -1


class IgnoreRange:
    """Send the whole file, whatever range was asked for."""


class WrongRange:
    """Answer a request for a range with another one."""


@dataclass
class File:
    content: bytes
    etag: str | None = ""
    modified: str | None = None
    content_type: str = "application/octet-stream"
    length: bool = True
    faults: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.etag == "":
            self.etag = f'"{hashlib.md5(self.content).hexdigest()}"'


@dataclass
class Asked:
    """A request that came, and what was sent for it."""

    address: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


class FaultyServer(ThreadingHTTPServer):
    """Serves on 127.0.0.1 at a free port, in a thread, as a context manager."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.tls = tls
        self.files: dict[str, File] = {}
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""

    def add(self, address: str, content: bytes, *faults: object, **how: object) -> str:
        """Serve a file; return its address."""
        self.files[address] = File(content, faults=list(faults), **how)  # type: ignore[arg-type]
        return f"{self.url}{address}" if address.startswith("/") else address

    def fail(self, address: str, *faults: object) -> None:
        """Let the next requests of a file go wrong."""
        self.files[address].faults.extend(faults)

    def sent(self, address: str) -> int:
        """Return the bytes that were sent of a file."""
        return sum(asked.sent for asked in self.requests(address))

    def requests(self, address: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.address == address]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer
    host: ClassVar[str] = ""

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""

    def do_CONNECT(self) -> None:
        """Be a proxy that answers for the host itself."""
        self.send_response(200, "Connection established")
        self.end_headers()
        assert self.server.tls is not None
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.host = "https://" + self.path.removesuffix(":443")  # type: ignore[misc]
        self.close_connection = False

    def do_GET(self) -> None:
        address = self.host + self.path
        asked = Asked(address, dict(self.headers))
        self.server.asked.append(asked)
        file = self.server.files.get(address)
        fault = file.faults.pop(0) if file is not None and file.faults else None
        if file is None:
            fault = Status(404)
        if isinstance(fault, Status):
            self._answer(asked, fault.code, b"", fault.headers)
        elif isinstance(fault, Redirect):
            self._answer(asked, 302, b"", {"Location": fault.to})
        elif fault == Stall(-1):
            self.close_connection = True
            self.server.closing.wait()
        elif isinstance(fault, Drip) and fault.after < 0:
            if fault.after == -1:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            self._drip(b"HTTP/1.1 100 Continue\r\n\r\n" if fault.after == -2 else b"x")
        else:
            assert file is not None
            self._send_file(asked, file, fault)

    def _drip(self, piece: bytes) -> None:
        self.close_connection = True
        while not self.server.closing.wait(0.02):
            self.wfile.write(piece)
            self.wfile.flush()

    def _send_file(self, asked: Asked, file: File, fault: object) -> None:
        content, content_type = file.content, file.content_type
        if isinstance(fault, Send):
            content, content_type = fault.content, fault.content_type
        headers = {"Content-Type": content_type, "Accept-Ranges": "bytes"}
        if file.etag is not None:
            headers["ETag"] = file.etag
        if file.modified is not None:
            headers["Last-Modified"] = file.modified
        status, start = 200, self._start(file, fault)
        if start is not None and start >= len(content):
            self._answer(asked, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        if start is not None:
            first = start + 1 if isinstance(fault, WrongRange) else start
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        if file.length:
            headers["Content-Length"] = str(len(content))
        else:
            headers["Connection"] = "close"
        cut = fault.after if isinstance(fault, Drop | Stall | Drip) else len(content)
        self._answer(asked, status, content[:cut], headers)
        if isinstance(fault, Stall):
            self.server.closing.wait()
        if isinstance(fault, Drip):
            self._drip(b"x")
        if isinstance(fault, Drop | Stall) or not file.length:
            self.close_connection = True

    def _start(self, file: File, fault: object) -> int | None:
        """Return the first byte of the range that was asked for, if it is to be honoured."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if asked is None or isinstance(fault, IgnoreRange):
            return None
        if condition is not None and condition not in (file.etag, file.modified):
            return None
        return int(asked[1])

    def _answer(self, asked: Asked, status: int, body: bytes, headers: dict[str, str]) -> None:
        asked.status = status
        self.send_response(status)
        for name, value in (
            {"Content-Length": "0", **headers}.items() if not body else headers.items()
        ):
            self.send_header(name, value)
        self.end_headers()
        # Counted first: the client may be done, and the test be asking, before `write` returns.
        asked.sent += len(body)
        self.wfile.write(body)
        self.wfile.flush()


def tls_for(hosts: list[str], folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for these hosts; return the server's context, and the file to trust."""
    if shutil.which("openssl") is None:
        absent("no openssl on the PATH (Debian package: openssl)")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not certificate.is_file():
        names = ",".join(f"DNS:{host}" for host in hosts)
        options = f"-newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName={names}"
        command = ["openssl", "req", "-x509", *options.split(), "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def add_zenodo_record(server: FaultyServer, doi: str, sums: dict[str, str]) -> None:
    """Answer for a record: its DOI's redirect, its page, and its list of files."""
    number = doi.rpartition(".")[2]
    page = f"https://zenodo.org/records/{number}"
    server.add(f"https://doi.org/{doi}", b"", *[Redirect(page)] * 9)
    server.add(page, b"<html>a record</html>", content_type="text/html")
    files = [{"key": name, "checksum": value} for name, value in sums.items()]
    about = {"license": {"id": "cc-by-4.0"}}
    listing = json.dumps({"id": int(number), "metadata": about, "files": files}).encode()
    server.add(f"https://zenodo.org/api/records/{number}", listing, content_type="application/json")
