/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* Rows that came along with the message that was needed. They wait in the mailbox, in
   order of UID. */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "pgbox-fetch.h"

void pgbox_fetch_close(struct pgbox_mailbox *mbox)
{
	struct pgbox_row_ahead *ahead;

	array_foreach_modifiable(&mbox->rows_ahead, ahead) {
		buffer_free(&ahead->header);
		buffer_free(&ahead->bodystructure);
		buffer_free(&ahead->envelope);
	}
	array_clear(&mbox->rows_ahead);
	mbox->ahead_first_uid = mbox->ahead_last_uid = 0;
}

void pgbox_ahead_keep(struct pgbox_fetch_ctx *ctx,
		      const struct pgbox_fetched *fetched)
{
	struct pgbox_row_ahead *ahead;

	/* there is no room for them in a row ahead */
	i_assert((ctx->what & PGBOX_FETCH_BODY) == 0);
	if (fetched->pop3_uidl != NULL) {
		/* rare, and not worth the memory */
		return;
	}
	ahead = array_append_space(&ctx->mbox->rows_ahead);
	ahead->uid = fetched->uid;
	ahead->have = ctx->what;
	pgbox_fetch_row_init(&ahead->row, fetched);
	if ((ctx->what & PGBOX_FETCH_HEADER) != 0) {
		pgbox_mail_set_bytes(&ahead->header, fetched->header,
				fetched->header_bytes);
	}
	if (fetched->bodystructure != NULL) {
		pgbox_mail_set_bytes(&ahead->bodystructure, fetched->bodystructure,
				fetched->bodystructure_bytes);
	}
	if (fetched->envelope != NULL) {
		pgbox_mail_set_bytes(&ahead->envelope, fetched->envelope,
				     fetched->envelope_bytes);
	}
}

static int ahead_cmp(const uint32_t *uid, const struct pgbox_row_ahead *row)
{
	return *uid < row->uid ? -1 : (*uid > row->uid ? 1 : 0);
}

/* Returns NULL if the message was stored without it. */
static const void *ahead_value(const buffer_t *buf, size_t *size_r)
{
	*size_r = buf == NULL ? 0 : buf->used;
	return buf == NULL ? NULL : buf->data;
}

/* What is needed may have come along with another message. */
bool pgbox_ahead_get(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(mail->imail.mail.mail.box);
	const struct pgbox_row_ahead *found;
	struct pgbox_row_ahead *ahead;
	uint32_t uid = mail->imail.mail.mail.uid;
	const void *value;
	size_t size;

	found = array_bsearch(&mbox->rows_ahead, &uid, ahead_cmp);
	if (found == NULL || (found->have & what) != what)
		return FALSE;
	ahead = array_idx_modifiable(&mbox->rows_ahead,
		array_ptr_to_idx(&mbox->rows_ahead, found));
	pgbox_fetch_fill_row(mail, &ahead->row);
	if (ahead->header != NULL && mail->header == NULL) {
		mail->header = ahead->header;
		ahead->header = NULL;
		ahead->have &= ENUM_NEGATE(PGBOX_FETCH_HEADER);
		mail->have |= PGBOX_FETCH_HEADER;
	}
	if ((ahead->have & PGBOX_FETCH_STRUCTURE) != 0) {
		value = ahead_value(ahead->bodystructure, &size);
		pgbox_fetch_fill_structure(mail, value, size);
	}
	if ((ahead->have & PGBOX_FETCH_ENVELOPE) != 0) {
		value = ahead_value(ahead->envelope, &size);
		pgbox_fetch_fill_envelope(mail, value, size);
	}
	return TRUE;
}

bool pgbox_fetch_row_from_ahead(struct pgbox_mail *mail)
{
	if (mail->have_row)
		return TRUE;
	if (!pgbox_ahead_get(mail, mail->want))
		return FALSE;
	pgbox_fetch_dequeue(mail);
	return TRUE;
}
