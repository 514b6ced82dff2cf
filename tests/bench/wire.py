"""As much of PostgreSQL's protocol as a listener needs: simple queries,
notifications, and the stream of a logical replication slot. Trust only."""

import socket
import struct
import time

PROTOCOL = 196608
# PostgreSQL counts microseconds from 2000-01-01
EPOCH = 946684800


class WireError(Exception):
    """The server refused, or went away."""


class Connection:
    """A session as superuser on the cluster's socket."""

    def __init__(self, cluster, **options):
        self.pid = None
        self._rest = b""
        self._early = []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(cluster.socket + "/.s.PGSQL.5432")
        options = dict({"user": "postgres", "database": "pgbox"}, **options)
        words = "".join("%s\0%s\0" % pair for pair in options.items()).encode() + b"\0"
        self.sock.sendall(struct.pack("!ii", len(words) + 8, PROTOCOL) + words)
        self._wait(b"Z")

    def fileno(self):
        """For select()."""
        return self.sock.fileno()

    def send(self, kind, body):
        """Send one message."""
        self.sock.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def start(self, sql):
        """Send statements; their end is a message Z."""
        self.send(b"Q", sql.encode() + b"\0")

    def query(self, sql):
        """Run statements; rows as lists of str or None. Takes no notifications."""
        self.start(sql)
        return [row(body) for kind, body in self._wait(b"Z") if kind == b"D"]

    def messages(self):
        """What has come, as [(kind, body)]: at least one, waits for it."""
        found, self._early = self._early, []
        while not found:
            data = self.sock.recv(262144)
            if not data:
                raise WireError("the connection is gone")
            self._rest += data
            at = 0
            while len(self._rest) - at >= 5:
                end = at + 1 + int.from_bytes(self._rest[at + 1:at + 5], "big")
                if end > len(self._rest):
                    break
                found.append((self._rest[at:at + 1], self._rest[at + 5:end]))
                at = end
            self._rest = self._rest[at:]
            self._look(found)
        return found

    def _look(self, found):
        for kind, body in found:
            if kind == b"E":
                raise WireError(body.replace(b"\0", b" ").decode())
            if kind == b"K":
                self.pid = int.from_bytes(body[:4], "big")

    def _wait(self, last):
        got = []
        while last not in [kind for kind, _ in got]:
            got += self.messages()
        # a slot's stream may begin at once
        end = [kind for kind, _ in got].index(last) + 1
        self._early = got[end:]
        return got[:end]

    def close(self):
        """End the session."""
        self.send(b"X", b"")
        self.sock.close()

    # -- a logical slot ---------------------------------------------------

    def stream(self, slot, publication):
        """Begin to stream (the session has the option replication=database)."""
        self.start("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1',"
                   " publication_names '%s')" % (slot, publication))
        self._wait(b"W")

    def confirm(self, position):
        """Tell the server that WAL up to here may go."""
        now = int((time.time() - EPOCH) * 1000000)
        self.send(b"d", struct.pack("!cqqqqb", b"r", position, position, position, now, 0))


def row(body):
    """The columns of a DataRow."""
    columns, at = [], 2
    for _ in range(int.from_bytes(body[:2], "big")):
        size = int.from_bytes(body[at:at + 4], "big", signed=True)
        at += 4
        columns.append(None if size < 0 else body[at:at + size].decode())
        at += max(size, 0)
    return columns


def notification(body):
    """The payload of a NotificationResponse."""
    return body[4:].split(b"\0")[1].decode()


def updated(change):
    """The new row of an Update message of pgoutput, or None if it is another."""
    if change[:1] != b"U":
        return None
    assert change[5:6] == b"N", "the key doesn't change"
    columns, at = [], 8
    for _ in range(int.from_bytes(change[6:8], "big")):
        assert change[at:at + 1] == b"t", "no NULL and no TOAST in this table"
        size = int.from_bytes(change[at + 1:at + 5], "big")
        columns.append(change[at + 5:at + 5 + size].decode())
        at += 5 + size
    return columns
