# Makes pgbox-stmt.h (-v output=header) or pgbox-stmt.c (-v output=table) from
# the files of sql/stmt. See README for their form.

BEGIN {
	split("boolean bytea bigint smallint integer text uuid " \
	      "boolean[] smallint[] integer[] bigint[] text[] uuid[] bytea[]", names, " ")
	for (i in names) {
		constant = toupper(names[i])
		sub(/\[\]$/, "_ARRAY", constant)
		types[names[i]] = "PGBOX_TYPE_" constant
	}
	failed = 0
	count = 0
}

function fail(text) {
	printf("%s:%d: %s\n", FILENAME, FNR, text) > "/dev/stderr"
	failed = 1
}

# Returns the C initialiser for a list such as "a bigint, b bytea".
function head_types(list, kind,    parts, part, words, n, i, result) {
	n = split(list, parts, ",")
	result = ""
	for (i = 1; i <= n; i++) {
		part = parts[i]
		gsub(/^[ \t]+|[ \t]+$/, "", part)
		if (part == "")
			continue
		if (split(part, words, /[ \t]+/) != 2)
			fail("expected \"name type\", got \"" part "\"")
		else if (!(words[2] in types))
			fail("unknown type \"" words[2] "\"")
		else {
			result = result types[words[2]] ", "
			counts[count, kind]++
		}
	}
	return result
}

# Returns the line without a trailing comment. Quoted text may hold "--".
function strip_comment(line,    i, c, quoted) {
	quoted = 0
	for (i = 1; i <= length(line); i++) {
		c = substr(line, i, 1)
		if (c == "'")
			quoted = !quoted
		else if (!quoted && substr(line, i, 2) == "--")
			return substr(line, 1, i - 1)
	}
	return line
}

FNR == 1 {
	name = FILENAME
	sub(/^.*\//, "", name)
	sub(/\.sql$/, "", name)
	if (name !~ /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/)
		fail("statement names are lower-case words joined by \"-\"")
	stmt[++count] = name
	sql[count] = ""
	heads[count, "in"] = heads[count, "out"] = ""
	counts[count, "in"] = counts[count, "out"] = 0
}

sql[count] == "" && /^--[ \t]*(in|out):/ {
	kind = ($0 ~ /^--[ \t]*in:/) ? "in" : "out"
	list = $0
	sub(/^--[ \t]*(in|out):/, "", list)
	heads[count, kind] = heads[count, kind] head_types(list, kind)
	next
}

{
	line = strip_comment($0)
	gsub(/[ \t]+$/, "", line)
	if (line == "")
		next
	if (line ~ /;$/)
		fail("statements have no closing semicolon")
	gsub(/\\/, "&&", line)
	gsub(/"/, "\\\\&", line)
	gsub(/\t/, "\\\\t", line)
	sql[count] = sql[count] "\n\t\t\t\"" line "\\n\""
}

function print_header(    i, constant) {
	print "#ifndef PGBOX_STMT_H"
	print "#define PGBOX_STMT_H"
	print ""
	print "/* the files of sql/stmt */"
	print "enum pgbox_stmt {"
	for (i = 1; i <= count; i++) {
		constant = toupper(stmt[i])
		gsub(/-/, "_", constant)
		print "\tPGBOX_STMT_" constant ","
	}
	print ""
	print "\tPGBOX_STMT_COUNT"
	print "};"
	print ""
	print "#endif"
}

function print_types(member, i, kind) {
	if (counts[i, kind] > 0) {
		printf("\t\t.%s_types = (const unsigned int[]) { %s},\n",
		       member, heads[i, kind])
	}
	printf("\t\t.%s_count = %d,\n", member, counts[i, kind])
}

function print_table(    i, constant) {
	print "#include \"lib.h\""
	print "#include \"pgbox-stmt.h\""
	print "#include \"pgbox-stmt-table.h\""
	print ""
	print "const struct pgbox_stmt_def pgbox_stmt_table[PGBOX_STMT_COUNT] = {"
	for (i = 1; i <= count; i++) {
		constant = toupper(stmt[i])
		gsub(/-/, "_", constant)
		print "\t[PGBOX_STMT_" constant "] = {"
		print "\t\t.name = \"" stmt[i] "\","
		print "\t\t.sql =" sql[i] ","
		print_types("param", i, "in")
		print_types("column", i, "out")
		print "\t},"
	}
	print "};"
}

END {
	for (i = 1; i <= count; i++) {
		if (sql[i] == "") {
			printf("%s.sql: no statement\n", stmt[i]) > "/dev/stderr"
			failed = 1
		}
	}
	if (failed)
		exit 1
	if (output == "header")
		print_header()
	else
		print_table()
}
