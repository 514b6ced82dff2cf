/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "str.h"
#include "hash.h"
#include "mail-index-private.h"
#include "mail-index-transaction-private.h"
#include "pgbox-commit.h"
#include "pgbox-upload.h"
#include "pgbox-apply.h"
#include "pgbox-changes.h"

#define PGBOX_FLAGS MAIL_FLAGS_NONRECENT

struct changes_ctx {
	struct pgbox_changes *changes;
	struct pgbox_transaction *pt;
	struct mail_index_transaction *itrans;
	const char *const *keyword_names;
	/* text of an operation -> its position in changes->ops + 1 */
	HASH_TABLE(char *, void *) op_by_text;
};

/*
 * Reading the transaction
 */

/* Sequences at which a range of anything begins or has just ended. Between
   two of them every message has the same operation. */
static void
changes_add_bounds(ARRAY_TYPE(uint32_t) *bounds,
		   const ARRAY_TYPE(seq_range) *ranges)
{
	const struct seq_range *range;
	uint32_t end;

	if (!array_is_created(ranges))
		return;
	array_foreach(ranges, range) {
		end = range->seq2 + 1;
		array_push_back(bounds, &range->seq1);
		array_push_back(bounds, &end);
	}
}

static int uint32_cmp(const uint32_t *a, const uint32_t *b)
{
	return *a < *b ? -1 : (*a > *b ? 1 : 0);
}

static void
changes_get_bounds(struct changes_ctx *ctx, ARRAY_TYPE(uint32_t) *bounds)
{
	const struct mail_index_transaction_keyword_update *kw;
	const struct mail_index_flag_update *update;
	uint32_t end;

	if (array_is_created(&ctx->itrans->updates)) {
		array_foreach(&ctx->itrans->updates, update) {
			end = update->uid2 + 1;
			array_push_back(bounds, &update->uid1);
			array_push_back(bounds, &end);
		}
	}
	if (array_is_created(&ctx->itrans->keyword_updates)) {
		array_foreach(&ctx->itrans->keyword_updates, kw) {
			changes_add_bounds(bounds, &kw->add_seq);
			changes_add_bounds(bounds, &kw->remove_seq);
		}
	}
	changes_add_bounds(bounds, &ctx->pt->keywords_replaced);
	array_sort(bounds, uint32_cmp);
}

static const struct mail_index_flag_update *
changes_find_flags(struct changes_ctx *ctx, uint32_t seq)
{
	const struct mail_index_flag_update *updates;
	unsigned int count, left = 0, right, idx;

	if (!array_is_created(&ctx->itrans->updates))
		return NULL;
	updates = array_get(&ctx->itrans->updates, &count);
	right = count;
	while (left < right) {
		idx = (left + right) / 2;
		if (updates[idx].uid2 < seq)
			left = idx + 1;
		else if (updates[idx].uid1 > seq)
			right = idx;
		else
			return &updates[idx];
	}
	return NULL;
}

static void
changes_append_keywords(struct mail_index_transaction *itrans,
			const char *const *names, uint32_t seq, bool added,
			string_t *dest)
{
	const struct mail_index_transaction_keyword_update *kw;
	const ARRAY_TYPE(seq_range) *seqs;
	unsigned int i, count;

	if (!array_is_created(&itrans->keyword_updates))
		return;
	kw = array_get(&itrans->keyword_updates, &count);
	for (i = 0; i < count; i++) {
		seqs = added ? &kw[i].add_seq : &kw[i].remove_seq;
		if (!array_is_created(seqs) || !seq_range_exists(seqs, seq))
			continue;
		if (str_len(dest) > 0)
			str_append_c(dest, ' ');
		str_append(dest, names[i]);
	}
}

static struct pgbox_store_op *
changes_get_op(struct changes_ctx *ctx, const struct pgbox_store_op *op)
{
	struct pgbox_changes *changes = ctx->changes;
	struct pgbox_store_op *new_op;
	const char *text;
	void *pos;

	text = t_strdup_printf("%u %u %d +%s -%s", op->add_flags,
			       op->remove_flags, op->replace_keywords ? 1 : 0,
			       op->add_keywords, op->remove_keywords);
	pos = hash_table_lookup(ctx->op_by_text, text);
	if (pos != NULL) {
		return array_idx_modifiable(&changes->ops,
					    POINTER_CAST_TO(pos, unsigned int) - 1);
	}
	new_op = array_append_space(&changes->ops);
	*new_op = *op;
	new_op->add_keywords = p_strdup(changes->pool, op->add_keywords);
	new_op->remove_keywords = p_strdup(changes->pool, op->remove_keywords);
	i_array_init(&new_op->uids, 32);
	hash_table_insert(ctx->op_by_text, p_strdup(changes->pool, text),
			  POINTER_CAST(array_count(&changes->ops)));
	return new_op;
}

static void
changes_add_range(struct changes_ctx *ctx, uint32_t seq1, uint32_t seq2)
{
	const struct mail_index_flag_update *update;
	string_t *add = t_str_new(128), *remove = t_str_new(128);
	struct pgbox_store_op op, *dest;
	uint32_t uid;

	i_zero(&op);
	update = changes_find_flags(ctx, seq1);
	if (update != NULL) {
		op.add_flags = update->add_flags & PGBOX_FLAGS;
		op.remove_flags = update->remove_flags & PGBOX_FLAGS;
	}
	op.replace_keywords = array_is_created(&ctx->pt->keywords_replaced) &&
		seq_range_exists(&ctx->pt->keywords_replaced, seq1);
	changes_append_keywords(ctx->itrans, ctx->keyword_names, seq1, TRUE,
				add);
	changes_append_keywords(ctx->itrans, ctx->keyword_names, seq1, FALSE,
				remove);
	op.add_keywords = str_c(add);
	op.remove_keywords = str_c(remove);
	if (op.add_flags == 0 && op.remove_flags == 0 &&
	    !op.replace_keywords && str_len(add) == 0 && str_len(remove) == 0)
		return;

	dest = changes_get_op(ctx, &op);
	for (; seq1 <= seq2; seq1++) {
		mail_index_lookup_uid(ctx->itrans->view, seq1, &uid);
		seq_range_array_add(&dest->uids, uid);
	}
}

static void changes_read_stores(struct changes_ctx *ctx)
{
	ARRAY_TYPE(uint32_t) bounds;
	const uint32_t *seqs;
	unsigned int i, count;

	i_array_init(&bounds, 64);
	changes_get_bounds(ctx, &bounds);
	seqs = array_get(&bounds, &count);
	for (i = 0; i + 1 < count; i++) {
		if (seqs[i] == seqs[i + 1])
			continue;
		/* appended messages bring their flags along */
		if (seqs[i] >= ctx->itrans->first_new_seq)
			break;
		T_BEGIN {
			changes_add_range(ctx, seqs[i],
				I_MIN(seqs[i + 1],
				      ctx->itrans->first_new_seq) - 1);
		} T_END;
	}
	array_free(&bounds);
}

static void changes_read_expunges(struct changes_ctx *ctx)
{
	const struct mail_transaction_expunge_guid *expunge;
	uint32_t uid;

	if (!array_is_created(&ctx->itrans->expunges))
		return;
	array_foreach(&ctx->itrans->expunges, expunge) {
		/* the uid is a sequence until the transaction is finished */
		if (expunge->uid >= ctx->itrans->first_new_seq)
			continue;
		mail_index_lookup_uid(ctx->itrans->view, expunge->uid, &uid);
		seq_range_array_add(&ctx->changes->expunged_uids, uid);
	}
}

static const char *const *changes_keyword_names(struct pgbox_transaction *pt)
{
	const ARRAY_TYPE(keywords) *keywords =
		mail_index_get_keywords(pt->t.box->index);

	return array_count(keywords) == 0 ? NULL : array_front(keywords);
}

void pgbox_changes_init(struct pgbox_changes *changes,
			struct pgbox_transaction *pt)
{
	struct changes_ctx ctx = {
		.changes = changes,
		.pt = pt,
		.itrans = pt->t.itrans,
		.keyword_names = changes_keyword_names(pt),
	};

	i_zero(changes);
	changes->pool = pool_alloconly_create("pgbox changes", 1024);
	changes->unchangedsince = pt->t.itrans->max_modseq == 0 ?
		UINT64_MAX : pt->t.itrans->max_modseq;
	i_array_init(&changes->ops, 4);
	i_array_init(&changes->expunged_uids, 32);
	hash_table_create(&ctx.op_by_text, default_pool, 0, str_hash, strcmp);
	changes_read_stores(&ctx);
	changes_read_expunges(&ctx);
	hash_table_destroy(&ctx.op_by_text);
}

void pgbox_changes_deinit(struct pgbox_changes *changes)
{
	struct pgbox_store_op *op;

	array_foreach_modifiable(&changes->ops, op)
		array_free(&op->uids);
	array_free(&changes->ops);
	array_free(&changes->expunged_uids);
	pool_unref(&changes->pool);
}

bool pgbox_changes_are_some(const struct pgbox_changes *changes)
{
	return array_count(&changes->ops) > 0 ||
		array_count(&changes->expunged_uids) > 0;
}

void pgbox_changes_complete_mail(struct pgbox_transaction *pt,
				 struct pgbox_upload *upload,
				 struct pgbox_upload_mail *mail)
{
	struct mail_index_transaction *itrans = pt->t.itrans;
	const struct mail_index_record *rec;
	uint8_t flags;

	rec = mail_index_transaction_lookup(itrans, mail->seq);
	flags = rec->flags & PGBOX_FLAGS;
	T_BEGIN {
		string_t *keywords = t_str_new(128);

		changes_append_keywords(itrans, changes_keyword_names(pt),
					mail->seq, TRUE, keywords);
		if (flags != mail->append.flags ||
		    strcmp(str_c(keywords), mail->append.keywords) != 0) {
			/* altered since it was copied */
			mail->append.as_source = FALSE;
			mail->append.flags = flags;
			mail->append.keywords = p_strdup(upload->pool,
							 str_c(keywords));
		}
	} T_END;
}

void pgbox_changes_complete_upload(struct pgbox_transaction *pt,
				   struct pgbox_upload *upload)
{
	struct pgbox_upload_mail *mail;

	array_foreach_elem(&upload->mails, mail)
		pgbox_changes_complete_mail(pt, upload, mail);
}

/*
 * Amending the transaction
 */

static void
changes_set_final_state(struct pgbox_transaction *pt, uint32_t seq,
			const struct pgbox_change_result *result,
			const struct pgbox_changed_row *row)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(pt->t.box);
	ARRAY_TYPE(keyword_indexes) indexes;
	struct mail_keywords *keywords;
	unsigned int i, idx;
	const int16_t *number;

	mail_index_update_flags(pt->t.itrans, seq, MODIFY_REPLACE, row->flags);
	t_array_init(&indexes, 8);
	for (i = 0; i < row->keywords_count; i++) {
		number = array_idx(&result->keywords, row->keywords_idx + i);
		if (pgbox_keyword_index(mbox, *number, &idx))
			array_push_back(&indexes, &idx);
	}
	keywords = mail_index_keywords_create_from_indexes(
		pt->t.box->index, &indexes);
	mail_index_update_keywords(pt->t.itrans, seq, MODIFY_REPLACE, keywords);
	mail_index_keywords_unref(&keywords);
}

/* Another process of this node may have changed keywords since the transaction
   noted which ones to remove. */
static void
changes_replace_keywords(struct pgbox_transaction *pt, uint32_t seq)
{
	const struct mail_index_transaction_keyword_update *kw;
	ARRAY_TYPE(keyword_indexes) indexes;
	struct mail_keywords *keywords;
	unsigned int i, count;

	if (!array_is_created(&pt->t.itrans->keyword_updates))
		return;
	t_array_init(&indexes, 8);
	kw = array_get(&pt->t.itrans->keyword_updates, &count);
	for (i = 0; i < count; i++) {
		if (array_is_created(&kw[i].add_seq) &&
		    seq_range_exists(&kw[i].add_seq, seq))
			array_push_back(&indexes, &i);
	}
	keywords = mail_index_keywords_create_from_indexes(
		pt->t.box->index, &indexes);
	mail_index_update_keywords(pt->t.itrans, seq, MODIFY_REPLACE, keywords);
	mail_index_keywords_unref(&keywords);
}

static void
changes_cancel(struct pgbox_transaction *pt, uint32_t seq, bool conflict)
{
	struct mail_index_transaction *itrans = pt->t.itrans;

	(void)mail_index_cancel_flag_updates(itrans, seq);
	(void)mail_index_cancel_keyword_updates(itrans, seq);
	if (conflict && itrans->conflict_seqs != NULL)
		seq_range_array_add(itrans->conflict_seqs, seq);
}

static void
changes_cancel_unchanged(struct pgbox_transaction *pt,
			 const struct pgbox_changes *changes,
			 const struct pgbox_change_result *result,
			 const ARRAY_TYPE(seq_range) *changed_uids)
{
	const struct pgbox_store_op *op;
	struct seq_range_iter iter;
	unsigned int n;
	uint32_t uid, seq;

	array_foreach(&changes->ops, op) {
		n = 0;
		seq_range_array_iter_init(&iter, &op->uids);
		while (seq_range_array_iter_nth(&iter, n++, &uid)) {
			if (seq_range_exists(changed_uids, uid) ||
			    !mail_index_lookup_seq(pt->t.itrans->view, uid,
						   &seq))
				continue;
			changes_cancel(pt, seq,
				       seq_range_exists(&result->conflicts,
							uid));
		}
	}
	/* lib-index doesn't, and would add the next update out of order */
	pt->t.itrans->last_update_idx = 0;
}

void pgbox_changes_amend_stores(struct pgbox_transaction *pt,
				const struct pgbox_changes *changes,
				const struct pgbox_change_result *result,
				bool final_states)
{
	const struct pgbox_changed_row *row;
	ARRAY_TYPE(seq_range) changed_uids;
	uint32_t seq;

	/* The database has decided: lib-index isn't to check once more, by
	   modseqs that may be older. */
	pt->t.itrans->max_modseq = 0;
	if (final_states) {
		/* What others changed is new to the client, too. */
		pt->t.itrans->flags &=
			ENUM_NEGATE(MAIL_INDEX_TRANSACTION_FLAG_HIDE);
	}
	if (pt->t.itrans->latest_view != NULL) {
		/* keywords are to be replaced in the index as it is now */
		mail_index_view_close(&pt->t.itrans->latest_view);
	}

	i_array_init(&changed_uids, 32);
	array_foreach(&result->changed, row)
		seq_range_array_add(&changed_uids, row->uid);
	changes_cancel_unchanged(pt, changes, result, &changed_uids);
	array_free(&changed_uids);

	array_foreach(&result->changed, row) T_BEGIN {
		if (mail_index_lookup_seq(pt->t.itrans->view, row->uid, &seq)) {
			if (final_states)
				changes_set_final_state(pt, seq, result, row);
			else if (seq_range_exists(&pt->keywords_replaced, seq))
				changes_replace_keywords(pt, seq);
			mail_index_update_modseq(pt->t.itrans, seq,
						 result->modseq);
		}
	} T_END;
}

unsigned int pgbox_changes_count_records(struct pgbox_transaction *pt)
{
	struct mail_index_transaction *itrans = pt->t.itrans;
	const struct mail_index_transaction_keyword_update *kw;
	unsigned int count = 0;

	if (array_is_created(&itrans->appends))
		count++;
	if (array_is_created(&itrans->updates) &&
	    array_count(&itrans->updates) > 0)
		count++;
	if (!array_is_created(&itrans->keyword_updates))
		return count;
	array_foreach(&itrans->keyword_updates, kw) {
		if (array_is_created(&kw->add_seq) &&
		    array_count(&kw->add_seq) > 0)
			count++;
		if (array_is_created(&kw->remove_seq) &&
		    array_count(&kw->remove_seq) > 0)
			count++;
	}
	return count;
}

void pgbox_changes_drop_expunges(struct pgbox_transaction *pt)
{
	if (array_is_created(&pt->t.itrans->expunges))
		array_free(&pt->t.itrans->expunges);
}

void pgbox_changes_amend_appends(struct pgbox_transaction *pt,
				 struct pgbox_upload *upload,
				 const struct pgbox_change_result *result,
				 bool pin)
{
	struct mail_index_transaction *itrans = pt->t.itrans;
	ARRAY_TYPE(seq_range) *saved_uids = &pt->t.changes->saved_uids;
	struct pgbox_upload_mail *const *mails;
	struct mail_index_record *rec;
	const uint32_t *uids;
	unsigned int i, count, uids_count;

	mails = array_get(&upload->mails, &count);
	uids = array_get(&result->uids, &uids_count);
	i_assert(count == uids_count);

	for (i = 0; i < count; i++) {
		rec = mail_index_transaction_lookup(itrans, mails[i]->seq);
		rec->uid = uids[i];
		if (i > 0 && uids[i] < uids[i - 1])
			itrans->appends_nonsorted = TRUE;
		if (itrans->highest_append_uid < uids[i])
			itrans->highest_append_uid = uids[i];
	}
	/* UIDs out of order (dsync) sort the appends when the transaction is
	   finished, but not their modseqs: the caller pins those by UID. */
	for (i = 0; i < count && pin && !itrans->appends_nonsorted; i++) {
		mail_index_update_modseq(itrans, mails[i]->seq,
					 result->modseq);
	}
	/* by order of the messages, not of the UIDs: COPYUID pairs them */
	array_clear(saved_uids);
	for (i = 0; i < count; i++) {
		struct seq_range *range;

		range = array_count(saved_uids) == 0 ? NULL :
			array_back_modifiable(saved_uids);
		if (range != NULL && range->seq2 + 1 == uids[i])
			range->seq2++;
		else {
			range = array_append_space(saved_uids);
			range->seq1 = range->seq2 = uids[i];
		}
	}
}
