#include "lib.h"
#include "pgbox-conn-private.h"
#include "pgbox-listen.h"
#include "pgbox-params.h"

/* time between two attempts to connect: doubled after each one that failed */
#define LISTEN_RETRY_MIN_MSECS 200
#define LISTEN_RETRY_MAX_MSECS (5 * 1000)

enum listen_state {
	/* waits for the next attempt */
	LISTEN_CLOSED = 0,
	LISTEN_CONNECTING,
	/* runs set.check_stmt, then listen_stmt */
	LISTEN_CHECKING,
	LISTEN_SUBSCRIBING,
	LISTEN_IDLE,
	/* runs the statement of a caller */
	LISTEN_BUSY,
};

struct pgbox_listen {
	struct pgbox_conn_settings set;
	char *conninfo, *seen_path;
	struct pgbox_seen *seen;
	/* of the link */
	struct pgbox_seen_server server;
	enum pgbox_stmt listen_stmt;
	const struct pgbox_listen_callbacks *callbacks;
	void *context;
	struct event *event;

	enum listen_state state;
	/* NULL in state CLOSED only */
	PGconn *pg;
	struct io *io_read, *io_write;
	/* the next attempt in state CLOSED, the deadline in others but IDLE */
	struct timeout *to;
	unsigned int retry_msecs;
	/* an outage was logged with this reason */
	enum pgbox_error_kind outage;

	/* the statement under way */
	enum pgbox_stmt stmt;
	pgbox_listen_row_t *row;
	pgbox_listen_done_t *done;
	void *done_context;
	bool failed;
};

static void listen_connect(struct pgbox_listen *listen);

/*
 * The link's life
 */

/* libpq closes the socket by itself when it finds that the link is dead. */
static void listen_io_remove(struct pgbox_listen *listen)
{
	if (listen->pg != NULL && PQsocket(listen->pg) != -1) {
		io_remove(&listen->io_read);
		io_remove(&listen->io_write);
	} else {
		io_remove_closed(&listen->io_read);
		io_remove_closed(&listen->io_write);
	}
	timeout_remove(&listen->to);
}

static void listen_log(struct pgbox_listen *listen,
		       const struct pgbox_error *error)
{
	const char *hint = pgbox_error_hint(error->kind);
	enum pgbox_error_kind outage = error->kind;

	/* a link that was lost and one that can't be made are one outage */
	if (outage == PGBOX_ERROR_LOST)
		outage = PGBOX_ERROR_UNREACHABLE;
	if (listen->outage == outage)
		return;
	listen->outage = outage;
	e_error(listen->event, "no signals of other nodes: %s%s%s",
		error->text, *hint == '\0' ? "" : "; ", hint);
}

/* Returns to state CLOSED, and tells who has to know. */
static void listen_close(struct pgbox_listen *listen,
			 const struct pgbox_error *error)
{
	enum listen_state state = listen->state;

	listen_log(listen, error);
	listen_io_remove(listen);
	PQfinish(listen->pg);
	listen->pg = NULL;
	listen->state = LISTEN_CLOSED;
	listen->to = timeout_add(listen->retry_msecs, listen_connect, listen);
	listen->retry_msecs = I_MIN(listen->retry_msecs * 2,
				    LISTEN_RETRY_MAX_MSECS);
	if (state == LISTEN_BUSY)
		listen->done(FALSE, listen->done_context);
	if (state == LISTEN_BUSY || state == LISTEN_IDLE)
		listen->callbacks->disconnected(listen->context);
}

static void listen_link_died(struct pgbox_listen *listen)
{
	struct pgbox_error error;

	T_BEGIN {
		pgbox_error_set(&error, PGBOX_ERROR_LOST,
				"connection lost: %s",
				t_strcut(PQerrorMessage(listen->pg), '\n'));
	} T_END;
	listen_close(listen, &error);
}

static void listen_timeout(struct pgbox_listen *listen)
{
	struct pgbox_error error;

	pgbox_error_set(&error, PGBOX_ERROR_UNREACHABLE,
			listen->state == LISTEN_CONNECTING ?
			"no connection in time" : "the server doesn't answer");
	listen_close(listen, &error);
}

/*
 * Statements
 */

static void listen_flush(struct pgbox_listen *listen)
{
	int ret;

	io_remove(&listen->io_write);
	ret = PQflush(listen->pg);
	if (ret < 0)
		listen_link_died(listen);
	else if (ret > 0) {
		listen->io_write = io_add(PQsocket(listen->pg), IO_WRITE,
					  listen_flush, listen);
	}
}

static void listen_send(struct pgbox_listen *listen, enum listen_state state,
			enum pgbox_stmt stmt, struct pgbox_params *params)
{
	const struct pgbox_stmt_def *def = &pgbox_stmt_table[stmt];
	struct pgbox_params_list list;
	int ret;

	listen->state = state;
	listen->stmt = stmt;
	listen->failed = FALSE;
	listen->to = timeout_add(listen->set.query_timeout_msecs,
				 listen_timeout, listen);
	T_BEGIN {
		pgbox_params_list(params, def, &list);
		ret = PQsendQueryParams(listen->pg, def->sql, list.count,
					def->param_types, list.values,
					list.lengths, list.formats, 1);
	} T_END;
	if (ret == 0)
		listen_link_died(listen);
	else
		listen_flush(listen);
}

static void listen_rows(struct pgbox_listen *listen, PGresult *res)
{
	struct pgbox_result result = {
		.def = &pgbox_stmt_table[listen->stmt],
	};
	int row, count = PQntuples(res);

	for (row = 0; row < count; row++) T_BEGIN {
		result.row = res;
		result.row_number = row;
		if (listen->state == LISTEN_CHECKING) {
			pgbox_seen_note(listen->seen, &result, listen->event,
					&listen->server);
		} else if (listen->state == LISTEN_BUSY && listen->row != NULL)
			listen->row(&result, listen->done_context);
	} T_END;
}

/* Returns FALSE if the link can't be used with this answer. */
static bool listen_result(struct pgbox_listen *listen, PGresult *res)
{
	struct pgbox_error error;

	switch (PQresultStatus(res)) {
	case PGRES_TUPLES_OK:
		listen_rows(listen, res);
		return TRUE;
	case PGRES_COMMAND_OK:
		return TRUE;
	default:
		break;
	}
	pgbox_error_from_result(&error, res, &pgbox_stmt_table[listen->stmt]);
	listen->failed = TRUE;
	if (listen->state != LISTEN_BUSY ||
	    pgbox_error_drops_connection(error.kind)) {
		listen_close(listen, &error);
		return FALSE;
	}
	e_error(listen->event, "statement %s failed: %s", error.stmt,
		error.text);
	return TRUE;
}

static void listen_set_connected(struct pgbox_listen *listen)
{
	if (listen->outage != PGBOX_ERROR_NONE)
		e_info(listen->event, "signals of other nodes are heard again");
	listen->outage = PGBOX_ERROR_NONE;
	listen->retry_msecs = LISTEN_RETRY_MIN_MSECS;
	listen->state = LISTEN_IDLE;
	listen->callbacks->connected(listen->context);
}

/* The server was left behind by a failover: whoever is told to look would find
   the new one, where nobody signals to us. */
static bool listen_is_left_behind(struct pgbox_listen *listen)
{
	struct pgbox_error error;

	if (!listen->set.check ||
	    !pgbox_seen_is_newer(listen->seen, &listen->server))
		return FALSE;
	pgbox_error_set(&error, PGBOX_ERROR_LOST,
			"this server was left behind by a failover");
	listen_close(listen, &error);
	return TRUE;
}

static void listen_check(struct pgbox_listen *listen)
{
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_seen_add_params(listen->seen, params);
		listen_send(listen, LISTEN_CHECKING, listen->set.check_stmt,
			    params);
	} T_END;
}

/* The statement under way has been answered. */
static void listen_next(struct pgbox_listen *listen)
{
	enum listen_state state = listen->state;

	timeout_remove(&listen->to);
	if (state == LISTEN_CHECKING) {
		listen_send(listen, LISTEN_SUBSCRIBING, listen->listen_stmt,
			    NULL);
	} else if (state == LISTEN_SUBSCRIBING) {
		listen_set_connected(listen);
	} else if (!listen_is_left_behind(listen)) {
		listen->state = LISTEN_IDLE;
		listen->done(!listen->failed, listen->done_context);
	}
}

/* Reads answers as far as they have arrived. Returns FALSE if the link is
   gone. */
static bool listen_read_results(struct pgbox_listen *listen)
{
	PGresult *res;
	bool ok = TRUE;

	while (ok && listen->state > LISTEN_CONNECTING &&
	       listen->state != LISTEN_IDLE && PQisBusy(listen->pg) == 0) {
		res = PQgetResult(listen->pg);
		if (res == NULL)
			listen_next(listen);
		else
			ok = listen_result(listen, res);
		PQclear(res);
	}
	return ok && listen->state != LISTEN_CLOSED;
}

static void listen_read_notifies(struct pgbox_listen *listen)
{
	PGnotify *notify;

	while (listen->state != LISTEN_CLOSED &&
	       (notify = PQnotifies(listen->pg)) != NULL) {
		if (notify->be_pid != PQbackendPID(listen->pg)) {
			listen->callbacks->notified(notify->extra,
						    listen->context);
		}
		PQfreemem(notify);
	}
}

static void listen_input(struct pgbox_listen *listen)
{
	if (PQconsumeInput(listen->pg) == 0) {
		listen_link_died(listen);
		return;
	}
	if (listen_read_results(listen))
		listen_read_notifies(listen);
}

/*
 * Connecting
 */

/* By default libpq writes to stderr. What ends the session is told by the link
   that dies. */
static void listen_notice(void *context, const PGresult *res)
{
	struct pgbox_listen *listen = context;

	e_debug(listen->event, "server says: %s", PQresultErrorMessage(res));
}

static void listen_set_up(struct pgbox_listen *listen)
{
	listen_io_remove(listen);
	if (PQsetnonblocking(listen->pg, 1) < 0) {
		listen_link_died(listen);
		return;
	}
	listen->io_read = io_add(PQsocket(listen->pg), IO_READ,
				 listen_input, listen);
	if (listen->set.check) {
		listen_check(listen);
	} else {
		listen_send(listen, LISTEN_SUBSCRIBING, listen->listen_stmt,
			    NULL);
	}
}

/* libpq may use another socket after each step. */
static void listen_connect_step(struct pgbox_listen *listen)
{
	struct pgbox_error error;

	/* before libpq may close the socket */
	io_remove(&listen->io_read);
	io_remove(&listen->io_write);
	switch (PQconnectPoll(listen->pg)) {
	case PGRES_POLLING_OK:
		listen_set_up(listen);
		break;
	case PGRES_POLLING_READING:
		listen->io_read = io_add(PQsocket(listen->pg), IO_READ,
					 listen_connect_step, listen);
		break;
	case PGRES_POLLING_WRITING:
		listen->io_write = io_add(PQsocket(listen->pg), IO_WRITE,
					  listen_connect_step, listen);
		break;
	default:
		pgbox_error_from_connect(&error, listen->pg);
		listen_close(listen, &error);
		break;
	}
}

static void listen_connect(struct pgbox_listen *listen)
{
	struct pgbox_error error;
	unsigned int timeout_msecs;

	timeout_remove(&listen->to);
	listen->pg = pgbox_connect_start(&listen->set, &timeout_msecs, &error);
	listen->state = LISTEN_CONNECTING;
	if (listen->pg == NULL)
		listen_close(listen, &error);
	else if (PQstatus(listen->pg) == CONNECTION_BAD) {
		pgbox_error_from_connect(&error, listen->pg);
		listen_close(listen, &error);
	} else {
		(void)PQsetNoticeReceiver(listen->pg, listen_notice, listen);
		listen->to = timeout_add(timeout_msecs, listen_timeout, listen);
		listen->io_write = io_add(PQsocket(listen->pg), IO_WRITE,
					  listen_connect_step, listen);
	}
}

/*
 * Outside
 */

struct pgbox_listen *
pgbox_listen_init(const struct pgbox_conn_settings *set,
		  enum pgbox_stmt listen_stmt,
		  const struct pgbox_listen_callbacks *callbacks, void *context,
		  struct event *parent_event)
{
	struct pgbox_listen *listen = i_new(struct pgbox_listen, 1);

	listen->set = *set;
	listen->conninfo = i_strdup(set->conninfo);
	listen->set.conninfo = listen->conninfo;
	listen->seen_path = i_strdup(set->seen_path);
	listen->set.seen_path = listen->seen_path;
	listen->seen = pgbox_seen_get(listen->seen_path);
	listen->listen_stmt = listen_stmt;
	listen->callbacks = callbacks;
	listen->context = context;
	listen->event = event_create(parent_event);
	event_add_category(listen->event, &pgbox_event_category_sql);
	event_set_append_log_prefix(listen->event, "pgbox: ");
	listen->retry_msecs = LISTEN_RETRY_MIN_MSECS;
	listen->to = timeout_add(0, listen_connect, listen);
	return listen;
}

void pgbox_listen_deinit(struct pgbox_listen **_listen)
{
	struct pgbox_listen *listen = *_listen;

	*_listen = NULL;
	listen_io_remove(listen);
	if (listen->pg != NULL)
		PQfinish(listen->pg);
	event_unref(&listen->event);
	i_free(listen->conninfo);
	i_free(listen->seen_path);
	i_free(listen);
}

bool pgbox_listen_is_idle(const struct pgbox_listen *listen)
{
	return listen->state == LISTEN_IDLE;
}

void pgbox_listen_query(struct pgbox_listen *listen, enum pgbox_stmt stmt,
			struct pgbox_params *params, pgbox_listen_row_t *row,
			pgbox_listen_done_t *done, void *context)
{
	i_assert(listen->state == LISTEN_IDLE);

	listen->row = row;
	listen->done = done;
	listen->done_context = context;
	listen_send(listen, LISTEN_BUSY, stmt, params);
}
