"""The clients of stress.py: IMAP sessions, an LMTP sender, a POP3 user.

Each runs in a thread, does random things until the time is up and checks every
answer. Messages are made from a key that stands in their Message-ID, so that
whoever fetches one knows each byte of it."""

import base64
import functools
import poplib
import random
import re
import time

from imapclient import ImapError, Lit, parse_set
from imapview import View

# Mailboxes that all may select; what happens to their mail:
#   INBOX work archive   anything
#   left right           moved from one to the other, never expunged
#   ledger               appended to, never expunged
BUSY = ("INBOX", "work", "archive")
RING = ("left", "right")
LEDGER = "ledger"
STABLE = BUSY + RING + (LEDGER,)
# Names that come and go.
SCRATCH = ("tmp0", "tmp1", "tmp2", "tmp0/deep", "tmp1/d&AOQ-rf")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Label1", "$Label2", "own")
KEY = re.compile(rb"^Message-ID: <([AL]\d+)@stress>", re.M | re.I)
# What an administrator's or another client's doings may bring upon a command.
GONE = ("NONEXISTENT", "TRYCREATE", "ALREADYEXISTS", "Mailbox doesn't exist",
        "Mailbox was deleted under us", "Mailbox has children")
CROWDED = 60


class Wrong(Exception):
    """An answer that nothing explains."""


@functools.lru_cache(256)
def letter(key):
    """The message of that key."""
    rng = random.Random(key)
    size = rng.choice((0, 200, 900, 2500, 2500, 9000, 9000, 70000))
    if rng.random() < 0.01:
        size = 1200000
    head = ("From: sender%d@example.org\r\nTo: b@example.org\r\nSubject: %s %d\r\n"
            "Date: Mon, %d Jan 2024 12:00:%02d +0000\r\nMessage-ID: <%s@stress>\r\n" % (
                rng.randrange(5), rng.choice(("alpha", "beta", "gamma")), rng.randrange(20),
                rng.randint(1, 28), rng.randrange(60), key)).encode()
    body = base64.encodebytes(rng.randbytes(size)).replace(b"\n", b"\r\n")
    if rng.random() < 0.4:
        return (head + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                b"--b\r\n\r\ngr\xc3\xbc\xc3\x9fe %d\r\n--b\r\nContent-Type: application/x-b\r\n"
                b"Content-Transfer-Encoding: base64\r\n\r\n" % size + body + b"--b--\r\n")
    return head + b"\r\n" + body


def key_of(text):
    """The key of a message, from its bytes or its header."""
    match = KEY.search(text)
    if not match:
        raise Wrong("a message that nobody sent: %r" % text[:200])
    return match.group(1).decode()


def gone(reply):
    """Whether the reply owns up to messages that were expunged meanwhile."""
    return (reply.code or "") == "EXPUNGEISSUED"


def verify(text):
    """A whole message is as it was sent; returns its key."""
    key = key_of(text)
    wanted = letter(key)
    whole = text == wanted if key.startswith("A") else text.endswith(wanted)
    if not whole:
        raise Wrong("%s: %d bytes differ from the %d sent" % (key, len(text), len(wanted)))
    return key


class Worker:
    """What runs in a thread until the world's time is up."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.rng = random.Random("%s/%s" % (world.seed, name))

    def run(self):
        """The thread's body."""
        try:
            while not self.world.over():
                self.step()
        except Exception as error:
            self.world.fail(self, error)

    def step(self):
        """One thing."""
        raise NotImplementedError

    def story(self):
        """What was said lately."""
        return []

    def count(self, what):
        """For the statistics."""
        self.world.count(what)


class Session(Worker):
    """An IMAP client that stays with a user and a node, and connects anew at times."""

    def __init__(self, world, name, user, node):
        super().__init__(world, name)
        self.user = user
        self.node = node
        self.qresync = False
        self.box = self.left = None
        self.view = View(0)
        self.client = None
        self.connect()

    # -- talking -----------------------------------------------------------

    def connect(self):
        """A new connection."""
        if self.client:
            self.client.close()
        self.client = self.node.imap(self.user, timeout=60)
        self.box = self.left = None
        self.qresync = self.rng.random() < 0.4
        if self.qresync:
            self.client.ok("ENABLE QRESYNC")

    def story(self):
        """The connection's dialogue."""
        return ["%s, %s, before %s:" % (self.user, self.box, self.left)
                ] + self.client.transcript[-30:]

    @property
    def risky(self):
        """Whether the selected mailbox, or the one being left, may be deleted by others."""
        return (self.box or self.left) in SCRATCH

    def cmd(self, *pieces, may=()):
        """A command; its answer must be OK or a NO for one of the reasons."""
        tag = self.client.send(*pieces)
        return self.finish(tag, pieces[0], may)

    def finish(self, tag, command, may=()):
        """Take in the answer to a command."""
        self.count(" ".join(command.split(" ")[:2 if command.startswith("UID") else 1]))
        reply = self.client.finish(tag)
        if self.box:
            for item in reply.untagged:
                self.view.apply(item, command)
        if not reply.ok and not self.explained(reply, may):
            raise Wrong("%s: %r" % (command[:200], reply))
        if not reply.ok:
            self.count("NO %s" % (reply.code or re.split("[:(]", reply.text)[0]))
        return reply

    def explained(self, reply, may):
        """Whether a NO may be."""
        why = reply.code or reply.text
        reasons = may + (GONE if self.risky else ()) + (("EXPUNGEISSUED",) if self.box else ())
        return reply.status == "NO" and why.startswith(reasons)

    # -- steps -------------------------------------------------------------

    def step(self):
        try:
            if not self.box or self.rng.random() < 0.04:
                self.select()
            else:
                self.act()
        except ImapError as error:
            self.lost(error)

    def lost(self, error):
        """Only a mailbox deleted under us may cost the connection, and a
        message that goes while its bytes are on their way."""
        said = " ".join(self.client.transcript[-3:])
        if "timeout" not in str(error) and (
                self.risky or "expunged while it was being FETCHed" in said):
            self.count("BYE")
            self.connect()
            return
        raise error

    def select(self):
        """SELECT or EXAMINE, mostly of a mailbox that stays."""
        box = self.rng.choice(STABLE if self.rng.random() < 0.95 else SCRATCH)
        verb = self.rng.choice(("SELECT ", "SELECT ", "SELECT ", "EXAMINE "))
        self.left, self.box = self.box, None
        reply = self.cmd(verb, box, self.rng.choice(("", " (CONDSTORE)")),
                         may=GONE if box in SCRATCH else ())
        if not reply.ok:
            return
        self.view = View(reply.number("EXISTS"))
        self.box = box
        self.writable = verb == "SELECT "
        self.world.validity(self.user, box, int(reply.untagged_code("UIDVALIDITY")))
        self.cmd("UID FETCH 1:* (FLAGS)")

    def act(self):
        """A random command in a selected mailbox."""
        actions = [self.fetch] * 5 + [self.search, self.search, self.sort, self.append,
                                      self.append, self.status, self.idle, self.scratch,
                                      self.scratch, self.noop, self.pipeline, self.leave]
        if self.writable:
            actions += [self.store] * 4 + [self.copy, self.move, self.move, self.expunge]
        self.rng.choice(actions)()
        if self.box in BUSY and self.writable and len(self.view) > CROWDED:
            self.clear()

    def some(self):
        """UIDs that we know."""
        known = self.view.known()
        if not known:
            return None
        if self.rng.random() < 0.3:
            low = self.rng.randrange(len(known))
            return "%d:%d" % (known[low], known[min(len(known) - 1, low + 9)])
        chosen = self.rng.sample(known, min(len(known), self.rng.randint(1, 5)))
        return ",".join(str(uid) for uid in sorted(chosen))

    def numbers(self):
        """(UID or nothing, a set): messages by UID or by sequence number."""
        if self.rng.random() < 0.6 or not len(self.view):
            return "UID ", self.some()
        low = self.rng.randint(1, len(self.view))
        return "", "%d:%d" % (low, min(len(self.view), low + self.rng.randrange(6)))

    def fetch(self):
        """FETCH of some kind."""
        uid, numbers = self.numbers()
        if not numbers:
            return
        kind = self.rng.randrange(5)
        if kind == 0:
            self.fetch_whole(uid, numbers)
        elif kind == 1:
            self.fetch_envelope(uid, numbers)
        elif kind == 2:
            self.fetch_partial()
        elif kind == 3:
            self.cmd("%sFETCH %s (UID FLAGS MODSEQ INTERNALDATE)" % (uid, numbers))
        else:
            items = self.rng.choice((
                "BODY.PEEK[HEADER.FIELDS (SUBJECT DATE)]", "BODYSTRUCTURE", "RFC822.SIZE PREVIEW",
                "BODY.PEEK[1]", "BINARY.PEEK[1]", "SAVEDATE INTERNALDATE", "BODY.PEEK[TEXT]<0.100>"))
            self.cmd("%sFETCH %s (UID %s)" % (uid, numbers, items))

    def fetch_whole(self, uid, numbers):
        """Messages, byte by byte; for what is gone there is NIL."""
        what = self.rng.choice(("BODY.PEEK[]", "BODY.PEEK[]", "BODY[]", "RFC822"))
        reply = self.cmd("%sFETCH %s (UID %s)" % (uid, numbers, what))
        for values in reply.fetches().values():
            if "BODY[]" not in values and "RFC822" not in values:
                continue
            text = values.get("BODY[]", values.get("RFC822"))
            if text or not gone(reply):
                self.world.learn(self.user, self.box, int(values["UID"]), verify(text))

    def fetch_envelope(self, uid, numbers):
        """What the index or its cache may know."""
        reply = self.cmd("%sFETCH %s (UID ENVELOPE RFC822.SIZE BODYSTRUCTURE)" % (uid, numbers))
        for values in reply.fetches().values():
            message_id = values["ENVELOPE"][9] if "ENVELOPE" in values else None
            if message_id or ("ENVELOPE" in values and not gone(reply)):
                key = key_of(b"Message-ID: " + message_id)
                self.world.learn(self.user, self.box, int(values["UID"]), key)
                size = int(values["RFC822.SIZE"])
                # of what is gone meanwhile some items may be cached, others are 0
                if key.startswith("A") and size != len(letter(key)) and (size or not gone(reply)):
                    raise Wrong("%s: RFC822.SIZE %d" % (key, size))

    def fetch_partial(self):
        """A piece of a message that we know."""
        known = [uid for uid in self.view.known()
                 if (self.world.key(self.user, self.box, uid) or "L").startswith("A")]
        if not known:
            return
        uid = self.rng.choice(known)
        text = letter(self.world.key(self.user, self.box, uid))
        start = self.rng.randrange(len(text))
        length = self.rng.choice((1, 100, 5000, 200000))
        reply = self.cmd("UID FETCH %d (BODY.PEEK[]<%d.%d>)" % (uid, start, length))
        for values in reply.fetches().values():
            got = values.get("BODY[]<%d>" % start, text[start:start + length])
            if got != text[start:start + length] and (got or not gone(reply)):
                raise Wrong("UID %d: <%d.%d> differs" % (uid, start, length))

    def store(self):
        """STORE of some kind; nobody marks for deletion what has to stay."""
        uid, numbers = self.numbers()
        if not numbers:
            return
        flags = self.rng.sample(FLAGS, self.rng.randint(1, 3))
        if self.box not in RING and self.box != LEDGER and self.rng.random() < 0.2:
            flags.append("\\Deleted")
        since = ""
        if self.view.modseqs and self.rng.random() < 0.2:
            since = "(UNCHANGEDSINCE %d) " % max(self.view.modseqs.values())
        self.cmd("%sSTORE %s %s%sFLAGS%s (%s)" % (
            uid, numbers, since, self.rng.choice(("", "+", "+", "-")),
            self.rng.choice(("", ".SILENT")), " ".join(flags)))

    def clear(self):
        """Make room."""
        known = self.view.known()
        uids = ",".join(map(str, known[:len(known) // 2] or [1]))
        self.cmd("UID STORE %s +FLAGS.SILENT (\\Deleted)" % uids)
        self.cmd("UID EXPUNGE %s" % uids)

    def expunge(self):
        """EXPUNGE or UID EXPUNGE."""
        some = self.some()
        self.cmd("UID EXPUNGE %s" % some if some and self.rng.random() < 0.5 else "EXPUNGE")

    def destination(self, busy=BUSY):
        """(mailbox, reasons for a NO)."""
        if self.rng.random() < 0.15:
            return self.rng.choice(SCRATCH), GONE
        return self.rng.choice(busy), ()

    def copy(self):
        """COPY: the copies are known from COPYUID."""
        uid, numbers = self.numbers()
        if numbers:
            self.transfer("%sCOPY %s " % (uid, numbers), *self.destination())

    def move(self):
        """MOVE; in the ring to the other side."""
        uid, numbers = self.numbers()
        if not numbers or self.box == LEDGER:
            return
        if self.box in RING:
            self.transfer("%sMOVE %s " % (uid, numbers), RING[1 - RING.index(self.box)], ())
        else:
            self.transfer("%sMOVE %s " % (uid, numbers), *self.destination())

    def transfer(self, command, target, may):
        """Run a COPY or MOVE; learn from its COPYUID."""
        before = self.box
        reply = self.cmd(command + target, may=may)
        code = reply.code or ""
        if not code.startswith("COPYUID"):
            code = "COPYUID " + (reply.untagged_code("COPYUID") or "")
        words = code.split(" ")
        if len(words) != 4:
            return
        sources, copies = parse_set(words[2]), parse_set(words[3])
        if len(sources) != len(copies):
            raise Wrong("COPYUID of different lengths: " + code)
        for source, new in zip(sources, copies):
            key = self.world.key(self.user, before, source)
            if key and target in STABLE:
                self.world.learn(self.user, target, new, key)

    def search(self):
        """SEARCH: ALL are all; a Message-ID is found where it is."""
        kind = self.rng.randrange(4)
        if kind == 0:
            count = len(self.view)
            got = self.cmd("SEARCH ALL").numbers()
            if got != list(range(1, count + 1)):
                raise Wrong("SEARCH ALL of %d: %r" % (count, got))
        elif kind == 1:
            key = self.world.any_key(self.rng)
            reply = self.cmd("UID SEARCH HEADER MESSAGE-ID <%s@stress>" % key)
            for uid in reply.numbers():
                self.world.learn(self.user, self.box, uid, key)
        else:
            self.cmd(self.rng.choice((
                "SEARCH UNSEEN", "UID SEARCH RETURN (MIN MAX COUNT) UNDELETED", "SEARCH DRAFT",
                "SEARCH KEYWORD own", "SEARCH SUBJECT alpha", "UID SEARCH TEXT gamma",
                "SEARCH LARGER 5000", "SEARCH MODSEQ 1", "SEARCH RETURN (SAVE) FLAGGED")))

    def sort(self):
        """SORT and THREAD: every message once."""
        count = len(self.view)
        key = self.rng.choice(("ARRIVAL", "SUBJECT", "REVERSE DATE", "FROM SIZE"))
        got = self.cmd("SORT (%s) UTF-8 ALL" % key).numbers("SORT")
        if sorted(got) != list(range(1, count + 1)):
            raise Wrong("SORT of %d: %r" % (count, got))
        if self.rng.random() < 0.2:
            self.cmd("UID THREAD REFERENCES UTF-8 ALL")

    def append(self):
        """APPEND of one or two messages; its APPENDUID tells which they are."""
        target, may = self.destination(BUSY + (LEDGER,))
        keys = [self.world.new_key("A") for _ in range(self.rng.choice((1, 1, 2)))]
        pieces = ["APPEND ", target]
        for key in keys:
            pieces += [" (%s) " % " ".join(self.rng.sample(FLAGS, 2)), Lit(letter(key))]
        if self.rng.random() < 0.02:
            self.break_off(target, keys[0])
            return
        reply = self.cmd(*pieces, may=may)
        if reply.ok and target in STABLE:
            uids = parse_set(reply.code.split(" ")[2])
            for uid, key in zip(uids, keys):
                self.world.learn(self.user, target, uid, key)
            if target == LEDGER:
                self.world.enter(self.user, keys)

    def break_off(self, target, key):
        """Hang up in the middle of an APPEND: nothing may be stored."""
        self.count("hang up")
        text = letter(key)
        self.client.send_raw(b"x APPEND %s {%d+}\r\n" % (target.encode(), len(text))
                             + text[:len(text) // 2])
        self.connect()

    def status(self):
        """STATUS of any mailbox, or LIST-STATUS."""
        if self.rng.random() < 0.3:
            self.cmd('LIST "" * RETURN (STATUS (MESSAGES UNSEEN HIGHESTMODSEQ) SUBSCRIBED)')
            return
        box = self.rng.choice(STABLE + SCRATCH)
        self.cmd("STATUS %s (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE)" % box,
                 may=GONE if box in SCRATCH else ())

    def idle(self):
        """IDLE for a moment."""
        tag = self.client.idle()
        for item in self.client.quiet(self.rng.random() * 0.6):
            self.view.apply(item, "IDLE")
        self.client.send_raw(b"DONE\r\n")
        self.finish(tag, "IDLE")

    def noop(self):
        """NOOP or CHECK."""
        self.cmd(self.rng.choice(("NOOP", "CHECK")))

    def pipeline(self):
        """Three commands at once."""
        some = self.some()
        if not some:
            return
        commands = ["UID FETCH %s (FLAGS)" % some, "NOOP", "UID FETCH %s (RFC822.SIZE)" % some]
        tags = [self.client.send(command) for command in commands]
        for tag, command in zip(tags, commands):
            self.finish(tag, command)

    def leave(self):
        """CLOSE, UNSELECT, LOGOUT or just go."""
        dice = self.rng.random()
        if dice < 0.6:
            # CLOSE tells of no expunges
            self.left, self.box = self.box, None
            self.cmd("UNSELECT" if dice < 0.3 or not self.writable else "CLOSE")
            return
        if dice < 0.8:
            self.client.send("UID FETCH 1:* (FLAGS BODY.PEEK[])")
        else:
            self.cmd("LOGOUT")
        self.connect()

    def scratch(self):
        """Make, rename, delete, subscribe names that others work with."""
        name, other = self.rng.sample(SCRATCH, 2)
        command = self.rng.choice((
            "CREATE %s" % name, "CREATE %s" % name, "DELETE %s" % name, "SUBSCRIBE %s" % name,
            "UNSUBSCRIBE %s" % name, "RENAME %s %s" % (name, other), 'LIST "" %', 'LSUB "" *'))
        if name == self.box or other.startswith(name + "/"):
            return
        self.cmd(command, may=GONE)


class Postman(Worker):
    """Delivers over LMTP, always also to the vault."""

    def __init__(self, world, name):
        super().__init__(world, name)
        self.client = None

    def story(self):
        """The connection's dialogue."""
        return self.client.transcript[-20:] if self.client else []

    def step(self):
        if not self.client or self.rng.random() < 0.1:
            if self.client:
                self.client.close()
            self.client = self.rng.choice(self.world.nodes).lmtp(timeout=60)
        users = self.rng.sample(self.world.users, self.rng.randint(0, 3)) + [self.world.vault]
        key = self.world.new_key("L")
        self.count("LMTP")
        answers = self.client.deliver(letter(key), *users)
        for user, (code, text) in answers.items():
            # Dovecot copies what it stored for the first recipient, who may
            # have deleted it by now: the sender tries again
            if code == 451 and user != users[0] and "was expunged" in text:
                self.count("LMTP expunged")
            elif code != 250:
                raise Wrong("LMTP: %r" % answers)
        if answers[self.world.vault][0] == 250:
            self.world.enter(self.world.vault, [key])
        time.sleep(self.rng.random() * 0.8)


class Collector(Worker):
    """Reads mail by POP3 and deletes some, but none of the vault."""

    def __init__(self, world, name):
        super().__init__(world, name)
        self.said = []

    def story(self):
        """What was done in the last session."""
        return self.said

    def step(self):
        user = self.rng.choice(self.world.users + [self.world.vault])
        node = self.rng.choice(self.world.nodes)
        self.said = ["%s on %s" % (user, node.name)]
        self.count("POP3")
        client = poplib.POP3("127.0.0.1", node.ports["pop3"], timeout=60)
        client.user(user)
        client.pass_("pw")
        try:
            uidls = [line.split() for line in client.uidl()[1]]
        except poplib.error_proto as error:
            # Dovecot gives up when messages vanish while it looks at them
            if b"Couldn't sync mailbox" not in error.args[0]:
                raise
            self.count("POP3 gave up")
            return
        if client.stat()[0] != len(uidls):
            raise Wrong("STAT and UIDL differ")
        for number, uidl in self.rng.sample(uidls, min(len(uidls), 5)):
            self.read(client, user, int(number), uidl)
        client.quit()
        time.sleep(self.rng.random() * 0.5)

    def read(self, client, user, number, uidl):
        """RETR, TOP, perhaps DELE."""
        self.said.append("%d %s" % (number, uidl.decode()))
        try:
            text = b"\r\n".join(client.retr(number)[1]) + b"\r\n"
            self.world.learn(user, "INBOX", int(uidl[:8], 16), verify(text))
            client.top(number, 3)
        except poplib.error_proto as error:
            if b"expunged" not in error.args[0]:
                raise
            self.count("POP3 expunged")
            return
        if user != self.world.vault and self.rng.random() < 0.3:
            client.dele(number)
