#ifndef TEST_PGBOX_DB_LIVE_H
#define TEST_PGBOX_DB_LIVE_H

/* Shared by the parts of test-pgbox-db-live. */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "seq-range-array.h"
#include "test-common.h"
#include "pgbox-conn.h"
#include "pgbox-error.h"
#include "pgbox-db-change.h"
#include "pgbox-db-content.h"
#include "pgbox-db-mailbox.h"

#define ALICE "alice"
/* who deletes and renames */
#define REASON "imap alice from 192.0.2.1"
/* the mailbox that most tests use, and another one */
#define BOX "box"
#define OTHER "\xc3\xb6ther"

/* bits of message_state.flags */
#define ANSWERED 1
#define FLAGGED 2
#define SEEN 8

extern struct pgbox_conn *conn;
extern struct pgbox_error error;
extern pool_t pool;
extern int64_t box_id, other_id;

/* Returns ret; says why if it is an error that the caller doesn't expect. */
int ok(int ret);
/* Returns TRUE if ret is an error of our SQL with this SQLSTATE. */
bool is_rule(int ret, const char *sqlstate);
/* Returns the id of a mailbox, 0 if there is none. */
int64_t box_find(const char *name, struct pgbox_mailbox_row *row_r);
const ARRAY_TYPE(seq_range) *uid_range(uint32_t first, uint32_t last);
/* Something to append, with a GUID of its own. */
void append_init(struct pgbox_append *append_r);

struct fetched {
	struct pgbox_fetched row[8];
	/* may be more than there is place for */
	unsigned int count;
};
/* Fetch messages of BOX. */
void fetch(uint32_t first, uint32_t last, enum pgbox_fetch_what what,
	   struct fetched *fetched_r);

void test_save(void);
void test_recent(void);
void test_big(void);
void test_fetch_limit(void);

void test_store(void);
void test_append_copy(void);
void test_expunge(void);
void test_pull(void);
void test_many(void);
void test_purge(void);

void test_admin_status(void);
void test_admin_verify(void);
void test_admin_undelete(void);

#endif
