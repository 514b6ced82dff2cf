/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "time-util.h"
#include "pgbox-notify-watch-private.h"

/* A session that hasn't looked for so long is busy with something else: it
   mustn't keep others from looking. */
#define WATCH_WAKING_MAX_MSECS 2000

static void watches_waking_timeout(struct pgbox_watches *watches);

/* If the clock was set back: as long as it may be. */
static int watch_waking_msecs(const struct pgbox_watch *watch)
{
	int msecs = timeval_diff_msecs(&ioloop_timeval, &watch->woken_at);

	return msecs < 0 ? WATCH_WAKING_MAX_MSECS : msecs;
}

static void watches_set_timeout(struct pgbox_watches *watches)
{
	int passed;

	timeout_remove(&watches->to_waking);
	if (watches->waking_head == NULL)
		return;
	passed = I_MIN(watch_waking_msecs(watches->waking_head),
		       WATCH_WAKING_MAX_MSECS);
	watches->to_waking = timeout_add(WATCH_WAKING_MAX_MSECS - passed + 1,
					 watches_waking_timeout, watches);
}

static void watch_tell(struct pgbox_watch *watch)
{
	struct pgbox_watches *watches = watch->target->watches;
	uint64_t modseq = watch->look_anyway ? 0 : watch->target->modseq;

	watch->state = WATCH_WAKING;
	watch->woken_at = ioloop_timeval;
	watch->look_anyway = FALSE;
	watch->again = FALSE;
	watch->failed = FALSE;
	watches->waking_count++;
	DLLIST2_APPEND_FULL(&watches->waking_head, &watches->waking_tail,
			    watch, turn_prev, turn_next);
	if (watches->to_waking == NULL)
		watches_set_timeout(watches);
	watches->look(watch, modseq, watch->context);
}

void pgbox_watch_end_turn(struct pgbox_watch *watch)
{
	struct pgbox_watches *watches = watch->target->watches;

	if (watch->state == WATCH_QUEUED) {
		DLLIST2_REMOVE_FULL(&watches->queue_head, &watches->queue_tail,
				    watch, turn_prev, turn_next);
	} else if (watch->state == WATCH_WAKING) {
		DLLIST2_REMOVE_FULL(&watches->waking_head,
				    &watches->waking_tail,
				    watch, turn_prev, turn_next);
		watches->waking_count--;
	}
	watch->state = WATCH_IDLE;
}

static void watch_queue(struct pgbox_watch *watch)
{
	struct pgbox_watches *watches = watch->target->watches;

	watch->state = WATCH_QUEUED;
	DLLIST2_APPEND_FULL(&watches->queue_head, &watches->queue_tail,
			    watch, turn_prev, turn_next);
}

void pgbox_watches_wake_next(struct pgbox_watches *watches)
{
	struct pgbox_watch *watch;

	while (watches->queue_head != NULL &&
	       watches->waking_count < watches->max_waking) {
		watch = watches->queue_head;
		pgbox_watch_end_turn(watch);
		watch_tell(watch);
	}
	watches_set_timeout(watches);
}

void pgbox_watch_wake(struct pgbox_watch *watch, bool anyway)
{
	if (anyway)
		watch->look_anyway = TRUE;
	if (watch->state == WATCH_WAKING)
		watch->again = TRUE;
	else if (watch->state == WATCH_IDLE)
		watch_queue(watch);
}

void pgbox_watch_done(struct pgbox_watch *watch)
{
	bool again = watch->again;

	if (watch->state != WATCH_WAKING)
		return;
	pgbox_watch_end_turn(watch);
	if (again)
		watch_queue(watch);
	pgbox_watches_wake_next(watch->target->watches);
}

void pgbox_watch_failed(struct pgbox_watch *watch)
{
	watch->failed = TRUE;
	pgbox_watch_done(watch);
}

void pgbox_watches_retry(struct pgbox_watches *watches)
{
	struct pgbox_watch_target *target;
	struct pgbox_watch *watch;

	for (target = watches->targets_head; target != NULL;
	     target = target->next) {
		for (watch = target->sessions; watch != NULL;
		     watch = watch->next) {
			if (watch->failed)
				pgbox_watch_wake(watch, TRUE);
		}
	}
	pgbox_watches_wake_next(watches);
}

static void watches_waking_timeout(struct pgbox_watches *watches)
{
	struct pgbox_watch *watch;

	while ((watch = watches->waking_head) != NULL &&
	       watch_waking_msecs(watch) >= WATCH_WAKING_MAX_MSECS) {
		bool again = watch->again;

		pgbox_watch_end_turn(watch);
		if (again)
			watch_queue(watch);
	}
	pgbox_watches_wake_next(watches);
}
