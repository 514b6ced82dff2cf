#ifndef PGBOX_CONN_PRIVATE_H
#define PGBOX_CONN_PRIVATE_H

#include "array.h"
#include "ioloop.h"
#include "pgbox-conn.h"
#include "pgbox-error.h"
#include "pgbox-stmt-table.h"
#include "pgbox-query.h"
#include "pgbox-seen.h"

#include <libpq-fe.h>

/* Inside of src/pq. The files, from the bottom up:

   error     the error value
   params    encodes what is bound to a statement
   link      one PGconn: waiting, flushing, the next PGresult, its death
   cancel    asks the server to stop a statement
   connect   makes a PGconn
   conn      the object above links: sharing, idle closing, outages
   request   statements sent and their answers, in order
   seen      how new the stores are that were seen
   result    rows and their columns, result-array: columns that are arrays
   query     one statement in a transaction of its own
   pipeline  several statements as one transaction
   ahead     a statement whose answer is read later
   listen    a link of another kind: on the ioloop, hears what is notified

   Time is in microseconds of the monotonic clock. */

/* no link, or a link with a request under way, or one without */
enum pgbox_conn_state {
	PGBOX_CONN_CLOSED = 0,
	PGBOX_CONN_IDLE,
	PGBOX_CONN_BUSY,
};

/* What the server of this link has of a statement that we prepared */
enum pgbox_prepared {
	PGBOX_PREPARED_NO = 0,
	/* on its way, the answer hasn't been read */
	PGBOX_PREPARED_SENT,
	PGBOX_PREPARED_YES,
};

/* Is the database of this link one that can be used? See set.check */
enum pgbox_checked {
	PGBOX_CHECKED_NO = 0,
	/* on its way with the request, the answer hasn't been read */
	PGBOX_CHECKED_SENT,
	PGBOX_CHECKED_YES,
};

/* What is lost if the link dies now */
enum pgbox_stake {
	/* nothing the server has been sent can take effect, or it may safely
	   take effect twice */
	PGBOX_STAKE_NONE = 0,
	/* what makes the server commit is queued, all in our buffer */
	PGBOX_STAKE_COMMIT_QUEUED,
	/* the server may have got it */
	PGBOX_STAKE_COMMIT_SENT,
	/* the server has confirmed the commit */
	PGBOX_STAKE_COMMITTED,
};

enum pgbox_op_type {
	PGBOX_OP_PREPARE,
	PGBOX_OP_EXEC,
	PGBOX_OP_SYNC,
};

/* Something sent whose answer hasn't been read completely */
struct pgbox_op {
	enum pgbox_op_type type;
	enum pgbox_stmt stmt;
	/* EXEC: created when sent, so that its duration is the statement's */
	struct event *event;
	pgbox_pipeline_row_t *row_callback;
	void *row_context;
	unsigned int row_count;
	/* EXEC: used a plan made by an earlier request */
	bool old_plan:1;
	/* there was a result other than rows */
	bool answered:1;
	/* the server refused it, or skipped it after an earlier refusal */
	bool failed:1;
	/* EXEC: it is the link's check_stmt */
	bool check:1;
};

ARRAY_DEFINE_TYPE(pgbox_op, struct pgbox_op);

/* The state of the request under way; zeroed at its end. */
struct pgbox_request {
	ARRAY_TYPE(pgbox_op) ops;
	/* index of the first op that isn't answered completely */
	unsigned int ops_head;
	enum pgbox_stake stake;
	/* parameters queued since the last flush */
	size_t unflushed_bytes;
	/* first failure of a statement; those after it are skipped */
	struct pgbox_error error;
	/* the whole request may take effect twice without harm */
	bool repeatable:1;
	/* libpq collects the rows of each statement */
	bool collect:1;
	/* the server was asked to stop, and hasn't confirmed it */
	bool cancelled:1;
	/* what was committed may be lost with the primary: the synchronous
	   standby hasn't got it */
	bool unconfirmed:1;
};

struct pgbox_conn {
	/* all connections of the process */
	struct pgbox_conn *prev, *next;
	int refcount;

	/* set.conninfo points to it */
	char *conninfo, *seen_path;
	struct pgbox_conn_settings set;
	struct event *event;
	struct pgbox_seen *seen;

	enum pgbox_conn_state state;
	/* NULL in state CLOSED only */
	PGconn *pg;
	enum pgbox_prepared prepared[PGBOX_STMT_COUNT];
	enum pgbox_checked checked;
	/* what the check said of this link's server */
	struct pgbox_seen_server server;
	/* how many links in a row have died before the check was answered */
	unsigned int unproven_links;
	/* the server announced the end of this session */
	bool link_doomed;
	/* in state IDLE; NULL without an ioloop */
	struct timeout *to_idle;
	struct ioloop *to_idle_ioloop;

	/* when it was logged last that the standby is missing */
	uint64_t last_unconfirmed;
	/* kind is NONE unless the last attempt to get a usable link failed */
	struct pgbox_error outage;
	uint64_t outage_start, outage_last_attempt;

	/* meaningful in state BUSY */
	struct pgbox_request request;
	/* in state BUSY: the request is this one and gives way; or NULL */
	struct pgbox_ahead *ahead;
};

struct pgbox_result {
	struct pgbox_conn *conn;
	const struct pgbox_stmt_def *def;
	/* what has the current row, and its number there; NULL before the
	   first and after the last */
	PGresult *row;
	int row_number;
	/* what was read ahead of the caller, in order */
	PGresult *ahead[2];
	/* every answer has been read, or none can be */
	bool finished;
	/* what pgbox_result_next() reports when finished */
	struct pgbox_error error;
};

/* --- pgbox-link.c */

/* Returns the time at which the server has been silent for too long if it
   says nothing from now on. */
uint64_t pgbox_link_deadline(const struct pgbox_conn *conn);
/* The only place that waits: until the socket of conn has one of the poll()
   events, or the deadline passes. Without events it waits for the deadline.
   Returns 1 if there is an event, 0 at the deadline, -1 if poll() failed. */
int pgbox_conn_wait(PGconn *pg, short events, uint64_t deadline);
/* Hand everything that is queued to the kernel, reading what arrives in the
   meantime. Returns 0, or -1 if the link died or the deadline passed. */
int pgbox_link_flush(struct pgbox_conn *conn, struct pgbox_error *error_r);
/* Wait until a result can be taken from libpq. Returns 0, or -1 on timeout.
   A dead link has a result, too: libpq's report of that. */
int pgbox_link_wait_result(struct pgbox_conn *conn,
			   struct pgbox_error *error_r);
/* Returns FALSE if the idle link has died or is about to. */
bool pgbox_link_is_alive(struct pgbox_conn *conn);
/* Set error to what the death of the link means for the request under way:
   LOST or IN_DOUBT. An earlier failure of a statement wins, as nothing can
   have been committed then. */
void pgbox_link_set_dead(struct pgbox_conn *conn, const char *reason,
			 struct pgbox_error *error_r);

/* --- pgbox-cancel.c */

/* Ask the server to stop what it does for this link. Doesn't wait for the
   answer. Returns FALSE if the request couldn't be sent. */
bool pgbox_cancel_send(PGconn *pg);

/* --- pgbox-connect.c */

/* Begin to make a link; the caller polls it (PQconnectPoll()) for no longer
   than *timeout_msecs_r. Returns NULL and error_r if the connection string is
   no good. */
PGconn *pgbox_connect_start(const struct pgbox_conn_settings *set,
			    unsigned int *timeout_msecs_r,
			    struct pgbox_error *error_r);

/* Make a link within the connect timeout. Returns NULL and error_r on
   failure. */
PGconn *pgbox_connect(const struct pgbox_conn_settings *set,
		      struct pgbox_error *error_r);

/* --- pgbox-conn.c */

extern struct event_category pgbox_event_category_sql;

/* Make sure that there is a living link and start a request on it (state
   BUSY). The caller ends it with pgbox_conn_request_end(). Returns -1 if no
   link could be made. */
int pgbox_conn_request_begin(struct pgbox_conn *conn,
			     struct pgbox_error *error_r);
/* The server has committed without its synchronous standby, which it was waiting
   for until it was cancelled: a failover may lose it. Sets the error, and logs it
   now and then. */
void pgbox_conn_unconfirmed(struct pgbox_conn *conn,
			    struct pgbox_error *error_r);
/* No link can be had, or the check of it failed: log that, once for each
   reason, and note in the error that it was. For a moment requests fail
   without another attempt. */
void pgbox_conn_outage_begin(struct pgbox_conn *conn,
			     struct pgbox_error *error);
/* The link is usable. */
void pgbox_conn_outage_end(struct pgbox_conn *conn);
/* End the request. The link is kept if all answers were read, no transaction
   is open and last_error (NONE: success) allows for it. */
void pgbox_conn_request_end(struct pgbox_conn *conn,
			    enum pgbox_error_kind last_error);

/* --- pgbox-request.c */

enum pgbox_answer {
	/* everything sent has been answered */
	PGBOX_ANSWER_END = 0,
	/* a row of the statement in *op_r, or all that are left of it */
	PGBOX_ANSWER_ROW,
};

/* Queue a statement, and its preparation if it needs one. */
int pgbox_request_send(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		       struct pgbox_params *params,
		       pgbox_pipeline_row_t *row_callback, void *row_context,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Queue the end of a round trip and send all that is queued. */
int pgbox_request_sync(struct pgbox_conn *conn,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Read the next row, or the answer to the sync. A refused statement is no
   error here: conn->request.error has it after the END. Without wait it stops,
   with END, where the answer hasn't arrived yet: the server keeps back answers
   until it is asked to sync, and waiting for them before that would last for
   ever. Returns -1 if the link is unusable. The row belongs to the caller,
   *op_r is valid until the next call. */
int pgbox_request_read(struct pgbox_conn *conn, bool wait,
		       enum pgbox_answer *answer_r,
		       const struct pgbox_op **op_r, PGresult **row_r,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Throw away the state of the request. */
void pgbox_request_clear(struct pgbox_conn *conn);

/* --- pgbox-ahead.c */

/* If the link is busy with a statement that was sent ahead, read all of its answer. */
void pgbox_ahead_settle(struct pgbox_conn *conn);

/* --- pgbox-params.c */

/* What libpq wants to know about the parameters of a statement */
struct pgbox_params_list {
	unsigned int count;
	const char *const *values;
	const int *lengths;
	const int *formats;
	/* sum of lengths */
	size_t size;
};

/* Check the parameters against the statement's head (i_assert) and return
   them. params may be NULL. Everything is on the data stack. */
void pgbox_params_list(struct pgbox_params *params,
		       const struct pgbox_stmt_def *def,
		       struct pgbox_params_list *list_r);

/* --- pgbox-result.c */

/* Make the result of a statement that has been sent and synced, and wait for
   its first row or its end, for a write also for what comes after the first
   row: then a write of at most one row is known to be committed. Returns -1 if
   the statement failed. */
int pgbox_result_start(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		       struct pgbox_result **result_r,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Returns the value of a column after checking its type, or NULL if it is
   SQL NULL. */
const unsigned char *
pgbox_result_value(struct pgbox_result *result, unsigned int col,
		   enum pgbox_type type, size_t *size_r);

/* --- pgbox-error-pq.c */

/* Set error from a failed result, for the statement (NULL: none). */
void pgbox_error_from_result(struct pgbox_error *error, const PGresult *res,
			     const struct pgbox_stmt_def *def);
/* Set error from the verbose message of a failed attempt to connect. */
void pgbox_error_from_connect(struct pgbox_error *error, PGconn *pg);

#endif
