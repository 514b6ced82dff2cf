"""Runs .spec files by PostgreSQL's isolationtester and compares what comes out."""

import difflib
import glob
import os
import re

import proc
from cluster import PASSWORD, bindir
from proc import LabError
from sql_statement import CONTROL, statements
from sqllib import SQL_DIR

HERE = os.path.dirname(os.path.abspath(__file__))
SPECS = os.path.join(HERE, "specs")
EXPECTED = os.path.join(HERE, "expected")
# A step that waits for longer hangs. It is above the role's lock_timeout.
STEP_SECONDS = "30"


def tester():
    """The path of isolationtester; it comes with PostgreSQL's client package."""
    root = os.path.dirname(bindir())
    path = os.path.join(root, "lib/pgxs/src/test/isolation/isolationtester")
    if not os.path.exists(path):
        raise LabError("%s is missing: apt-get install postgresql-client" % path)
    return path


def names():
    """Names of all specs."""
    return sorted(os.path.basename(path)[:-5] for path in glob.glob(os.path.join(SPECS, "*.spec")))


def read(path):
    """A file's text; empty if there is none."""
    if not os.path.exists(path):
        return ""
    with open(path) as handle:
        return handle.read()


def wrapper(stmt):
    """CREATE FUNCTION of a plugin's statement, for steps to call it by its name."""
    inputs = ", ".join("p_%s %s" % field for field in stmt.inputs)
    outputs = ", ".join("%s %s" % field for field in stmt.outputs)
    return "CREATE FUNCTION stmt.%s(%s) RETURNS %s LANGUAGE sql AS $stmt$\n%s$stmt$;\n" % (
        stmt.name.replace("-", "_"), inputs, "TABLE (%s)" % outputs if outputs else "void", stmt.text)


def load_helpers(cluster, dbname="pgbox"):
    """Make the schemas that the specs use, in a database that has pgbox's."""
    sql = "BEGIN;\nCREATE SCHEMA stmt;\nGRANT USAGE ON SCHEMA stmt TO pgbox_dovecot;\n"
    for stmt in statements():
        sql += wrapper(stmt)
    sql += read(os.path.join(HERE, "helpers.sql"))
    verify = read(os.path.join(SQL_DIR, "verify", "20-rows.sql")).rstrip().rstrip(";")
    # as its owner, for steps are the plugin, which has no right to call what verify does
    sql += ("CREATE FUNCTION iso.verify() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS $verify$\n%s$verify$;\n"
            "CREATE VIEW iso.problems (problem) AS SELECT o.problem FROM iso.orphans AS o UNION ALL SELECT v FROM iso.verify() AS v;\n"
            "GRANT SELECT ON iso.problems TO pgbox_dovecot;\nCOMMIT" % verify)
    cluster.psql(sql, dbname=dbname)


def drop_helpers(cluster, dbname="pgbox"):
    """Remove them: what is left must be pgbox's schema alone."""
    cluster.psql("DROP SCHEMA iso, stmt CASCADE", dbname=dbname)


def run_text(cluster, text, dbname="pgbox"):
    """What isolationtester says when it runs the text of a spec."""
    env = dict(os.environ, PGPASSWORD=PASSWORD, PGISOLATIONTIMEOUT=STEP_SECONDS, PGCLIENTENCODING="UTF8")
    done = proc.run([tester(), cluster.uri("pgbox_dovecot", dbname)], data=text.encode(), env=env, check=False)
    if done.returncode != 0:
        raise LabError("isolationtester: exit %d\n%s" % (done.returncode, (done.stdout + done.stderr).decode()))
    # the ids of mailboxes are other ones each time
    return re.sub(r"(mailbox|content) \d+", r"\1 N", (done.stdout + done.stderr).decode())


def run_spec(cluster, name, dbname="pgbox"):
    """What isolationtester says about a spec."""
    return run_text(cluster, read(os.path.join(SPECS, name + ".spec")), dbname)


def differences(name, got):
    """A diff of what was expected and what came; empty if they are equal."""
    wanted = read(os.path.join(EXPECTED, name + ".out"))
    return "\n".join(difflib.unified_diff(wanted.splitlines(), got.splitlines(),
                                          "expected/%s.out" % name, "this run", lineterm=""))


def heads(name):
    """What the head of a spec says: {keyword: text}."""
    head = re.match(r"(?:#.*\n)+", read(os.path.join(SPECS, name + ".spec")))
    text = re.sub(r"^# ?", "", head.group(0), flags=re.M) if head else ""
    return {key: " ".join(value.split()) for key, value in re.findall(r"^(\w+):((?:.*\n(?!\w+:))*.*)", text, re.M)}
