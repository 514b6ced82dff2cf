"""A private PostgreSQL cluster for one test run."""

import glob
import os
import re
import shutil
import signal

import proc
from proc import LabError

# Durability isn't what these tests are about, unless a test asks for it.
FAST = """
fsync = off
full_page_writes = off
"""
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '%(socket)s'
port = 5432
max_connections = 100
shared_buffers = 64MB
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = top
pg_stat_statements.max = 5000
log_min_messages = warning
log_line_prefix = '%%m [%%p] %%u '
timezone = 'UTC'
"""
# Only the plugin's role has a password: a test may want to get it wrong. And a
# pooler's.
HBA = """
local all pgbox_dovecot,pgbouncer scram-sha-256
local all all trust
local replication all trust
"""
PASSWORD = "dovecot-secret"


def bindir():
    """The folder of initdb, postgres and psql: the newest version installed."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if found:
        newest = max(found, key=lambda p: int(p.split("/")[4]))
        return os.path.dirname(newest)
    initdb = shutil.which("initdb")
    if not initdb:
        raise LabError("PostgreSQL's server programs are missing: "
                       "apt-get install postgresql")
    return os.path.dirname(initdb)


class Cluster:
    """initdb, start, stop, kill, restart, SQL; the schema and accounts."""

    def __init__(self, workdir, fast=True, settings="", name="pg"):
        self.dir = os.path.join(workdir, name)
        self.socket = os.path.join(self.dir, "s")
        self.data = os.path.join(self.dir, "data")
        self.log = os.path.join(self.dir, "log")
        self.user = "postgres" if proc.is_root() else proc.own_user()
        self._bin = bindir()
        self._make_folders()
        self._init(fast, settings)

    def _make_folders(self):
        for path in (self.dir, self.socket):
            os.mkdir(path)
            os.chmod(path, 0o755)
            proc.give(path, self.user)

    def _init(self, fast, settings):
        self._tool("initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8",
                   "--locale=C.UTF-8", "--no-sync", "-A", "trust")
        conf = SETTINGS % {"socket": self.socket} + (FAST if fast else "") + settings
        with open(os.path.join(self.data, "postgresql.conf"), "a") as handle:
            handle.write(conf)
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as handle:
            handle.write(HBA)

    def _tool(self, name, *args, check=True, env=None):
        return proc.run([os.path.join(self._bin, name)] + list(args),
                        user=self.user, timeout=90, check=check, env=env)

    # -- life -------------------------------------------------------------

    def start(self, environment=None):
        """Start the server and wait until it answers."""
        self._tool("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "start",
                   env=dict(os.environ, **(environment or {})))

    def stop(self, mode="fast"):
        """Stop the server; nothing happens when it isn't running."""
        if self.pid():
            self._tool("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "stop")

    def restart(self):
        """Stop and start: all sessions are lost."""
        self.stop()
        self.start()

    def kill(self):
        """kill -9 of the postmaster and all of its children."""
        pid = self.pid()
        children = children_of(pid)
        for victim in [pid] + children:
            proc.kill_wait(victim, signal.SIGKILL)
        # Where nobody reaps orphans the zombie keeps its number, and the next
        # postmaster would take it for a live one.
        for path in (os.path.join(self.data, "postmaster.pid"),
                     os.path.join(self.socket, ".s.PGSQL.5432.lock")):
            if os.path.exists(path):
                os.remove(path)

    def pid(self):
        """The postmaster's process id, or None."""
        try:
            with open(os.path.join(self.data, "postmaster.pid")) as handle:
                pid = int(handle.readline())
        except (OSError, ValueError):
            return None
        return pid if proc.alive(pid) else None

    # -- SQL --------------------------------------------------------------

    def uri(self, role="postgres", dbname="pgbox"):
        """A conninfo string for psql and pgbox-schema."""
        return "host=%s port=5432 dbname=%s user=%s" % (self.socket, dbname, role)

    def psql(self, sql, dbname="pgbox", role="postgres", check=True):
        """Run SQL; return rows as lists of str. An SQL error raises LabError."""
        done = proc.run([os.path.join(self._bin, "psql"), "-XAtq", "-F", "\x1f",
                         "-R", "\x1e", "-v", "ON_ERROR_STOP=1", "-f", "-",
                         self.uri(role, dbname)],
                        data=sql.encode(), check=check)
        text = done.stdout.decode().rstrip("\n")
        return [row.split("\x1f") for row in text.split("\x1e")] if text else []

    def psql_error(self, sql, **kwargs):
        """What psql says about SQL that fails."""
        done = proc.run([os.path.join(self._bin, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql,
                         self.uri(**kwargs)], check=False)
        if done.returncode == 0:
            raise LabError("this should fail: " + sql)
        return done.stderr.decode()

    def value(self, sql, **kwargs):
        """The first column of the first row."""
        return self.psql(sql, **kwargs)[0][0]

    def set(self, **settings):
        """Change settings of the running server that need no restart."""
        sql = "".join("ALTER SYSTEM SET %s = %s;\n" % (name, quote(value)) for name, value in settings.items())
        self.psql(sql + "SELECT pg_reload_conf()", dbname="postgres")

    def timeline(self):
        """The timeline that a primary writes."""
        return int(self.value("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)", dbname="postgres"), 16)

    def install(self):
        """Create the database and install the schema by the project's own tool."""
        self.psql("CREATE DATABASE pgbox", dbname="postgres")
        self.psql("CREATE EXTENSION pg_stat_statements")
        secret = os.path.join(self.dir, "dovecot-password")
        with open(secret, "w") as handle:
            handle.write(PASSWORD + "\n")
        os.chmod(secret, 0o644)
        self.schema_tool("install", "--dovecot-password-file", secret)

    def schema_tool(self, verb, *args, check=True, dbname="pgbox"):
        """Run pgbox-schema against this cluster.

        It is a copy of sql/ as it was at first: `verify` compares the database
        with the files, and somebody may be working on those."""
        tool = os.path.join(self.dir, "sql", "pgbox-schema")
        if not os.path.exists(tool):
            shutil.copytree(os.path.join(proc.ROOT, "sql"), os.path.dirname(tool))
        env = dict(os.environ, PATH=self._bin + ":" + os.environ.get("PATH", ""))
        return proc.run([tool, verb, "--database", self.uri(dbname=dbname)] + list(args),
                        env=env, check=check)

    def verify(self):
        """What pgbox-schema verify complains about: '' if nothing."""
        done = self.schema_tool("verify", check=False)
        return "" if done.returncode == 0 else (done.stdout + done.stderr).decode()

    def install_user_lookup(self):
        """What PgBouncer's auth_query needs, as the example makes it; return the
        line of its role for userlist.txt."""
        if self.value("SELECT count(*) FROM pg_roles WHERE rolname = 'pgbouncer'") == "0":
            with open(os.path.join(proc.ROOT, "share", "pgbouncer-auth.sql")) as handle:
                self.psql(handle.read())
        self.psql("ALTER ROLE pgbouncer PASSWORD %s" % quote(PASSWORD))
        return '"pgbouncer" "%s"\n' % PASSWORD

    def create_account(self, name, password="pw"):
        """Make an account that Dovecot users are then looked up in."""
        self.psql("SELECT pgbox.account_create(%s, %s)" % (quote(name), quote(password)))

    def terminate_backends(self):
        """End the plugin's connections, as an administrator would."""
        self.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                  "WHERE usename = 'pgbox_dovecot'")

    def backend_pids(self):
        """Process ids of the connections that mail processes have."""
        return {row[0] for row in self.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbox'")}

    def wait_no_backends(self):
        """Until all of them are closed for being idle."""
        proc.wait_for(lambda: not self.backend_pids(), 20, "no connections")

    # -- counting ---------------------------------------------------------

    def reset_statements(self):
        """Start to count the plugin's statements anew."""
        self.psql("SELECT pg_stat_statements_reset()")

    def statements(self):
        """The plugin's statements since the reset: {text: calls}.

        BEGIN and the like are left out: they travel in a pipeline with the
        statement that they belong to."""
        rows = self.psql(
            "SELECT s.calls, regexp_replace(s.query, '\\s+', ' ', 'g') "
            "FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid "
            "WHERE r.rolname = 'pgbox_dovecot'")
        control = re.compile(r"(BEGIN|START|COMMIT|ROLLBACK|SET|RESET|DEALLOCATE|"
                             r"DISCARD|SAVEPOINT|RELEASE)\b", re.I)
        counts = {}
        for calls, query in rows:
            if not control.match(query):
                counts[query] = counts.get(query, 0) + int(calls)
        return counts


def children_of(pid):
    """Process ids of the direct children."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as handle:
        return [int(word) for word in handle.read().split()]


def quote(text):
    """An SQL string constant."""
    return "'" + text.replace("'", "''") + "'"
