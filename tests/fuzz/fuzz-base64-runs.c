/* Pieces of bodies: whatever is packed comes back, and runs that were never packed
   do no harm. */
#include "fuzz.h"
#include "array.h"
#include "buffer.h"
#include "pgbox-base64-runs.h"

#define PIECE_SIZE 131072

static buffer_t *piece, *stored, *restored;
static ARRAY_TYPE(pgbox_base64_runs) runs;

void fuzz_init(void)
{
	piece = buffer_create_dynamic(default_pool, 4096);
	stored = buffer_create_dynamic(default_pool, 4096);
	restored = buffer_create_dynamic(default_pool, 4096);
	i_array_init(&runs, 16);
}

static void check_packed(void)
{
	unsigned char *copy = i_memdup(piece->data, piece->used);
	unsigned int count;
	const int32_t *fields;

	buffer_set_used_size(stored, 0);
	buffer_set_used_size(restored, 0);
	array_clear(&runs);
	if (pgbox_base64_runs_pack(copy, piece->used, stored, &runs)) {
		fields = array_get(&runs, &count);
		fuzz_require(count > 0 && stored->used < piece->used);
		fuzz_require(pgbox_base64_runs_restore(
			stored->data, stored->used, fields, count,
			piece->used, restored) == 0);
		fuzz_require(buffer_cmp(piece, restored));
	} else
		fuzz_require(stored->used == 0 && array_is_empty(&runs));
	i_free(copy);
}

/* The input once, its first line many times: runs are longer than inputs. */
static void check_repeated(const unsigned char *data, size_t size)
{
	const unsigned char *lf = memchr(data, '\n', size);

	buffer_set_used_size(piece, 0);
	if (lf != NULL) {
		const size_t line = lf + 1 - data;

		while (piece->used < 1024)
			buffer_append(piece, data, line);
	}
	buffer_append(piece, data, size);
	check_packed();
}

/* The first half are runs, the rest is what is stored. */
static void check_restore(const unsigned char *data, size_t size)
{
	const unsigned int count = size / 2 / sizeof(int32_t);
	int32_t *fields = i_new(int32_t, count + 1);
	int ret;

	memcpy(fields, data, count * sizeof(*fields));
	data += count * sizeof(*fields);
	size -= count * sizeof(*fields);
	buffer_set_used_size(restored, 0);
	ret = pgbox_base64_runs_restore(data, size, fields, count, PIECE_SIZE,
					restored);
	fuzz_require(restored->used <= PIECE_SIZE);
	fuzz_require(ret == 0 || restored->used == 0);
	i_free(fields);
}

void fuzz_one(const unsigned char *data, size_t size)
{
	if (size < 2)
		return;
	if (data[0] % 2 == 0)
		check_repeated(data + 1, size - 1);
	else
		check_restore(data + 1, size - 1);
}
