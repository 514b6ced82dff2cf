"""What is compared: the same Dovecot on pgbox, sdbox and maildir."""

import glob
import os
import shutil
import time

import proc
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
remote %s {
  mail_fsync = never
}
service lmtp {
  process_min_avail = 1
}
service imap {
  process_limit = 500
  service_count = 256
}
"""
# whoever comes from here fills mailboxes and isn't measured
FILLER = "127.0.0.3"
# what a side does otherwise, by what follows its storage's name and a +
VARIANTS = {
    "": "",
    "fsync": "mail_fsync = always\n",
    "single": "service imap {\n  service_count = 1\n}\n",
    "disk": "",
    "skewed": "",
}
# those with a database of their own
APART = ("disk", "skewed")
# whether nodes of pgbox keep contents that they have read (pgbox_content_cache)
CONTENT_CACHE = True
# bodies of mailboxes that are about their metadata
CAPPED = 24 * 1024
TINY = 600
BATCH = 500


class BenchLab(Lab):
    """The lab of the tests, with a PostgreSQL that flushes."""

    def __init__(self, flush=0):
        """flush: by how many ms each flush is to be slower, on all sides."""
        super().__init__()
        self._databases = ["pgbox"]
        self.slow_flush = self._make_slow_flush(flush) if flush else ""

    def _make_slow_flush(self, flush):
        """Compile what is preloaded; returns the library."""
        library = os.path.join(self.dir, "slow-flush.so")
        proc.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-DSLOW_FLUSH_USECS=%d" % round(flush * 1000),
                  "-o", library, os.path.join(os.path.dirname(os.path.abspath(__file__)), "slow-flush.c"), "-ldl"])
        return library

    @property
    def cluster(self):
        if not self._cluster:
            self._cluster = Cluster(self.dir, fast=False, settings=DURABLE)
            self._cluster.start({"LD_PRELOAD": self.slow_flush} if self.slow_flush else None)
            self._cluster.install()
        return self._cluster

    def database(self, name):
        """A database of that name with the schema; returns the name."""
        if name not in self._databases:
            self._databases.append(name)
            self.cluster.psql("CREATE DATABASE " + name, dbname="postgres")
            self.cluster.schema_tool("install", dbname=name)
        return name


class Side:
    """One storage: its node, its users, what they have in their mailboxes."""

    def __init__(self, lab, name):
        self.storage, _, self._variant = name.partition("+")
        self.lab = lab
        self.name = name
        self._contents = []
        self._gone = 0
        self.node = self._add_node(name)
        self._filled = {}
        # what workloads have made for themselves
        self.known = {}

    def _add_node(self, name):
        """A node of this side: not the first one of all, or also of the same store."""
        extra = MANY % FILLER + VARIANTS[self._variant]
        preload = {"preload": self.lab.slow_flush} if self.lab.slow_flush else {}
        if not self.is_pgbox:
            return self.lab.node(name, storage=self.storage, plugins="", extra=extra, **preload)
        return self.lab.node(name, storage="pgbox", plugins="", notify=True, extra=extra + self._content_cache(name), **preload,
                             database=self.lab.cluster.uri("pgbox_dovecot", dbname=self.dbname))

    def _content_cache(self, name):
        if not CONTENT_CACHE:
            return ""
        self._contents.append(os.path.join(self.lab.dir, name, "contents"))
        os.makedirs(self._contents[-1])
        os.chmod(self._contents[-1], 0o777)
        return "plugin {\n  pgbox_content_cache = %s\n}\n" % self._contents[-1]

    @property
    def dbname(self):
        """The database: one of its own where its size or its statistics matter."""
        return self.lab.database(self._variant if self._variant in APART else "pgbox")

    def other_node(self):
        """One more node on the same store."""
        return self.lab.nodes.get(self.name + "-other") or self._add_node(self.name + "-other")

    @property
    def is_pgbox(self):
        """Whether it is the one that all others are compared with."""
        return self.storage == "pgbox"

    def user(self):
        """A new user."""
        user = self.lab.user(self.node)
        if self.is_pgbox and self.dbname != "pgbox":
            self.lab.cluster.psql("SELECT pgbox.account_create('%s')" % user, dbname=self.dbname)
        return user

    def client(self, user, mailbox=None, node=None, **kwargs):
        """A session, with the mailbox selected if there is one."""
        client = RawClient((node or self.node).ports["imap"], **kwargs)
        client.login(user)
        if mailbox:
            client.command("SELECT ", mailbox)
        return client

    def fill(self, user, mailbox, messages):
        """Append messages; returns their bytes."""
        client, batch, size, total = self.client(user, source=FILLER), [], 0, 0
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
            self.lab.cluster.psql("VACUUM (ANALYZE)", dbname=self.dbname)
            self.lab.cluster.psql("CHECKPOINT")
        os.sync()

    def forget(self, user):
        """Remove the user's local index and cache. He has no session open."""
        home = self.node.home(user)
        if self.is_pgbox:
            shutil.rmtree(self.node.index_dir(user), ignore_errors=True)
            self.forget_contents()
            return
        for path in glob.glob(os.path.join(home, self.storage, "**", "dovecot.index*"), recursive=True):
            os.unlink(path)
        for path in glob.glob(os.path.join(home, self.storage, "dovecot.list.index*")):
            os.unlink(path)

    def forget_contents(self):
        """Remove what nodes of pgbox keep of contents, for all users.

        The directories stay, as on a node that has been in use for a while, and
        files are moved away: ext4 without a journal makes new ones slowly for a
        while after others were deleted."""
        self._gone += 1
        for folder in self._contents:
            gone = "%s-%d" % (folder, self._gone)
            os.mkdir(gone)
            for path in glob.glob(os.path.join(folder, "*", "*")):
                os.rename(path, os.path.join(gone, os.path.basename(path)))

    def recover(self, user):
        """What an administrator has to do after forget(); returns the seconds.

        sdbox shows an empty mailbox when its index is gone, until somebody runs
        force-resync; and flags are lost."""
        if self.storage != "sdbox":
            return 0
        begun = time.perf_counter()
        self.node.doveadm("force-resync", "INBOX", user=user)
        return time.perf_counter() - begun
