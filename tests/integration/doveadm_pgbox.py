"""doveadm pgbox: status, verify, purge, expire, undelete. pgbox only."""

import json
import os
import re
import shutil

import proc
from mails import fill
from push import exists, idler, nodes, quickly
from tap import Skip, eq, has, only, timeout, true

FORCE = "SET session_replication_role = replica; "
# what exit statuses mean: sysexits.h, and doveadm.h for those of doveadm's own
USAGE, NOT_POSSIBLE, NOT_FOUND, TEMPORARY = 64, 65, 68, 75


def table(node, command, *args, user=None, flags=()):
    """Rows of a command as dicts."""
    return json.loads(node.doveadm(*command.split(), *args, user=user, flags=("-f", "json") + tuple(flags)).stdout or "[]")


def fails(node, status, text, *args, user=None, printed=()):
    """The command ends with this exit status, says this, and prints no more."""
    done = node.doveadm("pgbox", *args, user=user, check=False)
    eq(done.returncode, status, "%r: %r" % (args, done.stderr))
    has(text, done.stderr.decode())
    eq(done.stdout.split(), list(printed), args)


def names(lab, *users):
    """A file with names of users."""
    path = os.path.join(lab.dir, "names")
    with open(path, "w") as handle:
        handle.write("".join(user + "\n" for user in users))
    return path


def prepared(lab, count=3):
    """(node, user, client) of an account with messages in INBOX and `box`."""
    node, user = lab.node(), lab.user()
    client = lab.imap(user)
    client.ok("CREATE box")
    fill(client, "INBOX", count)
    fill(client, "box", count)
    return node, user, client


def expunge(client, mailbox, uids):
    """Delete messages as a client does."""
    client.ok("SELECT ", mailbox)
    client.ok("UID STORE %s +FLAGS (\\Deleted)" % uids)
    client.ok("UID EXPUNGE %s" % uids)


def age(lab, user, days):
    """What the account has expunged, and what mailboxes it has deleted, was long ago."""
    lab.cluster.psql("UPDATE pgbox.expunged SET expunged_at = expunged_at - '%(days)d days'::interval WHERE mailbox_id IN"
                     " (SELECT mailbox_id FROM pgbox.mailbox JOIN pgbox.account USING (account_id) WHERE account.name = '%(user)s');"
                     "UPDATE pgbox.mailbox SET deleted_at = deleted_at - '%(days)d days'::interval WHERE deleted_at IS NOT NULL"
                     " AND account_id = (SELECT account_id FROM pgbox.account WHERE name = '%(user)s')"
                     % {"days": days, "user": user})


@only("pgbox")
def test_status_of_an_account(lab):
    node, user, client = prepared(lab)
    expunge(client, "INBOX", "1:2")
    client.ok("DELETE box")
    lab.cluster.psql("SELECT pgbox.account_set_quota('%s', 10, NULL)" % user)
    row = table(node, "pgbox status", user=user)[0]
    eq((row["messages"], row["quota-messages"], row["quota-bytes"], row["restorable-messages"], row["restorable-mailboxes"]),
       ("1", "10", "-", "2", "1"))
    eq(row["bytes"], str(lab.cluster.psql("SELECT bytes FROM pgbox.account_overview WHERE account = '%s'" % user)[0][0]))
    # of several users, each with its name
    other = lab.user()
    rows = table(node, "pgbox status", "-F", names(lab, user, other))
    eq([(row["username"], row["messages"]) for row in rows], [(user, "1"), (other, "0")])
    # Dovecot's own users are in a file here: this one has no account
    fails(node, NOT_FOUND, "there is no account", "status", user="u1999")


@only("pgbox")
def test_status_of_the_store(lab):
    node, user, client = prepared(lab)
    before = table(node, "pgbox status")[0]
    expunge(client, "INBOX", "1")
    client.ok("DELETE box")
    age(lab, user, 15)
    after = table(node, "pgbox status")[0]
    gained = {key: int(after[key]) - int(before[key]) for key in ("mailboxes", "messages", "purgeable-messages", "purgeable-mailboxes")}
    eq(gained, {"mailboxes": -1, "messages": -4, "purgeable-messages": 4, "purgeable-mailboxes": 1})
    done = table(node, "pgbox purge")[0]
    eq((done["messages"], done["mailboxes"]), (after["purgeable-messages"], after["purgeable-mailboxes"]))
    eq(after["schema"], lab.cluster.psql("SELECT max(version) FROM pgbox.schema_version")[0][0])
    text = node.doveadm("pgbox", "status").stdout.decode()
    has("Schema version: ", text)
    has("Retention: ", text)


@only("pgbox")
def test_purge(lab):
    node, user, client = prepared(lab, 5)
    table(node, "pgbox purge")
    expunge(client, "INBOX", "1:4")
    client.ok("DELETE box")
    eq(table(node, "pgbox purge"), [{"messages": "0", "mailboxes": "0", "contents": "0", "bodies": "0"}], "all is in retention")
    age(lab, user, 15)
    # so many of each kind: of the deleted mailbox, and expunged ones
    eq(table(node, "pgbox purge", "-l", "3")[0]["messages"], "6", "what is left goes with the next call")
    rows = table(node, "pgbox purge")
    eq((rows[0]["messages"], rows[0]["mailboxes"]), ("3", "1"))
    eq(table(node, "pgbox purge")[0]["messages"], "0")
    for wrong in ("0", "abc", "-5"):
        fails(node, USAGE, "limit must be a number above 0", "purge", "-l", wrong)
    said = node.doveadm("pgbox", "purge", flags=("-v",))
    eq(said.stderr, b"", "nothing was done, nothing to tell")


@only("pgbox")
def test_verify(lab):
    node, user, client = prepared(lab)
    other = lab.user()
    mailbox = lab.cluster.psql("SELECT mailbox_id FROM pgbox.mailbox JOIN pgbox.account USING (account_id)"
                               " WHERE account.name = '%s' AND mailbox.name = 'box'" % user)[0][0]
    eq(node.doveadm("pgbox", "verify").stdout, b"")
    eq(node.doveadm("pgbox", "verify", user=user).stdout, b"")
    has("bodies are verified", node.doveadm("pgbox", "verify", flags=("-v",)).stderr.decode())
    body, first = lab.cluster.psql("SELECT body_id, get_byte(head, 0) FROM pgbox.body JOIN pgbox.content USING (body_id)"
                                   " JOIN pgbox.message USING (content_id)"
                                   " WHERE mailbox_id = %s AND uid = 1" % mailbox)[0]
    lab.cluster.psql("%sUPDATE pgbox.mailbox_counter SET unseen = unseen - 1 WHERE mailbox_id = %s;"
                     "UPDATE pgbox.body SET head = set_byte(head, 0, 1) WHERE body_id = %s" % (FORCE, mailbox, body))
    try:
        for who in ((), ("-u", user), ("-F", names(lab, other, user))):
            done = node.doveadm("pgbox", "verify", *who, check=False)
            eq(done.returncode, NOT_POSSIBLE)
            text = done.stdout.decode()
            has("problem: mailbox %s: counters say 3 messages, 2 unseen" % mailbox, text.replace("Problem", "problem"))
            has("SELECT pgbox.mailbox_repair(%s)" % mailbox, text)
            has("body %s is not what its SHA-256 says" % body, text)
        eq(node.doveadm("pgbox", "verify", user=other).stdout, b"", "it is none of the other account's")
        has(b"counters", node.doveadm("pgbox", "verify", "-p", "0", check=False).stdout)
        true(b"SHA-256" not in node.doveadm("pgbox", "verify", "-p", "0", check=False).stdout, "no bodies are read")
    finally:
        lab.cluster.psql("SELECT pgbox.mailbox_repair(%s); %sUPDATE pgbox.body SET head = set_byte(head, 0, %s) WHERE body_id = %s"
                         % (mailbox, FORCE, first, body))
    eq(node.doveadm("pgbox", "verify").stdout, b"", "all is well again")
    for wrong in ("101", "abc", "10x", "-1"):
        fails(node, USAGE, "percent", "verify", "-p", wrong)
        fails(node, USAGE, "percent", "verify", "-p", wrong, user=user)


@only("pgbox")
def test_expire(lab):
    node = nodes(lab)[0]
    user = lab.user(node)
    client = lab.imap(user, node)
    client.ok("CREATE box")
    fill(client, "box", 3)
    lab.cluster.psql("INSERT INTO pgbox.policy (account, mailbox, older_than) VALUES ('%s', 'box', '30 days')" % user)
    try:
        eq(table(node, "pgbox expire"), [{"messages": "0", "busy": "0"}])
        lab.cluster.psql("%sUPDATE pgbox.message SET saved_at = now() - '31 days'::interval WHERE uid < 3 AND mailbox_id ="
                         " (SELECT mailbox_id FROM pgbox.mailbox JOIN pgbox.account USING (account_id)"
                         " WHERE account.name = '%s' AND mailbox.name = 'box')" % (FORCE, user))
        waiting, _ = idler(lab, user, node, "box")
        eq(table(node, "pgbox expire", "-l", "1")[0]["messages"], "1")
        eq(table(node, "pgbox expire")[0]["messages"], "1")
        waiting.wait_untagged(lambda item: item.name == "EXPUNGE")
    finally:
        lab.cluster.psql("DELETE FROM pgbox.policy WHERE account = '%s'" % user)
    client.ok("SELECT box")
    eq(client.ok("UID SEARCH ALL").numbers(), [3])


@only("pgbox")
@timeout(120)
def test_undelete_messages(lab):
    """Who is in IDLE on another node hears of it at once."""
    one, two = nodes(lab)
    user = lab.user(one)
    client = lab.imap(user, one)
    fill(client, "INBOX", 5)
    expunge(client, "INBOX", "2:4")
    waiting, _ = idler(lab, user, two)
    eq(table(one, "pgbox undelete", "INBOX", "3", user=user), [{"uid": "3", "new-uid": "6"}])
    quickly(waiting, exists(3))
    eq(table(one, "pgbox undelete", "INBOX", user=user), [{"uid": "2", "new-uid": "7"}, {"uid": "4", "new-uid": "8"}])
    eq(table(one, "pgbox undelete", "INBOX", user=user), [], "all are back")
    client.ok("CREATE back")
    expunge(client, "INBOX", "7:8")
    eq(table(one, "pgbox undelete", "-t", "1 hours", "-i", "back", "INBOX", user=user),
       [{"uid": "7", "new-uid": "1"}, {"uid": "8", "new-uid": "2"}])
    fails(one, NOT_FOUND, 'has no mailbox "never"', "undelete", "never", user=user)
    fails(one, USAGE, "no set of UIDs", "undelete", "INBOX", "x", user=user)
    expunge(client, "back", "1")
    fails(one, USAGE, '"2 dayz" is no time', "undelete", "-t", "2 dayz", "back", user=user)
    client.ok("SELECT back")
    eq(client.ok("UID SEARCH ALL").numbers(), [2], "nothing was done")


@only("pgbox")
def test_undelete_uids_that_do_not_come_back(lab):
    """Whoever names UIDs is told which of them are missing, and gets the others."""
    node, user, client = prepared(lab, 6)
    expunge(client, "INBOX", "2:5")
    age(lab, user, 15)
    node.doveadm("pgbox", "purge")
    expunge(client, "INBOX", "1")
    fails(node, NOT_FOUND, "INBOX: UID 3:9 not brought back", "undelete", "INBOX", "1,3:9", user=user,
          printed=(b"uid", b"new-uid", b"1", b"7"))
    fails(node, NOT_FOUND, "INBOX: UID 1 not brought back", "undelete", "INBOX", "1", user=user)
    fails(node, NOT_FOUND, "box: UID 1:2,4 not brought back", "undelete", "-i", "INBOX", "box", "1:2,4", user=user)
    eq(table(node, "pgbox undelete", "INBOX", user=user), [], "who names none misses none")
    # many holes
    fill(client, "INBOX", 33)
    expunge(client, "INBOX", ",".join(map(str, range(9, 41, 2))))
    fails(node, NOT_FOUND, "UID 8,10,12,14,16,18,20,22,24,26,28,30,32,34,36,38,40 not", "undelete", "-i", "box",
          "INBOX", "8:40", user=user, printed=(b"uid new-uid " + b" ".join(b"%d %d" % (9 + 2 * n, 7 + n) for n in range(16))).split())


@only("pgbox")
def test_undelete_arguments(lab):
    """What doesn't fit together is refused before anything is done."""
    node, user, client = prepared(lab, 2)
    client.ok("DELETE box")
    expunge(client, "INBOX", "1")
    for said, args in (("give one of them", ("-m", "-t", "1 hours", "box")),
                       ("leave the UIDs out", ("-m", "box", "1")),
                       ("either UIDs or a time", ("-t", "1 hours", "INBOX", "1")),
                       ("-t <since> [-i <into>] <mailbox>", ())):
        fails(node, USAGE, said, "undelete", *args, user=user)
    client.ok("SELECT INBOX")
    eq(client.ok("UID SEARCH ALL").numbers(), [2], "nothing was done")
    true(b"box" not in node.doveadm("mailbox", "list", user=user).stdout, "nor that")
    for future in ("2099-05-06", "4000000000"):
        fails(node, USAGE, '"%s" is in the future' % future, "undelete", "-t", future, "INBOX", user=user)
    for wrong in ("2024-13-45", "2026-02-30"):
        fails(node, USAGE, '"%s" is no time' % wrong, "undelete", "-t", wrong, "INBOX", user=user)
    fails(node, USAGE, "an age needs a unit", "undelete", "-t", "2", "INBOX", user=user)
    # what -t takes
    for since in ("2024-05-06", "06-May-2024", "1714953600", "3 weeks"):
        fails(node, NOT_FOUND, 'has no mailbox "never"', "undelete", "-t", since, "never", user=user)
    eq(table(node, "pgbox undelete", "-t", "0", "INBOX", user=user), [{"uid": "1", "new-uid": "3"}])


@only("pgbox")
def test_undelete_a_mailbox(lab):
    node, user, client = prepared(lab)
    client.ok("SELECT box")
    before = client.ok("UID FETCH 1:* (FLAGS)").fetches()
    client.ok("CLOSE")
    client.ok("DELETE box")
    eq(table(node, "pgbox undelete", "-m", "box", user=user), [{"mailbox": "box", "new-mailbox": "box"}])
    client.ok("SELECT box")
    eq(client.ok("UID FETCH 1:* (FLAGS)").fetches().keys(), before.keys())
    client.ok("CLOSE")
    client.ok("DELETE box")
    client.ok("CREATE box")
    fails(node, NOT_POSSIBLE, "exists already", "undelete", "-m", "box", user=user)
    eq(node.doveadm("pgbox", "undelete", "-m", "-i", "old/box", "box", user=user).stdout.split(),
       [b"mailbox", b"new-mailbox", b"box", b"old/box"])
    has(b"old/box", node.doveadm("mailbox", "list", user=user).stdout)
    fails(node, NOT_FOUND, "has no deleted mailbox", "undelete", "-m", "never", user=user)


@only("pgbox")
def test_undelete_headings(lab):
    """For scripts: none if it failed, but if there is nothing to be done; those of all users as well."""
    node, user, client = prepared(lab)
    client.ok("DELETE box")
    expunge(client, "INBOX", "1:2")
    tab = ("-f", "tab")
    def printed(*args, user=user, flags=tab):
        return node.doveadm("pgbox", "undelete", *args, user=user, flags=flags, check=False).stdout
    for args in (("never",), ("-m", "never"), ("INBOX", "3"), ("-t", "1 hours", "never")):
        eq(printed(*args), b"", args)
        # as doveadm's own commands, so that it is JSON
        eq(printed(*args, flags=("-f", "json")), b"[]", args)
    eq(printed("INBOX", user="u1998"), b"", "an unknown user")
    eq(printed("INBOX", "1"), b"uid\tnew-uid\n1\t4\n")
    eq(printed("-m", "-i", "new/box", "box"), b"mailbox\tnew-mailbox\nbox\tnew/box\n")
    eq(printed("-F", names(lab, user), "INBOX", user=None), b"Username\tuid\tnew-uid\n%s\t2\t5\n" % user.encode())
    eq(printed("INBOX"), b"uid\tnew-uid\n")
    # by a server, whose rows doveadm prints
    expunge(client, "INBOX", "3")
    eq(printed("INBOX", flags=tab + ("-o", "doveadm_worker_count=1")), b"uid\tnew-uid\n3\t6\n")


@only("pgbox")
def test_manual_page(lab):
    """doveadm help shows it; it has all that the usage has, and man finds nothing wrong with it."""
    node = lab.node()
    if not shutil.which("man"):
        raise Skip("man isn't installed")
    page = os.path.join(proc.ROOT, "src", "doveadm", "doveadm-pgbox.1")
    os.makedirs(os.path.join(lab.dir, "man", "man1"), exist_ok=True)
    shutil.copy(page, os.path.join(lab.dir, "man", "man1"))
    env = dict(os.environ, MANOPT="-M %s --warnings" % os.path.join(lab.dir, "man"), MANWIDTH="200", MAN_KEEP_FORMATTING="")
    done = proc.run(["doveadm", "help", "pgbox"], env=env)
    eq(done.stderr, b"")
    shown = re.sub(r"\s+", " ", done.stdout.decode())
    commands = re.findall(r"\n  (\w+) +(.*)", node.doveadm("pgbox", check=False).stderr.decode())
    eq(sorted(name for name, _ in commands), ["expire", "purge", "status", "undelete", "verify"])
    for name, usage in commands:
        part = shown[shown.index("doveadm pgbox " + name + " "):]
        for option in set(re.findall(r"(?<!\w)-(\w)\b", usage)):
            has("-" + option, part[:1500], name)


@only("pgbox")
def test_without_a_database(lab):
    """One line that says what is wrong, and a temporary failure."""
    node, user, _ = prepared(lab, 1)
    bad = ("-o", "plugin/pgbox_db=host=127.0.0.1 port=1 dbname=x")
    for command in ("status", "verify", "purge", "expire"):
        done = node.doveadm("pgbox", command, flags=bad, check=False)
        eq(done.returncode, TEMPORARY, command)
        eq(done.stderr.count(b"Error"), 1, done.stderr)
        has(b"PostgreSQL is unreachable", done.stderr)
        eq(done.stdout, b"", "no headings, no zeros")
    done = node.doveadm("pgbox", "status", flags=("-o", "plugin/pgbox_db="), check=False)
    has(b"pgbox_db is missing", done.stderr)
    eq(done.returncode, 78)
