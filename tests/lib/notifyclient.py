"""A mail process as the signal service sees it: the protocol's other side."""

import socket
import time

from proc import LabError


class NotifyClient:
    """One connection to the pgbox-notify of a node."""

    def __init__(self, path, timeout=10):
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(path)
        self._rest = b""
        self.send("VERSION", "pgbox-notify-client", "1", "0")
        self.version = self.line()

    def send(self, *fields):
        """Send a line; a lone surrogate stands for a byte that is no UTF-8."""
        line = "\t".join(str(field) for field in fields) + "\n"
        self._socket.sendall(line.encode("utf-8", "surrogateescape"))

    def line(self, timeout=None):
        """The next line's fields; None if none comes in time, [] at the end."""
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        tries = 0
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            # what is there already is read in any case
            if left <= 0 and tries > 0:
                return None
            tries += 1
            self._socket.settimeout(max(left, 0.001))
            try:
                part = self._socket.recv(65536)
            except (socket.timeout, BlockingIOError):
                return None
            except ConnectionResetError:
                return []
            if not part:
                return []
            self._rest += part
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode().split("\t")

    def lines(self, seconds):
        """All lines of the next so many seconds."""
        deadline = time.monotonic() + seconds
        found = []
        while True:
            line = self.line(max(0, deadline - time.monotonic()))
            if not line:
                return found
            found.append(line)

    def watch(self, kind, key, modseq, store, number=1):
        """WATCH; returns the answer."""
        self.send("WATCH", number, kind, key, modseq, store)
        return self.until("OK", "NO")

    def until(self, *words, timeout=None):
        """Skip lines until one begins with such a word."""
        while True:
            line = self.line(timeout)
            if not line:
                raise LabError("waited for %s, got %r" % (words, line))
            if line[0] in words:
                return line

    def close(self):
        """Hang up."""
        self._socket.close()
