"""Namespaces: other users' folders, public folders, prefixes, separators.

The config is the one that README.md gives."""

import os
import shutil

import proc
from cache_truth import check
from imap_list import names
from imapclient import Lit, flags_of
from mails import PLAIN, fill, simple
from tap import eq, has, only, true

# One user's process asks for another user's home.
ACL_PLUGINS = """
service auth {
  unix_listener auth-userdb {
    mode = 0777
  }
}
protocol imap {
  mail_plugins = $mail_plugins imap_acl
}
"""
SHARED = ACL_PLUGINS + """
plugin {
  acl = vfile
  acl_shared_dict = file:%%{home}/../shared-mailboxes.db
}
namespace shared {
  type = shared
  separator = %(sep)s
  prefix = Shared%(sep)s%%%%u%(sep)s
  location = %(location)s
  subscriptions = no
  list = children
}
"""
PUBLIC = """
plugin {
  pgbox_public_account = public
}
namespace public {
  type = public
  separator = /
  prefix = Public/
  location = %s
  subscriptions = no
  list = children
}
"""
PREFIXED = """
namespace inbox {
  prefix = INBOX.
}
"""


def shared_node(lab, name, separator="/"):
    """A node whose users may give each other rights."""
    # the owner's own: the rights are in files there
    location = "%s:%%h/../%%%%u/%s" % (lab.storage, lab.storage)
    return lab.node(name, plugins="acl", separator=separator,
                    extra=SHARED % {"location": location, "sep": separator})


def public_node(lab, name):
    """A node with public folders; their account exists."""
    if lab.is_pgbox and lab.cluster.value(
            "SELECT count(*) FROM pgbox.account WHERE name = 'public'") == "0":
        lab.cluster.psql("SELECT pgbox.account_create('public')")
    location = "pgbox:%h/public" if lab.is_pgbox else "sdbox:%h/../public"
    return lab.node(name, extra=PUBLIC % location)


# -- folders of other users -----------------------------------------------

def test_shared(lab):
    """SETACL lets another user see, read and change a folder, as far as it says."""
    node = shared_node(lab, "shared")
    anna, carl = lab.user(node), lab.user(node)
    a = lab.imap(anna, node)
    a.ok("CREATE plans/summer")
    fill(a, "plans/summer", 3)
    theirs = "Shared/%s/plans/summer" % anna
    lab.imap(carl, node).no("SELECT ", theirs)
    a.ok("SETACL plans/summer ", carl, " lrsw")
    c = lab.imap(carl, node)
    rights = a.ok("GETACL plans/summer").one("ACL")
    eq(set(rights[rights.index(carl.encode()) + 1].decode()), set("lrsw"))
    has(theirs, names(c, "Shared/*"))
    eq(c.ok("NAMESPACE").one("NAMESPACE")[1], [[b"Shared/", b"/"]])
    eq(c.ok("SELECT ", theirs).number("EXISTS"), 3)
    c.ok("STORE 2 +FLAGS (\\Seen \\Flagged kw)")
    eq(c.ok("FETCH 3 BODY.PEEK[]").fetches()[3]["BODY[]"], simple(3))
    eq(c.no("APPEND ", theirs, " ", Lit(PLAIN)).code, "NOPERM")
    c.ok("STORE 1 +FLAGS (\\Deleted)")
    c.cmd("EXPUNGE")
    a.ok("SELECT plans/summer")
    got = a.ok("FETCH 1:* FLAGS").fetches()
    eq(flags_of(got[2]["FLAGS"]) - {"\\Recent"}, {"\\Seen", "\\Flagged", "kw"})
    eq(len(got), 3, "nothing expunged without the right to")
    eq(flags_of(got[1]["FLAGS"]) - {"\\Recent"}, set(), "nor marked as deleted")


def test_shared_copies(lab):
    """COPY and MOVE between one's own folders and another user's."""
    node = shared_node(lab, "shared")
    anna, carl = lab.user(node), lab.user(node)
    a = lab.imap(anna, node)
    a.ok("CREATE box")
    fill(a, "box", 3)
    a.ok("SETACL box ", carl, " lrswite")
    c = lab.imap(carl, node)
    theirs = "Shared/%s/box" % anna
    has(theirs, names(c, "Shared/*"))
    fill(c, "INBOX", 2, first=10)
    c.ok("SELECT INBOX")
    c.ok("COPY 1 ", theirs)
    c.ok("MOVE 2 ", theirs)
    c.ok("SELECT ", theirs)
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 2, 3, 4, 5])
    c.ok("COPY 1 INBOX")
    # carl may mark for deletion (t) and expunge (e)
    c.ok("MOVE 2:3 INBOX")
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 4, 5])
    c.ok("SELECT INBOX")
    got = c.ok("FETCH 1:* BODY.PEEK[]").fetches()
    eq([item["BODY[]"] for item in got.values()],
       [simple(n) for n in (10, 1, 2, 3)])
    a.ok("SELECT box")
    got = a.ok("FETCH 1:* BODY.PEEK[]").fetches()
    eq([item["BODY[]"] for item in got.values()], [simple(n) for n in (1, 10, 11)])


def test_shared_told_and_taken_back(lab):
    """A session on another user's folder is told of news; DELETEACL ends it."""
    node = shared_node(lab, "shared")
    anna, carl = lab.user(node), lab.user(node)
    a = lab.imap(anna, node)
    a.ok("CREATE box")
    a.ok("SETACL box ", carl, " lrs")
    c = lab.imap(carl, node)
    theirs = "Shared/%s/box" % anna
    has(theirs, names(c, "Shared/*"))
    c.ok("SELECT ", theirs)
    tag = c.idle()
    a.ok("APPEND box ", Lit(PLAIN))
    c.wait_untagged(lambda item: item.name == "EXISTS" and item.number == 1)
    c.done(tag)
    c.ok("UNSELECT")
    a.ok("DELETEACL box ", carl)
    other = lab.imap(carl, node)
    other.no("SELECT ", theirs)
    true(theirs not in names(other, "Shared/*"), "not listed any more")


def test_shared_dots(lab):
    """The same with `.`."""
    node = shared_node(lab, "shareddots", ".")
    anna, carl = lab.user(node), lab.user(node)
    a, c = lab.imap(anna, node), lab.imap(carl, node)
    a.ok("CREATE one.two")
    a.ok("APPEND one.two ", Lit(PLAIN))
    a.ok("SETACL one.two ", carl, " lr")
    has("Shared.%s.one.two" % anna, names(c, "Shared.*"))
    eq(c.ok("EXAMINE Shared.%s.one.two" % anna).number("EXISTS"), 1)


# -- public folders -------------------------------------------------------

def test_public(lab):
    """All users see the same public folders; subscriptions are their own."""
    node = public_node(lab, "public")
    a, b = lab.imap(node=node), lab.imap(node=node)
    has([b"Public/", b"/"], a.ok("NAMESPACE").one("NAMESPACE")[2])
    a.ok("CREATE Public/news")
    a.ok("CREATE Public/news/local")
    fill(a, "Public/news", 2)
    has("Public/news/local", names(b))
    b.ok("SELECT Public/news")
    b.ok("STORE 1 +FLAGS (\\Flagged)")
    a.ok("SELECT Public/news")
    has("\\Flagged", flags_of(a.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]))
    a.ok("SUBSCRIBE Public/news")
    eq(set(names(a, "*", "LSUB")), {"Public/news"})
    eq(set(names(b, "*", "LSUB")), set())
    fill(a, "INBOX", 1, first=7)
    b.ok("COPY 2 INBOX")
    a.ok("MOVE 2 INBOX")
    eq(b.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1], [b"MESSAGES", b"1"])
    eq(a.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1], [b"MESSAGES", b"2"])
    a.ok("RENAME Public/news Public/old")
    eq({name for name in names(b, "Public/*") if name != "Public/INBOX"},
       {"Public/old", "Public/old/local"})
    b.ok("UNSELECT")
    a.ok("UNSELECT")
    b.ok("DELETE Public/old/local")
    b.ok("DELETE Public/old")
    eq({name for name in names(a, "Public/*")} - {"Public/INBOX"}, set())


def test_rename_between_namespaces(lab):
    """RENAME from one's own folders to public ones: refused, nothing is lost."""
    node = public_node(lab, "public")
    c = lab.imap(node=node)
    c.ok("CREATE mine")
    fill(c, "mine", 1)
    c.no("RENAME mine Public/mine")
    eq(c.ok("STATUS mine (MESSAGES)").one("STATUS")[1], [b"MESSAGES", b"1"])


@only("pgbox")
def test_public_two_nodes(lab):
    """Public folders are the same ones on every node."""
    one, two = public_node(lab, "public"), public_node(lab, "public2")
    a, b = lab.imap(node=one), lab.imap(node=two)
    a.ok("CREATE Public/both")
    fill(a, "Public/both", 3)
    eq(b.ok("SELECT Public/both").number("EXISTS"), 3)
    b.ok("STORE 2 +FLAGS (\\Answered)")
    a.ok("SELECT Public/both")
    has("\\Answered", flags_of(a.ok("FETCH 2 FLAGS").fetches()[2]["FLAGS"]))
    for node in (one, two):
        client = lab.imap(node=node)
        client.ok("SELECT Public/both")
        eq(len(client.ok("UID SEARCH ALL").numbers()), 3)
    a.ok("UNSELECT")
    b.ok("UNSELECT")
    a.ok("DELETE Public/both")
    b.no("SELECT Public/both")


@only("pgbox")
def test_public_without_account(lab):
    """pgbox_public_account isn't set: one's own mail works, the log says what to set."""
    extra = PUBLIC.replace("pgbox_public_account", "pgbox_not_a_setting") % "pgbox:%h/public"
    node = lab.node("nopublic", extra=extra)
    node.expect_log("pgbox_public_account")
    user = lab.user(node)
    reply = node.imap().cmd("LOGIN ", user, " pw")
    if reply.ok:
        c = lab.imap(user, node)
        c.no("CREATE Public/x")
    proc.wait_for(lambda: "pgbox_public_account" in node.log_since_mark(), 10, "the log to tell")


# -- one's own ------------------------------------------------------------

def test_prefix(lab):
    """All folders below INBOX, with `.`, as other servers had it."""
    node = lab.node("prefixed", separator=".", extra=PREFIXED)
    user = lab.user(node)
    c = lab.imap(user, node)
    eq(c.ok("NAMESPACE").one("NAMESPACE")[0], [[b"INBOX.", b"."]])
    c.ok("CREATE INBOX.Work.2024")
    c.ok("APPEND INBOX.Work.2024 ", Lit(PLAIN))
    c.no("CREATE elsewhere")
    fill(c, "INBOX", 2)
    eq({"INBOX", "INBOX.Work", "INBOX.Work.2024"} - set(names(c)), set())
    c.ok("RENAME INBOX.Work INBOX.Home")
    eq(c.ok("SELECT INBOX.Home.2024").number("EXISTS"), 1)
    eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 250)
    eq(c.ok("SELECT INBOX").number("EXISTS"), 3)
    if lab.is_pgbox:
        check(lab, c, user)
        eq(lab.cluster.value(
            "SELECT string_agg(m.name, ',' ORDER BY m.name) FROM pgbox.mailbox m "
            "JOIN pgbox.account a USING (account_id) "
            "WHERE a.name = '%s' AND m.deleted_at IS NULL AND m.name LIKE 'Home_2%%'" % user),
           "Home/2024", "the database knows no prefix and one separator")


def test_prefix_index_gone(lab):
    """A folder of a prefixed namespace after its index was deleted."""
    node = lab.node("prefixed", separator=".", extra=PREFIXED)
    user = lab.user(node)
    c = lab.imap(user, node)
    c.ok("CREATE INBOX.box")
    fill(c, "INBOX.box", 2)
    c.logout()
    if lab.is_pgbox:
        shutil.rmtree(node.index_dir(user))
        true(not os.path.exists(node.index_dir(user)), "the cache is gone")
    c = lab.imap(user, node)
    eq(c.ok("SELECT INBOX.box").number("EXISTS"), 2)
