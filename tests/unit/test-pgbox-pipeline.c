/* Transactions over a scripted libpq. */
#include "lib.h"
#include "test-common.h"
#include "pgbox-conn-private.h"
#include "pgbox-params.h"
#include "fake-pq.h"

static const struct pgbox_conn_settings set = {
	.conninfo = "host=fake",
	.connect_timeout_msecs = 1000,
	.query_timeout_msecs = 50,
	.idle_timeout_msecs = 1000,
	.prepare = TRUE,
};
static struct pgbox_conn *conn;
static struct pgbox_pipeline *pipeline;
static struct pgbox_error error;
static unsigned int row_count;

static void start(const char *name, const struct fake_pq_step *steps)
{
	test_begin(name);
	fake_pq_script(steps);
	row_count = 0;
	i_zero(&error);
	conn = pgbox_conn_get(&set, NULL);
	test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
}

static void finish(const char *expected_log)
{
	test_assert(pipeline == NULL);
	pgbox_conn_unref(&conn);
	test_assert_strcmp(fake_pq_log(), expected_log);
	test_assert(fake_pq_is_clean());
	test_end();
}

static void count_row(struct pgbox_result *result, void *context ATTR_UNUSED)
{
	test_assert(pgbox_result_int32(result, 0) > 0);
	row_count++;
}

static int send_insert(const void *body, size_t size)
{
	struct pgbox_params *params = pgbox_params_new();

	pgbox_params_int32(params, 1);
	pgbox_params_bytea_ref(params, body, size);
	return pgbox_pipeline_send(pipeline, PGBOX_STMT_INSERT_ITEM, params,
				   count_row, NULL, &error);
}

static void test_commit(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ROWS, 2, NULL },
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("commit", steps);
	test_assert(send_insert("", 0) == 0);
	test_assert(send_insert("", 0) == 0);
	test_assert(row_count == 0);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == 0);
	test_assert(row_count == 3);
	/* the link is kept */
	test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
	test_assert(send_insert("", 0) == 0);
	test_assert(pgbox_pipeline_drain(pipeline, &error) == 0);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == 0);
	finish("connect exec:begin prepare:insert-item exec:insert-item "
	       "exec:insert-item exec:commit sync "
	       "exec:begin exec:insert-item sync exec:commit sync finish");
}

static void test_refused(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_ERROR, 0, "23505" },
		{ NULL, 0, 0, NULL }
	};

	start("refused in the middle, seen at the commit", steps);
	test_assert(send_insert("", 0) == 0);
	test_assert(send_insert("", 0) == 0);
	test_assert(send_insert("", 0) == 0);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_CONSTRAINT);
	test_assert_strcmp(error.stmt, "insert-item");
	test_assert(row_count == 1);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	finish("connect exec:begin prepare:insert-item exec:insert-item "
	       "exec:insert-item exec:insert-item exec:commit sync "
	       "exec:rollback sync finish");

	start("refused in the middle, seen when drained", steps);
	test_assert(send_insert("", 0) == 0);
	test_assert(send_insert("", 0) == 0);
	test_assert(pgbox_pipeline_drain(pipeline, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_CONSTRAINT);
	i_zero(&error);
	test_assert(send_insert("", 0) == -1);
	test_assert(error.kind == PGBOX_ERROR_CONSTRAINT);
	pgbox_pipeline_rollback(&pipeline);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	finish("connect exec:begin prepare:insert-item exec:insert-item "
	       "exec:insert-item sync exec:rollback sync finish");
}

static void test_rollback(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ERROR, 0, "23505" },
		{ NULL, 0, 0, NULL }
	};

	start("rollback of what wasn't synced and has failed", steps);
	test_assert(send_insert("", 0) == 0);
	pgbox_pipeline_rollback(&pipeline);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	finish("connect exec:begin prepare:insert-item exec:insert-item "
	       "exec:rollback sync exec:rollback sync finish");

	start("rollback of nothing", steps + 1);
	pgbox_pipeline_rollback(&pipeline);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	finish("connect exec:begin exec:rollback sync finish");
}

static void test_death_before_commit(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_DIE, 0, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("link dies before the commit", steps);
	test_assert(send_insert("", 0) == 0);
	test_assert(pgbox_pipeline_drain(pipeline, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST);
	test_assert_strcmp(error.stmt, "insert-item");
	pgbox_pipeline_rollback(&pipeline);
	finish("connect exec:begin prepare:insert-item exec:insert-item sync "
	       "finish");

	start("link dies before the commit was sent", steps + 1);
	fake_pq_flush_fails();
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == -1);
	test_assert(error.kind == PGBOX_ERROR_LOST);
	finish("connect exec:begin exec:commit sync finish");
}

static void test_death_at_commit(void)
{
	static const struct {
		enum fake_pq_action action;
		const char *sqlstate;
		enum pgbox_error_kind kind;
	} tests[] = {
		{ FAKE_PQ_DIE, NULL, PGBOX_ERROR_IN_DOUBT },
		{ FAKE_PQ_FATAL, "57P01", PGBOX_ERROR_LOST },
		{ FAKE_PQ_FATAL, "08006", PGBOX_ERROR_IN_DOUBT },
		{ FAKE_PQ_DEAF, NULL, PGBOX_ERROR_IN_DOUBT },
		{ FAKE_PQ_ROLLED_BACK, NULL, PGBOX_ERROR_BUG },
	};
	struct fake_pq_step steps[] = {
		{ "commit", 0, 0, NULL },
		{ NULL, 0, 0, NULL }
	};
	unsigned int i;

	for (i = 0; i < N_ELEMENTS(tests); i++) {
		steps[0].action = tests[i].action;
		steps[0].sqlstate = tests[i].sqlstate;
		start("no clear answer to the commit", steps);
		test_assert(send_insert("", 0) == 0);
		test_assert_idx(pgbox_pipeline_commit(&pipeline, &error) == -1, i);
		test_assert_idx(error.kind == tests[i].kind, i);
		finish(tests[i].action == FAKE_PQ_DEAF ?
		       "connect exec:begin prepare:insert-item "
		       "exec:insert-item exec:commit sync cancel finish" :
		       tests[i].action == FAKE_PQ_ROLLED_BACK ?
		       "connect exec:begin prepare:insert-item "
		       "exec:insert-item exec:commit sync exec:rollback sync "
		       "finish" :
		       "connect exec:begin prepare:insert-item "
		       "exec:insert-item exec:commit sync finish");
	}
}

static void test_death_after_commit(void)
{
	static const struct fake_pq_step steps[] = {
		{ "commit", FAKE_PQ_ROWS_AND_DIE, 0, NULL },
		{ NULL, 0, 0, NULL }
	};

	start("link dies after the commit was confirmed", steps);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == 0);
	test_assert(conn->state == PGBOX_CONN_CLOSED);
	finish("connect exec:begin exec:commit sync finish");
}

static void test_plan_lost(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ROWS, 1, NULL },
		{ "insert-item", FAKE_PQ_ERROR, 0, "26000" },
		{ NULL, 0, 0, NULL }
	};

	start("prepared statement lost", steps);
	test_assert(send_insert("", 0) == 0);
	test_assert(pgbox_pipeline_drain(pipeline, &error) == 0);
	test_assert(send_insert("", 0) == 0);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == -1);
	/* so that the caller repeats the transaction, with a new link */
	test_assert(error.kind == PGBOX_ERROR_LOST);
	test_assert(conn->state == PGBOX_CONN_CLOSED);
	finish("connect exec:begin prepare:insert-item exec:insert-item sync "
	       "exec:insert-item exec:commit sync exec:rollback sync finish");
}

/* a plan whose preparation was skipped isn't used later */
static void test_plan_skipped(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ERROR, 0, "23505" },
		{ NULL, 0, 0, NULL }
	};
	unsigned int i;

	start("preparation skipped", steps);
	test_assert(send_insert("", 0) == 0);
	for (i = 0; i < 2; i++) {
		struct pgbox_params *params = pgbox_params_new();
		pgbox_params_int32(params, 1);
		test_assert(pgbox_pipeline_send(pipeline, PGBOX_STMT_ONE_ROW,
			params, NULL, NULL, &error) == 0);
		if (i == 0) {
			test_assert(pgbox_pipeline_commit(&pipeline, &error) == -1);
			test_assert(pgbox_pipeline_begin(conn, &pipeline, &error) == 0);
		}
	}
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == 0);
	finish("connect exec:begin prepare:insert-item exec:insert-item "
	       "prepare:one-row exec:one-row exec:commit sync "
	       "exec:rollback sync "
	       "exec:begin prepare:one-row exec:one-row exec:commit sync finish");
}

static void test_back_pressure(void)
{
	static const struct fake_pq_step steps[] = {
		{ "insert-item", FAKE_PQ_ROWS, 5, NULL },
		{ "insert-item", FAKE_PQ_ERROR, 0, "53100" },
		{ NULL, 0, 0, NULL }
	};
	unsigned char body[64 * 1024];

	start("answers are read while much is being sent", steps);
	memset(body, 'x', sizeof(body));
	fake_pq_flush_blocks(2);
	test_assert(send_insert(body, sizeof(body)) == 0);
	test_assert(row_count == 5);
	test_assert(send_insert(body, sizeof(body)) == -1);
	test_assert(error.kind == PGBOX_ERROR_FULL);
	pgbox_pipeline_rollback(&pipeline);
	test_assert(conn->state == PGBOX_CONN_IDLE);
	finish("connect exec:begin prepare:insert-item exec:insert-item "
	       "exec:insert-item exec:rollback sync exec:rollback sync finish");
}

/*
 * A statement sent ahead
 */

static unsigned int end_count;
static struct pgbox_ahead_end ended;

static void ahead_ended(const struct pgbox_ahead_end *end,
			void *context ATTR_UNUSED)
{
	end_count++;
	ended = *end;
}

static struct pgbox_ahead *send_ahead(void)
{
	struct pgbox_params *params = pgbox_params_new();

	row_count = end_count = 0;
	i_zero(&ended);
	pgbox_params_int32(params, 1);
	return pgbox_ahead_send(conn, PGBOX_STMT_ONE_ROW, params, 0,
				count_row, ahead_ended, NULL);
}

static int query_item(void)
{
	struct pgbox_result *result;

	if (pgbox_query(conn, PGBOX_STMT_COUNT_ITEMS, NULL,
			PGBOX_EXEC_REPEATABLE, &result, &error) < 0)
		return -1;
	pgbox_result_free(&result);
	return 0;
}

/* There is a link, and nothing else under way. */
static void start_idle(const char *name, const struct fake_pq_step *steps)
{
	start(name, steps);
	test_assert(pgbox_pipeline_commit(&pipeline, &error) == 0);
}

static void test_ahead(void)
{
	static const struct fake_pq_step steps[] = {
		{ "one-row", FAKE_PQ_ROWS, 3, NULL },
		{ "one-row", FAKE_PQ_ROWS, 2, NULL },
		{ "one-row", FAKE_PQ_ROWS, 4, NULL },
		{ "one-row", FAKE_PQ_ROWS, 5, NULL },
		{ NULL, 0, 0, NULL }
	};
	struct pgbox_ahead *ahead;

	start_idle("ahead: read by who needs the link", steps);
	ahead = send_ahead();
	test_assert(ahead != NULL && row_count == 0 && end_count == 0);
	test_assert(query_item() == 0);
	test_assert(row_count == 3 && end_count == 1);
	test_assert(ended.error.kind == PGBOX_ERROR_NONE && !ended.overdue);

	/* read by who has sent it */
	ahead = send_ahead();
	while (pgbox_ahead_read(ahead, TRUE)) ;
	test_assert(row_count == 2 && end_count == 1);
	test_assert(conn->state == PGBOX_CONN_IDLE);

	/* not wanted any more: the link stays */
	ahead = send_ahead();
	pgbox_ahead_cancel(&ahead);
	test_assert(ahead == NULL && row_count == 0 && end_count == 0);
	test_assert(conn->state == PGBOX_CONN_IDLE);

	/* released */
	test_assert(send_ahead() != NULL);
	pgbox_conn_release(conn);
	test_assert(row_count == 5 && end_count == 1);
	test_assert(conn->state == PGBOX_CONN_CLOSED);

	/* no link is made for it */
	test_assert(send_ahead() == NULL);
	finish("connect exec:begin exec:commit sync "
	       "prepare:one-row exec:one-row sync "
	       "prepare:count-items exec:count-items sync "
	       "exec:one-row sync exec:one-row sync exec:one-row sync finish");
}

static void test_ahead_dies(void)
{
	static const struct fake_pq_step steps[] = {
		{ "one-row", FAKE_PQ_DIE, 0, NULL },
		{ "one-row", FAKE_PQ_ERROR, 0, "53100" },
		{ "one-row", FAKE_PQ_DEAF, 0, NULL },
		{ NULL, 0, 0, NULL }
	};

	start_idle("ahead: failures are of no concern to others", steps);
	test_assert(send_ahead() != NULL);
	test_assert(query_item() == 0);
	test_assert(end_count == 1 && ended.error.kind == PGBOX_ERROR_LOST);
	test_assert(!ended.overdue);

	test_assert(send_ahead() != NULL);
	test_assert(query_item() == 0);
	test_assert(end_count == 1 && ended.error.kind == PGBOX_ERROR_FULL);

	test_assert(send_ahead() != NULL);
	test_assert(query_item() == 0);
	test_assert(end_count == 1 && ended.error.kind == PGBOX_ERROR_LOST);
	test_assert(ended.overdue);
	finish("connect exec:begin exec:commit sync "
	       "prepare:one-row exec:one-row sync finish "
	       "connect prepare:count-items exec:count-items sync "
	       "prepare:one-row exec:one-row sync exec:count-items sync "
	       "exec:one-row sync cancel finish "
	       "connect prepare:count-items exec:count-items sync finish");
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_commit,
		test_refused,
		test_rollback,
		test_death_before_commit,
		test_death_at_commit,
		test_death_after_commit,
		test_plan_lost,
		test_plan_skipped,
		test_back_pressure,
		test_ahead,
		test_ahead_dies,
		NULL
	};

	return test_run(tests);
}
