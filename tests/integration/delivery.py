"""LMTP, Sieve, dovecot-lda, quota, POP3, ManageSieve."""

import os
import poplib
import shutil

import proc
from cache_truth import check
from imapclient import Lit, flags_of
from mails import MIXED, PLAIN, fill, simple
from tap import Skip, eq, has, only, true

HEAD = b"From: sender@example.net\r\nTo: you@example.org\r\nSubject: "


def inbox(lab, user, mailbox="INBOX"):
    """[(flags, body text)] of a mailbox."""
    c = lab.imap(user)
    c.ok("EXAMINE ", mailbox)
    got = c.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])").fetches()
    return [(flags_of(item["FLAGS"]) - {"\\Recent"}, item["BODY[]"])
            for item in got.values()]


def sieve(lab, user, script):
    """Make a script the user's active one."""
    client = lab.sieve(user)
    ok, lines = client.put(b"main", script)
    true(ok, "PUTSCRIPT: %r" % lines)
    true(client.activate(b"main")[0], "SETACTIVE")
    client.close()


def deliver(lab, user, message):
    """LMTP to one recipient that must be accepted."""
    answer = lab.lmtp().deliver(message, user)[user]
    eq(answer[0], 250, answer[1])


# -- LMTP -----------------------------------------------------------------

def test_lmtp(lab):
    """One recipient: headers added, body intact."""
    user = lab.user()
    deliver(lab, user, PLAIN)
    (flags, text), = inbox(lab, user)
    eq(flags, set())
    has(b"Delivered-To: %s\r\n" % user.encode(), text)
    has(b"Received: from client.example.org", text)
    eq(text.partition(b"\r\n\r\n")[2], PLAIN.partition(b"\r\n\r\n")[2])


def test_lmtp_many_recipients(lab):
    """Twenty recipients; with several there is no Delivered-To."""
    users = [lab.user() for _ in range(20)]
    answers = lab.lmtp().deliver(MIXED, *users)
    eq([answers[user][0] for user in users], [250] * 20)
    for user in users:
        (_, text), = inbox(lab, user)
        eq(text.count(b"Delivered-To:"), 0)
        true(text.endswith(MIXED.partition(b"\r\n\r\n")[2]), "the body")


@only("pgbox")
def test_lmtp_keeps_its_connection(lab):
    """One connection for all recipients of an LMTP session; it is closed when
    it is idle."""
    if lab.is_pooled:
        raise Skip("backends are the pooler's")
    users = [lab.user() for _ in range(3)]
    lab.cluster.wait_no_backends()
    client, seen = lab.lmtp(), set()
    for number in range(6):
        eq(client.deliver(simple(number), users[number % 3])[users[number % 3]][0], 250)
        seen |= lab.cluster.backend_pids()
    eq(len(seen), 1)
    eq([len(inbox(lab, user)) for user in users], [2, 2, 2])
    lab.cluster.wait_no_backends()


@only("pgbox")
def test_process_serves_many_users(lab):
    """An imap process that serves one user after the other: with one connection,
    and nothing of the former user's is left."""
    if lab.is_pooled:
        raise Skip("backends are the pooler's")
    node = lab.node("many", extra="service imap {\n  service_count = 100\n  process_limit = 1\n}\n")
    users = [lab.user(node) for _ in range(3)]
    seen, pids = set(), set()
    for number in range(9):
        user = users[number % 3]
        client = lab.imap(user, node)
        client.ok("CREATE only%s.%d" % (user, number))
        client.ok("APPEND INBOX ", Lit(simple(number, subject="of " + user)))
        client.ok("SELECT INBOX")
        eq(len(client.ok("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").fetches()), number // 3 + 1)
        names = {as_text(item.data[2]) for item in client.ok('LIST "" only*').all("LIST")}
        eq(names, {"only%s.%d" % (user, at) for at in range(number % 3, number + 1, 3)})
        seen |= lab.cluster.backend_pids()
        pids |= set(node.imap_pids(user))
        client.logout()
    eq((len(seen), len(pids)), (1, 1))
    lab.cluster.wait_no_backends()


def as_text(name):
    """A mailbox's name as the client read it."""
    return name.decode() if isinstance(name, bytes) else name


def test_lmtp_unknown_user(lab):
    """550 for a user that isn't there; the others get their mail."""
    user = lab.user()
    answers = lab.lmtp().deliver(PLAIN, "nobody-here", user)
    eq(answers["nobody-here"][0], 550)
    eq(answers[user][0], 250)
    eq(len(inbox(lab, user)), 1)


def test_lmtp_duplicates(lab):
    """The same message twice is two messages."""
    user = lab.user()
    client = lab.lmtp()
    for _ in range(2):
        client.deliver(PLAIN, user)
    eq(len(inbox(lab, user)), 2)


def test_lmtp_two_connections(lab):
    """Deliveries that interleave: each mail once, UIDs without gaps."""
    user = lab.user()
    clients = [lab.lmtp() for _ in range(4)]
    for turn in range(10):
        for number, client in enumerate(clients):
            client.deliver(simple(turn * 10 + number), user)
    c = lab.imap(user)
    c.ok("SELECT INBOX")
    eq(c.ok("UID SEARCH ALL").numbers(), list(range(1, 41)))


def test_lmtp_empty(lab):
    """An empty message is kept or refused, never a crash."""
    user = lab.user()
    code, _ = lab.lmtp().deliver(b"\r\n", user)[user]
    true(code in (250, 550, 554), "code %d" % code)


def test_lmtp_detail(lab):
    """user+detail goes to the user."""
    user = lab.user()
    address = user + "+detail"
    eq(lab.lmtp().deliver(PLAIN, address)[address][0], 250)
    eq(len(inbox(lab, user)), 1)


@only("pgbox")
def test_lmtp_body_stored_once(lab):
    """Twenty recipients store the body once."""
    users = [lab.user() for _ in range(20)]
    body = b"a body that nobody else has " + os.urandom(16).hex().encode()
    message = HEAD + b"once\r\n\r\n" + body + b"\r\n" + b"x" * 200000 + b"\r\n"
    before = int(lab.cluster.value("SELECT count(*) FROM pgbox.content"))
    answers = lab.lmtp().deliver(message, *users)
    eq({code for code, _ in answers.values()}, {250})
    after = int(lab.cluster.value("SELECT count(*) FROM pgbox.content"))
    true(after - before <= 1 + len(users), "rows: %d" % (after - before))


# -- Sieve ----------------------------------------------------------------

def test_sieve_fileinto(lab):
    """fileinto :create, with flags."""
    user = lab.user()
    sieve(lab, user, b'require ["fileinto", "mailbox", "imap4flags"];\r\n'
          b'if header :contains "subject" "lunch" {\r\n'
          b'  addflag "\\\\Flagged"; addflag "$Food";\r\n'
          b'  fileinto :create "Lists/Food"; }\r\n')
    deliver(lab, user, PLAIN)
    deliver(lab, user, MIXED)
    (flags, text), = inbox(lab, user, "Lists/Food")
    eq(flags, {"\\Flagged", "$Food"})
    has(b"Lunch on Friday", text)
    (_, text), = inbox(lab, user)
    has(b"two@example.org", text)


def test_sieve_keep_and_copies(lab):
    """keep, and fileinto :copy into two folders: three copies."""
    user = lab.user()
    sieve(lab, user, b'require ["fileinto", "mailbox", "copy"];\r\n'
          b'fileinto :copy :create "one"; fileinto :copy :create "two"; keep;\r\n')
    deliver(lab, user, PLAIN)
    texts = [inbox(lab, user, name)[0][1] for name in ("INBOX", "one", "two")]
    eq(texts[0], texts[1])
    eq(texts[0], texts[2])


def test_sieve_discard(lab):
    """discard is accepted and kept nowhere."""
    user = lab.user()
    sieve(lab, user, b"discard;\r\n")
    deliver(lab, user, PLAIN)
    eq(inbox(lab, user), [])


def test_sieve_missing_folder(lab):
    """fileinto of a folder that isn't there: kept in INBOX, not lost."""
    user = lab.user()
    sieve(lab, user, b'require "fileinto"; fileinto "nowhere";\r\n')
    lab.node().expect_log("failed to store into mailbox", "Error: sieve:")
    deliver(lab, user, PLAIN)
    eq(len(inbox(lab, user)), 1)


def test_sieve_vacation(lab):
    """A vacation answer goes out once per sender."""
    user = lab.user()
    sieve(lab, user, b'require "vacation"; vacation :days 1 :addresses "you@example.org" '
          b'"I am away";\r\n')
    for _ in range(2):
        deliver(lab, user, HEAD + b"are you there\r\nMessage-ID: <v@x>\r\n\r\nhello\r\n")
    eq(len(inbox(lab, user)), 2)
    with open(os.path.join(lab.node().dir, "mail", "outgoing"), "rb") as handle:
        sent = handle.read()
    eq(sent.count(b"I am away"), 1)


def test_sieve_imap4flags_keep(lab):
    """setflag and keep."""
    user = lab.user()
    sieve(lab, user, b'require "imap4flags"; setflag ["\\\\Seen", "work"]; keep;\r\n')
    deliver(lab, user, PLAIN)
    eq(inbox(lab, user)[0][0], {"\\Seen", "work"})


def test_sieve_by_what_is_there(lab):
    """mailboxexists and hasflag ask the storage."""
    user = lab.user()
    lab.imap(user).ok("CREATE Lists")
    sieve(lab, user, b'require ["fileinto", "mailbox", "imap4flags"];\r\n'
          b'addflag "$Old";\r\n'
          b'if mailboxexists "Lists" { removeflag "$Old"; fileinto "Lists"; }\r\n'
          b'if not mailboxexists "Other" { fileinto :flags "\\\\Flagged" :create "Other"; }\r\n')
    deliver(lab, user, PLAIN)
    eq([len(inbox(lab, user, name)) for name in ("INBOX", "Lists", "Other")], [0, 1, 1])
    eq(inbox(lab, user, "Lists")[0][0], set())
    eq(inbox(lab, user, "Other")[0][0], {"\\Flagged"})


def test_managesieve(lab):
    """PUTSCRIPT, LISTSCRIPTS, GETSCRIPT, SETACTIVE, DELETESCRIPT; a bad script."""
    user = lab.user()
    client = lab.sieve(user)
    true(client.put(b"a", b"keep;\r\n")[0], "PUTSCRIPT")
    true(not client.put(b"bad", b"nonsense here;\r\n")[0], "a bad script is refused")
    true(client.activate(b"a")[0], "SETACTIVE")
    has(b'"a" ACTIVE', client.command(b"LISTSCRIPTS")[1])
    has(b"keep;\r\n", client.command(b'GETSCRIPT "a"')[1])
    true(not client.command(b'DELETESCRIPT "a"')[0], "the active one stays")
    true(client.activate(b"")[0], "no active one")
    true(client.command(b'DELETESCRIPT "a"')[0], "DELETESCRIPT")
    client.close()


# -- dovecot-lda ----------------------------------------------------------

def test_lda(lab):
    """dovecot-lda delivers to INBOX and to a folder, with Sieve."""
    user = lab.user()
    lab.node().lda(user, PLAIN.replace(b"\r\n", b"\n"))
    lab.imap(user).ok("CREATE box")
    lab.node().lda(user, MIXED, "-m", "box")
    true(inbox(lab, user)[0][1].endswith(PLAIN.partition(b"\r\n\r\n")[2]), "INBOX")
    true(inbox(lab, user, "box")[0][1].endswith(MIXED.partition(b"\r\n\r\n")[2]), "box")
    sieve(lab, user, b"discard;\r\n")
    lab.node().lda(user, PLAIN)
    eq(len(inbox(lab, user)), 1)


def test_lda_unknown_user(lab):
    """EX_NOUSER."""
    eq(lab.node().lda("nobody-here", PLAIN, check=False).returncode, 67)


# -- quota ----------------------------------------------------------------

def test_quota_kept_apart(lab):
    """A quota backend that keeps sums of its own follows MOVE and EXPUNGE."""
    node = lab.node("sums", extra="plugin {\n  quota = dict:User quota::file:%h/quota-sums\n}\n")
    user = lab.user(node)
    c = lab.imap(user, node)
    fill(c, "INBOX", 5)
    c.ok("CREATE box")
    c.ok("SELECT INBOX")
    c.ok("MOVE 1:2 box")
    c.ok("MOVE 1 INBOX")
    c.ok("STORE 1 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    c.logout()
    lines = node.doveadm("quota", "get", user=user).stdout.decode().splitlines()
    count, = [line.split()[3] for line in lines if " MESSAGE " in line]
    eq(int(count), 4)


def test_quota_exceeded(lab):
    """Over quota: LMTP 552, APPEND [OVERQUOTA], COPY too; below it works again."""
    user = lab.user(fields="userdb_quota_rule=*:bytes=100k userdb_quota_rule2=Trash:ignore")
    c = lab.imap(user)
    big = simple(1, body="q" * 60000 + "\r\n")
    c.ok("APPEND INBOX ", Lit(big))
    eq(c.no("APPEND INBOX ", Lit(big)).code, "OVERQUOTA")
    code, text = lab.lmtp().deliver(big, user)[user]
    eq(code, 552, text)
    c.ok("SELECT INBOX")
    c.ok("CREATE box")
    eq(c.no("COPY 1 box").code, "OVERQUOTA")
    c.ok("MOVE 1 box")
    c.ok("SELECT box")
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("APPEND INBOX ", Lit(big))


# -- POP3 -----------------------------------------------------------------

def pop3(lab, user, node=None):
    """A POP3 session, logged in."""
    client = poplib.POP3("127.0.0.1", (node or lab.node()).ports["pop3"], timeout=30)
    client.user(user)
    client.pass_("pw")
    return client


def uidls(client):
    """{number: uidl}."""
    return {int(line.split()[0]): line.split()[1] for line in client.uidl()[1]}


def test_pop3_read(lab):
    """STAT, LIST, RETR, TOP agree with the messages."""
    user = lab.user()
    c = lab.imap(user)
    c.ok("APPEND INBOX ", Lit(PLAIN), " ", Lit(MIXED))
    p = pop3(lab, user)
    eq(p.stat(), (2, len(PLAIN) + len(MIXED)))
    eq([int(line.split()[1]) for line in p.list()[1]], [len(PLAIN), len(MIXED)])
    eq(b"\r\n".join(p.retr(1)[1]) + b"\r\n", PLAIN)
    eq(b"\r\n".join(p.retr(2)[1]) + b"\r\n", MIXED)
    head = PLAIN.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    eq(b"\r\n".join(p.top(1, 0)[1]) + b"\r\n", head)
    eq(b"\r\n".join(p.top(1, 1)[1]) + b"\r\n", head + b"Shall we meet at noon?\r\n")
    p.quit()


def test_pop3_dele(lab):
    """DELE and QUIT expunge, RSET and a lost connection don't."""
    user = lab.user()
    fill(lab.imap(user), "INBOX", 4)
    p = pop3(lab, user)
    p.dele(1)
    p.rset()
    p.dele(2)
    p.close()
    p = pop3(lab, user)
    eq(p.stat()[0], 4)
    p.dele(2)
    p.dele(4)
    p.quit()
    p = pop3(lab, user)
    eq(p.stat()[0], 2)
    eq(b"\r\n".join(p.retr(2)[1]) + b"\r\n", simple(3))
    p.quit()


def test_pop3_uidl_stable(lab):
    """UIDLs stay over sessions, deletions, a restart of the server."""
    user = lab.user()
    fill(lab.imap(user), "INBOX", 5)
    p = pop3(lab, user)
    first = uidls(p)
    eq(len(set(first.values())), 5)
    p.dele(2)
    p.quit()
    lab.node().restart()
    p = pop3(lab, user)
    eq(list(uidls(p).values()), [first[n] for n in (1, 3, 4, 5)])
    p.quit()
    deliver(lab, user, PLAIN)
    p = pop3(lab, user)
    eq(list(uidls(p).values())[:4], [first[n] for n in (1, 3, 4, 5)])
    true(uidls(p)[5] not in first.values(), "a new one")
    p.quit()


@only("pgbox")
def test_pop3_uidl_without_index(lab):
    """UIDLs are the same after the index was deleted, and on another node."""
    user = lab.user()
    fill(lab.imap(user), "INBOX", 5)
    p = pop3(lab, user)
    first = uidls(p)
    p.dele(3)
    p.quit()
    del first[3]
    shutil.rmtree(lab.node().index_dir(user))
    for node in (lab.node(), lab.node("second")):
        p = pop3(lab, user, node)
        eq(list(uidls(p).values()), list(first.values()), node.name)
        eq(b"\r\n".join(p.top(3, 0)[1]).split(b"\r\n")[2], b"Subject: message 4")
        p.quit()


def test_pop3_uidl_guid(lab):
    """pop3_uidl_format = %g: the GUID, the same one that IMAP and doveadm tell."""
    node = lab.node("guids", extra="pop3_uidl_format = %g\n")
    user = lab.user(node)
    c = lab.imap(user, node)
    fill(c, "INBOX", 3)
    c.ok("SELECT INBOX")
    guids = [item["X-GUID"] for item in c.ok("FETCH 1:* X-GUID").fetches().values()]
    p = pop3(lab, user, node)
    eq(list(uidls(p).values()), guids)
    p.quit()


def test_pop3_deleted_flag(lab):
    """pop3_deleted_flag: DELE hides from POP3, IMAP still has it."""
    node = lab.node("hides", extra="pop3_deleted_flag = POP3Deleted\n")
    user = lab.user(node)
    c = lab.imap(user, node)
    fill(c, "INBOX", 3)
    p = pop3(lab, user, node)
    p.dele(2)
    p.quit()
    p = pop3(lab, user, node)
    eq(p.stat()[0], 2)
    p.quit()
    c.ok("SELECT INBOX")
    eq(c.ok("SEARCH KEYWORD POP3Deleted").numbers(), [2])


def test_pop3_dots(lab):
    """Lines that start with dots."""
    user = lab.user()
    message = HEAD + b"dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n"
    lab.imap(user).ok("APPEND INBOX ", Lit(message))
    p = pop3(lab, user)
    eq(b"\r\n".join(p.retr(1)[1]) + b"\r\n", message)
    p.quit()


def test_pop3_while_imap(lab):
    """POP3 deletes, an IMAP session is told."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 3)
    c.ok("SELECT INBOX")
    p = pop3(lab, user)
    p.dele(2)
    p.quit()
    proc.wait_for(lambda: c.ok("NOOP").expunged() == [2], 5, "the expunge")
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 3])


@only("pgbox")
def test_pop3_reads_and_deletes(lab):
    """RETR and DELE of one session are one commit: flags, then expunges."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 5)
    c.ok("SELECT INBOX")
    p = pop3(lab, user)
    p.retr(1)
    p.retr(2)
    p.dele(4)
    p.quit()
    check(lab, c, user)
