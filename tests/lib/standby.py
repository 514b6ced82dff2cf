"""A streaming standby of a private cluster."""

import os

import proc
from cluster import Cluster, quote


class Standby(Cluster):
    """A copy of a running cluster that follows it.

    Not started by itself: start() does, following() waits until it streams.
    As a Cluster it can be killed, stopped and asked; its log is its own."""

    def __init__(self, primary, workdir, name="standby", slot=False, settings=""):
        self.primary = primary
        self.name = name
        # a slot keeps WAL for a standby that is away
        self._slot = name if slot else ""
        self._conninfo = ""
        super().__init__(workdir, settings=settings, name=name)

    def _init(self, fast, settings):
        argv = ["-D", self.data, "-d", "host=%s port=5432 user=postgres application_name=%s" % (self.primary.socket, self.name),
                "-R", "-X", "stream", "--no-sync", "-c", "fast"]
        if self._slot:
            argv += ["-C", "-S", self._slot]
        self._tool("pg_basebackup", *argv)
        with open(os.path.join(self.data, "postgresql.conf"), "a") as handle:
            handle.write("unix_socket_directories = '%s'\ncluster_name = '%s'\n" % (self.socket, self.name) + settings)

        # where a primary that was a standby itself has its former slot
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as handle:
            handle.write("primary_slot_name = '%s'\n" % self._slot)

    # -- following ---------------------------------------------------------

    def following(self):
        """Wait until the primary streams to it."""
        proc.wait_for(lambda: self._sender("state") == "streaming", 20, self.name + " to stream")

    def _sender(self, column):
        rows = self.primary.psql("SELECT %s FROM pg_stat_replication WHERE application_name = %s" % (column, quote(self.name)),
                                 dbname="postgres")
        return rows[0][0] if rows else None

    def set_sync(self, on=True):
        """Let commits of the primary wait for it, or no longer."""
        self.primary.set(synchronous_standby_names=self.name if on else "")
        proc.wait_for(lambda: self._sender("sync_state") == ("sync" if on else "async"), 20, "synchronous replication")

    def catch_up(self):
        """Wait until it has applied all that the primary has written."""
        lsn = self.primary.value("SELECT pg_current_wal_flush_lsn()", dbname="postgres")
        proc.wait_for(lambda: self.value("SELECT pg_last_wal_replay_lsn() >= %s" % quote(lsn), dbname="postgres") == "t",
                      30, self.name + " to catch up")

    def cut(self):
        """Stop to receive: what the primary commits from here on is lost if it dies."""
        self._conninfo = self.value("SHOW primary_conninfo", dbname="postgres")
        self.set(primary_conninfo="")
        proc.wait_for(lambda: not self.psql("SELECT 1 FROM pg_stat_wal_receiver WHERE pid IS NOT NULL", dbname="postgres"),
                      20, "the WAL receiver to end")

    def join(self):
        """Receive again, after cut()."""
        self.set(primary_conninfo=self._conninfo)
        self.following()

    def pause(self):
        """Receive, but don't apply: it shows the past."""
        self.psql("SELECT pg_wal_replay_pause()", dbname="postgres")
        proc.wait_for(lambda: self.value("SELECT pg_get_wal_replay_pause_state()", dbname="postgres") == "paused", 20,
                      "replay to pause")

    def resume(self):
        """Apply again, after pause()."""
        self.psql("SELECT pg_wal_replay_resume()", dbname="postgres")

    def delay(self, interval):
        """Apply commits only when they are so old ('500ms'; '0': at once)."""
        self.set(recovery_min_apply_delay=interval)

    # -- leading -----------------------------------------------------------

    def promote(self):
        """Make it a primary, on a timeline of its own; it takes writes when this returns."""
        self._tool("pg_ctl", "-D", self.data, "-w", "-t", "60", "promote")
