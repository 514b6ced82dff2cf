"""What signals cost and how soon they come: figures, so nothing runs beside."""

import resource
import select
import statistics
import time

import proc
from imapclient import Lit
from mails import PLAIN, fill, simple
from push import backends, exists, fetched, idler, nodes
from tap import eq, only, timeout, true

LATENCY_ROUNDS = 40
LATENCY_SECONDS = 0.05
SESSIONS = 1000
USERS = 10
# what one service lets look at a time (pgbox_notify_wakes)
WAKES = 8
CROWD = """
default_client_limit = 5000
service imap {
  process_limit = 2000
}
service imap-login {
  process_min_avail = 1
  vsz_limit = 0
}
"""


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


class Crowd:
    """Sessions in IDLE, on two nodes in turn."""

    def __init__(self, lab):
        self.lab = lab
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 4 * SESSIONS:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8 * SESSIONS), hard))
        self.nodes = nodes(lab, "crowd1", "crowd2", extra=CROWD)
        self.users = [lab.user(self.nodes[0]) for _ in range(USERS)]
        self.sessions = []

    def grow(self):
        """Log in and IDLE."""
        for number in range(SESSIONS):
            client, _ = idler(self.lab, self.users[number % USERS], self.nodes[number // USERS % 2])
            self.sessions.append(client)

    def highest_until_told(self, predicate):
        """The largest number of connections seen until all have been told."""
        pending = {session.fileno(): session for session in self.sessions}
        highest = 0
        while pending:
            for number in select.select(list(pending), [], [], 0.1)[0]:
                pending.pop(number).wait_untagged(predicate)
            highest = max(highest, backends(self.lab))
        return highest


@only("pgbox")
@timeout(400)
def test_thousand_idle(lab):
    """A thousand sessions in IDLE hold no connection to PostgreSQL but those of
    the two services; when all have news they take turns."""
    crowd = Crowd(lab)
    crowd.grow()
    proc.wait_for(lambda: backends(lab) <= 10, 60, "connections to be closed")
    time.sleep(3)
    at_rest = backends(lab)
    answers = lab.lmtp(crowd.nodes[0]).deliver(PLAIN, *crowd.users)
    eq({answer[0] for answer in answers.values()}, {250})
    begun = time.monotonic()
    highest = crowd.highest_until_told(exists(1))
    took = time.monotonic() - begun
    print("# %d sessions in IDLE: %d connections at rest, at most %d while all looked, in %.1f s" % (
        SESSIONS, at_rest, highest, took))
    true(at_rest <= 10, "%d connections at rest" % at_rest)
    # of the services, of sessions whose turn it is, and of the delivery
    true(highest <= 2 + 2 * WAKES + 1, "%d connections at most" % highest)
