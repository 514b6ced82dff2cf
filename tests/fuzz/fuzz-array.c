/* Arrays in the server's binary format. What isn't one ends the process; it is
   never read past its end, and asks for no more memory than it has bytes. */
#include "../../src/pq/pgbox-result-array.c"
#include "fuzz.h"

struct array_run {
	const unsigned char *data;
	size_t size;
	unsigned int kind;
};

static const struct array_run *current;

const unsigned char *
pgbox_result_value(struct pgbox_result *result ATTR_UNUSED,
		   unsigned int col ATTR_UNUSED,
		   enum pgbox_type type ATTR_UNUSED, size_t *size_r)
{
	*size_r = current->size;
	return current->data;
}

static void array_run(void *context ATTR_UNUSED)
{
	const char *const *texts;
	unsigned int i, count;

	switch (current->kind) {
	case 0:
		(void)pgbox_result_int16_array(NULL, 0, &count);
		fuzz_require((size_t)count * 4 <= current->size);
		break;
	case 1:
		(void)pgbox_result_int32_array(NULL, 0, &count);
		fuzz_require((size_t)count * 4 <= current->size);
		break;
	case 2:
		(void)pgbox_result_int64_array(NULL, 0, &count);
		fuzz_require((size_t)count * 4 <= current->size);
		break;
	default:
		texts = pgbox_result_text_array(NULL, 0, &count);
		fuzz_require((size_t)count * 4 <= current->size);
		for (i = 0; i < count; i++) {
			fuzz_require(texts[i] == NULL ||
				     strlen(texts[i]) < current->size);
		}
		break;
	}
}

void fuzz_init(void)
{
}

void fuzz_one(const unsigned char *data, size_t size)
{
	struct array_run run;

	if (size == 0)
		return;
	run.kind = data[0] % 4;
	run.data = data + 1;
	run.size = size - 1;
	current = &run;
	(void)fuzz_survives(array_run, NULL);
}
