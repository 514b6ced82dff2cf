#ifndef PGBOX_APPLY_H
#define PGBOX_APPLY_H

#include "pgbox-index.h"

struct pgbox_pull;
struct pgbox_pull_counters;

struct pgbox_pull_bounds {
	/* Rows changed after this modseq are left for a later pull, except
	   where a UID would be left out for good. UINT64_MAX: no bound. */
	uint64_t until;
	/* UIDs from here on are somebody's own and none of the pull's */
	uint32_t uid_limit;
};

/* no bounds: everything */
extern const struct pgbox_pull_bounds pgbox_pull_unbounded;

enum pgbox_apply_mode {
	/* the rows are what changed since last_synced */
	PGBOX_APPLY_CHANGES,
	/* the rows are all messages; the index is made from nothing */
	PGBOX_APPLY_RESET,
	/* the rows are all messages; what differs in the index is mended */
	PGBOX_APPLY_COMPARE,
};

/* Write what a pull brings into a locked index; lock->hdr follows. The pull is
   ended in any case. Returns 0, -1 with the mailbox's error set. */
int pgbox_pull_apply(struct pgbox_index_lock *lock, struct pgbox_pull **pull,
		     const struct pgbox_pull_counters *counters,
		     const struct pgbox_pull_bounds *bounds,
		     enum pgbox_apply_mode mode);

/* Index of a keyword of the local index by its number in the database. Returns
   FALSE if the number isn't known (yet). */
bool pgbox_keyword_index(struct pgbox_mailbox *mbox, unsigned int number,
			 unsigned int *idx_r);
/* The highest number that is known, 0 if none. */
unsigned int pgbox_keyword_last(struct pgbox_mailbox *mbox);

#endif
