"""Random histories by many clients of several nodes at once.

Clients with QRESYNC and a cache of their own send commands at the same time,
mail is delivered, an administrator uses SQL and doveadm, indexes are deleted,
tombstones are pruned; the third node keeps its indexes in memory.
Now and then all rests, and then everybody has to agree with the database: each
node, each open session, each client's cache, and caches that were left offline
a while ago and resynchronise on either node.

    PGBOX_TEST_SEED      run this history only
    PGBOX_TEST_SECONDS   go on with new histories for so long (default 60)

What commands there are is repeatable by the seed; what comes first where they
are sent at once isn't."""

import contextlib
import copy
import os
import random
import re
import shutil
import signal
import time

import proc
from cache_exact import prune
from cache_truth import Truth, check
from imapclient import ImapError, Lit, flags_of, parse_set
from mails import PLAIN, fill, simple
from tap import eq, only, timeout, true
from weather_server import Holder, waiting

MAILBOXES = ("INBOX", "one", "two")
KEYWORDS = ("$Label1", "$Label2", "own", "Other", "k1", "k2")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted")
SILENT = re.compile(r"UID STORE (\S+) (?:\(UNCHANGEDSINCE \d+\) )?([-+]?)FLAGS\.SILENT \((.*)\)$")
STEPS = 40
REST_EVERY = 8


class Cache:
    """What a client remembers of a mailbox between two connections."""

    def __init__(self, validity=0):
        self.validity = validity
        self.highest = 0
        # all up to this UID have been fetched once
        self.fetched = 0
        self.rows = {}

    def store_silently(self, command, reply):
        """The client does by itself what .SILENT doesn't tell it."""
        match = SILENT.match(command)
        if not match or not reply.ok:
            return
        uids, how, flags = match.groups()
        word, _, modified = (reply.code or "").partition(" ")
        refused = parse_set(modified) if word == "MODIFIED" else []
        flags = set(flags.split())
        for uid in set(parse_set(uids)) & set(self.rows) - set(refused):
            old = self.rows[uid]
            self.rows[uid] = {"": flags, "+": old | flags, "-": old - flags}[how]

    def apply(self, reply):
        """Follow what the server said."""
        for item in reply.untagged:
            if item.name == "VANISHED":
                for uid in parse_set(item.data[-1]):
                    self.rows.pop(uid, None)
            elif item.name == "FETCH":
                self._fetch(item.data[0])
        word, _, number = (reply.code or "").partition(" ")
        if word == "HIGHESTMODSEQ":
            self.highest = int(number)

    def _fetch(self, pairs):
        values = {pairs[i].upper(): pairs[i + 1] for i in range(0, len(pairs), 2)}
        if b"FLAGS" in values:
            self.rows[int(values[b"UID"])] = flags_of(values[b"FLAGS"]) - {"\\Recent"}

    def known(self):
        """Its UIDs, ascending."""
        return sorted(self.rows)


class Peer:
    """A client that stays connected to one node and keeps caches."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.node = world.nodes[name % len(world.nodes)]
        self.caches = {}
        self.box = None
        self.client = None
        self.sent = ""
        self.connect()

    def connect(self):
        """A new connection; the caches stay."""
        self.client = self.world.lab.imap(self.world.user, self.node)
        self.client.ok("ENABLE QRESYNC")
        self.box = None

    @property
    def cache(self):
        """The cache of the selected mailbox."""
        return self.caches[self.box]

    def finish(self, tag):
        """Take in the answer to a command."""
        reply = self.client.finish(tag)
        true(reply.status != "BAD", "peer %d: %r" % (self.name, reply))
        if self.box:
            self.cache.store_silently(self.sent, reply)
            self.cache.apply(reply)
        return reply

    def send(self, *pieces):
        """Send a command; returns its tag."""
        self.sent = pieces[0]
        return self.client.send(*pieces)

    def run(self, command):
        """Send a command and take in the answer."""
        return self.finish(self.send(command))

    def fetch_new(self):
        """Fetch what came since the last time."""
        self.run("UID FETCH %d:* (FLAGS)" % (self.cache.fetched + 1))
        self.cache.fetched = max(self.cache.rows, default=self.cache.fetched)

    def select(self, box):
        """Select with resynchronisation. Returns False if there is none."""
        cache = self.caches.get(box, Cache())
        self.box = None
        reply = resync(self.client, box, cache)
        if reply.ok:
            self.caches[box] = cache
            self.box = box
        return reply.ok


def resync(client, box, cache):
    """SELECT; bring a client's cache up to date as RFC 7162 has it."""
    text = " (QRESYNC (%d %d))" % (cache.validity, cache.highest) if cache.highest else ""
    reply = client.cmd("SELECT ", box, text)
    true(reply.status != "BAD", repr(reply))
    if not reply.ok:
        return reply
    validity = int(reply.untagged_code("UIDVALIDITY"))
    if validity == cache.validity:
        cache.apply(reply)
    else:
        cache.__init__(validity)
    cache.apply(client.ok("UID FETCH %d:* (FLAGS)" % (cache.fetched + 1)))
    cache.highest = int(reply.untagged_code("HIGHESTMODSEQ"))
    cache.fetched = int(reply.untagged_code("UIDNEXT")) - 1
    return reply


class World:
    """The user, the nodes and the peers of one history."""

    def __init__(self, lab, seed):
        self.lab = lab
        self.rng = random.Random(seed)
        self.seed = seed
        self.nodes = (lab.node(), lab.node("second"),
                      lab.node("memory", location=":INDEX=MEMORY"))
        self.user = lab.user()
        self.story = []
        self.count = 0
        first = lab.imap(self.user)
        fill(first, "INBOX", 12)
        for box in MAILBOXES[1:]:
            first.ok("CREATE ", box)
        self.peers = [Peer(self, number) for number in range(4)]
        self.offline = []

    def note(self, text):
        """Remember what was done, for whoever has to find a fault."""
        self.story.append(text.replace("\r\n", " "))

    # -- commands of the peers ---------------------------------------------

    def some(self, peer):
        """A set of UIDs that the peer knows."""
        known = peer.cache.known()
        low = self.rng.randrange(len(known))
        if self.rng.random() < 0.4:
            return "%d:%d" % (known[low], known[min(len(known) - 1, low + 3)])
        chosen = self.rng.sample(known, min(len(known), self.rng.randint(1, 4)))
        return ",".join(str(uid) for uid in chosen)

    def flags(self):
        """A few flags and keywords."""
        return " ".join(self.rng.sample(FLAGS + KEYWORDS, self.rng.randint(1, 3)))

    def command(self, peer):
        """A command for a peer with a selected mailbox."""
        rng = self.rng
        if not peer.cache.rows or rng.random() < 0.12:
            return rng.choice(("NOOP", "APPEND %s (%s)" % (rng.choice(MAILBOXES), self.flags())))
        uids = self.some(peer)
        since = ""
        if rng.random() < 0.25:
            since = "(UNCHANGEDSINCE %d) " % peer.cache.highest
        return rng.choice((
            "UID STORE %s %s+FLAGS%s (%s)" % (uids, since, self.silent(), self.flags()),
            "UID STORE %s %s-FLAGS%s (%s)" % (uids, since, self.silent(), self.flags()),
            "UID STORE %s %sFLAGS%s (%s)" % (uids, since, self.silent(), self.flags()),
            "UID STORE %s +FLAGS (\\Deleted)" % uids,
            "UID EXPUNGE %s" % uids, "EXPUNGE",
            "UID COPY %s %s" % (uids, rng.choice(MAILBOXES)),
            "UID MOVE %s %s" % (uids, rng.choice(MAILBOXES)),
            "UID MOVE %s %s" % (uids, peer.box),
            "UID FETCH %s (FLAGS BODY[])" % uids))

    def silent(self):
        """Sometimes .SILENT."""
        return self.rng.choice(("", "", ".SILENT"))

    def send(self, peer):
        """Send something to a peer; returns the tag."""
        text = self.command(peer)
        self.note("%d %s: %s" % (peer.name, peer.box, text))
        if text.startswith("APPEND"):
            self.count += 1
            return peer.send(text + " ", Lit(simple(self.count)))
        return peer.send(text)

    def together(self):
        """Some peers send a command each, without waiting for each other."""
        busy = []
        for peer in self.rng.sample(self.peers, self.rng.randint(1, 4)):
            try:
                if not peer.box or self.rng.random() < 0.15:
                    peer.select(self.rng.choice(MAILBOXES))
                if peer.box:
                    busy.append((peer, self.send(peer)))
            except ImapError:
                self.lost(peer)
        for peer, tag in busy:
            try:
                self.done(peer, peer.finish(tag))
            except ImapError:
                self.lost(peer)

    def done(self, peer, reply):
        """After a command; a mailbox that fails is selected anew."""
        if not reply.ok:
            self.note("%d: %r" % (peer.name, reply))
        if reply.status == "NO" and reply.code in ("SERVERBUG", "UNAVAILABLE"):
            self.lost(peer)

    def lost(self, peer):
        """A session that lost its index ends; the client connects again."""
        self.note("%d reconnects" % peer.name)
        peer.client.close()
        peer.connect()

    # -- others ------------------------------------------------------------

    def deliver(self):
        """LMTP."""
        self.note("lmtp")
        answers = self.lab.lmtp(self.rng.choice(self.nodes)).deliver(PLAIN, self.user)
        eq(answers[self.user][0], 250)

    def administrate(self):
        """SQL functions, as an administrator may call them."""
        box = self.rng.choice(MAILBOXES)
        truth = Truth(self.lab, self.user, box)
        if not truth.rows:
            return
        uids = self.rng.sample(sorted(truth.rows), min(3, len(truth.rows)))
        text = "ARRAY[%s]::bigint[]" % ",".join(str(uid) for uid in uids)
        self.note("SQL %s %s" % (box, uids))
        if self.rng.random() < 0.4:
            self.lab.cluster.psql("SELECT pgbox.message_expunge(%s, %s, 'test')"
                                  % (truth.mailbox_id, text))
        else:
            self.lab.cluster.psql(
                "SELECT pgbox.message_store(%s, NULL, %s, array_fill(0, ARRAY[%d]), '{8}', '{2}',"
                " '{sql}', '{own}', '{%s}')" % (truth.mailbox_id, text, len(uids),
                                                self.rng.choice(("f", "t"))))

    def doveadm(self):
        """doveadm on either node."""
        args = self.rng.choice((
            ("force-resync", "*"), ("flags", "add", "\\Seen adm", "mailbox", "INBOX", "uid", "1:5"),
            ("expunge", "mailbox", "INBOX", "deleted"), ("search", "mailbox", "one", "all"),
            ("move", "two", "mailbox", "one", "all"), ("copy", "one", "mailbox", "two", "all")))
        self.note("doveadm %s" % (args,))
        self.rng.choice(self.nodes).doveadm(*args, user=self.user, check=False)

    def tree(self):
        """A mailbox gets another name, or is replaced by a new one."""
        client = self.lab.imap(self.user, self.rng.choice(self.nodes))
        box = self.rng.choice(MAILBOXES[1:])
        if self.rng.random() < 0.7:
            self.note("swap names")
            client.ok("RENAME one three")
            client.ok("RENAME two one")
            client.ok("RENAME three two")
            # names are all that an open session doesn't follow
            for peer in self.peers:
                peer.box = None
        else:
            self.note("delete and create " + box)
            client.ok("DELETE ", box)
            client.ok("CREATE ", box)
            for node in self.nodes:
                node.expect_log("Error: .*deleted")
        client.close()

    def wipe(self):
        """rm -rf of one node's index folder."""
        node = self.rng.choice(self.nodes)
        self.note("wipe %s" % node.name)
        shutil.rmtree(node.index_dir(self.user), ignore_errors=True)
        node.expect_log("Error: ")

    def prune(self):
        """Tombstones go."""
        self.note("prune")
        prune(self.lab)

    def leave_offline(self):
        """A client goes offline with what it knows."""
        peer = self.rng.choice(self.peers)
        if peer.box:
            self.note("offline copy of %d %s" % (peer.name, peer.box))
            self.offline.append((peer.box, copy.deepcopy(peer.cache)))

    def step(self):
        """Something happens."""
        dice = self.rng.random()
        if dice < 0.74:
            self.together()
        elif dice < 0.80:
            self.deliver()
        elif dice < 0.85:
            self.administrate()
        elif dice < 0.88:
            self.doveadm()
        elif dice < 0.90:
            self.tree()
        elif dice < 0.93:
            self.wipe()
        elif dice < 0.94:
            self.prune()
        else:
            self.leave_offline()

    # -- at rest -----------------------------------------------------------

    def rest(self):
        """Everybody agrees with the database."""
        self.note("rest")
        for peer in self.peers:
            self.check_peer(peer)
        for number, (box, cache) in enumerate(self.offline):
            client = self.lab.imap(self.user, self.nodes[number % len(self.nodes)])
            client.ok("ENABLE QRESYNC")
            resync(client, box, cache)
            self.compare(cache, box, "offline cache %d of %s" % (number, box))
            client.close()
        self.offline = self.offline[-4:]
        for node in self.nodes:
            self.check_node(node)

    def compare(self, cache, box, what):
        """A cache holds what the database does."""
        truth = Truth(self.lab, self.user, box)
        eq(cache.rows, {uid: row[1] for uid, row in truth.rows.items()}, what)

    def check_peer(self, peer):
        """An open session and its client's cache."""
        if not peer.box:
            return
        try:
            reply = peer.run("NOOP")
            if reply.ok:
                peer.fetch_new()
        except ImapError:
            reply = None
        if not reply or not reply.ok:
            self.lost(peer)
            return
        self.compare(peer.cache, peer.box, "peer %d in %s" % (peer.name, peer.box))

    def check_node(self, node):
        """A new session on a node, and STATUS."""
        client = self.lab.imap(self.user, node)
        for box in MAILBOXES:
            truth = Truth(self.lab, self.user, box)
            reply = client.ok("STATUS ", box, " (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")
            words = [int(word) for word in reply.one("STATUS")[1][1::2]]
            eq(words, [truth.messages, truth.uid_next, truth.validity, truth.unseen,
                       truth.highest], "STATUS of %s on %s" % (box, node.name))
            check(self.lab, client, self.user, box)
        client.close()


def two_clients(lab, count):
    """A client on each node with INBOX selected, and the user's name."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user, lab.node("second"))
    fill(a, "INBOX", count)
    for client in (a, b):
        client.ok("ENABLE QRESYNC")
        client.ok("SELECT INBOX")
    return user, a, b


def flags(reply, number):
    """Flags of a message in a reply, but for \\Recent."""
    return flags_of(reply.fetches()[number]["FLAGS"]) - {"\\Recent"}


@only("pgbox")
def test_replace_unseen_keywords(lab):
    """FLAGS replaces keywords that another node has set meanwhile."""
    user, a, b = two_clients(lab, 2)
    a.ok("STORE 1 FLAGS (k1)")
    b.ok("STORE 1 +FLAGS (k2)")
    eq(flags(a.ok("STORE 1 FLAGS (k3)"), 1), {"k3"})
    b.ok("STORE 2 +FLAGS (k2)")
    c = lab.imap(user)
    c.ok("SELECT INBOX")
    eq(flags(c.ok("STORE 2 FLAGS (\\Seen)"), 2), {"\\Seen"})
    for client in (a, b, c):
        check(lab, client, user)


@only("pgbox")
def test_silent_about_own_changes_only(lab):
    """.SILENT doesn't hide what another node has changed meanwhile."""
    user, a, b = two_clients(lab, 2)
    b.ok("STORE 1 +FLAGS (\\Seen kw)")
    eq(flags(a.ok("STORE 1 +FLAGS.SILENT (\\Flagged)"), 1), {"\\Seen", "kw", "\\Flagged"})
    reply = a.ok("STORE 1 +FLAGS.SILENT (\\Draft)")
    true("FLAGS" not in reply.fetches()[1], "nobody else was there")
    check(lab, a, user)


@only("pgbox")
def test_some_changed_already(lab):
    """Some messages have the flag already, by another node."""
    user, a, b = two_clients(lab, 7)
    b.ok("STORE 3,7 +FLAGS (\\Deleted kw)")
    a.ok("STORE 1,3,5,7 +FLAGS (\\Deleted kw)")
    b.ok("STORE 2 +FLAGS (\\Deleted kw)")
    a.ok("STORE 2 +FLAGS (\\Deleted kw)")
    for client in (a, b):
        check(lab, client, user)


@only("pgbox")
def test_last_keyword_of_many(lab):
    """Several messages lose their last keyword on the other node."""
    user, a, b = two_clients(lab, 5)
    a.ok("STORE 1:5 +FLAGS (kw)")
    check(lab, b, user)
    a.ok("STORE 1:3 -FLAGS (kw)")
    a.ok("STORE 5 FLAGS (\\Seen)")
    eq(sorted(b.ok("NOOP").fetches()), [1, 2, 3, 5])
    check(lab, b, user)


@only("pgbox")
def test_move_of_some_gone(lab):
    """A MOVE that fails as some messages are gone leaves the others alone."""
    user, a, b = two_clients(lab, 6)
    a.ok("CREATE box")
    for box in ("INBOX", "box"):
        for _ in range(2):
            a.ok("UID STORE 1 +FLAGS (\\Deleted)")
            a.ok("UID EXPUNGE 1")
        before = set(Truth(lab, user).rows)
        a.ok("UID MOVE %d box" % min(before))
        reply = b.cmd("UID MOVE %d,%d %s" % (min(before), max(before), box))
        eq(reply.status, "NO")
        eq(set(Truth(lab, user).rows), before - {min(before)}, "MOVE to " + box)
        for client in (a, b):
            check(lab, client, user)
            check(lab, client, user, "box")
            client.ok("SELECT INBOX")


@only("pgbox")
def test_copy_of_what_changed_elsewhere(lab):
    """A copy has the flags that the source has in the database; the session that
    copies, and the destination's index, are told so."""
    user, a, b = two_clients(lab, 4)
    a.ok("CREATE box")
    check(lab, b, user, "box")
    b.ok("SELECT INBOX")
    a.ok("STORE 1 +FLAGS (\\Seen kw)")
    a.ok("STORE 2 +FLAGS (\\Flagged)")
    b.ok("UID COPY 1:3 box")
    b.ok("UID MOVE 2 box")
    a.ok("STORE 3 FLAGS (other)")
    b.ok("UID COPY 4 INBOX")
    eq([row[1] for row in Truth(lab, user, "box").rows.values()],
       [{"\\Seen", "kw"}, {"\\Flagged"}, set(), {"\\Flagged"}])
    for client in (a, b):
        check(lab, client, user)
        check(lab, client, user, "box")


ANSWERED = """
CREATE FUNCTION public.answer() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN IF NEW.mailbox_id = %s THEN NEW.flags := 1; END IF; RETURN NEW; END';
CREATE TRIGGER answer BEFORE INSERT ON pgbox.message_state FOR EACH ROW EXECUTE FUNCTION public.answer();
GRANT EXECUTE ON FUNCTION public.answer() TO public"""


@only("pgbox")
def test_delivery_is_no_copy(lab):
    """LMTP stores a message for the second recipient as a copy of the first one's,
    but what the first one has done to his meanwhile is his own affair."""
    first, other = lab.user(), lab.user()
    for user in (first, other):
        # this node has their mailboxes: a message can be read once it is stored
        lab.imap(user).ok("SELECT INBOX")
    lab.cluster.psql(ANSWERED % Truth(lab, first).mailbox_id)
    lab.lmtp().deliver(PLAIN, first, other)
    lab.cluster.psql("DROP TRIGGER answer ON pgbox.message_state; DROP FUNCTION public.answer()")
    eq([[row[1] for row in Truth(lab, user).rows.values()] for user in (first, other)],
       [[{"\\Answered"}], [set()]])


@only("pgbox")
def test_expunge_is_told_once(lab):
    """Plugins hear of what this node expunged, not of what another one did: a
    quota that keeps sums of its own would count it again."""
    sums = lab.node("sums", extra="plugin {\n  quota = dict:User quota::file:%h/quota-sums\n}\n")
    user = lab.user(sums)
    a, b = lab.imap(user), lab.imap(user, sums)
    fill(b, "INBOX", 5)
    for client in (a, b):
        client.ok("SELECT INBOX")
    b.ok("STORE 1:4 +FLAGS (\\Deleted)")
    a.ok("NOOP")
    a.ok("UID EXPUNGE 1:2")
    b.ok("EXPUNGE")
    check(lab, b, user)
    b.logout()
    lines = sums.doveadm("quota", "get", user=user).stdout.decode().splitlines()
    count, = [line.split()[3] for line in lines if " MESSAGE " in line]
    eq(int(count), 3, "the other node has expunged two, and this one two")


def threads(client):
    """All threads of the selected mailbox, by UIDs."""
    return client.ok("UID THREAD REFERENCES UTF-8 ALL").one("THREAD")


def answer_to(number, *ids):
    """A message that answers others."""
    head = "References: %s\r\n" % " ".join("<%s@example.org>" % name for name in ids)
    return head.encode() + simple(number)


@contextlib.contextmanager
def stopped_with_answer(lab, pid, ask):
    """Call ask(), which makes the imap process read messages, and stop the process
    before it gets what the database answers."""
    holder = Holder(lab)
    holder.say("LOCK TABLE pgbox.message IN ACCESS EXCLUSIVE MODE")
    ask()
    proc.wait_for(lambda: waiting(lab), 10, "a question that waits")
    backend, = waiting(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        holder.close()
        proc.wait_for(lambda: lab.cluster.value("SELECT state FROM pg_stat_activity WHERE pid = " + backend) == "idle",
                      10, "the answer")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@only("pgbox")
@timeout(60)
def test_thread_of_what_vanishes(lab):
    """One session reads a message right before another node expunges it, a second
    session asks for it right afterwards: neither spoils THREAD for the other."""
    user = lab.user()
    late = lab.imap(user)
    pid, = lab.node().imap_pids(user)
    early, other = lab.imap(user), lab.imap(user, lab.node("second"))
    fill(other, "INBOX", 3)
    for client in (early, late, other):
        client.ok("SELECT INBOX")
        eq(threads(client), [[b"1"], [b"2"], [b"3"]])
    other.ok("APPEND INBOX ", Lit(answer_to(7, "m1", "lost")))
    for client in (early, late, other):
        client.ok("NOOP")
    tags = []
    with stopped_with_answer(lab, pid, lambda: tags.append(late.send("THREAD REFERENCES UTF-8 ALL"))):
        other.ok("STORE 4 +FLAGS.SILENT (\\Deleted)")
        other.ok("EXPUNGE")
        eq(early.ok("THREAD REFERENCES UTF-8 ALL").one("THREAD"), [[b"4"], [b"1"], [b"2"], [b"3"]])
    eq(late.finish(tags[0]).one("THREAD"), [[b"1", b"4"], [b"2"], [b"3"]])
    other.ok("APPEND INBOX ", Lit(answer_to(8, "m2")))
    other.ok("APPEND INBOX ", Lit(answer_to(9, "m2", "m8")))
    fresh = lab.imap(user)
    fresh.ok("SELECT INBOX")
    for client in (early, late, other, fresh):
        client.ok("NOOP")
        eq(threads(client), [[b"1"], [b"2", b"5", b"6"], [b"3"]])


def history(lab, seed):
    """One history; a failure is told with all that happened."""
    world = World(lab, seed)
    try:
        for number in range(STEPS):
            world.step()
            if number % REST_EVERY == REST_EVERY - 1:
                world.rest()
    except Exception:
        print("# PGBOX_TEST_SEED=%d\n#   " % seed + "\n#   ".join(world.story[-60:]))
        raise
    for peer in world.peers:
        peer.client.close()


@only("pgbox")
@timeout(60)
def test_idle_asks_other_nodes(lab):
    """IDLE shows what another node did, within mailbox_idle_check_interval."""
    quick = lab.node("quick", extra="mailbox_idle_check_interval = 2 secs")
    user = lab.user(quick)
    idler, other = lab.imap(user, quick), lab.imap(user)
    fill(other, "INBOX", 2)
    idler.ok("SELECT INBOX")
    tag = idler.idle()
    fill(other, "INBOX", 1)
    idler.wait_untagged(lambda item: item.name == "EXISTS" and item.number == 3)
    other.ok("SELECT INBOX")
    other.ok("STORE 1 +FLAGS (\\Deleted)")
    other.ok("EXPUNGE")
    idler.wait_untagged(lambda item: item.name == "EXPUNGE" and item.number == 1)
    eq(idler.done(tag).status, "OK")


SLOW_BODY = """
CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN IF NEW.size = 77 THEN PERFORM pg_sleep(1); END IF; RETURN NULL; END';
CREATE TRIGGER slow AFTER INSERT ON pgbox.body FOR EACH ROW EXECUTE FUNCTION public.slow();
GRANT EXECUTE ON FUNCTION public.slow() TO public"""


@only("pgbox")
@timeout(60)
def test_same_body_at_once(lab):
    """Who waits for somebody's new body doesn't hold the index lock that the
    other one needs: one of them would have to give up."""
    user = lab.user()
    multi, single = lab.imap(user), lab.imap(user)
    multi.ok("SELECT INBOX")
    multi.ok("UNSELECT")
    first, second = (b"Subject: s\r\n\r\n" + body + b"\r\n" for body in (b"x" * 50, b"y" * 75))
    lab.cluster.psql(SLOW_BODY)
    begun = time.monotonic()
    tags = (multi.send("APPEND INBOX ", Lit(first), " ", Lit(second)),)
    time.sleep(0.5)
    tags += (single.send("APPEND INBOX ", Lit(first)),)
    replies = (single.finish(tags[1], 40), multi.finish(tags[0], 40))
    took = time.monotonic() - begun
    lab.cluster.psql("DROP TRIGGER slow ON pgbox.body; DROP FUNCTION public.slow()")
    eq([reply.status for reply in replies], ["OK", "OK"])
    true(took < 10, "took %.1f s" % took)


@only("pgbox")
@timeout(60)
def test_expunge_of_what_was_undeleted(lab):
    """EXPUNGE leaves a message from which another node has taken \\Deleted, also
    if this node hasn't heard of that; one that is gone already is no error."""
    user, a, b = two_clients(lab, 5)
    a.ok("STORE 1:4 +FLAGS (\\Deleted)")
    b.ok("NOOP")
    a.ok("STORE 2 -FLAGS (\\Deleted)")
    a.ok("UID EXPUNGE 3")
    reply = b.ok("EXPUNGE")
    vanished = [uid for item in reply.all("VANISHED") for uid in parse_set(item.data[-1])]
    eq(sorted(vanished), [1, 3, 4])
    b.ok("NOOP")
    eq(sorted(b.ok("UID SEARCH ALL").numbers()), [2, 5])
    b.ok("STORE 1 +FLAGS (\\Deleted)")
    a.ok("NOOP")
    a.ok("STORE 1 -FLAGS (\\Deleted)")
    # now there is nothing to expunge
    b.ok("EXPUNGE")
    for client in (a, b):
        eq(sorted(check(lab, client, user).rows), [2, 5])


@only("pgbox")
@timeout(60)
def test_same_bodies_in_opposite_orders(lab):
    """Two that store the same new bodies don't wait for each other in a circle."""
    clients = [lab.imap(lab.user()) for _ in range(2)]
    messages = [b"Subject: s\r\n\r\n" + letter * 75 + b"\r\n" for letter in (b"v", b"w")]
    lab.cluster.psql(SLOW_BODY)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = lab.cluster.psql(deadlocks)
    tags = [client.send("APPEND INBOX ", Lit(first), " ", Lit(second))
            for client, (first, second) in zip(clients, (messages, messages[::-1]))]
    replies = [client.finish(tag, 40) for client, tag in zip(clients, tags)]
    lab.cluster.psql("DROP TRIGGER slow ON pgbox.body; DROP FUNCTION public.slow()")
    eq([reply.status for reply in replies], ["OK", "OK"])
    # backends tell their statistics when they are idle for a second, or end
    time.sleep(1.5)
    eq(lab.cluster.psql(deadlocks), before)


@only("pgbox")
@timeout(400)
def test_histories(lab):
    """Histories, one after another until the time is up."""
    seed = os.environ.get("PGBOX_TEST_SEED")
    if seed:
        history(lab, int(seed))
        return
    deadline = time.monotonic() + float(os.environ.get("PGBOX_TEST_SECONDS", "60"))
    seed = 0
    while time.monotonic() < deadline:
        seed += 1
        history(lab, seed)
    print("# %d histories" % seed)
