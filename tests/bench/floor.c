/* The least that a program needs to have PostgreSQL run a statement: prepared
   once, results in binary, each row dropped as it comes.

   usage: floor CONNINFO TIMES STATEMENT [PARAMETER...]

   Prints a line for each time: seconds, rows, and bytes of the bytea columns. */

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BYTEA_OID 17

struct found {
	unsigned long rows;
	unsigned long long bytes;
};

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void fail(PGconn *conn)
{
	fprintf(stderr, "%s", PQerrorMessage(conn));
	exit(1);
}

static void take(const PGresult *res, struct found *found)
{
	int row, column;

	for (row = 0; row < PQntuples(res); row++) {
		for (column = 0; column < PQnfields(res); column++) {
			if (PQftype(res, column) == BYTEA_OID)
				found->bytes += (unsigned)PQgetlength(res, row, column);
		}
		found->rows++;
	}
}

static void run(PGconn *conn, int count, const char *const *values,
		struct found *found_r)
{
	PGresult *res;
	ExecStatusType status;

	found_r->rows = 0;
	found_r->bytes = 0;
	if (PQsendQueryPrepared(conn, "", count, values, NULL, NULL, 1) == 0 ||
	    PQsetSingleRowMode(conn) == 0)
		fail(conn);
	while ((res = PQgetResult(conn)) != NULL) {
		status = PQresultStatus(res);
		if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK &&
		    status != PGRES_COMMAND_OK)
			fail(conn);
		take(res, found_r);
		PQclear(res);
	}
}

int main(int argc, char **argv)
{
	const char *const *values = (const char *const *)argv + 4;
	struct found found;
	PGresult *res;
	PGconn *conn;
	double begun;
	long times;

	if (argc < 4) {
		fprintf(stderr, "usage: floor CONNINFO TIMES STATEMENT [PARAMETER...]\n");
		return 2;
	}
	conn = PQconnectdb(argv[1]);
	if (PQstatus(conn) != CONNECTION_OK)
		fail(conn);
	res = PQprepare(conn, "", argv[3], 0, NULL);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		fail(conn);
	PQclear(res);
	for (times = strtol(argv[2], NULL, 10); times > 0; times--) {
		begun = now();
		run(conn, argc - 4, values, &found);
		printf("%.6f %lu %llu\n", now() - begun, found.rows, found.bytes);
	}
	PQfinish(conn);
	return 0;
}
