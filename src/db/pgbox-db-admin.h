#ifndef PGBOX_DB_ADMIN_H
#define PGBOX_DB_ADMIN_H

#include "seq-range-array.h"

/* What doveadm calls for an administrator: thin over the functions of
   sql/replace. Work that may be long goes in steps; each function here is one
   step, one round trip and one transaction, and returns -1 with error_r filled
   in if it failed (what was done by former steps stays). */

struct pgbox_conn;
struct pgbox_error;

/* --- what there is */

/* A row as texts, NULL where there is no value; valid until it returns. */
typedef void pgbox_admin_fields_t(const char *const *values,
				  unsigned int count, void *context);
/* Number of fields of the rows below; sql/stmt names them. */
#define PGBOX_STORE_STATUS_FIELDS 15
#define PGBOX_ACCOUNT_STATUS_FIELDS 12

/* The store. */
int pgbox_store_status(struct pgbox_conn *conn, pgbox_admin_fields_t *fields,
		       void *context, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* Returns 1, or 0 if there is no such account. */
int pgbox_account_status(struct pgbox_conn *conn, const char *account,
			 pgbox_admin_fields_t *fields, void *context,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* --- what is wrong */

/* What is wrong with what, and what to do. Valid until it returns. */
typedef void pgbox_admin_problem_t(const char *problem, const char *remedy,
				   void *context);

/* Where a verification is. Begins with zeros. */
struct pgbox_verify_pos {
	/* the number that the next step comes after */
	int64_t after;
	/* bodies read so far */
	uint64_t checked;
	bool finished;
};

/* Compare up to limit bodies with their digests, percent of them chosen at
   random; of one account's messages, or (NULL) all. */
int pgbox_content_verify(struct pgbox_conn *conn, const char *account,
			 unsigned int limit, unsigned int percent,
			 struct pgbox_verify_pos *pos,
			 pgbox_admin_problem_t *problem, void *context,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Look for rows that break a rule of the schema, limit numbers of accounts,
   mailboxes and contents at a time. */
int pgbox_rows_verify(struct pgbox_conn *conn, unsigned int limit,
		      struct pgbox_verify_pos *pos,
		      pgbox_admin_problem_t *problem, void *context,
		      struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* The same for one account and its mailboxes, in one step (PB001: there is no
   such account). */
int pgbox_account_verify(struct pgbox_conn *conn, const char *account,
			 pgbox_admin_problem_t *problem, void *context,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* --- what is to go */

/* What one call of the purge removed; zeros when there is nothing left. */
struct pgbox_purged {
	uint64_t tombstones, mailboxes, contents, bodies;
};
int pgbox_purge(struct pgbox_conn *conn, unsigned int limit,
		struct pgbox_purged *purged_r, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;

/* What one application of the policies did. */
struct pgbox_policy_applied {
	uint64_t expunged;
	/* mailboxes in use, which were left alone */
	uint64_t busy;
	/* there is work for another step */
	bool more;
};
int pgbox_policy_apply(struct pgbox_conn *conn, unsigned int limit,
		       struct pgbox_policy_applied *applied_r,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* --- what comes back */

struct pgbox_undelete {
	const char *account;
	/* full name in the database, and where messages come into (NULL: the
	   same) */
	const char *folder, *into;
	/* NULL: all that were expunged since then and not moved elsewhere */
	const ARRAY_TYPE(seq_range) *uids;
	time_t since;
};
typedef void pgbox_undeleted_t(uint32_t uid, uint32_t new_uid, void *context);
/* Bring back at most limit expunged messages. Returns their number; 0: there
   are no more. PB001, PB002: no such account, mailbox. */
int pgbox_message_undelete(struct pgbox_conn *conn,
			   const struct pgbox_undelete *undelete,
			   unsigned int limit, pgbox_undeleted_t *undeleted,
			   void *context, struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* Bring back the mailbox of this name that was deleted last, under new_name
   (NULL: its own). PB002: none was deleted; PB003: the name is taken. */
int pgbox_folder_undelete(struct pgbox_conn *conn, const char *account,
			  const char *folder, const char *new_name,
			  struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

#endif
