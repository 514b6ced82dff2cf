"""A proxy before PostgreSQL that counts round trips and makes bad weather.

It listens on a unix socket named as PostgreSQL names its own, and passes
bytes on to the real one. It reads just enough of the protocol to know where
messages begin: each ReadyForQuery of the server ends one round trip."""

import os
import re
import socket
import threading

READY = b"Z"
# A prepared statement of the plugin, one that is sent as it is (a Parse message
# without a name), or the end of a transaction.
STATEMENT = re.compile(rb"pgbox-[a-z-]+\0|(?<=P\0...\0)(?:SELECT|WITH)\b[^\0]{,160}|COMMIT\b", re.S)
TAIL = 256


class Proxy:
    """Listens in `folder`; `target` is the folder of the real socket."""

    def __init__(self, folder, target):
        self.folder = folder
        self.round_trips = 0
        self.connections = 0
        self._target = os.path.join(target, ".s.PGSQL.5432")
        self._lock = threading.Lock()
        self._open = set()
        self._refuse = False
        self._flow = threading.Event()
        self._flow.set()
        self._trap = None
        self._heard = None
        self._muted = set()
        self._answered = threading.Event()
        self.sprung = threading.Event()
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        path = os.path.join(folder, ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        os.chmod(path, 0o777)
        self._listener.listen(64)
        self._spawn(self._accept)

    @staticmethod
    def _spawn(target, *args):
        threading.Thread(target=target, args=args, daemon=True).start()

    # -- weather ----------------------------------------------------------

    def refuse(self, yes=True):
        """Close new connections at once (and cut those that are open)."""
        self._refuse = yes
        if yes:
            self.cut()

    def cut(self):
        """Close all connections now."""
        with self._lock:
            pairs, self._open = self._open, set()
        for pair in pairs:
            hang_up(pair)

    def stall(self, yes=True):
        """Pass no byte on, in either direction, until told otherwise."""
        if yes:
            self._flow.clear()
        else:
            self._flow.set()

    def cut_at(self, pattern, after=False, refuse=False):
        """Cut the connection when the client sends the pattern, once.

        With after, the server gets it and works; its answer is lost. With
        refuse, no other connection is let in from then on."""
        self.sprung.clear()
        self._answered.clear()
        self._trap = (pattern, after, refuse)

    def listen(self):
        """Begin to note the names of the statements that pass."""
        self._heard = []

    def heard(self):
        """Patterns for cut_at(): the statements since listen(), in order."""
        heard, self._heard = self._heard, None
        return list(dict.fromkeys(heard))

    def disarm(self):
        """Forget cut_at, refuse and stall."""
        self._trap = None
        self._refuse = False
        self._flow.set()

    # -- plumbing ---------------------------------------------------------

    def reset(self):
        """Start to count anew."""
        self.round_trips = 0
        self.connections = 0

    def open_connections(self):
        """How many connections there are now."""
        with self._lock:
            return len(self._open)

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            if self._refuse:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                self._open.add(pair)
                self.connections += 1
            self._spawn(self._upstream, pair)
            self._spawn(self._downstream, pair)

    def _upstream(self, pair):
        client, server = pair
        tail = b""
        while True:
            data = receive(client)
            self._flow.wait()
            if self._heard is not None:
                self._heard += STATEMENT.findall(tail + data)
            trap = self._trap
            hit = bool(trap and trap[0] in tail + data)
            if hit:
                self._refuse = self._refuse or trap[2]
                self._spring(pair, data if trap[1] else b"")
                break
            if not data or not send(server, data):
                break
            tail = data[-TAIL:]
        self._end(pair)

    def _spring(self, pair, data):
        """The trap: the server gets the data (if any), the client no answer."""
        self._trap = None
        self._muted.add(pair)
        if data and send(pair[1], data):
            self._answered.wait(5)
        self.sprung.set()

    def _downstream(self, pair):
        client, server = pair
        counter = MessageCounter()
        while True:
            data = receive(server)
            self._flow.wait()
            if not data:
                break
            with self._lock:
                self.round_trips += counter.feed(data)
            if pair in self._muted:
                self._answered.set()
                break
            if not send(client, data):
                break
        self._end(pair)

    def _end(self, pair):
        with self._lock:
            self._open.discard(pair)
        hang_up(pair)


class MessageCounter:
    """Counts ReadyForQuery messages in a stream of server messages."""

    def __init__(self):
        self._skip = 0
        self._head = b""
        self._first = True

    def feed(self, data):
        """Take bytes; return how many ReadyForQuery began in them.

        The first one ends the start of the session and isn't counted."""
        found = at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            take = min(5 - len(self._head), len(data) - at)
            self._head += data[at:at + take]
            at += take
            if len(self._head) == 5:
                found += self._count(self._head[:1])
                self._skip = int.from_bytes(self._head[1:], "big") - 4
                self._head = b""
        return found

    def _count(self, kind):
        if kind != READY:
            return 0
        first, self._first = self._first, False
        return 0 if first else 1


def receive(sock):
    """Some bytes, or b"" when the connection is gone."""
    try:
        return sock.recv(262144)
    except OSError:
        return b""


def send(sock, data):
    """Send all; False when the connection is gone."""
    try:
        sock.sendall(data)
        return True
    except OSError:
        return False


def hang_up(pair):
    """Close both ends."""
    for sock in pair:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()
