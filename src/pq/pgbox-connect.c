#include "lib.h"
#include "pgbox-conn-private.h"

#include <poll.h>

static unsigned int connect_count_hosts(const PQconninfoOption *options)
{
	unsigned int count = 1;
	const char *p;

	for (; options->keyword != NULL; options++) {
		if (options->val == NULL ||
		    (strcmp(options->keyword, "host") != 0 &&
		     strcmp(options->keyword, "hostaddr") != 0))
			continue;
		unsigned int commas = 0;
		for (p = options->val; *p != '\0'; p++)
			commas += *p == ',' ? 1 : 0;
		count = I_MAX(count, commas + 1);
	}
	return count;
}

/* Returns -1 if the connection string can't be parsed. libpq's message isn't
   used as it may quote a part of a password. */
static int connect_parse(const char *conninfo, unsigned int *host_count_r,
			 struct pgbox_error *error_r)
{
	PQconninfoOption *options;
	char *message = NULL;

	options = PQconninfoParse(conninfo, &message);
	if (options == NULL) {
		PQfreemem(message);
		pgbox_error_set(error_r, PGBOX_ERROR_UNREACHABLE,
			"pgbox_db is not a valid connection string or URI");
		return -1;
	}
	*host_count_r = connect_count_hosts(options);
	PQconninfoFree(options);
	return 0;
}

/* What stands before dbname are defaults that the connection string may
   override; what stands after it overrides the string. A silent peer is given
   up before the query timeout so that the error tells what happened. */
static PGconn *connect_start_params(const struct pgbox_conn_settings *set)
{
	const char *const keywords[] = {
		"fallback_application_name",
		"keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "dbname", "client_encoding", NULL
	};
	const char *const values[] = {
		set->application_name != NULL ? set->application_name : "pgbox",
		"10", "5", "3",
		t_strdup_printf("%u", set->connect_timeout_msecs),
		set->conninfo, "UTF8", NULL
	};

	return PQconnectStartParams(keywords, values, 1);
}

/* Returns 0 when connected, -1 if that failed or the deadline passed. */
static int connect_poll(PGconn *pg, uint64_t deadline, bool *timed_out_r)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;
	short events;

	*timed_out_r = FALSE;
	while (PQstatus(pg) != CONNECTION_BAD) {
		switch (status) {
		case PGRES_POLLING_OK:
			return 0;
		case PGRES_POLLING_READING:
			events = POLLIN;
			break;
		case PGRES_POLLING_WRITING:
			events = POLLOUT;
			break;
		default:
			return -1;
		}
		if (pgbox_conn_wait(pg, events, deadline) <= 0) {
			*timed_out_r = TRUE;
			return -1;
		}
		status = PQconnectPoll(pg);
	}
	return -1;
}

PGconn *pgbox_connect_start(const struct pgbox_conn_settings *set,
			    unsigned int *timeout_msecs_r,
			    struct pgbox_error *error_r)
{
	unsigned int host_count;
	PGconn *pg;

	if (connect_parse(set->conninfo, &host_count, error_r) < 0)
		return NULL;
	T_BEGIN {
		pg = connect_start_params(set);
	} T_END;
	if (pg == NULL)
		i_fatal_status(FATAL_OUTOFMEM, "PQconnectStart() failed");
	/* for the SQLSTATE, see pgbox_error_from_connect() */
	(void)PQsetErrorVerbosity(pg, PQERRORS_VERBOSE);
	*timeout_msecs_r = set->connect_timeout_msecs * host_count;
	return pg;
}

PGconn *pgbox_connect(const struct pgbox_conn_settings *set,
		      struct pgbox_error *error_r)
{
	unsigned int timeout_msecs;
	uint64_t deadline;
	bool timed_out;
	PGconn *pg;

	pg = pgbox_connect_start(set, &timeout_msecs, error_r);
	if (pg == NULL)
		return NULL;
	deadline = pgbox_clock_usecs() + (uint64_t)timeout_msecs * 1000;
	if (connect_poll(pg, deadline, &timed_out) == 0 &&
	    PQsetnonblocking(pg, 1) == 0 && PQenterPipelineMode(pg) == 1)
		return pg;

	if (timed_out) {
		pgbox_error_set(error_r, PGBOX_ERROR_UNREACHABLE,
				"no connection within %u ms", timeout_msecs);
	} else {
		pgbox_error_from_connect(error_r, pg);
	}
	PQfinish(pg);
	return NULL;
}
