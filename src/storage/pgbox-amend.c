/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* An index transaction becomes what the database made of it. */

#include "lib.h"
#include "array.h"
#include "mail-index-private.h"
#include "mail-index-transaction-private.h"
#include "pgbox-commit.h"
#include "pgbox-upload.h"
#include "pgbox-apply.h"
#include "pgbox-changes.h"

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

void pgbox_changes_drop_unmoved(struct pgbox_transaction *pt)
{
	struct mail_index_transaction *itrans = pt->t.itrans;
	ARRAY_TYPE(seq_range) *unmoved =
		&PGBOX_MAILBOX(pt->t.box)->unmoved_uids;
	const struct mail_transaction_expunge_guid *expunge;
	unsigned int i = 0;
	uint32_t uid;

	if (array_count(unmoved) == 0 || !array_is_created(&itrans->expunges))
		return;
	while (i < array_count(&itrans->expunges)) {
		expunge = array_idx(&itrans->expunges, i);
		mail_index_lookup_uid(itrans->view, expunge->uid, &uid);
		if (seq_range_array_remove(unmoved, uid))
			array_delete(&itrans->expunges, i, 1);
		else
			i++;
	}
	if (array_count(&itrans->expunges) == 0)
		array_free(&itrans->expunges);
}

void pgbox_changes_keep_expunges(struct pgbox_transaction *pt,
				 const ARRAY_TYPE(seq_range) *uids)
{
	struct mail_index_transaction *itrans = pt->t.itrans;
	struct mail_transaction_expunge_guid *expunges;
	unsigned int i, count, kept = 0;
	uint32_t uid;

	if (!array_is_created(&itrans->expunges))
		return;
	expunges = array_get_modifiable(&itrans->expunges, &count);
	for (i = 0; i < count; i++) {
		mail_index_lookup_uid(itrans->view, expunges[i].uid, &uid);
		if (seq_range_exists(uids, uid))
			expunges[kept++] = expunges[i];
	}
	if (kept > 0)
		array_delete(&itrans->expunges, kept, count - kept);
	else
		array_free(&itrans->expunges);
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
