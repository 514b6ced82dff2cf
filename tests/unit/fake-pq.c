#include "lib.h"
#include "str.h"
#include "fake-pq-private.h"

#include <sys/socket.h>
#include <unistd.h>

struct pg_cancel {
	PGconn *pg;
};

static const struct fake_pq_step no_steps[] = { { NULL, 0, 0, NULL } };

static struct {
	const struct fake_pq_step *steps;
	string_t *log;
	unsigned int refuse_count, block_count;
	const char *refuse_message;
	bool flush_fails;
	unsigned int results, links;
	PGconn *last;
} fake = { .steps = no_steps };

void fake_pq_script(const struct fake_pq_step *steps)
{
	fake.steps = steps;
	fake.refuse_count = fake.block_count = 0;
	fake.flush_fails = FALSE;
	str_free(&fake.log);
	fake.log = str_new(default_pool, 128);
}

void fake_pq_refuse_connections(unsigned int count, const char *message)
{
	fake.refuse_count = count;
	fake.refuse_message = message;
}

void fake_pq_flush_blocks(unsigned int count)
{
	fake.block_count = count;
}

void fake_pq_flush_fails(void)
{
	fake.flush_fails = TRUE;
}

void fake_pq_set_readable(PGconn *pg)
{
	i_assert(write(pg->fds[1], "x", 1) == 1);
}

void fake_pq_close_idle(bool farewell)
{
	fake.last->farewell = farewell;
	fake.last->closed = TRUE;
	fake_pq_set_readable(fake.last);
}

const char *fake_pq_log(void)
{
	return str_c(fake.log);
}

bool fake_pq_is_clean(void)
{
	bool ret = fake.steps->stmt == NULL && fake.results == 0 &&
		fake.links == 0;

	str_free(&fake.log);
	return ret;
}

void fake_pq_log_add(const char *what, const char *name)
{
	if (str_len(fake.log) > 0)
		str_append_c(fake.log, ' ');
	str_append(fake.log, what);
	str_append(fake.log, name);
}

const struct fake_pq_step *fake_pq_next_step(const char *stmt)
{
	if (fake.steps->stmt == NULL || strcmp(fake.steps->stmt, stmt) != 0)
		return NULL;
	return fake.steps++;
}

/* --- results */

PGresult *fake_pq_result(ExecStatusType status)
{
	PGresult *res = i_new(PGresult, 1);

	res->status = status;
	res->tag = "";
	fake.results++;
	return res;
}

PGresult *fake_pq_result_error(const char *severity, const char *sqlstate)
{
	PGresult *res = fake_pq_result(PGRES_FATAL_ERROR);

	res->severity = severity;
	res->sqlstate = sqlstate;
	return res;
}

void PQclear(PGresult *res)
{
	if (res == NULL)
		return;
	i_assert(fake.results > 0);
	fake.results--;
	i_free(res);
}

ExecStatusType PQresultStatus(const PGresult *res)
{
	return res->status;
}

char *PQresultErrorField(const PGresult *res, int field)
{
	switch (field) {
	case PG_DIAG_SEVERITY_NONLOCALIZED:
		return (char *)res->severity;
	case PG_DIAG_SQLSTATE:
		return (char *)res->sqlstate;
	case PG_DIAG_MESSAGE_PRIMARY:
		return res->severity == NULL ? NULL : (char *)"primary";
	case PG_DIAG_MESSAGE_DETAIL:
		return res->severity == NULL ? NULL : (char *)"two\nlines";
	case PG_DIAG_CONSTRAINT_NAME:
		return null_strcmp(res->sqlstate, "23505") == 0 ?
			(char *)"item_pkey" : NULL;
	default:
		return NULL;
	}
}

char *PQresultErrorMessage(const PGresult *res ATTR_UNUSED)
{
	return (char *)"server closed the connection unexpectedly";
}

char *PQcmdStatus(PGresult *res)
{
	return (char *)res->tag;
}

int PQntuples(const PGresult *res)
{
	return res->status == PGRES_SINGLE_TUPLE ? 1 : 0;
}

int PQnfields(const PGresult *res)
{
	return res->def->column_count;
}

Oid PQftype(const PGresult *res, int col)
{
	return res->def->column_types[col];
}

int PQfformat(const PGresult *res ATTR_UNUSED, int col ATTR_UNUSED)
{
	return 1;
}

int PQgetisnull(const PGresult *res ATTR_UNUSED, int row ATTR_UNUSED,
		int col ATTR_UNUSED)
{
	return 0;
}

int PQgetlength(const PGresult *res, int row ATTR_UNUSED, int col)
{
	switch (res->def->column_types[col]) {
	case PGBOX_TYPE_UUID:
		return 16;
	case PGBOX_TYPE_BIGINT:
		return 8;
	default:
		return 4;
	}
}

char *PQgetvalue(const PGresult *res, int row, int col)
{
	unsigned int length = PQgetlength(res, row, col);

	return (char *)res->value + sizeof(res->value) - length;
}

/* --- the link */

PQconninfoOption *PQconninfoParse(const char *conninfo, char **message_r)
{
	PQconninfoOption *options;

	*message_r = NULL;
	if (strchr(conninfo, '=') == NULL)
		return NULL;
	options = i_new(PQconninfoOption, 2);
	options[0].keyword = (char *)"host";
	options[0].val = (char *)conninfo;
	return options;
}

void PQconninfoFree(PQconninfoOption *options)
{
	i_free(options);
}

void PQfreemem(void *mem ATTR_UNUSED)
{
}

PGconn *PQconnectStartParams(const char *const *keywords ATTR_UNUSED,
			     const char *const *values ATTR_UNUSED,
			     int expand_dbname ATTR_UNUSED)
{
	PGconn *pg = i_new(PGconn, 1);

	fake_pq_log_add("connect", "");
	fake.links++;
	fake.last = pg;
	i_array_init(&pg->ops, 8);
	i_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pg->fds) == 0);
	pg->status = CONNECTION_STARTED;
	if (fake.refuse_count > 0) {
		fake.refuse_count--;
		pg->status = CONNECTION_BAD;
	}
	return pg;
}

PostgresPollingStatusType PQconnectPoll(PGconn *pg)
{
	pg->status = CONNECTION_OK;
	pg->transaction = PQTRANS_IDLE;
	return PGRES_POLLING_OK;
}

void PQfinish(PGconn *pg)
{
	fake_pq_log_add("finish", "");
	fake.links--;
	i_close_fd(&pg->fds[0]);
	i_close_fd(&pg->fds[1]);
	array_free(&pg->ops);
	i_free(pg);
}

int PQsetnonblocking(PGconn *pg ATTR_UNUSED, int nonblocking)
{
	i_assert(nonblocking == 1);
	return 0;
}

int PQenterPipelineMode(PGconn *pg ATTR_UNUSED)
{
	return 1;
}

PGVerbosity PQsetErrorVerbosity(PGconn *pg ATTR_UNUSED,
				PGVerbosity verbosity ATTR_UNUSED)
{
	return PQERRORS_DEFAULT;
}

PQnoticeReceiver PQsetNoticeReceiver(PGconn *pg, PQnoticeReceiver receiver,
				     void *context)
{
	pg->notice = receiver;
	pg->notice_context = context;
	return NULL;
}

int PQsocket(const PGconn *pg)
{
	return pg->fds[0];
}

ConnStatusType PQstatus(const PGconn *pg)
{
	return pg->status;
}

PGTransactionStatusType PQtransactionStatus(const PGconn *pg)
{
	return array_count(&pg->ops) > 0 ? PQTRANS_ACTIVE : pg->transaction;
}

char *PQerrorMessage(const PGconn *pg)
{
	return (char *)(pg->status == CONNECTION_BAD &&
			fake.refuse_message != NULL ?
			fake.refuse_message : "broken pipe");
}

int PQconnectionNeedsPassword(const PGconn *pg ATTR_UNUSED)
{
	return 0;
}

PGcancel *PQgetCancel(PGconn *pg)
{
	PGcancel *cancel = i_new(PGcancel, 1);

	/* PQcancel() is called in another process */
	fake_pq_log_add("cancel", "");
	pg->cancelled = TRUE;
	if (array_count(&pg->ops) > 0)
		fake_pq_set_readable(pg);
	return cancel;
}

void PQfreeCancel(PGcancel *cancel)
{
	i_free(cancel);
}

int PQcancel(PGcancel *cancel ATTR_UNUSED, char *error ATTR_UNUSED,
	     int error_size ATTR_UNUSED)
{
	return 1;
}

int PQflush(PGconn *pg ATTR_UNUSED)
{
	if (fake.flush_fails) {
		fake.flush_fails = FALSE;
		return -1;
	}
	if (fake.block_count > 0) {
		fake.block_count--;
		return 1;
	}
	return 0;
}
