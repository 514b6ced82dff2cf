#ifndef PGBOX_COMMIT_H
#define PGBOX_COMMIT_H

#include "pgbox-storage.h"
#include "pgbox-db-change.h"

struct pgbox_upload;
struct pgbox_commit;

/* Write-through: what a mailbox transaction changes is committed in the
   database first and written to the local index after. The index transaction
   itself is the list of changes; only what it can't express is kept here. */
struct pgbox_transaction {
	struct mailbox_transaction_context t;

	/* messages (view sequences) whose keywords were replaced, not just
	   added to or removed from */
	ARRAY_TYPE(seq_range) keywords_replaced;
	/* how often mails queued by a search were fetched (pgbox-fetch.c) */
	unsigned int fetch_batches;
	/* set to TRUE once saved messages are committed in the database: from
	   then on the transaction can't fail any more. The struct itself is
	   freed before this is looked at. */
	bool *saved_r;
};
#define PGBOX_TRANSACTION(s) \
	(container_of(s, struct pgbox_transaction, t))

/* Commit in the database what the transaction changes: flags, keywords,
   expunges, and the appends, if any (upload may be NULL). Afterwards the index
   is locked, everything that others committed before is in it, and the index
   transaction is amended so that committing it brings the index to the
   database's new state.

   Returns 0 and the commit (NULL if there was nothing to do), to be ended with
   pgbox_commit_end() after the index transaction; -1 with the mailbox's error
   set if nothing was committed. */
int pgbox_commit_begin(struct pgbox_transaction *pt,
		       struct pgbox_upload *upload,
		       struct pgbox_commit **commit_r);

/* Finish after the index transaction was committed (success) or wasn't. What
   the database has stays committed in both cases: a failure here only means
   that the next sync pulls it. result may be NULL. Sets *commit to NULL. */
void pgbox_commit_end(struct pgbox_commit **commit, bool success,
		      struct mail_index_transaction_commit_result *result);

/* mailbox vfuncs */
struct mailbox_transaction_context *
pgbox_transaction_begin(struct mailbox *box,
			enum mailbox_transaction_flags flags,
			const char *reason);
int pgbox_transaction_commit(struct mailbox_transaction_context *t,
			     struct mail_transaction_commit_changes *changes_r);
void pgbox_transaction_rollback(struct mailbox_transaction_context *t);

#endif
