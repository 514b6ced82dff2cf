/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "str.h"
#include "istream.h"
#include "ostream.h"
#include "iostream-temp.h"
#include "safe-mkstemp.h"
#include "pgbox-spool.h"

#include <unistd.h>

#define PGBOX_SPOOL_MAX_MEMORY (128 * 1024)
#define PGBOX_SPOOL_BLOCK_SIZE (64 * 1024)

struct pgbox_spool {
	char *path_prefix;
	/* the message being written */
	struct ostream *output;
	/* of the second message on; the stream owns the descriptor */
	struct istream *file_input;
	int fd;
	/* where the next message begins in the file */
	uoff_t offset;
	/* the first message is or was written */
	bool first_used;
	bool writing_first;
};

struct pgbox_spool *pgbox_spool_init(const char *path_prefix)
{
	struct pgbox_spool *spool = i_new(struct pgbox_spool, 1);

	spool->path_prefix = i_strdup(path_prefix);
	spool->fd = -1;
	return spool;
}

void pgbox_spool_deinit(struct pgbox_spool **_spool)
{
	struct pgbox_spool *spool = *_spool;

	*_spool = NULL;
	if (spool->output != NULL)
		pgbox_spool_abort(spool);
	i_stream_unref(&spool->file_input);
	i_free(spool->path_prefix);
	i_free(spool);
}

static int spool_open_file(struct pgbox_spool *spool, const char **error_r)
{
	string_t *path;

	if (spool->fd != -1)
		return 0;
	path = t_str_new(128);
	str_append(path, spool->path_prefix);
	spool->fd = safe_mkstemp_hostpid(path, 0600, (uid_t)-1, (gid_t)-1);
	if (spool->fd == -1) {
		*error_r = t_strdup_printf("safe_mkstemp(%s) failed: %m",
					   str_c(path));
		return -1;
	}
	if (i_unlink(str_c(path)) < 0) {
		*error_r = t_strdup_printf("unlink(%s) failed: %m",
					   str_c(path));
		i_close_fd(&spool->fd);
		return -1;
	}
	spool->file_input = i_stream_create_fd_autoclose(&(int){ spool->fd },
							 PGBOX_SPOOL_BLOCK_SIZE);
	i_stream_set_name(spool->file_input, str_c(path));
	return 0;
}

struct ostream *
pgbox_spool_begin(struct pgbox_spool *spool, const char **error_r)
{
	i_assert(spool->output == NULL);

	if (!spool->first_used) {
		spool->first_used = TRUE;
		spool->writing_first = TRUE;
		spool->output = iostream_temp_create_sized(spool->path_prefix,
			0, "pgbox spool", PGBOX_SPOOL_MAX_MEMORY);
	} else {
		if (spool_open_file(spool, error_r) < 0)
			return NULL;
		spool->writing_first = FALSE;
		spool->output = o_stream_create_fd_file(spool->fd,
							spool->offset, FALSE);
		o_stream_set_name(spool->output,
				  i_stream_get_name(spool->file_input));
	}
	o_stream_cork(spool->output);
	return spool->output;
}

struct istream *
pgbox_spool_finish(struct pgbox_spool *spool, const char **error_r)
{
	struct istream *input;
	uoff_t size;

	if (o_stream_finish(spool->output) < 0) {
		*error_r = t_strdup_printf("write(%s) failed: %s",
			o_stream_get_name(spool->output),
			o_stream_get_error(spool->output));
		pgbox_spool_abort(spool);
		return NULL;
	}
	if (spool->writing_first) {
		return iostream_temp_finish(&spool->output,
					    PGBOX_SPOOL_BLOCK_SIZE);
	}
	size = spool->output->offset - spool->offset;
	input = i_stream_create_range(spool->file_input, spool->offset, size);
	spool->offset += size;
	o_stream_unref(&spool->output);
	return input;
}

void pgbox_spool_abort(struct pgbox_spool *spool)
{
	if (spool->output != NULL) {
		o_stream_abort(spool->output);
		o_stream_destroy(&spool->output);
	}
}
