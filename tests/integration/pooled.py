"""PgBouncer in transaction mode: the shipped example, and what a session of
PostgreSQL is left with.

Each test has a pooler of its own, whether or not the run has one."""

import contextlib
import threading

import proc
from imapclient import Lit
from mails import MIXED, PLAIN, simple
from tap import eq, has, only, timeout, true

# All sessions take turns on one backend, which nobody resets.
ONE_BACKEND = "default_pool_size = 1\n"
SESSIONS = 6
# PgBouncer sets these itself, to what a client said when it connected.
OF_CLIENTS = "('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')"
STATE = """
SELECT 'prepared statement', name FROM pg_prepared_statements
UNION ALL SELECT 'cursor', name FROM pg_cursors
UNION ALL SELECT 'advisory lock', objid::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'channel', pg_listening_channels()
UNION ALL SELECT 'temporary table', relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
UNION ALL SELECT 'setting', name FROM pg_settings WHERE source = 'session' AND name NOT IN %s
UNION ALL SELECT 'role', current_user WHERE current_user <> session_user
""" % OF_CLIENTS
# one of each
LITTER = """
PREPARE left_behind AS SELECT 1;
DECLARE left_open CURSOR WITH HOLD FOR SELECT 1;
SELECT pg_advisory_lock(1);
LISTEN left_listening;
CREATE TEMPORARY TABLE left_there (one integer);
SET work_mem = '1MB';
"""


def pooled_node(lab, name, pool, prepare="no"):
    """A node that reaches the database through the pooler."""
    extra = "\nplugin {\n  pgbox_prepare = %s\n}\n" % prepare
    return lab.node(name, database=pool.uri(), direct=lab.cluster.uri("pgbox_dovecot"), extra=extra)


class Backend:
    """The only one that a pooler has, seen from inside."""

    def __init__(self, pool, node):
        self._uri = "%s passfile=%s/pgpass" % (pool.uri(), node.dir)
        self._pid = self._ask("SELECT pg_backend_pid()")

    def _ask(self, sql):
        done = proc.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self._uri])
        return done.stdout.decode().split("\n")[:-1]

    def state(self):
        """What sessions have left: {kind: [name]}."""
        eq(self._ask("SELECT pg_backend_pid()"), self._pid, "still the same backend")
        found = {}
        for line in self._ask(STATE):
            kind, name = line.split("|")
            found.setdefault(kind, []).append(name)
        return found

    def litter(self):
        """Leave one of everything."""
        self._ask(LITTER)

    def clean(self):
        """As if it were new."""
        self._ask("DISCARD ALL")


def work(lab, node, user, failures):
    """A bit of everything, in a session of its own."""
    try:
        with contextlib.closing(node.imap(user)) as c:
            c.ok("CREATE box")
            big = simple(3, body="line of a large message\r\n" * 30000)
            for number in range(5):
                c.ok("APPEND INBOX (kw%d) " % number, Lit(MIXED), " ", Lit(simple(number)))
            c.ok("APPEND INBOX ", Lit(big))
            c.ok("SELECT INBOX (CONDSTORE)")
            eq(c.ok("UID SEARCH ALL").numbers(), list(range(1, 12)))
            c.ok("STORE 1:5 +FLAGS (\\Seen mine)")
            c.ok("COPY 1:3 box")
            c.ok("MOVE 4 box")
            c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
            c.ok("EXPUNGE")
            true(c.ok("FETCH 9 BODY.PEEK[]").fetches()[9]["BODY[]"] == big, "a large body")
            c.ok("SETMETADATA INBOX (/private/comment x)")
            c.ok('LIST "" * RETURN (STATUS (MESSAGES))')
            c.ok("RENAME box bax")
            c.ok("SELECT bax")
            eq(c.ok("UID SEARCH ALL").numbers(), [1, 2, 3, 4])
    except Exception as error:  # pylint: disable=broad-except
        failures.append("%s: %r" % (user, error))


def work_together(lab, nodes):
    """Several sessions at once; then what else is there of services."""
    users = [lab.user(*nodes) for _ in range(SESSIONS)]
    failures = []
    threads = [threading.Thread(target=work, args=(lab, nodes[number % len(nodes)], user, failures))
               for number, user in enumerate(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eq(failures, [])
    eq({answer[0] for answer in lab.lmtp(nodes[0]).deliver(PLAIN, *users).values()}, {250})
    nodes[0].doveadm("expunge", "mailbox", "INBOX", "1", user=users[0])
    nodes[0].doveadm("pgbox", "undelete", "INBOX", user=users[0])
    for command in ("status", "verify", "expire", "purge"):
        nodes[0].doveadm("pgbox", command)


@only("pgbox")
@timeout(90)
def test_nothing_left(lab):
    """Sessions of two nodes share one backend, transaction by transaction, and
    leave nothing in it: no setting, statement, lock, table, cursor, channel."""
    pool = lab.pooler("one", extra=ONE_BACKEND)
    nodes = [pooled_node(lab, name, pool) for name in ("alone1", "alone2")]
    backend = Backend(pool, nodes[0])
    eq(backend.state(), {})
    work_together(lab, nodes)
    eq(backend.state(), {})
    # ... and it would be seen
    backend.litter()
    eq(sorted(backend.state()), ["advisory lock", "channel", "cursor", "prepared statement", "setting", "temporary table"])


@only("pgbox")
def test_prepared_statements(lab):
    """With pgbox_prepare = yes they stay in the backend, under names of ours; a
    session finds out that they are gone and goes on."""
    pool = lab.pooler("prepare", extra=ONE_BACKEND)
    node = pooled_node(lab, "prepares", pool, "yes")
    backend = Backend(pool, node)
    c = lab.imap(lab.user(node), node)
    c.ok("SELECT INBOX")
    c.ok("APPEND INBOX ", Lit(PLAIN))
    left = backend.state()
    eq(list(left), ["prepared statement"])
    has("pgbox-message-save", left["prepared statement"])
    backend.clean()
    eq(backend.state(), {})
    eq(c.ok("APPEND INBOX ", Lit(PLAIN)).number("EXISTS"), 2)


@only("pgbox")
def test_example(lab):
    """The example as it is, with each of its two ways to know who may log in."""
    for name, by_query in (("file", False), ("query", True)):
        pool = lab.pooler(name, extra="", auth_query=by_query)
        node = pooled_node(lab, "by-" + name, pool)
        c = lab.imap(lab.user(node), node)
        c.ok("APPEND INBOX ", Lit(PLAIN))
        eq(c.ok("SELECT INBOX").number("EXISTS"), 1)
        c.ok("LOGOUT")
        node.write_pgpass("wrong")
        done = proc.run(["psql", "-XAtqc", "SELECT 1", "%s passfile=%s/pgpass" % (pool.uri(), node.dir)], check=False)
        eq((done.returncode, done.stdout), (2, b""), "a wrong password")
        has(b"SASL authentication failed", done.stderr)
