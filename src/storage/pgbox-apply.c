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
#include "pgbox-apply.h"

struct apply_ctx {
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

bool pgbox_keyword_index(struct pgbox_mailbox *mbox, unsigned int number,
			      unsigned int *idx_r)
{
	if (number >= array_count(&mbox->keyword_map))
		return FALSE;
	*idx_r = *array_idx(&mbox->keyword_map, number);
	return *idx_r != UINT_MAX;
}

unsigned int pgbox_keyword_last(struct pgbox_mailbox *mbox)
{
	unsigned int count = array_count(&mbox->keyword_map);

	return count == 0 ? 0 : count - 1;
}

static void
apply_add_keyword(struct pgbox_mailbox *mbox, unsigned int number,
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
apply_row_keywords(struct apply_ctx *ctx, const struct pgbox_pull_row *row)
{
	unsigned int i, idx;

	array_clear(&ctx->keyword_indexes);
	for (i = 0; i < row->keywords_count; i++) {
		if (pgbox_keyword_index(ctx->mbox, row->keywords[i], &idx))
			array_push_back(&ctx->keyword_indexes, &idx);
		else
			ctx->broken = TRUE;
	}
}

static void apply_set_keywords(struct apply_ctx *ctx, uint32_t seq)
{
	const unsigned int *indexes;
	unsigned int count;

	/* most rows of a pull have the same keywords as the one before */
	indexes = array_get(&ctx->keyword_indexes, &count);
	if (ctx->keywords == NULL || ctx->keywords->count != count ||
	    (count > 0 && memcmp(ctx->keywords->idx, indexes,
				 sizeof(*indexes) * count) != 0)) {
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
apply_pin(struct apply_ctx *ctx, uint32_t seq,
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

/* All messages come, but no tombstones: what isn't among them is gone, and a
   client may have seen it on another node. */
static void apply_full_gap(struct apply_ctx *ctx, uint32_t uid)
{
	if (ctx->next_uid < uid) {
		seq_range_array_add_range(&ctx->expunged_uids, ctx->next_uid,
					  uid - 1);
		ctx->next_uid = uid;
	}
}

static void
apply_append(struct apply_ctx *ctx, const struct pgbox_pull_row *row)
{
	uint32_t seq;

	if (ctx->full)
		apply_full_gap(ctx, row->uid);
	mail_index_append(ctx->trans, row->uid, &seq);
	mail_index_update_flags(ctx->trans, seq, MODIFY_REPLACE, row->flags);
	if (row->keywords_count > 0)
		apply_set_keywords(ctx, seq);
	apply_pin(ctx, seq, row);
	ctx->next_uid = row->uid + 1;
}

static void
apply_update(struct apply_ctx *ctx, uint32_t seq,
	    const struct pgbox_pull_row *row)
{
	const struct mail_index_record *rec = mail_index_lookup(ctx->view, seq);
	ARRAY_TYPE(keyword_indexes) old;
	bool changed = FALSE;

	if ((rec->flags & MAIL_FLAGS_NONRECENT) != row->flags) {
		mail_index_update_flags(ctx->trans, seq, MODIFY_REPLACE,
					row->flags);
		changed = TRUE;
	}
	t_array_init(&old, 32);
	mail_index_lookup_keywords(ctx->view, seq, &old);
	if (!index_keyword_array_cmp(&old, &ctx->keyword_indexes)) {
		apply_set_keywords(ctx, seq);
		changed = TRUE;
	}
	if (!changed && row->modseq > mail_index_modseq_lookup(ctx->view, seq)) {
		/* Set and unset since the last pull. Sessions with CONDSTORE
		   have to hear of the modseq; a pin alone tells nobody. */
		mail_index_update_flags(ctx->trans, seq, MODIFY_ADD,
			(enum mail_flags)MAIL_INDEX_MAIL_FLAG_UPDATE_MODSEQ);
	}
	apply_pin(ctx, seq, row);
}

/* In a full pull every message of the index that isn't among the rows is to
   go. */
static void apply_full_skip_to(struct apply_ctx *ctx, uint32_t uid)
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
apply_changed(struct apply_ctx *ctx, const struct pgbox_pull_row *row)
{
	uint32_t seq;

	if (row->modseq > ctx->bounds->until &&
	    (row->uid < ctx->next_uid || row->uid >= ctx->bounds->uid_limit)) {
		/* comes with a later pull */
		return;
	}
	if (ctx->full)
		apply_full_skip_to(ctx, row->uid);
	apply_row_keywords(ctx, row);
	if (row->uid >= ctx->next_uid)
		apply_append(ctx, row);
	else if (mail_index_lookup_seq(ctx->view, row->uid, &seq))
		apply_update(ctx, seq, row);
	else
		ctx->broken = TRUE;
}

static void
apply_expunged(struct apply_ctx *ctx, const struct pgbox_pull_row *row)
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
apply_rows(struct apply_ctx *ctx, struct pgbox_pull *pull,
	  struct pgbox_error *error_r)
{
	struct pgbox_pull_row row;
	int ret;

	while ((ret = pgbox_pull_next(pull, &row, error_r)) > 0) T_BEGIN {
		switch (row.kind) {
		case PGBOX_PULL_CHANGED:
			apply_changed(ctx, &row);
			break;
		case PGBOX_PULL_EXPUNGED:
			apply_expunged(ctx, &row);
			break;
		case PGBOX_PULL_KEYWORD:
			apply_add_keyword(ctx->mbox, row.keyword_number,
					 row.keyword_name);
			break;
		}
	} T_END;
	if (ret == 0 && ctx->full) {
		apply_full_skip_to(ctx, UINT32_MAX);
		apply_full_gap(ctx, ctx->counters.uid_next);
	}
	return ret;
}

/*
 * Writing
 */

static void apply_update_counters(struct apply_ctx *ctx)
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

static int apply_write(struct apply_ctx *ctx)
{
	apply_update_counters(ctx);
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
apply_init(struct apply_ctx *ctx, struct pgbox_index_lock *lock,
	      const struct pgbox_pull_counters *counters,
	      const struct pgbox_pull_bounds *bounds, enum pgbox_apply_mode mode)
{
	bool full = mode == PGBOX_APPLY_COMPARE;
	bool expunges = counters->have_expunges || full;

	i_zero(ctx);
	ctx->mbox = lock->mbox;
	ctx->lock = lock;
	ctx->bounds = bounds;
	ctx->counters = *counters;
	ctx->target = I_MIN(counters->highest_modseq, bounds->until);
	/* messages that came along from above target, too */
	ctx->pin_max = expunges ? ctx->target - PGBOX_MODSEQ_HALF :
		ctx->target;
	ctx->full = full;
	ctx->full_next_seq = 1;
	i_array_init(&ctx->expunged_uids, 32);
	i_array_init(&ctx->target_uids, 32);
	i_array_init(&ctx->keyword_indexes, 32);
	ctx->view = mail_index_view_open(lock->mbox->box.index);
	if (mode == PGBOX_APPLY_RESET) {
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

static void apply_deinit(struct apply_ctx *ctx)
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

int pgbox_pull_apply(struct pgbox_index_lock *lock, struct pgbox_pull **pull,
		     const struct pgbox_pull_counters *counters,
		     const struct pgbox_pull_bounds *bounds,
		     enum pgbox_apply_mode mode)
{
	struct pgbox_mailbox *mbox = lock->mbox;
	struct apply_ctx ctx;
	struct pgbox_error error;
	int ret;

	apply_init(&ctx, lock, counters, bounds, mode);
	ret = apply_rows(&ctx, *pull, &error);
	pgbox_pull_end(pull);
	if (ret < 0)
		pgbox_mailbox_set_error(&mbox->box, &error);
	else if (ctx.broken) {
		mailbox_set_critical(&mbox->box,
			"pgbox: the local index doesn't fit the database; "
			"it will be rebuilt");
		pgbox_sync_force_rebuild(mbox);
		ret = -1;
	} else if (apply_write(&ctx) < 0) {
		mailbox_set_index_error(&mbox->box);
		ret = -1;
	}
	apply_deinit(&ctx);
	return ret;
}
