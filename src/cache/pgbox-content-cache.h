#ifndef PGBOX_CONTENT_CACHE_H
#define PGBOX_CONTENT_CACHE_H

/* Bytes of messages on this node's disk; see README. */

struct pgbox_content_cache;

#define PGBOX_CONTENT_CACHE_DIGEST_SIZE 32
/* no number of a chunk: the start of a message */
#define PGBOX_CONTENT_CACHE_START UINT32_MAX

/* Use the folder dir, which is made when something is first written, and keep
   it at about max_bytes. Nothing is read or written here. Warnings go to a child
   of event. When the folder can't be used that is said once for each cache: from
   then on nothing is in it, and nothing is kept. */
struct pgbox_content_cache *
pgbox_content_cache_init(const char *dir, uint64_t max_bytes,
			 struct event *event);
void pgbox_content_cache_ref(struct pgbox_content_cache *cache);
/* *cache becomes NULL. */
void pgbox_content_cache_unref(struct pgbox_content_cache **cache);

/* Append a block's bytes to buf, which may be of the data stack. Returns FALSE, with buf as it was, if it isn't
   there, is damaged (then it is removed), or can't be read. A block has max_size
   bytes at most: what is larger is damaged. */
bool pgbox_content_cache_get(struct pgbox_content_cache *cache,
	const unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE],
	uint32_t number, size_t max_size, buffer_t *buf);
/* Keep a block, unless it is there. */
void pgbox_content_cache_put(struct pgbox_content_cache *cache,
	const unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE],
	uint32_t number, const void *data, size_t size);
/* Returns TRUE if a block seems to be there; its bytes aren't looked at. */
bool pgbox_content_cache_has(struct pgbox_content_cache *cache,
	const unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE],
	uint32_t number);

#endif
