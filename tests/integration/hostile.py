"""Strings that mean harm, in each place where a client can put one.

Each is refused clearly and the session goes on, or comes back as it was. After each
test: no error in PostgreSQL's log, no row that breaks a rule, and (as after all tests)
no process that crashed. Servers stay small."""

import base64
import os
import poplib
import re
import socket

import proc
from imapclient import ImapError, Lit, Lit8, SyncLit, flags_of
from imap_list import mutf7
from mails import PLAIN
from tls import sql_node
from tap import eq, only, timeout, true

SQL = [b"'; DROP TABLE pgbox.message; --", b"' OR '1'='1", b"\\'", b"\\", b"\\\\x41", b"$1", b"$$", b"$a$;$a$",
       b"E'\\x00'", b"%s%n%d", b"%u", b"%%", b"%Lu", b"?", b":name", b"{1,2}", b"NULL", b"\"", b"\"\"", b"`id`",
       b"$(id)", b"/*", b"--", b";", b"pg_sleep(9)", b"(", b")", b"[", b"]", b"{", b"{5}", b"a,b", b"a=b&c"]
TEXT = ["\u05e9\u05dc\u05d5\u05dd", "\u202eabc", "\U0001f4a9", "e\u0301", "\u00e9", "\ufeffbom", "\u2028", "\u00a0",
        "\ud7ff", "\U0010ffff", "\u0130i\u0131", "\uff0f"]
CONTROL = [b"\1", b"\t", b"\x1b[2J", b"\x7f", b"\r", b"\n", b"\r\n", b"a\r\nb OK", b"\x1e", b"\x1f"]
NUL = [b"\0", b"a\0b", b"\0'"]
BROKEN = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"ok\xfe"]
UTF7 = [b"&", b"&-", b"&AAA-", b"&2D0-", b"&Jjo!", b"&AC8-", b"&AFw-", b"&AGEAYg-", b"&AA", b"a&-b", b"&ACc-", b"&AAo-",
        b"&//8-", b"&ZeVnLIqe-&-", b"&AKAAoA-"]
LONG = [b"x" * 300, b"l/" * 40 + b"l", b"y" * 5000, "\u00fc".encode() * 3000]
HUGE = b"h" * (1 << 20)
# What a line can carry. In a string a NUL isn't IMAP's: Dovecot cuts it off there.
LINES = SQL + [text.encode() for text in TEXT] + BROKEN + UTF7 + [b"\1", b"\t", b"\x1b[2J", b"\x7f"]
ALL = LINES + CONTROL + NUL + LONG
MEMORY = 300 << 20
# Dovecot's default
NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@"


class Watch:
    """What may not change: PostgreSQL's log, the rules of the rows, memory."""

    def __init__(self, lab):
        self._lab = lab
        self._seen = len(self._log())

    def _log(self):
        with open(self._lab.cluster.log, encoding="utf-8", errors="replace") as handle:
            return handle.read()

    def check(self, node, *users, allowed="$."):
        """Fail if anything is wrong."""
        bad = [line for line in self._log()[self._seen:].splitlines()
               if re.search("(ERROR|FATAL|PANIC):", line) and not re.search(allowed, line)]
        eq(bad, [], "PostgreSQL's log")
        eq(self._lab.cluster.psql("SELECT * FROM pgbox.invariant_violations"), [])
        for user in users:
            for pid in node.imap_pids(user):
                true(proc.memory_of(pid)["VmHWM"] < MEMORY, "imap uses %r" % proc.memory_of(pid))


def answered(client, *pieces):
    """The Reply, which is an OK, or a NO or BAD with a text; the session goes on."""
    reply = client.cmd(*pieces)
    true(reply.status in ("OK", "NO", "BAD") and reply.text, "%r: %r" % (pieces, reply))
    if reply.status == "BAD":
        # after twenty of them in a row Dovecot hangs up
        client.ok("NOOP")
    return reply


def listed(client, verb="LIST"):
    """The names that LIST shows, as they are on the wire."""
    return {item.data[2] for item in client.ok(verb, ' "" *').all(verb)}


def name_taken(client, name):
    """A mailbox of this name could be made: each command finds it, and it alone."""
    wire = Lit(name)
    name = name.split(b"\0")[0]
    new = listed(client) - {b"INBOX"}
    shown = [one for one in new if one == name or one == name.rstrip(b"/")]
    eq(len(shown), 1, "%r in %r" % (name, new))
    client.ok("APPEND ", wire, " ", Lit(PLAIN))
    eq(client.ok("STATUS ", wire, " (MESSAGES)").one("STATUS"), [name, [b"MESSAGES", b"1"]])
    client.ok("SUBSCRIBE ", wire)
    eq(listed(client, "LSUB"), {name})
    eq(client.ok("SELECT ", wire).number("EXISTS"), 1)
    client.ok("COPY 1 ", wire)
    client.ok("CLOSE")
    client.ok("UNSUBSCRIBE ", wire)
    client.ok("RENAME ", wire, " renamed")
    client.ok("RENAME renamed ", wire)
    client.ok("DELETE ", wire)
    eq(client.cmd("SELECT ", wire).status, "NO")


def with_a_mail(lab):
    """(Watch, new user, session that has selected INBOX with one message)."""
    watch, user = Watch(lab), lab.user()
    client = lab.imap(user)
    client.ok("APPEND INBOX ", Lit(PLAIN))
    client.ok("SELECT INBOX")
    return watch, user, client


@only("pgbox")
@timeout(120)
def test_mailbox_names(lab):
    """CREATE and all that takes a name: one mailbox, or a refusal everywhere."""
    watch, user = Watch(lab), lab.user()
    client = lab.imap(user)
    taken = 0
    for name in [name for name in ALL if name not in SQL[12:]] + [mutf7(text) for text in TEXT[:8]]:
        if answered(client, "CREATE ", Lit(name)).ok:
            taken += 1
            name_taken(client, name)
        else:
            client.ok("CREATE old")
            for pieces in (("RENAME old ", Lit(name)), ("SELECT ", Lit(name)), ("STATUS ", Lit(name), " (UIDNEXT)"),
                           ("APPEND ", Lit(name), " ", Lit(PLAIN)), ("DELETE ", Lit(name)),
                           ("SUBSCRIBE ", Lit(name))):
                true(not answered(client, *pieces).ok, repr(pieces))
            client.ok("DELETE old")
        # with what was made above it
        for box in sorted(listed(client) - {b"INBOX"}, key=len, reverse=True):
            client.ok("DELETE ", Lit(box))
    true(taken > 20, "only %d names were taken" % taken)
    watch.check(lab.node(), user)


@only("pgbox")
@timeout(120)
def test_patterns(lab):
    """LIST and LSUB with every string as reference and pattern; NOTIFY, too."""
    watch, user = Watch(lab), lab.user()
    client = lab.imap(user)
    client.ok("CREATE box")
    for text in ALL:
        answered(client, "LIST ", Lit(text), " *")
        answered(client, 'LIST "" ', Lit(text))
        answered(client, 'LSUB "" ', Lit(text))
        answered(client, 'LIST "" (', Lit(text), " box) RETURN (STATUS (MESSAGES))")
        answered(client, "NOTIFY SET (mailboxes ", Lit(text), " (MessageNew (UID) MessageExpunge))")
    client.ok("NOTIFY NONE")
    eq(listed(client), {b"INBOX", b"box"})
    watch.check(lab.node(), user)


def in_atom(text):
    """Whether an atom can have it at all."""
    return not any(byte <= 0x20 or byte == 0x7f or byte in b'(){%*"\\]' for byte in text)


@only("pgbox")
@timeout(120)
def test_keywords(lab):
    """STORE and APPEND with every string for a keyword; SEARCH finds it."""
    watch, user, client = with_a_mail(lab)
    for text in [text for text in LINES + LONG if in_atom(text)]:
        if answered(client, "STORE 1 FLAGS (", text, ")").ok:
            flags = client.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]
            true(text in flags, "%r in %r" % (text, flags))
            eq(client.ok("SEARCH KEYWORD ", text).numbers(), [1])
            client.ok("APPEND INBOX (", text, ") ", Lit(PLAIN))
            true(text in lab.imap(user).ok("SELECT INBOX").one("FLAGS")[0], "told to another session")
            client.ok("STORE 2 +FLAGS (\\Deleted)")
            client.ok("EXPUNGE")
        else:
            # not a literal that is sent anyway: Dovecot would take it for commands
            true(not answered(client, "APPEND INBOX (", text, ") ", SyncLit(PLAIN)).ok, repr(text))
    for text in LINES:
        if not in_atom(text):
            answered(client, "STORE 1 FLAGS (", text.replace(b"{5}", b""), ")")
    client.ok("NOOP")
    watch.check(lab.node(), user)


@only("pgbox")
@timeout(240)
def test_many_keywords(lab):
    """Ten thousand, or fewer if it is to be quick, in one STORE; another session and node read them all."""
    watch, user, client = with_a_mail(lab)
    # Dovecot takes a time that grows with the square: a minute for 10,000, on any storage
    words = ["k%d" % number for number in range(10000 if os.environ.get("PGBOX_TEST_LONG") else 2500)]
    client.ok("STORE 1 +FLAGS.SILENT (", " ".join(words), ")", timeout=100)
    client.ok("APPEND INBOX (", " ".join(words), ") ", Lit(PLAIN), timeout=60)
    elsewhere = lab.imap(user, lab.node("elsewhere"))
    eq(elsewhere.ok("SELECT INBOX").number("EXISTS"), 2)
    eq(flags_of(elsewhere.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]) - {"\\Recent"}, set(words))
    other = lab.imap(user)
    true(set(words) <= flags_of(other.ok("SELECT INBOX").one("FLAGS")[0]), "FLAGS of SELECT")
    for got in other.ok("FETCH 1:2 FLAGS", timeout=100).fetches().values():
        eq(flags_of(got["FLAGS"]) - {"\\Recent"}, set(words))
    eq(other.ok("SEARCH KEYWORD k2499 KEYWORD k0").numbers(), [1, 2])
    other.ok("STORE 1 -FLAGS.SILENT (", " ".join(words[1:]), ")", timeout=100)
    eq(flags_of(client.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]) - {"\\Recent"}, {"k0"})
    watch.check(lab.node(), user)


@only("pgbox")
@timeout(120)
def test_metadata(lab):
    """Keys and values; NUL in a value, where the protocol has it."""
    watch, user = Watch(lab), lab.user()
    client = lab.imap(user)
    for box in ("INBOX", '""'):
        for text in ALL:
            key = b"/private/comment"
            if answered(client, "SETMETADATA ", box, " (", key, " ", Lit8(text), ")").ok:
                eq(client.ok("GETMETADATA ", box, " ", key).one("METADATA")[1], [key, text], "value %r" % text)
            key = Lit(b"/private/vendor/x/" + text)
            if answered(client, "SETMETADATA ", box, " (", key, " v)").ok:
                got = client.ok("GETMETADATA ", box, " ", key).one("METADATA")[1]
                eq([got[0].lower(), got[1]], [key.split(b"\0")[0].lower(), b"v"], "key %r" % text)
                client.ok("SETMETADATA ", box, " (", key, " NIL)")
    watch.check(lab.node(), user)


@only("pgbox")
@timeout(120)
def test_search(lab):
    """Search strings, also in headers that the client names; SORT and THREAD."""
    watch, user, client = with_a_mail(lab)
    for text in ALL:
        for key in ("TEXT ", "SUBJECT ", "FROM ", "HEADER x-a ", "BODY "):
            answered(client, "SEARCH CHARSET UTF-8 ", key, Lit(text))
        answered(client, "SEARCH HEADER ", Lit(text), " x")
        answered(client, "FETCH 1 BODY.PEEK[HEADER.FIELDS (", Lit(text), ")]")
    watch.check(lab.node(), user)


@only("pgbox")
@timeout(120)
def test_bytes_of_messages(lab):
    """Headers and bodies are what was put in, by APPEND and by LMTP."""
    watch, user = Watch(lab), lab.user()
    client = lab.imap(user)
    clean = [text.replace(b"\r", b"").replace(b"\n", b"") for text in ALL]
    for number, texts in enumerate((clean, [text for text in clean if b"\0" not in text])):
        message = b"".join(b"X-A%d: %s\r\n" % pair for pair in enumerate(texts))
        message += b"Subject: " + b" ".join(texts)[:900] + b"\r\n\r\n" + b"\r\n".join(texts) + b"\r\n"
        client.ok("APPEND INBOX ", (Lit8 if number == 0 else Lit)(message))
        client.ok("SELECT INBOX")
        got = client.ok("FETCH * (BODY.PEEK[] ENVELOPE BODYSTRUCTURE PREVIEW)").fetches()
        # Dovecot can't give NULs in a literal: it shows them as 0x80
        eq(list(got.values())[0]["BODY[]"], message.replace(b"\0", b"\x80"))
    eq(lab.lmtp().deliver(message, user)[user][0], 250)
    got = client.ok("NOOP") and client.ok("FETCH * BODY.PEEK[]").fetches()
    true(list(got.values())[0]["BODY[]"].endswith(message), "by LMTP")
    watch.check(lab.node(), user)


@only("pgbox")
@timeout(120)
def test_a_megabyte(lab):
    """A string of 1 MB in each place: refused; the next command is answered."""
    watch, user = Watch(lab), lab.user()
    for pieces in (("CREATE ", SyncLit(HUGE)), ("SELECT ", SyncLit(HUGE)), ("STATUS ", SyncLit(HUGE), " (UIDNEXT)"),
                   ('LIST "" ', SyncLit(HUGE)), ("SUBSCRIBE ", SyncLit(HUGE)), ("RENAME INBOX ", SyncLit(HUGE)),
                   ("SEARCH TEXT ", SyncLit(HUGE)), ("SETMETADATA INBOX (/private/comment ", SyncLit(HUGE), ")"),
                   ("GETMETADATA INBOX ", SyncLit(HUGE)), ("STORE 1 +FLAGS (", HUGE, ")"),
                   ("CREATE ", HUGE), ("CREATE ", Lit(HUGE)), ("SELECT ", Lit(HUGE))):
        client = lab.imap(user)
        client.ok("SELECT INBOX")
        try:
            reply = answered(client, *pieces)
            if reply.ok and pieces[0].startswith("SETMETADATA"):
                eq(client.ok("GETMETADATA INBOX /private/comment").one("METADATA")[1][1], HUGE)
            else:
                true(not reply.ok or pieces[0].startswith("SEARCH"), repr(reply))
            client.ok("NOOP")
        except ImapError as error:
            # Dovecot hangs up on a line without end, after BAD or BYE
            true(HUGE in pieces or Lit(HUGE) in pieces, "%r: %s" % (pieces[0], error))
            # which is lost if it closes the connection while there is more to send
            true(str(error).startswith(("send:", "receive:")) or any(line.startswith("< * BYE") or " BAD " in line for line in client.transcript),
                 "%s: %s" % (pieces[0], error))
    subject = b"Subject: " + HUGE + b"\r\n\r\nbody\r\n"
    client = lab.imap(user)
    client.ok("APPEND INBOX ", Lit(subject))
    client.ok("SELECT INBOX")
    got = client.ok("FETCH 1 (BODY.PEEK[] ENVELOPE)").fetches()[1]
    eq(got["BODY[]"], subject)
    watch.check(lab.node(), user)


@only("pgbox")
@timeout(120)
def test_lmtp_recipients(lab):
    """Users and extensions: delivered, or refused for good; never "later"."""
    watch, user = Watch(lab), lab.user()
    client = lab.lmtp()
    for text in [text for text in LINES + LONG]:
        client.command(b"MAIL FROM:<>")
        for address in (text, text + b"@example.org", user.encode() + b"+" + text, b'"%s"' % text):
            code, answer = client.command(b"RCPT TO:<" + address + b">")
            true(code == 250 or code // 100 == 5, "%r: %d %s" % (address, code, answer))
        client.command(b"RSET")
        client.command(b"MAIL FROM:<>")
        if client.command(b"RCPT TO:<" + user.encode() + b"+" + text + b">")[0] != 250:
            client.command(b"RSET")
            continue
        client.command(b"DATA")
        eq(client.command(PLAIN + b".")[0], 250, repr(text))
    watch.check(lab.node(), user)


def logins(node, name, password):
    """What LOGIN and AUTHENTICATE PLAIN say, each in a session of its own."""
    token = base64.b64encode(b"\0%s\0%s" % (name, password))
    for pieces in (("LOGIN ", Lit(name), " ", Lit(password)), ("AUTHENTICATE PLAIN ", token)):
        client = node.imap()
        yield client.cmd(*pieces)
        client.close()


@only("pgbox")
@timeout(240)
def test_login(lab):
    """User names and passwords where both are looked up in the database: IMAP, POP3, ManageSieve.

    Dovecot cuts a name at a NUL, and by default takes but a few characters in it."""
    node = sql_node(lab, "names", "host=%s port=5432 dbname=pgbox" % lab.cluster.socket, lambda text: text,
                    extra="auth_username_chars = " + NAME_CHARACTERS)
    # what Dovecot says of a password that isn't UTF-8
    node.expect_log("Could not escape string")
    lab.cluster.create_account("login", "right")
    watch = Watch(lab)
    for text in SQL[:3] + BROKEN[:1] + CONTROL[3:4] + NUL[:1] + [TEXT[2].encode(), LONG[0]]:
        for name, password in ((text, b"right"), (b"login", text)):
            for reply in logins(node, name, password):
                true(reply.status in ("NO", "BAD") and reply.text, "%r %r: %r" % (name, password, reply))
    for text in SQL[:1] + BROKEN[:1]:
        true(not pop3_login(node, text, b"right"), repr(text))
        true(not pop3_login(node, b"login", text), repr(text))
        true(not sieve_login(node, text, b"right"), repr(text))
    true(pop3_login(node, b"login", b"right") and sieve_login(node, b"login", b"right"), "the right one")
    watch.check(node)


def pop3_login(node, name, password):
    """Whether POP3 lets one in."""
    client = poplib.POP3("127.0.0.1", node.ports["pop3"], timeout=30)
    client.encoding = "latin-1"
    try:
        client.user(name.decode("latin-1"))
        client.pass_(password.decode("latin-1"))
        return True
    except poplib.error_proto:
        return False
    finally:
        client.close()


def sieve_login(node, name, password):
    """Whether ManageSieve lets one in."""
    with socket.create_connection(("127.0.0.1", node.ports["sieve"]), 30) as sock:
        lines = sock.makefile("rb")
        greeting = lines.readline()
        while not greeting.startswith((b"OK", b"NO", b"BYE")):
            greeting = lines.readline()
        token = base64.b64encode(b"\0%s\0%s" % (name, password))
        sock.sendall(b'AUTHENTICATE "PLAIN" "%s"\r\n' % token)
        return lines.readline().startswith(b"OK")


@only("pgbox")
@timeout(240)
def test_doveadm(lab):
    """Arguments of doveadm's commands, and of pgbox's."""
    watch, user = Watch(lab), lab.user()
    node = lab.node()
    node.expect_log("BUG: Master sent us more than")
    for text in (SQL[0], b"%s%n", TEXT[0].encode(), BROKEN[0], b"a\nb", LONG[2]):
        for args in ((b"mailbox", b"create", text), (b"mailbox", b"status", b"messages", text),
                     (b"pgbox", b"undelete", b"-m", text), (b"pgbox", b"undelete", b"-t", text, b"INBOX"),
                     (b"search", b"mailbox", text)):
            words = 2 if args[0] in (b"mailbox", b"pgbox", b"flags") else 1
            argv = [b"/usr/bin/doveadm", b"-c", node.conf.encode(), *args[:words], b"-u", user.encode(), *args[words:]]
            done = proc.run(argv, check=False)
            true(0 <= done.returncode < 128 and b"Panic" not in done.stderr,
                 "%r: %d %r" % (args, done.returncode, done.stderr))
            true(done.returncode == 0 or done.stderr, "%r: a failure has a text" % (args,))
        done = proc.run([b"/usr/bin/doveadm", b"-c", node.conf.encode(), b"mailbox", b"list", b"-u", text], check=False)
        true(0 <= done.returncode < 128, repr(text))
    client = lab.imap(user)
    made = listed(client)
    for name in (SQL[0], b"%s%n", mutf7(TEXT[0])):
        true(name in made, "%r in %r" % (name, made))
    watch.check(node, user, allowed="ERROR:  (account .* has no deleted mailbox|\"[^\"]*(\" can't be the name|$))")
