/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* pgbox-notify: a node's service for signals. README tells what it does.

   usage, in dovecot.conf:
     executable = pgbox-notify [-n NAME] [CONNECTION-STRING]
   NAME is that of its unix_listener, by default "pgbox-notify". The connection
   string is for nodes that serve several databases and therefore have several
   services; by default it is the setting pgbox_notify_db or pgbox_db. */

#include "lib.h"
#include "array.h"
#include "restrict-access.h"
#include "settings-parser.h"
#include "master-service.h"
#include "master-service-settings.h"
#include "pgbox-notify-protocol.h"
#include "pgbox-notify-file.h"
#include "pgbox-notify-relay.h"
#include "pgbox-notify-session.h"
#include "pgbox-notify-settings.h"
#include "pgbox-notify-watch.h"

#include <sys/stat.h>
#include <unistd.h>

static struct event_category event_category_pgbox_notify = {
	.name = "pgbox-notify",
};

static struct event *notify_event;
static struct pgbox_notify_dir *notify_dir;
static struct pgbox_watches *notify_watches;
static struct pgbox_relay *notify_relay;

static void client_connected(struct master_service_connection *conn)
{
	master_service_client_connection_accept(conn);
	pgbox_notify_session_create(conn->fd, conn->name);
}

/* Dovecot reloads or stops: whoever waits is to turn to the next one. */
static void notify_die(void)
{
	pgbox_notify_sessions_disconnect();
	master_service_stop(master_service);
}

static void relay_vouches(bool vouches, void *context ATTR_UNUSED)
{
	pgbox_notify_sessions_vouch(vouches);
}

/* The folder of the files lies in base_dir, where only root may make it; it
   belongs to the user that the service is to run as. Others may open a file if
   they know its name. Returns NULL if there is none. */
static const char *notify_dir_make(const char *name)
{
	const struct master_service_settings *set =
		master_service_settings_get(master_service);
	const char *path = t_strconcat(set->base_dir, "/", name, ".d", NULL);
	struct restrict_access_settings access;

	restrict_access_get_env(&access);
	if (mkdir(path, 0711) < 0 && errno != EEXIST) {
		e_error(notify_event, "mkdir(%s) failed: %m; hibernated "
			"sessions won't be woken by changes", path);
		return NULL;
	}
	if (geteuid() == 0 && access.uid != (uid_t)-1 &&
	    chown(path, access.uid, (gid_t)-1) < 0) {
		e_error(notify_event, "chown(%s) failed: %m; hibernated "
			"sessions won't be woken by changes", path);
		return NULL;
	}
	return path;
}

static void main_preinit(const char *name)
{
	const char *path;

	notify_event = event_create(NULL);
	event_add_category(notify_event, &event_category_pgbox_notify);
	path = notify_dir_make(name);
	restrict_access_by_env(RESTRICT_ACCESS_FLAG_ALLOW_ROOT, NULL);
	restrict_access_allow_coredumps(TRUE);
	if (path != NULL)
		notify_dir = pgbox_notify_dir_init(path, notify_event);
}

static void main_init(const char *conninfo)
{
	struct pgbox_notify_settings set;
	const char *error;

	if (pgbox_notify_settings_get(conninfo, &set, &error) < 0)
		i_fatal("pgbox-notify: %s", error);
	pgbox_notify_sessions_init(notify_event);
	notify_watches = pgbox_watches_init(notify_dir, set.max_waking,
					    pgbox_notify_session_look);
	notify_relay = pgbox_relay_init(&set.conn, set.check_interval_msecs,
					notify_watches, relay_vouches, NULL,
					notify_event);
	pgbox_notify_sessions_set(notify_watches, notify_relay);
}

static void main_deinit(void)
{
	pgbox_notify_sessions_deinit();
	pgbox_relay_deinit(&notify_relay);
	pgbox_watches_deinit(&notify_watches);
	if (notify_dir != NULL)
		pgbox_notify_dir_deinit(&notify_dir);
	event_unref(&notify_event);
}

int main(int argc, char *argv[])
{
	const enum master_service_flags service_flags =
		MASTER_SERVICE_FLAG_NO_SSL_INIT |
		MASTER_SERVICE_FLAG_NO_IDLE_DIE |
		MASTER_SERVICE_FLAG_UPDATE_PROCTITLE;
	struct master_service_settings_input input = {
		.roots = pgbox_notify_setting_roots,
		.module = "mail",
	};
	struct master_service_settings_output output;
	const char *error, *name = PGBOX_NOTIFY_SOCKET;
	int c;

	master_service = master_service_init("pgbox-notify", service_flags,
					     &argc, &argv, "n:");
	while ((c = master_getopt(master_service)) > 0) {
		if (c != 'n')
			return FATAL_DEFAULT;
		name = optarg;
	}
	argv += optind;
	if (master_service_settings_read(master_service, &input, &output,
					 &error) < 0)
		i_fatal("Error reading configuration: %s", error);
	master_service_init_log(master_service);
	master_service_set_die_callback(master_service, notify_die);

	main_preinit(name);
	main_init(argv[0]);
	master_service_init_finish(master_service);
	master_service_run(master_service, client_connected);
	main_deinit();
	master_service_deinit(&master_service);
	return 0;
}
