/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* Reading messages in batches. A search announces the mails it is about to
   return (mail_prefetch()); they are queued, and the first that is really
   needed brings the others along in one statement. */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "imap-bodystructure.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-storage-error.h"
#include "pgbox-mail.h"

/* A batch ends when it has this many bytes of headers and bodies. */
#define PGBOX_FETCH_MAX_BYTES (2 * 1024 * 1024)
/* Rows that are read ahead when one is wanted. */
#define PGBOX_FETCH_READ_AHEAD 1000

struct fetch_ctx {
	struct pgbox_mailbox *mbox;
	enum pgbox_fetch_what what;
	/* rows for no mail in particular are kept */
	bool read_ahead;
	struct pgbox_mail *mail;
};

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
	mail->queued = FALSE;
	mail->want = 0;
	mails = array_get(&mbox->fetch_queue, &count);
	for (i = 0; i < count; i++) {
		if (mails[i] == mail) {
			array_delete(&mbox->fetch_queue, i, 1);
			break;
		}
	}
}

void pgbox_fetch_close(struct pgbox_mailbox *mbox)
{
	array_clear(&mbox->rows_ahead);
}

/*
 * Filling a mail
 */

static void
fetch_fill_dates(struct pgbox_mail *mail, time_t received, time_t saved,
		 uint64_t size, uint64_t virtual_size)
{
	struct index_mail_data *data = &mail->imail.data;

	if (data->received_date == (time_t)-1)
		data->received_date = received;
	if (data->save_date == (time_t)-1)
		data->save_date = saved;
	data->physical_size = size;
	data->virtual_size = virtual_size;
	if (data->guid == NULL) {
		data->guid = p_strdup(mail->imail.mail.data_pool,
				      guid_128_to_string(mail->row.guid));
	}
	mail->have_row = TRUE;
}

static void
fetch_fill_structure(struct pgbox_mail *mail, const struct pgbox_fetched *row)
{
	struct index_mail *imail = &mail->imail;
	pool_t pool = imail->mail.data_pool;

	if (row->envelope != NULL && imail->data.envelope == NULL) {
		imail->data.envelope = p_strndup(pool, row->envelope,
						 row->envelope_bytes);
		index_mail_cache_add(imail, MAIL_CACHE_IMAP_ENVELOPE,
				     row->envelope, row->envelope_bytes);
	}
	if (row->bodystructure != NULL && imail->data.bodystructure == NULL) {
		imail->data.bodystructure =
			p_strndup(pool, row->bodystructure,
				  row->bodystructure_bytes);
		index_mail_cache_add(imail, MAIL_CACHE_IMAP_BODYSTRUCTURE,
				     row->bodystructure,
				     row->bodystructure_bytes);
	}
}

static void fetch_set_bytes(buffer_t **buf, const void *data, size_t size)
{
	if (*buf == NULL)
		*buf = buffer_create_dynamic(default_pool, I_MAX(size, 1));
	buffer_set_used_size(*buf, 0);
	buffer_append(*buf, data, size);
}

static void
fetch_fill(struct pgbox_mail *mail, const struct pgbox_fetched *row,
	   enum pgbox_fetch_what what)
{
	guid_128_copy(mail->row.guid, row->guid);
	mail->row.content_id = row->content_id;
	mail->row.body_id = row->body_id;
	mail->row.body_size = row->body_size;
	mail->row.header_size = row->header_size;
	mail->row.pop3_uidl = p_strdup(mail->imail.mail.data_pool,
				       row->pop3_uidl);
	mail->row.pop3_order = row->pop3_order;
	fetch_fill_dates(mail, row->received, row->saved,
			 row->size, row->virtual_size);

	if ((what & (PGBOX_FETCH_HEADER | PGBOX_FETCH_BODY)) != 0) {
		fetch_set_bytes(&mail->header, row->header, row->header_bytes);
		mail->have |= PGBOX_FETCH_HEADER;
	}
	if ((what & PGBOX_FETCH_BODY) != 0) {
		fetch_set_bytes(&mail->head, row->head, row->head_bytes);
		mail->have |= PGBOX_FETCH_BODY;
	}
	if ((what & PGBOX_FETCH_STRUCTURE) != 0) {
		fetch_fill_structure(mail, row);
		mail->have |= PGBOX_FETCH_STRUCTURE;
	}
}

static void
fetch_keep_ahead(struct fetch_ctx *ctx, const struct pgbox_fetched *row)
{
	struct pgbox_row_ahead *ahead;

	if (row->pop3_uidl != NULL || row->pop3_order != 0) {
		/* rare, and not worth the memory */
		return;
	}
	ahead = array_append_space(&ctx->mbox->rows_ahead);
	ahead->uid = row->uid;
	guid_128_copy(ahead->row.guid, row->guid);
	ahead->row.content_id = row->content_id;
	ahead->row.body_id = row->body_id;
	ahead->row.body_size = row->body_size;
	ahead->row.header_size = row->header_size;
	ahead->received = row->received;
	ahead->saved = row->saved;
	ahead->size = row->size;
	ahead->virtual_size = row->virtual_size;
}

static void
fetch_callback(const struct pgbox_fetched *row, void *context)
{
	struct fetch_ctx *ctx = context;
	struct pgbox_mail *const *mails, *mail;
	unsigned int i, count;

	if (ctx->mail->imail.mail.mail.uid == row->uid)
		fetch_fill(ctx->mail, row, ctx->what);
	/* the same message may be queued by two searches */
	mails = array_get(&ctx->mbox->fetch_queue, &count);
	for (i = count; i > 0; i--) {
		mail = mails[i - 1];
		if (mail->imail.mail.mail.uid != row->uid)
			continue;
		if (mail != ctx->mail)
			fetch_fill(mail, row, ctx->what);
		pgbox_fetch_dequeue(mail);
		mails = array_get(&ctx->mbox->fetch_queue, &count);
	}
	if (ctx->read_ahead)
		fetch_keep_ahead(ctx, row);
}

/*
 * Asking
 */

static int row_ahead_cmp(const uint32_t *uid, const struct pgbox_row_ahead *row)
{
	return *uid < row->uid ? -1 : (*uid > row->uid ? 1 : 0);
}

/* The row may have come along with that of another message. */
static bool fetch_from_ahead(struct pgbox_mail *mail)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);
	const struct pgbox_row_ahead *ahead;
	uint32_t uid = mail->imail.mail.mail.uid;

	ahead = array_bsearch(&mbox->rows_ahead, &uid, row_ahead_cmp);
	if (ahead == NULL)
		return FALSE;
	mail->row = ahead->row;
	fetch_fill_dates(mail, ahead->received, ahead->saved,
			 ahead->size, ahead->virtual_size);
	return TRUE;
}

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

static void
fetch_get_uids(struct fetch_ctx *ctx, ARRAY_TYPE(seq_range) *uids)
{
	struct pgbox_mail *mail;

	seq_range_array_add(uids, ctx->mail->imail.mail.mail.uid);
	array_foreach_elem(&ctx->mbox->fetch_queue, mail) {
		seq_range_array_add(uids, mail->imail.mail.mail.uid);
		ctx->what |= mail->want;
	}
	if (ctx->read_ahead) {
		pgbox_fetch_close(ctx->mbox);
		fetch_add_uids_ahead(ctx->mail, uids);
	}
}

static int
fetch_run(struct fetch_ctx *ctx, const ARRAY_TYPE(seq_range) *uids)
{
	struct pgbox_error error;
	uint32_t last_uid;

	if (pgbox_message_fetch(ctx->mbox->storage->conn,
				ctx->mbox->mailbox_id, uids, ctx->what,
				PGBOX_FETCH_MAX_BYTES, fetch_callback, ctx,
				&last_uid, &error) < 0) {
		pgbox_mailbox_set_error(&ctx->mbox->box, &error);
		return -1;
	}
	return 0;
}

static bool fetch_is_done(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	return mail->have_row && (mail->have & what) == what;
}

int pgbox_fetch(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct mail *_mail = &mail->imail.mail.mail;
	struct fetch_ctx ctx = {
		.mbox = PGBOX_MAILBOX(_mail->box),
		.what = what | mail->want,
		.mail = mail,
	};
	ARRAY_TYPE(seq_range) uids;
	int ret;

	if (fetch_is_done(mail, what) ||
	    (what == 0 && fetch_from_ahead(mail)))
		return 0;
	ctx.read_ahead = ctx.what == 0 &&
		array_count(&ctx.mbox->fetch_queue) == 0;
	i_array_init(&uids, 32);
	fetch_get_uids(&ctx, &uids);
	ret = fetch_run(&ctx, &uids);
	if (ret == 0 && !fetch_is_done(mail, what) && ctx.what != 0) {
		/* the bytes of others came first: this one alone */
		array_clear(&uids);
		seq_range_array_add(&uids, _mail->uid);
		ret = fetch_run(&ctx, &uids);
	}
	array_free(&uids);
	if (ret == 0 && !fetch_is_done(mail, what)) {
		mail_set_expunged(_mail);
		ret = -1;
	}
	return ret;
}
