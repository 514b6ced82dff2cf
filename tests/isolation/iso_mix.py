"""All changes at once, by many sessions, on few mailboxes and few bodies: no
deadlock, no error that a client shouldn't see, and nothing is wrong at the end."""

import collections
import hashlib
import os
import random
import threading
import time
import uuid

from iso_run import drop_helpers, load_helpers
from sqllib import SqlError, append_sql, content_sql, create_sql, literal, quote, save_sql, store_sql, with_store
from tap import eq, timeout, true

WRITERS, NODES = 8, 2
SECONDS = 120 if os.environ.get("PGBOX_TEST_LONG") else 10
# the changes of a run; their order in time varies
SEED = int(os.environ.get("PGBOX_TEST_SEED") or time.time())
NAMES = ("a", "b", "a/x", "b/x", "c")
# What a client may hear: gone, exists already, a message is gone, a mailbox
# can't move below itself; 40001 is for the plugin, which sends the body again.
FAIR = {"done", "PB002", "PB003", "PB004", "PB006", "40001"}
# An administrator's statement can't lock in order: beside it, a deadlock is fair,
# but not beside one who locks first.
FAIR_LOCKED = FAIR | {"PB007"}
FAIR_PLAIN = FAIR_LOCKED | {"40P01"}
ADMINISTRATORS = 2


class Mix:
    """What the sessions share, and what came of their changes."""

    def __init__(self, store, administrators=0, plain=None):
        self.store = store
        self.administrators = administrators
        self.plain = plain
        self.fair = FAIR if not administrators else FAIR_PLAIN if plain is PLAIN else FAIR_LOCKED
        _, self.account, self.inbox = store.account()
        self.boxes = {}
        self.bodies = [uuid.uuid4().bytes * 8 for _ in range(6)]
        self.outcome = collections.Counter()
        self.wrong = []
        self._lock = threading.Lock()
        self._end = time.monotonic() + SECONDS
        self.learn(self.inbox)

    def learn(self, mailbox):
        """Sessions may use this mailbox from now on, and will when it is gone."""
        with self._lock:
            if mailbox not in self.boxes:
                self.boxes[mailbox] = True
                self.store.admin.sql("INSERT INTO iso.box VALUES ('%d', %d)" % (mailbox, mailbox))

    def some(self, dice):
        """One of the mailboxes; the newest ones are there most likely."""
        with self._lock:
            return dice.choice([self.inbox] + list(self.boxes)[-6:])

    def note(self, kind, state, error=None):
        """Count an outcome, keep what should not be."""
        with self._lock:
            self.outcome[kind, state] += 1
            if error:
                self.wrong.append(error)

    def administrate(self, session, seed):
        """The thread of an administrator."""
        self.write(session, seed, self.plain)

    def write(self, session, seed, changes=None):
        """The thread of a session that writes."""
        dice = random.Random(seed)
        changes = changes or CHANGES
        while time.monotonic() < self._end and not self.wrong:
            kind = dice.choice(list(changes))
            sql = changes[kind](self, dice)
            try:
                rows = session.sql(sql)
            except SqlError as error:
                session.sql("ROLLBACK")
                fair = error.state in self.fair
                self.note(kind, error.state, None if fair else "%s: %s\n%s" % (kind, error.state, sql))
                continue
            self.note(kind, "done")
            if kind == "create":
                self.learn(int(rows[0][0]))

    def follow(self, session, seed):
        """The thread of a node that keeps copies of mailboxes."""
        dice = random.Random(seed)
        while time.monotonic() < self._end and not self.wrong:
            mailbox = self.some(dice)
            rows = session.sql("BEGIN ISOLATION LEVEL REPEATABLE READ;"
                               " SELECT late, missed, came, gone FROM iso.sync('%d'); COMMIT" % mailbox)
            bad = [row for row in rows if row[:2] != ["0", "0"]]
            self.note("sync", "done", "node: mailbox %d: late, missed, came, gone: %r" % (mailbox, bad) if bad else None)
            time.sleep(0.02)

    def run(self):
        """All threads, to their end."""
        threads = []
        for number in range(WRITERS + NODES + self.administrators):
            work = self.write if number < WRITERS else self.follow if number < WRITERS + NODES else self.administrate
            session = self.store.session("postgres" if number >= WRITERS + NODES else "pgbox_dovecot")
            thread = threading.Thread(target=self._guarded, args=(work, session, SEED + number))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _guarded(self, work, session, seed):
        try:
            work(session, seed)
        except Exception as error:
            self.note("thread", "died", repr(error))


def uids_sql(mailbox, count):
    """An array of some of the UIDs that are there, as a client would name them."""
    return "ARRAY(SELECT uid FROM pgbox.message WHERE mailbox_id = %d ORDER BY random() LIMIT %d)" % (mailbox, count)


def save(mix, dice):
    """A delivery."""
    keyword = "k%d" % dice.randrange(9) if dice.random() < 0.3 else ""
    return save_sql(mix.some(dice), dice.choice(mix.bodies), keywords=keyword)


def upload(mix, dice):
    """Several messages in one transaction, bodies in order of their digests."""
    bodies = sorted(dice.sample(mix.bodies, 3), key=lambda body: hashlib.sha256(body).digest())
    sql = "BEGIN;\n"
    for number, body in enumerate(bodies):
        sql += content_sql(body, chunks=dice.random() < 0.9) + " AS c%d \\gset\n" % number
    sql += append_sql(mix.some(dice), {"content": -1}, {"content": -2}, {"content": -3}) + ";\nCOMMIT"
    for number in range(3):
        sql = sql.replace("'-%d'::bigint" % (number + 1), ":c%d::bigint" % number)
    return sql


def mixed(mix, dice):
    """Flags, an expunge and a copy in one transaction of one mailbox, as dsync does."""
    box = mix.some(dice)
    return "BEGIN;\n%s;\n%s;\n%s;\nCOMMIT" % (store(mix, dice, box), expunge(mix, dice, box), transfer(mix, dice, "false", box))


def transfer(mix, dice, move, target=None):
    """COPY or MOVE of up to three messages by reference."""
    source = mix.some(dice)
    return ("SELECT a.uids FROM (SELECT %s AS u) AS s CROSS JOIN LATERAL pgbox.message_append(%d, gen_random_uuid(), 'mix', 0,"
            " array_fill(0::bigint, n), array_fill('00000000-0000-0000-0000-000000000000'::uuid, n), array_fill(NULL::bigint, n),"
            " array_fill(%d::bigint, n), s.u, array_fill(%s, n), array_fill(-1::bigint, n), array_fill(1::bigint, n),"
            " array_fill(0::smallint, n), array_fill(''::text, n), array_fill(NULL::text, n), array_fill(NULL::bigint, n)) AS a"
            " WHERE cardinality(s.u) > 0" % (uids_sql(source, 3), target or mix.some(dice), source, move)
            ).replace(", n)", ", ARRAY[cardinality(s.u)])")


def store(mix, dice, box=None):
    """STORE, often without, sometimes with keywords."""
    box = box or mix.some(dice)
    flags = dice.randrange(32)
    sql = store_sql(box, [0], add=flags, remove=31 - flags, keywords_add="k%d" % dice.randrange(9) if dice.random() < 0.3 else "")
    uids = uids_sql(box, 5)
    return sql.replace("ARRAY['0'::bigint]::bigint[]", uids).replace(
        "ARRAY['0'::integer]::integer[]", "array_fill(0, ARRAY[5])")


def expunge(mix, dice, box=None):
    """EXPUNGE of up to two."""
    box = box or mix.some(dice)
    return "SELECT modseq FROM pgbox.message_expunge(%d, %s, 'mix')" % (box, uids_sql(box, 2))


def attribute(mix, dice):
    """METADATA, that of the server too."""
    key = dice.choice(("comment", "vendor/vendor.dovecot/pvt/server/comment"))
    return "SELECT pgbox.attribute_set(%d, true, %s, %s, NULL)" % (
        mix.some(dice), quote(key), dice.choice(("NULL", literal(b"x", "bytea"))))


CHANGES = {
    "save": save,
    "upload": upload,
    "mixed": mixed,
    "copy": lambda mix, dice: transfer(mix, dice, "false"),
    "move": lambda mix, dice: transfer(mix, dice, "true"),
    "store": store,
    "expunge": expunge,
    "create": lambda mix, dice: create_sql(mix.account, dice.choice(NAMES)),
    "delete": lambda mix, dice: "SELECT pgbox.mailbox_delete(%d, %d)" % (mix.account, mix.some(dice)),
    "rename": lambda mix, dice: "SELECT pgbox.mailbox_rename(%d, %s, %s)" % (
        mix.account, quote(dice.choice(NAMES + ("INBOX",))), quote(dice.choice(NAMES))),
    "update": lambda mix, dice: "SELECT pgbox.mailbox_update(%d, %d, NULL, NULL, %d, NULL, %d)" % (
        mix.account, mix.some(dice), dice.randrange(1, 500), dice.randrange(1, 10 ** 8)),
    "recent": lambda mix, dice: "SELECT pgbox.recent_claim(%d, 1000000)" % mix.some(dice),
    "subscribe": lambda mix, dice: "SELECT pgbox.subscription_set(%d, %s, %s)" % (
        mix.account, quote(dice.choice(NAMES)), dice.choice(("true", "false"))),
    "attribute": attribute,
    "purge": lambda mix, dice: "SELECT bodies FROM pgbox.purge(20)",
}


OF_ALL = "mailbox_id IN (SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.account_id = %d)"
PLAIN = {
    "plain flags": lambda mix, dice: "UPDATE pgbox.message_state SET flags = flags # %d WHERE %s AND random() < 0.3" % (
        dice.randrange(1, 32), OF_ALL % mix.account),
    "plain keywords": lambda mix, dice:
        "UPDATE pgbox.message_state SET keywords = pgbox.keyword_use(mailbox_id, 'k%d') WHERE mailbox_id = %d AND random() < 0.3" % (
            dice.randrange(9), mix.some(dice)),
    "plain expunge": lambda mix, dice: "DELETE FROM pgbox.message WHERE %s AND random() < 0.05" % (OF_ALL % mix.account),
    "plain copy": lambda mix, dice:
        "INSERT INTO pgbox.message (mailbox_id, content_id, guid, received_at) SELECT %d, content_id, guid, received_at"
        " FROM pgbox.message WHERE mailbox_id = %d ORDER BY random() LIMIT 3" % (mix.some(dice), mix.some(dice)),
    "plain rename": lambda mix, dice:
        "UPDATE pgbox.mailbox SET name = %s WHERE account_id = %d AND name = %s AND deleted_at IS NULL" % (
            quote(dice.choice(NAMES)), mix.account, quote(dice.choice(NAMES + ("INBOX",)))),
    "plain delete": lambda mix, dice: "DELETE FROM pgbox.mailbox WHERE mailbox_id = %d" % mix.some(dice),
    # no restoring here: retention is 0, so a purge may have removed messages, and
    # iso.sync(), which doesn't look at pruned_modseq, would keep them
    "plain subscribe": lambda mix, dice: dice.choice((
        "INSERT INTO pgbox.subscription VALUES (%d, %s) ON CONFLICT DO NOTHING",
        "DELETE FROM pgbox.subscription WHERE account_id = %d AND name = %s")) % (mix.account, quote(dice.choice(NAMES))),
    "plain, several": lambda mix, dice: "BEGIN; %s; %s; %s" % (
        PLAIN["plain flags"](mix, dice), PLAIN["plain copy"](mix, dice), dice.choice(("COMMIT", "ROLLBACK"))),
}


def locked(change):
    """The same change by somebody who locks everything first, in order."""
    def lock(mix, dice):
        return ("BEGIN; SELECT pgbox.account_lock(%d); SELECT pgbox.mailbox_lock_many(ARRAY("
                "SELECT m.mailbox_id FROM pgbox.mailbox AS m WHERE m.account_id = %d)); %s; COMMIT" % (
                    mix.account, mix.account, change(mix, dice)))
    return lock


LOCKED = {kind: locked(change) for kind, change in PLAIN.items() if kind != "plain, several"}


def run_mix(store, administrators=0, plain=None):
    """The mix, and what must be true afterwards."""
    mix = Mix(store, administrators, plain)
    store.admin.sql("UPDATE pgbox.store SET retention = '0'")
    try:
        mix.run()
        eq(mix.wrong, [], "PGBOX_TEST_SEED=%d, outcomes %r" % (SEED, sorted(mix.outcome.items())))
        for kind in list(CHANGES) + list(plain or {}):
            true(mix.outcome[kind, "done"] > 0, "no %s was done: %r" % (kind, sorted(mix.outcome.items())))
        eq(store.admin.sql("SELECT problem FROM iso.problems"), [], "pgbox-schema verify, and orphans")
        # all is deleted: no body may be left over
        store.admin.sql("DELETE FROM pgbox.mailbox WHERE account_id = %d" % mix.account)
        store.purge()
    finally:
        store.admin.sql("UPDATE pgbox.store SET retention = '14 days'")
    eq(store.admin.value("SELECT count(*) FROM pgbox.body WHERE digest IN (%s)" % ", ".join(
        literal(hashlib.sha256(body).digest(), "bytea") for body in mix.bodies)), "0", "bodies left over")
    print("# %d changes were done, %d refused, PGBOX_TEST_SEED=%d" % (
        sum(count for (_, state), count in mix.outcome.items() if state == "done"),
        sum(count for (_, state), count in mix.outcome.items() if state != "done"), SEED))
    if administrators:
        deadlocks = {kind: count for (kind, state), count in mix.outcome.items() if state == "40P01"}
        print("# beside %d of the plugin and %d of an administrator, ended by deadlocks: %r" % (
            sum(count for (kind, state), count in mix.outcome.items() if state == "done" and kind in CHANGES),
            sum(count for (kind, state), count in mix.outcome.items() if state == "done" and kind in PLAIN), deadlocks))


@timeout(SECONDS + 60)
def test_all_changes_at_once(lab):
    """No session is ended by a deadlock, nodes miss nothing, rows and counters agree."""
    load_helpers(lab.cluster)
    try:
        with_store(run_mix)(lab)
    finally:
        drop_helpers(lab.cluster)


@timeout(SECONDS + 60)
def test_all_changes_beside_plain_dml(lab):
    """An administrator's statements over all mailboxes: nodes miss nothing, rows and counters agree."""
    load_helpers(lab.cluster)
    try:
        with_store(lambda store: run_mix(store, ADMINISTRATORS, PLAIN))(lab)
    finally:
        drop_helpers(lab.cluster)


@timeout(SECONDS + 60)
def test_all_changes_beside_locked_plain_dml(lab):
    """An administrator who locks first: no deadlock."""
    load_helpers(lab.cluster)
    try:
        with_store(lambda store: run_mix(store, ADMINISTRATORS, LOCKED))(lab)
    finally:
        drop_helpers(lab.cluster)
