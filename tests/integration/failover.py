"""A standby becomes the primary: what clients were told holds.

pgbox only. The tests follow each other: the server that one test promotes is
the primary of the next one. Nodes are told of all servers, and go on running."""

import os
import threading
import time

import proc
from admin_restore import Story, append
from cache_truth import check
from imapclient import ImapError, Lit
from mails import PLAIN, simple
from tap import eq, only, timeout, true
from weather import eventually_ok, later, patience

SERVERS = ("pg", "second", "third")
STATE = """
plugin {
  pgbox_connect_timeout = 2 secs
  pgbox_state_file = %s/mail/state
}
"""


def hosts(lab):
    """A connection string that names all servers, whoever leads."""
    return "host=%s port=5432 dbname=pgbox user=pgbox_dovecot target_session_attrs=read-write" % ",".join(
        os.path.join(lab.dir, name, "s") for name in SERVERS)


def the_nodes(lab):
    """Two nodes that follow the primary; their logs have errors while there is none."""
    nodes = [lab.node(name, database=hosts(lab), notify=True, extra=STATE % os.path.join(lab.dir, name)) for name in ("main", "other")]
    for node in nodes:
        node.expect_log("Error: ")
    return nodes


class Worker(threading.Thread):
    """Does one thing again and again, whatever happens. What was answered with OK
    is in done, with the time; what may or may not have happened in maybe."""

    def __init__(self, node, user, number):
        super().__init__(daemon=True)
        self.node, self.user, self.number = node, user, number
        self.client = None
        self.count = 0
        self.done, self.maybe = [], []
        self.stop = threading.Event()

    def connect(self):
        """A connection to work with."""
        self.client = self.node.imap(self.user)

    def run(self):
        while not self.stop.is_set():
            self.count += 1
            name = "w%d-%d" % (self.number, self.count)
            try:
                if not self.client:
                    self.connect()
                ok = self.work(name)
            except (ImapError, OSError, AssertionError):
                ok, self.client = False, None
                time.sleep(0.05)
            (self.done if ok else self.maybe).append((name, time.monotonic()))

    def work(self, name):
        """Do it; returns whether the answer was OK."""
        raise NotImplementedError


class Append(Worker):
    """APPEND of messages to INBOX."""

    def work(self, name):
        return self.client.cmd("APPEND INBOX ", Lit(simple(0, subject=name))).ok


class Deliver(Worker):
    """LMTP."""

    def connect(self):
        self.client = self.node.lmtp()

    def work(self, name):
        return self.client.deliver(simple(0, subject=name), self.user)[self.user][0] == 250


class Change(Worker):
    """APPEND, and then commands about that message, by its UID. A session that
    hasn't been told of it yet gets OK for nothing: the answers have to be there."""

    commands = ()

    def connect(self):
        super().connect()
        self.client.ok("SELECT INBOX")

    def work(self, name):
        uid = self.client.ok("APPEND INBOX ", Lit(simple(0, subject=name))).code.split()[2]
        for line, answer in self.commands:
            reply = self.client.cmd(line % uid)
            if not (reply.ok and reply.all(answer)):
                return False
        return True


class Store(Change):
    """STORE."""
    commands = (("UID STORE %s +FLAGS (\\Flagged)", "FETCH"),)


class Expunge(Change):
    """EXPUNGE."""
    commands = (("UID STORE %s +FLAGS (\\Deleted)", "FETCH"), ("UID EXPUNGE %s", "EXPUNGE"))


class Move(Change):
    """MOVE."""
    commands = (("UID MOVE %s box", "EXPUNGE"),)


def found(lab, user):
    """{subject: [(mailbox, flags)]} of all that the user has, as the primary knows it."""
    rows = lab.cluster.psql("SELECT substring(convert_from(c.header, 'UTF8') FROM 'Subject: ([^\\r\\n]*)'), m.name, s.flags"
                            " FROM pgbox.message g JOIN pgbox.message_state s USING (mailbox_id, uid) JOIN pgbox.content c USING (content_id)"
                            " JOIN pgbox.mailbox m USING (mailbox_id) JOIN pgbox.account a USING (account_id) WHERE a.name = '%s'" % user)
    places = {}
    for subject, name, flags in rows:
        places.setdefault(subject, []).append((name, int(flags)))
    return places


def judge(lab, worker):
    """What was answered is what there is."""
    places = found(lab, worker.user)
    for name, _ in worker.done:
        there = places.get(name, [])
        what = "%s of %s: %r" % (type(worker).__name__, name, there)
        if isinstance(worker, Expunge):
            eq(there, [], what)
            continue
        eq(len(there), 1, what)
        eq(there[0][0], "box" if isinstance(worker, Move) else "INBOX", what)
        true(there[0][1] & 2 or not isinstance(worker, Store), what)
    for name, _ in worker.maybe:
        true(len(places.get(name, [])) <= 1, "%s is there twice" % name)


def wait_for_work(workers, since, seconds):
    """Until each of them has got an OK after that time; the seconds it took."""
    def last():
        after = [[when for _, when in list(worker.done) if when > since] for worker in workers]
        return all(after) and max(times[0] for times in after)
    return proc.wait_for(last, seconds, "all to work again") - since


@only("pgbox")
@timeout(60)
def test_unconfirmed(lab):
    """The synchronous standby is away: nobody is told OK, as the primary may die, too."""
    node = lab.node("hasty", database=hosts(lab), extra=patience(2000, 1500))
    node.expect_log("Error: ")
    standby = lab.standby("second", slot=True)
    user = lab.user(node)
    c = lab.imap(user, node)
    append(c, "INBOX", "one")
    c.ok("SELECT INBOX")
    standby.set_sync()
    standby.stop("immediate")
    later(c.cmd("APPEND INBOX ", Lit(simple(0, subject="two"))), "APPEND")
    later(c.cmd("STORE 1 +FLAGS (\\Flagged)"), "STORE")
    code, text = lab.lmtp(node).deliver(PLAIN, user)[user]
    true(400 <= code < 500, text)
    true("standby" in node.log_since_mark(), "the log says why")
    standby.start()
    standby.following()
    eventually_ok(c, "NOOP")
    append(c, "INBOX", "three")


@only("pgbox")
@timeout(90)
def test_synchronous(lab):
    """kill -9 under load: nobody was told OK in vain, nothing is there twice, all go on."""
    nodes = the_nodes(lab)
    standby = lab.standby("second", slot=True)
    standby.set_sync()
    kinds = (Append, Deliver, Store, Expunge, Move, Append, Deliver)
    workers = []
    for number, kind in enumerate(kinds):
        user = lab.user(*nodes)
        lab.imap(user, nodes[0]).ok("CREATE box")
        workers.append(kind(nodes[number % 2], user, number))
    idle = lab.imap(workers[1].user, nodes[0])
    idle.ok("SELECT INBOX")
    tag = idle.idle()
    for worker in workers:
        worker.start()
    wait_for_work(workers, time.monotonic(), 20)
    time.sleep(1)
    lab.cluster.kill()
    killed = time.monotonic()
    before = sum(len(worker.done) for worker in workers)
    lab.promote(standby)
    promoted = time.monotonic()
    seconds = wait_for_work(workers, promoted, 30)
    time.sleep(1)
    for worker in workers:
        worker.stop.set()
    for worker in workers:
        worker.join(30)
        judge(lab, worker)
    print("# %d OKs before; promoted after %.1f s, all work again %.1f s later; %d OKs after" % (
        before, promoted - killed, seconds, sum(len(worker.done) for worker in workers) - before))
    # who waits is told, or has to come back
    try:
        idle.done(tag)
    except ImapError:
        pass
    eq(lab.cluster.psql("SELECT * FROM pgbox.invariant_violations"), [])
    eq(lab.cluster.value("SELECT count(*) FROM pgbox.job WHERE what = 'failover'"), "1", "counters have jumped once")
    for worker in workers[2:5]:
        for node in nodes:
            check(lab, lab.imap(worker.user, node), worker.user)


@only("pgbox")
@timeout(90)
def test_lost_commits(lab):
    """The standby lacks the latest commits, which clients and nodes have seen."""
    nodes = the_nodes(lab)
    standby = lab.standby("third")
    story = Story(lab, nodes)
    standby.catch_up()
    standby.cut()
    story.go_on()
    lost_ids = lab.cluster.value("SELECT max(mailbox_id) FROM pgbox.mailbox")

    lab.cluster.kill()
    lab.promote(standby)
    # a session that has a lost message selected: its number means nothing else now
    proc.wait_for(lambda: gone(story.devices[0].client), 20, "the session to end")
    c = proc.wait_for(lambda: back(lab, story.user, nodes[0]), 20, "logins to work")
    story.go_on_without(c)
    true(int(lab.cluster.value("SELECT max(mailbox_id) FROM pgbox.mailbox")) > int(lost_ids), "no mailbox gets the number of a lost one")


def gone(client):
    """Whether the session has been ended, or its mailbox taken from it."""
    try:
        return not client.cmd("NOOP").ok
    except ImapError:
        return True


def back(lab, user, node):
    """A new session that can work, or None."""
    c = node.imap(user)
    if c.cmd("STATUS INBOX (MESSAGES)").ok:
        c.close()
        return lab.imap(user, node)
    c.close()
    return None


@only("pgbox")
@timeout(60)
def test_old_primary(lab):
    """The one that was killed comes back, the new one is away: it is refused."""
    nodes = the_nodes(lab)
    user = lab.user(*nodes)
    sessions = [lab.imap(user, node) for node in nodes]
    append(sessions[0], "INBOX", "one")
    append(sessions[1], "INBOX", "two")
    new = lab.cluster
    old = lab.former[-1]
    new.stop()
    old.start()
    try:
        for node, session in zip(nodes, sessions):
            node.mark_log()
            node.expect_log("Error: ")
            reply = session.no("APPEND INBOX ", Lit(simple(0, subject="refused")))
            eq(reply.code, "UNAVAILABLE")
            # a process that hasn't seen the new one itself
            other = node.imap(user)
            eq(other.no("APPEND INBOX ", Lit(simple(0, subject="refused"))).code, "UNAVAILABLE")
            other.close()
            code, text = node.lmtp().deliver(PLAIN, user)[user]
            true(400 <= code < 500, text)
        lines = [line for line in nodes[0].log_since_mark().splitlines() if "left behind" in line]
        true(all("new primary" in line for line in lines), "the log says what to do:\n" + "\n".join(lines))
        eq(old.value("SELECT count(*) FROM pgbox.message g JOIN pgbox.content c USING (content_id)"
                     " WHERE position('refused'::bytea IN c.header) > 0"), "0")
    finally:
        old.stop()
        new.start()
    for session in sessions:
        proc.wait_for(lambda session=session: session.cmd("APPEND INBOX ", Lit(simple(0, subject="again"))).ok, 20, "the new one to be used")
