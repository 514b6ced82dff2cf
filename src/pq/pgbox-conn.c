#include "lib.h"
#include "llist.h"
#include "pgbox-conn-private.h"

/* While the server can't be reached, requests fail at once with the last
   error, and only this often somebody has to wait for another attempt. */
#define CONN_RETRY_INTERVAL_USECS (500 * 1000)
/* for pgbox_conn_release_soon() */
#define CONN_RELEASE_SOON_MSECS 200
/* how often it is told that a synchronous standby is missing */
#define CONN_UNCONFIRMED_INTERVAL_USECS (60 * 1000000ULL)
/* how often pgbox_conn_await() tries */
#define CONN_AWAIT_INTERVAL_USECS (100 * 1000)

/* What the server's warning comes from that a commit is done, but that it has given
   up to wait for the synchronous standby: a cancellation ends only that. The text
   is in the server's language, and the SQLSTATE that of any warning. */
#define SOURCE_FUNCTION_SYNC_WAIT "SyncRepWaitForLSN"

struct event_category pgbox_event_category_sql = {
	.name = "pgbox-sql"
};

static struct pgbox_conn *conns = NULL;

static void conns_ioloop_destroyed(struct ioloop *ioloop);

static void conn_idle_timeout_remove(struct pgbox_conn *conn)
{
	timeout_remove(&conn->to_idle);
	conn->to_idle_ioloop = NULL;
}

static void conn_close(struct pgbox_conn *conn, const char *reason)
{
	struct event_passthrough *e;

	conn_idle_timeout_remove(conn);
	conn->state = PGBOX_CONN_CLOSED;
	if (conn->pg == NULL)
		return;
	PQfinish(conn->pg);
	conn->pg = NULL;
	e = event_create_passthrough(conn->event)->
		set_name("pgbox_sql_disconnected")->
		add_str("reason", reason);
	e_debug(e->event(), "disconnected: %s", reason);
}

static void conn_free(struct pgbox_conn *conn)
{
	i_assert(conn->refcount == 0 && conn->state != PGBOX_CONN_BUSY);

	conn_close(conn, "unused");
	DLLIST_REMOVE(&conns, conn);
	if (conns == NULL)
		io_loop_remove_destroy_callback(conns_ioloop_destroyed);
	array_free(&conn->request.ops);
	event_unref(&conn->event);
	i_free(conn->conninfo);
	i_free(conn->seen_path);
	i_free(conn);
}

static void conn_idle_timeout(struct pgbox_conn *conn)
{
	conn_close(conn, "idle");
	if (conn->refcount == 0)
		conn_free(conn);
}

/* The timeout belongs to the outermost ioloop as the inner ones come and go. */
static void
conn_idle_timeout_add(struct pgbox_conn *conn, unsigned int msecs)
{
	if (current_ioloop == NULL)
		return;
	conn->to_idle_ioloop = io_loop_get_root();
	conn->to_idle = timeout_add_to(conn->to_idle_ioloop, msecs,
				       conn_idle_timeout, conn);
}

static void conns_ioloop_destroyed(struct ioloop *ioloop)
{
	struct pgbox_conn *conn, *next;

	for (conn = conns; conn != NULL; conn = next) {
		next = conn->next;
		if (conn->to_idle_ioloop != ioloop)
			continue;
		conn_idle_timeout_remove(conn);
		if (conn->refcount == 0)
			conn_free(conn);
	}
}

void pgbox_conns_free_unused(void)
{
	struct pgbox_conn *conn, *next;

	for (conn = conns; conn != NULL; conn = next) {
		next = conn->next;
		if (conn->refcount == 0)
			conn_free(conn);
	}
	if (conns == NULL)
		pgbox_seen_free_all();
}

/* parent: whoever refers to it first, NULL: nobody does */
static void conn_set_event(struct pgbox_conn *conn, struct event *parent)
{
	event_unref(&conn->event);
	conn->event = event_create(parent);
	event_add_category(conn->event, &pgbox_event_category_sql);
	event_set_append_log_prefix(conn->event, conn->set.spare ?
				    "pgbox: replica: " : "pgbox: ");
}

static bool conn_settings_equal(const struct pgbox_conn_settings *set1,
				const struct pgbox_conn_settings *set2)
{
	return strcmp(set1->conninfo, set2->conninfo) == 0 &&
		set1->connect_timeout_msecs == set2->connect_timeout_msecs &&
		set1->query_timeout_msecs == set2->query_timeout_msecs &&
		set1->idle_timeout_msecs == set2->idle_timeout_msecs &&
		set1->prepare == set2->prepare &&
		set1->spare == set2->spare &&
		set1->check == set2->check &&
		set1->check_stmt == set2->check_stmt &&
		null_strcmp(set1->seen_path, set2->seen_path) == 0;
}

struct pgbox_conn *
pgbox_conn_get(const struct pgbox_conn_settings *set, struct event *parent_event)
{
	struct pgbox_conn *conn;

	for (conn = conns; conn != NULL; conn = conn->next) {
		if (conn_settings_equal(&conn->set, set)) {
			if (conn->refcount++ == 0)
				conn_set_event(conn, parent_event);
			return conn;
		}
	}

	if (conns == NULL)
		io_loop_add_destroy_callback(conns_ioloop_destroyed);
	conn = i_new(struct pgbox_conn, 1);
	conn->refcount = 1;
	conn->set = *set;
	conn->conninfo = i_strdup(set->conninfo);
	conn->set.conninfo = conn->conninfo;
	conn->seen_path = i_strdup(set->seen_path);
	conn->set.seen_path = conn->seen_path;
	conn->seen = pgbox_seen_get(conn->seen_path);
	conn_set_event(conn, parent_event);
	i_array_init(&conn->request.ops, 16);
	DLLIST_PREPEND(&conns, conn);
	return conn;
}

void pgbox_conn_ref(struct pgbox_conn *conn)
{
	i_assert(conn->refcount > 0);
	conn->refcount++;
}

void pgbox_conn_unref(struct pgbox_conn **_conn)
{
	struct pgbox_conn *conn = *_conn;

	*_conn = NULL;
	i_assert(conn->refcount > 0);
	if (conn->refcount > 1) {
		conn->refcount--;
		return;
	}
	pgbox_ahead_settle(conn);
	i_assert(conn->state != PGBOX_CONN_BUSY);

	/* one without references is enough */
	pgbox_conns_free_unused();
	conn->refcount = 0;
	if (conn->to_idle == NULL)
		conn_free(conn);
	else
		conn_set_event(conn, NULL);
}

void pgbox_conn_release(struct pgbox_conn *conn)
{
	pgbox_ahead_settle(conn);
	if (conn->state == PGBOX_CONN_IDLE)
		conn_close(conn, "released");
}

void pgbox_conn_release_soon(struct pgbox_conn *conn)
{
	if (conn->state != PGBOX_CONN_IDLE || conn->to_idle == NULL)
		return;
	conn_idle_timeout_remove(conn);
	conn_idle_timeout_add(conn, I_MIN(conn->set.idle_timeout_msecs,
					  CONN_RELEASE_SOON_MSECS));
}

static void conn_notice(void *context, const PGresult *res)
{
	struct pgbox_conn *conn = context;
	const char *severity =
		PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *primary = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *function =
		PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);

	if (null_strcmp(function, SOURCE_FUNCTION_SYNC_WAIT) == 0)
		conn->request.unconfirmed = TRUE;
	if (null_strcmp(severity, "FATAL") == 0 ||
	    null_strcmp(severity, "PANIC") == 0)
		conn->link_doomed = TRUE;
	e_debug(conn->event, "server says: %s",
		primary != NULL ? primary : PQresultErrorMessage(res));
}

static void conn_outage_tell(struct pgbox_conn *conn,
			     const struct pgbox_error *error)
{
	const char *hint = pgbox_error_hint(error->kind);
	const char *text;

	if (conn->set.spare) {
		e_warning(conn->event, "left out for %u s, the primary does "
			  "its work: %s", PGBOX_CONN_SPARE_RETRY_SECS,
			  error->text);
		return;
	}
	text = error->kind == PGBOX_ERROR_UNREACHABLE ?
		"PostgreSQL is unreachable" : "the database can't be used";
	e_error(conn->event, "%s: %s%s%s", text, error->text,
		*hint == '\0' ? "" : "; ", hint);
}

void pgbox_conn_unconfirmed(struct pgbox_conn *conn,
			    struct pgbox_error *error_r)
{
	uint64_t now = pgbox_clock_usecs();

	pgbox_error_set(error_r, PGBOX_ERROR_IN_DOUBT,
			"the synchronous standby doesn't confirm commits");
	if (conn->last_unconfirmed == 0 ||
	    now - conn->last_unconfirmed >= CONN_UNCONFIRMED_INTERVAL_USECS) {
		conn->last_unconfirmed = now;
		e_error(conn->event, "%s: what is changed is on the primary "
			"alone, and nobody is told that it was done; start the "
			"standby, or take it out of synchronous_standby_names",
			error_r->text);
	}
	error_r->logged = TRUE;
}

void pgbox_conn_outage_begin(struct pgbox_conn *conn,
			     struct pgbox_error *error)
{
	if (conn->outage.kind == PGBOX_ERROR_NONE)
		conn->outage_start = pgbox_clock_usecs();
	if (conn->outage.kind != error->kind)
		conn_outage_tell(conn, error);
	error->logged = TRUE;
	conn->outage = *error;
	conn->outage_last_attempt = pgbox_clock_usecs();
}

/* Returns TRUE if another process of this node has found a newer primary. */
static bool conn_is_left_behind(struct pgbox_conn *conn)
{
	return conn->set.check && conn->checked == PGBOX_CHECKED_YES &&
		pgbox_seen_is_newer(conn->seen, &conn->server);
}

void pgbox_conn_outage_end(struct pgbox_conn *conn)
{
	if (conn->outage.kind == PGBOX_ERROR_NONE)
		return;
	e_info(conn->event, "PostgreSQL serves us again after %"PRIu64" s",
	       (pgbox_clock_usecs() - conn->outage_start) / 1000000);
	i_zero(&conn->outage);
}

static bool conn_may_try(const struct pgbox_conn *conn,
			 struct pgbox_error *error_r)
{
	const uint64_t interval = conn->set.spare ?
		PGBOX_CONN_SPARE_RETRY_SECS * 1000000 :
		CONN_RETRY_INTERVAL_USECS;

	if (conn->outage.kind == PGBOX_ERROR_NONE ||
	    pgbox_clock_usecs() - conn->outage_last_attempt >= interval)
		return TRUE;
	*error_r = conn->outage;
	return FALSE;
}

void pgbox_conn_leave_out(struct pgbox_conn *conn,
			  const struct pgbox_error *error)
{
	struct pgbox_error why = *error;

	pgbox_ahead_settle(conn);
	i_assert(conn->set.spare && conn->state != PGBOX_CONN_BUSY);

	if (error->kind == PGBOX_ERROR_RACE)
		return;
	conn_close(conn, "left out");
	/* an error that is the outage's own comes from conn_may_try() */
	if (conn->outage.kind == PGBOX_ERROR_NONE)
		pgbox_conn_outage_begin(conn, &why);
}

static int conn_connect(struct pgbox_conn *conn, struct pgbox_error *error_r)
{
	struct event_passthrough *e;

	conn->pg = pgbox_connect(&conn->set, error_r);
	if (conn->pg == NULL) {
		pgbox_conn_outage_begin(conn, error_r);
		return -1;
	}
	if (!conn->set.check)
		pgbox_conn_outage_end(conn);

	conn->state = PGBOX_CONN_IDLE;
	conn->link_doomed = FALSE;
	conn->checked = conn->set.check ? PGBOX_CHECKED_NO : PGBOX_CHECKED_YES;
	i_zero(&conn->prepared);
	(void)PQsetNoticeReceiver(conn->pg, conn_notice, conn);
	e = event_create_passthrough(conn->event)->
		set_name("pgbox_sql_connected");
	e_debug(e->event(), "connected");
	return 0;
}

int pgbox_conn_request_begin(struct pgbox_conn *conn,
			     struct pgbox_error *error_r)
{
	pgbox_ahead_settle(conn);
	i_assert(conn->state != PGBOX_CONN_BUSY);

	conn_idle_timeout_remove(conn);
	if (conn->state == PGBOX_CONN_IDLE && !pgbox_link_is_alive(conn))
		conn_close(conn, "found dead");
	if (conn->state == PGBOX_CONN_IDLE && conn_is_left_behind(conn))
		conn_close(conn, "left behind by a failover");
	if (conn->state == PGBOX_CONN_CLOSED &&
	    (!conn_may_try(conn, error_r) || conn_connect(conn, error_r) < 0))
		return -1;
	conn->state = PGBOX_CONN_BUSY;
	return 0;
}

bool pgbox_conn_await(struct pgbox_conn *conn)
{
	const uint64_t deadline = pgbox_clock_usecs() +
		(uint64_t)conn->set.connect_timeout_msecs * 1000;
	struct pgbox_error error;

	pgbox_ahead_settle(conn);
	i_assert(conn->state != PGBOX_CONN_BUSY);

	while (conn->state == PGBOX_CONN_CLOSED) {
		if (conn_connect(conn, &error) == 0) {
			conn_idle_timeout_add(conn,
					      conn->set.idle_timeout_msecs);
			break;
		}
		if (error.kind != PGBOX_ERROR_UNREACHABLE ||
		    pgbox_clock_usecs() >= deadline)
			return FALSE;
		(void)pgbox_conn_wait(NULL, 0, pgbox_clock_usecs() +
				      CONN_AWAIT_INTERVAL_USECS);
	}
	return TRUE;
}

static bool conn_is_reusable(struct pgbox_conn *conn,
			     enum pgbox_error_kind last_error)
{
	const struct pgbox_request *request = &conn->request;

	return !pgbox_error_drops_connection(last_error) &&
		request->ops_head == array_count(&request->ops) &&
		/* or a late cancellation could hit the next request */
		!request->cancelled && !conn->link_doomed &&
		PQstatus(conn->pg) == CONNECTION_OK &&
		PQtransactionStatus(conn->pg) == PQTRANS_IDLE;
}

void pgbox_conn_request_end(struct pgbox_conn *conn,
			    enum pgbox_error_kind last_error)
{
	bool reusable = conn_is_reusable(conn, last_error);

	i_assert(conn->state == PGBOX_CONN_BUSY);

	pgbox_request_clear(conn);
	conn->state = PGBOX_CONN_IDLE;
	if (!reusable)
		conn_close(conn, "unusable after an error");
	else if (conn->set.idle_timeout_msecs == 0)
		conn_close(conn, "idle");
	else
		conn_idle_timeout_add(conn, conn->set.idle_timeout_msecs);
}
