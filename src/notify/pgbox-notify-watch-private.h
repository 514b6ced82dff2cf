#ifndef PGBOX_NOTIFY_WATCH_PRIVATE_H
#define PGBOX_NOTIFY_WATCH_PRIVATE_H

#include "hash.h"
#include "llist.h"
#include "ioloop.h"
#include "pgbox-notify-watch.h"

/* Inside of the watches:

   turn    which session is told when
   watch   what is watched, and by whom; signals
   check   comparing all of it with the database */

enum pgbox_watch_state {
	WATCH_IDLE = 0,
	/* to be told as soon as it is its turn */
	WATCH_QUEUED,
	/* told, and hasn't looked yet */
	WATCH_WAKING,
};

/* Something that is watched, or was not long ago. */
struct pgbox_watch_target {
	struct pgbox_watch_target *prev, *next;
	struct pgbox_watches *watches;
	struct pgbox_watch_key key;
	char *account;

	/* A mailbox: the newest modseq known here. An account: what the last
	   check answered, 0 if there was none. */
	uint64_t modseq;
	struct pgbox_watch *sessions;
	/* when there was a session last */
	time_t last_watched;

	/* the check that it was asked for in */
	unsigned int checked;
	/* asked for, no answer yet */
	bool asked:1;
	bool gone:1;
	bool have_file:1;
};

struct pgbox_watch {
	/* the target's sessions */
	struct pgbox_watch *prev, *next;
	struct pgbox_watch_target *target;
	void *context;

	enum pgbox_watch_state state;
	/* the queue, or those that are waking */
	struct pgbox_watch *turn_prev, *turn_next;
	struct timeval woken_at;
	/* has to look whatever modseq it knows */
	bool look_anyway:1;
	/* WAKING: something came after it was told */
	bool again:1;
	/* it couldn't look the last time */
	bool failed:1;
};

struct pgbox_watches {
	struct pgbox_notify_dir *dir;
	pgbox_watch_look_t *look;
	unsigned int max_waking, waking_count;

	/* the keys are the targets' own */
	HASH_TABLE(int64_t *, struct pgbox_watch_target *) mailboxes;
	HASH_TABLE(char *, struct pgbox_watch_target *) accounts;
	/* all of them; those that this check has asked for are at the end */
	struct pgbox_watch_target *targets_head, *targets_tail;
	unsigned int check;

	struct pgbox_watch *queue_head, *queue_tail;
	struct pgbox_watch *waking_head, *waking_tail;
	struct timeout *to_waking, *to_expire;
};

/* --- pgbox-notify-turn.c */

/* Let the session look as soon as it is its turn; anyway: whatever modseq it
   knows. pgbox_watches_wake_next() has to follow. */
void pgbox_watch_wake(struct pgbox_watch *watch, bool anyway);
/* Take it out of the queue, or of those that are waking. */
void pgbox_watch_end_turn(struct pgbox_watch *watch);
/* Tell as many as may look now. */
void pgbox_watches_wake_next(struct pgbox_watches *watches);

/* --- pgbox-notify-watch.c */

/* Returns NULL if nobody watches that. */
struct pgbox_watch_target *
pgbox_watch_target_find(struct pgbox_watches *watches,
			const struct pgbox_watch_key *key);
/* All of its sessions are to look. */
void pgbox_watch_target_wake(struct pgbox_watch_target *target, bool anyway);
/* The mailbox has a modseq (0: unknown); if it is new here all are to look. */
void pgbox_watch_target_signal(struct pgbox_watch_target *target,
			       uint64_t modseq);

#endif
