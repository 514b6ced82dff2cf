"""What grows with a mailbox or a command, and whether anything does with the store."""

import functools
import itertools
import re
import time

from corpus import Corpus
from sides import Side
from table import number

SIZES, MILLION = (1000, 10000, 100000), 1000000
ACCOUNTS = (1, 100, 10000)
# what other accounts have in their INBOX
EACH = 10
BATCH = 10000
CHANGES = 100
# how many messages a command names, of a mailbox that has the most of these; and
# accounts with a mail each, which statistics know when that mailbox is filled
ASKED = (100, 1000, 10000)
SMALL = 2000
# more than noise: of what is to stay, and of each step of what may be linear
STAYS, LINEAR = 2.0, 1.5

# contents that no other message has; %(first)s may be a column of m: made anew for each mailbox
CONTENTS = """
SELECT array_agg(pgbox.content_put(p.header, true, sha256(p.body), octet_length(p.body), p.body,
                                   octet_length(p.header) + octet_length(p.body),
                                   octet_length(p.header) + octet_length(p.body), NULL, NULL)) AS ids
  FROM (SELECT convert_to(format(E'From: Person <p%%s@example.org>\\r\\nTo: reader@example.com\\r\\nSubject: Number %%s\\r\\n'
                                 'Date: Fri, 5 Jan 2024 10:00:00 +0100\\r\\nMessage-ID: <%%s@example.org>\\r\\n\\r\\n',
                                 n %% 97, n, n), 'UTF8') AS header,
               convert_to(format(E'Number %%s of %%s.\\r\\n', n, gen_random_uuid()) || repeat(E'It is about nothing.\\r\\n', 60),
                          'UTF8') AS body
          FROM generate_series(%(first)s, %(first)s + %(count)s - 1) AS n) AS p"""
APPEND = """
SELECT cardinality(a.uids)
  FROM (%(boxes)s) AS m
 CROSS JOIN LATERAL (""" + CONTENTS + """) AS c
 CROSS JOIN LATERAL pgbox.message_append(m.mailbox_id, gen_random_uuid(), 'bench', 0,
            array_fill(0::bigint, n), ARRAY(SELECT gen_random_uuid() FROM unnest(c.ids)), c.ids, array_fill(NULL::bigint, n),
            array_fill(NULL::bigint, n), array_fill(false, n), array_fill(1700000000::bigint, n),
            array_fill(1700000000::bigint, n), array_fill(8::smallint, n), array_fill(''::text, n),
            array_fill(NULL::text, n), array_fill(NULL::bigint, n)) AS a""".replace(", n)", ", ARRAY[%(count)s])")
INBOX = """
SELECT m.mailbox_id
  FROM pgbox.mailbox AS m
  JOIN pgbox.account AS a ON a.account_id = m.account_id
 WHERE a.name = '%s' AND m.name = 'INBOX'"""
OTHERS = """
SELECT m.mailbox_id
  FROM generate_series(%d, %d) AS n
  JOIN pgbox.account AS a ON a.name = 'other' || n
  JOIN pgbox.mailbox AS m ON m.account_id = a.account_id AND m.name = 'INBOX'"""


class Store:
    """One store, and accounts in it whose mail was made by SQL."""

    def __init__(self, lab, name="pgbox"):
        self.side = Side(lab, name)
        self._psql = functools.partial(lab.cluster.psql, dbname=self.side.dbname)
        self._accounts = 1

    def mailbox(self, messages):
        """A user whose INBOX has so many messages."""
        user = self._mailbox(messages)
        self.side.settle()
        return user

    def _mailbox(self, messages):
        user = self.side.user()
        for first in range(1, messages + 1, BATCH):
            self._psql(APPEND % {"boxes": INBOX % user, "first": first, "count": min(BATCH, messages + 1 - first)})
        return user

    def accounts(self, wanted, each=EACH):
        """Other accounts, until there are so many of all."""
        for first in range(self._accounts, wanted, 500):
            last = min(first + 499, wanted - 1)
            self._psql("SELECT pgbox.account_create('other' || n) FROM generate_series(%d, %d) AS n" % (first, last))
            self._psql(APPEND % {"boxes": OTHERS % (first, last), "first": "m.mailbox_id * 1000", "count": each})
        self._accounts = wanted
        self.side.settle()

    def unexpected(self, messages):
        """Such a user as the statistics know nothing of: by them a mailbox has one
        message, and it stays so. A large store's sample doesn't have each large
        mailbox either."""
        self.accounts(SMALL, 1)
        for table in ("message", "message_state", "expunged", "content"):
            self._psql("ALTER TABLE pgbox.%s SET (autovacuum_enabled = off)" % table)
        return self._mailbox(messages)

    def vacuum(self):
        """What autovacuum would have done, and no new statistics."""
        self._psql("VACUUM")


class Subject:
    """One mailbox; each action does something with it and returns the seconds."""

    def __init__(self, side, user, messages):
        self._side = side
        self._user = user
        self._messages = messages
        self._turn = itertools.count()
        self._mails = Corpus(body_max=4000).messages(1000000, 9000000)
        self._client = self._lmtp = None

    def open(self):
        """Begin the sessions: between two rounds they could be idle for too long."""
        self._client = self._side.client(self._user, "INBOX")
        self._lmtp = self._side.node.lmtp()

    def close(self):
        """End the sessions."""
        self._client.close()
        self._lmtp.close()

    def select(self):
        """What every client does first, and again."""
        return self._client.command("SELECT INBOX")

    def select_cold(self):
        """On a node that knows nothing of the mailbox."""
        self._client.close()
        self._side.forget(self._user)
        self._client = self._side.client(self._user)
        return self._client.command("SELECT INBOX")

    def noop(self):
        """Nothing new."""
        return self._client.command("NOOP")

    def list(self):
        """Three mailboxes."""
        return self._client.command('LIST "" *')

    def store(self):
        """A flag of one message."""
        turn = next(self._turn)
        return self._client.command("STORE %d %sFLAGS.SILENT (\\Flagged)" % (turn // 2 * 37 % self._messages + 1, "+-"[turn % 2]))

    def fetch(self):
        """All of one message, another one each time."""
        return self._client.command("FETCH %d BODY.PEEK[]" % (next(self._turn) * 37 % self._messages + 1))

    def qresync(self):
        """A session that was away for so many changes."""
        client = self._side.client(self._user)
        client.command("ENABLE QRESYNC")
        client.command("SELECT INBOX")
        known = [re.search(name + rb" (\d+)", client.last).group(1) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ")]
        client.command("UNSELECT")
        self._client.command("STORE 1:%d %sFLAGS.SILENT (\\Draft)" % (CHANGES, "+-"[next(self._turn) % 2]))
        took = client.command(b"SELECT INBOX (QRESYNC (" + b" ".join(known) + b"))")
        client.close()
        return took

    def deliver(self):
        """One small mail by LMTP."""
        mail = next(self._mails)
        begun = time.perf_counter()
        answer = self._lmtp.deliver(mail, self._user)[self._user]
        if answer[0] != 250:
            raise AssertionError("not delivered: %r" % (answer,))
        return time.perf_counter() - begun


class Asked:
    """Commands that name many messages of one mailbox."""

    def __init__(self, side, user, count):
        self._side = side
        self._user = user
        self._set = "1:%d" % count
        self._turn = itertools.count()
        self._client = None

    def open(self):
        """Begin a session."""
        self._client = self._side.client(self._user, "INBOX")

    def close(self):
        """End it."""
        self._client.close()

    def store(self):
        """A flag, set and taken away."""
        return self._client.command("STORE %s %sFLAGS.SILENT (\\Flagged)" % (self._set, "+-"[next(self._turn) % 2]))

    def copy(self):
        """Copies for expunge()."""
        return self._client.command("COPY %s Copies" % self._set)

    def expunge(self):
        """All of them \\Deleted, and no other."""
        self._client.command("SELECT Copies")
        self._client.command("STORE %s +FLAGS.SILENT (\\Deleted)" % self._set)
        took = self._client.command("EXPUNGE")
        self._client.command("SELECT INBOX")
        return took

    def move(self):
        """There, and back."""
        source, target = (("INBOX", "Moved"), ("Moved", "INBOX"))[next(self._turn) % 2]
        self._client.command("SELECT ", source)
        took = self._client.command("MOVE %s %s" % (self._set, target))
        self._client.command("SELECT INBOX")
        return took


# what, how often in a round (evenly, for flags are set and taken away again),
# whether what the columns tell was asked for
ACTIONS = (
    ("SELECT, warm", Subject.select, 16, False), ("SELECT, cold", Subject.select_cold, 2, True),
    ("NOOP", Subject.noop, 30, False), ("LIST", Subject.list, 16, False), ("STORE of 1", Subject.store, 20, False),
    ("FETCH of 1", Subject.fetch, 20, False), ("QRESYNC after %d changes" % CHANGES, Subject.qresync, 4, False),
    ("delivery", Subject.deliver, 20, False))
COMMANDS = (("STORE", Asked.store, 4, True), ("COPY", Asked.copy, 2, True), ("MOVE", Asked.move, 2, True),
            ("EXPUNGE", Asked.expunge, 2, True))


class Table:
    """The times of each action, by size.

    A figure is one that a tenth of all is below: what else the machine does
    only makes them longer, and the least may be luck."""

    def __init__(self, what, sizes, actions=ACTIONS):
        self._what = what
        self._sizes = sizes
        self._actions = actions
        self._found = {}

    def measure(self, size, subject):
        """One round of one size."""
        subject.open()
        for name, action, repeat, _ in self._actions:
            self._found.setdefault((name, size), []).extend(action(subject) for _ in range(repeat))
        subject.close()

    def _figure(self, name, size):
        found = sorted(self._found[name, size])
        return found[len(found) // 10]

    def rows(self):
        """What is printed and written to the JSON file."""
        return [self._row(name, by_size) for name, _, _, by_size in self._actions]

    def _row(self, name, by_size):
        seconds = [self._figure(name, size) for size in self._sizes]
        steps = list(zip(self._sizes, seconds))
        # nobody asks for all of a store
        if by_size and self._what != STORE:
            allowed = "linear"
            wrong = any(more[1] / less[1] > LINEAR * more[0] / less[0] for less, more in zip(steps, steps[1:]))
        else:
            allowed = "none"
            wrong = seconds[-1] > STAYS * seconds[0]
        return {"name": name, "by": self._what, "seconds": dict(steps), "growth": seconds[-1] / seconds[0],
                "allowed": allowed, "grows": wrong}

    def print(self):
        """All of it."""
        print("%-28s" % (self._what + ", ms") + "".join("%10d" % size for size in self._sizes) + "    growth  allowed")
        for row in self.rows():
            cells = "".join("%10s" % number(seconds, "ms") for seconds in row["seconds"].values())
            print("%-28s%s%10.2f  %s%s" % (row["name"], cells, row["growth"], row["allowed"], ", GROWS" if row["grows"] else ""))
        print(flush=True)


MESSAGES, STORE, NAMED = "messages in the mailbox", "accounts in the store", "messages in the command"


def measure(lab, quick, million, rounds):
    """Print the tables; returns their rows."""
    store = Store(lab)
    sizes = SIZES[:2] if quick else SIZES + ((MILLION,) if million else ())
    accounts = ACCOUNTS[:2] + (1000,) if quick else ACCOUNTS
    tables = [by_accounts(store, accounts, rounds), by_messages(store, sizes, rounds),
              by_command(Store(lab, "pgbox+skewed"), ASKED, rounds)]
    for node in lab.nodes.values():
        node.assert_log_clean()
    return [row for table in tables for row in table.rows()]


def by_accounts(store, counts, rounds):
    """A mailbox of 1,000 messages in a store that grows."""
    table = Table(STORE, counts)
    subject = Subject(store.side, store.mailbox(1000), 1000)
    for count in counts:
        store.accounts(count)
        for _ in range(rounds):
            table.measure(count, subject)
    table.print()
    return table


def by_messages(store, sizes, rounds):
    """Mailboxes that take turns."""
    table = Table(MESSAGES, sizes)
    subjects = {size: Subject(store.side, store.mailbox(size), size) for size in sizes}
    for _ in range(rounds):
        for size, subject in subjects.items():
            table.measure(size, subject)
    table.print()
    return table


def by_command(store, counts, rounds):
    """One mailbox, and more and more of its messages."""
    table = Table(NAMED, counts, COMMANDS)
    user = store.unexpected(counts[-1])
    client = store.side.client(user)
    for name in ("Copies", "Moved"):
        client.command("CREATE ", name)
    client.close()
    for _ in range(rounds):
        for count in counts:
            table.measure(count, Asked(store.side, user, count))
            store.vacuum()
    table.print()
    return table
