#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "pgbox-db-content.h"
#include "pgbox-db-content-private.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

/* --- what is stored: see also pgbox-db-append.c */

static int content_digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, PGBOX_DIGEST_SIZE);
}

static void content_known_row(struct pgbox_result *result, void *context)
{
	buffer_t *known = context;
	const unsigned char *digest;
	size_t size;

	digest = pgbox_result_bytea(result, 0, &size);
	if (size == PGBOX_DIGEST_SIZE)
		buffer_append(known, digest, size);
}

static int
content_known_query(struct pgbox_conn *conn,
		    const unsigned char *const *digests, unsigned int count,
		    buffer_t *known, struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();
		size_t *sizes = t_new(size_t, count + 1);
		unsigned int i;

		for (i = 0; i < count; i++)
			sizes[i] = PGBOX_DIGEST_SIZE;
		pgbox_params_bytea_array(params, digests, sizes, count);
		ret = pgbox_db_query(conn, PGBOX_STMT_BODY_KNOWN, params,
				     PGBOX_EXEC_REPEATABLE, content_known_row,
				     known, error_r);
	} T_END;
	return ret;
}

int pgbox_body_known(struct pgbox_conn *conn,
		     const unsigned char *const *digests, unsigned int count,
		     bool *known_r, struct pgbox_error *error_r)
{
	buffer_t *known = buffer_create_dynamic(default_pool,
						PGBOX_DIGEST_SIZE * 16);
	unsigned char *data;
	unsigned int i;
	size_t size;
	int ret;

	ret = content_known_query(conn, digests, count, known, error_r);
	/* the rows come in no order */
	data = buffer_get_modifiable_data(known, &size);
	if (size > 0) {
		qsort(data, size / PGBOX_DIGEST_SIZE, PGBOX_DIGEST_SIZE,
		      content_digest_cmp);
	}
	for (i = 0; i < count; i++) {
		known_r[i] = size > 0 &&
			bsearch(digests[i], data, size / PGBOX_DIGEST_SIZE,
				PGBOX_DIGEST_SIZE, content_digest_cmp) != NULL;
	}
	buffer_free(&known);
	return ret < 0 ? -1 : 0;
}

void pgbox_piece_init(struct pgbox_piece *piece_r, const unsigned char *data,
		      size_t size)
{
	i_zero(piece_r);
	piece_r->data = data;
	piece_r->size = size;
	i_array_init(&piece_r->runs, 8);
	if (size < PGBOX_BASE64_RUN_MIN)
		return;
	/* packing needs a few bytes more than the piece has at most */
	piece_r->packed = buffer_create_dynamic(default_pool, size + 8);
	if (pgbox_base64_runs_pack(data, size, piece_r->packed,
				   &piece_r->runs)) {
		piece_r->data = piece_r->packed->data;
		piece_r->size = piece_r->packed->used;
	}
}

void pgbox_piece_deinit(struct pgbox_piece *piece)
{
	buffer_free(&piece->packed);
	array_free(&piece->runs);
}

void pgbox_content_piece_init(struct pgbox_piece *piece_r,
			      const struct pgbox_content *content)
{
	pgbox_piece_init(piece_r, content->head, content->head == NULL ? 0 :
			 I_MIN(content->body_size, PGBOX_CHUNK_SIZE));
}

static void piece_params_runs(struct pgbox_params *params,
			      const struct pgbox_piece *piece)
{
	unsigned int count;
	const int32_t *runs = array_get(&piece->runs, &count);

	if (count == 0)
		pgbox_params_null(params);
	else
		pgbox_params_int32_array(params, runs, count);
}

static void content_params_text(struct pgbox_params *params, const char *text)
{
	if (text == NULL)
		pgbox_params_null(params);
	else
		pgbox_params_bytea_ref(params, text, strlen(text));
}

void pgbox_content_params(struct pgbox_params *params,
			  const struct pgbox_content *content,
			  const struct pgbox_piece *head)
{
	/* NULL would be SQL NULL */
	const unsigned char *header = content->header_size == 0 ?
		uchar_empty_ptr : content->header;

	pgbox_params_bytea_ref(params, header, content->header_size);
	pgbox_params_bool(params, content->header_complete);
	if (content->body_size == 0)
		pgbox_params_null(params);
	else {
		pgbox_params_bytea_ref(params, content->digest,
				       sizeof(content->digest));
	}
	pgbox_db_params_uint64(params, content->body_size);
	if (head->size == 0)
		pgbox_params_null(params);
	else
		pgbox_params_bytea_ref(params, head->data, head->size);
	pgbox_db_params_uint64(params, content->size);
	pgbox_db_params_uint64(params, content->virtual_size);
	content_params_text(params, content->envelope);
	content_params_text(params, content->bodystructure);
	piece_params_runs(params, head);
}

static void content_put_row(struct pgbox_result *result, void *context)
{
	int64_t *content_id = context;

	*content_id = pgbox_result_int64(result, 0);
}

int pgbox_content_put(struct pgbox_pipeline *pipeline,
		      const struct pgbox_content *content, int64_t *content_id,
		      struct pgbox_error *error_r)
{
	struct pgbox_piece head;
	int ret;

	pgbox_content_piece_init(&head, content);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_content_params(params, content, &head);
		ret = pgbox_pipeline_send(pipeline, PGBOX_STMT_CONTENT_PUT,
					  params, content_put_row, content_id,
					  error_r);
	} T_END;
	pgbox_piece_deinit(&head);
	return ret;
}

int pgbox_body_chunk_put(struct pgbox_pipeline *pipeline,
			 const unsigned char digest[PGBOX_DIGEST_SIZE],
			 unsigned int number, const void *data, size_t size,
			 struct pgbox_error *error_r)
{
	struct pgbox_piece piece;
	int ret;

	i_assert(number > 0 && size > 0 && size <= PGBOX_CHUNK_SIZE);
	pgbox_piece_init(&piece, data, size);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_bytea_ref(params, digest, PGBOX_DIGEST_SIZE);
		pgbox_params_int32(params, number);
		pgbox_params_bytea_ref(params, piece.data, piece.size);
		piece_params_runs(params, &piece);
		ret = pgbox_pipeline_send(pipeline, PGBOX_STMT_BODY_CHUNK_PUT,
					  params, NULL, NULL, error_r);
	} T_END;
	pgbox_piece_deinit(&piece);
	return ret;
}

/* --- what is read */

/* Append a piece of a body, stored in these two columns, to buf. Returns 0, or -1 if
   they don't fit each other. */
static int content_append_piece(struct pgbox_result *result, unsigned int col,
				unsigned int runs_col, buffer_t *buf)
{
	const unsigned char *data;
	size_t size;
	int ret;

	data = pgbox_result_bytea(result, col, &size);
	if (pgbox_result_is_null(result, runs_col)) {
		buffer_append(buf, data, size);
		return 0;
	}
	T_BEGIN {
		unsigned int count;
		const int32_t *runs =
			pgbox_result_int32_array(result, runs_col, &count);

		ret = pgbox_base64_runs_restore(data, size, runs, count,
						PGBOX_CHUNK_SIZE, buf);
	} T_END;
	return ret;
}

/* A statement that is sent at once or ahead */
struct content_query {
	enum pgbox_stmt stmt;
	struct pgbox_params *params;
	enum pgbox_exec_flags flags;
};

struct content_fetch {
	pgbox_fetched_callback_t *callback;
	void *context;
	uint32_t last_uid;
	/* a head that was restored */
	buffer_t *head;
};

static void content_fetch_head(struct pgbox_result *result,
			       struct content_fetch *fetch,
			       struct pgbox_fetched *row)
{
	if (pgbox_result_is_null(result, 16)) {
		row->head = pgbox_result_bytea(result, 10, &row->head_bytes);
		return;
	}
	if (fetch->head == NULL)
		fetch->head = buffer_create_dynamic(default_pool,
						    PGBOX_CHUNK_SIZE);
	buffer_set_used_size(fetch->head, 0);
	/* none: whoever comes to read it finds out that it is damaged */
	if (content_append_piece(result, 10, 16, fetch->head) < 0 ||
	    fetch->head->used != I_MIN(row->body_size, PGBOX_CHUNK_SIZE))
		buffer_set_used_size(fetch->head, 0);
	row->head = fetch->head->data;
	row->head_bytes = fetch->head->used;
}

static void
content_fetch_digest(struct pgbox_result *result, struct pgbox_fetched *row)
{
	const unsigned char *digest;
	size_t size;

	digest = pgbox_result_bytea(result, 8, &size);
	if (digest != NULL && size == sizeof(row->digest))
		memcpy(row->digest, digest, size);
}

static void content_fetch_row(struct pgbox_result *result, void *context)
{
	struct content_fetch *fetch = context;
	struct pgbox_fetched row;

	i_zero(&row);
	row.uid = pgbox_db_result_uint32(result, 0);
	pgbox_result_uuid(result, 1, row.guid);
	row.received = pgbox_result_int64(result, 2);
	row.saved = pgbox_result_int64(result, 3);
	row.size = pgbox_result_int64(result, 4);
	row.virtual_size = pgbox_result_int64(result, 5);
	row.header_size = pgbox_result_int64(result, 6);
	row.header = pgbox_result_bytea(result, 7, &row.header_bytes);
	content_fetch_digest(result, &row);
	row.body_size = pgbox_result_int64(result, 9);
	content_fetch_head(result, fetch, &row);
	row.bodystructure = pgbox_result_bytea(result, 11,
					       &row.bodystructure_bytes);
	row.content_id = pgbox_result_int64(result, 12);
	row.pop3_uidl = pgbox_result_text(result, 13);
	row.pop3_order = pgbox_db_result_uint32(result, 14);
	row.envelope = pgbox_result_bytea(result, 15, &row.envelope_bytes);
	fetch->last_uid = row.uid;
	fetch->callback(&row, fetch->context);
}

static struct content_query
content_fetch_query(int64_t mailbox_id, const uint8_t *mailbox_guid,
		    const ARRAY_TYPE(seq_range) *uids,
		    enum pgbox_fetch_what what, uint64_t limit_bytes)
{
	struct pgbox_params *params = pgbox_params_new();
	const bool want_body = (what & PGBOX_FETCH_BODY) != 0;
	const struct content_query query = {
		.stmt = PGBOX_STMT_MESSAGE_FETCH,
		.params = params,
		/* rows without bodies are many and small */
		.flags = PGBOX_EXEC_REPEATABLE |
			(want_body ? 0 : PGBOX_EXEC_COLLECT),
	};

	pgbox_params_int64(params, mailbox_id);
	pgbox_db_params_ranges(params, uids);
	pgbox_params_bool(params, want_body ||
			  (what & PGBOX_FETCH_HEADER) != 0);
	pgbox_params_bool(params, want_body);
	pgbox_params_bool(params, (what & PGBOX_FETCH_STRUCTURE) != 0);
	pgbox_params_bool(params, (what & PGBOX_FETCH_ENVELOPE) != 0);
	pgbox_db_params_uint64(params, limit_bytes);
	if (mailbox_guid == NULL)
		pgbox_params_null(params);
	else
		pgbox_params_uuid(params, mailbox_guid);
	return query;
}

int pgbox_message_fetch(struct pgbox_conn *conn, int64_t mailbox_id,
			const uint8_t *mailbox_guid,
			const ARRAY_TYPE(seq_range) *uids,
			enum pgbox_fetch_what what, uint64_t limit_bytes,
			pgbox_fetched_callback_t *callback, void *context,
			uint32_t *last_uid_r, struct pgbox_error *error_r)
{
	struct content_fetch fetch = { callback, context, 0, NULL };
	struct pgbox_result *result;
	int ret;

	*last_uid_r = 0;
	T_BEGIN {
		const struct content_query query =
			content_fetch_query(mailbox_id, mailbox_guid, uids,
					    what, limit_bytes);

		ret = pgbox_query(conn, query.stmt, query.params, query.flags,
				  &result, error_r);
	} T_END;
	if (ret < 0)
		return -1;
	ret = pgbox_db_rows(&result, content_fetch_row, &fetch, error_r);
	buffer_free(&fetch.head);
	*last_uid_r = fetch.last_uid;
	return ret < 0 ? -1 : 0;
}

struct pgbox_fetch_ahead {
	struct pgbox_ahead *ahead;
	struct content_fetch fetch;
	pgbox_fetched_end_t *end_callback;
};

static void content_ahead_row(struct pgbox_result *result, void *context)
{
	struct pgbox_fetch_ahead *fetch = context;

	content_fetch_row(result, &fetch->fetch);
}

static void
content_ahead_end(const struct pgbox_ahead_end *end, void *context)
{
	struct pgbox_fetch_ahead *fetch = context;

	fetch->end_callback(end, fetch->fetch.last_uid, fetch->fetch.context);
	buffer_free(&fetch->fetch.head);
	i_free(fetch);
}

struct pgbox_fetch_ahead *
pgbox_message_fetch_ahead(struct pgbox_conn *conn, int64_t mailbox_id,
			  const uint8_t *mailbox_guid,
			  const ARRAY_TYPE(seq_range) *uids,
			  enum pgbox_fetch_what what, uint64_t limit_bytes,
			  pgbox_fetched_callback_t *callback,
			  pgbox_fetched_end_t *end_callback, void *context)
{
	struct pgbox_fetch_ahead *fetch = i_new(struct pgbox_fetch_ahead, 1);

	fetch->fetch.callback = callback;
	fetch->fetch.context = context;
	fetch->end_callback = end_callback;
	T_BEGIN {
		const struct content_query query =
			content_fetch_query(mailbox_id, mailbox_guid, uids,
					    what, limit_bytes);

		fetch->ahead = pgbox_ahead_send(conn, query.stmt, query.params,
						query.flags, content_ahead_row,
						content_ahead_end, fetch);
	} T_END;
	if (fetch->ahead == NULL)
		i_free(fetch);
	return fetch;
}

void pgbox_message_fetch_ahead_read(struct pgbox_fetch_ahead *fetch, bool wait)
{
	(void)pgbox_ahead_read(fetch->ahead, wait);
}

void pgbox_message_fetch_ahead_cancel(struct pgbox_fetch_ahead **_fetch)
{
	struct pgbox_fetch_ahead *fetch = *_fetch;

	*_fetch = NULL;
	pgbox_ahead_cancel(&fetch->ahead);
	buffer_free(&fetch->fetch.head);
	i_free(fetch);
}

struct content_chunks {
	buffer_t *buf;
	unsigned int next_number;
};

static void content_chunk_row(struct pgbox_result *result, void *context)
{
	struct content_chunks *chunks = context;

	/* they come in order: what follows a gap, or what is damaged, is of no
	   use */
	if ((unsigned int)pgbox_result_int32(result, 0) ==
						chunks->next_number &&
	    content_append_piece(result, 1, 2, chunks->buf) == 0)
		chunks->next_number++;
}

int pgbox_body_chunks(struct pgbox_conn *conn,
		      const unsigned char digest[PGBOX_DIGEST_SIZE],
		      unsigned int first, unsigned int last, buffer_t *buf,
		      struct pgbox_error *error_r)
{
	struct content_chunks chunks = { .buf = buf, .next_number = first };
	struct pgbox_result *result;
	int ret;

	i_assert(first > 0 && first <= last);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_bytea_ref(params, digest, PGBOX_DIGEST_SIZE);
		pgbox_params_int32(params, first);
		pgbox_params_int32(params, last);
		ret = pgbox_query(conn, PGBOX_STMT_BODY_CHUNKS, params,
				  PGBOX_EXEC_REPEATABLE, &result, error_r);
	} T_END;
	if (ret < 0)
		return -1;
	ret = pgbox_db_rows(&result, content_chunk_row, &chunks, error_r);
	if (ret < 0)
		return -1;
	return chunks.next_number == last + 1 ? 1 : 0;
}
