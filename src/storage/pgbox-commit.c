/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "mail-user.h"
#include "mail-index-modseq.h"
#include "mail-index-transaction-private.h"
#include "pgbox-error.h"
#include "pgbox-storage-error.h"
#include "pgbox-list.h"
#include "pgbox-upload.h"
#include "pgbox-changes.h"
#include "pgbox-apply.h"
#include "pgbox-sync.h"
#include "pgbox-write.h"
#include "pgbox-delivery.h"
#include "pgbox-commit.h"

struct pgbox_commit {
	struct pgbox_mailbox *mbox;
	struct pgbox_index_lock lock;
	bool locked;

	/* highest modseq that the commit took */
	uint64_t modseq;
	/* modseq of the appends; those to be pinned to it after all else, for
	   they aren't sorted or an expunge counts before */
	uint64_t append_modseq;
	ARRAY_TYPE(seq_range) late_uids;
	/* expunged by this commit, not by others */
	ARRAY_TYPE(seq_range) expunged_uids;
	/* the index doesn't have what the database has: a sync has to pull */
	bool behind;
};

static struct pgbox_commit *commit_init(struct pgbox_mailbox *mbox)
{
	struct pgbox_commit *commit = i_new(struct pgbox_commit, 1);

	commit->mbox = mbox;
	i_array_init(&commit->late_uids, 8);
	i_array_init(&commit->expunged_uids, 8);
	return commit;
}

static void commit_free(struct pgbox_commit **_commit)
{
	struct pgbox_commit *commit = *_commit;

	*_commit = NULL;
	array_free(&commit->late_uids);
	array_free(&commit->expunged_uids);
	i_free(commit);
}

/* What tombstones say of how a message went. */
static const char *commit_reason(struct pgbox_transaction *pt)
{
	const char *who = pgbox_user_get_reason(pt->t.box->storage->user);

	return pt->t.reason == NULL ? who :
		t_strdup_printf("%s: %s", who, pt->t.reason);
}

/* The messages were moved by the transaction of the mailbox that they went to:
   what is left to do is to pull. */
static bool
commit_is_moved(struct pgbox_mailbox *mbox, struct pgbox_changes *changes)
{
	const struct seq_range *range;
	uint32_t uid;

	if (array_count(&changes->ops) > 0 ||
	    array_count(&mbox->moved_uids) == 0)
		return FALSE;
	array_foreach(&changes->expunged_uids, range) {
		for (uid = range->seq1; uid <= range->seq2; uid++) {
			if (!seq_range_exists(&mbox->moved_uids, uid))
				return FALSE;
		}
	}
	seq_range_array_remove_seq_range(&mbox->moved_uids,
					 &changes->expunged_uids);
	return TRUE;
}

/* modseq 0: unknown */
static void commit_signal(struct pgbox_mailbox *mbox, uint64_t modseq)
{
	pgbox_list_changed_mailbox(PGBOX_LIST(mbox->box.list),
				   mbox->mailbox_id, modseq);
}

static void commit_set_moved(struct pgbox_upload *upload)
{
	struct pgbox_mailbox *source_mbox = NULL;
	struct pgbox_upload_mail *mail;

	array_foreach_elem(&upload->mails, mail) {
		/* others were copied by their bytes, and are expunged by the
		   transaction of their own mailbox */
		if (!mail->append.move)
			continue;
		if (mail->source_mbox != source_mbox) {
			source_mbox = mail->source_mbox;
			commit_signal(source_mbox, 0);
		}
		seq_range_array_add(&source_mbox->moved_uids, mail->moved_uid);
	}
}

/*
 * In the index
 */

/* The modseq before the first of our changes: up to it the index has to be
   pulled first. */
static uint64_t commit_prev_modseq(const struct pgbox_write_results *results)
{
	uint64_t prev = UINT64_MAX;

	if (results->append.prev_modseq != 0)
		prev = I_MIN(prev, results->append.prev_modseq);
	if (results->store.prev_modseq != 0)
		prev = I_MIN(prev, results->store.prev_modseq);
	if (results->expunge.prev_modseq != 0)
		prev = I_MIN(prev, results->expunge.prev_modseq);
	return prev;
}

static void
commit_set_modseqs(struct pgbox_commit *commit,
		   const struct pgbox_write_results *results)
{
	commit->append_modseq = results->append.modseq;
	commit->modseq = I_MAX(results->append.modseq,
			       I_MAX(results->store.modseq,
				     results->expunge.modseq));
}

static uint32_t commit_first_uid(const struct pgbox_write_results *results)
{
	const uint32_t *uid;
	uint32_t first = UINT32_MAX;

	array_foreach(&results->append.uids, uid)
		first = I_MIN(first, *uid);
	return first;
}

/* Others changed the mailbox since our last pull: their changes come first.
   Returns 1 if there were any, 0 if not, -1 if the index can't take our
   changes any more: it is behind, or they came with the pull. */
static int
commit_pull_others(struct pgbox_commit *commit,
		   const struct pgbox_write_results *results)
{
	int ret;
	const struct pgbox_pull_bounds bounds = {
		.until = commit_prev_modseq(results),
		.uid_limit = commit_first_uid(results),
	};

	if (bounds.until == commit->lock.hdr.last_synced ||
	    bounds.until == UINT64_MAX)
		return 0;
	ret = pgbox_sync_pull_locked(&commit->lock, &bounds);
	if (ret < 0)
		commit->behind = TRUE;
	return ret > 0 ? 1 : -1;
}

/* Where the log has to be before the records of this transaction. Changes of
   flags come before the expunges that are committed with them, a step below. */
static uint64_t
commit_raise_to(struct pgbox_commit *commit, struct pgbox_transaction *pt,
		const struct pgbox_write_results *results, bool expunges)
{
	if (!expunges)
		return commit->modseq - pgbox_changes_count_records(pt);
	if (results->store.modseq != 0)
		return results->store.modseq - pgbox_changes_count_records(pt);
	return commit->modseq - PGBOX_MODSEQ_HALF;
}

static void
commit_amend_transaction(struct pgbox_commit *commit,
			 struct pgbox_transaction *pt,
			 struct pgbox_upload *upload,
			 struct pgbox_changes *changes,
			 struct pgbox_write_results *results, bool contested)
{
	struct mail_index_transaction *itrans = pt->t.itrans;
	bool late_pins, expunges = array_count(&changes->expunged_uids) > 0;

	if (upload != NULL) {
		pgbox_changes_amend_appends(pt, upload, &results->append,
					    !expunges);
	}
	late_pins = upload != NULL && (expunges || itrans->appends_nonsorted);
	if (array_count(&changes->ops) > 0) {
		pgbox_changes_amend_stores(pt, changes, &results->store,
					   contested);
	}
	if (expunges) {
		/* Where others were quicker the pull brings it. Or they have
		   taken \Deleted away, and the message stays. */
		pgbox_changes_keep_expunges(pt, &results->expunge.expunged);
		expunges = results->expunge.modseq != 0;
	}
	if (commit->modseq != 0) {
		/* Each record counts one. Raising the log before them makes
		   lib-index remember about this modseq for the single flags
		   (SEARCH MODSEQ "/flags/..."), too. Not with expunges: a
		   client that leaves with a modseq between must be below what
		   a rebuilt log knows. If it fails, so will the transaction. */
		(void)pgbox_index_log_raise(&commit->lock,
			commit_raise_to(commit, pt, results, expunges));
		/* an expunge record is written last and counts one itself */
		mail_index_update_highest_modseq(itrans, expunges ?
			commit->modseq - 1 : commit->modseq);
		pgbox_index_update_header(commit->mbox, itrans, commit->modseq);
	}
	if (late_pins) {
		const struct seq_range *range;

		array_foreach(&pt->t.changes->saved_uids, range) {
			seq_range_array_add_range(&commit->late_uids,
						  range->seq1, range->seq2);
		}
	}
}

/* The database has it, the index can't have it: leave it to the next pull. */
static void
commit_leave_to_pull(struct pgbox_transaction *pt, struct pgbox_upload *upload,
		     const struct pgbox_write_results *results)
{
	if (upload != NULL)
		pgbox_changes_amend_appends(pt, upload, &results->append,
					    FALSE);
	/* through the vfunc: the cache's part is to go too */
	pt->t.itrans->v.reset(pt->t.itrans);
}

/* Copies got flags that their sources have by a change which isn't in this
   node's index. */
static bool commit_copies_differ(struct pgbox_upload *upload,
				 const struct pgbox_write_results *results)
{
	struct pgbox_upload_mail *mail;

	if (upload == NULL || !results->append.copies_differ)
		return FALSE;
	array_foreach_elem(&upload->mails, mail) {
		if (mail->append.as_source)
			return TRUE;
	}
	return FALSE;
}

/* Returns TRUE if the transaction is to bring its changes into the index
   itself. */
static bool
commit_prepare_index(struct pgbox_commit *commit, struct pgbox_upload *upload,
		     const struct pgbox_write_results *results,
		     bool *contested_r)
{
	int ret;

	*contested_r = FALSE;
	if (!commit->locked)
		return FALSE;
	if (results->repeated) {
		commit->behind = TRUE;
		return FALSE;
	}
	if (commit_copies_differ(upload, results)) {
		commit->behind = pgbox_sync_pull_locked(&commit->lock,
						&pgbox_pull_unbounded) < 0;
		return FALSE;
	}
	ret = commit_pull_others(commit, results);
	*contested_r = ret > 0;
	return ret >= 0;
}

/* Whoever copies what was delivered, for the next recipient, has to know what it
   is. A message of an earlier delivery has that one's recipient in its header
   perhaps, and isn't copied: with a UID that nobody has it isn't found. */
static void
commit_note_delivery(struct pgbox_commit *commit, struct pgbox_transaction *pt,
		     struct pgbox_upload *upload,
		     struct pgbox_write_results *results)
{
	uint32_t *uid;

	array_foreach_modifiable(&results->append.uids, uid) {
		if (!results->repeated) {
			pgbox_delivery_remember(commit->mbox, upload, *uid);
			continue;
		}
		e_info(commit->mbox->box.event,
		       "pgbox: already delivered, as UID %u: not stored again",
		       *uid);
		if ((pt->t.flags & MAILBOX_TRANSACTION_FLAG_ASSIGN_UIDS) != 0)
			*uid = UINT32_MAX;
	}
}

static void
commit_to_index(struct pgbox_commit *commit, struct pgbox_transaction *pt,
		struct pgbox_upload *upload, struct pgbox_changes *changes,
		struct pgbox_write_results *results)
{
	bool contested;

	commit_set_modseqs(commit, results);
	if (upload != NULL)
		commit_note_delivery(commit, pt, upload, results);
	array_append_array(&commit->expunged_uids, &results->expunge.expunged);
	if (upload != NULL)
		commit_set_moved(upload);
	if (!commit_prepare_index(commit, upload, results, &contested))
		commit_leave_to_pull(pt, upload, results);
	else {
		commit_amend_transaction(commit, pt, upload, changes, results,
					 contested);
	}
}

/*
 * Commit
 */

/* The lock spans the commit in the database and that of the index: else
   another process of this node could pull our changes in between, and we would
   write them a second time. It is taken before the first statement that locks
   anything in the database, new bodies included: two processes that store the
   same body wait for each other there, and one of them mustn't wait for the
   other's index lock meanwhile. */
static int commit_lock_index(struct pgbox_commit *commit)
{
	if (commit->mbox->index_cold)
		return 0;
	if (pgbox_index_lock(commit->mbox, &commit->lock) < 0)
		return -1;
	commit->locked = TRUE;
	if (commit->lock.hdr.last_synced == 0) {
		/* lost meanwhile: it is made anew at the next open */
		(void)pgbox_index_unlock(&commit->lock, FALSE);
		commit->locked = FALSE;
	}
	return 0;
}

static int
commit_moved(struct pgbox_commit *commit, struct pgbox_transaction *pt,
	     const struct pgbox_changes *changes)
{
	array_append_array(&commit->expunged_uids, &changes->expunged_uids);
	pgbox_changes_drop_expunges(pt);
	if (!commit->locked)
		return 0;
	return pgbox_sync_pull_locked(&commit->lock,
				      &pgbox_pull_unbounded) < 0 ? -1 : 0;
}

static int
commit_locked(struct pgbox_commit *commit, struct pgbox_transaction *pt,
	      struct pgbox_upload *upload, struct pgbox_changes *changes)
{
	struct pgbox_write_results results;
	struct pgbox_error error;
	int ret;

	pgbox_write_results_init(&results);
	ret = pgbox_write(commit->mbox, upload, changes, commit_reason(pt),
			  &results, &error);
	pgbox_list_invalidate(PGBOX_LIST(commit->mbox->box.list));
	if (ret < 0)
		pgbox_mailbox_set_error(&commit->mbox->box, &error);
	else
		commit_to_index(commit, pt, upload, changes, &results);
	pgbox_write_results_deinit(&results);
	return ret;
}

static int
commit_run(struct pgbox_commit *commit, struct pgbox_transaction *pt,
	   struct pgbox_upload *upload, struct pgbox_changes *changes)
{
	struct pgbox_mailbox *mbox = commit->mbox;

	if (commit_lock_index(commit) < 0)
		return -1;
	if (upload == NULL && commit_is_moved(mbox, changes))
		return commit_moved(commit, pt, changes);
	return commit_locked(commit, pt, upload, changes);
}

int pgbox_commit_begin(struct pgbox_transaction *pt,
		       struct pgbox_upload *upload,
		       struct pgbox_commit **commit_r)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(pt->t.box);
	struct pgbox_changes changes;
	struct pgbox_commit *commit;
	int ret = 0;

	*commit_r = NULL;
	pgbox_changes_drop_unmoved(pt);
	pgbox_changes_init(&changes, pt);
	if (upload != NULL)
		pgbox_changes_complete_upload(pt, upload);
	else if (!pgbox_changes_are_some(&changes)) {
		/* at most the cache is updated */
		pgbox_changes_deinit(&changes);
		return 0;
	}

	commit = commit_init(mbox);
	ret = commit_run(commit, pt, upload, &changes);
	pgbox_changes_deinit(&changes);
	if (ret < 0) {
		if (commit->locked)
			(void)pgbox_index_unlock(&commit->lock, FALSE);
		commit_free(&commit);
	}
	*commit_r = commit;
	return ret;
}

/* Plugins (quota, fts) follow expunges on the node that executed them. */
static void
commit_notify_expunges(struct pgbox_commit *commit,
		       struct mail_index_view *view)
{
	struct mailbox *box = &commit->mbox->box;
	struct seq_range_iter iter;
	unsigned int n = 0;
	uint32_t uid;

	if (array_count(&commit->expunged_uids) == 0)
		return;
	box->tmp_sync_view = view;
	seq_range_array_iter_init(&iter, &commit->expunged_uids);
	while (seq_range_array_iter_nth(&iter, n++, &uid)) T_BEGIN {
		mailbox_sync_notify(box, uid, MAILBOX_SYNC_TYPE_EXPUNGE);
	} T_END;
	mailbox_sync_notify(box, 0, 0);
	box->tmp_sync_view = NULL;
}

static bool commit_write_late_pins(struct pgbox_commit *commit)
{
	ARRAY_TYPE(seq_range) none;
	bool ret;

	if (array_count(&commit->late_uids) == 0)
		return TRUE;
	i_array_init(&none, 1);
	ret = pgbox_index_log_changes(&commit->lock, commit->append_modseq,
				      &none, &commit->late_uids) == 0;
	array_free(&none);
	return ret;
}

void pgbox_commit_end(struct pgbox_commit **_commit, bool success,
		      struct mail_index_transaction_commit_result *result)
{
	struct pgbox_commit *commit = *_commit;
	struct mail_index_view *view;

	*_commit = NULL;
	if (commit->locked) {
		view = commit->lock.view;
		mail_index_view_ref(view);
		if (success)
			success = commit_write_late_pins(commit);
		if (success && result != NULL) {
			mail_index_sync_set_commit_result(
				commit->lock.sync_ctx, result);
		}
		if (pgbox_index_unlock(&commit->lock, success) < 0)
			success = FALSE;
		if (success && !commit->behind)
			pgbox_sync_set_committed(commit->mbox);
		if (success)
			commit_notify_expunges(commit, view);
		mail_index_view_close(&view);
	}
	commit_signal(commit->mbox, commit->modseq);
	commit_free(&commit);
}
