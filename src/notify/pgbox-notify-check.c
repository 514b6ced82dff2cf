/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "pgbox-notify-watch-private.h"

#define WATCH_CHECK_BATCH 5000

void pgbox_watches_check_begin(struct pgbox_watches *watches)
{
	watches->check++;
}

bool pgbox_watches_check_next(struct pgbox_watches *watches,
			      ARRAY_TYPE(int64_t) *mailbox_ids,
			      ARRAY_TYPE(const_string) *accounts)
{
	struct pgbox_watch_target *target;
	unsigned int count = 0;

	while ((target = watches->targets_head) != NULL &&
	       target->checked != watches->check && count < WATCH_CHECK_BATCH) {
		DLLIST2_REMOVE(&watches->targets_head, &watches->targets_tail,
			       target);
		DLLIST2_APPEND(&watches->targets_head, &watches->targets_tail,
			       target);
		target->checked = watches->check;
		target->asked = TRUE;
		if (target->key.mailbox_id != 0) {
			array_push_back(mailbox_ids, &target->key.mailbox_id);
		} else {
			array_push_back(accounts, &target->key.account);
		}
		count++;
	}
	return count > 0;
}

static void
target_check_account(struct pgbox_watch_target *target, uint64_t modseq)
{
	bool changed = target->modseq != 0 && target->modseq != modseq;

	target->modseq = modseq;
	if (changed)
		pgbox_watch_target_wake(target, TRUE);
}

void pgbox_watches_check_row(struct pgbox_watches *watches,
			     const struct pgbox_signal_state *state)
{
	const struct pgbox_watch_key key = {
		.mailbox_id = state->mailbox_id,
		.account = state->account,
	};
	struct pgbox_watch_target *target = pgbox_watch_target_find(watches, &key);

	if (target == NULL ||
	    (key.mailbox_id != 0 && state->modseq == 0)) {
		/* deleted: as if there were no row */
		return;
	}
	target->asked = FALSE;
	target->gone = FALSE;
	if (key.mailbox_id != 0)
		pgbox_watch_target_signal(target, state->modseq);
	else
		target_check_account(target, state->modseq);
}

void pgbox_watches_check_batch_end(struct pgbox_watches *watches)
{
	struct pgbox_watch_target *target;

	for (target = watches->targets_tail;
	     target != NULL && target->checked == watches->check;
	     target = target->prev) {
		if (!target->asked)
			continue;
		target->asked = FALSE;
		if (target->gone)
			continue;
		target->gone = TRUE;
		pgbox_watch_target_wake(target, TRUE);
	}
}

void pgbox_watches_forget(struct pgbox_watches *watches)
{
	struct pgbox_watch_target *target;

	for (target = watches->targets_head; target != NULL;
	     target = target->next) {
		if (target->key.mailbox_id != 0)
			continue;
		target->modseq = 0;
		pgbox_watch_target_wake(target, TRUE);
	}
}
