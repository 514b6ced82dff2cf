"""Real clients: imaplib, mbsync, poplib, curl."""

import email
import imaplib
import os
import poplib
import shutil

import proc
from imapclient import Lit, flags_of
from mails import MIXED, PLAIN, fill, simple
from tap import Skip, eq, has, timeout, true


# -- Python's imaplib -----------------------------------------------------

def test_imaplib(lab):
    """A whole session with imaplib."""
    user = lab.user()
    m = imaplib.IMAP4("127.0.0.1", lab.node().ports["imap"])
    m.login(user, "pw")
    eq(m.create("box")[0], "OK")
    eq(m.append("INBOX", "\\Seen", imaplib.Time2Internaldate(1e9), MIXED)[0], "OK")
    eq(m.append("INBOX", None, None, PLAIN)[0], "OK")
    eq(m.select("INBOX"), ("OK", [b"2"]))
    eq(m.search(None, "UNSEEN"), ("OK", [b"2"]))
    parsed = email.message_from_bytes(m.fetch("1", "(RFC822)")[1][0][1])
    eq(parsed.get_content_type(), "multipart/mixed")
    eq(len(list(parsed.walk())), 9)
    eq(m.store("2", "+FLAGS", "(\\Deleted)")[0], "OK")
    eq(m.copy("1", "box")[0], "OK")
    eq(m.expunge()[1], [b"2"])
    eq(m.sort("(SUBJECT)", "UTF-8", "ALL"), ("OK", [b"1"]))
    eq(m.status("box", "(MESSAGES)")[1], [b"box (MESSAGES 1)"])
    eq(m.rename("box", "bax")[0], "OK")
    eq(m.delete("bax")[0], "OK")
    m.close()
    m.logout()


# -- mbsync ---------------------------------------------------------------

CONFIG = """
IMAPAccount far
Host 127.0.0.1
Port %(port)d
User %(user)s
Pass pw
SSLType None
AuthMechs LOGIN

IMAPStore far
Account far

MaildirStore near
Path %(dir)s/mail/
Inbox %(dir)s/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState %(dir)s/state/
CopyArrivalDate yes
"""


class Mbsync:
    """A Maildir that mbsync keeps equal to an account."""

    def __init__(self, lab, user):
        if not shutil.which("mbsync"):
            raise Skip("mbsync is missing: apt-get install isync")
        self.dir = os.path.join(lab.dir, "mbsync-" + user)
        for sub in ("", "mail", "state"):
            os.mkdir(os.path.join(self.dir, sub))
        with open(os.path.join(self.dir, "rc"), "w") as handle:
            handle.write(CONFIG % {"port": lab.node().ports["imap"], "user": user,
                                   "dir": self.dir})

    def run(self):
        """Synchronise once."""
        proc.run(["mbsync", "-c", os.path.join(self.dir, "rc"), "-a"],
                 env={"HOME": self.dir, "PATH": "/usr/bin:/bin"}, timeout=90)

    def files(self, folder="INBOX"):
        """{path: flags} of a Maildir folder."""
        found = {}
        for sub in ("cur", "new"):
            path = os.path.join(self.dir, "mail", folder, sub)
            for name in os.listdir(path) if os.path.isdir(path) else []:
                found[os.path.join(path, name)] = name.partition(":2,")[2]
        return found

    def messages(self, folder="INBOX"):
        """[(flags, bytes)] sorted, without mbsync's own header."""
        result = []
        for path, flags in self.files(folder).items():
            with open(path, "rb") as handle:
                lines = handle.read().splitlines(True)
            text = b"".join(line for line in lines if not line.startswith(b"X-TUID:"))
            result.append((flags, text.replace(b"\r\n", b"\n")))
        return sorted(result, key=lambda item: item[1])

    def add(self, message, flags="", folder="INBOX"):
        """Put a message into the Maildir."""
        name = "%d.new.host:2,%s" % (len(self.files(folder)) + 5000, flags)
        with open(os.path.join(self.dir, "mail", folder, "cur", name), "wb") as handle:
            handle.write(message.replace(b"\r\n", b"\n"))

    def change(self, text, change):
        """Set other flags on the one file that holds the text; None removes it."""
        for path in self.files():
            with open(path, "rb") as handle:
                if text not in handle.read():
                    continue
            if change is None:
                os.remove(path)
                return
            base = os.path.basename(path).partition(":2,")[0]
            target = os.path.join(self.dir, "mail", "INBOX", "cur", base + ":2," + change)
            os.rename(path, target)
            return
        raise AssertionError("no file with %r" % text)


def lf(message):
    """With LF line ends."""
    return message.replace(b"\r\n", b"\n")


def server_side(client):
    """[(flags, bytes)] of INBOX."""
    client.ok("EXAMINE INBOX")
    got = client.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])").fetches()
    return sorted(((flags_of(item["FLAGS"]) - {"\\Recent"}, lf(item["BODY[]"]))
                   for item in got.values()), key=lambda item: item[1])


@timeout(120)
def test_mbsync_pull(lab):
    """Server to Maildir: all messages, flags, folders; changes and expunges."""
    user = lab.user()
    c = lab.imap(user)
    c.ok("CREATE Archive")
    c.ok("APPEND INBOX (\\Seen) ", Lit(PLAIN), " (\\Flagged \\Answered) ", Lit(MIXED))
    fill(c, "Archive", 50)
    near = Mbsync(lab, user)
    near.run()
    eq(near.messages(), sorted([("S", lf(PLAIN)), ("FR", lf(MIXED))], key=lambda m: m[1]))
    eq(len(near.messages("Archive")), 50)
    c.ok("SELECT INBOX")
    c.ok("STORE 1 FLAGS (\\Flagged)")
    c.ok("STORE 2 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("APPEND INBOX ", Lit(simple(9)))
    near.run()
    eq(near.messages(), sorted([("F", lf(PLAIN)), ("", lf(simple(9)))], key=lambda m: m[1]))


@timeout(120)
def test_mbsync_push(lab):
    """Maildir to server: new mail, flags, deletions."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 3)
    near = Mbsync(lab, user)
    near.run()
    near.add(PLAIN, "RS")
    near.change(b"Subject: message 1\n", "FS")
    near.change(b"Subject: message 2\n", None)
    near.change(b"Subject: message 3\n", "T")
    near.run()
    got = [(flags, text) for flags, text in server_side(c)]
    texts = [b"\n".join(line for line in text.split(b"\n")
                        if not line.startswith(b"X-TUID")) for _, text in got]
    eq(sorted(texts), sorted([lf(simple(1)), lf(PLAIN)]))
    flags = {text[:20]: flags for flags, text in got}
    eq(flags[lf(simple(1))[:20]], {"\\Flagged", "\\Seen"})
    eq([flags for flags, text in got if b"Lunch" in text], [{"\\Answered", "\\Seen"}])


@timeout(120)
def test_mbsync_both_ways(lab):
    """Changes on both sides at once end equal; a further run does nothing."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 20)
    near = Mbsync(lab, user)
    near.run()
    for n in range(1, 6):
        near.add(simple(100 + n), "S")
    near.change(b"Subject: message 7\n", "S")
    c.ok("SELECT INBOX")
    c.ok("STORE 8 +FLAGS (\\Flagged)")
    c.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("APPEND INBOX ", Lit(simple(200)))
    near.run()
    before = near.messages()
    eq(len(before), 23)
    eq(len(server_side(c)), 23)
    near.run()
    eq(near.messages(), before)
    eq(len(server_side(c)), 23)


# -- poplib ---------------------------------------------------------------

def test_poplib(lab):
    """Fetch and delete all, as a simple POP3 client does."""
    user = lab.user()
    fill(lab.imap(user), "INBOX", 30)
    p = poplib.POP3("127.0.0.1", lab.node().ports["pop3"], timeout=30)
    p.user(user)
    p.pass_("pw")
    count = p.stat()[0]
    eq(count, 30)
    for number in range(1, count + 1):
        eq(b"\r\n".join(p.retr(number)[1]) + b"\r\n", simple(number))
        p.dele(number)
    p.quit()
    eq(lab.imap(user).ok("SELECT INBOX").number("EXISTS"), 0)


# -- curl -----------------------------------------------------------------

def curl(lab, user, *args):
    """Run curl on the IMAP server; return its output."""
    if not shutil.which("curl"):
        raise Skip("curl is missing: apt-get install curl")
    url = "imap://127.0.0.1:%d/" % lab.node().ports["imap"]
    argv = ["curl", "-sS", "--max-time", "30", "--user", user + ":pw"]
    argv += [arg.replace("URL/", url) for arg in args]
    done = proc.run(argv, check=False)
    eq(done.returncode, 0, done.stderr.decode())
    return done.stdout


def test_curl(lab):
    """curl lists, uploads, fetches, searches, stores."""
    user = lab.user()
    lab.imap(user).ok("CREATE box")
    has(b"box", curl(lab, user, "URL/"))
    upload = os.path.join(lab.dir, "upload.eml")
    with open(upload, "wb") as handle:
        handle.write(MIXED)
    curl(lab, user, "-T", upload, "URL/box")
    eq(curl(lab, user, "URL/box;MAILINDEX=1"), MIXED)
    has(b"nested", curl(lab, user, "URL/box;UID=1;SECTION=3"))
    has(b"SEARCH 1", curl(lab, user, "URL/box?ALL"))
    has(b"Flagged", curl(lab, user, "URL/box", "-X", "STORE 1 +FLAGS (\\Flagged)"))
    has(b"EXISTS", curl(lab, user, "URL/", "-X", "EXAMINE box"))
