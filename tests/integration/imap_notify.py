"""NOTIFY (RFC 5465) of mailboxes that aren't selected: what changed, and when."""

import os
import shutil

import proc
from imapclient import Lit
from mails import PLAIN, fill
from pgproxy import Proxy
from tap import eq, has, only, timeout, true

NAMES = "NOTIFY SET (PERSONAL (MailboxName SubscriptionChange))"
MESSAGES = "NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange))"


def watching(lab, command, node=None, setup=()):
    """(a, b) of one user; a has given the NOTIFY command after the setup."""
    user = lab.user()
    a, b = lab.imap(user, node), lab.imap(user)
    for line in setup:
        b.ok(line)
    a.ok(command)
    return a, b


def listed(client, *words, seconds=10):
    """Wait for a LIST response with all of the words; returns it."""
    return client.wait_untagged(lambda item: item.name == "LIST" and all(
        word in item.raw for word in words), timeout=seconds)[-1]


def counted(client, mailbox, words, seconds=10):
    """Wait for a STATUS response of the mailbox with these words."""
    return client.wait_untagged(
        lambda item: item.name == "STATUS" and mailbox in item.raw and words in item.raw,
        timeout=seconds)[-1]


def looking(lab):
    """A node that looks for changes often."""
    return lab.node("looking", extra="\nmailbox_idle_check_interval = 2 secs\n")


@timeout(60)
def test_create_delete(lab):
    """A new mailbox is listed, a deleted one is \\NonExistent."""
    a, b = watching(lab, NAMES)
    b.ok("CREATE fresh")
    listed(a, b"fresh")
    b.ok("DELETE fresh")
    listed(a, b"fresh", b"\\NonExistent")


@timeout(60)
def test_rename(lab):
    """RENAME tells the old name; the mailbox isn't taken for a new one."""
    a, b = watching(lab, NAMES, setup=["CREATE old"])
    b.ok("RENAME old young")
    item = listed(a, b"young")
    has(b"OLDNAME", item.raw)
    has(b"old", item.raw)
    b.ok("CREATE old")
    true(b"OLDNAME" not in listed(a, b"old").raw, "a new mailbox has no old name")


@only("pgbox")
@timeout(60)
def test_rename_of_a_tree(lab):
    """Each mailbox below has a new name, too."""
    a, b = watching(lab, NAMES, setup=["CREATE one/two/three", "CREATE one/four"])
    b.ok("RENAME one uno")
    seen = b""
    while seen.count(b"OLDNAME") < 4:
        seen += listed(a, b"OLDNAME").raw
    for name in (b"uno/two/three", b"uno/two", b"uno/four", b"one/four"):
        has(name, seen)


@timeout(60)
def test_subscriptions(lab):
    """SUBSCRIBE and UNSUBSCRIBE come as LIST with and without \\Subscribed."""
    a, b = watching(lab, NAMES, setup=["CREATE box"])
    b.ok("SUBSCRIBE box")
    listed(a, b"box", b"\\Subscribed")
    b.ok("UNSUBSCRIBE box")
    true(b"\\Subscribed" not in listed(a, b"box").raw, "no longer subscribed")


@timeout(60)
def test_messages(lab):
    """Mail that comes, is read and goes changes STATUS."""
    a, b = watching(lab, MESSAGES, setup=["CREATE box"])
    b.ok("APPEND box ", Lit(PLAIN))
    counted(a, b"box", b"MESSAGES 1")
    b.ok("SELECT box")
    b.ok("STORE 1 +FLAGS (\\Seen)")
    counted(a, b"box", b"UNSEEN 0")
    b.ok("STORE 1 +FLAGS (\\Deleted)")
    b.ok("EXPUNGE")
    counted(a, b"box", b"MESSAGES 0")


@timeout(60)
def test_delivery(lab):
    """An LMTP delivery to INBOX is told at once."""
    user = lab.user()
    a = lab.imap(user)
    a.ok(MESSAGES)
    eq(lab.lmtp().deliver(PLAIN, user)[user][0], 250)
    counted(a, b"INBOX", b"MESSAGES 1")


@timeout(60)
def test_only_what_was_asked_for(lab):
    """Mailboxes and events that weren't named aren't told."""
    a, b = watching(lab, "NOTIFY SET (MAILBOXES mine (MessageNew MessageExpunge))",
                    setup=["CREATE mine", "CREATE other"])
    b.ok("APPEND other ", Lit(PLAIN))
    b.ok("CREATE third")
    b.ok("SUBSCRIBE mine")
    b.ok("APPEND mine ", Lit(PLAIN))
    seen = a.wait_untagged(lambda item: item.name == "STATUS")
    eq(len(seen), 1)
    has(b"mine", seen[0].raw)


@timeout(60)
def test_set_again(lab):
    """A second NOTIFY replaces the first, NONE ends it."""
    a, b = watching(lab, NAMES)
    a.ok(MESSAGES)
    b.ok("CREATE box")
    b.ok("APPEND box ", Lit(PLAIN))
    counted(a, b"box", b"MESSAGES 1")
    a.ok("NOTIFY NONE")
    b.ok("APPEND box ", Lit(PLAIN))
    eq(a.quiet(2), [])


@timeout(60)
def test_noop_flushes(lab):
    """NOOP tells what there is, without waiting for the ioloop."""
    a, b = watching(lab, MESSAGES, setup=["CREATE box"])
    for number in range(1, 6):
        b.ok("APPEND box ", Lit(PLAIN))
        has(b"MESSAGES %d" % number,
            b"".join(item.raw for item in a.ok("NOOP").all("STATUS")))


@timeout(60)
def test_burst(lab):
    """Many changes at once are told together."""
    a, b = watching(lab, MESSAGES, setup=["CREATE box"])
    fill(b, "box", 200)
    counted(a, b"box", b"MESSAGES 200")


@only("pgbox")
@timeout(60)
def test_other_node(lab):
    """Changes of another node are found by looking now and then."""
    node = looking(lab)
    a, b = watching(lab, "NOTIFY SET (PERSONAL (MailboxName SubscriptionChange MessageNew "
                    "MessageExpunge))", node=node)
    b.ok("CREATE box")
    listed(a, b"box", seconds=8)
    b.ok("APPEND box ", Lit(PLAIN))
    counted(a, b"box", b"MESSAGES 1", seconds=8)
    b.ok("RENAME box crate")
    listed(a, b"crate", b"OLDNAME", seconds=8)
    b.ok("SUBSCRIBE crate")
    listed(a, b"crate", b"\\Subscribed", seconds=8)


@only("pgbox")
@timeout(60)
def test_cache_removed(lab):
    """The file that is watched may go with the whole cache; it comes back."""
    node = looking(lab)
    user = lab.user(node)
    a, b = lab.imap(user, node), lab.imap(user, node)
    a.ok("CREATE box")
    a.ok(MESSAGES)
    shutil.rmtree(node.index_dir(user), ignore_errors=True)
    proc.wait_for(lambda: os.path.exists(os.path.join(
        node.index_dir(user), "pgbox.list.notify")), 8, "the file to come back")
    b.ok("APPEND box ", Lit(PLAIN))
    counted(a, b"box", b"MESSAGES 1")


@only("pgbox")
@timeout(60)
def test_nothing_is_written_unwatched(lab):
    """Sessions that don't use NOTIFY leave no file for it."""
    user = lab.user()
    c = lab.imap(user)
    c.ok("CREATE box")
    c.ok("APPEND box ", Lit(PLAIN))
    true("pgbox.list.notify" not in os.listdir(lab.node().index_dir(user)), "no file")


@only("pgbox")
@timeout(60)
def test_outage(lab):
    """What changed while the database couldn't be reached is told afterwards."""
    proxy = Proxy(os.path.join(lab.dir, "notify"), lab.cluster.socket)
    node = lab.node("cutoff", extra="\nmailbox_idle_check_interval = 2 secs\n", database=
                    "host=%s port=5432 dbname=pgbox user=pgbox_dovecot" % proxy.folder)
    node.expect_log("Error: ")
    a, b = watching(lab, MESSAGES, node=node, setup=["CREATE box"])
    proxy.refuse()
    proxy.cut()
    b.ok("APPEND box ", Lit(PLAIN))
    a.quiet(5)
    proxy.disarm()
    counted(a, b"box", b"MESSAGES 1", seconds=15)


@only("pgbox")
@timeout(60)
def test_no_disk(lab):
    """Without folders for caches changes are found by looking."""
    node = lab.node("diskless", extra="\nmailbox_idle_check_interval = 2 secs\n"
                    "mail_location = pgbox:~/pgbox:INDEX=MEMORY\n")
    a, b = watching(lab, MESSAGES, node=node, setup=["CREATE box"])
    b.ok("APPEND box ", Lit(PLAIN))
    counted(a, b"box", b"MESSAGES 1", seconds=8)


@only("pgbox")
@timeout(60)
def test_virtual_mailbox(lab):
    """A virtual mailbox that idles hears of all mailboxes it is made of."""
    node = lab.node("virtual", plugins="virtual", extra="""
namespace virtual {
  prefix = virtual/
  separator = /
  location = virtual:~/virtual
}
""")
    user = lab.user(node)
    b = lab.imap(user, node)
    b.ok("CREATE box")
    folder = os.path.join(node.home(user), "virtual", "all")
    os.makedirs(folder)
    with open(os.path.join(folder, "dovecot-virtual"), "w") as handle:
        handle.write("INBOX\nbox\n  all\n")
    proc.give(os.path.dirname(folder), node.mail_user)
    proc.give(folder, node.mail_user)
    a = lab.imap(user, node)
    eq(a.ok("SELECT virtual/all").number("EXISTS"), 0)
    tag = a.idle()
    for number, mailbox in enumerate(("box", "INBOX", "box"), 1):
        b.ok("APPEND %s " % mailbox, Lit(PLAIN))
        a.wait_untagged(lambda item: item.name == "EXISTS" and item.number == number)
    a.done(tag)
