#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-db-change.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

/* Columns and row kinds of message-store */
enum change_column {
	CHANGE_COLUMN_KIND,
	CHANGE_COLUMN_UID,
	CHANGE_COLUMN_MODSEQ,
	CHANGE_COLUMN_FLAGS,
	CHANGE_COLUMN_KEYWORDS,
};
enum change_row_kind {
	/* the last row: the modseqs before and after */
	CHANGE_ROW_COUNTERS = 0,
	CHANGE_ROW_CHANGED = 1,
	CHANGE_ROW_CONFLICT = 2,
};

void pgbox_change_result_init(struct pgbox_change_result *result)
{
	i_zero(result);
	i_array_init(&result->uids, 8);
	i_array_init(&result->changed, 8);
	i_array_init(&result->keywords, 8);
	i_array_init(&result->conflicts, 4);
	i_array_init(&result->expunged, 4);
}

void pgbox_change_result_deinit(struct pgbox_change_result *result)
{
	array_free(&result->uids);
	array_free(&result->changed);
	array_free(&result->keywords);
	array_free(&result->conflicts);
	array_free(&result->expunged);
}

static void change_read_changed(struct pgbox_result *row,
				struct pgbox_change_result *result)
{
	struct pgbox_changed_row *changed =
		array_append_space(&result->changed);
	const int16_t *numbers;
	unsigned int count;

	changed->uid = pgbox_db_result_uint32(row, CHANGE_COLUMN_UID);
	changed->flags = pgbox_result_int32(row, CHANGE_COLUMN_FLAGS);
	changed->keywords_idx = array_count(&result->keywords);
	T_BEGIN {
		numbers = pgbox_result_int16_array(row, CHANGE_COLUMN_KEYWORDS,
						   &count);
		array_append(&result->keywords, numbers, count);
	} T_END;
	changed->keywords_count = count;
}

static void change_store_row(struct pgbox_result *row, void *context)
{
	struct pgbox_change_result *result = context;

	switch (pgbox_result_int32(row, CHANGE_COLUMN_KIND)) {
	case CHANGE_ROW_COUNTERS:
		result->prev_modseq =
			pgbox_result_int64(row, CHANGE_COLUMN_UID);
		result->modseq = pgbox_result_int64(row, CHANGE_COLUMN_MODSEQ);
		break;
	case CHANGE_ROW_CHANGED:
		change_read_changed(row, result);
		break;
	case CHANGE_ROW_CONFLICT:
		seq_range_array_add(&result->conflicts,
			pgbox_db_result_uint32(row, CHANGE_COLUMN_UID));
		break;
	}
}

/* Bind the UIDs of all operations, and in parallel the operation's index. */
static void change_params_uids(struct pgbox_params *params,
			       const ARRAY_TYPE(pgbox_store_op) *ops)
{
	const struct pgbox_store_op *op;
	const struct seq_range *range;
	ARRAY(int64_t) all_uids;
	ARRAY(int32_t) all_idx;
	const int64_t *uid_values;
	const int32_t *idx_values;
	unsigned int count;
	int64_t uid;
	int32_t idx = 0;

	i_array_init(&all_uids, 64);
	i_array_init(&all_idx, 64);
	array_foreach(ops, op) {
		array_foreach(&op->uids, range) {
			for (uid = range->seq1; uid <= range->seq2; uid++) {
				array_push_back(&all_uids, &uid);
				array_push_back(&all_idx, &idx);
			}
		}
		idx++;
	}
	uid_values = array_get(&all_uids, &count);
	idx_values = array_get(&all_idx, &count);
	pgbox_params_int64_array(params, uid_values, count);
	pgbox_params_int32_array(params, idx_values, count);
	array_free(&all_uids);
	array_free(&all_idx);
}

/* Bind what the operations do, one array for each member. */
static void change_params_ops(struct pgbox_params *params,
			      const ARRAY_TYPE(pgbox_store_op) *ops)
{
	const struct pgbox_store_op *op;
	unsigned int i, count;

	op = array_get(ops, &count);
	int16_t *add = t_new(int16_t, count + 1);
	int16_t *remove = t_new(int16_t, count + 1);
	const char **keywords_add = t_new(const char *, count + 1);
	const char **keywords_remove = t_new(const char *, count + 1);
	bool *replace = t_new(bool, count + 1);

	for (i = 0; i < count; i++) {
		add[i] = op[i].add_flags;
		remove[i] = op[i].remove_flags;
		keywords_add[i] = op[i].add_keywords;
		keywords_remove[i] = op[i].remove_keywords;
		replace[i] = op[i].replace_keywords;
	}
	pgbox_params_int16_array(params, add, count);
	pgbox_params_int16_array(params, remove, count);
	pgbox_params_text_array(params, keywords_add, count);
	pgbox_params_text_array(params, keywords_remove, count);
	pgbox_params_bool_array(params, replace, count);
}

int pgbox_message_store(struct pgbox_conn *conn,
			struct pgbox_pipeline *pipeline, int64_t mailbox_id,
			uint64_t unchangedsince,
			const ARRAY_TYPE(pgbox_store_op) *ops,
			struct pgbox_change_result *result,
			struct pgbox_error *error_r)
{
	/* done twice, a condition would refuse what it has let through */
	const struct pgbox_db_target target = {
		.conn = conn,
		.pipeline = pipeline,
		.flags = unchangedsince == UINT64_MAX ?
			PGBOX_EXEC_REPEATABLE : 0,
	};
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, mailbox_id);
		if (unchangedsince == UINT64_MAX)
			pgbox_params_null(params);
		else
			pgbox_db_params_uint64(params, unchangedsince);
		change_params_uids(params, ops);
		change_params_ops(params, ops);
		ret = pgbox_db_send(&target, PGBOX_STMT_MESSAGE_STORE, params,
				    change_store_row, result, error_r);
	} T_END;
	return ret;
}

static void change_expunge_row(struct pgbox_result *row, void *context)
{
	struct pgbox_change_result *result = context;

	result->prev_modseq = pgbox_result_int64(row, 0);
	result->modseq = pgbox_result_int64(row, 1);
	array_clear(&result->expunged);
	T_BEGIN {
		unsigned int i, count;
		const int64_t *uids = pgbox_result_int64_array(row, 2, &count);

		for (i = 0; i < count; i++)
			seq_range_array_add(&result->expunged, uids[i]);
	} T_END;
}

int pgbox_message_expunge(struct pgbox_conn *conn,
			  struct pgbox_pipeline *pipeline, int64_t mailbox_id,
			  const ARRAY_TYPE(seq_range) *uids,
			  const ARRAY_TYPE(seq_range) *if_deleted_uids,
			  const char *reason,
			  struct pgbox_change_result *result,
			  struct pgbox_error *error_r)
{
	const struct pgbox_db_target target = {
		.conn = conn,
		.pipeline = pipeline,
		.flags = PGBOX_EXEC_REPEATABLE,
	};
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, mailbox_id);
		pgbox_db_params_uids(params, uids);
		pgbox_params_text(params, reason);
		pgbox_db_params_uids(params, if_deleted_uids);
		ret = pgbox_db_send(&target, PGBOX_STMT_MESSAGE_EXPUNGE, params,
				    change_expunge_row, result, error_r);
	} T_END;
	return ret;
}
