"""Bad weather: what was answered is what has happened.

pgbox only. Each command is run once undisturbed, to learn the statements it
sends. Then the link is cut at each of these, before the server gets it and
after, with the server staying away or not. A second node, which has no proxy
before it, tells what is there: OK means all of it, NO nothing or all."""

import poplib
import threading
import time

import proc
from imapclient import Lit, SyncLit, flags_of
from mails import PLAIN, simple
from tap import eq, only, timeout, true
from weather import eventually_ok, later, opened, patience, sent, stormy

BIG = simple(7, body="line of a large message\r\n" * 20000)
QUICK = patience(400, 3000) + """
protocol imap {
  imap_fetch_failure = no-after
}
"""
SIEVE = b"""require ["fileinto", "mailbox", "imap4flags"];
addflag "\\\\Flagged";
fileinto :create "lists";
"""
COMMANDS = {
    "APPEND": lambda c: c.cmd("APPEND INBOX (\\Seen) ", Lit(PLAIN)),
    "APPEND of a large message": lambda c: c.cmd("APPEND box ", Lit(BIG)),
    "MULTIAPPEND": lambda c: c.cmd("APPEND INBOX ", Lit(PLAIN), " (\\Seen) ", Lit(BIG)),
    "STORE": lambda c: c.cmd("STORE 1:2 +FLAGS (\\Flagged kw)"),
    "STORE UNCHANGEDSINCE": lambda c: c.cmd("STORE 1 (UNCHANGEDSINCE 99999999) +FLAGS (kw)"),
    "EXPUNGE": lambda c: c.cmd("EXPUNGE"),
    "COPY": lambda c: c.cmd("COPY 1:2 box"),
    "MOVE": lambda c: c.cmd("MOVE 1:2 box"),
    "CREATE": lambda c: c.cmd("CREATE fresh/child"),
    "RENAME": lambda c: c.cmd("RENAME box bax"),
    "DELETE": lambda c: c.cmd("DELETE box"),
    "SUBSCRIBE": lambda c: c.cmd("SUBSCRIBE box"),
    "SELECT": lambda c: c.cmd("SELECT box"),
    "STATUS": lambda c: c.cmd("STATUS box (MESSAGES UNSEEN)"),
    "LIST": lambda c: c.cmd('LIST "" * RETURN (STATUS (MESSAGES))'),
    "FETCH": lambda c: c.cmd("FETCH 1:* (FLAGS BODY.PEEK[])"),
    "SEARCH": lambda c: c.cmd("SEARCH BODY nothing"),
    "NOOP": lambda c: c.cmd("NOOP"),
}


def gusty(lab):
    """(node, its proxy): as stormy(), with a node that gives up sooner."""
    return stormy(lab, "gusty", QUICK)


def started(lab, node):
    """(user, client) with three messages, one of them deleted."""
    user, c = opened(lab, node, others=[lab.node()])
    c.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
    return user, c


def observe(lab, user):
    """What the user has, by another node: names and messages."""
    d = lab.imap(user)
    names = {item.data[2] for item in d.ok('LIST "" *').all("LIST")}
    state = [sorted(names), sorted(item.data[2] for item in d.ok('LSUB "" *').all("LSUB"))]
    for name in sorted(names):
        reply = d.cmd("EXAMINE ", Lit(name))
        # a parent that is no mailbox can't be examined
        got = d.ok("FETCH 1:* (FLAGS BODY.PEEK[])").fetches() if reply.ok and reply.number("EXISTS") else {}
        state.append(sorted((sorted(flags_of(item["FLAGS"]) - {"\\Recent"}), hash(item["BODY[]"]))
                            for item in got.values()))
    d.logout()
    return state


def judge(what, reply, state, before, after):
    """The reply and what has happened fit together."""
    if reply.ok and not reply.all("NO"):
        true(state == after, "%s: said OK, but it hasn't happened" % what)
    else:
        if not reply.ok:
            later(reply, what)
        true(state in (before, after), "%s: half done after %r" % (what, reply))


def sweep(lab, name, refuse):
    """Cut the command `name` at each of its statements; how often it was."""
    node, proxy = gusty(lab)
    command, cuts = COMMANDS[name], 0
    user, c = started(lab, node)
    before = observe(lab, user)
    proxy.listen()
    true(command(c).ok, name)
    patterns = proxy.heard()
    after = observe(lab, user)
    c.logout()
    for pattern in patterns:
        for late in (False, True):
            what = "%s, cut %s %r" % (name, "after" if late else "at", pattern)
            user, c = started(lab, node)
            proxy.cut_at(pattern, late, refuse)
            reply = command(c)
            cuts += proxy.sprung.is_set()
            proxy.disarm()
            state = observe(lab, user)
            judge(what, reply, state, before, after)
            eventually_ok(c, "NOOP")
            if not reply.ok and state == before:
                proc.wait_for(lambda: command(c).ok, 5, what + ": afterwards")
                true(observe(lab, user) == after, what + ": afterwards")
            c.logout()
    return cuts


@only("pgbox")
@timeout(240)
def test_cut_anywhere(lab):
    """The link is cut once at each statement of each command."""
    for name in COMMANDS:
        true(sweep(lab, name, False) > 0 or name in ("FETCH", "SEARCH"), name + " was cut")


@only("pgbox")
@timeout(300)
def test_gone_anywhere(lab):
    """The server goes away at each statement of each command."""
    for name in COMMANDS:
        sweep(lab, name, True)


def back_soon(proxy):
    """The server is back a moment after the trap has sprung."""
    proxy.sprung.wait(60)
    time.sleep(0.7)
    proxy.refuse(False)


@only("pgbox")
def test_doubt_is_settled(lab):
    """The answer to a commit is lost and the server away for a moment: OK, once."""
    node, proxy = stormy(lab)
    for name, pattern in (("APPEND", sent(lab, "message-save")), ("APPEND of a large message", b"COMMIT"),
                          ("COPY", sent(lab, "message-append")), ("MOVE", sent(lab, "message-append"))):
        user, c = started(lab, node)
        before = observe(lab, user)
        proxy.cut_at(pattern, True, True)
        sunshine = threading.Thread(target=back_soon, args=(proxy,))
        sunshine.start()
        reply = COMMANDS[name](c)
        sunshine.join()
        true(proxy.sprung.is_set(), name + " was cut")
        proxy.disarm()
        true(reply.ok, "%s: %r" % (name, reply))
        true(observe(lab, user) != before, name)
        c.logout()


def lmtp_state(lab, user):
    """(messages in INBOX, messages in lists)"""
    counts = []
    d = lab.imap(user)
    for name in ("INBOX", "lists"):
        reply = d.cmd("EXAMINE " + name)
        counts.append(reply.number("EXISTS") if reply.ok else 0)
    d.logout()
    return tuple(counts)


def sieved(lab, node, script):
    """A user, with a script that files everything into `lists` or without."""
    user = lab.user(node, lab.node())
    if script:
        sieve = lab.sieve(user, node)
        sieve.put(b"s", SIEVE)
        sieve.activate(b"s")
        sieve.close()
    return user


@only("pgbox")
@timeout(150)
def test_lmtp_anywhere(lab):
    """LMTP, plain and by Sieve: 250 means kept where it belongs, 4xx not or once."""
    node, proxy = gusty(lab)
    for script in (False, True):
        wanted = (0, 1) if script else (1, 0)
        proxy.listen()
        user = sieved(lab, node, script)
        eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 250)
        eq(lmtp_state(lab, user), wanted)
        for pattern in proxy.heard():
            for late, refuse in ((False, False), (True, False), (False, True), (True, True)):
                what = "sieve %s, %r late %s refuse %s" % (script, pattern, late, refuse)
                user = sieved(lab, node, script)
                proxy.cut_at(pattern, late, refuse)
                code, text = lab.lmtp(node).deliver(PLAIN, user)[user]
                proxy.disarm()
                state = lmtp_state(lab, user)
                if code == 250:
                    eq(state, wanted, what)
                else:
                    true(400 <= code < 500, what + text)
                    true(state in ((0, 0), wanted), "%s: %s %r" % (what, text, state))


@only("pgbox")
@timeout(90)
def test_pop3_anywhere(lab):
    """POP3: RETR is whole or refused; QUIT says OK when the messages are gone."""
    node, proxy = gusty(lab)
    heard = pop3_session(lab, node, proxy, None)[2]
    for pattern in heard:
        for late, refuse in ((False, False), (False, True), (True, True)):
            body, quit_ok, _, user = pop3_session(lab, node, proxy, (pattern, late, refuse))
            what = "%r late %s refuse %s" % (pattern, late, refuse)
            true(body in (None, PLAIN), what)
            left = lab.imap(user).ok("EXAMINE INBOX").number("EXISTS")
            true(left == 1 if quit_ok else left in (1, 2), "%s: QUIT %s, %d left" % (what, quit_ok, left))


def pop3_session(lab, node, proxy, trap):
    """(body or None, whether QUIT said OK after DELE, statements, user)"""
    user = lab.user(node, lab.node())
    c = lab.imap(user)
    for _ in range(2):
        c.ok("APPEND INBOX ", Lit(PLAIN))
    c.logout()
    proxy.listen()
    if trap:
        proxy.cut_at(*trap)
    body, quit_ok = None, False
    try:
        p = poplib.POP3("127.0.0.1", node.ports["pop3"], timeout=30)
        p.user(user)
        p.pass_("pw")
        body = b"\r\n".join(p.retr(1)[1]) + b"\r\n"
        p.dele(1)
        quit_ok = p.quit().startswith(b"+OK")
    except (poplib.error_proto, OSError):
        pass
    proxy.disarm()
    return body, quit_ok, proxy.heard(), user


@only("pgbox")
def test_doveadm_down(lab):
    """doveadm: says so by its exit status, and changes nothing."""
    node, proxy = gusty(lab)
    user, _ = started(lab, node)
    before = observe(lab, user)
    proxy.refuse()
    for command in (("fetch", "text", "mailbox", "INBOX"), ("search", "all"), ("mailbox", "list"),
                    ("mailbox", "status", "messages", "INBOX"), ("expunge", "mailbox", "INBOX", "all"),
                    ("flags", "add", "\\Seen", "mailbox", "INBOX", "all"),
                    ("copy", "box", "mailbox", "INBOX", "all"), ("mailbox", "create", "more"),
                    ("force-resync", "INBOX"), ("purge",)):
        done = node.doveadm(*command, user=user, check=False)
        true(0 < done.returncode < 128, "doveadm %r: exit %d" % (command, done.returncode))
    proxy.refuse(False)
    true(observe(lab, user) == before, "nothing has changed")


@only("pgbox")
def test_cut_during_fetch(lab):
    """The link is cut while a large body is being sent: it goes on."""
    node, proxy = gusty(lab)
    user, c = opened(lab, node, 0)
    big = simple(1, body="0123456789abcdef\r\n" * 700000)
    c.ok("APPEND INBOX ", Lit(big))
    d = lab.imap(user, node)
    d.ok("SELECT INBOX")
    for late in (False, True):
        proxy.cut_at(sent(lab, "body-chunks"), late)
        got = d.ok("FETCH 1 BODY.PEEK[]").fetches()[1]["BODY[]"]
        true(proxy.sprung.is_set(), "was cut")
        true(got == big, "all of it")
    d.send_raw(b"big FETCH 1 BODY.PEEK[]\r\n")
    time.sleep(0.05)
    proxy.cut()
    true(d.finish("big").fetches()[1]["BODY[]"] == big, "cut anywhere")


@only("pgbox")
def test_append_left_unfinished(lab):
    """The client goes away, or the server, in the middle of a literal."""
    node, proxy = gusty(lab)
    user, c = started(lab, node)
    before = observe(lab, user)
    d = lab.imap(user, node)
    d.send_raw(b"x APPEND INBOX {900000}\r\n")
    d.continuation()
    d.send_raw(b"Subject: half\r\n\r\n" + b"x" * 300000)
    d.close()
    proxy.refuse()
    later(c.cmd("APPEND INBOX ", SyncLit(BIG)), "APPEND")
    # A message that is too short, then one more.
    true(not c.cmd("APPEND INBOX ", Lit(PLAIN), " {2+}\r\nab (").ok, "APPEND with a broken end")
    proxy.refuse(False)
    true(observe(lab, user) == before, "nothing of it")
    eventually_ok(c, "NOOP")
    c.ok("APPEND INBOX ", Lit(BIG))
