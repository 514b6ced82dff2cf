/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "settings-parser.h"
#include "mail-cache.h"
#include "mail-user.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-content-cache.h"
#include "pgbox-save.h"
#include "pgbox-upload.h"
#include "pgbox-mail.h"
#include "pgbox-content.h"

#include <openssl/evp.h>

#define CONTENT_DEFAULT_CACHE_SIZE (1024ULL * 1024 * 1024)
#define CONTENT_FIELD_NAME "pgbox.content"
/* sizes and digest, and the largest header that is kept apart */
#define CONTENT_MAX_START (sizeof(struct pgbox_content_info) + \
			   PGBOX_UPLOAD_MAX_HEADER)

static struct pgbox_content_cache *content_cache(struct pgbox_mailbox *mbox)
{
	/* an index that isn't filled has no messages to note keys for */
	return mbox->index_cold ? NULL : mbox->storage->content_cache;
}

struct pgbox_content_cache *pgbox_content_get_cache(struct mail_user *user)
{
	const char *dir = mail_user_plugin_getenv(user, "pgbox_content_cache");
	const char *size =
		mail_user_plugin_getenv(user, "pgbox_content_cache_size");
	uoff_t max_bytes = CONTENT_DEFAULT_CACHE_SIZE;
	const char *error;

	if (dir == NULL || *dir == '\0')
		return NULL;
	if (*dir != '/') {
		e_error(user->event, "pgbox_content_cache: must be an absolute "
			"path, not %s: nothing is cached", dir);
		return NULL;
	}
	if (size != NULL && settings_get_size(size, &max_bytes, &error) < 0) {
		e_error(user->event, "pgbox_content_cache_size: %s: nothing is "
			"cached", error);
		return NULL;
	}
	return max_bytes == 0 ? NULL :
		pgbox_content_cache_init(dir, max_bytes, user->event);
}

void pgbox_content_open(struct pgbox_mailbox *mbox)
{
	struct mail_cache_field field = {
		.name = CONTENT_FIELD_NAME,
		.type = MAIL_CACHE_FIELD_FIXED_SIZE,
		.field_size = PGBOX_DIGEST_SIZE,
		.decision = MAIL_CACHE_DECISION_TEMP,
	};

	if (mbox->storage->content_cache == NULL)
		return;
	mail_cache_register_fields(mbox->box.cache, &field, 1);
	mbox->content_field = field.idx;
}

/*
 * The start of a message
 */

static void
content_start_write(buffer_t *start, const struct pgbox_content_info *info,
		    const void *header, size_t header_size)
{
	buffer_append(start, info, sizeof(*info));
	if (header_size > 0)
		buffer_append(start, header, header_size);
}

/* Returns FALSE if it isn't one: the name was of something else. */
static bool
content_start_read(const buffer_t *start, struct pgbox_content_info *info_r)
{
	if (start->used < sizeof(*info_r))
		return FALSE;
	memcpy(info_r, start->data, sizeof(*info_r));
	return start->used - sizeof(*info_r) == (info_r->header_size < 0 ? 0 :
		(uint64_t)info_r->header_size);
}

static void content_start_key(const buffer_t *start, unsigned char *key_r)
{
	if (EVP_Digest(start->data, start->used, key_r, NULL, EVP_sha256(),
		       NULL) != 1)
		i_fatal_status(FATAL_OUTOFMEM, "SHA-256 is not available");
}

/*
 * Reading
 */

static bool content_get_key(struct pgbox_mail *mail, buffer_t *key)
{
	struct mail *_mail = &mail->imail.mail.mail;
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(_mail->box);

	return mail_cache_lookup_field(_mail->transaction->cache_view, key,
				       _mail->seq, mbox->content_field) > 0 &&
		key->used == PGBOX_DIGEST_SIZE;
}

static bool
content_read_start(struct pgbox_mail *mail, struct pgbox_content_cache *cache,
		   buffer_t *start, struct pgbox_content_info *info_r)
{
	buffer_t *key = t_buffer_create(PGBOX_DIGEST_SIZE);

	return content_get_key(mail, key) &&
		pgbox_content_cache_get(cache, key->data,
					PGBOX_CONTENT_CACHE_START,
					CONTENT_MAX_START, start) &&
		content_start_read(start, info_r);
}

static bool
content_get_start(struct pgbox_mail *mail, struct pgbox_content_cache *cache)
{
	struct index_mail_data *data = &mail->imail.data;
	struct pgbox_content_info info;
	buffer_t *start = t_buffer_create(4096);

	if (!content_read_start(mail, cache, start, &info))
		return FALSE;
	mail->row.content = info;
	data->physical_size = info.size;
	data->virtual_size = info.virtual_size;
	pgbox_mail_set_bytes(&mail->header,
			     CONST_PTR_OFFSET(start->data, sizeof(info)),
			     start->used - sizeof(info));
	mail->have |= PGBOX_FETCH_HEADER;
	return TRUE;
}

static void
content_get_head(struct pgbox_mail *mail, struct pgbox_content_cache *cache)
{
	const struct pgbox_content_info *info = &mail->row.content;
	size_t size = I_MIN(info->body_size, PGBOX_CHUNK_SIZE);

	pgbox_mail_set_bytes(&mail->head, NULL, 0);
	if (info->body_size > 0 &&
	    !pgbox_content_cache_get(cache, info->digest, 0, size, mail->head))
		return;
	if (mail->head->used == size)
		mail->have |= PGBOX_FETCH_BODY;
}

void pgbox_content_get(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct mail *_mail = &mail->imail.mail.mail;
	struct pgbox_content_cache *cache =
		content_cache(PGBOX_MAILBOX(_mail->box));

	const bool want_body = (what & PGBOX_FETCH_BODY) != 0 &&
		(mail->have & PGBOX_FETCH_BODY) == 0;
	/* a body is found by its start */
	const bool want_start = (mail->have & PGBOX_FETCH_HEADER) == 0 &&
		(what & (PGBOX_FETCH_HEADER | PGBOX_FETCH_BODY)) != 0;

	if (cache == NULL || (!want_body && !want_start))
		return;
	T_BEGIN {
		if ((!want_start || content_get_start(mail, cache)) &&
		    want_body)
			content_get_head(mail, cache);
	} T_END;
}

bool pgbox_content_has(struct pgbox_mail *mail, enum pgbox_fetch_what what)
{
	struct mail *_mail = &mail->imail.mail.mail;
	struct pgbox_content_cache *cache =
		content_cache(PGBOX_MAILBOX(_mail->box));
	struct pgbox_content_info info;
	bool ret;

	if (cache == NULL ||
	    (what & ENUM_NEGATE(PGBOX_FETCH_HEADER | PGBOX_FETCH_BODY)) != 0)
		return FALSE;
	T_BEGIN {
		ret = content_read_start(mail, cache, t_buffer_create(4096),
					 &info) &&
			((what & PGBOX_FETCH_BODY) == 0 ||
			 info.body_size == 0 ||
			 pgbox_content_cache_has(cache, info.digest, 0));
	} T_END;
	return ret;
}

/*
 * Keeping
 */

bool pgbox_content_is_kept(struct pgbox_mail *mail)
{
	static const char *const looking_through[] = {
		"doveadm", "indexer-worker", NULL
	};
	struct mail *_mail = &mail->imail.mail.mail;

	return content_cache(PGBOX_MAILBOX(_mail->box)) != NULL &&
		_mail->access_type == MAIL_ACCESS_TYPE_DEFAULT &&
		/* a search that waits for what it has announced */
		mail->imail.data.search_results == NULL &&
		!str_array_find(looking_through,
				_mail->box->storage->user->service);
}

static void content_add_key(struct mail *_mail, const unsigned char *key)
{
	struct mail_cache_transaction_ctx *trans =
		_mail->transaction->cache_trans;
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(_mail->box);

	if (mail_cache_field_can_add(trans, _mail->seq, mbox->content_field)) {
		mail_cache_add(trans, _mail->seq, mbox->content_field, key,
			       PGBOX_DIGEST_SIZE);
	}
}

static void
content_keep(struct pgbox_mail *mail, struct pgbox_content_cache *cache)
{
	const struct pgbox_content_info *info = &mail->row.content;
	buffer_t *start = t_buffer_create(sizeof(*info) + mail->header->used);
	unsigned char key[PGBOX_DIGEST_SIZE];

	content_start_write(start, info, mail->header->data,
			    mail->header->used);
	content_start_key(start, key);
	pgbox_content_cache_put(cache, key, PGBOX_CONTENT_CACHE_START,
				start->data, start->used);
	if (mail->head->used > 0) {
		pgbox_content_cache_put(cache, info->digest, 0,
					mail->head->data, mail->head->used);
	}
	content_add_key(&mail->imail.mail.mail, key);
}

void pgbox_content_keep(struct pgbox_mail *mail)
{
	const enum pgbox_fetch_what both =
		PGBOX_FETCH_HEADER | PGBOX_FETCH_BODY;
	struct mail *_mail = &mail->imail.mail.mail;

	if ((mail->have & both) != both)
		return;
	T_BEGIN {
		content_keep(mail,
			     content_cache(PGBOX_MAILBOX(_mail->box)));
	} T_END;
}

/*
 * What is saved
 */

static void
content_start_of_upload(const struct pgbox_content *content, buffer_t *start)
{
	struct pgbox_content_info info;

	i_zero(&info);
	info.size = content->size;
	info.virtual_size = content->virtual_size;
	info.body_size = content->body_size;
	info.header_size = content->header_complete ?
		(int64_t)content->header_size : -1;
	if (content->body_size > 0)
		memcpy(info.digest, content->digest, sizeof(info.digest));
	content_start_write(start, &info, content->header,
			    content->header_size);
}

void pgbox_content_save_key(struct pgbox_save_context *ctx)
{
	unsigned char key[PGBOX_DIGEST_SIZE];
	buffer_t *start;

	if (content_cache(ctx->mbox) == NULL)
		return;
	start = t_buffer_create(4096);
	content_start_of_upload(&ctx->mail->content, start);
	content_start_key(start, key);
	content_add_key(ctx->ctx.dest_mail, key);
}

static void
content_keep_upload_body(struct pgbox_content_cache *cache,
			 struct pgbox_upload_mail *mail, buffer_t *buf)
{
	const struct pgbox_content *content = &mail->content;
	const unsigned int chunks = pgbox_body_chunk_count(content->body_size);
	struct pgbox_error error;

	for (unsigned int number = 0; number < chunks; number++) {
		if (pgbox_content_cache_has(cache, content->digest, number))
			continue;
		/* It was read to the end before, to be sent. If it can't be any
		   more, the message is committed nevertheless. */
		if (pgbox_upload_read_chunk(mail, number, buf, &error) < 0)
			break;
		pgbox_content_cache_put(cache, content->digest, number,
					buf->data, buf->used);
	}
}

static void
content_keep_upload(struct pgbox_content_cache *cache,
		    struct pgbox_upload_mail *mail, buffer_t *buf)
{
	buffer_t *start = t_buffer_create(4096);
	unsigned char key[PGBOX_DIGEST_SIZE];

	content_start_of_upload(&mail->content, start);
	content_start_key(start, key);
	pgbox_content_cache_put(cache, key, PGBOX_CONTENT_CACHE_START,
				start->data, start->used);
	content_keep_upload_body(cache, mail, buf);
}

void pgbox_content_keep_saved(struct pgbox_mailbox *mbox,
			      struct pgbox_upload *upload)
{
	struct pgbox_content_cache *cache = content_cache(mbox);
	struct pgbox_upload_mail *mail;
	buffer_t *buf;

	if (cache == NULL)
		return;
	buf = buffer_create_dynamic(default_pool, 1024);
	array_foreach_elem(&upload->mails, mail) {
		if (mail->input != NULL) T_BEGIN {
			content_keep_upload(cache, mail, buf);
		} T_END;
	}
	buffer_free(&buf);
}
