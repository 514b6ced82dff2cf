#ifndef PGBOX_WRITE_H
#define PGBOX_WRITE_H

#include "pgbox-db-change.h"

struct pgbox_mailbox;
struct pgbox_upload;
struct pgbox_changes;

/* What the database did, in the order in which it did it. */
struct pgbox_write_results {
	struct pgbox_change_result append, store, expunge;
	/* the append is, or may be, that of an earlier delivery of the same
	   message: the index may have it */
	bool repeated;
};

/* Results are empty until something is written; init and deinit make pairs. */
void pgbox_write_results_init(struct pgbox_write_results *results);
void pgbox_write_results_deinit(struct pgbox_write_results *results);

/* Write a mailbox transaction to the database, as one transaction there:
   changes of messages and appends (upload may be NULL). If it is lost before
   its COMMIT was sent, or loses a race, it is written again. Returns 0 when it
   is committed; -1 if not, or if that is unknown (IN_DOUBT). */
int pgbox_write(struct pgbox_mailbox *mbox, struct pgbox_upload *upload,
		struct pgbox_changes *changes, const char *reason,
		struct pgbox_write_results *results,
		struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

#endif
