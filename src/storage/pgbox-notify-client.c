/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "llist.h"
#include "guid.h"
#include "ioloop.h"
#include "strescape.h"
#include "pgbox-conn.h"
#include "pgbox-notify-protocol.h"
#include "pgbox-notify-client-private.h"

#include <poll.h>

static void watch_send(struct pgbox_notify_watch *watch, const char *command)
{
	if (watch->state == NOTIFY_WATCH_OK) T_BEGIN {
		(void)pgbox_notify_link_send(watch->link,
			t_strdup_printf("%s\t%u\n", command, watch->id));
	} T_END;
}

static void watch_look(struct pgbox_notify_watch *watch)
{
	struct pgbox_notify_link *link = watch->link;

	timeout_remove(&watch->to_look);
	link->looking = watch;
	watch->failed = FALSE;
	watch->look(watch->context);
	if (link->looking == watch)
		watch_send(watch, watch->failed ? "FAILED" : "DONE");
	link->looking = NULL;
}

void pgbox_notify_watch_look_soon(struct pgbox_notify_watch *watch)
{
	if (watch->to_look == NULL)
		watch->to_look = timeout_add_short(0, watch_look, watch);
}

void pgbox_notify_watch_ask(struct pgbox_notify_watch *watch)
{
	struct pgbox_notify_link *link = watch->link;

	if (watch->state == NOTIFY_WATCH_REFUSED || !pgbox_notify_link_connect(link))
		return;
	pgbox_notify_link_set_watched(link);
	watch->state = NOTIFY_WATCH_ASKED;
	watch->id = ++link->last_id;
	(void)pgbox_notify_link_send(link, t_strdup_printf(
		"WATCH\t%u\t%s\t%s\t%"PRIu64"\t%s\n", watch->id,
		watch->mailbox_id != 0 ? PGBOX_NOTIFY_KIND_MAILBOX :
		PGBOX_NOTIFY_KIND_ACCOUNT,
		watch->mailbox_id != 0 ? dec2str(watch->mailbox_id) :
		str_tabescape(watch->account), watch->known_modseq,
		guid_128_to_string(watch->store_guid)));
}

static bool
link_tell(struct pgbox_notify_link *link, const struct pgbox_signal *signal)
{
	return pgbox_notify_link_connect(link) &&
		pgbox_notify_link_send(link, t_strdup_printf(
			"CHANGED\t%"PRId64"\t%"PRIu64"\t%s\n",
			signal->mailbox_id, signal->modseq,
			str_tabescape(signal->account)));
}

void pgbox_notify_changed(struct mail_user *user,
			  const struct pgbox_signal *signal)
{
	struct pgbox_notify_link *link;

	T_BEGIN {
		link = pgbox_notify_link_get(user);
		/* again: the service that we knew may have been replaced */
		if (!link_tell(link, signal))
			(void)link_tell(link, signal);
		if (link->watches == NULL)
			pgbox_notify_link_set_idle(link);
	} T_END;
}

/* Wait until the service has answered. */
static void watch_wait_answer(struct pgbox_notify_watch *watch)
{
	struct pgbox_notify_link *link = watch->link;
	const uint64_t deadline = pgbox_clock_usecs() +
		PGBOX_NOTIFY_ANSWER_MSECS * 1000ULL;
	uint64_t now;

	while (watch->state == NOTIFY_WATCH_ASKED &&
	       (now = pgbox_clock_usecs()) < deadline) {
		struct pollfd pfd = { .fd = link->fd, .events = POLLIN };

		if (poll(&pfd, 1, (deadline - now + 999) / 1000) > 0 &&
		    !pgbox_notify_link_read(link))
			return;
	}
	if (watch->state == NOTIFY_WATCH_ASKED)
		pgbox_notify_link_hangs(link);
}

struct pgbox_notify_watch *
pgbox_notify_watch_init(struct mail_user *user,
			const struct pgbox_signal *signal,
			const guid_128_t store_guid,
			pgbox_notify_look_t *look, void *context)
{
	struct pgbox_notify_watch *watch = i_new(struct pgbox_notify_watch, 1);

	watch->mailbox_id = signal->mailbox_id;
	watch->known_modseq = signal->modseq;
	watch->account = i_strdup(signal->account);
	guid_128_copy(watch->store_guid, store_guid);
	watch->look = look;
	watch->context = context;
	T_BEGIN {
		watch->link = pgbox_notify_link_get(user);
		DLLIST_PREPEND(&watch->link->watches, watch);
		pgbox_notify_watch_ask(watch);
		watch_wait_answer(watch);
	} T_END;
	return watch;
}

void pgbox_notify_watch_deinit(struct pgbox_notify_watch **_watch)
{
	struct pgbox_notify_watch *watch = *_watch;
	struct pgbox_notify_link *link = watch->link;

	*_watch = NULL;
	if (link->looking == watch)
		link->looking = NULL;
	timeout_remove(&watch->to_look);
	DLLIST_REMOVE(&link->watches, watch);
	watch_send(watch, "UNWATCH");
	if (link->watches == NULL) {
		timeout_remove(&link->to_reconnect);
		pgbox_notify_link_set_idle(link);
	}
	i_free(watch->path);
	i_free(watch->account);
	i_free(watch);
}

const char *pgbox_notify_watch_get_path(const struct pgbox_notify_watch *watch)
{
	return watch->path;
}

void pgbox_notify_watch_looked(struct pgbox_notify_watch *watch,
			       uint64_t modseq)
{
	watch->known_modseq = modseq;
	watch->look_anyway = FALSE;
	watch->failed = FALSE;
	if (watch->state == NOTIFY_WATCH_OK && watch->link->vouched)
		watch->confirmed = TRUE;
}

void pgbox_notify_watch_failed(struct pgbox_notify_watch *watch)
{
	watch->look_anyway = TRUE;
	watch->failed = TRUE;
	if (watch->link->looking != watch)
		watch_send(watch, "FAILED");
}

bool pgbox_notify_watch_is_current(const struct pgbox_notify_watch *watch,
				   uint64_t modseq)
{
	return watch->link->vouched && watch->state == NOTIFY_WATCH_OK &&
		watch->confirmed && !watch->look_anyway &&
		watch->told_modseq <= modseq;
}

bool pgbox_notify_watch_is_looking(const struct pgbox_notify_watch *watch)
{
	return watch->link->looking == watch;
}

bool pgbox_notify_watch_check(struct pgbox_notify_watch *watch)
{
	struct pgbox_notify_link *link = watch->link;

	if (watch->state == NOTIFY_WATCH_NONE) T_BEGIN {
		pgbox_notify_watch_ask(watch);
	} T_END;
	pgbox_notify_link_ping(link);
	return pgbox_notify_watch_is_current(watch, watch->known_modseq);
}
