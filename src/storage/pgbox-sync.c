/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "ioloop.h"
#include "time-util.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-db-pull.h"
#include "pgbox-storage-error.h"
#include "pgbox-notify-client.h"
#include "pgbox-apply.h"
#include "pgbox-recent.h"
#include "pgbox-replica.h"
#include "pgbox-sync.h"

/* How often a pull is begun anew because another process of this node was
   quicker. */
#define PGBOX_SYNC_MAX_TRIES 10

/* An index that is behind by more UIDs than these isn't mended under an open
   session: each that is gone takes 20 bytes of the log. */
#define PGBOX_SYNC_MAX_NEW_UIDS 10000

/* Rows of a pull that may be in memory at once: some 200 bytes each. */
#define PGBOX_SYNC_MAX_SMALL_PULL 10000

/*
 * Pulls
 */

bool pgbox_sync_is_pull_small(struct pgbox_mailbox *mbox, uint64_t since)
{
	/* of a part it isn't known */
	return since == 0 && mbox->open_messages <= PGBOX_SYNC_MAX_SMALL_PULL;
}

/* Ask for what changed after since. Returns 1, or -1 with the mailbox's error
   set, for a mailbox that is gone too. */
static int
sync_pull_begin(struct pgbox_mailbox *mbox, uint64_t since,
		struct pgbox_pull **pull_r,
		struct pgbox_pull_counters *counters_r)
{
	struct pgbox_error error;
	int ret;

	ret = pgbox_pull_begin(mbox->conn, mbox->mailbox_id, since,
			       pgbox_keyword_last(mbox),
			       pgbox_sync_is_pull_small(mbox, since),
			       pull_r, counters_r, &error);
	if (ret < 0)
		pgbox_mailbox_set_error(&mbox->box, &error);
	else if (ret == 0) {
		mailbox_set_deleted(&mbox->box);
		ret = -1;
	}
	return ret;
}

bool pgbox_sync_is_other_mailbox(struct pgbox_mailbox *mbox,
				 const struct pgbox_pull_counters *counters)
{
	return counters->epoch != mbox->epoch ||
		counters->uidvalidity != mbox->uidvalidity;
}

static bool
sync_is_rebuild_needed(struct pgbox_mailbox *mbox, uint64_t since,
		       const struct pgbox_pull_counters *counters)
{
	return since == 0 || since > counters->highest_modseq ||
		pgbox_sync_is_other_mailbox(mbox, counters);
}

/* Tombstones that the index needs are pruned: only a look at all messages
   tells what is gone. */
static bool sync_is_pruned(uint64_t since,
			   const struct pgbox_pull_counters *counters)
{
	return since < counters->pruned_modseq;
}

/* A session is using the index, so it can't be rebuilt under it. */
static void sync_set_stale(struct pgbox_mailbox *mbox)
{
	e_warning(mbox->box.event, "pgbox: the local index was lost or is too "
		  "old to be brought up to date while it is open; the session "
		  "has to open the mailbox again");
	pgbox_sync_force_rebuild(mbox);
	mailbox_set_index_error(&mbox->box);
	pgbox_index_set_inconsistent(mbox);
}

/* UIDs that came since and aren't there are told as expunged, as another node
   may have shown them. That is a record of the log each. */
static bool
sync_has_many_new_uids(struct pgbox_index_lock *lock,
		       const struct pgbox_pull_counters *counters)
{
	const struct mail_index_header *hdr = mail_index_get_header(lock->view);

	return counters->uid_next > hdr->next_uid &&
		counters->uid_next - hdr->next_uid > PGBOX_SYNC_MAX_NEW_UIDS;
}

/* Compare every message with the database. Sessions may go on using the
   index: nothing is written but what differs. */
static int sync_compare_locked(struct pgbox_index_lock *lock)
{
	struct pgbox_pull_counters counters;
	struct pgbox_pull *pull;

	if (sync_pull_begin(lock->mbox, 0, &pull, &counters) < 0)
		return -1;
	if (pgbox_sync_is_other_mailbox(lock->mbox, &counters) ||
	    sync_has_many_new_uids(lock, &counters)) {
		pgbox_pull_end(&pull);
		sync_set_stale(lock->mbox);
		return -1;
	}
	return pgbox_pull_apply(lock, &pull, &counters, &pgbox_pull_unbounded,
				PGBOX_APPLY_COMPARE);
}

static int sync_compare(struct pgbox_mailbox *mbox)
{
	struct pgbox_index_lock lock;
	int ret;

	if (pgbox_index_lock(mbox, &lock) < 0)
		return -1;
	ret = sync_compare_locked(&lock);
	if (pgbox_index_unlock(&lock, ret == 0) < 0)
		ret = -1;
	return ret;
}

int pgbox_sync_pull_locked(struct pgbox_index_lock *lock,
			   const struct pgbox_pull_bounds *bounds)
{
	struct pgbox_pull_counters counters;
	struct pgbox_pull *pull;
	uint64_t since = lock->hdr.last_synced;

	i_assert(since != 0);

	if (sync_pull_begin(lock->mbox, since, &pull, &counters) < 0)
		return -1;
	if (sync_is_rebuild_needed(lock->mbox, since, &counters)) {
		pgbox_pull_end(&pull);
		pgbox_sync_force_rebuild(lock->mbox);
		mailbox_set_index_error(&lock->mbox->box);
		return -1;
	}
	if (sync_is_pruned(since, &counters)) {
		pgbox_pull_end(&pull);
		return sync_compare_locked(lock);
	}
	return pgbox_pull_apply(lock, &pull, &counters, bounds,
				PGBOX_APPLY_CHANGES) < 0 ? -1 : 1;
}

/* Apply what a pull brings, and end it. Returns as sync_try(). */
static int sync_apply(struct pgbox_mailbox *mbox, uint64_t since,
		      struct pgbox_pull **pull,
		      const struct pgbox_pull_counters *counters)
{
	struct pgbox_index_lock lock;
	int ret = 0;

	/* The rows wait in the socket while we wait for the lock: the
	   statement holds a snapshot, but no row locks. */
	if (pgbox_index_lock(mbox, &lock) < 0) {
		pgbox_pull_end(pull);
		return -1;
	}
	if (lock.hdr.last_synced != since)
		pgbox_pull_end(pull);
	else {
		ret = pgbox_pull_apply(&lock, pull, counters,
				       &pgbox_pull_unbounded,
				       PGBOX_APPLY_CHANGES) < 0 ? -1 : 1;
	}
	if (pgbox_index_unlock(&lock, ret > 0) < 0)
		ret = -1;
	return ret;
}

/* Returns 1 when done, 0 if the replica has nothing to say, or failed */
static int sync_try_replica(struct pgbox_mailbox *mbox, uint64_t since,
			    uint64_t open_modseq)
{
	struct pgbox_pull_counters counters;
	struct pgbox_pull *pull;
	int ret;

	if (pgbox_replica_pull_begin(mbox, since, open_modseq, &pull,
				     &counters) == 0)
		return 0;
	if (sync_is_pruned(since, &counters)) {
		pgbox_pull_end(&pull);
		return 0;
	}
	ret = sync_apply(mbox, since, &pull, &counters);
	if (ret < 0)
		pgbox_replica_pull_failed(mbox);
	return ret > 0 ? 1 : 0;
}

/* Returns 1 when done, 0 if another process was quicker, -1 on error */
static int sync_try(struct pgbox_mailbox *mbox, uint64_t since)
{
	struct pgbox_pull_counters counters;
	struct pgbox_pull *pull;

	if (sync_pull_begin(mbox, since, &pull, &counters) < 0)
		return -1;
	if (sync_is_rebuild_needed(mbox, since, &counters)) {
		pgbox_pull_end(&pull);
		sync_set_stale(mbox);
		return -1;
	}
	if (sync_is_pruned(since, &counters)) {
		pgbox_pull_end(&pull);
		return sync_compare(mbox) < 0 ? -1 : 1;
	}
	if (counters.highest_modseq == since) {
		pgbox_pull_end(&pull);
		return 1;
	}
	return sync_apply(mbox, since, &pull, &counters);
}

void pgbox_sync_set_current(struct pgbox_mailbox *mbox)
{
	mbox->current_time = ioloop_timeval;
}

static void sync_committed_over(struct pgbox_mailbox *mbox)
{
	timeout_remove(&mbox->to_committed);
}

void pgbox_sync_set_committed(struct pgbox_mailbox *mbox)
{
	pgbox_sync_set_current(mbox);
	if (mbox->to_committed == NULL && current_ioloop != NULL) {
		mbox->to_committed = timeout_add_to(io_loop_get_root(), 0,
						    sync_committed_over, mbox);
	}
}

void pgbox_sync_set_outdated(struct pgbox_mailbox *mbox)
{
	i_zero(&mbox->current_time);
	timeout_remove(&mbox->to_committed);
}

static bool sync_is_current(struct pgbox_mailbox *mbox)
{
	return mbox->current_time.tv_sec != 0 &&
		timeval_cmp(&mbox->current_time, &ioloop_timeval) == 0;
}

int pgbox_sync(struct pgbox_mailbox *mbox)
{
	struct pgbox_index_header hdr;
	unsigned int tries;
	uint64_t open_modseq = mbox->open_modseq;
	int ret = 0;

	mbox->open_modseq = 0;
	if (mbox->to_committed != NULL) {
		/* once: a program without turns, such as doveadm, looks again
		   the next time */
		sync_committed_over(mbox);
		pgbox_sync_set_current(mbox);
	}
	if (sync_is_current(mbox)) {
		(void)mail_index_refresh(mbox->box.index);
		return 0;
	}
	for (tries = 0; ret == 0 && tries < PGBOX_SYNC_MAX_TRIES; tries++) {
		pgbox_index_refresh_header(mbox, &hdr);
		if (hdr.last_synced != 0 && hdr.last_synced == open_modseq)
			return 0;
		if (hdr.last_synced == 0) {
			sync_set_stale(mbox);
			return -1;
		}
		if (mbox->watch != NULL &&
		    pgbox_notify_watch_is_current(mbox->watch,
						  hdr.last_synced))
			return 0;
		if (tries == 0 &&
		    pgbox_replica_want_pull(mbox, hdr.last_synced,
					    open_modseq))
			ret = sync_try_replica(mbox, hdr.last_synced,
					       open_modseq);
		else
			ret = sync_try(mbox, hdr.last_synced);
	}
	if (ret < 0)
		return -1;
	/* If always beaten by others: they brought it up to date, and not long
	   ago. */
	pgbox_sync_set_current(mbox);
	if (mbox->watch != NULL) {
		pgbox_index_refresh_header(mbox, &hdr);
		pgbox_notify_watch_looked(mbox->watch, hdr.last_synced);
	}
	return 0;
}

/*
 * Opening
 */

void pgbox_sync_force_rebuild(struct pgbox_mailbox *mbox)
{
	struct mail_index_transaction *trans;
	struct mail_index_view *view;

	view = mail_index_view_open(mbox->box.index);
	trans = mail_index_transaction_begin(view,
		MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
	pgbox_index_update_header(mbox, trans, 0);
	if (mail_index_transaction_commit(&trans) < 0)
		mailbox_set_index_error(&mbox->box);
	mail_index_view_close(&view);
}

static int sync_rebuild_locked(struct pgbox_index_lock *lock)
{
	struct pgbox_mailbox *mbox = lock->mbox;
	struct pgbox_pull_counters counters;
	struct pgbox_pull *pull;

	array_clear(&mbox->keyword_map);
	if (pgbox_replica_want_pull(mbox, 0, mbox->open_modseq) &&
	    pgbox_replica_pull_begin(mbox, 0, mbox->open_modseq, &pull,
				     &counters) > 0) {
		if (pgbox_pull_apply(lock, &pull, &counters,
				     &pgbox_pull_unbounded,
				     PGBOX_APPLY_RESET) == 0)
			return 0;
		pgbox_replica_pull_failed(mbox);
		array_clear(&mbox->keyword_map);
	}
	if (sync_pull_begin(mbox, 0, &pull, &counters) < 0)
		return -1;
	/* what is newer than the row that open() saw */
	mbox->epoch = counters.epoch;
	mbox->uidvalidity = counters.uidvalidity;
	return pgbox_pull_apply(lock, &pull, &counters, &pgbox_pull_unbounded,
				PGBOX_APPLY_RESET);
}

static int sync_rebuild(struct pgbox_mailbox *mbox)
{
	struct pgbox_index_lock lock;
	int ret;

	if (pgbox_index_lock(mbox, &lock) < 0)
		return -1;
	if (pgbox_index_is_exact(mbox, &lock.hdr)) {
		/* another process did it meanwhile */
		return pgbox_index_unlock(&lock, TRUE);
	}
	ret = sync_rebuild_locked(&lock);
	/* After a reset the index is read anew, not synced. */
	(void)pgbox_index_unlock(&lock, FALSE);
	return ret;
}

int pgbox_sync_open(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct pgbox_index_header hdr;

	pgbox_index_refresh_header(mbox, &hdr);
	if (pgbox_index_is_exact(mbox, &hdr))
		return 0;
	if (sync_rebuild(mbox) < 0)
		return -1;
	mail_index_view_close(&box->view);
	(void)mail_index_refresh(box->index);
	box->view = mail_index_view_open(box->index);
	return 0;
}

/*
 * \Recent
 */

static bool sync_want_recent(struct pgbox_mailbox *mbox)
{
	if ((mbox->box.flags & MAILBOX_FLAG_DROP_RECENT) == 0)
		return FALSE;
	/* A session that waits and was woken by the index's files, which wake
	   all of the node at once, asks the database for nothing: its turn to
	   look comes (pgbox_sync()), and then it claims what is left. */
	return mbox->watch == NULL || sync_is_current(mbox) ||
		pgbox_notify_watch_is_looking(mbox->watch);
}

/* Whatever the index holds, afterwards it is what the database has. */
static int sync_full(struct pgbox_mailbox *mbox)
{
	struct pgbox_index_header hdr;

	/* first what tombstones can tell, if there are any */
	pgbox_index_refresh_header(mbox, &hdr);
	if (hdr.last_synced != 0)
		(void)pgbox_sync(mbox);
	return sync_compare(mbox);
}

static int
sync_mailbox(struct pgbox_mailbox *mbox, enum mailbox_sync_flags flags)
{
	int ret;

	if ((flags & MAILBOX_SYNC_FLAG_FORCE_RESYNC) != 0)
		ret = sync_full(mbox);
	else
		ret = pgbox_sync(mbox);
	if (ret < 0)
		return -1;
	return sync_want_recent(mbox) ? pgbox_recent_assign(mbox) : 0;
}

static bool mail_error_is_passing(enum mail_error error)
{
	return error == MAIL_ERROR_UNAVAILABLE || error == MAIL_ERROR_INUSE ||
		error == MAIL_ERROR_TEMP;
}

/* The sync of one who waits has failed. If that is said, Dovecot's IDLE stops
   listening for good. So if the reason may pass, there is just nothing new
   until he is called again. */
static bool sync_waiter_can_wait(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;

	if (mbox->watch == NULL || mailbox_is_inconsistent(box) ||
	    !mail_error_is_passing(mailbox_get_last_mail_error(box)))
		return FALSE;
	pgbox_notify_watch_failed(mbox->watch);
	return TRUE;
}

struct mailbox_sync_context *
pgbox_mailbox_sync_init(struct mailbox *box, enum mailbox_sync_flags flags)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	bool waiter_called = mbox->waiter_called;
	int ret = 0;

	mbox->waiter_called = FALSE;
	if (!box->opened) {
		if (mailbox_open(box) < 0)
			ret = -1;
	}
	if (ret == 0 && !mbox->index_cold &&
	    index_mailbox_want_full_sync(box, flags)) {
		ret = sync_mailbox(mbox, flags);
		if (ret < 0 && waiter_called && sync_waiter_can_wait(mbox))
			ret = 0;
	}
	if (mbox->watch != NULL) {
		/* Most probably the session is in IDLE, of which there may be
		   many: they are told when there is something to ask. */
		pgbox_conn_release_soon(mbox->conn);
	}
	return index_mailbox_sync_init(box, flags, ret < 0);
}
