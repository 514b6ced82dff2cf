#ifndef PGBOX_INDEX_H
#define PGBOX_INDEX_H

#include "pgbox-storage.h"

/* The local index: a cache of the database's state. This file knows how it is
   locked, what header says how current it is, and how modseqs are written so
   that they equal the database's. It knows nothing of SQL. */

/* An index locked against all other writers of this node. Other processes may
   go on reading it. */
struct pgbox_index_lock {
	struct pgbox_mailbox *mbox;
	struct mail_index_sync_ctx *sync_ctx;
	/* the state at the time of locking */
	struct mail_index_view *view;
	/* belongs to sync_ctx; unused */
	struct mail_index_transaction *trans;
	/* last_synced is 0 if the index must be rebuilt */
	struct pgbox_index_header hdr;
};

/* Register our header extension. Call once the index is allocated. */
void pgbox_index_register(struct pgbox_mailbox *mbox);

/* Read our header from a view. last_synced is 0 if there is none, if it is of
   another epoch or UIDVALIDITY than the mailbox's row, or if lib-index found
   the index damaged. */
void pgbox_index_read_header(struct pgbox_mailbox *mbox,
			     struct mail_index_view *view,
			     struct pgbox_index_header *hdr_r);
/* The same for the index's current state, after a refresh. */
void pgbox_index_refresh_header(struct pgbox_mailbox *mbox,
				struct pgbox_index_header *hdr_r);

/* Returns FALSE if the log doesn't end at the modseq that the index was synced
   to: a process died between two of its writes, or a damaged index was mended
   in place. HIGHESTMODSEQ isn't the database's then. Only certain while the
   index is locked. */
bool pgbox_index_is_exact(struct pgbox_mailbox *mbox,
			  const struct pgbox_index_header *hdr);

/* Make sessions that have the mailbox open end: what they have told their
   client isn't so any more. */
void pgbox_index_set_inconsistent(struct pgbox_mailbox *mbox);

/* Lock the index. Returns 0, or -1 with the mailbox's error set.

   Lock order: a database row is only ever locked within one statement or
   pipeline, which never waits for an index lock. Therefore holding the index
   lock while a statement runs can't deadlock. */
int pgbox_index_lock(struct pgbox_mailbox *mbox,
		     struct pgbox_index_lock *lock_r);
/* Unlock; with success, bring the index file and map up to date with what was
   written to the log meanwhile. Returns -1 with the mailbox's error set if
   that failed. */
int pgbox_index_unlock(struct pgbox_index_lock *lock, bool success);

/* Write the header into a transaction. */
void pgbox_index_update_header(struct pgbox_mailbox *mbox,
			       struct mail_index_transaction *trans,
			       uint64_t last_synced);

/* Begin the transaction that makes an index from nothing at the database's
   modseq target. What clients may ask for below target is then answered by
   Dovecot's safe superset instead of by a log that doesn't know: the new log
   begins just below it. The caller adds all messages, raises the highest
   modseq to target, commits, and calls pgbox_index_reset_finish(). */
struct mail_index_transaction *
pgbox_index_reset_begin(struct pgbox_index_lock *lock,
			struct mail_index_view *view,
			uint64_t target, uint32_t uidvalidity);
/* Note the modseq of a message of the new index, for _reset_finish(). */
void pgbox_index_modseqs_add(buffer_t *modseqs, uint32_t uid, uint64_t modseq);
/* Set the messages' own modseqs and last_synced. The modseqs lie below the new
   log's beginning, and pinning only raises: they are written into the
   extension's records. Returns -1 if writing failed. */
int pgbox_index_reset_finish(struct pgbox_index_lock *lock, uint64_t target,
			     const buffer_t *modseqs);

/* Raise the locked log's modseq. Returns -1 if writing failed. */
int pgbox_index_log_raise(struct pgbox_index_lock *lock, uint64_t modseq);
/* Append to the locked log, as one write: expunges of the given UIDs, so that
   they count as the change target, then the modseq target for the messages
   changed_uids, which the log may already hold at lower modseqs. Either may
   be empty. UIDs that
   the index never had are written too: a client may know them from another
   node. Returns -1 if writing failed. */
int pgbox_index_log_changes(struct pgbox_index_lock *lock, uint64_t target,
			     const ARRAY_TYPE(seq_range) *expunged_uids,
			     const ARRAY_TYPE(seq_range) *changed_uids);

#endif
