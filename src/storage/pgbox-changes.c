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
	const struct mail_index_record *rec;

	if (!array_is_created(&ctx->itrans->expunges))
		return;
	array_foreach(&ctx->itrans->expunges, expunge) {
		/* the uid is a sequence until the transaction is finished */
		if (expunge->uid >= ctx->itrans->first_new_seq)
			continue;
		/* As the view has it: that is what the client means. And to look in the
		   newest index takes a step for each message that is gone from
		   there, of which commits before this one may have been many. */
		rec = MAIL_INDEX_REC_AT_SEQ(ctx->itrans->view->map,
					    expunge->uid);
		seq_range_array_add(&ctx->changes->expunged_uids, rec->uid);
		if ((rec->flags & MAIL_DELETED) != 0) {
			seq_range_array_add(&ctx->changes->deleted_uids,
					    rec->uid);
		}
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
	i_array_init(&changes->deleted_uids, 32);
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
	array_free(&changes->deleted_uids);
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
