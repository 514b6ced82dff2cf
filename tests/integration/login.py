"""Login against the same database: SQL passwords, SCRAM, OAuth2, LMTP's userdb.

The configuration files are the shipped templates of share/. The storage
doesn't matter here, the cluster does."""

import base64
import hashlib
import hmac
import json
import os
import time

import cluster as pgcluster
import proc
from imapclient import ImapClient, ImapError, Lit
from mails import PLAIN
from tap import eq, has, timeout, true
from template import template

AUTH = """
auth_mechanisms = plain login scram-sha-256 xoauth2 oauthbearer
auth_username_format = %%Lu
auth_failure_delay = 0
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = %(dir)s/dovecot-oauth2.conf.ext
}
passdb {
  driver = sql
  mechanisms = plain login scram-sha-256
  args = %(dir)s/dovecot-sql.conf.ext
}
userdb {
  driver = sql
  args = %(dir)s/dovecot-sql.conf.ext
}
service auth {
  executable = /usr/bin/env LD_PRELOAD=%(dir)s/auth-fix.so /usr/lib/dovecot/auth
  unix_listener auth-userdb {
    mode = 0666
  }
}
service auth-worker {
  executable = /usr/bin/env LD_PRELOAD=%(dir)s/auth-fix.so /usr/lib/dovecot/auth -w
}
"""
ISSUER = "https://login.example.org/"
CLIENT = "test-client"
SECRET = b"a secret of the pretended identity provider"


def node_of(lab):
    """A node that authenticates by the database."""
    if "login" in lab.nodes:
        return lab.nodes["login"]
    folder = os.path.join(lab.dir, "login")
    os.makedirs(os.path.join(folder, "oauth-keys", CLIENT, "HS256"))
    files = {
        "dovecot-sql.conf.ext": template(
            "dovecot-sql.conf.ext.in", DB_PASSWORD=pgcluster.PASSWORD,
            DB_CONNINFO=lab.conninfo().replace(" user=pgbox_dovecot", "")),
        "dovecot-oauth2.conf.ext": template("dovecot-oauth2.conf.ext.in", CONF_DIR=folder),
        os.path.join("oauth-keys", CLIENT, "HS256", "k1"): base64.b64encode(SECRET).decode(),
    }
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as handle:
            handle.write(text)
    compile_fix(folder)
    return lab.node("login", auth=AUTH)


def compile_fix(folder):
    """Build share/auth-fix.c, which keeps Dovecot 2.3's auth from crashing."""
    proc.run(["gcc", "-shared", "-fPIC", "-O2", "-DHAVE_CONFIG_H", "-isystem",
              "/usr/include/dovecot", "-o", os.path.join(folder, "auth-fix.so"),
              os.path.join(proc.ROOT, "share", "auth-fix.c")])


COUNT = [0]


def account(lab, password="pa ss"):
    """A new account; its name."""
    COUNT[0] += 1
    name = "login%d" % COUNT[0]
    lab.cluster.create_account(name, password)
    return name


def try_login(lab, user, password):
    """The reply of LOGIN on a new connection."""
    client = ImapClient(node_of(lab).ports["imap"])
    try:
        return client.cmd("LOGIN ", Lit(user.encode()), " ", Lit(password.encode()))
    finally:
        client.close()


def test_sql_password(lab):
    """LOGIN and AUTHENTICATE PLAIN with the hash made in SQL."""
    node = node_of(lab)
    user = account(lab)
    true(try_login(lab, user, "pa ss").ok, "LOGIN")
    reply = try_login(lab, user, "pa sS")
    eq((reply.status, reply.code), ("NO", "AUTHENTICATIONFAILED"))
    client = ImapClient(node.ports["imap"])
    token = base64.b64encode(b"\0%s\0pa ss" % user.encode())
    client.ok("AUTHENTICATE PLAIN ", token)
    client.ok("SELECT INBOX")
    client.close()


def test_passwords_of_all_kinds(lab):
    """Long, 8-bit and odd passwords."""
    for password in ("x", "p\u00e4ssw\u00f6rd \u65e5\u672c", "'; DROP TABLE account; --", "q" * 200,
                     "back\\slash\"quote", "$1 %u {PLAIN}x"):
        user = account(lab, password)
        true(try_login(lab, user, password).ok, password)
        true(not try_login(lab, user, password + "x").ok, password)


def test_no_injection(lab):
    """Names with quotes find nobody."""
    node_of(lab)
    for name in ("' OR '1'='1", "x'; SELECT 1; --", "\\' OR 1=1 --", "%u", "a\"b"):
        eq(try_login(lab, name, "pw").status, "NO", name)


def test_set_password(lab):
    """A changed password counts at once; none and disabled mean no login."""
    user = account(lab, "old")
    lab.cluster.psql("SELECT pgbox.account_set_password('%s', 'new')" % user)
    true(not try_login(lab, user, "old").ok, "old")
    true(try_login(lab, user, "new").ok, "new")
    lab.cluster.psql("UPDATE pgbox.account SET enabled = false WHERE name = '%s'" % user)
    eq(try_login(lab, user, "new").status, "NO")
    COUNT[0] += 1
    bare = "login%d" % COUNT[0]
    lab.cluster.psql("SELECT pgbox.account_create('%s')" % bare)
    for password in ("", "x"):
        eq(try_login(lab, bare, password).status, "NO")


def test_unknown_account(lab):
    """No such account: the same answer as for a wrong password."""
    account(lab)
    reply = try_login(lab, "no-such-person", "pw")
    eq((reply.status, reply.code), ("NO", "AUTHENTICATIONFAILED"))


def scram(client, user, password):
    """AUTHENTICATE SCRAM-SHA-256; the Reply, after the server has proved itself."""
    bare = b"n=%s,r=abcdefghijkl" % user.encode()
    tag = client.send("AUTHENTICATE SCRAM-SHA-256")
    client.continuation()
    client.send_raw(base64.b64encode(b"n,," + bare) + b"\r\n")
    first = base64.b64decode(client.continuation())
    values = dict(part.split(b"=", 1) for part in first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(values[b"s"]),
                                 int(values[b"i"]))
    final = b"c=biws,r=" + values[b"r"]
    message = bare + b"," + first + b"," + final
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature)))
    client.send_raw(base64.b64encode(final + b",p=" + proof) + b"\r\n")
    reply_or_last = client._response(10)
    if reply_or_last.startswith(b"+"):
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        eq(base64.b64decode(reply_or_last[1:].strip()), b"v=" + base64.b64encode(server))
        client.send_raw(b"\r\n")
        return client.finish(tag)
    client._buffer[:0] = reply_or_last + b"\r\n"
    return client.finish(tag)


def test_scram(lab):
    """SCRAM-SHA-256 by the stored keys: the server never sees the password."""
    node = node_of(lab)
    user = account(lab, "scram me")
    client = ImapClient(node.ports["imap"])
    true(scram(client, user, "scram me").ok, "SCRAM")
    client.ok("SELECT INBOX")
    client.close()
    client = ImapClient(node.ports["imap"])
    eq(scram(client, user, "wrong").status, "NO")
    client.close()


# -- OAuth2 ---------------------------------------------------------------

def token(user, key=SECRET, **changes):
    """A signed JSON Web Token for the user."""
    now = int(time.time())
    claims = {"iss": ISSUER, "azp": CLIENT, "sub": user, "scope": "mail", "iat": now,
              "nbf": now, "exp": now + 300}
    claims.update(changes)
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in
             ({"typ": "JWT", "alg": "HS256", "kid": "k1"},
              {name: value for name, value in claims.items() if value is not None})]
    text = b".".join(parts)
    signature = base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")
    return text + b"." + signature


def oauth(lab, mechanism, user, bearer):
    """The reply of AUTHENTICATE with a token."""
    client = ImapClient(node_of(lab).ports["imap"])
    if mechanism == "XOAUTH2":
        text = b"user=%s\1auth=Bearer %s\1\1" % (user.encode(), bearer)
    else:
        text = b"n,a=%s,\1auth=Bearer %s\1\1" % (user.encode(), bearer)
    tag = client.send("AUTHENTICATE %s " % mechanism, base64.b64encode(text))
    try:
        raw = client._response(10)
        if raw.startswith(b"+"):
            client.send_raw(b"\r\n" if mechanism == "XOAUTH2" else b"AQ==\r\n")
        else:
            client._buffer[:0] = raw + b"\r\n"
        return client.finish(tag)
    finally:
        client.close()


def test_oauth2(lab):
    """XOAUTH2 and OAUTHBEARER with a good token."""
    user = account(lab)
    for mechanism in ("XOAUTH2", "OAUTHBEARER"):
        reply = oauth(lab, mechanism, user, token(user))
        true(reply.ok, "%s: %r" % (mechanism, reply))


def test_oauth2_refused(lab):
    """Expired, not yet valid, of another issuer, key, user or scope; rubbish."""
    node = node_of(lab)
    node.expect_log("Error: ")
    user, other = account(lab), account(lab)
    now = int(time.time())
    bad = {"expired": token(user, exp=now - 10, iat=now - 400, nbf=now - 400),
           "not yet": token(user, nbf=now + 1000, iat=now + 1000),
           "issuer": token(user, iss="https://evil.example.org/"),
           "key": token(user, key=b"another key"), "user": token(other),
           "scope": token(user, scope="calendar"), "rubbish": b"abc.def.ghi",
           "no signature": token(user).rpartition(b".")[0] + b"."}
    for what, bearer in bad.items():
        for mechanism in ("XOAUTH2", "OAUTHBEARER"):
            eq(oauth(lab, mechanism, user, bearer).status, "NO", what)
    true(oauth(lab, "XOAUTH2", user, token(user)).ok, "a good one after all that")


def test_oauth2_without_account(lab):
    """A good token of somebody without an account is no login."""
    node = node_of(lab)
    node.expect_log("Error: ")
    try:
        eq(oauth(lab, "XOAUTH2", "stranger", token("stranger")).status, "NO")
    except ImapError:
        pass  # Cut off after authentication: the user wasn't found.
    # auth and imap log it by themselves, one maybe after the client's answer
    proc.wait_for(lambda: "imap(" in node.log_since_mark() and
                  node.log_since_mark().count("not found from userdb") > 0, 10, "the log line")


# -- userdb ---------------------------------------------------------------

def test_lmtp_and_doveadm(lab):
    """LMTP knows accounts by the database; doveadm lists them."""
    node = node_of(lab)
    user = account(lab)
    answers = lab.lmtp(node).deliver(PLAIN, user, "stranger")
    eq((answers[user][0], answers["stranger"][0]), (250, 550))
    lab.cluster.psql("UPDATE pgbox.account SET enabled = false WHERE name = '%s'" % user)
    eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 550)
    has(b"login1\n", node.doveadm("user", "*").stdout)


def test_locked_accounts_are_for_doveadm_alone(lab):
    """Whatever the way in, and whoever vouches for the user."""
    node = node_of(lab)
    node.expect_log("Error: ")
    user = account(lab)
    lab.cluster.psql("SELECT pgbox.account_disable('%s')" % user)
    eq(try_login(lab, user, "pa ss").status, "NO")
    try:
        eq(oauth(lab, "XOAUTH2", user, token(user)).status, "NO")
    except ImapError:
        pass  # as in test_oauth2_without_account
    eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 550)
    for service in ("imap", "pop3", "lmtp", "lda", "sieve", "quota-status", "DOVEADM", "doveadm'--", ""):
        eq(node.doveadm("user", "-x", "service=" + service, user, check=False).returncode, 67, service)
    eq(node.doveadm("mailbox", "list", user=user).stdout, b"INBOX\n")
    has(user.encode() + b"\n", node.doveadm("user", "*").stdout)
    has(user.encode() + b" ", node.doveadm("mailbox", "status", "-A", "messages", "INBOX").stdout)
    # gone is gone
    lab.cluster.psql("SELECT pgbox.account_delete('%s')" % user)
    eq(node.doveadm("mailbox", "list", user=user, check=False).returncode, 67)
    proc.wait_for(lambda: node.log_since_mark().count("not found from userdb") > 0, 10, "the log line")


@timeout(260)
def test_database_down(lab):
    """PostgreSQL away at login: temporary failure, 4xx, and then it works."""
    node = node_of(lab)
    node.expect_log("Error: ")
    user = account(lab)
    true(try_login(lab, user, "pa ss").ok, "before")
    lab.cluster.stop()
    try:
        reply = try_login(lab, user, "pa ss")
        eq(reply.status, "NO")
        eq(reply.code, "UNAVAILABLE")
        started = time.monotonic()
        code, text = node.lmtp(timeout=160).deliver(PLAIN, user)[user]
        print("# LMTP refused after %.0f s" % (time.monotonic() - started))
        true(400 <= code < 500, text)
    finally:
        lab.cluster.start()
    proc.wait_for(lambda: try_login(lab, user, "pa ss").ok, 30, "login")
    eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 250)
