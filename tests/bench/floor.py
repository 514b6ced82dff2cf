"""What PostgreSQL itself takes: the same bytes, the same rows, by floor.c."""

import os

import proc

# all that is stored of a mailbox's messages, in their order
READ = """
SELECT p.header, p.data
  FROM (SELECT g.uid, 0 AS number, c.header, b.head AS data
          FROM pgbox.message AS g
          JOIN pgbox.content AS c ON c.content_id = g.content_id
          LEFT JOIN pgbox.body AS b ON b.body_id = c.body_id
         WHERE g.mailbox_id = $1::bigint
         UNION ALL
        SELECT g.uid, k.number, NULL, k.data
          FROM pgbox.message AS g
          JOIN pgbox.content AS c ON c.content_id = g.content_id
          JOIN pgbox.body_chunk AS k ON k.body_id = c.body_id
         WHERE g.mailbox_id = $1::bigint) AS p
 ORDER BY p.uid, p.number"""
SIZES = """
SELECT sum(octet_length(c.header) + octet_length(b.head)
           + COALESCE((SELECT sum(octet_length(k.data)) FROM pgbox.body_chunk AS k WHERE k.body_id = b.body_id), 0))
  FROM pgbox.message AS g
  JOIN pgbox.content AS c ON c.content_id = g.content_id
  JOIN pgbox.body AS b ON b.body_id = c.body_id
 WHERE g.mailbox_id = %d"""
# the rows that a STORE of all changes, with the modseq that they all get
CHANGE = """
WITH counter AS (
  UPDATE pgbox.mailbox_counter AS c
     SET highest_modseq = c.highest_modseq + 65536
   WHERE c.mailbox_id = $1::bigint
  RETURNING c.highest_modseq)
UPDATE pgbox.message_state AS s
   SET flags = s.flags # 1, modseq = c.highest_modseq
  FROM counter AS c
 WHERE s.mailbox_id = $1::bigint"""
# without triggers: the tables alone
BARE = " options='-c session_replication_role=replica'"


class Floor:
    """A side that isn't one: no Dovecot, only libpq."""

    name = storage = "libpq"
    is_pgbox = False

    def __init__(self, lab, pgbox):
        self.pgbox = pgbox
        self._cluster = lab.cluster
        self._program = os.path.join(lab.dir, "floor")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "floor.c")
        flags = proc.run(["pkg-config", "--cflags", "--libs", "libpq"]).stdout.decode().split()
        proc.run([os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Werror", "-o", self._program, source] + flags)

    def mailbox(self, user, name="INBOX"):
        """A mailbox's number."""
        return int(self._cluster.value(
            "SELECT m.mailbox_id FROM pgbox.mailbox AS m JOIN pgbox.account AS a USING (account_id)"
            " WHERE a.name = '%s' AND m.name = '%s' AND m.deleted_at IS NULL" % (user, name)))

    def _run(self, times, sql, mailbox, options=""):
        """What the program prints: [(seconds, rows, bytes)]."""
        done = proc.run([self._program, self._cluster.uri() + options, str(times), sql, str(mailbox)], timeout=600)
        return [(float(seconds), int(rows), int(size)) for seconds, rows, size in map(bytes.split, done.stdout.splitlines())]

    def read(self, user):
        """Read all messages of the user's INBOX by one statement; the seconds."""
        mailbox = self.mailbox(user)
        # once before, since pgbox's backends are no new ones either
        seconds, _, size = self._run(2, READ, mailbox)[1]
        wanted = int(self._cluster.value(SIZES % mailbox))
        if size != wanted:
            raise AssertionError("%d bytes read of %d" % (size, wanted))
        return seconds

    def change(self, mailbox):
        """Change a flag of all messages of a mailbox, and commit; the seconds."""
        return self._run(1, CHANGE, mailbox, BARE)[0][0]
