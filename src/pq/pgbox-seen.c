#include "lib.h"
#include "array.h"
#include "str.h"
#include "guid.h"
#include "hostpid.h"
#include "istream.h"
#include "mkdir-parents.h"
#include "strnum.h"
#include "write-full.h"
#include "pgbox-params.h"
#include "pgbox-query.h"
#include "pgbox-seen.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* a line is some 55 bytes, and a node has few stores */
#define SEEN_MAX_LINE 256

struct seen_store {
	guid_128_t guid;
	int64_t generation;
};

struct pgbox_seen {
	struct pgbox_seen *next;
	/* NULL: no file */
	char *path;
	/* of the file as it was read last */
	struct stat st;
	ARRAY(struct seen_store) stores;
};

static struct pgbox_seen *seen_list = NULL;

struct pgbox_seen *pgbox_seen_get(const char *path)
{
	struct pgbox_seen *seen;

	for (seen = seen_list; seen != NULL; seen = seen->next) {
		if (null_strcmp(seen->path, path) == 0)
			return seen;
	}
	seen = i_new(struct pgbox_seen, 1);
	seen->path = i_strdup(path);
	i_array_init(&seen->stores, 2);
	seen->next = seen_list;
	seen_list = seen;
	return seen;
}

void pgbox_seen_free_all(void)
{
	struct pgbox_seen *seen;

	while ((seen = seen_list) != NULL) {
		seen_list = seen->next;
		array_free(&seen->stores);
		i_free(seen->path);
		i_free(seen);
	}
}

/* Returns TRUE if this is news. */
static bool seen_add(struct pgbox_seen *seen, const guid_128_t guid,
		     int64_t generation)
{
	struct seen_store *store;

	array_foreach_modifiable(&seen->stores, store) {
		if (!guid_128_equals(store->guid, guid))
			continue;
		if (store->generation >= generation)
			return FALSE;
		store->generation = generation;
		return TRUE;
	}
	store = array_append_space(&seen->stores);
	guid_128_copy(store->guid, guid);
	store->generation = generation;
	return TRUE;
}

/* What isn't a line of ours says nothing. */
static void seen_parse(struct pgbox_seen *seen, const char *line)
{
	const char *const *words = t_strsplit(line, " ");
	int64_t generation;
	guid_128_t guid;

	if (str_array_length(words) == 2 &&
	    guid_128_from_string(words[0], guid) == 0 &&
	    str_to_int64(words[1], &generation) == 0)
		(void)seen_add(seen, guid, generation);
}

/* Take in what other processes have written since. The file is replaced, never
   changed. */
static void seen_refresh(struct pgbox_seen *seen)
{
	struct istream *input;
	struct stat st;
	const char *line;

	if (seen->path == NULL || stat(seen->path, &st) < 0)
		return;
	if (st.st_ino == seen->st.st_ino && st.st_dev == seen->st.st_dev &&
	    st.st_mtim.tv_sec == seen->st.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == seen->st.st_mtim.tv_nsec)
		return;
	seen->st = st;
	input = i_stream_create_file(seen->path, SEEN_MAX_LINE);
	while ((line = i_stream_read_next_line(input)) != NULL) T_BEGIN {
		seen_parse(seen, line);
	} T_END;
	i_stream_destroy(&input);
}

/* Folders of caches may be deleted at any time, and it may lie there. */
static int seen_mkdir(const char *path)
{
	const char *p = strrchr(path, '/');

	if (p == NULL || p == path)
		return -1;
	return mkdir_parents(t_strdup_until(path, p), 0700) < 0 &&
		errno != EEXIST ? -1 : 0;
}

/* A writer that didn't know of what another one has just written is followed by
   that one's next link, which notes its own again. */
static int seen_write(struct pgbox_seen *seen, const char **error_r)
{
	const char *temp = t_strdup_printf("%s.%s.%s", seen->path,
					   my_hostname, my_pid);
	const struct seen_store *store;
	string_t *str = t_str_new(128);
	int fd, ret = 0;

	array_foreach(&seen->stores, store) {
		str_printfa(str, "%s %"PRId64"\n",
			    guid_128_to_string(store->guid), store->generation);
	}
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd == -1 && errno == ENOENT &&
	    seen_mkdir(seen->path) == 0)
		fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd == -1) {
		*error_r = t_strdup_printf("open(%s) failed: %m", temp);
		return -1;
	}
	if (write_full(fd, str_data(str), str_len(str)) < 0 || fsync(fd) < 0) {
		*error_r = t_strdup_printf("write(%s) failed: %m", temp);
		ret = -1;
	}
	i_close_fd(&fd);
	if (ret == 0 && rename(temp, seen->path) < 0) {
		*error_r = t_strdup_printf("rename(%s, %s) failed: %m",
					   temp, seen->path);
		ret = -1;
	}
	if (ret < 0)
		i_unlink_if_exists(temp);
	return ret;
}

/* Returns TRUE if the file doesn't say what this process knows. */
static bool seen_file_is_behind(const struct pgbox_seen *seen,
				const struct pgbox_seen_server *server)
{
	struct pgbox_seen file;
	bool behind;

	i_zero(&file);
	file.path = seen->path;
	i_array_init(&file.stores, 2);
	seen_refresh(&file);
	behind = seen_add(&file, server->store_guid, server->generation);
	array_free(&file.stores);
	return behind;
}

void pgbox_seen_add_params(struct pgbox_seen *seen,
			   struct pgbox_params *params)
{
	const struct seen_store *stores;
	guid_128_t *guids;
	int64_t *generations;
	unsigned int i, count;

	seen_refresh(seen);
	stores = array_get(&seen->stores, &count);
	guids = t_new(guid_128_t, count + 1);
	generations = t_new(int64_t, count + 1);
	for (i = 0; i < count; i++) {
		guid_128_copy(guids[i], stores[i].guid);
		generations[i] = stores[i].generation;
	}
	pgbox_params_uuid_array(params, (const guid_128_t *)guids, count);
	pgbox_params_int64_array(params, generations, count);
}

void pgbox_seen_note(struct pgbox_seen *seen, struct pgbox_result *row,
		     struct event *event, struct pgbox_seen_server *server_r)
{
	const char *error;

	pgbox_result_uuid(row, 0, server_r->store_guid);
	server_r->generation = pgbox_result_int64(row, 1);
	(void)seen_add(seen, server_r->store_guid, server_r->generation);
	if (seen->path == NULL || !seen_file_is_behind(seen, server_r))
		return;
	T_BEGIN {
		if (seen_write(seen, &error) < 0) {
			e_error(event, "this node can't remember which "
				"primary is the newest: %s", error);
		}
	} T_END;
}

bool pgbox_seen_is_newer(struct pgbox_seen *seen,
			 const struct pgbox_seen_server *server)
{
	const struct seen_store *store;

	seen_refresh(seen);
	array_foreach(&seen->stores, store) {
		if (guid_128_equals(store->guid, server->store_guid))
			return store->generation > server->generation;
	}
	return FALSE;
}
