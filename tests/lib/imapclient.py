"""A small raw IMAP client: binary-safe, no opinion, keeps a transcript.

Commands are written as the protocol has them. A reply is parsed into Python
values: atoms, quoted strings and literals become bytes, NIL becomes None,
parentheses become lists. Nothing is retried and nothing is hidden."""

import re
import socket
import time
import zlib

TRANSCRIPT_LINES = 60


class ImapError(Exception):
    """The connection broke, timed out, or the server didn't speak IMAP."""


class Lit(bytes):
    """Sent as a non-synchronising literal: {n+}."""

    prefix = b""


class Lit8(Lit):
    """Sent as a binary literal: ~{n+}."""

    prefix = b"~"


class SyncLit(bytes):
    """Sent as {n}, and only after the server has asked for it."""


class Untagged:
    """One untagged response: `* [number] NAME data...`."""

    def __init__(self, number, name, data, code, raw):
        self.number = number
        self.name = name
        self.data = data
        self.code = code
        self.raw = raw

    def __repr__(self):
        return "<* %s>" % shorten(self.raw)


class Reply:
    """The tagged status of a command and all that came before it."""

    def __init__(self, status, code, text, untagged):
        self.status = status
        self.code = code
        self.text = text
        self.untagged = untagged

    def __repr__(self):
        return "<%s [%s] %s>" % (self.status, self.code, self.text)

    @property
    def ok(self):
        """Whether the server said OK."""
        return self.status == "OK"

    def all(self, name):
        """All untagged responses of that name."""
        return [u for u in self.untagged if u.name == name]

    def one(self, name):
        """The data of the only untagged response of that name."""
        found = self.all(name)
        if len(found) != 1:
            raise AssertionError("expected one * %s, got %d: %r"
                                 % (name, len(found), self.untagged))
        return found[0].data

    def number(self, name):
        """The number of the last `* n NAME`, or None."""
        found = self.all(name)
        return found[-1].number if found else None

    def untagged_code(self, name):
        """The arguments of the untagged `[NAME args]`, '' without, or None."""
        for item in self.untagged:
            word, _, rest = (item.code or "").partition(" ")
            if word == name:
                return rest
        return None

    def fetches(self):
        """{sequence: {ITEM: value}}; several FETCHes of one message merge."""
        result = {}
        for item in self.all("FETCH"):
            pairs = item.data[0]
            values = result.setdefault(item.number, {})
            for index in range(0, len(pairs), 2):
                values[fetch_key(pairs[index])] = pairs[index + 1]
        return result

    def numbers(self, name="SEARCH"):
        """The numbers of `* SEARCH n n n` or `* SORT ...` as a list of int."""
        out = []
        for item in self.all(name):
            out += [int(word) for word in item.data if isinstance(word, bytes)]
        return out

    def expunged(self):
        """Sequence numbers of `* n EXPUNGE` in the order they came."""
        return [item.number for item in self.all("EXPUNGE")]


def fetch_key(atom):
    """FETCH item name as upper case text (section arguments untouched)."""
    return atom.decode("utf-8", "replace").upper()


def shorten(raw, limit=300):
    """Printable form of wire bytes for a transcript."""
    text = raw.decode("utf-8", "backslashreplace").replace("\r\n", "\\r\\n ")
    text = text.replace("\r", "\\r").replace("\0", "\\0")
    return text if len(text) <= limit else "%s...[%d bytes]" % (text[:limit], len(raw))


# what a bracket after it belongs to; elsewhere it is a character as others are
SECTION = re.compile(rb"(BODY|BINARY)(\.\w+)?", re.I)


class Parser:
    """Reads the tokens of one complete response."""

    def __init__(self, raw):
        self.raw = raw
        self.at = 0

    def rest(self):
        """All values up to the end of the response."""
        values = []
        while True:
            self.skip()
            if self.at >= len(self.raw):
                return values
            values.append(self.value())

    def skip(self):
        """Step over spaces."""
        while self.raw[self.at:self.at + 1] == b" ":
            self.at += 1

    def value(self):
        """The next value."""
        byte = self.raw[self.at:self.at + 1]
        if byte == b"(":
            return self.list()
        if byte == b'"':
            return self.quoted()
        if byte in (b"{", b"~") and re.match(rb"~?\{\d+\}\r\n", self.raw[self.at:self.at + 24]):
            return self.literal()
        return self.atom()

    def list(self):
        """A parenthesised list."""
        self.at += 1
        values = []
        while True:
            self.skip()
            if self.raw[self.at:self.at + 1] == b")":
                self.at += 1
                return values
            if self.at >= len(self.raw):
                raise ImapError("unbalanced list in %r" % self.raw[:200])
            values.append(self.value())

    def quoted(self):
        """A quoted string."""
        out = bytearray()
        self.at += 1
        while self.raw[self.at:self.at + 1] != b'"':
            if self.raw[self.at:self.at + 1] == b"\\":
                self.at += 1
            if self.at >= len(self.raw):
                raise ImapError("open string in %r" % self.raw[:200])
            out += self.raw[self.at:self.at + 1]
            self.at += 1
        self.at += 1
        return bytes(out)

    def literal(self):
        """A literal, plain or binary."""
        match = re.compile(rb"~?\{(\d+)\}\r\n").match(self.raw, self.at)
        start = match.end()
        self.at = start + int(match.group(1))
        return self.raw[start:self.at]

    def atom(self):
        """An atom; brackets hold a section with spaces and lists inside."""
        start, depth, in_string = self.at, 0, False
        while self.at < len(self.raw):
            byte = self.raw[self.at:self.at + 1]
            if in_string and byte == b"\\":
                self.at += 1
            elif depth and byte == b'"':
                in_string = not in_string
            elif in_string:
                pass
            elif byte == b"[" and (depth or SECTION.fullmatch(self.raw, start, self.at)):
                depth += 1
            elif byte == b"]":
                depth -= 1
            elif depth <= 0 and byte in (b" ", b"(", b")"):
                break
            self.at += 1
        word = self.raw[start:self.at]
        return None if word.upper() == b"NIL" else word


class ImapClient:
    """One connection. cmd() sends a command and waits for its tagged answer."""

    def __init__(self, port, host="127.0.0.1", timeout=30):
        self.timeout = timeout
        self.transcript = []
        self._sock = socket.create_connection((host, port), timeout)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._inflate = self._deflate = None
        self._count = 0
        self.greeting = self._parse(self._response(timeout))

    # -- commands ---------------------------------------------------------

    def cmd(self, *pieces, timeout=None):
        """Send one command; pieces are joined as they are. Return the Reply."""
        tag = self.send(*pieces)
        return self.finish(tag, timeout)

    def ok(self, *pieces, timeout=None):
        """cmd() that must be answered with OK."""
        reply = self.cmd(*pieces, timeout=timeout)
        if not reply.ok:
            raise AssertionError("%r answered %r" % (
                b"".join(as_bytes(p) for p in pieces)[:200], reply))
        return reply

    def no(self, *pieces, timeout=None):
        """cmd() that must be answered with NO."""
        return self._refused("NO", pieces, timeout)

    def bad(self, *pieces, timeout=None):
        """cmd() that must be answered with BAD."""
        return self._refused("BAD", pieces, timeout)

    def _refused(self, status, pieces, timeout):
        reply = self.cmd(*pieces, timeout=timeout)
        if reply.status != status:
            raise AssertionError("%r: expected %s, got %r" % (
                b"".join(as_bytes(p) for p in pieces)[:200], status, reply))
        return reply

    def send(self, *pieces):
        """Send a command without waiting; return its tag."""
        self._count += 1
        tag = "a%d" % self._count
        raw = tag.encode() + b" "
        for piece in pieces:
            raw += encode(piece)
            if isinstance(piece, SyncLit):
                self._send(raw)
                if not self._invited():
                    return tag
                raw = bytes(piece)
        self._send(raw + b"\r\n")
        return tag

    def _invited(self):
        """Whether a continuation comes; any other answer is left unread."""
        raw = self._response(self.timeout)
        if raw.startswith(b"+"):
            return True
        self._buffer[:0] = raw + b"\r\n"
        return False

    def finish(self, tag, timeout=None):
        """Wait for the tagged answer of a command sent before."""
        deadline = time.monotonic() + (timeout or self.timeout)
        untagged = []
        while True:
            raw = self._response(deadline - time.monotonic())
            if raw.startswith(tag.encode() + b" "):
                status, code, text = split_status(raw[len(tag) + 1:])
                return Reply(status, code, text, untagged)
            if raw.startswith(b"* "):
                untagged.append(self._parse(raw))
            elif not raw.startswith(b"+"):
                raise ImapError("unexpected: %r" % raw[:200])

    def login(self, user, password="pw"):
        """LOGIN that must succeed; returns self."""
        self.ok("LOGIN ", Lit(user.encode()), " ", Lit(password.encode()))
        return self

    # -- waiting for what the server says by itself -----------------------

    def continuation(self, timeout=None):
        """Wait for `+ ...`; return its text."""
        raw = self._response(timeout or self.timeout)
        if not raw.startswith(b"+"):
            raise ImapError("expected a continuation, got %r" % raw[:200])
        return raw[1:].strip()

    def idle(self):
        """Enter IDLE; returns the tag for done()."""
        tag = self.send("IDLE")
        self.continuation()
        return tag

    def done(self, tag):
        """Leave IDLE; returns the Reply."""
        self._send(b"DONE\r\n")
        return self.finish(tag)

    def wait_untagged(self, wanted, timeout=10):
        """Read until wanted(untagged) is true; return all that was read."""
        deadline = time.monotonic() + timeout
        seen = []
        while True:
            item = self._parse(self._response(deadline - time.monotonic()))
            seen.append(item)
            if wanted(item):
                return seen

    def quiet(self, seconds):
        """Untagged responses that come within so many seconds.

        Not "Still here", which Dovecot says to who is in IDLE whenever its clock
        for that user strikes."""
        deadline = time.monotonic() + seconds
        seen = []
        try:
            while True:
                item = self._parse(self._response(deadline - time.monotonic()))
                if item.name != "OK" or b"Still here" not in item.raw:
                    seen.append(item)
        except ImapError:
            return seen

    def compress(self):
        """COMPRESS DEFLATE: both directions from here on."""
        self.ok("COMPRESS DEFLATE")
        self._inflate = zlib.decompressobj(-15)
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        if self._buffer:
            self._buffer = bytearray(self._inflate.decompress(bytes(self._buffer)))

    def fileno(self):
        """The socket, for select()."""
        return self._sock.fileno()

    def close(self):
        """Drop the connection without a word."""
        self._sock.close()

    def logout(self):
        """LOGOUT and close."""
        reply = self.cmd("LOGOUT")
        self.close()
        return reply

    # -- wire -------------------------------------------------------------

    def _send(self, raw):
        self._note(">", raw)
        if self._deflate:
            raw = self._deflate.compress(raw) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._sock.settimeout(self.timeout)
        try:
            self._sock.sendall(raw)
        except OSError as error:
            raise ImapError("send: %s" % error)

    def send_raw(self, raw):
        """Send bytes as they are, for tests of half-sent commands."""
        self._send(raw)

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise ImapError("timeout")
        self._sock.settimeout(left)
        try:
            data = self._sock.recv(262144)
        except socket.timeout:
            raise ImapError("timeout")
        except OSError as error:
            raise ImapError("receive: %s" % error)
        if not data:
            raise ImapError("connection closed by the server")
        self._buffer += self._inflate.decompress(data) if self._inflate else data

    def _line_end(self, start, deadline):
        while True:
            end = self._buffer.find(b"\r\n", start)
            if end >= 0:
                return end
            self._fill(deadline)

    def _response(self, timeout):
        """One response with its literals, without the last CRLF."""
        deadline = time.monotonic() + timeout
        start = 0
        while True:
            end = self._line_end(start, deadline)
            match = re.search(rb"\{(\d+)\}$", bytes(self._buffer[max(start, end - 24):end]))
            if not match:
                break
            start = end + 2 + int(match.group(1))
            while len(self._buffer) < start:
                self._fill(deadline)
        raw = bytes(self._buffer[:end])
        del self._buffer[:end + 2]
        self._note("<", raw)
        return raw

    def _note(self, arrow, raw):
        self.transcript.append("%s %s" % (arrow, shorten(raw)))
        del self.transcript[:-TRANSCRIPT_LINES]

    @staticmethod
    def _parse(raw):
        if not raw.startswith(b"* "):
            raise ImapError("not an untagged response: %r" % raw[:200])
        words = raw[2:].split(b" ", 2)
        number = None
        if words[0].isdigit() and len(words) > 1:
            number = int(words[0])
            name, rest = words[1], words[2] if len(words) > 2 else b""
        else:
            name, rest = words[0], raw[2 + len(words[0]) + 1:]
        name = name.decode().upper()
        if name in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
            _, code, text = split_status(raw[2:])
            return Untagged(None, name, [text], code, raw)
        return Untagged(number, name, Parser(rest).rest(), None, raw)


def split_status(raw):
    """Split `OK [CODE args] text` into its three parts as str."""
    text = raw.decode("utf-8", "backslashreplace")
    match = re.match(r"(\w+) ?(?:\[([^\]]*(?:\(.*?\)[^\]]*)?)\])? ?(.*)$", text, re.S)
    return match.group(1), match.group(2), match.group(3)


def as_bytes(piece):
    """A piece of a command as bytes."""
    return piece if isinstance(piece, bytes) else piece.encode()


def encode(piece):
    """A piece of a command as it goes over the wire."""
    if isinstance(piece, SyncLit):
        return b"{%d}\r\n" % len(piece)
    if isinstance(piece, Lit):
        return b"%s{%d+}\r\n%s" % (piece.prefix, len(piece), bytes(piece))
    return as_bytes(piece)


def quoted(name):
    """A mailbox name as a quoted string (str or bytes)."""
    raw = as_bytes(name)
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def flags_of(values):
    """A FLAGS list as a set of str."""
    return {flag.decode() for flag in values}


def parse_set(text):
    """'1:3,7' as a list of int."""
    numbers = []
    if isinstance(text, bytes):
        text = text.decode()
    for part in (text or "").split(","):
        low, _, high = part.partition(":")
        if low:
            low, high = int(low), int(high or low)
            numbers += range(min(low, high), max(low, high) + 1)
    return numbers
