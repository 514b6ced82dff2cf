#ifndef PGBOX_NOTIFY_FILE_H
#define PGBOX_NOTIFY_FILE_H

/* A file for each mailbox that is, or was not long ago, watched on this node.
   Writing to it wakes sessions that were parked by imap-hibernate, which has
   nothing but an inotify descriptor of theirs. It holds the modseq that was
   signalled last, so that the service knows after a restart what the parked
   sessions were told. Failures are logged and have no other effect than that
   such a session learns of changes when its client speaks next. */
struct pgbox_notify_dir;

/* path must exist. */
struct pgbox_notify_dir *
pgbox_notify_dir_init(const char *path, struct event *event);
/* The files stay. Sets *dir to NULL. */
void pgbox_notify_dir_deinit(struct pgbox_notify_dir **dir);

/* Returns the path of a mailbox's file, on the data stack. */
const char *pgbox_notify_file_path(struct pgbox_notify_dir *dir,
				   int64_t mailbox_id);
/* Make the file, or do nothing if there is one. Returns FALSE if it can't be
   made. */
bool pgbox_notify_file_create(struct pgbox_notify_dir *dir, int64_t mailbox_id,
			      uint64_t modseq);
/* Wake who watches it. */
void pgbox_notify_file_write(struct pgbox_notify_dir *dir, int64_t mailbox_id,
			     uint64_t modseq);
/* Wakes who watches it, too. */
void pgbox_notify_file_unlink(struct pgbox_notify_dir *dir,
			      int64_t mailbox_id);

/* Called with what is in a file, and when it was written last. */
typedef void pgbox_notify_file_found_t(int64_t mailbox_id, uint64_t modseq,
				       time_t mtime, void *context);
/* Read all files. */
void pgbox_notify_dir_scan(struct pgbox_notify_dir *dir,
			   pgbox_notify_file_found_t *found, void *context);

#endif
