/* Every function of src/db against a server with the real schema, see
   run-db-test. The tests build on each other. This file: the tree. */
#include "test-pgbox-db-live.h"

#include <stdio.h>
#include <stdlib.h>

struct pgbox_conn *conn;
struct pgbox_error error;
pool_t pool;
int64_t box_id, other_id;

int ok(int ret)
{
	if (ret < 0) {
		fprintf(stderr, "error kind %d, SQLSTATE %s: %s\n",
			error.kind, error.sqlstate, error.text);
	}
	return ret;
}

bool is_rule(int ret, const char *sqlstate)
{
	return ret < 0 && error.kind == PGBOX_ERROR_RULE &&
		strcmp(error.sqlstate, sqlstate) == 0;
}

int64_t box_find(const char *name, struct pgbox_mailbox_row *row_r)
{
	return ok(pgbox_mailbox_find(conn, ALICE, name, pool, row_r,
				     &error)) == 1 ? row_r->mailbox_id : 0;
}

static int64_t box_create(const char *name)
{
	struct pgbox_mailbox_row row;

	test_assert(ok(pgbox_mailbox_create(conn, ALICE, name, TRUE, NULL, 0,
					    &error)) == 0);
	return box_find(name, &row);
}

const ARRAY_TYPE(seq_range) *uid_range(uint32_t first, uint32_t last)
{
	ARRAY_TYPE(seq_range) *uids = t_new(ARRAY_TYPE(seq_range), 1);

	t_array_init(uids, 1);
	seq_range_array_add_range(uids, first, last);
	return uids;
}

static const struct pgbox_mailbox_row *
tree_find(const ARRAY_TYPE(pgbox_mailbox_row) *rows, const char *name)
{
	const struct pgbox_mailbox_row *row;

	array_foreach(rows, row) {
		if (strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

static void test_mailbox_create(void)
{
	struct pgbox_mailbox_row row;
	guid_128_t guid;

	test_begin("db: mailboxes are created and found");
	test_assert(box_find("INBOX", &row) > 0);
	test_assert(row.account_id > 0 && row.selectable && row.uid_next == 1);
	test_assert(row.uidvalidity > 0 && row.highest_modseq > 0);
	test_assert(row.epoch == 1 && row.first_recent_uid == 1);
	test_assert(!guid_128_is_empty(row.guid));
	test_assert_strcmp(row.name, "INBOX");
	test_assert(box_find("inbox", &row) == 0);
	test_assert(pgbox_mailbox_find(conn, "nobody", "INBOX", pool, &row,
				       &error) == 0);

	guid_128_generate(guid);
	test_assert(ok(pgbox_mailbox_create(conn, ALICE, "a/b", TRUE, guid,
					    3000000000U, &error)) == 0);
	test_assert(box_find("a/b", &row) > 0);
	test_assert(row.uidvalidity == 3000000000U);
	test_assert(guid_128_equals(row.guid, guid));
	test_assert(is_rule(pgbox_mailbox_create(conn, ALICE, "a/b", TRUE, NULL,
						 0, &error), "PB003"));
	test_assert(is_rule(pgbox_mailbox_create(conn, "nobody", "x", TRUE,
						 NULL, 0, &error), "PB001"));
	test_assert(ok(pgbox_mailbox_create(conn, ALICE, "node", FALSE, NULL,
					    0, &error)) == 0);
	test_assert(box_find("node", &row) > 0);
	test_assert(!row.selectable && row.uidvalidity == 0 &&
		    row.uid_next == 0 && guid_128_is_empty(row.guid));
	box_id = box_create(BOX);
	other_id = box_create(OTHER);
	test_assert(box_id > 0 && other_id > 0);
	test_end();
}

static void test_subscriptions(void)
{
	ARRAY_TYPE(pgbox_mailbox_row) rows;
	const struct pgbox_mailbox_row *row;

	test_begin("db: subscriptions and the tree");
	test_assert(ok(pgbox_subscription_set(conn, ALICE, "a/b", TRUE,
					      &error)) == 1);
	test_assert(ok(pgbox_subscription_set(conn, ALICE, "a/b", TRUE,
					      &error)) == 0);
	test_assert(ok(pgbox_subscription_set(conn, ALICE, "dream", TRUE,
					      &error)) == 1);
	test_assert(is_rule(pgbox_subscription_set(conn, "nobody", "x", TRUE,
						   &error), "PB001"));
	p_array_init(&rows, pool, 8);
	test_assert(ok(pgbox_mailbox_tree(conn, ALICE, pool, &rows,
					  &error)) == 0);
	test_assert(array_count(&rows) == 7);
	row = tree_find(&rows, "a/b");
	test_assert(row != NULL && row->subscribed && row->selectable &&
		    row->uidvalidity == 3000000000U && row->uid_next == 1);
	row = tree_find(&rows, "dream");
	test_assert(row != NULL && row->subscribed && !row->selectable &&
		    row->mailbox_id == 0 && row->account_id > 0);
	row = tree_find(&rows, "node");
	test_assert(row != NULL && !row->subscribed && !row->selectable &&
		    row->mailbox_id > 0);
	row = tree_find(&rows, OTHER);
	test_assert(row != NULL && row->mailbox_id == other_id);
	array_clear(&rows);
	test_assert(ok(pgbox_mailbox_tree(conn, "nobody", pool, &rows,
					  &error)) == 0);
	test_assert(array_count(&rows) == 0);
	test_assert(ok(pgbox_subscription_set(conn, ALICE, "dream", FALSE,
					      &error)) == 1);
	test_assert(ok(pgbox_subscription_set(conn, ALICE, "dream", FALSE,
					      &error)) == 0);
	test_end();
}

static void test_mailbox_change(void)
{
	struct pgbox_mailbox_changes changes;
	struct pgbox_mailbox_row row, before;
	guid_128_t guid;
	int64_t id;

	test_begin("db: mailboxes are renamed, updated and deleted");
	test_assert(ok(pgbox_mailbox_rename(conn, ALICE, "a/b", "c/d",
					    REASON, &error)) == 0);
	test_assert(is_rule(pgbox_mailbox_rename(conn, ALICE, "a/b", "e",
						 REASON, &error), "PB002"));
	test_assert(is_rule(pgbox_mailbox_rename(conn, ALICE, "c/d", "box",
						 REASON, &error), "PB003"));
	test_assert(is_rule(pgbox_mailbox_rename(conn, ALICE, "c/d", "c/d/e",
						 REASON, &error), "PB006"));
	id = box_find("c/d", &before);
	i_zero(&changes);
	changes.min_uid_next = 100;
	changes.min_modseq = before.highest_modseq + 1;
	test_assert(ok(pgbox_mailbox_update(conn, ALICE, id, &changes,
					    &error)) == 0);
	test_assert(box_find("c/d", &row) == id);
	test_assert(row.uid_next == 100 && row.first_recent_uid == 1);
	test_assert(row.highest_modseq > before.highest_modseq + 1);
	test_assert(row.uidvalidity == before.uidvalidity);
	test_assert(guid_128_equals(row.guid, before.guid));
	guid_128_generate(guid);
	i_zero(&changes);
	changes.uidvalidity = 5;
	changes.guid = guid;
	changes.min_first_recent_uid = 50;
	test_assert(ok(pgbox_mailbox_update(conn, ALICE, id, &changes,
					    &error)) == 0);
	test_assert(box_find("c/d", &row) == id);
	test_assert(row.uid_next == 100 && row.first_recent_uid == 50);
	test_assert(row.uidvalidity == 5 && guid_128_equals(row.guid, guid));

	test_assert(ok(pgbox_mailbox_delete(conn, ALICE, id, REASON,
					    &error)) == 0);
	test_assert(is_rule(pgbox_mailbox_delete(conn, ALICE, id, REASON,
					    &error),
			    "PB002"));
	test_assert(box_find("c/d", &row) == 0);
	(void)box_create("node/child");
	test_assert(is_rule(pgbox_mailbox_delete_node(conn, ALICE, "node",
						      REASON, &error), "PB007"));
	/* no error, which the server would log with each DELETE */
	test_assert(ok(pgbox_mailbox_delete_node(conn, ALICE, "nowhere",
						 REASON, &error)) == 0);
	test_assert(ok(pgbox_mailbox_delete_node(conn, ALICE, "INBOX",
						 REASON, &error)) == 0);
	id = box_find("node/child", &row);
	test_assert(ok(pgbox_mailbox_delete(conn, ALICE, id, REASON,
					    &error)) == 0);
	test_assert(ok(pgbox_mailbox_delete_node(conn, ALICE, "node",
						 REASON, &error)) == 1);
	test_end();
}

static void test_attributes(void)
{
	ARRAY_TYPE(const_string) keys;
	const unsigned char *value;
	const char *const *key;
	time_t changed_at;
	size_t size;

	test_begin("db: attributes");
	test_assert(ok(pgbox_attribute_set(conn, box_id, TRUE, "comment",
					   "a\0b", 3, 1234567890,
					   &error)) == 0);
	test_assert(ok(pgbox_attribute_set(conn, box_id, TRUE, "color", "", 0,
					   0, &error)) == 0);
	test_assert(ok(pgbox_attribute_set(conn, box_id, FALSE, "comment",
					   "mine", 4, 0, &error)) == 0);
	test_assert(ok(pgbox_attribute_get(conn, box_id, TRUE, "comment", pool,
					   &value, &size, &changed_at,
					   &error)) == 1);
	test_assert(size == 3 && memcmp(value, "a\0b", 3) == 0 &&
		    changed_at == 1234567890);
	test_assert(ok(pgbox_attribute_get(conn, box_id, TRUE, "color", pool,
					   &value, &size, &changed_at,
					   &error)) == 1);
	test_assert(value != NULL && size == 0 && changed_at > 1234567890);
	p_array_init(&keys, pool, 4);
	test_assert(ok(pgbox_attribute_list(conn, box_id, TRUE, "co", pool,
					    &keys, &error)) == 0);
	test_assert(array_count(&keys) == 2);
	key = array_idx(&keys, 0);
	test_assert_strcmp(*key, "color");
	test_assert(ok(pgbox_attribute_set(conn, box_id, TRUE, "comment",
					   NULL, 0, 0, &error)) == 0);
	test_assert(ok(pgbox_attribute_get(conn, box_id, TRUE, "comment", pool,
					   &value, &size, &changed_at,
					   &error)) == 0);
	test_assert(value == NULL);
	test_end();
}

static void test_quota(void)
{
	ARRAY_TYPE(pgbox_mailbox_row) rows;
	const struct pgbox_mailbox_row *row;
	struct pgbox_quota quota;
	uint64_t messages = 0, bytes = 0;

	test_begin("db: quota");
	p_array_init(&rows, pool, 8);
	test_assert(ok(pgbox_mailbox_tree(conn, ALICE, pool, &rows,
					  &error)) == 0);
	array_foreach(&rows, row) {
		messages += row->messages;
		bytes += row->virtual_size;
	}
	test_assert(ok(pgbox_quota_get(conn, ALICE, &quota, &error)) == 1);
	test_assert(quota.messages == messages && messages > 0);
	test_assert(quota.bytes == bytes && bytes > messages);
	test_assert(!quota.limited && quota.message_limit == -1 &&
		    quota.byte_limit == -1);
	test_assert(ok(pgbox_quota_get(conn, "limited", &quota, &error)) == 1);
	test_assert(quota.messages == 0 && quota.bytes == 0);
	test_assert(quota.limited && quota.message_limit == 0 &&
		    quota.byte_limit == INT64_MAX);
	test_assert(ok(pgbox_quota_get(conn, "half", &quota, &error)) == 1);
	test_assert(quota.limited && quota.message_limit == -1 &&
		    quota.byte_limit == 7);
	test_assert(ok(pgbox_quota_get(conn, "nobody", &quota, &error)) == 0);
	test_end();
}

int main(void)
{
	static void (*const test_functions[])(void) = {
		test_mailbox_create,
		test_subscriptions,
		test_mailbox_change,
		test_attributes,
		test_save,
		test_recent,
		test_big,
		test_fetch_limit,
		test_store,
		test_append_copy,
		test_expunge,
		test_pull,
		test_many,
		test_admin_status,
		test_admin_verify,
		test_admin_undelete,
		test_quota,
		test_purge,
		NULL
	};
	struct pgbox_conn_settings set = {
		.conninfo = getenv("PGBOX_TEST_DB"),
		.connect_timeout_msecs = 10000,
		.query_timeout_msecs = 60000,
		.idle_timeout_msecs = 60000,
		.prepare = TRUE,
	};
	int ret;

	if (set.conninfo == NULL)
		return 77;
	pgbox_schema_set_check(&set);
	lib_init();
	pool = pool_alloconly_create("test", 1024 * 64);
	conn = pgbox_conn_get(&set, NULL);
	ret = test_run(test_functions);
	pgbox_conn_unref(&conn);
	pool_unref(&pool);
	lib_deinit();
	return ret;
}
