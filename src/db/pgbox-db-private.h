#ifndef PGBOX_DB_PRIVATE_H
#define PGBOX_DB_PRIVATE_H

#include "pgbox-params.h"
#include "pgbox-query.h"
#include "seq-range-array.h"

/* Inside of src/db: what the statements have in common. */

struct pgbox_conn;
struct pgbox_error;
struct pgbox_pipeline;

/* Call row_callback (may be NULL) for each row and free the result, sets it to
   NULL. All is read: an autocommitted statement has succeeded only when its
   last answer came. Returns the number of rows, or -1. Rows that came before
   an error have been given to the callback. */
int pgbox_db_rows(struct pgbox_result **result,
		  pgbox_pipeline_row_t *row_callback, void *context,
		  struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* Run a statement at once and read its rows as pgbox_db_rows() does. The
   callback runs in the caller's data stack frame. */
int pgbox_db_query(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		   struct pgbox_params *params, enum pgbox_exec_flags flags,
		   pgbox_pipeline_row_t *row_callback, void *context,
		   struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* What a statement needs that runs at once or in a pipeline */
struct pgbox_db_target {
	/* exactly one of these isn't NULL */
	struct pgbox_conn *conn;
	struct pgbox_pipeline *pipeline;
	/* for conn only */
	enum pgbox_exec_flags flags;
};
/* Send the statement to the target. Returns 0 or -1. */
int pgbox_db_send(const struct pgbox_db_target *target, enum pgbox_stmt stmt,
		  struct pgbox_params *params,
		  pgbox_pipeline_row_t *row_callback, void *context,
		  struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* Bind all UIDs in the ranges as bigint[]. */
void pgbox_db_params_uids(struct pgbox_params *params,
			  const ARRAY_TYPE(seq_range) *uids);
/* Bind the ranges: as bigint[] their first UIDs, and the last ones. */
void pgbox_db_params_ranges(struct pgbox_params *params,
			    const ARRAY_TYPE(seq_range) *uids);
/* Bind a bigint that the server takes as NULL when it is 0. */
void pgbox_db_params_nonzero(struct pgbox_params *params, int64_t value);
/* Bind a text that may be NULL. */
void pgbox_db_params_text(struct pgbox_params *params, const char *value);
/* Bind an unsigned number. The server's is signed, so what exceeds that
   becomes its highest. */
void pgbox_db_params_uint64(struct pgbox_params *params, uint64_t value);
/* Returns a bigint column that holds UIDs or the like. The UIDNEXT of a
   mailbox without a UID left is 2^32, which becomes 2^32-1. */
uint32_t pgbox_db_result_uint32(struct pgbox_result *result, unsigned int col);

#endif
