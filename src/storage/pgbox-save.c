/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "str.h"
#include "ioloop.h"
#include "istream.h"
#include "istream-crlf.h"
#include "ostream.h"
#include "guid.h"
#include "mail-user.h"
#include "index-mail.h"
#include "index-pop3-uidl.h"
#include "mail-index-private.h"
#include "mail-index-transaction-private.h"
#include "imap-bodystructure.h"
#include "pgbox-commit.h"
#include "pgbox-upload.h"
#include "pgbox-spool.h"
#include "pgbox-content.h"
#include "pgbox-delivery.h"
#include "pgbox-save.h"

struct mail_save_context *
pgbox_save_alloc(struct mailbox_transaction_context *t)
{
	struct pgbox_save_context *ctx;
	string_t *prefix;

	if (t->save_ctx != NULL) {
		ctx = PGBOX_SAVECTX(t->save_ctx);
		ctx->failed = FALSE;
		ctx->finished = FALSE;
		ctx->mail = NULL;
		return t->save_ctx;
	}
	prefix = t_str_new(128);
	mail_user_set_get_temp_prefix(prefix, t->box->storage->user->set);

	ctx = i_new(struct pgbox_save_context, 1);
	ctx->ctx.transaction = t;
	ctx->mbox = PGBOX_MAILBOX(t->box);
	ctx->upload = pgbox_upload_init();
	ctx->spool = pgbox_spool_init(str_c(prefix));
	t->save_ctx = &ctx->ctx;
	return t->save_ctx;
}

static void save_add_to_index(struct pgbox_save_context *ctx)
{
	struct mail_save_data *mdata = &ctx->ctx.data;
	struct mail_index_transaction *itrans = ctx->ctx.transaction->itrans;
	uint32_t *seq = &ctx->mail->seq;

	/* The UID comes from the database, also when one is asked for. */
	mail_index_append(itrans, 0, seq);
	mail_index_update_flags(itrans, *seq, MODIFY_REPLACE,
				mdata->flags & ENUM_NEGATE(MAIL_RECENT));
	if (mdata->keywords != NULL) {
		mail_index_update_keywords(itrans, *seq, MODIFY_REPLACE,
					   mdata->keywords);
	}
	ctx->upload->min_modseq = I_MAX(ctx->upload->min_modseq,
					mdata->min_modseq);
}

void pgbox_save_add(struct pgbox_save_context *ctx)
{
	struct mail_save_data *mdata = &ctx->ctx.data;
	struct pgbox_append *append;

	ctx->mail = pgbox_upload_add(ctx->upload);
	append = &ctx->mail->append;
	append->uid = mdata->uid;
	append->received = mdata->received_date;
	append->saved = mdata->save_date != (time_t)-1 ?
		mdata->save_date : -ioloop_time;
	append->pop3_uidl = p_strdup(ctx->upload->pool, mdata->pop3_uidl);
	append->pop3_order = mdata->pop3_order;
	save_add_to_index(ctx);
	mail_set_seq_saving(ctx->ctx.dest_mail, ctx->mail->seq);
}

void pgbox_save_remove(struct pgbox_save_context *ctx)
{
	if (ctx->mail == NULL)
		return;
	index_storage_save_abort_last(&ctx->ctx, ctx->mail->seq);
	pgbox_upload_remove_last(ctx->upload);
	ctx->mail = NULL;
}

int pgbox_save_begin(struct mail_save_context *_ctx, struct istream *input)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);
	struct index_mail *imail = INDEX_MAIL(_ctx->dest_mail);
	struct istream *crlf_input;
	const char *error;

	ctx->output = pgbox_spool_begin(ctx->spool, &error);
	if (ctx->output == NULL) {
		mailbox_set_critical(&ctx->mbox->box, "%s", error);
		ctx->failed = TRUE;
		return -1;
	}
	if (_ctx->data.received_date == (time_t)-1)
		_ctx->data.received_date = ioloop_time;
	pgbox_save_add(ctx);

	/* ENVELOPE and BODYSTRUCTURE are stored, so that a node with a cold
	   cache needn't parse mails. They fall out of the parsing that goes on
	   for the cache anyway. */
	imail->data.save_envelope = TRUE;
	imail->data.save_bodystructure_header = TRUE;
	imail->data.save_bodystructure_body = TRUE;
	/* one form for all: sizes and offsets are those that IMAP shows */
	crlf_input = i_stream_create_crlf(input);
	ctx->input = index_mail_cache_parse_init(_ctx->dest_mail, crlf_input);
	i_stream_unref(&crlf_input);

	_ctx->data.output = ctx->output;
	return 0;
}

int pgbox_save_continue(struct mail_save_context *_ctx)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);

	if (ctx->failed)
		return -1;
	if (index_storage_save_continue(_ctx, ctx->input,
					_ctx->dest_mail) < 0) {
		ctx->failed = TRUE;
		return -1;
	}
	return 0;
}

/* A plugin (compression, encryption) put its own stream before ours: write its
   trailer and take it away. Returns 1 if there was one, 0 if not, -1 if
   writing failed. */
static int save_finish_plugin_output(struct pgbox_save_context *ctx)
{
	struct mail_save_data *mdata = &ctx->ctx.data;
	int ret = 1;

	if (mdata->output == ctx->output)
		return 0;
	if (o_stream_finish(mdata->output) < 0) {
		mailbox_set_critical(&ctx->mbox->box, "write(%s) failed: %s",
				     o_stream_get_name(mdata->output),
				     o_stream_get_error(mdata->output));
		ret = -1;
	}
	o_stream_ref(ctx->output);
	o_stream_destroy(&mdata->output);
	mdata->output = ctx->output;
	return ret;
}

static void save_set_guid(struct pgbox_save_context *ctx)
{
	struct pgbox_append *append = &ctx->mail->append;

	if (ctx->ctx.data.guid != NULL)
		mail_generate_guid_128_hash(ctx->ctx.data.guid, append->guid);
	else
		guid_128_generate(append->guid);
}

static void save_set_structure(struct pgbox_save_context *ctx)
{
	struct index_mail *imail = INDEX_MAIL(ctx->ctx.dest_mail);
	struct index_mail_data *data = &imail->data;
	struct pgbox_content *content = &ctx->mail->content;
	const char *error;
	string_t *str;

	content->envelope = p_strdup(ctx->upload->pool, data->envelope);
	if (data->bodystructure != NULL) {
		content->bodystructure = p_strdup(ctx->upload->pool,
						  data->bodystructure);
	} else if (data->parsed_bodystructure && data->parts != NULL) {
		str = t_str_new(256);
		if (imap_bodystructure_write(data->parts, str, TRUE,
					     &error) == 0) {
			content->bodystructure = p_strdup(ctx->upload->pool,
							  str_c(str));
		}
	}
}

static int save_finish_content(struct pgbox_save_context *ctx, bool split)
{
	struct pgbox_upload_mail *mail = ctx->mail;
	const char *error;
	uoff_t virtual_size;

	mail->input = pgbox_spool_finish(ctx->spool, &error);
	if (mail->input == NULL ||
	    pgbox_upload_digest(ctx->upload, mail, split, &error) < 0) {
		mailbox_set_critical(&ctx->mbox->box, "%s", error);
		return -1;
	}
	if (mail_get_virtual_size(ctx->ctx.dest_mail, &virtual_size) < 0)
		return -1;
	mail->content.size = ctx->input->v_offset;
	mail->content.virtual_size = virtual_size;
	save_set_guid(ctx);
	save_set_structure(ctx);
	pgbox_content_save_key(ctx);
	if (split)
		pgbox_delivery_set_saved(ctx);
	return 0;
}

static void save_finish_mail(struct pgbox_save_context *ctx)
{
	struct mail_save_context *_ctx = &ctx->ctx;
	int plugin_output;

	plugin_output = save_finish_plugin_output(ctx);
	if (plugin_output < 0)
		ctx->failed = TRUE;
	index_mail_cache_parse_deinit(_ctx->dest_mail,
				      _ctx->data.received_date, !ctx->failed);
	if (ctx->failed)
		return;
	index_mail_cache_pop3_data(_ctx->dest_mail, _ctx->data.pop3_uidl,
				   _ctx->data.pop3_order);
	T_BEGIN {
		if (save_finish_content(ctx, plugin_output == 0) < 0)
			ctx->failed = TRUE;
	} T_END;
}

int pgbox_save_finish(struct mail_save_context *_ctx)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);

	ctx->finished = TRUE;
	if (ctx->mail != NULL && ctx->input != NULL)
		save_finish_mail(ctx);
	else
		ctx->failed = TRUE;
	if (ctx->failed) {
		pgbox_spool_abort(ctx->spool);
		pgbox_save_remove(ctx);
	}
	i_stream_unref(&ctx->input);
	ctx->output = NULL;
	index_save_context_free(_ctx);
	return ctx->failed ? -1 : 0;
}

void pgbox_save_cancel(struct mail_save_context *_ctx)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);

	ctx->failed = TRUE;
	(void)pgbox_save_finish(_ctx);
}

/*
 * Commit
 */

static void save_context_free(struct pgbox_save_context **_ctx)
{
	struct pgbox_save_context *ctx = *_ctx;

	*_ctx = NULL;
	pgbox_upload_deinit(&ctx->upload);
	pgbox_spool_deinit(&ctx->spool);
	i_free(ctx);
}

/* Without this lib-storage wouldn't look for UIDLs in new messages. */
static void save_set_pop3_uidl(struct pgbox_save_context *ctx)
{
	struct mailbox_transaction_context *t = ctx->ctx.transaction;
	struct pgbox_upload_mail *mail;
	bool have_uidls = FALSE;

	array_foreach_elem(&ctx->upload->mails, mail) {
		if (mail->append.pop3_uidl != NULL ||
		    mail->append.pop3_order != 0)
			have_uidls = TRUE;
	}
	if (have_uidls) {
		index_pop3_uidl_set_max_uid(t->box, t->itrans,
			mail_index_transaction_get_next_uid(t->itrans) - 1);
	}
}

int pgbox_transaction_save_commit_pre(struct mail_save_context *_ctx)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);
	struct mailbox_transaction_context *t = _ctx->transaction;
	struct pgbox_transaction *pt = PGBOX_TRANSACTION(t);
	bool empty = array_count(&ctx->upload->mails) == 0;

	i_assert(ctx->finished);

	if (pgbox_commit_begin(pt, empty ? NULL : ctx->upload,
			       &ctx->commit) < 0) {
		pgbox_transaction_save_rollback(_ctx);
		return -1;
	}
	if (!empty) {
		save_set_pop3_uidl(ctx);
		t->changes->uid_validity = ctx->mbox->uidvalidity;
	}
	if (ctx->commit != NULL)
		*pt->saved_r = TRUE;
	return 0;
}

void pgbox_transaction_save_commit_post(
	struct mail_save_context *_ctx,
	struct mail_index_transaction_commit_result *result)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);

	/* the transaction is freed already */
	_ctx->transaction = NULL;
	if (ctx->commit != NULL)
		pgbox_commit_end(&ctx->commit, TRUE, result);
	pgbox_content_keep_saved(ctx->mbox, ctx->upload);
	save_context_free(&ctx);
}

static void save_set_unmoved(struct pgbox_upload *upload)
{
	struct pgbox_upload_mail *mail;

	array_foreach_elem(&upload->mails, mail) {
		if (mail->source_mbox != NULL) {
			seq_range_array_add(&mail->source_mbox->unmoved_uids,
					    mail->moved_uid);
		}
	}
}

void pgbox_transaction_save_rollback(struct mail_save_context *_ctx)
{
	struct pgbox_save_context *ctx = PGBOX_SAVECTX(_ctx);

	if (!ctx->finished)
		pgbox_save_cancel(_ctx);
	save_set_unmoved(ctx->upload);
	save_context_free(&ctx);
}
