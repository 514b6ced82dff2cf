/* The connection layer against a real server, see with-server. */
#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "guid.h"
#include "test-common.h"
#include "pgbox-conn-private.h"
#include "pgbox-params.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct pgbox_conn_settings set = {
	.connect_timeout_msecs = 5000,
	.query_timeout_msecs = 5000,
	.idle_timeout_msecs = 5000,
	.prepare = TRUE,
};
static struct pgbox_conn *conn;
static struct pgbox_error error;

/* Run SQL over a connection of its own; returns FALSE if it fails. */
static bool server_sql(const char *sql)
{
	PGconn *pg = PQconnectdb(set.conninfo);
	PGresult *res = PQexec(pg, sql);
	bool ret = PQresultStatus(res) == PGRES_COMMAND_OK ||
		PQresultStatus(res) == PGRES_TUPLES_OK;

	PQclear(res);
	PQfinish(pg);
	return ret;
}

static void server_restart(void)
{
	const char *command = t_strdup_printf(
		"cd / && %s %s/pg_ctl -D %s -m fast -w restart -l %s/server.log >/dev/null",
		getenv("AS_SERVER"), getenv("PG_BINDIR"),
		getenv("PGBOX_TEST_PGDATA"), getenv("PGBOX_TEST_PGDATA"));

	test_assert(system(command) == 0);
}

static void conn_open(void)
{
	conn = pgbox_conn_get(&set, NULL);
}

static int64_t query_count(void)
{
	struct pgbox_result *result;
	int64_t count = -1;

	if (pgbox_query(conn, PGBOX_STMT_COUNT_ITEMS, NULL,
			PGBOX_EXEC_REPEATABLE, &result, &error) < 0)
		return -1;
	if (pgbox_result_next(result, &error) == 1)
		count = pgbox_result_int64(result, 0);
	test_assert(pgbox_result_next(result, &error) == 0);
	pgbox_result_free(&result);
	return count;
}

/* Returns 0 if the statement with one integer for a parameter succeeded. */
static int query_int(enum pgbox_stmt stmt, int32_t param,
		     enum pgbox_exec_flags flags)
{
	struct pgbox_params *params = pgbox_params_new();
	struct pgbox_result *result;
	int ret;

	pgbox_params_int32(params, param);
	if (pgbox_query(conn, stmt, params, flags, &result, &error) < 0)
		return -1;
	while ((ret = pgbox_result_next(result, &error)) > 0) ;
	pgbox_result_free(&result);
	return ret;
}

static int query_insert(int32_t id)
{
	struct pgbox_params *params = pgbox_params_new();
	struct pgbox_result *result;

	pgbox_params_int32(params, id);
	pgbox_params_bytea(params, "x", 1);
	if (pgbox_query(conn, PGBOX_STMT_INSERT_ITEM, params, 0,
			&result, &error) < 0)
		return -1;
	pgbox_result_free(&result);
	return 0;
}

static void test_echo_check(struct pgbox_result *result,
			    const guid_128_t guid)
{
	const int16_t *int16s;
	const int32_t *int32s;
	const int64_t *int64s;
	const char *const *texts;
	const unsigned char *data;
	unsigned int count;
	guid_128_t uuid;
	size_t size;

	test_assert(pgbox_result_bool(result, 0));
	test_assert(pgbox_result_int32(result, 1) == -2);
	test_assert(pgbox_result_int64(result, 2) == -3000000000LL);
	test_assert_strcmp(pgbox_result_text(result, 3), "h\xc3\xa4");
	data = pgbox_result_bytea(result, 4, &size);
	test_assert(size == 3 && memcmp(data, "a\0b", 3) == 0);
	pgbox_result_uuid(result, 5, uuid);
	test_assert(memcmp(uuid, guid, sizeof(uuid)) == 0);
	int16s = pgbox_result_int16_array(result, 6, &count);
	test_assert(count == 2 && int16s[0] == -1 && int16s[1] == 300);
	(void)pgbox_result_int32_array(result, 7, &count);
	test_assert(count == 0);
	test_assert(!pgbox_result_is_null(result, 7));
	int64s = pgbox_result_int64_array(result, 8, &count);
	test_assert(count == 1 && int64s[0] == 5000000000LL);
	texts = pgbox_result_text_array(result, 9, &count);
	test_assert(count == 3 && strcmp(texts[0], "a") == 0 &&
		    texts[1] == NULL && strcmp(texts[2], "") == 0);
	test_assert(pgbox_result_int32(result, 10) == 7);
	int32s = pgbox_result_int32_array(result, 7, &count);
	test_assert(int32s != NULL);
	test_assert(str_begins(pgbox_result_text(result, 11), "{t,f}{"));
	test_assert(strstr(pgbox_result_text(result, 11),
			   "{\"\\\\x00ff\",NULL}") != NULL);
}

static void test_types(void)
{
	static const int16_t int16s[] = { -1, 300 };
	static const int64_t int64s[] = { 5000000000LL };
	static const char *const texts[] = { "a", NULL, "" };
	static const bool bools[] = { TRUE, FALSE };
	static const unsigned char *const byteas[] = {
		(const unsigned char *)"\0\xff", NULL
	};
	static const size_t sizes[] = { 2, 0 };
	struct pgbox_params *params = pgbox_params_new();
	struct pgbox_result *result;
	guid_128_t guid;

	test_begin("types");
	conn_open();
	guid_128_generate(guid);
	pgbox_params_bool(params, TRUE);
	pgbox_params_int32(params, -2);
	pgbox_params_int64(params, -3000000000LL);
	pgbox_params_text(params, "h\xc3\xa4");
	pgbox_params_bytea(params, "a\0b", 3);
	pgbox_params_uuid(params, guid);
	pgbox_params_bool_array(params, bools, 2);
	pgbox_params_int16_array(params, int16s, 2);
	pgbox_params_int32_array(params, NULL, 0);
	pgbox_params_int64_array(params, int64s, 1);
	pgbox_params_text_array(params, texts, 3);
	pgbox_params_uuid_array(params, (const guid_128_t *)guid, 1);
	pgbox_params_bytea_array(params, byteas, sizes, 2);
	test_assert(pgbox_query(conn, PGBOX_STMT_ECHO_TYPES, params,
				PGBOX_EXEC_REPEATABLE, &result, &error) == 0);
	test_assert(pgbox_result_next(result, &error) == 1);
	test_echo_check(result, guid);
	test_assert(pgbox_result_next(result, &error) == 0);
	pgbox_result_free(&result);
	pgbox_conn_unref(&conn);
	test_end();
}

static void test_rows(void)
{
	struct pgbox_params *params = pgbox_params_new();
	struct pgbox_result *result;
	int32_t i = 0;

	test_begin("many rows, and a result that isn't read to its end");
	conn_open();
	pgbox_params_int32(params, 20000);
	test_assert(pgbox_query(conn, PGBOX_STMT_MANY_ROWS, params,
				PGBOX_EXEC_REPEATABLE, &result, &error) == 0);
	while (pgbox_result_next(result, &error) > 0)
		test_assert(pgbox_result_int32(result, 0) == ++i);
	test_assert(i == 20000);
	pgbox_result_free(&result);
	test_assert(query_int(PGBOX_STMT_VOID, 0, 0) == 0);

	/* all at once */
	i = 0;
	test_assert(pgbox_query(conn, PGBOX_STMT_MANY_ROWS, params,
				PGBOX_EXEC_REPEATABLE | PGBOX_EXEC_COLLECT,
				&result, &error) == 0);
	while (pgbox_result_next(result, &error) > 0)
		test_assert(pgbox_result_int32(result, 0) == ++i);
	test_assert(i == 20000);
	pgbox_result_free(&result);

	test_assert(pgbox_query(conn, PGBOX_STMT_MANY_ROWS, params, 0,
				&result, &error) == 0);
	pgbox_result_free(&result);
	test_assert(pgbox_query(conn, PGBOX_STMT_MANY_ROWS, params,
				PGBOX_EXEC_COLLECT, &result, &error) == 0);
	test_assert(pgbox_result_next(result, &error) == 1);
	pgbox_result_free(&result);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	test_assert(query_count() == 0);
	pgbox_conn_unref(&conn);
	test_end();
}

static void ahead_row(struct pgbox_result *result, void *context)
{
	int32_t *i = context;

	test_assert(pgbox_result_int32(result, 0) == ++*i);
}

static void ahead_end(const struct pgbox_ahead_end *end, void *context)
{
	int32_t *i = context;

	test_assert(end->error.kind == PGBOX_ERROR_NONE && *i == 20000);
	*i = -1;
}

static void test_ahead(void)
{
	struct pgbox_params *params = pgbox_params_new();
	struct pgbox_ahead *ahead;
	int32_t i;
	unsigned int flags;

	test_begin("a statement sent ahead");
	conn_open();
	test_assert(query_count() == 0);
	pgbox_params_int32(params, 20000);
	for (flags = 0; flags <= PGBOX_EXEC_COLLECT;
	     flags += PGBOX_EXEC_COLLECT) {
		/* somebody else needs the link */
		i = 0;
		test_assert(pgbox_ahead_send(conn, PGBOX_STMT_MANY_ROWS,
					     params, flags, ahead_row,
					     ahead_end, &i) != NULL);
		test_assert(i == 0);
		test_assert(query_count() == 0);
		test_assert(i == -1);
		/* read in pieces */
		i = 0;
		ahead = pgbox_ahead_send(conn, PGBOX_STMT_MANY_ROWS, params,
					 flags, ahead_row, ahead_end, &i);
		if (pgbox_ahead_read(ahead, FALSE)) {
			while (pgbox_ahead_read(ahead, TRUE))
				test_assert(i > 0);
		}
		test_assert(i == -1);
		/* not wanted */
		i = 0;
		ahead = pgbox_ahead_send(conn, PGBOX_STMT_MANY_ROWS, params,
					 flags, ahead_row, ahead_end, &i);
		pgbox_ahead_cancel(&ahead);
		test_assert(i == 0 && conn->state == PGBOX_CONN_IDLE);
	}
	pgbox_conn_unref(&conn);
	test_end();
}

static void test_errors(void)
{
	unsigned int i;

	test_begin("errors");
	conn_open();
	for (i = 0; i < 2; i++) {
		test_assert(query_int(PGBOX_STMT_DIVIDE, 50,
				      PGBOX_EXEC_REPEATABLE) == -1);
		test_assert(error.kind == PGBOX_ERROR_INPUT);
		test_assert_strcmp(error.sqlstate, "22012");
		test_assert_strcmp(error.stmt, "divide");
		test_assert(conn->state == PGBOX_CONN_IDLE);
	}
	test_assert(query_insert(1) == 0);
	test_assert(query_insert(1) == -1);
	test_assert(error.kind == PGBOX_ERROR_CONSTRAINT);
	test_assert_strcmp(error.constraint, "item_pkey");
	test_assert(query_int(PGBOX_STMT_INSERT_DEFERRED, 1, 0) == 0);
	test_assert(query_int(PGBOX_STMT_INSERT_DEFERRED, 2, 0) == -1);
	test_assert(error.kind == PGBOX_ERROR_CONSTRAINT);
	/* its detail has the row, which is no business of the log's */
	test_assert(query_int(PGBOX_STMT_INSERT_DEFERRED, 0, 0) == -1);
	test_assert_strcmp(error.constraint, "deferred_id_check");
	test_assert(strstr(error.text, "deferred_id_check") != NULL);
	test_assert(strstr(error.text, "Failing row") == NULL);

	struct pgbox_result *result;
	test_assert(pgbox_query(conn, PGBOX_STMT_WRONG_COLUMNS, NULL,
				PGBOX_EXEC_REPEATABLE, &result, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_SCHEMA);
	test_assert(conn->state == PGBOX_CONN_CLOSED);
	pgbox_conn_unref(&conn);
	test_end();
}

static void test_restart(void)
{
	struct pgbox_result *result;

	test_begin("server restart");
	conn_open();
	test_assert(query_count() == 1);
	server_restart();
	/* an idle link that died is noticed before a write is sent */
	test_assert(query_insert(2) == 0);
	test_assert(query_count() == 2);

	/* the server says that the session ends: not in doubt, but repeated
	   once, which ends the same way */
	test_assert(pgbox_query(conn, PGBOX_STMT_TERMINATE_SELF, NULL, 0,
				&result, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST);
	test_assert_strcmp(error.sqlstate, "57P01");
	test_assert(conn->state == PGBOX_CONN_CLOSED);
	test_assert(query_count() == 2);
	pgbox_conn_unref(&conn);
	test_end();
}

static void test_stale_plans(void)
{
	test_begin("stale plans");
	conn_open();
	test_assert(query_insert(3) == 0);
	test_assert(server_sql("ALTER TABLE item ALTER id TYPE bigint"));
	/* the plan made anew returns another type */
	test_assert(query_insert(4) == -1);
	test_assert(error.kind == PGBOX_ERROR_SCHEMA);
	test_assert(server_sql("ALTER TABLE item ALTER id TYPE integer"));
	test_assert(query_insert(5) == 0);
	pgbox_conn_unref(&conn);
	test_end();
}

static void test_timeout(void)
{
	struct pgbox_conn_settings short_set = set;
	uint64_t start = pgbox_clock_usecs();

	test_begin("query timeout");
	short_set.query_timeout_msecs = 200;
	conn = pgbox_conn_get(&short_set, NULL);
	test_assert(query_int(PGBOX_STMT_SLEEP, 10000, 0) == -1);
	test_assert(error.kind == PGBOX_ERROR_BUSY);
	test_assert_strcmp(error.sqlstate, "57014");
	test_assert(pgbox_clock_usecs() - start < 2000000);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	test_assert(query_int(PGBOX_STMT_SLEEP, 10, 0) == 0);
	pgbox_conn_unref(&conn);
	test_end();
}

/* Returns the process id of the server itself. */
static pid_t server_pid(void)
{
	const char *path = t_strconcat(getenv("PGBOX_TEST_PGDATA"),
				       "/postmaster.pid", NULL);
	FILE *f = fopen(path, "r");
	int pid = 0;

	test_assert(f != NULL && fscanf(f, "%d", &pid) == 1 && pid > 1);
	if (f != NULL)
		fclose(f);
	return pid;
}

/* Neither the statement nor its cancellation is answered. */
static void test_frozen(void)
{
	struct pgbox_conn_settings short_set = set;
	pid_t server = server_pid(), backend;
	uint64_t start;

	test_begin("frozen server");
	short_set.query_timeout_msecs = 200;
	short_set.connect_timeout_msecs = 200;
	conn = pgbox_conn_get(&short_set, NULL);
	test_assert(query_count() >= 0);
	backend = PQbackendPID(conn->pg);
	test_assert(kill(server, SIGSTOP) == 0 && kill(backend, SIGSTOP) == 0);

	start = pgbox_clock_usecs();
	test_assert(query_insert(401) == -1);
	test_assert(error.kind == PGBOX_ERROR_IN_DOUBT);
	test_assert(pgbox_clock_usecs() - start < 3500000);
	test_assert(conn->state == PGBOX_CONN_CLOSED);

	test_expect_error_string("PostgreSQL is unreachable");
	start = pgbox_clock_usecs();
	test_assert(query_insert(402) == -1);
	test_assert(error.kind == PGBOX_ERROR_UNREACHABLE);
	test_assert(query_insert(403) == -1);
	test_assert(pgbox_clock_usecs() - start < 1000000);
	test_expect_no_more_errors();

	test_assert(kill(backend, SIGCONT) == 0 && kill(server, SIGCONT) == 0);
	pgbox_conn_unref(&conn);
	test_end();
}

static void pipeline_count_row(struct pgbox_result *result, void *context)
{
	int32_t *sum = context;

	*sum += pgbox_result_int32(result, 0);
}

static int pipeline_insert(struct pgbox_pipeline *pipeline, int32_t id,
			   const void *body, size_t body_size, int32_t *sum)
{
	struct pgbox_params *params = pgbox_params_new();

	pgbox_params_int32(params, id);
	pgbox_params_bytea_ref(params, body, body_size);
	return pgbox_pipeline_send(pipeline, PGBOX_STMT_INSERT_ITEM, params,
				   pipeline_count_row, sum, &error);
}

static void test_pipeline(void)
{
	const size_t body_size = 1024 * 1024;
	unsigned char *body = i_malloc(body_size);
	struct pgbox_pipeline *pipeline;
	int32_t i, sum = 0;

	test_begin("pipeline");
	conn_open();
	test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
	for (i = 101; i <= 110; i++)
		test_assert(pipeline_insert(pipeline, i, body, body_size, &sum) == 0);
	test_assert(pgbox_pipeline_drain(pipeline, &error) == 0);
	test_assert(sum == 1055);
	test_assert(pipeline_insert(pipeline, 111, "", 0, &sum) == 0);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == 0);
	test_assert(pipeline == NULL);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	i = query_count();
	test_assert(i >= 11);

	/* a failure in the middle */
	test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
	test_assert(pipeline_insert(pipeline, 201, "", 0, &sum) == 0);
	test_assert(pipeline_insert(pipeline, 201, "", 0, &sum) == 0);
	test_assert(pipeline_insert(pipeline, 202, "", 0, &sum) == 0);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_CONSTRAINT);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	test_assert(query_count() == i);

	/* rollback of what wasn't synced, with and without a failure */
	test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
	test_assert(pipeline_insert(pipeline, 201, "", 0, &sum) == 0);
	pgbox_pipeline_rollback(&pipeline);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
	test_assert(pipeline_insert(pipeline, 101, "", 0, &sum) == 0);
	pgbox_pipeline_rollback(&pipeline);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	test_assert(query_count() == i);

	/* a failure is noticed while a large transaction is being sent */
	test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
	for (i = 0; i < 1000; i++) {
		if (pipeline_insert(pipeline, 101, body, body_size, &sum) < 0)
			break;
	}
	test_assert(i < 1000);
	pgbox_pipeline_rollback(&pipeline);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	pgbox_conn_unref(&conn);
	i_free(body);
	test_end();
}

static void test_unprepared(void)
{
	struct pgbox_conn_settings plain_set = set;

	test_begin("without prepared statements");
	plain_set.prepare = FALSE;
	conn = pgbox_conn_get(&plain_set, NULL);
	test_assert(query_insert(301) == 0);
	test_assert(query_insert(302) == 0);
	test_assert(query_count() > 0);
	test_assert(!server_sql("DEALLOCATE \"pgbox-insert-item\""));
	pgbox_conn_unref(&conn);
	test_end();
}

static void test_outage(void)
{
	struct pgbox_conn_settings bad_set = set;
	struct pgbox_result *result;
	unsigned int i;

	test_begin("outage");
	bad_set.conninfo = "host=/nonexistent password=secret";
	conn = pgbox_conn_get(&bad_set, NULL);
	test_expect_error_string("PostgreSQL is unreachable");
	for (i = 0; i < 3; i++) {
		test_assert(pgbox_query(conn, PGBOX_STMT_COUNT_ITEMS, NULL, 0,
					&result, &error) == -1);
		test_assert(error.kind == PGBOX_ERROR_UNREACHABLE);
		test_assert(strstr(error.text, "secret") == NULL);
	}
	test_expect_no_more_errors();
	pgbox_conn_unref(&conn);

	bad_set.conninfo = t_strconcat(set.conninfo, " dbname=none", NULL);
	conn = pgbox_conn_get(&bad_set, NULL);
	test_expect_error_string("the database can't be used");
	test_assert(pgbox_query(conn, PGBOX_STMT_COUNT_ITEMS, NULL, 0,
				&result, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_SCHEMA);
	test_assert_strcmp(error.sqlstate, "3D000");
	test_expect_no_more_errors();
	pgbox_conn_unref(&conn);
	test_end();
}

static void test_idle_stop(struct ioloop *ioloop)
{
	io_loop_stop(ioloop);
}

static void test_idle(void)
{
	struct pgbox_conn_settings idle_set = set;
	struct ioloop *ioloop = io_loop_create();
	struct timeout *to;

	test_begin("idle timeout");
	idle_set.idle_timeout_msecs = 50;
	conn = pgbox_conn_get(&idle_set, NULL);
	test_assert(query_count() >= 0);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	to = timeout_add_short(200, test_idle_stop, ioloop);
	io_loop_run(ioloop);
	timeout_remove(&to);
	test_assert(conn->state == PGBOX_CONN_CLOSED);

	/* the ioloop may go away first */
	test_assert(query_count() >= 0);
	io_loop_destroy(&ioloop);
	test_assert(conn->to_idle == NULL);
	test_assert(query_count() >= 0);
	pgbox_conn_release(conn);
	test_assert(conn->state == PGBOX_CONN_CLOSED);
	pgbox_conn_unref(&conn);
	test_end();
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_types,
		test_rows,
		test_ahead,
		test_errors,
		test_restart,
		test_stale_plans,
		test_timeout,
		test_frozen,
		test_pipeline,
		test_unprepared,
		test_outage,
		test_idle,
		NULL
	};

	set.conninfo = getenv("PGBOX_TEST_DB");
	if (set.conninfo == NULL) {
		printf("SKIP: see with-server\n");
		return 77;
	}
	if (!server_sql("CREATE TABLE item (id integer PRIMARY KEY, body bytea);"
			"CREATE TABLE deferred (id integer UNIQUE DEFERRABLE "
			"INITIALLY DEFERRED CHECK (id > 0));"
			"CREATE FUNCTION no_two() RETURNS trigger LANGUAGE "
			"plpgsql AS $$BEGIN IF NEW.id = 2 THEN RAISE "
			"check_violation; END IF; RETURN NULL; END$$;"
			"CREATE CONSTRAINT TRIGGER no_two AFTER INSERT ON "
			"deferred DEFERRABLE INITIALLY DEFERRED "
			"FOR EACH ROW EXECUTE FUNCTION no_two()"))
		return 1;
	return test_run(tests);
}
