#include "lib.h"
#include "pgbox-conn-private.h"

#define ARRAY_HEADER_SIZE 12
#define ARRAY_DIMENSION_SIZE 8
#define ARRAY_ELEMENT_NULL ((uint32_t)-1)

/* Walks over the elements of an array in the server's binary format. */
struct array_reader {
	const unsigned char *data, *end;
	/* elements of the array */
	unsigned int count;
};

/* The type of the column has been checked, so anything unexpected below is a
   defect of libpq, or a statement that returns a matrix. */
static uint32_t array_read_be32(struct array_reader *reader)
{
	uint32_t value;

	i_assert((size_t)(reader->end - reader->data) >= sizeof(value));
	value = be32_to_cpu_unaligned(reader->data);
	reader->data += sizeof(value);
	return value;
}

static void
array_reader_init(struct array_reader *reader, struct pgbox_result *result,
		  unsigned int col, enum pgbox_type type)
{
	uint32_t dimension_count;
	size_t size;

	i_zero(reader);
	reader->data = pgbox_result_value(result, col, type, &size);
	if (reader->data == NULL)
		return;
	reader->end = reader->data + size;
	dimension_count = array_read_be32(reader);
	/* whether there are NULLs, and the type */
	(void)array_read_be32(reader);
	(void)array_read_be32(reader);
	if (dimension_count == 0)
		return;
	i_assert(dimension_count == 1);
	reader->count = array_read_be32(reader);
	/* lower bound */
	(void)array_read_be32(reader);
	/* each element has at least its length */
	i_assert(reader->count <= (size_t)(reader->end - reader->data) / 4);
}

/* Returns the next element, NULL if it is SQL NULL. */
static const unsigned char *
array_reader_next(struct array_reader *reader, size_t *size_r)
{
	const unsigned char *data;
	uint32_t size = array_read_be32(reader);

	*size_r = 0;
	if (size == ARRAY_ELEMENT_NULL)
		return NULL;
	i_assert(size <= (size_t)(reader->end - reader->data));
	data = reader->data;
	reader->data += size;
	*size_r = size;
	return data;
}

/* Like array_reader_next() for elements of a fixed size. */
static const unsigned char *
array_reader_next_sized(struct array_reader *reader, size_t expected_size)
{
	const unsigned char *data;
	size_t size;

	data = array_reader_next(reader, &size);
	i_assert(data == NULL || size == expected_size);
	return data;
}

const int16_t *
pgbox_result_int16_array(struct pgbox_result *result, unsigned int col,
			 unsigned int *count_r)
{
	struct array_reader reader;
	int16_t *values;
	unsigned int i;

	array_reader_init(&reader, result, col, PGBOX_TYPE_SMALLINT_ARRAY);
	values = t_new(int16_t, reader.count + 1);
	for (i = 0; i < reader.count; i++) {
		const unsigned char *data =
			array_reader_next_sized(&reader, sizeof(*values));
		if (data != NULL)
			values[i] = (int16_t)be16_to_cpu_unaligned(data);
	}
	*count_r = reader.count;
	return values;
}

const int32_t *
pgbox_result_int32_array(struct pgbox_result *result, unsigned int col,
			 unsigned int *count_r)
{
	struct array_reader reader;
	int32_t *values;
	unsigned int i;

	array_reader_init(&reader, result, col, PGBOX_TYPE_INTEGER_ARRAY);
	values = t_new(int32_t, reader.count + 1);
	for (i = 0; i < reader.count; i++) {
		const unsigned char *data =
			array_reader_next_sized(&reader, sizeof(*values));
		if (data != NULL)
			values[i] = (int32_t)be32_to_cpu_unaligned(data);
	}
	*count_r = reader.count;
	return values;
}

const int64_t *
pgbox_result_int64_array(struct pgbox_result *result, unsigned int col,
			 unsigned int *count_r)
{
	struct array_reader reader;
	int64_t *values;
	unsigned int i;

	array_reader_init(&reader, result, col, PGBOX_TYPE_BIGINT_ARRAY);
	values = t_new(int64_t, reader.count + 1);
	for (i = 0; i < reader.count; i++) {
		const unsigned char *data =
			array_reader_next_sized(&reader, sizeof(*values));
		if (data != NULL)
			values[i] = (int64_t)be64_to_cpu_unaligned(data);
	}
	*count_r = reader.count;
	return values;
}

const char *const *
pgbox_result_text_array(struct pgbox_result *result, unsigned int col,
			unsigned int *count_r)
{
	struct array_reader reader;
	const char **values;
	unsigned int i;

	array_reader_init(&reader, result, col, PGBOX_TYPE_TEXT_ARRAY);
	values = t_new(const char *, reader.count + 1);
	for (i = 0; i < reader.count; i++) {
		size_t size;
		const unsigned char *data = array_reader_next(&reader, &size);
		if (data != NULL)
			values[i] = t_strndup(data, size);
	}
	*count_r = reader.count;
	return values;
}
