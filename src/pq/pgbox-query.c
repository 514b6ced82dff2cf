#include "lib.h"
#include "pgbox-conn-private.h"

#define QUERY_MAX_RACES 3
/* the pause before a repetition is random up to this, times the number of
   races lost */
#define QUERY_RACE_PAUSE_MAX_MSECS 50

/* What has been tried so far */
struct query_attempts {
	unsigned int races;
	bool relinked;
};

/* Send the statement and wait for its first row. Returns -1 on failure, and
   whether the server was silent for too long. */
static int query_try(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		     struct pgbox_params *params, enum pgbox_exec_flags flags,
		     struct pgbox_result **result_r, bool *overdue_r,
		     struct pgbox_error *error_r)
{
	*overdue_r = FALSE;
	if (pgbox_conn_request_begin(conn, error_r) < 0)
		return -1;

	conn->request.repeatable = (flags & PGBOX_EXEC_REPEATABLE) != 0;
	conn->request.collect = (flags & PGBOX_EXEC_COLLECT) != 0;
	if (pgbox_request_send(conn, stmt, params, NULL, NULL, error_r) == 0) {
		/* the sync is what commits */
		conn->request.stake = PGBOX_STAKE_COMMIT_QUEUED;
		if (pgbox_request_sync(conn, error_r) == 0 &&
		    pgbox_result_start(conn, stmt, result_r, error_r) == 0)
			return 0;
	}
	*overdue_r = conn->request.cancelled;
	pgbox_conn_request_end(conn, error_r->kind);
	return -1;
}

/* Returns TRUE if the statement is worth another attempt after the error,
   possibly after a pause. */
static bool query_may_repeat(struct query_attempts *attempts,
			     const struct pgbox_error *error)
{
	unsigned int pause_msecs;

	switch (error->kind) {
	case PGBOX_ERROR_RACE:
		if (attempts->races == QUERY_MAX_RACES)
			return FALSE;
		attempts->races++;
		pause_msecs = 1 + i_rand_limit(attempts->races *
					       QUERY_RACE_PAUSE_MAX_MSECS);
		(void)pgbox_conn_wait(NULL, 0, pgbox_clock_usecs() +
				      (uint64_t)pause_msecs * 1000);
		return TRUE;
	case PGBOX_ERROR_LOST:
	case PGBOX_ERROR_STANDBY:
	case PGBOX_ERROR_STALE:
		/* Nothing was done, or it may be done again. A new link may
		   also lead to the server that is the primary by now. */
		if (attempts->relinked)
			return FALSE;
		attempts->relinked = TRUE;
		return TRUE;
	default:
		return FALSE;
	}
}

int pgbox_query(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		struct pgbox_params *params, enum pgbox_exec_flags flags,
		struct pgbox_result **result_r, struct pgbox_error *error_r)
{
	struct query_attempts attempts;
	struct event_passthrough *e;
	bool overdue;

	i_zero(&attempts);
	while (query_try(conn, stmt, params, flags, result_r,
			 &overdue, error_r) < 0) {
		if (overdue || conn->set.spare ||
		    !query_may_repeat(&attempts, error_r))
			return -1;
		e = event_create_passthrough(conn->event)->
			set_name("pgbox_query_retried")->
			add_str("statement", pgbox_stmt_table[stmt].name)->
			add_str("error_code", error_r->sqlstate)->
			add_str("error", error_r->text);
		e_debug(e->event(), "statement %s is repeated after: %s",
			pgbox_stmt_table[stmt].name, error_r->text);
	}
	return 0;
}
