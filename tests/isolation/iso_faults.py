"""Do the specs see the faults that they are about? Each test breaks one function
in a database of its own, so that it has the fault, and the spec must tell."""

import re

from iso_run import differences, load_helpers, run_spec
from tap import timeout, true

RIGHT, FAULTY = "iso_right", "iso_faulty"
# message_append() does one copy as it does many
MANY = ("IF v_count = 1 AND p_contents[1] IS NULL THEN", "IF false THEN")


def make_right(cluster):
    """A database with the schema and the helpers, to be copied."""
    if cluster.value("SELECT count(*) FROM pg_database WHERE datname = '%s'" % RIGHT) == "0":
        cluster.psql("CREATE DATABASE %s" % RIGHT, dbname="postgres")
        cluster.schema_tool("install", dbname=RIGHT)
        load_helpers(cluster, RIGHT)


def differences_with(lab, spec, function, *changes):
    """What the spec's run differs in from what is expected with (old, new) replaced in the function."""
    cluster = lab.cluster
    make_right(cluster)
    cluster.psql("CREATE DATABASE %s TEMPLATE %s" % (FAULTY, RIGHT), dbname="postgres")
    try:
        # as the plugin of this version calls it
        text = cluster.value("SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p WHERE p.pronamespace = 'pgbox'::regnamespace"
                             " AND p.proname = '%s' ORDER BY p.pronargs DESC LIMIT 1" % function, dbname=FAULTY)
        for old, new in changes:
            true(text.count(old) == 1, "%s() has not exactly one %r" % (function, old))
            text = text.replace(old, new)
        cluster.psql(text, dbname=FAULTY)
        return differences(spec, run_spec(cluster, spec, FAULTY))
    finally:
        cluster.psql("DROP DATABASE %s" % FAULTY, dbname="postgres")


def breaks(lab, spec, function, old, new, sign, beside=()):
    """With old replaced by new in the function, the spec's run differs from what
    is expected, and sign (a pattern) is in what it prints instead; beside: more that is replaced."""
    diff = differences_with(lab, spec, function, (old, new), *beside)
    came = "\n".join(line[1:] for line in diff.split("\n")[2:] if line.startswith("+"))
    true(re.search(sign, came, re.M), "%s doesn't see it, it should print %r:\n%s" % (spec, sign, diff))


@timeout(90)
def test_uid_visible_out_of_order(lab):
    """The column "late" counts it."""
    breaks(lab, "uid-order", "message_save",
           "v_uid := GREATEST(v_uid_next, p_uid);", "v_uid := CASE v_uid_next WHEN 1 THEN 2 ELSE 1 END;",
           r"^ +2\| +3\| +1\| +\| +1\|")


def test_highestmodseq_before_its_rows(lab):
    """The columns "missed" and "ahead" do."""
    breaks(lab, "modseq-store", "mailbox_pull",
           "SELECT 0, c.uid_next, c.highest_modseq,", "SELECT 0, c.uid_next, c.highest_modseq + 65536,",
           r"\| +[1-9]\d*\| +1$")


def test_tombstone_keeps_the_old_modseq(lab):
    """The node keeps a message that is gone."""
    breaks(lab, "fault-tombstone", "message_bury",
           "SELECT p_mailbox, g.uid, p_modseq, g.content_id", "SELECT p_mailbox, g.uid, 131072, g.content_id",
           r"^ +3\| +4\| +\| +\| +0\| +1\|")


def test_uidnext_falls(lab):
    breaks(lab, "fault-uidnext", "message_bury",
           "messages = c.messages - v_messages,",
           "uid_next = 1 + COALESCE((SELECT max(g.uid) FROM pgbox.message AS g WHERE g.mailbox_id = p_mailbox), 0),"
           " messages = c.messages - v_messages,",
           r"^ +1\| +4\| +0\|")


def test_uidvalidity_given_twice(lab):
    breaks(lab, "fault-uidvalidity", "uidvalidity_next",
           "GREATEST(a.last_uidvalidity + 1,", "GREATEST(a.last_uidvalidity,",
           r"^ +3\| +[12]$")


def test_keyword_number_reused(lab):
    breaks(lab, "fault-keyword", "keyword_numbers",
           "FROM pgbox.mailbox_keyword AS k WHERE k.mailbox_id = p_mailbox;",
           "FROM pgbox.mailbox_keyword AS k WHERE k.mailbox_id = p_mailbox AND EXISTS ("
           " SELECT 1 FROM pgbox.message_state AS s WHERE s.mailbox_id = p_mailbox AND k.number = ANY (s.keywords));",
           r"mailbox_keyword_pkey")


def test_no_lock_on_the_counters(lab):
    """Two sessions that take \\Recent, and a conditional store that isn't."""
    breaks(lab, "recent", "mailbox_lock", "FOR NO KEY UPDATE", "", r"^ +1$")
    breaks(lab, "unchangedsince", "mailbox_lock", "FOR NO KEY UPDATE", "", r"^taken +\| +\| +4\|")


def test_move_is_copy_only(lab):
    """The message is in both."""
    breaks(lab, "move-expunge", "message_append",
           "WHERE s.move\n     GROUP BY s.id", "WHERE s.move AND false\n     GROUP BY s.id",
           r"^a +\| +1\| +1\|(.*\n)+?b +\| +1\| +1\|", [MANY])
    breaks(lab, "move-expunge", "message_append_copy", "  IF p_move THEN\n    PERFORM pgbox.message_bury",
           "  IF false THEN\n    PERFORM pgbox.message_bury", r"^a +\| +1\| +1\|(.*\n)+?b +\| +1\| +1\|")


@timeout(120)
def test_one_as_many(lab):
    """What specs do with one copy holds for those of many, too: by the same code here."""
    for spec in ("copy-move-across", "delete-append", "move-expunge", "purge-copy"):
        diff = differences_with(lab, spec, "message_append", MANY)
        true(not diff, diff)


def test_purge_locks_counters_first(lab):
    """The deadlock of a purge and a delivery."""
    breaks(lab, "purge-deleted", "purge",
           "  -- Contents of tombstones past retention.",
           "  PERFORM 1 FROM pgbox.mailbox_counter AS c WHERE c.mailbox_id = v_mailbox FOR UPDATE;\n"
           "  -- Contents of tombstones past retention.",
           r"deadlock detected")


@timeout(120)
def test_nobody_looks_after_references(lab):
    """What stands in for foreign keys, taken away one by one: contents that a copy
    doesn't lock, a plain INSERT that doesn't, deletions that aren't looked at. The
    specs see it by what "pgbox-schema verify" says in the end, or by the error that
    doesn't come."""
    missing = r"has no content: \d+ is missing|^content N belongs to no message"
    breaks(lab, "reference-content", "message_append", "       FOR KEY SHARE OF c SKIP LOCKED", "", missing, [MANY])
    breaks(lab, "reference-content", "message_append_copy", "     FOR KEY SHARE OF c SKIP LOCKED", "", missing)
    breaks(lab, "reference-content", "rule_message_insert",
           "WHERE c.content_id = NEW.content_id FOR KEY SHARE SKIP LOCKED", "WHERE c.content_id = NEW.content_id", missing)
    breaks(lab, "reference-content", "reference_to_content", "IS NOT NULL\n     OR", "IS NOT NULL AND false\n     OR", missing)
    breaks(lab, "reference-content", "reference_to_content", "LIMIT 1) IS NOT NULL THEN", "LIMIT 1) IS NOT NULL AND false THEN",
           r"has no content: \d+ is missing")
    breaks(lab, "reference-mailbox", "reference_to_mailbox", "IS NOT NULL\n     OR", "IS NOT NULL AND false\n     OR",
           r"there is no such mailbox")
    breaks(lab, "reference-mailbox", "reference_to_mailbox", "LIMIT 1) IS NOT NULL THEN", "LIMIT 1) IS NOT NULL AND false THEN",
           r"there is no such mailbox")
