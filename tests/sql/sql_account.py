"""Accounts and their passwords."""

import base64
import hashlib
import hmac
import shutil
import uuid

import proc
from cluster import quote
from sqllib import refused, said_of, with_store
from tap import Skip, eq, true

PASSWORDS = ("secret", "", "x" * 64, "x" * 65, "long " * 60, "pass'word\\ %_\"", "Grüße, Füße, 漢字 €")


def scram(password, salt, iterations):
    """StoredKey and ServerKey by RFC 5802, with Python's own functions."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return stored, hmac.digest(salted, b"Server Key", "sha256")


@with_store
def test_password_hash(store):
    for password in PASSWORDS:
        for iterations in (4096, 5000):
            text = store.admin.value("SELECT pgbox.password_hash(%s, %d)" % (quote(password), iterations))
            count, salt, stored, server = text.replace("{SCRAM-SHA-256}", "").split(",")
            eq(int(count), iterations)
            salt = base64.b64decode(salt)
            eq(len(salt), 16)
            eq((base64.b64decode(stored), base64.b64decode(server)), scram(password, salt, iterations), repr(password))
    refused("22023", store.admin.sql, "SELECT pgbox.password_hash('x', 4095)")
    eq(store.admin.value("SELECT pgbox.password_hash(NULL)"), "")


@with_store
def test_password_hash_by_doveadm(store):
    if not shutil.which("doveadm"):
        raise Skip("no doveadm")
    for password in PASSWORDS:
        if password:
            text = store.admin.value("SELECT pgbox.password_hash(%s)" % quote(password))
            proc.run(["doveadm", "-O", "pw", "-t", text, "-p", password])
            wrong = proc.run(["doveadm", "-O", "pw", "-t", text, "-p", password + "x"], check=False)
            true(wrong.returncode != 0, "a wrong password is accepted")


@with_store
def test_account_create(store):
    name = "anna.%s@example.org" % uuid.uuid4().hex
    account = int(store.admin.value("SELECT pgbox.account_create(%s, 'pw')" % quote(name)))
    eq(store.names(account), ["INBOX"])
    eq(store.counters(store.mailbox(account, "INBOX")), (1, 65536, 0, 0, 0))
    refused("PB003", store.admin.sql, "SELECT pgbox.account_create(%s)" % quote(name))
    # Dovecot would ask for it in lower case; other letters than ASCII it leaves alone
    refused("PB012", store.admin.sql, "SELECT pgbox.account_create(%s)" % quote(name.capitalize()))
    store.admin.sql("SELECT pgbox.account_create(%s)" % quote("Ä" + name))
    for wrong in ("''", "NULL", "repeat('x', 256)", "'a b@example.org'", "'x/../y@example.org'", r"E'a\tb@example.org'"):
        refused("PB012", store.admin.sql, "SELECT pgbox.account_create(%s)" % wrong)


@with_store
def test_no_empty_password(store):
    """It would let in anybody."""
    name = store.account()[0]
    for call in ("account_create('new-%s', '')", "account_set_password('%s', '')"):
        refused("22023", store.admin.sql, "SELECT pgbox." + call % name)
    refused("22023", store.admin.sql, "UPDATE pgbox.account SET password_hash = '' WHERE name = '%s'" % name)
    eq(store.admin.sql("SELECT name, password_hash FROM pgbox.account WHERE name LIKE '%%%s'" % name), [[name, ""]])


@with_store
def test_no_error_shows_a_hash(store):
    """DETAIL of a constraint's error has the whole row."""
    name = store.account()[0]
    other = store.account()[0]
    store.admin.sql("SELECT pgbox.account_set_password('%s', 'pw')" % name)
    password = store.admin.value("SELECT password_hash FROM pgbox.account WHERE name = '%s'" % name)
    calls = ["account_rename('%s', %s)" % (name, new) for new in ("''", "NULL", "repeat('x', 300)", quote(other))]
    calls += ["account_set_hold('%s', NULL)" % name, "account_set_retention('%s', '9999 years')" % name,
              "account_set_retention('%s', '-1 day')" % name, "folder_set_hold('%s', 'INBOX', NULL)" % name,
              "account_create('', 'x')", "account_create(NULL, 'x')", "account_create(repeat('x', 300), 'x')",
              "account_create('%s', 'x')" % name]
    statements = ["SELECT pgbox." + call for call in calls]
    statements += ["UPDATE pgbox.account SET %s WHERE name = '%s'" % (change, name) for change in (
        "name = ''", "name = NULL", "name = repeat('x', 300)", "name = '%s'" % other, "enabled = NULL", "legal_hold = NULL",
        "retention = '9999 years'", "retention = '-1 day'", "deleted_at = now()", "created_at = NULL", "account_id = NULL",
        "list_modseq = NULL", "last_uidvalidity = NULL")]
    for statement in statements:
        said = said_of(store, statement)
        true("ERROR:" in said, statement)
        true("SCRAM" not in said and password not in said and "Failing row" not in said, said)




@with_store
def test_views_of_dovecot(store):
    name = store.account()[0]
    where = "WHERE username = '%s'" % name
    passdb = "SELECT password FROM pgbox.dovecot_passdb " + where
    userdb = "SELECT username FROM pgbox.dovecot_userdb " + where
    known = "SELECT enabled FROM pgbox.dovecot_account " + where
    eq((store.db.sql(passdb), store.db.sql(userdb)), ([], [[name]]))
    store.admin.sql("SELECT pgbox.account_set_password('%s', 'pw')" % name)
    true(store.db.value(passdb).startswith("{SCRAM-SHA-256}4096,"), "a hash")
    store.admin.sql("UPDATE pgbox.account SET enabled = false WHERE name = '%s'" % name)
    eq((store.db.sql(passdb), store.db.sql(userdb), store.db.sql(known)), ([], [], [["f"]]))
    store.admin.sql("UPDATE pgbox.account SET enabled = true WHERE name = '%s'" % name)
    store.admin.sql("SELECT pgbox.account_set_password('%s', NULL)" % name)
    eq((store.db.sql(passdb), store.db.sql(userdb), store.db.sql(known)), ([], [[name]], [["t"]]))
    # its deletion has begun
    store.admin.sql("SELECT pgbox.account_delete('%s')" % name)
    eq((store.db.sql(userdb), store.db.sql(known)), ([], []))
    refused("PB001", store.admin.sql, "SELECT pgbox.account_set_password('nobody', 'x')")
    refused("PB001", store.db.sql, "SELECT pgbox.account_find('nobody')")
