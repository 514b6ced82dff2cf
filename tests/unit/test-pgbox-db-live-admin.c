/* What doveadm calls. Policies, and damage to be found, are for tests/sql and
   tests/integration: who is the plugin's role can make neither. */
#include "test-pgbox-db-live.h"
#include "pgbox-db-admin.h"

#include <stdio.h>
#include <stdlib.h>

struct fields {
	unsigned int count, nulls;
	const char *first;
};

static void
got_fields(const char *const *values, unsigned int count, void *context)
{
	struct fields *fields = context;
	unsigned int i;

	fields->count = count;
	fields->first = p_strdup(pool, values[0]);
	for (i = 0; i < count; i++) {
		if (values[i] == NULL)
			fields->nulls++;
	}
}

static void
got_problem(const char *problem, const char *remedy, void *context)
{
	unsigned int *count = context;

	if (strstr(problem, "is not what its SHA-256 says") == NULL)
		fprintf(stderr, "%s; %s\n", problem, remedy);
	test_assert(*problem != '\0' && *remedy != '\0');
	*count += 1;
}

void test_admin_status(void)
{
	struct fields fields;

	test_begin("db: status");
	i_zero(&fields);
	test_assert(ok(pgbox_store_status(conn, got_fields, &fields,
					  &error)) == 0);
	test_assert(fields.count == PGBOX_STORE_STATUS_FIELDS);
	test_assert(atoi(fields.first) >= 2);
	i_zero(&fields);
	test_assert(ok(pgbox_account_status(conn, ALICE, got_fields, &fields,
					    &error)) == 1);
	test_assert(fields.count == PGBOX_ACCOUNT_STATUS_FIELDS);
	/* deleted and the two quotas */
	test_assert(fields.nulls == 3);
	test_assert_strcmp(fields.first, "true");
	test_assert(pgbox_account_status(conn, "nobody", got_fields, &fields,
					 &error) == 0);
	test_end();
}

void test_admin_verify(void)
{
	struct pgbox_verify_pos pos;
	unsigned int problems = 0, steps = 0;

	test_begin("db: verification in steps");
	i_zero(&pos);
	while (!pos.finished && steps++ < 1000) {
		test_assert(ok(pgbox_content_verify(conn, NULL, 1, 100, &pos,
						    got_problem, &problems,
						    &error)) == 0);
	}
	test_assert(pos.finished && pos.checked >= 2 && steps > pos.checked);
	/* these tests make digests up */
	test_assert(problems == pos.checked);
	problems = 0;
	i_zero(&pos);
	test_assert(ok(pgbox_content_verify(conn, ALICE, 1000, 0, &pos,
					    got_problem, &problems,
					    &error)) == 0);
	test_assert(pos.finished && pos.checked == 0);
	i_zero(&pos);
	for (steps = 0; !pos.finished && steps < 1000; steps++) {
		test_assert(ok(pgbox_rows_verify(conn, 2, &pos, got_problem,
						 &problems, &error)) == 0);
	}
	test_assert(pos.finished && steps > 1);
	test_assert(ok(pgbox_account_verify(conn, ALICE, got_problem,
					    &problems, &error)) == 0);
	test_assert(problems == 0);
	test_assert(is_rule(pgbox_account_verify(conn, "nobody", got_problem,
						 &problems, &error), "PB001"));
	test_end();
}

static void got_undeleted(uint32_t uid, uint32_t new_uid, void *context)
{
	uint32_t *uids = context;

	uids[0] = uid;
	uids[1] = new_uid;
}

void test_admin_undelete(void)
{
	struct pgbox_policy_applied applied;
	struct pgbox_mailbox_row row;
	struct pgbox_undelete undelete = {
		.account = ALICE,
		.folder = BOX,
		.into = OTHER,
	};
	uint32_t uids[2] = { 0, 0 }, uid_next;

	test_begin("db: undelete");
	test_assert(box_find(OTHER, &row) > 0);
	uid_next = row.uid_next;
	/* test_expunge() has expunged it */
	undelete.uids = uid_range(10, 10);
	test_assert(ok(pgbox_message_undelete(conn, &undelete, 10,
					      got_undeleted, uids,
					      &error)) == 1);
	test_assert(uids[0] == 10 && uids[1] == uid_next);
	test_assert(ok(pgbox_message_undelete(conn, &undelete, 10,
					      got_undeleted, uids,
					      &error)) == 0);
	undelete.folder = "never";
	test_assert(is_rule(pgbox_message_undelete(conn, &undelete, 10,
						   got_undeleted, uids,
						   &error), "PB002"));
	test_assert(ok(pgbox_mailbox_delete(conn, ALICE, other_id,
					    REASON, &error)) == 0);
	test_assert(box_find(OTHER, &row) == 0);
	test_assert(ok(pgbox_folder_undelete(conn, ALICE, OTHER, NULL,
					     &error)) == 0);
	test_assert(box_find(OTHER, &row) == other_id);
	test_assert(ok(pgbox_policy_apply(conn, 100, &applied, &error)) == 0);
	test_assert(applied.expunged == 0 && applied.busy == 0 &&
		    !applied.more);
	test_end();
}
