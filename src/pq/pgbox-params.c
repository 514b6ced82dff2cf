#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "guid.h"
#include "pgbox-conn-private.h"
#include "pgbox-params.h"

/* libpq's format code for binary values */
#define PARAM_FORMAT_BINARY 1
/* length of an array element that is SQL NULL */
#define ARRAY_ELEMENT_NULL ((uint32_t)-1)

struct pgbox_param {
	/* 0 for pgbox_params_null(), which fits every type */
	enum pgbox_type type;
	/* NULL: SQL NULL */
	const void *data;
	size_t size;
};

struct pgbox_params {
	pool_t pool;
	ARRAY(struct pgbox_param) params;
};

struct pgbox_params *pgbox_params_new(void)
{
	struct pgbox_params *params;
	pool_t pool = pool_datastack_create();

	params = p_new(pool, struct pgbox_params, 1);
	params->pool = pool;
	p_array_init(&params->params, pool, 16);
	return params;
}

/* data must not be NULL unless it means SQL NULL */
static void params_append(struct pgbox_params *params, enum pgbox_type type,
			  const void *data, size_t size)
{
	struct pgbox_param *param = array_append_space(&params->params);

	i_assert(size <= INT_MAX);
	param->type = type;
	param->data = data;
	param->size = size;
}

static void params_append_copy(struct pgbox_params *params,
			       enum pgbox_type type,
			       const void *data, size_t size)
{
	/* a NULL pointer would mean SQL NULL: never copy zero bytes to it */
	void *copy = p_malloc(params->pool, size + 1);

	memcpy(copy, data, size);
	params_append(params, type, copy, size);
}

void pgbox_params_null(struct pgbox_params *params)
{
	params_append(params, 0, NULL, 0);
}

void pgbox_params_bool(struct pgbox_params *params, bool value)
{
	const unsigned char byte = value ? 1 : 0;

	params_append_copy(params, PGBOX_TYPE_BOOLEAN, &byte, sizeof(byte));
}

void pgbox_params_int16(struct pgbox_params *params, int16_t value)
{
	const uint16_t be = cpu16_to_be((uint16_t)value);

	params_append_copy(params, PGBOX_TYPE_SMALLINT, &be, sizeof(be));
}

void pgbox_params_int32(struct pgbox_params *params, int32_t value)
{
	const uint32_t be = cpu32_to_be((uint32_t)value);

	params_append_copy(params, PGBOX_TYPE_INTEGER, &be, sizeof(be));
}

void pgbox_params_int64(struct pgbox_params *params, int64_t value)
{
	const uint64_t be = cpu64_to_be((uint64_t)value);

	params_append_copy(params, PGBOX_TYPE_BIGINT, &be, sizeof(be));
}

void pgbox_params_text(struct pgbox_params *params, const char *value)
{
	if (value == NULL)
		params_append(params, PGBOX_TYPE_TEXT, NULL, 0);
	else {
		params_append_copy(params, PGBOX_TYPE_TEXT,
				   value, strlen(value));
	}
}

void pgbox_params_bytea(struct pgbox_params *params,
			const void *data, size_t size)
{
	if (data == NULL)
		params_append(params, PGBOX_TYPE_BYTEA, NULL, 0);
	else
		params_append_copy(params, PGBOX_TYPE_BYTEA, data, size);
}

void pgbox_params_bytea_ref(struct pgbox_params *params,
			    const void *data, size_t size)
{
	params_append(params, PGBOX_TYPE_BYTEA, data, size);
}

void pgbox_params_uuid(struct pgbox_params *params, const guid_128_t value)
{
	if (value == NULL)
		params_append(params, PGBOX_TYPE_UUID, NULL, 0);
	else {
		params_append_copy(params, PGBOX_TYPE_UUID,
				   value, GUID_128_SIZE);
	}
}

static void array_append_be32(buffer_t *buf, uint32_t value)
{
	const uint32_t be = cpu32_to_be(value);

	buffer_append(buf, &be, sizeof(be));
}

/* Begin the server's binary format of an array: number of dimensions, whether
   there may be NULLs, type, and for the one dimension its size and lower
   bound. */
static buffer_t *
array_begin(struct pgbox_params *params, enum pgbox_type element_type,
	    unsigned int count, size_t elements_size)
{
	buffer_t *buf = buffer_create_dynamic(params->pool,
		20 + sizeof(uint32_t) * (size_t)count + elements_size);

	array_append_be32(buf, count == 0 ? 0 : 1);
	array_append_be32(buf, 0);
	array_append_be32(buf, element_type);
	if (count > 0) {
		array_append_be32(buf, count);
		array_append_be32(buf, 1);
	}
	return buf;
}

/* data == NULL: SQL NULL */
static void array_append_element(buffer_t *buf, const void *data, size_t size)
{
	const uint32_t has_nulls_be = cpu32_to_be(1);

	i_assert(size <= INT_MAX);
	if (data == NULL) {
		buffer_write(buf, sizeof(uint32_t), &has_nulls_be,
			     sizeof(has_nulls_be));
		array_append_be32(buf, ARRAY_ELEMENT_NULL);
		return;
	}
	array_append_be32(buf, size);
	buffer_append(buf, data, size);
}

static void array_end(struct pgbox_params *params, enum pgbox_type type,
		      buffer_t *buf)
{
	params_append(params, type, buf->data, buf->used);
}

void pgbox_params_bool_array(struct pgbox_params *params,
			     const bool *values, unsigned int count)
{
	buffer_t *buf = array_begin(params, PGBOX_TYPE_BOOLEAN, count, count);
	unsigned int i;

	for (i = 0; i < count; i++) {
		const unsigned char byte = values[i] ? 1 : 0;
		array_append_element(buf, &byte, sizeof(byte));
	}
	array_end(params, PGBOX_TYPE_BOOLEAN_ARRAY, buf);
}

void pgbox_params_int16_array(struct pgbox_params *params,
			      const int16_t *values, unsigned int count)
{
	buffer_t *buf = array_begin(params, PGBOX_TYPE_SMALLINT, count,
				    count * sizeof(*values));
	unsigned int i;

	for (i = 0; i < count; i++) {
		const uint16_t be = cpu16_to_be((uint16_t)values[i]);
		array_append_element(buf, &be, sizeof(be));
	}
	array_end(params, PGBOX_TYPE_SMALLINT_ARRAY, buf);
}

void pgbox_params_int32_array(struct pgbox_params *params,
			      const int32_t *values, unsigned int count)
{
	buffer_t *buf = array_begin(params, PGBOX_TYPE_INTEGER, count,
				    count * sizeof(*values));
	unsigned int i;

	for (i = 0; i < count; i++) {
		const uint32_t be = cpu32_to_be((uint32_t)values[i]);
		array_append_element(buf, &be, sizeof(be));
	}
	array_end(params, PGBOX_TYPE_INTEGER_ARRAY, buf);
}

void pgbox_params_int64_array(struct pgbox_params *params,
			      const int64_t *values, unsigned int count)
{
	buffer_t *buf = array_begin(params, PGBOX_TYPE_BIGINT, count,
				    count * sizeof(*values));
	unsigned int i;

	for (i = 0; i < count; i++) {
		const uint64_t be = cpu64_to_be((uint64_t)values[i]);
		array_append_element(buf, &be, sizeof(be));
	}
	array_end(params, PGBOX_TYPE_BIGINT_ARRAY, buf);
}

void pgbox_params_id_array(struct pgbox_params *params,
			   const int64_t *values, unsigned int count)
{
	buffer_t *buf = array_begin(params, PGBOX_TYPE_BIGINT, count,
				    count * sizeof(*values));
	unsigned int i;

	for (i = 0; i < count; i++) {
		const uint64_t be = cpu64_to_be((uint64_t)values[i]);
		array_append_element(buf, values[i] == 0 ? NULL : &be,
				     sizeof(be));
	}
	array_end(params, PGBOX_TYPE_BIGINT_ARRAY, buf);
}

void pgbox_params_text_array(struct pgbox_params *params,
			     const char *const *values, unsigned int count)
{
	buffer_t *buf = array_begin(params, PGBOX_TYPE_TEXT, count, count * 16);
	unsigned int i;

	for (i = 0; i < count; i++) {
		array_append_element(buf, values[i], values[i] == NULL ? 0 :
				     strlen(values[i]));
	}
	array_end(params, PGBOX_TYPE_TEXT_ARRAY, buf);
}

void pgbox_params_uuid_array(struct pgbox_params *params,
			     const guid_128_t *values, unsigned int count)
{
	buffer_t *buf = array_begin(params, PGBOX_TYPE_UUID, count,
				    count * sizeof(*values));
	unsigned int i;

	for (i = 0; i < count; i++)
		array_append_element(buf, values[i], GUID_128_SIZE);
	array_end(params, PGBOX_TYPE_UUID_ARRAY, buf);
}

void pgbox_params_bytea_array(struct pgbox_params *params,
			      const unsigned char *const *values,
			      const size_t *sizes, unsigned int count)
{
	buffer_t *buf;
	size_t total = 0;
	unsigned int i;

	for (i = 0; i < count; i++)
		total += sizes[i];
	buf = array_begin(params, PGBOX_TYPE_BYTEA, count, total);
	for (i = 0; i < count; i++)
		array_append_element(buf, values[i], sizes[i]);
	array_end(params, PGBOX_TYPE_BYTEA_ARRAY, buf);
}

void pgbox_params_list(struct pgbox_params *params,
		       const struct pgbox_stmt_def *def,
		       struct pgbox_params_list *list_r)
{
	const struct pgbox_param *param = NULL;
	unsigned int i, count = 0;
	const char **values;
	int *lengths, *formats;

	i_zero(list_r);
	if (params != NULL)
		param = array_get(&params->params, &count);
	i_assert(count == def->param_count);

	values = t_new(const char *, count + 1);
	lengths = t_new(int, count + 1);
	formats = t_new(int, count + 1);
	for (i = 0; i < count; i++) {
		i_assert(param[i].type == 0 ||
			 param[i].type == def->param_types[i]);
		values[i] = param[i].data;
		lengths[i] = param[i].size;
		formats[i] = PARAM_FORMAT_BINARY;
		list_r->size += param[i].size;
	}
	list_r->count = count;
	list_r->values = values;
	list_r->lengths = lengths;
	list_r->formats = formats;
}
