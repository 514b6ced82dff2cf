"""What is compared: the same Dovecot on pgbox, sdbox and maildir."""

import glob
import os
import shutil
import time

from cluster import Cluster
from corpus import Corpus
from lab import Lab
from rawclient import RawClient

# as quickstart and README have it
DURABLE = """
shared_buffers = 128MB
max_wal_size = 4GB
track_wal_io_timing = on
max_connections = 200
"""
MANY = """
default_client_limit = 2000
service lmtp {
  process_min_avail = 1
}
service imap {
  process_limit = 500
  service_count = 256
}
"""
# bodies of mailboxes that are about their metadata
CAPPED = 24 * 1024
TINY = 600
BATCH = 500


class BenchLab(Lab):
    """The lab of the tests, with a PostgreSQL that flushes."""

    @property
    def cluster(self):
        if not self._cluster:
            self._cluster = Cluster(self.dir, fast=False, settings=DURABLE)
            self._cluster.start()
            self._cluster.install()
        return self._cluster


class Side:
    """One storage: its node, its users, what they have in their mailboxes."""

    def __init__(self, lab, name):
        storage, _, variant = name.partition("+")
        self.lab = lab
        self.name = name
        self.storage = storage
        extra = MANY + ("mail_fsync = always\n" if variant == "fsync" else "")
        self.node = lab.node(name, storage=storage, plugins="", notify=storage == "pgbox", extra=extra)
        self._filled = {}
        # what workloads have made for themselves
        self.known = {}

    @property
    def is_pgbox(self):
        """Whether it is the one that all others are compared with."""
        return self.storage == "pgbox"

    def user(self):
        """A new user."""
        return self.lab.user(self.node)

    def client(self, user, mailbox=None):
        """A session, with the mailbox selected if there is one."""
        client = RawClient(self.node.ports["imap"])
        client.login(user)
        if mailbox:
            client.command("SELECT ", mailbox)
        return client

    def fill(self, user, mailbox, messages):
        """Append messages; returns their bytes."""
        client, batch, size, total = self.client(user), [], 0, 0
        for message in messages:
            batch.append(message)
            size += len(message)
            if len(batch) == BATCH or size > 16 << 20:
                client.append(mailbox, batch)
                total, batch, size = total + size, [], 0
        if batch:
            client.append(mailbox, batch)
        client.close()
        return total + size

    def filled(self, count, body_max=None):
        """The user whose INBOX has so many mails, made at first use."""
        key = (count, body_max)
        if key not in self._filled:
            user = self.user()
            limit = body_max or (CAPPED if count <= 10000 else TINY)
            self.fill(user, "INBOX", Corpus(body_max=limit).messages(count))
            self._filled[key] = user
            self.settle()
        return self._filled[key]

    def settle(self):
        """What the database does by itself now and then is done now."""
        if self.is_pgbox:
            self.lab.cluster.psql("VACUUM (ANALYZE)")
            self.lab.cluster.psql("CHECKPOINT")
        os.sync()

    def forget(self, user):
        """Remove the user's local index and cache. He has no session open."""
        home = self.node.home(user)
        if self.is_pgbox:
            shutil.rmtree(self.node.index_dir(user), ignore_errors=True)
            return
        for path in glob.glob(os.path.join(home, self.storage, "**", "dovecot.index*"), recursive=True):
            os.unlink(path)
        for path in glob.glob(os.path.join(home, self.storage, "dovecot.list.index*")):
            os.unlink(path)

    def recover(self, user):
        """What an administrator has to do after forget(); returns the seconds.

        sdbox shows an empty mailbox when its index is gone, until somebody runs
        force-resync; and flags are lost."""
        if self.storage != "sdbox":
            return 0
        begun = time.perf_counter()
        self.node.doveadm("force-resync", "INBOX", user=user)
        return time.perf_counter() - begun
