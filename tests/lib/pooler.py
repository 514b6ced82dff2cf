"""A private PgBouncer before the cluster, in transaction mode."""

import os
import shutil
import subprocess

import proc
from proc import LabError

CONF = """
[databases]
%(dbname)s = host=%(target)s port=5432 dbname=%(dbname)s

[pgbouncer]
pool_mode = transaction
listen_addr =
unix_socket_dir = %(dir)s
listen_port = 5432
logfile = %(dir)s/log
auth_type = scram-sha-256
auth_file = %(dir)s/users
default_pool_size = %(size)d
max_client_conn = 4000
server_login_retry = 1
query_wait_timeout = 10
"""


class Pooler:
    """Many links of one role, few backends."""

    def __init__(self, folder, target, password, dbname="pgbox", size=8):
        self.folder = folder
        self._dbname = dbname
        self._process = None
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        if not os.path.exists(program):
            raise LabError("pgbouncer is missing: apt-get install pgbouncer")
        # it won't run as root
        self._user = "postgres" if proc.is_root() else proc.own_user()
        os.mkdir(folder, 0o755)
        proc.give(folder, self._user)
        self._write("conf", CONF % {"dir": folder, "target": target, "dbname": dbname, "size": size})
        self._write("users", '"pgbox_dovecot" "%s"\n' % password)
        self._start(program)

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as handle:
            handle.write(text)
        os.chmod(path, 0o600)
        proc.give(path, self._user)

    def _start(self, program):
        self._process = subprocess.Popen([program, "-q", os.path.join(self.folder, "conf")], cwd="/",
                                         stdin=subprocess.DEVNULL, **proc.as_user(self._user))
        proc.wait_for(lambda: os.path.exists(os.path.join(self.folder, ".s.PGSQL.5432")), 10, "the pooler's socket")

    def uri(self):
        """A conninfo string for the plugin's role."""
        return "host=%s port=5432 dbname=%s user=pgbox_dovecot" % (self.folder, self._dbname)

    def stop(self):
        """End it; what it has under way is lost."""
        self._process.terminate()
        self._process.wait(10)
