/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* Reading messages in batches. A search announces the mails it is about to
   return (mail_prefetch()); they are queued, and the first that is really
   needed brings the others along in one statement. Searches announce no more
   than mail_prefetch_count mails at a time. When a transaction comes back for
   more, everything but bodies is read ahead, up to a thousand messages, and
   waits in the mailbox.

   A replica is asked first, if there is one: what is read here never changes.
   What it doesn't have yet the primary is asked for at once. That it still has
   what was expunged meanwhile does no harm: whoever asks hasn't heard of it. */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-storage-error.h"
#include "pgbox-commit.h"
#include "pgbox-sync.h"
#include "pgbox-replica.h"
#include "pgbox-fetch.h"

/* Messages that are read ahead. */
#define PGBOX_FETCH_READ_AHEAD 1000

void pgbox_fetch_queue(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);

	mail->want |= what;
	if (!mail->queued) {
		mail->queued = TRUE;
		array_push_back(&mbox->fetch_queue, &mail);
	}
}

void pgbox_fetch_dequeue(struct pgbox_mail *mail)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);
	struct pgbox_mail *const *mails;
	unsigned int i, count;

	if (!mail->queued)
		return;
	pgbox_coming_forget(mail);
	mail->queued = mail->missed = FALSE;
	mail->want = 0;
	mails = array_get(&mbox->fetch_queue, &count);
	for (i = 0; i < count; i++) {
		if (mails[i] == mail) {
			array_delete(&mbox->fetch_queue, i, 1);
			break;
		}
	}
}

/*
 * Filling a mail
 */

void pgbox_fetch_fill_row(struct pgbox_mail *mail, const struct pgbox_mail_row *row)
{
	struct index_mail_data *data = &mail->imail.data;
	pool_t pool = mail->imail.mail.data_pool;

	mail->row = *row;
	mail->row.pop3_uidl = p_strdup(pool, row->pop3_uidl);
	mail->have_row = TRUE;
	if (data->received_date == (time_t)-1)
		data->received_date = row->received;
	if (data->save_date == (time_t)-1)
		data->save_date = row->saved;
	data->physical_size = row->content.size;
	data->virtual_size = row->content.virtual_size;
	if (data->guid == NULL) {
		data->guid = p_strdup(pool,
				      guid_128_to_string(mail->row.guid));
	}
}

void pgbox_fetch_fill_structure(struct pgbox_mail *mail, const void *value,
				size_t size)
{
	struct index_mail *imail = &mail->imail;

	mail->have |= PGBOX_FETCH_STRUCTURE;
	if (value == NULL || imail->data.bodystructure != NULL)
		return;
	imail->data.bodystructure = p_strndup(imail->mail.data_pool,
					      value, size);
	index_mail_cache_add(imail, MAIL_CACHE_IMAP_BODYSTRUCTURE,
			     value, size);
}

void pgbox_fetch_fill_envelope(struct pgbox_mail *mail, const void *value,
			       size_t size)
{
	mail->have |= PGBOX_FETCH_ENVELOPE;
	if (value != NULL)
		pgbox_mail_set_envelope(mail, value, size);
}

void pgbox_fetch_row_init(struct pgbox_mail_row *row_r, const struct pgbox_fetched *row)
{
	i_zero(row_r);
	guid_128_copy(row_r->guid, row->guid);
	row_r->received = row->received;
	row_r->saved = row->saved;
	row_r->content_id = row->content_id;
	row_r->content.size = row->size;
	row_r->content.virtual_size = row->virtual_size;
	row_r->content.header_size = row->header_size;
	row_r->content.body_size = row->body_size;
	memcpy(row_r->content.digest, row->digest, sizeof(row->digest));
	row_r->pop3_uidl = row->pop3_uidl;
	row_r->pop3_order = row->pop3_order;
}

static void
fetch_fill(struct pgbox_fetch_ctx *ctx, struct pgbox_mail *mail,
	   const struct pgbox_fetched *fetched)
{
	enum pgbox_fetch_what what = ctx->what;
	struct pgbox_mail_row row;

	pgbox_fetch_row_init(&row, fetched);
	pgbox_fetch_fill_row(mail, &row);
	if ((what & (PGBOX_FETCH_HEADER | PGBOX_FETCH_BODY)) != 0) {
		pgbox_mail_set_bytes(&mail->header, fetched->header,
				fetched->header_bytes);
		mail->have |= PGBOX_FETCH_HEADER;
	}
	if ((what & PGBOX_FETCH_BODY) != 0) {
		pgbox_mail_set_bytes(&mail->head, fetched->head,
				fetched->head_bytes);
		mail->have |= PGBOX_FETCH_BODY;
	}
	if ((what & PGBOX_FETCH_STRUCTURE) != 0) {
		pgbox_fetch_fill_structure(mail, fetched->bodystructure,
					 fetched->bodystructure_bytes);
	}
	if ((what & PGBOX_FETCH_ENVELOPE) != 0) {
		pgbox_fetch_fill_envelope(mail, fetched->envelope,
				    fetched->envelope_bytes);
	}
	mail->batch = ctx->batch ? ctx->mbox->fetch_batch : 0;
	if (ctx->keep)
		pgbox_content_keep(mail);
}

void pgbox_fetch_row(const struct pgbox_fetched *fetched, void *context)
{
	struct pgbox_fetch_ctx *ctx = context;
	struct pgbox_mail *const *mails, *mail;
	unsigned int i, count;
	bool wanted = FALSE;

	if (ctx->mail != NULL &&
	    ctx->mail->imail.mail.mail.uid == fetched->uid) {
		fetch_fill(ctx, ctx->mail, fetched);
		wanted = TRUE;
	}
	/* the same message may be queued by two searches */
	mails = array_get(&ctx->mbox->fetch_queue, &count);
	if (!ctx->with_queue || fetched->uid > ctx->queue_last_uid)
		count = 0;
	for (i = count; i > 0; i--) {
		mail = mails[i - 1];
		if (mail->imail.mail.mail.uid != fetched->uid)
			continue;
		if (mail != ctx->mail)
			fetch_fill(ctx, mail, fetched);
		pgbox_fetch_dequeue(mail);
		mails = array_get(&ctx->mbox->fetch_queue, &count);
		wanted = TRUE;
	}
	if (ctx->read_ahead && !wanted)
		pgbox_ahead_keep(ctx, fetched);
}

/*
 * Asking
 */

static void
fetch_add_uids_ahead(struct pgbox_mail *mail, ARRAY_TYPE(seq_range) *uids)
{
	struct mail *_mail = &mail->imail.mail.mail;
	struct mail_index_view *view = _mail->transaction->view;
	uint32_t seq, uid, last_seq;

	last_seq = I_MIN(mail_index_view_get_messages_count(view),
			 _mail->seq + PGBOX_FETCH_READ_AHEAD - 1);
	for (seq = _mail->seq + 1; seq <= last_seq; seq++) {
		mail_index_lookup_uid(view, seq, &uid);
		if (uid != 0)
			seq_range_array_add(uids, uid);
	}
}

void pgbox_fetch_add_queued(struct pgbox_fetch_ctx *ctx, struct pgbox_mail *mail,
			    ARRAY_TYPE(seq_range) *uids)
{
	const uint32_t uid = mail->imail.mail.mail.uid;

	seq_range_array_add(uids, uid);
	ctx->queue_last_uid = I_MAX(ctx->queue_last_uid, uid);
}

unsigned int pgbox_fetch_batch_max(struct pgbox_mailbox *mbox)
{
	return (mbox->box.storage->set->mail_prefetch_count + 1) / 2;
}

/* Bodies of a batch at most, all else. */
static void
fetch_add_uids_queued(struct pgbox_fetch_ctx *ctx, ARRAY_TYPE(seq_range) *uids)
{
	unsigned int left = !ctx->batch ? UINT_MAX :
		pgbox_fetch_batch_max(ctx->mbox);
	struct pgbox_mail *mail;

	pgbox_fetch_add_queued(ctx, ctx->mail, uids);
	array_foreach_elem(&ctx->mbox->fetch_queue, mail) {
		if (mail == ctx->mail || mail->missed)
			continue;
		if (--left == 0)
			break;
		pgbox_fetch_add_queued(ctx, mail, uids);
	}
}

static void
fetch_get_uids(struct pgbox_fetch_ctx *ctx, ARRAY_TYPE(seq_range) *uids)
{
	const struct seq_range *range;

	seq_range_array_add(uids, ctx->mail->imail.mail.mail.uid);
	if (ctx->with_queue)
		fetch_add_uids_queued(ctx, uids);
	if (ctx->read_ahead) {
		pgbox_fetch_close(ctx->mbox);
		fetch_add_uids_ahead(ctx->mail, uids);
		range = array_front(uids);
		ctx->mbox->ahead_first_uid = range->seq1;
		range = array_back(uids);
		ctx->mbox->ahead_last_uid = range->seq2;
	}
}

static bool fetch_is_done(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	return what == 0 ? mail->have_row : (mail->have & what) == what;
}

/* What comes after last_uid was left out, for there were too many bytes, or the
   server doesn't have it yet: it isn't known to be gone. */
static void fetch_end_ahead(struct pgbox_fetch_ctx *ctx, uint32_t last_uid)
{
	if (!ctx->read_ahead)
		return;
	ctx->mbox->ahead_last_uid =
		I_MIN(ctx->mbox->ahead_last_uid,
		      I_MAX(last_uid, ctx->mail->imail.mail.mail.uid));
}

/* Returns TRUE if the replica had the mail. */
static bool fetch_from_replica(struct pgbox_fetch_ctx *ctx,
			       const ARRAY_TYPE(seq_range) *uids)
{
	struct pgbox_mailbox *mbox = ctx->mbox;
	struct pgbox_conn *replica = mbox->replica;
	const uint32_t uid = ctx->mail->imail.mail.mail.uid;
	struct pgbox_error error;
	uint32_t last_uid;

	if (pgbox_message_fetch(replica, mbox->mailbox_id, mbox->guid, uids,
				ctx->what, PGBOX_FETCH_MAX_BYTES,
				pgbox_fetch_row, ctx, &last_uid, &error) < 0)
		pgbox_conn_leave_out(replica, &error);
	if (fetch_is_done(ctx->mail, ctx->need)) {
		fetch_end_ahead(ctx, last_uid);
		return TRUE;
	}
	if (last_uid < uid)
		pgbox_replica_set_lacking(mbox, uid);
	return FALSE;
}

static int
fetch_run(struct pgbox_fetch_ctx *ctx, const ARRAY_TYPE(seq_range) *uids)
{
	struct pgbox_error error;
	uint32_t last_uid;

	if (pgbox_message_fetch(ctx->mbox->conn,
				ctx->mbox->mailbox_id, NULL, uids, ctx->what,
				PGBOX_FETCH_MAX_BYTES, pgbox_fetch_row, ctx,
				&last_uid, &error) < 0 &&
	    !fetch_is_done(ctx->mail, ctx->need)) {
		/* else whoever needs what didn't come asks for it */
		pgbox_mailbox_set_error(&ctx->mbox->box, &error);
		return -1;
	}
	fetch_end_ahead(ctx, last_uid);
	return 0;
}

static int fetch_alone(struct pgbox_fetch_ctx *ctx)
{
	ARRAY_TYPE(seq_range) uids;
	int ret;

	ctx->read_ahead = ctx->with_queue = ctx->batch = FALSE;
	pgbox_fetch_dequeue(ctx->mail);
	i_array_init(&uids, 1);
	seq_range_array_add(&uids, ctx->mail->imail.mail.mail.uid);
	ret = fetch_run(ctx, &uids);
	array_free(&uids);
	return ret;
}

/* Fetch the mail and what comes along with it. */
static int fetch_together(struct pgbox_fetch_ctx *ctx)
{
	const uint32_t uid = ctx->mail->imail.mail.mail.uid;
	ARRAY_TYPE(seq_range) uids;
	bool done = FALSE;
	int ret = 0;

	i_array_init(&uids, 32);
	fetch_get_uids(ctx, &uids);
	if (pgbox_replica_may_have(ctx->mbox, uid)) {
		done = fetch_from_replica(ctx, &uids);
		/* less those that did come */
		array_clear(&uids);
		if (!done)
			fetch_get_uids(ctx, &uids);
	}
	if (!done)
		ret = fetch_run(ctx, &uids);
	array_free(&uids);
	return ret;
}

bool pgbox_fetch_have(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	if (fetch_is_done(mail, what))
		return TRUE;
	pgbox_content_get(mail, what);
	return fetch_is_done(mail, what);
}

/* Bodies are never read ahead. All else is if somebody wants the row alone,
   outside of a search, or if a search is at its second batch at least. */
static bool fetch_want_ahead(struct pgbox_mail *mail, struct pgbox_fetch_ctx *ctx)
{
	struct pgbox_transaction *pt =
		PGBOX_TRANSACTION(mail->imail.mail.mail.transaction);

	uint32_t uid = mail->imail.mail.mail.uid;

	if ((ctx->what & PGBOX_FETCH_BODY) != 0)
		return FALSE;
	if (uid >= ctx->mbox->ahead_first_uid &&
	    uid <= ctx->mbox->ahead_last_uid) {
		/* Its neighbours came along already, it didn't: most likely
		   it is gone. No reason to read them once more. */
		return FALSE;
	}
	if (!ctx->with_queue || array_count(&ctx->mbox->fetch_queue) == 0)
		return ctx->what == 0;
	return pt->fetch_batches++ > 0;
}

/* What is queued comes along, and decides what is fetched of all. But a search
   that looks at sizes or dates of messages while it is still collecting those
   whose bodies it wants has to wait for the bodies: it asks for rows one by one,
   and with the queue it would get one body at a time. */
static void fetch_add_queue(struct pgbox_fetch_ctx *ctx)
{
	enum pgbox_fetch_what queued = 0;
	struct pgbox_mail *mail;

	array_foreach_elem(&ctx->mbox->fetch_queue, mail)
		queued |= mail->want;
	ctx->with_queue = ctx->what != 0 || ctx->mail->queued ||
		(queued & PGBOX_FETCH_BODY) == 0;
	if (ctx->with_queue)
		ctx->what |= queued;
	ctx->batch = ctx->with_queue && (ctx->what & PGBOX_FETCH_BODY) != 0;
	if (ctx->batch)
		ctx->mbox->fetch_batch++;
}

/* Ask for what isn't there, nor on its way. */
static int fetch_ask(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct mail *_mail = &mail->imail.mail.mail;
	struct pgbox_fetch_ctx ctx = {
		.mbox = PGBOX_MAILBOX(_mail->box),
		.need = what,
		.what = what | mail->want,
		.mail = mail,
		.keep = pgbox_content_is_kept(mail),
	};
	const bool missed = mail->missed;
	int ret = 0;

	if (!missed) {
		fetch_add_queue(&ctx);
		ctx.read_ahead = fetch_want_ahead(mail, &ctx);
		ret = fetch_together(&ctx);
	}
	if (ret == 0 && !fetch_is_done(mail, what) &&
	    (missed || ctx.what != 0)) {
		/* the bytes of others came first: this one alone */
		ret = fetch_alone(&ctx);
	}
	if (ret == 0 && !fetch_is_done(mail, what)) {
		/* whoever syncs now has to hear of it, in this turn, too */
		pgbox_sync_set_outdated(ctx.mbox);
		mail_set_expunged(_mail);
		ret = -1;
	}
	return ret;
}

int pgbox_fetch(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);

	if (!pgbox_fetch_have(mail, what) && pgbox_coming_wait(mail) < 0)
		return -1;
	if (!fetch_is_done(mail, what)) {
		if (pgbox_ahead_get(mail, what | mail->want)) {
			pgbox_fetch_dequeue(mail);
			return 0;
		}
		pgbox_coming_settle(mbox);
		if (fetch_ask(mail, what) < 0)
			return -1;
	}
	pgbox_coming_go_on(mail);
	return 0;
}
