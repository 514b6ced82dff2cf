#ifndef FUZZ_H
#define FUZZ_H

#include "lib.h"

/* What all targets share. A target defines fuzz_init() and fuzz_one(). */

/* Called once, after lib_init(), with an ioloop. */
void fuzz_init(void);
/* Called with each input, in a data stack frame of its own. The bytes end where
   their memory ends. */
void fuzz_one(const unsigned char *data, size_t size);

/* Run the function; returns FALSE if it ended in a panic (i_assert()), of which
   memory errors are none: those end the process. */
bool fuzz_survives(void (*run)(void *context), void *context);

/* A copy of the bytes as a string, up to the first NUL; on the data stack. */
const char *fuzz_string(const unsigned char *data, size_t size);
/* End the process: something isn't as it has to be. */
#define fuzz_require(what) \
	do { if (unlikely(!(what))) fuzz_failed(#what, __FILE__, __LINE__); } while (0)
/* For fuzz_require(). */
void fuzz_failed(const char *what, const char *file, unsigned int line)
	ATTR_NORETURN;

#endif
