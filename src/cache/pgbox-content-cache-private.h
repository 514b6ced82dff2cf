#ifndef PGBOX_CONTENT_CACHE_PRIVATE_H
#define PGBOX_CONTENT_CACHE_PRIVATE_H

#include "pgbox-content-cache.h"

/* Directories that the limit is divided by. */
#define PGBOX_CONTENT_CACHE_DIRS 256
/* What a file takes besides its bytes, about: an inode, half of a block. */
#define PGBOX_CONTENT_CACHE_FILE_OVERHEAD 2048

struct pgbox_content_cache {
	int refcount;
	char *dir;
	/* share of one directory */
	uint64_t max_dir_bytes;
	struct event *event;
	/* something failed, which was said */
	bool failed;
};

/* After size bytes were written into subdir: throw files away if it is time to
   look, and if there are too many. */
void pgbox_content_cache_trim(struct pgbox_content_cache *cache,
			      const char *subdir, size_t size);

#endif
