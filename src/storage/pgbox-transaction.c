/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "mail-index-private.h"
#include "mail-index-transaction-private.h"
#include "pgbox-attribute.h"
#include "pgbox-mail.h"
#include "pgbox-commit.h"
#include "pgbox-changes.h"

struct mailbox_transaction_context *
pgbox_transaction_begin(struct mailbox *box,
			enum mailbox_transaction_flags flags,
			const char *reason)
{
	struct pgbox_transaction *pt;

	pt = i_new(struct pgbox_transaction, 1);
	i_array_init(&pt->keywords_replaced, 1);
	/* EXTERNAL: what is written to the index is done already and is never
	   presented to anybody as something to be done */
	index_transaction_init(&pt->t, box,
			       flags | MAILBOX_TRANSACTION_FLAG_EXTERNAL,
			       reason);
	/* The local index may be behind: whether a change changes anything is
	   for the database to say. */
	pt->t.itrans->flags &=
		ENUM_NEGATE(MAIL_INDEX_TRANSACTION_FLAG_AVOID_FLAG_UPDATES);
	return &pt->t;
}

/* The transaction can't be committed to the index any more, and so it must not
   be committed to the database. */
static bool transaction_is_lost(struct mailbox_transaction_context *t)
{
	return mail_index_view_is_inconsistent(t->view) ||
		mail_index_is_deleted(t->box->index);
}

int pgbox_transaction_commit(struct mailbox_transaction_context *t,
			     struct mail_transaction_commit_changes *changes_r)
{
	struct pgbox_transaction *pt = PGBOX_TRANSACTION(t);
	ARRAY_TYPE(seq_range) keywords_replaced = pt->keywords_replaced;
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(t->box);
	struct pgbox_commit *commit = NULL;
	bool saved = FALSE;
	int ret;

	/* With saves the database is written from transaction_save_commit_pre,
	   below the plugins that may refuse them. */
	ret = pgbox_attribute_commit(t);
	if (ret == 0 && t->save_ctx == NULL && !transaction_is_lost(t))
		ret = pgbox_commit_begin(pt, NULL, &commit);
	if (ret < 0) {
		i_zero(changes_r);
		index_transaction_rollback(t);
	} else {
		pt->saved_r = &saved;
		ret = index_transaction_commit(t, changes_r);
	}
	array_free(&keywords_replaced);
	pgbox_fetch_close(mbox);
	if (commit != NULL) {
		pgbox_commit_end(&commit, ret == 0, NULL);
		saved = TRUE;
	}
	/* The database has it. If the index has not, the next sync pulls it;
	   an error now would make the client repeat it. */
	return saved ? 0 : ret;
}

void pgbox_transaction_rollback(struct mailbox_transaction_context *t)
{
	struct pgbox_transaction *pt = PGBOX_TRANSACTION(t);
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(t->box);

	pgbox_attribute_rollback(t);
	pgbox_changes_drop_unmoved(pt);
	array_free(&pt->keywords_replaced);
	index_transaction_rollback(t);
	pgbox_fetch_close(mbox);
}
