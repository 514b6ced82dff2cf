"""The content cache: bytes of messages in files of a node.

pgbox only. What a node has read or delivered it needn't ask for again; what
becomes of the files changes nothing that a client can see."""

import glob
import os
import shutil
import threading
import time

import proc
from imapclient import Lit
from mails import MIXED, attachments, multiappend, simple
from meter import Meter
from tap import eq, has, only, timeout, true

CHUNK = 131072
CONFIG = """
plugin {
  pgbox_content_cache = %s
  pgbox_content_cache_size = %s
}
"""
HEAD = b"From: a@example.org\r\nSubject: s\r\n\r\n"
LARGE_HEADER = b"X-Trace: %s\r\n" % (b"x" * 900) * 50


def caching(lab, name="caching", size="100M", plugins="", extra=""):
    """A Meter of a node with a content cache; its folder is meter.folder."""
    folder = os.path.join(lab.dir, name + "-content")
    known = name in lab.nodes
    meter = Meter(lab, name, plugins, CONFIG % (folder, size) + extra)
    meter.folder = folder
    if not known:
        os.makedirs(folder, exist_ok=True)
        proc.give(folder, meter.node.mail_user)
    return meter


def selected(lab, meter):
    """(new user, session on the node with an empty INBOX selected)."""
    user = lab.user(meter.node)
    c = meter.client(user)
    c.ok("SELECT INBOX")
    return user, c


def files(meter, suffix=""):
    """Paths of the cache's files."""
    return sorted(glob.glob("%s/??/*.%s*" % (meter.folder, suffix)))


def used_bytes(meter):
    """What the files hold."""
    return sum(os.path.getsize(path) for path in files(meter))


def body(c, seq=1):
    """The whole message, by FETCH."""
    return c.ok("FETCH %d BODY.PEEK[]" % seq).fetches()[seq]["BODY[]"]


def append(c, message, box="INBOX"):
    """APPEND a message."""
    c.ok("APPEND %s " % box, Lit(message))


def big(size, seed=7):
    """A message of about that size, with no two lines alike."""
    lines = []
    for number in range(size // 40):
        lines.append(b"%d line %030d\r\n" % (seed, number))
    return HEAD + b"".join(lines)


def forget_index(meter, user):
    """The node loses its index, as if it had never seen the user."""
    shutil.rmtree(meter.node.index_dir(user))


def asked(meter, action):
    """Round trips that the action cost."""
    return meter.count(action)[0]


@only("pgbox")
@timeout(120)
def test_second_reader_asks_nothing(lab):
    """A body that one session has read is there for the next."""
    meter, other = caching(lab), Meter(lab, "uncached")
    user = lab.user(meter.node, other.node)
    writer = other.client(user)
    for number in range(30):
        append(writer, simple(number))
    append(writer, MIXED)
    append(writer, LARGE_HEADER + big(5 * CHUNK))
    # bytes as they were sent are kept, not as they are stored
    append(writer, attachments(5))
    first, second = meter.client(user), meter.client(user)
    lines = ["FETCH 1:33 BODY.PEEK[]", "FETCH 1:33 BODY.PEEK[TEXT]", "FETCH 32:33 BODY.PEEK[]<400000.100>",
             "FETCH 1:33 RFC822.HEADER"]
    wanted = {}
    writer.ok("SELECT INBOX")
    for line in lines:
        wanted[line] = writer.ok(line).fetches()
    first.ok("SELECT INBOX")
    second.ok("SELECT INBOX")
    eq(first.ok(lines[0]).fetches(), wanted[lines[0]])
    for line in lines:
        got = {}
        eq(asked(meter, lambda: got.update(second.ok(line).fetches())), 0, line)
        eq(got, wanted[line], line)


@only("pgbox")
@timeout(120)
def test_some_are_here(lab):
    """Of mails that are here and others the others alone are asked for, together."""
    meter, other = caching(lab, "mixed"), Meter(lab, "uncached")
    user = lab.user(meter.node, other.node)
    writer = other.client(user)
    messages = [big(3000, seed=number) for number in range(90)]
    multiappend(writer, "INBOX", messages)
    c, d = meter.client(user), meter.client(user)
    c.ok("SELECT INBOX")
    d.ok("SELECT INBOX")
    c.ok("FETCH %s BODY.PEEK[]" % ",".join(str(seq) for seq in range(2, 91, 3)))
    for path in files(meter, "0")[:5]:
        os.remove(path)
    got = {}
    true(asked(meter, lambda: got.update(d.ok("FETCH 1:* BODY.PEEK[]").fetches())) <= 2, "round trips")
    eq([got[seq]["BODY[]"] for seq in range(1, 91)], messages)


@only("pgbox")
@timeout(120)
def test_delivered_here(lab):
    """What was delivered on this node, too, is read without asking."""
    meter = caching(lab)
    user, c = selected(lab, meter)
    messages = [simple(1), MIXED, big(3 * CHUNK)]
    for message in messages[:2]:
        lab.lmtp(meter.node).deliver(message, user)
    append(c, messages[2])
    c.ok("NOOP")
    got = []
    eq(asked(meter, lambda: got.extend(body(c, seq) for seq in (1, 2, 3))), 0)
    true(got[0].endswith(messages[0].split(b"\r\n\r\n", 1)[1]), got[0])
    eq(got[2], messages[2])


@only("pgbox")
@timeout(120)
def test_copies_share(lab):
    """COPY takes the key along; ten recipients share one body."""
    meter = caching(lab, "sharing")
    users = [lab.user(meter.node) for _ in range(10)]
    for user in users:
        c = meter.client(user)
        c.ok("SELECT INBOX")
    lab.lmtp(meter.node).deliver(big(2 * CHUNK), *users)
    eq(len(files(meter, "0")), 1)
    # a mail to several has no Delivered-To, so it is the same for all
    eq(len(files(meter, "s")), 1)
    c.ok("NOOP")
    c.ok("CREATE there")
    c.ok("COPY 1 there")
    c.ok("SELECT there")
    eq(asked(meter, lambda: body(c)), 0)


@only("pgbox")
@timeout(120)
def test_new_index_keeps_files(lab):
    """Without its index the node asks once, and has the key again."""
    meter = caching(lab)
    user = lab.user(meter.node)
    c = meter.client(user)
    append(c, big(2 * CHUNK))
    c.logout()
    forget_index(meter, user)
    c = meter.client(user)
    c.ok("SELECT INBOX")
    eq(body(c), big(2 * CHUNK))
    eq(asked(meter, lambda: eq(body(c), big(2 * CHUNK))), 0)


@only("pgbox")
@timeout(120)
def test_files_vanish(lab):
    """The folder is deleted while sessions go on."""
    meter = caching(lab)
    user = lab.user(meter.node)
    c = meter.client(user)
    message = big(4 * CHUNK)
    append(c, message)
    c.ok("SELECT INBOX")
    for number in range(3):
        for name in os.listdir(meter.folder):
            shutil.rmtree(os.path.join(meter.folder, name))
        eq(body(c), message, number)
        true(files(meter), "filled again")
        eq(asked(meter, lambda: eq(body(c), message)), 0, number)


@only("pgbox")
@timeout(120)
def test_damage_is_found(lab):
    """Whatever a file holds, clients get what was sent."""
    meter = caching(lab, "damaged")
    meter.node.expect_log("is damaged: removed")
    _, c = selected(lab, meter)
    message = big(2 * CHUNK)
    append(c, message)
    eq(asked(meter, lambda: body(c)), 0)

    def flip(data):
        return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]

    others = {path: open(path, "rb").read() for path in files(meter)}
    damages = [flip, lambda data: data[:-1], lambda data: b"", lambda data: data + b"x",
               lambda data: data[:20], lambda data: bytes(len(data)),
               lambda data: next(other for other in others.values() if other != data)]
    for number, damage in enumerate(damages):
        for path in files(meter):
            with open(path, "rb") as handle:
                data = handle.read()
            with open(path, "wb") as handle:
                handle.write(damage(data))
            # a young one counts as being written
            os.utime(path, (1e9, 1e9))
            eq(body(c), message, "%s with damage %d" % (path, number))
            eq(open(path, "rb").read(), data, "mended")
        eq(asked(meter, lambda: eq(body(c), message)), 0, number)


@only("pgbox")
@timeout(120)
def test_unusable_folder(lab):
    """A folder that can't be used is said once for each session, and no more."""
    meter = caching(lab, "unusable")
    if not proc.is_root():
        return
    user = lab.user(meter.node)
    shutil.rmtree(meter.folder)
    os.mkdir(meter.folder, 0o700)
    c = meter.client(user)
    c.ok("SELECT INBOX")
    for number in range(5):
        append(c, simple(number))
    for seq in range(1, 6):
        has(b"Subject", body(c, seq))
    warnings = [line for line in meter.node.log_since_mark().splitlines() if "content cache: " in line]
    eq(len(warnings), 1, warnings)
    has("not used any more in this session", warnings[0])
    proc.give(meter.folder, meter.node.mail_user)


@only("pgbox")
@timeout(120)
def test_unusable_settings(lab):
    """A slip in a setting of the cache costs the cache, and isn't quiet."""
    for name, folder, size, complaint in (
            ("slip", "/tmp/never-made", "1GG", "pgbox_content_cache_size: Invalid size: 1GG"),
            ("relative", "some/where", "1G", "pgbox_content_cache: must be an absolute path, not some/where")):
        meter = Meter(lab, name, extra=CONFIG % (folder, size))
        meter.node.expect_log("Error: pgbox_content_cache")
        _, c = selected(lab, meter)
        append(c, simple(1))
        eq(body(c), simple(1))
        has(complaint, meter.node.log_since_mark())
        true(not os.path.exists("/tmp/never-made"), "nothing is cached")


@only("pgbox")
@timeout(180)
def test_limit(lab):
    """The folder stays about as large as it may be; what is read often stays."""
    limit = 16 * 1024 * 1024
    meter = caching(lab, "limited", "16M")
    _, c = selected(lab, meter)
    favourite = big(3000, seed=99)
    append(c, favourite)
    for turn in range(25):
        multiappend(c, "INBOX", [big(8000, seed=1000 + turn * 100 + number) for number in range(100)])
        eq(asked(meter, lambda: eq(body(c, 1), favourite)), 0, "in turn %d" % turn)
        # as if each turn were half a day
        for path in files(meter):
            when = os.path.getmtime(path) - 43200
            os.utime(path, (when, when))
    # each file counts 2 KB more than it has, and each directory's share leaves
    # room for no whole file
    true(limit * 0.5 < used_bytes(meter) < limit * 1.1, "%d bytes" % used_bytes(meter))


@only("pgbox")
@timeout(120)
def test_looking_through_keeps_nothing(lab):
    """SEARCH and doveadm read without filling the cache."""
    meter, other = caching(lab, "looking"), Meter(lab, "uncached")
    user = lab.user(meter.node, other.node)
    writer = other.client(user)
    for number in range(20):
        append(writer, simple(number))
    append(writer, big(3 * CHUNK))
    c = meter.client(user)
    c.ok("SELECT INBOX")
    c.ok("SEARCH BODY nothing-like-it")
    meter.node.doveadm("fetch", "text", "mailbox", "INBOX", user=user)
    eq(files(meter), [])
    body(c, 21)
    # its start and three chunks
    eq(len(files(meter)), 4)
    eq(c.ok("SEARCH BODY 0000000000017").numbers("SEARCH"), [21])


@only("pgbox")
@timeout(120)
def test_outage(lab):
    """Mails that are here can be read while the database is away."""
    meter = caching(lab, "alone")
    meter.node.expect_log("Error: ")
    _, c = selected(lab, meter)
    append(c, big(3 * CHUNK))
    meter.proxy.refuse()
    try:
        eq(body(c), big(3 * CHUNK))
    finally:
        meter.proxy.disarm()


@only("pgbox")
@timeout(120)
def test_stored_form(lab):
    """A plugin's form of the message (compression) is what is kept."""
    meter = caching(lab, "zipped", plugins="zlib", extra="plugin {\n  zlib_save = gz\n}\n")
    _, c = selected(lab, meter)
    message = HEAD + b"compressible text\r\n" * 20000
    append(c, message)
    eq(asked(meter, lambda: eq(body(c), message)), 0)
    true(used_bytes(meter) < len(message) // 10, used_bytes(meter))


@only("pgbox")
@timeout(120)
def test_everybody_at_once(lab):
    """Sessions read, save and delete the cache at the same time."""
    meter = caching(lab, "crowded", "2M")
    user = lab.user(meter.node)
    c = meter.client(user)
    messages = [big(20000 + 9000 * number, seed=number) for number in range(30)]
    for message in messages:
        append(c, message)
    problems = []

    def read(seed):
        d = meter.node.imap(user)
        d.ok("SELECT INBOX")
        for number in range(60):
            seq = (seed * 7 + number * 11) % len(messages) + 1
            if body(d, seq) != messages[seq - 1]:
                problems.append(seq)
        d.close()

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for path in files(meter)[::3]:
            if os.path.exists(path):
                os.remove(path)
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    eq(problems, [])
