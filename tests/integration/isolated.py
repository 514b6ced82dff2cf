"""One user's mail and another user: no name, path, GUID or URL leads there.

Mallory tries, on a node where nobody shares anything and on one where users can.
Nothing that is said to him has a word of Anna's mail, and afterwards her rows and
files are what they were."""

import os
import re
import stat

import proc
from imapclient import Lit, quoted
from mails import PLAIN
from namespaces import shared_node
from notifyclient import NotifyClient
from push import store_guid, wait_vouched
from tap import eq, only, timeout, true

SECRET = b"only-anna-may-read-this"
MAIL = b"From: a@example.org\r\nSubject: %s\r\n\r\n%s\r\n" % (SECRET, SECRET)
KEPT = """
plugin {
  pgbox_content_cache = %s/mail/content
}
"""


class Anna:
    """Who has something to hide."""

    def __init__(self, lab, node):
        self._lab, self._node = lab, node
        self.name = lab.user(node)
        client = lab.imap(self.name, node)
        client.ok("CREATE private")
        for box in ("INBOX", "private"):
            client.ok("APPEND ", box, " (%s) " % SECRET.decode(), Lit(MAIL))
            client.ok("SETMETADATA ", box, " (/shared/comment ", Lit(SECRET), ")")
            client.ok("SELECT ", box)
            client.ok("FETCH 1 BODY.PEEK[]")
        client.ok("SUBSCRIBE private")
        client.close()
        rows = lab.cluster.psql(
            "SELECT m.mailbox_id, replace(m.guid::text, '-', ''), replace(s.guid::text, '-', '') "
            "FROM pgbox.mailbox m JOIN pgbox.account a USING (account_id) JOIN pgbox.message s USING (mailbox_id) "
            "WHERE a.name = '%s' AND m.name = 'private'" % self.name)
        self.mailbox_id, self.guid, self.message_guid = rows[0]
        self.before = self.state()

    def state(self):
        """All of her rows, and her files."""
        rows = [self._lab.cluster.psql(
            "SELECT t::text FROM pgbox.%s t WHERE %s ORDER BY 1" % (table, where)) for table, where in (
                ("account", "name = '%s'" % self.name),
                ("mailbox", "account_id = " + self._id()), ("subscription", "account_id = " + self._id()),
                ("mailbox_counter", "mailbox_id IN (%s)" % self._boxes()),
                ("mailbox_attribute", "mailbox_id IN (%s)" % self._boxes()),
                ("message", "mailbox_id IN (%s)" % self._boxes()),
                ("message_state", "mailbox_id IN (%s)" % self._boxes()))]
        files = sorted(os.path.join(top, name) for top, _, names in os.walk(self._node.home(self.name))
                       for name in names)
        return rows, files

    def _id(self):
        return "(SELECT account_id FROM pgbox.account WHERE name = '%s')" % self.name

    def _boxes(self):
        return "SELECT mailbox_id FROM pgbox.mailbox WHERE account_id = " + self._id()

    def check(self):
        """Nothing has happened to her. Who looks for shared folders makes two files beside hers: a list of
        what is shared, and one without content that wakes who waits for changes."""
        (rows, files), (rows_before, files_before) = self.state(), self.before
        eq(rows, rows_before)
        eq([path for path in files if path not in files_before and
            os.path.basename(path) not in ("dovecot-acl-list", "pgbox.list.notify")], [])
        eq([path for path in files_before if path not in files], [])

    def ways(self):
        """Names by which somebody might hope to find her mail."""
        home = self._node.home(self.name)
        ways = [self.name, self.name + "/INBOX", self.name + "/private", "~" + self.name, "~%s/INBOX" % self.name]
        for up in ("..", "../..", "INBOX/..", "....//.."):
            ways += ["%s/%s" % (up, self.name), "%s/%s/pgbox/private" % (up, self.name), "%s/private" % up]
        ways += [home, home + "/pgbox", home + "/pgbox/mailboxes/" + self.guid, "/private", "//private", "file:" + home,
                 "pgbox:~/../%s/pgbox" % self.name]
        for prefix in ("Shared/", "#user/", "Public/", "shared."):
            ways += ["%s%s/private" % (prefix, self.name), prefix + self.name]
        return ways + [self.guid, self.mailbox_id, "mailboxes/" + self.guid, "{%s}" % self.guid, "guid:" + self.guid,
                       "private", "private/", "PRIVATE", "&AHA-rivate", "private&AAA-"]


def attempts(client, name, box):
    """Run every command that takes a name; returns what succeeded.

    Mallory may call his own folders what he likes: only what he reads, or does to a
    folder that he hasn't got, counts."""
    wire = quoted(name)
    succeeded = []
    client.ok("SELECT ", box)
    for pieces in (("SELECT ", wire), ("EXAMINE ", wire), ("STATUS ", wire, " (MESSAGES)"),
                   ("SELECT ", box), ("COPY 1 ", wire), ("MOVE 1 ", wire), ("APPEND ", wire, " ", Lit(PLAIN)),
                   ("RENAME ", wire, " stolen"), ("DELETE ", wire), ("UNSELECT",),
                   ("GETMETADATA ", wire, " /shared/comment"), ("SETMETADATA ", wire, " (/shared/comment x)"),
                   ("GETACL ", wire), ("SETACL ", wire, " anyone lr"), ("MYRIGHTS ", wire), ("GETQUOTAROOT ", wire),
                   ("APPEND ", box, " CATENATE (URL ", quoted("/%s/;UID=1" % name), ")")):
        reply = client.cmd(*pieces)
        if reply.status == "BAD":
            client.ok("NOOP")
        said = repr([item.raw for item in reply.untagged]) + reply.text
        true(SECRET.decode() not in said, "%r: %s" % (pieces, said))
        # Dovecot tells everybody his rights to what would be his own
        told = ("UNSELECT", "GETQUOTAROOT ") if name.startswith("Shared/") else (
            "UNSELECT", "GETQUOTAROOT ", "MYRIGHTS ")
        if reply.ok and pieces[0] not in told and pieces[-1] != box:
            succeeded.append(pieces[0])
    for pieces in (('LIST "" ', wire), ("LIST ", wire, " *"), ('LSUB "" ', wire), ("SUBSCRIBE ", wire),
                   ("UNSUBSCRIBE ", wire), ("NOTIFY SET STATUS (mailboxes ", wire, " (MessageNew MessageExpunge))")):
        reply = client.cmd(*pieces)
        true(SECRET not in b"".join(item.raw for item in reply.untagged), repr(pieces))
        true(not reply.all("STATUS"), "%r: %r" % (pieces, reply.untagged))
    client.cmd("NOTIFY NONE")
    client.ok("NOOP")
    return succeeded


def mallory_tries(lab, node, anna):
    """All ways of all names."""
    mallory = lab.user(node)
    client = lab.imap(mallory, node)
    client.ok("CREATE mine")
    client.ok("APPEND mine ", Lit(PLAIN))
    for name in anna.ways():
        eq(attempts(client, name, "mine"), [], name)
    # Dovecot shows the place where her folders would be, if there is such a user
    got = {item.data[2] for item in client.ok('LIST "" *').all("LIST")
           if not {b"\\Noselect", b"\\NonExistent"} & set(item.data[0])}
    eq(got, {b"INBOX", b"mine"})
    client.close()
    anna.check()
    return mallory


@only("pgbox")
@timeout(180)
def test_names(lab):
    """A node where nobody shares."""
    node = lab.node("alone", notify=True, extra=KEPT % os.path.join(lab.dir, "alone"))
    anna = Anna(lab, node)
    mallory = mallory_tries(lab, node, anna)
    outside = [os.path.join(top, name) for top, dirs, names in os.walk(os.path.join(node.dir, "mail"))
               for name in dirs + names if re.search(r"/mail/(?!%s\b|%s\b|content\b)" % (anna.name, mallory),
                                                     os.path.join(top, name))]
    eq(outside, [], "files of neither of them")


@only("pgbox")
@timeout(180)
def test_names_with_sharing(lab):
    """A node where users share, and Anna doesn't."""
    node = shared_node(lab, "sharing")
    mallory_tries(lab, node, Anna(lab, node))


@only("pgbox")
@timeout(120)
def test_guids(lab):
    """doveadm as Mallory finds neither her mailbox nor her message by GUID; a GUID that dsync brings is his own."""
    node = lab.node("alone", notify=True, extra=KEPT % os.path.join(lab.dir, "alone"))
    anna, mallory = Anna(lab, node), lab.user(node)
    lab.imap(mallory, node).ok("APPEND INBOX ", Lit(PLAIN))
    for query in (("mailbox-guid", anna.guid, "all"), ("mailbox-guid", anna.guid), ("guid", anna.message_guid),
                  ("mailbox", "*", "guid", anna.message_guid), ("mailbox-guid", anna.guid, "guid", anna.message_guid)):
        done = node.doveadm("fetch", "text", *query, user=mallory, check=False)
        eq(done.stdout, b"", repr(query))
        node.doveadm("expunge", *query, user=mallory, check=False)
    copy = os.path.join(node.dir, "mail", "copy")
    node.doveadm("backup", "sdbox:" + copy, user=anna.name)
    node.doveadm("backup", "-R", "sdbox:" + copy, user=mallory)
    proc.run(["rm", "-r", copy])
    # her own backup leaves files in her own folder
    eq(anna.state()[0], anna.before[0])
    anna.before = anna.state()
    client = lab.imap(mallory, node)
    eq(client.ok("SELECT private").number("EXISTS"), 1)
    client.ok("STORE 1 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    client.ok("CLOSE")
    client.ok("DELETE private")
    anna.check()


@only("pgbox")
@timeout(60)
def test_files_and_signals(lab):
    """What a node keeps is the mail user's alone; signals are numbers, whoever hears them."""
    node = lab.node("alone", notify=True, extra=KEPT % os.path.join(lab.dir, "alone"))
    wait_vouched(lab, node)
    anna = Anna(lab, node)
    found = 0
    for folder in (os.path.join(node.dir, "mail", "content"), node.index_dir(anna.name)):
        for top, dirs, names in os.walk(folder):
            for name in dirs + names:
                mode = stat.S_IMODE(os.lstat(os.path.join(top, name)).st_mode)
                eq(mode & 0o077, 0, "%s/%s" % (top, name))
                found += 1
    true(found > 10, "files of the content cache and of the index")
    listener = NotifyClient(node.notify_socket())
    eq(listener.watch("A", anna.name, 0, store_guid(lab))[0], "OK")
    client = lab.imap(anna.name, node)
    client.ok("APPEND INBOX ", Lit(MAIL))
    client.ok("CREATE ", SECRET)
    lines = listener.lines(1.5)
    true(lines, "there are signals")
    for line in lines:
        true(line[0] in ("LOOK", "VOUCH") and all(word.isdigit() for word in line[1:]), repr(line))
    listener.close()
