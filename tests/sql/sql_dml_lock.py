"""Plain DML and the plugin at once: who waits for whom; many rows and mailboxes."""

from sql_dml import filled, state
from sqllib import FLAGGED, SEEN, STEP, create_sql, refused, save_sql, store_sql, with_store
from tap import eq, timeout


@with_store
def test_plain_dml_waits_for_the_plugin(store):
    """Modseqs in the order of commits, either way round."""
    inbox = filled(store)[1]
    before = store.modseq(inbox)
    store.db.sql("BEGIN; " + save_sql(inbox, b"x"))
    other = store.session("postgres")
    other.start("UPDATE pgbox.message_state SET flags = 2 WHERE mailbox_id = %d AND uid = 1" % inbox)
    store.wait_blocked(other)
    store.db.sql("COMMIT")
    other.finish()
    eq((state(store, inbox)[1][0], store.modseq(inbox)), (before + 2 * STEP, before + 2 * STEP))
    other.sql("BEGIN; DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 2" % inbox)
    store.db.start(save_sql(inbox, b"y"))
    store.wait_blocked(store.db)
    other.sql("COMMIT")
    eq(store.db.finish()[0][:2], [str(before + 3 * STEP), str(before + 4 * STEP)])


@with_store
def test_stricter_transactions_fail_rather_than_be_wrong(store):
    inbox = filled(store)[1]
    other = store.session("postgres")
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        other.sql("BEGIN ISOLATION LEVEL %s; SELECT 1" % level)
        store.save(inbox)
        refused("40001", other.sql, "UPDATE pgbox.message_state SET flags = 7 WHERE mailbox_id = %d AND uid = 1" % inbox)
        other.sql("ROLLBACK; BEGIN ISOLATION LEVEL %s; UPDATE pgbox.message_state SET flags = flags # 2 WHERE mailbox_id = %d;"
                  " COMMIT" % (level, inbox))


@with_store
def test_lock_first_and_no_deadlock(store):
    """As sql/README says for an administrator who wants to be sure."""
    inbox = filled(store)[1]
    other = store.session("postgres")
    store.db.sql("BEGIN; " + save_sql(inbox, b"x"))
    other.start("BEGIN; SELECT pgbox.mailbox_lock_many('{%d}'); UPDATE pgbox.message_state SET flags = 2 WHERE mailbox_id = %d;"
                " COMMIT" % (inbox, inbox))
    store.wait_blocked(other)
    store.db.sql(store_sql(inbox, [1, 2, 3], add=SEEN) + "; COMMIT")
    other.finish()
    eq({row[1] for uid, row in state(store, inbox).items() if uid < 4}, {FLAGGED})


@with_store
def test_two_renames_of_a_name(store):
    account = store.account()[1]
    for name in ("a", "b"):
        store.db.sql(create_sql(account, name))
    other = store.session("postgres")
    other.sql("BEGIN; UPDATE pgbox.mailbox SET name = 'x' WHERE account_id = %d AND name = 'a'" % account)
    store.db.start("SELECT pgbox.mailbox_rename(%d, 'b', 'x')" % account)
    store.wait_blocked(store.db)
    other.sql("COMMIT")
    refused("PB003", store.db.finish)


@timeout(120)
@with_store
def test_ten_thousand_rows(store):
    """In one statement each, over many mailboxes."""
    account, inbox = filled(store, 1)
    boxes = [inbox] + [store.create(account, "b%d" % n) for n in range(20)]
    store.admin.sql("INSERT INTO pgbox.message (mailbox_id, content_id) SELECT b.id, g.content_id"
                    " FROM pgbox.message AS g, unnest('{%s}'::bigint[]) AS b (id), generate_series(1, 500) WHERE g.mailbox_id = %d"
                    % (",".join(map(str, boxes)), inbox))
    eq([store.counters(box)[0] for box in boxes], [502] + [501] * 20)
    eq(store.uids(boxes[7]), list(range(1, 501)))
    store.admin.sql("UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = ANY ('{%s}') AND uid %% 2 = 0" % ",".join(map(str, boxes)))
    eq([store.counters(box)[3] for box in boxes[1:]], [250] * 20)
    store.admin.sql("DELETE FROM pgbox.message WHERE mailbox_id = ANY ('{%s}') AND uid > 10" % ",".join(map(str, boxes)))
    eq([store.counters(box)[2:4] for box in boxes[1:]], [(10, 5)] * 20)
