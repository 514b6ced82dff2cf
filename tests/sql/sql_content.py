"""Bodies are stored once, and go when nobody needs them."""

import hashlib
import uuid

from sqllib import CHUNK, content_sql, dressed, refused, with_store
from tap import eq, true


def setting(store, retention):
    """Change the retention period."""
    store.admin.sql("UPDATE pgbox.store SET retention = '%s'" % retention)


def body_count(store, body):
    """How many rows hold this body: 0 or 1."""
    return int(store.db.value("SELECT count(*) FROM pgbox.body WHERE digest = '\\x%s'"
                              % hashlib.sha256(body).hexdigest()))


def with_retention_off(test):
    """Decorator: what is expunged may be purged at once."""
    def run(store):
        setting(store, "0")
        try:
            test(store)
        finally:
            setting(store, "14 days")
    return dressed(run, test)


@with_store
def test_body_is_stored_once(store):
    body = uuid.uuid4().bytes
    first, second = store.account()[2], store.account()[2]
    store.save(first, body)
    store.save(second, body, header=b"Received: elsewhere\r\n\r\n")
    eq(body_count(store, body), 1)
    # the same bytes can't be sent in vain when they are known
    store.db.sql(content_sql(body, chunks=False))
    refused("40001", store.db.sql, content_sql(uuid.uuid4().bytes, chunks=False))


@with_store
def test_sizes_are_checked(store):
    digest = "sha256('x')"
    for head, size in (("''", 0), ("'x'", 2), ("'%s'" % ("x" * (CHUNK + 1)), CHUNK + 1)):
        refused("23514", store.db.sql, "SELECT pgbox.content_put('', true, %s, %d, %s, 100000000, 0, NULL, NULL)"
                % (digest, size, head))
    refused("23514", store.db.sql, "SELECT pgbox.content_put('header', true, NULL, NULL, NULL, 3, 3, NULL, NULL)")
    refused("23514", store.db.sql, "SELECT pgbox.content_put('', true, 'short', 1, 'x', 3, 3, NULL, NULL)")


@with_store
def test_retention(store):
    body = uuid.uuid4().bytes
    inbox = store.account()[2]
    store.save(inbox, body)
    store.expunge(inbox, [1])
    store.purge()
    eq(body_count(store, body), 1, "kept while it can be restored")
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = %d" % inbox)
    true(store.purge() >= (1, 0, 1, 1), "purged")
    eq(body_count(store, body), 0)
    eq([row[0] for row in store.pull(inbox, 1)[2]], ["1"], "the tombstone stays")


@with_store
@with_retention_off
def test_purge_keeps_what_is_used(store):
    body = uuid.uuid4().bytes
    _, account, inbox = store.account()
    copy = store.create(account, "copy")
    store.save(inbox, body)
    store.append(copy, {"source": (inbox, 1)})
    store.save(inbox, body)
    store.expunge(inbox, [1, 2])
    store.purge()
    eq(body_count(store, body), 1, "the copy needs it")
    store.expunge(copy, [1])
    store.purge()
    eq(body_count(store, body), 0)


@with_store
@with_retention_off
def test_purge_of_deleted_mailboxes(store):
    body = uuid.uuid4().bytes + b"x" * CHUNK
    _, account, _ = store.account()
    mailbox = store.create(account, "gone")
    store.db.sql("BEGIN")
    one = int(store.db.value(content_sql(body)))
    store.db.sql("SELECT pgbox.body_chunk_put('\\x%s', 1, '\\x%s')"
                 % (hashlib.sha256(body).hexdigest(), body[CHUNK:].hex()))
    store.append(mailbox, *[{"content": one}] * 2500)
    store.db.sql("COMMIT")
    store.expunge(mailbox, [1, 2, 3])
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, mailbox))
    eq(store.purge()[1] >= 1, True)
    eq(store.db.value("SELECT count(*) FROM pgbox.mailbox WHERE mailbox_id = %d" % mailbox), "0")
    eq(body_count(store, body), 0)
    eq(store.db.value("SELECT count(*) FROM pgbox.content WHERE content_id = %d" % one), "0")


@with_store
def test_purge_keeps_to_its_limit_with_any_plan(store):
    """Rows that are chosen, locked and deleted in one join may be chosen again."""
    _, account, inbox = store.account()
    for _ in range(20):
        store.save(inbox)
    # which know nothing of the mailbox that is to come: one row is expected there
    store.admin.sql("ANALYZE pgbox.message, pgbox.message_state")
    mailbox = store.create(account, "gone")
    for _ in range(5):
        store.save(mailbox)
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, mailbox))
    # the oldest of all, so that it is the one that is purged
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = now() - '20 years'::interval WHERE mailbox_id = %d" % mailbox)
    store.session("postgres").sql("SELECT pgbox.purge(2)")
    eq(store.uids(mailbox), [3, 4, 5])
    store.purge()


@with_store
def test_old_tokens_are_purged(store):
    inbox = store.account()[2]
    old, fresh = uuid.uuid4(), uuid.uuid4()
    store.save(inbox, token=old)
    store.save(inbox, token=fresh)
    store.admin.sql("UPDATE pgbox.commit_token SET created_at = now() - '2 days'::interval WHERE token = '%s'" % old)
    store.purge()
    eq(store.admin.sql("SELECT token FROM pgbox.commit_token WHERE token IN ('%s', '%s')" % (old, fresh)),
       [[str(fresh)]])
