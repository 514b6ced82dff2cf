#include "lib.h"
#include "pgbox-conn-private.h"

#include <poll.h>
#include <time.h>

/* how long a server that was asked to stop a statement may take to do so */
#define LINK_CANCEL_GRACE_USECS (2 * 1000000)
/* bounds what an idle link may make us read before its next use */
#define LINK_ALIVE_MAX_READS 16

uint64_t pgbox_clock_usecs(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
		i_fatal("clock_gettime(CLOCK_MONOTONIC) failed: %m");
	return (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64_t pgbox_link_deadline(const struct pgbox_conn *conn)
{
	if (conn->set.query_timeout_msecs == 0)
		return UINT64_MAX;
	return pgbox_clock_usecs() +
		(uint64_t)conn->set.query_timeout_msecs * 1000;
}

int pgbox_conn_wait(PGconn *pg, short events, uint64_t deadline)
{
	struct pollfd pfd = { .fd = -1, .events = events };
	uint64_t now, msecs;
	int ret;

	if (events != 0) {
		pfd.fd = PQsocket(pg);
		if (pfd.fd == -1) {
			/* closed by libpq: there's nothing to wait for */
			return 1;
		}
	}
	do {
		now = pgbox_clock_usecs();
		msecs = now >= deadline ? 0 : (deadline - now + 999) / 1000;
		ret = poll(&pfd, 1, (int)I_MIN(msecs, INT_MAX));
		if (ret > 0)
			return 1;
		if (ret < 0 && errno != EINTR)
			return -1;
	} while (msecs > 0);
	return 0;
}

/* Returns the name of the statement whose answer is due, NULL if none is. */
static const char *link_current_stmt(struct pgbox_conn *conn)
{
	const struct pgbox_op *ops;
	unsigned int i, count;

	ops = array_get(&conn->request.ops, &count);
	for (i = conn->request.ops_head; i < count; i++) {
		if (ops[i].type != PGBOX_OP_SYNC)
			return pgbox_stmt_table[ops[i].stmt].name;
	}
	return NULL;
}

/* The link has died without an answer to the first statement. Once may be
   chance. Then it is a pooler, which lets us in while PostgreSQL is away: an
   outage, as if we hadn't been let in. Work that the link was entrusted with
   may be in doubt nevertheless. */
static void link_died_unproven(struct pgbox_conn *conn,
			       struct pgbox_error *error)
{
	struct pgbox_error outage = *error;

	if (conn->unproven_links++ == 0)
		return;
	outage.kind = PGBOX_ERROR_UNREACHABLE;
	pgbox_conn_outage_begin(conn, &outage);
	error->logged = error->kind == PGBOX_ERROR_LOST;
}

void pgbox_link_set_dead(struct pgbox_conn *conn, const char *reason,
			 struct pgbox_error *error_r)
{
	const struct pgbox_request *request = &conn->request;
	enum pgbox_error_kind kind = PGBOX_ERROR_LOST;

	if (request->error.kind != PGBOX_ERROR_NONE) {
		*error_r = request->error;
		return;
	}
	if (request->stake == PGBOX_STAKE_COMMIT_SENT && !request->repeatable)
		kind = PGBOX_ERROR_IN_DOUBT;
	pgbox_error_set(error_r, kind, "connection lost: %s", reason);
	error_r->stmt = link_current_stmt(conn);
	if (conn->checked == PGBOX_CHECKED_SENT)
		link_died_unproven(conn, error_r);
}

/* The server has been silent until the deadline. The first time it is asked
   to stop, and gets a little more time to confirm that, unless somebody else can
   be asked at once. Returns 0 with the new deadline, or -1 when the link has to
   be given up. */
static int link_overdue(struct pgbox_conn *conn, uint64_t *deadline,
			struct pgbox_error *error_r)
{
	struct pgbox_request *request = &conn->request;

	if (!request->cancelled) {
		request->cancelled = TRUE;
		if (!conn->set.spare && pgbox_cancel_send(conn->pg)) {
			*deadline = pgbox_clock_usecs() + LINK_CANCEL_GRACE_USECS;
			return 0;
		}
	}
	pgbox_link_set_dead(conn, t_strdup_printf("no answer for %u ms",
		conn->set.query_timeout_msecs), error_r);
	return -1;
}

int pgbox_link_flush(struct pgbox_conn *conn, struct pgbox_error *error_r)
{
	uint64_t deadline = pgbox_link_deadline(conn);
	int ret;

	while ((ret = PQflush(conn->pg)) >= 0) {
		if (conn->request.stake == PGBOX_STAKE_COMMIT_QUEUED)
			conn->request.stake = PGBOX_STAKE_COMMIT_SENT;
		if (ret == 0) {
			conn->request.unflushed_bytes = 0;
			return 0;
		}
		/* The server may be waiting for us to read before it reads
		   more: without that both sides would wait forever. */
		ret = pgbox_conn_wait(conn->pg, POLLIN | POLLOUT, deadline);
		if (ret <= 0) {
			if (link_overdue(conn, &deadline, error_r) < 0)
				return -1;
		} else if (PQconsumeInput(conn->pg) == 0) {
			break;
		}
	}
	pgbox_link_set_dead(conn, PQerrorMessage(conn->pg), error_r);
	return -1;
}

int pgbox_link_wait_result(struct pgbox_conn *conn,
			   struct pgbox_error *error_r)
{
	uint64_t deadline = pgbox_link_deadline(conn);

	while (PQisBusy(conn->pg) == 1) {
		if (pgbox_conn_wait(conn->pg, POLLIN, deadline) <= 0) {
			if (link_overdue(conn, &deadline, error_r) < 0)
				return -1;
		} else if (PQconsumeInput(conn->pg) == 0) {
			/* PQgetResult() first returns what the server still
			   said, then the reason of this failure. */
			break;
		}
	}
	return 0;
}

bool pgbox_link_is_alive(struct pgbox_conn *conn)
{
	unsigned int i;

	for (i = 0; i < LINK_ALIVE_MAX_READS; i++) {
		if (conn->link_doomed || PQstatus(conn->pg) != CONNECTION_OK)
			return FALSE;
		if (pgbox_conn_wait(conn->pg, POLLIN, 0) == 0)
			return TRUE;
		if (PQconsumeInput(conn->pg) == 0)
			return FALSE;
		/* parses: a farewell comes to the notice receiver */
		(void)PQisBusy(conn->pg);
	}
	return FALSE;
}
