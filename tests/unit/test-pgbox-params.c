/* The bytes that parameters are encoded to. */
#include "lib.h"
#include "guid.h"
#include "test-common.h"
#include "pgbox-conn-private.h"
#include "pgbox-params.h"

static struct pgbox_stmt_def def;
static unsigned int types[1];
static struct pgbox_params *params;

static void start(enum pgbox_type type)
{
	types[0] = type;
	def.param_types = types;
	def.param_count = 1;
	params = pgbox_params_new();
}

static void finish(const void *bytes, size_t size)
{
	struct pgbox_params_list list;

	pgbox_params_list(params, &def, &list);
	test_assert(list.count == 1);
	test_assert(list.formats[0] == 1);
	test_assert(list.size == size && list.lengths[0] == (int)size);
	test_assert((list.values[0] == NULL) == (bytes == NULL));
	if (bytes != NULL && list.values[0] != NULL)
		test_assert(memcmp(list.values[0], bytes, size) == 0);
}

static void test_scalars(void)
{
	static const guid_128_t guid = "0123456789abcde";

	test_begin("scalars");
	start(PGBOX_TYPE_BOOLEAN);
	pgbox_params_bool(params, TRUE);
	finish("\1", 1);
	start(PGBOX_TYPE_SMALLINT);
	pgbox_params_int16(params, -2);
	finish("\xff\xfe", 2);
	start(PGBOX_TYPE_INTEGER);
	pgbox_params_int32(params, -2);
	finish("\xff\xff\xff\xfe", 4);
	start(PGBOX_TYPE_BIGINT);
	pgbox_params_int64(params, 0x0102030405060708LL);
	finish("\1\2\3\4\5\6\7\10", 8);
	start(PGBOX_TYPE_TEXT);
	pgbox_params_text(params, "abc");
	finish("abc", 3);
	start(PGBOX_TYPE_BYTEA);
	pgbox_params_bytea(params, "a\0b", 3);
	finish("a\0b", 3);
	start(PGBOX_TYPE_BYTEA);
	pgbox_params_bytea_ref(params, "a\0b", 3);
	finish("a\0b", 3);
	start(PGBOX_TYPE_UUID);
	pgbox_params_uuid(params, guid);
	finish(guid, sizeof(guid));
	test_end();
}

static void test_null_and_empty(void)
{
	test_begin("NULL and empty");
	start(PGBOX_TYPE_UUID_ARRAY);
	pgbox_params_null(params);
	finish(NULL, 0);
	start(PGBOX_TYPE_TEXT);
	pgbox_params_text(params, NULL);
	finish(NULL, 0);
	start(PGBOX_TYPE_TEXT);
	pgbox_params_text(params, "");
	finish("", 0);
	start(PGBOX_TYPE_BYTEA);
	pgbox_params_bytea(params, NULL, 0);
	finish(NULL, 0);
	start(PGBOX_TYPE_BYTEA);
	pgbox_params_bytea(params, "", 0);
	finish("", 0);
	start(PGBOX_TYPE_BYTEA);
	pgbox_params_bytea_ref(params, NULL, 0);
	finish(NULL, 0);
	start(PGBOX_TYPE_UUID);
	pgbox_params_uuid(params, NULL);
	finish(NULL, 0);
	start(PGBOX_TYPE_INTEGER_ARRAY);
	pgbox_params_int32_array(params, NULL, 0);
	finish("\0\0\0\0" "\0\0\0\0" "\0\0\0\x17", 12);
	test_end();
}

static void test_arrays(void)
{
	static const bool bools[] = { TRUE, FALSE };
	static const int16_t int16s[] = { -1 };
	static const int32_t int32s[] = { 1, -2 };
	static const int64_t int64s[] = { 3 };
	static const char *const texts[] = { "a", NULL, "" };
	static const guid_128_t guids[] = { "0123456789abcde" };
	static const unsigned char *const byteas[] = {
		NULL, (const unsigned char *)"\0x"
	};
	static const size_t sizes[] = { 0, 2 };

	test_begin("arrays");
	start(PGBOX_TYPE_BOOLEAN_ARRAY);
	pgbox_params_bool_array(params, bools, 2);
	finish("\0\0\0\1" "\0\0\0\0" "\0\0\0\x10" "\0\0\0\2" "\0\0\0\1"
	       "\0\0\0\1\1" "\0\0\0\1\0", 30);
	start(PGBOX_TYPE_SMALLINT_ARRAY);
	pgbox_params_int16_array(params, int16s, 1);
	finish("\0\0\0\1" "\0\0\0\0" "\0\0\0\x15" "\0\0\0\1" "\0\0\0\1"
	       "\0\0\0\2\xff\xff", 26);
	start(PGBOX_TYPE_INTEGER_ARRAY);
	pgbox_params_int32_array(params, int32s, 2);
	finish("\0\0\0\1" "\0\0\0\0" "\0\0\0\x17" "\0\0\0\2" "\0\0\0\1"
	       "\0\0\0\4\0\0\0\1" "\0\0\0\4\xff\xff\xff\xfe", 36);
	start(PGBOX_TYPE_BIGINT_ARRAY);
	pgbox_params_int64_array(params, int64s, 1);
	finish("\0\0\0\1" "\0\0\0\0" "\0\0\0\x14" "\0\0\0\1" "\0\0\0\1"
	       "\0\0\0\x8\0\0\0\0\0\0\0\3", 32);
	start(PGBOX_TYPE_TEXT_ARRAY);
	pgbox_params_text_array(params, texts, 3);
	finish("\0\0\0\1" "\0\0\0\1" "\0\0\0\x19" "\0\0\0\3" "\0\0\0\1"
	       "\0\0\0\1" "a" "\xff\xff\xff\xff" "\0\0\0\0", 33);
	start(PGBOX_TYPE_UUID_ARRAY);
	pgbox_params_uuid_array(params, guids, 1);
	finish("\0\0\0\1" "\0\0\0\0" "\0\0\x0b\x86" "\0\0\0\1" "\0\0\0\1"
	       "\0\0\0\x10" "0123456789abcde", 40);
	start(PGBOX_TYPE_BYTEA_ARRAY);
	pgbox_params_bytea_array(params, byteas, sizes, 2);
	finish("\0\0\0\1" "\0\0\0\1" "\0\0\0\x11" "\0\0\0\2" "\0\0\0\1"
	       "\xff\xff\xff\xff" "\0\0\0\2\0x", 30);
	test_end();
}

/* a parameter that doesn't fit the head is a defect of the caller */
static enum fatal_test_state fatal_wrong_type(unsigned int stage)
{
	struct pgbox_params_list list;

	switch (stage) {
	case 0:
		test_begin("parameters that don't fit the head");
		start(PGBOX_TYPE_INTEGER);
		pgbox_params_int64(params, 1);
		test_expect_fatal_string("param_types");
		break;
	case 1:
		start(PGBOX_TYPE_INTEGER);
		test_expect_fatal_string("param_count");
		break;
	default:
		test_end();
		return FATAL_TEST_FINISHED;
	}
	pgbox_params_list(params, &def, &list);
	return FATAL_TEST_FAILURE;
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_scalars,
		test_null_and_empty,
		test_arrays,
		NULL
	};
	static test_fatal_func_t *const fatals[] = {
		fatal_wrong_type,
		NULL
	};

	return test_run_with_fatals(tests, fatals);
}
