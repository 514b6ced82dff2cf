#ifndef PGBOX_SYNC_H
#define PGBOX_SYNC_H

#include "pgbox-index.h"

/* The pull: the only way in which changes made elsewhere (another node, an
   administrator) enter a local index. */

struct pgbox_pull_bounds;
struct pgbox_pull_counters;

/* Returns TRUE if the messages that a pull tells of aren't those that the mailbox
   had when it was opened: the store's epoch or UIDVALIDITY is another one. */
bool pgbox_sync_is_other_mailbox(struct pgbox_mailbox *mbox,
				 const struct pgbox_pull_counters *counters);
/* Returns TRUE if the rows of a pull after since are few enough to be collected in
   memory. */
bool pgbox_sync_is_pull_small(struct pgbox_mailbox *mbox, uint64_t since);
/* Pull into a locked, once filled index (lock->hdr.last_synced != 0), before
   the caller writes changes of its own that the database has committed.
   lock->hdr follows. Returns 1; 0 if the bounds couldn't be kept, so that all
   of the database is in the index now; -1 with the mailbox's error set. */
int pgbox_sync_pull_locked(struct pgbox_index_lock *lock,
			   const struct pgbox_pull_bounds *bounds);

/* The index was just found, or made, equal to the database. */
void pgbox_sync_set_current(struct pgbox_mailbox *mbox);
/* The same by a commit: the sync at the end of the command asks nothing. */
void pgbox_sync_set_committed(struct pgbox_mailbox *mbox);
/* There is something that the index doesn't have, or may be. */
void pgbox_sync_set_outdated(struct pgbox_mailbox *mbox);
/* Bring the index of an open mailbox up to date. One round trip; none for the
   first time after an open that found it current, and none if a pull or a
   commit of our own brought it up to date in this very turn of the ioloop,
   that is, within the same command. Returns 0, -1 with the
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

#endif
