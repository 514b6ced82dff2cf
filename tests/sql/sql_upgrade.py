"""Released versions of the schema, with data in them, become what a fresh install is.

released/ has the versions; released/README tells how they are made."""

import glob
import json
import os
import shutil

import proc
import snapshot
from cluster import bindir
from sql_install import NEWEST, Bare, with_bare
from sqllib import SQL_DIR, dressed, with_store
from tap import eq, has, timeout, true

RELEASED = sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "released", "[0-9]*.sql")))


def restore(bare, path, dbname="old"):
    """A released version, in a database of its own."""
    bare.sql("CREATE DATABASE %s" % dbname, "postgres")
    proc.run([os.path.join(bindir(), "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-f", path, bare.cluster.uri(dbname=dbname)])


def rows(bare, dbname, version=NEWEST, columns=None):
    """Columns of all tables, {table: [name]}, or these; and rows of them, {table: [row]}."""
    if columns is None:
        columns = {}
        for table, name in bare.sql("SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
                                    " WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind = 'r' AND a.attnum > 0"
                                    " AND NOT a.attisdropped ORDER BY 1, a.attnum", dbname):
            columns.setdefault(table, []).append(name)
    found = {table: sorted(row[0] for row in bare.sql("SELECT to_jsonb(t) FROM (SELECT %s FROM pgbox.%s) AS t" % (", ".join(names), table), dbname))
             for table, names in columns.items()}
    # the rest upgrade itself writes
    found["schema_version"] = [row for row in found["schema_version"] if 0 < json.loads(row)["version"] <= version]
    return columns, found


def catalogs(bare, dbname):
    """What the catalogs say."""
    found = snapshot.read(lambda sql: bare.sql(sql, dbname))
    true(len(found) > 500, "a snapshot of next to nothing")
    return found


def alike(bare, old, fresh):
    """Both databases are the same to the catalogs, and to pg_dump."""
    one, other = catalogs(bare, old), catalogs(bare, fresh)
    true(one == other, "upgraded is not as fresh:\n" + snapshot.explained(one, other))
    one, other = (snapshot.dumped(bare.cluster, name) for name in (old, fresh))
    eq([line for line in one if line not in other] + [line for line in other if line not in one], [], "pg_dump sees a difference")
    eq(len(one), len(other))


def with_released(test):
    """Decorator: the test is run for each released version, restored as "old" in a cluster of its own."""
    def run(lab):
        true(RELEASED, "no released version to begin with")
        for path in RELEASED:
            bare = Bare(lab)
            try:
                restore(bare, path)
                test(bare, lab, path)
            finally:
                bare.close()
                shutil.rmtree(bare.path)
    return dressed(run, test)


@timeout(300)
@with_released
def test_released_versions(bare, lab, path):
    """Each becomes what a fresh install is, and keeps its rows."""
    version = int(os.path.basename(path)[:4])
    columns, before = rows(bare, "old", version)
    true(all(before[table] for table in columns), "a table of the fixture has no rows")
    has("version %d; upgrade brings" % version, bare.fails("status", dbname="old"))
    has("UPDATE pgbox.store SET base64_decoded = true", bare.ok("upgrade", dbname="old"))
    # and as long as nobody did
    for verb in ("upgrade", "status"):
        has("UPDATE pgbox.store SET base64_decoded = true", bare.ok(verb, dbname="old"))
    has("already at version %d" % NEWEST, bare.ok("upgrade", dbname="old"))
    has("up to date", bare.ok("status", dbname="old"))
    bare.ok("verify", dbname="old")
    eq(rows(bare, "old", version, columns)[1], before, "rows")
    bare.sql("CREATE DATABASE fresh", "postgres")
    true("creating role" not in bare.ok("install", dbname="fresh"), "the fixture has all roles")
    alike(bare, "old", "fresh")
    # there may be nodes of the former version where there is mail
    eq([bare.sql("SELECT base64_decoded FROM pgbox.store", dbname) for dbname in ("old", "fresh")], [[["f"]], [["t"]]])
    roles = [snapshot.read(run, snapshot.ROLE_QUERIES) for run in (lambda sql: bare.sql(sql, "old"), lab.cluster.psql)]
    true(roles[0] == roles[1], "roles:\n" + snapshot.explained(*roles))
    # and the data is of use
    eq(bare.sql("SELECT wrong FROM pgbox.content_verify()", "old"), [["{}"]])
    eq(bare.sql("SELECT deleted_at IS NULL, COALESCE(deleted_reason, 'nobody knows') FROM pgbox.folder_overview WHERE folder = 'Gone'", "old"),
       [["f", "nobody knows"]])
    bare.sql("SELECT * FROM pgbox.folder_undelete('anna@example.org', 'Gone')", "old")
    bare.sql("SELECT * FROM pgbox.message_undelete('anna@example.org', 'INBOX')", "old")
    bare.sql("SELECT * FROM pgbox.purge()", "old")
    bare.ok("verify", dbname="old")
    # an upgrade that was killed before it had looked through the rows
    check = bare.sql("SELECT pg_get_constraintdef(c.oid) FROM pg_constraint AS c WHERE c.conname = 'body_size_check'", "old")[0][0]
    bare.sql("ALTER TABLE pgbox.body DROP CONSTRAINT body_size_check, ADD CONSTRAINT body_size_check %s NOT VALID" % check, "old")
    has("body_size_check of pgbox.body is not validated", bare.fails("verify", dbname="old"))
    has("looking through rows", bare.ok("upgrade", dbname="old"))
    bare.ok("verify", dbname="old")


@timeout(120)
@with_bare
def test_a_migration_that_forgets(bare):
    """What a fresh install has and a released version doesn't get: here somebody
    has changed the released migration instead of adding one."""
    newer = os.path.join(bare.path, "newer")
    shutil.copytree(SQL_DIR, newer)
    with open(os.path.join(newer, "migrate", "0001-base.sql"), "a") as handle:
        handle.write("COMMENT ON COLUMN pgbox.message.uid IS 'other';\n"
                     "ALTER TABLE pgbox.message ALTER COLUMN pop3_order SET DEFAULT 0;\n")
    restore(bare, RELEASED[0])
    has("migration 1 is not this version's 0001-base", bare.fails("upgrade", dbname="old", path=newer))
    bare.sql("CREATE DATABASE fresh", "postgres")
    bare.ok("install", dbname="fresh", path=newer)
    # were it not for the hash
    sha256 = bare.sql("SELECT v.sha256 FROM pgbox.schema_version AS v WHERE v.version = 1", "fresh")[0][0]
    bare.sql("UPDATE pgbox.schema_version SET sha256 = '%s' WHERE version = 1" % sha256, "old")
    bare.ok("upgrade", dbname="old", path=newer)
    eq(snapshot.different(catalogs(bare, "old"), catalogs(bare, "fresh")),
       ["column pgbox.message.pop3_order", "column pgbox.message.uid"])


# What differs, by how much it takes to see it: in a transaction that is rolled back.
CHANGES = (
    ("COMMENT ON COLUMN pgbox.account.retention IS NULL", "column pgbox.account.retention"),
    ("COMMENT ON INDEX pgbox.mailbox_deleted_at_idx IS 'x'", "relation pgbox.mailbox_deleted_at_idx"),
    ("COMMENT ON TRIGGER body_refuse ON pgbox.body IS NULL", "trigger pgbox.body.body_refuse"),
    ("COMMENT ON CONSTRAINT store_pkey ON pgbox.store IS 'x'", "constraint pgbox.store.store_pkey"),
    ("COMMENT ON FUNCTION pgbox.purge IS NULL", "function pgbox.purge(integer)"),
    ("COMMENT ON SCHEMA pgbox IS NULL", "schema pgbox"),
    ("ALTER TABLE pgbox.policy ALTER COLUMN what DROP DEFAULT", "column pgbox.policy.what"),
    ("ALTER TABLE pgbox.account ALTER COLUMN legal_hold DROP NOT NULL", "column pgbox.account.legal_hold"),
    ("ALTER TABLE pgbox.job ALTER COLUMN outcome TYPE varchar", "column pgbox.job.outcome"),
    ("ALTER TABLE pgbox.policy ALTER COLUMN note TYPE text COLLATE \"C\"", "column pgbox.policy.note"),
    ("ALTER TABLE pgbox.content ALTER COLUMN header SET STORAGE EXTENDED", "column pgbox.content.header"),
    ("ALTER TABLE pgbox.body ALTER COLUMN head SET COMPRESSION pglz", "column pgbox.body.head"),
    ("ALTER TABLE pgbox.message ALTER COLUMN guid SET STATISTICS 10", "column pgbox.message.guid"),
    ("ALTER TABLE pgbox.job ALTER COLUMN job_id SET GENERATED BY DEFAULT", "column pgbox.job.job_id"),
    ("ALTER SEQUENCE pgbox.job_job_id_seq CACHE 7", "sequence pgbox.job_job_id_seq"),
    ("ALTER TABLE pgbox.mailbox_counter RESET (fillfactor)", "relation pgbox.mailbox_counter"),
    ("ALTER TABLE pgbox.content RESET (toast_tuple_target)", "relation pgbox.content"),
    ("ALTER TABLE pgbox.body SET (toast.autovacuum_enabled = off)", "relation pgbox.body"),
    ("ALTER TABLE pgbox.mailbox DROP CONSTRAINT mailbox_name_check", "constraint pgbox.mailbox.mailbox_name_check"),
    ("ALTER TABLE pgbox.policy DROP CONSTRAINT policy_what_check; ALTER TABLE pgbox.policy ADD CONSTRAINT policy_what_check"
     " CHECK (what IN ('all', 'seen', 'unflagged')) NOT VALID", "constraint pgbox.policy.policy_what_check"),
    ("ALTER TABLE pgbox.mailbox DISABLE TRIGGER ALL", "trigger pgbox.mailbox.mailbox_rule_update"),
    ("ALTER TABLE pgbox.mailbox DISABLE TRIGGER ALL", "trigger of mailbox_account_id_fkey"),
    ("DROP INDEX pgbox.mailbox_deleted_at_idx; CREATE INDEX mailbox_deleted_at_idx ON pgbox.mailbox (deleted_at)",
     "index pgbox.mailbox_deleted_at_idx"),
    ("DROP TRIGGER body_refuse ON pgbox.body", "trigger pgbox.body.body_refuse"),
    ("CREATE OR REPLACE FUNCTION pgbox.modseq_step() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 1::bigint'", "function pgbox.modseq_step()"),
    ("ALTER FUNCTION pgbox.purge SECURITY INVOKER", "function pgbox.purge(integer)"),
    ("ALTER FUNCTION pgbox.purge RESET search_path", "function pgbox.purge(integer)"),
    ("ALTER FUNCTION pgbox.purge OWNER TO postgres", "function pgbox.purge(integer)"),
    ("GRANT EXECUTE ON FUNCTION pgbox.job_record TO PUBLIC", "function pgbox.job_record"),
    ("DROP FUNCTION pgbox.purge; CREATE FUNCTION pgbox.purge(bigint) RETURNS void LANGUAGE sql AS ''", "function pgbox.purge(bigint)"),
    ("REVOKE SELECT ON pgbox.message FROM pgbox_reader", "relation pgbox.message"),
    ("REVOKE UPDATE (flags) ON pgbox.message_state FROM pgbox_admin", "column pgbox.message_state.flags"),
    ("GRANT USAGE ON SCHEMA pgbox TO PUBLIC", "schema pgbox"),
    ("CREATE OR REPLACE VIEW pgbox.dovecot_userdb AS SELECT a.name AS username FROM pgbox.account AS a", "rule pgbox.dovecot_userdb._RETURN"),
    ("ALTER VIEW pgbox.dovecot_userdb SET (security_barrier)", "relation pgbox.dovecot_userdb"),
    ("ALTER TABLE pgbox.job ENABLE ROW LEVEL SECURITY", "relation pgbox.job"),
    ("CREATE POLICY more ON pgbox.job USING (true)", "policy pgbox.job.more"),
    ("CREATE TYPE pgbox.mood AS ENUM ('good')", "type pgbox.mood"),
    ("CREATE STATISTICS pgbox.more (ndistinct) ON mailbox_id, modseq FROM pgbox.expunged", "object statistics object"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE pgbox_owner GRANT SELECT ON TABLES TO PUBLIC", "default privileges pgbox_owner r"),
    ("ALTER ROLE pgbox_dovecot SET jit = on", "setting of role pgbox_dovecot jit"),
    ("ALTER ROLE pgbox_reader LOGIN", "role pgbox_reader"),
    ("GRANT pgbox_owner TO pgbox_admin", "member pgbox_owner pgbox_admin"),
    ("REVOKE CONNECT ON DATABASE pgbox FROM PUBLIC", "database acl"),
)


@timeout(120)
@with_store
def test_snapshots_see_everything(store):
    """Or the test above would prove nothing."""
    def look():
        return snapshot.read(store.admin.sql, snapshot.QUERIES + snapshot.ROLE_QUERIES)
    right = look()
    eq(look(), right)
    for change, name in CHANGES:
        store.admin.sql("BEGIN; " + change)
        seen = snapshot.different(right, look())
        store.admin.sql("ROLLBACK")
        true(any(found.startswith(name) for found in seen), "%s: seen are %s" % (change, seen))
