"""The former version serves while the schema is upgraded, and an upgrade may be
interrupted anywhere."""

import glob
import os
import re
import subprocess
import threading
import time

import proc
from cluster import PASSWORD, bindir, quote
from sql_install import NEWEST
from sql_upgrade import alike, with_released
from sqllib import SQL_DIR, Session, SqlError, append_sql, save_sql, store_sql
from tap import eq, has, timeout, true

# Modes that keep readers or writers of rows out, as pg_locks has them.
KEEP_OUT = "'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'"
# A client waits for so long at most, on a slow machine and beside other tests.
PATIENCE = 8


def migrations(after):
    """Files of the migrations after a version, in order."""
    return [path for path in sorted(glob.glob(os.path.join(SQL_DIR, "migrate", "[0-9]*.sql")))
            if int(os.path.basename(path)[:4]) > after and not path.endswith(".online.sql")]


def text(path):
    """The file's statements, without comments."""
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as handle:
        return re.sub(r"^ *--.*\n", "", handle.read(), flags=re.M)


def released_version(path):
    """The number in the fixture's name."""
    return int(os.path.basename(path)[:4])


def files_of(bare):
    """Which file each table and index has: a new one means that it was written anew."""
    return dict(bare.sql("SELECT c.relname, pg_relation_filenode(c.oid) FROM pg_class AS c"
                         " WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind IN ('r', 'i')", "old"))


def locked(bare, path):
    """Tables that were there and are kept from others by a migration, which stays."""
    before = [row[0] for row in bare.sql("SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind = 'r'", "old")]
    found = bare.sql("BEGIN; SET LOCAL ROLE pgbox_owner;\n\\i %s\n"
                     "SELECT DISTINCT l.relation::regclass FROM pg_locks AS l WHERE l.pid = pg_backend_pid()"
                     " AND l.locktype = 'relation' AND l.mode IN (%s); COMMIT" % (quote(path), KEEP_OUT), "old")
    return sorted(name for name in before if ["pgbox." + name] in found)


@timeout(120)
@with_released
def test_what_migrations_lock(bare, _lab, path):
    """The head of each names the tables, and none is written anew."""
    before = files_of(bare)
    for migration in migrations(released_version(path)):
        online = text(migration.replace(".sql", ".online.sql"))
        # the session's role doesn't matter to locks
        bare.sql(online, "old")
        with open(migration, encoding="utf-8") as handle:
            head = re.findall(r"^-- locks: (.*)$", handle.read(), re.M)
        eq(locked(bare, migration), sorted(", ".join(head).split(", ")) if head else [], os.path.basename(migration))
    after = files_of(bare)
    eq({name: after[name] for name in before if name in after}, {name: before[name] for name in before if name in after})


def test_how_indexes_are_made(_lab):
    """With the table or the column, or online; and what is online can be done twice."""
    for migration in migrations(1):
        made = re.findall(r"^CREATE TABLE (\S+)", text(migration), re.M)
        added = re.findall(r"ADD COLUMN (\w+)", text(migration))
        for table, column in re.findall(r"^CREATE (?:UNIQUE )?INDEX \S+ ON (\S+) \((\w+)\)", text(migration), re.M):
            true(table in made or column in added, "%s: an index of %s keeps writers waiting: make it online" % (migration, table))
        online = re.sub(r"DO \$\$\nBEGIN\n  IF EXISTS \(.*\n    ANALYZE .*\n  END IF;\nEND\n\$\$;\n", "",
                        text(migration.replace(".sql", ".online.sql")))
        for statement in online.split(";\n"):
            true(re.match(r"\s*(CREATE (UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS \w+ ON |DROP INDEX CONCURRENTLY IF EXISTS pgbox\.|"
                          r"COMMENT ON |ALTER TABLE pgbox\.\w+\s+(ALTER COLUMN \w+ SET \(n_distinct = [-0-9.]+\),?\s*)+$|$)",
                          re.sub(r"^\s*(--.*\n)+", "", statement)), statement)


class Clients:
    """Sessions of the plugin that go on writing; their worst answers."""

    def __init__(self, bare, count=3):
        bare.sql("ALTER ROLE pgbox_dovecot PASSWORD '%s'" % PASSWORD, "old")
        rows = bare.sql("SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.guid IS NOT NULL AND m.deleted_at IS NULL ORDER BY 1", "old")
        self.boxes = [int(row[0]) for row in rows]
        self.bare = bare
        self.longest, self.done, self.wrong = 0, 0, []
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(count)]

    def _changes(self, number):
        """A delivery, a copy, flags, a pull, an expunge, a purge: what a node does all day."""
        box, other = self.boxes[number % len(self.boxes)], self.boxes[(number + 1) % len(self.boxes)]
        rows = yield save_sql(box, b"body %d" % number, keywords="k")
        uid = rows[0][2].strip("{}")
        yield append_sql(other, {"source": (box, int(uid))})
        yield store_sql(box, [int(uid)], add=8)
        yield "SELECT count(*) FROM pgbox.mailbox_pull(%d, 65536, 0)" % box
        yield "SELECT count(*) FROM pgbox.message_expunge(%d, '{%s}', 'imap')" % (box, uid)
        yield "SELECT count(*) FROM pgbox.dovecot_userdb"
        yield "SELECT tombstones FROM pgbox.purge(10)"

    def _work(self, number):
        session = Session(self.bare.cluster, "pgbox_dovecot", "old")
        try:
            while not self._end.is_set():
                changes = self._changes(number)
                sql = next(changes)
                while sql:
                    rows = self._answer(session, sql)
                    try:
                        sql = changes.send(rows)
                    except StopIteration:
                        sql = None
        except Exception as error:
            self.wrong.append("%r\n%s" % (error, self._errors_logged()))
        finally:
            session.close()

    def _answer(self, session, sql):
        """Rows of a statement. After a deadlock the plugin does it again, and so do we."""
        started = time.monotonic()
        while True:
            try:
                rows = session.sql(sql)
                break
            except SqlError as error:
                if error.state != "40P01":
                    raise
        with self._lock:
            self.longest = max(self.longest, time.monotonic() - started)
            self.done += 1
        return rows

    def _errors_logged(self):
        """What the server says about it."""
        with open(self.bare.cluster.log, encoding="utf-8") as handle:
            lines = handle.read().splitlines()
        at = [number for number, line in enumerate(lines) if "pgbox_dovecot ERROR:" in line]
        return "\n".join(lines[at[-1]:at[-1] + 4]) if at else ""

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error):
        self._end.set()
        for thread in self._threads:
            thread.join()


@timeout(180)
@with_released
def test_clients_work_while_it_upgrades(bare, _lab, _path):
    with Clients(bare) as clients:
        proc.wait_for(lambda: clients.done > 50, 30, "clients")
        bare.ok("upgrade", dbname="old")
        done = clients.done
        proc.wait_for(lambda: clients.done > done + 50 or clients.wrong, 30, "clients, afterwards")
    eq(clients.wrong, [])
    print("# %d changes while it upgraded, the longest took %.2f s" % (clients.done, clients.longest))
    true(clients.longest < PATIENCE, "somebody waited for %.1f s" % clients.longest)
    bare.ok("verify", dbname="old")


@timeout(120)
@with_released
def test_functions_stay_the_same_objects(bare, _lab, _path):
    """One that is dropped and made anew is gone for whoever is just calling it:
    "cache lookup failed for function"."""
    def oids():
        return dict(bare.sql("SELECT p.oid::regprocedure::text, p.oid FROM pg_proc AS p WHERE p.pronamespace = 'pgbox'::regnamespace"
                             " UNION ALL SELECT c.oid::regclass::text, c.oid FROM pg_class AS c"
                             " WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind = 'v'", "old"))
    before = oids()
    bare.ok("upgrade", dbname="old")
    after = oids()
    eq([name for name in before if name in after and before[name] != after[name]], [])


@timeout(180)
@with_released
def test_a_long_transaction_is_in_the_way(bare, _lab, path):
    """The upgrade gives up after a while and names it; meanwhile others work."""
    old = Session(bare.cluster, "postgres", "old")
    old.sql("SET application_name = 'long report'; BEGIN; SELECT count(*) FROM pgbox.account, pgbox.dovecot_userdb")
    with Clients(bare) as clients:
        said = bare.fails("upgrade", "--wait", "4", dbname="old")
        done = clients.done
    has("process %d (long report) of postgres" % old.pid, said)
    has("try again", said)
    has("--wait SECONDS", said)
    eq(clients.wrong, [])
    true(done > 20 and clients.longest < PATIENCE, "%d changes, the longest took %.1f s" % (done, clients.longest))
    has("version %d; upgrade brings" % released_version(path), bare.fails("status", dbname="old"))
    old.sql("COMMIT")
    bare.ok("upgrade", "--wait", "20", dbname="old")
    # functions and views alone wait for it, too
    old.sql("BEGIN; SELECT count(*) FROM pgbox.dovecot_userdb")
    bare.sql("UPDATE pgbox.schema_version SET sha256 = '' WHERE version = 0", "old")
    has("process %d (long report)" % old.pid, bare.fails("upgrade", "--wait", "1", dbname="old"))
    old.close()
    bare.ok("upgrade", dbname="old")
    has("needs a number", bare.fails("upgrade", "--wait", "soon", dbname="old"))


def start(bare):
    """An upgrade, to be watched."""
    return subprocess.Popen([os.path.join(SQL_DIR, "pgbox-schema"), "upgrade", "--database", bare.cluster.uri(dbname="old")],
                            env=dict(os.environ, PATH=bindir() + ":" + os.environ["PATH"]),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def ended(upgrade, status):
    """What it said, at its end."""
    said = upgrade.communicate(timeout=60)[0].decode()
    eq(upgrade.returncode, status, said)
    return said


def waiting(bare):
    """Process of the server that makes or drops an index and waits, or None."""
    rows = bare.sql("SELECT a.pid FROM pg_stat_activity AS a WHERE a.application_name = 'pgbox-schema'"
                    " AND a.query LIKE '% INDEX CONCURRENTLY %' AND a.wait_event_type = 'Lock'", "old")
    return rows[0][0] if rows else None


def indexes(bare):
    """{name of an index of the online parts: valid}"""
    online = "".join(text(path) for path in glob.glob(os.path.join(SQL_DIR, "migrate", "*.online.sql")))
    names = re.findall(r"CONCURRENTLY IF NOT EXISTS (\w+)", online)
    return {name: valid == "t" for name, valid in bare.sql(
        "SELECT c.relname, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " WHERE c.relnamespace = 'pgbox'::regnamespace", "old") if name in names}


@timeout(180)
@with_released
def test_an_index_that_is_interrupted(bare, _lab, path):
    """By the end of the server's process, while it waits for a writer; the next run goes on."""
    if released_version(path) > 1:
        return
    writer = Session(bare.cluster, "postgres", "old")
    writer.sql("BEGIN; UPDATE pgbox.expunged SET reason = reason || '!'")
    upgrade = start(bare)
    pid = proc.wait_for(lambda: waiting(bare), 30, "an index that waits")
    eq(indexes(bare), {"mailbox_account_id_idx": True, "expunged_purge_idx": False})
    with Clients(bare) as clients:
        proc.wait_for(lambda: clients.done > 30 or clients.wrong, 30, "clients, beside the index")
    eq(clients.wrong, [])
    bare.sql("SELECT pg_terminate_backend(%s)" % pid, "old")
    has("what was done before stays", ended(upgrade, 1))
    eq(indexes(bare), {"mailbox_account_id_idx": True, "expunged_purge_idx": False})
    has("version 1; upgrade brings", bare.fails("status", dbname="old"))
    finished = files_of(bare)["mailbox_account_id_idx"]
    # again, and one more beside it, which must not be waited for in turn
    runs = [start(bare)]
    proc.wait_for(lambda: waiting(bare), 30, "the index again")
    runs.append(start(bare))
    time.sleep(2)
    writer.sql("ROLLBACK")
    said = [ended(run, 0) for run in runs]
    has("dropping pgbox.expunged_purge_idx, which wasn't finished", said[0])
    has("upgraded from version 1 to %d" % NEWEST, said[0])
    has("waiting for another pgbox-schema", said[1])
    has("already at version %d" % NEWEST, said[1])
    writer.close()
    true(all(indexes(bare).values()), indexes(bare))
    eq(files_of(bare)["mailbox_account_id_idx"], finished, "what was finished isn't made again")
    bare.ok("verify", dbname="old")
    bare.sql("CREATE DATABASE fresh", "postgres")
    bare.ok("install", dbname="fresh")
    alike(bare, "old", "fresh")
