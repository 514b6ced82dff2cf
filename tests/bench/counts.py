"""Counts that don't depend on the machine: round trips, statements, WAL, flushes."""

import time

import proc
from corpus import Corpus
from meter import Meter
from rawclient import RawClient

MAILS = 50
REPORT_SECONDS = 10.5
COUNT = 1000


class Costs:
    """What actions cost on a node of pgbox."""

    def __init__(self, lab):
        self._cluster = lab.cluster
        self._meter = Meter(lab, "counted")
        self.node = self._meter.node

    def _wal(self):
        # backends report at the latest ten seconds after their last statement
        time.sleep(REPORT_SECONDS)
        return [int(field) for field in self._cluster.psql("SELECT wal_bytes, wal_sync FROM pg_stat_wal")[0]]

    def read(self, action):
        """What an action costs that writes nothing."""
        # in a session that has a connection
        action()
        return dict(zip(("round_trips", "statements"), self._meter.count(action)))

    def write(self, action, per):
        """What it costs for each of so many messages."""
        action()
        self._cluster.psql("CHECKPOINT")
        # the first change of a page after a checkpoint writes all of it
        action()
        before = self._wal()
        found = self.read(action)
        after = self._wal()
        # read() does it twice
        found = {name: value / per for name, value in found.items()}
        return dict(found, wal_bytes=(after[0] - before[0]) / per / 2, flushes=(after[1] - before[1]) / per / 2)


def measure(lab):
    """Rows of (what, counts), without what autovacuum writes because of the workloads before."""
    lab.cluster.set(autovacuum="off")
    proc.wait_for(lambda: lab.cluster.value("SELECT count(*) FROM pg_stat_activity"
                                            " WHERE backend_type = 'autovacuum worker'") == "0", 120, "autovacuum to end")
    try:
        return counted(Costs(lab), lab)
    finally:
        lab.cluster.set(autovacuum="on")


def counted(costs, lab):
    """Rows of (what, counts)."""
    user = lab.user(costs.node)
    client = RawClient(costs.node.ports["imap"])
    client.login(user)
    client.append("INBOX", list(Corpus(body_max=4000).messages(COUNT)))
    client.command("CREATE other")
    client.command("SELECT INBOX")
    lmtp, corpus, turns = costs.node.lmtp(), Corpus(body_max=24 * 1024), iter(range(1, 1000))
    sign = {}

    def deliver():
        first = 1000000 + next(turns) * MAILS
        for message in corpus.messages(MAILS, first):
            lmtp.deliver(message, user)

    def store(messages):
        sign[messages] = "-" if sign.get(messages) == "+" else "+"
        client.command("STORE %s %sFLAGS.SILENT (\\Flagged)" % (messages, sign[messages]))

    def store_each():
        for seq in range(1, MAILS + 1):
            store(str(seq))

    def copy():
        client.command("COPY 1:%d other" % COUNT)

    rows = [
        ("SELECT of %d" % COUNT, costs.read(lambda: client.command("SELECT INBOX"))),
        ("STATUS, unselected", costs.read(lambda: client.command("STATUS other (MESSAGES UNSEEN)"))),
        ("NOOP", costs.read(lambda: client.command("NOOP"))),
        ("FETCH FLAGS of %d" % COUNT, costs.read(lambda: client.command("FETCH 1:* FLAGS"))),
        ("FETCH of %d bodies" % COUNT, costs.read(lambda: client.command("FETCH 1:%d BODY.PEEK[]" % COUNT))),
        ("STORE of 1, each", costs.write(store_each, MAILS)),
        ("STORE of %d, each message" % COUNT, costs.write(lambda: store("1:%d" % COUNT), COUNT)),
        ("COPY of %d, each message" % COUNT, costs.write(copy, COUNT)),
        ("delivery, each mail", costs.write(deliver, MAILS)),
    ]
    client.close()
    lmtp.close()
    return rows


def line(what, counts):
    """A printed line."""
    text = "%-40s %11.3f %11.3f" % (what, counts["round_trips"], counts["statements"])
    if "flushes" in counts:
        text += " %11.0f %11.3f" % (counts["wal_bytes"], counts["flushes"])
    return text


def head():
    """What stands above."""
    return "%-40s %11s %11s %11s %11s" % ("pgbox", "round trips", "statements", "WAL bytes", "flushes")
