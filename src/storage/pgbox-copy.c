/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "index-mail.h"
#include "mail-copy.h"
#include "pgbox-commit.h"
#include "pgbox-upload.h"
#include "pgbox-changes.h"
#include "pgbox-delivery.h"
#include "pgbox-save.h"

/* A message can be copied by reference if it lies in this very database and
   nobody wants its bytes changed. By class and connection, not by storage
   object: LMTP copies between users. */
static bool copy_can_refer(struct pgbox_save_context *ctx, struct mail *mail)
{
	struct pgbox_mailbox *src_mbox;

	if (!pgbox_mailbox_is_ours(mail->box) || mail->uid == 0 ||
	    mail->saving || ctx->ctx.data.guid != NULL ||
	    ctx->mbox->box.disable_reflink_copy_to)
		return FALSE;
	src_mbox = PGBOX_MAILBOX(mail->box);
	return src_mbox->conn == ctx->mbox->conn &&
		src_mbox->mailbox_id != 0;
}

/* The local index may be behind, so the copy's flags are best taken in the
   database from the message that is copied. Not if somebody else chose them:
   mailbox_save_using_mail() is a delivery, plugins may have a say. */
static bool copy_has_flags_of(struct pgbox_save_context *ctx, struct mail *mail)
{
	const struct mail_save_data *mdata = &ctx->ctx.data;
	struct mail_keywords *keywords, *own = mdata->keywords;
	const char *const *names;
	bool equal;

	if (ctx->ctx.saving ||
	    ((mdata->flags ^ mail_get_flags(mail)) & MAIL_FLAGS_NONRECENT) != 0)
		return FALSE;
	names = mail_get_keywords(mail);
	if (*names == NULL || own == NULL)
		return *names == NULL && (own == NULL || own->count == 0);
	/* as mailbox_save_copy_flags() makes them */
	keywords = mailbox_keywords_create_valid(&ctx->mbox->box, names);
	equal = keywords->count == own->count &&
		memcmp(keywords->idx, own->idx,
		       sizeof(*own->idx) * own->count) == 0;
	mailbox_keywords_unref(&keywords);
	return equal;
}

static void copy_by_reference(struct pgbox_save_context *ctx, struct mail *mail)
{
	struct pgbox_mailbox *src_mbox = PGBOX_MAILBOX(mail->box);
	struct pgbox_append *append;

	pgbox_save_add(ctx);
	append = &ctx->mail->append;
	/* GUID, and the received date unless it is given, are the source's:
	   the database takes them from there */
	append->source_mailbox_id = src_mbox->mailbox_id;
	append->source_uid = mail->uid;
	append->move = ctx->ctx.moving;
	pgbox_changes_complete_mail(PGBOX_TRANSACTION(ctx->ctx.transaction),
				    ctx->upload, ctx->mail);
	append->as_source = copy_has_flags_of(ctx, mail);
	index_copy_cache_fields(&ctx->ctx, mail, ctx->mail->seq);
	pgbox_delivery_set_copied(ctx, mail);
}

int pgbox_copy(struct mail_save_context *_ctx, struct mail *mail)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);
	bool moving = _ctx->moving && pgbox_mailbox_is_ours(mail->box);

	if (copy_can_refer(ctx, mail)) {
		ctx->finished = TRUE;
		copy_by_reference(ctx, mail);
		index_save_context_free(_ctx);
	} else if (mail_storage_copy(_ctx, mail) < 0)
		return -1;
	if (moving) {
		ctx->mail->source_mbox = PGBOX_MAILBOX(mail->box);
		ctx->mail->moved_uid = mail->uid;
	}
	return 0;
}
