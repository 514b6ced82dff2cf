"""Dumps, restored on another server. What clients see then, integration/admin_restore
shows."""

import contextlib
import os
import re
import shutil

import proc
import snapshot
from cluster import PASSWORD, bindir
from sql_install import Bare
from sql_upgrade import catalogs, rows
from sqllib import Session, save_sql
from tap import eq, has, timeout, true

STORE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "released", "store.sql")
ROLES = ("pgbox_owner", "pgbox_dovecot LOGIN", "pgbox_admin", "pgbox_reader")


def tool(name, *args, check=True):
    """Run one of PostgreSQL's programs; what it said, and on which channel."""
    done = proc.run([os.path.join(bindir(), name)] + list(args), check=check)
    return done.stdout.decode(), done.stderr.decode()


@contextlib.contextmanager
def server(lab, name):
    """A server of its own."""
    bare = Bare(lab, name)
    try:
        yield bare
    finally:
        bare.close()
        shutil.rmtree(bare.path)


def filled(bare):
    """A store with a bit of everything, and settings that somebody has made."""
    bare.sql("CREATE DATABASE mail", "postgres")
    bare.ok("install")
    tool("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", STORE, bare.cluster.uri(dbname="mail"))
    bare.sql("UPDATE pgbox.store SET retention = '30 days'; SELECT pgbox.account_set_quota('bert', 10, NULL);"
             " INSERT INTO pgbox.policy (mailbox, older_than) VALUES ('Trash', '30 days');"
             " ALTER ROLE pgbox_dovecot PASSWORD '%s'; ALTER ROLE pgbox_dovecot SET statement_timeout = '45s'" % PASSWORD)


def views_plain(found):
    """Views come back with names for columns that had none, and fewer brackets."""
    return {name: re.sub(r" AS (text|int8)(?=,|\\n)|[()]", "", facts) if name.startswith("rule ") else facts for name, facts in found.items()}


class Original:
    """What a restored server is compared with, and files of the original's dumps."""

    def __init__(self, bare):
        filled(bare)
        self.path = bare.path
        uri = bare.cluster.uri(dbname="mail")
        tool("pg_dump", "-Fc", "-f", self.file("custom"), uri)
        tool("pg_dump", "-f", self.file("plain"), uri)
        tool("pg_dumpall", "--roles-only", "-f", self.file("roles"), "-d", bare.cluster.uri(dbname="postgres"))
        self.catalogs = views_plain(catalogs(bare, "mail"))
        self.rows = rows(bare, "mail")[1]
        self.roles = snapshot.read(lambda sql: bare.sql(sql), snapshot.ROLE_QUERIES)

    def file(self, name):
        """Where a dump is."""
        return os.path.join(self.path, name)

    def same(self, bare, dbname):
        """The restored database is the original."""
        found = views_plain(catalogs(bare, dbname))
        true(found == self.catalogs, snapshot.explained(found, self.catalogs))
        eq(rows(bare, dbname)[1], self.rows)
        roles = snapshot.read(lambda sql: bare.sql(sql, dbname), snapshot.ROLE_QUERIES)
        true(roles == self.roles, snapshot.explained(roles, self.roles))
        has("up to date", bare.ok("status", dbname=dbname))
        bare.ok("verify", dbname=dbname)
        has("already at version", bare.ok("upgrade", dbname=dbname))
        eq(bare.sql("SELECT wrong FROM pgbox.content_verify()", dbname), [["{}"]])


def create(bare, *names):
    """Empty databases."""
    for name in names:
        bare.sql("CREATE DATABASE %s TEMPLATE template0" % name, "postgres")


@timeout(300)
def test_a_dump_on_another_server(lab):
    """In both formats, with the roles of the original; and it serves."""
    with server(lab, "bare") as first, server(lab, "other") as second:
        original = Original(first)
        create(second, "custom", "plain")
        said = tool("pg_restore", "--exit-on-error", "-d", second.cluster.uri(dbname="custom"), original.file("custom"), check=False)[1]
        has('role "pgbox_owner" does not exist', said, "roles come first")
        second.sql("DROP DATABASE custom", "postgres")
        create(second, "custom")
        # there is a role postgres already
        tool("psql", "-Xq", "-f", original.file("roles"), second.cluster.uri(dbname="postgres"))
        tool("pg_restore", "--exit-on-error", "-j", "2", "-d", second.cluster.uri(dbname="custom"), original.file("custom"))
        original.same(second, "custom")
        tool("psql", "-Xq", "-1", "-v", "ON_ERROR_STOP=1", "-f", original.file("plain"), second.cluster.uri(dbname="plain"))
        original.same(second, "plain")
        serves(second, "plain")


def serves(bare, dbname):
    """The plugin logs in with the password that it had; numbers go on above the old ones."""
    bare.sql("SELECT * FROM pgbox.after_restore()", dbname)
    inbox, uid_next = bare.sql("SELECT m.mailbox_id, c.uid_next FROM pgbox.mailbox AS m JOIN pgbox.mailbox_counter AS c USING (mailbox_id)"
                               " JOIN pgbox.account AS a USING (account_id) WHERE a.name = 'bert' AND m.name = 'INBOX'", dbname)[0]
    session = Session(bare.cluster, "pgbox_dovecot", dbname)
    try:
        eq(session.value("SHOW statement_timeout"), "45s")
        eq(session.sql(save_sql(int(inbox), b"of one"))[0][2], "{%s}" % uid_next)
        eq(session.sql("SELECT * FROM pgbox.purge()"), [["0", "0", "0", "0"]])
    finally:
        session.close()
    # new UIDVALIDITYs, as the README has it
    before = bare.sql("SELECT max(m.uidvalidity) FROM pgbox.mailbox AS m", dbname)[0][0]
    bare.sql("SET ROLE pgbox_admin; SELECT pgbox.mailbox_update(m.account_id, m.mailbox_id,"
             " a.last_uidvalidity + row_number() OVER (PARTITION BY m.account_id), NULL, NULL, NULL, NULL)"
             " FROM pgbox.mailbox AS m JOIN pgbox.account AS a ON a.account_id = m.account_id"
             " WHERE m.guid IS NOT NULL AND m.deleted_at IS NULL", dbname)
    eq(bare.sql("SELECT count(*), count(DISTINCT (m.account_id, m.uidvalidity)), min(m.uidvalidity) > %s FROM pgbox.mailbox AS m"
                " WHERE m.guid IS NOT NULL AND m.deleted_at IS NULL" % before, dbname), [["4", "4", "t"]])
    bare.ok("verify", dbname=dbname)


@timeout(300)
def test_a_dump_without_roles(lab):
    """Made by hand, by the owner of a database who is no superuser; upgrade gives them their settings."""
    with server(lab, "bare") as first, server(lab, "other") as second:
        original = Original(first)
        second.sql(" ".join("CREATE ROLE %s;" % role for role in ROLES) + " CREATE ROLE lea LOGIN CREATEROLE; GRANT pgbox_owner TO lea", "postgres")
        second.sql("CREATE DATABASE mail OWNER lea TEMPLATE template0", "postgres")
        tool("pg_restore", "--exit-on-error", "-d", second.cluster.uri("lea", "mail"), original.file("custom"))
        has("pgbox_dovecot has no statement_timeout: run pgbox-schema upgrade", second.fails("verify", role="lea"))
        has("setting timeouts", second.ok("upgrade", role="lea"))
        second.ok("verify", role="lea")
        # but for what somebody had set otherwise
        roles = snapshot.read(lambda sql: second.sql(sql), snapshot.ROLE_QUERIES)
        eq([name for name in snapshot.different(roles, original.roles) if " lea" not in name and name != "database acl"],
           ["setting of role pgbox_dovecot statement_timeout"])
        found = views_plain(catalogs(second, "mail"))
        true(found == original.catalogs, snapshot.explained(found, original.catalogs))


@timeout(300)
def test_schema_and_data_apart(lab):
    """Triggers refuse rows that are added by hand; they come last, or are switched off."""
    with server(lab, "bare") as first:
        original = Original(first)
        create(first, "refused", "off", "sections")

        def restore(dbname, *args, check=True):
            return tool("pg_restore", "-d", first.cluster.uri(dbname=dbname), *args, original.file("custom"), check=check)[1]
        restore("refused", "--exit-on-error", "--schema-only")
        has("accounts are not to be added by hand", restore("refused", "--exit-on-error", "--data-only", check=False))
        restore("off", "--exit-on-error", "--schema-only")
        restore("off", "--exit-on-error", "--data-only", "--disable-triggers")
        for section in ("pre-data", "data", "post-data"):
            restore("sections", "--exit-on-error", "--section=" + section)
        for dbname in ("off", "sections"):
            original.same(first, dbname)
