#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "hex-binary.h"
#include "istream-private.h"
#include "pgbox-conn.h"
#include "pgbox-content-cache.h"
#include "pgbox-db-content.h"
#include "pgbox-error.h"

/* A stored message as a stream. Its bytes are

     header | head | chunk 1 | chunk 2 | ... | last chunk

   where head and all chunks but the last have PGBOX_CHUNK_SIZE bytes. Header
   and head are in memory from the start. The chunks are read in batches, of
   which the current one is kept: a reader that goes on where it stopped gets
   several chunks by one round trip, one that has jumped only the one it needs.
   A chunk that is in the node's cache is a batch of its own.

   read() copies out of that into the stream's own buffer, which Dovecot's
   stream functions then manage as for a file. A seek drops that buffer; what
   it held is still in memory. */

/* chunks in a batch for a sequential reader: bounds the stream's memory */
#define BODY_STREAM_BATCH_CHUNKS 4
/* as large as for mails in files: it bounds what parsers look at at once */
#define BODY_STREAM_MAX_BUFFER_SIZE IO_BLOCK_SIZE

struct body_istream {
	struct istream_private istream;

	struct pgbox_conn *conn;
	/* NULL, or asked first, until it lacks a chunk */
	struct pgbox_conn *replica;
	/* NULL, or where the class of a read error goes */
	struct pgbox_error *error;

	unsigned char digest[PGBOX_DIGEST_SIZE];
	uint64_t header_size, body_size;
	/* NULL, or where chunks may be */
	struct pgbox_content_cache *cache;
	bool cache_keep;
	/* header and head */
	buffer_t *start;

	/* the current batch: chunks from batch_first on; NULL if none */
	buffer_t *batch;
	unsigned int batch_first;

	/* where the last read() ended */
	uoff_t read_end;
};

static uoff_t body_stream_size(const struct body_istream *bstream)
{
	return bstream->header_size + bstream->body_size;
}

/* As an administrator would look for it. */
static const char *body_stream_name(const struct body_istream *bstream)
{
	return t_strdup_printf("with digest \\x%s",
		binary_to_hex(bstream->digest, sizeof(bstream->digest)));
}

static void body_stream_destroy(struct iostream_private *stream)
{
	struct body_istream *bstream =
		container_of(stream, struct body_istream, istream.iostream);

	buffer_free(&bstream->start);
	buffer_free(&bstream->batch);
	if (bstream->replica != NULL)
		pgbox_conn_unref(&bstream->replica);
	pgbox_conn_unref(&bstream->conn);
	if (bstream->cache != NULL)
		pgbox_content_cache_unref(&bstream->cache);
	i_stream_free_buffer(&bstream->istream);
}

static int body_stream_fail(struct body_istream *bstream,
			    const struct pgbox_error *error)
{
	io_stream_set_error(&bstream->istream.iostream, "%s", error->text);
	bstream->istream.istream.stream_errno = EIO;
	if (bstream->error != NULL)
		*bstream->error = *error;
	buffer_free(&bstream->batch);
	return -1;
}

/* Ask the replica for chunks. Returns TRUE if all are there. */
static bool body_stream_ask_replica(struct body_istream *bstream,
				    unsigned int first, unsigned int last)
{
	struct pgbox_error error;
	int ret;

	if (bstream->replica == NULL)
		return FALSE;
	ret = pgbox_body_chunks(bstream->replica, bstream->digest, first, last,
				bstream->batch, &error);
	if (ret > 0)
		return TRUE;
	if (ret < 0)
		pgbox_conn_leave_out(bstream->replica, &error);
	pgbox_conn_unref(&bstream->replica);
	buffer_set_used_size(bstream->batch, 0);
	return FALSE;
}

/* Ask for chunks. Returns 1 if all are there, 0 if some are missing, -1 on
   error. */
static int body_stream_ask(struct body_istream *bstream, unsigned int first,
			   unsigned int last, struct pgbox_error *error_r)
{
	int ret;

	if (body_stream_ask_replica(bstream, first, last))
		return 1;
	ret = pgbox_body_chunks(bstream->conn, bstream->digest, first, last,
				bstream->batch, error_r);
	if (ret >= 0 || (error_r->kind != PGBOX_ERROR_LOST &&
			 error_r->kind != PGBOX_ERROR_UNREACHABLE))
		return ret;
	/* Whoever reads here has begun to send the message to a client, and
	   there is no way to tell it but to hang up. */
	if (!pgbox_conn_await(bstream->conn))
		return -1;
	buffer_set_used_size(bstream->batch, 0);
	return pgbox_body_chunks(bstream->conn, bstream->digest, first, last,
				 bstream->batch, error_r);
}

static void
body_stream_keep_batch(struct body_istream *bstream, unsigned int first)
{
	const unsigned char *data = bstream->batch->data;
	size_t size, offset;

	if (bstream->cache == NULL || !bstream->cache_keep)
		return;
	for (offset = 0; offset < bstream->batch->used; offset += size) {
		size = I_MIN(bstream->batch->used - offset, PGBOX_CHUNK_SIZE);
		pgbox_content_cache_put(bstream->cache, bstream->digest,
					first++, data + offset, size);
	}
}

/* Make room for a batch. It gets the size needed: a buffer that grows takes up
   to twice of it. */
static void
body_stream_start_batch(struct body_istream *bstream, unsigned int first,
			size_t size)
{
	buffer_free(&bstream->batch);
	bstream->batch = buffer_create_dynamic(default_pool, size);
	bstream->batch_first = first;
}

/* Returns TRUE if the node has the chunk: it is the batch then. */
static bool
body_stream_get_cached(struct body_istream *bstream, unsigned int chunk)
{
	const uint64_t begin = (uint64_t)chunk * PGBOX_CHUNK_SIZE;
	const size_t size = I_MIN(bstream->body_size - begin, PGBOX_CHUNK_SIZE);

	bool ret;

	if (bstream->cache == NULL)
		return FALSE;
	body_stream_start_batch(bstream, chunk, size);
	T_BEGIN {
		ret = pgbox_content_cache_get(bstream->cache, bstream->digest,
					      chunk, size, bstream->batch);
	} T_END;
	return ret && bstream->batch->used == size;
}

/* Read a batch that begins with the given chunk. */
static int body_stream_read_batch(struct body_istream *bstream,
				  unsigned int first, unsigned int count)
{
	const unsigned int last_chunk =
		pgbox_body_chunk_count(bstream->body_size) - 1;
	const unsigned int last = I_MIN(first + count - 1, last_chunk);
	const uint64_t begin = (uint64_t)first * PGBOX_CHUNK_SIZE;
	const uint64_t end = I_MIN(((uint64_t)last + 1) * PGBOX_CHUNK_SIZE,
				   bstream->body_size);
	struct pgbox_error error;
	int ret;

	if (body_stream_get_cached(bstream, first))
		return 0;
	body_stream_start_batch(bstream, first, end - begin);
	ret = body_stream_ask(bstream, first, last, &error);
	if (ret < 0)
		return body_stream_fail(bstream, &error);
	if (ret == 0 || bstream->batch->used != end - begin) {
		pgbox_error_set(&error, PGBOX_ERROR_DAMAGED,
				"body %s: chunks %u..%u are missing or "
				"have a wrong size: %zu bytes of %"PRIu64,
				body_stream_name(bstream), first, last,
				bstream->batch->used, end - begin);
		return body_stream_fail(bstream, &error);
	}
	body_stream_keep_batch(bstream, first);
	return 0;
}

/* Find the bytes at offset, which is inside of the body after its head. */
static int body_stream_get_chunk(struct body_istream *bstream, uoff_t offset,
				 const unsigned char **data_r, size_t *size_r)
{
	const uint64_t body_offset = offset - bstream->header_size;
	const unsigned int chunk = body_offset / PGBOX_CHUNK_SIZE;
	const bool sequential = offset == bstream->read_end;
	uint64_t batch_offset;

	batch_offset = (uint64_t)bstream->batch_first * PGBOX_CHUNK_SIZE;
	if (bstream->batch == NULL || body_offset < batch_offset ||
	    body_offset - batch_offset >= bstream->batch->used) {
		if (body_stream_read_batch(bstream, chunk, !sequential ? 1 :
					   BODY_STREAM_BATCH_CHUNKS) < 0)
			return -1;
		batch_offset = (uint64_t)chunk * PGBOX_CHUNK_SIZE;
	}
	*data_r = CONST_PTR_OFFSET(bstream->batch->data,
				   body_offset - batch_offset);
	*size_r = bstream->batch->used - (body_offset - batch_offset);
	return 0;
}

/* Find the bytes at offset, which is inside of the message. */
static int body_stream_get(struct body_istream *bstream, uoff_t offset,
			   const unsigned char **data_r, size_t *size_r)
{
	struct pgbox_error error;

	if (offset < bstream->start->used) {
		*data_r = CONST_PTR_OFFSET(bstream->start->data, offset);
		*size_r = bstream->start->used - offset;
		return 0;
	}
	if (offset - bstream->header_size < PGBOX_CHUNK_SIZE) {
		pgbox_error_set(&error, PGBOX_ERROR_DAMAGED,
				"body %s: its first chunk has a wrong "
				"size: %"PRIu64" bytes",
				body_stream_name(bstream),
				bstream->start->used - bstream->header_size);
		return body_stream_fail(bstream, &error);
	}
	return body_stream_get_chunk(bstream, offset, data_r, size_r);
}

static ssize_t body_stream_read(struct istream_private *stream)
{
	struct body_istream *bstream =
		container_of(stream, struct body_istream, istream);
	const unsigned char *data;
	size_t size, space;
	uoff_t offset;

	offset = stream->istream.v_offset + (stream->pos - stream->skip);
	if (offset >= body_stream_size(bstream)) {
		stream->istream.eof = TRUE;
		return -1;
	}
	if (!i_stream_try_alloc(stream, 1, &space))
		return -2;
	if (body_stream_get(bstream, offset, &data, &size) < 0)
		return -1;
	size = I_MIN(size, space);
	memcpy(stream->w_buffer + stream->pos, data, size);
	stream->pos += size;
	bstream->read_end = offset + size;
	return size;
}

static void body_stream_seek(struct istream_private *stream, uoff_t v_offset,
			     bool mark ATTR_UNUSED)
{
	stream->istream.v_offset = v_offset;
	stream->skip = stream->pos = 0;
}

static int body_stream_stat(struct istream_private *stream,
			    bool exact ATTR_UNUSED)
{
	struct body_istream *bstream =
		container_of(stream, struct body_istream, istream);

	stream->statbuf.st_size = body_stream_size(bstream);
	return 0;
}

static void
body_stream_set_start(struct body_istream *bstream,
		      const struct pgbox_stored *stored)
{
	bstream->start = buffer_create_dynamic(default_pool,
		stored->header_size + stored->head_size + 1);
	if (stored->header_size > 0) {
		buffer_append(bstream->start, stored->header,
			      stored->header_size);
	}
	if (stored->head_size > 0) {
		buffer_append(bstream->start, stored->head,
			      stored->head_size);
	}
}

static struct istream *body_stream_init(struct body_istream *bstream)
{
	struct istream *input;

	bstream->istream.iostream.destroy = body_stream_destroy;
	bstream->istream.max_buffer_size = BODY_STREAM_MAX_BUFFER_SIZE;
	bstream->istream.read = body_stream_read;
	bstream->istream.seek = body_stream_seek;
	bstream->istream.stat = body_stream_stat;
	bstream->istream.istream.blocking = TRUE;
	bstream->istream.istream.seekable = TRUE;

	input = i_stream_create(&bstream->istream, NULL, -1, 0);
	i_stream_set_name(input, t_strdup_printf("(pgbox body %s)",
						 body_stream_name(bstream)));
	return input;
}

struct istream *
pgbox_body_stream_create(struct pgbox_conn *conn,
			 const struct pgbox_stored *stored,
			 struct pgbox_error *error)
{
	struct body_istream *bstream = i_new(struct body_istream, 1);

	i_assert(stored->head_size <=
		 I_MIN(stored->body_size, PGBOX_CHUNK_SIZE));

	bstream->conn = conn;
	pgbox_conn_ref(conn);
	if (stored->replica != NULL) {
		bstream->replica = stored->replica;
		pgbox_conn_ref(bstream->replica);
	}
	bstream->error = error;
	bstream->header_size = stored->header_size;
	bstream->body_size = stored->body_size;
	memcpy(bstream->digest, stored->digest, sizeof(bstream->digest));
	if (stored->cache != NULL) {
		bstream->cache = stored->cache;
		pgbox_content_cache_ref(bstream->cache);
		bstream->cache_keep = stored->cache_keep;
	}
	body_stream_set_start(bstream, stored);
	return body_stream_init(bstream);
}
