#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

int pgbox_db_rows(struct pgbox_result **result,
		  pgbox_pipeline_row_t *row_callback, void *context,
		  struct pgbox_error *error_r)
{
	int ret, count = 0;

	while ((ret = pgbox_result_next(*result, error_r)) > 0) {
		count++;
		if (row_callback != NULL)
			row_callback(*result, context);
	}
	pgbox_result_free(result);
	return ret < 0 ? -1 : count;
}

int pgbox_db_query(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		   struct pgbox_params *params, enum pgbox_exec_flags flags,
		   pgbox_pipeline_row_t *row_callback, void *context,
		   struct pgbox_error *error_r)
{
	struct pgbox_result *result;

	if (pgbox_query(conn, stmt, params, flags, &result, error_r) < 0)
		return -1;
	return pgbox_db_rows(&result, row_callback, context, error_r);
}

int pgbox_db_send(const struct pgbox_db_target *target, enum pgbox_stmt stmt,
		  struct pgbox_params *params,
		  pgbox_pipeline_row_t *row_callback, void *context,
		  struct pgbox_error *error_r)
{
	i_assert((target->conn == NULL) != (target->pipeline == NULL));

	if (target->pipeline != NULL) {
		return pgbox_pipeline_send(target->pipeline, stmt, params,
					   row_callback, context, error_r);
	}
	return pgbox_db_query(target->conn, stmt, params, target->flags,
			      row_callback, context, error_r) < 0 ? -1 : 0;
}

void pgbox_db_params_uids(struct pgbox_params *params,
			  const ARRAY_TYPE(seq_range) *uids)
{
	const struct seq_range *range;
	unsigned int count = seq_range_count(uids), i = 0;
	int64_t *values = i_new(int64_t, count + 1);
	uint32_t uid;

	array_foreach(uids, range) {
		for (uid = range->seq1; ; uid++) {
			values[i++] = uid;
			/* not in the loop's head: uid may be the highest */
			if (uid == range->seq2)
				break;
		}
	}
	i_assert(i == count);
	pgbox_params_int64_array(params, values, count);
	i_free(values);
}

void pgbox_db_params_ranges(struct pgbox_params *params,
			    const ARRAY_TYPE(seq_range) *uids)
{
	const struct seq_range *ranges;
	int64_t *first, *last;
	unsigned int i, count;

	ranges = array_get(uids, &count);
	first = i_new(int64_t, count + 1);
	last = i_new(int64_t, count + 1);
	for (i = 0; i < count; i++) {
		first[i] = ranges[i].seq1;
		last[i] = ranges[i].seq2;
	}
	pgbox_params_int64_array(params, first, count);
	pgbox_params_int64_array(params, last, count);
	i_free(first);
	i_free(last);
}

void pgbox_db_params_nonzero(struct pgbox_params *params, int64_t value)
{
	if (value == 0)
		pgbox_params_null(params);
	else
		pgbox_params_int64(params, value);
}

void pgbox_db_params_text(struct pgbox_params *params, const char *value)
{
	if (value == NULL)
		pgbox_params_null(params);
	else
		pgbox_params_text(params, value);
}

void pgbox_db_params_uint64(struct pgbox_params *params, uint64_t value)
{
	pgbox_params_int64(params, I_MIN(value, INT64_MAX));
}

uint32_t pgbox_db_result_uint32(struct pgbox_result *result, unsigned int col)
{
	int64_t value = pgbox_result_int64(result, col);

	return value < 0 ? 0 : I_MIN(value, UINT32_MAX);
}
