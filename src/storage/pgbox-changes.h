#ifndef PGBOX_CHANGES_H
#define PGBOX_CHANGES_H

#include "pgbox-db-change.h"

struct pgbox_transaction;
struct pgbox_upload;
struct pgbox_upload_mail;

/* What an index transaction does to messages that exist already, in the
   database's terms. */
struct pgbox_changes {
	pool_t pool;
	ARRAY_TYPE(pgbox_store_op) ops;
	ARRAY_TYPE(seq_range) expunged_uids;
	/* Among these, messages that are \Deleted as far as the session knows:
	   they are to go only if that is still so. */
	ARRAY_TYPE(seq_range) deleted_uids;
	/* UINT64_MAX: no condition */
	uint64_t unchangedsince;
};

/* Read the changes out of a transaction. */
void pgbox_changes_init(struct pgbox_changes *changes,
			struct pgbox_transaction *pt);
void pgbox_changes_deinit(struct pgbox_changes *changes);
/* Returns TRUE if there is anything to do. */
bool pgbox_changes_are_some(const struct pgbox_changes *changes);

/* Set flags and keywords of a message to be added from the transaction, where
   they may have changed since the last time. If they have, the message isn't
   append.as_source any more. */
void pgbox_changes_complete_mail(struct pgbox_transaction *pt,
				 struct pgbox_upload *upload,
				 struct pgbox_upload_mail *mail);
/* The same for all messages of an upload. */
void pgbox_changes_complete_upload(struct pgbox_transaction *pt,
				   struct pgbox_upload *upload);

/* Amend the index transaction by what the database made of it: messages that
   it left as they are aren't touched, refused ones are reported as conflicts
   (RFC 7162 MODIFIED), changed ones are pinned to the new modseq. With
   final_states messages get the database's state instead of the change:
   others had changed them before. */
void pgbox_changes_amend_stores(struct pgbox_transaction *pt,
				const struct pgbox_changes *changes,
				const struct pgbox_change_result *result,
				bool final_states);
/* Number of log records, at most, that the transaction will write and that
   count as a modseq each, expunges left out. */
unsigned int pgbox_changes_count_records(struct pgbox_transaction *pt);
/* Remove expunges that belong to moves which failed (mbox->unmoved_uids) from
   the index transaction; once it has ended, nothing is left of those. */
void pgbox_changes_drop_unmoved(struct pgbox_transaction *pt);
/* Remove expunges from the index transaction: all, or all but these UIDs'. */
void pgbox_changes_drop_expunges(struct pgbox_transaction *pt);
void pgbox_changes_keep_expunges(struct pgbox_transaction *pt,
				 const ARRAY_TYPE(seq_range) *uids);
/* Give the messages that the transaction appends their UIDs, in order. With
   pin they get the new modseq, unless they aren't sorted by UID. */
void pgbox_changes_amend_appends(struct pgbox_transaction *pt,
				 struct pgbox_upload *upload,
				 const struct pgbox_change_result *result,
				 bool pin);

#endif
