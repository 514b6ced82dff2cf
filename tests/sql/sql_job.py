"""Purge and its kin write down what they did, and may be killed at any time."""

import json
import os
import random
import time
import uuid

import proc
from cluster import quote
from sql_admin_concurrent import orphans
from sqllib import CHUNK, SqlError, content_sql, save_sql, with_store
from tap import eq, timeout, true

TABLES = ("account", "mailbox", "mailbox_counter", "message", "message_state", "expunged", "content", "body", "body_chunk",
          "account_quota", "job")


def jobs(store, what, after=0):
    """Records of a function, the newest last: [(target, done_by, counts, outcome)]"""
    return [(target, who, json.loads(counts), outcome) for target, who, counts, outcome in store.admin.sql(
        "SELECT j.target, j.done_by, j.counts, j.outcome FROM pgbox.job AS j WHERE j.what = '%s' AND j.job_id > %d"
        " ORDER BY j.job_id" % (what, after))]


def newest(store):
    """Number of the newest record."""
    return int(store.admin.value("SELECT COALESCE(max(j.job_id), 0) FROM pgbox.job AS j"))


def expunged_long_ago(store, count, days=100, mailbox=None):
    """A mailbox with so many tombstones that purge may empty."""
    inbox = mailbox or store.account()[2]
    for _ in range(count):
        store.save(inbox, uuid.uuid4().bytes)
    store.expunge(inbox, store.uids(inbox))
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '%d days'::interval WHERE mailbox_id = %d" % (days, inbox))
    return inbox


@with_store
def test_purge_is_recorded(store):
    store.purge()
    last = newest(store)
    store.purge()
    eq(newest(store), last, "nothing done, nothing written")
    expunged_long_ago(store, 3)
    eq(store.purge(), (3, 0, 3, 3))
    counts = {"tombstones": 3, "mailboxes": 0, "contents": 3, "bodies": 3}
    eq(jobs(store, "purge", last), [("all accounts", "pgbox_dovecot", counts, "done")])
    expunged_long_ago(store, 3)
    store.admin.sql("SELECT pgbox.purge(2)")
    store.admin.sql("SELECT pgbox.purge(2)")
    eq([(job[1], job[2]["tombstones"], job[3]) for job in jobs(store, "purge", last)[1:]],
       [("postgres", 2, "more"), ("postgres", 1, "done")])
    # a deleted mailbox
    name, account, _ = store.account()
    box = store.create(account, "box")
    store.save(box, uuid.uuid4().bytes)
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, box))
    store.force("UPDATE pgbox.mailbox SET deleted_at = now() - '100 days'::interval WHERE mailbox_id = %d" % box)
    deleted = store.admin.value("SELECT to_jsonb(deleted_at) #>> '{}' FROM pgbox.mailbox WHERE mailbox_id = %d" % box)
    store.purge()
    counts = {"tombstones": 1, "mailboxes": 1, "contents": 1, "bodies": 1, "mailbox_id": box, "mailbox": name + ": box",
              "deleted_at": deleted, "deleted_reason": "SQL by pgbox_dovecot"}
    eq(jobs(store, "purge", last)[3:], [("all accounts", "pgbox_dovecot", counts, "more")])
    # as the README has it
    eq(store.admin.sql("SELECT j.counts ->> 'mailbox' FROM pgbox.job AS j"
                       " WHERE j.what = 'purge' AND j.counts ->> 'mailbox' LIKE '%s: %%'" % name), [[name + ": box"]])


@with_store
def test_prune_is_recorded(store):
    prune = "SELECT * FROM pgbox.tombstone_prune('2020-01-01 00:00+00', %d)"
    store.admin.sql(prune % 100000)
    last = newest(store)
    used, idle = (expunged_long_ago(store, 3, 10000) for _ in range(2))
    store.purge()
    last = newest(store)
    store.admin.sql(prune % 4)
    store.db.sql("BEGIN; " + save_sql(used, b"x"))
    store.admin.sql(prune % 4)
    # all that is left is in use: nothing is done
    store.admin.sql(prune % 4)
    store.db.sql("COMMIT")
    done = jobs(store, "tombstone_prune", last)
    eq([(job[1], job[3]) for job in done[:1]], [("postgres", "more")])
    true(done[0][0].startswith("all accounts, before 2020-01-01"), done[0][0])
    store.admin.sql(prune % 4)
    eq(sum(job[2]["tombstones"] for job in jobs(store, "tombstone_prune", last)), 6, (used, idle))
    eq([job for job in jobs(store, "tombstone_prune", last) if job[2]["tombstones"] == 0], [])


@with_store
def test_records_do_not_pile_up(store):
    """purge takes old ones, and doesn't write that down."""
    def aged():
        return [row[0] for row in store.admin.sql("SELECT j.what FROM pgbox.job AS j WHERE j.target = 'aged' ORDER BY j.ended_at")]
    store.purge()
    store.admin.sql("INSERT INTO pgbox.job (what, target, done_by, ended_at, counts, outcome) SELECT n || ' months', 'aged', 'x',"
                    " now() - n * '1 month'::interval, '{}', 'done' FROM generate_series(11, 15) AS n")
    written = jobs(store, "purge")
    store.db.sql("SELECT pgbox.purge(1)")
    eq(len(aged()), 4, "at most p_limit")
    store.purge()
    eq(aged(), ["11 months"])
    store.admin.sql("UPDATE pgbox.store SET job_retention = '6 months'")
    store.purge()
    store.admin.sql("UPDATE pgbox.store SET job_retention = '1 year'")
    eq((aged(), jobs(store, "purge")), ([], written))


# ---- killed --------------------------------------------------------------

def state(store):
    """All that could be half done."""
    return {table: store.admin.value("SELECT COALESCE(md5(string_agg(t::text, ' ' ORDER BY t::text)), '') FROM pgbox.%s AS t" % table)
            for table in TABLES}


def kill(store, session, sql, wait):
    """End a session's server process while it runs a statement; True if it was at work still."""
    session.start(sql)
    wait()
    store.admin.sql("SELECT pg_terminate_backend(%d)" % session.pid)
    try:
        session.finish()
    except (SqlError, proc.LabError):
        return True
    finally:
        proc.wait_for(lambda: store.admin.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %d" % session.pid) == "0",
                      20, "the server's process to end")
    return False


def killed_at(store, sql, lock):
    """Killed while it waits for a row that somebody has: nothing was done."""
    before = state(store)
    other, victim = store.session("postgres"), store.session("postgres")
    other.sql("BEGIN; " + lock)
    true(kill(store, victim, sql, lambda: store.wait_blocked(victim)), "it was killed")
    other.sql("ROLLBACK")
    eq(state(store), before, sql)


def large(store, mailbox):
    """One message more, with a body of two chunks; its body_id."""
    body = uuid.uuid4().bytes + b"x" * CHUNK
    store.db.sql("BEGIN")
    content = int(store.db.value(content_sql(body)))
    store.db.sql("SELECT pgbox.body_chunk_put(b.digest, 1, substr('\\x%s'::bytea, %d)) FROM pgbox.body AS b"
                 " JOIN pgbox.content AS c ON c.body_id = b.body_id WHERE c.content_id = %d" % (body.hex(), CHUNK + 1, content))
    store.append(mailbox, {"content": content})
    store.db.sql("COMMIT")
    return store.db.value("SELECT c.body_id FROM pgbox.content AS c WHERE c.content_id = %d" % content)


LOCKS = ("SELECT 1 FROM pgbox.content AS c WHERE c.body_id = %s FOR KEY SHARE", "SELECT 1 FROM pgbox.body AS b WHERE b.body_id = %s FOR KEY SHARE")


@with_store
def test_a_purge_that_is_killed_has_done_nothing(store):
    """Before contents are removed, and before bodies are; in a deleted mailbox too."""
    store.purge()
    _, account, inbox = store.account()
    box = store.create(account, "box")
    bodies = [large(store, mailbox) for mailbox in (inbox, box)]
    expunged_long_ago(store, 2, mailbox=inbox)
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, box))
    store.force("UPDATE pgbox.mailbox SET deleted_at = now() - '100 days'::interval WHERE mailbox_id = %d" % box)
    for body in bodies:
        for lock in LOCKS:
            killed_at(store, "SELECT pgbox.purge()", lock % body)
    eq(store.purge(), (4, 1, 4, 4), "another one does it")


@with_store
def test_an_account_delete_that_is_killed_has_done_nothing(store):
    """Closing it, and each step."""
    name, _, inbox = store.account()
    body = large(store, inbox)
    store.save(inbox, uuid.uuid4().bytes)
    store.expunge(inbox, [2])
    delete = "SELECT * FROM pgbox.account_delete(%s)" % quote(name)
    killed_at(store, delete, "SELECT 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = %d FOR UPDATE" % inbox)
    store.admin.sql(delete)
    for lock in LOCKS:
        killed_at(store, delete, lock % body)
    done = {row[0]: row[1] for row in store.admin.sql(delete)}
    eq(done, {"messages": "1", "tombstones": "1", "contents": "2", "bodies": "2", "mailboxes": "1", "account": "1"})


@timeout(120)
@with_store
def test_killed_at_any_time(store):
    """purge, prune and account_delete by turns, each killed somewhere; in the end all is gone and nothing left over."""
    store.purge()
    dice = random.Random(int(os.environ.get("PGBOX_TEST_SEED") or 1))
    before = orphans(store)
    name, _, inbox = store.account()
    for _ in range(150):
        store.save(inbox, uuid.uuid4().bytes)
    tombs = [expunged_long_ago(store, 60) for _ in range(3)]
    calls = ("purge(20)", "tombstone_prune(now() - '50 days'::interval, 20)", "account_delete(%s, 20)" % quote(name))
    killed = 0
    for turn in range(45):
        session = store.session("postgres")
        wait = dice.random() * 0.012
        try:
            killed += kill(store, session, "SELECT * FROM pgbox." + calls[turn % 3], lambda: time.sleep(wait))
        except BrokenPipeError:
            pass
    print("# %d of 45 calls were killed" % killed)
    while store.admin.sql("SELECT 1 FROM pgbox.account WHERE name = %s" % quote(name)):
        store.admin.sql("SELECT * FROM pgbox.account_delete(%s)" % quote(name))
    store.purge()
    store.admin.sql("SELECT pgbox.tombstone_prune(now() - '50 days'::interval, 100000)")
    eq(store.admin.value("SELECT count(*) FROM pgbox.expunged WHERE mailbox_id IN (%s)" % ", ".join(map(str, tombs))), "0")
    eq(orphans(store) - before, set())
    true(killed > 5, "hardly any was at work when it was killed: this proves nothing")
