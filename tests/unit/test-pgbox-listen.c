/* The link that listens, against a real server, see with-server. */
#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "test-common.h"
#include "pgbox-conn-private.h"
#include "pgbox-listen.h"
#include "pgbox-params.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define WAIT_MSECS 10000

static struct pgbox_conn_settings set = {
	.connect_timeout_msecs = 2000,
	.query_timeout_msecs = 2000,
	.check = TRUE,
	.check_stmt = PGBOX_STMT_CHECK,
};
static struct ioloop *ioloop;
static struct pgbox_listen *listener;
static unsigned int connects, disconnects, notifies, dones, rows;
static char last_text[128];
static bool last_success;

static void sql(const char *statement)
{
	PGconn *pg = PQconnectdb(set.conninfo);
	PGresult *res = PQexec(pg, statement);

	test_assert(PQresultStatus(res) == PGRES_COMMAND_OK ||
		    PQresultStatus(res) == PGRES_TUPLES_OK);
	PQclear(res);
	PQfinish(pg);
}

static void server(const char *command)
{
	test_assert(system(t_strdup_printf(
		"cd / && %s %s/pg_ctl -D %s -m fast -w %s -l %s/server.log >/dev/null",
		getenv("AS_SERVER"), getenv("PG_BINDIR"),
		getenv("PGBOX_TEST_PGDATA"), command,
		getenv("PGBOX_TEST_PGDATA"))) == 0);
}

static void connected(void *context ATTR_UNUSED)
{
	connects++;
}

static void disconnected(void *context ATTR_UNUSED)
{
	disconnects++;
}

static void notified(const char *text, void *context ATTR_UNUSED)
{
	notifies++;
	i_strocpy(last_text, text, sizeof(last_text));
}

static const struct pgbox_listen_callbacks callbacks = {
	.connected = connected,
	.disconnected = disconnected,
	.notified = notified,
};

static void row(struct pgbox_result *result, void *context ATTR_UNUSED)
{
	rows++;
	test_assert(pgbox_result_int32(result, 0) == (int)rows);
}

static void done(bool success, void *context ATTR_UNUSED)
{
	dones++;
	last_success = success;
}

static void stop(struct ioloop *loop)
{
	io_loop_stop(loop);
}

static void run_for(unsigned int msecs)
{
	struct timeout *to = timeout_add_short(msecs, stop, ioloop);

	io_loop_run(ioloop);
	timeout_remove(&to);
}

/* Run the ioloop until the counter has the value. */
static void wait_for(const unsigned int *counter, unsigned int value)
{
	unsigned int msecs;

	for (msecs = 0; *counter < value && msecs < WAIT_MSECS; msecs += 10)
		run_for(10);
	test_assert(*counter == value);
}

static void listen_begin(void)
{
	connects = disconnects = notifies = dones = rows = 0;
	ioloop = io_loop_create();
	listener = pgbox_listen_init(&set, PGBOX_STMT_LISTEN, &callbacks, NULL,
				     NULL);
	test_assert(connects == 0 && !pgbox_listen_is_idle(listener));
}

static void listen_end(void)
{
	pgbox_listen_deinit(&listener);
	io_loop_destroy(&ioloop);
}

static void query(enum pgbox_stmt stmt, int32_t param)
{
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int32(params, param);
		pgbox_listen_query(listener, stmt, params,
				   stmt == PGBOX_STMT_MANY_ROWS ? row : NULL,
				   done, NULL);
	} T_END;
}

static void test_notify(void)
{
	test_begin("listen: notifications");
	listen_begin();
	wait_for(&connects, 1);
	test_assert(pgbox_listen_is_idle(listener));
	sql("NOTIFY pgbox_test, 'one'");
	wait_for(&notifies, 1);
	test_assert_strcmp(last_text, "one");
	/* what is committed together comes together */
	sql("NOTIFY pgbox_test, 'two'; NOTIFY other, 'no'; "
	    "NOTIFY pgbox_test, 'three'");
	wait_for(&notifies, 3);
	test_assert_strcmp(last_text, "three");
	listen_end();
	test_end();
}

static void test_query(void)
{
	test_begin("listen: statements");
	listen_begin();
	wait_for(&connects, 1);
	query(PGBOX_STMT_MANY_ROWS, 1000);
	test_assert(!pgbox_listen_is_idle(listener));
	wait_for(&dones, 1);
	test_assert(last_success && rows == 1000);

	/* a failed one leaves the link as it is */
	test_expect_error_string("statement divide failed");
	query(PGBOX_STMT_DIVIDE, 50);
	wait_for(&dones, 2);
	test_expect_no_more_errors();
	test_assert(!last_success && pgbox_listen_is_idle(listener));
	test_assert(disconnects == 0);

	/* notifications come while a statement runs, or with its answer */
	query(PGBOX_STMT_MANY_ROWS, 0);
	sql("NOTIFY pgbox_test, 'now'");
	wait_for(&notifies, 1);
	wait_for(&dones, 3);
	listen_end();
	test_end();
}

static void test_restart(void)
{
	test_begin("listen: the server restarts");
	listen_begin();
	wait_for(&connects, 1);
	test_expect_errors(1);
	server("restart");
	wait_for(&disconnects, 1);
	test_expect_no_more_errors();
	wait_for(&connects, 2);
	sql("NOTIFY pgbox_test, 'again'");
	wait_for(&notifies, 1);

	/* the outage is logged once, however many attempts there are */
	test_expect_errors(1);
	server("stop");
	wait_for(&disconnects, 2);
	run_for(1000);
	test_assert(connects == 2);
	server("start");
	wait_for(&connects, 3);
	test_expect_no_more_errors();
	listen_end();
	test_end();
}

static void test_timeout(void)
{
	struct pgbox_conn_settings old_set = set;

	test_begin("listen: a statement that takes too long");
	set.query_timeout_msecs = 300;
	listen_begin();
	wait_for(&connects, 1);
	test_expect_error_string("doesn't answer");
	query(PGBOX_STMT_SLEEP, 30000);
	wait_for(&dones, 1);
	test_expect_no_more_errors();
	test_assert(!last_success && disconnects == 1);
	wait_for(&connects, 2);
	listen_end();
	set = old_set;
	test_end();
}

static void test_killed(void)
{
	test_begin("listen: the session is ended under a statement");
	listen_begin();
	wait_for(&connects, 1);
	query(PGBOX_STMT_SLEEP, 30000);
	test_expect_errors(1);
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
	    "WHERE pid <> pg_backend_pid() AND application_name = 'pgbox'");
	wait_for(&dones, 1);
	test_expect_no_more_errors();
	test_assert(!last_success && disconnects == 1);
	wait_for(&connects, 2);
	listen_end();
	test_end();
}

static void test_unusable(void)
{
	struct pgbox_conn_settings old_set = set;

	test_begin("listen: nobody there, and a bad string");
	set.conninfo = "host=/nonexistent";
	listen_begin();
	test_expect_error_string("no signals of other nodes");
	run_for(1000);
	test_expect_no_more_errors();
	test_assert(connects == 0 && disconnects == 0);
	listen_end();

	set.conninfo = "no string";
	listen_begin();
	test_expect_error_string("not a valid connection string");
	run_for(500);
	test_expect_no_more_errors();
	listen_end();
	set = old_set;
	test_end();
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_notify,
		test_query,
		test_restart,
		test_timeout,
		test_killed,
		test_unusable,
		NULL
	};

	set.conninfo = getenv("PGBOX_TEST_DB");
	if (set.conninfo == NULL) {
		printf("SKIP: see with-server\n");
		return 77;
	}
	return test_run(tests);
}
