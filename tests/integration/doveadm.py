"""doveadm's mail commands, and dsync in both directions."""

import hashlib
import json
import os
import re

import proc
from imapclient import Lit, flags_of
from mails import MIXED, PLAIN, fill, simple
from tap import eq, has, only, timeout, true


class Admin:
    """doveadm for one user."""

    def __init__(self, lab, user, node=None):
        self.node = node or lab.node()
        self.user = user

    def __call__(self, *args, **kwargs):
        """Run a command; return its output."""
        return self.node.doveadm(*args, user=self.user, **kwargs).stdout

    def rows(self, fields, *query):
        """doveadm fetch as [{field: value}]."""
        out = self.node.doveadm("fetch", fields, *query, user=self.user,
                                flags=("-f", "tab")).stdout
        lines = [line.split(b"\t") for line in out.split(b"\n") if line]
        return [dict(zip((key.decode() for key in lines[0]), row)) for row in lines[1:]]


def prepared(lab, count=5):
    """(admin, imap client) of a user with messages in INBOX and a `box`."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", count)
    c.ok("CREATE box")
    return Admin(lab, user), c


def uids(client, mailbox):
    """UIDs of a mailbox."""
    client.ok("EXAMINE ", mailbox)
    return client.ok("UID SEARCH ALL").numbers()


def test_fetch_and_search(lab):
    """fetch and search agree with IMAP."""
    admin, c = prepared(lab)
    c.ok("SELECT INBOX")
    c.ok("STORE 2 +FLAGS (\\Flagged kw)")
    rows = admin.rows("uid flags hdr.subject size.physical size.virtual", "mailbox", "INBOX")
    eq([row["uid"] for row in rows], [b"1", b"2", b"3", b"4", b"5"])
    eq(rows[2]["hdr.subject"], b"message 3")
    eq({flag.decode() for flag in rows[1]["flags"].split()} - {"\\Recent"},
       {"\\Flagged", "kw"})
    eq(int(rows[0]["size.virtual"]), len(simple(1)))
    eq(len(admin("search", "mailbox", "INBOX", "flagged").split(b"\n")) - 1, 1)
    out = admin("search", "mailbox", "INBOX", "subject", "message 4")
    eq(len(out.split()), 2)
    eq(out.split()[1], b"4")


def test_fetch_all_fields(lab):
    """Every field that doveadm knows has a value and no error."""
    admin, _ = prepared(lab, 1)
    fields = ("user mailbox mailbox-guid seq uid guid flags modseq hdr body text "
              "size.physical size.virtual date.received date.sent date.saved "
              "imap.envelope imap.body imap.bodystructure body.snippet pop3.uidl "
              "pop3.order refcount storageid")
    out = admin("fetch", fields, "mailbox", "INBOX")
    for line in (b"uid: 1\n", b"mailbox: INBOX\n", b"refcount: "):
        has(line, out)
    row, = admin.rows("guid mailbox-guid pop3.uidl", "mailbox", "INBOX")
    eq((len(row["guid"]), len(row["mailbox-guid"])), (32, 32))


def test_copy_move(lab):
    """copy and move by query."""
    admin, c = prepared(lab)
    admin("copy", "box", "mailbox", "INBOX", "uid", "1:2")
    eq((uids(c, "INBOX"), uids(c, "box")), ([1, 2, 3, 4, 5], [1, 2]))
    admin("move", "box", "mailbox", "INBOX", "uid", "4:5")
    eq((uids(c, "INBOX"), uids(c, "box")), ([1, 2, 3], [1, 2, 3, 4]))
    c.ok("SELECT box")
    eq(c.ok("FETCH 4 BODY.PEEK[]").fetches()[4]["BODY[]"], simple(5))


def test_copy_from_other_user(lab):
    """copy ... user OTHER."""
    admin, c = prepared(lab)
    other = lab.user()
    Admin(lab, other)("copy", "INBOX", "user", admin.user, "mailbox", "INBOX", "all")
    got = lab.imap(other)
    eq(len(uids(got, "INBOX")), 5)
    got.ok("SELECT INBOX")
    eq(got.ok("FETCH 3 BODY.PEEK[]").fetches()[3]["BODY[]"], simple(3))


def test_flags(lab):
    """flags add, remove, replace."""
    admin, c = prepared(lab)
    admin("flags", "add", "\\Flagged kw", "mailbox", "INBOX", "uid", "1:3")
    admin("flags", "remove", "kw", "mailbox", "INBOX", "uid", "2")
    admin("flags", "replace", "\\Draft", "mailbox", "INBOX", "uid", "3")
    c.ok("SELECT INBOX")
    got = c.ok("FETCH 1:4 FLAGS").fetches()
    eq([flags_of(got[n]["FLAGS"]) - {"\\Recent"} for n in (1, 2, 3, 4)],
       [{"\\Flagged", "kw"}, {"\\Flagged"}, {"\\Draft"}, set()])


def test_expunge(lab):
    """expunge by query; -d deletes an empty mailbox."""
    admin, c = prepared(lab)
    admin("expunge", "mailbox", "INBOX", "uid", "2,4")
    eq(uids(c, "INBOX"), [1, 3, 5])
    fill(c, "box", 2)
    admin("expunge", "-d", "mailbox", "box", "uid", "1")
    has(b"box", admin("mailbox", "list"))
    admin("expunge", "-d", "mailbox", "box", "all")
    true(b"box" not in admin("mailbox", "list"), "deleted when empty")


def test_mailbox_cache(lab):
    """mailbox cache decision, remove and purge; the mail stays."""
    admin, c = prepared(lab)
    c.ok("SELECT INBOX")
    c.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
    admin("mailbox", "cache", "decision", "--fields", "hdr.subject", "--decision", "yes", "INBOX")
    admin("mailbox", "cache", "remove", "mailbox", "INBOX", "all")
    admin("mailbox", "cache", "purge", "INBOX")
    fresh = lab.imap(admin.user)
    fresh.ok("SELECT INBOX")
    eq(fresh.ok("FETCH 4 (ENVELOPE)").fetches()[4]["ENVELOPE"][1], b"message 4")
    eq(fresh.ok("FETCH 5 BODY.PEEK[]").fetches()[5]["BODY[]"], simple(5))


def test_move_from_other_user(lab):
    """move ... user OTHER takes the messages away there."""
    admin, c = prepared(lab)
    other = lab.user()
    Admin(lab, other)("move", "INBOX", "user", admin.user, "mailbox", "INBOX", "uid", "2:3")
    eq(uids(c, "INBOX"), [1, 4, 5])
    got = lab.imap(other)
    got.ok("SELECT INBOX")
    eq([item["BODY[]"] for item in got.ok("FETCH 1:* BODY.PEEK[]").fetches().values()],
       [simple(2), simple(3)])


def test_deduplicate(lab):
    """deduplicate by GUID and by Message-ID."""
    admin, c = prepared(lab, 2)
    c.ok("SELECT INBOX")
    c.ok("COPY 1 INBOX")
    c.ok("APPEND INBOX ", Lit(simple(2)))
    admin("deduplicate", "mailbox", "INBOX")
    eq(uids(c, "INBOX"), [1, 2, 4])
    admin("deduplicate", "-m", "mailbox", "INBOX")
    eq(uids(c, "INBOX"), [1, 2])


def test_mailbox_commands(lab):
    """mailbox list, create, rename, status, subscribe, delete, mutf7."""
    admin, c = prepared(lab)
    admin("mailbox", "create", "-s", "neu/\u00dcber")
    has("neu/\u00dcber".encode(), admin("mailbox", "list"))
    has("neu/\u00dcber".encode(), admin("mailbox", "list", "-s"))
    admin("mailbox", "rename", "box", "bax")
    out = admin("mailbox", "status", "all", "INBOX")
    for word in (b"messages=5", b"uidnext=6", b"unseen=5", b"guid="):
        has(word, out)
    out = admin("mailbox", "status", "-t", "messages vsize", "*")
    has(b"messages=5", out)
    admin("mailbox", "unsubscribe", "neu/\u00dcber")
    true("\u00dcber".encode() not in admin("mailbox", "list", "-s"), "unsubscribed")
    admin("mailbox", "delete", "bax")
    true(b"bax" not in admin("mailbox", "list"), "deleted")
    eq(admin("mailbox", "delete", "bax", check=False), b"")


def test_mailbox_delete_recursive(lab):
    """mailbox delete -r."""
    admin, c = prepared(lab)
    for name in ("t/a", "t/b/c"):
        c.ok("CREATE ", name)
    admin("mailbox", "delete", "-r", "t")
    true(b"t/" not in admin("mailbox", "list"), "all gone")


def test_mailbox_metadata(lab):
    """mailbox metadata set, get, list, unset."""
    admin, c = prepared(lab)
    admin("mailbox", "metadata", "set", "box", "/private/comment", "hello")
    eq(admin("mailbox", "metadata", "get", "box", "/private/comment").strip(), b"hello")
    has(b"comment", admin("mailbox", "metadata", "list", "box"))
    has(b"hello", c.ok("GETMETADATA box /private/comment").one("METADATA")[1])
    admin("mailbox", "metadata", "unset", "box", "/private/comment")
    true(b"hello" not in admin("mailbox", "metadata", "get", "box", "/private/comment"),
         "unset")


def test_mailbox_update(lab):
    """mailbox update of UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ."""
    admin, c = prepared(lab)
    admin("mailbox", "update", "--uid-validity", "123456789", "--min-next-uid", "1000",
          "--min-highest-modseq", "70000000", "box")
    pairs = c.ok("STATUS box (UIDVALIDITY UIDNEXT HIGHESTMODSEQ)").one("STATUS")[1]
    status = dict(zip(pairs[::2], map(int, pairs[1::2])))
    eq((status[b"UIDVALIDITY"], status[b"UIDNEXT"]), (123456789, 1000))
    true(status[b"HIGHESTMODSEQ"] >= 70000000, "HIGHESTMODSEQ")
    c.ok("APPEND box ", Lit(PLAIN))
    eq(uids(c, "box"), [1000])


def test_index_and_resync(lab):
    """index, force-resync, purge leave everything as it was."""
    admin, c = prepared(lab)
    c.ok("SELECT INBOX")
    c.ok("STORE 2 +FLAGS (\\Seen kw)")
    c.ok("STORE 3 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    items = "UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])"
    before = c.ok(items).fetches()
    for command in (("index", "INBOX"), ("force-resync", "INBOX"), ("force-resync", "*"),
                    ("purge",), ("search", "all")):
        admin(*command)
        fresh = lab.imap(admin.user)
        fresh.ok("SELECT INBOX")
        strip = lambda got: {n: (v["UID"], flags_of(v["FLAGS"]) - {"\\Recent"},
                                 v["INTERNALDATE"], v["BODY[]"]) for n, v in got.items()}
        eq(strip(fresh.ok(items).fetches()), strip(before), " ".join(command))


def test_quota(lab):
    """quota get and recalc."""
    admin, _ = prepared(lab)
    out = admin("quota", "get")
    has(b"MESSAGE", out)
    count = [line.split() for line in out.splitlines() if b"MESSAGE" in line][0]
    has(b"5", count)
    admin("quota", "recalc")
    eq([line.split() for line in admin("quota", "get").splitlines()
        if b"MESSAGE" in line][0], count)


def test_save_and_import(lab):
    """save, and import from a Maildir."""
    admin, c = prepared(lab, 0)
    admin("save", "-m", "INBOX", data=PLAIN)
    eq(uids(c, "INBOX"), [1])
    source = maildir_of(lab)
    admin("import", "maildir:" + source, "imported", "mailbox", "INBOX")
    c.ok("SELECT imported/INBOX")
    got = c.ok("FETCH 1:* (FLAGS BODY.PEEK[])").fetches()
    eq(sorted(item["BODY[]"] for item in got.values()), [simple(1), simple(2)])
    eq(sorted(sorted(flags_of(item["FLAGS"]) - {"\\Recent"}) for item in got.values()),
       [[], ["\\Flagged", "\\Seen"]])


def maildir_of(lab):
    """A Maildir with two messages, made by hand."""
    node = lab.node()
    path = os.path.join(node.dir, "mail", "maildir-%d" % len(os.listdir(node.dir + "/mail")))
    for sub in ("", "cur", "new", "tmp"):
        os.mkdir(os.path.join(path, sub))
        proc.give(os.path.join(path, sub), node.mail_user)
    for name, message in (("cur/1000.a.x:2,FS", simple(1)), ("cur/1001.b.x:2,", simple(2))):
        with open(os.path.join(path, name), "wb") as handle:
            handle.write(message)
        proc.give(os.path.join(path, name), node.mail_user)
    return path


def test_dump(lab):
    """doveadm dump reads the local index."""
    admin, c = prepared(lab, 2)
    uids(c, "INBOX")
    indexes = [os.path.join(folder, "dovecot.index.log")
               for folder, _, files in os.walk(lab.node().home(admin.user))
               if "dovecot.index.log" in files]
    true(indexes, "there is an index")
    out = lab.node().doveadm("dump", indexes[0]).stdout
    has(b"version", out)


# -- dsync ----------------------------------------------------------------

def rich_account(lab, user):
    """Mail of many kinds in three mailboxes of the user on the main node."""
    c = lab.imap(user)
    for name in ("Archive/2020", "leer", "Gr&APwA3w-e"):
        c.ok("CREATE ", name)
        c.ok("SUBSCRIBE ", name)
    for number in range(1, 8):
        flags = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "kw1", "kw2"][:number - 1]
        c.ok("APPEND INBOX (%s) \"%02d-Mar-2019 10:00:00 +0000\" " % (" ".join(flags), number),
             Lit(simple(number)))
    c.ok("APPEND Archive/2020 ", Lit(MIXED), " ", Lit(PLAIN))
    c.ok("SELECT INBOX")
    c.ok("STORE 3,5 +FLAGS.SILENT (\\Deleted)")
    c.ok("UID EXPUNGE 3,5")
    return c


FIELDS = "uid guid flags date.received size.virtual text"


def picture(lab, user, location=None):
    """All that dsync preserves: {mailbox: (status, [message rows])}."""
    node = lab.node()
    args = ("-o", "mail_location=" + location) if location else ()
    if location:
        args += ("-o", "mail_plugins=")
    status = node.doveadm("mailbox", "status", "uidvalidity uidnext messages", "*",
                          user=user, flags=args).stdout.decode()
    result = {}
    for line in status.splitlines():
        name, _, numbers = line.partition(" messages=")
        numbers = "messages=" + numbers
        rows = node.doveadm("fetch", FIELDS, "mailbox", name, user=user,
                            flags=args + ("-f", "json")).stdout.decode()
        result[name] = (numbers, rows.replace("\\\\Recent", "").replace("  ", " "))
    return result


def same_picture(got, wanted):
    """Compare two pictures, mailbox by mailbox, leaving \\Recent aside."""
    # A parent without mail is a mailbox in one format and a name in another.
    filled = [{name for name in side if "messages=0" not in side[name][0]}
              for side in (got, wanted)]
    eq(filled[0], filled[1])
    for name in set(got) & set(wanted):
        eq(normal(got[name]), normal(wanted[name]), name)


def normal(entry):
    """An entry of a picture without accidents of spacing and flag order."""
    rows = json.loads(entry[1]) if entry[1].strip() else []
    for row in rows:
        row["guid"] = guid_128(row["guid"])
        row["flags"] = sorted(row["flags"].split())
        row["text"] = row["text"].replace("\r\n", "\n")
    return entry[0], rows


def guid_128(guid):
    """A GUID of 128 bits, as Dovecot makes it of a longer one.

    Maildir's are file names. sdbox keeps those, pgbox and mdbox the hash, and
    dsync takes either for the same message."""
    if re.fullmatch("[0-9a-f]{32}", guid):
        return guid
    return hashlib.sha1(guid.encode()).digest()[-16:].hex()


def foreign(lab, driver, name):
    """A mail location of another driver that the mail user may write."""
    path = os.path.join(lab.node().dir, "mail", "foreign-%s-%s" % (driver, name))
    os.makedirs(path)
    proc.give(path, lab.node().mail_user)
    return "%s:%s" % (driver, path)


def check_out_and_in(lab, driver):
    """backup out to another driver, compare; then into a fresh account."""
    user = lab.user()
    rich_account(lab, user)
    admin = Admin(lab, user)
    before = picture(lab, user)
    place = foreign(lab, driver, user)
    admin("backup", place)
    same_picture(picture(lab, user, place), before)
    fresh = lab.user()
    Admin(lab, fresh)("backup", "-R", place)
    same_picture(picture(lab, fresh), before)


@timeout(120)
def test_backup_maildir(lab):
    """To Maildir and back: UIDs, GUIDs, flags, dates, keywords, bytes."""
    check_out_and_in(lab, "maildir")


@timeout(120)
def test_backup_sdbox(lab):
    """To sdbox and back."""
    check_out_and_in(lab, "sdbox")


@timeout(120)
def test_backup_incremental(lab):
    """A second backup carries changes, expunges, new mail, new folders."""
    user = lab.user()
    c = rich_account(lab, user)
    admin = Admin(lab, user)
    place = foreign(lab, "sdbox", user)
    admin("backup", place)
    c.ok("UID STORE 1,2 +FLAGS (later)")
    c.ok("UID STORE 4 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("CREATE more")
    c.ok("APPEND more ", Lit(PLAIN))
    c.ok("RENAME leer voll")
    c.ok("UNSELECT")
    admin("backup", place)
    same_picture(picture(lab, user, place), picture(lab, user))


def check_both_ways(lab, driver):
    """sync: changes on both sides meet."""
    user = lab.user()
    c = rich_account(lab, user)
    admin = Admin(lab, user)
    place = foreign(lab, driver, user)
    admin("sync", place)
    over = ("-o", "mail_location=" + place, "-o", "mail_plugins=")
    node = lab.node()
    node.doveadm("flags", "add", "\\Flagged remote", "mailbox", "INBOX", "uid", "1",
                 user=user, flags=over)
    node.doveadm("expunge", "mailbox", "INBOX", "uid", "2", user=user, flags=over)
    node.doveadm("save", "-m", "INBOX", user=user, flags=over, data=simple(77))
    c.ok("UID STORE 4 +FLAGS (local)")
    c.ok("APPEND INBOX ", Lit(simple(88)))
    c.ok("UNSELECT")
    admin("sync", place)
    same_picture(picture(lab, user, place), picture(lab, user))
    c.ok("SELECT INBOX")
    eq(c.ok("SEARCH KEYWORD remote FLAGGED").numbers(), [1])
    eq(len(c.ok("SEARCH SUBJECT \"message 77\"").numbers()), 1)
    eq(len(c.ok("SEARCH SUBJECT \"message 88\"").numbers()), 1)
    eq(c.ok("UID SEARCH UID 2").numbers(), [])
    c.ok("UNSELECT")
    before = picture(lab, user)
    admin("sync", place)
    same_picture(picture(lab, user), before)


@timeout(120)
def test_sync_both_ways(lab):
    """Changes on both sides meet: with sdbox."""
    check_both_ways(lab, "sdbox")


@timeout(120)
def test_sync_both_ways_maildir(lab):
    """With Maildir."""
    check_both_ways(lab, "maildir")


@timeout(120)
def test_sync_one_way(lab):
    """sync -1 brings what is new and takes nothing away."""
    user = lab.user()
    c = rich_account(lab, user)
    admin = Admin(lab, user)
    place = foreign(lab, "sdbox", user)
    admin("sync", "-1", place)
    over = ("-o", "mail_location=" + place, "-o", "mail_plugins=")
    lab.node().doveadm("save", "-m", "INBOX", user=user, flags=over, data=simple(77))
    before = c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1]
    admin("sync", "-1", place)
    eq(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1], before, "nothing came back")
    admin("sync", "-1", "-R", place)
    c.ok("SELECT INBOX")
    eq(len(c.ok('SEARCH SUBJECT "message 77"').numbers()), 1)


@timeout(120)
def test_sync_same_keeps(lab):
    """A sync of what is equal changes nothing."""
    user = lab.user()
    rich_account(lab, user)
    admin = Admin(lab, user)
    place = foreign(lab, "maildir", user)
    admin("sync", place)
    before = picture(lab, user)
    for _ in range(3):
        admin("sync", place)
    same_picture(picture(lab, user), before)


@only("pgbox")
@timeout(120)
def test_backup_between_nodes(lab):
    """dsync between two accounts of the same database."""
    user, other = lab.user(), lab.user()
    rich_account(lab, user)
    before = picture(lab, user)
    place = foreign(lab, "sdbox", user)
    Admin(lab, user)("backup", place)
    Admin(lab, other)("backup", "-R", place)
    same_picture(picture(lab, other), before)
