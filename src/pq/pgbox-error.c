#include "lib.h"
#include "str.h"
#include "str-sanitize.h"
#include "pgbox-error.h"

struct error_class {
	/* five characters, or the two of an SQLSTATE class */
	const char *sqlstate;
	enum pgbox_error_kind kind;
};

/* The first entry that the SQLSTATE begins with decides: codes stand before
   their classes. */
static const struct error_class error_classes[] = {
	{ "08001", PGBOX_ERROR_UNREACHABLE },
	{ "08004", PGBOX_ERROR_UNREACHABLE },
	{ "08007", PGBOX_ERROR_IN_DOUBT },
	{ "08", PGBOX_ERROR_LOST },
	{ "22", PGBOX_ERROR_INPUT },
	{ "23", PGBOX_ERROR_CONSTRAINT },
	{ "25006", PGBOX_ERROR_STANDBY },
	{ "25P03", PGBOX_ERROR_LOST },
	{ "26000", PGBOX_ERROR_SCHEMA },
	{ "28", PGBOX_ERROR_DENIED },
	{ "3D000", PGBOX_ERROR_SCHEMA },
	{ "3F000", PGBOX_ERROR_SCHEMA },
	{ "40001", PGBOX_ERROR_RACE },
	{ "40003", PGBOX_ERROR_IN_DOUBT },
	{ "40P01", PGBOX_ERROR_RACE },
	{ "42501", PGBOX_ERROR_DENIED },
	{ "42703", PGBOX_ERROR_SCHEMA },
	{ "42704", PGBOX_ERROR_SCHEMA },
	{ "42883", PGBOX_ERROR_SCHEMA },
	{ "42P01", PGBOX_ERROR_SCHEMA },
	{ "53300", PGBOX_ERROR_UNREACHABLE },
	{ "53", PGBOX_ERROR_FULL },
	{ "54", PGBOX_ERROR_FULL },
	{ "55P03", PGBOX_ERROR_BUSY },
	{ "57014", PGBOX_ERROR_BUSY },
	{ "57P01", PGBOX_ERROR_LOST },
	{ "57P02", PGBOX_ERROR_LOST },
	{ "57P03", PGBOX_ERROR_UNREACHABLE },
	{ "57P05", PGBOX_ERROR_LOST },
	{ "58", PGBOX_ERROR_DAMAGED },
	{ "PB009", PGBOX_ERROR_SCHEMA },
	/* a new link makes the counters good for its timeline */
	{ "PB014", PGBOX_ERROR_LOST },
	{ "PB015", PGBOX_ERROR_STALE },
	{ "PB", PGBOX_ERROR_RULE },
	{ "XX001", PGBOX_ERROR_DAMAGED },
	{ "XX002", PGBOX_ERROR_DAMAGED },
};

enum pgbox_error_kind pgbox_error_classify(const char *sqlstate)
{
	unsigned int i;

	if (sqlstate == NULL || strlen(sqlstate) != PGBOX_SQLSTATE_LEN)
		return PGBOX_ERROR_BUG;
	for (i = 0; i < N_ELEMENTS(error_classes); i++) {
		if (str_begins(sqlstate, error_classes[i].sqlstate))
			return error_classes[i].kind;
	}
	return PGBOX_ERROR_BUG;
}

/* Write text to dest as one line of valid UTF-8. */
static void error_copy_line(char *dest, size_t dest_size, const char *text)
{
	string_t *line = t_str_new(256);
	bool space = FALSE;

	for (; *text != '\0'; text++) {
		if (*text == ' ' || *text == '\n' || *text == '\r' ||
		    *text == '\t') {
			space = str_len(line) > 0;
			continue;
		}
		if (space)
			str_append_c(line, ' ');
		space = FALSE;
		str_append_c(line, *text);
	}
	i_strocpy(dest, str_sanitize(str_c(line), dest_size - 1), dest_size);
}

void pgbox_error_set(struct pgbox_error *error, enum pgbox_error_kind kind,
		     const char *fmt, ...)
{
	va_list args;

	i_zero(error);
	error->kind = kind;
	va_start(args, fmt);
	T_BEGIN {
		error_copy_line(error->text, sizeof(error->text),
				t_strdup_vprintf(fmt, args));
	} T_END;
	va_end(args);
}

bool pgbox_error_drops_connection(enum pgbox_error_kind kind)
{
	switch (kind) {
	case PGBOX_ERROR_UNREACHABLE:
	case PGBOX_ERROR_LOST:
	case PGBOX_ERROR_IN_DOUBT:
	case PGBOX_ERROR_STANDBY:
	case PGBOX_ERROR_STALE:
	case PGBOX_ERROR_SCHEMA:
	case PGBOX_ERROR_DENIED:
	case PGBOX_ERROR_DAMAGED:
	case PGBOX_ERROR_BUG:
		return TRUE;
	case PGBOX_ERROR_NONE:
	case PGBOX_ERROR_RACE:
	case PGBOX_ERROR_BUSY:
	case PGBOX_ERROR_RULE:
	case PGBOX_ERROR_CONSTRAINT:
	case PGBOX_ERROR_INPUT:
	case PGBOX_ERROR_FULL:
		break;
	}
	return FALSE;
}

bool pgbox_error_is_repeatable(enum pgbox_error_kind kind)
{
	return kind == PGBOX_ERROR_LOST || kind == PGBOX_ERROR_RACE;
}

const char *pgbox_error_hint(enum pgbox_error_kind kind)
{
	switch (kind) {
	case PGBOX_ERROR_UNREACHABLE:
		return "check pgbox_db and that the server is running";
	case PGBOX_ERROR_STANDBY:
		return "pgbox_db must lead to the primary, see "
			"target_session_attrs";
	case PGBOX_ERROR_STALE:
		return "let pgbox_db lead to the new primary, and stop this "
			"server or make it a standby";
	case PGBOX_ERROR_SCHEMA:
		return "pgbox-schema status tells what to do";
	case PGBOX_ERROR_DENIED:
		return "check user and password of pgbox_db and the grants";
	case PGBOX_ERROR_FULL:
		return "the server ran out of disk space, memory or another "
			"resource: see its log";
	case PGBOX_ERROR_DAMAGED:
		return "check the server's log and storage";
	case PGBOX_ERROR_BUSY:
		return "the server is overloaded, or a lock is held for long";
	default:
		return "";
	}
}
