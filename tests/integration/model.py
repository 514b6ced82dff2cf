"""Random histories on three nodes, one command at a time, against a model.

Unlike two_nodes.py nothing happens at once here, so that the model (see
model_state.py) can say in advance what each command does: to flags, UIDs and
modseqs. The third node has its indexes in memory. Clients keep what they know of
a mailbox and resynchronise at random moments on any node, some by QRESYNC and
some by CHANGEDSINCE; so do copies of clients that went offline at any time
before. Meanwhile index folders are deleted and damaged and tombstones pruned.

    PGBOX_TEST_SEED      run this history only
    PGBOX_TEST_SECONDS   go on for so long with histories that nobody has seen yet;
                         without it the first ones, the same each time"""

import os
import random
import shutil
import time

from cache_exact import prune
from cache_truth import FLAG_BITS, Truth, damage, picture
from imapclient import ImapError, Lit, parse_set
from mails import PLAIN, simple
from model_state import STEP, Box, Memory, Row, check_select, resync_condstore, resync_qresync
from tap import eq, only, timeout, true

MAILBOXES = ("INBOX", "one", "two")
KEYWORDS = ("$Label1", "$Label2", "own", "Other", "k1")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted")
FLAG_BIT = {name: bit for bit, name in FLAG_BITS.items()}
STEPS = 120
SECONDS = 50
CHECK_EVERY = 12
SNAPSHOTS = 12
# A node whose index was damaged may refuse to open a mailbox while it notices.
SELECT_TRIES = 3


class Peer:
    """A client. It moves from node to node and keeps what it knows."""

    def __init__(self, world, number):
        self.world = world
        self.number = number
        self.qresync = number % 2 == 0
        self.memories = {}
        self.client = None
        self.node = None
        self.name = self.box = None
        self.connect(world.nodes[number % len(world.nodes)])

    @property
    def memory(self):
        """What it knows of the selected mailbox."""
        return self.memories[self.name]

    def connect(self, node):
        """A new connection."""
        if self.client:
            self.client.close()
        self.node = node
        self.client = self.world.open(node, self.qresync)
        self.name = self.box = None

    def select(self, name):
        """Select with resynchronisation; afterwards it knows what the model does."""
        memory = self.memories.setdefault(name, Memory())
        self.name = self.box = None
        for _ in range(SELECT_TRIES):
            if self.world.resync(self.client, self.qresync, name, memory):
                break
            self.connect(self.node)
        else:
            raise AssertionError("%s can't be opened" % name)
        self.name, self.box = name, self.world.boxes[name]

    def known(self):
        """UIDs that it may use: those it knows."""
        return sorted(self.memory.rows)

    def run(self, *pieces):
        """A command; what its answer tells is learnt."""
        reply = self.client.cmd(*pieces)
        true(reply.status != "BAD", repr(reply))
        self.learn(reply)
        return reply

    def learn(self, reply):
        """Take in an answer."""
        if self.name:
            self.memory.apply(reply)

    def catch_up(self):
        """NOOP and what came since: the open session knows all there is."""
        self.run("NOOP")
        self.fetch_new()
        if not self.qresync:
            eq(self.run("UID SEARCH ALL").numbers(), self.memory.view, "UID SEARCH ALL")

    def fetch_new(self):
        """What came since the last time; returns the answer."""
        reply = self.run("UID FETCH %d:* (FLAGS MODSEQ)" % (self.memory.fetched + 1))
        self.memory.fetched = max(self.memory.rows, default=self.memory.fetched)
        return reply


class World:
    """One history."""

    def __init__(self, lab, seed):
        self.lab = lab
        self.seed = seed
        self.rng = random.Random(seed)
        self.nodes = (lab.node(), lab.node("second"),
                      lab.node("memory", location=":INDEX=MEMORY"))
        self.user = lab.user()
        self.story = []
        self.count = 0
        self.boxes = {name: Box() for name in MAILBOXES}
        client = lab.imap(self.user)
        for name in MAILBOXES[1:]:
            client.ok("CREATE ", name)
        client.logout()
        self.snapshots = []
        # nodes whose indexes were damaged: a process may have one open that
        # another one has replaced since
        self.damaged = set()
        self.peers = [Peer(self, number) for number in range(5)]
        for _ in range(6):
            self.append(self.peers[0])

    def note(self, text):
        """Remember what was done."""
        self.story.append(text)

    # -- clients ------------------------------------------------------------

    def resync(self, client, qresync, name, memory, what="resync"):
        """Bring a client's memory up to date; then it is what the model says.

        Returns False if the mailbox can't be opened."""
        box = self.boxes[name]
        if not qresync:
            reply = resync_condstore(client, name, box, memory)
        else:
            known = ()
            if memory.rows and self.rng.random() < 0.5:
                known = sorted(memory.rows)
            reply = resync_qresync(client, name, box, memory, known)
        if reply.ok:
            memory.check(box, "%s of %s" % (what, name))
        return reply.ok

    def open(self, node, qresync=False):
        """A connection of its own."""
        client = self.lab.imap(self.user, node)
        if qresync:
            client.ok("ENABLE QRESYNC")
        return client

    def move_peer(self, peer):
        """Off, and on again at another node."""
        node = self.rng.choice(self.nodes)
        self.note("%d moves to %s" % (peer.number, node.name))
        peer.connect(node)
        peer.select(self.rng.choice(MAILBOXES))

    def snapshot(self, peer):
        """Somebody goes offline with what this client knows now."""
        if not peer.box:
            return
        self.snapshots.append((peer.name, peer.qresync, peer.memory.copy()))
        if len(self.snapshots) > SNAPSHOTS:
            del self.snapshots[self.rng.randrange(len(self.snapshots))]

    def wake(self):
        """Somebody who was offline comes back, on any node."""
        if not self.snapshots:
            return
        name, qresync, memory = self.rng.choice(self.snapshots)
        node = self.rng.choice(self.nodes)
        memory = memory.copy()
        self.note("offline client of %s at %d wakes on %s" % (name, memory.highest, node.name))
        for _ in range(SELECT_TRIES):
            client = self.open(node, qresync)
            done = self.resync(client, qresync, name, memory, "offline client")
            client.close()
            if done:
                return
        raise AssertionError("%s can't be opened" % name)

    # -- commands -----------------------------------------------------------

    def some(self, peer):
        """A few UIDs that it knows."""
        known = peer.known()
        if self.rng.random() < 0.25:
            return known
        return sorted(self.rng.sample(known, self.rng.randint(1, min(4, len(known)))))

    def some_flags(self):
        """A few flags and keywords."""
        return self.rng.sample(FLAGS + KEYWORDS, self.rng.randint(1, 3))

    def append(self, peer):
        """APPEND of one to three messages, sometimes with a date."""
        name = self.rng.choice(MAILBOXES)
        rows, pieces = [], []
        for _ in range(self.rng.choice((1, 1, 3))):
            self.count += 1
            flags = self.some_flags()
            date = None
            when = ""
            if self.rng.random() < 0.5:
                date = "%02d-May-2011 01:02:03" % (self.count % 28 + 1)
                when = '"%s +0000" ' % date
            rows.append(Row(flags, 0, date, self.count))
            pieces += [" (%s) %s" % (" ".join(flags), when), Lit(simple(self.count))]
        self.note("%d append %s" % (peer.number, name))
        reply = peer.run("APPEND ", name, *pieces)
        if self.is_refused(peer, reply):
            return
        true(reply.ok, repr(reply))
        word, validity, uids = reply.code.split(" ")
        box = self.boxes[name]
        eq((word, parse_set(uids)), ("APPENDUID", box.append(rows)))
        box.validity = box.validity or int(validity)
        eq(int(validity), box.validity)

    def is_refused(self, peer, reply):
        """Whether Dovecot refuses a mailbox as it finds its index damaged. Then
        nothing was done; checks would tell."""
        if reply.ok or peer.node not in self.damaged or \
                (reply.code != "SERVERBUG" and "deleted under us" not in reply.text):
            return False
        self.note("%d refused" % peer.number)
        peer.connect(peer.node)
        return True

    def store(self, peer):
        """UID STORE in all its forms."""
        uids, flags = self.some(peer), self.some_flags()
        how = self.rng.choice(("", "+", "-"))
        silent = self.rng.choice(("", ".SILENT"))
        since = peer.memory.highest if self.rng.random() < 0.25 else None
        if since and self.rng.random() < 0.3:
            since = max(0, since - STEP * self.rng.randint(1, 3))
        text = "UID STORE %s %s%sFLAGS%s (%s)" % (
            ",".join(map(str, uids)), "(UNCHANGEDSINCE %d) " % since if since is not None else "",
            how, silent, " ".join(flags))
        self.note("%d %s %s" % (peer.number, peer.name, text))
        reply = peer.client.cmd(text)
        true(reply.ok, repr(reply))
        refused = peer.box.store(uids, how, flags, since)
        word, _, modified = (reply.code or "").partition(" ")
        told = set(parse_set(modified)) if word == "MODIFIED" else set()
        eq(told & set(peer.box.rows), refused, "MODIFIED")
        if silent:
            peer.memory.store_silently(uids, how, set(flags), told)
        peer.learn(reply)

    def expunge(self, peer):
        """EXPUNGE and UID EXPUNGE of what the client knows as deleted."""
        uids = None if self.rng.random() < 0.3 else self.some(peer)
        # Without QRESYNC a client learns of expunges by number: of those that
        # it hasn't seen yet it couldn't tell which they are.
        while (not peer.qresync or self.rng.random() < 0.5) and peer.fetch_new().number("EXISTS"):
            pass
        known = set(peer.memory.rows)
        seen = {uid for uid, flags in peer.memory.rows.items() if "\\Deleted" in flags}
        text = "UID EXPUNGE " + ",".join(map(str, uids)) if uids else "EXPUNGE"
        self.note("%d %s %s" % (peer.number, peer.name, text))
        reply = peer.run(text)
        true(reply.ok, repr(reply))
        if peer.qresync:
            gone = {uid for item in reply.all("VANISHED") for uid in parse_set(item.data[-1])}
        else:
            gone = known - set(peer.memory.view)
        gone &= set(peer.box.rows)
        if uids:
            seen &= set(uids)
        deleted = {uid for uid, row in peer.box.rows.items() if "\\Deleted" in row.flags}
        eq(gone - deleted, set(), "expunged, but not deleted")
        eq((seen & deleted) - gone, set(), "deleted, but not expunged")
        peer.box.expunge(gone)

    def copy(self, peer, verb):
        """UID COPY and UID MOVE."""
        uids, name = self.some(peer), self.rng.choice(MAILBOXES)
        dest = self.boxes[name]
        text = "UID %s %s %s" % (verb, ",".join(map(str, uids)), name)
        self.note("%d %s %s" % (peer.number, peer.name, text))
        reply = peer.run(text)
        if self.is_refused(peer, reply):
            return
        there = [uid for uid in uids if uid in peer.box.rows]
        if reply.ok:
            code = reply.code if verb == "COPY" else None
            code = code or ("COPYUID " + reply.untagged_code("COPYUID")
                            if reply.untagged_code("COPYUID") else None)
            rows = [peer.box.rows[uid] for uid in there]
            if code and code.startswith("COPYUID"):
                _, _, sources, copies = code.split(" ")
                eq(parse_set(sources), there, "sources")
                eq(parse_set(copies), dest.append(rows), "copies")
            else:
                eq(there, [], "nothing was copied")
            if verb == "MOVE":
                peer.box.expunge(there)
        else:
            true(len(there) < len(uids), "refused: %r" % reply)

    def command(self, peer):
        """Something that a client does."""
        if not peer.box or self.rng.random() < 0.1:
            peer.select(self.rng.choice(MAILBOXES))
            self.note("%d selects %s" % (peer.number, peer.name))
        dice = self.rng.random()
        if not peer.memory.rows or dice < 0.14:
            self.append(peer)
        elif dice < 0.55:
            self.store(peer)
        elif dice < 0.67:
            self.expunge(peer)
        elif dice < 0.78:
            self.copy(peer, "COPY")
        elif dice < 0.9:
            self.copy(peer, "MOVE")
        else:
            peer.catch_up()
            peer.memory.check(peer.box, "session %d in %s" % (peer.number, peer.name))
            self.note("%d caught up" % peer.number)

    # -- others -------------------------------------------------------------

    def deliver(self):
        """LMTP."""
        node = self.rng.choice(self.nodes)
        self.note("lmtp on " + node.name)
        code, _ = self.lab.lmtp(node).deliver(PLAIN, self.user)[self.user]
        if node in self.damaged and code == 451:
            return
        eq(code, 250)
        self.count += 1
        self.boxes["INBOX"].append([Row((), 0, None, self.count)])

    def sql(self):
        """Functions of the database, called by an administrator."""
        name = self.rng.choice(MAILBOXES)
        box = self.boxes[name]
        if not box.rows:
            return
        mailbox = Truth(self.lab, self.user, name).mailbox_id
        uids = self.rng.sample(sorted(box.rows), min(3, len(box.rows)))
        text = "ARRAY[%s]::bigint[]" % ",".join(map(str, uids))
        if self.rng.random() < 0.4:
            self.note("SQL expunge %s %s" % (name, uids))
            self.lab.cluster.psql("SELECT pgbox.message_expunge(%s, %s, 'test')" % (mailbox, text))
            box.expunge(uids)
            return
        flag, keyword = self.rng.choice(FLAGS), self.rng.choice(KEYWORDS)
        how = self.rng.choice("+-")
        add, remove = (FLAG_BIT[flag], 0) if how == "+" else (0, FLAG_BIT[flag])
        words = (keyword, "") if how == "+" else ("", keyword)
        self.note("SQL %s %s %s %s %s" % (name, uids, how, flag, keyword))
        self.lab.cluster.psql(
            "SELECT pgbox.message_store(%s, NULL, %s, array_fill(0, ARRAY[%d]), '{%d}', '{%d}',"
            " ARRAY['%s'], ARRAY['%s'], '{f}')" % ((mailbox, text, len(uids), add, remove) + words))
        box.store(uids, how, (flag, keyword))

    def tree(self):
        """Mailboxes swap their names, or one is replaced by a new one."""
        client = self.lab.imap(self.user, self.rng.choice(self.nodes))
        if self.rng.random() < 0.6:
            self.note("swap one and two")
            for old, new in (("one", "three"), ("two", "one"), ("three", "two")):
                client.ok("RENAME ", old, " ", new)
            self.boxes["one"], self.boxes["two"] = self.boxes["two"], self.boxes["one"]
            gone = None
        else:
            gone = self.rng.choice(MAILBOXES[1:])
            self.note("delete and create " + gone)
            client.ok("DELETE ", gone)
            client.ok("CREATE ", gone)
            self.boxes[gone] = Box()
        # names are all that an open session doesn't follow
        for peer in self.peers:
            if peer.name in MAILBOXES[1:] and gone in (None, peer.name):
                peer.connect(peer.node)
        client.close()

    def administrate(self):
        """doveadm: what changes nothing, and what raises the counters."""
        node, name = self.rng.choice(self.nodes), self.rng.choice(MAILBOXES)
        box = self.boxes[name]
        if self.rng.random() < 0.5:
            self.note("force-resync %s on %s" % (name, node.name))
            node.doveadm("force-resync", name, user=self.user, check=node not in self.damaged)
            return
        before = box.uid_next, box.highest
        box.uid_next += self.rng.randint(1, 4)
        box.highest += STEP * self.rng.randint(1, 3)
        self.note("update %s to %d, %d on %s" % (name, box.uid_next, box.highest, node.name))
        done = node.doveadm("mailbox", "update", "--min-next-uid", str(box.uid_next), "--min-highest-modseq",
                            str(box.highest - 1), name, user=self.user, check=node not in self.damaged)
        if done.returncode:
            # Dovecot finds the damage, and does nothing
            self.note("refused")
            box.uid_next, box.highest = before
            return
        box.highest += STEP

    def wipe(self):
        """The index folder of a node goes, or one of its files is damaged."""
        node = self.rng.choice(self.nodes[:2])
        how = self.rng.choice((0, 0, 1, 2, None, None))
        self.note("wipe %s %s" % (node.name, how))
        node.expect_log("Error: ")
        for peer in self.peers:
            if peer.node is node:
                peer.connect(node)
        self.damaged.add(node)
        if how is None:
            shutil.rmtree(node.index_dir(self.user), ignore_errors=True)
        elif os.path.exists(node.index_dir(self.user)):
            damage(self.rng, node.index_dir(self.user), how)

    def prune(self):
        """Tombstones go: all of them, or the oldest."""
        limit = self.rng.choice((1, 3, 1000))
        self.note("prune %d" % limit)
        prune(self.lab, limit)

    def step(self):
        """Something happens."""
        dice = self.rng.random()
        peer = self.rng.choice(self.peers)
        if dice < 0.66:
            self.command(peer)
        elif dice < 0.74:
            self.move_peer(peer)
        elif dice < 0.79:
            self.snapshot(peer)
        elif dice < 0.86:
            self.wake()
        elif dice < 0.90:
            self.deliver()
        elif dice < 0.94:
            self.sql()
        elif dice < 0.95:
            self.tree()
        elif dice < 0.96:
            self.administrate()
        elif dice < 0.975:
            self.prune()
        else:
            self.wipe()

    # -- checks -------------------------------------------------------------

    def check(self):
        """Every node and the database say what the model does."""
        self.note("check")
        for name, box in self.boxes.items():
            self.check_database(name, box)
        for node in self.nodes:
            client = self.open(node)
            for name, box in self.boxes.items():
                client = self.check_box(client, node, name, box)
            client.close()

    def check_box(self, client, node, name, box):
        """A mailbox as a new session sees it; returns the connection."""
        for _ in range(SELECT_TRIES):
            if client.cmd("SELECT ", name).ok:
                break
            client.close()
            client = self.open(node)
        reply, rows = picture(client, name)
        check_select(reply, box)
        eq(sorted(rows), sorted(box.rows), "%s on %s" % (name, node.name))
        for uid, (modseq, flags, date) in rows.items():
            box.see(uid, modseq, flags, date)
        return client

    def check_database(self, name, box):
        """The database's rows and counters."""
        truth = Truth(self.lab, self.user, name)
        eq((truth.uid_next, truth.highest, truth.messages),
           (box.uid_next, box.highest, len(box.rows)), "counters of " + name)
        eq({uid: row[:2] for uid, row in truth.rows.items()},
           {uid: (row.modseq, set(row.flags)) for uid, row in box.rows.items()}, name)

    def check_guids(self):
        """A message has one GUID everywhere, its copies have the same, others not."""
        origins = {}
        for name, box in self.boxes.items():
            for node in self.nodes:
                lines = node.doveadm("fetch", "uid guid", "mailbox", name, user=self.user,
                                     flags=("-f", "tab")).stdout.decode().splitlines()[1:]
                eq(len(lines), len(box.rows))
                for line in lines:
                    uid, guid = line.split("\t")
                    origin = box.rows[int(uid)].origin
                    eq(origins.setdefault(guid, origin), origin, "GUID of %s %s" % (name, uid))
        eq(len(set(origins.values())), len(origins), "GUIDs")


def history(lab, seed):
    """One history; a failure is told with all that happened."""
    world = World(lab, seed)
    try:
        for number in range(STEPS):
            world.step()
            if number % CHECK_EVERY == CHECK_EVERY - 1:
                world.check()
        for _ in range(SNAPSHOTS):
            world.wake()
        world.check_guids()
    except Exception:
        print("# PGBOX_TEST_SEED=%d\n#   " % seed + "\n#   ".join(world.story[-60:]))
        raise
    for peer in world.peers:
        peer.client.close()


@only("pgbox")
@timeout(3700)
def test_histories(lab):
    """Histories, one after another until the time is up."""
    seed = os.environ.get("PGBOX_TEST_SEED")
    if seed:
        history(lab, int(seed))
        return
    seconds = os.environ.get("PGBOX_TEST_SECONDS")
    deadline = time.monotonic() + float(seconds or SECONDS)
    seed = random.SystemRandom().randrange(10 ** 6) if seconds else 0
    count = 0
    while time.monotonic() < deadline:
        count += 1
        history(lab, seed + count)
    print("# %d histories, the last PGBOX_TEST_SEED=%d" % (count, seed + count))
