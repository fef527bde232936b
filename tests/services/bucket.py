"""A bucket for tests: the emulator as a real process, and a proxy to it that counts bytes and can be cut or held."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

from services.processes import ROOT, stop


@contextmanager
def emulating(folder: Path, *buckets: str) -> Iterator[str]:
    """`shardline emulator` -> its URL."""
    options = [option for bucket in buckets for option in ("--bucket", bucket)]
    command = [sys.executable, "-m", "shardline", "emulator", "--folder", str(folder), "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            url = process.stdout.readline().strip()
            assert url, process.stderr.read()
            yield url
        finally:
            stop(process, signal.SIGINT)


def shardline(*arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [sys.executable, "-m", "shardline", *arguments],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Wire:
    """A TCP proxy to `url` that counts the bytes of clients. Cut, it drops every connection until it is mended.

    `cut_after` and `cut_after_fetched` cut it by itself once clients sent or got so many bytes. From `hold_after` sent
    bytes on it passes nothing on, until `release`.
    """

    def __init__(
        self, url: str, cut_after: float = inf, cut_after_fetched: float = inf, hold_after: float = inf
    ) -> None:
        self._target = urlsplit(url)
        self._cut_after, self._cut_after_fetched, self._hold_after = cut_after, cut_after_fetched, hold_after
        self._released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.is_cut = False
        self.sent_bytes = self.fetched_bytes = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.release()
        self.cut()

    @property
    def is_held(self) -> bool:
        return self.sent_bytes >= self._hold_after

    def release(self) -> None:
        """Pass on what was held back, and all that comes."""
        self._released.set()

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self, url: str | None = None) -> None:
        """Connect again, counting from 0 and without limits, to another URL if one is given."""
        with self._lock:
            self._target = urlsplit(url) if url else self._target
            self._cut_after = self._cut_after_fetched = self._hold_after = inf
            self.sent_bytes = self.fetched_bytes = 0
            self.is_cut = False

    def is_idle(self) -> bool:
        """Tell whether all that was sent has arrived."""
        with self._lock:
            return not self._open

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection((self._target.hostname or "", self._target.port or 0)) as server:
            with self._lock:
                if self.is_cut:
                    return
                self._open |= {client, server}
            back = threading.Thread(target=self._copy, args=(server, client, self._count_fetched), daemon=True)
            back.start()
            self._copy(client, server, self._count)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _copy(self, source: socket.socket, sink: socket.socket, count: Callable[[int], None]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                count(len(data))
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self.sent_bytes += size_bytes
        if self.is_held:
            self._released.wait()
        self._cut_if_over()

    def _count_fetched(self, size_bytes: int) -> None:
        with self._lock:
            self.fetched_bytes += size_bytes
        self._cut_if_over()

    def _cut_if_over(self) -> None:
        if self.sent_bytes >= self._cut_after or self.fetched_bytes >= self._cut_after_fetched:
            self.cut()
