/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* An MTA whose link was lost before the answer delivers once more what may be
   there already. The second delivery is to get the token of the first (see
   pgbox-upload.c), so it has to be made of what both have in common:

   - the recipient of the envelope,
   - the header without the lines on top of it that we add ourselves, which
     have the time and the recipients of one transaction,
   - the body.

   That alone would take two mails for one that somebody sent twice on purpose.
   But whoever queues a mail puts a Received line on top, with an id or at least
   the time, and that stays the same as long as it is in the queue. A mail that
   was sent twice, or came directly and through a list, was queued twice. So
   messages without such a line have no token in common, however alike they
   are: nobody has queued them who would try again by himself. */

#include "lib.h"
#include "sha2.h"
#include "mail-user.h"
#include "mail-storage-private.h"
#include "pgbox-storage.h"
#include "pgbox-upload.h"
#include "pgbox-save.h"
#include "pgbox-delivery.h"

struct header_field {
	const char *data;
	size_t size;
};

/* Cut the first field, with its folded lines, off the header. Returns FALSE
   at the header's end. */
static bool header_next(struct header_field *rest, struct header_field *field_r)
{
	const char *p = rest->data, *end = rest->data + rest->size;

	if (rest->size == 0 || *p == '\r' || *p == '\n')
		return FALSE;
	do {
		p = memchr(p, '\n', end - p);
		p = p == NULL ? end : p + 1;
	} while (p < end && (*p == ' ' || *p == '\t'));
	field_r->data = rest->data;
	field_r->size = p - rest->data;
	rest->data = p;
	rest->size = end - p;
	return TRUE;
}

static bool header_is(const struct header_field *field, const char *name)
{
	size_t len = strlen(name);

	return field->size > len && field->data[len] == ':' &&
		strncasecmp(field->data, name, len) == 0;
}

/* By LMTP nobody queues: such a line is ours, or that of a proxy before us. */
static bool header_is_by_lmtp(const struct header_field *field)
{
	const char *value = t_strndup(field->data, field->size);

	return header_is(field, "Received") &&
		(strstr(value, " with LMTP") != NULL ||
		 strstr(value, "\twith LMTP") != NULL);
}

static void header_skip_own(struct header_field *header)
{
	struct header_field rest = *header, field;

	while (header_next(&rest, &field) &&
	       (header_is(&field, "Return-Path") ||
		header_is(&field, "Delivered-To") ||
		header_is_by_lmtp(&field)))
		*header = rest;
}

static bool header_was_queued(struct header_field header)
{
	struct header_field field;

	while (header_next(&header, &field)) {
		if (header_is(&field, "Received"))
			return TRUE;
	}
	return FALSE;
}

/* Returns the recipient, or NULL if this is no delivery by LMTP. */
static const char *delivery_recipient(struct mail_user *user)
{
	if (strcmp(user->service, "lmtp") != 0)
		return NULL;
	return event_find_field_recursive_str(user->event, "rcpt_to");
}

static void
delivery_set(struct pgbox_upload *upload, const char *recipient,
	     const unsigned char message[STATIC_ARRAY SHA256_RESULTLEN])
{
	struct sha256_ctx ctx;

	memcpy(upload->delivery.message, message, SHA256_RESULTLEN);
	sha256_init(&ctx);
	sha256_loop(&ctx, message, SHA256_RESULTLEN);
	sha256_loop(&ctx, recipient, strlen(recipient));
	sha256_result(&ctx, upload->delivery.name);
	upload->delivery.known = TRUE;
}

void pgbox_delivery_set_saved(struct pgbox_save_context *ctx)
{
	const struct pgbox_content *content = &ctx->mail->content;
	struct header_field header = {
		.data = (const char *)content->header,
		.size = content->header_size,
	};
	unsigned char message[SHA256_RESULTLEN];
	struct sha256_ctx sha_ctx;
	const char *recipient;

	recipient = delivery_recipient(ctx->mbox->box.storage->user);
	if (recipient == NULL || !content->header_complete)
		return;
	header_skip_own(&header);
	if (!header_was_queued(header))
		return;
	sha256_init(&sha_ctx);
	sha256_loop(&sha_ctx, header.data, header.size);
	sha256_loop(&sha_ctx, content->digest, PGBOX_DIGEST_SIZE);
	sha256_result(&sha_ctx, message);
	delivery_set(ctx->upload, recipient, message);
}

void pgbox_delivery_set_copied(struct pgbox_save_context *ctx,
			       struct mail *mail)
{
	const struct pgbox_mailbox *src_mbox = PGBOX_MAILBOX(mail->box);
	const char *recipient;

	recipient = delivery_recipient(ctx->mbox->box.storage->user);
	if (recipient != NULL && src_mbox->delivered_uid == mail->uid)
		delivery_set(ctx->upload, recipient, src_mbox->delivered);
}

void pgbox_delivery_remember(struct pgbox_mailbox *mbox,
			     const struct pgbox_upload *upload, uint32_t uid)
{
	if (!upload->delivery.known)
		return;
	mbox->delivered_uid = uid;
	memcpy(mbox->delivered, upload->delivery.message,
	       sizeof(mbox->delivered));
}
