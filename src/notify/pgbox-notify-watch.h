#ifndef PGBOX_NOTIFY_WATCH_H
#define PGBOX_NOTIFY_WATCH_H

#include "array.h"
#include "pgbox-db-signal.h"

/* Who waits for what on this node, and who is to be woken when. */

ARRAY_DEFINE_TYPE(int64_t, int64_t);

struct pgbox_notify_dir;
struct pgbox_watches;
struct pgbox_watch;

/* Something that is watched: a mailbox, or an account with all that it has. */
struct pgbox_watch_key {
	/* 0: the account */
	int64_t mailbox_id;
	const char *account;
};

/* Tell the session behind the context to look. It answers by
   pgbox_watch_done() or pgbox_watch_failed(). modseq as in struct pgbox_signal. */
typedef void pgbox_watch_look_t(struct pgbox_watch *watch, uint64_t modseq,
				void *context);

/* dir NULL: no files. At most max_waking sessions are busy with looking at a
   time, the others wait for their turn: as each of them may take a connection
   to the database, a change that concerns a thousand doesn't ask for a
   thousand. */
struct pgbox_watches *
pgbox_watches_init(struct pgbox_notify_dir *dir, unsigned int max_waking,
		   pgbox_watch_look_t *look);
/* All watches have been removed. Sets *watches to NULL. */
void pgbox_watches_deinit(struct pgbox_watches **watches);

/* The session knows everything up to modseq (an account: 0). If it is known
   here that this isn't the newest, look() is called right away. */
struct pgbox_watch *
pgbox_watch_add(struct pgbox_watches *watches,
		const struct pgbox_watch_key *key, uint64_t modseq,
		void *context);
/* Sets *watch to NULL. */
void pgbox_watch_remove(struct pgbox_watch **watch);
/* Returns the path of the mailbox's file, or NULL. On the data stack. */
const char *pgbox_watch_get_path(struct pgbox_watch *watch);
/* The session has looked. */
void pgbox_watch_done(struct pgbox_watch *watch);
/* It couldn't: pgbox_watches_retry() tells it again. */
void pgbox_watch_failed(struct pgbox_watch *watch);
/* All that couldn't look are to look again. */
void pgbox_watches_retry(struct pgbox_watches *watches);

/* Something has changed. */
void pgbox_watches_signal(struct pgbox_watches *watches,
			  const struct pgbox_signal *signal);

/* A check compares all that is watched with the database, in batches. */
void pgbox_watches_check_begin(struct pgbox_watches *watches);
/* Append what the next batch has to ask for; the strings are valid until the
   next watch is removed. Returns FALSE when all was asked for. */
bool pgbox_watches_check_next(struct pgbox_watches *watches,
			      ARRAY_TYPE(int64_t) *mailbox_ids,
			      ARRAY_TYPE(const_string) *accounts);
/* Take in an answer; who has missed something is told. */
void pgbox_watches_check_row(struct pgbox_watches *watches,
			     const struct pgbox_signal_state *state);
/* All answers of the batch have come: what had none is gone. */
void pgbox_watches_check_batch_end(struct pgbox_watches *watches);
/* What the next check answers for accounts can't be compared with what they
   answered before: their sessions are to look. */
void pgbox_watches_forget(struct pgbox_watches *watches);

#endif
