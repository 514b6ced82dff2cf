/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* The next batch of bodies is asked for as soon as the first mail of the present one
   is made use of, and not waited for: so PostgreSQL reads while imap sends. Only what a
   search has announced is asked for, and each mail once: as many statements as
   without. What fails or doesn't come is asked for again when it is needed, and what
   happens then is told. */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-error.h"
#include "pgbox-query.h"
#include "pgbox-conn.h"
#include "pgbox-storage-error.h"
#include "pgbox-replica.h"
#include "pgbox-fetch.h"

struct pgbox_coming {
	struct pgbox_fetch_ctx ctx;
	struct pgbox_fetch_ahead *fetch;
	bool from_replica;
	uint32_t first_uid;
	/* of the mails that were asked for and aren't forgotten */
	unsigned int wanted;
	/* NULL, or somebody waits to hear how it ended */
	struct pgbox_ahead_end *end;
};

static void coming_row(const struct pgbox_fetched *fetched, void *context)
{
	struct pgbox_coming *coming = context;
	struct pgbox_mail *mail;

	array_foreach_elem(&coming->ctx.mbox->fetch_queue, mail) {
		if (mail->coming && mail->imail.mail.mail.uid == fetched->uid) {
			mail->coming = FALSE;
			coming->wanted--;
		}
	}
	pgbox_fetch_row(fetched, &coming->ctx);
}

static void coming_ended(const struct pgbox_ahead_end *end, uint32_t last_uid,
			 void *context)
{
	struct pgbox_coming *coming = context;
	struct pgbox_mailbox *mbox = coming->ctx.mbox;
	const bool failed = end->error.kind != PGBOX_ERROR_NONE;
	struct pgbox_mail *mail;

	array_foreach_elem(&mbox->fetch_queue, mail) {
		if (!mail->coming)
			continue;
		mail->coming = FALSE;
		/* what comes after last_uid was too much, or comes later */
		if (!failed && mail->imail.mail.mail.uid < last_uid)
			mail->missed = TRUE;
	}
	if (coming->from_replica && !failed && last_uid == 0)
		pgbox_replica_set_lacking(mbox, coming->first_uid);
	if (coming->end != NULL)
		*coming->end = *end;
	mbox->coming = NULL;
	i_free(coming);
}

static bool coming_may_ask_again(const struct pgbox_ahead_end *end)
{
	switch (end->error.kind) {
	case PGBOX_ERROR_RACE:
	case PGBOX_ERROR_LOST:
	case PGBOX_ERROR_STANDBY:
	case PGBOX_ERROR_STALE:
		return !end->overdue;
	default:
		return FALSE;
	}
}

int pgbox_coming_wait(struct pgbox_mail *mail)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);
	struct pgbox_ahead_end end;
	bool from_replica;

	if (!mail->coming)
		return 0;
	i_zero(&end);
	mbox->coming->end = &end;
	from_replica = mbox->coming->from_replica;
	while (mail->coming)
		pgbox_message_fetch_ahead_read(mbox->coming->fetch, TRUE);
	if (mbox->coming != NULL)
		mbox->coming->end = NULL;
	if (end.error.kind == PGBOX_ERROR_NONE)
		return 0;
	if (from_replica) {
		pgbox_conn_leave_out(mbox->replica, &end.error);
		return 0;
	}
	if (mail->queued && !coming_may_ask_again(&end)) {
		pgbox_mailbox_set_error(&mbox->box, &end.error);
		return -1;
	}
	return 0;
}

void pgbox_coming_settle(struct pgbox_mailbox *mbox)
{
	while (mbox->coming != NULL)
		pgbox_message_fetch_ahead_read(mbox->coming->fetch, TRUE);
}

void pgbox_coming_forget(struct pgbox_mail *mail)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);

	if (!mail->coming)
		return;
	mail->coming = FALSE;
	i_assert(mbox->coming->wanted > 0);
	if (--mbox->coming->wanted == 0)
		pgbox_coming_close(mbox);
}

void pgbox_coming_close(struct pgbox_mailbox *mbox)
{
	if (mbox->coming == NULL)
		return;
	pgbox_message_fetch_ahead_cancel(&mbox->coming->fetch);
	i_free(mbox->coming);
}

/* Find the mails of the next batch. Returns FALSE if there are none. */
static bool coming_get_uids(struct pgbox_coming *coming,
			    ARRAY_TYPE(seq_range) *uids)
{
	struct pgbox_mailbox *mbox = coming->ctx.mbox;
	const unsigned int max = pgbox_fetch_batch_max(mbox);
	const struct seq_range *first;
	struct pgbox_mail *mail;

	array_foreach_elem(&mbox->fetch_queue, mail) {
		if (mail->missed || (mail->want & PGBOX_FETCH_BODY) == 0)
			continue;
		if (coming->wanted == max)
			break;
		if (coming->wanted++ == 0)
			coming->ctx.keep = pgbox_content_is_kept(mail);
		coming->ctx.what |= mail->want;
		mail->coming = TRUE;
		pgbox_fetch_add_queued(&coming->ctx, mail, uids);
	}
	if (coming->wanted == 0)
		return FALSE;
	first = array_front(uids);
	coming->first_uid = first->seq1;
	return TRUE;
}

static void coming_send(struct pgbox_coming *coming,
			const ARRAY_TYPE(seq_range) *uids)
{
	struct pgbox_mailbox *mbox = coming->ctx.mbox;
	struct pgbox_conn *conn = mbox->conn;

	if (pgbox_replica_may_have(mbox, coming->first_uid)) {
		coming->from_replica = TRUE;
		conn = mbox->replica;
	}
	coming->fetch = pgbox_message_fetch_ahead(conn, mbox->mailbox_id,
		coming->from_replica ? mbox->guid : NULL, uids,
		coming->ctx.what, PGBOX_FETCH_MAX_BYTES, coming_row,
		coming_ended, coming);
}

static void coming_begin(struct pgbox_mailbox *mbox)
{
	struct pgbox_coming *coming = i_new(struct pgbox_coming, 1);
	ARRAY_TYPE(seq_range) uids;
	struct pgbox_mail *mail;

	coming->ctx.mbox = mbox;
	coming->ctx.with_queue = coming->ctx.batch = TRUE;
	i_array_init(&uids, 16);
	if (coming_get_uids(coming, &uids))
		coming_send(coming, &uids);
	array_free(&uids);
	if (coming->fetch != NULL) {
		mbox->fetch_batch++;
		mbox->coming = coming;
		return;
	}
	array_foreach_elem(&mbox->fetch_queue, mail)
		mail->coming = FALSE;
	i_free(coming);
}

void pgbox_coming_go_on(struct pgbox_mail *mail)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);

	if (mbox->coming != NULL)
		pgbox_message_fetch_ahead_read(mbox->coming->fetch, FALSE);
	if (mbox->coming == NULL && mail->batch == mbox->fetch_batch &&
	    mail->batch != 0)
		coming_begin(mbox);
}
