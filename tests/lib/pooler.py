"""A private PgBouncer before the cluster, in transaction mode.

Its configuration is the example of share/, and so is the way to its list of
users."""

import os
import re
import shutil
import subprocess

import proc
from proc import LabError
from template import template

# Worse than a usual one's: who relies on something in a session finds another
# one for the next transaction, and nothing of the former in it.
HARSH = """
default_pool_size = 8
server_round_robin = 1
server_reset_query_always = 1
"""


class Pooler:
    """Many links of one role, few backends.

    extra: settings that override the example's. auth_query: ask PostgreSQL who
    may log in. host: where PostgreSQL is, if not at the cluster's socket."""

    def __init__(self, folder, cluster, extra=HARSH, auth_query=False, host=None):
        self.folder = folder
        self.port = proc.PORTS.take(1)[0]
        self._process = None
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        if not os.path.exists(program):
            raise LabError("pgbouncer is missing: apt-get install pgbouncer")
        # it won't run as root
        self._user = "postgres" if proc.is_root() else proc.own_user()
        os.mkdir(folder, 0o755)
        proc.give(folder, self._user)
        text = self._config(host or cluster.socket) + extra
        if auth_query:
            text = re.sub("(?m)^;(auth_user|auth_query) ", r"\1 ", text)
            users = cluster.install_user_lookup()
        else:
            users = self._users(cluster, text)
        self._write("pgbouncer.ini", text)
        self._write("userlist.txt", users)
        self._start(program)

    def _config(self, host):
        return template("pgbouncer.ini.in", DB_NAME="pgbox", DB_HOST=host, DB_PORT="5432",
                        POOLER_ADDRESS="127.0.0.1", POOLER_PORT=str(self.port), POOLER_RUN_DIR=self.folder,
                        POOLER_LOG_DIR=self.folder, POOLER_CONF_DIR=self.folder)

    @staticmethod
    def _users(cluster, text):
        """The file's lines, by the statement that the example gives."""
        statement = re.search(r"(?m)^; +(SELECT format\(.*)$", text).group(1)
        return "".join(row[0] + "\n" for row in cluster.psql(statement))

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            handle.write(text)
        proc.give(path, self._user)

    def _start(self, program):
        self._process = subprocess.Popen([program, "-q", os.path.join(self.folder, "pgbouncer.ini")], cwd="/",
                                         stdin=subprocess.DEVNULL, **proc.as_user(self._user))
        proc.wait_for(lambda: proc.listening(self.port), 10, "the pooler to listen")

    def uri(self):
        """A conninfo string for the plugin's role."""
        return "host=127.0.0.1 port=%d dbname=pgbox user=pgbox_dovecot" % self.port

    def stop(self):
        """End it; what it has under way is lost."""
        self._process.terminate()
        self._process.wait(10)
