"""Everybody at once: twenty IMAP clients, LMTP, POP3, five users, two nodes.

In the spirit of imaptest: random commands, and every answer is checked against
what the client knows (stress_peers.py). At the end open sessions, both nodes
and the database have to agree, and no message may be lost.

    PGBOX_STRESS_SECONDS   how long (default 600)
    PGBOX_TEST_SEED        commands of this seed; their order in time varies"""

import collections
import itertools
import os
import threading
import time
import traceback

from cache_truth import Truth, check
from mails import multiappend
from stress_peers import LEDGER, RING, STABLE, Collector, Postman, Session, letter, verify
from tap import eq, only, timeout, true

SECONDS = float(os.environ.get("PGBOX_STRESS_SECONDS", "600"))
SESSIONS, USERS = 20, 5
IN_RING = 30


class World:
    """What all clients share, and what is known of every message."""

    def __init__(self, lab):
        self.lab = lab
        self.seed = int(os.environ.get("PGBOX_TEST_SEED") or time.time())
        print("# PGBOX_TEST_SEED=%d" % self.seed, flush=True)
        self.nodes = [lab.node(), lab.node("second")]
        for node in self.nodes:
            # Dovecot's own, on any storage: POP3 while messages vanish; SORT in
            # two sessions at once
            node.expect_log("Messages keep getting expunged", "Broken sort-. indexes")
            if not lab.is_pgbox:
                # THREAD while all vanish
                node.expect_log(r"strmap index file .*dovecot\.index\.thread: No such file")
        self.users = [lab.user() for _ in range(USERS)]
        self.vault = lab.user()
        self.failures = []
        self.counts = collections.Counter()
        self.kept = collections.defaultdict(set)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._last = 1
        self._keys = {}
        self._validities = {}
        self.ring = {user: self._fill(user) for user in self.users}
        self.deadline = time.monotonic() + SECONDS

    def _fill(self, user):
        """Make the user's mailboxes; returns the keys that go round."""
        client = self.nodes[0].imap(user)
        for box in STABLE[1:]:
            client.ok("CREATE ", box)
        keys = [self.new_key("A") for _ in range(IN_RING)]
        multiappend(client, RING[0], [letter(key) for key in keys])
        client.close()
        return set(keys)

    def over(self):
        """Whether the clients have to stop."""
        return bool(self.failures) or time.monotonic() > self.deadline

    def fail(self, worker, error):
        """A client found something."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.failures.append("%s: %s\n%s" % (worker.name, text, "\n".join(worker.story())))

    def count(self, what):
        """For the statistics."""
        with self._lock:
            self.counts[what] += 1

    # -- what is known -----------------------------------------------------

    def new_key(self, kind):
        """A key that no message has."""
        self._last = next(self._numbers)
        return "%s%d" % (kind, self._last)

    def any_key(self, rng):
        """The key of some message, perhaps gone."""
        return "A%d" % rng.randint(max(1, self._last - 300), self._last)

    def learn(self, user, box, uid, key):
        """A UID is this message: the same one for everybody, for ever."""
        if box not in STABLE:
            return
        with self._lock:
            known = self._keys.setdefault((user, box, uid), key)
        true(known == key, "UID %d of %s/%s is %s and %s" % (uid, user, box, known, key))

    def key(self, user, box, uid):
        """The message with that UID, or None."""
        return self._keys.get((user, box, uid))

    def validity(self, user, box, number):
        """UIDVALIDITY stays."""
        if box in STABLE:
            known = self._validities.setdefault((user, box), number)
            eq(number, known, "UIDVALIDITY of %s/%s" % (user, box))

    def enter(self, user, keys):
        """Messages that have to be there at the end, once each."""
        with self._lock:
            self.kept[user].update(keys)


def run(world):
    """Let all clients run until the time is up or one finds something."""
    sessions = [Session(world, "session %d" % number, world.users[number % USERS],
                        world.nodes[number // USERS % len(world.nodes)])
                for number in range(SESSIONS)]
    workers = (sessions + [Postman(world, "postman %d" % number) for number in range(2)]
               + [Collector(world, "collector %d" % number) for number in range(2)])
    threads = [threading.Thread(target=worker.run, name=worker.name) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(1.0, world.deadline - time.monotonic() + 90))
    stuck = [thread.name for thread in threads if thread.is_alive()]
    tell(world)
    true(not stuck, "these hang: %s" % stuck)
    true(not world.failures, "\n".join(world.failures))
    return sessions


def tell(world):
    """Statistics."""
    total = sum(world.counts.values())
    print("# %d in %.0f s: %s" % (total, SECONDS, ", ".join(
        "%s %d" % pair for pair in sorted(world.counts.items()))), flush=True)


def contents(client, box):
    """Keys of the mailbox's messages, each verified byte by byte."""
    client.ok("EXAMINE ", box)
    return [verify(values["BODY[]"]) for values in
            client.ok("UID FETCH 1:* (BODY.PEEK[])", timeout=120).fetches().values()]


def check_session(lab, session):
    """A session that is still open knows what the database does."""
    if not session.box or session.risky:
        return
    session.cmd("NOOP")
    session.cmd("UID FETCH 1:* (FLAGS)")
    truth = Truth(lab, session.user, session.box)
    eq({uid: session.view.flags[uid] for uid in session.view.uids},
       {uid: row[1] for uid, row in truth.rows.items()},
       "%s: %s of %s" % (session.name, session.box, session.user))


def check_node(world, node, user):
    """All mailboxes of the user, on one node."""
    client = world.lab.imap(user, node)
    for box in STABLE:
        check(world.lab, client, user, box)
        keys = contents(client, box)
        if box == LEDGER:
            eq(sorted(keys), sorted(world.kept[user]), "ledger of %s on %s" % (user, node.name))
    ring = contents(client, RING[0]) + contents(client, RING[1])
    eq(set(ring), world.ring[user], "the ring of %s on %s" % (user, node.name))
    world.counts["moved twice"] += len(ring) - len(world.ring[user])
    names = sorted(item.raw for item in client.ok('LIST "" * RETURN (SUBSCRIBED)').all("LIST"))
    client.close()
    return names


# sdbox doesn't survive it: sessions that wait for locks of its list index panic,
# and files vanish with mailboxes that are in use.
@only("pgbox")
@timeout(int(SECONDS) + 300)
def test_stress(lab):
    """Random commands; then everybody agrees and nothing is lost."""
    world = World(lab)
    sessions = run(world)
    for session in sessions:
        check_session(lab, session)
        session.client.close()
    for user in world.users:
        lists = [check_node(world, node, user) for node in world.nodes]
        eq(lists[0], lists[-1], "LIST on both nodes")
    for node in world.nodes:
        client = lab.imap(world.vault, node)
        eq(sorted(contents(client, "INBOX")), sorted(world.kept[world.vault]), "the vault")
    print("# moved by two sessions at once: %d" % (world.counts["moved twice"] // len(world.nodes)))
