"""What signals cost, how soon they come, and what a crowd holds of PostgreSQL:
figures, so nothing runs beside."""

import os
import resource
import select
import statistics
import subprocess
import threading
import time

import proc
from imapclient import Lit
from mails import PLAIN, fill, simple
from push import backends, exists, fetched, idler, nodes, services
from tap import eq, only, timeout, true

LATENCY_ROUNDS = 40
LATENCY_SECONDS = 0.05
SESSIONS = int(os.environ.get("PGBOX_TEST_SESSIONS", "500"))
# each user's ten devices are spread over both nodes
USERS = max(1, SESSIONS // 10)
# sessions that work while the others wait
ACTIVE = 50
ACTIVE_SECONDS = 8
PAUSE = 0.3
BACKENDS_MAX = 60
# how many log in at a time
GATES = 6
# what one service lets look at a time; with the default of 8 those who look on
# could add 16 backends to the 50 of those who work and the services' two
WAKES = 3
CROWD = """
default_client_limit = 5000
plugin {
  pgbox_notify_wakes = %d
}
service imap {
  process_limit = 2000
}
service imap-login {
  process_min_avail = 1
  vsz_limit = 0
}
""" % WAKES


@only("pgbox")
@timeout(120)
def test_latency(lab):
    """From the answer of the command that commits to the other node's client."""
    one, two = nodes(lab)
    user = lab.user(one)
    writer = lab.imap(user, one)
    fill(writer, "INBOX", 1)
    writer.ok("SELECT INBOX")
    waiting, _ = idler(lab, user, two)
    times = []
    for number in range(LATENCY_ROUNDS):
        flag = "lat%d" % number
        begun = time.monotonic()
        tag = writer.send("STORE 1 +FLAGS.SILENT (%s)" % flag)
        writer.finish(tag)
        committed = time.monotonic()
        waiting.wait_untagged(fetched(flag))
        # the client may have it before the writer has its answer
        times.append((max(0.0, time.monotonic() - committed), time.monotonic() - begun))
        time.sleep(0.05)
    over = sorted(first for first, _ in times)
    whole = sorted(second for _, second in times)
    print("# push: median %.1f ms, 95%% %.1f ms over the commit; %.1f ms with it" % (
        statistics.median(over) * 1000, over[int(len(over) * 0.95)] * 1000,
        statistics.median(whole) * 1000))
    true(statistics.median(over) < LATENCY_SECONDS, "median %.3f s" % statistics.median(over))


class Census:
    """Counts the plugin's backends all the time."""

    def __init__(self, lab):
        self._path = os.path.join(lab.dir, "census")
        self._out = open(self._path, "w")
        self._psql = subprocess.Popen(["psql", "-XAtq", lab.cluster.uri()], stdin=subprocess.PIPE, stdout=self._out)
        self._psql.stdin.write(b"SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgbox_dovecot'\n\\watch 0.1\n")
        self._psql.stdin.flush()
        self._seen = 0

    def _counts(self):
        with open(self._path) as handle:
            return [int(line) for line in handle.read().split("\n")[:-1] if line]

    def highest(self):
        """The largest number since the last call."""
        proc.wait_for(lambda: len(self._counts()) > self._seen, 10, "a count")
        counts = self._counts()
        new, self._seen = counts[self._seen:], len(counts)
        return max(new)

    def close(self):
        """Count no more."""
        self._psql.kill()
        self._psql.wait()
        self._psql.stdin.close()
        self._out.close()


class Way:
    """How the crowd reaches PostgreSQL: a socket that leads there, or to a pooler.
    Sessions that have no connection find the other way when they need one."""

    def __init__(self, lab):
        self._lab = lab
        self._folder = os.path.join(lab.dir, "way")
        os.mkdir(self._folder)
        self.lead(lab.cluster.socket, 5432)

    def database(self):
        """A conninfo string for nodes."""
        return "host=%s port=5432 dbname=pgbox user=pgbox_dovecot" % self._folder

    def lead(self, folder, port):
        """From now on it leads to this socket."""
        new = os.path.join(self._folder, "new")
        os.symlink(os.path.join(folder, ".s.PGSQL.%d" % port), new)
        os.rename(new, os.path.join(self._folder, ".s.PGSQL.5432"))

    def lead_to_pooler(self):
        """The same, to the example's PgBouncer."""
        pooler = self._lab.pooler("crowd", extra="")
        self.lead(pooler.folder, pooler.port)


class Crowd:
    """Sessions in IDLE, on two nodes in turn."""

    def __init__(self, lab):
        self.lab = lab
        self.way = Way(lab)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 4 * SESSIONS:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8 * SESSIONS), hard))
        self.nodes = nodes(lab, "crowd1", "crowd2", extra=CROWD, database=self.way.database(),
                           direct=lab.cluster.uri("pgbox_dovecot"))
        self.users = [lab.user(self.nodes[0]) for _ in range(USERS)]
        # [(session, tag of its IDLE)], by the number of its user and device
        self.sessions = [None] * SESSIONS

    def _enter(self, gate):
        for number in range(gate, SESSIONS, GATES):
            self.sessions[number] = idler(self.lab, self.users[number % USERS], self.nodes[number // USERS % 2])

    def grow(self):
        """Log in and IDLE."""
        together(self._enter, range(GATES))

    def until_told(self, predicate):
        """Wait until all have been told."""
        pending = {session.fileno(): session for session, _ in self.sessions}
        poll = select.poll()
        for number in pending:
            poll.register(number, select.POLLIN)
        while pending:
            for number, _ in poll.poll(100):
                poll.unregister(number)
                pending.pop(number).wait_untagged(predicate)

    def work(self, number):
        """One of them changes its INBOX, which its user's other devices see; how long
        its commands took."""
        session, tag = self.sessions[number]
        session.done(tag)
        until = time.monotonic() + ACTIVE_SECONDS
        times = []
        while time.monotonic() < until:
            for command in (("STORE 1 +FLAGS (\\Seen)",), ("FETCH 1 BODY.PEEK[]",), ("APPEND INBOX ", Lit(simple(1))),
                            ("STORE 1 -FLAGS (\\Seen)",), ("NOOP",)):
                begun = time.monotonic()
                session.ok(*command)
                times.append(time.monotonic() - begun)
                time.sleep(PAUSE)
        self.sessions[number] = (session, session.idle())
        return times


def together(function, arguments):
    """Call it in threads, one for each argument; return the results."""
    results, failures = [], []

    def call(argument):
        try:
            results.append(function(argument))
        except Exception as error:  # pylint: disable=broad-except
            failures.append(repr(error))
    threads = [threading.Thread(target=call, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eq(failures, [])
    return results


def be_told(lab, crowd, census, number):
    """All get a message; the largest number of backends meanwhile."""
    census.highest()
    begun = time.monotonic()
    answers = lab.lmtp(crowd.nodes[0]).deliver(PLAIN, *crowd.users)
    eq({answer[0] for answer in answers.values()}, {250})
    delivered = time.monotonic() - begun
    crowd.until_told(exists(number))
    highest = census.highest()
    print("# at most %d backends while all are told of a message; %.1f s after %.1f s to deliver it" % (
        highest, time.monotonic() - begun - delivered, delivered))
    return highest


def be_busy(crowd, census, how):
    """Some work and the others look on; the largest number of backends."""
    census.highest()
    times = sorted(sum(together(crowd.work, range(ACTIVE)), []))
    highest = census.highest()
    print("# %s: at most %d backends while %d of %d work; %d commands, median %.0f ms, 99%% %.0f ms" % (
        how, highest, ACTIVE, SESSIONS, len(times), statistics.median(times) * 1000,
        times[int(len(times) * 0.99)] * 1000))
    return highest


@only("pgbox")
@timeout(540)
def test_crowd(lab):
    """Many sessions on two nodes. In IDLE they hold no connection to PostgreSQL but
    those of the two services; when all have news they take turns; when 50 work,
    PostgreSQL has at most 60 backends, and with PgBouncer no more than that has."""
    crowd = Crowd(lab)
    census = Census(lab)
    begun = time.monotonic()
    crowd.grow()
    print("# %d sessions in IDLE after %.0f s, at most %d backends meanwhile" % (
        SESSIONS, time.monotonic() - begun, census.highest()))
    proc.wait_for(lambda: backends(lab) == services(lab), 20, "connections to be closed")
    # of the services, of sessions whose turn it is, and of the delivery
    told = be_told(lab, crowd, census, 1)
    others = services(lab) - 2
    true(told <= others + 2 + 2 * WAKES + 1, "%d backends while all looked" % told)
    busy = be_busy(crowd, census, "without a pooler")
    true(busy <= others + BACKENDS_MAX, "%d backends while %d worked" % (busy, ACTIVE))
    proc.wait_for(lambda: backends(lab) == services(lab), 20, "connections to be closed")
    crowd.way.lead_to_pooler()
    busy = be_busy(crowd, census, "with PgBouncer")
    # default_pool_size
    true(2 < busy - others <= 2 + 20, "%d backends while %d worked" % (busy, ACTIVE))
    census.close()
