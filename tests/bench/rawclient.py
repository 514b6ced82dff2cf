"""An IMAP client that is as cheap as can be: it doesn't parse what it reads.

What is measured is the server, and a client that looks at each message would
be half of the figure."""

import socket
import time

BLOCK = 1 << 20


class RawClient:
    """One connection, one command at a time."""

    def __init__(self, port, timeout=600, source="127.0.0.1"):
        self._sock = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._block = bytearray(BLOCK)
        self._view = memoryview(self._block)
        self._count = 0
        self._tag = b""
        self.received = 0
        # the end of what was read
        self.last = b""
        self._read_until(b"* ")

    def fileno(self):
        """For select()."""
        return self._sock.fileno()

    def poll(self, begin):
        """Read what has come, at least something: a line that begins so, if it
        was the last one sent, or None."""
        size = self._sock.recv_into(self._block)
        if size == 0:
            raise ConnectionError("the server has closed the connection; last: %r" % self.last[-300:])
        self.received += size
        self.last = (self.last + bytes(self._view[max(0, size - 4096):size]))[-4096:]
        if not self.last.endswith(b"\r\n"):
            return None
        line = self.last[self.last.rfind(b"\r\n", 0, -2) + 2:]
        return line if line.startswith(begin) else None

    def _read_until(self, begin):
        """Read to a line that begins so, which must be the last one sent."""
        self.received = 0
        self.last = b"\r\n"
        line = None
        while line is None:
            line = self.poll(begin)
        return line

    def begin(self, *pieces):
        """Send one command."""
        self._count += 1
        self._tag = b"bench%d " % self._count
        self.received = 0
        self.last = b"\r\n"
        self._sock.sendall(self._tag + b"".join(
            piece if isinstance(piece, bytes) else piece.encode() for piece in pieces) + b"\r\n")

    def ended(self):
        """Read what has come of its answer; whether that was all."""
        line = self.poll(self._tag)
        if line and not line.startswith(self._tag + b"OK"):
            raise AssertionError("%r, after %r" % (line, self.last[:300]))
        return line is not None

    def command(self, *pieces):
        """Send one command and wait for its OK; returns the seconds it took."""
        begun = time.perf_counter()
        self.begin(*pieces)
        while not self.ended():
            pass
        return time.perf_counter() - begun

    def login(self, user):
        """LOGIN; returns the seconds."""
        return self.command("LOGIN ", user, " pw")

    def append(self, mailbox, messages):
        """One MULTIAPPEND; returns the seconds."""
        pieces = ["APPEND ", mailbox]
        for message in messages:
            pieces += [b" {%d+}\r\n" % len(message), message]
        return self.command(*pieces)

    def idle(self):
        """Begin IDLE."""
        self._sock.sendall(b"idle IDLE\r\n")
        self._read_until(b"+ ")

    def done(self):
        """End IDLE."""
        self._sock.sendall(b"DONE\r\n")
        self._read_until(b"idle ")

    def close(self):
        """LOGOUT, and wait until the server has closed."""
        self._sock.sendall(b"bye LOGOUT\r\n")
        while self._sock.recv(4096):
            pass
        self._sock.close()
