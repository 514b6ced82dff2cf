#include "lib.h"
#include "array.h"
#include "time-util.h"
#include "pgbox-conn-private.h"
#include "pgbox-params.h"

/* Statements are sent in libpq's pipeline mode: each becomes an op or two in
   a queue, and answers come in the same order. A sync ends a round trip, and
   without an explicit transaction it is also what commits. After a failure the
   server skips everything up to the next sync. */

/* Flush when the parameters queued exceed this. Below libpq's own threshold
   (64 kB): it must not send a COMMIT before we know about it. */
#define REQUEST_MAX_UNFLUSHED_BYTES (32 * 1024)
/* what a statement takes in the buffer besides its parameters, roughly */
#define REQUEST_OVERHEAD_BYTES 256

#define SQLSTATE_NO_PLAN "26000"
/* "cached plan must not change result type", among others */
#define SQLSTATE_NOT_SUPPORTED "0A000"
/* all of class 08 is about connections; from a pooler: its own to the server */
#define SQLSTATE_CLASS_CONNECTION "08"

static struct pgbox_op *request_head(struct pgbox_conn *conn)
{
	return array_idx_modifiable(&conn->request.ops,
				    conn->request.ops_head);
}

static bool request_is_answered(const struct pgbox_conn *conn)
{
	return conn->request.ops_head == array_count(&conn->request.ops);
}

/* Single-row mode is asked for anew each time a statement comes to the head
   of the queue. libpq refuses if it already knows that there won't be rows. */
static void request_head_changed(struct pgbox_conn *conn)
{
	if (!conn->request.collect && !request_is_answered(conn) &&
	    request_head(conn)->type == PGBOX_OP_EXEC)
		(void)PQsetSingleRowMode(conn->pg);
}

static struct pgbox_op *
request_op_append(struct pgbox_conn *conn, enum pgbox_op_type type,
		  enum pgbox_stmt stmt)
{
	bool was_answered = request_is_answered(conn);
	struct pgbox_op *op;

	if (was_answered) {
		array_clear(&conn->request.ops);
		conn->request.ops_head = 0;
	}
	op = array_append_space(&conn->request.ops);
	op->type = type;
	op->stmt = stmt;
	if (was_answered)
		request_head_changed(conn);
	return op;
}

static void request_op_finished(struct pgbox_conn *conn, struct pgbox_op *op)
{
	const struct pgbox_error *error = &conn->request.error;
	const struct pgbox_stmt_def *def = &pgbox_stmt_table[op->stmt];
	struct event_passthrough *e;

	if (op->event == NULL)
		return;
	e = event_create_passthrough(op->event)->
		set_name("pgbox_query_finished")->
		add_str("statement", def->name)->
		add_int("rows", op->row_count);
	if (op->failed) {
		e->add_str("error", error->text);
		e->add_str("error_code", error->sqlstate);
		e_debug(e->event(), "statement %s failed: %s",
			def->name, error->text);
	} else {
		e_debug(e->event(), "statement %s finished: %u rows",
			def->name, op->row_count);
	}
	event_unref(&op->event);
}

static void request_op_pop(struct pgbox_conn *conn)
{
	struct pgbox_op *op = request_head(conn);

	if (op->type == PGBOX_OP_PREPARE) {
		conn->prepared[op->stmt] = op->failed ?
			PGBOX_PREPARED_NO : PGBOX_PREPARED_YES;
	}
	if (op->check && !op->failed) {
		conn->checked = PGBOX_CHECKED_YES;
		conn->unproven_links = 0;
		pgbox_conn_outage_end(conn);
	}
	request_op_finished(conn, op);
	conn->request.ops_head++;
	request_head_changed(conn);
}

void pgbox_request_clear(struct pgbox_conn *conn)
{
	ARRAY_TYPE(pgbox_op) ops;

	while (!request_is_answered(conn)) {
		struct pgbox_op *op = request_head(conn);
		event_unref(&op->event);
		conn->request.ops_head++;
	}
	if (conn->checked == PGBOX_CHECKED_SENT)
		conn->checked = PGBOX_CHECKED_NO;
	/* keep the array's memory */
	array_clear(&conn->request.ops);
	ops = conn->request.ops;
	i_zero(&conn->request);
	conn->request.ops = ops;
}

/* Transaction control has nothing worth planning, and a link is checked once. */
static bool request_wants_plan(const struct pgbox_conn *conn,
			       enum pgbox_stmt stmt)
{
	const struct pgbox_stmt_def *def = &pgbox_stmt_table[stmt];

	return conn->set.prepare &&
		def->param_count + def->column_count > 0 &&
		!(conn->set.check && stmt == conn->set.check_stmt);
}

static bool request_prepare(struct pgbox_conn *conn, enum pgbox_stmt stmt,
			    const char *plan_name)
{
	const struct pgbox_stmt_def *def = &pgbox_stmt_table[stmt];

	if (conn->prepared[stmt] != PGBOX_PREPARED_NO)
		return TRUE;
	if (PQsendPrepare(conn->pg, plan_name, def->sql, def->param_count,
			  def->param_types) == 0)
		return FALSE;
	(void)request_op_append(conn, PGBOX_OP_PREPARE, stmt);
	conn->prepared[stmt] = PGBOX_PREPARED_SENT;
	conn->request.unflushed_bytes += strlen(def->sql);
	return TRUE;
}

static bool request_send_list(struct pgbox_conn *conn, enum pgbox_stmt stmt,
			      const struct pgbox_params_list *list)
{
	const struct pgbox_stmt_def *def = &pgbox_stmt_table[stmt];
	const char *plan_name = t_strconcat("pgbox-", def->name, NULL);

	conn->request.unflushed_bytes += list->size + REQUEST_OVERHEAD_BYTES;
	if (!request_wants_plan(conn, stmt)) {
		conn->request.unflushed_bytes += strlen(def->sql);
		return PQsendQueryParams(conn->pg, def->sql, list->count,
					 def->param_types, list->values,
					 list->lengths, list->formats, 1) == 1;
	}
	return request_prepare(conn, stmt, plan_name) &&
		PQsendQueryPrepared(conn->pg, plan_name, list->count,
				    list->values, list->lengths,
				    list->formats, 1) == 1;
}

/* Queue a statement. Returns NULL if the link died. */
static struct pgbox_op *
request_send_op(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		struct pgbox_params *params, struct pgbox_error *error_r)
{
	bool old_plan = conn->prepared[stmt] == PGBOX_PREPARED_YES;
	struct pgbox_params_list list;
	struct pgbox_op *op;
	bool sent;

	T_BEGIN {
		pgbox_params_list(params, &pgbox_stmt_table[stmt], &list);
		sent = request_send_list(conn, stmt, &list);
	} T_END;
	if (!sent) {
		pgbox_link_set_dead(conn, PQerrorMessage(conn->pg), error_r);
		error_r->stmt = pgbox_stmt_table[stmt].name;
		return NULL;
	}
	op = request_op_append(conn, PGBOX_OP_EXEC, stmt);
	op->old_plan = old_plan;
	op->event = event_create(conn->event);
	return op;
}

/* Queue what a new link begins with. Returns -1 if the link died. */
static int
request_send_check(struct pgbox_conn *conn, struct pgbox_error *error_r)
{
	struct pgbox_op *op;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_seen_add_params(conn->seen, params);
		op = request_send_op(conn, conn->set.check_stmt, params,
				     error_r);
	} T_END;
	if (op == NULL)
		return -1;
	op->check = TRUE;
	conn->checked = PGBOX_CHECKED_SENT;
	return 0;
}

int pgbox_request_send(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		       struct pgbox_params *params,
		       pgbox_pipeline_row_t *row_callback, void *row_context,
		       struct pgbox_error *error_r)
{
	struct pgbox_op *op;

	i_assert(conn->state == PGBOX_CONN_BUSY);

	/* if it fails the server skips what follows */
	if (conn->checked == PGBOX_CHECKED_NO &&
	    request_send_check(conn, error_r) < 0)
		return -1;
	op = request_send_op(conn, stmt, params, error_r);
	if (op == NULL)
		return -1;
	op->row_callback = row_callback;
	op->row_context = row_context;
	if (conn->request.unflushed_bytes < REQUEST_MAX_UNFLUSHED_BYTES)
		return 0;
	return pgbox_link_flush(conn, error_r);
}

int pgbox_request_sync(struct pgbox_conn *conn, struct pgbox_error *error_r)
{
	if (PQpipelineSync(conn->pg) == 0) {
		pgbox_link_set_dead(conn, PQerrorMessage(conn->pg), error_r);
		return -1;
	}
	(void)request_op_append(conn, PGBOX_OP_SYNC, PGBOX_STMT_COUNT);
	return pgbox_link_flush(conn, error_r);
}

static bool request_is_readable(struct pgbox_conn *conn)
{
	if (PQisBusy(conn->pg) == 0)
		return TRUE;
	/* a failure shows when the result is read */
	(void)PQconsumeInput(conn->pg);
	return PQisBusy(conn->pg) == 0;
}

/* The first failure counts: what follows it is only skipped. */
static void request_set_failed(struct pgbox_conn *conn, struct pgbox_op *op,
			       const struct pgbox_error *error)
{
	op->failed = TRUE;
	if (conn->request.error.kind == PGBOX_ERROR_NONE)
		conn->request.error = *error;
}

/* Returns TRUE if the failed result is the last thing that this link says. */
static bool request_result_is_farewell(const PGresult *res)
{
	const char *severity =
		PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	/* libpq's own errors, a dead link above all, have no severity */
	return severity == NULL || strcmp(severity, "FATAL") == 0 ||
		strcmp(severity, "PANIC") == 0;
}

/* The session ends with this result. Returns -1 with what that means. */
static int
request_handle_farewell(struct pgbox_conn *conn, const PGresult *res,
			const struct pgbox_error *error,
			struct pgbox_error *error_r)
{
	const char *severity =
		PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	if (severity == NULL || strcmp(severity, "PANIC") == 0 ||
	    str_begins(error->sqlstate, SQLSTATE_CLASS_CONNECTION) ||
	    conn->request.error.kind != PGBOX_ERROR_NONE) {
		pgbox_link_set_dead(conn, error->text, error_r);
		return -1;
	}
	/* The server ended the session by itself and told so instead of an
	   answer: the transaction is aborted. */
	*error_r = *error;
	return -1;
}

static int request_handle_error(struct pgbox_conn *conn, struct pgbox_op *op,
				const PGresult *res,
				struct pgbox_error *error_r)
{
	const struct pgbox_stmt_def *def = op->type == PGBOX_OP_SYNC ?
		NULL : &pgbox_stmt_table[op->stmt];
	struct pgbox_error error;

	pgbox_error_from_result(&error, res, def);
	if (request_result_is_farewell(res))
		return request_handle_farewell(conn, res, &error, error_r);

	if (op->old_plan && (strcmp(error.sqlstate, SQLSTATE_NO_PLAN) == 0 ||
			     strcmp(error.sqlstate,
				    SQLSTATE_NOT_SUPPORTED) == 0)) {
		/* The session was reset behind our back, or the schema has
		   changed. Nothing was done, and a new link plans anew. */
		error.kind = PGBOX_ERROR_LOST;
	}
	if (op->check)
		pgbox_conn_outage_begin(conn, &error);
	if (error.kind == PGBOX_ERROR_BUSY) {
		/* if we asked for this it has been confirmed */
		conn->request.cancelled = FALSE;
	}
	request_set_failed(conn, op, &error);
	return 0;
}

/* Returns FALSE and fails the statement if its columns aren't those that it
   was written for: the getters rely on that. */
static bool request_check_columns(struct pgbox_conn *conn, struct pgbox_op *op,
				  const PGresult *res)
{
	const struct pgbox_stmt_def *def = &pgbox_stmt_table[op->stmt];
	unsigned int i, count = PQnfields(res);
	struct pgbox_error error;

	if (op->failed)
		return FALSE;
	if (def->column_count == 0) {
		/* a function that returns void has a column nevertheless */
		return TRUE;
	}
	for (i = 0; i < count && i < def->column_count; i++) {
		if (PQftype(res, i) != def->column_types[i] ||
		    PQfformat(res, i) != 1)
			break;
	}
	if (i == count && i == def->column_count)
		return TRUE;
	pgbox_error_set(&error, PGBOX_ERROR_SCHEMA,
		"statement %s: the server returns other columns than expected",
		def->name);
	error.stmt = def->name;
	request_set_failed(conn, op, &error);
	return FALSE;
}

static void request_handle_check(struct pgbox_conn *conn,
				 const struct pgbox_op *op, PGresult *res)
{
	struct pgbox_result row = {
		.def = &pgbox_stmt_table[op->stmt],
		.row = res,
	};

	pgbox_seen_note(conn->seen, &row, conn->event, &conn->server);
}

/* The answer to COMMIT tells what happened. */
static void request_handle_command(struct pgbox_conn *conn,
				   struct pgbox_op *op, PGresult *res)
{
	struct pgbox_request *request = &conn->request;
	const char *tag = PQcmdStatus(res);
	struct pgbox_error error;

	if (request->stake != PGBOX_STAKE_COMMIT_SENT)
		return;
	if (strcmp(tag, "COMMIT") == 0 && request->unconfirmed) {
		pgbox_conn_unconfirmed(conn, &error);
		error.stmt = pgbox_stmt_table[op->stmt].name;
		request_set_failed(conn, op, &error);
	} else if (strcmp(tag, "COMMIT") == 0)
		request->stake = PGBOX_STAKE_COMMITTED;
	else if (strcmp(tag, "ROLLBACK") == 0) {
		pgbox_error_set(&error, PGBOX_ERROR_BUG,
			"the server rolled back instead of committing");
		error.stmt = pgbox_stmt_table[op->stmt].name;
		request_set_failed(conn, op, &error);
	}
}

static void request_handle_sync(struct pgbox_conn *conn)
{
	struct pgbox_request *request = &conn->request;

	i_assert(request_head(conn)->type == PGBOX_OP_SYNC);
	if (request->unconfirmed && request->error.kind == PGBOX_ERROR_NONE)
		pgbox_conn_unconfirmed(conn, &request->error);
	if (request->stake == PGBOX_STAKE_COMMIT_SENT &&
	    request->error.kind == PGBOX_ERROR_NONE)
		request->stake = PGBOX_STAKE_COMMITTED;
	request_op_pop(conn);
}

/* Take notice of a result that isn't a row. Returns -1 if the link is
   unusable. */
static int request_handle_result(struct pgbox_conn *conn, PGresult *res,
				 struct pgbox_error *error_r)
{
	struct pgbox_op *op = request_head(conn);

	op->answered = TRUE;
	switch (PQresultStatus(res)) {
	case PGRES_TUPLES_OK:
		(void)request_check_columns(conn, op, res);
		return 0;
	case PGRES_COMMAND_OK:
		request_handle_command(conn, op, res);
		return 0;
	case PGRES_PIPELINE_SYNC:
		request_handle_sync(conn);
		return 0;
	case PGRES_PIPELINE_ABORTED:
		op->failed = TRUE;
		return 0;
	default:
		return request_handle_error(conn, op, res, error_r);
	}
}

static bool request_result_has_rows(const PGresult *res)
{
	return PQresultStatus(res) == PGRES_SINGLE_TUPLE ||
		(PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) > 0);
}

/* Returns TRUE if the rows are for the caller. */
static bool
request_handle_rows(struct pgbox_conn *conn, struct pgbox_op *op, PGresult *res)
{
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		op->answered = TRUE;
	if (!request_check_columns(conn, op, res))
		return FALSE;
	if (op->check) {
		request_handle_check(conn, op, res);
		return FALSE;
	}
	op->row_count += PQntuples(res);
	return TRUE;
}

/* libpq has no more results for the op at the head. */
static int request_handle_end(struct pgbox_conn *conn,
			      struct pgbox_error *error_r)
{
	if (!request_head(conn)->answered) {
		pgbox_link_set_dead(conn, "no result", error_r);
		return -1;
	}
	request_op_pop(conn);
	return 0;
}

int pgbox_request_read(struct pgbox_conn *conn, bool wait,
		       enum pgbox_answer *answer_r,
		       const struct pgbox_op **op_r, PGresult **row_r,
		       struct pgbox_error *error_r)
{
	struct pgbox_op *op;
	PGresult *res;
	int ret = 0;

	while (ret == 0 && !request_is_answered(conn)) {
		if (!wait && !request_is_readable(conn))
			break;
		if (pgbox_link_wait_result(conn, error_r) < 0)
			return -1;
		res = PQgetResult(conn->pg);
		if (res == NULL) {
			ret = request_handle_end(conn, error_r);
			continue;
		}
		op = request_head(conn);
		if (!request_result_has_rows(res))
			ret = request_handle_result(conn, res, error_r);
		else if (request_handle_rows(conn, op, res)) {
			*op_r = op;
			*row_r = res;
			*answer_r = PGBOX_ANSWER_ROW;
			return 0;
		}
		PQclear(res);
	}
	*answer_r = PGBOX_ANSWER_END;
	return ret;
}
