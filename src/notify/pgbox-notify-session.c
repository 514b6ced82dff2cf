/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "connection.h"
#include "guid.h"
#include "hex-binary.h"
#include "ostream.h"
#include "str.h"
#include "strescape.h"
#include "strnum.h"
#include "master-service.h"
#include "pgbox-notify-protocol.h"
#include "pgbox-notify-watch.h"
#include "pgbox-notify-relay.h"
#include "pgbox-notify-session.h"

#include <sys/socket.h>

struct notify_session {
	struct connection conn;
	ARRAY(struct pgbox_watch *) watches;
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

static const char *key_to_fields(const struct pgbox_watch_key *key)
{
	if (key->mailbox_id != 0) {
		return t_strdup_printf(PGBOX_NOTIFY_KIND_MAILBOX"\t%"PRId64,
				       key->mailbox_id);
	}
	return t_strconcat(PGBOX_NOTIFY_KIND_ACCOUNT"\t",
			   str_tabescape(key->account), NULL);
}

/* Returns FALSE if KIND and KEY aren't what they must be. */
static bool key_from_fields(const char *const *args,
			    struct pgbox_watch_key *key_r)
{
	i_zero(key_r);
	if (str_array_length(args) < 2)
		return FALSE;
	if (strcmp(args[0], PGBOX_NOTIFY_KIND_MAILBOX) == 0) {
		return str_to_int64(args[1], &key_r->mailbox_id) == 0 &&
			key_r->mailbox_id > 0;
	}
	key_r->account = args[1];
	return strcmp(args[0], PGBOX_NOTIFY_KIND_ACCOUNT) == 0 &&
		*key_r->account != '\0';
}

static bool key_equals(const struct pgbox_watch_key *key1,
		       const struct pgbox_watch_key *key2)
{
	if (key1->mailbox_id != 0 || key2->mailbox_id != 0)
		return key1->mailbox_id == key2->mailbox_id;
	return strcmp(key1->account, key2->account) == 0;
}

/* Returns NULL if the session watches no such thing. */
static struct pgbox_watch *
session_find_watch(struct notify_session *session,
		   const struct pgbox_watch_key *key, unsigned int *idx_r)
{
	struct pgbox_watch *const *watches;
	unsigned int i, count;

	watches = array_get(&session->watches, &count);
	for (i = 0; i < count; i++) {
		if (key_equals(pgbox_watch_get_key(watches[i]), key)) {
			*idx_r = i;
			return watches[i];
		}
	}
	return NULL;
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
	    str_to_uint64(args[1], &signal.modseq) < 0 || *args[2] == '\0')
		return -1;
	signal.account = args[2];
	pgbox_relay_signal(sessions_relay, &signal);
	return 1;
}

static int
session_watch(struct notify_session *session, const char *const *args)
{
	struct pgbox_watch_key key;
	struct pgbox_watch *watch;
	guid_128_t store_guid;
	unsigned int idx;
	uint64_t modseq;
	const char *path;

	if (str_array_length(args) < 4 || !key_from_fields(args, &key) ||
	    str_to_uint64(args[2], &modseq) < 0 ||
	    guid_128_from_string(args[3], store_guid) < 0 ||
	    session_find_watch(session, &key, &idx) != NULL)
		return -1;
	if (!pgbox_relay_is_store(sessions_relay, store_guid)) {
		session_send(session, t_strdup_printf(
			"NO\t%s\tthis is the service of another store\n",
			key_to_fields(&key)));
		return 1;
	}
	watch = pgbox_watch_add(sessions_watches, &key, modseq, session);
	array_push_back(&session->watches, &watch);
	path = pgbox_watch_get_path(watch);
	session_send(session, t_strdup_printf("OK\t%s\t%d\t%s\n",
		key_to_fields(&key), pgbox_relay_vouches(sessions_relay) ? 1 : 0,
		path == NULL ? "" : str_tabescape(path)));
	return 1;
}

static int
session_unwatch(struct notify_session *session, const char *const *args)
{
	struct pgbox_watch_key key;
	struct pgbox_watch *watch;
	unsigned int idx;

	if (!key_from_fields(args, &key) ||
	    (watch = session_find_watch(session, &key, &idx)) == NULL)
		return -1;
	array_delete(&session->watches, idx, 1);
	pgbox_watch_remove(&watch);
	return 1;
}

static int
session_done(struct notify_session *session, const char *const *args)
{
	struct pgbox_watch_key key;
	struct pgbox_watch *watch;
	unsigned int idx;

	if (!key_from_fields(args, &key) ||
	    (watch = session_find_watch(session, &key, &idx)) == NULL)
		return -1;
	pgbox_watch_done(watch);
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
		return session_done(session, args);
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
			t_strarray_join(args, " "));
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
	struct pgbox_watch *watch;

	array_foreach_elem(&session->watches, watch)
		pgbox_watch_remove(&watch);
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

void pgbox_notify_session_look(struct pgbox_watch *watch, uint64_t modseq,
			       void *context)
{
	struct notify_session *session = context;

	T_BEGIN {
		session_send(session, t_strdup_printf("LOOK\t%s\t%"PRIu64"\n",
			key_to_fields(pgbox_watch_get_key(watch)), modseq));
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
