"""Bytes: what goes in comes out, exactly as sdbox would give it.

The same input goes to the storage under test and to a node on sdbox; all
that FETCH can say about it is compared item by item."""

import glob
import hashlib
import os
import random
import re
import shutil
import time

import proc
from imapclient import ImapClient, ImapError, Lit, Lit8
from mails import MIXED, PLAIN, attachments, base64_lines, multiappend, nasty, random_bytes, simple
from tap import Skip, eq, has, only, timeout, true

ITEMS = ["RFC822.SIZE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]", "ENVELOPE",
         "BODY", "BODYSTRUCTURE", "RFC822.HEADER", "PREVIEW", "BODY.PEEK[1]",
         "BODY.PEEK[1.MIME]", "BODY.PEEK[2]", "BODY.PEEK[2.1]", "BODY.PEEK[3.HEADER]",
         "BODY.PEEK[3.2]", "BODY.PEEK[1]<7.30>", "BODY.PEEK[]<0.1>",
         "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM X-COLOUR)]", "BODY.PEEK[]<10.50>",
         "BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT DATE)]", "BODY.PEEK[TEXT]<5.100>",
         "BODY.PEEK[HEADER]<2.30>"]

HEAD = b"From: a@example.org\r\nSubject: s\r\nDate: Mon, 2 Jan 2023 10:00:00 +0100\r\n"

# Shapes by name; no NUL here, see NUL_SHAPES.
SHAPES = {
    "crlf": PLAIN,
    "lf": PLAIN.replace(b"\r\n", b"\n"),
    "mixed ends": PLAIN.replace(b"\r\n", b"\n", 4),
    "bare cr in body": HEAD + b"\r\none\rtwo\r\r\nthree\r",
    "bare cr in header": b"Subject: a\rb\r\nFrom: x\r\n\r\nbody\r\n",
    "only cr": b"Subject: a\r\rbody\r",
    "lf then cr": HEAD + b"\n\rbody\n\r\n\r",
    "8-bit header": b"Subject: gr\xfcn \xff\xfe\r\nFrom: \xc3\xa4@x\r\n\r\n\x80\x81\r\n",
    "no separator": b"Subject: only a header line",
    "no separator, crlf": b"Subject: only a header line\r\n",
    "header only": HEAD + b"\r\n",
    "no header": b"\r\njust a body\r\n",
    "not a header": b"this is no header at all\r\nnor this\r\n\r\nx\r\n",
    "only newline": b"\n",
    "only crlf": b"\r\n",
    "two crlf": b"\r\n\r\n",
    "one byte": b"x",
    "one space": b" ",
    "no last newline": HEAD + b"\r\nno end",
    "long line": HEAD + b"\r\n" + b"y" * 300000 + b"\r\n",
    "long header line": b"Subject: " + b"z" * 120000 + b"\r\nFrom: a\r\n\r\nbody\r\n",
    "huge header": b"".join(b"X-Field-%d: %s\r\n" % (n, b"v" * 60) for n in range(2500))
                   + b"Subject: last\r\n\r\nbody\r\n",
    "folded": b"Subject: a\r\n b\r\n\tc\r\n  \r\nFrom: q\r\n\r\nbody\r\n",
    "same header often": b"Received: x\r\n" * 300 + b"Subject: s\r\n\r\nb\r\n",
    "dots": HEAD + b"\r\n.\r\n..\r\n.x\r\n",
    "from line": b"From someone Mon Jan  2 10:00:00 2023\r\n" + PLAIN,
    "mime": MIXED,
    "mime lf": MIXED.replace(b"\r\n", b"\n"),
    "mime cut": MIXED[:900],
    "mime no end": MIXED.replace(b"--outer--\r\nepilogue\r\n", b""),
    "empty parts": HEAD + (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x"
                           b"\r\n\r\n--x\r\n--x\r\n\r\n--x\r\n--x--"),
    "nested deep": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
                            % (n, n) for n in range(60)) + b"\r\ndeep\r\n",
    "utf-16": HEAD + b"\r\n" + "\ufefftext\r\n".encode("utf-16").replace(b"\0", b"\1"),
    "random": HEAD + b"\r\n" + random_bytes(1, 50000).replace(b"\0", b"\1"),
    "crlf at chunk ends": HEAD + b"\r\n" + (b"a" * 8190 + b"\r\n") * 40,
    "lf at chunk ends": HEAD + b"\r\n" + (b"a" * 8191 + b"\n") * 40,
    "header ends at 4096": b"X: " + b"h" * (4096 - 7) + b"\r\n\r\nbody\r\n",
    "header ends at 8192": b"X: " + b"h" * (8192 - 6) + b"\r\n\r\nbody\r\n",
    "crlf over 65536": b"X: y\r\n\r\n" + b"b" * (65536 - 9) + b"\r\nend\r\n",
    "only crs": HEAD + b"\r\n" + b"\r" * 10000,
}

def sdbox_loses(text):
    """Whether sdbox itself forgets bytes of the text.

    It stores LF for CRLF: a CR before a CRLF, or at the very end, is lost.
    Such messages are compared with what was sent, not with sdbox."""
    return b"\r\r\n" in text or text.endswith(b"\r")


def shown(text):
    """A message as IMAP shows it: each lone LF as CRLF, all else untouched."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", text)


NUL_SHAPES = {
    "nul in body": HEAD + b"\r\na\0b\r\n",
    "nul in header": b"Subject: a\0b\r\n\r\nbody\r\n",
    "all nul": b"\0" * 5000,
    "nul first": b"\0" + PLAIN,
    "nul and lf": b"A: b\n\n\0\n\r\0\n",
    "every byte": HEAD + b"\r\n" + bytes(range(256)) * 300,
}


class Side:
    """One user on one node, with a session that is opened again if cut off.

    Dovecot itself cuts a session off on some partial fetches of messages with
    bare CRs; what it does there isn't ours to judge."""

    def __init__(self, lab, user, node):
        self.lab, self.user, self.node = lab, user, node
        self.client = lab.imap(user, node)
        node.expect_log("got too little data", "Broken MIME parts")

    def select(self):
        """SELECT INBOX."""
        self.client.ok("SELECT INBOX")

    def ask(self, line):
        """(status, fetches) of a command, or None if the session was cut off."""
        try:
            reply = self.client.cmd(line)
            return reply.status, reply.fetches()
        except ImapError:
            self.client = self.lab.imap(self.user, self.node)
            self.select()
            return None


def pair(lab):
    """(side under test, side on sdbox) of one user name."""
    oracle = lab.oracle()
    user = lab.user(lab.node(), oracle)
    return Side(lab, user, lab.node()), Side(lab, user, oracle)


def compare_line(sides, line, what):
    """Both sides answer alike. False if sdbox cut its session off."""
    wanted = sides[1].ask(line)
    if wanted is None:
        return False
    got = sides[0].ask(line)
    true(got is not None, "%s: session cut off by %s" % (what, line))
    eq(got[0], wanted[0], what)
    eq(set(got[1]), set(wanted[1]), what)
    for seq in wanted[1]:
        eq(set(got[1][seq]), set(wanted[1][seq]), what)
        for key in wanted[1][seq]:
            eq(trimmed(key, got[1][seq][key]), trimmed(key, wanted[1][seq][key]),
               "%s: %s" % (what, key))
    return True


def trimmed(key, value):
    """BODY, BODYSTRUCTURE, ENVELOPE without blanks around their strings.

    Dovecot's parser leaves a blank before the value of a header line of
    several KB or not, depending on how the stream cuts the line. pgbox gives
    what it was when the message was saved."""
    if key not in ("BODY", "BODYSTRUCTURE", "ENVELOPE"):
        return value
    if isinstance(value, list):
        return [trimmed(key, item) for item in value]
    return value.strip() if value else value


def compare(sides, labels, items=ITEMS):
    """All items of all messages are alike on both sides."""
    for side in sides:
        side.select()
    for seq, label in enumerate(labels, 1):
        if not compare_line(sides, "FETCH %d (%s)" % (seq, " ".join(items)), label):
            for item in items:
                compare_line(sides, "FETCH %d (%s)" % (seq, item), label)


def check_append(lab, shapes, literal=Lit):
    """APPEND all shapes to both sides and compare, cold and warm."""
    shapes = {name: text for name, text in shapes.items() if not sdbox_loses(text)}
    sides = pair(lab)
    for side in sides:
        for message in shapes.values():
            side.client.ok("APPEND INBOX ", literal(message))
    for _ in range(2):
        compare(sides, list(shapes))


@timeout(120)
def test_shapes(lab):
    """Each shape by APPEND."""
    check_append(lab, SHAPES)


@timeout(120)
def test_shapes_with_nul(lab):
    """NULs by literal8."""
    check_append(lab, NUL_SHAPES, Lit8)


def is_crlf(text):
    """Whether CR and LF come together only."""
    left = text.replace(b"\r\n", b"")
    return b"\n" not in left and b"\r" not in left


@timeout(120)
def test_shapes_byte_exact(lab):
    """With CRLF throughout BODY[] is the input, byte for byte."""
    c = lab.imap()
    exact = [text for text in SHAPES.values() if is_crlf(text)]
    for message in exact:
        c.ok("APPEND INBOX ", Lit(message))
    c.ok("SELECT INBOX")
    for seq, message in enumerate(exact, 1):
        got = c.ok("FETCH %d (RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT])"
                   % seq).fetches()[seq]
        true(got["BODY[]"] == message, "message %d: %r" % (seq, message[:60]))
        true(got["BODY[HEADER]"] + got["BODY[TEXT]"] == message, "its parts")
        eq(int(got["RFC822.SIZE"]), len(message))


@only("pgbox")
@timeout(120)
def test_every_cr_is_kept(lab):
    """Also where sdbox would lose one: all shapes and all damaged messages."""
    c = lab.imap()
    texts = list(SHAPES.values()) + [nasty(seed) or b"x" for seed in range(400)]
    multiappend(c, "INBOX", texts)
    c.ok("SELECT INBOX")
    for seq, text in enumerate(texts, 1):
        got = c.ok("FETCH %d (RFC822.SIZE BODY.PEEK[])" % seq).fetches()[seq]
        true(got["BODY[]"] == shown(text), "message %d: %r" % (seq, text[:80]))
        eq(int(got["RFC822.SIZE"]), len(shown(text)))


@timeout(120)
def test_corpus(lab):
    """The repository's corpus of real-world shapes."""
    paths = sorted(glob.glob(os.path.join(proc.ROOT, "share", "corpus", "*.eml")))
    if not paths:
        raise Skip("no share/corpus")
    shapes = {}
    for path in paths:
        with open(path, "rb") as handle:
            shapes[os.path.basename(path)] = handle.read()
    check_append(lab, {name: text for name, text in shapes.items() if b"\0" not in text})
    with_nul = {name: text for name, text in shapes.items() if b"\0" in text}
    if with_nul:
        check_append(lab, with_nul, Lit8)


@timeout(240)
def test_nasty(lab):
    """400 damaged messages of fixed seeds."""
    shapes = {"seed %d" % seed: nasty(seed) or b"x" for seed in range(400)}
    shapes = {name: text for name, text in shapes.items() if not sdbox_loses(text)}
    true(len(shapes) > 300, "most of them are compared")
    sides = pair(lab)
    for side in sides:
        multiappend(side.client, "INBOX", list(shapes.values()))
    compare(sides, list(shapes))


@timeout(240)
def test_random_partials(lab):
    """Random <offset.length> of all shapes, in random order."""
    sides = pair(lab)
    shapes = [text for text in SHAPES.values() if not sdbox_loses(text)]
    for side in sides:
        multiappend(side.client, "INBOX", shapes)
        side.select()
    rng = random.Random(7)
    for _ in range(600):
        seq = rng.randint(1, len(shapes))
        size = len(shapes[seq - 1])
        item = "BODY.PEEK[%s]<%d.%d>" % (
            rng.choice(["", "", "TEXT", "HEADER", "1", "1.2", "2"]),
            rng.randint(0, size + 10), rng.choice([1, 2, 77, 4096, 65536, 2 * size + 1]))
        compare_line(sides, "FETCH %d %s" % (seq, item), "message %d" % seq)


@timeout(60)
def test_binary_against_oracle(lab):
    """BINARY and BINARY.SIZE of every part that there may be."""
    sides = pair(lab)
    shapes = [MIXED, SHAPES["mime lf"], SHAPES["mime cut"], SHAPES["empty parts"],
              SHAPES["8-bit header"]]
    for side in sides:
        multiappend(side.client, "INBOX", shapes)
        side.select()
    for seq in range(1, len(shapes) + 1):
        for part in ("1", "1.1", "1.2", "2", "3", "3.1", "3.2"):
            compare_line(sides, "FETCH %d BINARY.PEEK[%s]" % (seq, part), part)
            # sdbox counts the line ends of a multipart as LF; ours are right.
            got = sides[0].ask("FETCH %d (BINARY.PEEK[%s] BINARY.SIZE[%s])"
                               % (seq, part, part))
            if got[0] == "OK" and not lab.storage == "sdbox":
                item = got[1][seq]
                eq(int(item["BINARY.SIZE[%s]" % part]), len(item["BINARY[%s]" % part]), part)


@timeout(120)
def test_lmtp_shapes(lab):
    """The same over LMTP: the header that the server adds aside, all alike."""
    oracle = lab.oracle()
    user = lab.user(lab.node(), oracle)
    shapes = {name: text for name, text in list(SHAPES.items()) + list(NUL_SHAPES.items())
              if text.strip(b"\r\n ") and not sdbox_loses(text)}
    for node in (lab.node(), oracle):
        client = lab.lmtp(node)
        for text in shapes.values():
            eq(client.deliver(text, user)[user][0], 250)
    sides = Side(lab, user, lab.node()), Side(lab, user, oracle)
    compare(sides, list(shapes), ["BODY.PEEK[TEXT]", "BODYSTRUCTURE", "ENVELOPE",
                                  "RFC822.SIZE"])


@timeout(60)
def test_copied_bytes(lab):
    """COPY and MOVE keep every byte."""
    c = lab.imap()
    c.ok("CREATE box")
    for text in NUL_SHAPES.values():
        c.ok("APPEND INBOX ", Lit8(text))
    c.ok("SELECT INBOX")
    items = "(RFC822.SIZE BODY.PEEK[] BODYSTRUCTURE)"
    before = c.ok("FETCH 1:* " + items).fetches()
    c.ok("COPY 1:* box")
    c.ok("SELECT box")
    eq(c.ok("FETCH 1:* " + items).fetches(), before)
    c.ok("MOVE 1:* INBOX")
    c.ok("SELECT INBOX")
    count = len(NUL_SHAPES)
    after = c.ok("FETCH %d:* %s" % (count + 1, items)).fetches()
    eq([after[n + count] for n in before], [before[n] for n in before])


@timeout(60)
def test_doveadm_fetch_raw(lab):
    """doveadm's text.utf8 aside, `text` gives the stored message."""
    user = lab.user()
    c = lab.imap(user)
    c.ok("APPEND INBOX ", Lit(MIXED))
    out = lab.node().doveadm("fetch", "text", "mailbox", "INBOX", user=user).stdout
    true(MIXED.replace(b"\r\n", b"\n") in out.replace(b"\r\n", b"\n"), "text")


# -- memory ---------------------------------------------------------------

BIG = 200 * 1024 * 1024
LIMIT = 8 * 1024 * 1024
LINE = b"0123456789abcdef" * 4 + b"0123456789ab\r\n"


def big_header():
    """Header of the big message."""
    return (HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=big\r\n"
            b"\r\n--big\r\nContent-Type: text/plain\r\n\r\n")


def append_big(client, size):
    """APPEND a message of about that size without holding it; its real size."""
    head, tail = big_header(), b"--big--\r\n"
    lines = (size - len(head) - len(tail)) // len(LINE)
    total = len(head) + lines * len(LINE) + len(tail)
    client.send_raw(b"big APPEND INBOX {%d+}\r\n" % total)
    client._sock.sendall(head)
    block = LINE * 10000
    for _ in range(lines // 10000):
        client._sock.sendall(block)
    client._sock.sendall(LINE * (lines % 10000) + tail + b"\r\n")
    reply = client.finish("big", 240)
    true(reply.ok, repr(reply))
    return total


def drain_fetch(client, total):
    """FETCH BODY[] of message 1 and check it while it streams by."""
    client.send_raw(b"get FETCH 1 BODY.PEEK[]\r\n")
    sock = client._sock
    sock.settimeout(240)
    data = b""
    while b"}\r\n" not in data:
        data += sock.recv(100)
    first, _, rest = data.partition(b"}\r\n")
    eq(int(first.rpartition(b"{")[2]), total)
    crc = proc.Checksum(rest)
    while crc.size < total:
        crc.add(sock.recv(min(1 << 20, total - crc.size)))
    client._buffer = bytearray()
    while not b"get OK" in client._buffer:
        client._buffer += sock.recv(4096)
    client._buffer = bytearray()
    return crc.value


def expected_checksum(total):
    """The checksum that drain_fetch must give."""
    head, tail = big_header(), b"--big--\r\n"
    crc = proc.Checksum(head)
    lines = (total - len(head) - len(tail)) // len(LINE)
    block = LINE * 10000
    for _ in range(lines // 10000):
        crc.add(block)
    crc.add(LINE * (lines % 10000) + tail)
    return crc.value


def grown(pid, before):
    """By how much the process is, or was at most, larger than before."""
    now = proc.memory_of(pid)
    return now["VmHWM"] - before["VmRSS"]


def settled(lab, user, client):
    """(pid, memory) of the session's process after a small walk."""
    client.ok("APPEND INBOX ", Lit(simple(1)))
    client.ok("SELECT INBOX")
    client.ok("FETCH 1 (BODY.PEEK[] BODYSTRUCTURE)")
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    client.ok("EXPUNGE")
    pid = lab.node().imap_pids(user)[0]
    proc.reset_peak(pid)
    return pid, proc.memory_of(pid)


@timeout(280)
def test_big_message_memory(lab):
    """200 MB in and out: the process grows by less than 8 MB."""
    if os.environ.get("PGBOX_TEST_VALGRIND") or os.environ.get("PGBOX_TEST_PRELOAD"):
        raise Skip("memory is measured without instruments")
    user = lab.user()
    c = lab.imap(user, None)
    pid, before = settled(lab, user, c)
    total = append_big(c, BIG)
    true(grown(pid, before) < LIMIT, "APPEND: grew by %d KB" % (grown(pid, before) // 1024))
    c.ok("NOOP")
    eq(drain_fetch(c, total), expected_checksum(total))
    true(grown(pid, before) < LIMIT, "FETCH: grew by %d KB" % (grown(pid, before) // 1024))
    check_big_partials(c, total)
    true(grown(pid, before) < LIMIT, "partial: grew by %d KB" % (grown(pid, before) // 1024))
    c.ok("CREATE box")
    c.ok("COPY 1 box")
    true(grown(pid, before) < LIMIT, "COPY: grew by %d KB" % (grown(pid, before) // 1024))


def check_big_partials(client, total):
    """Pieces from everywhere, right and in bounded time."""
    head = len(big_header())
    for offset in (0, total - 1000, total // 2, 64 * 1024 * 1024 - 3, head):
        started = time.monotonic()
        got = client.ok("FETCH 1 BODY.PEEK[]<%d.1000>" % offset, timeout=120).fetches()
        piece = got[1]["BODY[]<%d>" % offset]
        eq(len(piece), 1000)
        if head <= offset < total - 2000:
            shift = (offset - head) % len(LINE)
            eq(piece, (LINE * 20)[shift:shift + 1000])
        true(time.monotonic() - started < 60, "partial FETCH in bounded time")


@timeout(120)
def test_big_message_lmtp(lab):
    """50 MB over LMTP is one message, its end intact."""
    user = lab.user()
    message = HEAD + b"\r\n" + LINE * (50 * 1024 * 1024 // len(LINE)) + b"the end\r\n"
    eq(lab.lmtp().deliver(message, user)[user][0], 250)
    c = lab.imap(user)
    c.ok("SELECT INBOX")
    got = c.ok("FETCH 1 BODY.PEEK[TEXT]", timeout=100).fetches()[1]["BODY[TEXT]"]
    true(got == message[len(HEAD) + 2:], "the body")


@only("pgbox")
def test_one_body_once(lab):
    """The same body for many recipients and folders is stored once."""
    users = [lab.user() for _ in range(5)]
    unique = HEAD + b"\r\nunique body %s\r\n" % str(time.time()).encode() + b"q" * 100000
    before = content_rows(lab)
    for code, _ in lab.lmtp().deliver(unique, *users).values():
        eq(code, 250)
    grown_by = content_rows(lab) - before
    true(grown_by <= 1 + len(users), "one body and at most a header each: %d" % grown_by)
    size = int(lab.cluster.value("SELECT pg_total_relation_size('pgbox.content')"))
    true(size < 100 * 1024 * 1024, "content: %d" % size)


def body_of(lab, message):
    """(body_id, bytes on the disk of its pieces, how many have base64 decoded) of a message's body."""
    digest = hashlib.sha256(message.split(b"\r\n\r\n", 1)[1]).hexdigest()
    rows = lab.cluster.psql(
        "SELECT b.body_id, octet_length(b.head) + COALESCE(sum(octet_length(k.data)), 0), (b.base64 IS NOT NULL)::integer + count(k.base64)"
        " FROM pgbox.body AS b LEFT JOIN pgbox.body_chunk AS k USING (body_id) WHERE b.digest = '\\x%s' GROUP BY b.body_id" % digest)
    return [int(field) for field in rows[0]]


@only("pgbox")
@timeout(120)
def test_base64_comes_back(lab):
    """It is stored decoded, in pieces that begin and end anywhere; whoever reads gets
    the bytes that came, all or parts of them, on a node that knows nothing as well."""
    node = lab.node()
    user = lab.user(node)
    c = lab.imap(user, node)
    node.expect_log("Broken MIME parts")
    messages = [attachments(1), attachments(100, b"\n"), HEAD + b"\r\n" + base64_lines(300000, 2),
                HEAD + b"\r\n" + base64_lines(98304, 3, 60)]
    for message in messages:
        c.ok("APPEND INBOX ", Lit(message))
    for what in ("warm", "cold"):
        if what == "cold":
            c.close()
            shutil.rmtree(node.index_dir(user))
            c = lab.imap(user, node)
        c.ok("SELECT INBOX")
        for seq, message in enumerate(messages, 1):
            message = shown(message)
            true(c.ok("FETCH %d BODY.PEEK[]" % seq).fetches()[seq]["BODY[]"] == message, "%s: message %d" % (what, seq))
            for at in (0, 131000, 131072 - 30, 262000, len(message) - 500):
                got = c.ok("FETCH %d BODY.PEEK[]<%d.70000>" % (seq, at)).fetches()[seq]["BODY[]<%d>" % at]
                true(got == message[at:at + 70000], "%s: message %d from %d" % (what, seq, at))
    for message, most in ((messages[0], 0.78), (messages[2], 0.732)):
        body, size, pieces = body_of(lab, message)
        true(size < most * len(message), "%d bytes are stored of %d" % (size, len(message)))
        eq(pieces, -(-len(message) // 131072), "pieces with base64 decoded")
        eq(lab.cluster.value("SELECT COALESCE(pgbox.body_problem(%d), 'none')" % body), "none")
        eq(lab.cluster.value("SELECT encode(sha256(pgbox.body_read(%d)), 'hex')" % body),
           hashlib.sha256(message.split(b"\r\n\r\n", 1)[1]).hexdigest())


@only("pgbox")
def test_nodes_that_want_it_as_it_is(lab):
    """As long as the store says so: for those of version 1."""
    user = lab.user()
    c = lab.imap(user)
    messages = [attachments(7), HEAD + b"\r\n" + base64_lines(3000, 7)]
    lab.cluster.psql("UPDATE pgbox.store SET base64_decoded = false")
    try:
        for message in messages:
            c.ok("APPEND INBOX ", Lit(message))
    finally:
        lab.cluster.psql("UPDATE pgbox.store SET base64_decoded = true")
    for message in messages:
        body, size, pieces = body_of(lab, message)
        eq((size, pieces), (len(message.split(b"\r\n\r\n", 1)[1]), 0))
        eq(lab.cluster.value("SELECT COALESCE(pgbox.body_problem(%d), 'none')" % body), "none")
    c.ok("SELECT INBOX")
    for seq, message in enumerate(messages, 1):
        true(c.ok("FETCH %d BODY.PEEK[]" % seq).fetches()[seq]["BODY[]"] == message, "message %d" % seq)


@only("pgbox")
def test_base64_that_is_damaged(lab):
    """Rows that tell of more than there is, or of something else, give no bytes and an error."""
    node = lab.node()
    user = lab.user(node)
    c = lab.imap(user, node)
    message = HEAD + b"\r\n" + base64_lines(400000, 9)
    c.ok("APPEND INBOX ", Lit(message))
    body = body_of(lab, message)[0]
    damage = ("body SET base64[2] = base64[2] + 40000", "body SET base64[2] = base64[2] - 57", "body SET base64[3] = 75",
              "body_chunk SET base64[1] = -1", "body_chunk SET base64[4] = 1")
    for number, change in enumerate(damage):
        table = change.split()[0]
        check = lab.cluster.psql("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                                 " WHERE conname IN ('body_size_check', 'body_chunk_base64_check')"
                                 " AND conrelid = 'pgbox.%s'::regclass" % table)[0]
        where = "body_id = %d%s" % (body, " AND number = 1" if table == "body_chunk" else "")
        lab.cluster.psql("CREATE TABLE saved_piece AS SELECT base64 FROM pgbox.%s WHERE %s;"
                         "SET session_replication_role = replica; ALTER TABLE pgbox.%s DROP CONSTRAINT %s;"
                         "UPDATE pgbox.%s WHERE %s" % (table, where, table, check[0], change, where))
        node.expect_log(r"read\(.*body with digest")
        client = lab.imap(user, node)
        try:
            client.ok("SELECT INBOX")
            got = client.cmd("FETCH 1 BODY.PEEK[]")
            true(not got.ok, "%s: %r" % (change, got.status))
        except ImapError:
            # it is too late for a NO when the first bytes were sent
            pass
        true(lab.cluster.value("SELECT COALESCE(pgbox.body_problem(%d), 'none')" % body) != "none", change)
        lab.cluster.psql("SET session_replication_role = replica; UPDATE pgbox.%s SET base64 = s.base64 FROM saved_piece AS s WHERE %s;"
                         "DROP TABLE saved_piece; ALTER TABLE pgbox.%s ADD CONSTRAINT %s %s" % (table, where, table, *check))
        eq(lab.cluster.value("SELECT COALESCE(pgbox.body_problem(%d), 'none')" % body), "none", "mended, %d" % number)


def content_rows(lab):
    """Rows of pgbox.content."""
    return int(lab.cluster.value("SELECT count(*) FROM pgbox.content"))


@only("pgbox")
def test_aborted_append_leaves_nothing(lab):
    """A connection that dies in a 10 MB APPEND leaves no orphan."""
    before = content_rows(lab)
    client = ImapClient(lab.node().ports["imap"]).login(lab.user())
    client.send_raw(b"x APPEND INBOX {10000000+}\r\n" + random_bytes(3, 5000000))
    client.close()
    proc.wait_for(lambda: content_rows(lab) == before, 10, "no orphaned content")
