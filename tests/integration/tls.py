"""TLS to PostgreSQL with a verified server, and client certificates.

The connection string is the one of the example configuration, but for addresses and
files. The cluster of this run listens on TCP, and takes nothing but TLS there."""

import os
import re
import shutil

import proc
from certificates import Authority
from cluster import PASSWORD, Cluster
from imapclient import ImapError
from login import AUTH, compile_fix, template
from mails import PLAIN, simple
from node import AUTH as ANYBODY
from node import command_of, descendants
from push import exists, idler, quickly, wait_vouched
from tap import eq, has, only, timeout, true

HOST = "db.example.org"
SETTINGS = """
listen_addresses = '127.0.0.1'
port = %d
ssl = on
ssl_ca_file = '%s'
ssl_cert_file = '%s'
ssl_key_file = '%s'
"""
HBA = """
local all all trust
hostssl all pgbox_dovecot 127.0.0.1/32 %s
hostssl all postgres 127.0.0.1/32 trust
"""
# without TLS, for the server that has none
HBA_PLAIN = """
local all all trust
host all pgbox_dovecot 127.0.0.1/32 scram-sha-256
"""
SOON = """
plugin {
  pgbox_connect_timeout = 3 secs
}
"""


class TlsCluster(Cluster):
    """A cluster on TCP, with certificates of an authority of its own."""

    def __init__(self, workdir):
        self.port = proc.PORTS.take(1)[0]
        self.authority = Authority(os.path.join(workdir, "ca"))
        self.stranger = Authority(os.path.join(workdir, "other-ca"), "somebody else")
        user = "postgres" if proc.is_root() else proc.own_user()
        certificate, key = self.authority.sign("server", HOST, HOST, user=user)
        super().__init__(workdir, settings=SETTINGS % (self.port, self.authority.root, certificate, key))
        self.expired = self.authority.sign("expired", HOST, HOST, days=-1, user=user)
        self.good = (certificate, key)
        self.hba(HBA % "scram-sha-256")

    def uri(self, role="postgres", dbname="pgbox"):
        return super().uri(role, dbname).replace("port=5432", "port=%d" % self.port)

    def tls(self, host=HOST, root=None, mode="verify-full"):
        """The example's connection string, for this cluster."""
        text = example()
        text = text.replace("host=" + HOST, "host=%s hostaddr=127.0.0.1" % host)
        text = text.replace("port=5432", "port=%d" % self.port).replace("dbname=mail", "dbname=pgbox")
        text = text.replace("verify-full", mode)
        return re.sub(r"sslrootcert=\S+", "sslrootcert=" + (root or self.authority.root), text)

    def hba(self, text):
        """Who may come in, and how."""
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as handle:
            handle.write(text)

    def set(self, **settings):
        """Change settings, and let new connections see them."""
        for name, value in settings.items():
            self.psql("ALTER SYSTEM SET %s = '%s'" % (name, value), dbname="postgres")
        self.psql("SELECT pg_reload_conf()", dbname="postgres")


def example():
    """The connection string of share/'s example, with its options for TLS."""
    with open(os.path.join(proc.ROOT, "share", "example.sed")) as handle:
        return re.search(r"@DB_CONNINFO@\|([^|]*)\|", handle.read()).group(1)


def as_uri(conninfo, extra=""):
    """The same as a URI, in which there are no spaces."""
    words = dict(word.split("=", 1) for word in (conninfo + extra).split())
    host, port, dbname = words.pop("host"), words.pop("port"), words.pop("dbname")
    return "postgresql://%s:%s/%s?%s" % (host, port, dbname, "&".join("=".join(pair) for pair in words.items()))


def cluster_of(lab):
    """The cluster, which has to be this kind for the whole run."""
    if not isinstance(getattr(lab, "_cluster"), TlsCluster):
        lab.use_cluster(TlsCluster(lab.dir))
    return lab.cluster


def sql_node(lab, name, conninfo, options, **kwargs):
    """A node whose auth reads accounts in the database, too."""
    folder = os.path.join(lab.dir, name)
    os.makedirs(folder)
    text = template("dovecot-sql.conf.ext.in", DB_CONNINFO=conninfo, DB_PASSWORD=PASSWORD)
    path = os.path.join(folder, "dovecot-sql.conf.ext")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as handle:
        handle.write(options(text))
    shutil.copy(os.path.join(proc.ROOT, "share", "dovecot-oauth2.conf.ext.in"),
                os.path.join(folder, "dovecot-oauth2.conf.ext"))
    compile_fix(folder)
    auth = AUTH.replace(" xoauth2 oauthbearer", "", 1)
    auth = re.sub(r"passdb \{\n  driver = oauth2.*?\}\n", "", auth, flags=re.S)
    return lab.node(name, auth=auth, notify=True, database=conninfo + " user=pgbox_dovecot", **kwargs)


def goes_round(lab, node, user):
    """A mail in by LMTP, out by IMAP; signals; doveadm with and without a user."""
    waiting, _ = idler(lab, user, node)
    eq(lab.lmtp(node).deliver(PLAIN, user)[user][0], 250)
    quickly(waiting, exists(1))
    client = lab.imap(user, node)
    client.ok("SELECT INBOX")
    true(client.ok("FETCH 1 BODY.PEEK[]").fetches()[1], "FETCH")
    has(b"messages=1", node.doveadm("mailbox", "status", "messages", "INBOX", user=user).stdout)
    node.doveadm("pgbox", "status")


def encrypted(cluster, application):
    """Whether all connections that call themselves so use TLS, and there is one."""
    rows = cluster.psql("SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) "
                        "WHERE a.application_name = '%s'" % application)
    return bool(rows) and all(row == ["t"] for row in rows)


@only("pgbox")
@timeout(120)
def test_verified(lab):
    """The right server: mail, login, signals, doveadm and pgbox-schema go by TLS."""
    cluster = cluster_of(lab)
    has("sslmode=verify-full sslrootcert=/etc/dovecot/db-ca.pem", example())
    with open(os.path.join(proc.ROOT, "README.md")) as handle:
        eq(handle.read().count("sslmode=verify-full sslrootcert=/etc/dovecot/db-ca.pem"), 2,
           "README: pgbox_db, and connect of auth")
    node = sql_node(lab, "tls", cluster.tls(), lambda text: text)
    wait_vouched(lab, node)
    cluster.create_account("alice")
    goes_round(lab, node, "alice")
    for application in ("pgbox", "pgbox-notify"):
        true(encrypted(cluster, application), application)
    true(encrypted(cluster, "auth") or encrypted(cluster, ""), "auth")
    eq(schema_status(cluster, cluster.tls() + " user=postgres").returncode, 0)


DEBUG = """
mail_debug = yes
auth_debug = yes
auth_verbose = yes
log_debug = (category=*)
import_environment = $import_environment PGSERVICEFILE=%(folder)s/services
plugin {
  pgbox_db = service=mail
}
"""
SERVICE = """[mail]
%s
user=pgbox_dovecot
passfile=%s/pgpass
"""


@only("pgbox")
@timeout(120)
def test_secrets(lab):
    """The database's password, from a passfile named in a service file, and auth's, are nowhere to be read.

    Not in arguments, environments, logs of any level, nor in what doveconf prints."""
    cluster = cluster_of(lab)
    with open(os.path.join(lab.dir, "services"), "w") as handle:
        handle.write(SERVICE % (cluster.tls().replace(" ", "\n"), os.path.join(lab.dir, "debug")))
    node = sql_node(lab, "debug", cluster.tls(), lambda text: text, extra=DEBUG % {"folder": lab.dir})
    wait_vouched(lab, node)
    cluster.create_account("dora", "what dora knows")
    waiting = node.imap()
    waiting.ok('LOGIN dora "what dora knows"')
    waiting.ok("SELECT INBOX")
    eq(lab.lmtp(node).deliver(PLAIN, "dora")["dora"][0], 250)
    waiting.ok("NOOP")
    node.imap().no('LOGIN dora "something else that dora knows"')
    node.doveadm("pgbox", "status")
    true("Debug: " in node.log_text(), "logs are at debug level")
    places = {"dovecot.log": node.log_text().encode()}
    with open(cluster.log, "rb") as handle:
        places["postgresql.log"] = handle.read()
    for options in ((), ("-n",), ("-a",)):
        places["doveconf %s" % (options,)] = proc.run(["doveconf", "-c", node.conf, *options]).stdout
    for pid in descendants(node.pid()):
        for name in ("cmdline", "environ"):
            with open("/proc/%d/%s" % (pid, name), "rb") as handle:
                places["%s of %s" % (name, command_of(pid))] = handle.read()
    true(len(places) > 20, "processes are looked at")
    for place, text in places.items():
        for secret in (PASSWORD.encode(), b"dora knows"):
            true(secret not in text, "%s has %r" % (place, secret))
    waiting.close()


def schema_status(cluster, conninfo):
    """What pgbox-schema says over this connection."""
    cluster.schema_tool("status")
    return proc.run([os.path.join(cluster.dir, "sql", "pgbox-schema"), "status", "--database", conninfo],
                    check=False)


def refused(lab, node, user, said):
    """Clients are told to come again, the log says in one line of each process why."""
    node.expect_log("Error: ")
    try:
        reply = lab.imap(user, node).cmd("SELECT INBOX")
        true(not reply.ok and (reply.code or "").split()[0] in ("UNAVAILABLE", "SERVERBUG"), repr(reply))
    except (ImapError, AssertionError) as error:
        true("UNAVAILABLE" in str(error) or "closed" in str(error), str(error))
    eq(lab.lmtp(node).deliver(PLAIN, user)[user][0] // 100, 4)
    for service in ("imap", "lmtp"):
        def lines():
            return [line for line in node.log_since_mark().splitlines()
                    if " %s(%s)" % (service, user) in line and "Error: " in line]
        proc.wait_for(lines, 5, "a line of %s for %s" % (service, user))
        eq([bool(re.search(said, line)) for line in lines()], [True], "\n".join(lines()))


@only("pgbox")
@timeout(180)
def test_refused(lab):
    """Another authority, another name, a file that isn't there, an expired certificate, no TLS."""
    cluster = cluster_of(lab)
    node = lab.node("variants", auth=ANYBODY, extra=SOON, database=cluster.uri("pgbox_dovecot"))
    passfile = " user=pgbox_dovecot passfile=%s/pgpass" % node.dir
    users = {}
    for name, conninfo in (("good", cluster.tls()), ("authority", cluster.tls(root=cluster.stranger.root)),
                           ("name", cluster.tls(host="localhost")), ("file", cluster.tls(root="/nonexistent.pem")),
                           ("key", cluster.tls() + " sslcert=%s sslkey=%s" % cluster.good)):
        users[name] = lab.user(node, name="t" + name, fields="userdb_pgbox_db=" + as_uri(conninfo, passfile))
    lab.imap(users["good"], node).ok("SELECT INBOX")
    refused(lab, node, users["authority"], "certificate verify failed.*no authority in sslrootcert")
    refused(lab, node, users["name"], "does not match host name.*the host of pgbox_db")
    refused(lab, node, users["file"], "root certificate file.*sslrootcert must be")
    if proc.is_root():
        refused(lab, node, users["key"], "private key file.*sslkey must be")
    cluster.set(ssl_cert_file=cluster.expired[0], ssl_key_file=cluster.expired[1])
    other = lab.user(node, name="texpired", fields="userdb_pgbox_db=" + as_uri(cluster.tls(), passfile))
    refused(lab, node, other, "certificate verify failed.*has expired")
    cluster.set(ssl="off")
    refused(lab, node, users["good"], "does not support SSL.*postgresql.conf")
    cluster.set(ssl="on", ssl_cert_file=cluster.good[0], ssl_key_file=cluster.good[1])
    lab.imap(users["good"], node).ok("SELECT INBOX")


@only("pgbox")
@timeout(120)
def test_refused_everywhere(lab):
    """Login, signals, doveadm and pgbox-schema with another authority."""
    cluster = cluster_of(lab)
    cluster.create_account("bob")
    bad = cluster.tls(root=cluster.stranger.root)
    node = sql_node(lab, "wrong", bad, lambda text: text, extra=SOON)
    node.expect_log("Error: ")
    # Dovecot's auth tries for a minute before it tells the client
    try:
        reply = node.imap(timeout=3).cmd("LOGIN bob pw")
        eq((reply.status, reply.code), ("NO", "UNAVAILABLE"))
    except ImapError as error:
        has("timeout", str(error))
    has("certificate verify failed", node.log_since_mark())
    done = node.doveadm("pgbox", "status", check=False)
    eq(done.returncode, 75)
    has(b"no authority in sslrootcert", done.stderr)
    proc.wait_for(lambda: re.search("pgbox-notify: Error: .*no authority in sslrootcert", node.log_text()), 10,
                  "the service's line")
    done = schema_status(cluster, bad + " user=postgres")
    eq(done.returncode, 1)
    has(b"certificate verify failed", done.stderr)
    eq(cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL AND NOT "
                    "(SELECT ssl FROM pg_stat_ssl s WHERE s.pid = pg_stat_activity.pid)"), [["0"]])
    node.stop()


@only("pgbox")
@timeout(120)
def test_client_certificates(lab):
    """Certificates in place of passwords: one for the mail user, one for auth."""
    cluster = cluster_of(lab)
    cluster.hba(HBA % "cert")
    cluster.set(ssl="on")
    mail, auth = ("nobody", "dovecot") if proc.is_root() else (None, None)
    for_mail = " sslcert=%s sslkey=%s" % cluster.authority.sign("mail", "pgbox_dovecot", user=mail)
    for_auth = " sslcert=%s sslkey=%s" % cluster.authority.sign("auth", "pgbox_dovecot", user=auth)
    wrong = " sslcert=%s sslkey=%s" % cluster.authority.sign("wrong", "somebody", user=mail)
    node = sql_node(lab, "cert", cluster.tls() + for_mail,
                    lambda text: text.replace(for_mail, for_auth).replace(" password=" + PASSWORD, ""))
    node.write_pgpass("wrong")
    wait_vouched(lab, node)
    cluster.create_account("carol")
    goes_round(lab, node, "carol")
    variants = lab.node("strangers", auth=ANYBODY, extra=SOON, database=cluster.uri("pgbox_dovecot"))
    for number, extra in enumerate((wrong, "")):
        user = lab.user(variants, name="cert%d" % number,
                        fields="userdb_pgbox_db=" + as_uri(cluster.tls(), extra + " user=pgbox_dovecot"))
        refused(lab, variants, user, "(certificate authentication failed|requires a valid client certificate)"
                ".*check user and password")
    cluster.hba(HBA % "scram-sha-256")
    cluster.set(ssl="on")
