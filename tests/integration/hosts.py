"""Hosts apart: two nodes, a primary and its standby, joined by lines that are slow
or cut.

pgbox only. Each is in a network namespace of its own (../lib/network.py); where
the machine doesn't allow that, the tests are skipped. A cut line loses packets
without a word, as a pulled cable does: only time tells."""

import os
import time

from cluster import Cluster
from imapclient import Lit
from mails import fill, simple
from network import Unavailable
from tap import Skip, only, timeout, true

LISTEN = "listen_addresses = '%s'\n"
HBA = """
host all pgbox_dovecot samenet scram-sha-256
host replication postgres samenet trust
"""
SETTINGS = """
plugin {
  pgbox_connect_timeout = 2 secs
  pgbox_query_timeout = 3 secs
  pgbox_idle_timeout = 300 secs
}
"""
# one way, in seconds
DELAYS = (0, 0.0005, 0.005)
REPEATS = 7


class Site:
    """The four hosts, and the servers on them."""

    def __init__(self, lab):
        try:
            self.network = lab.network
        except Unavailable as why:
            raise Skip(str(why))
        self.lab = lab
        self.a, self.b, self.primary, self.replica = self.network.hosts
        if "a" not in lab.nodes:
            self._start()
        self.node_a, self.node_b = lab.nodes["a"], lab.nodes["b"]
        self.nodes = (self.node_a, self.node_b)

    def _start(self):
        cluster = Cluster(self.lab.dir, settings=LISTEN % self.primary.address)
        with open(os.path.join(cluster.data, "pg_hba.conf"), "a") as handle:
            handle.write(HBA)
        with self.primary.inside():
            self.lab.use_cluster(cluster)
        with self.replica.inside():
            standby = self.lab.standby("replica", settings=LISTEN % self.replica.address)
        standby.set(primary_conninfo="host=%s port=5432 user=postgres application_name=replica" % self.primary.address)
        standby.following()
        for name, host in (("a", self.a), ("b", self.b)):
            self.lab.node(name, storage="pgbox", plugins="", notify=True, extra=SETTINGS, place=host.inside,
                          database=at(self.primary), replica=at(self.replica))


def at(host):
    """How the plugin's role reaches the server there."""
    return "host=%s port=5432 dbname=pgbox user=pgbox_dovecot" % host.address


class Commands:
    """What is timed. Each prepares and returns what to time; numbers are used up."""

    def __init__(self, site):
        lab = site.lab
        self.user = lab.user(site.node_a)
        self.lmtp = lab.lmtp(site.node_a)
        self.c = c = lab.imap(self.user, site.node_a)
        fill(c, "INBOX", 300)
        c.ok("CREATE box")
        c.ok("SELECT INBOX")
        self.number = 0

    def next(self):
        """The number of a message that nothing was done with."""
        self.number += 1
        return self.number

    def flag(self):
        """A flag to add, or the same to remove."""
        return ("+", "-")[self.number % 2]

    def select(self):
        self.c.ok("UNSELECT")
        return lambda: self.c.ok("SELECT INBOX")

    def noop(self):
        return lambda: self.c.ok("NOOP")

    def fetch_flags(self):
        return lambda: self.c.ok("FETCH 1:100 (UID FLAGS)")

    def fetch_body(self):
        number = self.next()
        return lambda: self.c.ok("FETCH %d BODY.PEEK[]" % number)

    def store_one(self):
        number = self.next()
        return lambda: self.c.ok("STORE %d +FLAGS (\\Flagged)" % number)

    def store_many(self):
        self.next()
        return lambda: self.c.ok("STORE 1:100 %sFLAGS.SILENT (\\Answered)" % self.flag())

    def append(self):
        return lambda: self.c.ok("APPEND box ", Lit(simple(1)))

    def copy(self):
        return lambda: self.c.ok("COPY 1:100 box")

    def expunge(self):
        self.c.ok("STORE 300 +FLAGS.SILENT (\\Deleted)")
        self.c.ok("APPEND INBOX ", Lit(simple(2)))
        return lambda: self.c.ok("EXPUNGE")

    def list_status(self):
        return lambda: self.c.ok('LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ))')

    def deliver(self):
        return lambda: self.lmtp.deliver(simple(3), self.user)


# The budget in round trips, as roundtrips.py has it: the pull at a command's end is one.
BUDGETS = {"select": 2, "noop": 1, "fetch_flags": 1, "fetch_body": 2, "store_one": 1, "store_many": 1, "append": 2,
           "copy": 2, "expunge": 1, "list_status": 2, "deliver": 10}


def least(prepare):
    """How long it takes when nothing disturbs it, in seconds."""
    times = []
    for _ in range(REPEATS):
        action = prepare()
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def slope(points):
    """(a, n) of the straight line y = a + n * x that is nearest to the points."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    n = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y - n * mean_x, n


@only("pgbox")
@timeout(120)
def test_latency(lab):
    """A command's time grows with the line's as often as it asks, not more."""
    site = Site(lab)
    commands = Commands(site)
    points = {name: [] for name in BUDGETS}
    for delay in DELAYS:
        site.network.delay(delay)
        trip = site.network.round_trip(site.a, site.primary)
        print("# %.1f ms one way: a round trip of %.2f ms" % (delay * 1e3, trip * 1e3))
        for name in BUDGETS:
            points[name].append((trip, least(getattr(commands, name))))
    site.network.delay(0)
    over = []
    for name, budget in BUDGETS.items():
        fixed, trips = slope(points[name])
        print("# %-12s %s ms: %.1f ms and %.2f round trips, budget %d" % (
            name, ", ".join("%.1f" % (y * 1e3) for _, y in points[name]), fixed * 1e3, trips, budget))
        if trips > budget * 1.5:
            over.append("%s: %.2f round trips, budget %d" % (name, trips, budget))
    true(not over, "; ".join(over))
