#ifndef PGBOX_DB_CHANGE_H
#define PGBOX_DB_CHANGE_H

#include "guid.h"
#include "seq-range-array.h"

struct pgbox_conn;
struct pgbox_error;
struct pgbox_pipeline;

/* One operation on flags and keywords of some messages. A message is in at
   most one operation of a list. */
struct pgbox_store_op {
	/* enum mail_flags without MAIL_RECENT: first removed, then added */
	uint8_t remove_flags, add_flags;
	/* the keywords added are all the message has afterwards */
	bool replace_keywords;
	/* names separated by spaces; "" for none */
	const char *add_keywords, *remove_keywords;
	ARRAY_TYPE(seq_range) uids;
};
ARRAY_DEFINE_TYPE(pgbox_store_op, struct pgbox_store_op);

struct pgbox_changed_row {
	uint32_t uid;
	uint8_t flags;
	/* into pgbox_change_result.keywords */
	uint32_t keywords_idx;
	uint16_t keywords_count;
};
ARRAY_DEFINE_TYPE(pgbox_changed_row, struct pgbox_changed_row);
ARRAY_DEFINE_TYPE(pgbox_keyword_number, int16_t);

/* What a change did. The caller initialises it with
   pgbox_change_result_init() and frees it with _deinit(). */
struct pgbox_change_result {
	/* the mailbox's highest modseq before and after; modseq is 0 if
	   nothing changed */
	uint64_t prev_modseq, modseq;
	/* append: the UIDs given, in the order of the messages */
	ARRAY(uint32_t) uids;
	/* append: flags or keywords of a copy may not be those given */
	bool copies_differ;
	/* store: new states of the messages that changed, by no order */
	ARRAY_TYPE(pgbox_changed_row) changed;
	ARRAY_TYPE(pgbox_keyword_number) keywords;
	/* store: UIDs left alone because of unchangedsince */
	ARRAY_TYPE(seq_range) conflicts;
	/* expunge: the UIDs that were there until now */
	ARRAY_TYPE(seq_range) expunged;
};
void pgbox_change_result_init(struct pgbox_change_result *result);
void pgbox_change_result_deinit(struct pgbox_change_result *result);

struct pgbox_append {
	/* 0, or the UID it shall have if that is still free */
	uint32_t uid;
	guid_128_t guid;
	/* what it consists of: a stored content, or (0) another message of
	   this store to copy */
	int64_t content_id;
	int64_t source_mailbox_id;
	uint32_t source_uid;
	/* the source is expunged in the same transaction */
	bool move;
	time_t received;
	/* negative: now, which is that time by this node's clock */
	time_t saved;
	uint8_t flags;
	/* names separated by spaces; "" for none */
	const char *keywords;
	/* a copy: flags and keywords are only what the caller believes of the
	   source; the copy has those that the source has now */
	bool as_source;
	/* NULL, 0: none */
	const char *pop3_uidl;
	uint32_t pop3_order;
};
ARRAY_DEFINE_TYPE(pgbox_append, struct pgbox_append);

/* Below: the statements that change messages. Each locks the mailbox's
   counters first and holds them to the end of its transaction. With pipeline
   != NULL the statement is queued there, and result is filled when it was
   answered (pgbox_pipeline_drain() or _commit()); otherwise it runs at once on
   conn as a transaction of its own (one round trip). Exactly one of conn and
   pipeline is given. Returns 0 or -1. */

/* unchangedsince UINT64_MAX: no condition (RFC 7162 otherwise). Repeated by
   itself when the link dies, unless there is a condition. */
int pgbox_message_store(struct pgbox_conn *conn,
			struct pgbox_pipeline *pipeline, int64_t mailbox_id,
			uint64_t unchangedsince,
			const ARRAY_TYPE(pgbox_store_op) *ops,
			struct pgbox_change_result *result,
			struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Expunge messages, and those of if_deleted_uids that are \Deleted in the
   database. reason is kept in the tombstones. Repeated by itself when the link
   dies; what the lost try has expunged is then not among the result's UIDs. */
int pgbox_message_expunge(struct pgbox_conn *conn,
			  struct pgbox_pipeline *pipeline, int64_t mailbox_id,
			  const ARRAY_TYPE(seq_range) *uids,
			  const ARRAY_TYPE(seq_range) *if_deleted_uids,
			  const char *reason,
			  struct pgbox_change_result *result,
			  struct pgbox_error *error_r)
	ATTR_WARN_UNUSED_RESULT;
/* token: made by the caller, unique; see pgbox_commit_claim(). min_modseq: the
   modseq taken will be above it. A source message that is gone is error kind
   RULE with sqlstate PB004, and nothing is done. */
int pgbox_message_append(struct pgbox_conn *conn,
			 struct pgbox_pipeline *pipeline, int64_t mailbox_id,
			 const guid_128_t token, const char *reason,
			 uint64_t min_modseq,
			 const ARRAY_TYPE(pgbox_append) *appends,
			 struct pgbox_change_result *result,
			 struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

struct pgbox_content;
/* Store one content whose body fits its first chunk and append it, as one
   statement. append->content_id and the source are ignored. */
int pgbox_message_save(struct pgbox_conn *conn, int64_t mailbox_id,
		       const guid_128_t token, const char *reason,
		       uint64_t min_modseq, const struct pgbox_append *append,
		       const struct pgbox_content *content,
		       struct pgbox_change_result *result,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

/* After PGBOX_ERROR_IN_DOUBT of an append: returns 1 and its result if it was
   committed, 0 if it was not and never will be, -1 if no server answers (still
   in doubt). */
int pgbox_commit_claim(struct pgbox_conn *conn, const guid_128_t token,
		       struct pgbox_change_result *result,
		       struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;

#endif
