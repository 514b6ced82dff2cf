"""The same changes twice: by the functions, and by plain DML. Every row is the
same afterwards, but for ids, times, and who did it."""

import os
import random
import time

from sqllib import append_sql, array, create_sql, literal, store_sql, with_store
from cluster import quote
from tap import eq, timeout, true

SEED = int(os.environ.get("PGBOX_TEST_SEED") or time.time())
STEPS = 150
ZEROS = "00000000-0000-0000-0000-000000000000"
# each table, with ids told by names and without times; b is the account's
# mailbox, whose place is its name and how often that was used before
PLACES = """
WITH b AS (SELECT m.*, m.name || '#' || row_number() OVER (PARTITION BY m.name ORDER BY m.mailbox_id) AS place
             FROM pgbox.mailbox m WHERE m.account_id = %(account)d)
"""
ROWS = {
    "account": "SELECT list_modseq, enabled, password_hash FROM pgbox.account WHERE account_id = %(account)d",
    "mailbox": PLACES + "SELECT place, name, guid IS NULL, uidvalidity IS NULL, special_use, deleted_at IS NULL FROM b",
    "mailbox_counter": PLACES + "SELECT place, uid_next, highest_modseq, messages, unseen, virtual_size, first_recent_uid,"
                                " pruned_modseq FROM b JOIN pgbox.mailbox_counter USING (mailbox_id)",
    "mailbox_keyword": PLACES + "SELECT place, number, k.name FROM b JOIN pgbox.mailbox_keyword k USING (mailbox_id)",
    "mailbox_attribute": PLACES + "SELECT place, shared, key, value FROM b JOIN pgbox.mailbox_attribute a USING (mailbox_id)",
    "message": PLACES + "SELECT place, uid, content_id, g.guid, received_at, pop3_uidl, pop3_order"
                        " FROM b JOIN pgbox.message g USING (mailbox_id)",
    "message_state": PLACES + "SELECT place, uid, modseq, flags, keywords FROM b JOIN pgbox.message_state s USING (mailbox_id)",
    "expunged": PLACES + "SELECT place, uid, modseq, content_id, e.guid, received_at, flags, keywords, moved_to"
                         " FROM b JOIN pgbox.expunged e USING (mailbox_id)",
    "subscription": "SELECT name FROM pgbox.subscription WHERE account_id = %(account)d",
}
NAMES = ("a", "a/b", "a/b/c", "d", "d/e", "INBOX/sub")
NEW_NAMES = NAMES + ("n", "n/o", "p", "a/x")
KEYWORDS = ("k1", "k2", "K1", "$Label")


class Twins:
    """Two accounts that begin alike; one lives by functions, one by plain DML."""

    def __init__(self, store, dice):
        self.store = store
        self.dice = dice
        self.plain, self.called = store.account()[1], store.account()[1]
        source = store.account()[2]
        for number in range(5):
            store.save(source, b"body %d" % number)
        self.source = source
        self.contents = [int(row[0]) for row in store.admin.sql(
            "SELECT content_id FROM pgbox.message WHERE mailbox_id = %d ORDER BY uid" % source)]
        for account in (self.plain, self.called):
            for name in NAMES:
                store.create(account, name)
            store.db.sql("SELECT pgbox.attribute_set(%d, true, 'vendor/vendor.dovecot/pvt/server/comment', 'x', NULL)"
                         % store.mailbox(account, "INBOX"))

    def live(self):
        """Names of mailboxes that can hold messages."""
        return [name for name in self.store.names(self.called) if not name.startswith("[")]

    def pick(self):
        """A mailbox: its ids in both accounts, its UIDs."""
        name = self.dice.choice(self.live())
        plain, called = self.store.mailbox(self.plain, name), self.store.mailbox(self.called, name)
        uids = self.store.uids(called)
        some = sorted(self.dice.sample(uids, self.dice.randrange(len(uids) + 1))) if uids else []
        return plain, called, some

    def both(self, plain, called, alike=()):
        """Run one change both ways: the same outcome, or two of those alike."""
        outcome = []
        for sql in (plain, called):
            try:
                self.store.admin.sql(sql)
                outcome.append("done")
            except Exception as error:
                outcome.append(getattr(error, "state", repr(error)))
        if not set(outcome) <= set(alike):
            eq(outcome[0], outcome[1], "%s\n%s" % (plain, called))
        return outcome[0]

    # -- the changes ----------------------------------------------------------

    def store_flags(self):
        """STORE: flags are added and taken away."""
        plain, called, uids = self.pick()
        add, remove = self.dice.randrange(32), self.dice.randrange(32)
        return self.both(
            "UPDATE pgbox.message_state SET flags = (flags & ~%d) | %d WHERE mailbox_id = %d AND uid = ANY (%s)"
            % (remove, add, plain, array(uids, "bigint")),
            store_sql(called, uids, add=add, remove=remove))

    def store_keywords(self):
        """STORE with keywords, added or replaced."""
        plain, called, uids = self.pick()
        if not uids:
            return "none"
        words = [self.dice.choice(KEYWORDS) for _ in range(2)]
        replace = self.dice.random() < 0.3
        # the function numbers new names whether a message takes them or not
        numbers = "(SELECT pgbox.keyword_use(%d, %s))" % (plain, ", ".join(map(quote, words)))
        return self.both(
            "UPDATE pgbox.message_state SET keywords = pgbox.keywords_change(keywords, k.numbers, NULL, %s)"
            " FROM %s AS k (numbers) WHERE mailbox_id = %d AND uid = ANY (%s)" % (replace, numbers, plain, array(uids, "bigint")),
            store_sql(called, uids, keywords_add=" ".join(words), replace=replace))

    def expunge(self):
        """EXPUNGE of some."""
        plain, called, uids = self.pick()
        return self.both("DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = ANY (%s)" % (plain, array(uids, "bigint")),
                         "SELECT modseq FROM pgbox.message_expunge(%d, %s, 'x')" % (called, array(uids, "bigint")))

    def copy(self):
        """COPY out of a third account."""
        plain, called, _ = self.pick()
        uids = sorted(self.dice.sample(range(1, 6), 3))
        return self.both(
            "INSERT INTO pgbox.message (mailbox_id, content_id, guid, received_at) SELECT %d, content_id, guid, received_at"
            " FROM pgbox.message WHERE mailbox_id = %d AND uid = ANY (%s) ORDER BY uid" % (plain, self.source, array(uids, "bigint")),
            append_sql(called, *[{"source": (self.source, uid), "guid": ZEROS, "received": -1} for uid in uids]))

    def rename(self):
        """RENAME, INBOX too, often to what can't be."""
        old, new = self.dice.choice(self.store.names(self.called)).strip("[]"), self.dice.choice(NEW_NAMES)
        if old == new:
            return "done"
        how = self.dice.random() < 0.5
        # the subtree named in the statement, or found by the rules
        plain = ("UPDATE pgbox.mailbox SET name = %s WHERE account_id = %d AND deleted_at IS NULL AND name = %s"
                 % (quote(new), self.plain, quote(old)))
        if how and old != "INBOX":
            plain = ("UPDATE pgbox.mailbox SET name = %s || substr(name, %d) WHERE account_id = %d AND deleted_at IS NULL"
                     " AND (name = %s OR starts_with(name, %s))"
                     % (quote(new), len(old) + 1, self.plain, quote(old), quote(old + "/")))
        # below itself, where something is already: which row comes first?
        return self.both(plain, "SELECT pgbox.mailbox_rename(%d, %s, %s)" % (self.called, quote(old), quote(new)),
                         ("PB003", "PB006"))

    def delete(self):
        """DELETE of a mailbox, by either statement."""
        plain, called, _ = self.pick()
        return self.both(
            self.dice.choice(("UPDATE pgbox.mailbox SET deleted_at = now() WHERE mailbox_id = %d",
                              "DELETE FROM pgbox.mailbox WHERE mailbox_id = %d")) % plain,
            "SELECT pgbox.mailbox_delete(%d, %d)" % (self.called, called))

    def delete_node(self):
        """DELETE of a node, with or without children."""
        nodes = [name.strip("[]") for name in self.store.names(self.called) if name.startswith("[")]
        if not nodes:
            return "none"
        name = self.dice.choice(nodes)
        return self.both("DELETE FROM pgbox.mailbox WHERE account_id = %d AND deleted_at IS NULL AND name = %s" % (self.plain, quote(name)),
                         "SELECT pgbox.mailbox_delete_node(%d, %s)" % (self.called, quote(name)))

    def create(self):
        """What was deleted comes again, by the function in both: INSERT is refused."""
        name = self.dice.choice(NEW_NAMES)
        return self.both(create_sql(self.plain, name), create_sql(self.called, name))

    def subscribe(self):
        """SUBSCRIBE and UNSUBSCRIBE."""
        name, on = self.dice.choice(NAMES), self.dice.random() < 0.6
        return self.both(
            "INSERT INTO pgbox.subscription VALUES (%d, %s) ON CONFLICT DO NOTHING" % (self.plain, quote(name)) if on else
            "DELETE FROM pgbox.subscription WHERE account_id = %d AND name = %s" % (self.plain, quote(name)),
            "SELECT pgbox.subscription_set(%d, %s, %s)" % (self.called, quote(name), literal(on, "boolean")))

    def rows(self, account):
        """Every row of the account."""
        return {table: sorted(self.store.admin.sql(sql % {"account": account})) for table, sql in ROWS.items()}


CHANGES = (("store_flags", 4), ("store_keywords", 3), ("expunge", 2), ("copy", 4), ("rename", 3), ("delete", 1),
           ("delete_node", 1), ("create", 2), ("subscribe", 2))


@timeout(120)
@with_store
def test_functions_and_plain_dml_do_the_same(store):
    dice = random.Random(SEED)
    twins = Twins(store, dice)
    done = set()
    for step in range(STEPS):
        kind = dice.choices([name for name, _ in CHANGES], [weight for _, weight in CHANGES])[0]
        if getattr(twins, kind)() == "done":
            done.add(kind)
        plain, called = twins.rows(twins.plain), twins.rows(twins.called)
        for table in ROWS:
            eq(plain[table], called[table], "%s after step %d, %s; PGBOX_TEST_SEED=%d" % (table, step, kind, SEED))
    true(len(done) >= 7, "too little was done: %r" % sorted(done))
    true(len(plain["expunged"]) > 0 and len(plain["message"]) > 0, "no messages")
    print("# %d changes both ways, PGBOX_TEST_SEED=%d" % (STEPS, SEED))
