"""An IMAP client that is as cheap as can be: it doesn't parse what it reads.

What is measured is the server, and a client that looks at each message would
be half of the figure."""

import socket
import time

BLOCK = 1 << 20


class RawClient:
    """One connection, one command at a time."""

    def __init__(self, port, timeout=600):
        self._sock = socket.create_connection(("127.0.0.1", port), timeout)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._block = bytearray(BLOCK)
        self._view = memoryview(self._block)
        self._count = 0
        self.received = 0
        self.last = b""
        self._read_until(b"* ")

    def _read_until(self, begin):
        """Read to a line that begins so, which must be the last one sent."""
        tail = b"\r\n"
        self.received = 0
        while True:
            size = self._sock.recv_into(self._block)
            if size == 0:
                raise ConnectionError("the server has closed the connection; last: %r" % tail[-300:])
            self.received += size
            tail = (tail + bytes(self._view[max(0, size - 4096):size]))[-4096:]
            if tail.endswith(b"\r\n"):
                line = tail[tail.rfind(b"\r\n", 0, -2) + 2:]
                if line.startswith(begin):
                    self.last = tail
                    return line

    def command(self, *pieces):
        """Send one command and wait for its OK; returns the seconds it took."""
        self._count += 1
        tag = b"bench%d " % self._count
        data = tag + b"".join(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces) + b"\r\n"
        begun = time.perf_counter()
        self._sock.sendall(data)
        line = self._read_until(tag)
        took = time.perf_counter() - begun
        if not line.startswith(tag + b"OK"):
            raise AssertionError("%r: %r" % (data[:100], line))
        return took

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

    def heard(self):
        """Wait for something untagged; returns when it came."""
        self._read_until(b"* ")
        return time.perf_counter()

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
