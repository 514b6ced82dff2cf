#include "lib.h"
#include "test-common.h"
#include "pgbox-error.h"

static const struct {
	const char *sqlstate;
	enum pgbox_error_kind kind;
} sqlstates[] = {
	{ "08001", PGBOX_ERROR_UNREACHABLE },
	{ "08004", PGBOX_ERROR_UNREACHABLE },
	{ "53300", PGBOX_ERROR_UNREACHABLE },
	{ "57P03", PGBOX_ERROR_UNREACHABLE },
	{ "08006", PGBOX_ERROR_LOST },
	{ "08P01", PGBOX_ERROR_LOST },
	{ "57P01", PGBOX_ERROR_LOST },
	{ "57P02", PGBOX_ERROR_LOST },
	{ "57P05", PGBOX_ERROR_LOST },
	{ "25P03", PGBOX_ERROR_LOST },
	{ "08007", PGBOX_ERROR_IN_DOUBT },
	{ "40003", PGBOX_ERROR_IN_DOUBT },
	{ "40001", PGBOX_ERROR_RACE },
	{ "40P01", PGBOX_ERROR_RACE },
	{ "55P03", PGBOX_ERROR_BUSY },
	{ "57014", PGBOX_ERROR_BUSY },
	{ "25006", PGBOX_ERROR_STANDBY },
	{ "PB014", PGBOX_ERROR_LOST },
	{ "PB015", PGBOX_ERROR_STALE },
	{ "PB001", PGBOX_ERROR_RULE },
	{ "23505", PGBOX_ERROR_CONSTRAINT },
	{ "23514", PGBOX_ERROR_CONSTRAINT },
	{ "22021", PGBOX_ERROR_INPUT },
	{ "22P05", PGBOX_ERROR_INPUT },
	{ "22001", PGBOX_ERROR_INPUT },
	{ "42P01", PGBOX_ERROR_SCHEMA },
	{ "42703", PGBOX_ERROR_SCHEMA },
	{ "42883", PGBOX_ERROR_SCHEMA },
	{ "3F000", PGBOX_ERROR_SCHEMA },
	{ "3D000", PGBOX_ERROR_SCHEMA },
	{ "26000", PGBOX_ERROR_SCHEMA },
	{ "28P01", PGBOX_ERROR_DENIED },
	{ "28000", PGBOX_ERROR_DENIED },
	{ "42501", PGBOX_ERROR_DENIED },
	{ "53100", PGBOX_ERROR_FULL },
	{ "53200", PGBOX_ERROR_FULL },
	{ "53400", PGBOX_ERROR_FULL },
	{ "54000", PGBOX_ERROR_FULL },
	{ "XX001", PGBOX_ERROR_DAMAGED },
	{ "XX002", PGBOX_ERROR_DAMAGED },
	{ "58030", PGBOX_ERROR_DAMAGED },
	{ "XX000", PGBOX_ERROR_BUG },
	{ "42601", PGBOX_ERROR_BUG },
	{ "0A000", PGBOX_ERROR_BUG },
	{ "40002", PGBOX_ERROR_BUG },
	{ "23", PGBOX_ERROR_BUG },
	{ "", PGBOX_ERROR_BUG },
	{ NULL, PGBOX_ERROR_BUG },
};

static void test_classify(void)
{
	unsigned int i;

	test_begin("pgbox_error_classify()");
	for (i = 0; i < N_ELEMENTS(sqlstates); i++) {
		test_assert_idx(pgbox_error_classify(sqlstates[i].sqlstate) ==
				sqlstates[i].kind, i);
	}
	test_end();
}

static void test_set(void)
{
	struct pgbox_error error;
	char *big;

	test_begin("pgbox_error_set()");
	memset(&error, 0xff, sizeof(error));
	pgbox_error_set(&error, PGBOX_ERROR_LOST, " a\n b\t\tc%s\n", "\x01\xff");
	test_assert(error.kind == PGBOX_ERROR_LOST);
	test_assert(error.sqlstate[0] == '\0' && error.constraint[0] == '\0');
	test_assert(error.stmt == NULL);
	test_assert(str_begins(error.text, "a b c"));
	test_assert(strpbrk(error.text, "\n\t\x01\xff") == NULL);

	big = i_malloc(10000);
	memset(big, 'x', 9999);
	pgbox_error_set(&error, PGBOX_ERROR_BUG, "%s", big);
	test_assert(strlen(error.text) < sizeof(error.text));
	test_assert(strlen(error.text) > sizeof(error.text) - 10);
	i_free(big);
	test_end();
}

static void test_kinds(void)
{
	enum pgbox_error_kind kind;
	unsigned int kept = 0, repeatable = 0;

	test_begin("properties of error kinds");
	for (kind = PGBOX_ERROR_NONE; kind <= PGBOX_ERROR_BUG; kind++) {
		if (!pgbox_error_drops_connection(kind))
			kept++;
		if (pgbox_error_is_repeatable(kind))
			repeatable++;
		test_assert_idx(pgbox_error_hint(kind) != NULL, kind);
	}
	test_assert(kept == 7);
	test_assert(repeatable == 2);
	test_assert(!pgbox_error_is_repeatable(PGBOX_ERROR_IN_DOUBT));
	test_assert(pgbox_error_drops_connection(PGBOX_ERROR_IN_DOUBT));
	test_assert(!pgbox_error_drops_connection(PGBOX_ERROR_RULE));
	test_end();
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_classify,
		test_set,
		test_kinds,
		NULL
	};

	return test_run(tests);
}
