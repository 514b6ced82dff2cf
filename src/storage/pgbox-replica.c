/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "ioloop.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-db-pull.h"
#include "pgbox-apply.h"
#include "pgbox-sync.h"
#include "pgbox-replica.h"

/* From how many changes on a replica is asked for them: of fewer the primary is
   rid sooner than we are of a replica that doesn't have them yet. */
#define PGBOX_REPLICA_MIN_CHANGES 64

bool pgbox_replica_may_have(struct pgbox_mailbox *mbox, uint32_t uid)
{
	return mbox->replica != NULL &&
		(mbox->replica_lacks_time != ioloop_time ||
		 uid < mbox->replica_lacks_uid);
}

void pgbox_replica_set_lacking(struct pgbox_mailbox *mbox, uint32_t uid)
{
	mbox->replica_lacks_time = ioloop_time;
	mbox->replica_lacks_uid = uid;
}

bool pgbox_replica_want_pull(struct pgbox_mailbox *mbox, uint64_t since,
			     uint64_t open_modseq)
{
	return mbox->replica != NULL && open_modseq > since &&
		open_modseq - since >=
		PGBOX_REPLICA_MIN_CHANGES * PGBOX_MODSEQ_STEP;
}

int pgbox_replica_pull_begin(struct pgbox_mailbox *mbox, uint64_t since,
			     uint64_t open_modseq, struct pgbox_pull **pull_r,
			     struct pgbox_pull_counters *counters_r)
{
	struct pgbox_error error;
	int ret;

	ret = pgbox_pull_begin(mbox->replica, mbox->mailbox_id, since,
			       pgbox_keyword_last(mbox),
			       pgbox_sync_is_pull_small(mbox, since),
			       pull_r, counters_r, &error);
	if (ret < 0)
		pgbox_conn_leave_out(mbox->replica, &error);
	if (ret <= 0)
		return 0;
	if (counters_r->highest_modseq < open_modseq ||
	    pgbox_sync_is_other_mailbox(mbox, counters_r)) {
		pgbox_pull_end(pull_r);
		return 0;
	}
	return 1;
}

void pgbox_replica_pull_failed(struct pgbox_mailbox *mbox)
{
	struct pgbox_error error;

	pgbox_error_set(&error, PGBOX_ERROR_LOST, "a pull from it failed");
	pgbox_conn_leave_out(mbox->replica, &error);
}
