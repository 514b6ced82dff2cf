"""Each rule of pgbox.invariant_violations is broken by force: the view names it,
and what can be repaired is repaired."""

import json

from sqllib import SEEN, STEP, refused, with_store
from tap import eq, has, true

ADMIN = " mailbox_id = %(box)d"
PARENTS = "; INSERT INTO pgbox.mailbox (account_id, name) SELECT %%(account)d, unnest(ARRAY[%s])"
# a rule, SQL that breaks it, the table and some ids that the view must name, and
# who repairs it: "mailbox", "account", or the SQL that undoes the damage
BREAKS = (
    ("counters equal rows", "UPDATE pgbox.mailbox_counter SET unseen = unseen - 1 WHERE" + ADMIN,
     "mailbox_counter", {"mailbox_id": "box"}, "mailbox"),
    ("counters equal rows", "UPDATE pgbox.mailbox_counter SET virtual_size = 7, messages = 9 WHERE" + ADMIN,
     "mailbox_counter", {"mailbox_id": "box"}, "mailbox"),
    ("UIDNEXT is above all UIDs", "UPDATE pgbox.mailbox_counter SET uid_next = 2 WHERE" + ADMIN,
     "mailbox_counter", {"mailbox_id": "box"}, "mailbox"),
    ("no change is above highest_modseq", "UPDATE pgbox.mailbox_counter SET highest_modseq = 65536, pruned_modseq = 0 WHERE" + ADMIN,
     "mailbox_counter", {"mailbox_id": "box"}, "mailbox"),
    ("modseqs are multiples of 65536", "UPDATE pgbox.message_state SET modseq = modseq - 1 WHERE uid = 1 AND" + ADMIN,
     "message_state", {"mailbox_id": "box", "uid": 1}, "mailbox"),
    ("modseqs are multiples of 65536", "UPDATE pgbox.expunged SET modseq = 0 WHERE" + ADMIN,
     "expunged", {"mailbox_id": "box", "uid": 3}, "mailbox"),
    ("a message has a state", "DELETE FROM pgbox.message_state WHERE uid = 1 AND" + ADMIN,
     "message", {"mailbox_id": "box", "uid": 1}, "mailbox"),
    ("a state has a message", "DELETE FROM pgbox.message WHERE uid = 1 AND" + ADMIN,
     "message_state", {"mailbox_id": "box", "uid": 1}, "mailbox"),
    ("an expunged UID stays expunged", "UPDATE pgbox.expunged SET uid = 2 WHERE" + ADMIN,
     "message", {"mailbox_id": "box", "uid": 2}, "mailbox"),
    ("a keyword has a name", "DELETE FROM pgbox.mailbox_keyword WHERE number = 1 AND" + ADMIN,
     "message_state", {"mailbox_id": "box", "uid": 1}, "mailbox"),
    ("keywords are in order", "UPDATE pgbox.message_state SET keywords = '{2,1,2}' WHERE uid = 1 AND" + ADMIN,
     "message_state", {"mailbox_id": "box", "uid": 1}, "mailbox"),
    ("a mailbox has counters", "DELETE FROM pgbox.mailbox_counter WHERE" + ADMIN,
     "mailbox", {"mailbox_id": "box"}, "mailbox"),
    ("a node has no messages", "UPDATE pgbox.mailbox SET guid = NULL, uidvalidity = NULL WHERE" + ADMIN,
     "mailbox", {"mailbox_id": "box"}, "mailbox"),
    ("a tombstone has its content or none", "UPDATE pgbox.expunged SET content_id = -5 WHERE" + ADMIN,
     "expunged", {"mailbox_id": "box", "content_id": -5}, "mailbox"),
    ("an account has an INBOX", "UPDATE pgbox.mailbox SET name = 'gone' WHERE mailbox_id = %(inbox)d",
     "account", {"account_id": "account"}, "account"),
    ("a client can open a mailbox by its name", "UPDATE pgbox.mailbox SET name = 'box//x' WHERE" + ADMIN + PARENTS % "'box', 'box/'",
     "mailbox", {"mailbox_id": "box"}, "name"),
    ("a client can open a mailbox by its name", "UPDATE pgbox.mailbox SET name = 'Inbox/x' WHERE" + ADMIN + PARENTS % "'Inbox'",
     "mailbox", {"mailbox_id": "box"}, "name"),
    ("a client can open a mailbox by its name", "UPDATE pgbox.mailbox SET name = E'a\\nb' WHERE" + ADMIN,
     "mailbox", {"mailbox_id": "box"}, "name"),
    ("a mailbox has its parents", "DELETE FROM pgbox.mailbox WHERE account_id = %(account)d AND name = 'x'",
     "mailbox", {"mailbox_id": "below"}, "account"),
    ("a node goes when it is deleted", "UPDATE pgbox.mailbox SET deleted_at = now() WHERE account_id = %(account)d AND name = 'x'",
     "mailbox", {}, "account"),
    ("UIDVALIDITY is given once", "UPDATE pgbox.account SET last_uidvalidity = 1 WHERE account_id = %(account)d",
     "account", {"account_id": "account", "mailbox_id": "box"}, "account"),
    ("a body has all its bytes", "DELETE FROM pgbox.body_chunk WHERE body_id = %(body)d",
     "body", {"body_id": "body"}, "INSERT INTO pgbox.body_chunk SELECT * FROM saved_body_chunk"),
    ("header and body make up the size", "UPDATE pgbox.content SET size = size + 1 WHERE content_id = %(content)d",
     "content", {"content_id": "content"}, "UPDATE pgbox.content SET size = size - 1 WHERE content_id = %(content)d"),
    ("a message has a content", "DELETE FROM pgbox.content WHERE content_id = %(content)d",
     "message", {"content_id": "content"}, "INSERT INTO pgbox.content OVERRIDING SYSTEM VALUE SELECT * FROM saved_content"),
    ("a content has a body", "DELETE FROM pgbox.body WHERE body_id = %(body)d",
     "content", {"body_id": "body"}, "INSERT INTO pgbox.body OVERRIDING SYSTEM VALUE SELECT * FROM saved_body"),
    ("a chunk has a body", "INSERT INTO pgbox.body_chunk VALUES (-5, 1, 'x')",
     "body_chunk", {"body_id": -5}, "DELETE FROM pgbox.body_chunk WHERE body_id = -5"),
    ("what is in a mailbox has a mailbox", "INSERT INTO pgbox.mailbox_counter (mailbox_id) VALUES (-5)",
     "mailbox_counter", {"mailbox_id": -5}, "DELETE FROM pgbox.mailbox_counter WHERE mailbox_id = -5"),
    ("what is in a mailbox has a mailbox", "INSERT INTO pgbox.mailbox_keyword VALUES (-5, 1, 'x')",
     "mailbox_keyword", {"mailbox_id": -5}, "DELETE FROM pgbox.mailbox_keyword WHERE mailbox_id = -5"),
    ("what is in a mailbox has a mailbox", "INSERT INTO pgbox.mailbox_attribute VALUES (-5, true, 'x', '')",
     "mailbox_attribute", {"mailbox_id": -5}, "DELETE FROM pgbox.mailbox_attribute WHERE mailbox_id = -5"),
    ("what is in a mailbox has a mailbox",
     "INSERT INTO pgbox.message SELECT -5, 1, content_id, guid, now(), now() FROM pgbox.message WHERE uid = 1 AND" + ADMIN +
     "; INSERT INTO pgbox.message_state VALUES (-5, 1, 65536)",
     "message", {"mailbox_id": -5},
     "DELETE FROM pgbox.message WHERE mailbox_id = -5; DELETE FROM pgbox.message_state WHERE mailbox_id = -5"),
    ("what is in a mailbox has a mailbox",
     "INSERT INTO pgbox.expunged SELECT -5, 1, 65536, NULL, guid, now(), now(), 0, NULL, now(), 'x' FROM pgbox.message"
     " WHERE uid = 1 AND" + ADMIN, "expunged", {"mailbox_id": -5}, "DELETE FROM pgbox.expunged WHERE mailbox_id = -5"),
    ("what belongs to an account has an account", "INSERT INTO pgbox.subscription VALUES (-5, 'x')",
     "subscription", {"account_id": -5}, "DELETE FROM pgbox.subscription WHERE account_id = -5"),
    ("what belongs to an account has an account", "INSERT INTO pgbox.mailbox (account_id, name) VALUES (-5, 'x')",
     "mailbox", {"account_id": -5}, "DELETE FROM pgbox.mailbox WHERE account_id = -5"),
    ("the store describes itself", "DELETE FROM pgbox.store",
     "store", {}, "INSERT INTO pgbox.store SELECT * FROM saved_store"),
)


def violations(store):
    """[(rule, table, ids, problem, remedy)]"""
    return [(row[0], row[1], json.loads(row[2]), row[3], row[4]) for row in store.admin.sql(
        "SELECT rule, relation, ids, problem, remedy FROM pgbox.invariant_violations")]


def lived_in(store):
    """An account with something of everything; its ids by name."""
    _, account, inbox = store.account()
    box, below = store.create(account, "box"), store.create(account, "x/below")
    for number in range(3):
        store.save(box, b"body %d of %d" % (number, account), keywords="a b", flags=SEEN if number else 0)
    store.expunge(box, [3])
    store.db.sql("SELECT pgbox.subscription_set(%d, 'box', true)" % account)
    content, body = store.admin.sql("SELECT content_id, body_id FROM pgbox.message JOIN pgbox.content USING (content_id)"
                                    " WHERE mailbox_id = %d AND uid = 2" % box)[0]
    # a body of two pieces
    store.force("UPDATE pgbox.body SET size = 131073, head = repeat('x', 131072)::bytea WHERE body_id = %s;"
                "INSERT INTO pgbox.body_chunk VALUES (%s, 1, 'x');"
                "UPDATE pgbox.content SET size = octet_length(header) + 131073 WHERE content_id = %s" % (body, body, content))
    for table, where in (("body", "body_id = " + body), ("body_chunk", "body_id = " + body),
                         ("content", "content_id = " + content), ("store", "true")):
        store.admin.sql("DROP TABLE IF EXISTS saved_%s; CREATE TEMPORARY TABLE saved_%s AS SELECT * FROM pgbox.%s WHERE %s"
                        % (table, table, table, where))
    return {"account": account, "inbox": inbox, "box": box, "below": below, "content": int(content), "body": int(body)}


@with_store
def test_every_rule_is_seen_and_healed(store):
    for rule, damage, table, wanted, cure in BREAKS:
        ids = lived_in(store)
        eq(violations(store), [])
        before = store.modseq(ids["box"])
        store.force(damage % ids)
        found = [row for row in violations(store) if row[:2] == (rule, table)]
        true(found, "%s isn't seen; %r is" % (damage, violations(store)))
        wanted = {key: ids.get(value, value) for key, value in wanted.items()}
        true(any(wanted.items() <= row[2].items() for row in found), "%r instead of %r" % (found, wanted))
        remedy = next(row[4] for row in found if wanted.items() <= row[2].items())
        if cure in ("mailbox", "account"):
            eq(remedy, "SELECT pgbox.%s_repair(%d)" % (cure, ids["box" if cure == "mailbox" else cure]))
            eq(store.admin.value(remedy), "t", "something was repaired")
            eq(store.admin.value(remedy), "f", "and is done")
        elif cure == "name":
            eq(remedy, "UPDATE pgbox.mailbox SET name = 'a name that can be opened' WHERE mailbox_id = %d" % ids["box"])
            store.admin.sql(remedy)
            # the nodes above have such names too
            store.admin.sql("DELETE FROM pgbox.mailbox WHERE account_id = %(account)d AND guid IS NULL AND name IN ('box/', 'Inbox')" % ids)
        else:
            has("restore", remedy)
            store.force(cure % ids)
        eq(violations(store), [], "after %s" % damage)
        if table in ("message", "message_state"):
            true(cure != "mailbox" or store.modseq(ids["box"]) > before, "nodes hear of it: " + damage)
    text = store.admin.value("SELECT regexp_replace(prosrc, '\\s+', ' ', 'g') FROM pg_proc WHERE proname = 'violations'")
    rules = {part.split("'")[0] for part in text.split("SELECT '")[1:]}
    eq({rule for rule in rules if " " in rule}, {row[0] for row in BREAKS}, "this test breaks each rule")


@with_store
def test_a_message_under_an_expunged_uid_gets_another(store):
    box = lived_in(store)["box"]
    store.force("UPDATE pgbox.expunged SET uid = 2 WHERE mailbox_id = %d" % box)
    store.admin.sql("SELECT pgbox.mailbox_repair(%d)" % box)
    eq(store.uids(box), [1, 4])
    eq(store.keywords(box, 4), ["a", "b"])
    eq(store.counters(box)[0], 5)


@with_store
def test_repair_waits_for_the_lock(store):
    box = lived_in(store)["box"]
    store.force("UPDATE pgbox.mailbox_counter SET unseen = 0 WHERE mailbox_id = %d" % box)
    other = store.session("postgres")
    other.sql("BEGIN; SELECT pgbox.mailbox_lock(%d)" % box)
    store.admin.start("SELECT pgbox.mailbox_repair(%d)" % box)
    store.wait_blocked(store.admin, other)
    other.sql("DELETE FROM pgbox.message WHERE mailbox_id = %d AND uid = 2; COMMIT" % box)
    eq(store.admin.finish(), [["t"]])
    eq(store.counters(box)[2:4], (1, 1))


@with_store
def test_healthy_is_left_alone(store):
    ids = lived_in(store)
    before = store.counters(ids["box"])
    eq(store.admin.value("SELECT pgbox.mailbox_repair(%d)" % ids["box"]), "f")
    eq(store.admin.value("SELECT pgbox.account_repair(%d)" % ids["account"]), "f")
    eq(store.counters(ids["box"]), before)
    refused("PB002", store.admin.sql, "SELECT pgbox.mailbox_repair(-1)")
    refused("PB001", store.admin.sql, "SELECT pgbox.account_repair(-1)")
    eq(before[1] % STEP, 0)
