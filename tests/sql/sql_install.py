"""pgbox-schema: install, upgrade, status, verify."""

import os
import re
import shutil
import subprocess

import proc
from cluster import Cluster, bindir
from sqllib import FORCE, SQL_DIR, dressed
from tap import eq, has, timeout, true

SECRET = "s3cret 'pass\\word"
NEWEST = max(int(name[:4]) for name in os.listdir(os.path.join(SQL_DIR, "migrate")) if name[0] == "0")


class Bare:
    """A cluster of its own, because roles are the server's, not a database's."""

    def __init__(self, lab, name="bare"):
        path = os.path.join(lab.dir, name)
        os.mkdir(path)
        os.chmod(path, 0o755)
        self.cluster = Cluster(path, settings="log_statement = all\nshared_preload_libraries = ''\n")
        self.cluster.start()
        self.path = path

    def close(self):
        """Stop the server."""
        self.cluster.stop("immediate")

    def tool(self, *args, dbname="mail", role="postgres", path=SQL_DIR):
        """Run pgbox-schema; (exit status, all that it said)."""
        env = dict(os.environ, PATH=bindir() + ":" + os.environ["PATH"])
        done = proc.run([os.path.join(path, "pgbox-schema")] + list(args)
                        + ["--database", self.cluster.uri(role, dbname)], env=env, check=False)
        return done.returncode, (done.stdout + done.stderr).decode()

    def ok(self, *args, **kwargs):
        """Run pgbox-schema, which must succeed; what it said."""
        status, text = self.tool(*args, **kwargs)
        eq(status, 0, text)
        return text

    def fails(self, *args, **kwargs):
        """Run pgbox-schema, which must fail; what it said."""
        status, text = self.tool(*args, **kwargs)
        eq(status, 1, text)
        return text

    def sql(self, sql, dbname="mail"):
        """Run SQL as superuser."""
        return self.cluster.psql(sql, dbname=dbname)


def with_bare(test):
    """Decorator: the test gets a Bare."""
    def run(lab):
        bare = Bare(lab)
        try:
            test(bare)
        finally:
            bare.close()
            shutil.rmtree(bare.path)
    return dressed(run, test)


def password_file(bare, text):
    """Write a file with a password."""
    path = os.path.join(bare.path, "password")
    with open(path, "w") as handle:
        handle.write(text)
    return path


@timeout(120)
@with_bare
def test_without_privileges(bare):
    bare.sql("CREATE ROLE joe LOGIN; CREATE ROLE kim LOGIN CREATEROLE; CREATE ROLE lea LOGIN CREATEROLE", "postgres")
    bare.sql("CREATE DATABASE mail OWNER lea", "postgres")
    has("joe may not create roles", bare.fails("install", role="joe"))
    has("kim may not create a schema", bare.fails("install", role="kim"))
    bare.ok("install", role="lea")
    has("up to date", bare.ok("status", role="lea"))
    bare.ok("verify", role="lea")
    # who owns neither the database nor the schema sees nothing and says so
    has("granted pgbox_owner", bare.fails("status", role="joe"))
    has("already at version %d" % NEWEST, bare.ok("upgrade", role="lea"))
    eq(bare.sql("SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace = 'pgbox'::regnamespace"),
       [["pgbox_owner"]])
    eq(bare.sql("SELECT has_database_privilege('pgbox_owner', 'mail', 'CREATE')"), [["f"]],
       "a privilege that was granted for the installation only")


@timeout(120)
@with_bare
def test_install_twice_and_status(bare):
    bare.sql("CREATE DATABASE mail", "postgres")
    has("isn't installed", bare.fails("status"))
    has("isn't installed", bare.fails("upgrade"))
    has("isn't installed", bare.fails("verify"))
    has("installed version %d" % NEWEST, bare.ok("install"))
    has("already at version %d" % NEWEST, bare.ok("install"))
    has("already at version %d" % NEWEST, bare.ok("upgrade"))
    has("version %d, up to date" % NEWEST, bare.ok("status"))
    has("complete and consistent", bare.ok("verify"))
    # a second database of the same server shares the roles
    bare.sql("CREATE DATABASE more", "postgres")
    text = bare.ok("install", dbname="more")
    true("creating role" not in text, text)


@timeout(120)
@with_bare
def test_two_installs_at_once(bare):
    bare.sql("CREATE DATABASE mail", "postgres")
    argv = [os.path.join(SQL_DIR, "pgbox-schema"), "install", "--database", bare.cluster.uri("postgres", "mail")]
    env = dict(os.environ, PATH=bindir() + ":" + os.environ["PATH"])
    runs = [subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    texts = [run.communicate(timeout=90)[0].decode() for run in runs]
    eq([run.returncode for run in runs], [0, 0, 0], "\n".join(texts))
    eq(sum("installed version %d" % NEWEST in text for text in texts), 1, texts)
    eq(sum("already at version %d" % NEWEST in text for text in texts), 2, texts)


@timeout(120)
@with_bare
def test_password_of_the_role(bare):
    bare.sql("CREATE DATABASE mail", "postgres")
    bare.ok("install", "--dovecot-password-file", password_file(bare, SECRET + "\nsecond line\n"))
    env = dict(os.environ, PGPASSWORD=SECRET)
    argv = [os.path.join(bindir(), "psql"), "-XAtc", "SELECT current_user", bare.cluster.uri("pgbox_dovecot", "mail")]
    eq(proc.run(argv, env=env).stdout, b"pgbox_dovecot\n")
    # again, with another password and without an end of line
    bare.ok("install", "--dovecot-password-file", password_file(bare, "other"))
    eq(proc.run(argv, env=dict(env, PGPASSWORD="other")).stdout, b"pgbox_dovecot\n")
    true(proc.run(argv, env=env, check=False).returncode != 0, "the old password still works")
    with open(bare.cluster.log) as handle:
        log = handle.read()
    true("SCRAM-SHA-256$" in log, "the log has no statements: this test proves nothing")
    true(SECRET not in log and "s3cret" not in log and "'other'" not in log, "the password is in the log")
    has("is empty", bare.fails("install", "--dovecot-password-file", password_file(bare, "")))
    has("can't read", bare.fails("install", "--dovecot-password-file", "/nonexistent"))


@timeout(120)
@with_bare
def test_database_that_does_not_fit(bare):
    bare.sql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0", "postgres")
    has("encoding is SQL_ASCII", bare.fails("install", dbname="ascii"))
    bare.sql("CREATE DATABASE other", "postgres")
    bare.sql("CREATE SCHEMA pgbox", "other")
    has("not ours", bare.fails("install", dbname="other"))
    has("can't connect", bare.fails("install", dbname="nowhere"))
    has("don't know", bare.fails("frobnicate"))


@timeout(180)
@with_bare
def test_upgrade(bare):
    """A tool with one more migration: failing, good, and seen by the old tool."""
    bare.sql("CREATE DATABASE mail", "postgres")
    bare.ok("install")
    newer = os.path.join(bare.path, "newer")
    shutil.copytree(SQL_DIR, newer)
    name = "%04d-more" % (NEWEST + 1)
    migration = os.path.join(newer, "migrate", name + ".sql")
    write(migration, "CREATE TABLE pgbox.more (n integer);\nSELECT 1/0;\n")
    has("division by zero", bare.fails("upgrade", path=newer))
    eq(bare.sql("SELECT max(version), to_regclass('pgbox.more') FROM pgbox.schema_version"), [[str(NEWEST), ""]])
    has("already at version %d" % NEWEST, bare.ok("upgrade"))
    write(migration, "CREATE TABLE pgbox.more (n integer);\n")
    has("run pgbox-schema upgrade", bare.ok("install", path=newer))
    has("upgrade brings version %d" % (NEWEST + 1), bare.fails("status", path=newer))
    has("knows %d" % (NEWEST + 1), bare.fails("verify", path=newer))
    has("from version %d to %d" % (NEWEST, NEWEST + 1), bare.ok("upgrade", path=newer))
    bare.ok("verify", path=newer)
    eq(bare.sql("SELECT relowner::regrole FROM pg_class WHERE oid = 'pgbox.more'::regclass"), [["pgbox_owner"]])
    for command in ("install", "upgrade"):
        has("newer than this pgbox-schema", bare.fails(command))
    has("is newer", bare.fails("status"))
    has("knows %d" % NEWEST, bare.fails("verify"))
    # a migration that changed after it was applied
    write(migration, "CREATE TABLE pgbox.more (n bigint);\n")
    has("is not this version's " + name, bare.fails("verify", path=newer))
    has("is not this version's " + name, bare.fails("upgrade", path=newer))


@timeout(120)
@with_bare
def test_upgrade_of_functions_only(bare):
    bare.sql("CREATE DATABASE mail", "postgres")
    bare.ok("install")
    newer = os.path.join(bare.path, "newer")
    shutil.copytree(SQL_DIR, newer)
    write(os.path.join(newer, "replace", "50-more.sql"),
          "CREATE OR REPLACE FUNCTION pgbox.more() RETURNS integer LANGUAGE sql AS 'SELECT 1';\n")
    has("other functions", bare.fails("status", path=newer))
    has("not those of this version", bare.fails("verify", path=newer))
    bare.ok("upgrade", path=newer)
    bare.ok("verify", path=newer)
    has("function pgbox.more() is not of this version", bare.fails("verify"))


def write(path, text):
    """Make a file."""
    with open(path, "w") as handle:
        handle.write(text)


# What is broken, what verify must say, how it is healed.
BREAKS = (
    (FORCE + "UPDATE pgbox.mailbox_counter SET messages = 1", "counters say 1 messages",
     "SELECT pgbox.mailbox_repair(mailbox_id) FROM pgbox.mailbox_counter"),
    (FORCE + "UPDATE pgbox.account SET last_uidvalidity = 0", "is above the highest",
     "SELECT pgbox.account_repair(account_id) FROM pgbox.account"),
    ("ALTER FUNCTION pgbox.purge RESET vacuum_multixact_freeze_table_age", "has no guard",
     "ALTER FUNCTION pgbox.purge SET vacuum_multixact_freeze_table_age = 1885823608"),
    ("DROP TRIGGER message_refuse_update ON pgbox.message", "trigger message_refuse_update is missing", None),
    ("CREATE TRIGGER more BEFORE UPDATE ON pgbox.message EXECUTE FUNCTION pgbox.rule_refuse('x', 'y')",
     "trigger more of pgbox.message is not of this version", "DROP TRIGGER more ON pgbox.message"),
    ("GRANT UPDATE (uid) ON pgbox.message TO pgbox_admin", "pgbox_admin may UPDATE column message.uid",
     "REVOKE UPDATE (uid) ON pgbox.message FROM pgbox_admin"),
    ("GRANT SELECT ON pgbox.dovecot_passdb TO pgbox_admin", "pgbox_admin may read pgbox.dovecot_passdb.password",
     "REVOKE SELECT ON pgbox.dovecot_passdb FROM pgbox_admin"),
    ("GRANT EXECUTE ON FUNCTION pgbox.mailbox_repair TO pgbox_dovecot", "pgbox_dovecot may EXECUTE function mailbox_repair",
     "REVOKE EXECUTE ON FUNCTION pgbox.mailbox_repair FROM pgbox_dovecot"),
    ("GRANT UPDATE ON pgbox.message TO pgbox_dovecot", "pgbox_dovecot may UPDATE table message",
     "REVOKE UPDATE ON pgbox.message FROM pgbox_dovecot"),
    ("GRANT SELECT (password_hash) ON pgbox.account TO pgbox_reader", "pgbox_reader may read pgbox.account.password_hash",
     "REVOKE SELECT (password_hash) ON pgbox.account FROM pgbox_reader"),
    ("GRANT SELECT ON pgbox.message TO PUBLIC", "PUBLIC may SELECT table message",
     "REVOKE SELECT ON pgbox.message FROM PUBLIC"),
    ("REVOKE SELECT ON pgbox.body FROM pgbox_dovecot", "pgbox_dovecot may not read pgbox.body",
     "GRANT SELECT ON pgbox.body TO pgbox_dovecot"),
    ("REVOKE EXECUTE ON FUNCTION pgbox.purge FROM pgbox_dovecot", "may not execute pgbox.purge",
     "GRANT EXECUTE ON FUNCTION pgbox.purge TO pgbox_dovecot"),
    ("ALTER FUNCTION pgbox.purge RESET search_path", "without a search_path",
     "ALTER FUNCTION pgbox.purge SET search_path = pg_catalog, pg_temp"),
    ("DROP INDEX pgbox.expunged_content_id_idx", "index expunged_content_id_idx is missing",
     "CREATE INDEX expunged_content_id_idx ON pgbox.expunged (content_id); ALTER TABLE pgbox.expunged OWNER TO pgbox_owner"),
    ("DROP INDEX pgbox.expunged_prune_idx", "index expunged_prune_idx is missing",
     "CREATE INDEX expunged_prune_idx ON pgbox.expunged (expunged_at) WHERE content_id IS NULL; ALTER TABLE pgbox.expunged OWNER TO pgbox_owner"),
    ("DROP VIEW pgbox.dovecot_userdb", "view dovecot_userdb is missing", None),
    ("ALTER TABLE pgbox.message DISABLE TRIGGER ALL", "is switched off",
     "ALTER TABLE pgbox.message ENABLE TRIGGER ALL"),
    ("ALTER TABLE pgbox.message OWNER TO postgres", "message does not belong to pgbox_owner",
     "ALTER TABLE pgbox.message OWNER TO pgbox_owner"),
    ("ALTER ROLE pgbox_dovecot RESET lock_timeout", "has no lock_timeout",
     "ALTER ROLE pgbox_dovecot SET lock_timeout = '20s'"),
    ("GRANT pgbox_owner TO pgbox_dovecot", "owns the schema", "REVOKE pgbox_owner FROM pgbox_dovecot"),
)


@timeout(120)
@with_bare
def test_verify_says_how_indexes_are_made(bare):
    """upgrade doesn't make one that is missing."""
    bare.sql("CREATE DATABASE mail", "postgres")
    bare.ok("install")
    facts = "SELECT i.indexdef FROM pg_indexes AS i WHERE i.schemaname = 'pgbox' ORDER BY i.indexname"
    before = bare.sql(facts)
    lost = [row[0] for row in bare.sql(
        "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relnamespace = 'pgbox'::regnamespace"
        " AND NOT EXISTS (SELECT 1 FROM pg_constraint AS t WHERE t.conindid = c.oid)")]
    true(len(lost) > 10, lost)
    for name in lost:
        bare.sql("DROP INDEX pgbox." + name)
    said = bare.fails("verify")
    repairs = dict(re.findall(r"problem: index (\w+) is missing: (CREATE .*;)\n", said))
    eq(sorted(repairs), sorted(lost))
    for repair in repairs.values():
        bare.sql(repair)
    bare.ok("verify")
    eq(bare.sql(facts), before)


@timeout(180)
@with_bare
def test_verify_finds_what_is_broken(bare):
    bare.sql("CREATE DATABASE mail", "postgres")
    bare.ok("install")
    bare.sql("SELECT pgbox.account_create('anna')")
    for damage, said, repair in BREAKS:
        bare.sql(damage)
        has(said, bare.fails("verify"), damage)
        if repair:
            bare.sql(repair)
        else:
            # upgrade makes functions, views and grants anew when they differ
            bare.ok("upgrade")
    bare.ok("verify")
