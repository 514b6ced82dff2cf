#ifndef PGBOX_DB_CONTENT_H
#define PGBOX_DB_CONTENT_H

#include "guid.h"
#include "seq-range-array.h"

struct istream;
struct pgbox_conn;
struct pgbox_content_cache;
struct pgbox_ahead_end;
struct pgbox_error;
struct pgbox_fetch_ahead;
struct pgbox_pipeline;

/* Bytes of a body in one row, and the size of all its chunks but the last. */
#define PGBOX_CHUNK_SIZE 131072
#define PGBOX_DIGEST_SIZE 32

/* How many chunks a body has, its head included. */
static inline unsigned int pgbox_body_chunk_count(uint64_t body_size)
{
	return (body_size + PGBOX_CHUNK_SIZE - 1) / PGBOX_CHUNK_SIZE;
}

/* A content to be stored: what a message consists of. Its bytes are header
   followed by body. */
struct pgbox_content {
	const unsigned char *header;
	size_t header_size;
	/* header holds the whole header and nothing else */
	bool header_complete;
	/* SHA-256 of the body; unused if body_size is 0 */
	unsigned char digest[PGBOX_DIGEST_SIZE];
	uint64_t body_size;
	/* the body's first min(body_size, PGBOX_CHUNK_SIZE) bytes; NULL: the
	   server has the body already */
	const unsigned char *head;
	/* of the message as its reader sees it */
	uint64_t size, virtual_size;
	/* IMAP ENVELOPE and BODYSTRUCTURE without outer parentheses, or NULL */
	const char *envelope, *bodystructure;
};

/* Which of the digests (PGBOX_DIGEST_SIZE bytes each) are stored already?
   known_r[i] answers for digests[i]. One round trip. */
int pgbox_body_known(struct pgbox_conn *conn,
		     const unsigned char *const *digests, unsigned int count,
		     bool *known_r, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* Queue a content. *content_id is set when the statement was answered. */
int pgbox_content_put(struct pgbox_pipeline *pipeline,
		      const struct pgbox_content *content, int64_t *content_id,
		      struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Queue a chunk (number >= 1) of a body whose content was queued before in
   the same pipeline. */
int pgbox_body_chunk_put(struct pgbox_pipeline *pipeline,
			 const unsigned char digest[PGBOX_DIGEST_SIZE],
			 unsigned int number, const void *data, size_t size,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

enum pgbox_fetch_what {
	PGBOX_FETCH_HEADER = 0x01,
	/* the body's first chunk; implies PGBOX_FETCH_HEADER */
	PGBOX_FETCH_BODY = 0x02,
	/* BODYSTRUCTURE */
	PGBOX_FETCH_STRUCTURE = 0x04,
	PGBOX_FETCH_ENVELOPE = 0x08,
};

struct pgbox_fetched {
	uint32_t uid;
	guid_128_t guid;
	time_t received, saved;
	uint64_t size, virtual_size;
	/* -1: the header isn't kept apart from the body */
	int64_t header_size;
	/* valid until the next row; NULL if not asked for */
	const unsigned char *header;
	size_t header_bytes;
	/* 0: no body */
	uint64_t body_size;
	/* of the body, if there is one */
	unsigned char digest[PGBOX_DIGEST_SIZE];
	/* as header: first min(body_size, PGBOX_CHUNK_SIZE) bytes */
	const unsigned char *head;
	size_t head_bytes;
	/* as header: not NUL-terminated; NULL if not stored */
	const unsigned char *bodystructure;
	size_t bodystructure_bytes;
	const unsigned char *envelope;
	size_t envelope_bytes;
	int64_t content_id;
	/* NULL, 0: none */
	const char *pop3_uidl;
	uint32_t pop3_order;
};

typedef void pgbox_fetched_callback_t(const struct pgbox_fetched *row,
				      void *context);

/* Read what is asked for of the given messages, in order of UID, and call the
   callback for each. With mailbox_guid (may be NULL) there are none if the mailbox
   has another one. Messages that are gone are left out. When the bytes
   exceed limit_bytes the rest is left out too (one message at least comes):
   *last_uid_r is the last UID that came, 0 if none. One round trip. The
   callback must not use the connection. */
int pgbox_message_fetch(struct pgbox_conn *conn, int64_t mailbox_id,
			const uint8_t *mailbox_guid,
			const ARRAY_TYPE(seq_range) *uids,
			enum pgbox_fetch_what what, uint64_t limit_bytes,
			pgbox_fetched_callback_t *callback, void *context,
			uint32_t *last_uid_r, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;

/* The last thing that is heard of a fetch that was sent ahead, which is freed then.
   Must not use the connection. */
typedef void pgbox_fetched_end_t(const struct pgbox_ahead_end *end,
				 uint32_t last_uid, void *context);

/* The same, but it is sent and not waited for: pgbox_ahead_send() (src/pq) tells when
   the callbacks are called. Returns NULL if it can't be sent now. */
struct pgbox_fetch_ahead *
pgbox_message_fetch_ahead(struct pgbox_conn *conn, int64_t mailbox_id,
			  const uint8_t *mailbox_guid,
			  const ARRAY_TYPE(seq_range) *uids,
			  enum pgbox_fetch_what what, uint64_t limit_bytes,
			  pgbox_fetched_callback_t *callback,
			  pgbox_fetched_end_t *end_callback, void *context);
/* Read what has come; with wait something at least. */
void pgbox_message_fetch_ahead_read(struct pgbox_fetch_ahead *fetch, bool wait);
/* Nobody wants it: no callback is called any more. *fetch becomes NULL. */
void pgbox_message_fetch_ahead_cancel(struct pgbox_fetch_ahead **fetch);

/* Append chunks first..last (>= 1) of a body to buf. Returns 1 if all came, 0
   if some are missing (the message was purged meanwhile). One round trip. */
int pgbox_body_chunks(struct pgbox_conn *conn,
		      const unsigned char digest[PGBOX_DIGEST_SIZE],
		      unsigned int first, unsigned int last, buffer_t *buf,
		      struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* A stored message, to be read. */
struct pgbox_stored {
	/* asked first for chunks; NULL: there is none */
	struct pgbox_conn *replica;
	const unsigned char *header;
	size_t header_size;
	/* the body's first bytes, min(body_size, PGBOX_CHUNK_SIZE) */
	const unsigned char *head;
	size_t head_size;
	uint64_t body_size;
	/* of the body; unused if body_size is 0 */
	unsigned char digest[PGBOX_DIGEST_SIZE];
	/* where its chunks are looked for first; NULL: nowhere */
	struct pgbox_content_cache *cache;
	/* chunks that were read from the server are kept there */
	bool cache_keep;
};

/* Create a stream over a stored message: header, then head, then the chunks,
   which are read from the cache or the connection as they are needed, several
   at a time. Seekable; memory is bounded whatever the message's size. header and
   head are copied. The stream holds references to conn, replica and the cache. A read
   error is EIO with the error in the stream's error string; *error (may be NULL,
   must outlive the stream) gets its class. */
struct istream *
pgbox_body_stream_create(struct pgbox_conn *conn,
			 const struct pgbox_stored *stored,
			 struct pgbox_error *error);

#endif
