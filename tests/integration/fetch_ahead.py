"""FETCH of many bodies: the next batch is on its way while the client reads.

pgbox only. Whatever happens to the connection meanwhile, the client gets what it
would have got without, by as many statements."""

import time

import proc
from imapclient import Lit
from mails import multiappend, simple
from meter import Meter
from tap import eq, only, timeout, true

COUNT = 400
# these need a statement of their own in the midst of others
LARGE = (30, 31, 170, 333)
ALL = "FETCH 1:* BODY.PEEK[]"
# what is on its way is read after 100 ms if nobody has wanted it
STALLED = 0.5


def message(number):
    """A mail of 25 KB, or a large one."""
    size = 700000 if number in LARGE else 25000
    return simple(number, body="line of mail %07d\r\n" % number * (size // 22))


def opened(lab):
    """(Meter, user, client with all mails in its selected INBOX)."""
    meter = Meter(lab)
    user = lab.user(meter.node)
    writer = meter.client(user)
    for first in range(1, COUNT, 100):
        multiappend(writer, "INBOX", [message(number) for number in range(first, first + 100)])
    writer.logout()
    client = meter.client(user)
    client.ok("SELECT INBOX")
    return meter, user, client


def same(reply, missing=()):
    """Every body is that of its message."""
    found = {number: values["BODY[]"] for number, values in reply.fetches().items() if "BODY[]" in values}
    for number in set(range(1, COUNT + 1)) - set(missing):
        true(found.get(number) == message(number), "message %d" % number)


def stalled(client, command=ALL):
    """A FETCH whose answer the client doesn't read yet; the tag."""
    tag = client.send(command)
    time.sleep(STALLED)
    return tag


def at_work(lab):
    """Backends of the plugin that do something, or wait for who doesn't read."""
    return lab.cluster.psql("SELECT query FROM pg_stat_activity WHERE usename = 'pgbox_dovecot' AND state <> 'idle'")


@only("pgbox")
@timeout(120)
def test_statements(lab):
    """As many as the bytes make batches, and one for each piece of a large body."""
    _, _, client = opened(lab)
    lab.cluster.reset_statements()
    same(client.ok(ALL, timeout=60))
    found = lab.cluster.statements()
    eq(sum(times for text, times in found.items() if "body_chunk" in text), 2 * len(LARGE))
    batches = sum(times for text, times in found.items() if "bytes_before" in text)
    true(5 <= batches <= 7, "%d batches: %r" % (batches, found))


@only("pgbox")
@timeout(120)
def test_client_that_doesnt_read(lab):
    """The server isn't kept in the middle of an answer."""
    _, _, client = opened(lab)
    tag = stalled(client)
    proc.wait_for(lambda: not at_work(lab), 5, "the backend to be idle, with %r" % at_work(lab))
    same(client.finish(tag, timeout=60))


@only("pgbox")
@timeout(120)
def test_others_use_the_connection(lab):
    """\\Seen is set by the command itself, mails vanish and others come before it ends."""
    _, user, client = opened(lab)
    tag = stalled(client, "FETCH 1:* (FLAGS BODY[])")
    other = lab.imap(user)
    other.ok("SELECT INBOX")
    other.ok("STORE 250:255,399 +FLAGS (\\Deleted)")
    other.ok("EXPUNGE")
    other.ok("APPEND INBOX ", Lit(message(1)))
    reply = client.finish(tag, timeout=60)
    same(reply, list(range(250, 256)) + [399])
    true(reply.ok or reply.code == "EXPUNGEISSUED", repr(reply))
    client.ok("NOOP")
    eq(len(client.ok("SEARCH SEEN").numbers()), COUNT - 7)
    other.ok("NOOP")
    eq(len(other.ok("SEARCH UNSEEN").numbers()), 1)


@only("pgbox")
@timeout(120)
def test_connection_is_cut(lab):
    """Between two batches, and while one comes: nobody hears of it."""
    meter, _, client = opened(lab)
    for wait in (STALLED, 0.02, 0):
        tag = client.send(ALL)
        time.sleep(wait)
        meter.proxy.cut()
        same(client.finish(tag, timeout=60))
    meter.proxy.cut_at(b"pgbox-body-chunks")
    same(client.ok(ALL, timeout=60))
    meter.proxy.cut_at(b"pgbox-message-fetch", after=True)
    same(client.ok(ALL, timeout=60))


@only("pgbox")
@timeout(120)
def test_told_when_wanted(lab):
    """A server that is away is no error as long as nobody asks it."""
    meter, _, client = opened(lab)
    tag = stalled(client)
    meter.proxy.refuse()
    time.sleep(STALLED)
    eq(meter.node.bad_log_lines(), [])
    meter.proxy.disarm()
    same(client.finish(tag, timeout=60))


@only("pgbox")
@timeout(120)
def test_client_goes_away(lab):
    """Nothing is left of what was on its way."""
    meter, user, client = opened(lab)
    stalled(client)
    client.close()
    proc.wait_for(lambda: not at_work(lab), 5, "the backend to be idle, with %r" % at_work(lab))
    proc.wait_for(lambda: not meter.node.imap_pids(user), 20, "the process to end")


@only("pgbox")
@timeout(120)
def test_part_of_a_body(lab):
    """Who reads the beginning alone asks for no more, and what comes after is right."""
    meter, _, client = opened(lab)
    lab.cluster.reset_statements()
    for number in LARGE:
        piece = client.ok("FETCH %d BODY.PEEK[]<0.50000>" % number).fetches()[number]["BODY[]<0>"]
        true(piece == message(number)[:50000], number)
    eq([text for text in lab.cluster.statements() if "body_chunk" in text], [])
    for size in (100000, 140000, 650000):
        for number in LARGE:
            piece = client.ok("FETCH %d BODY.PEEK[]<0.%d>" % (number, size)).fetches()[number]["BODY[]<0>"]
            true(piece == message(number)[:size], "%d of %d" % (size, number))
    trips, _ = meter.count(lambda: client.ok("NOOP"))
    eq(trips, 1)
