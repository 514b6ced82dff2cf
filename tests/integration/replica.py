"""Reading from a standby: what doesn't change, and state that is far away.

pgbox only. Nobody can see from which server something came: what the standby
doesn't have yet, or can't tell, comes from the primary in the same command."""

import contextlib
import os
import shutil
import time

import proc
from cluster import Cluster, quote
from imapclient import Lit
from mails import multiappend, simple
from meter import LONG
from pgproxy import Proxy
from tap import eq, has, only, timeout, true

LEFT_OUT = "replica: left out for 10 s"
# a replica that was left out is tried again after that
RETRY = 10


class Reader:
    """A node behind two proxies: to the primary, and to what it reads from."""

    def __init__(self, lab, name, replica=None):
        self.lab = lab
        if name not in lab.nodes:
            proxies = [Proxy(os.path.join(lab.dir, name + kind), server.socket)
                       for kind, server in (("-primary", lab.cluster), ("-replica", replica or lab.replica))]
            uris = ["host=%s port=5432 dbname=pgbox user=pgbox_dovecot" % proxy.folder for proxy in proxies]
            lab.node(name, database=uris[0], replica=uris[1], extra=LONG).proxies = proxies
        self.node = lab.nodes[name]
        self.primary, self.replica = self.node.proxies

    def count(self, action):
        """Round trips that it cost: at the primary, and at the replica."""
        self.primary.reset()
        self.replica.reset()
        action()
        return self.primary.round_trips, self.replica.round_trips

    def forget(self, user):
        """The node loses its index."""
        shutil.rmtree(self.node.index_dir(user))


def filled(lab, count, size=1):
    """A user with so many messages, saved on a node without a replica."""
    user = lab.user()
    with_mail(lab, user, range(count), size)
    return user


def with_mail(lab, user, numbers, size=1):
    """More messages; returns them."""
    client = lab.imap(user)
    messages = [simple(number) + b"x" * 70 * size for number in numbers]
    multiappend(client, "INBOX", messages)
    return messages


def selected(lab, reader, user):
    """A session on the node with INBOX selected."""
    client = lab.imap(user, reader.node)
    client.ok("SELECT INBOX")
    return client


def reading(lab):
    """(Reader, its session) that has read 10 of 30 mails from a standby that has them all."""
    reader = Reader(lab, "reader")
    user = filled(lab, 30, 50)
    lab.replica.catch_up()
    client = selected(lab, reader, user)
    eq(len(bodies(client, 1, 10)), 10)
    return reader, client


def bodies(client, first, last):
    """Whole messages by their numbers."""
    found = client.ok("FETCH %d:%d BODY.PEEK[]" % (first, last)).fetches()
    return {number: values["BODY[]"] for number, values in found.items()}


def state(client):
    """Flags and modseqs by number; who sees \\Recent is another matter."""
    found = client.ok("FETCH 1:* (FLAGS MODSEQ)").fetches()
    return {number: (set(values["FLAGS"]) - {b"\\Recent"}, values["MODSEQ"]) for number, values in found.items()}


@contextlib.contextmanager
def paused(lab):
    """The standby stays as it is."""
    lab.replica.pause()
    try:
        yield
    finally:
        lab.replica.resume()
        lab.replica.catch_up()


def warnings(node):
    """What the node has said about its replica."""
    return [line for line in node.log_since_mark().splitlines() if "replica:" in line]


@only("pgbox")
@timeout(120)
def test_content_comes_from_the_replica(lab):
    """Nearly all bytes, when it is current; the same bytes."""
    reader = Reader(lab, "reader")
    user = filled(lab, 150, 200)
    large = simple(7) + b"y" * 70 * 12000
    lab.imap(user).ok("APPEND INBOX ", Lit(large))
    plain = lab.imap(user)
    plain.ok("SELECT INBOX")
    lab.replica.catch_up()
    client = selected(lab, reader, user)
    got = {}

    def read():
        client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)")
        got.update(bodies(client, 1, 151))
        eq(len(client.ok("SEARCH BODY message").numbers()), len(plain.ok("SEARCH BODY message").numbers()))

    reader.count(read)
    eq(got, bodies(plain, 1, 151))
    total = reader.primary.bytes + reader.replica.bytes
    print("# %d of %d bytes came from the replica, %.1f %%" % (reader.replica.bytes, total, 100 * reader.replica.bytes / total))
    true(reader.replica.bytes > 0.98 * total, "from the replica")


@only("pgbox")
@timeout(120)
def test_what_has_not_arrived(lab):
    """It is read from the primary at once, and not one by one."""
    reader = Reader(lab, "reader")
    user = filled(lab, 60)
    lab.replica.catch_up()
    client = selected(lab, reader, user)
    with paused(lab):
        messages = with_mail(lab, user, range(100, 160))
        client.ok("NOOP")
        got = {}
        trips = reader.count(lambda: got.update(bodies(client, 1, 120)))
        eq([got[61 + number] for number in range(60)], messages)
        eq(len(got), 120)
        true(sum(trips) <= 6, "round trips: %s" % (trips,))
        # rows that are read ahead
        reader.forget(user)
        again = selected(lab, reader, user)
        trips = reader.count(lambda: eq(len(again.ok("FETCH 1:* (ENVELOPE RFC822.SIZE)").fetches()), 120))
        true(sum(trips) <= 6, "round trips: %s" % (trips,))
    eq(warnings(reader.node), [])


@only("pgbox")
@timeout(120)
def test_state_never_goes_back(lab):
    """A node without an index: from the replica if that isn't behind what the
    primary says, else from the primary."""
    reader = Reader(lab, "reader")
    user = filled(lab, 10)
    writer = lab.imap(user)
    writer.ok("SELECT INBOX")
    for number in range(70):
        writer.ok("STORE %d FLAGS.SILENT (own%d)" % (number % 10 + 1, number // 10))
    lab.replica.catch_up()
    wanted = state(writer)

    def opened():
        client = lab.imap(user, reader.node)
        client.ok("SELECT INBOX")
        eq(state(client), wanted)
        client.close()

    primary, replica = reader.count(opened)
    true(replica >= 1, "asked: %d, %d" % (primary, replica))
    # an index that is far behind
    for number in range(70):
        writer.ok("STORE %d FLAGS.SILENT (own%d \\Seen)" % (number % 10 + 1, number // 10))
    lab.replica.catch_up()
    wanted = state(writer)
    true(reader.count(opened)[1] >= 1, "far behind")
    # a replica that is behind
    with paused(lab):
        for number in range(70):
            writer.ok("STORE %d FLAGS.SILENT (own%d)" % (number % 10 + 1, number // 10))
        writer.ok("STORE 3 +FLAGS (\\Deleted)")
        writer.ok("EXPUNGE")
        wanted = state(writer)
        true(reader.count(opened)[1] >= 1, "asked, in vain")
        reader.forget(user)
        opened()
    eq(warnings(reader.node), [])


@only("pgbox")
@timeout(120)
def test_down_and_back(lab):
    """Its death is noticed once, and not by clients; it is taken back."""
    reader, client = reading(lab)
    lab.replica.kill()
    for first in (1, 11, 21):
        eq(len(bodies(client, first, first + 9)), 10)
    eq(len(warnings(reader.node)), 1)
    has(LEFT_OUT, warnings(reader.node)[0])
    lab.replica.start()
    lab.replica.following()
    lab.replica.catch_up()
    time.sleep(RETRY + 0.5)
    eq(reader.count(lambda: eq(len(bodies(client, 1, 10)), 10))[1], 1)
    eq(len(warnings(reader.node)), 2)
    has("serves us again", warnings(reader.node)[1])


@only("pgbox")
@timeout(120)
def test_slow(lab):
    """It is waited for once, for pgbox_replica_timeout."""
    reader, client = reading(lab)
    reader.replica.stall()
    begin = time.monotonic()
    eq(len(bodies(client, 11, 20)), 10)
    first = time.monotonic() - begin
    eq(len(bodies(client, 21, 30)), 10)
    second = time.monotonic() - begin - first
    reader.replica.stall(False)
    print("# %.2f s, then %.2f s" % (first, second))
    true(0.9 < first < 3 and second < 0.9, "waited %.2f and %.2f s" % (first, second))
    eq(len(warnings(reader.node)), 1)
    has(LEFT_OUT, warnings(reader.node)[0])


@only("pgbox")
@timeout(120)
def test_dies_while_it_is_read(lab):
    """In the middle of a large body, or of a pull: the primary goes on."""
    reader = Reader(lab, "cut")
    user = lab.user()
    large = simple(1) + b"".join(b"line %060d\r\n" % number for number in range(30000))
    writer = lab.imap(user)
    writer.ok("APPEND INBOX ", Lit(large))
    writer.ok("SELECT INBOX")
    for number in range(70):
        writer.ok("STORE 1 FLAGS.SILENT (own%d)" % number)
    lab.replica.catch_up()
    for statement in (b"pgbox-body-chunks", b"pgbox-message-fetch", b"pgbox-mailbox-pull"):
        reader.replica.cut_at(statement)
        client = selected(lab, reader, user)
        eq(bodies(client, 1, 1), {1: large}, statement)
        true(reader.replica.sprung.is_set(), statement)
        reader.replica.disarm()
        client.close()
        reader.forget(user)
        proc.wait_for(lambda: not reader.replica.open_connections(), 20, "the process to end")


@only("pgbox")
@timeout(120)
def test_dies_between_batches(lab):
    """While the next batch of bodies is on its way from it: the primary goes on."""
    reader = Reader(lab, "ahead")
    count = 300
    user = filled(lab, count, 500)
    wanted = {number + 1: simple(number) + b"x" * 70 * 500 for number in range(count)}
    lab.replica.catch_up()
    client = selected(lab, reader, user)
    primary, replica = reader.count(lambda: eq(bodies(client, 1, count), wanted))
    eq((primary, replica > 4), (0, True), "all from the replica")
    tag = client.send("FETCH 1:* BODY.PEEK[]")
    time.sleep(0.5)
    reader.replica.refuse()
    reply = client.finish(tag, timeout=60)
    eq({number: values["BODY[]"] for number, values in reply.fetches().items()}, wanted)
    has(LEFT_OUT, "".join(warnings(reader.node)))
    eq(reader.node.bad_log_lines(), [])
    reader.replica.disarm()


@only("pgbox")
@timeout(120)
def test_replica_of_another_store(lab):
    """A mistake in a setting shows nobody the mail of others."""
    os.mkdir(os.path.join(lab.dir, "foreign-store"))
    other = Cluster(os.path.join(lab.dir, "foreign-store"))
    other.start()
    try:
        other.install()
        user = lab.user()
        inbox = "SELECT m.mailbox_id FROM pgbox.mailbox AS m JOIN pgbox.account AS a USING (account_id) WHERE a.name = %s"
        mine = int(lab.cluster.value(inbox % quote(user)))
        other.psql("ALTER SEQUENCE %s RESTART WITH %d"
                   % (other.value("SELECT pg_get_serial_sequence('pgbox.mailbox', 'mailbox_id')"), mine))
        other.create_account("victim")
        eq(int(other.value(inbox % "'victim'")), mine)
        there = lab.node("foreign", database=other.uri("pgbox_dovecot"))
        there.add_user("victim")
        victim = there.imap("victim")
        for number in range(5):
            victim.ok("APPEND INBOX ", Lit(simple(number + 1000)))
        victim.close()
        reader = Reader(lab, "mistaken", other)
        messages = with_mail(lab, user, range(5))
        client = selected(lab, reader, user)
        got = bodies(client, 1, 5)
        eq([got[number + 1] for number in range(5)], messages)
        true(reader.replica.round_trips > 0, "it was asked")
    finally:
        other.stop("immediate")
