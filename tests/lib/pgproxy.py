"""A proxy before PostgreSQL that counts round trips and bytes, and makes bad weather.

It listens on a unix socket named as PostgreSQL names its own, and passes
bytes on to the real one. It reads just enough of the protocol to know where
messages begin: each ReadyForQuery of the server ends one round trip, and
something may happen to the n-th message (spring_at())."""

import os
import re
import socket
import struct
import threading
import time

READY = b"Z"
BACKEND_KEY = b"K"
# How long a delayed message is kept back.
DELAY = 0.2
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
        # what the server has sent
        self.bytes = 0
        self._target = os.path.join(target, ".s.PGSQL.5432")
        self._lock = threading.Lock()
        self._open = set()
        self._refuse = False
        self._flow = threading.Event()
        self._flow.set()
        self._trap = None
        self._heard = None
        self._muted = set()
        self._step = None
        self._begun = set()
        self._backends = {}
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

    def spring_at(self, number, action):
        """Do something to the number-th message from now on, once.

        Messages of both directions and of all connections count, from 1. The
        actions: "cut" the connection before it; "tear": in the middle of it;
        "half": end its direction before it, the other one goes on; "mute":
        lose it and all that follows in its direction; "delay" it for a moment;
        "hold" it until release(). Returns the step, which tells how many it has
        seen: with number 0 that is all that it does."""
        self.sprung.clear()
        self._step = Step(number, action)
        return self._step

    def listen(self):
        """Begin to note the names of the statements that pass."""
        self._heard = []

    def heard(self):
        """Patterns for cut_at(): the statements since listen(), in order."""
        heard, self._heard = self._heard, None
        return list(dict.fromkeys(heard))

    def disarm(self):
        """Forget cut_at, spring_at, refuse and stall."""
        self._step = None
        self._trap = None
        self._refuse = False
        self._flow.set()

    # -- plumbing ---------------------------------------------------------

    def reset(self):
        """Start to count anew."""
        self.round_trips = 0
        self.connections = 0
        self.bytes = 0

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
        stream = Messages(True)
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
            stream.feed(data)
            if not data or not self._pass(pair, client, server, stream):
                break
            tail = data[-TAIL:]
        self._end(pair)

    def _pass(self, pair, source, target, stream):
        """Send what the stream has; False when the connection is to end."""
        if not self._step:
            return send(target, stream.rest())
        for message in iter(stream.take, b""):
            step = self._step
            if step and step.is_due(pair):
                self._step = None
                if not self._spring_step(step, source, target, message):
                    return False
            elif not send(target, message):
                return False
        return True

    def _spring_step(self, step, source, target, message):
        """Do what the step says; False when the connection is to end."""
        if step.action == "tear":
            send(target, message[:max(1, len(message) // 2)])
        elif step.action == "delay":
            time.sleep(DELAY)
        elif step.action == "half":
            end_direction(target)
        self.sprung.set()
        if step.action == "hold":
            step.released.wait(60)
        elif step.action in ("half", "mute"):
            while receive(source):
                pass
        return step.action in ("delay", "hold") and send(target, message)

    def _spring(self, pair, data):
        """The trap: the server gets the data (if any), the client no answer."""
        self._trap = None
        self._muted.add(pair)
        if data and send(pair[1], data):
            self._answered.wait(5)
        self.sprung.set()

    def _downstream(self, pair):
        client, server = pair
        stream = Messages(False, lambda message: self._note(pair, message))
        while True:
            data = receive(server)
            self._flow.wait()
            if not data:
                break
            with self._lock:
                self.bytes += len(data)
            stream.feed(data)
            if pair in self._muted:
                stream.rest()
                self._answered.set()
                break
            if not self._pass(pair, server, client, stream):
                break
        self._end(pair)

    def _note(self, pair, message):
        """Something that a server said."""
        with self._lock:
            if message[:1] == READY and pair not in self._begun:
                # it ends the start of the session
                self._begun.add(pair)
            elif message[:1] == READY:
                self.round_trips += 1
            elif message[:1] == BACKEND_KEY:
                self._backends[pair] = int.from_bytes(message[5:9], "big")

    def backend_pid(self, pair):
        """The server's process at the other end of a connection, or None."""
        return self._backends.get(pair)

    def _end(self, pair):
        with self._lock:
            self._begun.discard(pair)
            self._open.discard(pair)
        hang_up(pair)


class Step:
    """What spring_at() waits for."""

    def __init__(self, number, action):
        self.number = number
        self.action = action
        self.seen = 0
        self.pair = None
        self.released = threading.Event()
        self._lock = threading.Lock()

    def is_due(self, pair):
        """Count one message; whether this is the one."""
        with self._lock:
            self.seen += 1
            if self.seen == self.number:
                self.pair = pair
            return self.seen == self.number

    def release(self):
        """Let go of the message that is held."""
        self.released.set()

    def client_pid(self):
        """The process that made the connection that the message is on."""
        credentials = self.pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.unpack("3i", credentials)[0]


class Messages:
    """One direction of a connection, as messages: bytes go in and come out.

    `note` is called with each whole message."""

    def __init__(self, is_client, note=None):
        self._note = note
        self._data = b""
        self._at = 0
        # of the message that isn't whole: how much rest() has given out already
        self._gone = 0
        # a client's first message has no type
        self._type_size = 0 if is_client else 1

    def feed(self, data):
        """Take bytes."""
        self._data = self._data[self._at:] + data
        self._at = 0

    def take(self):
        """The next whole message, or what rest() has left of it; b"" if there is none."""
        size_at = self._at + self._type_size
        end = size_at + int.from_bytes(self._data[size_at:size_at + 4], "big")
        if len(self._data) < max(size_at + 4, end):
            return b""
        message, self._at = self._data[self._at:end], end
        gone, self._gone = self._gone, 0
        self._type_size = 1
        if self._note:
            self._note(message)
        return message[gone:]

    def rest(self):
        """All bytes that haven't been given out."""
        whole = b"".join(iter(self.take, b""))
        begun = self._data[self._at:]
        gone, self._gone = self._gone, len(begun)
        return whole + begun[gone:]


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


def end_direction(sock):
    """The other side reads no more from us, but may go on to write."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def hang_up(pair):
    """Close both ends."""
    for sock in pair:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()
