#ifndef PGBOX_LISTEN_H
#define PGBOX_LISTEN_H

#include "pgbox-query.h"
#include "pgbox-conn.h"

/* A link that stays open on the ioloop, hears what other sessions notify
   (PostgreSQL's NOTIFY) and runs a statement now and then. It never blocks
   but for the resolver. Unlike struct pgbox_conn it needs a session of its own:
   it can't go through a pooler in transaction mode. */
struct pgbox_listen;

struct pgbox_listen_callbacks {
	/* A link is there and listens. What was notified before that is lost:
	   anything may have changed. */
	void (*connected)(void *context);
	/* The link is gone. Called once after each connected(); another is
	   tried until there is one. */
	void (*disconnected)(void *context);
	/* Somebody else than this link has notified the text. */
	void (*notified)(const char *text, void *context);
};

/* Called with each row; must not use the link. */
typedef void pgbox_listen_row_t(struct pgbox_result *row, void *context);
/* The statement was executed, or it failed. The link can take the next one. */
typedef void pgbox_listen_done_t(bool success, void *context);

/* Make the object and begin to connect. New links begin with set->check_stmt
   if set->check, and listen_stmt. Nothing is called before this has returned.
   set->idle_timeout_msecs and set->prepare don't matter. */
struct pgbox_listen *
pgbox_listen_init(const struct pgbox_conn_settings *set,
		  enum pgbox_stmt listen_stmt,
		  const struct pgbox_listen_callbacks *callbacks, void *context,
		  struct event *parent_event);
/* Sets *listen to NULL. No callback is called any more. */
void pgbox_listen_deinit(struct pgbox_listen **listen);

/* Returns TRUE if there is a link that listens and runs no statement. */
bool pgbox_listen_is_idle(const struct pgbox_listen *listen);
/* Send a statement (the link must be idle). params may be NULL, row too if
   rows don't matter. If the link dies meanwhile disconnected() is called after
   done(). A statement that isn't answered within the query timeout ends the
   link. */
void pgbox_listen_query(struct pgbox_listen *listen, enum pgbox_stmt stmt,
			struct pgbox_params *params, pgbox_listen_row_t *row,
			pgbox_listen_done_t *done, void *context);

#endif
