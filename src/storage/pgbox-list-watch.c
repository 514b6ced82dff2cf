/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* How sessions learn that they should look at an account again.

   The node's service tells them (pgbox-notify-client.h). Without it they have
   to look now and then, and this is what makes it quicker for changes made on
   the same node: each node has a file for each account that is or was watched here. Whoever
   commits a change of the account on this node writes a byte into it, and the
   watching sessions' inotify wakes them. Without the file nobody watches, and
   a commit costs no more than not finding it. The file stays when the last
   watcher is gone: a byte now and then is cheaper than to agree on who was the
   last. It isn't read, and always the same byte is overwritten.

   The byte only makes it quicker, therefore failures here don't matter much. */

#include "lib.h"
#include "llist.h"
#include "ioloop.h"
#include "time-util.h"
#include "mail-user.h"
#include "pgbox-list.h"
#include "pgbox-owner.h"
#include "pgbox-list-watch.h"
#include "pgbox-notify-client.h"

#include <fcntl.h>
#include <unistd.h>

#define PGBOX_LIST_WATCH_FILE "pgbox.list.notify"
/* The first change wakes at once, those that follow not sooner than this after
   the last wake-up. */
#define PGBOX_LIST_WATCH_PAUSE_MSECS 500

struct pgbox_list_watch {
	struct pgbox_mailbox_list *list;
	struct pgbox_list_watcher *watchers;

	struct pgbox_notify_watch *service;
	/* not while to_wake is pending or the service tells of all changes, nor
	   where inotify doesn't work */
	struct io *io;
	struct timeout *to_poll, *to_wake;
	struct timeval last_wake;
};

/* Returns FALSE if the node keeps nothing on disk. */
static bool watch_get_path(struct mailbox_list *list, const char **path_r)
{
	const char *root;

	if (!mailbox_list_get_root_path(list, MAILBOX_LIST_PATH_TYPE_INDEX,
					&root) || *root == '\0')
		return FALSE;
	*path_r = t_strconcat(root, "/"PGBOX_LIST_WATCH_FILE, NULL);
	return TRUE;
}

/*
 * Telling
 */

static void watch_file_write(struct mailbox_list *list, const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd == -1) {
		/* ENOENT: nobody watches. EACCES: another user's sessions do,
		   under another system user. */
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) {
			e_warning(list->ns->user->event,
				  "pgbox: open(%s) failed: %m", path);
		}
		return;
	}
	/* inotify shows modified contents, not times */
	if (write(fd, "", 1) < 0) {
		e_warning(list->ns->user->event,
			  "pgbox: write(%s) failed: %m", path);
	}
	i_close_fd(&fd);
}

void pgbox_list_changed_mailbox(struct pgbox_mailbox_list *list,
				int64_t mailbox_id, uint64_t modseq)
{
	const struct pgbox_signal signal = {
		.mailbox_id = mailbox_id,
		.modseq = modseq,
		.account = list->account,
	};
	const char *path;

	pgbox_list_invalidate(list);
	T_BEGIN {
		if (watch_get_path(&list->list, &path))
			watch_file_write(&list->list, path);
	} T_END;
	if (list->account != NULL) {
		pgbox_notify_changed(
			pgbox_namespace_get_db_user(list->list.ns), &signal);
	}
}

void pgbox_list_changed(struct pgbox_mailbox_list *list)
{
	pgbox_list_changed_mailbox(list, 0, 0);
}

/*
 * Watching
 */

static void watch_event(struct pgbox_list_watch *watch);

static void watch_file_create(struct pgbox_list_watch *watch)
{
	struct mailbox_list *list = &watch->list->list;
	const char *path, *root;
	int fd;

	if (!watch_get_path(list, &path))
		return;
	root = t_strdup_until(path, strrchr(path, '/'));
	if (mailbox_list_mkdir_root(list, root,
				    MAILBOX_LIST_PATH_TYPE_INDEX) < 0) {
		/* logged already */
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd == -1) {
		e_warning(list->ns->user->event,
			  "pgbox: creat(%s) failed: %m", path);
	}
	i_close_fd(&fd);
}

/* Watch the file that has the name now, if any. */
static void watch_listen(struct pgbox_list_watch *watch)
{
	const char *path;

	io_remove(&watch->io);
	if (!pgbox_notify_watch_is_current(watch->service, 0) &&
	    watch_get_path(&watch->list->list, &path))
		(void)io_add_notify(path, watch_event, watch, &watch->io);
}

static void watch_wake(struct pgbox_list_watch *watch)
{
	struct pgbox_list_watcher *watcher, *next;

	timeout_remove(&watch->to_wake);
	/* before anybody looks, so that later changes wake us again */
	T_BEGIN {
		watch_listen(watch);
	} T_END;
	watch->last_wake = ioloop_timeval;
	for (watcher = watch->watchers; watcher != NULL; watcher = next) {
		next = watcher->next;
		watcher->wake(watcher);
	}
}

/* If somebody removed the file, with the whole cache perhaps, it comes back
   here and not at once: that would get in the way of removing the folder. */
static void watch_poll(struct pgbox_list_watch *watch)
{
	if (pgbox_notify_watch_check(watch->service))
		return;
	T_BEGIN {
		watch_file_create(watch);
	} T_END;
	watch_wake(watch);
}

static void watch_event(struct pgbox_list_watch *watch)
{
	int passed_msecs;

	/* more of them wouldn't tell more */
	io_remove(&watch->io);
	if (watch->to_wake != NULL)
		return;
	passed_msecs = timeval_diff_msecs(&ioloop_timeval, &watch->last_wake);
	if (passed_msecs < 0 || passed_msecs > PGBOX_LIST_WATCH_PAUSE_MSECS)
		passed_msecs = PGBOX_LIST_WATCH_PAUSE_MSECS;
	watch->to_wake =
		timeout_add_short(PGBOX_LIST_WATCH_PAUSE_MSECS - passed_msecs,
				  watch_wake, watch);
}

static void watch_look(void *context)
{
	struct pgbox_list_watch *watch = context;

	watch_event(watch);
}

static struct pgbox_list_watch *watch_init(struct pgbox_mailbox_list *list)
{
	struct pgbox_list_watch *watch = i_new(struct pgbox_list_watch, 1);
	const struct pgbox_signal known = { .account = list->account };

	watch->list = list;
	watch->service = pgbox_notify_watch_init(
		pgbox_namespace_get_db_user(list->list.ns), &known,
		list->store_guid, watch_look, watch);
	watch->to_poll = timeout_add(
		list->list.mail_set->mailbox_idle_check_interval * 1000,
		watch_poll, watch);
	T_BEGIN {
		watch_file_create(watch);
		watch_listen(watch);
	} T_END;
	return watch;
}

static void watch_deinit(struct pgbox_list_watch **_watch)
{
	struct pgbox_list_watch *watch = *_watch;

	*_watch = NULL;
	pgbox_notify_watch_deinit(&watch->service);
	io_remove(&watch->io);
	timeout_remove(&watch->to_poll);
	timeout_remove(&watch->to_wake);
	i_free(watch);
}

void pgbox_list_watch_add(struct pgbox_mailbox_list *list,
			  struct pgbox_list_watcher *watcher)
{
	if (list->watch == NULL)
		list->watch = watch_init(list);
	DLLIST_PREPEND(&list->watch->watchers, watcher);
}

void pgbox_list_watch_remove(struct pgbox_mailbox_list *list,
			     struct pgbox_list_watcher *watcher)
{
	DLLIST_REMOVE(&list->watch->watchers, watcher);
	if (list->watch->watchers == NULL)
		watch_deinit(&list->watch);
}

void pgbox_list_watch_looked(struct pgbox_mailbox_list *list)
{
	pgbox_notify_watch_looked(list->watch->service, 0);
}

void pgbox_list_watch_failed(struct pgbox_mailbox_list *list)
{
	pgbox_notify_watch_failed(list->watch->service);
}

void pgbox_list_watch_wake(struct pgbox_mailbox_list *list)
{
	watch_wake(list->watch);
}

void pgbox_list_watch_wake_soon(struct pgbox_mailbox_list *list)
{
	watch_event(list->watch);
}
