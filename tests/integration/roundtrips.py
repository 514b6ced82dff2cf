"""How often a command asks PostgreSQL: the budget, at three sizes.

pgbox only; ../lib/meter.py counts. A command's figure must stay within its
budget whatever the mailbox's size, but for the batches that the budget names.
Quota is off here: it asks a question of its own, see quota.py."""

import shutil

import proc
from imapclient import Lit
from mails import fill, simple
from meter import Meter
from tap import eq, only, timeout, true

SIZES = (10, 1000, 10000)


def prepared(lab, size):
    """(meter, user, client): mailbox of that size, selected, cache warm."""
    meter = Meter(lab)
    user = lab.user(meter.node)
    c = meter.client(user)
    fill(c, "INBOX", size)
    c.ok("CREATE box")
    c.ok("SELECT INBOX")
    c.ok("NOOP")
    return meter, user, c


def within(lab, name, action, budget, setup=None):
    """Measure an action at each size; every figure is within the budget.

    action(client, size, meter, user) is what is measured; budget(size) the
    round trips allowed."""
    figures = {}
    for size in SIZES:
        meter, user, c = prepared(lab, size)
        if setup:
            setup(c, size, meter, user)
        figures[size] = meter.count(lambda: action(c, size, meter, user))
        c.close()
    print("# %s: %s" % (name, ", ".join("%d: %d trips %d statements" % (size, t, s)
                                        for size, (t, s) in figures.items())))
    for size, (trips, _) in figures.items():
        true(trips <= budget(size), "%s at %d messages: %d round trips, budget %d; all: %r"
             % (name, size, trips, budget(size), figures))


def lose_index(c, _size, meter, user):
    """A setup: the node knows nothing of the user's mailboxes."""
    c.logout()
    shutil.rmtree(meter.node.index_dir(user))


def batches(size):
    """Dovecot itself cuts EXPUNGE and MOVE into commits of 1,000 messages."""
    return (size + 999) // 1000


# The pull at the end of a command is one round trip of its own.
PULL = 1


def fixed(number):
    """A budget that no size changes."""
    return lambda size: number


@only("pgbox")
@timeout(120)
def test_noop(lab):
    """NOOP: 1."""
    within(lab, "NOOP", lambda c, *_: c.ok("NOOP"), fixed(1))


@only("pgbox")
@timeout(120)
def test_login_to_list(lab):
    """LOGIN to LIST: 1 (a new process also looks at the schema's version)."""
    def action(_c, _size, meter, user):
        meter.client(user).ok('LIST "" *')
    within(lab, "LOGIN LIST", action, fixed(2))


@only("pgbox")
@timeout(120)
def test_list_status(lab):
    """LIST RETURN (STATUS) of all: 1."""
    within(lab, "LIST-STATUS", lambda c, *_: c.ok(
        'LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ))'),
           fixed(1 + PULL))


@only("pgbox")
@timeout(120)
def test_list_status_many_mailboxes(lab):
    """The same with 200 mailboxes."""
    meter, user, c = prepared(lab, 10)
    for number in range(200):
        c.ok("CREATE m%03d" % number)
    line = 'LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ))'
    trips, _ = meter.count(lambda: eq(len(c.ok(line).all("STATUS")), 202))
    true(trips <= 1 + PULL, "%d round trips" % trips)
    d = meter.client(user)
    trips, _ = meter.count(lambda: d.ok(line))
    true(trips <= 2 + PULL, "%d round trips in a fresh session" % trips)


@only("pgbox")
@timeout(120)
def test_select_current(lab):
    """SELECT, index current: 1 (name to mailbox, counters)."""
    def action(c, *_):
        c.ok("SELECT INBOX")
    within(lab, "SELECT current", action, fixed(2), lambda c, *_: c.ok("SELECT box"))


@only("pgbox")
@timeout(120)
def test_select_cold(lab):
    """SELECT without an index: 1-2, and chunks of 10,000."""
    def action(_c, _size, meter, user):
        meter.client(user).ok("SELECT INBOX")
    within(lab, "SELECT cold", action, lambda size: 4 + size // 10000, lose_index)


@only("pgbox")
@timeout(120)
def test_store(lab):
    """STORE of all: 1; the commit tells what the pull would."""
    within(lab, "STORE", lambda c, *_: c.ok("STORE 1:* +FLAGS.SILENT (\\Flagged)"),
           fixed(1))


@only("pgbox")
@timeout(120)
def test_store_keyword(lab):
    """STORE of a new keyword: 1."""
    within(lab, "STORE keyword", lambda c, *_: c.ok("STORE 1:* +FLAGS.SILENT (new)"),
           fixed(1))


@only("pgbox")
@timeout(120)
def test_store_unchangedsince(lab):
    """STORE (UNCHANGEDSINCE): 1."""
    within(lab, "STORE UNCHANGEDSINCE", lambda c, *_: c.ok(
        "STORE 1:* (UNCHANGEDSINCE 99999999999) +FLAGS.SILENT (\\Seen)"), fixed(1))


@only("pgbox")
@timeout(120)
def test_expunge(lab):
    """EXPUNGE of half: 1 a batch."""
    def setup(c, size, *_):
        c.ok("STORE 1:%d +FLAGS.SILENT (\\Deleted)" % (size // 2))
    within(lab, "EXPUNGE", lambda c, *_: c.ok("EXPUNGE"),
           lambda size: batches(size // 2), setup)


@only("pgbox")
@timeout(120)
def test_copy(lab):
    """COPY of all: 2; the destination is opened, too."""
    within(lab, "COPY", lambda c, *_: c.ok("COPY 1:* box", timeout=60), fixed(2))


@only("pgbox")
@timeout(120)
def test_move(lab):
    """MOVE of all: 1-2 a batch, and its pull. Before them Dovecot opens the
    destination, and the source a second time."""
    within(lab, "MOVE", lambda c, *_: c.ok("MOVE 1:* box", timeout=60),
           lambda size: 2 + (1 + PULL) * batches(size) + PULL)


@only("pgbox")
@timeout(120)
def test_append(lab):
    """APPEND of a small message: 2; the mailbox is opened anew."""
    within(lab, "APPEND", lambda c, *_: c.ok("APPEND INBOX ", Lit(simple(77))),
           fixed(2))


@only("pgbox")
@timeout(60)
def test_append_large(lab):
    """APPEND of 2 MB: one more a chunk at most, and pipelined."""
    meter, _, c = prepared(lab, 10)
    message = simple(1, body="0123456789abcdef\r\n" * 116000)
    trips, _ = meter.count(lambda: c.ok("APPEND INBOX ", Lit(message)))
    true(trips <= 3 + PULL + len(message) // 131072, "%d round trips" % trips)


@only("pgbox")
@timeout(60)
def test_lmtp_recipients(lab):
    """LMTP to 10: a bounded number each, the body sent once."""
    meter = Meter(lab)
    users = [lab.user(meter.node) for _ in range(10)]
    body = "z" * 70 + "\r\n"
    message = simple(5, body=body * 3000)
    sent = lab.cluster.value("SELECT count(*) FROM pgbox.body")
    client = lab.lmtp(meter.node)
    trips, _ = meter.count(lambda: client.deliver(message, *users))
    true(trips <= 5 * len(users) + 5, "%d round trips" % trips)
    eq(int(lab.cluster.value("SELECT count(*) FROM pgbox.body")), int(sent) + 1)


@only("pgbox")
@timeout(120)
def test_fetch_warm(lab):
    """FETCH of envelope, structure, sizes again: 0 (and the pull)."""
    items = "FETCH 1:* (FLAGS UID RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)"
    within(lab, "FETCH warm", lambda c, *_: c.ok(items, timeout=60), fixed(PULL),
           lambda c, *_: c.ok(items, timeout=60))


@only("pgbox")
@timeout(200)
def test_fetch_cold(lab):
    """The same on a node that knows nothing: 1 per 1,000 or so."""
    def action(_c, _size, meter, user):
        d = meter.client(user)
        d.ok("SELECT INBOX")
        d.ok("FETCH 1:* (FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)", timeout=90)
    within(lab, "FETCH cold", action, lambda size: 6 + size // 500 + size // 10000, lose_index)


@only("pgbox")
@timeout(200)
def test_fetch_bodies(lab):
    """FETCH of all bodies: 1 per batch."""
    within(lab, "FETCH bodies", lambda c, *_: c.ok("FETCH 1:* BODY.PEEK[]", timeout=90),
           lambda size: 3 + size // 50)


@only("pgbox")
@timeout(240)
def test_search_size_and_body(lab):
    """SEARCH by size and body on a node that knows nothing: sizes by the
    thousand, bodies by the hundred."""
    def action(_c, _size, meter, user):
        d = meter.client(user)
        d.ok("SELECT INBOX")
        eq(d.ok("SEARCH SMALLER 99999 BODY nowhere", timeout=120).numbers(), [])
    within(lab, "SEARCH size and body", action,
           lambda size: 6 + batches(size) + size // 100 + size // 10000, lose_index)


@only("pgbox")
@timeout(60)
def test_partial_fetch(lab):
    """A piece of a large body reads the chunks that it needs, no more."""
    meter, _, c = prepared(lab, 1)
    message = simple(1, body="0123456789abcdef\r\n" * 580000)
    c.ok("APPEND INBOX ", Lit(message))
    c.ok("FETCH 2 (RFC822.SIZE BODYSTRUCTURE)")
    trips, _ = meter.count(lambda: c.ok("FETCH 2 BODY.PEEK[]<9000000.1000>"))
    true(trips <= 3 + PULL, "%d round trips for 1,000 bytes of 10 MB" % trips)


@only("pgbox")
@timeout(60)
def test_notify(lab):
    """NOTIFY: 1 for each wake-up, which reads names and counters of all mailboxes."""
    meter, user, c = prepared(lab, 10)
    watching = meter.client(user)
    c.ok("CREATE other")

    def append(wait):
        c.ok("APPEND box ", Lit(simple(1)))
        if wait:
            watching.wait_untagged(lambda item: item.name == "STATUS")

    append(False)
    alone, _ = meter.count(lambda: append(False))
    watching.ok("NOTIFY SET (PERSONAL (MailboxName SubscriptionChange MessageNew "
                "MessageExpunge FlagChange))")
    watched, _ = meter.count(lambda: append(True))
    eq(watched - alone, 1)
    eq(meter.count(lambda: watching.ok("NOOP"))[0], 1)


@only("pgbox")
@timeout(60)
def test_idle_holds_nothing(lab):
    """IDLE: no backend is held."""
    meter = Meter(lab)
    user = lab.user(meter.node)
    quick = lab.node("quick", database=lab.cluster.uri("pgbox_dovecot"), plugins="",
                     extra="plugin {\n  pgbox_idle_timeout = 1 secs\n}\n")
    c = lab.imap(user, quick)
    c.ok("SELECT INBOX")
    tag = c.idle()
    query = ("SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgbox_dovecot' "
             "AND state = 'idle' AND state_change > now() - interval '20 seconds'")
    proc.wait_for(lambda: int(lab.cluster.value(query)) <= 1, 15, "connections to close")
    c.done(tag)


@only("pgbox")
@timeout(60)
def test_rename_and_delete(lab):
    """RENAME and DELETE: 3; that who did it is written down costs none of them."""
    meter, _, c = prepared(lab, SIZES[0])
    figures = [meter.count(lambda: c.ok(command))[0] for command in ("RENAME box other", "DELETE other")]
    eq(figures, [3, 3])
