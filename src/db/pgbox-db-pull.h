#ifndef PGBOX_DB_PULL_H
#define PGBOX_DB_PULL_H

struct pgbox_conn;
struct pgbox_error;
struct pgbox_pull;

struct pgbox_pull_counters {
	uint32_t uid_next;
	uint64_t highest_modseq;
	uint32_t uidvalidity;
	uint32_t first_recent_uid;
	/* tombstones up to this modseq may be gone */
	uint64_t pruned_modseq;
	uint32_t epoch;
	uint32_t messages;
	/* there are expunges after the modseq that was asked for */
	bool have_expunges;
};

enum pgbox_pull_kind {
	/* uid, modseq, flags, keywords */
	PGBOX_PULL_CHANGED,
	/* uid, modseq */
	PGBOX_PULL_EXPUNGED,
	/* keyword_number, keyword_name; all come before the first message */
	PGBOX_PULL_KEYWORD,
};

struct pgbox_pull_row {
	enum pgbox_pull_kind kind;
	uint32_t uid;
	uint64_t modseq;
	/* enum mail_flags without MAIL_RECENT */
	uint8_t flags;
	/* numbers of keywords, ascending; valid until the next row */
	const int16_t *keywords;
	unsigned int keywords_count;
	unsigned int keyword_number;
	const char *keyword_name;
};

/* Ask what changed in a mailbox after since (0: everything, without
   tombstones), and for the names of keywords numbered above last_keyword.
   Counters and rows come from one snapshot; changed and expunged messages are
   interleaved by UID. One round trip; rows stream, or if they are few are read
   all at once, which is cheaper.

   Returns 1 and the counters (no rows follow if highest_modseq == since), 0 if
   the mailbox is gone, -1 on error. After 1 the connection is taken until
   pgbox_pull_end(). */
int pgbox_pull_begin(struct pgbox_conn *conn, int64_t mailbox_id,
		     uint64_t since, unsigned int last_keyword, bool few,
		     struct pgbox_pull **pull_r,
		     struct pgbox_pull_counters *counters_r,
		     struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* Returns 1 and the next row, 0 after the last, -1 on error. */
int pgbox_pull_next(struct pgbox_pull *pull, struct pgbox_pull_row *row_r,
		    struct pgbox_error *error_r) ATTR_WARN_UNUSED_RESULT;
/* May be called at any time; unread rows are thrown away. *pull = NULL. */
void pgbox_pull_end(struct pgbox_pull **pull);

#endif
