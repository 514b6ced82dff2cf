/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "llist.h"
#include "ioloop.h"
#include "istream.h"
#include "net.h"
#include "strescape.h"
#include "strnum.h"
#include "master-service.h"
#include "mail-user.h"
#include "mail-storage-settings.h"
#include "pgbox-conn.h"
#include "pgbox-notify-protocol.h"
#include "pgbox-notify-client-private.h"

#include <unistd.h>

/* how long a service that couldn't be reached isn't tried again */
#define NOTIFY_RETRY_SECS 5
/* A restarted service is to find its clients again soon, but not all in one
   moment. */
#define NOTIFY_RECONNECT_MIN_MSECS 50
#define NOTIFY_RECONNECT_SPREAD_MSECS 500
/* how long a service may take to answer that it is alive */
#define NOTIFY_PONG_MSECS (5 * 1000)
/* a link that only told of changes is closed when there are none */
#define NOTIFY_IDLE_MSECS (10 * 1000)

static struct pgbox_notify_link *links = NULL;

static void link_lost(struct pgbox_notify_link *link);

bool pgbox_notify_link_send(struct pgbox_notify_link *link, const char *line)
{
	size_t size = strlen(line);
	ssize_t ret;

	if (link->fd == -1)
		return FALSE;
	ret = write(link->fd, line, size);
	if (ret == (ssize_t)size)
		return TRUE;
	/* A full buffer means a service that hangs. A signal that is lost is
	   found out by the services' checks. */
	if (ret < 0)
		e_debug(link->event, "write() failed: %m");
	link_lost(link);
	return FALSE;
}

/*
 * What the service says
 */

static struct pgbox_notify_watch *
link_find_watch(struct pgbox_notify_link *link, const char *const *args)
{
	struct pgbox_notify_watch *watch;
	unsigned int id;

	if (args[0] == NULL || str_to_uint(args[0], &id) < 0)
		return NULL;
	for (watch = link->watches; watch != NULL; watch = watch->next) {
		if (watch->id == id)
			return watch;
	}
	return NULL;
}

static void link_input_look(struct pgbox_notify_link *link, const char *const *args)
{
	struct pgbox_notify_watch *watch = link_find_watch(link, args);
	uint64_t modseq;

	/* it may have ended just now */
	if (watch == NULL)
		return;
	if (args[1] == NULL || str_to_uint64(args[1], &modseq) < 0 ||
	    modseq == 0)
		watch->look_anyway = TRUE;
	else
		watch->told_modseq = I_MAX(watch->told_modseq, modseq);
	pgbox_notify_watch_look_soon(watch);
}

static void link_input_answer(struct pgbox_notify_link *link, bool ok,
			      const char *const *args)
{
	struct pgbox_notify_watch *watch = link_find_watch(link, args);

	if (watch == NULL)
		return;
	watch->state = ok ? NOTIFY_WATCH_OK : NOTIFY_WATCH_REFUSED;
	if (!ok) {
		e_warning(link->event, "%s: %s", link->path,
			  args[1] == NULL ? "refused" : args[1]);
	} else if (str_array_length(args) >= 3) {
		link->vouched = *args[1] == '1';
		i_free(watch->path);
		if (*args[2] != '\0')
			watch->path = i_strdup(args[2]);
	}
}

static void link_input_vouch(struct pgbox_notify_link *link, bool vouched)
{
	struct pgbox_notify_watch *watch;

	link->vouched = vouched;
	for (watch = link->watches; watch != NULL; watch = watch->next) {
		/* the service has compared what the session had told it */
		if (watch->state == NOTIFY_WATCH_OK)
			watch->confirmed = vouched;
	}
}

static void link_input_args(struct pgbox_notify_link *link, const char *const *args)
{
	if (args[0] == NULL)
		return;
	if (strcmp(args[0], "LOOK") == 0)
		link_input_look(link, args + 1);
	else if (strcmp(args[0], "OK") == 0)
		link_input_answer(link, TRUE, args + 1);
	else if (strcmp(args[0], "NO") == 0)
		link_input_answer(link, FALSE, args + 1);
	else if (strcmp(args[0], "VOUCH") == 0)
		link_input_vouch(link, null_strcmp(args[1], "1") == 0);
	else if (strcmp(args[0], "PONG") == 0)
		timeout_remove(&link->to_pong);
}

/* Returns FALSE if the other side is no service of ours. */
static bool link_input_line(struct pgbox_notify_link *link, const char *line)
{
	if (!link->version_received) {
		link->version_received = TRUE;
		return version_string_verify(line, PGBOX_NOTIFY_SERVER_NAME,
					     PGBOX_NOTIFY_MAJOR_VERSION);
	}
	link_input_args(link, t_strsplit_tabescaped(line));
	return TRUE;
}

bool pgbox_notify_link_read(struct pgbox_notify_link *link)
{
	const char *line;
	bool ok;

	ok = i_stream_read(link->input) >= 0;
	while (ok && (line = i_stream_next_line(link->input)) != NULL) T_BEGIN {
		ok = link_input_line(link, line);
	} T_END;
	if (!ok)
		link_lost(link);
	return ok;
}

static void link_input(struct pgbox_notify_link *link)
{
	(void)pgbox_notify_link_read(link);
}

/*
 * The link's life
 */

static void link_close(struct pgbox_notify_link *link)
{
	io_remove(&link->io);
	timeout_remove(&link->to_idle);
	timeout_remove(&link->to_pong);
	i_stream_destroy(&link->input);
	i_close_fd(&link->fd);
	link->vouched = FALSE;
	link->version_received = FALSE;
}

static void link_set_retry(struct pgbox_notify_link *link)
{
	link->retry_after_usecs = pgbox_clock_usecs() +
		NOTIFY_RETRY_SECS * 1000000ULL;
}

bool pgbox_notify_link_connect(struct pgbox_notify_link *link)
{
	if (link->fd != -1)
		return TRUE;
	if (pgbox_clock_usecs() < link->retry_after_usecs)
		return FALSE;
	link->fd = net_connect_unix(link->path);
	if (link->fd == -1) {
		/* usually there is no such service on this node */
		e_debug(link->event, "connect(%s) failed: %m", link->path);
		link_set_retry(link);
		return FALSE;
	}
	link->input = i_stream_create_fd(link->fd, PGBOX_NOTIFY_MAX_LINE);
	return pgbox_notify_link_send(link, t_strdup_printf("VERSION\t%s\t%u\t%u\n",
		PGBOX_NOTIFY_CLIENT_NAME, PGBOX_NOTIFY_MAJOR_VERSION,
		PGBOX_NOTIFY_MINOR_VERSION));
}

static void link_reconnect(struct pgbox_notify_link *link)
{
	struct pgbox_notify_watch *watch;

	timeout_remove(&link->to_reconnect);
	for (watch = link->watches; watch != NULL; watch = watch->next) T_BEGIN {
		if (watch->state == NOTIFY_WATCH_NONE)
			pgbox_notify_watch_ask(watch);
	} T_END;
}

/* The service is gone: those who watch look by themselves until it is back. */
static void link_lost(struct pgbox_notify_link *link)
{
	struct pgbox_notify_watch *watch;

	link_close(link);
	for (watch = link->watches; watch != NULL; watch = watch->next) {
		if (watch->state != NOTIFY_WATCH_REFUSED)
			watch->state = NOTIFY_WATCH_NONE;
		watch->confirmed = FALSE;
	}
	if (link->watches != NULL && link->to_reconnect == NULL) {
		link->to_reconnect = timeout_add_short(
			NOTIFY_RECONNECT_MIN_MSECS +
			i_rand_limit(NOTIFY_RECONNECT_SPREAD_MSECS),
			link_reconnect, link);
	}
}

void pgbox_notify_link_hangs(struct pgbox_notify_link *link)
{
	struct pgbox_notify_watch *watch;

	e_warning(link->event, "%s doesn't answer", link->path);
	link_set_retry(link);
	link_lost(link);
	/* nobody knows since when it doesn't tell */
	for (watch = link->watches; watch != NULL; watch = watch->next)
		pgbox_notify_watch_look_soon(watch);
}

void pgbox_notify_link_ping(struct pgbox_notify_link *link)
{
	if (link->to_pong == NULL && pgbox_notify_link_send(link, "PING\n")) {
		link->to_pong = timeout_add(NOTIFY_PONG_MSECS,
					    pgbox_notify_link_hangs, link);
	}
}

static void links_ioloop_destroyed(struct ioloop *ioloop)
{
	struct pgbox_notify_link *link;

	for (link = links; link != NULL; link = link->next) {
		if (link->to_idle_ioloop == ioloop)
			timeout_remove(&link->to_idle);
	}
}

struct pgbox_notify_link *pgbox_notify_link_get(struct mail_user *user)
{
	const char *name = mail_user_plugin_getenv(user, "pgbox_notify");
	const char *path;
	struct pgbox_notify_link *link;

	if (name == NULL || *name == '\0')
		name = PGBOX_NOTIFY_SOCKET;
	path = *name == '/' ? name :
		t_strconcat(user->set->base_dir, "/", name, NULL);
	for (link = links; link != NULL; link = link->next) {
		if (strcmp(link->path, path) == 0)
			return link;
	}
	if (links == NULL)
		io_loop_add_destroy_callback(links_ioloop_destroyed);
	link = i_new(struct pgbox_notify_link, 1);
	link->path = i_strdup(path);
	link->event = event_create(NULL);
	event_set_append_log_prefix(link->event, "pgbox-notify: ");
	link->fd = -1;
	DLLIST_PREPEND(&links, link);
	return link;
}

void pgbox_notify_link_set_idle(struct pgbox_notify_link *link)
{
	io_remove(&link->io);
	timeout_remove(&link->to_pong);
	if (link->fd != -1 && link->to_idle == NULL &&
	    current_ioloop != NULL) {
		/* the outermost, as the inner ones come and go */
		link->to_idle_ioloop = io_loop_get_root();
		link->to_idle = timeout_add_to(link->to_idle_ioloop,
					       NOTIFY_IDLE_MSECS, link_close,
					       link);
	}
}

void pgbox_notify_link_set_watched(struct pgbox_notify_link *link)
{
	timeout_remove(&link->to_idle);
	if (link->io == NULL)
		link->io = io_add(link->fd, IO_READ, link_input, link);
}

void pgbox_notify_client_deinit(void)
{
	struct pgbox_notify_link *link;

	if (links != NULL)
		io_loop_remove_destroy_callback(links_ioloop_destroyed);
	while ((link = links) != NULL) {
		i_assert(link->watches == NULL);
		DLLIST_REMOVE(&links, link);
		link_close(link);
		timeout_remove(&link->to_reconnect);
		event_unref(&link->event);
		i_free(link->path);
		i_free(link);
	}
}
