#include "lib.h"
#include "pgbox-conn-private.h"

struct pgbox_pipeline {
	struct pgbox_conn *conn;
	/* kind is NONE as long as all is well */
	struct pgbox_error error;
	/* the link is unusable: there's nothing to roll back */
	bool dead;
};

static void pipeline_row(struct pgbox_conn *conn, const struct pgbox_op *op,
			 PGresult *row)
{
	struct pgbox_result result = {
		.conn = conn,
		.def = &pgbox_stmt_table[op->stmt],
		.row = row,
	};

	if (op->row_callback != NULL)
		op->row_callback(&result, op->row_context);
}

/* Read the next answer. Returns 1 if there may be more, 0 if everything sent
   has been answered, or without wait if the answer hasn't come yet, -1 if the
   link is unusable. */
static int
pipeline_read(struct pgbox_pipeline *pipeline, bool wait, bool want_rows)
{
	enum pgbox_answer answer;
	const struct pgbox_op *op;
	PGresult *row;

	if (pgbox_request_read(pipeline->conn, wait, &answer, &op, &row,
			       &pipeline->error) < 0) {
		pipeline->dead = TRUE;
		return -1;
	}
	if (answer == PGBOX_ANSWER_END)
		return 0;
	if (want_rows)
		pipeline_row(pipeline->conn, op, row);
	PQclear(row);
	return 1;
}

/* Returns -1 and the error if the pipeline has failed. */
static int pipeline_check(struct pgbox_pipeline *pipeline,
			  struct pgbox_error *error_r)
{
	if (pipeline->error.kind == PGBOX_ERROR_NONE)
		pipeline->error = pipeline->conn->request.error;
	if (pipeline->error.kind == PGBOX_ERROR_NONE)
		return 0;
	*error_r = pipeline->error;
	return -1;
}

static int pipeline_queue(struct pgbox_pipeline *pipeline,
			  enum pgbox_stmt stmt, struct pgbox_params *params,
			  pgbox_pipeline_row_t *row_callback, void *context)
{
	if (pgbox_request_send(pipeline->conn, stmt, params, row_callback,
			       context, &pipeline->error) < 0) {
		pipeline->dead = TRUE;
		return -1;
	}
	return 0;
}

/* Send all that is queued and read all answers. */
static int pipeline_sync(struct pgbox_pipeline *pipeline, bool want_rows)
{
	int ret;

	if (pgbox_request_sync(pipeline->conn, &pipeline->error) < 0) {
		pipeline->dead = TRUE;
		return -1;
	}
	while ((ret = pipeline_read(pipeline, TRUE, want_rows)) > 0) ;
	return ret;
}

int pgbox_pipeline_begin(struct pgbox_conn *conn,
			 struct pgbox_pipeline **pipeline_r,
			 struct pgbox_error *error_r)
{
	struct pgbox_pipeline *pipeline;

	if (pgbox_conn_request_begin(conn, error_r) < 0)
		return -1;
	pipeline = i_new(struct pgbox_pipeline, 1);
	pipeline->conn = conn;
	if (pipeline_queue(pipeline, PGBOX_STMT_BEGIN, NULL, NULL, NULL) < 0) {
		*error_r = pipeline->error;
		pgbox_pipeline_rollback(&pipeline);
		return -1;
	}
	*pipeline_r = pipeline;
	return 0;
}

int pgbox_pipeline_send(struct pgbox_pipeline *pipeline, enum pgbox_stmt stmt,
			struct pgbox_params *params,
			pgbox_pipeline_row_t *row_callback, void *context,
			struct pgbox_error *error_r)
{
	struct pgbox_conn *conn = pipeline->conn;

	if (pipeline_check(pipeline, error_r) < 0)
		return -1;
	if (pipeline_queue(pipeline, stmt, params, row_callback, context) == 0 &&
	    conn->request.unflushed_bytes == 0) {
		/* It was flushed, so there's much to send: don't let answers
		   pile up meanwhile. */
		while (pipeline_read(pipeline, FALSE, TRUE) > 0) ;
	}
	return pipeline_check(pipeline, error_r);
}

int pgbox_pipeline_drain(struct pgbox_pipeline *pipeline,
			 struct pgbox_error *error_r)
{
	if (pipeline_check(pipeline, error_r) == 0)
		(void)pipeline_sync(pipeline, TRUE);
	return pipeline_check(pipeline, error_r);
}

static void pipeline_end(struct pgbox_pipeline **_pipeline)
{
	struct pgbox_pipeline *pipeline = *_pipeline;

	*_pipeline = NULL;
	pgbox_conn_request_end(pipeline->conn, pipeline->error.kind);
	i_free(pipeline);
}

int pgbox_pipeline_commit(struct pgbox_pipeline **_pipeline,
			  struct pgbox_error *error_r)
{
	struct pgbox_pipeline *pipeline = *_pipeline;
	struct pgbox_request *request = &pipeline->conn->request;
	bool committed = FALSE;

	*_pipeline = NULL;
	if (pipeline_check(pipeline, error_r) == 0) {
		request->stake = PGBOX_STAKE_COMMIT_QUEUED;
		if (pipeline_queue(pipeline, PGBOX_STMT_COMMIT,
				   NULL, NULL, NULL) == 0)
			(void)pipeline_sync(pipeline, TRUE);
		/* from here on it doesn't matter what becomes of the link */
		committed = request->stake == PGBOX_STAKE_COMMITTED;
	}
	if (committed) {
		pipeline_end(&pipeline);
		return 0;
	}
	(void)pipeline_check(pipeline, error_r);
	pgbox_pipeline_rollback(&pipeline);
	return -1;
}

void pgbox_pipeline_rollback(struct pgbox_pipeline **pipeline)
{
	struct pgbox_conn *conn = (*pipeline)->conn;
	unsigned int i;

	/* When a statement has failed that wasn't synced yet, the server skips
	   the first ROLLBACK. */
	conn->request.stake = PGBOX_STAKE_NONE;
	for (i = 0; i < 2 && !(*pipeline)->dead; i++) {
		if (pipeline_queue(*pipeline, PGBOX_STMT_ROLLBACK,
				   NULL, NULL, NULL) < 0 ||
		    pipeline_sync(*pipeline, FALSE) < 0 ||
		    PQtransactionStatus(conn->pg) == PQTRANS_IDLE)
			break;
	}
	pipeline_end(pipeline);
}
