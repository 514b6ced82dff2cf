"""Bad weather made by the server: locks, timeouts, terminated backends, a
standby, limits, missing privileges, a full disk.

pgbox only. The session gets NO and goes on; the log has one line for the
administrator, however many commands meet the same trouble."""

import contextlib
import os
import re
import subprocess
import time

import proc
from imapclient import Lit
from mails import PLAIN, simple
from tap import Skip, eq, only, timeout, true
from weather import eventually_ok, later, opened, patience

BIG = simple(9, body="line of a large message\r\n" * 20000)
HASTY = patience(1000, 1000)
PATIENT = patience(1000, 20000)
WRITES = {
    "STORE": lambda c: c.send("STORE 1 +FLAGS (\\Flagged)"),
    "APPEND": lambda c: c.send("APPEND INBOX ", Lit(PLAIN)),
    "APPEND of a large message": lambda c: c.send("APPEND INBOX ", Lit(BIG)),
    "MULTIAPPEND": lambda c: c.send("APPEND INBOX ", Lit(PLAIN), " ", Lit(PLAIN)),
    "COPY": lambda c: c.send("COPY 1 INBOX"),
    "UID EXPUNGE": lambda c: c.send("UID EXPUNGE 3"),
    "MOVE": lambda c: c.send("MOVE 1 box"),
}


def direct(lab, name, extra):
    """A node without a proxy that may log errors."""
    node = lab.node(name, extra=extra)
    node.expect_log("Error: ")
    return node


@contextlib.contextmanager
def setting(lab, change, undo):
    """SQL for a while: the plugin's sessions begin anew with it, and without."""
    lab.cluster.psql(change)
    lab.cluster.terminate_backends()
    try:
        yield
    finally:
        lab.cluster.psql(undo)
        lab.cluster.terminate_backends()


class Holder:
    """A psql session that stays in its transaction."""

    def __init__(self, lab):
        self._psql = subprocess.Popen(["psql", "-XAtq", lab.cluster.uri()], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.say("BEGIN")

    def tell(self, sql):
        """Begin a statement."""
        self._psql.stdin.write(sql.encode() + b";\n\\echo done\n")
        self._psql.stdin.flush()

    def say(self, sql):
        """Run a statement to its end."""
        self.tell(sql)
        while self._psql.stdout.readline().strip() != b"done":
            true(self._psql.poll() is None, "psql lives")

    def lock(self, user, name, how="say"):
        """Lock a mailbox as a writer does."""
        getattr(self, how)("SELECT 1 FROM pgbox.mailbox_counter AS c JOIN pgbox.mailbox AS m USING (mailbox_id)"
                           " JOIN pgbox.account AS a USING (account_id)"
                           " WHERE a.name = '%s' AND m.name = '%s' FOR UPDATE OF c" % (user, name))

    def close(self):
        """Roll back and leave."""
        self._psql.stdin.close()
        self._psql.wait(30)
        self._psql.stdout.close()


def waiting(lab):
    """pids of the plugin's backends that wait for a lock."""
    return [row[0] for row in lab.cluster.psql(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'pgbox_dovecot' AND wait_event_type = 'Lock'")]


def complaints(node, pattern):
    """Log lines with errors or warnings since the test began, a moment later."""
    proc.wait_for(lambda: re.search(pattern, node.log_since_mark()), 5, "a line with " + pattern)
    time.sleep(0.2)
    return [line for line in node.log_since_mark().splitlines() if re.search("(Error|Warning): ", line)]


def one_complaint(node, pattern):
    """There is exactly one line, and it is this."""
    lines = complaints(node, pattern)
    eq(len(lines), 1, "\n".join(lines))
    true(re.search(pattern, lines[0]), lines[0])


@only("pgbox")
@timeout(90)
def test_lock_held(lab):
    """Somebody holds the mailbox: each write is refused in time, then works."""
    node = direct(lab, "hasty", HASTY)
    user, c = opened(lab, node)
    c.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
    holder = Holder(lab)
    holder.lock(user, "INBOX")
    for name, send in WRITES.items():
        before = time.monotonic()
        later(c.finish(send(c)), name)
        true(time.monotonic() - before < 6, name + " took too long")
    before = time.monotonic()
    code, text = lab.lmtp(node).deliver(PLAIN, user)[user]
    true(400 <= code < 500 and time.monotonic() - before < 6, text)
    c.ok("FETCH 1:* (BODY.PEEK[])")
    holder.close()
    eq(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1], b"3", "nothing was done")
    for name, send in WRITES.items():
        reply = c.finish(send(c))
        true(reply.ok, "%s afterwards: %r" % (name, reply))


@only("pgbox")
@timeout(90)
def test_server_timeouts(lab):
    """lock_timeout and statement_timeout of the server."""
    node = direct(lab, "patient", PATIENT)
    for name in ("lock_timeout", "statement_timeout"):
        value = {"lock_timeout": "20s", "statement_timeout": "60s"}[name]
        with setting(lab, "ALTER ROLE pgbox_dovecot SET %s = '400ms'" % name,
                     "ALTER ROLE pgbox_dovecot SET %s = '%s'" % (name, value)):
            user, c = opened(lab, node)
            holder = Holder(lab)
            holder.lock(user, "INBOX")
            for what in ("STORE", "APPEND", "APPEND of a large message"):
                reply = c.finish(WRITES[what](c))
                later(reply, what)
                eq(reply.code, "INUSE", what)
            holder.close()
            c.ok("STORE 1 +FLAGS (\\Seen)")


@only("pgbox")
@timeout(90)
def test_backend_ended(lab):
    """One backend is cancelled (NO) or terminated (done by another one)."""
    node = direct(lab, "patient", PATIENT)
    for function in ("pg_cancel_backend", "pg_terminate_backend"):
        for name, send in WRITES.items():
            user, c = opened(lab, node)
            c.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
            holder = Holder(lab)
            holder.lock(user, "INBOX")
            tag = send(c)
            pid = proc.wait_for(lambda: waiting(lab), 10, "the backend to wait")[0]
            lab.cluster.psql("SELECT %s(%s)" % (function, pid))
            if function == "pg_cancel_backend":
                later(c.finish(tag), name)
                holder.close()
                tag = send(c)
            else:
                proc.wait_for(lambda: [p for p in waiting(lab) if p != pid], 10, "another one")
                holder.close()
            reply = c.finish(tag)
            true(reply.ok, "%s after %s: %r" % (name, function, reply))
            c.close()


@only("pgbox")
@timeout(60)
def test_deadlock(lab):
    """The loser of a deadlock tries again."""
    node = direct(lab, "patient", PATIENT)
    with setting(lab, "ALTER ROLE pgbox_dovecot SET deadlock_timeout = '300ms'",
                 "ALTER ROLE pgbox_dovecot RESET deadlock_timeout"):
        user, c = opened(lab, node)
        for command in ("MOVE 1 box", "MOVE 1 box"):
            holder = Holder(lab)
            holder.lock(user, "box")
            tag = c.send(command)
            proc.wait_for(lambda: waiting(lab), 10, "the backend to wait")
            holder.lock(user, "INBOX", "tell")
            time.sleep(0.8)
            holder.close()
            true(c.finish(tag).ok, command)
    eq(lab.cluster.value("SELECT deadlocks > 0 FROM pg_stat_database WHERE datname = 'pgbox'"), "t")


@only("pgbox")
@timeout(60)
def test_read_only(lab):
    """A server that may only be read: mail can be, and the log says what to do."""
    node = direct(lab, "patient", PATIENT)
    _, c = opened(lab, node)
    with setting(lab, "ALTER ROLE pgbox_dovecot SET default_transaction_read_only = on",
                 "ALTER ROLE pgbox_dovecot RESET default_transaction_read_only"):
        for command in ("STORE 1 +FLAGS (\\Seen)", "STORE 2 +FLAGS (\\Seen)", "STORE 3 +FLAGS (\\Seen)"):
            eq(c.no(command).code, "UNAVAILABLE")
        eq(len(c.ok("FETCH 1:* (FLAGS BODY.PEEK[])").fetches()), 3)
        c.ok("EXAMINE box")
        one_complaint(node, "primary")
    c.ok("SELECT INBOX")
    c.ok("STORE 1 +FLAGS (\\Seen)")


@only("pgbox")
@timeout(60)
def test_too_many_connections(lab):
    """No connection is left for us."""
    node = direct(lab, "patient", PATIENT)
    # a pooler tells PostgreSQL's reason to its own log
    reason = "query_wait_timeout|server login" if lab.is_pooled else "too many connections"
    user, c = opened(lab, node)
    with setting(lab, "ALTER ROLE pgbox_dovecot CONNECTION LIMIT 0",
                 "ALTER ROLE pgbox_dovecot CONNECTION LIMIT -1"):
        for _ in range(3):
            eq(c.no("STORE 1 +FLAGS (\\Seen)").code, "UNAVAILABLE")
        one_complaint(node, reason)
        code, text = lab.lmtp(node).deliver(PLAIN, user)[user]
        true(400 <= code < 500, text)
    eventually_ok(c, "NOOP")
    c.ok("STORE 1 +FLAGS (\\Seen)")


@only("pgbox")
@timeout(60)
def test_function_denied(lab):
    """A grant is taken away under open sessions."""
    node = direct(lab, "patient", PATIENT)
    _, c = opened(lab, node)
    for function, send in (("message_store", WRITES["STORE"]), ("content_put", WRITES["APPEND of a large message"])):
        node.mark_log()
        node.expect_log("Error: ")
        # with its arguments: there is one for plugins of version 1, too
        called = lab.cluster.value("SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'pgbox'::regnamespace"
                                   " AND p.proname = '%s' ORDER BY p.pronargs DESC LIMIT 1" % function)
        with setting(lab, "REVOKE EXECUTE ON FUNCTION %s FROM pgbox_dovecot" % called,
                     "GRANT EXECUTE ON FUNCTION %s TO pgbox_dovecot" % called):
            for _ in range(3):
                later(c.finish(send(c)), function)
            one_complaint(node, "permission denied for function %s.*grants" % function)
        eventually_ok(c, "NOOP")
        true(c.finish(send(c)).ok, function)


@only("pgbox")
@timeout(60)
def test_schema_goes(lab):
    """The schema is replaced under open sessions by one that is too new, or vanishes."""
    if lab.is_pooled:
        raise Skip("a new link looks at the schema, and those to a pooler outlive backends")
    node = direct(lab, "patient", PATIENT)
    _, c = opened(lab, node)
    for change, undo, pattern in (
            ("INSERT INTO pgbox.schema_version (version, name, sha256) VALUES (77, 'x', 'x')",
             "DELETE FROM pgbox.schema_version WHERE version = 77", "version 77, newer"),
            ("ALTER SCHEMA pgbox RENAME TO elsewhere", "ALTER SCHEMA elsewhere RENAME TO pgbox",
             'schema "pgbox" does not exist.*pgbox-schema')):
        node.mark_log()
        node.expect_log("Error: ")
        with setting(lab, change, undo):
            for _ in range(3):
                eq(c.no("STORE 1 +FLAGS (\\Seen)").code, "UNAVAILABLE")
            one_complaint(node, pattern)
        eventually_ok(c, "NOOP")
        c.ok("STORE 1 +FLAGS (\\Seen)")


@contextlib.contextmanager
def tiny_disk(lab):
    """Chunks of bodies are on a disk of 8 MB."""
    folder = os.path.join(lab.cluster.dir, "tiny")
    os.mkdir(folder)
    if not proc.is_root() or subprocess.call(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder],
                                             stderr=subprocess.DEVNULL):
        raise Skip("can't mount a small disk here")
    try:
        proc.give(folder, lab.cluster.user)
        lab.cluster.psql("CREATE TABLESPACE tiny LOCATION '%s'" % folder)
        lab.cluster.psql("ALTER TABLE pgbox.body_chunk SET TABLESPACE tiny")
        yield
    finally:
        lab.cluster.psql("ALTER TABLE pgbox.body_chunk SET TABLESPACE pg_default", check=False)
        lab.cluster.psql("DROP TABLESPACE IF EXISTS tiny", check=False)
        subprocess.call(["umount", "-l", folder])


@only("pgbox")
@timeout(90)
def test_disk_full(lab):
    """The server's disk is full: large messages are refused, nothing is half there."""
    node = direct(lab, "patient", PATIENT)
    user, c = opened(lab, node)
    # random text: it is compressed on its way to the disk
    big = simple(3, body="".join(os.urandom(36).hex() + "\r\n" for _ in range(250000)))
    with tiny_disk(lab):
        for _ in range(3):
            later(c.cmd("APPEND INBOX ", Lit(big)), "APPEND")
        one_complaint(node, "disk space")
        code, text = lab.lmtp(node).deliver(big, user)[user]
        true(400 <= code < 500, text)
        c.ok("APPEND INBOX ", Lit(PLAIN))
        eq(len(c.ok("FETCH 1:* BODY.PEEK[]").fetches()), 4)
    c.ok("APPEND INBOX ", Lit(big))
    true(c.ok("FETCH 5 BODY.PEEK[]").fetches()[5]["BODY[]"] == big, "kept")


@only("pgbox")
@timeout(90)
def test_killed_while_it_works(lab):
    """kill -9 of the whole server while a write waits: NO, and then it works."""
    node = direct(lab, "patient", PATIENT)
    for name, send in WRITES.items():
        user, c = opened(lab, node)
        c.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
        holder = Holder(lab)
        holder.lock(user, "INBOX")
        tag = send(c)
        proc.wait_for(lambda: waiting(lab), 10, "the backend to wait")
        lab.cluster.kill()
        later(c.finish(tag), name)
        lab.cluster.start()
        holder.close()
        eventually_ok(c, "NOOP")
        true(c.finish(send(c)).ok, name + " afterwards")
        c.close()
