/* The stream over a stored message, without a server: the chunks come from
   memory. */
#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "istream.h"
#include "test-common.h"
#include "pgbox-conn.h"
#include "pgbox-content-cache.h"
#include "pgbox-db-content.h"
#include "pgbox-error.h"

#define HEADER_SIZE_MAX 5000
#define BODY_SIZE_MAX (10 * PGBOX_CHUNK_SIZE)
#define MESSAGE_SIZE_MAX (HEADER_SIZE_MAX + BODY_SIZE_MAX)

struct chunk_call {
	unsigned int first, last;
};

static const unsigned char body_digest[PGBOX_DIGEST_SIZE] = "the body";
static unsigned char message[MESSAGE_SIZE_MAX];
static size_t header_size, body_size;
static ARRAY(struct chunk_call) calls;
/* 0, or a chunk that the server doesn't have, or that is too short */
static unsigned int missing_chunk, short_chunk;
static bool conn_broken;
/* a broken connection works again once it was waited for */
static bool conn_heals;
static int conn_refcount;

/* a replica that is asked first */
static bool replica_used, replica_broken, replica_left_out;
/* 0, or from this chunk on it has none */
static unsigned int replica_missing_chunk, replica_calls;
#define REPLICA ((struct pgbox_conn *)POINTER_CAST(2))

/* a cache in memory */
static bool cache_used, cache_keep;
static buffer_t *cached[BODY_SIZE_MAX / PGBOX_CHUNK_SIZE];
static int cache_refcount;

void pgbox_conn_ref(struct pgbox_conn *conn ATTR_UNUSED)
{
	conn_refcount++;
}

void pgbox_conn_unref(struct pgbox_conn **conn)
{
	*conn = NULL;
	conn_refcount--;
}

bool pgbox_conn_await(struct pgbox_conn *conn ATTR_UNUSED)
{
	if (conn_heals)
		conn_broken = FALSE;
	return conn_heals;
}

void pgbox_conn_leave_out(struct pgbox_conn *conn,
			  const struct pgbox_error *error)
{
	test_assert(conn == REPLICA && error->kind == PGBOX_ERROR_LOST);
	replica_left_out = TRUE;
}

static int replica_body_chunks(unsigned int first, unsigned int last,
			       buffer_t *buf, struct pgbox_error *error_r)
{
	unsigned int i;
	size_t offset;

	replica_calls++;
	for (i = first; i <= last; i++) {
		if (replica_missing_chunk != 0 && i >= replica_missing_chunk)
			return 0;
		offset = (size_t)i * PGBOX_CHUNK_SIZE;
		buffer_append(buf, message + header_size + offset,
			      I_MIN(PGBOX_CHUNK_SIZE, body_size - offset));
	}
	if (replica_broken) {
		pgbox_error_set(error_r, PGBOX_ERROR_LOST, "no replica");
		return -1;
	}
	return 1;
}

int pgbox_body_chunks(struct pgbox_conn *conn,
		      const unsigned char digest[PGBOX_DIGEST_SIZE],
		      unsigned int first, unsigned int last, buffer_t *buf,
		      struct pgbox_error *error_r)
{
	struct chunk_call *call;
	unsigned int i;
	size_t offset, size;

	if (conn == REPLICA)
		return replica_body_chunks(first, last, buf, error_r);
	call = array_append_space(&calls);
	call->first = first;
	call->last = last;
	test_assert(memcmp(digest, body_digest, sizeof(body_digest)) == 0);
	test_assert(first > 0 && first <= last && last - first < 4);
	if (conn_broken) {
		pgbox_error_set(error_r, PGBOX_ERROR_LOST, "no server");
		return -1;
	}
	for (i = first; i <= last; i++) {
		if (i == missing_chunk)
			return 0;
		offset = (size_t)i * PGBOX_CHUNK_SIZE;
		if (offset >= body_size)
			return 0;
		size = I_MIN(PGBOX_CHUNK_SIZE, body_size - offset);
		if (i == short_chunk)
			size--;
		buffer_append(buf, message + header_size + offset, size);
	}
	return 1;
}

void pgbox_content_cache_ref(struct pgbox_content_cache *cache ATTR_UNUSED)
{
	cache_refcount++;
}

void pgbox_content_cache_unref(struct pgbox_content_cache **cache)
{
	*cache = NULL;
	cache_refcount--;
}

bool pgbox_content_cache_get(struct pgbox_content_cache *cache ATTR_UNUSED,
			     const unsigned char *digest, uint32_t number,
			     size_t max_size, buffer_t *buf)
{
	test_assert(memcmp(digest, body_digest, sizeof(body_digest)) == 0);
	test_assert(number > 0 && number < N_ELEMENTS(cached));
	if (cached[number] == NULL)
		return FALSE;
	test_assert(cached[number]->used == max_size);
	buffer_append_buf(buf, cached[number], 0, SIZE_MAX);
	return TRUE;
}

void pgbox_content_cache_put(struct pgbox_content_cache *cache ATTR_UNUSED,
			     const unsigned char *digest, uint32_t number,
			     const void *data, size_t size)
{
	test_assert(memcmp(digest, body_digest, sizeof(body_digest)) == 0);
	test_assert(number > 0 && number < N_ELEMENTS(cached) &&
		    cached[number] == NULL);
	cached[number] = buffer_create_dynamic(default_pool, size);
	buffer_append(cached[number], data, size);
}

static struct istream *
stream_create(const unsigned char *head, size_t head_size,
	      struct pgbox_error *error)
{
	struct pgbox_stored stored = {
		.replica = replica_used ? REPLICA : NULL,
		.header = message,
		.header_size = header_size,
		.head = head,
		.head_size = head_size,
		.body_size = body_size,
		.cache = cache_used ? POINTER_CAST(1) : NULL,
		.cache_keep = cache_keep,
	};

	memcpy(stored.digest, body_digest, sizeof(stored.digest));
	return pgbox_body_stream_create(NULL, &stored, error);
}

static struct istream *
stream_open(size_t new_header_size, size_t new_body_size,
	    struct pgbox_error *error)
{
	header_size = new_header_size;
	body_size = new_body_size;
	array_clear(&calls);
	return stream_create(message + header_size,
			     I_MIN(body_size, PGBOX_CHUNK_SIZE), error);
}

/* Read until eof and compare with the message from v_offset on. */
static void stream_check_rest(struct istream *input)
{
	const unsigned char *data;
	size_t size, total = header_size + body_size;
	uoff_t offset = input->v_offset;

	while (i_stream_read_more(input, &data, &size) > 0) {
		test_assert(offset + size <= total);
		test_assert(memcmp(data, message + offset, size) == 0);
		i_stream_skip(input, size);
		offset += size;
		test_assert(input->v_offset == offset);
	}
	test_assert(input->stream_errno == 0 && input->eof);
	test_assert(offset == total);
}

static bool call_is(unsigned int idx, unsigned int first, unsigned int last)
{
	const struct chunk_call *call;

	if (idx >= array_count(&calls))
		return FALSE;
	call = array_idx(&calls, idx);
	return call->first == first && call->last == last;
}

static void test_sequential(void)
{
	static const size_t header_sizes[] = { 0, 1, 777, HEADER_SIZE_MAX };
	static const size_t body_sizes[] = {
		0, 1, PGBOX_CHUNK_SIZE - 1, PGBOX_CHUNK_SIZE,
		PGBOX_CHUNK_SIZE + 1, 2 * PGBOX_CHUNK_SIZE,
		6 * PGBOX_CHUNK_SIZE + 4321, BODY_SIZE_MAX
	};
	const struct stat *st;
	struct istream *input;
	unsigned int i, j;
	uoff_t size;

	test_begin("body stream: from begin to end");
	for (i = 0; i < N_ELEMENTS(header_sizes); i++) {
		for (j = 0; j < N_ELEMENTS(body_sizes); j++) {
			input = stream_open(header_sizes[i], body_sizes[j],
					    NULL);
			test_assert(i_stream_stat(input, TRUE, &st) == 0 &&
				    st->st_size == (off_t)(header_sizes[i] +
							   body_sizes[j]));
			test_assert(i_stream_get_size(input, TRUE,
						      &size) == 1 &&
				    size == header_sizes[i] + body_sizes[j]);
			stream_check_rest(input);
			i_stream_seek(input, 0);
			stream_check_rest(input);
			i_stream_unref(&input);
		}
	}
	test_assert(conn_refcount == 0);
	test_end();
}

static void test_read_ahead(void)
{
	struct istream *input;
	const unsigned char *data;
	size_t size;

	test_begin("body stream: read-ahead");
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	stream_check_rest(input);
	test_assert(array_count(&calls) == 3);
	test_assert(call_is(0, 1, 4) && call_is(1, 5, 8) && call_is(2, 9, 9));
	i_stream_unref(&input);

	/* a jump costs one chunk, going on from there is sequential */
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	i_stream_seek(input, 100 + 3 * PGBOX_CHUNK_SIZE + 10);
	test_assert(i_stream_read(input) > 0);
	test_assert(array_count(&calls) == 1 && call_is(0, 3, 3));
	/* back within the batch and within the head: nothing to ask for */
	i_stream_seek(input, 100 + 3 * PGBOX_CHUNK_SIZE + 2);
	test_assert(i_stream_read(input) > 0);
	i_stream_seek(input, 50);
	test_assert(i_stream_read(input) > 0);
	i_stream_seek(input, 100 + 4 * PGBOX_CHUNK_SIZE - 2);
	test_assert(i_stream_read_data(input, &data, &size, 1) == 1);
	test_assert(array_count(&calls) == 1);
	stream_check_rest(input);
	test_assert(array_count(&calls) == 3);
	test_assert(call_is(1, 4, 7) && call_is(2, 8, 9));
	/* skipping is a jump, too */
	i_stream_seek(input, 0);
	test_assert(i_stream_read(input) > 0);
	i_stream_skip(input, 5 * PGBOX_CHUNK_SIZE);
	test_assert(i_stream_read(input) > 0);
	test_assert(array_count(&calls) == 4 && call_is(3, 4, 4));
	/* beyond the end */
	i_stream_seek(input, 100 + BODY_SIZE_MAX + 7);
	test_assert(i_stream_read(input) == -1);
	test_assert(input->eof && input->stream_errno == 0);
	test_assert(array_count(&calls) == 4);
	i_stream_unref(&input);
	test_assert(conn_refcount == 0);
	test_end();
}

static void test_max_buffer_size(void)
{
	const size_t want = 2 * PGBOX_CHUNK_SIZE;
	struct istream *input;
	const unsigned char *data;
	size_t size;

	test_begin("body stream: buffer sizes");
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	while (i_stream_read(input) > 0) ;
	test_assert(i_stream_read(input) == -2);
	test_assert(i_stream_get_data_size(input) ==
		    i_stream_get_max_buffer_size(input));
	i_stream_set_max_buffer_size(input, want);
	test_assert(i_stream_read_data(input, &data, &size, want - 1) == 1);
	test_assert(size >= want && memcmp(data, message, size) == 0);
	test_assert(input->v_offset == 0);
	i_stream_skip(input, 5);
	test_assert(i_stream_read_data(input, &data, &size, want - 1) == 1);
	test_assert(memcmp(data, message + 5, size) == 0);
	i_stream_seek(input, 0);
	test_assert(i_stream_read_limited(input, &data, &size, 10) == 1);
	test_assert(size == 10 && memcmp(data, message, 10) == 0);
	stream_check_rest(input);
	i_stream_unref(&input);
	test_end();
}

/* One random operation. Offsets gather around borders of chunks. */
static void random_step(struct istream *input)
{
	const size_t total = header_size + body_size;
	const unsigned char *data;
	uoff_t offset = input->v_offset;
	size_t size;

	switch (i_rand_limit(6)) {
	case 0:
		offset = i_rand_limit(total + 2);
		i_stream_seek(input, offset);
		break;
	case 1:
		offset = header_size + i_rand_limit(11) * PGBOX_CHUNK_SIZE +
			i_rand_limit(20);
		offset = I_MIN(offset < 10 ? 0 : offset - 10, total);
		i_stream_seek(input, offset);
		break;
	case 2:
		size = i_rand_limit(3) * i_rand_limit(10000);
		size = offset >= total ? 0 : I_MIN(size, total - offset);
		offset += size;
		i_stream_skip(input, size);
		break;
	case 3:
		(void)i_stream_read(input);
		break;
	case 4:
		(void)i_stream_read_limited(input, &data, &size,
					    1 + i_rand_limit(9000));
		break;
	default:
		(void)i_stream_read_data(input, &data, &size,
					 i_rand_limit(8000));
		break;
	}
	test_assert(input->v_offset == offset);
	data = i_stream_get_data(input, &size);
	test_assert(size == 0 || (offset + size <= total &&
				  memcmp(data, message + offset, size) == 0));
	test_assert(input->stream_errno == 0);
	if (i_stream_read_more(input, &data, &size) > 0) {
		test_assert(offset < total);
		test_assert(memcmp(data, message + offset, size) == 0);
	} else {
		test_assert(offset >= total && input->eof);
	}
}

static void test_random(void)
{
	struct istream *input;
	unsigned int i, j;

	test_begin("body stream: random access");
	for (i = 0; i < 40 && !test_has_failed(); i++) {
		input = stream_open(i_rand_limit(HEADER_SIZE_MAX),
				    i_rand_limit(i % 4 == 0 ? PGBOX_CHUNK_SIZE :
						 BODY_SIZE_MAX), NULL);
		i_stream_set_max_buffer_size(input, 8192 +
					     i_rand_limit(200000));
		if (i % 3 == 0)
			i_stream_set_persistent_buffers(input, FALSE);
		for (j = 0; j < 300 && !test_has_failed(); j++)
			random_step(input);
		i_stream_unref(&input);
	}
	test_assert(conn_refcount == 0);
	test_end();
}

/* Two readers on parts of one message take turns. */
static void test_shared(void)
{
	const size_t part_size = 3 * PGBOX_CHUNK_SIZE;
	struct istream *input, *part[2];
	const unsigned char *data;
	size_t size, pos[2] = { 0, 0 };
	unsigned int i, turns = 0;
	int ret[2] = { 1, 1 };

	test_begin("body stream: shared by two readers");
	input = stream_open(10, BODY_SIZE_MAX, NULL);
	part[0] = i_stream_create_range(input, 1000, part_size);
	part[1] = i_stream_create_range(input, BODY_SIZE_MAX / 2,
					part_size);
	while (ret[0] > 0 || ret[1] > 0) {
		i = turns++ % 2;
		ret[i] = i_stream_read_more(part[i], &data, &size);
		if (ret[i] <= 0)
			continue;
		size = I_MIN(size, part_size - pos[i]);
		test_assert(memcmp(data, message + pos[i] +
				   (i == 0 ? 1000 : BODY_SIZE_MAX / 2),
				   size) == 0);
		i_stream_skip(part[i], size);
		pos[i] += size;
	}
	test_assert(pos[0] == part_size && pos[1] == part_size);
	i_stream_unref(&part[0]);
	i_stream_unref(&part[1]);
	i_stream_unref(&input);
	test_assert(conn_refcount == 0);
	test_end();
}

/* The next read fails with this kind of error. */
static void
stream_check_error(struct istream *input, const struct pgbox_error *error,
		   enum pgbox_error_kind kind)
{
	test_assert(i_stream_read(input) == -1);
	test_assert(input->stream_errno == EIO && input->eof);
	test_assert(error->kind == kind);
	test_assert_strcmp(i_stream_get_error(input), error->text);
}

static void test_errors(void)
{
	struct istream *input;
	struct pgbox_error error;

	test_begin("body stream: errors");
	i_zero(&error);
	missing_chunk = 3;
	input = stream_open(10, BODY_SIZE_MAX, &error);
	i_stream_seek(input, 10 + 2 * PGBOX_CHUNK_SIZE);
	test_assert(i_stream_read(input) > 0 && error.kind == PGBOX_ERROR_NONE);
	i_stream_seek(input, 10 + 3 * PGBOX_CHUNK_SIZE);
	stream_check_error(input, &error, PGBOX_ERROR_DAMAGED);
	test_assert(i_stream_read(input) == -1);
	i_stream_unref(&input);

	missing_chunk = 0;
	short_chunk = 9;
	input = stream_open(10, BODY_SIZE_MAX, &error);
	i_stream_seek(input, 10 + BODY_SIZE_MAX - 1);
	stream_check_error(input, &error, PGBOX_ERROR_DAMAGED);
	i_stream_unref(&input);
	short_chunk = 0;

	conn_broken = TRUE;
	input = stream_open(10, BODY_SIZE_MAX, &error);
	test_assert(i_stream_read(input) > 0);
	i_stream_seek(input, PGBOX_CHUNK_SIZE + 10);
	stream_check_error(input, &error, PGBOX_ERROR_LOST);
	i_stream_unref(&input);
	/* without a place for the class */
	input = stream_open(10, BODY_SIZE_MAX, NULL);
	i_stream_seek(input, PGBOX_CHUNK_SIZE + 10);
	test_assert(i_stream_read(input) == -1);
	test_assert_strcmp(i_stream_get_error(input), "no server");
	i_stream_unref(&input);

	conn_heals = TRUE;
	input = stream_open(10, BODY_SIZE_MAX, &error);
	i_stream_seek(input, PGBOX_CHUNK_SIZE + 10);
	test_assert(i_stream_read(input) > 0 && !conn_broken);
	i_stream_unref(&input);
	conn_heals = FALSE;

	/* the head wasn't fetched */
	header_size = 10;
	body_size = 20;
	input = stream_create(NULL, 0, &error);
	test_assert(i_stream_read(input) == 10);
	stream_check_error(input, &error, PGBOX_ERROR_DAMAGED);
	i_stream_unref(&input);
	test_assert(conn_refcount == 0);
	test_end();
}

static void cache_clear(void)
{
	for (unsigned int i = 0; i < N_ELEMENTS(cached); i++)
		buffer_free(&cached[i]);
}

static void test_cached(void)
{
	struct istream *input;

	test_begin("body stream: chunks of the cache");
	cache_used = cache_keep = TRUE;

	input = stream_open(100, BODY_SIZE_MAX, NULL);
	stream_check_rest(input);
	test_assert(array_count(&calls) == 3);
	i_stream_unref(&input);
	test_assert(cached[0] == NULL && cached[1] != NULL &&
		    cached[9]->used == PGBOX_CHUNK_SIZE);

	/* all is there */
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	stream_check_rest(input);
	test_assert(array_count(&calls) == 0);
	i_stream_unref(&input);

	/* some is there: it isn't kept twice, what is missing is */
	cache_clear();
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	i_stream_seek(input, 100 + 5 * PGBOX_CHUNK_SIZE + 7);
	test_assert(i_stream_read(input) > 0);
	test_assert(array_count(&calls) == 1 && call_is(0, 5, 5));
	test_assert(cached[5] != NULL && cached[6] == NULL);
	i_stream_unref(&input);

	/* nothing is kept of a search */
	cache_clear();
	cache_keep = FALSE;
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	stream_check_rest(input);
	i_stream_unref(&input);
	test_assert(cached[1] == NULL);

	cache_used = FALSE;
	test_assert(cache_refcount == 0);
	test_end();
}

static void test_replica(void)
{
	struct istream *input;

	test_begin("body stream: chunks of a replica");
	replica_used = TRUE;
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	stream_check_rest(input);
	test_assert(array_count(&calls) == 0 && replica_calls == 3);
	i_stream_unref(&input);

	/* what it lacks comes from the primary, and then all the rest */
	replica_missing_chunk = 7;
	replica_calls = 0;
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	stream_check_rest(input);
	test_assert(array_count(&calls) == 2 && replica_calls == 2);
	test_assert(!replica_left_out);
	i_stream_unref(&input);

	/* it dies after it has sent something */
	replica_missing_chunk = 0;
	replica_broken = TRUE;
	replica_calls = 0;
	input = stream_open(100, BODY_SIZE_MAX, NULL);
	stream_check_rest(input);
	test_assert(array_count(&calls) == 3 && replica_calls == 1);
	test_assert(replica_left_out);
	i_stream_unref(&input);
	replica_used = FALSE;
	test_assert(conn_refcount == 0);
	test_end();
}

int main(void)
{
	static void (*const test_functions[])(void) = {
		test_sequential,
		test_read_ahead,
		test_max_buffer_size,
		test_random,
		test_shared,
		test_errors,
		test_cached,
		test_replica,
		NULL
	};
	unsigned int i;
	int ret;

	lib_init();
	for (i = 0; i < sizeof(message); i++)
		message[i] = i_rand_limit(256);
	i_array_init(&calls, 16);
	ret = test_run(test_functions);
	array_free(&calls);
	lib_deinit();
	return ret;
}
