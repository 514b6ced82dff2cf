/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "istream.h"
#include "guid.h"
#include "sha2.h"
#include "message-size.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-query.h"
#include "pgbox-upload.h"

#include <openssl/evp.h>

struct pgbox_upload *pgbox_upload_init(void)
{
	struct pgbox_upload *upload;
	pool_t pool;

	pool = pool_alloconly_create("pgbox upload", 2048);
	upload = p_new(pool, struct pgbox_upload, 1);
	upload->pool = pool;
	i_array_init(&upload->mails, 8);
	return upload;
}

void pgbox_upload_deinit(struct pgbox_upload **_upload)
{
	struct pgbox_upload *upload = *_upload;

	*_upload = NULL;
	if (upload->pipeline != NULL)
		pgbox_pipeline_rollback(&upload->pipeline);
	while (array_count(&upload->mails) > 0)
		pgbox_upload_remove_last(upload);
	array_free(&upload->mails);
	pool_unref(&upload->pool);
}

struct pgbox_upload_mail *pgbox_upload_add(struct pgbox_upload *upload)
{
	struct pgbox_upload_mail *mail;

	mail = p_new(upload->pool, struct pgbox_upload_mail, 1);
	mail->append.keywords = "";
	array_push_back(&upload->mails, &mail);
	return mail;
}

void pgbox_upload_remove_last(struct pgbox_upload *upload)
{
	unsigned int last = array_count(&upload->mails) - 1;
	struct pgbox_upload_mail *mail = array_idx_elem(&upload->mails, last);

	i_stream_unref(&mail->input);
	array_delete(&upload->mails, last, 1);
}

/*
 * Reading the spool
 */

static int
upload_read_header(struct pgbox_upload *upload, struct pgbox_upload_mail *mail)
{
	struct message_size size;
	const unsigned char *data;
	unsigned char *header;
	size_t data_size, pos = 0;
	bool has_nuls;

	i_stream_seek(mail->input, 0);
	if (message_get_header_size(mail->input, &size, &has_nuls) < 0)
		return -1;
	mail->content.header_complete =
		size.physical_size <= PGBOX_UPLOAD_MAX_HEADER;
	if (!mail->content.header_complete || size.physical_size == 0)
		return 0;
	header = p_malloc(upload->pool, size.physical_size);
	i_stream_seek(mail->input, 0);
	while (pos < size.physical_size &&
	       i_stream_read_more(mail->input, &data, &data_size) > 0) {
		data_size = I_MIN(data_size, size.physical_size - pos);
		memcpy(header + pos, data, data_size);
		pos += data_size;
		i_stream_skip(mail->input, data_size);
	}
	mail->content.header_size = pos;
	mail->content.header = header;
	return pos < size.physical_size ? -1 : 0;
}

static int upload_read_body(struct pgbox_upload_mail *mail)
{
	const unsigned char *data;
	unsigned int digest_size;
	EVP_MD_CTX *ctx;
	size_t size;

	i_stream_seek(mail->input, mail->content.header_size);
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		i_fatal_status(FATAL_OUTOFMEM, "SHA-256 is not available");
	while (i_stream_read_more(mail->input, &data, &size) > 0) {
		(void)EVP_DigestUpdate(ctx, data, size);
		mail->content.body_size += size;
		i_stream_skip(mail->input, size);
	}
	(void)EVP_DigestFinal_ex(ctx, mail->content.digest, &digest_size);
	EVP_MD_CTX_free(ctx);
	i_assert(digest_size == sizeof(mail->content.digest));
	return mail->input->stream_errno != 0 ? -1 : 0;
}

int pgbox_upload_digest(struct pgbox_upload *upload,
			struct pgbox_upload_mail *mail, bool split_header,
			const char **error_r)
{
	if ((split_header && upload_read_header(upload, mail) < 0) ||
	    upload_read_body(mail) < 0) {
		*error_r = t_strdup_printf("read(%s) failed: %s",
			i_stream_get_name(mail->input),
			i_stream_get_error(mail->input));
		return -1;
	}
	return 0;
}

int pgbox_upload_read_chunk(struct pgbox_upload_mail *mail, unsigned int number,
			    buffer_t *buf, struct pgbox_error *error_r)
{
	uoff_t start = (uoff_t)number * PGBOX_CHUNK_SIZE;
	size_t want = I_MIN(mail->content.body_size - start, PGBOX_CHUNK_SIZE);
	const unsigned char *data;
	size_t size;

	buffer_set_used_size(buf, 0);
	i_stream_seek(mail->input, mail->content.header_size + start);
	while (buf->used < want &&
	       i_stream_read_more(mail->input, &data, &size) > 0) {
		size = I_MIN(size, want - buf->used);
		buffer_append(buf, data, size);
		i_stream_skip(mail->input, size);
	}
	if (buf->used < want) {
		pgbox_error_set(error_r, PGBOX_ERROR_FULL,
				"reading back the spooled message failed: %s",
				i_stream_get_error(mail->input));
		return -1;
	}
	return 0;
}

/*
 * Sending contents
 */

static bool upload_has_content(const struct pgbox_upload_mail *mail)
{
	return mail->input != NULL;
}

static bool upload_is_chunked(const struct pgbox_upload_mail *mail)
{
	return upload_has_content(mail) &&
		mail->content.body_size > PGBOX_CHUNK_SIZE;
}

/* The whole upload is one message whose body fits its first chunk. */
static bool upload_is_single(struct pgbox_upload *upload)
{
	struct pgbox_upload_mail *mail;

	if (array_count(&upload->mails) != 1)
		return FALSE;
	mail = array_idx_elem(&upload->mails, 0);
	return upload_has_content(mail) && !upload_is_chunked(mail);
}

static bool upload_need_pipeline(struct pgbox_upload *upload, bool mixed)
{
	struct pgbox_upload_mail *mail;

	if (!mixed && upload_is_single(upload))
		return FALSE;
	array_foreach_elem(&upload->mails, mail) {
		if (upload_has_content(mail))
			return TRUE;
	}
	return FALSE;
}

/* A message that has bytes of its own to be sent */
struct upload_item {
	struct pgbox_upload_mail *mail;
	/* the store has its body already */
	bool known;
};
ARRAY_DEFINE_TYPE(upload_item, struct upload_item);

static int upload_item_cmp(const struct upload_item *item1,
			   const struct upload_item *item2)
{
	return memcmp(item1->mail->content.digest, item2->mail->content.digest,
		      PGBOX_DIGEST_SIZE);
}

/* In order of digest: two transactions that store the same new bodies wait for
   each other's, and in any other order they might do so in a circle. */
static void upload_get_items(struct pgbox_upload *upload,
			     ARRAY_TYPE(upload_item) *items)
{
	struct pgbox_upload_mail *mail;
	struct upload_item *item;

	array_foreach_elem(&upload->mails, mail) {
		if (!upload_has_content(mail))
			continue;
		item = array_append_space(items);
		item->mail = mail;
	}
	array_sort(items, upload_item_cmp);
}

/* Large bodies that the store has aren't sent again. */
static int
upload_find_known(ARRAY_TYPE(upload_item) *items, struct pgbox_conn *conn,
		  struct pgbox_error *error_r)
{
	ARRAY(const unsigned char *) digests;
	struct upload_item *item;
	const unsigned char *digest;
	unsigned int n = 0, count;
	bool *results;
	int ret = 0;

	i_array_init(&digests, 8);
	array_foreach_modifiable(items, item) {
		if (upload_is_chunked(item->mail)) {
			digest = item->mail->content.digest;
			array_push_back(&digests, &digest);
		}
	}
	count = array_count(&digests);
	if (count > 0) {
		results = i_new(bool, count);
		ret = pgbox_body_known(conn, array_front(&digests), count,
				       results, error_r);
		array_foreach_modifiable(items, item) {
			if (ret == 0 && upload_is_chunked(item->mail))
				item->known = results[n++];
		}
		i_free(results);
	}
	array_free(&digests);
	return ret;
}

static int
upload_send_content(struct pgbox_upload *upload,
		    struct pgbox_upload_mail *mail, bool known,
		    buffer_t *buf, struct pgbox_error *error_r)
{
	struct pgbox_content *content = &mail->content;
	unsigned int number, chunks;

	content->head = NULL;
	if (!known && content->body_size > 0) {
		if (pgbox_upload_read_chunk(mail, 0, buf, error_r) < 0)
			return -1;
		content->head = buf->data;
	}
	if (pgbox_content_put(upload->pipeline, content,
			      &mail->append.content_id, error_r) < 0)
		return -1;
	if (known)
		return 0;
	chunks = pgbox_body_chunk_count(content->body_size);
	for (number = 1; number < chunks; number++) {
		if (pgbox_upload_read_chunk(mail, number, buf, error_r) < 0 ||
		    pgbox_body_chunk_put(upload->pipeline, content->digest,
					 number, buf->data, buf->used,
					 error_r) < 0)
			return -1;
	}
	return 0;
}

static int
upload_send_contents(struct pgbox_upload *upload,
		     const ARRAY_TYPE(upload_item) *items,
		     struct pgbox_error *error_r)
{
	const struct upload_item *item;
	buffer_t *buf;
	int ret = 0;

	buf = buffer_create_dynamic(default_pool, PGBOX_CHUNK_SIZE);
	array_foreach(items, item) {
		if (ret == 0) T_BEGIN {
			ret = upload_send_content(upload, item->mail,
						  item->known, buf, error_r);
		} T_END;
	}
	buffer_free(&buf);
	return ret < 0 ? -1 : pgbox_pipeline_drain(upload->pipeline, error_r);
}

int pgbox_upload_contents(struct pgbox_upload *upload, struct pgbox_conn *conn,
			  bool mixed, struct pgbox_error *error_r)
{
	ARRAY_TYPE(upload_item) items;
	int ret;

	if (upload->pipeline != NULL || !upload_need_pipeline(upload, mixed))
		return 0;
	i_array_init(&items, array_count(&upload->mails));
	upload_get_items(upload, &items);
	ret = upload_find_known(&items, conn, error_r);
	if (ret == 0)
		ret = pgbox_pipeline_begin(conn, &upload->pipeline, error_r);
	if (ret == 0) {
		ret = upload_send_contents(upload, &items, error_r);
		if (ret < 0)
			pgbox_pipeline_rollback(&upload->pipeline);
	}
	array_free(&items);
	return ret;
}

/*
 * Appending
 */

/* How many tokens a delivery can have in common with its repetitions. There is
   need for a second one only if the link died before a commit. */
#define UPLOAD_MAX_DELIVERY_TOKENS 2
#define UPLOAD_TOKEN_CONSTRAINT "commit_token_pkey"

/* A token of its own, or that of all deliveries of this message to this
   recipient into this mailbox. */
static void upload_set_token(struct pgbox_upload *upload, int64_t mailbox_id)
{
	unsigned char digest[SHA256_RESULTLEN];
	struct sha256_ctx ctx;
	const char *place;

	if (!upload->delivery.known || array_count(&upload->mails) != 1 ||
	    upload->tokens_lost >= UPLOAD_MAX_DELIVERY_TOKENS) {
		upload->delivery.known = FALSE;
		guid_128_generate(upload->token);
		return;
	}
	place = t_strdup_printf("%"PRId64" %u", mailbox_id,
				upload->tokens_lost);
	sha256_init(&ctx);
	sha256_loop(&ctx, upload->delivery.name, PGBOX_DIGEST_SIZE);
	sha256_loop(&ctx, place, strlen(place));
	sha256_result(&ctx, digest);
	memcpy(upload->token, digest, sizeof(upload->token));
}

static int
upload_save_single(struct pgbox_upload *upload, struct pgbox_conn *conn,
		   int64_t mailbox_id, const char *reason,
		   struct pgbox_change_result *result,
		   struct pgbox_error *error_r)
{
	struct pgbox_upload_mail *mail = array_idx_elem(&upload->mails, 0);
	buffer_t *buf;
	int ret = 0;

	buf = buffer_create_dynamic(default_pool, 1024);
	if (mail->content.body_size > 0)
		ret = pgbox_upload_read_chunk(mail, 0, buf, error_r);
	mail->content.head = buf->data;
	if (ret == 0) {
		ret = pgbox_message_save(conn, mailbox_id, upload->token,
					 reason, upload->min_modseq,
					 &mail->append, &mail->content,
					 result, error_r);
	}
	buffer_free(&buf);
	return ret;
}

static int
upload_append(struct pgbox_upload *upload, struct pgbox_conn *conn,
	      int64_t mailbox_id, const char *reason,
	      struct pgbox_change_result *result, struct pgbox_error *error_r)
{
	ARRAY_TYPE(pgbox_append) appends;
	struct pgbox_upload_mail *mail;
	int ret;

	i_array_init(&appends, array_count(&upload->mails));
	array_foreach_elem(&upload->mails, mail)
		array_push_back(&appends, &mail->append);
	ret = pgbox_message_append(upload->pipeline == NULL ? conn : NULL,
				   upload->pipeline, mailbox_id, upload->token,
				   reason, upload->min_modseq, &appends,
				   result, error_r);
	array_free(&appends);
	if (upload->pipeline != NULL) {
		if (ret == 0) {
			ret = pgbox_pipeline_commit(&upload->pipeline,
						    error_r);
		} else
			pgbox_pipeline_rollback(&upload->pipeline);
	}
	return ret;
}

/* The answer to the commit was lost, or the token is there already. Either it
   has a result, or nobody will ever commit it. Returns 0 if it was committed,
   -1 if not, or if it can't be found out: error stays what it is then. */
static int
upload_settle(struct pgbox_upload *upload, struct pgbox_conn *conn,
	      struct pgbox_change_result *result, struct pgbox_error *error)
{
	struct pgbox_error claim_error;
	int ret;

	/* It is worth waiting for: a client or MTA that is told "no" sends the
	   message again. */
	if (!pgbox_conn_await(conn))
		return -1;
	ret = pgbox_commit_claim(conn, upload->token, result, &claim_error);
	if (ret > 0)
		return 0;
	if (ret == 0) {
		/* this token is taken: a repetition needs another */
		upload->tokens_lost++;
		error->kind = PGBOX_ERROR_LOST;
	} else if (error->kind != PGBOX_ERROR_IN_DOUBT)
		*error = claim_error;
	return -1;
}

/* Returns TRUE if nobody knows, but the token, whether the messages are there. */
static bool
upload_is_in_doubt(const struct pgbox_error *error)
{
	if (error->kind == PGBOX_ERROR_CONSTRAINT)
		return strcmp(error->constraint, UPLOAD_TOKEN_CONSTRAINT) == 0;
	return error->kind == PGBOX_ERROR_IN_DOUBT;
}

int pgbox_upload_append(struct pgbox_upload *upload, struct pgbox_conn *conn,
			int64_t mailbox_id, const char *reason,
			struct pgbox_change_result *result, bool *repeated_r,
			struct pgbox_error *error_r)
{
	int ret;

	*repeated_r = FALSE;
	upload_set_token(upload, mailbox_id);
	if (upload->pipeline == NULL && upload_is_single(upload)) {
		ret = upload_save_single(upload, conn, mailbox_id, reason,
					 result, error_r);
	} else {
		ret = upload_append(upload, conn, mailbox_id, reason, result,
				    error_r);
	}
	if (ret < 0 && upload_is_in_doubt(error_r)) {
		ret = upload_settle(upload, conn, result, error_r);
		*repeated_r = ret == 0 && upload->delivery.known;
	}
	return ret;
}
