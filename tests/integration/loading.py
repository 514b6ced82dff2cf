"""The plugin in a Dovecot that it doesn't fit, and settings that it can't use.

Each fault must be told in one clear line, and nothing may crash or be stored."""

import os
import re
import shutil
import subprocess

import proc
from imapclient import ImapError
from mails import PLAIN
from node import MODULE_NAME, built_module
from tap import Skip, eq, only, timeout, true

LIMITS = "HAVE_STRUCT_INDEX_MAIL_DATA_PART_DATA_LIMITS"
# A node of its own for each fault; these name the settings.
PLUGIN = "plugin {\n  %s\n}\n"
NO_PLUGINS = ("mail_plugins =\nprotocol imap {\n  mail_plugins =\n}\n"
              "protocol doveadm {\n  mail_plugins =\n}\n"
              "protocol lmtp {\n  mail_plugins = sieve\n}\n")


def build_folder():
    """Where the module under test was built."""
    folder = os.environ.get("PGBOX_TEST_BUILD") or os.path.abspath(
        os.path.join(os.path.dirname(built_module()), "..", "..", ".."))
    if not os.path.exists(os.path.join(folder, "pgbox-config.h")):
        raise Skip("no build folder beside %s" % built_module())
    return folder


def other_build(lab):
    """The plugin as built against headers of the other kind."""
    copy = os.path.join(lab.dir, "build")
    shutil.copytree(build_folder(), copy, symlinks=True,
                    ignore=shutil.ignore_patterns("tests", "share", "autom4te.cache"))
    path = os.path.join(copy, "pgbox-config.h")
    with open(path) as handle:
        text = handle.read()
    with_it = "#define %s 1" % LIMITS
    without = "/* #undef %s */" % LIMITS
    true((with_it in text) != (without in text), "what configure found: " + text)
    with open(path, "w") as handle:
        handle.write(text.replace(with_it, without) if with_it in text
                     else text.replace(without, with_it))
    source = os.path.join(copy, "src", "storage")
    for name in ("pgbox-plugin.lo", ".libs/pgbox-plugin.o", "lib20_pgbox_plugin.la"):
        os.remove(os.path.join(source, name))
    # Only this object: no other looks at the definition.
    done = subprocess.run(["make", "-C", source, "AUTOMAKE=:", "AUTOCONF=:", "ACLOCAL=:",
                           "lib20_pgbox_plugin.la"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, check=False)
    eq(done.returncode, 0, done.stdout.decode("utf-8", "replace")[-3000:])
    return os.path.join(source, ".libs", MODULE_NAME)


def use_module(node, path):
    """Let new processes of a node load this file as the plugin."""
    target = os.path.join(node.dir, "modules", MODULE_NAME)
    os.remove(target)
    shutil.copy(path, target)


def tries(lab, node):
    """What IMAP, LMTP and doveadm say to a user: {what: text}, no success."""
    user = lab.user()
    said = {}
    try:
        client = node.imap()
        reply = client.cmd("LOGIN ", user, " pw")
        said["imap"] = repr(reply)
        true(not reply.ok or not client.cmd("SELECT INBOX").ok, "IMAP works")
        client.close()
    except ImapError as error:
        said["imap"] = str(error)
    try:
        client = node.lmtp()
        said["lmtp"] = code, text = client.deliver(PLAIN, user)[user]
        true(code // 100 == 4, "LMTP says %d %s" % (code, text))
        client.close()
    except ConnectionError as error:
        said["lmtp"] = str(error)
    done = node.doveadm("mailbox", "list", user=user, check=False)
    said["doveadm"] = (done.stdout + done.stderr).decode("utf-8", "replace")
    true(done.returncode != 0, "doveadm works: " + said["doveadm"])
    return said


def refused(lab, node, pattern, services=("imap", "lmtp")):
    """All three refuse, and say why in a line that has the pattern."""
    node.expect_log(pattern, "killed|returned error 89|Internal error|exited|lmtp-|disconnected")
    said = tries(lab, node)
    true(re.search(pattern, said["doveadm"]), "doveadm: " + said["doveadm"])
    for service in services:
        proc.wait_for(lambda: [line for line in node.log_since_mark().splitlines()
                               if re.search(pattern, line) and service + "(" in line],
                      5, "%s to log /%s/:\n%s" % (service, pattern, node.log_since_mark()))
    log = node.log_since_mark()
    true("Panic" not in log and "signal 11" not in log and "signal 6" not in log, log)
    true("dovecot-secret" not in log, "a password in the log")
    return said


# -- a Dovecot that doesn't fit -------------------------------------------

@only("pgbox")
@timeout(180)
def test_other_structs(lab):
    """Built against another revision: refused under the same ABI version."""
    node = lab.node("structs")
    true(lab.imap(node=node).ok("SELECT INBOX"), "the right build works")
    use_module(node, other_build(lab))
    node.restart()
    refused(lab, node, "Fatal: pgbox: built for another revision of Dovecot .*"
            "rebuild pgbox against the headers of the installed Dovecot")
    use_module(node, built_module())
    node.restart()
    true(lab.imap(node=node).ok("SELECT INBOX"), "the right build works again")


@only("pgbox")
def test_other_abi(lab):
    """Another release: Dovecot itself refuses by the version that we state."""
    node = lab.node("abi")
    with open(built_module(), "rb") as handle:
        image = handle.read()
    wrong, count = re.subn(rb"2\.3\.ABIv\d\d", b"2.3.ABIv97", image)
    true(count >= 1, "the module states its ABI version")
    path = os.path.join(lab.dir, "wrong-abi.so")
    with open(path, "wb") as handle:
        handle.write(wrong)
    use_module(node, path)
    refused(lab, node, r"different ABI version 2\.3\.ABIv97")


@only("pgbox")
def test_not_loaded(lab):
    """mail_location names pgbox, mail_plugins doesn't: Dovecot's own message."""
    node = lab.node("unloaded", extra=NO_PLUGINS)
    refused(lab, node, "Unknown mail storage driver pgbox|Unknown.*pgbox")


# -- settings -------------------------------------------------------------

def bad_settings(lab, name, extra, pattern):
    """A node with these settings refuses with this line."""
    refused(lab, lab.node(name, extra=extra), "Error: .*" + pattern)


@only("pgbox")
def test_no_database(lab):
    """pgbox_db isn't there at all, or is empty."""
    node = lab.node("nodb")
    with open(node.conf) as handle:
        config = re.sub(r"(?m)^ *pgbox_db = .*$", "", handle.read())
    with open(node.conf, "w") as handle:
        handle.write(config)
    node.restart()
    refused(lab, node, "Error: .*the setting pgbox_db is missing: set plugin")
    bad_settings(lab, "emptydb", PLUGIN % "pgbox_db =", "the setting pgbox_db is missing")


@only("pgbox")
def test_bad_connection_string(lab):
    """pgbox_db with an option that libpq doesn't know; its text may hold secrets."""
    node = lab.node("badconn", extra=PLUGIN % "pgbox_db = hoost=/tmp password=dovecot-secret")
    refused(lab, node, "Error: .*pgbox_db is not a valid connection string")


@only("pgbox")
def test_bad_timeouts(lab):
    """A timeout that is none: the line names the setting."""
    for setting in ("pgbox_query_timeout", "pgbox_connect_timeout", "pgbox_idle_timeout"):
        bad_settings(lab, setting, PLUGIN % (setting + " = bogus"), setting + ": .*bogus")


@only("pgbox")
def test_bad_prepare(lab):
    """pgbox_prepare is yes or no."""
    bad_settings(lab, "prepare", PLUGIN % "pgbox_prepare = maybe", "pgbox_prepare: .*maybe")


@only("pgbox")
def test_quota_of_physical_sizes(lab):
    """The database counts virtual ones."""
    bad_settings(lab, "vsizes", PLUGIN % "quota_vsizes = no", "quota: .*set quota_vsizes = yes")


@only("pgbox")
def test_quota_without_quota_plugin(lab):
    """The setting alone does no harm."""
    node = lab.node("noquota", plugins="", extra=PLUGIN % "quota = pgbox:User quota")
    lab.imap(lab.user(node), node).ok("SELECT INBOX")


@only("pgbox")
def test_other_layout(lab):
    """LAYOUT=fs: the list of mailboxes is in the database."""
    for layout in ("fs", "maildir++", "index"):
        bad_settings(lab, "layout-" + layout.rstrip("+"),
                     "mail_location = pgbox:~/pgbox:LAYOUT=%s\n" % layout,
                     "remove LAYOUT from mail_location")


@only("pgbox")
def test_list_alone(lab):
    """LAYOUT=pgbox with another storage."""
    node = lab.node("listalone", extra="mail_location = sdbox:~/sdbox:LAYOUT=pgbox\n")
    refused(lab, node, "Error: .*LAYOUT=pgbox lists mailboxes of pgbox only: remove LAYOUT")
