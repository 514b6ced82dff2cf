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


class Box:
    """A mailbox. It keeps its identity when it is renamed."""

    def __init__(self):
        self.validity = 0
        self.uid_next = 1
        self.highest = STEP
        self.rows = {}

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

    def expunge(self, uids):
        """Messages go together."""
        gone = set(uids) & set(self.rows)
        if gone:
            self.highest += STEP
        for uid in gone:
            del self.rows[uid]

    def store(self, uids, how, flags, since=None):
        """STORE; returns the UIDs that UNCHANGEDSINCE refuses."""
        flags = frozenset(flags)
        there = [uid for uid in uids if uid in self.rows]
        refused = {uid for uid in there if since is not None and self.rows[uid].modseq > since}
        changed = []
        for uid in set(there) - refused:
            row = self.rows[uid]
            new = {"": flags, "+": row.flags | flags, "-": row.flags - flags}[how]
            if new != row.flags:
                row.flags = new
                changed.append(row)
        if changed:
            self.highest += STEP
        for row in changed:
            row.modseq = self.highest
        return refused

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
            if item.name == "VANISHED":
                self.forget(parse_set(item.data[-1]))
            elif item.name == "FETCH":
                self._fetch(item.number, item.data[0])
            elif item.name == "EXISTS" and self.view is not None:
                self.view += [None] * (item.number - len(self.view))
            elif item.name == "EXPUNGE":
                self.forget([self.view.pop(item.number - 1)])
        word, _, number = (reply.code or "").partition(" ")
        if word == "HIGHESTMODSEQ":
            self.highest = int(number)

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
