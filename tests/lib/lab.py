"""The lab of one test run: servers on demand, users, clients, clean-up.

    PGBOX_TEST_STORAGE   pgbox (default), sdbox or maildir
    PGBOX_TEST_KEEP      keep the working folder
    PGBOX_TEST_VALGRIND  run imap, pop3, lmtp and doveadm under valgrind
    PGBOX_TEST_PRELOAD   libraries of a sanitizer to preload into them
    PGBOX_TEST_MODULE    the built plugin, if not found by itself
    PGBOX_TEST_CONTENT_CACHE  size of a content cache that nodes get
    PGBOX_TEST_POOLER    nodes reach PostgreSQL through PgBouncer
    PGBOX_TEST_REPLICA   nodes read from a standby: how far that is behind, as 0 or
                         500ms, or paused: it stays as it was when it was made
"""

import os

import proc
from cluster import Cluster
from managesieve import SieveClient
from network import Network
from node import Node
from pooler import HARSH, Pooler
from standby import Standby


class Lab:
    """All servers and clients of a run. Servers start when first asked for."""

    def __init__(self):
        self.storage = os.environ.get("PGBOX_TEST_STORAGE", "pgbox")
        self.dir = proc.make_workdir()
        self.nodes = {}
        self._cluster = None
        self._others = {}
        # standbys that follow, and those that were the cluster once, the last one last
        self._standbys = []
        self.former = []
        self._poolers = {}
        self._network = None
        self._users = 0
        self._clients = []

    @property
    def is_pgbox(self):
        """Whether the storage under test is pgbox."""
        return self.storage == "pgbox"

    @property
    def is_pooled(self):
        """Whether a pooler keeps backends of its own."""
        return bool(os.environ.get("PGBOX_TEST_POOLER"))

    # -- servers ----------------------------------------------------------

    @property
    def cluster(self):
        """The PostgreSQL cluster with the schema installed."""
        if not self._cluster:
            self._cluster = Cluster(self.dir)
            self._cluster.start()
            self._cluster.install()
        return self._cluster

    def other_cluster(self, name):
        """A cluster of its own beside the first one, made at first use."""
        if name not in self._others:
            self._others[name] = Cluster(self.dir, name=name)
            self._others[name].start()
            self._others[name].install()
        return self._others[name]

    def standby(self, name, **kwargs):
        """The named standby of the cluster, made at first use. kwargs as for Standby."""
        for standby in self._standbys:
            if standby.name == name:
                return standby
        standby = Standby(self.cluster, self.dir, name, **kwargs)
        self._standbys.append(standby)
        standby.start()
        standby.following()
        return standby

    def promote(self, standby):
        """Make the standby the cluster of this lab."""
        standby.promote()
        self._standbys.remove(standby)
        self.go_on_with(standby)

    def go_on_with(self, cluster):
        """Another cluster has taken the place of this lab's."""
        self.former.append(self._cluster)
        self._cluster = cluster

    def use_cluster(self, cluster):
        """Serve the whole run by this one, which isn't started yet."""
        if self._cluster:
            raise proc.LabError("there is a cluster already: the test needs a run of its own")
        self._cluster = cluster
        self._cluster.start()
        self._cluster.install()

    @property
    def network(self):
        """Hosts apart from each other, for servers that are started there."""
        if not self._network:
            self._network = Network(os.path.join(self.dir, "network"))
        return self._network

    def pooler(self, name="main", **kwargs):
        """The named PgBouncer before the cluster, started at first use. kwargs as
        for Pooler."""
        if name not in self._poolers:
            self._poolers[name] = Pooler(os.path.join(self.dir, "pooler-" + name), self.cluster, **kwargs)
        return self._poolers[name]

    def conninfo(self):
        """How the plugin's role reaches the database."""
        return self.pooler().uri() if self.is_pooled else self.cluster.uri("pgbox_dovecot")

    def way_by(self, name, folder, extra=HARSH):
        """Arguments of a Node that reaches PostgreSQL by the socket in that folder;
        with a pooler that does, which then has the name and the settings."""
        if self.is_pooled:
            return {"database": self.pooler(name, host=folder, extra=extra).uri(),
                    "direct": self.cluster.uri("pgbox_dovecot")}
        return {"database": "host=%s port=5432 dbname=pgbox user=pgbox_dovecot" % folder}

    @property
    def replica(self):
        """A standby that nodes read from."""
        return self.standby("replica")

    def _replica(self):
        """Where nodes read from, as PGBOX_TEST_REPLICA says."""
        lag = os.environ.get("PGBOX_TEST_REPLICA")
        if not lag:
            return ""
        if lag == "paused":
            self.replica.pause()
        else:
            self.replica.delay(lag)
        return self.replica.uri("pgbox_dovecot")

    def node(self, name="main", **kwargs):
        """The named node, started at first use. kwargs as for Node."""
        if name not in self.nodes:
            self._add_node(name, kwargs)
        return self.nodes[name]

    def _add_node(self, name, kwargs):
        kwargs.setdefault("storage", self.storage)
        kwargs.setdefault("valgrind", bool(os.environ.get("PGBOX_TEST_VALGRIND")))
        kwargs.setdefault("preload", os.environ.get("PGBOX_TEST_PRELOAD", ""))
        if kwargs["storage"] == "pgbox":
            if self.is_pooled and "database" not in kwargs:
                kwargs["direct"] = self.cluster.uri("pgbox_dovecot")
            kwargs.setdefault("database", self.conninfo())
            kwargs.setdefault("replica", self._replica())
        self.nodes[name] = Node(self.dir, name, **kwargs)
        self.nodes[name].start()

    def oracle(self):
        """A node on sdbox: what it answers is right by definition."""
        return self.node("oracle", storage="sdbox")

    # -- users and clients ------------------------------------------------

    def user(self, *nodes, fields="", name=None):
        """A new user on the main node (or the given ones); returns the name."""
        self._users += 1
        name = name or "%s%d" % ("f" if fields else "u", self._users)
        nodes = nodes or (self.node(),)
        if any(node.storage == "pgbox" for node in nodes):
            self.cluster.create_account(name)
        for node in nodes:
            node.add_user(name, fields)
        return name

    def imap(self, user=None, node=None):
        """A logged-in IMAP connection, closed after the test; new user if None."""
        client = (node or self.node()).imap(user or self.user(node or self.node()))
        self._clients.append(client)
        return client

    def lmtp(self, node=None):
        """An LMTP connection, closed after the test."""
        client = (node or self.node()).lmtp()
        self._clients.append(client)
        return client

    def sieve(self, user, node=None):
        """A ManageSieve connection."""
        return SieveClient((node or self.node()).ports["sieve"], user)

    # -- between tests ----------------------------------------------------

    def transcripts(self):
        """The dialogue of each connection of this test."""
        return [client.transcript for client in self._clients]

    def begin_test(self):
        """Forget logs and connections of the test before."""
        for node in self.nodes.values():
            node.mark_log()

    def end_test(self):
        """Close what the test opened; fail if a server logged errors."""
        for client in self._clients:
            client.close()
        self._clients = []
        for node in self.nodes.values():
            node.assert_log_clean()

    def close(self, keep=False):
        """Stop all servers; return what was found wrong at the end.

        That is what valgrind or a sanitizer reported, and rows and counters
        in the database that don't fit."""
        reports = {}
        for node in self.nodes.values():
            node.stop()
            for name, text in node.reports().items():
                reports["%s/%s" % (node.name, name)] = text
        for pooler in self._poolers.values():
            pooler.stop()
        for name, cluster in self._others.items():
            wrong = cluster.verify()
            if wrong:
                reports["pgbox-schema verify, " + name] = wrong
            cluster.stop("immediate")
        if self._cluster:
            wrong = self._cluster.verify()
            if wrong:
                reports["pgbox-schema verify"] = wrong
            for cluster in self._standbys + self.former + [self._cluster]:
                cluster.stop("immediate")
        if self._network:
            self._network.close()
        if not keep:
            proc.remove_tree(self.dir)
        return reports
