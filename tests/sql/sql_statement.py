"""The plugin's statements: do they say in their heads what they are?"""

import glob
import os
import re

from sqllib import SQL_DIR, with_store
from tap import eq

# what can't be prepared
CONTROL = {"begin": "BEGIN", "commit": "COMMIT", "rollback": "ROLLBACK", "signal-listen": "LISTEN pgbox"}


class Statement:
    """One file of sql/stmt."""

    def __init__(self, path):
        self.name = os.path.basename(path)[:-4]
        with open(path) as handle:
            self.text = handle.read()
        self.inputs = self._types("in")
        self.outputs = self._types("out")
        plan = re.search(r"^--.*plan: (\w+)", self.text, re.M)
        self.plan = plan.group(1) if plan else None

    def _types(self, key):
        fields = []
        for line in re.findall(r"^-- %s:(.*)" % key, self.text, re.M):
            fields += [part.split() for part in line.split(",") if part.strip()]
        return [(field[0], " ".join(field[1:])) for field in fields]

    def prepare(self):
        """PREPARE under its name, dashes as underscores."""
        return "PREPARE %s (%s) AS\n%s" % (
            self.prepared, ", ".join(kind for _, kind in self.inputs), self.text) if self.inputs else \
            "PREPARE %s AS\n%s" % (self.prepared, self.text)

    @property
    def prepared(self):
        """Its name in the server."""
        return "stmt_" + self.name.replace("-", "_")

    def execute(self):
        """EXECUTE with NULLs."""
        values = ", ".join("NULL::" + kind for _, kind in self.inputs)
        return "EXECUTE %s%s" % (self.prepared, "(%s)" % values if values else "")


def statements():
    """All statements but those that control transactions or the session."""
    found = [Statement(path) for path in sorted(glob.glob(os.path.join(SQL_DIR, "stmt", "*.sql")))]
    return [stmt for stmt in found if stmt.name not in CONTROL]


@with_store
def test_types_are_as_the_head_says(store):
    for stmt in statements():
        store.db.sql(stmt.prepare())
        types = store.db.value("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = '%s'"
                               % stmt.prepared)
        eq(types, "{%s}" % ",".join(kind for _, kind in stmt.inputs), "parameters of " + stmt.name)
        described = store.db.sql(stmt.execute() + " \\gdesc")
        wanted = [kind for _, kind in stmt.outputs] or ["void"]
        eq([row[1] for row in described], wanted, "columns of " + stmt.name)


@with_store
def test_control_statements(store):
    for name, wanted in CONTROL.items():
        text = Statement(os.path.join(SQL_DIR, "stmt", name + ".sql")).text
        eq(text.rstrip().split("\n")[-1], wanted)


@with_store
def test_nothing_is_selected_by_star(_store):
    for folder in ("stmt", "replace", "verify"):
        for path in glob.glob(os.path.join(SQL_DIR, folder, "*.sql")):
            with open(path) as handle:
                stars = re.findall(r"^(?!\s*--).*SELECT\s+\*.*", handle.read(), re.M)
            eq(stars, [], path)
