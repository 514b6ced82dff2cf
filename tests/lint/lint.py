#!/usr/bin/env python3
"""The house rules that a program can check. See README.

usage: lint.py TOP_SOURCE_DIR

Prints one "ok - RULE" or "not ok - RULE" per rule, the places after "#", and
exits with 1 if a rule is broken."""

import re
import sys
from pathlib import Path

FUNCTION_MAX_LINES = 60
FUNCTION_MAX_DEPTH = 3
FILE_MAX_LINES = 500

SQL_VERBS = "SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|CALL|CREATE|ALTER|DROP" \
    "|TRUNCATE|BEGIN|COMMIT|ROLLBACK|SET|LISTEN|NOTIFY|LOCK|COPY|DO|EXECUTE"
# What outlives a transaction in a session, which a pooler gives to somebody else.
# Settings of functions (SET ... in their heads) end with them.
SESSION_STATE = re.compile(
    r"\b(pg_(try_)?advisory_(lock|unlock)\w*|currval|lastval|setseed|PREPARE|DEALLOCATE|DISCARD|LISTEN"
    r"|WITH\s+HOLD|CREATE\s+(LOCAL\s+|GLOBAL\s+)?TEMP\w*|INTO\s+TEMP\w*|ON\s+COMMIT"
    r"|SET\s+(SESSION|ROLE)|LOAD)\b|\bset_config\s*\([^;]*\bfalse\s*\)"
    r"|(;|\b(BEGIN|THEN|ELSE|LOOP))\s+SET\s+(?!LOCAL\b)", re.I)
# what lib-storage and lib-index call their headers
STORAGE_HEADERS = re.compile(r"(mail-|mailbox-|index-|dbox-|imapc-|maildir-)")

class Source:
    """A C file, also without comments and without the text of strings, line
    by line the same."""

    def __init__(self, top, path):
        self.path = path
        self.name = str(path.relative_to(top))
        self.text = path.read_text()
        self.lines = self.text.split("\n")
        self.strings = []
        self.code = self._blank()
        self.code_lines = self.code.split("\n")

    def _blank(self):
        pattern = re.compile(
            r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
            re.S)

        def replace(match):
            token = match.group()
            if token[0] == '"':
                line = self.text.count("\n", 0, match.start()) + 1
                self.strings.append((line, token[1:-1]))
                return '"' + " " * (len(token) - 2) + '"'
            if token[0] == "'":
                return "' '"
            return re.sub(r"[^\n]", " ", token)

        return pattern.sub(replace, self.text)

    def includes(self):
        for number, line in enumerate(self.lines, 1):
            match = re.match(r'#\s*include\s*["<]([^">]+)[">]', line)
            if match:
                yield number, match.group(1)

    def functions(self):
        """Yields name, line, number of lines and depth of nesting of each
        function. A body begins with a brace in the first column."""
        start = None
        for number, line in enumerate(self.code_lines, 1):
            if line == "{":
                start = number
            elif line.startswith("}") and start is not None:
                yield (self._function_name(start), start, number - start + 1,
                       self._depth(start, number))
                start = None

    def _function_name(self, start):
        head = ""
        for line in reversed(self.code_lines[max(0, start - 12):start - 1]):
            if not line.strip() or line.rstrip().endswith((";", "}")):
                break
            head = line + " " + head
        names = re.findall(r"(\w+)\s*\(", head)
        return names[0] if names else "?"

    def _depth(self, start, end):
        """Depth of blocks below the function's own; a switch with its cases
        and T_BEGIN count once, as braces do."""
        depth = deepest = 0
        for line in self.code_lines[start:end - 1]:
            for char in line:
                if char == "{":
                    depth += 1
                    deepest = max(deepest, depth)
                elif char == "}":
                    depth -= 1
        return deepest

    def calls(self, names):
        pattern = re.compile(r"\b(" + names + r")\s*\(")
        return self.matches(pattern)

    def matches(self, pattern):
        for number, line in enumerate(self.code_lines, 1):
            match = pattern.search(line)
            if match:
                yield f"{self.name}:{number}: {match.group().strip()}"


class Lint:
    def __init__(self, top):
        self.top = top
        self.sources = [Source(top, path)
                        for path in sorted((top / "src").rglob("*.[ch]"))
                        if path.name not in ("pgbox-stmt.c", "pgbox-stmt.h")]
        self.tests = [Source(top, path) for path in
                      sorted((top / "tests" / "unit").glob("*.[ch]"))
                      if path.name not in ("pgbox-stmt.c", "pgbox-stmt.h")]
        self.failed = False

    def layer(self, *names):
        return [source for source in self.sources
                if source.path.relative_to(self.top / "src").parts[0] in names]

    def report(self, rule, places):
        places = list(places)
        print(("not ok - " if places else "ok - ") + rule)
        for place in places:
            print("# " + place)
        self.failed = self.failed or bool(places)

    def check_layers(self):
        pattern = re.compile(r"\b(PQ[a-z]\w*|PG(conn|result|cancel)\b)")
        self.report("libpq only in src/pq", [
            place for source in self.layer("cache", "db", "notify", "storage", "doveadm", "stmt")
            for place in source.matches(pattern)])
        self.report("no mail storage in src/cache, src/pq, src/db and src/stmt", [
            f"{source.name}:{line}: {name}"
            for source in self.layer("cache", "pq", "db", "stmt")
            for line, name in source.includes()
            if STORAGE_HEADERS.match(name)])
        allowed = {"cache": ["cache"],
                   "stmt": ["stmt"], "pq": ["stmt", "pq"],
                   "db": ["cache", "stmt", "pq", "db"],
                   "notify": ["pq", "db", "notify"],
                   "storage": ["cache", "pq", "db", "storage"],
                   "doveadm": ["pq", "db", "doveadm"]}
        owner = {source.path.name: source.path.parent.name
                 for source in self.sources}
        owner["pgbox-stmt.h"] = "stmt"
        # what both sides of the socket have to know
        owner["pgbox-notify-protocol.h"] = "db"
        # compiled into both modules
        owner["pgbox-settings.h"] = "db"
        private = re.compile(r"pgbox-(conn-private|content-cache-private|stmt-table)\.h$")
        bad = []
        for source in self.sources:
            layer = source.path.parent.name
            for line, name in source.includes():
                target = owner.get(name)
                if target is not None and (
                        target not in allowed[layer] or
                        (private.match(name) and layer not in ("cache", "pq", "stmt"))):
                    bad.append(f"{source.name}:{line}: {name}")
        self.report("includes point down the layers", bad)

    def check_sizes(self):
        files, functions, depths = [], [], []
        for source in self.sources + self.tests:
            count = len(source.lines) - 1
            if count > FILE_MAX_LINES and source in self.sources:
                files.append(f"{source.name}: {count} lines")
            for name, line, length, depth in source.functions():
                place = f"{source.name}:{line}: {name}()"
                if length > FUNCTION_MAX_LINES:
                    functions.append(f"{place}: {length} lines")
                if depth > FUNCTION_MAX_DEPTH:
                    depths.append(f"{place}: {depth} deep")
        self.report(f"files up to {FILE_MAX_LINES} lines", files)
        self.report(f"functions up to {FUNCTION_MAX_LINES} lines", functions)
        self.report(f"blocks up to {FUNCTION_MAX_DEPTH} deep", depths)

    def check_words(self):
        self.report("no goto", [
            place for source in self.sources
            for place in source.matches(re.compile(r"\bgoto\b"))])
        # doveadm's commands talk to a person, as all of doveadm's do
        daemons = self.layer("stmt", "pq", "db", "notify", "storage")
        for rule, names, sources in (
                ("no sprintf, strcpy, strcat, gets",
                 "v?sprintf|strcpy|strcat|gets", self.sources),
                ("no sleeping", "sleep|usleep|nanosleep|pg_usleep",
                 self.sources),
                ("events instead of i_error, i_warning, i_info, i_debug",
                 "i_error|i_warning|i_info|i_debug", daemons)):
            self.report(rule, [place for source in sources
                               for place in source.calls(names)])
        verb = re.compile(r"\s*(" + SQL_VERBS + r")\s+\S")
        self.report("no SQL in C", [
            f'{source.name}:{line}: "{text[:40]}"'
            for source in self.sources for line, text in source.strings
            if verb.match(text)])
        self.report("Dovecot's version is tested in compat files only", [
            place for source in self.sources
            if "compat" not in source.path.name
            for place in source.matches(re.compile(r"\bDOVECOT_PREREQ\b"))])

    def check_prototypes(self):
        """A comment stands directly above each prototype, or above the first
        of a group without empty lines."""
        bad = []
        for source in self.sources:
            if source.path.suffix == ".h":
                bad += prototypes_without_comment(source)
        self.report("prototypes in headers have a comment", bad)

    def check_vfuncs(self):
        """In tables of functions each member has its name."""
        table = re.compile(
            r"struct \w*vfuncs \w+ = \{(.*?)\n\};|\.v = \{(.*?)\}", re.S)
        bad = []
        for source in self.sources:
            for match in table.finditer(source.code):
                body = match.group(1) or match.group(2) or ""
                line = source.code.count("\n", 0, match.start()) + 1
                for item in re.sub(r"\{[^{}]*\}", "", body).split(","):
                    item = item.strip()
                    if item and not item.startswith((".", "#")):
                        bad.append(f"{source.name}:{line}: {item}")
        self.report("tables of functions name their members", bad)

    def check_statements(self):
        users = {path.stem: [] for path in
                 sorted((self.top / "sql" / "stmt").glob("*.sql"))}
        unknown = []
        for source in self.sources:
            for number, line in enumerate(source.code_lines, 1):
                for name in re.findall(r"\bPGBOX_STMT_([A-Z0-9_]+)\b", line):
                    name = name.lower().replace("_", "-")
                    if name in users:
                        users[name].append(function_at(source, number))
                    elif name not in ("count", "h", "table-h"):
                        unknown.append(f"{source.name}:{number}: {name}")
        self.report("each statement is used by exactly one function", [
            f"sql/stmt/{name}.sql: used by " +
            (", ".join(sorted(set(where))) or "none")
            for name, where in users.items() if len(set(where)) != 1])
        self.report("each statement used exists", unknown)

    def check_sessions(self):
        """The service for signals alone has a session to itself."""
        bad = []
        for folder in ("stmt", "replace"):
            for path in sorted((self.top / "sql" / folder).glob("*.sql")):
                if path.name == "signal-listen.sql":
                    continue
                code = re.sub(r"--[^\n]*|'(?:[^']|'')*'", lambda match: "\n" * match.group().count("\n"), path.read_text())
                for match in SESSION_STATE.finditer(code):
                    line = code.count("\n", 0, match.start()) + 1
                    bad.append(f"sql/{folder}/{path.name}:{line}: {' '.join(match.group().split())}")
        self.report("nothing in SQL outlives its transaction in the session", bad)


def function_at(source, number):
    for name, line, length, _ in source.functions():
        if line <= number < line + length:
            return f"{source.name}:{name}()"
    return f"{source.name}:{number}"


def prototypes_without_comment(source):
    # since the last empty line there was a comment
    commented = False
    statement = ""
    start = 0
    for number, line in enumerate(source.code_lines, 1):
        raw = source.lines[number - 1].strip()
        if not statement:
            if not raw:
                commented = False
            elif not line.strip() and raw.endswith("*/"):
                commented = True
            if not line.strip() or line[0] in "#\t }":
                continue
            start = number
        statement += line + " "
        if not line.rstrip().endswith((";", "{")):
            continue
        head = statement.strip()
        statement = ""
        is_prototype = head.endswith(";") and "(" in head and \
            not re.match(r"extern|typedef|[A-Z_]+\(", head)
        if is_prototype and not commented:
            name = re.search(r"(\w+)\s*\(", head).group(1)
            yield f"{source.name}:{start}: {name}()"


def main():
    lint = Lint(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
    lint.check_layers()
    lint.check_sizes()
    lint.check_words()
    lint.check_prototypes()
    lint.check_vfuncs()
    lint.check_statements()
    lint.check_sessions()
    sys.exit(1 if lint.failed else 0)


if __name__ == "__main__":
    main()
