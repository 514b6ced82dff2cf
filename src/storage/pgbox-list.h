#ifndef PGBOX_LIST_H
#define PGBOX_LIST_H

#include "mailbox-list-private.h"
#include "pgbox-db-mailbox.h"

struct pgbox_tree;
struct pgbox_list_watch;

struct pgbox_mailbox_list {
	struct mailbox_list list;
	/* NULL if the configuration lacks the database or the account; every
	   access then fails with that reason */
	struct pgbox_conn *conn;
	/* read first for what doesn't change; NULL: there is none */
	struct pgbox_conn *replica;
	const char *account;
	const char *config_error;
	const char *temp_prefix;
	/* separates levels in storage names: the namespace's separator */
	char sep;
	/* identity of the store, empty until something was read from it */
	guid_128_t store_guid;

	/* The account's tree as one statement returned it, NULL if it wasn't
	   read or something was changed since. */
	struct pgbox_tree *tree;

	/* The row that was looked up last (mailbox_id 0: none), and when. */
	pool_t found_pool;
	struct pgbox_mailbox_row found;
	struct timeval found_time;

	/* NULL if nobody wants to hear of changes */
	struct pgbox_list_watch *watch;
};

#define PGBOX_LIST(s) \
	(container_of(s, struct pgbox_mailbox_list, list))

/* What a list has read counts as known until the ioloop's turn ends, whether
   or not others changed something meanwhile; in the next turn it is read anew.
   Errors of all functions here are set in the list. */

/* Returns TRUE if this list is ours (a namespace may combine our storage with
   another list driver, which storage creation refuses). */
bool pgbox_list_is_ours(struct mailbox_list *list);

/* Storage names have the namespace's separator, the database always has '/'.
   Where they differ the two characters are exchanged: with '.' as separator
   the database's "a/b.c" is the storage name "a.b/c". So each name can be had
   in each namespace, and '/' is a character like any other where it separates
   nothing. Both return the same name if there is nothing to do. */
const char *pgbox_list_get_db_name(struct pgbox_mailbox_list *list,
				   const char *name);
const char *pgbox_list_from_db_name(struct pgbox_mailbox_list *list,
				    pool_t pool, const char *db_name);

/* Returns the connection, NULL if the configuration doesn't give one. No
   round trip. */
struct pgbox_conn *pgbox_list_get_conn(struct mailbox_list *list);

/* Make sure that list->tree is that of the database now: reads it unless it
   was read in this very turn. One round trip at most. Returns 0, or -1; that
   there is no such account is an error too, except in shared namespaces, where
   it has no mailboxes. */
int pgbox_list_refresh(struct pgbox_mailbox_list *list)
	ATTR_WARN_UNUSED_RESULT;
/* Forget what was read. Open iterators keep their tree. */
void pgbox_list_invalidate(struct pgbox_mailbox_list *list);
/* The tree was changed, or may have been: forget what was read, and tell
   whoever watches the account, on this node and on others. Call after each
   commit. No round trip. */
void pgbox_list_changed(struct pgbox_mailbox_list *list);
/* The same for a mailbox of the account: it has this modseq now, or (0) was
   changed in another way. */
void pgbox_list_changed_mailbox(struct pgbox_mailbox_list *list,
				int64_t mailbox_id, uint64_t modseq);

/* Look up a mailbox or node by storage name in the database: one round trip
   always. Strings of the row are allocated from the data stack. Returns 1 if
   found, 0 if not, -1 on error. */
int pgbox_list_lookup(struct mailbox_list *list, const char *name,
		      struct pgbox_mailbox_row *row_r) ATTR_WARN_UNUSED_RESULT;
/* The same, answered by what was read in this turn; row_r->epoch isn't set
   then. With listing, the tree of an iterator that is still open is good
   enough, however long its reader takes: the rows that STATUS of a listed
   mailbox shows may be as old as the list. */
int pgbox_list_peek(struct mailbox_list *list, const char *name, bool listing,
		    struct pgbox_mailbox_row *row_r) ATTR_WARN_UNUSED_RESULT;

/* Directory of a mailbox below the root of paths of this type; a rename
   doesn't move it. Returns FALSE if there is no such root (indexes in
   memory). */
bool pgbox_list_get_guid_path(struct mailbox_list *list, const guid_128_t guid,
			      enum mailbox_list_path_type type,
			      const char **path_r);
/* Remove this node's cache of a mailbox. Failures are only logged. */
void pgbox_list_remove_cache(struct mailbox_list *list, const guid_128_t guid);

/* list vfuncs that have files of their own */
struct mailbox_list_iterate_context *
pgbox_list_iter_init(struct mailbox_list *list, const char *const *patterns,
		     enum mailbox_list_iter_flags flags);
const struct mailbox_info *
pgbox_list_iter_next(struct mailbox_list_iterate_context *ctx);
int pgbox_list_iter_deinit(struct mailbox_list_iterate_context *ctx);
int pgbox_list_subscriptions_refresh(struct mailbox_list *src_list,
				     struct mailbox_list *dest_list);

#endif
