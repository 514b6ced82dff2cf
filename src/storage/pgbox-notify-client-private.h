#ifndef PGBOX_NOTIFY_CLIENT_PRIVATE_H
#define PGBOX_NOTIFY_CLIENT_PRIVATE_H

#include "pgbox-notify-client.h"

/* Inside of the client:

   link    the connection to the service, and what the service says
   client  what the rest of the storage sees */

/* the service answers at once, unless it is stopped */
#define PGBOX_NOTIFY_ANSWER_MSECS 500

/* The link of this process to one service. Made when it is first used, kept
   until the plugin goes; without a service fd is -1. */
struct pgbox_notify_link {
	struct pgbox_notify_link *prev, *next;
	char *path;
	struct event *event;

	int fd;
	struct istream *input;
	/* while there are watches */
	struct io *io;
	struct timeout *to_idle, *to_reconnect;
	struct ioloop *to_idle_ioloop;
	struct pgbox_notify_watch *watches;
	/* the one whose look() is running, unless it has ended */
	struct pgbox_notify_watch *looking;
	uint64_t retry_after_usecs;
	/* the service was asked whether it is alive: until then it has to answer */
	struct timeout *to_pong;
	unsigned int last_id;

	bool version_received:1;
	/* the service hears of all changes */
	bool vouched:1;
};

enum pgbox_notify_watch_state {
	/* the service doesn't know of it */
	NOTIFY_WATCH_NONE = 0,
	/* it was asked, and hasn't answered */
	NOTIFY_WATCH_ASKED,
	NOTIFY_WATCH_OK,
	/* the service can't watch this */
	NOTIFY_WATCH_REFUSED,
};

struct pgbox_notify_watch {
	struct pgbox_notify_watch *prev, *next;
	struct pgbox_notify_link *link;
	/* by which the service knows it, while it does */
	unsigned int id;
	int64_t mailbox_id;
	char *account;
	guid_128_t store_guid;
	pgbox_notify_look_t *look;
	void *context;
	char *path;

	enum pgbox_notify_watch_state state;
	struct timeout *to_look;
	/* what the session knows, as far as it has told */
	uint64_t known_modseq;
	/* what the service has told */
	uint64_t told_modseq;
	/* something came of which no modseq is known */
	bool look_anyway:1;
	/* nothing before the watch can have been missed */
	bool confirmed:1;
	/* look() is running, and couldn't look */
	bool failed:1;
};

/* --- pgbox-notify-link.c */

/* Returns the link to the service of a user, made when there is none. It may
   not be connected. */
struct pgbox_notify_link *pgbox_notify_link_get(struct mail_user *user);
/* Returns FALSE if there is no service, or it couldn't be reached just now. */
bool pgbox_notify_link_connect(struct pgbox_notify_link *link);
/* Send a line. Returns FALSE if there is no link (any more). */
bool pgbox_notify_link_send(struct pgbox_notify_link *link, const char *line);
/* Read what has arrived. Returns FALSE if the link is gone. */
bool pgbox_notify_link_read(struct pgbox_notify_link *link);
/* The service doesn't answer: leave it alone for a while, and let all who watch
   look by themselves. */
void pgbox_notify_link_hangs(struct pgbox_notify_link *link);
/* If there is a link: is the service alive? */
void pgbox_notify_link_ping(struct pgbox_notify_link *link);
/* There is no watch any more: close the link after a while. */
void pgbox_notify_link_set_idle(struct pgbox_notify_link *link);
/* There is a watch: read what comes. */
void pgbox_notify_link_set_watched(struct pgbox_notify_link *link);

/* --- pgbox-notify-client.c */

/* Ask the service for the watch, without waiting. */
void pgbox_notify_watch_ask(struct pgbox_notify_watch *watch);
/* Call look() as soon as the ioloop runs: lines are also read where nothing
   else may happen. */
void pgbox_notify_watch_look_soon(struct pgbox_notify_watch *watch);

#endif
