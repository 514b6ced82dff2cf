/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* How a pull that ends at modseq M is written, so that local modseqs equal the
   database's and no reader of the log is ever misled (H is half a step; no
   modseq of the database lies between M - H and M):

   without expunges: one transaction; messages are pinned to their modseqs, the
   log and last_synced end at M.

   with expunges: T1 appends and changes messages, pinned to at most M - H. T2
   raises the log to M - 1 and expunges, which counts one: M; then it pins what
   changed at M. T3 sets last_synced. A session that syncs its view between
   them sees either at most M - H, with the changes it needs for that, or M
   with everything. A crash between them is healed by the next pull, which
   begins at the old last_synced and finds its work partly done. */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "ioloop.h"
#include "mail-index-modseq.h"
#include "mailbox-recent-flags.h"
#include "index-sync-private.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-db-pull.h"
#include "pgbox-storage-error.h"
#include "pgbox-sync.h"

/* How often a pull is begun anew because another process of this node was
   quicker. */
#define PGBOX_SYNC_MAX_TRIES 10

struct pgbox_sync_ctx {
	struct pgbox_mailbox *mbox;
	struct pgbox_index_lock *lock;
	struct mail_index_view *view;
	struct mail_index_transaction *trans;
	const struct pgbox_pull_bounds *bounds;
	struct pgbox_pull_counters counters;

	/* the modseq that this pull brings the index to */
	uint64_t target;
	/* messages are pinned no higher than this */
	uint64_t pin_max;
	/* UIDs below are in the index or gone for good */
	uint32_t next_uid;
	/* the index is made from nothing: modseqs of the messages */
	buffer_t *modseqs;
	/* all messages come: what doesn't is expunged */
	bool full;
	uint32_t full_next_seq;

	ARRAY_TYPE(seq_range) expunged_uids;
	/* changed at target itself */
	ARRAY_TYPE(seq_range) target_uids;
	struct mail_keywords *keywords;
	ARRAY_TYPE(keyword_indexes) keyword_indexes;
	bool broken;
};

const struct pgbox_pull_bounds pgbox_pull_unbounded = {
	.until = UINT64_MAX,
	.uid_limit = UINT32_MAX,
};

/*
 * Keywords
 */

bool pgbox_sync_keyword_index(struct pgbox_mailbox *mbox, unsigned int number,
			      unsigned int *idx_r)
{
	if (number >= array_count(&mbox->keyword_map))
		return FALSE;
	*idx_r = *array_idx(&mbox->keyword_map, number);
	return *idx_r != UINT_MAX;
}

static unsigned int sync_last_keyword(struct pgbox_mailbox *mbox)
{
	unsigned int count = array_count(&mbox->keyword_map);

	return count == 0 ? 0 : count - 1;
}

static void
sync_add_keyword(struct pgbox_mailbox *mbox, unsigned int number,
		 const char *name)
{
	const unsigned int gap = UINT_MAX;
	unsigned int idx;

	mail_index_keyword_lookup_or_create(mbox->box.index, name, &idx);
	while (array_count(&mbox->keyword_map) < number)
		array_push_back(&mbox->keyword_map, &gap);
	array_idx_set(&mbox->keyword_map, number, &idx);
}

static void
sync_row_keywords(struct pgbox_sync_ctx *ctx, const struct pgbox_pull_row *row)
{
	unsigned int i, idx;

	array_clear(&ctx->keyword_indexes);
	for (i = 0; i < row->keywords_count; i++) {
		if (pgbox_sync_keyword_index(ctx->mbox, row->keywords[i], &idx))
			array_push_back(&ctx->keyword_indexes, &idx);
		else
			ctx->broken = TRUE;
	}
}

static void sync_set_keywords(struct pgbox_sync_ctx *ctx, uint32_t seq)
{
	/* most rows of a pull have the same keywords as the one before */
	if (ctx->keywords == NULL ||
	    ctx->keywords->count != array_count(&ctx->keyword_indexes) ||
	    memcmp(ctx->keywords->idx, array_front(&ctx->keyword_indexes),
		   sizeof(unsigned int) * ctx->keywords->count) != 0) {
		if (ctx->keywords != NULL)
			mail_index_keywords_unref(&ctx->keywords);
		ctx->keywords = mail_index_keywords_create_from_indexes(
			ctx->mbox->box.index, &ctx->keyword_indexes);
	}
	mail_index_update_keywords(ctx->trans, seq, MODIFY_REPLACE,
				   ctx->keywords);
}

/*
 * Rows
 */

static void
sync_pin(struct pgbox_sync_ctx *ctx, uint32_t seq,
	 const struct pgbox_pull_row *row)
{
	if (ctx->modseqs != NULL) {
		pgbox_index_modseqs_add(ctx->modseqs, row->uid, row->modseq);
		return;
	}
	mail_index_update_modseq(ctx->trans, seq,
				 I_MIN(row->modseq, ctx->pin_max));
	if (row->modseq > ctx->pin_max && row->modseq <= ctx->target)
		seq_range_array_add(&ctx->target_uids, row->uid);
}

static void
sync_append(struct pgbox_sync_ctx *ctx, const struct pgbox_pull_row *row)
{
	uint32_t seq;

	mail_index_append(ctx->trans, row->uid, &seq);
	mail_index_update_flags(ctx->trans, seq, MODIFY_REPLACE, row->flags);
	if (row->keywords_count > 0)
		sync_set_keywords(ctx, seq);
	sync_pin(ctx, seq, row);
	ctx->next_uid = row->uid + 1;
}

static void
sync_update(struct pgbox_sync_ctx *ctx, uint32_t seq,
	    const struct pgbox_pull_row *row)
{
	const struct mail_index_record *rec = mail_index_lookup(ctx->view, seq);
	ARRAY_TYPE(keyword_indexes) old;

	if ((rec->flags & MAIL_FLAGS_NONRECENT) != row->flags) {
		mail_index_update_flags(ctx->trans, seq, MODIFY_REPLACE,
					row->flags);
	}
	t_array_init(&old, 32);
	mail_index_lookup_keywords(ctx->view, seq, &old);
	if (!index_keyword_array_cmp(&old, &ctx->keyword_indexes))
		sync_set_keywords(ctx, seq);
	sync_pin(ctx, seq, row);
}

/* In a full pull every message of the index that isn't among the rows is to
   go. */
static void sync_full_skip_to(struct pgbox_sync_ctx *ctx, uint32_t uid)
{
	uint32_t seq_uid, count = mail_index_view_get_messages_count(ctx->view);

	for (; ctx->full_next_seq <= count; ctx->full_next_seq++) {
		mail_index_lookup_uid(ctx->view, ctx->full_next_seq, &seq_uid);
		if (seq_uid >= uid) {
			if (seq_uid == uid)
				ctx->full_next_seq++;
			return;
		}
		seq_range_array_add(&ctx->expunged_uids, seq_uid);
	}
}

static void
sync_changed(struct pgbox_sync_ctx *ctx, const struct pgbox_pull_row *row)
{
	uint32_t seq;

	if (row->modseq > ctx->bounds->until &&
	    (row->uid < ctx->next_uid || row->uid >= ctx->bounds->uid_limit)) {
		/* comes with a later pull */
		return;
	}
	if (ctx->full)
		sync_full_skip_to(ctx, row->uid);
	sync_row_keywords(ctx, row);
	if (row->uid >= ctx->next_uid)
		sync_append(ctx, row);
	else if (mail_index_lookup_seq(ctx->view, row->uid, &seq))
		sync_update(ctx, seq, row);
	else
		ctx->broken = TRUE;
}

static void
sync_expunged(struct pgbox_sync_ctx *ctx, const struct pgbox_pull_row *row)
{
	uint32_t seq;

	if (row->uid >= ctx->next_uid) {
		/* born and gone between two pulls. A client may have seen it
		   on another node: the log must tell. */
		if (row->uid < ctx->bounds->uid_limit) {
			seq_range_array_add(&ctx->expunged_uids, row->uid);
			ctx->next_uid = row->uid + 1;
		}
	} else if (row->modseq <= ctx->bounds->until &&
		   mail_index_lookup_seq(ctx->view, row->uid, &seq)) {
		seq_range_array_add(&ctx->expunged_uids, row->uid);
	}
}

static int
sync_rows(struct pgbox_sync_ctx *ctx, struct pgbox_pull *pull,
	  struct pgbox_error *error_r)
{
	struct pgbox_pull_row row;
	int ret;

	while ((ret = pgbox_pull_next(pull, &row, error_r)) > 0) T_BEGIN {
		switch (row.kind) {
		case PGBOX_PULL_CHANGED:
			sync_changed(ctx, &row);
			break;
		case PGBOX_PULL_EXPUNGED:
			sync_expunged(ctx, &row);
			break;
		case PGBOX_PULL_KEYWORD:
			sync_add_keyword(ctx->mbox, row.keyword_number,
					 row.keyword_name);
			break;
		}
	} T_END;
	if (ret == 0 && ctx->full)
		sync_full_skip_to(ctx, UINT32_MAX);
	return ret;
}

/*
 * Writing
 */

static void sync_update_counters(struct pgbox_sync_ctx *ctx)
{
	const struct mail_index_header *hdr = mail_index_get_header(ctx->view);
	uint32_t uid_next = I_MIN(ctx->counters.uid_next,
				  ctx->bounds->uid_limit);
	uint32_t first_recent = I_MIN(ctx->counters.first_recent_uid, uid_next);

	uid_next = I_MAX(uid_next, ctx->next_uid);
	if (hdr->next_uid < uid_next) {
		mail_index_update_header(ctx->trans,
			offsetof(struct mail_index_header, next_uid),
			&uid_next, sizeof(uid_next), FALSE);
	}
	if (hdr->first_recent_uid < first_recent) {
		mail_index_update_header(ctx->trans,
			offsetof(struct mail_index_header, first_recent_uid),
			&first_recent, sizeof(first_recent), FALSE);
	}
}

static int sync_write(struct pgbox_sync_ctx *ctx)
{
	sync_update_counters(ctx);
	if (array_count(&ctx->expunged_uids) > 0 ||
	    array_count(&ctx->target_uids) > 0) {
		if (mail_index_transaction_commit(&ctx->trans) < 0 ||
		    pgbox_index_log_changes(ctx->lock, ctx->target,
					     &ctx->expunged_uids,
					     &ctx->target_uids) < 0)
			return -1;
		ctx->trans = mail_index_transaction_begin(ctx->view,
			MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
	}
	mail_index_update_highest_modseq(ctx->trans, ctx->target);
	if (ctx->modseqs == NULL) {
		pgbox_index_update_header(ctx->mbox, ctx->trans, ctx->target);
		if (mail_index_transaction_commit(&ctx->trans) < 0)
			return -1;
	} else {
		if (mail_index_transaction_commit(&ctx->trans) < 0 ||
		    pgbox_index_reset_finish(ctx->lock, ctx->target,
					     ctx->modseqs) < 0)
			return -1;
	}
	ctx->lock->hdr.last_synced = ctx->target;
	return 0;
}

static void
sync_ctx_init(struct pgbox_sync_ctx *ctx, struct pgbox_index_lock *lock,
	      const struct pgbox_pull_counters *counters,
	      const struct pgbox_pull_bounds *bounds, bool reset, bool full)
{
	bool expunges = counters->have_expunges || full;

	i_zero(ctx);
	ctx->mbox = lock->mbox;
	ctx->lock = lock;
	ctx->bounds = bounds;
	ctx->counters = *counters;
	ctx->target = I_MIN(counters->highest_modseq, bounds->until);
	ctx->pin_max = expunges ? ctx->target - PGBOX_MODSEQ_HALF :
		UINT64_MAX;
	ctx->full = full;
	ctx->full_next_seq = 1;
	i_array_init(&ctx->expunged_uids, 32);
	i_array_init(&ctx->target_uids, 32);
	i_array_init(&ctx->keyword_indexes, 32);
	ctx->view = mail_index_view_open(lock->mbox->box.index);
	if (reset) {
		ctx->trans = pgbox_index_reset_begin(lock, ctx->view,
						     ctx->target,
						     counters->uidvalidity);
		ctx->modseqs = buffer_create_dynamic(default_pool, 1024);
		ctx->next_uid = 1;
	} else {
		ctx->trans = mail_index_transaction_begin(ctx->view,
			MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
		ctx->next_uid = mail_index_get_header(ctx->view)->next_uid;
	}
}

static void sync_ctx_deinit(struct pgbox_sync_ctx *ctx)
{
	if (ctx->trans != NULL)
		mail_index_transaction_rollback(&ctx->trans);
	if (ctx->keywords != NULL)
		mail_index_keywords_unref(&ctx->keywords);
	mail_index_view_close(&ctx->view);
	buffer_free(&ctx->modseqs);
	array_free(&ctx->expunged_uids);
	array_free(&ctx->target_uids);
	array_free(&ctx->keyword_indexes);
}

/* Write what the pull brings. It is ended in any case. */
static int
sync_apply(struct pgbox_index_lock *lock, struct pgbox_pull **pull,
	   const struct pgbox_pull_counters *counters,
	   const struct pgbox_pull_bounds *bounds, bool reset, bool full)
{
	struct pgbox_mailbox *mbox = lock->mbox;
	struct pgbox_sync_ctx ctx;
	struct pgbox_error error;
	int ret;

	sync_ctx_init(&ctx, lock, counters, bounds, reset, full);
	ret = sync_rows(&ctx, *pull, &error);
	pgbox_pull_end(pull);
	if (ret < 0)
		pgbox_mailbox_set_error(&mbox->box, &error);
	else if (ctx.broken) {
		mailbox_set_critical(&mbox->box,
			"pgbox: the local index doesn't fit the database; "
			"it will be rebuilt");
		pgbox_sync_force_rebuild(mbox);
		ret = -1;
	} else if (sync_write(&ctx) < 0) {
		mailbox_set_index_error(&mbox->box);
		ret = -1;
	}
	sync_ctx_deinit(&ctx);
	return ret;
}

/*
 * Pulls
 */

/* Ask for what changed after since. Returns 1, or -1 with the mailbox's error
   set, for a mailbox that is gone too. */
static int
sync_pull_begin(struct pgbox_mailbox *mbox, uint64_t since,
		struct pgbox_pull **pull_r,
		struct pgbox_pull_counters *counters_r)
{
	struct pgbox_error error;
	int ret;

	ret = pgbox_pull_begin(mbox->storage->conn, mbox->mailbox_id, since,
			       sync_last_keyword(mbox), pull_r, counters_r,
			       &error);
	if (ret < 0)
		pgbox_mailbox_set_error(&mbox->box, &error);
	else if (ret == 0) {
		mailbox_set_deleted(&mbox->box);
		ret = -1;
	}
	return ret;
}

static bool
sync_is_rebuild_needed(struct pgbox_mailbox *mbox, uint64_t since,
		       const struct pgbox_pull_counters *counters)
{
	return since == 0 || since < counters->pruned_modseq ||
		since > counters->highest_modseq ||
		counters->epoch != mbox->epoch ||
		counters->uidvalidity != mbox->uidvalidity;
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
	return sync_apply(lock, &pull, &counters, bounds, FALSE, FALSE);
}

/* A session is using the index, so it can't be rebuilt under it. */
static void sync_set_stale(struct pgbox_mailbox *mbox)
{
	e_warning(mbox->box.event, "pgbox: the local index was lost or is too "
		  "old to be brought up to date while it is open; the session "
		  "has to open the mailbox again");
	pgbox_sync_force_rebuild(mbox);
	mailbox_set_index_error(&mbox->box);
}

/* Returns 1 when done, 0 if another process was quicker, -1 on error */
static int sync_try(struct pgbox_mailbox *mbox, uint64_t since)
{
	struct pgbox_pull_counters counters;
	struct pgbox_index_lock lock;
	struct pgbox_pull *pull;
	int ret;

	if (sync_pull_begin(mbox, since, &pull, &counters) < 0)
		return -1;
	if (sync_is_rebuild_needed(mbox, since, &counters)) {
		pgbox_pull_end(&pull);
		sync_set_stale(mbox);
		return -1;
	}
	if (counters.highest_modseq == since) {
		pgbox_pull_end(&pull);
		return 1;
	}
	/* The rows wait in the socket while we wait for the lock: the
	   statement holds a snapshot, but no row locks. */
	if (pgbox_index_lock(mbox, &lock) < 0) {
		pgbox_pull_end(&pull);
		return -1;
	}
	if (lock.hdr.last_synced != since) {
		pgbox_pull_end(&pull);
		ret = 0;
	} else {
		ret = sync_apply(&lock, &pull, &counters,
				 &pgbox_pull_unbounded, FALSE, FALSE) < 0 ?
			-1 : 1;
	}
	if (pgbox_index_unlock(&lock, ret > 0) < 0)
		ret = -1;
	return ret;
}

int pgbox_sync(struct pgbox_mailbox *mbox)
{
	struct pgbox_index_header hdr;
	unsigned int tries;
	uint64_t open_modseq = mbox->open_modseq;
	int ret = 0;

	mbox->open_modseq = 0;
	for (tries = 0; ret == 0 && tries < PGBOX_SYNC_MAX_TRIES; tries++) {
		pgbox_index_refresh_header(mbox, &hdr);
		if (hdr.last_synced != 0 && hdr.last_synced == open_modseq)
			return 0;
		if (hdr.last_synced == 0) {
			sync_set_stale(mbox);
			return -1;
		}
		ret = sync_try(mbox, hdr.last_synced);
	}
	/* Always beaten by others: they brought it up to date, and not long
	   ago. */
	return ret < 0 ? -1 : 0;
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

static int sync_rebuild(struct pgbox_mailbox *mbox)
{
	struct pgbox_pull_counters counters;
	struct pgbox_index_lock lock;
	struct pgbox_pull *pull;
	int ret;

	if (pgbox_index_lock(mbox, &lock) < 0)
		return -1;
	if (lock.hdr.last_synced != 0) {
		/* another process did it meanwhile */
		return pgbox_index_unlock(&lock, TRUE);
	}
	array_clear(&mbox->keyword_map);
	ret = sync_pull_begin(mbox, 0, &pull, &counters);
	if (ret > 0) {
		/* what is newer than the row that open() saw */
		mbox->epoch = counters.epoch;
		mbox->uidvalidity = counters.uidvalidity;
		ret = sync_apply(&lock, &pull, &counters,
				 &pgbox_pull_unbounded, TRUE, FALSE);
	}
	/* After a reset the index is read anew, not synced. */
	(void)pgbox_index_unlock(&lock, FALSE);
	return ret;
}

int pgbox_sync_open(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct pgbox_index_header hdr;

	pgbox_index_refresh_header(mbox, &hdr);
	if (hdr.last_synced != 0)
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
	return (mbox->box.flags & MAILBOX_FLAG_DROP_RECENT) != 0;
}

/* The messages from first_recent_uid on are shown as \Recent to the first
   session that asks, on whatever node. */
static int sync_claim_recent(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct mail_index_transaction *trans;
	const struct mail_index_header *hdr;
	struct mail_index_view *view;
	struct pgbox_error error;
	uint32_t first_uid, seq1, seq2, next_uid;
	int ret = 0;

	view = mail_index_view_open(box->index);
	hdr = mail_index_get_header(view);
	next_uid = hdr->next_uid;
	if (hdr->first_recent_uid < next_uid) {
		ret = pgbox_recent_claim(mbox->storage->conn, mbox->mailbox_id,
					 next_uid, &first_uid, &error);
		if (ret < 0)
			pgbox_mailbox_set_error(box, &error);
		else if (first_uid < next_uid &&
			 mail_index_lookup_seq_range(view, first_uid,
						     next_uid - 1,
						     &seq1, &seq2)) {
			mailbox_recent_flags_set_seqs(box, view, seq1, seq2);
		}
	}
	if (ret == 0 && hdr->first_recent_uid < next_uid) {
		trans = mail_index_transaction_begin(view,
			MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
		mail_index_update_header(trans,
			offsetof(struct mail_index_header, first_recent_uid),
			&next_uid, sizeof(next_uid), FALSE);
		if (mail_index_transaction_commit(&trans) < 0)
			mailbox_set_index_error(box);
	}
	mail_index_view_close(&view);
	return ret;
}

/* Compare every message with the database. Sessions may go on using the
   index: nothing is written but what differs. */
static int sync_full(struct pgbox_mailbox *mbox)
{
	struct pgbox_pull_counters counters;
	struct pgbox_index_lock lock;
	struct pgbox_pull *pull;
	int ret;

	if (pgbox_index_lock(mbox, &lock) < 0)
		return -1;
	ret = sync_pull_begin(mbox, 0, &pull, &counters);
	if (ret > 0) {
		ret = sync_apply(&lock, &pull, &counters,
				 &pgbox_pull_unbounded, FALSE, TRUE);
	}
	if (pgbox_index_unlock(&lock, ret == 0) < 0)
		ret = -1;
	return ret;
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
	return sync_want_recent(mbox) ? sync_claim_recent(mbox) : 0;
}

struct mailbox_sync_context *
pgbox_mailbox_sync_init(struct mailbox *box, enum mailbox_sync_flags flags)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	int ret = 0;

	if (!box->opened) {
		if (mailbox_open(box) < 0)
			ret = -1;
	}
	if (ret == 0 && !mbox->index_cold &&
	    index_mailbox_want_full_sync(box, flags))
		ret = sync_mailbox(mbox, flags);
	return index_mailbox_sync_init(box, flags, ret < 0);
}
