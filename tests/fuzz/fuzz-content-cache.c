/* Files of the content cache, which are damaged in all ways: what comes out of
   one is what was put in, or nothing. And the start of a message, of which such
   a file is made. */
#include "../../src/storage/pgbox-content.c"
#include "fuzz.h"
#include "hex-binary.h"
#include "write-full.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BLOCK 4096
/* content_cache_head without its last member */
#define HEAD_SIZE 56

static const unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE] = { 0x5a };
static char dir[] = "/tmp/pgbox-fuzz-XXXXXX";
static const char *path;
static struct pgbox_content_cache *cache;

static void remove_all(void)
{
	i_unlink_if_exists(path);
	(void)rmdir(t_strconcat(dir, "/5a", NULL));
	(void)rmdir(dir);
}

void fuzz_init(void)
{
	if (mkdtemp(dir) == NULL)
		i_fatal("mkdtemp() failed: %m");
	path = i_strconcat(dir, "/5a/", binary_to_hex(digest, sizeof(digest)),
			   ".0", NULL);
	if (mkdir(t_strconcat(dir, "/5a", NULL), 0700) < 0)
		i_fatal("mkdir() failed: %m");
	cache = pgbox_content_cache_init(dir, 1ULL << 40, NULL);
	(void)atexit(remove_all);
}

/* Something else than the cache writes the file, and makes it old enough to be
   thrown away. */
static void overwrite(const void *data, size_t size, off_t offset, bool cut)
{
	const struct timespec old[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	int fd = open(path, O_WRONLY | O_CREAT | (cut ? O_TRUNC : 0), 0600);

	if (fd == -1 || pwrite_full(fd, data, size, offset) < 0 ||
	    futimens(fd, old) < 0)
		i_fatal("write(%s) failed: %m", path);
	i_close_fd(&fd);
}

/* The whole file is of the input. */
static void fuzz_file(const unsigned char *data, size_t size)
{
	buffer_t *buf = t_buffer_create(64);

	buffer_append(buf, "before", 6);
	overwrite(data, size, 0, TRUE);
	if (pgbox_content_cache_get(cache, digest, 0, MAX_BLOCK, buf)) {
		fuzz_require(size >= HEAD_SIZE);
		fuzz_require(buf->used == 6 + size - HEAD_SIZE);
		fuzz_require(memcmp(CONST_PTR_OFFSET(buf->data, 6),
				    data + HEAD_SIZE, size - HEAD_SIZE) == 0);
	} else {
		fuzz_require(buf->used == 6);
		fuzz_require(access(path, F_OK) < 0);
	}
	fuzz_require(memcmp(buf->data, "before", 6) == 0);
}

/* A good file of which some bytes are others. */
static void fuzz_damage(const unsigned char *data, size_t size)
{
	const size_t offset = data[0];
	const size_t part = I_MIN((size_t)data[1], size - 2);
	buffer_t *buf = t_buffer_create(64);

	data += 2;
	size = I_MIN(size - 2, MAX_BLOCK);
	pgbox_content_cache_put(cache, digest, 0, data, size);
	overwrite(data, part, offset, FALSE);
	if (!pgbox_content_cache_get(cache, digest, 0, MAX_BLOCK, buf))
		fuzz_require(buf->used == 0);
	else {
		fuzz_require(buf->used == size);
		fuzz_require(memcmp(buf->data, data, size) == 0);
	}
}

static void fuzz_start(const unsigned char *data, size_t size)
{
	struct pgbox_content_info info;
	buffer_t start;

	buffer_create_from_const_data(&start, data, size);
	if (content_start_read(&start, &info)) {
		fuzz_require(size == sizeof(info) + (info.header_size < 0 ? 0 :
			     (size_t)info.header_size));
	}
}

void fuzz_one(const unsigned char *data, size_t size)
{
	if (size < 3)
		return;
	i_unlink_if_exists(path);
	switch (data[0] % 3) {
	case 0:
		fuzz_file(data + 1, size - 1);
		break;
	case 1:
		fuzz_damage(data + 1, size - 1);
		break;
	default:
		fuzz_start(data + 1, size - 1);
		break;
	}
}
