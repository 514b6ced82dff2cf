"""A client of the model checker: it keeps what it knows, moves, and waits in IDLE.

In IDLE it sends nothing. It has to be told at once of all that others do, which
is compared with the model: no more, no less, and nothing that was so only before
the change was complete."""

import os
import time

from imapclient import ImapError
from imapview import View
from model_state import Memory
from tap import SLOW_FACTOR, eq, true

# A node whose index was damaged may refuse to open a mailbox while it notices.
SELECT_TRIES = 3
# Nodes of the model neither poll nor check: a signal that is lost stays lost.
PUSH_SECONDS = 10 * (SLOW_FACTOR if os.environ.get("PGBOX_TEST_VALGRIND") else 1)


class Ended(Exception):
    """The server ended the session."""


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
        # the session's messages by number
        self.view = None
        # the tag of its IDLE
        self.idle = None
        # it has been told of all changes up to this modseq
        self.heard = 0
        # its IDLE began while something happened
        self.racing = False
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
        self.name = self.box = self.view = self.idle = None

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
        self.heard = self.box.highest
        self.view = View(0)
        self.view.uids = sorted(memory.rows)
        self.view.flags, self.view.modseqs = dict(memory.rows), dict(memory.modseqs)

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
        if not self.name:
            return
        for item in reply.untagged:
            self.view.apply(item)
        self.memory.apply(reply)

    def catch_up(self):
        """NOOP and what came since: the open session knows all there is."""
        self.run("NOOP")
        self.fetch_new()
        if not self.qresync:
            eq(self.run("UID SEARCH ALL").numbers(), self.memory.view, "UID SEARCH ALL")
        self.memory.check(self.box, str(self))
        self.heard = self.box.highest

    def fetch_new(self):
        """What came since the last time; returns the answer."""
        reply = self.run("UID FETCH %d:* (FLAGS MODSEQ)" % (self.memory.fetched + 1))
        self.memory.fetched = max(self.memory.rows, default=self.memory.fetched)
        return reply

    def __str__(self):
        return "session %d in %s on %s" % (self.number, self.name, self.node.name)

    # -- IDLE -----------------------------------------------------------------

    def send_idle(self, racing=False):
        """Ask for IDLE. racing: it may begin before or after what happens next."""
        self.idle = self.client.send("IDLE")
        self.racing = racing

    def begin_idle(self):
        """IDLE has begun."""
        self.client.continuation()

    def leave_idle(self):
        """DONE; the session goes on, if the mailbox has its name still."""
        tag, self.idle = self.idle, None
        reply = self.client.done(tag)
        true(reply.ok, repr(reply))
        self.learn(reply)
        if self.world.boxes[self.name] is not self.box:
            self.connect(self.node)

    def hear(self):
        """Be told of what has happened; returns how long that took, 0 if it knows.

        Raises Ended if the server wants no more."""
        begun = time.monotonic()
        took = 0
        while not self.knows():
            try:
                item, = self.client.wait_untagged(lambda item: True, begun + PUSH_SECONDS - time.monotonic())
            except ImapError as error:
                if "closed" in str(error):
                    raise Ended(str(error)) from error
                self.compare()
                raise
            self.take(item)
            took = time.monotonic() - begun
        self.heard = self.box.highest
        self.racing = False
        return took

    def knows(self):
        """Whether it has been told of all changes."""
        return len(self.view) == len(self.box.rows) and self.memory.knows(self.box)

    def hear_the_end(self):
        """Be told that the mailbox is gone."""
        self.client.wait_untagged(lambda item: item.name in ("BYE", "NO"), PUSH_SECONDS)

    def hear_nothing(self):
        """What has come beyond what it waited for is true, and no news."""
        for item in self.client.quiet(0.01):
            self.take(item)

    def compare(self):
        """Fail, as it knows less than the model does."""
        what = "%s, in IDLE, told since %d" % (self, self.heard)
        eq(len(self.view), len(self.box.rows), what)
        eq({uid: (flags, self.memory.modseqs.get(uid)) for uid, flags in self.memory.rows.items()},
           {uid: (set(row.flags), row.modseq) for uid, row in self.box.rows.items() if uid <= self.memory.fetched},
           what)

    def take(self, item):
        """One thing told in IDLE: it is so now, and it is news."""
        if item.name in ("BYE", "NO", "BAD"):
            raise Ended(repr(item))
        known = set(self.memory.rows)
        self.view.apply(item)
        self.memory.apply_item(item)
        eq((known - set(self.memory.rows)) & set(self.box.rows), set(), "%s: expunged, and there" % self)
        uid = self.view.uids[item.number - 1] if item.name == "FETCH" else None
        if uid is None or (uid > self.memory.fetched or self.racing) and self.is_old(uid):
            return
        true(uid in self.box.rows, "%s: %r" % (self, item))
        row = self.box.rows[uid]
        flags = self.memory.rows.get(uid)
        # of a new message it may hear of nothing but the modseq
        true(flags == row.flags or flags is None and uid > self.memory.fetched, "%s: %r, not %r" % (self, item, row.flags))
        eq(self.memory.modseqs.get(uid), row.modseq, "%s: %r" % (self, item))
        true(row.modseq > self.heard or uid > self.memory.fetched, "%s: no news since %d: %r" % (self, self.heard, item))

    def is_old(self, uid):
        """Whether this was so before. Of new messages, as hear() doesn't wait for
        what they are; and where IDLE began before the last change."""
        return uid in self.box.graves or uid in self.box.rows and self.memory.modseqs[uid] < self.box.rows[uid].modseq
