"""What one mail takes in each table, and what a change writes to the WAL."""

from corpus import Corpus
from sides import Side

TABLES = """
SELECT c.relname,
       pg_catalog.pg_relation_size(c.oid),
       pg_catalog.pg_indexes_size(c.oid),
       COALESCE(pg_catalog.pg_total_relation_size(NULLIF(c.reltoastrelid, 0)), 0)
  FROM pg_catalog.pg_class AS c
 WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind = 'r'
 ORDER BY pg_catalog.pg_total_relation_size(c.oid) DESC"""
WAL = "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')"
# what a delivered mail is made of: without attachments, so that tables are compared with rows and not with bodies
BODY_MAX = 8000


class Sizing:
    """A store of its own and one user in it."""

    def __init__(self, lab, mails):
        self._psql = lab.cluster.psql
        self._side = Side(lab, "pgbox")
        self._user = self._side.user()
        self._mails = mails
        self._bytes = 0
        self.tombstone = []
        # how many pages are written whole depends on how often there is a checkpoint
        self._psql("CHECKPOINT")
        self._psql("ALTER SYSTEM SET full_page_writes = off")
        self._psql("SELECT pg_reload_conf()")

    def _sizes(self):
        self._psql("VACUUM")
        return {row[0]: [int(size) for size in row[1:]] for row in self._psql(TABLES)}

    def _wal(self, action, count):
        """Bytes of WAL of one of `count` that the action does."""
        before = int(self._psql(WAL)[0][0])
        action()
        return (int(self._psql(WAL)[0][0]) - before) / count

    def _deliver(self):
        session = self._side.node.lmtp()
        for message in Corpus(body_max=BODY_MAX).messages(self._mails, 9000000):
            session.deliver(message, self._user)
            self._bytes += len(message)
        session.close()

    def _each(self, command):
        """A command for each message by itself."""
        def run():
            client = self._side.node.imap(self._user)
            client.ok("SELECT INBOX")
            for seq in range(1, self._mails + 1):
                client.ok(command % seq)
            client.close()
        return run

    def _at_once(self, *commands):
        """Commands for all messages."""
        def run():
            client = self._side.node.imap(self._user)
            client.ok("SELECT INBOX")
            for command in commands:
                client.ok(command, timeout=300)
            client.close()
        return run

    def tables(self):
        """{table: bytes for each mail in the table, its indexes, its TOAST}; and the mean mail."""
        before = self._sizes()
        wal = self._wal(self._deliver, self._mails)
        after = self._sizes()
        grown = {name: [(new - old) / self._mails for new, old in zip(after[name], before[name])] for name in after}
        return {name: sizes for name, sizes in grown.items() if sum(sizes) >= 0.5}, self._bytes / self._mails, wal

    def changes(self):
        """{what: bytes of WAL for each message}."""
        client = self._side.node.imap(self._user)
        client.ok("CREATE Copies")
        client.ok("CREATE Moved")
        client.close()
        found = {"STORE of 1, each": self._wal(self._each("STORE %d +FLAGS.SILENT (\\Seen)"), self._mails)}
        found["STORE of all, each message"] = self._wal(self._at_once("STORE 1:* +FLAGS.SILENT (\\Flagged)"), self._mails)
        found["COPY of all, each message"] = self._wal(self._at_once("COPY 1:* Copies"), self._mails)
        found["MOVE of all, each message"] = self._wal(self._at_once("MOVE 1:* Moved"), self._mails)
        before = self._sizes()["expunged"]
        client = self._side.node.imap(self._user)
        client.ok("SELECT Moved")
        client.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)", timeout=300)
        found["EXPUNGE of all, each message"] = self._wal(lambda: client.ok("EXPUNGE", timeout=300), self._mails)
        client.close()
        after = self._sizes()["expunged"]
        self.tombstone = [(new - old) / self._mails for new, old in zip(after, before)]
        return found


def measure(lab, quick):
    """Print both tables; returns what the JSON file has."""
    sizing = Sizing(lab, 500 if quick else 2000)
    tables, mean, delivery = sizing.tables()
    print("a mail of %d bytes, in its mean, takes" % mean)
    print("%-24s %10s %10s %10s" % ("bytes", "table", "indexes", "TOAST"))
    for name, sizes in tables.items():
        print("%-24s" % name + "".join(" %10.0f" % size for size in sizes))
    changes = dict({"delivery": delivery}, **sizing.changes())
    print("%-24s" % "expunged (a tombstone)" + "".join(" %10.0f" % size for size in sizing.tombstone))
    print("\n%-32s %10s" % ("WAL without full pages", "bytes"))
    for what, size in changes.items():
        print("%-32s %10.0f" % (what, size))
    return {"mean": mean, "tables": tables, "tombstone": sizing.tombstone, "wal": changes}
