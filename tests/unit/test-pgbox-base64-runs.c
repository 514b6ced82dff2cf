/* Pieces of bodies: what is stored of them, and that it gives the same bytes. */
#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "base64.h"
#include "str.h"
#include "test-common.h"
#include "pgbox-base64-runs.h"

#define PIECE_SIZE 131072

static buffer_t *piece, *stored, *restored;
static ARRAY_TYPE(pgbox_base64_runs) runs;

static void start(void)
{
	piece = buffer_create_dynamic(default_pool, 1024);
	stored = buffer_create_dynamic(default_pool, 1024);
	restored = buffer_create_dynamic(default_pool, 1024);
	i_array_init(&runs, 8);
}

static void end(void)
{
	buffer_free(&piece);
	buffer_free(&stored);
	buffer_free(&restored);
	array_free(&runs);
}

static void add(const char *text)
{
	buffer_append(piece, text, strlen(text));
}

/* Base64 of so many bytes in lines, without an end behind the last. */
static void add_base64(size_t size, size_t line, const char *line_end)
{
	buffer_t *bytes = buffer_create_dynamic(default_pool, size + 1);
	string_t *text = str_new(default_pool, size * 2);
	size_t pos;

	while (bytes->used < size)
		buffer_append_c(bytes, i_rand_limit(256));
	base64_encode(bytes->data, size, text);
	for (pos = 0; pos < str_len(text); pos += line) {
		if (pos > 0)
			add(line_end);
		buffer_append(piece, str_c(text) + pos,
			      I_MIN(line, str_len(text) - pos));
	}
	buffer_free(&bytes);
	str_free(&text);
}

static int restore(size_t max_size)
{
	unsigned int count;
	const int32_t *fields = array_get(&runs, &count);

	buffer_set_used_size(restored, 0);
	return pgbox_base64_runs_restore(stored->data, stored->used, fields,
					 count, max_size, restored);
}

/* Pack and restore; returns how many runs there were. The piece is empty then. */
static unsigned int round_trip(void)
{
	unsigned int count;
	/* ends where its memory ends, for valgrind to see */
	unsigned char *copy = i_malloc(piece->used + 1);

	memcpy(copy, piece->data, piece->used);
	buffer_set_used_size(stored, 0);
	array_clear(&runs);
	if (pgbox_base64_runs_pack(copy, piece->used, stored, &runs)) {
		test_assert(stored->used < piece->used);
		test_assert(restore(piece->used) == 0);
		test_assert(buffer_cmp(piece, restored));
		test_assert(restore(piece->used - 1) < 0);
		test_assert(restored->used == 0);
	} else
		test_assert(stored->used == 0 && array_is_empty(&runs));
	count = array_count(&runs) / 4;
	i_free(copy);
	buffer_set_used_size(piece, 0);
	return count;
}

static int32_t field(unsigned int number)
{
	const int32_t *value = array_idx(&runs, number);

	return *value;
}

static void test_lines(void)
{
	static const size_t lines[] = { 20, 60, 64, 72, 76, 256, 996 };
	size_t size;

	test_begin("lines of all kinds");
	start();
	for (unsigned int i = 0; i < N_ELEMENTS(lines); i++) {
		for (size = 3000; size < 3007; size++) {
			add_base64(size, lines[i], "\n");
			test_assert_idx(round_trip() == 1, i);
			test_assert(field(0) == 0 && field(2) == (int)lines[i] &&
				    field(3) == 1);
			add("before\r\n\r\n");
			add_base64(size, lines[i], "\r\n");
			add("\r\n--after--\r\n");
			test_assert_idx(round_trip() == 1, i);
			test_assert(field(0) == 10 && field(1) == (int)size &&
				    field(3) == 2);
		}
	}
	/* a last line that is full is padded, or has an end */
	for (size = 57 * 40 - 2; size <= 57 * 40; size++) {
		add_base64(size, 76, "\r\n");
		add("\r\n");
		test_assert(round_trip() == 1 && field(1) == (int)size);
	}
	add_base64(3000, 76, "\n");
	add("\n");
	add_base64(3000, 76, "\r\n");
	add("\r\n\r\n");
	add_base64(3000, 64, "\r\n");
	test_assert(round_trip() == 3);
	end();
	test_end();
}

static void test_not_packed(void)
{
	static const size_t lines[] = { 16, 1000, 77, 75 };

	test_begin("what isn't packed");
	start();
	test_assert(round_trip() == 0);
	for (unsigned int i = 0; i < N_ELEMENTS(lines); i++) {
		add_base64(6000, lines[i], "\r\n");
		test_assert_idx(round_trip() == 0, i);
	}
	/* too short, by a line's end */
	add_base64(57 * 6, 76, "\r\n");
	add("\r\n");
	test_assert(round_trip() == 0);
	add_base64(57 * 6, 76, "\r\n");
	add("\r\n");
	add_base64(33, 76, "");
	test_assert(piece->used == PGBOX_BASE64_RUN_MIN);
	test_assert(round_trip() == 1);
	for (unsigned int i = 0; i < 100; i++)
		add("Seventy two characters make a line that could have been base64, no\r\n");
	test_assert(round_trip() == 0);
	end();
	test_end();
}

static void replace(size_t pos, char byte)
{
	buffer_write(piece, pos, &byte, 1);
}

static void test_broken(void)
{
	static const char bytes[] = { ' ', '\0', '=', '-', '\n', '\r', '\x80' };

	test_begin("base64 that is broken");
	start();
	for (unsigned int i = 0; i < N_ELEMENTS(bytes); i++) {
		/* at the begin, in the middle and at the end of the 21st line */
		for (unsigned int at = 0; at <= 75; at += 25) {
			add_base64(3000, 76, "\r\n");
			replace(20 * 78 + at, bytes[i]);
			test_assert_idx(round_trip() == 2, i);
		}
		add_base64(3000, 76, "\r\n");
		replace(20 * 78 + 76, bytes[i]);
		test_assert_idx(round_trip() >= 1, i);
	}
	/* blanks at the end of a line */
	add_base64(57 * 20, 76, "\r\n");
	add(" \r\n");
	add_base64(57 * 20, 76, "\r\n");
	test_assert(round_trip() == 2 && field(1) == 57 * 19);
	/* bits that padding leaves over: the last line stays as it is */
	add_base64(57 * 20 + 31, 76, "\r\n");
	/* A, Q, g or w are right */
	replace(piece->used - 3, 'B');
	test_assert(round_trip() == 1 && field(1) == 57 * 20);
	end();
	test_end();
}

/* A body in pieces, which begin and end anywhere in a line. */
static void test_pieces(void)
{
	buffer_t *body;
	size_t pos;

	test_begin("pieces of a body");
	start();
	add_base64(PIECE_SIZE * 2, 76, "\r\n");
	body = piece;
	piece = buffer_create_dynamic(default_pool, PIECE_SIZE);
	for (pos = 0; pos < body->used; pos += PIECE_SIZE + 1) {
		size_t size = I_MIN(body->used - pos, PIECE_SIZE);

		buffer_append(piece, CONST_PTR_OFFSET(body->data, pos), size);
		test_assert(round_trip() == 1);
		/* all but two lines are decoded */
		test_assert(stored->used < size / 78 * 57 + 2 * 78);
	}
	buffer_free(&body);
	end();
	test_end();
}

static void add_anything(void)
{
	static const char *const ends[] = { "\r\n", "\n", "\r", "" };
	const char *line_end = ends[i_rand_limit(N_ELEMENTS(ends))];
	unsigned int i, count = i_rand_limit(200);

	switch (i_rand_limit(5)) {
	case 0:
		add_base64(i_rand_limit(20000), 4 + i_rand_limit(1000),
			   line_end);
		break;
	case 1:
		add_base64(i_rand_limit(20000), 76, line_end);
		break;
	case 2:
		for (i = 0; i < count; i++)
			buffer_append_c(piece, i_rand_limit(256));
		break;
	case 3:
		for (i = 0; i < count; i++)
			add(i % 7 == 0 ? line_end : "word");
		break;
	default:
		if (piece->used > 0)
			replace(i_rand_limit(piece->used), i_rand_limit(256));
		break;
	}
	add(ends[i_rand_limit(N_ELEMENTS(ends))]);
}

static void test_anything(void)
{
	unsigned int i, j;

	test_begin("mixtures of all of it");
	start();
	for (i = 0; i < 500; i++) {
		for (j = i_rand_limit(12); j > 0; j--)
			add_anything();
		(void)round_trip();
	}
	end();
	test_end();
}

static void test_damaged(void)
{
	static const int32_t wrong[][8] = {
		{ -1, 10, 76, 2 }, { 0, 0, 76, 2 }, { 0, -3, 76, 2 },
		{ 0, 10, 0, 2 }, { 0, 10, -4, 2 }, { 0, 10, 75, 2 },
		{ 0, 10, 1000, 2 }, { 0, 10, 76, 0 }, { 0, 10, 76, 3 },
		{ 91, 10, 76, 2 }, { 101, 1, 76, 2 }, { 0, INT32_MAX, 76, 2 },
		{ INT32_MAX, INT32_MAX, 76, 2 }, { INT32_MIN, 1, 4, 1 },
	};
	static const int32_t overlap[] = { 10, 20, 76, 2, 29, 10, 76, 2 };
	unsigned char bytes[100];
	unsigned int i;

	test_begin("rows that are damaged");
	start();
	memset(bytes, 'x', sizeof(bytes));
	for (i = 0; i < N_ELEMENTS(wrong); i++) {
		test_assert_idx(pgbox_base64_runs_restore(bytes, sizeof(bytes),
			wrong[i], 4, PIECE_SIZE, restored) < 0, i);
		test_assert_idx(restored->used == 0, i);
	}
	test_assert(pgbox_base64_runs_restore(bytes, sizeof(bytes), overlap, 8,
					      PIECE_SIZE, restored) < 0);
	test_assert(pgbox_base64_runs_restore(bytes, sizeof(bytes), overlap, 3,
					      PIECE_SIZE, restored) < 0);
	test_assert(pgbox_base64_runs_restore(bytes, sizeof(bytes), overlap, 4,
					      PIECE_SIZE, restored) == 0);
	test_assert(restored->used == 80 + 28);
	/* no runs: as it is */
	test_assert(pgbox_base64_runs_restore(bytes, sizeof(bytes), NULL, 0, 99,
					      restored) < 0);
	test_assert(restored->used == 80 + 28);
	test_assert(pgbox_base64_runs_restore(bytes, sizeof(bytes), NULL, 0,
					      100, restored) == 0);
	test_assert(restored->used == 80 + 28 + 100);
	end();
	test_end();
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_lines,
		test_not_packed,
		test_broken,
		test_pieces,
		test_anything,
		test_damaged,
		NULL
	};
	return test_run(tests);
}
