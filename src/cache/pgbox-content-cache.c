/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "buffer.h"
#include "hex-binary.h"
#include "ioloop.h"
#include "mkdir-parents.h"
#include "xxh64.h"
#include "pgbox-content-cache-private.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define CONTENT_CACHE_MAGIC "pgboxcc1"
/* A read says that a file was used, but not more often than this: it costs a
   write of the inode. */
#define CONTENT_CACHE_TOUCH_SECS 3600
/* What doesn't fit its head may be under way still while it is as young as this. */
#define CONTENT_CACHE_YOUNG_SECS 10

/* What a file begins with. Only nodes of one kind read it, so it is in their
   own byte order. */
struct content_cache_head {
	char magic[8];
	unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE];
	uint32_t number;
	uint32_t size;
	/* XXH64 of the bytes */
	uint64_t hash;
};

struct pgbox_content_cache *
pgbox_content_cache_init(const char *dir, uint64_t max_bytes,
			 struct event *event)
{
	struct pgbox_content_cache *cache;

	cache = i_new(struct pgbox_content_cache, 1);
	cache->refcount = 1;
	cache->dir = i_strdup(dir);
	cache->max_dir_bytes = max_bytes / PGBOX_CONTENT_CACHE_DIRS;
	cache->event = event_create(event);
	event_set_append_log_prefix(cache->event, "pgbox: content cache: ");
	return cache;
}

void pgbox_content_cache_ref(struct pgbox_content_cache *cache)
{
	i_assert(cache->refcount > 0);
	cache->refcount++;
}

void pgbox_content_cache_unref(struct pgbox_content_cache **_cache)
{
	struct pgbox_content_cache *cache = *_cache;

	*_cache = NULL;
	i_assert(cache->refcount > 0);
	if (--cache->refcount > 0)
		return;
	event_unref(&cache->event);
	i_free(cache->dir);
	i_free(cache);
}

/* A folder that can't be used would be a warning for each mail. */
static void
content_cache_set_failed(struct pgbox_content_cache *cache, const char *error)
{
	cache->failed = TRUE;
	e_warning(cache->event, "%s; not used any more in this session", error);
}

/*
 * Names
 */

/* Chunks of one body go into different directories: all of a large one would be
   too much for one. */
static const char *
content_cache_subdir(const struct pgbox_content_cache *cache,
		     const unsigned char *digest, uint32_t number)
{
	return t_strdup_printf("%s/%02x", cache->dir,
		(digest[0] + number) % PGBOX_CONTENT_CACHE_DIRS);
}

static const char *
content_cache_path(const struct pgbox_content_cache *cache,
		   const unsigned char *digest, uint32_t number)
{
	const char *suffix = number == PGBOX_CONTENT_CACHE_START ? "s" :
		dec2str(number);

	return t_strdup_printf("%s/%s.%s",
		content_cache_subdir(cache, digest, number),
		binary_to_hex(digest, PGBOX_CONTENT_CACHE_DIGEST_SIZE),
		suffix);
}

/*
 * Reading
 */

/* Returns 1 if the bytes were read, 0 if the file doesn't hold what its name
   says, -1 if it can't be read. */
static int
content_cache_read(int fd, const struct stat *st,
		   const struct content_cache_head *wanted, size_t max_size,
		   buffer_t *buf)
{
	struct content_cache_head head;
	const size_t old_used = buf->used;
	struct iovec iov[2];
	size_t size;
	void *data;

	if (st->st_size < (off_t)sizeof(head) ||
	    (uintmax_t)st->st_size - sizeof(head) > max_size)
		return 0;
	i_zero(&head);
	size = st->st_size - sizeof(head);
	data = buffer_append_space_unsafe(buf, size);
	iov[0].iov_base = &head;
	iov[0].iov_len = sizeof(head);
	iov[1].iov_base = data;
	iov[1].iov_len = size;
	if (readv(fd, iov, 2) != st->st_size ||
	    memcmp(&head, wanted,
		   offsetof(struct content_cache_head, size)) != 0 ||
	    head.size != size || head.hash != xxh64_data(data, size, 0)) {
		buffer_set_used_size(buf, old_used);
		return 0;
	}
	return 1;
}

/* As content_cache_read(). */
static int
content_cache_read_file(int fd, const struct content_cache_head *wanted,
			size_t max_size, buffer_t *buf)
{
	struct stat st;
	int ret;

	if (fstat(fd, &st) < 0)
		return -1;
	ret = content_cache_read(fd, &st, wanted, max_size, buf);
	if (ret == 0 && st.st_mtime >= time(NULL) - CONTENT_CACHE_YOUNG_SECS)
		return -1;
	if (ret > 0 && st.st_mtime < ioloop_time - CONTENT_CACHE_TOUCH_SECS) {
		/* if it fails the file is thrown away a little too early */
		(void)futimens(fd, NULL);
	}
	return ret;
}

static void
content_cache_head_init(struct content_cache_head *head_r,
			const unsigned char *digest, uint32_t number)
{
	i_zero(head_r);
	memcpy(head_r->magic, CONTENT_CACHE_MAGIC, sizeof(head_r->magic));
	memcpy(head_r->digest, digest, sizeof(head_r->digest));
	head_r->number = number;
}

static bool
content_cache_get_path(struct pgbox_content_cache *cache, const char *path,
		       const struct content_cache_head *wanted,
		       size_t max_size, buffer_t *buf)
{
	int fd, ret;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		if (errno != ENOENT) {
			content_cache_set_failed(cache, t_strdup_printf(
				"open(%s) failed: %m", path));
		}
		return FALSE;
	}
	ret = content_cache_read_file(fd, wanted, max_size, buf);
	i_close_fd(&fd);
	if (ret == 0) {
		e_warning(cache->event, "%s is damaged: removed, the mail is "
			  "read from PostgreSQL", path);
		i_unlink_if_exists(path);
	}
	return ret > 0;
}

bool pgbox_content_cache_get(struct pgbox_content_cache *cache,
	const unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE],
	uint32_t number, size_t max_size, buffer_t *buf)
{
	struct content_cache_head wanted;

	if (cache->failed)
		return FALSE;
	content_cache_head_init(&wanted, digest, number);
	/* no data stack frame of our own: buf may grow in the caller's */
	return content_cache_get_path(cache,
		content_cache_path(cache, digest, number), &wanted, max_size,
		buf);
}

bool pgbox_content_cache_has(struct pgbox_content_cache *cache,
	const unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE],
	uint32_t number)
{
	bool ret;

	if (cache->failed)
		return FALSE;
	T_BEGIN {
		ret = access(content_cache_path(cache, digest, number),
			     F_OK) == 0;
	} T_END;
	return ret;
}

/*
 * Writing
 */

/* Returns 1 and the file; 0 if there is one already, or if the whole cache is
   being deleted; -1 and what failed. */
static int
content_cache_create(const char *subdir, const char *path, int *fd_r,
		     const char **error_r)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;

	*fd_r = open(path, flags, 0600);
	if (*fd_r == -1 && errno == ENOENT) {
		if (mkdir(subdir, 0700) < 0 && errno == ENOENT &&
		    mkdir_parents(subdir, 0700) < 0 && errno != EEXIST) {
			*error_r = t_strdup_printf("mkdir(%s) failed: %m",
						   subdir);
			return -1;
		}
		*fd_r = open(path, flags, 0600);
	}
	if (*fd_r != -1)
		return 1;
	if (errno == EEXIST || errno == ENOENT)
		return 0;
	*error_r = t_strdup_printf("open(%s) failed: %m", path);
	return -1;
}

static int
content_cache_write(int fd, const char *path,
		    const struct content_cache_head *head, const void *data,
		    const char **error_r)
{
	struct iovec iov[2] = {
		{ .iov_base = (void *)head, .iov_len = sizeof(*head) },
		{ .iov_base = (void *)data, .iov_len = head->size },
	};
	ssize_t ret;

	/* at once or not at all: a disk that is full writes less */
	ret = writev(fd, iov, 2);
	if (ret >= 0 && (size_t)ret < sizeof(*head) + head->size) {
		errno = ENOSPC;
		ret = -1;
	}
	if (ret < 0)
		*error_r = t_strdup_printf("write(%s) failed: %m", path);
	if (close(fd) < 0 && ret >= 0) {
		*error_r = t_strdup_printf("close(%s) failed: %m", path);
		ret = -1;
	}
	return ret < 0 ? -1 : 0;
}

static int
content_cache_put_path(struct pgbox_content_cache *cache,
		       struct content_cache_head *head, const void *data,
		       const char **error_r)
{
	const char *path = content_cache_path(cache, head->digest,
					      head->number);
	const char *subdir = content_cache_subdir(cache, head->digest,
						  head->number);
	int fd, ret;

	ret = content_cache_create(subdir, path, &fd, error_r);
	if (ret <= 0)
		return ret;
	head->hash = xxh64_data(data, head->size, 0);
	if (content_cache_write(fd, path, head, data, error_r) < 0) {
		i_unlink_if_exists(path);
		return -1;
	}
	pgbox_content_cache_trim(cache, subdir, head->size);
	return 0;
}

void pgbox_content_cache_put(struct pgbox_content_cache *cache,
	const unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE],
	uint32_t number, const void *data, size_t size)
{
	struct content_cache_head head;

	if (cache->failed)
		return;
	content_cache_head_init(&head, digest, number);
	head.size = size;
	T_BEGIN {
		const char *error;

		if (content_cache_put_path(cache, &head, data, &error) < 0)
			content_cache_set_failed(cache, error);
	} T_END;
}
