"""Messages and mailboxes as an administrator handles them: search, expunge,
copy, undelete, restore, move."""

import time
import uuid

from cluster import quote
from sqllib import ANSWERED, DELETED, FLAGGED, SEEN, complaint, refused, with_store
from tap import eq, has, true


def rows(store, call):
    """Rows of a function."""
    return store.admin.sql("SELECT * FROM pgbox." + call)


def uids_of(store, call):
    """First column of its rows as numbers."""
    return [int(row[0]) for row in rows(store, call)]


def moment(store):
    """The time now, with room before and after: saved_at counts seconds."""
    store.force("UPDATE pgbox.message SET saved_at = date_trunc('second', clock_timestamp() - '1 second'::interval)"
                    " WHERE saved_at > clock_timestamp() - '1 second'::interval")
    now = store.admin.value("SELECT clock_timestamp()")
    time.sleep(0.01)
    return quote(now)


def bits(store, mailbox):
    """{uid: flags}"""
    return {int(row[0]): int(row[1]) for row in store.admin.sql(
        "SELECT uid, flags FROM pgbox.message_state WHERE mailbox_id = %d" % mailbox)}


@with_store
def test_search(store):
    name, _, inbox = store.account()
    for number in range(4):
        store.save(inbox, b"x" * (1 + number * 100))
    store.store(inbox, [1, 2], add=SEEN, keywords_add="Work")
    store.store(inbox, [2, 3], add=FLAGGED)
    store.force("UPDATE pgbox.message SET saved_at = now() - uid * '1 day'::interval WHERE mailbox_id = %d" % inbox)
    call = "message_search('%s', 'inbox'%%s)" % name
    eq(uids_of(store, call % ""), [1, 2, 3, 4])
    eq(uids_of(store, call % ", p_saved_before => now() - '2.5 days'::interval"), [3, 4])
    eq(uids_of(store, call % ", p_received_before => to_timestamp(1700000000)"), [])
    eq(uids_of(store, call % ", p_with => '\\seen \\Flagged'"), [2])
    eq(uids_of(store, call % ", p_without => '\\Seen'"), [3, 4])
    eq(uids_of(store, call % ", p_keyword => 'work', p_limit => 1"), [1])
    eq(uids_of(store, call % ", p_keyword => 'other'"), [])
    eq(uids_of(store, call % ", p_larger => 250"), [4])
    eq(rows(store, call % ", p_with => '\\Flagged'")[0][4], "\\Flagged \\Seen")
    refused("22023", store.admin.sql, "SELECT * FROM pgbox." + call % ", p_with => 'Seen'")
    refused("PB002", store.admin.sql, "SELECT * FROM pgbox.message_search('%s', 'nowhere')" % name)


@with_store
def test_expunge_in_steps(store):
    name, _, inbox = store.account()
    for _ in range(5):
        store.save(inbox)
    store.store(inbox, [2], add=FLAGGED)
    before = store.modseq(inbox)
    call = "messages_expunge('%s', 'INBOX', p_without => '\\Flagged', p_limit => 3)" % name
    eq(rows(store, call), [["3", "t"]])
    eq(rows(store, call), [["1", "f"]])
    eq(rows(store, call), [["0", "f"]])
    eq((store.uids(inbox), store.modseq(inbox)), ([2], before + 2 * 65536))
    eq(store.admin.sql("SELECT DISTINCT reason FROM pgbox.expunged WHERE mailbox_id = %d" % inbox), [["SQL by postgres"]])
    eq(store.admin.sql("SELECT counts ->> 'messages', outcome FROM pgbox.job WHERE target = '%s: INBOX' ORDER BY job_id" % name),
       [["3", "more"], ["1", "done"]])


@with_store
def test_a_loop_commits_after_each_step(store):
    """As the README shows it."""
    name, _, inbox = store.account()
    for _ in range(4):
        store.save(inbox)
    store.admin.sql("DO $$ BEGIN WHILE (SELECT e.more FROM pgbox.folder_empty('%s', 'INBOX', 1) AS e)"
                    " LOOP COMMIT; END LOOP; END $$" % name)
    eq(store.uids(inbox), [])
    eq(store.admin.value("SELECT count(DISTINCT xmin::text) FROM pgbox.expunged WHERE mailbox_id = %d" % inbox), "4")


@with_store
def test_limits(store):
    """None is not "no limit", and what can't be one says so."""
    name, account, inbox = store.account()
    other = store.account()[0]
    store.save(inbox)
    store.create(account, "box")
    for limit in ("NULL", "0", "-1"):
        for call in ("purge(%s)", "tombstone_prune(now(), %s)", "policy_apply(%s)", "rows_verify(0, %s)", "content_verify(0, %s)",
                     "account_delete('" + name + "', %s)", "messages_expunge('" + name + "', 'INBOX', p_limit => %s)",
                     "messages_expire('" + name + "', 'INBOX', '1 day', %s)", "folder_empty('" + name + "', 'INBOX', %s)",
                     "folder_move('" + name + "', 'box', '" + other + "', 'box', %s)", "message_undelete('" + name + "', 'INBOX', p_limit => %s)",
                     "restore_mailbox('" + name + "', 'INBOX', now(), NULL, %s)", "restore_account('" + name + "', now(), NULL, %s)"):
            refused("22023", rows, store, call % limit)
    for percent in ("NULL", "-1", "1000", "'NaN'"):
        refused("22023", rows, store, "content_verify(0, 10, %s)" % percent)
    eq((store.uids(inbox), store.names(account)), ([1], ["INBOX", "box"]))


@with_store
def test_expire(store):
    name, _, inbox = store.account()
    store.save(inbox)
    store.save(inbox)
    store.force("UPDATE pgbox.message SET saved_at = now() - uid * '1 day'::interval WHERE mailbox_id = %d" % inbox)
    # nobody's "all", and times that there aren't
    for wrong in ("NULL", "'-1 day'", "'0'", "'30'", "'59 minutes'", "'1001 years'"):
        refused("22023", store.admin.sql, "SELECT * FROM pgbox.messages_expire('%s', 'INBOX', %s)" % (name, wrong))
    eq(rows(store, "messages_expire('%s', 'INBOX', '1000 years')" % name), [["0", "f"]])
    eq(rows(store, "messages_expire('%s', 'INBOX', '36 hours')" % name), [["1", "f"]])
    eq(store.uids(inbox), [1])


@with_store
def test_undelete(store):
    name, account, inbox = store.account()
    store.create(account, "box")
    for _ in range(3):
        store.save(inbox, keywords="Work")
    store.store(inbox, [1, 2, 3], add=SEEN | DELETED)
    guids = "SELECT guid FROM pgbox.message WHERE mailbox_id = %d ORDER BY uid" % inbox
    old = store.admin.sql(guids)
    store.expunge(inbox, [1, 2, 3])
    eq(rows(store, "message_undelete('%s', 'INBOX', p_limit => 2)" % name), [["1", "4"], ["2", "5"]])
    eq(rows(store, "message_undelete('%s', 'INBOX', p_limit => 2)" % name), [["3", "6"]])
    eq(rows(store, "message_undelete('%s', 'INBOX')" % name), [])
    eq((bits(store, inbox), store.keywords(inbox, 4)), ({4: SEEN, 5: SEEN, 6: SEEN}, ["Work"]))
    eq(store.admin.sql(guids), old)
    # expunged again: the tombstone of what came back, not the first one
    store.expunge(inbox, [4])
    eq(rows(store, "message_undelete('%s', 'INBOX', p_into => 'box', p_limit => 9)" % name), [["4", "1"]])
    store.expunge(inbox, [5])
    eq(rows(store, "message_undelete('%s', 'INBOX', '{2, 4, 5}')" % name), [["5", "7"]])
    # where to
    eq(store.admin.sql("SELECT target FROM pgbox.job WHERE what = 'message_undelete' AND target LIKE '%s%%' ORDER BY job_id DESC LIMIT 2"
                       % name), [[name + ": INBOX"], [name + ": INBOX to box"]])
    # what is back isn't to be had again
    eq(store.admin.value("SELECT s.restorable_messages FROM pgbox.account_status('%s') AS s" % name), "0")
    # who wants it once more says so
    store.admin.sql("UPDATE pgbox.expunged SET revived_at = NULL WHERE mailbox_id = %d AND uid = 2" % inbox)
    eq(rows(store, "message_undelete('%s', 'INBOX')" % name), [["2", "8"]])
    refused("22023", store.admin.sql, "SELECT * FROM pgbox.message_undelete('%s', 'INBOX', p_since => now() + '1 hour'::interval)" % name)


@with_store
def test_undelete_of_copies(store):
    """Each with its own flags; in steps, and while one of them has stayed."""
    for limit in (1, 3, 9):
        name, account, inbox = store.account()
        box = store.create(account, "box")
        store.save(inbox)
        guid = store.admin.value("SELECT guid FROM pgbox.message WHERE mailbox_id = %d" % inbox)
        store.append(inbox, *[{"source": (inbox, 1), "guid": guid, "flags": flags} for flags in (FLAGGED, SEEN, ANSWERED, 0)])
        call = "message_undelete('%s', 'INBOX', p_limit => %d)" % (name, limit)
        # not in the order of UIDs; 5 stays
        for uid in (3, 1, 4, 2):
            store.expunge(inbox, [uid])
        back = {}
        while (more := rows(store, call)):
            back.update({int(old): bits(store, inbox)[int(new)] for old, new in more})
        eq(back, {1: 0, 2: FLAGGED, 3: SEEN, 4: ANSWERED}, "p_limit %d" % limit)
        eq(store.uids(inbox), [5, 6, 7, 8, 9])
        # two of them again: two, and not those before them
        store.expunge(inbox, [6, 7])
        eq(uids_of(store, call.replace("p_limit => %d" % limit, "p_into => 'box', p_limit => 9")), [6, 7])
        eq(len(store.uids(box)), 2)
        eq(rows(store, call.replace("p_limit", "p_into => 'box', p_limit")), [])
        # all, one by one
        store.expunge(inbox, store.uids(inbox))
        for uid in (9, 5, 8):
            eq(uids_of(store, "message_undelete('%s', 'INBOX', '{%d}')" % (name, uid)), [uid])
            eq(uids_of(store, "message_undelete('%s', 'INBOX', '{%d}')" % (name, uid)), [])


@with_store
def test_undelete_of_what_was_restored(store):
    """A tombstone comes back once, by whichever function."""
    name, _, inbox = store.account()
    store.save(inbox)
    store.save(inbox)
    then = moment(store)
    store.expunge(inbox, [1])
    eq(rows(store, "restore_mailbox('%s', 'INBOX', %s)" % (name, then)), [["1", "f"]])
    store.expunge(inbox, [2])
    eq(rows(store, "message_undelete('%s', 'INBOX')" % name), [["2", "4"]])


@with_store
def test_undelete_leaves_moved_ones_and_purged_ones(store):
    name, account, inbox = store.account()
    box = store.create(account, "box")
    store.save(inbox, uuid.uuid4().bytes)
    store.save(inbox, uuid.uuid4().bytes)
    store.append(box, {"source": (inbox, 1), "move": True})
    store.expunge(inbox, [2])
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = %d AND uid = 2" % inbox)
    store.purge()
    eq(rows(store, "message_undelete('%s', 'INBOX')" % name), [])
    eq(rows(store, "message_undelete('%s', 'INBOX', ARRAY[1, 2])" % name), [["1", "3"]])


@with_store
def test_undelete_does_not_wait_for_a_purge(store):
    """What the purge is about to take stays gone, and nobody waits."""
    name, _, inbox = store.account()
    store.save(inbox, uuid.uuid4().bytes)
    store.expunge(inbox, [1])
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = %d" % inbox)
    store.db.sql("BEGIN; SELECT pgbox.purge()")
    eq(rows(store, "message_undelete('%s', 'INBOX')" % name), [])
    store.db.sql("COMMIT")


@with_store
def test_undelete_beside_a_purge_that_leaves_the_content(store):
    """Another message has the content, so the purge takes the tombstone alone."""
    name, account, inbox = store.account()
    box = store.create(account, "box")
    store.save(inbox, uuid.uuid4().bytes)
    store.append(box, {"source": (inbox, 1)})
    store.expunge(inbox, [1])
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '15 days'::interval WHERE mailbox_id = %d" % inbox)
    store.db.sql("BEGIN; SELECT pgbox.purge()")
    store.admin.sql("SET lock_timeout = '3s'")
    eq(rows(store, "message_undelete('%s', 'INBOX')" % name), [["1", "2"]])
    store.db.sql("COMMIT")
    eq(rows(store, "message_undelete('%s', 'INBOX')" % name), [])


@with_store
def test_copy_between_accounts(store):
    name, _, inbox = store.account()
    other, _, target = store.account()
    for _ in range(3):
        store.save(inbox, keywords="Work")
    store.store(inbox, [2], add=SEEN)
    eq(rows(store, "message_copy('%s', 'INBOX', ARRAY(SELECT uid FROM pgbox.message_search('%s', 'INBOX', p_with => '\\Seen')),"
            " '%s', 'INBOX')" % (name, name, other)), [["2", "1"]])
    eq((bits(store, target), store.keywords(target, 1)), ({1: SEEN}, ["Work"]))
    eq(rows(store, "message_copy('%s', 'INBOX', '{1,3}', '%s', 'INBOX', true)" % (name, other)), [["1", "2"], ["3", "3"]])
    eq((store.uids(inbox), store.uids(target)), ([2], [1, 2, 3]))
    refused("PB004", store.admin.sql, "SELECT * FROM pgbox.message_copy('%s', 'INBOX', '{1}', '%s', 'INBOX')" % (name, other))
    eq(rows(store, "message_copy('%s', 'INBOX', '{}', '%s', 'INBOX')" % (name, other)), [])


@with_store
def test_folders_by_name(store):
    name, account, _ = store.account()
    store.admin.sql("SELECT pgbox.folder_create('%s', 'a/b', '\\Archive')" % name)
    refused("PB003", store.admin.sql, "SELECT pgbox.folder_create('%s', 'a/b')" % name)
    store.admin.sql("SELECT pgbox.folder_rename('%s', 'a', 'c')" % name)
    eq(store.names(account), ["INBOX", "[c]", "c/b"])
    box = store.mailbox(account, "c/b")
    store.save(box)
    eq(rows(store, "folder_empty('%s', 'c/b')" % name), [["1", "f"]])
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'c/b')" % name)
    refused("PB002", store.admin.sql, "SELECT pgbox.folder_delete('%s', 'c/b')" % name)


@with_store
def test_folder_undelete(store):
    name, account, _ = store.account()
    box = store.create(account, "a")
    store.create(account, "a/b")
    store.save(box)
    store.save(box)
    facts = "SELECT uidvalidity, guid FROM pgbox.mailbox WHERE mailbox_id = %d" % box
    before = store.admin.sql(facts), store.counters(box)
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'a')" % name)
    eq(store.names(account), ["INBOX", "[a]", "a/b"])
    eq(store.admin.value("SELECT pgbox.folder_undelete('%s', 'a')" % name), str(box))
    eq((store.admin.sql(facts), store.counters(box)), before)
    eq(store.names(account), ["INBOX", "a", "a/b"])
    # the name is taken
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'a'); SELECT pgbox.folder_create('%s', 'a')" % (name, name))
    refused("PB003", store.admin.sql, "SELECT pgbox.folder_undelete('%s', 'a')" % name)
    store.admin.sql("SELECT pgbox.folder_undelete('%s', 'a', 'x/a')" % name)
    eq((store.names(account), store.uids(box)), (["INBOX", "[x]", "a", "a/b", "x/a"], [1, 2]))
    refused("PB002", store.admin.sql, "SELECT pgbox.folder_undelete('%s', 'never')" % name)


@with_store
def test_folder_undelete_and_quota(store):
    """What a restored mailbox has counts, however it is restored; one without
    messages may come back even if there are too many already."""
    name, account, inbox = store.account()
    box, empty = store.create(account, "box"), store.create(account, "empty")
    for number in range(3):
        store.save(box, b"%d" % number)
        store.save(inbox, b"%d" % number)
    for folder in ("box", "empty"):
        store.admin.sql("SELECT pgbox.folder_delete('%s', '%s')" % (name, folder))
    by_function = "SELECT pgbox.folder_undelete('%s', 'box')" % name
    by_hand = "UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % box
    store.admin.sql("SELECT pgbox.account_set_quota('%s', 5, NULL)" % name)
    for sql in (by_function, by_hand):
        refused("PB011", store.admin.sql, sql)
    store.admin.sql("SELECT pgbox.account_set_quota('%s', 2, NULL)" % name)
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % empty)
    store.admin.sql("SELECT pgbox.account_set_quota('%s', 6, NULL)" % name)
    for sql in (by_function, by_hand):
        store.admin.sql(sql)
        eq(store.uids(box), [1, 2, 3])
        store.admin.sql("SELECT pgbox.folder_delete('%s', 'box')" % name)


@with_store
def test_folder_undelete_after_half_a_purge(store):
    """Clients may have cached what is gone without a trace."""
    name, account, _ = store.account()
    box = store.create(account, "a")
    for _ in range(3):
        store.save(box)
    facts = "SELECT uidvalidity, guid FROM pgbox.mailbox WHERE mailbox_id = %d" % box
    before = store.admin.sql(facts)[0]
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'a'); UPDATE pgbox.mailbox SET deleted_at = now() - '10 years'::interval"
                    " WHERE mailbox_id = %d; SELECT pgbox.purge(2)" % (name, box))
    store.admin.sql("SELECT pgbox.folder_undelete('%s', 'a')" % name)
    after = store.admin.sql(facts)[0]
    true(int(after[0]) > int(before[0]) and after[1] != before[1], "a new identity")
    eq((store.uids(box), store.counters(box)[2]), ([3], 1))


@with_store
def test_folder_move(store):
    name, account, _ = store.account()
    other, other_account, _ = store.account()
    box = store.create(account, "a")
    for _ in range(3):
        store.save(box, keywords="Work")
    store.admin.sql("SELECT pgbox.attribute_set(%d, false, 'comment', 'x', NULL)" % box)
    steps = []
    while not steps or steps[-1][1] == "t":
        steps += rows(store, "folder_move('%s', 'a', '%s', 'from/a', 2)" % (name, other))
    eq(steps, [["2", "t"], ["1", "t"], ["0", "f"]])
    target = store.mailbox(other_account, "from/a")
    eq((store.names(account), store.uids(target), store.keywords(target, 3)), (["INBOX"], [1, 2, 3], ["Work"]))
    eq(store.admin.sql("SELECT key FROM pgbox.mailbox_attribute WHERE mailbox_id = %d" % target), [["comment"]])
    refused("PB006", store.admin.sql, "SELECT * FROM pgbox.folder_move('%s', 'INBOX', '%s', 'x')" % (name, name))


@with_store
def test_restore_mailbox(store):
    name, account, inbox = store.account()
    for _ in range(4):
        store.save(inbox)
    store.expunge(inbox, [1])
    then = moment(store)
    store.expunge(inbox, [2, 3])
    store.save(inbox)
    preview = "restore_preview('%s', 'INBOX', %s)" % (name, then)
    eq([row[1] for row in rows(store, preview)], ["2", "3"])
    restore = "restore_mailbox('%s', 'INBOX', %s, p_limit => 1)" % (name, then)
    eq([rows(store, restore) for _ in range(3)], [[["1", "t"]], [["1", "f"]], [["0", "f"]]])
    eq(store.uids(inbox), [4, 5, 6, 7])
    # restored, expunged again, restored again: once
    store.expunge(inbox, [6, 7])
    eq(rows(store, "restore_mailbox('%s', 'INBOX', %s)" % (name, then)), [["2", "f"]])
    # what is back isn't gone, for another mailbox either
    elsewhere = "restore_preview('%s', 'INBOX', %s, 'was/here')" % (name, then)
    eq((rows(store, preview), rows(store, elsewhere)), ([], []))
    eq(rows(store, "restore_mailbox('%s', 'INBOX', %s, 'was/here')" % (name, then)), [["0", "f"]])
    eq(store.mailbox(account, "was/here"), None)
    # and elsewhere
    store.expunge(inbox, [8])
    eq((len(rows(store, preview)), len(rows(store, elsewhere))), (1, 1))
    store.expunge(inbox, [9])
    eq((len(rows(store, preview)), len(rows(store, elsewhere))), (2, 2))
    eq(rows(store, "restore_mailbox('%s', 'INBOX', %s, 'was/here')" % (name, then)), [["2", "f"]])
    eq(rows(store, "restore_mailbox('%s', 'INBOX', %s, 'was/here')" % (name, then)), [["0", "f"]])
    eq(store.uids(store.mailbox(account, "was/here")), [1, 2])


@with_store
def test_restore_counts_copies(store):
    """Two messages with one GUID: one stayed, and doesn't replace the other."""
    name, _, inbox = store.account()
    store.save(inbox)
    guid = store.admin.value("SELECT guid FROM pgbox.message WHERE mailbox_id = %d" % inbox)
    store.append(inbox, {"source": (inbox, 1), "guid": guid})
    then = moment(store)
    store.expunge(inbox, [2])
    restore = "restore_mailbox('%s', 'INBOX', %s)" % (name, then)
    store.force("UPDATE pgbox.message SET saved_at = saved_at - '1 hour'::interval WHERE mailbox_id = %d" % inbox)
    eq(rows(store, restore), [["1", "f"]])
    store.force("UPDATE pgbox.message SET saved_at = now() + '1 hour'::interval WHERE mailbox_id = %d AND uid = 3" % inbox)
    eq(rows(store, restore), [["0", "f"]])


@with_store
def test_restore_account(store):
    """Mailboxes that were deleted since, too."""
    name, account, inbox = store.account()
    box = store.create(account, "a")
    for mailbox in (inbox, box):
        store.save(mailbox)
        store.save(mailbox)
    then = moment(store)
    store.expunge(inbox, [1])
    store.expunge(box, [1])
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'a')" % name)
    steps = []
    while not steps or steps[-1][2] == "t":
        steps += rows(store, "restore_account('%s', %s)" % (name, then))
    eq(steps, [["INBOX", "1", "t"], ["a", "2", "f"]])
    eq(rows(store, "restore_account('%s', %s)" % (name, then)), [], "all is back")
    eq(store.uids(store.mailbox(account, "a")), [1, 2])
    eq(rows(store, "restore_account('%s', %s, 'Old')" % (name, then)), [], "for Old too")
    store.expunge(inbox, [3])
    store.expunge(store.mailbox(account, "a"), [1])
    eq(rows(store, "restore_account('%s', %s, 'Old')" % (name, then)), [["INBOX", "1", "t"]])
    eq(len(store.uids(store.mailbox(account, "Old/INBOX"))), 1)


@with_store
def test_restore_account_in_steps(store):
    """One mailbox a call; the last row says that it is the last, in the middle of the list too."""
    name, account, inbox = store.account()
    for box in [inbox] + [store.create(account, box) for box in ("a", "b", "c")]:
        for _ in range(3):
            store.save(box)
    then = moment(store)
    for box in ("a", "c"):
        store.expunge(store.mailbox(account, box), [1, 2])
    steps = []
    while not steps or steps[-1][2] == "t":
        steps += rows(store, "restore_account('%s', %s, p_limit => 1)" % (name, then))
    eq(steps, [["a", "1", "t"], ["a", "1", "t"], ["c", "1", "t"], ["c", "1", "f"]])


@with_store
def test_restore_of_what_never_was(store):
    """A name that is spelt wrong, and a time that is to come, are errors."""
    name, account, inbox = store.account()
    store.save(inbox)
    store.create(account, "gone/child")
    store.create(account, "gone")
    store.admin.sql("SELECT pgbox.folder_delete('%s', 'gone')" % name)
    calls = ("restore_preview('%s', '%s', %s)", "restore_mailbox('%s', '%s', %s)")
    for call in calls:
        for folder in ("inbox", "gone", "gone/child"):
            eq(len(rows(store, call % (name, folder, "now()"))), call != calls[0])
        refused("PB002", rows, store, call % (name, "Inbx", "now()"))
        refused("PB001", rows, store, call % ("nobody", "INBOX", "now()"))
        for when in ("now() + '1 minute'::interval", "'infinity'", "NULL"):
            refused("22023", rows, store, call % (name, "INBOX", when))
    store.create(account, "a/b")
    refused("PB002", rows, store, calls[0] % (name, "a", "now()"))
    refused("22023", rows, store, "restore_account('%s', now() + '1 minute'::interval)" % name)
    refused("PB001", rows, store, "restore_account('nobody', now())")
    # and say so
    said = complaint(store, "pgbox.restore_mailbox('%s', 'Inbx', now())" % name)
    has('account "%s" has no mailbox "Inbx", nor had it one within its retention' % name, said)


@with_store
def test_restore_tells_what_is_lost(store):
    """How many messages purge has taken; not those that the account has elsewhere."""
    name, account, inbox = store.account()
    box = store.create(account, "box")
    for _ in range(8):
        store.save(inbox, uuid.uuid4().bytes)
    store.force("UPDATE pgbox.message SET saved_at = now() - '30 days'::interval WHERE mailbox_id = %d" % inbox)
    then = quote(store.admin.value("SELECT now() - '21 days'::interval"))
    later = quote(store.admin.value("SELECT now() - '13 days'::interval"))
    calls = ("restore_preview('%s', 'INBOX', %s)", "restore_mailbox('%s', 'inbox', %s)", "restore_account('%s', %s)")
    # 1, 2 are lost, 3 was moved and is there, 4 was moved and expunged there, 5 was brought back
    store.expunge(inbox, [1, 2, 5])
    rows(store, "message_copy('%s', 'INBOX', '{3,4}', '%s', 'box', true)" % (name, name))
    store.expunge(box, [2])
    eq(rows(store, "message_undelete('%s', 'INBOX', ARRAY[5])" % name), [["5", "9"]])
    store.admin.sql("UPDATE pgbox.expunged SET expunged_at = now() - '20 days'::interval WHERE mailbox_id = %d" % inbox)
    store.purge()
    # those of the last days can come back
    store.expunge(inbox, [6, 7])
    lost = "can't come back, because purge has removed their content: 2"
    before = "is before retention, which reaches back to"
    for call in calls:
        for text in (lost, before):
            has(text, complaint(store, "pgbox." + call % (name, then)), call)
        eq(complaint(store, "pgbox." + call % (name, later)), "", call)
        if call == calls[0]:
            # warnings are lines of their own
            eq([row[1] for row in rows(store, call % (name, then)) if len(row) > 1], ["6", "7"])
            said = complaint(store, "pgbox." + call % (name, then))
            has("account = '%s' AND folder = 'INBOX' AND bytes IS NULL" % name, said)
    eq(len(store.admin.sql("SELECT 1 FROM pgbox.mail_history WHERE account = '%s' AND folder = 'INBOX' AND bytes IS NULL" % name)), 5)
    # once, with the last step
    store.expunge(inbox, [uid for uid in store.uids(inbox) if uid > 9])
    step = "restore_mailbox('%s', 'INBOX', %s, p_limit => 1)" % (name, then)
    eq([complaint(store, "pgbox." + step) != "" for _ in range(2)], [False, True])
    # nothing is lost under a hold, whatever the time
    store.admin.sql("SELECT pgbox.folder_set_hold('%s', 'INBOX', true)" % name)
    true(before not in complaint(store, "pgbox." + calls[0] % (name, then)), "held")
