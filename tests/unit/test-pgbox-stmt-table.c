/* What stmt-table.awk makes of stmt/. */
#include "lib.h"
#include "test-common.h"
#include "pgbox-stmt.h"
#include "pgbox-stmt-table.h"

static void test_table(void)
{
	const struct pgbox_stmt_def *def;
	static const unsigned int types[] = {
		16, 23, 20, 25, 17, 2950,
		1000, 1005, 1007, 1016, 1009, 2951, 1001
	};

	test_begin("statement table");
	def = &pgbox_stmt_table[PGBOX_STMT_ECHO_TYPES];
	test_assert_strcmp(def->name, "echo-types");
	test_assert(def->param_count == N_ELEMENTS(types));
	test_assert(memcmp(def->param_types, types, sizeof(types)) == 0);
	test_assert(def->column_count == 12);
	test_assert(def->column_types[0] == 16);
	test_assert(def->column_types[10] == 21);
	test_assert(strstr(def->sql, "comment") == NULL);
	test_assert(str_begins(def->sql, "SELECT $1, $2"));

	def = &pgbox_stmt_table[PGBOX_STMT_BEGIN];
	test_assert_strcmp(def->sql, "BEGIN\n");
	test_assert(def->param_count == 0 && def->column_count == 0);

	def = &pgbox_stmt_table[PGBOX_STMT_QUOTES];
	test_assert_strcmp(def->sql,
			   "SELECT 'a -- b', \"c\", E'\\\\',\n\t'it''s'\n");
	test_end();
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_table,
		NULL
	};

	return test_run(tests);
}
