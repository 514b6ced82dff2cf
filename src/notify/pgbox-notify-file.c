/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "strnum.h"
#include "write-full.h"
#include "pgbox-notify-file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* of fixed length, so that a write replaces it */
#define NOTIFY_FILE_FORMAT "%020"PRIu64"\n"

struct pgbox_notify_dir {
	char *path;
	struct event *event;
};

struct pgbox_notify_dir *
pgbox_notify_dir_init(const char *path, struct event *event)
{
	struct pgbox_notify_dir *dir = i_new(struct pgbox_notify_dir, 1);

	dir->path = i_strdup(path);
	dir->event = event;
	return dir;
}

void pgbox_notify_dir_deinit(struct pgbox_notify_dir **_dir)
{
	struct pgbox_notify_dir *dir = *_dir;

	*_dir = NULL;
	i_free(dir->path);
	i_free(dir);
}

const char *pgbox_notify_file_path(struct pgbox_notify_dir *dir,
				   int64_t mailbox_id)
{
	return t_strdup_printf("%s/%"PRId64, dir->path, mailbox_id);
}

static void
notify_fd_write(struct pgbox_notify_dir *dir, int fd, const char *path,
		uint64_t modseq)
{
	const char *text = t_strdup_printf(NOTIFY_FILE_FORMAT, modseq);

	if (pwrite_full(fd, text, strlen(text), 0) < 0)
		e_error(dir->event, "write(%s) failed: %m", path);
	i_close_fd(&fd);
}

bool pgbox_notify_file_create(struct pgbox_notify_dir *dir, int64_t mailbox_id,
			      uint64_t modseq)
{
	const char *path = pgbox_notify_file_path(dir, mailbox_id);
	/* sessions of any system user may watch it if they know its name */
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd == -1 && errno == EEXIST)
		return TRUE;
	if (fd == -1) {
		e_error(dir->event, "creat(%s) failed: %m", path);
		return FALSE;
	}
	notify_fd_write(dir, fd, path, modseq);
	return TRUE;
}

void pgbox_notify_file_write(struct pgbox_notify_dir *dir, int64_t mailbox_id,
			     uint64_t modseq)
{
	const char *path = pgbox_notify_file_path(dir, mailbox_id);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd == -1)
		e_error(dir->event, "open(%s) failed: %m", path);
	else
		notify_fd_write(dir, fd, path, modseq);
}

void pgbox_notify_file_unlink(struct pgbox_notify_dir *dir, int64_t mailbox_id)
{
	const char *path = pgbox_notify_file_path(dir, mailbox_id);

	if (unlink(path) < 0 && errno != ENOENT)
		e_error(dir->event, "unlink(%s) failed: %m", path);
}

static void
notify_file_scan(struct pgbox_notify_dir *dir, const char *name,
		 pgbox_notify_file_found_t *found, void *context)
{
	const char *path, *p;
	int64_t mailbox_id;
	uint64_t modseq = 0;
	struct stat st;
	char buf[32];
	ssize_t ret;
	int fd;

	if (str_to_int64(name, &mailbox_id) < 0 || mailbox_id <= 0)
		return;
	path = pgbox_notify_file_path(dir, mailbox_id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) < 0 ||
	    (ret = read(fd, buf, sizeof(buf) - 1)) < 0)
		e_error(dir->event, "read(%s) failed: %m", path);
	else {
		/* what isn't whole counts as 0: who watches is woken */
		buf[ret] = '\0';
		if (str_parse_uint64(buf, &modseq, &p) < 0 || *p != '\n')
			modseq = 0;
		found(mailbox_id, modseq, st.st_mtime, context);
	}
	i_close_fd(&fd);
}

void pgbox_notify_dir_scan(struct pgbox_notify_dir *dir,
			   pgbox_notify_file_found_t *found, void *context)
{
	struct dirent *entry;
	DIR *dirp;

	dirp = opendir(dir->path);
	if (dirp == NULL) {
		e_error(dir->event, "opendir(%s) failed: %m", dir->path);
		return;
	}
	while ((entry = readdir(dirp)) != NULL) T_BEGIN {
		notify_file_scan(dir, entry->d_name, found, context);
	} T_END;
	if (closedir(dirp) < 0)
		e_error(dir->event, "closedir(%s) failed: %m", dir->path);
}
