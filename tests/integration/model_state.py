"""What IMAP promises, as a model in memory, and what a client remembers of it.

The model is advanced by what servers acknowledge. As commands come one at a
time it can say in advance which UIDs and modseqs they get; so it knows the whole
state of every mailbox without looking into the database."""

import copy

from imapclient import flags_of, parse_set
from tap import eq, true

STEP = 65536


class Row:
    """A message. origin is the same for a message and its copies: one GUID."""

    def __init__(self, flags, modseq, date, origin):
        self.flags = frozenset(flags)
        self.modseq = modseq
        # None until a server has told it
        self.date = date
        self.origin = origin


class Grave:
    """A tombstone."""

    def __init__(self, row, modseq, moved):
        self.row = row
        self.modseq = modseq
        self.moved = moved
        # until a purge takes the content it can be brought back
        self.kept = True
        self.revived = False


class Box:
    """A mailbox. It keeps its identity when it is renamed, or deleted and restored."""

    def __init__(self, mailbox_id):
        self.mailbox_id = mailbox_id
        self.validity = 0
        self.uid_next = 1
        self.highest = STEP
        self.rows = {}
        self.graves = {}

    def append(self, rows):
        """Messages arrive together; returns their UIDs."""
        if not rows:
            return []
        self.highest += STEP
        uids = []
        for row in rows:
            self.rows[self.uid_next] = Row(row.flags, self.highest, row.date, row.origin)
            uids.append(self.uid_next)
            self.uid_next += 1
        return uids

    def expunge(self, uids, moved=False, modseq=None):
        """Messages go together, at the next modseq or at one taken already."""
        gone = set(uids) & set(self.rows)
        modseq = modseq or self.highest + STEP
        for uid in gone:
            self.graves[uid] = Grave(self.rows.pop(uid), modseq, moved)
            self.highest = modseq

    def change(self, uids, new, modseq=None):
        """Flags become new(flags); what changes does so at the next modseq, or
        at one taken already."""
        modseq = modseq or self.highest + STEP
        for uid in uids:
            row = self.rows[uid]
            flags = frozenset(new(row.flags))
            if flags != row.flags:
                row.flags, row.modseq = flags, modseq
                self.highest = modseq

    def store(self, uids, how, flags, since=None):
        """STORE; returns the UIDs that UNCHANGEDSINCE refuses."""
        flags = frozenset(flags)
        there = {uid for uid in uids if uid in self.rows}
        refused = {uid for uid in there if since is not None and self.rows[uid].modseq > since}
        self.change(there - refused, {"": lambda old: flags, "+": lambda old: old | flags,
                                      "-": lambda old: old - flags}[how])
        return refused

    def saved(self):
        """What undo() takes."""
        return copy.deepcopy(self.__dict__)

    def undo(self, saved):
        """Be as it was: what has been done since was rolled back."""
        self.__dict__.update(saved)

    def picture(self):
        """Flags of all messages."""
        return {uid: set(row.flags) for uid, row in self.rows.items()}

    def see(self, uid, modseq, flags, date):
        """A server tells of a message; dates are learnt at first."""
        true(uid in self.rows, "there is no UID %d" % uid)
        row = self.rows[uid]
        if row.date is None:
            row.date = date
        eq((modseq, flags, date), (row.modseq, set(row.flags), row.date), "UID %d" % uid)


class Memory:
    """What a client keeps of a mailbox between two connections."""

    def __init__(self, validity=0):
        self.validity = validity
        self.highest = 0
        # all up to this UID have been fetched once
        self.fetched = 0
        self.rows = {}
        self.modseqs = {}
        # UIDs by sequence number, None where not told. With QRESYNC the server
        # always tells UIDs, and this is None.
        self.view = None

    def copy(self):
        """A client that goes offline now."""
        return copy.deepcopy(self)

    def forget(self, uids):
        """They are gone."""
        for uid in uids:
            self.rows.pop(uid, None)
            self.modseqs.pop(uid, None)

    def store_silently(self, uids, how, flags, refused):
        """The client does by itself what .SILENT doesn't tell it."""
        for uid in (set(uids) & set(self.rows)) - refused:
            old = self.rows[uid]
            self.rows[uid] = {"": flags, "+": old | flags, "-": old - flags}[how]

    def apply(self, reply):
        """Follow what the server said."""
        for item in reply.untagged:
            self.apply_item(item)
        word, _, number = (reply.code or "").partition(" ")
        if word == "HIGHESTMODSEQ":
            self.highest = int(number)

    def apply_item(self, item):
        """Follow one untagged answer."""
        if item.name == "VANISHED":
            self.forget(parse_set(item.data[-1]))
        elif item.name == "FETCH":
            self._fetch(item.number, item.data[0])
        elif item.name == "EXISTS" and self.view is not None:
            self.view += [None] * (item.number - len(self.view))
        elif item.name == "EXPUNGE":
            self.forget([self.view.pop(item.number - 1)])

    def _fetch(self, number, pairs):
        values = {pairs[i].upper(): pairs[i + 1] for i in range(0, len(pairs), 2)}
        if b"UID" in values:
            uid = int(values[b"UID"])
            if self.view is not None:
                eq(self.view[number - 1] or uid, uid, "UID of message %d" % number)
                self.view[number - 1] = uid
        elif self.view[number - 1]:
            uid = self.view[number - 1]
        else:
            # new, and not fetched yet
            return
        if b"FLAGS" in values:
            self.rows[uid] = flags_of(values[b"FLAGS"]) - {"\\Recent"}
        if b"MODSEQ" in values:
            self.modseqs[uid] = int(values[b"MODSEQ"][0])

    def check(self, box, what):
        """It holds what the model does."""
        eq(self.rows, box.picture(), what)
        wanted = {uid: row.modseq for uid, row in box.rows.items()}
        eq({uid: modseq for uid, modseq in self.modseqs.items() if uid in wanted},
           {uid: wanted[uid] for uid in self.modseqs if uid in wanted}, what + ": modseqs")

    def knows(self, box):
        """Whether it has all that is so, but for what new messages are."""
        rows = box.rows
        return (all(uid in rows and flags == rows[uid].flags and self.modseqs.get(uid) == rows[uid].modseq
                    for uid, flags in self.rows.items())
                and all(uid in self.rows or uid > self.fetched for uid in rows))


def check_vanished(reply, box, known):
    """VANISHED may tell too much, but nothing that is there, or never was."""
    for item in reply.all("VANISHED"):
        told = set(parse_set(item.data[-1]))
        eq(told & set(box.rows), set(), "VANISHED of what is there")
        true(max(told, default=0) < box.uid_next, "VANISHED of what never was")
        if known:
            eq(told - set(known), set(), "VANISHED of what wasn't asked for")


def check_select(reply, box):
    """What SELECT says of the mailbox itself."""
    validity = int(reply.untagged_code("UIDVALIDITY"))
    if not box.validity:
        box.validity = validity
    eq(validity, box.validity, "UIDVALIDITY")
    eq(int(reply.untagged_code("UIDNEXT")), box.uid_next, "UIDNEXT")
    eq(int(reply.untagged_code("HIGHESTMODSEQ")), box.highest, "HIGHESTMODSEQ")
    eq(reply.number("EXISTS"), len(box.rows), "EXISTS")


def resync_qresync(client, name, box, memory, known=()):
    """SELECT with QRESYNC. Returns the reply; memory is only touched if OK."""
    text = ""
    if memory.highest:
        text = " (QRESYNC (%d %d%s))" % (memory.validity, memory.highest,
                                         " " + ",".join(map(str, known)) if known else "")
    reply = client.cmd("SELECT ", name, text)
    true(reply.status != "BAD", repr(reply))
    if not reply.ok:
        return reply
    check_select(reply, box)
    if box.validity == memory.validity:
        check_vanished(reply, box, known)
        memory.apply(reply)
    else:
        memory.__init__(box.validity)
    memory.apply(client.ok("UID FETCH %d:* (FLAGS MODSEQ)" % (memory.fetched + 1)))
    return after_select(reply, box, memory)


def resync_condstore(client, name, box, memory):
    """SELECT, CHANGEDSINCE and UID SEARCH, as a client without QRESYNC does."""
    reply = client.cmd("SELECT ", name, " (CONDSTORE)")
    true(reply.status != "BAD", repr(reply))
    if not reply.ok:
        return reply
    check_select(reply, box)
    if box.validity != memory.validity:
        memory.__init__(box.validity)
    since = " (CHANGEDSINCE %d)" % memory.highest if memory.highest else ""
    there = client.ok("UID SEARCH ALL").numbers()
    memory.view = sorted(there)
    memory.apply(client.ok("UID FETCH 1:* (FLAGS MODSEQ)" + since))
    memory.forget(set(memory.rows) - set(there))
    return after_select(reply, box, memory)


def after_select(reply, box, memory):
    """What both kinds of clients note."""
    memory.highest = int(reply.untagged_code("HIGHESTMODSEQ"))
    memory.fetched = box.uid_next - 1
    return reply
