"""Plain DML of an administrator keeps the rules by itself."""

from sqllib import DRAFT, FLAGGED, SEEN, STEP, Session, refused, store_sql, with_store
from tap import eq, has

REFUSED = "PB010"
# a copy of messages, as an administrator writes it
COPY = ("INSERT INTO pgbox.message (mailbox_id, content_id, guid, received_at)"
        " SELECT %d, g.content_id, g.guid, g.received_at FROM pgbox.message AS g WHERE g.mailbox_id = %d")


def state(store, mailbox):
    """{uid: (modseq, flags, keywords)}"""
    return {int(row[0]): (int(row[1]), int(row[2]), row[3]) for row in store.admin.sql(
        "SELECT uid, modseq, flags, keywords FROM pgbox.message_state WHERE mailbox_id = %d" % mailbox)}


def tombstones(store, mailbox):
    """[uid, modseq, flags, reason]"""
    return store.admin.sql("SELECT uid, modseq, flags, reason FROM pgbox.expunged"
                           " WHERE mailbox_id = %d ORDER BY uid" % mailbox)


def list_modseq(store, account):
    """The change counter of the tree."""
    return int(store.admin.value("SELECT list_modseq FROM pgbox.account WHERE account_id = %d" % account))


def pruned(store, mailbox):
    """Caches that know less are rebuilt."""
    return store.admin.value("SELECT pruned_modseq FROM pgbox.mailbox_counter WHERE mailbox_id = %d" % mailbox)


def filled(store, count=3):
    """An account with messages in INBOX; (account, mailbox)"""
    _, account, inbox = store.account()
    for _ in range(count):
        store.save(inbox)
    return account, inbox


# -- flags and keywords -------------------------------------------------------

@with_store
def test_update_flags(store):
    inbox, other = filled(store)[1], filled(store)[1]
    before = store.modseq(inbox)
    store.admin.sql("UPDATE pgbox.message_state SET flags = flags | 8 WHERE mailbox_id IN (%d, %d) AND uid <= 2" % (inbox, other))
    for box in (inbox, other):
        eq({uid: row[:2] for uid, row in state(store, box).items()},
           {1: (before + STEP, SEEN), 2: (before + STEP, SEEN), 3: (before, 0)})
        eq(store.counters(box)[1:4], (before + STEP, 3, 1))
    eq([row[0] for row in store.pull(inbox, before)[1]], ["1", "2"])
    store.admin.sql("UPDATE pgbox.message_state SET flags = 1 WHERE mailbox_id = %d" % inbox)
    eq(store.counters(inbox)[1:4], (before + 2 * STEP, 3, 3))


@with_store
def test_update_that_changes_nothing(store):
    inbox = filled(store)[1]
    before = store.counters(inbox), state(store, inbox)
    store.admin.sql("UPDATE pgbox.message_state SET flags = flags, keywords = '{}' WHERE mailbox_id = %d" % inbox)
    store.admin.sql("UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = %d AND false" % inbox)
    eq((store.counters(inbox), state(store, inbox)), before)
    # some rows change: the others keep theirs
    store.admin.sql("UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = %d AND uid = 1" % inbox)
    store.admin.sql("UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = %d" % inbox)
    eq([state(store, inbox)[uid][0] - before[0][1] for uid in (1, 2, 3)], [STEP, 2 * STEP, 2 * STEP])


@with_store
def test_update_keywords(store):
    inbox, other = filled(store)[1], filled(store)[1]
    store.store(other, [1], keywords_add="a b c")
    store.admin.sql(
        "UPDATE pgbox.message_state AS s"
        "   SET keywords = pgbox.keywords_change(s.keywords, pgbox.keyword_use(s.mailbox_id, 'c', 'd'), NULL, false)"
        " WHERE s.mailbox_id IN (%d, %d)" % (inbox, other))
    eq([store.keywords(inbox, 1), store.keywords(other, 1), store.keywords(other, 2)],
       [["c", "d"], ["a", "b", "c", "d"], ["c", "d"]])
    eq([state(store, inbox)[1][2], state(store, other)[1][2]], ["{1,2}", "{1,2,3,4}"])
    eq([row[0] for row in store.pull(inbox, STEP)[3]], ["1", "2"], "nodes learn the names")
    # any order and repetition will do, and nothing is NULL
    level = store.modseq(inbox)
    store.admin.sql("UPDATE pgbox.message_state SET keywords = '{2,1,2}' WHERE mailbox_id = %d" % inbox)
    eq(store.modseq(inbox), level)
    store.admin.sql("UPDATE pgbox.message_state SET keywords = array_remove(array_remove(keywords, 1::smallint), 2::smallint)"
                    " WHERE mailbox_id = %d" % inbox)
    eq((state(store, inbox)[1], store.modseq(inbox)), ((level + STEP, 0, ""), level + STEP))
    refused("PB006", store.admin.sql, "UPDATE pgbox.message_state SET keywords = '{7}' WHERE mailbox_id = %d" % inbox)
    refused("23514", store.admin.sql, "UPDATE pgbox.message_state SET flags = 32 WHERE mailbox_id = %d" % inbox)


@with_store
def test_several_statements_in_one_transaction(store):
    account, inbox = filled(store)
    target = store.create(account, "target")
    before = store.counters(inbox)
    change = ("BEGIN; UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = %d;"
              " DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 2;"
              " SAVEPOINT s; DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 3; ROLLBACK TO s;"
              " %s; %s; UPDATE pgbox.message_state SET flags = 2 WHERE mailbox_id = %d; "
              % (inbox, inbox, inbox, COPY % (target, inbox), store_sql(inbox, [1], add=FLAGGED), target))
    store.admin.sql(change + "ROLLBACK")
    eq((store.counters(inbox), tombstones(store, inbox), store.uids(target)), (before, [], []), "no trace")
    eq(store.admin.value("SELECT count(*) FROM pgbox.commit_token WHERE mailbox_id = %d" % target), "0")
    store.admin.sql(change + "COMMIT")
    eq(state(store, inbox), {1: (before[1] + 3 * STEP, SEEN | FLAGGED, ""), 3: (before[1] + STEP, SEEN, "")})
    eq(tombstones(store, inbox), [["2", str(before[1] + 2 * STEP), "8", "SQL by postgres"]])
    eq(state(store, target), {1: (3 * STEP, FLAGGED, ""), 2: (3 * STEP, FLAGGED, "")})
    # the functions' results are not those of an open guard
    store.admin.sql("BEGIN; %s; UPDATE pgbox.message_state SET flags = 1 WHERE mailbox_id = %d; COMMIT"
                    % (store_sql(inbox, [1], add=DRAFT), inbox))
    eq(state(store, inbox)[3][0], store.modseq(inbox))


@with_store
def test_guard_ends_with_the_function(store):
    """Also if it fails, in an exception block, and for a pooler's next client."""
    inbox = filled(store)[1]
    show = "SELECT current_setting('vacuum_multixact_freeze_table_age')"
    usual = store.admin.value(show)
    store.admin.sql("DO $$ BEGIN PERFORM pgbox.message_expunge(-1, '{1}', 'x'); EXCEPTION WHEN OTHERS THEN NULL; END $$")
    eq(store.admin.value(show), usual)
    store.admin.sql("BEGIN; SAVEPOINT s")
    refused("PB002", store.admin.sql, "SELECT pgbox.mailbox_lock(-1)")
    store.admin.sql("ROLLBACK TO s")
    eq(store.admin.value(show), usual)
    refused(REFUSED, store.admin.sql, "UPDATE pgbox.mailbox_counter SET unseen = 0 WHERE mailbox_id = %d" % inbox)
    store.admin.sql("ROLLBACK")
    # a function of ours within the statement
    store.admin.sql("UPDATE pgbox.message_state SET flags = CASE WHEN pgbox.mailbox_lock(mailbox_id) IS NULL THEN 1 ELSE 8 END"
                    " WHERE mailbox_id = %d" % inbox)
    eq(store.counters(inbox)[3], 0)


# -- messages -----------------------------------------------------------------

@with_store
def test_delete(store):
    inbox, other = filled(store)[1], filled(store)[1]
    store.store(inbox, [2], add=SEEN)
    before, size = store.counters(inbox), store.counters(inbox)[4] // 3
    store.admin.sql("DELETE FROM pgbox.message WHERE mailbox_id IN (%d, %d) AND uid >= 2" % (inbox, other))
    eq(store.counters(inbox), (4, before[1] + STEP, 1, 1, size))
    eq(store.counters(other)[2:4], (1, 1))
    eq([row[:3] for row in tombstones(store, inbox)], [["2", str(before[1] + STEP), "8"], ["3", str(before[1] + STEP), "0"]])
    eq([row[0] for row in store.pull(inbox, before[1])[2]], ["2", "3"])
    eq(store.save(inbox)[2], [4], "UIDs aren't used again")


@with_store
def test_the_actor_is_named(store):
    inbox = filled(store)[1]
    store.admin.sql("DO $$ BEGIN CREATE ROLE alice LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
                    " GRANT pgbox_owner TO alice")
    alice = Session(store.cluster, "alice")
    try:
        alice.sql("DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 1" % inbox)
        alice.sql("SET ROLE pgbox_owner; DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 2" % inbox)
    finally:
        alice.close()
    eq([row[3] for row in tombstones(store, inbox)], ["SQL by alice", "SQL by alice as pgbox_owner"])


@with_store
def test_insert_copies(store):
    account, inbox = filled(store)
    store.store(inbox, [1], add=SEEN)
    target = store.create(account, "target")
    store.save(target)
    store.expunge(target, [1])
    before = store.counters(target)
    rows = store.admin.sql(COPY % (target, inbox) + " ORDER BY g.uid RETURNING uid")
    eq([row[0] for row in rows], ["2", "3", "4"])
    eq(store.counters(target), (5, before[1] + STEP, 3, 3, store.counters(inbox)[4]))
    eq(state(store, target), {uid: (before[1] + STEP, 0, "") for uid in (2, 3, 4)})
    eq(store.admin.sql("SELECT guid, received_at, content_id FROM pgbox.message WHERE mailbox_id = %d ORDER BY uid" % inbox),
       store.admin.sql("SELECT guid, received_at, content_id FROM pgbox.message WHERE mailbox_id = %d ORDER BY uid" % target))
    # without GUID and date; several mailboxes; COPY FROM, which knows no SELECT
    store.admin.sql("INSERT INTO pgbox.message (mailbox_id, content_id)"
                    " SELECT b.id, g.content_id FROM pgbox.message AS g, (VALUES (%d), (%d)) AS b (id) WHERE g.mailbox_id = %d"
                    % (inbox, target, inbox))
    eq((store.uids(inbox), len(store.uids(target))), ([1, 2, 3, 4, 5, 6], 6))
    content = store.admin.value("SELECT min(content_id) FROM pgbox.message WHERE mailbox_id = %d" % inbox)
    store.admin.sql("COPY pgbox.message (mailbox_id, content_id) FROM STDIN;\n%d\t%s\n%d\t%s\n\\."
                    % (target, content, target, content))
    eq(store.uids(target), [2, 3, 4, 5, 6, 7, 8, 9])
    eq(store.save(target)[2], [10])
    refused("PB004", store.admin.sql, "INSERT INTO pgbox.message (mailbox_id, content_id) VALUES (%d, -1)" % target)
    refused("PB002", store.admin.sql, COPY % (-1, inbox))
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, target))
    refused("PB002", store.admin.sql, COPY % (target, inbox))


@with_store
def test_move_in_one_statement(store):
    account, inbox = filled(store)
    target = store.create(account, "target")
    store.admin.sql("WITH gone AS (DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid > 1 RETURNING content_id, guid, received_at)"
                    " INSERT INTO pgbox.message (mailbox_id, content_id, guid, received_at)"
                    " SELECT %d, content_id, guid, received_at FROM gone" % (inbox, target))
    eq((store.uids(inbox), store.uids(target)), ([1], [1, 2]))
    # and within one mailbox
    before = store.modseq(inbox)
    store.admin.sql("WITH gone AS (DELETE FROM pgbox.message WHERE mailbox_id = %d RETURNING content_id, guid)"
                    " INSERT INTO pgbox.message (mailbox_id, content_id, guid) SELECT %d, content_id, guid FROM gone" % (inbox, inbox))
    eq(store.uids(inbox), [4])
    pulled = store.pull(inbox, before)
    eq(([row[0] for row in pulled[1]], [row[0] for row in pulled[2]]), (["4"], ["1"]))


@with_store
def test_no_uids_left(store):
    _, account, inbox = store.account()
    store.save(inbox)
    store.db.sql("SELECT pgbox.mailbox_update(%d, %d, NULL, NULL, 4294967294, NULL, NULL)" % (account, inbox))
    refused("PB008", store.admin.sql, "INSERT INTO pgbox.message (mailbox_id, content_id) SELECT g.mailbox_id, g.content_id"
            " FROM pgbox.message AS g, generate_series(1, 3) WHERE g.mailbox_id = %d" % inbox)
    eq(store.uids(inbox), [1])


# -- the tree -----------------------------------------------------------------

@with_store
def test_rename(store):
    account = store.account()[1]
    for name in ("a", "a/b", "a/b/c", "ab", "z"):
        store.create(account, name)
    before = list_modseq(store, account)
    store.admin.sql("UPDATE pgbox.mailbox SET name = 'x/y' WHERE account_id = %d AND name = 'a'" % account)
    eq(store.names(account), ["INBOX", "[x]", "ab", "x/y", "x/y/b", "x/y/b/c", "z"])
    eq(list_modseq(store, account), before + 1)
    # a subtree with all that is below named in the statement
    store.admin.sql("UPDATE pgbox.mailbox SET name = 'n' || substr(name, 4) WHERE account_id = %d AND starts_with(name, 'x/y')" % account)
    eq(store.names(account), ["INBOX", "[x]", "ab", "n", "n/b", "n/b/c", "z"])
    # some go elsewhere
    store.admin.sql("UPDATE pgbox.mailbox SET name = CASE name WHEN 'n' THEN 'm' ELSE 'o' END"
                    " WHERE account_id = %d AND name IN ('n', 'n/b')" % account)
    eq(store.names(account), ["INBOX", "[x]", "ab", "m", "o", "o/c", "z"])
    before = list_modseq(store, account)
    store.admin.sql("UPDATE pgbox.mailbox SET name = name WHERE account_id = %d" % account)
    eq(list_modseq(store, account), before)
    for name, state_wanted in (("z", "PB003"), ("o/below", "PB006"), ("inbox", "PB008"), ("a//b", "PB008"), ("/a", "PB008"),
                               ("a/", "PB008"), ("x" * 5000, "PB008"), ("", "PB008"), ("INBOX", "PB003")):
        refused(state_wanted, store.admin.sql,
                "UPDATE pgbox.mailbox SET name = '%s' WHERE account_id = %d AND name = 'o'" % (name, account))
    eq(store.names(account), ["INBOX", "[x]", "ab", "m", "o", "o/c", "z"])
    store.admin.sql("BEGIN; UPDATE pgbox.mailbox SET name = 'no' WHERE account_id = %d AND name = 'o'; ROLLBACK" % account)
    eq((store.names(account)[4], list_modseq(store, account)), ("o", before))
    store.admin.sql("UPDATE pgbox.mailbox SET special_use = '\\Sent' WHERE account_id = %d AND name = 'o'" % account)
    eq(list_modseq(store, account), before + 1)


@with_store
def test_rename_in_many_accounts(store):
    accounts = [store.account()[1] for _ in range(3)]
    for account in accounts:
        store.create(account, "Sent Items/2020")
        store.create(account, "Sent Items")
    store.admin.sql("UPDATE pgbox.mailbox SET name = 'Sent', special_use = '\\Sent'"
                    " WHERE name = 'Sent Items' AND account_id IN (%s)" % ", ".join(map(str, accounts)))
    for account in accounts:
        eq(store.names(account), ["INBOX", "Sent", "Sent/2020"])


@with_store
def test_rename_inbox(store):
    account, inbox = filled(store)
    store.create(account, "INBOX/child")
    store.db.sql("SELECT pgbox.attribute_set(%d, true, 'vendor/vendor.dovecot/pvt/server/comment', 'x', NULL)" % inbox)
    store.admin.sql("UPDATE pgbox.mailbox SET name = 'old' WHERE mailbox_id = %d" % inbox)
    eq(store.names(account), ["INBOX", "INBOX/child", "old"])
    fresh = store.mailbox(account, "INBOX")
    eq((store.uids(inbox), store.uids(fresh)), ([1, 2, 3], []))
    eq(store.admin.value("SELECT mailbox_id FROM pgbox.mailbox_attribute WHERE mailbox_id IN (%d, %d)" % (inbox, fresh)), str(fresh))


@with_store
def test_rename_inbox_below_itself(store):
    """The node above the new name becomes the new INBOX."""
    account, inbox = filled(store)
    store.admin.sql("UPDATE pgbox.mailbox SET name = 'INBOX/old' WHERE mailbox_id = %d" % inbox)
    eq((store.names(account), store.uids(inbox)), (["INBOX", "INBOX/old"], [1, 2, 3]))


@with_store
def test_delete_and_restore_mailboxes(store):
    account, inbox = filled(store)
    box = store.create(account, "a")
    store.create(account, "a/b")
    store.create(account, "lone")
    for _ in range(3):
        store.save(box)
    before = list_modseq(store, account)
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = now() WHERE account_id = %d AND name IN ('a', 'lone')" % account)
    eq((store.names(account), list_modseq(store, account)), (["INBOX", "[a]", "a/b"], before + 1))
    refused("PB002", store.save, box)
    # restored as it was: the node gives way
    level = store.modseq(box)
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % box)
    eq(store.names(account), ["INBOX", "a", "a/b"])
    eq((store.uids(box), store.modseq(box)), ([1, 2, 3], level))
    eq(pruned(store, box), "0")
    # DELETE marks as deleted; a whole subtree leaves no node
    store.admin.sql("DELETE FROM pgbox.mailbox WHERE account_id = %d AND (name = 'a' OR starts_with(name, 'a/'))" % account)
    eq(store.names(account), ["INBOX"])
    eq(store.admin.value("SELECT count(*) FROM pgbox.message WHERE mailbox_id = %d" % box), "3")
    # restored under another name, in part purged
    store.force("DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 1;"
                "DELETE FROM pgbox.message_state WHERE mailbox_id = %d AND uid = 1" % (box, box))
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = NULL, name = 'back/again' WHERE mailbox_id = %d" % box)
    eq((store.names(account), store.counters(box)[2:4]), (["INBOX", "[back]", "back/again"], (2, 2)))
    eq(pruned(store, box), str(store.modseq(box)), "nodes read it anew")
    # deleted for longer than retention: tombstones may be gone
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = now() - '15 days'::interval WHERE mailbox_id = %d" % box)
    store.admin.sql("UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % box)
    eq((pruned(store, box), store.modseq(box)), (str(level + 2 * STEP), level + 2 * STEP))
    # INBOX
    store.admin.sql("DELETE FROM pgbox.mailbox WHERE mailbox_id = %d" % inbox)
    eq(store.names(account), ["INBOX", "[back]", "back/again"])
    eq(store.uids(store.mailbox(account, "INBOX")), [])
    refused("PB003", store.admin.sql, "UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % inbox)
    # nodes
    refused("PB007", store.admin.sql, "DELETE FROM pgbox.mailbox WHERE account_id = %d AND name = 'back'" % account)
    refused(REFUSED, store.admin.sql, "UPDATE pgbox.mailbox SET deleted_at = now() WHERE account_id = %d AND name = 'back'" % account)
    store.admin.sql("DELETE FROM pgbox.mailbox WHERE account_id = %d AND name = 'back/again'" % account)
    store.admin.sql("DELETE FROM pgbox.mailbox WHERE account_id = %d AND name = 'back'" % account)
    eq(store.names(account), ["INBOX"])
    store.admin.sql("BEGIN; DELETE FROM pgbox.mailbox WHERE account_id = %d; ROLLBACK" % account)
    eq(store.names(account), ["INBOX"])


@with_store
def test_flags_and_expunges_in_a_deleted_mailbox(store):
    """A statement over all mailboxes meets deleted ones too."""
    account = store.account()[1]
    box = store.create(account, "x")
    for _ in range(3):
        store.save(box)
    store.db.sql("SELECT pgbox.mailbox_delete(%d, %d)" % (account, box))
    store.admin.sql("UPDATE pgbox.message_state SET flags = 8 WHERE mailbox_id = %d AND uid = 2" % box)
    store.admin.sql("DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 1" % box)
    eq(store.counters(box)[2:4], (2, 1))


@with_store
def test_subscriptions(store):
    _, account, _ = store.account()
    level = list_modseq(store, account)
    for sql, names in (("INSERT INTO pgbox.subscription VALUES (%d, 'a'), (%d, 'b')" % (account, account), ["a", "b"]),
                       ("UPDATE pgbox.subscription SET name = 'c' WHERE account_id = %d AND name = 'b'" % account, ["a", "c"]),
                       ("DELETE FROM pgbox.subscription WHERE account_id = %d AND name = 'a'" % account, ["c"])):
        store.admin.sql(sql)
        level += 1
        eq(([row[0] for row in store.admin.sql("SELECT name FROM pgbox.subscription WHERE account_id = %d ORDER BY name" % account)],
            list_modseq(store, account)), (names, level))
    store.admin.sql("INSERT INTO pgbox.subscription VALUES (%d, 'c') ON CONFLICT DO NOTHING" % account)
    store.admin.sql("UPDATE pgbox.subscription SET name = name WHERE account_id = %d" % account)
    store.admin.sql("DELETE FROM pgbox.subscription WHERE account_id = %d AND name = 'x'" % account)
    store.admin.sql("BEGIN; DELETE FROM pgbox.subscription WHERE account_id = %d; ROLLBACK" % account)
    eq(list_modseq(store, account), level)


# -- what is refused ----------------------------------------------------------

REFUSALS = (
    "UPDATE pgbox.message_state SET modseq = modseq", "UPDATE pgbox.message_state SET uid = uid + 1",
    "UPDATE pgbox.message_state SET flags = 1, mailbox_id = 1", "DELETE FROM pgbox.message_state",
    "INSERT INTO pgbox.message_state (mailbox_id, uid, modseq) VALUES (1, 1, 1)",
    "INSERT INTO pgbox.message_state AS s (mailbox_id, uid, modseq) SELECT mailbox_id, uid, 1 FROM pgbox.message"
    " ON CONFLICT (mailbox_id, uid) DO UPDATE SET flags = 1",
    "UPDATE pgbox.message SET guid = gen_random_uuid()", "UPDATE pgbox.message SET uid = uid",
    "UPDATE pgbox.message SET content_id = 1", "UPDATE pgbox.message SET mailbox_id = 1",
    "UPDATE pgbox.message SET received_at = now()",
    "INSERT INTO pgbox.message SELECT * FROM pgbox.message",
    "UPDATE pgbox.expunged SET modseq = 1", "UPDATE pgbox.expunged SET content_id = NULL", "DELETE FROM pgbox.expunged",
    "INSERT INTO pgbox.expunged SELECT * FROM pgbox.expunged",
    "UPDATE pgbox.mailbox_counter SET unseen = 0", "UPDATE pgbox.mailbox_counter SET uid_next = 1",
    "UPDATE pgbox.mailbox_counter SET highest_modseq = highest_modseq + 65536", "DELETE FROM pgbox.mailbox_counter",
    "INSERT INTO pgbox.mailbox_counter (mailbox_id) VALUES (1)",
    "UPDATE pgbox.mailbox SET guid = gen_random_uuid()", "UPDATE pgbox.mailbox SET uidvalidity = 1",
    "UPDATE pgbox.mailbox SET account_id = 1", "INSERT INTO pgbox.mailbox (account_id, name) SELECT 1, 'x'",
    "UPDATE pgbox.mailbox_keyword SET name = 'x'", "DELETE FROM pgbox.mailbox_keyword",
    "INSERT INTO pgbox.mailbox_keyword SELECT 1, 1, 'x'",
    "UPDATE pgbox.account SET list_modseq = 1", "UPDATE pgbox.account SET last_uidvalidity = 1",
    "INSERT INTO pgbox.account (name) VALUES ('by hand')",
    "UPDATE pgbox.content SET size = 1", "DELETE FROM pgbox.content", "UPDATE pgbox.content SET envelope = NULL",
    "INSERT INTO pgbox.content (header_complete, size, virtual_size, header) VALUES (true, 0, 0, '')",
    "UPDATE pgbox.body SET head = ''", "DELETE FROM pgbox.body", "INSERT INTO pgbox.body (digest, size, head) VALUES ('', 1, '')",
    "UPDATE pgbox.body_chunk SET data = ''", "INSERT INTO pgbox.body_chunk VALUES (1, 1, '')",
)
TABLES = ("message", "message_state", "expunged", "mailbox", "mailbox_counter", "mailbox_keyword", "mailbox_attribute",
          "account", "subscription", "content", "body", "body_chunk", "store")
PICTURE = " UNION ALL ".join("SELECT '%s', md5(string_agg(t::text, '' ORDER BY t::text)) FROM pgbox.%s AS t" % (name, name)
                             for name in TABLES) + " ORDER BY 1"


@with_store
def test_refused(store):
    """For superusers and the owner; nothing is left of the attempt."""
    inbox = filled(store)[1]
    store.store(inbox, [1], keywords_add="k")
    store.expunge(inbox, [2])
    before = store.admin.sql(PICTURE)
    for role in ("NONE", "pgbox_owner"):
        store.admin.sql("SET ROLE " + role)
        for sql in REFUSALS:
            try:
                refused(REFUSED, store.admin.sql, sql)
            except AssertionError as error:
                raise AssertionError("%s: %s" % (sql, error)) from error
        for table in TABLES:
            refused(REFUSED, store.admin.sql, "TRUNCATE pgbox.%s CASCADE" % table)
    store.admin.sql("RESET ROLE")
    eq(store.admin.sql(PICTURE), before)


@with_store
def test_the_refusal_is_clear(store):
    """In words, with what to do instead."""
    text = store.cluster.psql_error("UPDATE pgbox.message SET uid = 7")
    has("ERROR:  a message is not to be changed by hand: it is immutable", text)
    has("HINT:  INSERT a copy and DELETE the original.", text)
