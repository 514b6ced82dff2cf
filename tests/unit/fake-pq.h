#ifndef FAKE_PQ_H
#define FAKE_PQ_H

/* A libpq with a scripted server, linked in place of the real one. It keeps
   the rules of pipeline mode: statements are answered in the order sent, after
   a failure all is skipped up to the next sync, and single-row mode must be
   asked for when a statement comes to the head of the queue. */

enum fake_pq_action {
	/* answer with count rows of the value 1, 2, ... in all columns */
	FAKE_PQ_ROWS,
	/* refuse with an ERROR and sqlstate */
	FAKE_PQ_ERROR,
	/* end the session with a FATAL error and sqlstate */
	FAKE_PQ_FATAL,
	/* the link dies without an answer */
	FAKE_PQ_DIE,
	/* answer with count rows, then the link dies before the sync */
	FAKE_PQ_ROWS_AND_DIE,
	/* no answer until cancelled, then ERROR 57014 */
	FAKE_PQ_SILENT,
	/* no answer, cancelled or not */
	FAKE_PQ_DEAF,
	/* refuse at the sync that commits, with an ERROR and sqlstate */
	FAKE_PQ_ERROR_AT_SYNC,
	/* COMMIT is answered with ROLLBACK */
	FAKE_PQ_ROLLED_BACK,
};

/* What the server does with the next execution of a statement. Statements
   without a step succeed without rows. */
struct fake_pq_step {
	/* name of the statement; steps must be met in order */
	const char *stmt;
	enum fake_pq_action action;
	unsigned int count;
	const char *sqlstate;
};

/* Forget everything and play these steps (ended by a NULL stmt), which must
   stay valid. */
void fake_pq_script(const struct fake_pq_step *steps);
/* The next count attempts to connect fail with this message. */
void fake_pq_refuse_connections(unsigned int count, const char *message);
/* The next count times all or a part of what is sent stays in the buffer. */
void fake_pq_flush_blocks(unsigned int count);
/* The next flush fails. */
void fake_pq_flush_fails(void);
/* The idle link is closed by the server, with a farewell first or without. */
void fake_pq_close_idle(bool farewell);

/* Returns what was called since the script began, separated by spaces:
   connect, prepare:NAME, exec:NAME, sync, cancel, finish. */
const char *fake_pq_log(void);
/* Returns TRUE if all steps were met and all results and links were freed. */
bool fake_pq_is_clean(void);

#endif
