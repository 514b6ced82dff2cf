/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "pgbox-content-cache-private.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory is looked at once for each of this many parts of its share. */
#define TRIM_LOOKS_PER_SHARE 8

struct trim_file {
	const char *name;
	time_t mtime;
	uint64_t bytes;
};
ARRAY_DEFINE_TYPE(trim_file, struct trim_file);

static int trim_file_cmp(const struct trim_file *file1,
			 const struct trim_file *file2)
{
	if (file1->mtime != file2->mtime)
		return file1->mtime < file2->mtime ? -1 : 1;
	return strcmp(file1->name, file2->name);
}

/* Whether it is time to look is decided by chance: so many processes, of which
   none knows what the others write, look as often as one would that counted. */
static bool trim_want(const struct pgbox_content_cache *cache, size_t size)
{
	const uint64_t step = cache->max_dir_bytes / TRIM_LOOKS_PER_SHARE;

	size += PGBOX_CONTENT_CACHE_FILE_OVERHEAD;
	return size >= step || i_rand_limit(I_MIN(step, UINT32_MAX)) < size;
}

static uint64_t
trim_list(DIR *dir, pool_t pool, ARRAY_TYPE(trim_file) *files)
{
	struct trim_file *file;
	const struct dirent *entry;
	struct stat st;
	uint64_t sum = 0;

	while ((entry = readdir(dir)) != NULL) {
		/* gone meanwhile: somebody else is at it, too */
		if (fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		file = array_append_space(files);
		file->name = p_strdup(pool, entry->d_name);
		file->mtime = st.st_mtime;
		file->bytes = st.st_size + PGBOX_CONTENT_CACHE_FILE_OVERHEAD;
		sum += file->bytes;
	}
	return sum;
}

static void
trim_oldest(struct pgbox_content_cache *cache, const char *subdir, DIR *dir,
	    ARRAY_TYPE(trim_file) *files, uint64_t sum)
{
	const struct trim_file *file;

	array_sort(files, trim_file_cmp);
	array_foreach(files, file) {
		if (sum <= cache->max_dir_bytes)
			break;
		if (unlinkat(dirfd(dir), file->name, 0) < 0 &&
		    errno != ENOENT) {
			e_warning(cache->event, "unlink(%s/%s) failed: %m",
				  subdir, file->name);
			break;
		}
		sum -= file->bytes;
	}
}

static void trim_dir(struct pgbox_content_cache *cache, const char *subdir)
{
	ARRAY_TYPE(trim_file) files;
	uint64_t sum;
	pool_t pool;
	DIR *dir;

	dir = opendir(subdir);
	if (dir == NULL) {
		/* ENOENT: the whole cache was deleted */
		if (errno != ENOENT) {
			e_warning(cache->event, "opendir(%s) failed: %m",
				  subdir);
		}
		return;
	}
	pool = pool_alloconly_create("content cache trim", 4096);
	i_array_init(&files, 64);
	sum = trim_list(dir, pool, &files);
	trim_oldest(cache, subdir, dir, &files, sum);
	array_free(&files);
	pool_unref(&pool);
	if (closedir(dir) < 0)
		e_warning(cache->event, "closedir(%s) failed: %m", subdir);
}

void pgbox_content_cache_trim(struct pgbox_content_cache *cache,
			      const char *subdir, size_t size)
{
	if (trim_want(cache, size))
		trim_dir(cache, subdir);
}
