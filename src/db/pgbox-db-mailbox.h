#ifndef PGBOX_DB_MAILBOX_H
#define PGBOX_DB_MAILBOX_H

#include "guid.h"

struct pgbox_conn;
struct pgbox_conn_settings;
struct pgbox_error;

/* One row of an account's tree. */
struct pgbox_mailbox_row {
	int64_t account_id;
	/* full name in UTF-8, levels separated by '/' */
	const char *name;
	bool subscribed;
	/* 0: the name is subscribed, but there is no such mailbox or node */
	int64_t mailbox_id;
	/* FALSE: a node that only holds children; what follows is zero then */
	bool selectable;
	guid_128_t guid;
	uint32_t uidvalidity;
	/* RFC 6154 attributes separated by spaces, or NULL */
	const char *special_use;
	uint32_t uid_next;
	uint64_t highest_modseq;
	uint32_t messages, unseen;
	/* sum of the messages' sizes with CRLF line ends, in bytes */
	uint64_t virtual_size;
	uint32_t first_recent_uid;
	/* the store's epoch; only from pgbox_mailbox_find() */
	uint32_t epoch;
	/* the store's identity */
	guid_128_t store_guid;
};
ARRAY_DEFINE_TYPE(pgbox_mailbox_row, struct pgbox_mailbox_row);

/* All functions here take one round trip. They return -1 and fill error_r when
   the statement failed; where 0 isn't described it is success. */

/* Look up one name. Strings are allocated from pool. Returns 1 if found, 0 if
   the account has no such name (or there is no such account). */
int pgbox_mailbox_find(struct pgbox_conn *conn, const char *account,
		       const char *name, pool_t pool,
		       struct pgbox_mailbox_row *row_r,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Read the whole tree of an account, in no particular order; strings are
   allocated from pool. Every account has an INBOX: no rows means that there is
   no such account. */
int pgbox_mailbox_tree(struct pgbox_conn *conn, const char *account,
		       pool_t pool, ARRAY_TYPE(pgbox_mailbox_row) *rows_r,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* Create a mailbox (selectable) or a node. guid (may be NULL or empty) and
   uidvalidity (0) are chosen by the server when not given. An existing name
   is error kind RULE with sqlstate PB003. */
int pgbox_mailbox_create(struct pgbox_conn *conn, const char *account,
			 const char *name, bool selectable,
			 const guid_128_t guid, uint32_t uidvalidity,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Delete a mailbox by id (PB002: it is gone). reason is kept with the mailbox
   and in the record, as those of the next two are in the record. */
int pgbox_mailbox_delete(struct pgbox_conn *conn, const char *account,
			 int64_t mailbox_id, const char *reason,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Delete a node that holds no children (PB007: it does). Returns 1, 0 if there
   is no such node, or -1. */
int pgbox_mailbox_delete_node(struct pgbox_conn *conn, const char *account,
			      const char *name, const char *reason,
			      struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* Rename a mailbox or node with all below it (PB002: no such name; PB003: the
   new name is taken; PB006: not a possible move). */
int pgbox_mailbox_rename(struct pgbox_conn *conn, const char *account,
			 const char *old_name, const char *new_name,
			 const char *reason, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;

struct pgbox_mailbox_changes {
	/* 0, NULL: leave as it is; the min_ values only raise */
	uint32_t uidvalidity;
	const uint8_t *guid;
	uint32_t min_uid_next;
	uint32_t min_first_recent_uid;
	uint64_t min_modseq;
};
int pgbox_mailbox_update(struct pgbox_conn *conn, const char *account,
			 int64_t mailbox_id,
			 const struct pgbox_mailbox_changes *changes,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* Subscribe or unsubscribe. Returns 1 if that changed anything, 0 if not. */
int pgbox_subscription_set(struct pgbox_conn *conn, const char *account,
			   const char *name, bool subscribed,
			   struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;

/* Claim \Recent of all UIDs below uid_next for the calling session. The UIDs
   from *first_recent_uid_r on are its own. */
int pgbox_recent_claim(struct pgbox_conn *conn, int64_t mailbox_id,
		       uint32_t uid_next, uint32_t *first_recent_uid_r,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* What an account uses, by its mailboxes' counters, and what it may use. */
struct pgbox_quota {
	uint64_t messages, bytes;
	/* FALSE: nobody has set limits for this account */
	bool limited;
	/* -1: no limit; 0 is one */
	int64_t message_limit, byte_limit;
};
/* Returns 1 if found, 0 if there is no such account. */
int pgbox_quota_get(struct pgbox_conn *conn, const char *account,
		    struct pgbox_quota *quota_r, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;

/* Let connections with these settings refuse a database without our schema,
   or with one that is too old or too new for our statements, or that was left
   behind by a failover. On a timeline of PostgreSQL's that the store hasn't been
   on its counters jump before anything else is done. */
void pgbox_schema_set_check(struct pgbox_conn_settings *set);

/* Mailbox attributes (RFC 5464). value NULL: remove. changed_at 0: now. */
int pgbox_attribute_set(struct pgbox_conn *conn, int64_t mailbox_id,
			bool shared, const char *key,
			const void *value, size_t value_size,
			time_t changed_at, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* Returns 1 and the value allocated from pool, 0 if it isn't set. */
int pgbox_attribute_get(struct pgbox_conn *conn, int64_t mailbox_id,
			bool shared, const char *key, pool_t pool,
			const unsigned char **value_r, size_t *value_size_r,
			time_t *changed_at_r, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* Append the keys that begin with prefix, allocated from pool. */
int pgbox_attribute_list(struct pgbox_conn *conn, int64_t mailbox_id,
			 bool shared, const char *prefix, pool_t pool,
			 ARRAY_TYPE(const_string) *keys,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

#endif
