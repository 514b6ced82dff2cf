/* Single statements over a scripted libpq. */
#include "lib.h"
#include "test-common.h"
#include "pgbox-conn-private.h"
#include "pgbox-params.h"
#include "fake-pq.h"

#include <stdio.h>

#define INSERT_ITEM_FIRST "prepare:insert-item exec:insert-item sync"
#define COUNT_ITEMS_FIRST "prepare:count-items exec:count-items sync"

static struct pgbox_conn_settings set = {
	.conninfo = "host=fake",
	.connect_timeout_msecs = 1000,
	.query_timeout_msecs = 50,
	.idle_timeout_msecs = 1000,
	.prepare = TRUE,
};
static struct pgbox_conn *conn;
static struct pgbox_error error;

static void start(const char *name, const struct fake_pq_step *steps)
{
	test_begin(name);
	fake_pq_script(steps);
	conn = pgbox_conn_get(&set, NULL);
}

static void finish(const char *expected_log)
{
	pgbox_conn_unref(&conn);
	test_assert_strcmp(fake_pq_log(), expected_log);
	test_assert(fake_pq_is_clean());
	test_end();
}

/* A write. Returns the number of its rows, or -1. */
static int run_write(void)
{
	struct pgbox_params *params = pgbox_params_new();
	struct pgbox_result *result;
	int ret, rows = 0;

	pgbox_params_int32(params, 1);
	pgbox_params_bytea(params, "", 0);
	if (pgbox_query(conn, PGBOX_STMT_INSERT_ITEM, params, 0,
			&result, &error) < 0)
		return -1;
	while ((ret = pgbox_result_next(result, &error)) > 0)
		test_assert(pgbox_result_int32(result, 0) == ++rows);
	pgbox_result_free(&result);
	return ret < 0 ? -1 : rows;
}

/* A read. Returns the number of its rows, or -1. */
static int run_read(void)
{
	struct pgbox_result *result;
	int ret, rows = 0;

	if (pgbox_query(conn, PGBOX_STMT_COUNT_ITEMS, NULL,
			PGBOX_EXEC_REPEATABLE, &result, &error) < 0)
		return -1;
	while ((ret = pgbox_result_next(result, &error)) > 0)
		test_assert(pgbox_result_int64(result, 0) == ++rows);
	pgbox_result_free(&result);
	return ret < 0 ? -1 : rows;
}

static void test_success(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_ROWS, 3, NULL },
		{ "count-items", FAKE_PQ_ROWS, 2, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("success", steps);
	test_assert(run_write() == 1);
	test_assert(run_write() == 3);
	test_assert(run_read() == 2);
	test_assert(run_write() == 0);
	finish("connect " INSERT_ITEM_FIRST " exec:insert-item sync "
	       COUNT_ITEMS_FIRST " exec:insert-item sync finish");
}

static void test_unprepared(void)
{
	static const struct fake_pq_step steps[] = { { NULL, 0, 0, NULL } };

	set.prepare = FALSE;
	start("without prepared statements", steps);
	test_assert(run_write() == 0);
	test_assert(run_write() == 0);
	set.prepare = TRUE;
	finish("connect exec:insert-item sync exec:insert-item sync finish");
}

static void test_refused(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ERROR, 0, "23505" },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_ERROR_AT_SYNC, 1, "23505" },
		{ "insert-item", FAKE_PQ_ERROR_AT_SYNC, 2, "23505" },
		{ NULL, 0, 0, NULL }
	};
	unsigned int i;

	start("refused, by the statement and by the commit", steps);
	test_assert(run_write() == -1);
	test_assert_strcmp(error.text, "primary - two lines");
	test_assert_strcmp(error.constraint, "item_pkey");
	test_assert(run_write() == 1);
	for (i = 0; i < 2; i++) {
		i_zero(&error);
		test_assert(run_write() == -1);
		test_assert(error.kind == PGBOX_ERROR_CONSTRAINT);
	}
	finish("connect " INSERT_ITEM_FIRST " exec:insert-item sync "
	       "exec:insert-item sync exec:insert-item sync finish");
}

/* a write whose only row was seen isn't reported as done before the sync */
static void test_commit_before_success(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ERROR_AT_SYNC, 1, "40001" },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("commit refused after the only row", steps);
	test_assert(run_write() == 1);
	finish("connect " INSERT_ITEM_FIRST " exec:insert-item sync finish");
}

static void test_death(void)
{
	static const struct {
		enum fake_pq_action action;
		unsigned int rows;
		const char *sqlstate;
		enum pgbox_error_kind kind;
	} tests[] = {
		{ FAKE_PQ_DIE, 0, NULL, PGBOX_ERROR_IN_DOUBT },
		{ FAKE_PQ_ROWS_AND_DIE, 0, NULL, PGBOX_ERROR_IN_DOUBT },
		{ FAKE_PQ_ROWS_AND_DIE, 1, NULL, PGBOX_ERROR_IN_DOUBT },
		{ FAKE_PQ_ROWS_AND_DIE, 3, NULL, PGBOX_ERROR_IN_DOUBT },
		{ FAKE_PQ_FATAL, 0, "08006", PGBOX_ERROR_IN_DOUBT },
	};
	struct fake_pq_step steps[] = {
		{ "insert-item", 0, 0, NULL },
		{ NULL, 0, 0, NULL }
	};
	unsigned int i;

	for (i = 0; i < N_ELEMENTS(tests); i++) {
		steps[0].action = tests[i].action;
		steps[0].count = tests[i].rows;
		steps[0].sqlstate = tests[i].sqlstate;
		start("link dies after a write was sent", steps);
		test_assert_idx(run_write() == -1, i);
		test_assert_idx(error.kind == tests[i].kind, i);
		finish("connect " INSERT_ITEM_FIRST " finish");
	}
}

static void test_terminated(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_FATAL, 0, "57P01" },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_FATAL, 0, "57P01" },
		{ "insert-item", FAKE_PQ_FATAL, 0, "57P01" },
		{ NULL, 0, 0, NULL }
	};

	start("session ended by the server, repeated once", steps);
	test_assert(run_write() == 1);
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST);
	finish("connect " INSERT_ITEM_FIRST " finish "
	       "connect " INSERT_ITEM_FIRST " exec:insert-item sync finish "
	       "connect " INSERT_ITEM_FIRST " finish");
}

static void test_read_death(void)
{
	static const struct fake_pq_step steps[] = {
		{ "count-items", FAKE_PQ_DIE, 0, NULL },
		{ "count-items", FAKE_PQ_ROWS, 1, NULL },
		{ "count-items", FAKE_PQ_DIE, 0, NULL },
		{ "count-items", FAKE_PQ_DIE, 0, NULL },
		{ "count-items", FAKE_PQ_ROWS_AND_DIE, 2, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("link dies under a read, repeated once", steps);
	test_assert(run_read() == 1);
	test_assert(run_read() == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST);
	/* rows were delivered: not repeated */
	test_assert(run_read() == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST);
	finish("connect " COUNT_ITEMS_FIRST " finish "
	       "connect " COUNT_ITEMS_FIRST " exec:count-items sync finish "
	       "connect " COUNT_ITEMS_FIRST " finish "
	       "connect " COUNT_ITEMS_FIRST " finish");
}

static void test_death_before_send(void)
{
	static const struct fake_pq_step steps[] = { { NULL, 0, 0, NULL } };

	start("link dies before a write was sent", steps);
	fake_pq_flush_fails();
	test_assert(run_write() == 0);
	fake_pq_flush_blocks(3);
	test_assert(run_write() == 0);
	finish("connect " INSERT_ITEM_FIRST " finish "
	       "connect " INSERT_ITEM_FIRST " exec:insert-item sync finish");
}

static void test_dead_idle_link(void)
{
	static const struct fake_pq_step steps[] = { { NULL, 0, 0, NULL } };

	start("idle link closed by the server", steps);
	test_assert(run_write() == 0);
	fake_pq_close_idle(TRUE);
	test_assert(run_write() == 0);
	fake_pq_close_idle(FALSE);
	test_assert(run_write() == 0);
	finish("connect " INSERT_ITEM_FIRST " finish "
	       "connect " INSERT_ITEM_FIRST " finish "
	       "connect " INSERT_ITEM_FIRST " finish");
}

static void test_plan_lost(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_ERROR, 0, "26000" },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_ERROR, 0, "0A000" },
		{ "insert-item", FAKE_PQ_ERROR, 0, "26000" },
		{ NULL, 0, 0, NULL }
	};

	start("prepared statement lost", steps);
	test_assert(run_write() == 1);
	test_assert(run_write() == 1);
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_SCHEMA);
	test_assert(strstr(error.text, "pgbox_prepare=no") != NULL);
	finish("connect " INSERT_ITEM_FIRST " exec:insert-item sync finish "
	       "connect " INSERT_ITEM_FIRST " exec:insert-item sync finish "
	       "connect " INSERT_ITEM_FIRST " finish");
}

static void test_races(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ERROR, 0, "40P01" },
		{ "insert-item", FAKE_PQ_ERROR, 0, "40001" },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_ERROR, 0, "40P01" },
		{ "insert-item", FAKE_PQ_ERROR, 0, "40P01" },
		{ "insert-item", FAKE_PQ_ERROR, 0, "40P01" },
		{ "insert-item", FAKE_PQ_ERROR, 0, "40P01" },
		{ NULL, 0, 0, NULL }
	};

	start("races", steps);
	test_assert(run_write() == 1);
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_RACE);
	finish("connect " INSERT_ITEM_FIRST " exec:insert-item sync "
	       "exec:insert-item sync exec:insert-item sync "
	       "exec:insert-item sync exec:insert-item sync "
	       "exec:insert-item sync finish");
}

static void test_standby(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ERROR, 0, "25006" },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("the server became a standby", steps);
	test_assert(run_write() == 1);
	finish("connect " INSERT_ITEM_FIRST " finish "
	       "connect " INSERT_ITEM_FIRST " finish");
}

static void test_timeout(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_SILENT, 0, NULL },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("timeout, cancelled", steps);
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_BUSY);
	test_assert(run_write() == 1);
	finish("connect " INSERT_ITEM_FIRST " cancel exec:insert-item sync "
	       "finish");
}

static void test_deaf(void)
{
	static const struct fake_pq_step write_steps[] = {
		{ "insert-item", FAKE_PQ_DEAF, 0, NULL },
		{ NULL, 0, 0, NULL }
	};
	static const struct fake_pq_step read_steps[] = {
		{ "count-items", FAKE_PQ_DEAF, 0, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("timeout, the server doesn't react to the cancellation",
	      write_steps);
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_IN_DOUBT);
	finish("connect " INSERT_ITEM_FIRST " cancel finish");

	start("timeout of a read isn't repeated", read_steps);
	test_assert(run_read() == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST);
	finish("connect " COUNT_ITEMS_FIRST " cancel finish");
}

static void test_outage(void)
{
	static const struct fake_pq_step steps[] = { { NULL, 0, 0, NULL } };

	start("outage", steps);
	fake_pq_refuse_connections(1,
		"connection to server at \"a\" failed: refused\n"
		"connection to server at \"b\" failed: FATAL:  28P01: no\n"
		"LOCATION:  auth_failed, auth.c:1\n");
	test_expect_error_string("the database can't be used: connection to "
		"server at \"a\" failed: refused connection to server at "
		"\"b\" failed: FATAL: 28P01: no; check user");
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_DENIED);
	test_assert_strcmp(error.sqlstate, "28P01");
	/* too early for another attempt */
	test_assert(run_write() == -1);
	test_expect_no_more_errors();
	test_assert_strcmp(fake_pq_log(), "connect finish");

	/* as if the time had passed */
	conn->outage_last_attempt -= 500000;
	test_assert(run_write() == 0);
	finish("connect finish connect " INSERT_ITEM_FIRST " finish");
}

/* The first statement of each link asks whether it can be used. */
static void test_check(void)
{
	static const struct fake_pq_step steps[] = {
		{ "check", FAKE_PQ_ERROR, 0, "3F000" },
		{ NULL, 0, 0, NULL }
	};

	set.check = TRUE;
	set.check_stmt = PGBOX_STMT_CHECK;
	start("check of a new link", steps);
	test_expect_error_string("the database can't be used");
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_SCHEMA && error.logged);
	/* too early for another attempt, and told already */
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_SCHEMA && error.logged);
	test_expect_no_more_errors();
	conn->outage_last_attempt -= 500000;
	test_assert(run_write() == 0);
	test_assert(conn->outage.kind == PGBOX_ERROR_NONE);
	test_assert(run_write() == 0);
	set.check = FALSE;
	finish("connect exec:check " INSERT_ITEM_FIRST " finish "
	       "connect exec:check " INSERT_ITEM_FIRST " exec:insert-item sync "
	       "finish");
}

/* What another process of this node has written */
static void write_seen(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	test_assert(file != NULL);
	test_assert(fputs(text, file) >= 0);
	test_assert(fclose(file) == 0);
}

/* A node remembers the newest primary that one of its processes has seen. */
static void test_seen(void)
{
	static const struct fake_pq_step steps[] = {
		{ "check", FAKE_PQ_ROWS, 1, NULL },
		{ "check", FAKE_PQ_ERROR, 0, "PB015" },
		{ NULL, 0, 0, NULL }
	};
	char line[128] = "";
	FILE *file;

	set.check = TRUE;
	set.check_stmt = PGBOX_STMT_CHECK;
	set.seen_path = "test-pgbox-query.seen";
	i_unlink_if_exists(set.seen_path);
	start("a primary that was left behind", steps);
	test_assert(run_write() == 0);
	test_assert(run_write() == 0);
	file = fopen(set.seen_path, "r");
	test_assert(file != NULL && fgets(line, sizeof(line), file) != NULL &&
		    fclose(file) == 0);
	test_assert_strcmp(line, "00000000000000000000000000000001 1\n");

	i_unlink(set.seen_path);
	write_seen(set.seen_path, "nonsense\n"
		   "00000000000000000000000000000002 7\n"
		   "00000000000000000000000000000001 1\n");
	test_assert(run_write() == 0);
	i_unlink(set.seen_path);
	write_seen(set.seen_path, "00000000000000000000000000000001 2\n");
	test_expect_error_string("let pgbox_db lead to the new primary");
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_STALE && error.logged);
	test_expect_no_more_errors();
	i_unlink(set.seen_path);
	set.check = FALSE;
	set.seen_path = NULL;
	finish("connect exec:check " INSERT_ITEM_FIRST " exec:insert-item sync "
	       "exec:insert-item sync finish "
	       "connect exec:check " INSERT_ITEM_FIRST " finish");
}

/* A pooler lets us in and hangs up on the first statement. */
static void test_unproven(void)
{
	static const struct fake_pq_step steps[] = {
		{ "check", FAKE_PQ_DIE, 0, NULL },
		{ "check", FAKE_PQ_ROWS, 1, NULL },
		{ "check", FAKE_PQ_DIE, 0, NULL },
		{ "check", FAKE_PQ_DIE, 0, NULL },
		{ "check", FAKE_PQ_DIE, 0, NULL },
		{ NULL, 0, 0, NULL }
	};

	set.check = TRUE;
	set.check_stmt = PGBOX_STMT_CHECK;
	start("links that die before the first answer", steps);
	/* once is no outage: another link is tried */
	test_assert(run_read() == 0);
	test_assert(conn->outage.kind == PGBOX_ERROR_NONE);
	pgbox_conn_release(conn);
	/* twice is one, which is told once */
	test_expect_error_string("PostgreSQL is unreachable: connection lost");
	test_assert(run_read() == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST && error.logged);
	test_assert(run_read() == -1);
	test_assert(error.kind == PGBOX_ERROR_UNREACHABLE && error.logged);
	test_expect_no_more_errors();
	conn->outage_last_attempt -= 500000;
	/* and whether the server has seen a write nobody knows */
	test_assert(run_write() == -1);
	test_assert(error.kind == PGBOX_ERROR_IN_DOUBT && !error.logged);
	conn->outage_last_attempt -= 500000;
	test_assert(run_read() == 0);
	test_assert(conn->outage.kind == PGBOX_ERROR_NONE);
	set.check = FALSE;
	finish("connect exec:check " COUNT_ITEMS_FIRST " finish "
	       "connect exec:check " COUNT_ITEMS_FIRST " finish "
	       "connect exec:check " COUNT_ITEMS_FIRST " finish "
	       "connect exec:check " COUNT_ITEMS_FIRST " finish "
	       "connect exec:check " INSERT_ITEM_FIRST " finish "
	       "connect exec:check " COUNT_ITEMS_FIRST " finish");
}

static void test_await(void)
{
	static const struct fake_pq_step steps[] = { { NULL, 0, 0, NULL } };

	start("waiting for the server", steps);
	fake_pq_refuse_connections(3, "refused");
	test_expect_error_string("PostgreSQL is unreachable");
	test_assert(run_write() == -1);
	test_assert(pgbox_conn_await(conn));
	test_expect_no_more_errors();
	test_assert(conn->outage.kind == PGBOX_ERROR_NONE);
	test_assert(run_write() == 0);
	pgbox_conn_release(conn);
	fake_pq_refuse_connections(UINT_MAX, "refused");
	test_expect_error_string("PostgreSQL is unreachable");
	conn->set.connect_timeout_msecs = 1;
	test_assert(!pgbox_conn_await(conn));
	test_expect_no_more_errors();
	fake_pq_refuse_connections(0, NULL);
	pgbox_conn_unref(&conn);
	test_assert(fake_pq_is_clean());
	test_end();
}

static void test_conninfo(void)
{
	static const struct fake_pq_step steps[] = { { NULL, 0, 0, NULL } };

	set.conninfo = "secret";
	start("invalid connection string", steps);
	test_expect_error_string("not a valid connection string");
	test_assert(run_read() == -1);
	test_assert(error.kind == PGBOX_ERROR_UNREACHABLE);
	test_assert(strstr(error.text, "secret") == NULL);
	test_expect_no_more_errors();
	set.conninfo = "host=fake";
	finish("");
}

static void test_sharing(void)
{
	static const struct fake_pq_step steps[] = { { NULL, 0, 0, NULL } };
	struct pgbox_conn *other;

	start("one link per settings", steps);
	other = pgbox_conn_get(&set, NULL);
	test_assert(other == conn);
	test_assert(run_write() == 0);
	pgbox_conn_unref(&other);
	test_assert(other == NULL);
	set.idle_timeout_msecs = 0;
	other = pgbox_conn_get(&set, NULL);
	test_assert(other != conn);
	pgbox_conn_unref(&other);
	set.idle_timeout_msecs = 1000;
	pgbox_conn_release(conn);
	pgbox_conn_release(conn);
	finish("connect " INSERT_ITEM_FIRST " finish");
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_success,
		test_unprepared,
		test_refused,
		test_commit_before_success,
		test_death,
		test_terminated,
		test_read_death,
		test_death_before_send,
		test_dead_idle_link,
		test_plan_lost,
		test_races,
		test_standby,
		test_timeout,
		test_deaf,
		test_outage,
		test_check,
		test_seen,
		test_unproven,
		test_await,
		test_conninfo,
		test_sharing,
		NULL
	};

	return test_run(tests);
}
