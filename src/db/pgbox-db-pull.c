#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-db-private.h"
#include "pgbox-db-pull.h"
#include "pgbox-error.h"

/* Columns and row kinds of the statement */
enum pull_column {
	PULL_COLUMN_KIND,
	PULL_COLUMN_UID,
	PULL_COLUMN_MODSEQ,
	PULL_COLUMN_FLAGS,
	PULL_COLUMN_KEYWORDS,
	PULL_COLUMN_INFO,
	PULL_COLUMN_KEYWORD,
};
enum pull_row_kind {
	PULL_ROW_COUNTERS = 0,
	PULL_ROW_CHANGED = 1,
	PULL_ROW_EXPUNGED = 2,
	PULL_ROW_KEYWORD = 3,
};
enum pull_info {
	PULL_INFO_UIDVALIDITY,
	PULL_INFO_FIRST_RECENT_UID,
	PULL_INFO_PRUNED_MODSEQ,
	PULL_INFO_EPOCH,
	PULL_INFO_MESSAGES,
	PULL_INFO_HAVE_EXPUNGES,

	PULL_INFO_COUNT
};

struct pgbox_pull {
	struct pgbox_result *result;
	/* of the last message */
	uint32_t uid;
	/* of the current row */
	ARRAY(int16_t) keywords;
};

static int pull_read_counters(struct pgbox_result *result,
			      struct pgbox_pull_counters *counters_r,
			      struct pgbox_error *error_r)
{
	const int64_t *info;
	unsigned int count;

	info = pgbox_result_int64_array(result, PULL_COLUMN_INFO, &count);
	if (pgbox_result_int32(result, PULL_COLUMN_KIND) != PULL_ROW_COUNTERS ||
	    count < PULL_INFO_COUNT) {
		pgbox_error_set(error_r, PGBOX_ERROR_SCHEMA,
				"mailbox-pull: %u counters in the first row "
				"instead of %u", count, PULL_INFO_COUNT);
		return -1;
	}
	counters_r->uid_next = pgbox_db_result_uint32(result, PULL_COLUMN_UID);
	counters_r->highest_modseq =
		pgbox_result_int64(result, PULL_COLUMN_MODSEQ);
	counters_r->uidvalidity = info[PULL_INFO_UIDVALIDITY];
	counters_r->first_recent_uid = I_MIN(info[PULL_INFO_FIRST_RECENT_UID],
					     UINT32_MAX);
	counters_r->pruned_modseq = info[PULL_INFO_PRUNED_MODSEQ];
	counters_r->epoch = info[PULL_INFO_EPOCH];
	counters_r->messages = info[PULL_INFO_MESSAGES];
	counters_r->have_expunges = info[PULL_INFO_HAVE_EXPUNGES] != 0;
	return 0;
}

/* Read the first row. Returns as pgbox_pull_begin() does. */
static int pull_read_first(struct pgbox_result *result,
			   struct pgbox_pull_counters *counters_r,
			   struct pgbox_error *error_r)
{
	int ret = pgbox_result_next(result, error_r);

	if (ret <= 0)
		return ret;
	T_BEGIN {
		ret = pull_read_counters(result, counters_r, error_r);
	} T_END;
	return ret < 0 ? -1 : 1;
}

int pgbox_pull_begin(struct pgbox_conn *conn, int64_t mailbox_id,
		     uint64_t since, unsigned int last_keyword, bool few,
		     struct pgbox_pull **pull_r,
		     struct pgbox_pull_counters *counters_r,
		     struct pgbox_error *error_r)
{
	struct pgbox_pull *pull;
	struct pgbox_result *result;
	int ret;

	*pull_r = NULL;
	i_zero(counters_r);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();
		const bool all = since == 0;

		pgbox_params_int64(params, mailbox_id);
		if (!all)
			pgbox_db_params_uint64(params, since);
		pgbox_params_int32(params, I_MIN(last_keyword, INT32_MAX));
		ret = pgbox_query(conn, all ? PGBOX_STMT_MAILBOX_PULL_ALL :
				  PGBOX_STMT_MAILBOX_PULL, params,
				  PGBOX_EXEC_REPEATABLE |
				  (few ? PGBOX_EXEC_COLLECT : 0),
				  &result, error_r);
	} T_END;
	if (ret < 0)
		return -1;
	ret = pull_read_first(result, counters_r, error_r);
	if (ret <= 0) {
		pgbox_result_free(&result);
		return ret;
	}
	pull = i_new(struct pgbox_pull, 1);
	pull->result = result;
	i_array_init(&pull->keywords, 16);
	*pull_r = pull;
	return 1;
}

static void pull_read_changed(struct pgbox_pull *pull,
			      struct pgbox_pull_row *row)
{
	const int16_t *numbers;
	unsigned int count;

	row->kind = PGBOX_PULL_CHANGED;
	row->flags = pgbox_result_int32(pull->result, PULL_COLUMN_FLAGS);
	array_clear(&pull->keywords);
	T_BEGIN {
		numbers = pgbox_result_int16_array(pull->result,
						   PULL_COLUMN_KEYWORDS,
						   &count);
		array_append(&pull->keywords, numbers, count);
	} T_END;
	row->keywords = array_get(&pull->keywords, &row->keywords_count);
}

/* An index takes messages in their order only, and not the keywords after them. */
static int pull_check_order(struct pgbox_pull *pull, int kind, uint32_t uid,
			    struct pgbox_error *error_r)
{
	if (kind == PULL_ROW_KEYWORD ? pull->uid == 0 : uid > pull->uid) {
		pull->uid = kind == PULL_ROW_KEYWORD ? 0 : uid;
		return 0;
	}
	pgbox_error_set(error_r, PGBOX_ERROR_BUG,
			"mailbox-pull: row of kind %d, %u, after UID %u",
			kind, uid, pull->uid);
	return -1;
}

int pgbox_pull_next(struct pgbox_pull *pull, struct pgbox_pull_row *row_r,
		    struct pgbox_error *error_r)
{
	int ret, kind;

	i_zero(row_r);
	ret = pgbox_result_next(pull->result, error_r);
	if (ret <= 0)
		return ret;
	row_r->uid = pgbox_db_result_uint32(pull->result, PULL_COLUMN_UID);
	row_r->modseq = pgbox_result_int64(pull->result, PULL_COLUMN_MODSEQ);
	kind = pgbox_result_int32(pull->result, PULL_COLUMN_KIND);
	if (pull_check_order(pull, kind, row_r->uid, error_r) < 0)
		return -1;
	switch (kind) {
	case PULL_ROW_CHANGED:
		pull_read_changed(pull, row_r);
		return 1;
	case PULL_ROW_EXPUNGED:
		row_r->kind = PGBOX_PULL_EXPUNGED;
		return 1;
	case PULL_ROW_KEYWORD:
		row_r->kind = PGBOX_PULL_KEYWORD;
		row_r->keyword_number = row_r->uid;
		row_r->keyword_name = pgbox_result_text(pull->result,
							PULL_COLUMN_KEYWORD);
		row_r->uid = 0;
		return 1;
	default:
		pgbox_error_set(error_r, PGBOX_ERROR_BUG,
				"mailbox-pull: row of unknown kind %d", kind);
		return -1;
	}
}

void pgbox_pull_end(struct pgbox_pull **_pull)
{
	struct pgbox_pull *pull = *_pull;

	*_pull = NULL;
	pgbox_result_free(&pull->result);
	array_free(&pull->keywords);
	i_free(pull);
}
