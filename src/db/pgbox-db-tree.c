#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

/* Reading the tree. Both statements deliver a mailbox as a run of columns in
   the same order. */

struct tree_read {
	pool_t pool;
	/* one of these isn't NULL */
	ARRAY_TYPE(pgbox_mailbox_row) *rows;
	struct pgbox_mailbox_row *row;
};

/* Read guid and what follows it, from column col on. */
static void tree_read_mailbox(struct pgbox_result *result, unsigned int col,
			      pool_t pool, struct pgbox_mailbox_row *row)
{
	if (pgbox_result_is_null(result, col))
		return;
	row->selectable = TRUE;
	pgbox_result_uuid(result, col, row->guid);
	row->uidvalidity = pgbox_db_result_uint32(result, col + 1);
	row->special_use = p_strdup(pool, pgbox_result_text(result, col + 2));
	row->uid_next = pgbox_db_result_uint32(result, col + 3);
	row->highest_modseq = pgbox_result_int64(result, col + 4);
	row->messages = pgbox_result_int32(result, col + 5);
	row->unseen = pgbox_result_int32(result, col + 6);
	row->virtual_size = pgbox_result_int64(result, col + 7);
	row->first_recent_uid = pgbox_db_result_uint32(result, col + 8);
}

static void tree_find_row(struct pgbox_result *result, void *context)
{
	struct tree_read *read = context;

	read->row->account_id = pgbox_result_int64(result, 0);
	read->row->mailbox_id = pgbox_result_int64(result, 1);
	tree_read_mailbox(result, 2, read->pool, read->row);
	read->row->epoch = pgbox_result_int32(result, 11);
	pgbox_result_uuid(result, 12, read->row->store_guid);
}

int pgbox_mailbox_find(struct pgbox_conn *conn, const char *account,
		       const char *name, pool_t pool,
		       struct pgbox_mailbox_row *row_r,
		       struct pgbox_error *error_r)
{
	struct tree_read read = { .pool = pool, .row = row_r };
	struct pgbox_result *result;
	int ret;

	i_zero(row_r);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_text(params, name);
		ret = pgbox_query(conn, PGBOX_STMT_MAILBOX_FIND, params,
				  PGBOX_EXEC_REPEATABLE, &result, error_r);
	} T_END;
	if (ret == 0)
		ret = pgbox_db_rows(&result, tree_find_row, &read, error_r);
	if (ret > 0)
		row_r->name = p_strdup(pool, name);
	return ret;
}

static void tree_row(struct pgbox_result *result, void *context)
{
	struct tree_read *read = context;
	struct pgbox_mailbox_row *row = array_append_space(read->rows);

	row->account_id = pgbox_result_int64(result, 0);
	/* column 1 is the tree's own change counter */
	row->name = p_strdup(read->pool, pgbox_result_text(result, 2));
	row->subscribed = pgbox_result_bool(result, 3);
	row->mailbox_id = pgbox_result_int64(result, 4);
	tree_read_mailbox(result, 5, read->pool, row);
	pgbox_result_uuid(result, 14, row->store_guid);
}

int pgbox_mailbox_tree(struct pgbox_conn *conn, const char *account,
		       pool_t pool, ARRAY_TYPE(pgbox_mailbox_row) *rows_r,
		       struct pgbox_error *error_r)
{
	struct tree_read read = { .pool = pool, .rows = rows_r };
	struct pgbox_result *result;
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		ret = pgbox_query(conn, PGBOX_STMT_MAILBOX_TREE, params,
				  PGBOX_EXEC_REPEATABLE, &result, error_r);
	} T_END;
	if (ret == 0)
		ret = pgbox_db_rows(&result, tree_row, &read, error_r);
	return ret < 0 ? -1 : 0;
}
