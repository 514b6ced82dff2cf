#ifndef PGBOX_CONN_H
#define PGBOX_CONN_H

#include "pgbox-stmt.h" /* generated: enum pgbox_stmt */

struct pgbox_error;
struct pgbox_conn;

/* Returns microseconds of a clock that nobody sets: ioloop_time may jump. */
uint64_t pgbox_clock_usecs(void);

struct pgbox_conn_settings {
	/* libpq connection string or URI. Several hosts and
	   target_session_attrs are libpq's own business. */
	const char *conninfo;
	/* what pg_stat_activity shows if conninfo says nothing else; NULL:
	   "pgbox" */
	const char *application_name;
	/* for each of the hosts in conninfo */
	unsigned int connect_timeout_msecs;
	/* bound on the silence of a server that owes us an answer (0: none).
	   Each row and each statement sent starts it anew, so that a long
	   transfer that makes progress isn't cut. A statement that takes
	   longer is cancelled. */
	unsigned int query_timeout_msecs;
	/* a connection without a request for this long is closed
	   (0: immediately after each request) */
	unsigned int idle_timeout_msecs;
	/* use named prepared statements; FALSE behind a pooler that can't */
	bool prepare;
	/* Each new link begins with the statement check_stmt, which fails if
	   this database can't be used. Its parameters are what was seen of
	   stores (uuid[], bigint[]), it returns a row with the store and its
	   generation: pgbox-seen.h. It travels before the first request, in
	   its transaction, and so costs no round trip. Its failure counts as
	   an outage. */
	bool check;
	enum pgbox_stmt check_stmt;
	/* Another server can answer in place of this one (a replica): a
	   statement that fails or isn't answered in time is neither cancelled
	   nor repeated, outages are warnings, and after one the server is left
	   alone for PGBOX_CONN_SPARE_RETRY_SECS. */
	bool spare;
	/* file in which processes of this node remember what was seen (NULL:
	   each remembers it by itself) */
	const char *seen_path;
};

#define PGBOX_CONN_SPARE_RETRY_SECS 10

/* Get the process's connection for these settings, making the object (not
   the link) when there is none: several users, storages and namespaces of one
   process share one link. Never fails and never connects: the link is made by
   the first request and closed when idle. parent_event is used for the first
   reference only. The caller releases it with pgbox_conn_unref(). A process
   that serves one user after the other (lmtp) gets the former one's link if it
   isn't idle for too long. */
struct pgbox_conn *
pgbox_conn_get(const struct pgbox_conn_settings *set, struct event *parent_event);
void pgbox_conn_ref(struct pgbox_conn *conn);
/* Sets *conn to NULL. Without references the link stays until it is idle for
   too long; of such links a process keeps one. */
void pgbox_conn_unref(struct pgbox_conn **conn);
/* Close all links that nobody refers to. When the plugin is unloaded. */
void pgbox_conns_free_unused(void);

/* Close the link now if no request is under way (the object stays usable).
   For sessions that are about to sit idle. */
void pgbox_conn_release(struct pgbox_conn *conn);
/* The same in a moment, if there is no request until then: the session may
   have something left to ask before it sits idle. */
void pgbox_conn_release_soon(struct pgbox_conn *conn);

/* A spare server has failed somebody who has got his answer elsewhere: requests
   fail at once until it is tried again. Not after an error of kind RACE, which
   is about one statement (a standby cancels those that keep it from going on).
   There must be no request under way. */
void pgbox_conn_leave_out(struct pgbox_conn *conn,
			  const struct pgbox_error *error);

/* Wait until the server can be reached again, at most for the connect timeout
   (once more after a single attempt that lasted as long). For work that can't
   be put off: after a request failed with LOST, IN_DOUBT or UNREACHABLE.
   Returns TRUE if there is a link. */
bool pgbox_conn_await(struct pgbox_conn *conn);

/* Identity of the store behind the connection for copy-by-reference: two
   connection objects are the same store if the pointers are equal. */

#endif
