#ifndef FAKE_PQ_PRIVATE_H
#define FAKE_PQ_PRIVATE_H

#include "array.h"
#include "pgbox-stmt.h"
#include "pgbox-stmt-table.h"
#include "fake-pq.h"

#include <libpq-fe.h>

/* fake-pq.c: the script, results and the link; fake-pq-server.c: statements
   and their answers */

enum fake_op_type {
	FAKE_OP_PREPARE,
	FAKE_OP_EXEC,
	FAKE_OP_SYNC,
};

struct fake_op {
	enum fake_op_type type;
	const struct pgbox_stmt_def *def;
	const struct fake_pq_step *step;
	unsigned int rows_returned;
	bool single_row, answered;
};

struct pg_conn {
	int fds[2];
	ConnStatusType status;
	ARRAY(struct fake_op) ops;
	/* a statement failed, everything is skipped up to the sync */
	bool aborted;
	/* the commit at the next sync fails with this */
	const char *sync_sqlstate;
	bool die_at_sync;
	PGTransactionStatusType transaction;
	bool cancelled, farewell, closed;
	PQnoticeReceiver notice;
	void *notice_context;
};

struct pg_result {
	ExecStatusType status;
	const struct pgbox_stmt_def *def;
	unsigned int row;
	const char *severity, *sqlstate, *tag;
	unsigned char value[16];
};

/* Write to the log that is returned by fake_pq_log(). */
void fake_pq_log_add(const char *what, const char *name);
/* Returns the step for the statement about to be executed, NULL if the script
   has none. */
const struct fake_pq_step *fake_pq_next_step(const char *stmt);
/* Make the socket readable. */
void fake_pq_set_readable(PGconn *pg);
/* Make a result; severity NULL: libpq's own error. */
PGresult *fake_pq_result(ExecStatusType status);
PGresult *fake_pq_result_error(const char *severity, const char *sqlstate);

#endif
