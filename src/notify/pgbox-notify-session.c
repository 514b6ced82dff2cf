/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "connection.h"
#include "guid.h"
#include "hex-binary.h"
#include "ostream.h"
#include "str.h"
#include "str-sanitize.h"
#include "strescape.h"
#include "strnum.h"
#include "unichar.h"
#include "master-service.h"
#include "pgbox-notify-protocol.h"
#include "pgbox-notify-watch.h"
#include "pgbox-notify-relay.h"
#include "pgbox-notify-session.h"

#include <sys/socket.h>

/* of what a session says and nobody understands, in the log */
#define NOTIFY_LOG_MAX 200

struct notify_session {
	struct connection conn;
	ARRAY(struct session_watch *) watches;
};

struct session_watch {
	struct notify_session *session;
	unsigned int id;
	struct pgbox_watch *watch;
};

static struct connection_list *sessions;
static struct event *sessions_event;
static struct pgbox_watches *sessions_watches;
static struct pgbox_relay *sessions_relay;

static void session_send(struct notify_session *session, const char *line)
{
	o_stream_nsend_str(session->conn.output, line);
	if (session->conn.output->overflow) {
		/* It doesn't read, and now has lost a line. Its end, which is
		   noticed later, makes it begin anew. */
		(void)shutdown(session->conn.fd_in, SHUT_RDWR);
	}
}

/* Returns FALSE if it can't be an account's name. The server refuses a whole
   statement for one text that isn't UTF-8: then nobody's signals would get
   through. */
static bool is_account(const char *name)
{
	return *name != '\0' && uni_utf8_str_is_valid(name);
}

/* Returns FALSE if KIND and KEY aren't what they must be. */
static bool key_from_fields(const char *kind, const char *key,
			    struct pgbox_watch_key *key_r)
{
	i_zero(key_r);
	if (strcmp(kind, PGBOX_NOTIFY_KIND_MAILBOX) == 0) {
		return str_to_int64(key, &key_r->mailbox_id) == 0 &&
			key_r->mailbox_id > 0;
	}
	key_r->account = key;
	return strcmp(kind, PGBOX_NOTIFY_KIND_ACCOUNT) == 0 && is_account(key);
}

/* Returns NULL if the session has no watch of that number. */
static struct session_watch *
session_find_watch(struct notify_session *session, const char *const *args,
		   unsigned int *idx_r)
{
	struct session_watch *const *watches;
	unsigned int i, count, id;

	if (args[0] == NULL || str_to_uint(args[0], &id) < 0)
		return NULL;
	watches = array_get(&session->watches, &count);
	for (i = 0; i < count; i++) {
		if (watches[i]->id == id) {
			*idx_r = i;
			return watches[i];
		}
	}
	return NULL;
}

static void session_watch_free(struct session_watch **_swatch)
{
	struct session_watch *swatch = *_swatch;

	*_swatch = NULL;
	pgbox_watch_remove(&swatch->watch);
	i_free(swatch);
}

/*
 * What sessions say
 */

static int session_changed(const char *const *args)
{
	struct pgbox_signal signal;

	i_zero(&signal);
	if (str_array_length(args) < 3 ||
	    str_to_int64(args[0], &signal.mailbox_id) < 0 ||
	    str_to_uint64(args[1], &signal.modseq) < 0 || !is_account(args[2]))
		return -1;
	signal.account = args[2];
	pgbox_relay_signal(sessions_relay, &signal);
	return 1;
}

static int
session_watch(struct notify_session *session, const char *const *args)
{
	struct session_watch *swatch;
	struct pgbox_watch_key key;
	guid_128_t store_guid;
	unsigned int id, idx;
	uint64_t modseq;
	const char *path;

	if (str_array_length(args) < 5 ||
	    session_find_watch(session, args, &idx) != NULL ||
	    str_to_uint(args[0], &id) < 0 || id == 0 ||
	    !key_from_fields(args[1], args[2], &key) ||
	    str_to_uint64(args[3], &modseq) < 0 ||
	    guid_128_from_string(args[4], store_guid) < 0)
		return -1;
	if (!pgbox_relay_is_store(sessions_relay, store_guid)) {
		session_send(session, t_strdup_printf(
			"NO\t%u\tthis is the service of another store\n", id));
		return 1;
	}
	swatch = i_new(struct session_watch, 1);
	swatch->session = session;
	swatch->id = id;
	array_push_back(&session->watches, &swatch);
	swatch->watch = pgbox_watch_add(sessions_watches, &key, modseq, swatch);
	path = pgbox_watch_get_path(swatch->watch);
	session_send(session, t_strdup_printf("OK\t%u\t%d\t%s\n", id,
		pgbox_relay_vouches(sessions_relay) ? 1 : 0,
		path == NULL ? "" : str_tabescape(path)));
	return 1;
}

static int
session_unwatch(struct notify_session *session, const char *const *args)
{
	struct session_watch *swatch;
	unsigned int idx;

	if ((swatch = session_find_watch(session, args, &idx)) == NULL)
		return -1;
	array_delete(&session->watches, idx, 1);
	session_watch_free(&swatch);
	return 1;
}

static int
session_looked(struct notify_session *session, const char *const *args,
	       bool success)
{
	struct session_watch *swatch;
	unsigned int idx;

	if ((swatch = session_find_watch(session, args, &idx)) == NULL)
		return -1;
	if (success)
		pgbox_watch_done(swatch->watch);
	else
		pgbox_watch_failed(swatch->watch);
	return 1;
}

static int session_input(struct notify_session *session,
			 const char *const *args)
{
	const char *command = args[0];

	args++;
	if (strcmp(command, "CHANGED") == 0)
		return session_changed(args);
	if (strcmp(command, "WATCH") == 0)
		return session_watch(session, args);
	if (strcmp(command, "UNWATCH") == 0)
		return session_unwatch(session, args);
	if (strcmp(command, "DONE") == 0)
		return session_looked(session, args, TRUE);
	if (strcmp(command, "FAILED") == 0)
		return session_looked(session, args, FALSE);
	if (strcmp(command, "PING") == 0) {
		session_send(session, "PONG\n");
		return 1;
	}
	return -1;
}

static int session_input_args(struct connection *conn, const char *const *args)
{
	struct notify_session *session =
		container_of(conn, struct notify_session, conn);

	if (session_input(session, args) < 0) {
		e_error(conn->event, "not understood: %s",
			str_sanitize(t_strarray_join(args, " "),
				     NOTIFY_LOG_MAX));
		return -1;
	}
	return 1;
}

/*
 * Life
 */

static void session_destroy(struct connection *conn)
{
	struct notify_session *session =
		container_of(conn, struct notify_session, conn);
	struct session_watch *swatch;

	array_foreach_elem(&session->watches, swatch)
		session_watch_free(&swatch);
	array_free(&session->watches);
	connection_deinit(conn);
	i_free(session);
	master_service_client_connection_destroyed(master_service);
}

void pgbox_notify_session_create(int fd, const char *name)
{
	struct notify_session *session = i_new(struct notify_session, 1);

	i_array_init(&session->watches, 2);
	session->conn.event_parent = sessions_event;
	connection_init_server(sessions, &session->conn, name, fd, fd);
}

void pgbox_notify_session_look(struct pgbox_watch *watch ATTR_UNUSED,
			       uint64_t modseq, void *context)
{
	struct session_watch *swatch = context;

	T_BEGIN {
		session_send(swatch->session, t_strdup_printf(
			"LOOK\t%u\t%"PRIu64"\n", swatch->id, modseq));
	} T_END;
}

void pgbox_notify_sessions_vouch(bool vouches)
{
	struct connection *conn;

	for (conn = sessions->connections; conn != NULL; conn = conn->next) {
		session_send(container_of(conn, struct notify_session, conn),
			     vouches ? "VOUCH\t1\n" : "VOUCH\t0\n");
	}
}

void pgbox_notify_sessions_disconnect(void)
{
	struct connection *conn, *next;

	for (conn = sessions->connections; conn != NULL; conn = next) {
		next = conn->next;
		session_destroy(conn);
	}
}

static const struct connection_settings session_settings = {
	.service_name_in = PGBOX_NOTIFY_CLIENT_NAME,
	.service_name_out = PGBOX_NOTIFY_SERVER_NAME,
	.major_version = PGBOX_NOTIFY_MAJOR_VERSION,
	.minor_version = PGBOX_NOTIFY_MINOR_VERSION,
	.input_max_size = PGBOX_NOTIFY_MAX_LINE,
	.output_max_size = 64 * 1024,
	.client = FALSE,
};

static const struct connection_vfuncs session_vfuncs = {
	.destroy = session_destroy,
	.input_args = session_input_args,
};

void pgbox_notify_sessions_init(struct event *event)
{
	sessions_event = event;
	sessions = connection_list_init(&session_settings, &session_vfuncs);
}

void pgbox_notify_sessions_deinit(void)
{
	connection_list_deinit(&sessions);
}

void pgbox_notify_sessions_set(struct pgbox_watches *watches,
			       struct pgbox_relay *relay)
{
	sessions_watches = watches;
	sessions_relay = relay;
}
