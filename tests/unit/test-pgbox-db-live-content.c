/* Messages are saved and fetched. */
#include "test-pgbox-db-live.h"
#include "buffer.h"
#include "istream.h"
#include "pgbox-query.h"

#define HEADER "Subject: hi\r\n\r\n"
#define BODY "Hello\r\n"

static void content_init(struct pgbox_content *content_r, const char *header,
			 const void *body, size_t body_size, char digest)
{
	i_zero(content_r);
	content_r->header = (const unsigned char *)header;
	content_r->header_size = strlen(header);
	content_r->header_complete = TRUE;
	/* the server doesn't compute it */
	memset(content_r->digest, digest, sizeof(content_r->digest));
	content_r->body_size = body_size;
	content_r->head = body;
	content_r->size = strlen(header) + body_size;
	content_r->virtual_size = content_r->size;
}

void append_init(struct pgbox_append *append_r)
{
	i_zero(append_r);
	guid_128_generate(append_r->guid);
	append_r->received = 1000000000;
	append_r->saved = 1100000000;
	append_r->keywords = "";
}

/* Save one message. Returns its UID, or 0. */
static uint32_t save(const struct pgbox_append *append,
		     const struct pgbox_content *content,
		     struct pgbox_change_result *result)
{
	const uint32_t *uid;
	guid_128_t token;

	guid_128_generate(token);
	array_clear(&result->uids);
	if (ok(pgbox_message_save(conn, box_id, token, "test", 0, append,
				  content, result, &error)) < 0 ||
	    array_count(&result->uids) != 1)
		return 0;
	uid = array_front(&result->uids);
	return *uid;
}

static const unsigned char *bytes_copy(const unsigned char *data, size_t size)
{
	unsigned char *copy;

	if (data == NULL)
		return NULL;
	copy = p_malloc(pool, size + 1);
	memcpy(copy, data, size);
	return copy;
}

static void fetched_row(const struct pgbox_fetched *row, void *context)
{
	struct fetched *fetched = context;
	struct pgbox_fetched *copy;

	if (fetched->count >= N_ELEMENTS(fetched->row)) {
		fetched->count++;
		return;
	}
	copy = &fetched->row[fetched->count++];
	*copy = *row;
	copy->header = bytes_copy(row->header, row->header_bytes);
	copy->head = bytes_copy(row->head, row->head_bytes);
	copy->bodystructure = bytes_copy(row->bodystructure,
					 row->bodystructure_bytes);
	copy->pop3_uidl = p_strdup(pool, row->pop3_uidl);
}

void fetch(uint32_t first, uint32_t last, enum pgbox_fetch_what what,
		  struct fetched *fetched_r)
{
	uint32_t last_uid;

	i_zero(fetched_r);
	test_assert(ok(pgbox_message_fetch(conn, box_id, NULL, uid_range(first, last),
					   what, UINT64_MAX, fetched_row,
					   fetched_r, &last_uid, &error)) == 0);
	if (fetched_r->count > 0 &&
	    fetched_r->count <= N_ELEMENTS(fetched_r->row)) {
		test_assert(last_uid ==
			    fetched_r->row[fetched_r->count - 1].uid);
	}
}

static void test_save_check(const struct pgbox_append *append)
{
	struct fetched fetched;
	const struct pgbox_fetched *row = &fetched.row[0];

	fetch(1, 1, PGBOX_FETCH_BODY | PGBOX_FETCH_STRUCTURE, &fetched);
	test_assert(fetched.count == 1 && row->uid == 1);
	test_assert(guid_128_equals(row->guid, append->guid));
	test_assert(row->received == 1000000000 && row->saved == 1100000000);
	test_assert(row->size == strlen(HEADER BODY));
	test_assert(row->virtual_size == strlen(HEADER BODY));
	test_assert(row->header_size == (int64_t)strlen(HEADER));
	test_assert(row->header_bytes == strlen(HEADER) &&
		    memcmp(row->header, HEADER, strlen(HEADER)) == 0);
	test_assert(row->body_size == strlen(BODY));
	test_assert(row->head_bytes == strlen(BODY) &&
		    memcmp(row->head, BODY, strlen(BODY)) == 0);
	test_assert(row->bodystructure_bytes == 3 &&
		    memcmp(row->bodystructure, "str", 3) == 0);
	test_assert(row->content_id > 0);
	test_assert_strcmp(row->pop3_uidl, "uidl-1");
	test_assert(row->pop3_order == 77);

	fetch(1, 9, PGBOX_FETCH_HEADER, &fetched);
	test_assert(fetched.count == 1 && row->header != NULL &&
		    row->head == NULL && row->bodystructure == NULL);
	fetch(1, 9, 0, &fetched);
	test_assert(fetched.count == 1 && row->header_bytes == 0 &&
		    row->header_size == (int64_t)strlen(HEADER));
	fetch(2, 9, PGBOX_FETCH_BODY, &fetched);
	test_assert(fetched.count == 0);
}

void test_save(void)
{
	struct pgbox_change_result result;
	struct pgbox_mailbox_row row;
	struct pgbox_content content;
	struct pgbox_append append;
	struct fetched fetched;
	guid_128_t token;

	test_begin("db: messages are saved and fetched");
	pgbox_change_result_init(&result);
	content_init(&content, HEADER, BODY, strlen(BODY), 'a');
	content.envelope = "env";
	content.bodystructure = "str";
	append_init(&append);
	append.flags = SEEN | FLAGGED;
	append.keywords = "one $Two";
	append.pop3_uidl = "uidl-1";
	append.pop3_order = 77;
	test_assert(save(&append, &content, &result) == 1);
	test_assert(result.modseq > result.prev_modseq);
	test_save_check(&append);

	/* no body, a wanted UID */
	content_init(&content, HEADER, NULL, 0, 'x');
	append_init(&append);
	append.uid = 10;
	test_assert(save(&append, &content, &result) == 10);
	fetch(10, 10, PGBOX_FETCH_BODY, &fetched);
	test_assert(fetched.count == 1 && fetched.row[0].body_size == 0 &&
		    fetched.row[0].head == NULL &&
		    fetched.row[0].pop3_uidl == NULL &&
		    fetched.row[0].pop3_order == 0);
	/* all in the body, which the server has already */
	content_init(&content, "", BODY, strlen(BODY), 'a');
	content.header_complete = FALSE;
	content.head = NULL;
	test_assert(save(&append, &content, &result) == 11);
	fetch(11, 11, PGBOX_FETCH_BODY, &fetched);
	test_assert(fetched.count == 1 && fetched.row[0].header_size == -1 &&
		    fetched.row[0].head_bytes == strlen(BODY));
	/* a body that isn't there after all */
	memset(content.digest, 'n', sizeof(content.digest));
	guid_128_generate(token);
	test_assert(pgbox_message_save(conn, box_id, token, "test", 0, &append,
				       &content, &result, &error) < 0);
	test_assert(error.kind == PGBOX_ERROR_RACE);

	test_assert(box_find(BOX, &row) == box_id);
	test_assert(row.messages == 3 && row.unseen == 2 && row.uid_next == 12);
	pgbox_change_result_deinit(&result);
	test_end();
}

void test_recent(void)
{
	uint32_t uid;

	test_begin("db: \\Recent");
	test_assert(ok(pgbox_recent_claim(conn, box_id, 11, &uid,
					  &error)) == 0 && uid == 1);
	test_assert(ok(pgbox_recent_claim(conn, box_id, 12, &uid,
					  &error)) == 0 && uid == 11);
	test_assert(ok(pgbox_recent_claim(conn, box_id, 12, &uid,
					  &error)) == 0 && uid == 12);
	test_end();
}

/* Store a content of several chunks and append it twice. */
static int big_append(const unsigned char *body, size_t body_size,
		      const guid_128_t token,
		      struct pgbox_change_result *result)
{
	struct pgbox_pipeline *pipeline;
	struct pgbox_content content;
	ARRAY_TYPE(pgbox_append) appends;
	struct pgbox_append append;
	int64_t content_id = 0;
	unsigned int i;
	size_t offset;
	int ret = 0;

	content_init(&content, HEADER, body, body_size, 'b');
	if (pgbox_pipeline_begin(conn, &pipeline, &error) < 0)
		return -1;
	ret = pgbox_content_put(pipeline, &content, &content_id, &error);
	for (i = 1; ret == 0; i++) {
		offset = (size_t)i * PGBOX_CHUNK_SIZE;
		if (offset >= body_size)
			break;
		ret = pgbox_body_chunk_put(pipeline, content.digest, i,
					   body + offset,
					   I_MIN(body_size - offset,
						 PGBOX_CHUNK_SIZE), &error);
	}
	if (ret < 0 || pgbox_pipeline_drain(pipeline, &error) < 0) {
		pgbox_pipeline_rollback(&pipeline);
		return -1;
	}
	t_array_init(&appends, 2);
	for (i = 0; i < 2; i++) {
		append_init(&append);
		append.content_id = content_id;
		array_push_back(&appends, &append);
	}
	if (pgbox_message_append(NULL, pipeline, box_id, token, "test", 0,
				 &appends, result, &error) < 0) {
		pgbox_pipeline_rollback(&pipeline);
		return -1;
	}
	return pgbox_pipeline_commit(&pipeline, &error);
}

static const unsigned char unknown_digest[PGBOX_DIGEST_SIZE];

static void big_check(uint32_t uid, const unsigned char *body,
		      size_t body_size)
{
	struct fetched fetched;
	const struct pgbox_fetched *row = &fetched.row[0];
	struct pgbox_error stream_error;
	const unsigned char *data;
	struct istream *input;
	buffer_t *buf = buffer_create_dynamic(default_pool, 1024);
	size_t size;

	fetch(uid, uid, PGBOX_FETCH_BODY, &fetched);
	test_assert(fetched.count == 1 && row->body_size == body_size &&
		    row->head_bytes == PGBOX_CHUNK_SIZE);
	struct pgbox_stored stored = {
		.header = row->header,
		.header_size = row->header_bytes,
		.head = row->head,
		.head_size = row->head_bytes,
		.body_size = row->body_size,
	};
	memcpy(stored.digest, row->digest, sizeof(stored.digest));
	input = pgbox_body_stream_create(conn, &stored, &stream_error);
	while (i_stream_read_more(input, &data, &size) > 0) {
		buffer_append(buf, data, size);
		i_stream_skip(input, size);
	}
	test_assert(input->stream_errno == 0);
	test_assert(buf->used == strlen(HEADER) + body_size &&
		    memcmp(CONST_PTR_OFFSET(buf->data, strlen(HEADER)), body,
			   body_size) == 0);
	i_stream_seek(input, input->v_offset - 10);
	test_assert(i_stream_read_more(input, &data, &size) == 1 && size == 10);
	i_stream_unref(&input);

	buffer_set_used_size(buf, 0);
	test_assert(ok(pgbox_body_chunks(conn, row->digest, 2, 3, buf,
					 &error)) == 1);
	test_assert(buf->used == 2 * PGBOX_CHUNK_SIZE &&
		    memcmp(buf->data, body + 2 * PGBOX_CHUNK_SIZE,
			   buf->used) == 0);
	test_assert(ok(pgbox_body_chunks(conn, row->digest, 5, 7, buf,
					 &error)) == 0);
	test_assert(ok(pgbox_body_chunks(conn, unknown_digest, 1, 1, buf,
					 &error)) == 0);
	buffer_free(&buf);
}

/* Returns TRUE if these are the UIDs that an append has given. */
static bool uids_are(const struct pgbox_change_result *result,
		     uint32_t uid1, uint32_t uid2)
{
	unsigned int count;
	const uint32_t *uids = array_get(&result->uids, &count);

	return count == 2 && uids[0] == uid1 && uids[1] == uid2;
}

void test_big(void)
{
	const size_t body_size = 6 * PGBOX_CHUNK_SIZE + 99;
	unsigned char *body = i_malloc(body_size);
	unsigned char digest[3][PGBOX_DIGEST_SIZE];
	const unsigned char *const digests[] = {
		digest[0], digest[1], digest[2]
	};
	bool known[3] = { TRUE, FALSE, FALSE };
	struct pgbox_change_result result;
	guid_128_t token;
	size_t i;

	test_begin("db: a large body in a pipeline, and its stream");
	for (i = 0; i < body_size; i++)
		body[i] = i_rand_limit(256);
	memset(digest[0], 'z', PGBOX_DIGEST_SIZE);
	memset(digest[1], 'b', PGBOX_DIGEST_SIZE);
	memset(digest[2], 'a', PGBOX_DIGEST_SIZE);
	test_assert(ok(pgbox_body_known(conn, digests, 3, known,
					&error)) == 0);
	test_assert(!known[0] && !known[1] && known[2]);

	pgbox_change_result_init(&result);
	guid_128_generate(token);
	test_assert(ok(big_append(body, body_size, token, &result)) == 0);
	test_assert(uids_are(&result, 12, 13));
	test_assert(result.modseq > result.prev_modseq);
	test_assert(ok(pgbox_body_known(conn, digests, 3, known,
					&error)) == 0);
	test_assert(!known[0] && known[1] && known[2]);
	test_assert(ok(pgbox_body_known(conn, digests, 0, known,
					&error)) == 0);
	big_check(13, body, body_size);
	i_free(body);

	/* was it committed? */
	test_assert(pgbox_commit_claim(conn, token, &result, &error) == 1);
	test_assert(uids_are(&result, 12, 13));
	guid_128_generate(token);
	test_assert(pgbox_commit_claim(conn, token, &result, &error) == 0);
	test_assert(pgbox_commit_claim(conn, token, &result, &error) == 0);
	pgbox_change_result_deinit(&result);
	test_end();
}

void test_fetch_limit(void)
{
	struct fetched fetched;
	uint32_t last_uid;

	test_begin("db: fetch with a limit");
	i_zero(&fetched);
	test_assert(ok(pgbox_message_fetch(conn, box_id, NULL, uid_range(1, 13),
					   PGBOX_FETCH_BODY, 0, fetched_row,
					   &fetched, &last_uid, &error)) == 0);
	test_assert(fetched.count == 1 && last_uid == 1);
	i_zero(&fetched);
	test_assert(ok(pgbox_message_fetch(conn, box_id, NULL, uid_range(1, 13),
					   PGBOX_FETCH_BODY, 1000, fetched_row,
					   &fetched, &last_uid, &error)) == 0);
	test_assert(fetched.count == 4 && last_uid == 12);
	i_zero(&fetched);
	test_assert(ok(pgbox_message_fetch(conn, box_id, NULL, uid_range(500, 600),
					   PGBOX_FETCH_BODY, 0, fetched_row,
					   &fetched, &last_uid, &error)) == 0);
	test_assert(fetched.count == 0 && last_uid == 0);
	test_end();
}

