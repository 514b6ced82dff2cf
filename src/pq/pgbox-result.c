#include "lib.h"
#include "guid.h"
#include "pgbox-conn-private.h"

/* Read the next row. Returns NULL at the end or after a failure: the result
   is finished then. */
static PGresult *result_read(struct pgbox_result *result)
{
	struct pgbox_conn *conn = result->conn;
	enum pgbox_answer answer;
	const struct pgbox_op *op;
	PGresult *row;

	if (result->finished)
		return NULL;
	if (pgbox_request_read(conn, TRUE, &answer, &op, &row, &result->error) < 0)
		answer = PGBOX_ANSWER_END;
	else if (answer == PGBOX_ANSWER_ROW)
		return row;
	else
		result->error = conn->request.error;
	result->finished = TRUE;
	return NULL;
}

int pgbox_result_start(struct pgbox_conn *conn, enum pgbox_stmt stmt,
		       struct pgbox_result **result_r,
		       struct pgbox_error *error_r)
{
	struct pgbox_result *result;

	result = i_new(struct pgbox_result, 1);
	result->conn = conn;
	result->def = &pgbox_stmt_table[stmt];
	result->ahead[0] = result_read(result);
	if (result->ahead[0] != NULL && !conn->request.repeatable)
		result->ahead[1] = result_read(result);
	if (result->error.kind != PGBOX_ERROR_NONE) {
		*error_r = result->error;
		PQclear(result->ahead[0]);
		PQclear(result->ahead[1]);
		i_free(result);
		return -1;
	}
	*result_r = result;
	return 0;
}

int pgbox_result_next(struct pgbox_result *result, struct pgbox_error *error_r)
{
	if (result->row != NULL &&
	    ++result->row_number < PQntuples(result->row))
		return 1;
	PQclear(result->row);
	result->row_number = 0;
	result->row = result->ahead[0];
	result->ahead[0] = result->ahead[1];
	result->ahead[1] = NULL;
	if (result->row == NULL)
		result->row = result_read(result);
	if (result->row != NULL)
		return 1;
	if (result->error.kind == PGBOX_ERROR_NONE)
		return 0;
	*error_r = result->error;
	return -1;
}

void pgbox_result_free(struct pgbox_result **_result)
{
	struct pgbox_result *result = *_result;

	*_result = NULL;
	PQclear(result->row);
	PQclear(result->ahead[0]);
	PQclear(result->ahead[1]);
	while (!result->finished)
		PQclear(result_read(result));
	pgbox_conn_request_end(result->conn, result->error.kind);
	i_free(result);
}

const unsigned char *
pgbox_result_value(struct pgbox_result *result, unsigned int col,
		   enum pgbox_type type, size_t *size_r)
{
	i_assert(result->row != NULL);
	i_assert(col < result->def->column_count);
	i_assert(result->def->column_types[col] == type);

	*size_r = 0;
	if (PQgetisnull(result->row, result->row_number, col) == 1)
		return NULL;
	*size_r = PQgetlength(result->row, result->row_number, col);
	return (const unsigned char *)PQgetvalue(result->row,
						 result->row_number, col);
}

/* Returns the value of a type with a fixed size, or NULL if it is SQL NULL. */
static const unsigned char *
result_value_sized(struct pgbox_result *result, unsigned int col,
		   enum pgbox_type type, size_t expected_size)
{
	const unsigned char *value;
	size_t size;

	value = pgbox_result_value(result, col, type, &size);
	i_assert(value == NULL || size == expected_size);
	return value;
}

bool pgbox_result_is_null(struct pgbox_result *result, unsigned int col)
{
	i_assert(result->row != NULL);
	i_assert(col < result->def->column_count);

	return PQgetisnull(result->row, result->row_number, col) == 1;
}

bool pgbox_result_bool(struct pgbox_result *result, unsigned int col)
{
	const unsigned char *value =
		result_value_sized(result, col, PGBOX_TYPE_BOOLEAN, 1);

	return value != NULL && *value != 0;
}

int32_t pgbox_result_int32(struct pgbox_result *result, unsigned int col)
{
	const unsigned char *value;

	i_assert(col < result->def->column_count);
	if (result->def->column_types[col] == PGBOX_TYPE_SMALLINT) {
		value = result_value_sized(result, col,
					   PGBOX_TYPE_SMALLINT, 2);
		return value == NULL ? 0 : (int16_t)be16_to_cpu_unaligned(value);
	}
	value = result_value_sized(result, col, PGBOX_TYPE_INTEGER, 4);
	return value == NULL ? 0 : (int32_t)be32_to_cpu_unaligned(value);
}

int64_t pgbox_result_int64(struct pgbox_result *result, unsigned int col)
{
	const unsigned char *value =
		result_value_sized(result, col, PGBOX_TYPE_BIGINT, 8);

	return value == NULL ? 0 : (int64_t)be64_to_cpu_unaligned(value);
}

const char *pgbox_result_text(struct pgbox_result *result, unsigned int col)
{
	size_t size;

	/* libpq appends a NUL, and the server allows for none within */
	return (const char *)
		pgbox_result_value(result, col, PGBOX_TYPE_TEXT, &size);
}

const unsigned char *
pgbox_result_bytea(struct pgbox_result *result, unsigned int col,
		   size_t *size_r)
{
	return pgbox_result_value(result, col, PGBOX_TYPE_BYTEA, size_r);
}

void pgbox_result_uuid(struct pgbox_result *result, unsigned int col,
		       guid_128_t value_r)
{
	const unsigned char *value = result_value_sized(result, col,
		PGBOX_TYPE_UUID, GUID_128_SIZE);

	if (value == NULL)
		guid_128_empty(value_r);
	else
		memcpy(value_r, value, GUID_128_SIZE);
}
