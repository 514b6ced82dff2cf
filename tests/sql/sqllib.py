"""psql sessions, and the schema's functions as Python calls."""

import hashlib
import os
import re
import select
import subprocess
import time
import uuid

import proc
from cluster import PASSWORD, bindir, quote

SQL_DIR = os.path.join(proc.ROOT, "sql")
STEP = 65536
CHUNK = 131072
ANSWERED, FLAGGED, DELETED, SEEN, DRAFT = 1, 2, 4, 8, 16
# a superuser's way past all triggers, foreign keys included
FORCE = "SET session_replication_role = replica; "
FIELD, MARK = "\x1f", "--end of answer--"


class SqlError(Exception):
    """The server refused; .state is the SQLSTATE."""

    def __init__(self, state):
        super().__init__(state)
        self.state = state


class Session:
    """A psql that stays connected, so that several can work side by side."""

    def __init__(self, cluster, role="pgbox_dovecot", dbname="pgbox"):
        env = dict(os.environ, PGPASSWORD=PASSWORD)
        self._psql = subprocess.Popen(
            [os.path.join(bindir(), "psql"), "-XAtq", "-F", FIELD, "-v", "VERBOSITY=sqlstate",
             cluster.uri(role, dbname)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        self._rest = b""
        self.pid = int(self.value("SELECT pg_backend_pid()"))

    def start(self, sql):
        """Send statements; finish() takes the answer."""
        # \warn isn't buffered, and works in a failed transaction
        self._psql.stdin.write(("%s\n;\n\\warn %s\n" % (sql, MARK)).encode())
        self._psql.stdin.flush()

    def finish(self, seconds=60):
        """Rows of the statements that start() sent; SqlError if one failed."""
        end = ("\n" + MARK + "\n").encode()
        deadline = time.monotonic() + seconds
        while end not in b"\n" + self._rest:
            left = max(0, deadline - time.monotonic())
            if not select.select([self._psql.stdout], [], [], left)[0]:
                raise proc.LabError("no answer from PostgreSQL")
            part = os.read(self._psql.stdout.fileno(), 65536)
            if not part:
                raise proc.LabError("psql is gone: %r" % self._rest)
            self._rest += part
        text, self._rest = (b"\n" + self._rest).split(end, 1)
        lines = text.decode().split("\n")[1:]
        for line in lines:
            failed = re.match(r"(?:psql:<stdin>:\d+: )?(?:ERROR|FATAL):  (\w{5})$", line)
            if failed:
                raise SqlError(failed.group(1))
        return [line.split(FIELD) for line in lines]

    def sql(self, sql):
        """Run statements and return their rows as lists of str."""
        self.start(sql)
        return self.finish()

    def value(self, sql):
        """The first column of the first row."""
        return self.sql(sql)[0][0]

    def close(self):
        """End psql and thereby the session."""
        self._psql.stdin.close()
        self._psql.wait(timeout=30)
        self._psql.stdout.close()


class Store:
    """One connection of the plugin's role, and one of an administrator."""

    def __init__(self, lab):
        self.cluster = lab.cluster
        self.db = Session(lab.cluster)
        self.admin = Session(lab.cluster, "postgres")
        self._others = []

    def session(self, role="pgbox_dovecot"):
        """One more connection."""
        self._others.append(Session(self.cluster, role))
        return self._others[-1]

    def wait_blocked(self, session, observer=None):
        """Wait until the session waits for a lock."""
        proc.wait_for(lambda: (observer or self.admin).value(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = %d"
            " AND wait_event_type = 'Lock'" % session.pid) == "1", 20, "a lock to be waited for")

    def account(self):
        """A new account: name, account_id, mailbox_id of INBOX."""
        name = "u-" + uuid.uuid4().hex
        account = int(self.admin.value("SELECT pgbox.account_create('%s')" % name))
        return name, account, self.mailbox(account, "INBOX")

    def mailbox(self, account, name):
        """mailbox_id of a name that isn't deleted, or None."""
        rows = self.db.sql("SELECT mailbox_id FROM pgbox.mailbox WHERE account_id = %d"
                           " AND name = %s AND deleted_at IS NULL" % (account, quote(name)))
        return int(rows[0][0]) if rows else None

    def create(self, account, name, **more):
        """A new mailbox; its mailbox_id."""
        return int(self.db.value(create_sql(account, name, **more)))

    def force(self, sql):
        """Change rows past all triggers and foreign keys."""
        self.admin.sql("%s%s; RESET session_replication_role" % (FORCE, sql))

    def names(self, account):
        """Names of the mailboxes and nodes, nodes in brackets."""
        rows = self.db.sql(
            "SELECT CASE WHEN guid IS NULL THEN '[' || name || ']' ELSE name END FROM pgbox.mailbox"
            " WHERE account_id = %d AND deleted_at IS NULL ORDER BY name" % account)
        return [row[0] for row in rows]

    def counters(self, mailbox):
        """(uid_next, highest_modseq, messages, unseen, virtual_size)"""
        return tuple(int(field) for field in self.db.sql(
            "SELECT uid_next, highest_modseq, messages, unseen, virtual_size"
            " FROM pgbox.mailbox_counter WHERE mailbox_id = %d" % mailbox)[0])

    def modseq(self, mailbox):
        """highest_modseq"""
        return self.counters(mailbox)[1]

    def append(self, mailbox, *messages, **more):
        """Add messages; (modseq before, modseq, [uids])."""
        return appended(self.db.sql(append_sql(mailbox, *messages, **more)))

    def save(self, mailbox, body=b"body\r\n", **more):
        """Deliver one message; (modseq before, modseq, [uids])."""
        return appended(self.db.sql(save_sql(mailbox, body, **more)))

    def store(self, mailbox, uids, session=None, **more):
        """Change flags; {uid: (modseq, flags, keywords)}, [refused uids], modseq taken."""
        rows = (session or self.db).sql(store_sql(mailbox, uids, **more))
        changed = {int(r[1]): (int(r[2]), int(r[3]), r[4]) for r in rows if r[0] == "1"}
        refused = sorted(int(r[1]) for r in rows if r[0] == "2")
        taken = [int(r[2]) for r in rows if r[0] == "0"]
        return changed, refused, taken[0]

    def expunge(self, mailbox, uids, reason="test"):
        """(modseq before, modseq taken)"""
        return tuple(int(field) for field in self.db.sql(
            "SELECT prev_modseq, modseq FROM pgbox.message_expunge(%d, %s, %s)"
            % (mailbox, array(uids, "bigint"), quote(reason)))[0])

    def pull(self, mailbox, since=0, keywords=0):
        """Rows of mailbox_pull by kind: {kind: [row]}"""
        kinds = {0: [], 1: [], 2: [], 3: []}
        for row in self.db.sql("SELECT kind, uid, modseq, flags, keywords, info, keyword"
                               " FROM pgbox.mailbox_pull(%d, %d, %d)" % (mailbox, since, keywords)):
            kinds[int(row[0])].append(row[1:])
        return kinds

    def uids(self, mailbox):
        """UIDs of the messages that are there."""
        return [int(row[0]) for row in self.db.sql(
            "SELECT uid FROM pgbox.message WHERE mailbox_id = %d ORDER BY uid" % mailbox)]

    def keywords(self, mailbox, uid):
        """Names of a message's keywords."""
        return [row[0] for row in self.db.sql(
            "SELECT k.name FROM pgbox.message_state s JOIN pgbox.mailbox_keyword k"
            " ON k.mailbox_id = s.mailbox_id AND k.number = ANY (s.keywords)"
            " WHERE s.mailbox_id = %d AND s.uid = %d ORDER BY k.name" % (mailbox, uid))]

    def purge(self):
        """Purge all that can be; (tombstones, mailboxes, contents, bodies) in sum."""
        total = [0, 0, 0, 0]
        while True:
            done = [int(field) for field in self.db.sql("SELECT * FROM pgbox.purge(1000)")[0]]
            if not any(done):
                return tuple(total)
            total = [a + b for a, b in zip(total, done)]

    def problems(self):
        """What pgbox-schema verify says about counters and rows."""
        with open(os.path.join(SQL_DIR, "verify", "20-rows.sql")) as handle:
            return [row[0] for row in self.admin.sql(handle.read())]

    def close(self):
        """End all connections."""
        for session in [self.db, self.admin] + self._others:
            session.close()


def with_store(test):
    """Decorator: the test gets a Store; at its end all counters equal rows."""
    def run(lab):
        store = Store(lab)
        try:
            test(store)
            problems = store.problems()
            if problems:
                raise AssertionError("\n".join(problems))
        finally:
            store.close()
    return dressed(run, test)


def said_of(store, statement):
    """What psql says beside the rows of a statement: errors with their details, warnings and hints."""
    done = proc.run([os.path.join(bindir(), "psql"), "-XAtq", "-c", statement, store.cluster.uri("postgres")],
                    env=dict(os.environ, PGPASSWORD=PASSWORD), check=False)
    return done.stderr.decode()


def complaint(store, call):
    """The same of a call."""
    return said_of(store, "SELECT * FROM " + call)


def dressed(run, test):
    """A decorator's function, with the looks of the test that it runs."""
    run.__name__ = test.__name__
    run.__module__ = test.__module__
    # tests run in the order in which they are written
    run.__code__ = run.__code__.replace(co_firstlineno=test.__code__.co_firstlineno)
    return run


def refused(state, function, *args, **kwargs):
    """Assert that a call fails with this SQLSTATE."""
    try:
        function(*args, **kwargs)
    except SqlError as error:
        if error.state != state:
            raise AssertionError("wanted SQLSTATE %s, got %s" % (state, error.state)) from error
        return
    raise AssertionError("wanted SQLSTATE %s, and nothing failed" % state)


# -- SQL text ---------------------------------------------------------------

def literal(value, kind):
    """An SQL constant of the type; None is NULL."""
    if value is None:
        return "NULL::" + kind
    if isinstance(value, bytes):
        return "'\\x%s'::bytea" % value.hex()
    if isinstance(value, (list, tuple)):
        return array(value, kind[:-2])
    return "%s::%s" % (quote(str(value)), kind)


def array(values, kind):
    """An SQL array of the element type."""
    return "ARRAY[%s]::%s[]" % (", ".join(literal(value, kind) for value in values), kind)


def appended(rows):
    """Decode the result of message_append and its kin."""
    prev, modseq, uids = rows[0]
    return int(prev), int(modseq), [int(uid) for uid in uids.strip("{}").split(",")]


def create_sql(account, name, selectable=True, guid=None, uidvalidity=None, special_use=None):
    """Call of mailbox_create."""
    return "SELECT pgbox.mailbox_create(%d, %s, %s, %s, %s, %s)" % (
        account, quote(name), selectable, literal(guid, "uuid"),
        literal(uidvalidity, "bigint"), literal(special_use, "text"))


def content_sql(body, header=b"Subject: x\r\n\r\n", chunks=True):
    """Call of content_put; head None: the body must be there."""
    digest = hashlib.sha256(body).digest() if body else None
    size = len(header) + len(body)
    return "SELECT pgbox.content_put(%s, true, %s, %s, %s, %d, %d, NULL, NULL)" % (
        literal(header, "bytea"), literal(digest, "bytea"),
        literal(len(body) or None, "bigint"),
        literal(body[:CHUNK] if body and chunks else None, "bytea"), size, size)


def save_sql(mailbox, body, header=b"Subject: x\r\n\r\n", token=None, uid=0, flags=0, keywords="",
             min_modseq=0, guid=None, uidl=None, order=None, saved=1700000001):
    """Call of message_save."""
    size = len(header) + len(body)
    return ("SELECT prev_modseq, modseq, uids FROM pgbox.message_save(%d, '%s', 'test', %d, %d, '%s',"
            " 1700000000, %d, %d::smallint, %s, %s, %s, %s, true, %s, %s, %s, %d, %d, NULL, NULL)" % (
                mailbox, token or uuid.uuid4(), min_modseq, uid, guid or uuid.uuid4(), saved, flags, quote(keywords),
                literal(uidl, "text"), literal(order, "bigint"),
                literal(header, "bytea"),
                literal(hashlib.sha256(body).digest() if body else None, "bytea"),
                literal(len(body) or None, "bigint"), literal(body or None, "bytea"), size, size))


def append_sql(mailbox, *messages, token=None, min_modseq=0):
    """Call of message_append; a message is a dict: content, or source (mailbox,
    uid) and move; uid, guid, received, flags, keywords."""
    def column(kind, function):
        return array([function(m) for m in messages], kind)
    return "SELECT prev_modseq, modseq, uids FROM pgbox.message_append(%s)" % ", ".join([
        str(mailbox), literal(token or uuid.uuid4(), "uuid"), "'test'", "%d::bigint" % min_modseq,
        column("bigint", lambda m: m.get("uid", 0)),
        column("uuid", lambda m: m.get("guid") or uuid.uuid4()),
        column("bigint", lambda m: m.get("content")),
        column("bigint", lambda m: m.get("source", (None, None))[0]),
        column("bigint", lambda m: m.get("source", (None, None))[1]),
        column("boolean", lambda m: m.get("move", False)),
        column("bigint", lambda m: m.get("received", 1700000000)), 
        column("bigint", lambda m: m.get("saved", 1700000001)),
        column("smallint", lambda m: m.get("flags", 0)),
        column("text", lambda m: m.get("keywords", "")),
        column("text", lambda m: m.get("uidl")), column("bigint", lambda m: m.get("order"))])


def store_sql(mailbox, uids, add=0, remove=0, keywords_add="", keywords_remove="",
              replace=False, unchangedsince=None):
    """Call of message_store with one operation."""
    return ("SELECT kind, uid, modseq, flags, keywords FROM pgbox.message_store(%d, %s, %s, %s,"
            " ARRAY[%d]::smallint[], ARRAY[%d]::smallint[], %s, %s, ARRAY[%s])" % (
                mailbox, literal(unchangedsince, "bigint"), array(uids, "bigint"),
                array([0] * len(uids), "integer"), add, remove,
                array([keywords_add], "text"), array([keywords_remove], "text"), replace))
