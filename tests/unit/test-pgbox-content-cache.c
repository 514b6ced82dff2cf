/* The content cache's files, in a folder of the test. */
#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "ioloop.h"
#include "str.h"
#include "unlink-directory.h"
#include "write-full.h"
#include "test-common.h"
#include "pgbox-content-cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define DIR_NAME ".test-content-cache"
#define BLOCK_SIZE 1000
/* of one of the 256 directories */
#define SHARE 20000

static const unsigned char digest1[PGBOX_CONTENT_CACHE_DIGEST_SIZE] = {
	0x12, 0x34, [31] = 0xff,
};
static const unsigned char digest2[PGBOX_CONTENT_CACHE_DIGEST_SIZE] = {
	0x12, 0x35,
};
static unsigned char block[BLOCK_SIZE];
static struct event *event;
static const char *dir;

static struct pgbox_content_cache *cache_init(void)
{
	const char *error;

	if (unlink_directory(dir, UNLINK_DIRECTORY_FLAG_RMDIR, &error) < 0)
		i_fatal("%s", error);
	return pgbox_content_cache_init(dir, SHARE * 256ULL, event);
}

/* Returns TRUE if the block is there, and is ours. */
static bool have(struct pgbox_content_cache *cache,
		 const unsigned char *digest, uint32_t number)
{
	buffer_t *buf = t_buffer_create(BLOCK_SIZE);
	bool ret;

	buffer_append(buf, "before", 6);
	ret = pgbox_content_cache_get(cache, digest, number, BLOCK_SIZE, buf);
	if (!ret)
		test_assert(buf->used == 6);
	else {
		test_assert(buf->used == 6 + BLOCK_SIZE &&
			    memcmp(CONST_PTR_OFFSET(buf->data, 6), block,
				   BLOCK_SIZE) == 0);
	}
	test_assert(memcmp(buf->data, "before", 6) == 0);
	return ret;
}

static const char *path1(const char *suffix)
{
	return t_strdup_printf("%s/%s", dir, suffix);
}
#define PATH1 "12/1234" \
	"00000000000000000000000000000000000000000000000000000000" "00ff.0"

static void test_get_put(void)
{
	struct pgbox_content_cache *cache = cache_init();

	test_begin("content cache: get and put");
	test_assert(!have(cache, digest1, 0));
	test_assert(!pgbox_content_cache_has(cache, digest1, 0));
	pgbox_content_cache_put(cache, digest1, 0, block, BLOCK_SIZE);
	test_assert(have(cache, digest1, 0));
	test_assert(pgbox_content_cache_has(cache, digest1, 0));
	test_assert(!have(cache, digest1, 1) && !have(cache, digest2, 0));
	test_assert(!have(cache, digest1, PGBOX_CONTENT_CACHE_START));
	pgbox_content_cache_put(cache, digest1, PGBOX_CONTENT_CACHE_START,
				block, BLOCK_SIZE);
	test_assert(have(cache, digest1, PGBOX_CONTENT_CACHE_START));
	/* twice is no error */
	pgbox_content_cache_put(cache, digest1, 0, block, BLOCK_SIZE);
	test_assert(have(cache, digest1, 0));
	/* others see it */
	pgbox_content_cache_unref(&cache);
	cache = pgbox_content_cache_init(dir, SHARE * 256ULL, event);
	test_assert(have(cache, digest1, 0));
	pgbox_content_cache_unref(&cache);
	test_end();
}

static void file_read(const char *path, buffer_t *buf)
{
	unsigned char data[BLOCK_SIZE * 2];
	int fd = open(path, O_RDONLY);
	ssize_t size = fd == -1 ? -1 : read(fd, data, sizeof(data));

	test_assert(size > BLOCK_SIZE);
	if (size > 0)
		buffer_append(buf, data, size);
	i_close_fd(&fd);
}

static void file_write(const char *path, const void *data, size_t size)
{
	const struct timeval old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	test_assert(fd != -1 && write_full(fd, data, size) == 0);
	i_close_fd(&fd);
	test_assert(utimes(path, old) == 0);
}

static void check_damaged(struct pgbox_content_cache *cache, const char *path)
{
	struct stat st;

	test_expect_error_string("is damaged: removed");
	test_assert(!have(cache, digest1, 0));
	test_expect_no_more_errors();
	test_assert(stat(path, &st) < 0 && errno == ENOENT);
}

static void test_damage(void)
{
	struct pgbox_content_cache *cache = cache_init();
	const char *path = path1(PATH1);
	buffer_t *buf = t_buffer_create(BLOCK_SIZE * 2);
	const struct timeval old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	unsigned char *data;
	struct stat st;
	size_t size;

	test_begin("content cache: damage");
	pgbox_content_cache_put(cache, digest1, 0, block, BLOCK_SIZE);
	file_read(path, buf);
	data = buffer_get_modifiable_data(buf, &size);
	/* each single byte counts, those of the head, too */
	for (unsigned int i = 0; i < size; i++) T_BEGIN {
		data[i] ^= 0x40;
		file_write(path, data, size);
		check_damaged(cache, path);
		data[i] ^= 0x40;
	} T_END;
	/* cut at any place */
	for (unsigned int i = 0; i < size; i++) T_BEGIN {
		file_write(path, data, i);
		check_damaged(cache, path);
	} T_END;
	buffer_append_c(buf, 'x');
	file_write(path, buf->data, buf->used);
	check_damaged(cache, path);
	/* the file of another name */
	pgbox_content_cache_put(cache, digest1, 1, block, BLOCK_SIZE);
	test_assert(rename(path1(
		"13/1234000000000000000000000000000000000000000000000000"
		"0000000000ff.1"), path) == 0);
	/* it may be under way still */
	test_assert(!have(cache, digest1, 0));
	test_assert(stat(path, &st) == 0);
	test_assert(utimes(path, old) == 0);
	check_damaged(cache, path);
	pgbox_content_cache_put(cache, digest1, 0, block, BLOCK_SIZE);
	test_assert(have(cache, digest1, 0));
	pgbox_content_cache_unref(&cache);
	test_end();
}

static unsigned int count_files(const char *subdir)
{
	const struct dirent *entry;
	unsigned int count = 0;
	DIR *dirp = opendir(path1(subdir));

	test_assert(dirp != NULL);
	while (dirp != NULL && (entry = readdir(dirp)) != NULL)
		count += entry->d_name[0] == '.' ? 0 : 1;
	if (dirp != NULL)
		closedir(dirp);
	return count;
}

static void test_limit(void)
{
	struct pgbox_content_cache *cache = cache_init();
	const struct timeval old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	unsigned char digest[PGBOX_CONTENT_CACHE_DIGEST_SIZE] = { 0x12 };
	struct stat st;

	test_begin("content cache: limit");
	pgbox_content_cache_put(cache, digest1, 0, block, BLOCK_SIZE);
	/* read: so it is new again */
	test_assert(utimes(path1(PATH1), old) == 0);
	test_assert(have(cache, digest1, 0));
	test_assert(stat(path1(PATH1), &st) == 0 &&
		    st.st_mtime > ioloop_time - 1000);
	pgbox_content_cache_put(cache, digest2, 0, block, BLOCK_SIZE);
	for (unsigned int i = 0; i < 500; i++) T_BEGIN {
		digest[30] = i >> 8;
		digest[31] = i;
		if (i == 1)
			test_assert(utimes(path1("12/1235000000000000000000"
				"000000000000000000000000000000000000000000.0"),
				old) == 0);
		pgbox_content_cache_put(cache, digest, 0, block, BLOCK_SIZE);
	} T_END;
	test_assert(count_files("12") >= 5);
	/* ten times the share was written: chance can't be that unkind */
	test_assert(count_files("12") < 3 * SHARE / BLOCK_SIZE);
	test_assert(!pgbox_content_cache_has(cache, digest2, 0));
	pgbox_content_cache_unref(&cache);
	test_end();
}

static void test_unusable(void)
{
	struct pgbox_content_cache *cache = cache_init();

	test_begin("content cache: unusable folder");
	/* a file is where the folder should be */
	file_write(dir, "x", 1);
	test_expect_error_string("not used any more in this session");
	test_assert(!have(cache, digest1, 0));
	test_expect_no_more_errors();
	/* said once */
	pgbox_content_cache_put(cache, digest1, 0, block, BLOCK_SIZE);
	test_assert(!have(cache, digest1, 0));
	test_assert(!pgbox_content_cache_has(cache, digest1, 0));
	pgbox_content_cache_unref(&cache);
	i_unlink(dir);
	test_end();
}

int main(void)
{
	static void (*const test_functions[])(void) = {
		test_get_put,
		test_damage,
		test_limit,
		test_unusable,
		NULL
	};
	struct ioloop *ioloop;
	const char *error;
	int ret;

	lib_init();
	ioloop = io_loop_create();
	event = event_create(NULL);
	dir = t_strdup_printf("%s.%ld", DIR_NAME, (long)getpid());
	for (unsigned int i = 0; i < sizeof(block); i++)
		block[i] = i_rand_limit(256);
	ret = test_run(test_functions);
	if (unlink_directory(dir, UNLINK_DIRECTORY_FLAG_RMDIR, &error) < 0)
		i_error("%s", error);
	event_unref(&event);
	io_loop_destroy(&ioloop);
	lib_deinit();
	return ret;
}
