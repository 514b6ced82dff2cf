/* Messages are changed, copied, expunged; pull and purge. */
#include "test-pgbox-db-live.h"
#include "str.h"
#include "pgbox-query.h"
#include "pgbox-db-admin.h"
#include "pgbox-db-pull.h"

static const struct pgbox_changed_row *
changed_find(const struct pgbox_change_result *result, uint32_t uid)
{
	const struct pgbox_changed_row *row;

	array_foreach(&result->changed, row) {
		if (row->uid == uid)
			return row;
	}
	return NULL;
}

static void ops_add(ARRAY_TYPE(pgbox_store_op) *ops, uint8_t add_flags,
		    uint8_t remove_flags, uint32_t uid1, uint32_t uid2)
{
	struct pgbox_store_op *op = array_append_space(ops);

	op->add_flags = add_flags;
	op->remove_flags = remove_flags;
	op->add_keywords = "";
	op->remove_keywords = "";
	t_array_init(&op->uids, 2);
	seq_range_array_add(&op->uids, uid1);
	seq_range_array_add(&op->uids, uid2);
}

static void test_store_conflict(void)
{
	ARRAY_TYPE(pgbox_store_op) ops;
	struct pgbox_change_result result;
	uint64_t modseq;

	t_array_init(&ops, 1);
	ops_add(&ops, SEEN, 0, 12, 12);
	pgbox_change_result_init(&result);
	test_assert(ok(pgbox_message_store(conn, NULL, box_id, UINT64_MAX, &ops,
					   &result, &error)) == 0);
	modseq = result.prev_modseq;
	test_assert(result.modseq > modseq);
	pgbox_change_result_deinit(&result);

	array_clear(&ops);
	ops_add(&ops, FLAGGED, 0, 12, 13);
	pgbox_change_result_init(&result);
	test_assert(ok(pgbox_message_store(conn, NULL, box_id, modseq, &ops,
					   &result, &error)) == 0);
	test_assert(seq_range_count(&result.conflicts) == 1 &&
		    seq_range_exists(&result.conflicts, 12));
	test_assert(array_count(&result.changed) == 1 &&
		    changed_find(&result, 13) != NULL);
	test_assert(result.modseq > result.prev_modseq);
	pgbox_change_result_deinit(&result);

	/* nothing left to change */
	pgbox_change_result_init(&result);
	test_assert(ok(pgbox_message_store(conn, NULL, box_id, UINT64_MAX, &ops,
					   &result, &error)) == 0);
	test_assert(array_count(&result.changed) == 1);
	test_assert(ok(pgbox_message_store(conn, NULL, box_id, UINT64_MAX, &ops,
					   &result, &error)) == 0);
	test_assert(result.modseq == 0 && result.prev_modseq > modseq);
	pgbox_change_result_deinit(&result);
}

void test_store(void)
{
	ARRAY_TYPE(pgbox_store_op) ops;
	struct pgbox_store_op *op;
	struct pgbox_change_result result;
	struct pgbox_pipeline *pipeline;
	const struct pgbox_changed_row *row;
	const int16_t *numbers;

	test_begin("db: flags and keywords");
	t_array_init(&ops, 2);
	ops_add(&ops, ANSWERED, SEEN, 1, 10);
	ops_add(&ops, 0, 0, 11, 12);
	op = array_idx_modifiable(&ops, 1);
	op->add_keywords = "three ONE";
	pgbox_change_result_init(&result);
	test_assert(ok(pgbox_pipeline_begin(conn, &pipeline, &error)) == 0);
	test_assert(ok(pgbox_message_store(NULL, pipeline, box_id, UINT64_MAX,
					   &ops, &result, &error)) == 0);
	test_assert(ok(pgbox_pipeline_commit(&pipeline, &error)) == 0);
	test_assert(array_count(&result.changed) == 4);
	test_assert(array_count(&result.conflicts) == 0);
	test_assert(result.modseq > result.prev_modseq);
	row = changed_find(&result, 1);
	test_assert(row != NULL && row->flags == (ANSWERED | FLAGGED) &&
		    row->keywords_count == 2);
	row = changed_find(&result, 10);
	test_assert(row != NULL && row->flags == ANSWERED &&
		    row->keywords_count == 0);
	row = changed_find(&result, 12);
	test_assert(row != NULL && row->flags == 0 && row->keywords_count == 2);
	numbers = array_idx(&result.keywords, row->keywords_idx);
	test_assert(numbers[0] == 1 && numbers[1] == 3);
	pgbox_change_result_deinit(&result);

	array_clear(&ops);
	ops_add(&ops, 0, 0, 12, 13);
	op = array_idx_modifiable(&ops, 0);
	op->add_keywords = "four";
	op->replace_keywords = TRUE;
	pgbox_change_result_init(&result);
	test_assert(ok(pgbox_message_store(conn, NULL, box_id, UINT64_MAX, &ops,
					   &result, &error)) == 0);
	row = changed_find(&result, 12);
	test_assert(row != NULL && row->keywords_count == 1);
	op->replace_keywords = FALSE;
	op->add_keywords = "";
	op->remove_keywords = "FOUR";
	test_assert(ok(pgbox_message_store(conn, NULL, box_id, UINT64_MAX, &ops,
					   &result, &error)) == 0);
	row = array_back(&result.changed);
	test_assert(array_count(&result.changed) == 4 &&
		    row->keywords_count == 0);
	pgbox_change_result_deinit(&result);
	test_store_conflict();
	test_end();
}

void test_append_copy(void)
{
	ARRAY_TYPE(pgbox_append) appends;
	struct pgbox_append append;
	struct pgbox_change_result result;
	struct pgbox_mailbox_row row;
	guid_128_t token;

	test_begin("db: messages are copied and moved");
	t_array_init(&appends, 2);
	append_init(&append);
	append.source_mailbox_id = box_id;
	append.source_uid = 1;
	append.keywords = "moved";
	append.as_source = TRUE;
	array_push_back(&appends, &append);
	append_init(&append);
	append.source_mailbox_id = box_id;
	append.source_uid = 13;
	append.move = TRUE;
	array_push_back(&appends, &append);
	guid_128_generate(token);
	pgbox_change_result_init(&result);
	test_assert(ok(pgbox_message_append(conn, NULL, other_id, token, "test",
					    10000000, &appends, &result,
					    &error)) == 0);
	test_assert(array_count(&result.uids) == 2);
	test_assert(result.modseq > 10000000);
	/* the source has no keyword "moved" */
	test_assert(result.copies_differ);
	test_assert(box_find(OTHER, &row) == other_id);
	test_assert(row.messages == 2 && row.highest_modseq == result.modseq);
	test_assert(box_find(BOX, &row) == box_id && row.messages == 4);

	/* 13 is gone; and so is the whole transaction */
	guid_128_generate(token);
	test_assert(is_rule(pgbox_message_append(conn, NULL, other_id, token,
						 "test", 0, &appends, &result,
						 &error), "PB004"));
	test_assert(box_find(OTHER, &row) == other_id &&
		    row.messages == 2);
	pgbox_change_result_deinit(&result);
	test_end();
}

void test_expunge(void)
{
	struct pgbox_change_result result;
	ARRAY_TYPE(seq_range) none;

	test_begin("db: expunge");
	t_array_init(&none, 1);
	pgbox_change_result_init(&result);
	/* there is one message of these UIDs, and it isn't \Deleted */
	test_assert(ok(pgbox_message_expunge(conn, NULL, box_id, &none,
					     uid_range(2, 10), "test",
					     &result, &error)) == 0);
	test_assert(result.modseq == 0 && array_count(&result.expunged) == 0);
	test_assert(ok(pgbox_message_expunge(conn, NULL, box_id,
					     uid_range(2, 10), &none, "test",
					     &result, &error)) == 0);
	test_assert(result.modseq > result.prev_modseq &&
		    result.prev_modseq > 0);
	test_assert(seq_range_count(&result.expunged) == 1 &&
		    seq_range_exists(&result.expunged, 10));
	test_assert(ok(pgbox_message_expunge(conn, NULL, box_id,
					     uid_range(2, 10), &none, "test",
					     &result, &error)) == 0);
	test_assert(result.modseq == 0 && result.prev_modseq > 0);
	test_assert(array_count(&result.expunged) == 0);
	test_assert(is_rule(pgbox_message_expunge(conn, NULL, INT64_MAX,
						  uid_range(1, 1), &none,
						  "test", &result, &error),
			    "PB002"));
	pgbox_change_result_deinit(&result);
	test_end();
}

/* Pull and describe the rows: "c1 e2 k3=name". */
static const char *pull(uint64_t since, unsigned int last_keyword,
			struct pgbox_pull_counters *counters_r)
{
	struct pgbox_pull *pull;
	struct pgbox_pull_row row;
	string_t *str = t_str_new(64);
	int ret;

	if (ok(pgbox_pull_begin(conn, box_id, since, last_keyword, since == 0,
				&pull, counters_r, &error)) <= 0)
		return "no pull";
	while ((ret = ok(pgbox_pull_next(pull, &row, &error))) > 0) {
		switch (row.kind) {
		case PGBOX_PULL_CHANGED:
			str_printfa(str, "c%u:%u", row.uid, row.flags);
			for (unsigned int i = 0; i < row.keywords_count; i++)
				str_printfa(str, ",%d", row.keywords[i]);
			str_append_c(str, ' ');
			break;
		case PGBOX_PULL_EXPUNGED:
			str_printfa(str, "e%u ", row.uid);
			break;
		case PGBOX_PULL_KEYWORD:
			str_printfa(str, "k%u=%s ", row.keyword_number,
				    row.keyword_name);
			break;
		}
		test_assert(row.kind == PGBOX_PULL_KEYWORD ||
			    (row.modseq > since &&
			     row.modseq <= counters_r->highest_modseq));
	}
	test_assert(ret == 0);
	pgbox_pull_end(&pull);
	return str_c(str);
}

void test_pull(void)
{
	struct pgbox_pull_counters counters, counters2;
	struct pgbox_mailbox_row box;
	struct pgbox_pull_row row;
	struct pgbox_pull *cut;
	uint32_t first_uid;

	test_begin("db: pull");
	test_assert(box_find(BOX, &box) == box_id);
	test_assert_strcmp(pull(0, 0, &counters),
			   "k1=one k2=$Two k3=three k4=four "
			   "c1:3,1,2 c11:0,1,3 c12:10 ");
	test_assert(counters.uid_next == 14 && counters.messages == 3);
	test_assert(counters.highest_modseq == box.highest_modseq);
	test_assert(counters.uidvalidity == box.uidvalidity);
	test_assert(counters.first_recent_uid == 12 && counters.epoch == 1);
	test_assert(counters.pruned_modseq == 0 && !counters.have_expunges);
	test_assert_strcmp(pull(1, 2, &counters2),
			   "k3=three k4=four "
			   "c1:3,1,2 e10 c11:0,1,3 c12:10 e13 ");
	test_assert(counters2.have_expunges);
	test_assert_strcmp(pull(counters.highest_modseq - 1, 9, &counters2),
			   "e10 ");
	test_assert(counters2.have_expunges);
	test_assert_strcmp(pull(counters.highest_modseq, 0, &counters2), "");
	test_assert(!counters2.have_expunges);

	/* not read to the end */
	test_assert(ok(pgbox_pull_begin(conn, box_id, 0, 0, FALSE, &cut,
					&counters, &error)) == 1);
	test_assert(ok(pgbox_pull_next(cut, &row, &error)) == 1);
	pgbox_pull_end(&cut);
	test_assert(ok(pgbox_recent_claim(conn, box_id, 1, &first_uid,
					  &error)) == 0);
	/* no mailbox */
	test_assert(ok(pgbox_pull_begin(conn, INT64_MAX, 0, 0, TRUE, &cut,
					&counters, &error)) == 0);
	test_assert(cut == NULL);
	test_end();
}

void test_many(void)
{
	const unsigned int count = 3000;
	ARRAY_TYPE(pgbox_append) appends;
	ARRAY_TYPE(pgbox_store_op) ops;
	struct pgbox_store_op *op;
	struct pgbox_append append;
	struct pgbox_change_result result;
	struct pgbox_pull_counters counters;
	struct fetched fetched;
	guid_128_t token;
	unsigned int i;

	test_begin("db: many messages at once");
	t_array_init(&appends, count);
	for (i = 0; i < count; i++) {
		append_init(&append);
		append.source_mailbox_id = box_id;
		append.source_uid = 1;
		append.flags = SEEN;
		array_push_back(&appends, &append);
	}
	guid_128_generate(token);
	pgbox_change_result_init(&result);
	test_assert(ok(pgbox_message_append(conn, NULL, box_id, token, "test",
					    0, &appends, &result,
					    &error)) == 0);
	test_assert(array_count(&result.uids) == count);
	t_array_init(&ops, 1);
	ops_add(&ops, 0, SEEN, 14, 15);
	op = array_idx_modifiable(&ops, 0);
	seq_range_array_add_range(&op->uids, 14, UINT16_MAX);
	test_assert(ok(pgbox_message_store(conn, NULL, box_id, UINT64_MAX,
					   &ops, &result, &error)) == 0);
	test_assert(array_count(&result.changed) == count);
	fetch(14, UINT16_MAX, PGBOX_FETCH_HEADER, &fetched);
	test_assert(fetched.count == count);
	(void)pull(0, 0, &counters);
	test_assert(counters.messages == count + 3);
	pgbox_change_result_deinit(&result);
	test_end();
}

void test_purge(void)
{
	struct pgbox_purged purged, total;
	struct pgbox_mailbox_row row;
	unsigned int rounds = 0;

	test_begin("db: purge");
	test_assert(ok(pgbox_mailbox_delete(conn, ALICE, box_id, REASON,
					    &error)) == 0);
	test_assert(ok(pgbox_mailbox_delete(conn, ALICE, other_id,
					    REASON, &error)) == 0);
	i_zero(&total);
	do {
		test_assert(ok(pgbox_purge(conn, 1000, &purged, &error)) == 0);
		total.tombstones += purged.tombstones;
		total.mailboxes += purged.mailboxes;
		total.contents += purged.contents;
		total.bodies += purged.bodies;
	} while ((purged.tombstones | purged.mailboxes | purged.contents |
		  purged.bodies) != 0 && ++rounds < 20);
	test_assert(rounds < 20);
	test_assert(total.tombstones > 0 && total.mailboxes >= 2);
	test_assert(total.contents == 4 && total.bodies == 2);
	test_assert(box_find("INBOX", &row) > 0);
	test_end();
}

