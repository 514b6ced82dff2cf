/* The signal service: what processes of the node say on its socket, and what
   the database notifies. Whatever they say, the statements of the service have
   to be such that the server takes them: one that it refuses holds up the
   signals of all others. */
#include "../../src/notify/pgbox-notify-session.c"
#include "../../src/notify/pgbox-notify-relay.c"
#include "fuzz.h"
#include "unichar.h"
#include "pgbox-params.h"
#include "pgbox-conn.h"

#include <unistd.h>

#define SESSIONS 3
/* pg_notify() takes no more */
#define PAYLOAD_MAX 7999

/* what the input makes the database do */
struct pgbox_listen {
	bool connected;
	pgbox_listen_row_t *row;
	pgbox_listen_done_t *done;
	void *context;
	void *callback_context;
};
static struct pgbox_listen *fake_listen;
static struct pgbox_signal fake_row;

static const struct pgbox_conn_settings fake_settings;
static int peer_fds[SESSIONS];
static struct connection *conns[SESSIONS];
static struct event *fake_event;

/*
 * The database
 */

struct pgbox_listen *
pgbox_listen_init(const struct pgbox_conn_settings *set ATTR_UNUSED,
		  enum pgbox_stmt listen_stmt ATTR_UNUSED,
		  const struct pgbox_listen_callbacks *callbacks ATTR_UNUSED,
		  void *context, struct event *parent_event ATTR_UNUSED)
{
	fake_listen = i_new(struct pgbox_listen, 1);
	fake_listen->callback_context = context;
	return fake_listen;
}

void pgbox_listen_deinit(struct pgbox_listen **listen)
{
	i_free(*listen);
	fake_listen = NULL;
}

bool pgbox_listen_is_idle(const struct pgbox_listen *listen)
{
	return listen->connected && listen->done == NULL;
}

void pgbox_listen_query(struct pgbox_listen *listen,
			enum pgbox_stmt stmt ATTR_UNUSED,
			struct pgbox_params *params ATTR_UNUSED,
			pgbox_listen_row_t *row, pgbox_listen_done_t *done,
			void *context)
{
	fuzz_require(pgbox_listen_is_idle(listen));
	listen->row = row;
	listen->done = done;
	listen->context = context;
}

struct pgbox_params *pgbox_params_new(void)
{
	return NULL;
}

void pgbox_params_text_array(struct pgbox_params *params ATTR_UNUSED,
			     const char *const *values, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		fuzz_require(uni_utf8_str_is_valid(values[i]));
		fuzz_require(strlen(values[i]) <= PAYLOAD_MAX);
	}
}

void pgbox_params_int64_array(struct pgbox_params *params ATTR_UNUSED,
			      const int64_t *values, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		fuzz_require(values[i] > 0);
}

/* A row is written as a signal is. */
int32_t pgbox_result_int32(struct pgbox_result *result ATTR_UNUSED,
			   unsigned int col ATTR_UNUSED)
{
	return fake_row.mailbox_id != 0 ? PGBOX_SIGNAL_STATE_MAILBOX :
		*fake_row.account != '\0' ? PGBOX_SIGNAL_STATE_ACCOUNT :
		PGBOX_SIGNAL_STATE_STORE;
}

int64_t pgbox_result_int64(struct pgbox_result *result ATTR_UNUSED,
			   unsigned int col)
{
	return col == 1 ? fake_row.mailbox_id : (int64_t)fake_row.modseq;
}

const char *pgbox_result_text(struct pgbox_result *result ATTR_UNUSED,
			      unsigned int col ATTR_UNUSED)
{
	return fake_row.account;
}

void pgbox_result_uuid(struct pgbox_result *result ATTR_UNUSED,
		       unsigned int col ATTR_UNUSED, guid_128_t value_r)
{
	guid_128_empty(value_r);
}

static void listen_row(const char *text)
{
	if (!pgbox_signal_parse(text, &fake_row))
		fake_row.account = "";
	fake_listen->row(NULL, fake_listen->context);
}

static void listen_done(bool success)
{
	pgbox_listen_done_t *done = fake_listen->done;

	fake_listen->done = NULL;
	fake_listen->row = NULL;
	if (done != NULL)
		done(success, fake_listen->context);
}

static void listen_connected(bool connected)
{
	if (fake_listen->connected == connected)
		return;
	if (!connected)
		listen_done(FALSE);
	fake_listen->connected = connected;
	if (connected)
		relay_connected(fake_listen->callback_context);
	else
		relay_disconnected(fake_listen->callback_context);
}

/*
 * Sessions
 */

void master_service_client_connection_destroyed(
	struct master_service *service ATTR_UNUSED)
{
}

static void session_open(unsigned int i)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		i_fatal("socketpair() failed: %m");
	net_set_nonblock(fds[0], TRUE);
	peer_fds[i] = fds[1];
	pgbox_notify_session_create(fds[0], "fuzz");
	conns[i] = sessions->connections;
}

static void session_close(unsigned int i)
{
	if (conns[i] == NULL)
		return;
	session_destroy(conns[i]);
	conns[i] = NULL;
	i_close_fd(&peer_fds[i]);
}

static void session_line(unsigned int i, const char *line)
{
	const char *const *args;

	if (conns[i] == NULL)
		session_open(i);
	args = t_strsplit_tabescaped(line);
	/* Dovecot hangs up by itself on an empty line */
	if (args[0] == NULL || session_input_args(conns[i], args) < 0)
		session_close(i);
}

static void vouch(bool vouches, void *context ATTR_UNUSED)
{
	pgbox_notify_sessions_vouch(vouches);
}

/*
 * The input: lines, of which the first character says who speaks
 */

static void time_passes(struct pgbox_relay *relay)
{
	if (relay->to_send != NULL)
		relay_pause_over(relay);
	if (relay->to_check != NULL)
		relay_check_timeout(relay);
}

static void run_line(struct pgbox_relay *relay, const char *line)
{
	const char what = line[0];

	line++;
	if (what >= '0' && what < '0' + SESSIONS)
		session_line(what - '0', line);
	else if (what == 'x')
		session_close((unsigned char)*line % SESSIONS);
	else if (what == 'N')
		relay_notified(line, relay);
	else if (what == 'R' && fake_listen->row != NULL)
		listen_row(line);
	else if (what == 'D' || what == 'F')
		listen_done(what == 'D');
	else if (what == 'C' || what == 'L')
		listen_connected(what == 'C');
	else
		time_passes(relay);
}

void fuzz_init(void)
{
	fake_event = event_create(NULL);
	pgbox_notify_sessions_init(fake_event);
}

void fuzz_one(const unsigned char *data, size_t size)
{
	const char *const *lines;
	struct pgbox_watches *watches;
	struct pgbox_relay *relay;

	watches = pgbox_watches_init(NULL, 2, pgbox_notify_session_look);
	relay = pgbox_relay_init(&fake_settings, 1000, watches, vouch, NULL,
				 fake_event);
	pgbox_notify_sessions_set(watches, relay);
	lines = t_strsplit(fuzz_string(data, size), "\n");
	for (; *lines != NULL; lines++) {
		if (**lines != '\0') T_BEGIN {
			run_line(relay, *lines);
		} T_END;
	}
	listen_connected(FALSE);
	for (unsigned int i = 0; i < SESSIONS; i++)
		session_close(i);
	pgbox_relay_deinit(&relay);
	pgbox_watches_deinit(&watches);
}
