"""A private cluster as of a point in time: a base backup, and archived WAL."""

import os

import proc
from cluster import Cluster, quote

SETTINGS = """
unix_socket_directories = '%(socket)s'
archive_mode = off
restore_command = 'cp %(archive)s/%%f %%p'
recovery_target_time = '%(until)s'
recovery_target_action = promote
"""


def archive_wal(cluster):
    """Let the cluster archive its WAL from now on, which takes a restart."""
    folder = os.path.join(cluster.dir, "archive")
    os.mkdir(folder)
    proc.give(folder, cluster.user)
    cluster.psql("ALTER SYSTEM SET archive_mode = on; ALTER SYSTEM SET archive_command = %s"
                 % quote("test ! -f %s/%%f && cp %%p %s/%%f" % (folder, folder)))
    cluster.restart()


class Restored(Cluster):
    """Made while the first cluster runs, which is the base backup. recover() stops
    that one and takes its place, at its socket."""

    def __init__(self, first, workdir, name="restored"):
        self._first = first
        super().__init__(workdir, name=name)

    def _init(self, fast, settings):
        self._tool("pg_basebackup", "-D", self.data, "-d", "host=%s port=5432 user=postgres" % self._first.socket,
                   "-X", "fetch", "--no-sync", "-c", "fast")

    def recover(self, until):
        """Go on as of that time, on a timeline of its own."""
        self._first.psql("SELECT pg_switch_wal()", dbname="postgres")
        proc.wait_for(lambda: self._first.value("SELECT last_archived_wal >= pg_walfile_name(pg_switch_wal() - 1) FROM pg_stat_archiver",
                                                dbname="postgres") == "t", 20, "WAL to be archived")
        self._first.stop()
        self.socket = self._first.socket
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as handle:
            handle.write(SETTINGS % {"socket": self.socket, "archive": os.path.join(self._first.dir, "archive"), "until": until})
        with open(os.path.join(self.data, "recovery.signal"), "w"):
            pass
        self.start()
        proc.wait_for(lambda: self.value("SELECT pg_is_in_recovery()", dbname="postgres") == "f", 30, "recovery to end")
