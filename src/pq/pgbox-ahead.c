#include "lib.h"
#include "ioloop.h"
#include "pgbox-conn-private.h"

/* A statement that was sent before its answer is needed, so that the server works
   while we do. The link is busy with it, but it gives way: whoever needs the link
   first has all of the answer read (pgbox_ahead_settle()). It has no deadline as
   long as nobody waits. But a server that can't send has a snapshot open, so what
   nobody has asked for is read when the process has nothing else to do. */

/* how long an answer may lie there while the process waits for its client */
#define AHEAD_MAX_UNREAD_MSECS 100

struct pgbox_ahead {
	struct pgbox_conn *conn;
	const struct pgbox_stmt_def *def;
	struct timeout *to_unread;
	pgbox_pipeline_row_t *row_callback;
	pgbox_ahead_end_t *end_callback;
	void *context;
};

static void ahead_unread(struct pgbox_ahead *ahead)
{
	pgbox_ahead_settle(ahead->conn);
}

static void ahead_end(struct pgbox_ahead *ahead, const struct pgbox_error *error)
{
	struct pgbox_conn *conn = ahead->conn;
	struct pgbox_ahead_end end = {
		.error = *error,
		.overdue = conn->request.cancelled,
	};

	timeout_remove(&ahead->to_unread);
	conn->ahead = NULL;
	pgbox_conn_request_end(conn, error->kind);
	ahead->end_callback(&end, ahead->context);
	i_free(ahead);
}

static void ahead_rows(struct pgbox_ahead *ahead, PGresult *rows)
{
	struct pgbox_result result = {
		.conn = ahead->conn,
		.def = ahead->def,
		.row = rows,
	};

	for (; result.row_number < PQntuples(rows); result.row_number++)
		ahead->row_callback(&result, ahead->context);
	PQclear(rows);
}

struct pgbox_ahead *
pgbox_ahead_send(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		 struct pgbox_params *params, enum pgbox_exec_flags flags,
		 pgbox_pipeline_row_t *row_callback,
		 pgbox_ahead_end_t *end_callback, void *context)
{
	struct pgbox_error error;
	struct pgbox_ahead *ahead;

	if (conn->state != PGBOX_CONN_IDLE || !pgbox_link_is_alive(conn) ||
	    pgbox_conn_request_begin(conn, &error) < 0)
		return NULL;
	conn->request.repeatable = TRUE;
	conn->request.collect = (flags & PGBOX_EXEC_COLLECT) != 0;
	if (pgbox_request_send(conn, stmt, params, NULL, NULL, &error) < 0 ||
	    pgbox_request_sync(conn, &error) < 0) {
		pgbox_conn_request_end(conn, error.kind);
		return NULL;
	}
	ahead = i_new(struct pgbox_ahead, 1);
	ahead->conn = conn;
	ahead->def = &pgbox_stmt_table[stmt];
	ahead->row_callback = row_callback;
	ahead->end_callback = end_callback;
	ahead->context = context;
	if (current_ioloop != NULL) {
		ahead->to_unread = timeout_add_short_to(io_loop_get_root(),
						  AHEAD_MAX_UNREAD_MSECS,
						  ahead_unread, ahead);
	}
	conn->ahead = ahead;
	return ahead;
}

bool pgbox_ahead_read(struct pgbox_ahead *ahead, bool wait)
{
	struct pgbox_conn *conn = ahead->conn;
	enum pgbox_answer answer;
	const struct pgbox_op *op;
	struct pgbox_error error;
	PGresult *rows;
	bool all_read;

	do {
		if (pgbox_request_read(conn, wait, &answer, &op, &rows,
				       &error) < 0) {
			ahead_end(ahead, &error);
			return FALSE;
		}
		if (answer == PGBOX_ANSWER_ROW) {
			ahead_rows(ahead, rows);
			wait = FALSE;
		}
	} while (answer == PGBOX_ANSWER_ROW);

	all_read = conn->request.ops_head == array_count(&conn->request.ops);
	if (all_read)
		ahead_end(ahead, &conn->request.error);
	return !all_read;
}

void pgbox_ahead_settle(struct pgbox_conn *conn)
{
	struct pgbox_ahead *ahead = conn->ahead;

	while (ahead != NULL && pgbox_ahead_read(ahead, TRUE)) ;
}

static void ahead_ignore_row(struct pgbox_result *result ATTR_UNUSED,
			     void *context ATTR_UNUSED)
{
}

static void ahead_ignore_end(const struct pgbox_ahead_end *end ATTR_UNUSED,
			     void *context ATTR_UNUSED)
{
}

void pgbox_ahead_cancel(struct pgbox_ahead **_ahead)
{
	struct pgbox_ahead *ahead = *_ahead;

	*_ahead = NULL;
	ahead->row_callback = ahead_ignore_row;
	ahead->end_callback = ahead_ignore_end;
	pgbox_ahead_settle(ahead->conn);
}
