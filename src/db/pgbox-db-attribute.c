#include "lib.h"
#include "array.h"
#include "guid.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

int pgbox_attribute_set(struct pgbox_conn *conn, int64_t mailbox_id,
			bool shared, const char *key,
			const void *value, size_t value_size,
			time_t changed_at, struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, mailbox_id);
		pgbox_params_bool(params, shared);
		pgbox_params_text(params, key);
		pgbox_params_bytea_ref(params, value, value_size);
		pgbox_db_params_nonzero(params, changed_at);
		ret = pgbox_db_query(conn, PGBOX_STMT_ATTRIBUTE_SET, params,
				     PGBOX_EXEC_REPEATABLE, NULL, NULL,
				     error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

/* Run one of the two statements that read attributes. text is the key or the
   prefix of keys. */
static int attribute_query(struct pgbox_conn *conn, enum pgbox_stmt stmt,
			   int64_t mailbox_id, bool shared, const char *text,
			   struct pgbox_result **result_r,
			   struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, mailbox_id);
		pgbox_params_bool(params, shared);
		pgbox_params_text(params, text);
		ret = pgbox_query(conn, stmt, params, PGBOX_EXEC_REPEATABLE,
				  result_r, error_r);
	} T_END;
	return ret;
}

struct attribute_read {
	pool_t pool;
	const unsigned char **value_r;
	size_t *value_size_r;
	time_t *changed_at_r;
};

static void attribute_row(struct pgbox_result *result, void *context)
{
	struct attribute_read *read = context;
	const unsigned char *data;
	unsigned char *value;
	size_t size;

	data = pgbox_result_bytea(result, 0, &size);
	/* NUL-terminated for those who know that it is text */
	value = p_malloc(read->pool, size + 1);
	memcpy(value, data, size);
	*read->value_r = value;
	*read->value_size_r = size;
	*read->changed_at_r = pgbox_result_int64(result, 1);
}

int pgbox_attribute_get(struct pgbox_conn *conn, int64_t mailbox_id,
			bool shared, const char *key, pool_t pool,
			const unsigned char **value_r, size_t *value_size_r,
			time_t *changed_at_r, struct pgbox_error *error_r)
{
	struct attribute_read read = {
		.pool = pool,
		.value_r = value_r,
		.value_size_r = value_size_r,
		.changed_at_r = changed_at_r,
	};
	struct pgbox_result *result;

	*value_r = NULL;
	*value_size_r = 0;
	*changed_at_r = 0;
	if (attribute_query(conn, PGBOX_STMT_ATTRIBUTE_GET, mailbox_id, shared,
			    key, &result, error_r) < 0)
		return -1;
	return pgbox_db_rows(&result, attribute_row, &read, error_r);
}

struct attribute_list {
	pool_t pool;
	ARRAY_TYPE(const_string) *keys;
};

static void attribute_list_row(struct pgbox_result *result, void *context)
{
	struct attribute_list *list = context;
	const char *key = p_strdup(list->pool, pgbox_result_text(result, 0));

	array_push_back(list->keys, &key);
}

int pgbox_attribute_list(struct pgbox_conn *conn, int64_t mailbox_id,
			 bool shared, const char *prefix, pool_t pool,
			 ARRAY_TYPE(const_string) *keys,
			 struct pgbox_error *error_r)
{
	struct attribute_list list = { .pool = pool, .keys = keys };
	struct pgbox_result *result;

	if (attribute_query(conn, PGBOX_STMT_ATTRIBUTE_LIST, mailbox_id, shared,
			    prefix, &result, error_r) < 0)
		return -1;
	return pgbox_db_rows(&result, attribute_list_row, &list,
			     error_r) < 0 ? -1 : 0;
}
