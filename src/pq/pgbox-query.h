#ifndef PGBOX_QUERY_H
#define PGBOX_QUERY_H

#include "guid.h"
#include "pgbox-error.h"
#include "pgbox-stmt.h" /* generated: enum pgbox_stmt */

struct pgbox_conn;
struct pgbox_params;
struct pgbox_result;
struct pgbox_pipeline;
struct pgbox_ahead;

enum pgbox_exec_flags {
	/* The statement may be sent a second time without harm: a link that
	   dies is made anew and the statement repeated once, and the error
	   is never IN_DOUBT (it becomes LOST). All read-only statements and
	   writes whose repetition changes nothing. */
	PGBOX_EXEC_REPEATABLE = 0x01,
	/* The rows are few or small: libpq collects them and returns all of them
	   at once, which takes a fraction of the time for each. */
	PGBOX_EXEC_COLLECT = 0x02,
};

/* Run one statement in a transaction of its own (autocommit): one round trip,
   the preparation at the first use travels in the same packet. Connects first if need be. RACE errors are repeated up to
   three times with jitter.

   Returns 0 and the result, to be read with pgbox_result_next() and freed
   with pgbox_result_free(); -1 and error_r if the statement failed before its
   first row. A statement without PGBOX_EXEC_REPEATABLE that returns no row or
   one is committed when this returns 0. One that returns several isn't until
   pgbox_result_next() has returned 0: its rows are to be read to the end, and
   on -1 none of it has happened. The connection can serve no other request until the result is
   freed (asserted). params may be NULL for a statement without parameters. */
int pgbox_query(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		struct pgbox_params *params, enum pgbox_exec_flags flags,
		struct pgbox_result **result_r, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;

/* Rows arrive one by one (libpq's single-row mode) without PGBOX_EXEC_COLLECT:
   memory doesn't grow with their number. Returns 1 when positioned on the next row, 0 after the last,
   -1 on error. */
int pgbox_result_next(struct pgbox_result *result, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* Reads and throws away what is left. Sets *result to NULL. */
void pgbox_result_free(struct pgbox_result **result);

/* Getters for the current row. The column's type is checked against the
   statement's "-- out:" head (i_assert); a NULL where the getter has no way
   to say so is returned as 0, "", FALSE. Pointers are valid until the next
   pgbox_result_next(). */
bool pgbox_result_is_null(struct pgbox_result *result, unsigned int col);
bool pgbox_result_bool(struct pgbox_result *result, unsigned int col);
/* also for smallint */
int32_t pgbox_result_int32(struct pgbox_result *result, unsigned int col);
int64_t pgbox_result_int64(struct pgbox_result *result, unsigned int col);
/* NULL if SQL NULL */
const char *pgbox_result_text(struct pgbox_result *result, unsigned int col);
const unsigned char *
pgbox_result_bytea(struct pgbox_result *result, unsigned int col,
		   size_t *size_r);
void pgbox_result_uuid(struct pgbox_result *result, unsigned int col,
		       guid_128_t value_r);
/* Decode a one-dimensional int2[] into memory of the data stack. SQL NULL and
   the empty array give count 0. */
const int16_t *
pgbox_result_int16_array(struct pgbox_result *result, unsigned int col,
			 unsigned int *count_r);
const int32_t *
pgbox_result_int32_array(struct pgbox_result *result, unsigned int col,
			 unsigned int *count_r);
const int64_t *
pgbox_result_int64_array(struct pgbox_result *result, unsigned int col,
			 unsigned int *count_r);
const char *const *
pgbox_result_text_array(struct pgbox_result *result, unsigned int col,
			unsigned int *count_r);

/* Several statements as one explicit transaction, sent without waiting for
   each other's results. Back-pressure: when the socket is full the sender
   reads results and waits, so memory is bounded by one statement's
   parameters. */

/* Called for each row a statement of the pipeline returns, in order of the
   statements. Must not use the connection. */
typedef void pgbox_pipeline_row_t(struct pgbox_result *result, void *context);

/* Queue BEGIN. Connects first if need be (-1 if that fails). */
int pgbox_pipeline_begin(struct pgbox_conn *conn,
			 struct pgbox_pipeline **pipeline_r,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Queue a statement. row_callback may be NULL when rows don't matter. Returns
   -1 when this or an earlier statement is already known to have failed; the
   caller then calls pgbox_pipeline_rollback(). */
int pgbox_pipeline_send(struct pgbox_pipeline *pipeline, enum pgbox_stmt stmt,
			struct pgbox_params *params,
			pgbox_pipeline_row_t *row_callback, void *context,
			struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Wait until every statement sent so far has answered: one round trip. */
int pgbox_pipeline_drain(struct pgbox_pipeline *pipeline,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Queue COMMIT and wait for its answer: one round trip together with what was
   queued since the last drain. *pipeline becomes NULL in every case. On -1
   nothing is committed, unless the error is PGBOX_ERROR_IN_DOUBT. */
int pgbox_pipeline_commit(struct pgbox_pipeline **pipeline,
			  struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Give up; nothing is committed. *pipeline becomes NULL. */
void pgbox_pipeline_rollback(struct pgbox_pipeline **pipeline);

/* A statement that reads, sent before its answer is needed. */

struct pgbox_ahead_end {
	/* NONE: all rows came */
	struct pgbox_error error;
	/* the server was silent for too long: no reason to ask it again */
	bool overdue;
};

/* The last thing that is heard of the statement, which is freed then. Must not use
   the connection. */
typedef void pgbox_ahead_end_t(const struct pgbox_ahead_end *end, void *context);

/* Send a statement and don't wait: no time is lost but for the sending. Its rows come
   to row_callback, as in a pipeline, when the caller has them read, or when anybody
   needs the connection, or when the process sits idle; the end is told in every case,
   and the context has to last until then. Of flags only PGBOX_EXEC_COLLECT counts.
   Returns NULL if there is no link (none is made), if it is in use, or died. */
struct pgbox_ahead *
pgbox_ahead_send(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		 struct pgbox_params *params, enum pgbox_exec_flags flags,
		 pgbox_pipeline_row_t *row_callback,
		 pgbox_ahead_end_t *end_callback, void *context);
/* Read what has come; with wait something at least. Returns FALSE if that was the end. */
bool pgbox_ahead_read(struct pgbox_ahead *ahead, bool wait);
/* Nobody wants the answer any more: it is read and thrown away, no callback is
   called. *ahead becomes NULL. */
void pgbox_ahead_cancel(struct pgbox_ahead **ahead);

#endif
