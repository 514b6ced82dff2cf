/* What a server, or whatever answers in its place, says when it refuses a
   connection. */
#include "../../src/pq/pgbox-error-pq.c"
#include "fuzz.h"

static const char *message;

char *PQerrorMessage(const PGconn *conn ATTR_UNUSED)
{
	return (char *)message;
}

int PQconnectionNeedsPassword(const PGconn *conn ATTR_UNUSED)
{
	return 0;
}

void fuzz_init(void)
{
}

void fuzz_one(const unsigned char *data, size_t size)
{
	struct pgbox_error error;

	message = fuzz_string(data, size);
	pgbox_error_from_connect(&error, NULL);
	fuzz_require(error.kind == PGBOX_ERROR_UNREACHABLE ||
		     error.kind == PGBOX_ERROR_DENIED ||
		     error.kind == PGBOX_ERROR_SCHEMA);
	fuzz_require(strlen(error.sqlstate) == 0 ||
		     strlen(error.sqlstate) == PGBOX_SQLSTATE_LEN);
	/* one line of the log */
	fuzz_require(strchr(error.text, '\n') == NULL);
	fuzz_require(strlen(error.text) < sizeof(error.text));
}
