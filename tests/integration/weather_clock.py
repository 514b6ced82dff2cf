"""Clocks that jump: a node's, and the database server's.

pgbox only. Times decide about policies, restores and how long tokens live;
nothing else may depend on them."""

import contextlib
import os
import time

import proc
from clock import Clock
from imapclient import ImapError, Lit
from lmtp import LmtpClient
from mails import PLAIN, queued
from tap import eq, only, timeout, true
from weather import opened, ok_or_none, patience

DAY = 86400
NEW = patience(2000, 5000)


def clocked(lab):
    """(node, the clock of its mail processes)"""
    if "clocked" not in lab.nodes:
        clock = Clock(os.path.join(lab.dir, "clock"))
        lab.node("clocked", preload=clock.library, extra=NEW).clock = clock
    node = lab.nodes["clocked"]
    # Dovecot ends processes whose clock goes back
    node.expect_log("Time just moved backwards", "Time moved", "Panic: .*moved")
    return node, node.clock


def off(lab, user, folder="INBOX", column="saved_at"):
    """How many seconds a time of the newest message is from the server's."""
    return abs(int(lab.cluster.value(
        "SELECT extract(epoch FROM clock_timestamp() - g.%s)::bigint FROM pgbox.message g"
        " JOIN pgbox.mailbox m USING (mailbox_id) JOIN pgbox.account a USING (account_id)"
        " WHERE a.name = '%s' AND m.name = '%s' ORDER BY g.uid DESC LIMIT 1" % (column, user, folder))))


@contextlib.contextmanager
def wrong(clock, seconds):
    """The clock is off for a while."""
    clock.set(seconds)
    try:
        yield
    finally:
        clock.set(0)


@only("pgbox")
@timeout(120)
def test_node_is_wrong(lab):
    """Mail that comes while a node's clock is off has the server's time: no policy takes it."""
    node, clock = clocked(lab)
    for seconds in (-400 * DAY, 400 * DAY):
        user = lab.user(node)
        with wrong(clock, seconds):
            c = lab.imap(user, node)
            c.ok("CREATE Trash")
            c.ok("APPEND Trash ", Lit(PLAIN))
            true(off(lab, user, "Trash", "received_at") > 399 * DAY, "INTERNALDATE is the node's business")
            c.ok("SELECT Trash")
            c.ok("COPY 1 INBOX")
            c.ok("STORE 1 +FLAGS (\\Flagged)")
            true(off(lab, user, "Trash") < 60 and off(lab, user) < 60, "saved_at is off by %d" % seconds)
            c.ok("MOVE 1 INBOX")
            eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 250)
            true(off(lab, user) < 60, "delivered")
            lab.cluster.psql("SELECT pgbox.messages_expire('%s', 'INBOX', '30 days')" % user)
            eq(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1], b"3")
            c.logout()


@only("pgbox")
@timeout(120)
def test_node_jumps(lab):
    """A node's clock jumps under a session: that one goes on, or a new one does."""
    node, clock = clocked(lab)
    for seconds in (7200, 30 * DAY, -7200, -2):
        user, c = opened(lab, node)
        tag = c.idle()
        with wrong(clock, seconds):
            try:
                c.done(tag)
                c.ok("STORE 1 +FLAGS (\\Seen)")
                c.ok("APPEND INBOX ", Lit(PLAIN))
                c.ok("NOOP")
            except (ImapError, OSError):
                # half an hour without a word is enough for Dovecot, if it looks at the clock first
                true(seconds < -5 or "inactivity" in c.transcript[-1], "ended at a jump by %d" % seconds)
            d = lab.imap(user, node)
            d.ok("SELECT INBOX")
            count = int(d.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1])
            true(count in (3, 4), "%d messages" % count)
            d.ok("STORE 2 +FLAGS (\\Seen)")
            d.logout()
        c.close()
        proc.wait_for(lambda: ok_or_none(lab.imap(user, node).cmd("SELECT INBOX")), 10, "a session afterwards")


@only("pgbox")
@timeout(120)
def test_complaints_after_jump(lab):
    """The log tells of trouble again, though the clock went back."""
    node, clock = clocked(lab)
    node.expect_log("Error: ")
    user, c = opened(lab, node)
    revoke = "%s EXECUTE ON FUNCTION pgbox.message_store %s pgbox_dovecot"
    lab.cluster.psql(revoke % ("REVOKE", "FROM"))
    try:
        with wrong(clock, 3):
            c.no("STORE 1 +FLAGS (\\Seen)")
        c.no("STORE 1 +FLAGS (\\Seen)")
        eq(len([line for line in node.log_since_mark().splitlines() if "permission denied" in line]), 1)
    finally:
        lab.cluster.psql(revoke % ("GRANT", "TO"))
    c.ok("STORE 1 +FLAGS (\\Seen)")


@contextlib.contextmanager
def server_clock(lab):
    """The database server with a clock that can be set."""
    clock = Clock(os.path.join(lab.dir, "server-clock"))
    lab.cluster.stop()
    lab.cluster.start({"LD_PRELOAD": clock.library})
    try:
        yield clock
    finally:
        lab.cluster.restart()


def send(node, message, user):
    """One delivery by a connection of its own."""
    client = LmtpClient(node.ports["lmtp"])
    code, text = client.deliver(message, user)[user]
    client.close()
    eq(code, 250, text)


@only("pgbox")
@timeout(180)
def test_server_jumps(lab):
    """The server's clock jumps under sessions, forth and back."""
    node = lab.node("plain", extra=NEW)
    with server_clock(lab) as clock:
        user, c = opened(lab, node)
        message = queued(PLAIN)
        validity = 0
        for count, seconds in enumerate((0, 12 * 3600, 400 * DAY, -400 * DAY, 0), 1):
            clock.set(seconds)
            now = int(lab.cluster.value("SELECT extract(epoch FROM clock_timestamp())::bigint"))
            true(abs(now - seconds - time.time()) < 60, "the server's clock is off by %d" % seconds)
            c.ok("APPEND INBOX ", Lit(PLAIN))
            c.ok("STORE 1 +FLAGS (\\Seen)")
            c.ok("STORE 1 -FLAGS (\\Seen)")
            send(node, message, user)
            c.ok("NOOP")
            eq(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1], b"%d" % (3 + count + 1), "delivered once")
            # a name that is used again never has a UIDVALIDITY that it had, or a lower one
            c.ok("CREATE again")
            new = int(c.ok("STATUS again (UIDVALIDITY)").one("STATUS")[1][1])
            true(new > validity, "%d after %d" % (new, validity))
            validity = new
            c.ok("DELETE again")
            c.ok("COPY 1 box")
            d = lab.imap(user, node)
            d.ok("SELECT box")
            d.ok("STORE 1 +FLAGS (\\Deleted)")
            d.ok("EXPUNGE")
            d.logout()
            lab.cluster.psql("SELECT * FROM pgbox.message_undelete('%s', 'box')" % user)
            true(int(c.ok("STATUS box (MESSAGES)").one("STATUS")[1][1]) > 0, "undeleted at %d" % seconds)
        eq(lab.cluster.psql("SELECT rule, problem FROM pgbox.invariant_violations"), [])
