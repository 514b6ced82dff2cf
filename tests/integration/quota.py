"""Quota: what Dovecot shows and refuses is what the database counts and allows.

Sessions are opened before limits change: figures are true at each moment, not
at login."""

import os
import socket
import threading

import proc
from imapclient import Lit
from mails import fill, multiappend, simple
from meter import Meter
from namespaces import ACL_PLUGINS
from roundtrips import PULL, fixed
from tap import eq, has, only, timeout, true

# what nodes are configured to, for accounts without limits of their own
DEFAULT_BYTES = 1 << 30
BIG = simple(1, body="q" * 60000 + "\r\n")
FULL = "mailbox for user is full"
SIEVE = b'require "fileinto"; fileinto "box";\r\n'


def nodes(lab):
    """Two of them; user+box is a mailbox."""
    return [lab.node(name, extra="lmtp_save_to_detail_mailbox = yes\n") for name in ("quota1", "quota2")]


def bare(lab):
    """A node whose Dovecot doesn't know of quota: the database alone refuses."""
    return lab.node("bare", plugins="")


def set_quota(lab, user, messages="NULL", size="NULL"):
    """account_set_quota."""
    lab.cluster.psql("SELECT pgbox.account_set_quota('%s', %s, %s)" % (user, messages, size))


def kilobytes(size):
    """As Dovecot rounds it."""
    return (size + 1023) // 1024


def truth(lab, user):
    """What the database says: {resource: (used, limit or None)}."""
    row, = lab.cluster.psql(
        "SELECT o.messages, o.bytes, u.messages, u.bytes, q.account_id IS NOT NULL, o.quota_messages, o.quota_bytes"
        " FROM pgbox.account_overview AS o CROSS JOIN LATERAL pgbox.quota_usage(o.account_id) AS u"
        " LEFT JOIN pgbox.account_quota AS q USING (account_id) WHERE o.account = '%s'" % user)
    eq(row[:2], row[2:4], "account_overview and quota_usage")
    messages, size = (int(limit) if limit else None for limit in row[5:])
    if row[4] == "f":
        messages, size = None, DEFAULT_BYTES
    # a limit of 0 Dovecot can't say
    shown = [limit and max(limit, 1) if limit != 0 else 1 for limit in (size, messages)]
    return {"STORAGE": (kilobytes(int(row[1])), shown[0] and kilobytes(shown[0])),
            "MESSAGE": (int(row[0]), shown[1])}


def by_imap(client, root='"User quota"'):
    """What GETQUOTA says; it is silent about what has no limit."""
    found = {}
    for item in client.ok("GETQUOTA ", root).all("QUOTA"):
        words = [word.decode() for word in item.data[1]]
        found.update({words[n]: (int(words[n + 1]), int(words[n + 2])) for n in range(0, len(words), 3)})
    return found


def by_root(client, mailbox="INBOX"):
    """The same by GETQUOTAROOT."""
    reply = client.ok("GETQUOTAROOT ", mailbox)
    words = [word.decode() for item in reply.all("QUOTA") for word in item.data[1]]
    return {words[n]: (int(words[n + 1]), int(words[n + 2])) for n in range(0, len(words), 3)}


def by_doveadm(node, user):
    """What doveadm quota get says."""
    lines = node.doveadm("quota", "get", user=user, flags=("-f", "tab")).stdout.decode().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return {row[1]: (int(row[2]), None if row[3] == "-" else int(row[3])) for row in rows}


def counting(lab):
    """A node with Dovecot's own backend "count"."""
    return lab.node("quotacount", extra="plugin {\n  quota = count:User quota\n}\n")


def agree(lab, user, clients, what):
    """Everybody says what the database says; "count" as far as usage goes."""
    wanted = truth(lab, user)
    limited = {name: figures for name, figures in wanted.items() if figures[1] is not None}
    for client in clients:
        eq(by_imap(client), limited, "GETQUOTA after " + what)
        eq(by_root(client), limited, "GETQUOTAROOT after " + what)
    for node in nodes(lab):
        eq(by_doveadm(node, user), wanted, "doveadm quota get after " + what)
    used = {name: figures[0] for name, figures in wanted.items()}
    eq({name: figures[0] for name, figures in by_doveadm(counting(lab), user).items()}, used, "count after " + what)
    return wanted


@only("pgbox")
@timeout(120)
def test_figures_agree(lab):
    """GETQUOTA, GETQUOTAROOT, doveadm on two nodes, account_overview: after all that changes them."""
    both = nodes(lab)
    user = lab.user(*both, counting(lab))
    one, two = clients = [lab.imap(user, node) for node in both]
    seen = []

    def step(what, *lines, sql=None):
        for line in lines:
            one.ok(*line) if isinstance(line, tuple) else one.ok(line)
        if sql:
            lab.cluster.psql(sql)
        seen.append(agree(lab, user, clients, what))
        return seen[-1]

    step("nothing")
    step("APPEND", ("APPEND INBOX ", Lit(BIG)), ("APPEND INBOX ", Lit(simple(2))))
    step("CREATE", "CREATE a/b/c", "CREATE box")
    eq(step("COPY", "SELECT INBOX", "COPY 1:2 a/b/c")["MESSAGE"][0], 4)
    eq(step("MOVE", "MOVE 2 box")["MESSAGE"][0], 4)
    eq(step("EXPUNGE", "STORE 1 +FLAGS.SILENT (\\Deleted)", "EXPUNGE")["MESSAGE"][0], 3)
    step("STORE elsewhere", "SELECT box", "STORE 1 +FLAGS (\\Seen)")
    lab.lmtp(both[1]).deliver(simple(5), user)
    eq(step("LMTP on the other node")["MESSAGE"][0], 4)
    step("RENAME", "RENAME a x")
    account = "(SELECT account_id FROM pgbox.account WHERE name = '%s')" % user
    mailbox = "(SELECT mailbox_id FROM pgbox.mailbox WHERE name = '%s' AND account_id = " + account + ")"
    eq(step("limits", sql="SELECT pgbox.account_set_quota('%s', 100, 1000000)" % user)["MESSAGE"], (4, 100))
    eq(step("INSERT", sql="INSERT INTO pgbox.message (mailbox_id, content_id) SELECT mailbox_id, content_id"
            " FROM pgbox.message WHERE mailbox_id = " + mailbox % "x/b/c")["MESSAGE"], (6, 100))
    eq(step("DELETE FROM message", sql="DELETE FROM pgbox.message WHERE uid = 1 AND mailbox_id = "
            + mailbox % "x/b/c")["MESSAGE"], (5, 100))
    eq(step("DELETE", "UNSELECT", "DELETE box")["MESSAGE"], (4, 100))
    eq(step("deletion by SQL", sql="UPDATE pgbox.mailbox SET deleted_at = now() WHERE mailbox_id = "
            + mailbox % "x/b/c")["MESSAGE"], (1, 100))
    eq(step("undeletion", sql="UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = "
            + mailbox % "x/b/c")["MESSAGE"], (4, 100))
    for messages, size in (("3", "NULL"), ("NULL", "70000"), ("0", "0"), ("9223372036854775807", "9223372036854775807"),
                           ("NULL", "9223372036854775807"), ("NULL", "1"), ("NULL", "NULL"), ("2000000000000", "NULL")):
        step("limits of %s, %s" % (messages, size),
             sql="SELECT pgbox.account_set_quota('%s', %s, %s)" % (user, messages, size))
    for node in both:
        node.doveadm("quota", "recalc", user=user)
    eq(step("recalc"), seen[-1])
    two.logout()
    eq(agree(lab, user, [lab.imap(user, both[1])], "a new login"), seen[-1])


@only("pgbox")
def test_figures_in_one_batch(lab):
    """Commands that come in one packet see what those before them did."""
    node = nodes(lab)[0]
    user = lab.user(node)
    set_quota(lab, user, "100")
    c = lab.imap(user, node)
    c.ok("CREATE box")
    fill(c, "box", 3)
    c.send_raw(b"x1 GETQUOTA \"User quota\"\r\nx2 DELETE box\r\nx3 GETQUOTA \"User quota\"\r\n"
               b"x4 APPEND INBOX {4+}\r\na: b\r\nx5 GETQUOTA \"User quota\"\r\n")
    replies = [c.finish(tag) for tag in ("x1", "x2", "x3", "x4", "x5")]
    eq([reply.one("QUOTA")[1][1:] for reply in replies[::2]], [[b"3", b"100"], [b"0", b"100"], [b"1", b"100"]])


@only("pgbox")
def test_rules(lab):
    """Limits of the account replace the rule "?", and the rule "*" replaces them in what Dovecot shows."""
    both = nodes(lab)
    plain, ruled = lab.user(*both), lab.user(*both, fields="userdb_quota_rule=*:messages=7")
    for user, before, after in ((plain, {"STORAGE": (0, 1 << 20)}, {"MESSAGE": (0, 5)}),
                                (ruled, {"MESSAGE": (0, 7)}, {"MESSAGE": (0, 7)})):
        c = lab.imap(user, both[0])
        eq(by_imap(c), before)
        set_quota(lab, user, "5")
        eq(by_imap(c), after)
        fill(c, "INBOX", 5)
        eq(c.no("APPEND INBOX ", Lit(simple(6))).code, "OVERQUOTA")
        set_quota(lab, user)
        eq(list(by_imap(c)), list(before))


@only("pgbox")
@timeout(120)
def test_imap_over_quota(lab):
    """APPEND, MULTIAPPEND, COPY: [OVERQUOTA], with Dovecot's quota plugin and without it; MOVE goes on."""
    for node in nodes(lab)[:1] + [bare(lab)]:
        user = lab.user(node)
        c = lab.imap(user, node)
        c.ok("CREATE box")
        set_quota(lab, user, "4", str(2 * len(BIG)))
        c.ok("APPEND INBOX ", Lit(BIG))
        # bytes
        reply = c.no("APPEND INBOX ", Lit(BIG), " ", Lit(BIG))
        eq(reply.code, "OVERQUOTA")
        has(FULL, reply.text)
        c.ok("APPEND INBOX ", Lit(BIG))
        c.ok("SELECT INBOX")
        eq(c.no("COPY 1 box").code, "OVERQUOTA")
        eq(c.no("APPEND box ", Lit(simple(3))).code, "OVERQUOTA")
        c.ok("MOVE 1 box")
        c.ok("MOVE 1 box")
        # what is set counts at once, in this session
        set_quota(lab, user, "4", str(10 * len(BIG)))
        fill(c, "INBOX", 2)
        eq(c.no("APPEND INBOX ", Lit(simple(3))).code, "OVERQUOTA", "messages")
        c.ok("SELECT box")
        eq(c.no("COPY 1:2 INBOX").code, "OVERQUOTA")
        set_quota(lab, user, "1")
        c.ok("MOVE 1:2 INBOX")
        eq(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1], [b"MESSAGES", b"4"])
        c.ok("SELECT INBOX")
        c.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
        c.ok("EXPUNGE")
        eq(c.no("APPEND INBOX ", Lit(simple(3))).code, "OVERQUOTA", "exactly at the limit")
        c.ok("DELETE box")
        c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        c.ok("EXPUNGE")
        c.ok("APPEND INBOX ", Lit(simple(3)))
        set_quota(lab, user, "0")
        eq(c.no("APPEND INBOX ", Lit(simple(4))).code, "OVERQUOTA", "nothing may come")
        set_quota(lab, user, "NULL", "9223372036854775807")
        multiappend(c, "INBOX", [simple(5), BIG])


@only("pgbox")
@timeout(120)
def test_delivery_over_quota(lab):
    """LMTP 552, or 452 with quota_full_tempfail; Sieve's fileinto and dovecot-lda too. Nothing is kept."""
    late = [lab.node("late", extra="quota_full_tempfail = yes\n"),
            lab.node("barelate", plugins="", extra="quota_full_tempfail = yes\n")]
    for node in nodes(lab)[:1] + [bare(lab)] + late:
        code = 452 if node in late else 552
        user = lab.user(node)
        c = lab.imap(user, node)
        c.ok("CREATE box")
        for script in (None, SIEVE):
            if script:
                sieve = lab.sieve(user, node)
                true(sieve.put(b"s", script)[0] and sieve.activate(b"s")[0], "the script is active")
            for limits in (("1", "NULL"), ("NULL", str(len(BIG) - 1))):
                set_quota(lab, user)
                eq(lab.lmtp(node).deliver(simple(1), user)[user][0], 250)
                set_quota(lab, user, *limits)
                got, text = lab.lmtp(node).deliver(BIG, user)[user]
                eq(got, code, text)
                has(FULL, text)
                lda = node.lda(user, BIG, "-e", check=False)
                eq(lda.returncode, 75 if node in late else 77, lda.stderr)
                eq(truth(lab, user)["MESSAGE"][0], 1)
                set_quota(lab, user, "2")
                eq(lab.lmtp(node).deliver(BIG, user)[user][0], 250)
                for box in ("INBOX", "box"):
                    c.ok("SELECT ", box)
                    c.cmd("STORE 1:* +FLAGS.SILENT (\\Deleted)")
                    c.ok("EXPUNGE")


@only("pgbox")
def test_policy_service(lab):
    """Dovecot's quota-status, which an MTA asks at RCPT, knows the limits."""
    node = lab.node("quotastatus", extra="""
service quota-status {
  executable = quota-status -p postfix
  unix_listener quota-status {
    mode = 0666
  }
}
plugin {
  quota_status_success = DUNNO
  quota_status_overquota = "552 full"
}
""")
    user = lab.user(node)
    fill(lab.imap(user, node), "INBOX", 2)

    def ask(size):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(os.path.join(node.dir, "run", "quota-status"))
            sock.sendall(b"recipient=%s\nsize=%d\n\n" % (user.encode(), size))
            return sock.recv(1000).split(b"\n")[0]
    eq(ask(2000), b"action=DUNNO")
    set_quota(lab, user, "3", "2000")
    eq((ask(500), ask(2000)), (b"action=DUNNO", b"action=552 full"))
    set_quota(lab, user, "2")
    eq(ask(500), b"action=552 full")


def deliver_many(clients, user, messages):
    """Deliver at once, each client into a mailbox of its own, which no other has locked: the answers' codes."""
    codes = []
    start = threading.Barrier(len(clients))

    def run(number, client):
        address = "%s+b%d" % (user, number)
        start.wait()
        for message in messages[number::len(clients)]:
            codes.append(client.deliver(message, address)[address][0])
    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


@only("pgbox")
@timeout(120)
def test_concurrent_deliveries(lab):
    """Two nodes at the edge of a limit: as many as fit, none above."""
    both = nodes(lab)
    user = lab.user(*both)
    clients = [lab.lmtp(both[number % 2]) for number in range(6)]
    for number in range(6):
        lab.imap(user, both[0]).ok("CREATE b%d" % number)
    for used in range(0, 30, 3):
        set_quota(lab, user, str(used + 3))
        codes = deliver_many(clients, user, [simple(number) for number in range(18)])
        eq((codes.count(250), codes.count(552), len(codes)), (3, 15, 18))
        eq(truth(lab, user)["MESSAGE"], (used + 3, used + 3))
    # sizes differ: what fits is found out one by one
    messages = [simple(number, body="x" * (number % 7 * 100) + "\r\n") for number in range(60)]
    # LMTP adds fields
    size = max(len(message) for message in messages) + 500
    query = "SELECT messages, bytes FROM pgbox.account_overview WHERE account = '%s'" % user
    before = [int(value) for value in lab.cluster.psql(query)[0]]
    limit = before[1] + 12 * size
    set_quota(lab, user, "NULL", str(limit))
    codes = deliver_many(clients, user, messages)
    after = [int(value) for value in lab.cluster.psql(query)[0]]
    eq((codes.count(250), codes.count(250) + codes.count(552)), (after[0] - before[0], 60))
    true(limit - size < after[1] <= limit, "%d bytes, limit %d" % (after[1], limit))
    for node in both:
        eq(by_doveadm(node, user), truth(lab, user))


@only("pgbox")
def test_shared(lab):
    """In another user's folder that user's limits hold and nobody else's."""
    extra = ACL_PLUGINS + """
plugin {
  acl = vfile
  acl_shared_dict = file:%{home}/../shared-mailboxes.db
}
namespace shared {
  type = shared
  separator = /
  prefix = Shared/%%u/
  location = pgbox:%h/../%%u/pgbox
  subscriptions = no
  list = children
}
"""
    node = lab.node("quotashared", plugins="acl quota", extra=extra)
    anna, carl = lab.user(node), lab.user(node)
    a = lab.imap(anna, node)
    a.ok("CREATE box")
    fill(a, "INBOX", 5)
    a.ok("SETACL box ", carl, " lrswite")
    theirs = "Shared/%s/box" % anna
    # carl is full; there is room at anna's, then there isn't
    c = lab.imap(carl, node)
    fill(c, "INBOX", 2)
    set_quota(lab, carl, "2")
    set_quota(lab, anna, "6")
    c.ok("APPEND ", theirs, " ", Lit(simple(1)))
    eq(c.no("APPEND ", theirs, " ", Lit(simple(2))).code, "OVERQUOTA")
    eq(by_root(a), {"MESSAGE": (6, 6)})
    eq(by_root(c), {"MESSAGE": (2, 2)})
    c.ok("SELECT ", theirs)
    # to Dovecot a move is a move, the database knows that it is from one account to another
    eq(c.no("MOVE 1 INBOX").code, "OVERQUOTA")
    set_quota(lab, carl, "3")
    c.ok("MOVE 1 INBOX")
    eq((by_root(a), by_root(c)), ({"MESSAGE": (5, 6)}, {"MESSAGE": (3, 3)}))


@only("pgbox")
def test_public(lab):
    """A quota root for public folders shows what their account has."""
    lab.cluster.psql("SELECT pgbox.account_create('commons')")
    set_quota(lab, "commons", "2")
    node = lab.node("quotapublic", extra="""
plugin {
  pgbox_public_account = commons
  quota2 = pgbox:Commons:ns=Public/
}
namespace public {
  type = public
  separator = /
  prefix = Public/
  location = pgbox:%h/public
  subscriptions = no
  list = children
}
""")
    user = lab.user(node)
    c = lab.imap(user, node)
    fill(c, "INBOX", 3)
    set_quota(lab, user, "10")
    c.ok("CREATE Public/a")
    fill(c, "Public/a", 2)
    eq(c.no("APPEND Public/INBOX ", Lit(simple(9))).code, "OVERQUOTA")
    eq((by_root(c), by_root(c, "Public/a")), ({"MESSAGE": (3, 10)}, {"MESSAGE": (2, 2)}))
    eq(by_imap(c, "Commons"), {"MESSAGE": (2, 2)})


@only("pgbox")
def test_dsync(lab):
    """Dovecot exempts dsync from quota, the database doesn't."""
    node = nodes(lab)[0]
    user, full = lab.user(node), lab.user(node)
    fill(lab.imap(user, node), "INBOX", 3)
    place = "maildir:%s/mail/over-quota" % node.dir
    node.doveadm("backup", place, user=user)
    set_quota(lab, full, "2")
    refused = node.doveadm("backup", "-R", place, user=full, check=False)
    true(refused.returncode != 0, "refused")
    has(FULL, refused.stderr.decode())
    true(truth(lab, full)["MESSAGE"][0] <= 2, "no more than the limit")
    set_quota(lab, full, "3")
    node.doveadm("backup", "-R", place, user=full)
    eq(truth(lab, full)["MESSAGE"], (3, 3))


def metered(lab, backend):
    """A node with quota behind a counting proxy."""
    return Meter(lab, "metered" + backend, "quota", "plugin {\n  quota = %s:User quota\n}\n" % backend)


@only("pgbox")
@timeout(240)
def test_round_trips(lab):
    """One question for quota in a command, however many mailboxes and messages there are."""
    budgets = (("GETQUOTA", 'GETQUOTA "User quota"', fixed(1)), ("GETQUOTAROOT", "GETQUOTAROOT INBOX", fixed(1)),
               ("APPEND", ("APPEND INBOX ", Lit(simple(7))), fixed(3 + PULL)),
               # sizes that nobody has asked for yet come by the thousand
               ("COPY", "COPY 1:* box", lambda size: 3 + PULL + size // 1000),
               ("MOVE", "MOVE 1:5 box", fixed(5 + PULL)), ("STORE", "STORE 1:3 +FLAGS (\\Deleted)", fixed(2 + PULL)),
               ("EXPUNGE", "EXPUNGE", fixed(2 + PULL)), ("FETCH", "FETCH 1:3 FLAGS", fixed(PULL)), ("NOOP", "NOOP", fixed(PULL)))
    for backend in ("pgbox", "count"):
        meter = metered(lab, backend)
        for mailboxes, messages in ((0, 10), (200, 10), (0, 2000)):
            user = lab.user(meter.node)
            c = meter.client(user)
            fill(c, "INBOX", messages)
            for number in range(mailboxes):
                c.ok("CREATE m%03d" % number)
            c.ok("CREATE box")
            c.ok("SELECT INBOX")
            figures = []
            for what, line, budget in budgets:
                line = line if isinstance(line, tuple) else (line,)
                trips, _ = meter.count(lambda: c.ok(*line, timeout=60))
                figures.append("%s %d" % (what, trips))
                true(trips <= budget(messages), "%s: %s: %d round trips" % (backend, what, trips))
            print("# %s, %d mailboxes, %d messages: %s" % (backend, mailboxes, messages, ", ".join(figures)))
            c.close()


@only("pgbox")
def test_database_away(lab):
    """GETQUOTA fails, and the session goes on."""
    meter = metered(lab, "pgbox")
    user = lab.user(meter.node)
    c = meter.client(user)
    c.ok("GETQUOTAROOT INBOX")
    for line in ("Failed to get quota resource", "pgbox: "):
        meter.node.expect_log("Error: .*" + line)
    meter.proxy.refuse()
    try:
        c.no("GETQUOTAROOT INBOX")
    finally:
        meter.proxy.refuse(False)
    proc.wait_for(lambda: c.cmd("GETQUOTAROOT INBOX").ok, 10, "the database is back")
