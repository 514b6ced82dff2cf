"""Hosts apart: two nodes, a primary and its standby, joined by lines that are slow
or cut.

pgbox only. Each is in a network namespace of its own (../lib/network.py); where
the machine doesn't allow that, the tests are skipped. A cut line loses packets
without a word, as a pulled cable does: only time tells."""

import itertools
import os
import time

import proc
from cache_truth import check
from cluster import Cluster
from failover import Append, Deliver, Expunge, Move, Store, found, judge, wait_for_work
from imapclient import Lit
from mails import PLAIN, fill, simple
from network import Unavailable
from replica import LEFT_OUT, RETRY, bodies, warnings
from tap import Skip, eq, has, only, timeout, true
from weather import eventually_ok, later

LISTEN = "listen_addresses = '%s'\n"
HBA = """
host all pgbox_dovecot samenet scram-sha-256
host replication postgres samenet trust
"""
SETTINGS = """
plugin {
  pgbox_connect_timeout = 3 secs
  pgbox_query_timeout = 4 secs
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
        self.sign = "-"

    def next(self):
        """The number of a message that nothing was done with."""
        self.number += 1
        return self.number

    def select(self):
        # what was delivered meanwhile is pulled here
        self.c.ok("SELECT INBOX")
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
        self.sign = "-" if self.sign == "+" else "+"
        return lambda: self.c.ok("STORE 1:100 %sFLAGS.SILENT (\\Answered)" % self.sign)

    def append(self):
        return lambda: self.c.ok("APPEND box ", Lit(simple(1)))

    def copy(self):
        # into one that has nothing to catch up with
        self.c.ok("CREATE copies%d" % self.next())
        return lambda: self.c.ok("COPY 1:100 copies%d" % self.number)

    def expunge(self):
        self.c.ok("STORE 300 +FLAGS.SILENT (\\Deleted)")
        self.c.ok("APPEND INBOX ", Lit(simple(2)))
        return lambda: self.c.ok("EXPUNGE")

    def list_status(self):
        return lambda: self.c.ok('LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ))')

    def deliver(self):
        return lambda: self.lmtp.deliver(simple(3), self.user)


# The budget in round trips, as roundtrips.py has it: the pull at a command's end is one.
BUDGETS = {"select": 1, "noop": 1, "fetch_flags": 1, "fetch_body": 2, "store_one": 1, "store_many": 1, "append": 2,
           "copy": 2, "expunge": 1, "list_status": 2, "deliver": 2}


def seconds(action):
    """How long it takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


class Measurement:
    """The least time of each command at each delay, when nothing disturbed it."""

    def __init__(self, site):
        self._site = site
        self._commands = Commands(site)
        self._times, self._trips = {}, {}

    def go_on(self):
        """Each several times, all delays in turn, as a mailbox that is older is slower."""
        network = self._site.network
        for delay in DELAYS * REPEATS:
            network.delay(delay)
            note(self._trips, delay, network.round_trip(self._site.a, self._site.primary))
            for name in BUDGETS:
                note(self._times, (name, delay), seconds(getattr(self._commands, name)()))
        network.delay(0)

    def points(self, name):
        """[(round trip, time)], one for each delay."""
        return [(self._trips[delay], self._times[name, delay]) for delay in DELAYS]

    def over_budget(self):
        """What grows too much, in words."""
        return ["%s: %.2f round trips, budget %d" % (name, slope(self.points(name))[1], budget)
                for name, budget in BUDGETS.items() if slope(self.points(name))[1] > budget * 1.5]


def note(least, key, value):
    """Keep the least of the values."""
    least[key] = min(value, least.get(key, value))


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
    measurement = Measurement(site)
    for _ in range(3):
        measurement.go_on()
        if not measurement.over_budget():
            break
    print("# round trips of %s ms, %s ms one way" % tuple(", ".join("%.1f" % (value * 1e3) for value in values) for values in (
        [trip for trip, _ in measurement.points("noop")], DELAYS)))
    for name, budget in BUDGETS.items():
        points = measurement.points(name)
        print("# %-12s %s ms: %.1f ms and %.2f round trips, budget %d" % (
            name, ", ".join("%.1f" % (y * 1e3) for _, y in points), slope(points)[0] * 1e3, slope(points)[1], budget))
    eq(measurement.over_budget(), [])


# More than a command may take: it waits for the answer of a server that is gone, then
# for a connection, and once more if a message would be stored twice otherwise.
PATIENCE = 10
# what a command may take that has nothing to wait for, on a machine that has much to do
QUICK = 2


def within(limit, action):
    """What it returns, and that in time."""
    begin = time.monotonic()
    result = action()
    true(time.monotonic() - begin < limit, "it took %.1f s" % (time.monotonic() - begin))
    return result


def opened(site, node, user):
    """A session with INBOX selected."""
    client = site.lab.imap(user, node)
    client.ok("SELECT INBOX")
    return client


def agree(site, user, *mailboxes):
    """Both nodes show what the database has."""
    for node in site.nodes:
        session = site.lab.imap(user, node)
        for mailbox in mailboxes or ("INBOX",):
            check(site.lab, session, user, mailbox)


def sound(site):
    """The database is."""
    eq(site.lab.cluster.psql("SELECT * FROM pgbox.invariant_violations"), [])


def refused_in_time(user, sessions, lmtp):
    """Whatever needs the primary gets a temporary failure. All at once, but each
    writes to a mailbox of its own: those of one mailbox wait for each other."""
    commands = (("STORE 1 +FLAGS (\\Flagged)",), ("APPEND box ", Lit(simple(0, subject="refused"))), ("COPY 1:3 copies",),
                ("SELECT box",))
    begin = time.monotonic()
    tags = [session.send(*command) for session, command in zip(sessions, commands)]
    code, text = lmtp.deliver(simple(0, subject="refused"), user)[user]
    true(400 <= code < 500, text)
    for session, command, tag in zip(sessions, commands, tags):
        later(session.finish(tag), command[0])
    true(time.monotonic() - begin < PATIENCE, "it took %.1f s" % (time.monotonic() - begin))


def works_without(session):
    """What is known on the node is told, in spite of all."""
    reply = within(PATIENCE, lambda: session.ok("FETCH 1:20 (UID FLAGS)"))
    eq(len(reply.fetches()), 20)


def works(session):
    """The other node doesn't notice."""
    for line in ("STORE 2 +FLAGS (\\Answered)", "STORE 3 +FLAGS (\\Deleted)", "EXPUNGE"):
        within(QUICK, lambda: session.ok(line))
    within(QUICK, lambda: session.ok("APPEND INBOX ", Lit(simple(0, subject="during"))))


def cut_off(site, host, node, other):
    """That host can't reach the primary for a while."""
    lab = site.lab
    user = lab.user(*site.nodes)
    there = lab.imap(user, other)
    fill(there, "INBOX", 20)
    there.ok("CREATE box")
    there.ok("CREATE copies")
    there.ok("SELECT INBOX")
    waiting, *sessions = [opened(site, node, user) for _ in range(5)]
    session, lmtp = sessions[0], lab.lmtp(node)
    tag = waiting.idle()
    node.expect_log("Error: ")
    with site.network.without(host, site.primary):
        refused_in_time(user, sessions, lmtp)
        works_without(session)
        works(there)
    healed = time.monotonic()
    eventually_ok(session, "NOOP")
    after = time.monotonic() - healed
    waiting.wait_untagged(lambda item: item.name == "EXISTS", timeout=20)
    print("# %s: works again after %.1f s, IDLE has heard after %.1f s" % (node.name, after, time.monotonic() - healed))
    waiting.done(tag)
    eq(lmtp.deliver(PLAIN, user)[user][0], 250)
    session.ok("STORE 4 +FLAGS (kw)")
    agree(site, user, "INBOX", "box", "copies")
    subjects = found(lab, user)
    eq((len(subjects["during"]), subjects.get("refused")), (1, None), "what is OK is there once, what was refused isn't")


@only("pgbox")
@timeout(120)
def test_node_and_primary(lab):
    """A node that is cut off says so in time; the other goes on; then both agree."""
    site = Site(lab)
    cut_off(site, site.a, site.node_a, site.node_b)
    cut_off(site, site.b, site.node_b, site.node_a)
    sound(site)


def read_by(site, user):
    """A session on each node that has selected INBOX, and the standby has all of it."""
    fill(site.lab.imap(user, site.node_b), "INBOX", 60)
    site.lab.replica.catch_up()
    return [opened(site, node, user) for node in site.nodes]


@only("pgbox")
@timeout(120)
def test_node_and_replica(lab):
    """It is waited for once, left out with one warning, and taken back."""
    site = Site(lab)
    user = lab.user(*site.nodes)
    client, other = read_by(site, user)
    eq(len(bodies(client, 1, 10)), 10)
    with site.network.without(site.a, site.replica):
        eq(len(within(1 + QUICK, lambda: bodies(client, 11, 20))), 10)
        eq(len(within(0.9, lambda: bodies(client, 21, 30))), 10)
        eq(len(within(0.9, lambda: bodies(other, 21, 30))), 10)
        client.ok("STORE 1 +FLAGS (\\Flagged)")
    eq(len(warnings(site.node_a)), 1)
    has(LEFT_OUT, warnings(site.node_a)[0])
    eq(warnings(site.node_b), [])
    time.sleep(RETRY + 0.5)
    eq(len(bodies(client, 31, 40)), 10)
    eq(len(warnings(site.node_a)), 2)
    has("serves us again", warnings(site.node_a)[1])
    agree(site, user)
    sound(site)


@only("pgbox")
@timeout(120)
def test_primary_and_replica(lab):
    """What the standby doesn't have comes from the primary; it follows again."""
    site = Site(lab)
    user = lab.user(*site.nodes)
    client, other = read_by(site, user)
    with site.network.without(site.primary, site.replica):
        client.ok("APPEND INBOX ", Lit(simple(0, subject="new")))
        client.ok("STORE 1:60 +FLAGS (\\Flagged)")
        for session in (client, other):
            within(QUICK, lambda: session.ok("NOOP"))
            got = within(QUICK, lambda: bodies(session, 52, 61))
            eq(len(got), 10)
            has(b"Subject: new", got[61])
        agree(site, user)
    site.lab.replica.catch_up()
    agree(site, user)
    sound(site)
    eq([warnings(node) for node in site.nodes], [[], []])


def cut_from_primary(site, pair):
    """The node that can't reach the primary if the line between the two is cut, or None."""
    for host, node in ((site.a, site.node_a), (site.b, site.node_b)):
        if set(pair) == {host, site.primary}:
            return node
    return None


def cut_under(site, workers, pair):
    """Cut that line while they work; who can reach the primary goes on. Returns how
    long it takes until all work again."""
    lost = cut_from_primary(site, pair)
    # so long that commands fail
    end = time.monotonic() + (7 if lost else 2)
    with site.network.without(*pair):
        wait_for_work([worker for worker in workers if worker.node is not lost], time.monotonic(), PATIENCE)
        time.sleep(max(0, end - time.monotonic()))
    return wait_for_work(workers, time.monotonic(), 20)


@only("pgbox")
@timeout(200)
def test_every_line_under_load(lab):
    """Both nodes work on the same mailboxes while one line after the other is cut:
    what was answered with OK is there, once, and who can reach the primary goes on."""
    site = Site(lab)
    workers = []
    for kind in (Append, Deliver, Store, Expunge, Move):
        user = lab.user(*site.nodes)
        lab.imap(user, site.node_a).ok("CREATE box")
        workers += [kind(node, user, len(workers) + number) for number, node in enumerate(site.nodes)]
    for node in site.nodes:
        node.expect_log("Error: ")
    for worker in workers:
        worker.start()
    wait_for_work(workers, time.monotonic(), 20)
    names = {site.a: "a", site.b: "b", site.primary: "primary", site.replica: "replica"}
    for pair in itertools.combinations(names, 2):
        print("# %s and %s apart: all work %.1f s after that" % (*[names[host] for host in pair], cut_under(site, workers, pair)))
    for worker in workers:
        worker.stop.set()
    for worker in workers:
        worker.join(30)
        judge(lab, worker)
    print("# %d OKs, %d others" % tuple(sum(len(part) for part in parts) for parts in zip(*[(w.done, w.maybe) for w in workers])))
    true(any(worker.maybe for worker in workers), "the cuts were felt")
    lab.replica.catch_up()
    for user in {worker.user for worker in workers}:
        agree(site, user, "INBOX", "box")
    sound(site)
