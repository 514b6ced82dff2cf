/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-query.h"
#include "pgbox-storage.h"
#include "pgbox-upload.h"
#include "pgbox-changes.h"
#include "pgbox-write.h"

/* How often a transaction of several statements is begun in all. (Single
   statements are repeated below, see pgbox_query().) */
#define PGBOX_WRITE_TRIES 3

void pgbox_write_results_init(struct pgbox_write_results *results)
{
	i_zero(results);
	pgbox_change_result_init(&results->append);
	pgbox_change_result_init(&results->store);
	pgbox_change_result_init(&results->expunge);
}

void pgbox_write_results_deinit(struct pgbox_write_results *results)
{
	pgbox_change_result_deinit(&results->append);
	pgbox_change_result_deinit(&results->store);
	pgbox_change_result_deinit(&results->expunge);
}

static int
write_expunges(struct pgbox_mailbox *mbox, struct pgbox_conn *conn,
	       struct pgbox_pipeline *pipeline, struct pgbox_changes *changes,
	       const char *reason, struct pgbox_write_results *results,
	       struct pgbox_error *error_r)
{
	ARRAY_TYPE(seq_range) uids;
	int ret;

	i_array_init(&uids, array_count(&changes->expunged_uids));
	array_append_array(&uids, &changes->expunged_uids);
	seq_range_array_remove_seq_range(&uids, &changes->deleted_uids);
	ret = pgbox_message_expunge(conn, pipeline, mbox->mailbox_id, &uids,
				    &changes->deleted_uids, reason,
				    &results->expunge, error_r);
	array_free(&uids);
	return ret;
}

static int
write_queue_changes(struct pgbox_mailbox *mbox, struct pgbox_conn *conn,
		    struct pgbox_pipeline *pipeline,
		    struct pgbox_changes *changes, const char *reason,
		    struct pgbox_write_results *results,
		    struct pgbox_error *error_r)
{
	if (array_count(&changes->ops) > 0 &&
	    pgbox_message_store(conn, pipeline, mbox->mailbox_id,
				changes->unchangedsince, &changes->ops,
				&results->store, error_r) < 0)
		return -1;
	if (array_count(&changes->expunged_uids) > 0)
		return write_expunges(mbox, conn, pipeline, changes, reason,
				      results, error_r);
	return 0;
}

/* Only flags, or only expunges: the statement is the transaction. Both: a
   pipeline. */
static int
write_changes(struct pgbox_mailbox *mbox, struct pgbox_changes *changes,
	      const char *reason, struct pgbox_write_results *results,
	      struct pgbox_error *error_r)
{
	struct pgbox_conn *conn = mbox->conn;
	struct pgbox_pipeline *pipeline;

	if (array_count(&changes->ops) == 0 ||
	    array_count(&changes->expunged_uids) == 0) {
		return write_queue_changes(mbox, conn, NULL, changes, reason,
					   results, error_r);
	}
	if (pgbox_pipeline_begin(conn, &pipeline, error_r) < 0)
		return -1;
	if (write_queue_changes(mbox, NULL, pipeline, changes, reason,
				results, error_r) < 0) {
		pgbox_pipeline_rollback(&pipeline);
		return -1;
	}
	return pgbox_pipeline_commit(&pipeline, error_r);
}

/* Appends, with other changes of the same transaction if there are any. */
static int
write_upload(struct pgbox_mailbox *mbox, struct pgbox_upload *upload,
	     struct pgbox_changes *changes, const char *reason,
	     struct pgbox_write_results *results, struct pgbox_error *error_r)
{
	struct pgbox_conn *conn = mbox->conn;
	bool mixed = pgbox_changes_are_some(changes);

	if (pgbox_upload_contents(upload, conn, mixed, error_r) < 0)
		return -1;
	if (mixed) {
		if (upload->pipeline == NULL &&
		    pgbox_pipeline_begin(conn, &upload->pipeline, error_r) < 0)
			return -1;
		if (write_queue_changes(mbox, NULL, upload->pipeline, changes,
					reason, results, error_r) < 0) {
			pgbox_pipeline_rollback(&upload->pipeline);
			return -1;
		}
	}
	return pgbox_upload_append(upload, conn, mbox->mailbox_id, reason,
				   &results->append, &results->repeated,
				   error_r);
}

int pgbox_write(struct pgbox_mailbox *mbox, struct pgbox_upload *upload,
		struct pgbox_changes *changes, const char *reason,
		struct pgbox_write_results *results,
		struct pgbox_error *error_r)
{
	unsigned int tries = 0;
	int ret;

	do {
		if (tries > 0) {
			pgbox_write_results_deinit(results);
			pgbox_write_results_init(results);
		}
		if (upload == NULL) {
			ret = write_changes(mbox, changes, reason, results,
					    error_r);
		} else {
			ret = write_upload(mbox, upload, changes, reason,
					   results, error_r);
		}
	} while (ret < 0 && ++tries < PGBOX_WRITE_TRIES &&
		 pgbox_error_is_repeatable(error_r->kind));
	return ret;
}
