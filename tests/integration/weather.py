"""Bad weather: PostgreSQL away, dying, stalling, misconfigured.

pgbox only. Each node of these tests reaches PostgreSQL through a proxy that
can refuse, cut and stall; where a real server's death is the point, the
server is stopped or killed."""

import os
import re
import time

import proc
from imapclient import ImapError, Lit, flags_of
from mails import MIXED, PLAIN, fill, simple
from pgproxy import Proxy
from tap import eq, has, only, timeout, true

# Answers that say: not now, try again later.
LATER = {"UNAVAILABLE", "SERVERBUG", "INUSE"}


def patience(connect, query):
    """Settings: how many milliseconds the plugin waits. Longer under valgrind."""
    slow = 8 if os.environ.get("PGBOX_TEST_VALGRIND") else 1
    return """
plugin {
  pgbox_connect_timeout = %d msecs
  pgbox_query_timeout = %d msecs
}
""" % (connect * slow, query * slow)


SOON = patience(2000, 3000)


def stormy(lab, name="stormy", extra=SOON):
    """(node, its proxy): a node that reaches PostgreSQL through a proxy. With a
    pooler the weather is between that and PostgreSQL."""
    if name not in lab.nodes:
        proxy = Proxy(os.path.join(lab.dir, "proxy-" + name), lab.cluster.socket)
        lab.node(name, extra=extra, **lab.way_by(name, proxy.folder)).proxy = proxy
    node = lab.nodes[name]
    node.proxy.disarm()
    # Errors are expected here; Panic and Fatal never are.
    node.expect_log("Error: ")
    return node, node.proxy


def calm(lab, proxy):
    """PostgreSQL is back, and a pooler has noticed (server_login_retry)."""
    proxy.refuse(False)
    if lab.is_pooled:
        time.sleep(1.1)


def sent(lab, name):
    """A pattern for cut_at(): the statement of sql/stmt, sent by name or as it is."""
    if not lab.is_pooled:
        return b"pgbox-%s\0" % name.encode()
    with open(os.path.join(proc.ROOT, "sql", "stmt", name + ".sql"), "rb") as handle:
        return b"".join(line for line in handle if not line.startswith(b"--"))[:80]


def opened(lab, node, count=3, others=()):
    """(user, client) with messages in the selected INBOX and a `box`."""
    user = lab.user(node, *others)
    c = lab.imap(user, node)
    fill(c, "INBOX", count)
    c.ok("CREATE box")
    c.ok("SELECT INBOX")
    return user, c


def later(reply, what=""):
    """The command was refused for now, and says so."""
    eq(reply.status, "NO", what)
    true((reply.code or "").split(" ")[0] in LATER, "%s: [%s] %s" % (
        what, reply.code, reply.text))
    true(not re.search(r"sql|postgres|/tmp|SELECT |host", reply.text, re.I),
         "client text: " + reply.text)


def eventually_ok(client, line, seconds=15):
    """The same session's command works again within so many seconds."""
    return proc.wait_for(lambda: ok_or_none(client.cmd(line)), seconds, line)


def ok_or_none(reply):
    """The reply if it is OK; NOOP says OK beside an untagged NO."""
    return reply if reply.ok and not reply.all("NO") else None


COMMANDS = ["APPEND", "STORE 1 +FLAGS (\\Flagged)", "STORE 1:3 +FLAGS.SILENT (kw)",
            "COPY 1:2 box", "MOVE 1 box", "UID EXPUNGE 3", "CREATE fresh",
            "RENAME box bax", "DELETE box", "SUBSCRIBE box", "STATUS box (MESSAGES)",
            'LIST "" *', "FETCH 2 BODY.PEEK[]"]


def run(client, command):
    """Run a command of COMMANDS; None if the session was cut off."""
    try:
        if command == "APPEND":
            return client.cmd("APPEND INBOX ", Lit(PLAIN))
        return client.cmd(command)
    except ImapError:
        return None


@only("pgbox")
@timeout(200)
def test_down_each_command(lab):
    """PostgreSQL unreachable: each command is refused; then it works."""
    node, proxy = stormy(lab)
    for command in COMMANDS:
        _, c = opened(lab, node)
        c.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
        proxy.refuse()
        reply = run(c, command)
        # Dovecot never answers NO to a FETCH that has begun: it says BYE.
        if reply is None and command.startswith("FETCH"):
            proxy.refuse(False)
            continue
        true(reply is not None, command + ": session cut off")
        if not (reply.ok and command.startswith(("FETCH", "LIST", "STATUS"))):
            later(reply, command)
        proxy.refuse(False)
        eventually_ok(c, "NOOP")
        reply = run(c, command)
        true(reply.ok, "%s afterwards: %r" % (command, reply))
        c.close()


@only("pgbox")
@timeout(120)
def test_down_nothing_half_done(lab):
    """What was refused has not happened."""
    node, proxy = stormy(lab)
    user, c = opened(lab, node)
    proxy.refuse()
    for command in COMMANDS[:10]:
        run(c, command)
    calm(lab, proxy)
    d = lab.imap(user, node)
    eq({item.data[2] for item in d.ok('LIST "" *').all("LIST")}, {b"INBOX", b"box"})
    eq(d.ok("SELECT box").number("EXISTS"), 0)
    eq(d.ok("SELECT INBOX").number("EXISTS"), 3)
    got = d.ok("FETCH 1:* FLAGS").fetches()
    eq([flags_of(item["FLAGS"]) - {"\\Recent"} for item in got.values()], [set()] * 3)


@only("pgbox")
def test_down_at_login(lab):
    """Login or the first command says UNAVAILABLE; nobody waits for ever."""
    node, proxy = stormy(lab)
    user = lab.user(node)
    proxy.refuse()
    started = time.monotonic()
    try:
        c = lab.imap(user, node)
        later(c.cmd("SELECT INBOX"), "SELECT")
    except (AssertionError, ImapError) as error:
        true("UNAVAILABLE" in str(error) or "closed" in str(error), str(error))
    true(time.monotonic() - started < 15, "bounded")
    calm(lab, proxy)
    lab.imap(user, node).ok("SELECT INBOX")


@only("pgbox")
@timeout(120)
def test_stall(lab):
    """PostgreSQL answers no more: timeouts end it, the session lives on."""
    node, proxy = stormy(lab)
    for command in ("STORE 1 +FLAGS (\\Seen)", "NOOP", "APPEND", "COPY 1 box"):
        _, c = opened(lab, node)
        proxy.stall()
        started = time.monotonic()
        reply = run(c, command)
        true(time.monotonic() - started < 20, "%s took too long" % command)
        true(reply is not None, command + ": session cut off")
        if command != "NOOP":
            later(reply, command)
        proxy.stall(False)
        proxy.cut()
        eventually_ok(c, "STORE 2 +FLAGS (\\Seen)")
        c.close()


@only("pgbox")
@timeout(120)
def test_cut_while_committing(lab):
    """The link dies as COMMIT is sent, and after it: never twice, never lost."""
    node, proxy = stormy(lab)
    for after in (False, True):
        for pattern in (b"COMMIT", b"commit"):
            user, c = opened(lab, node, 0)
            proxy.cut_at(pattern, after)
            reply = run(c, "APPEND")
            if not proxy.sprung.is_set():
                proxy.disarm()
                continue
            proxy.disarm()
            true(reply is not None, "session cut off")
            d = lab.imap(user, node)
            count = d.ok("SELECT INBOX").number("EXISTS")
            if reply.ok:
                eq(count, 1, "OK means that it is there, once (after: %s)" % after)
            else:
                later(reply, "APPEND")
                true(count <= 1, "at most once")


@only("pgbox")
@timeout(120)
def test_lmtp_down(lab):
    """LMTP answers 4xx, keeps nothing, and delivers when it is back."""
    node, proxy = stormy(lab)
    user = lab.user(node)
    lab.imap(user, node).ok("SELECT INBOX")
    client = lab.lmtp(node)
    proxy.refuse()
    code, text = client.deliver(PLAIN, user)[user]
    true(400 <= code < 500, text)
    true(not re.search(r"sql|postgres|/tmp", text, re.I), text)
    proxy.refuse(False)
    proc.wait_for(lambda: lab.lmtp(node).deliver(PLAIN, user)[user][0] == 250, 15, "delivery")
    eq(lab.imap(user, node).ok("SELECT INBOX").number("EXISTS"), 1)


@only("pgbox")
@timeout(120)
def test_lmtp_never_wrong_folder(lab):
    """An outage during a Sieve fileinto puts nothing into INBOX."""
    node, proxy = stormy(lab)
    user = lab.user(node)
    sieve = lab.sieve(user, node)
    sieve.put(b"s", b'require ["fileinto", "mailbox"]; fileinto :create "lists";\r\n')
    sieve.activate(b"s")
    sieve.close()
    lab.imap(user, node).ok("SELECT INBOX")
    eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 250)
    for weather in (proxy.refuse, lambda: proxy.cut_at(b"message_append"),
                    lambda: proxy.cut_at(b"\0message-append"), lambda: proxy.cut_at(b"BEGIN"),
                    lambda: proxy.cut_at(b"begin"), proxy.stall):
        weather()
        code, text = lab.lmtp(node).deliver(PLAIN, user)[user]
        true(code == 250 or 400 <= code < 500, text)
        proxy.disarm()
        proxy.cut()
    c = lab.imap(user, node)
    eventually_ok(c, "SELECT INBOX")
    eq(c.ok("SELECT INBOX").number("EXISTS"), 0, "INBOX stays empty")
    true(c.ok("SELECT lists").number("EXISTS") >= 1, "lists")


@only("pgbox")
@timeout(120)
def test_lmtp_some_recipients(lab):
    """The link dies between recipients: 250 means kept, 4xx means not."""
    node, proxy = stormy(lab)
    users = [lab.user(node) for _ in range(6)]
    proxy.cut_at(b"COMMIT")
    answers = lab.lmtp(node).deliver(MIXED, *users)
    proxy.disarm()
    for user in users:
        code = answers[user][0]
        true(code == 250 or 400 <= code < 500, answers[user][1])
        count = lab.imap(user, node).ok("SELECT INBOX").number("EXISTS")
        eq(count, 1 if code == 250 else 0, answers[user][1])


@only("pgbox")
@timeout(120)
def test_restart_under_sessions(lab):
    """A real restart: open sessions go on, warm fetches need nothing."""
    node, _ = stormy(lab)
    _, c = opened(lab, node, 5)
    c.ok("FETCH 1:* (ENVELOPE BODY.PEEK[])")
    for way in (lab.cluster.restart, crash(lab), lab.cluster.terminate_backends):
        way()
        eventually_ok(c, "NOOP")
        c.ok("STORE 1 +FLAGS (\\Seen)")
        eq(len(c.ok("FETCH 1:* (UID BODY.PEEK[])").fetches()), 5)
        c.ok("STORE 1 -FLAGS (\\Seen)")


def crash(lab):
    """kill -9 of the whole server, and a new start."""
    def way():
        lab.cluster.kill()
        lab.cluster.start()
    return way


@only("pgbox")
@timeout(120)
def test_stopped_server(lab):
    """The server is really stopped while sessions are open and idling."""
    node, _ = stormy(lab)
    user, c = opened(lab, node)
    idler = lab.imap(user, node)
    idler.ok("SELECT INBOX")
    tag = idler.idle()
    lab.cluster.stop()
    try:
        later(c.cmd("STORE 1 +FLAGS (\\Seen)"), "STORE")
        later(c.cmd("APPEND INBOX ", Lit(PLAIN)), "APPEND")
    finally:
        lab.cluster.start()
    eventually_ok(c, "NOOP")
    c.ok("APPEND INBOX ", Lit(PLAIN))
    idler.wait_untagged(lambda item: item.name == "EXISTS" and item.number == 4, 30)
    true(idler.done(tag).ok, "IDLE ends well")


@only("pgbox")
@timeout(120)
def test_dying_during_fetch(lab):
    """The link dies in the middle of a large FETCH: no false OK, no wrong bytes."""
    node, proxy = stormy(lab)
    user, c = opened(lab, node, 0)
    big = simple(1, body="0123456789abcdef\r\n" * 500000)
    c.ok("APPEND INBOX ", Lit(big))
    c = lab.imap(user, node)
    c.ok("SELECT INBOX")
    c.send_raw(b"big FETCH 1 BODY.PEEK[]\r\n")
    proc.wait_for(lambda: proxy.open_connections() > 0, 5, "the first chunk")
    time.sleep(0.05)
    proxy.refuse()
    try:
        reply = c.finish("big")
        got = reply.fetches().get(1, {}).get("BODY[]")
        if reply.ok:
            true(got == big, "OK means all of it")
        else:
            later(reply, "FETCH")
    except ImapError as error:
        has("closed", str(error), "a literal that can't be finished ends the session")
    calm(lab, proxy)
    d = lab.imap(user, node)
    d.ok("SELECT INBOX")
    true(d.ok("FETCH 1 BODY.PEEK[]").fetches()[1]["BODY[]"] == big, "unharmed")


@only("pgbox")
@timeout(60)
def test_pop3_down(lab):
    """POP3: an error at login or QUIT, no mail lost."""
    import poplib
    node, proxy = stormy(lab)
    user, _ = opened(lab, node)
    p = poplib.POP3("127.0.0.1", node.ports["pop3"], timeout=30)
    p.user(user)
    p.pass_("pw")
    p.dele(1)
    proxy.refuse()
    try:
        p.quit()
        quit_ok = True
    except poplib.error_proto:
        quit_ok = False
    calm(lab, proxy)
    true(not quit_ok, "QUIT may not say OK")
    eq(lab.imap(user, node).ok("SELECT INBOX").number("EXISTS"), 3)


# -- misconfiguration: one line tells the administrator what to do ---------

def complaint(lab, name, wanted, account=None, **kwargs):
    """A node with a fault: refused for now, and the log says why, once."""
    if name not in lab.nodes:
        lab.node(name, extra=SOON, **kwargs)
    node = lab.nodes[name]
    node.expect_log("Error: ")
    user = account or lab.user(node)
    try:
        c = lab.imap(user, node)
        for command in ("SELECT INBOX", 'LIST "" *', "STATUS INBOX (MESSAGES)", "CREATE x"):
            later(c.cmd(command), name)
    except (AssertionError, ImapError) as error:
        true("UNAVAILABLE" in str(error) or "closed" in str(error), str(error))
    try:
        proc.wait_for(lambda: any(re.search(wanted, line, re.I)
                                  for line in complaints(node)), 3, "log")
    except proc.LabError:
        raise AssertionError("no line with /%s/ in\n%s" % (
            wanted, "\n".join(complaints(node))))
    time.sleep(0.2)
    lines = complaints(node)
    eq(len(lines), 1, "one line:\n" + "\n".join(lines))
    return node, lines


def complaints(node):
    """What the node logged as errors and warnings in this test."""
    return [line for line in node.log_since_mark().splitlines()
            if re.search("Error: |Warning: ", line)]


@only("pgbox")
def test_wrong_password(lab):
    """The database refuses the role."""
    database = lab.cluster.uri("pgbox_dovecot")
    node = lab.node("badpass", extra=SOON, database=database)
    node.write_pgpass("wrong")
    _, lines = complaint(lab, "badpass", "password")
    true(all("wrong" not in line for line in lines), "no password in the log")


@only("pgbox")
def test_missing_schema(lab):
    """A database without the schema: the line names pgbox-schema."""
    complaint(lab, "noschema", "pgbox-schema",
              database=lab.cluster.uri("pgbox_dovecot", "postgres"))


@only("pgbox")
def test_missing_database(lab):
    """A database that isn't there."""
    complaint(lab, "nodb", "does not exist|doesn't exist",
              database=lab.cluster.uri("pgbox_dovecot", "nosuchdb"))


@only("pgbox")
def test_no_server(lab):
    """Nothing listens there."""
    complaint(lab, "noserver", "connect",
              database="host=/tmp/pgbox-nowhere port=5432 dbname=pgbox user=pgbox_dovecot")


@only("pgbox")
def test_missing_setting(lab):
    """pgbox_db empty: the line names the setting."""
    complaint(lab, "nosetting", "pgbox_db", database="")


@only("pgbox")
def test_newer_schema(lab):
    """A schema from the future is refused with its number."""
    lab.cluster.psql("CREATE DATABASE future TEMPLATE template0", dbname="postgres")
    lab.cluster.schema_tool("install", dbname="future")
    lab.cluster.psql("INSERT INTO pgbox.schema_version (version, name, sha256) "
                     "VALUES (999, '0999-future', 'x')", dbname="future")
    lab.cluster.psql("SELECT pgbox.account_create('u1000')", dbname="future")
    complaint(lab, "future", "999|newer", "u1000",
              database=lab.cluster.uri("pgbox_dovecot", "future"))


@only("pgbox")
def test_older_schema(lab):
    """A schema from before there was a check."""
    lab.cluster.psql("CREATE DATABASE past TEMPLATE template0", dbname="postgres")
    lab.cluster.schema_tool("install", dbname="past")
    lab.cluster.psql("DROP FUNCTION pgbox.schema_check", dbname="past")
    complaint(lab, "past", "pgbox-schema", "u1000",
              database=lab.cluster.uri("pgbox_dovecot", "past"))


@only("pgbox")
def test_permission_denied(lab):
    """A grant that was taken away."""
    lab.cluster.psql("CREATE DATABASE denied TEMPLATE template0", dbname="postgres")
    lab.cluster.schema_tool("install", dbname="denied")
    lab.cluster.psql("REVOKE USAGE ON SCHEMA pgbox FROM pgbox_dovecot", dbname="denied")
    lab.cluster.psql("SELECT pgbox.account_create('u1000')", dbname="denied")
    complaint(lab, "denied", "permission denied", "u1000",
              database=lab.cluster.uri("pgbox_dovecot", "denied"))
