/* libFuzzer's entry points, and what all targets share. */
#include "fuzz.h"
#include "ioloop.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static jmp_buf *panic_return;

static void ATTR_FORMAT(2, 0)
quiet(const struct failure_context *ctx ATTR_UNUSED,
      const char *format ATTR_UNUSED, va_list args ATTR_UNUSED)
{
}

static void ATTR_FORMAT(2, 0) ATTR_NORETURN
fatal(const struct failure_context *ctx ATTR_UNUSED, const char *format,
      va_list args)
{
	if (panic_return != NULL)
		longjmp(*panic_return, 1);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	abort();
}

int LLVMFuzzerInitialize(int *argc ATTR_UNUSED, char ***argv ATTR_UNUSED)
{
	lib_init();
	i_set_fatal_handler(fatal);
	i_set_error_handler(quiet);
	i_set_info_handler(quiet);
	i_set_debug_handler(quiet);
	(void)io_loop_create();
	fuzz_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	T_BEGIN {
		fuzz_one(data, size);
	} T_END;
	return 0;
}

bool fuzz_survives(void (*run)(void *context), void *context)
{
	jmp_buf here;

	if (setjmp(here) != 0) {
		panic_return = NULL;
		return FALSE;
	}
	panic_return = &here;
	run(context);
	panic_return = NULL;
	return TRUE;
}

const char *fuzz_string(const unsigned char *data, size_t size)
{
	return t_strndup(data, size);
}

void fuzz_failed(const char *what, const char *file, unsigned int line)
{
	fprintf(stderr, "%s:%u: not so: %s\n", file, line, what);
	abort();
}
