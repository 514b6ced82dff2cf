"""An administrator changes rows in psql while clients of two nodes look on."""

import os
import random
import time

from cache_truth import Truth, check
from imapclient import parse_set
from imapview import View
from mails import fill
from push import nodes, quickly
from tap import eq, has, only, timeout, true

SEED = int(os.environ.get("PGBOX_TEST_SEED") or time.time())
ROUNDS = 4
BOXES = ("INBOX", "box")
ALL = "mailbox_id IN (%(INBOX)s, %(box)s)"
# what a transaction is made of; n is a number that varies
STATEMENTS = (
    "UPDATE pgbox.message_state SET flags = flags # %(flags)d WHERE " + ALL + " AND uid %% %(n)d = 0",
    "UPDATE pgbox.message_state SET flags = %(flags)d WHERE mailbox_id = %(INBOX)s AND uid %% %(n)d = 1",
    "UPDATE pgbox.message_state SET keywords = pgbox.keywords_change(keywords,"
    " pgbox.keyword_use(mailbox_id, 'k%(flags)d', '$Label'), NULL, false) WHERE " + ALL + " AND uid %% %(n)d = 2",
    "UPDATE pgbox.message_state SET keywords = NULL WHERE " + ALL + " AND uid %% %(n)d = 3",
    "DELETE FROM pgbox.message WHERE " + ALL + " AND uid %% 11 = %(n)d",
    "INSERT INTO pgbox.message (mailbox_id, content_id, guid, received_at) SELECT %(box)s, content_id, guid, received_at"
    " FROM pgbox.message WHERE mailbox_id = %(INBOX)s AND uid %% 7 = %(n)d",
    "WITH gone AS (DELETE FROM pgbox.message WHERE mailbox_id = %(box)s AND uid %% 13 = %(n)d RETURNING content_id, guid)"
    " INSERT INTO pgbox.message (mailbox_id, content_id, guid) SELECT %(INBOX)s, content_id, guid FROM gone",
    # born and gone between two pulls
    "WITH born AS (INSERT INTO pgbox.message (mailbox_id, content_id) SELECT mailbox_id, content_id FROM pgbox.message"
    " WHERE mailbox_id = %(INBOX)s ORDER BY uid LIMIT 2 RETURNING mailbox_id, uid) SELECT 1 FROM born;"
    " DELETE FROM pgbox.message WHERE mailbox_id = %(INBOX)s AND uid = (SELECT max(uid) FROM pgbox.message"
    " WHERE mailbox_id = %(INBOX)s)",
)


class Watcher:
    """A session in IDLE, and what it was told."""

    def __init__(self, lab, user, node, box):
        self.lab, self.user, self.box = lab, user, box
        self.client = lab.imap(user, node)
        self.client.ok("ENABLE QRESYNC")
        self.look()

    def look(self):
        """All of the mailbox, anew; it equals the database. Then IDLE."""
        truth = check(self.lab, self.client, self.user, self.box)
        self.view = View(truth.messages)
        for item in self.client.ok("UID FETCH 1:* (FLAGS MODSEQ)").untagged:
            self.view.apply(item)
        self.tag = self.client.idle()

    def told(self, truth):
        """Whether it was told of all that is so, but for what new messages are."""
        known = set(self.view.known())
        return (len(self.view) == truth.messages and known <= set(truth.rows)
                and all((self.view.modseqs[uid], self.view.flags[uid]) == truth.rows[uid][:2] for uid in known))

    def wait(self):
        """Be told of everything that the database has; nothing more than that."""
        truth = Truth(self.lab, self.user, self.box)

        def heard(item):
            self.view.apply(item)
            return self.told(truth)
        if not self.told(truth):
            self.client.wait_untagged(heard)

    def quiet(self):
        """What comes within a moment, beyond what it waited for."""
        items = self.client.quiet(0.3)
        for item in items:
            self.view.apply(item)
        return items

    def rest(self):
        """Leave IDLE, compare everything, go on."""
        for item in self.client.done(self.tag).untagged:
            self.view.apply(item)
        self.look()


def transaction(dice, ids):
    """Some statements, in any order."""
    return ";\n".join(sql % dict(ids, flags=dice.randrange(32), n=dice.randrange(4, 7))
                      for sql in dice.choices(STATEMENTS, k=dice.randrange(1, 5)))


def come_back(lab, user, node, box, known):
    """A client that was away: told by QRESYNC what it doesn't know."""
    truth = Truth(lab, user, box)
    client = lab.imap(user, node)
    client.ok("ENABLE QRESYNC")
    reply = client.ok("SELECT ", box, " (QRESYNC (%d %d))" % (known.validity, known.highest))
    vanished = {uid for item in reply.all("VANISHED") for uid in parse_set(item.data[-1])}
    true(set(known.rows) - set(truth.rows) <= vanished, "told %r" % vanished)
    eq(vanished & set(truth.rows), set(), "vanished, and there")
    told = {int(item["UID"]): int(item["MODSEQ"][0]) for item in reply.fetches().values()}
    eq(told, {uid: row[0] for uid, row in truth.rows.items() if row[0] > known.highest}, "changed since")
    client.logout()


@only("pgbox")
@timeout(240)
def test_plain_dml_under_idle_and_qresync(lab):
    """UPDATE, DELETE, INSERT in any transaction: everybody sees it, ROLLBACK nobody."""
    dice = random.Random(SEED)
    both = nodes(lab)
    user = lab.user(both[0])
    writer = lab.imap(user, both[0])
    writer.ok("CREATE box")
    for box in BOXES:
        fill(writer, box, 30)
    watchers = [Watcher(lab, user, node, box) for node in both for box in BOXES]
    ids = {box: Truth(lab, user, box).mailbox_id for box in BOXES}
    for number in range(ROUNDS):
        known = {box: Truth(lab, user, box) for box in BOXES}
        change = transaction(dice, ids)
        try:
            lab.cluster.psql("BEGIN;\n%s;\nROLLBACK" % change)
            eq([watcher.quiet() for watcher in watchers], [[]] * 4, "ROLLBACK")
            lab.cluster.psql("BEGIN;\n%s;\nCOMMIT" % change)
            for watcher in watchers:
                watcher.wait()
            for watcher in watchers:
                watcher.rest()
            for node in both:
                for box in BOXES:
                    come_back(lab, user, node, box, known[box])
        except Exception as error:
            raise AssertionError("round %d, PGBOX_TEST_SEED=%d, after\n%s\n%s" % (number, SEED, change, error)) from error
        # and the plugin's own changes go on from there
        writer.ok("SELECT INBOX")
        writer.ok("STORE 1:3 +FLAGS (mine%d)" % number)
        writer.ok("COPY 1 box")
        for watcher in watchers:
            watcher.wait()
            watcher.quiet()
    print("# PGBOX_TEST_SEED=%d" % SEED)


@only("pgbox")
@timeout(120)
def test_tree_by_plain_dml(lab):
    """Rename, delete, restore, subscribe: NOTIFY tells, both nodes have it."""
    both = nodes(lab)
    user = lab.user(both[0])
    writer = lab.imap(user, both[0])
    writer.ok("CREATE old/sub")
    writer.ok("CREATE old")
    fill(writer, "old", 3)
    waiting = [lab.imap(user, node) for node in both]
    for client in waiting:
        client.ok("NOTIFY SET (personal (MailboxName SubscriptionChange MessageNew MessageExpunge FlagChange))")
    mailbox = Truth(lab, user, "old").mailbox_id
    for sql, wanted in (
            ("UPDATE pgbox.mailbox SET name = 'new' WHERE mailbox_id = %s", b"new"),
            ("INSERT INTO pgbox.subscription SELECT account_id, 'new' FROM pgbox.mailbox WHERE mailbox_id = %s", b"Subscribed"),
            ("DELETE FROM pgbox.mailbox WHERE mailbox_id = %s", b"new"),
            ("UPDATE pgbox.mailbox SET deleted_at = NULL, name = 'back' WHERE mailbox_id = %s", b"back")):
        for client in waiting:
            client.quiet(0.5)
        lab.cluster.psql("BEGIN; " + sql % mailbox + "; ROLLBACK")
        eq([client.quiet(0.5) for client in waiting], [[], []], "ROLLBACK")
        lab.cluster.psql(sql % mailbox)
        for client in waiting:
            quickly(client, lambda item, w=wanted: item.name == "LIST" and w in repr(item.data).encode(), 5)
    for node in both:
        client = lab.imap(user, node)
        names = sorted(item.data[2] for item in client.ok('LIST "" *').all("LIST"))
        eq(names, [b"INBOX", b"back", b"new", b"new/sub"])
        check(lab, client, user, "back")
        check(lab, client, user, "new/sub")


@only("pgbox")
@timeout(120)
def test_mailbox_deleted_by_plain_dml_under_idle(lab):
    """Who has it open is told that it is gone; INBOX comes anew."""
    both = nodes(lab)
    user = lab.user(both[0])
    fill(lab.imap(user, both[0]), "INBOX", 3)
    waiting = lab.imap(user, both[1])
    waiting.ok("SELECT INBOX")
    waiting.idle()
    for node in both:
        node.expect_log("Error: .*deleted under")
    lab.cluster.psql("DELETE FROM pgbox.mailbox WHERE mailbox_id = %s" % Truth(lab, user).mailbox_id)
    waiting.wait_untagged(lambda item: item.name in ("BYE", "NO"))
    for node in both:
        eq(check(lab, lab.imap(user, node), user).messages, 0)


@only("pgbox")
@timeout(60)
def test_repair_reaches_clients(lab):
    """What was wrong and is repaired, nodes read anew."""
    both = nodes(lab)
    user = lab.user(both[0])
    fill(lab.imap(user, both[0]), "INBOX", 4)
    clients = [lab.imap(user, node) for node in both]
    for client in clients:
        check(lab, client, user)
        client.ok("UNSELECT")
    mailbox = Truth(lab, user).mailbox_id
    lab.cluster.psql("SET session_replication_role = replica;"
                     " DELETE FROM pgbox.message_state WHERE mailbox_id = %s AND uid = 2;"
                     " UPDATE pgbox.mailbox_counter SET unseen = 1, messages = 1 WHERE mailbox_id = %s" % (mailbox, mailbox))
    has(["a message has a state"], lab.cluster.psql("SELECT rule FROM pgbox.invariant_violations"))
    lab.cluster.psql("SELECT pgbox.mailbox_repair(%s)" % mailbox)
    eq(lab.cluster.psql("SELECT rule FROM pgbox.invariant_violations"), [])
    for client in clients:
        eq(sorted(check(lab, client, user).rows), [1, 2, 3, 4])


@only("pgbox")
@timeout(60)
def test_deletions_and_renames_are_on_record(lab):
    """Who did it, from where: a client, doveadm, psql as another role."""
    user = lab.user()
    c = lab.imap(user)
    for box in ("mine", "theirs", "sql", "node/child"):
        c.ok("CREATE ", box)
    fill(c, "mine", 1)
    c.ok("RENAME mine ours")
    c.ok("DELETE ours")
    c.ok("DELETE node/child")
    c.ok("DELETE node")
    client, admin = "imap %s from 127.0.0.1" % user, "doveadm %s" % user
    lab.node().doveadm("mailbox", "rename", "theirs", "others", user=user)
    lab.node().doveadm("mailbox", "delete", "-Z", "others", user=user)
    lab.cluster.psql("SET ROLE pgbox_admin; UPDATE pgbox.mailbox AS m SET deleted_at = now() FROM pgbox.account AS a"
                     " WHERE a.account_id = m.account_id AND a.name = '%s' AND m.name = 'sql'" % user)
    eq(lab.cluster.psql("SELECT folder, what, COALESCE(new_name, ''), done_by FROM pgbox.folder_history WHERE account = '%s'"
                        " ORDER BY done_at" % user), [
        ["mine", "renamed", "ours", "pgbox_dovecot: " + client], ["ours", "deleted", "", "pgbox_dovecot: " + client],
        ["node/child", "deleted", "", "pgbox_dovecot: " + client], ["node", "deleted", "", "pgbox_dovecot: " + client],
        ["theirs", "renamed", "others", "pgbox_dovecot: " + admin], ["others", "deleted", "", "pgbox_dovecot: " + admin],
        ["sql", "deleted", "", "postgres as pgbox_admin"]])
    eq(lab.cluster.psql("SELECT folder, deleted_reason FROM pgbox.folder_overview WHERE account = '%s' AND deleted_at IS NOT NULL"
                        " ORDER BY deleted_at" % user),
       [["ours", client], ["node/child", client], ["others", admin], ["sql", "SQL by postgres as pgbox_admin"]])
    eq(lab.cluster.psql("SELECT state, reason FROM pgbox.mail_history WHERE account = '%s' AND folder = 'ours'" % user),
       [["deleted with its mailbox", client]])
