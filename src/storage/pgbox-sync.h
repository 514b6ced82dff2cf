#ifndef PGBOX_SYNC_H
#define PGBOX_SYNC_H

#include "pgbox-index.h"

/* The pull: the only way in which changes made elsewhere (another node, an
   administrator) enter a local index. */

struct pgbox_pull_bounds {
	/* Rows changed after this modseq are left for a later pull, except
	   where a UID would be left out for good. UINT64_MAX: no bound. */
	uint64_t until;
	/* UIDs from here on are somebody's own and none of the pull's */
	uint32_t uid_limit;
};

/* no bounds: everything */
extern const struct pgbox_pull_bounds pgbox_pull_unbounded;

/* Pull into a locked, once filled index (lock->hdr.last_synced != 0), before
   the caller writes changes of its own that the database has committed.
   lock->hdr follows. Returns 0, -1 with the mailbox's error set. */
int pgbox_sync_pull_locked(struct pgbox_index_lock *lock,
			   const struct pgbox_pull_bounds *bounds);

/* Bring the index of an open mailbox up to date. One round trip, none for the
   first time after an open that found it current. Returns 0, -1 with the
   mailbox's error set. */
int pgbox_sync(struct pgbox_mailbox *mbox);
/* The same when the mailbox is being opened and nobody uses its view yet: an
   index that doesn't fit the database is rebuilt. box->view is reopened. */
int pgbox_sync_open(struct pgbox_mailbox *mbox);
/* Rebuild the index at the next open, whatever it holds. */
void pgbox_sync_force_rebuild(struct pgbox_mailbox *mbox);

/* mailbox vfunc */
struct mailbox_sync_context *
pgbox_mailbox_sync_init(struct mailbox *box, enum mailbox_sync_flags flags);

/* Index of a keyword of the local index by its number in the database. Returns
   FALSE if the number isn't known (yet). */
bool pgbox_sync_keyword_index(struct pgbox_mailbox *mbox, unsigned int number,
			      unsigned int *idx_r);

#endif
