#include "lib.h"
#include "fake-pq-private.h"

#include <sys/socket.h>

static const struct fake_pq_step default_step = { "", FAKE_PQ_ROWS, 0, NULL };

/* --- statements */

static const struct pgbox_stmt_def *fake_stmt_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < PGBOX_STMT_COUNT; i++) {
		if (strcmp(pgbox_stmt_table[i].name, name) == 0 ||
		    strcmp(pgbox_stmt_table[i].sql, name) == 0)
			return &pgbox_stmt_table[i];
	}
	i_panic("unknown statement %s", name);
}

static struct fake_op *fake_op_add(PGconn *pg, enum fake_op_type type)
{
	struct fake_op *op = array_append_space(&pg->ops);

	op->type = type;
	return op;
}

int PQsendPrepare(PGconn *pg, const char *name, const char *sql,
		  int param_count, const Oid *types)
{
	struct fake_op *op = fake_op_add(pg, FAKE_OP_PREPARE);

	op->def = fake_stmt_find(sql);
	i_assert(str_begins(name, "pgbox-"));
	i_assert(param_count == (int)op->def->param_count);
	i_assert(types == op->def->param_types);
	fake_pq_log_add("prepare:", op->def->name);
	return 1;
}

static int fake_send(PGconn *pg, const char *name)
{
	struct fake_op *op = fake_op_add(pg, FAKE_OP_EXEC);

	op->def = fake_stmt_find(name);
	op->step = fake_pq_next_step(op->def->name);
	if (op->step == NULL)
		op->step = &default_step;
	fake_pq_log_add("exec:", op->def->name);
	return 1;
}

int PQsendQueryParams(PGconn *pg, const char *sql,
		      int count ATTR_UNUSED, const Oid *types ATTR_UNUSED,
		      const char *const *values ATTR_UNUSED,
		      const int *lengths ATTR_UNUSED,
		      const int *formats ATTR_UNUSED, int result_format)
{
	i_assert(result_format == 1);
	return fake_send(pg, sql);
}

int PQsendQueryPrepared(PGconn *pg, const char *name, int count ATTR_UNUSED,
			const char *const *values ATTR_UNUSED,
			const int *lengths ATTR_UNUSED,
			const int *formats ATTR_UNUSED, int result_format)
{
	i_assert(result_format == 1);
	return fake_send(pg, name + strlen("pgbox-"));
}

int PQpipelineSync(PGconn *pg)
{
	(void)fake_op_add(pg, FAKE_OP_SYNC);
	fake_pq_log_add("sync", "");
	return 1;
}

int PQsetSingleRowMode(PGconn *pg)
{
	struct fake_op *op = array_idx_modifiable(&pg->ops, 0);

	i_assert(op->type == FAKE_OP_EXEC);
	op->single_row = TRUE;
	return 1;
}

/* --- answers */

static PGresult *fake_answer_dead(PGconn *pg)
{
	pg->status = CONNECTION_BAD;
	return fake_pq_result_error(NULL, NULL);
}

static enum fake_pq_action fake_head_action(const PGconn *pg)
{
	const struct fake_op *op;

	if (array_count(&pg->ops) == 0 || pg->aborted)
		return FAKE_PQ_ROWS;
	op = array_front(&pg->ops);
	if (op->type == FAKE_OP_SYNC)
		return pg->die_at_sync ? FAKE_PQ_DIE : FAKE_PQ_ROWS;
	return op->type == FAKE_OP_EXEC && !op->answered ?
		op->step->action : FAKE_PQ_ROWS;
}

int PQisBusy(PGconn *pg)
{
	if (pg->farewell) {
		PGresult *res = fake_pq_result_error("FATAL", "57P01");

		pg->farewell = FALSE;
		pg->notice(pg->notice_context, res);
		PQclear(res);
	}
	if (pg->status == CONNECTION_BAD)
		return 0;
	switch (fake_head_action(pg)) {
	case FAKE_PQ_SILENT:
		return pg->cancelled ? 0 : 1;
	case FAKE_PQ_DEAF:
		return 1;
	case FAKE_PQ_DIE:
		fake_pq_set_readable(pg);
		return 1;
	default:
		return 0;
	}
}

int PQconsumeInput(PGconn *pg)
{
	char c;

	if (pg->farewell)
		return 1;
	if (fake_head_action(pg) == FAKE_PQ_DIE || pg->closed) {
		pg->status = CONNECTION_BAD;
		return 0;
	}
	(void)recv(pg->fds[0], &c, 1, MSG_DONTWAIT);
	return 1;
}

static PGresult *fake_answer_sync(PGconn *pg)
{
	PGresult *res;

	if (pg->sync_sqlstate != NULL && !pg->aborted) {
		res = fake_pq_result_error("ERROR", pg->sync_sqlstate);
		pg->sync_sqlstate = NULL;
		return res;
	}
	pg->aborted = FALSE;
	array_pop_front(&pg->ops);
	return fake_pq_result(PGRES_PIPELINE_SYNC);
}

static PGresult *fake_answer_control(PGconn *pg, const struct fake_op *op)
{
	PGresult *res = fake_pq_result(PGRES_COMMAND_OK);

	if (strcmp(op->def->name, "begin") == 0)
		pg->transaction = PQTRANS_INTRANS;
	else
		pg->transaction = PQTRANS_IDLE;
	res->tag = op->step->action == FAKE_PQ_ROLLED_BACK ?
		"ROLLBACK" : t_str_ucase(op->def->name);
	return res;
}

static PGresult *fake_answer_rows(PGconn *pg, struct fake_op *op)
{
	PGresult *res;

	i_assert(op->single_row);
	if (op->rows_returned < op->step->count) {
		res = fake_pq_result(PGRES_SINGLE_TUPLE);
		res->value[sizeof(res->value) - 1] = ++op->rows_returned;
	} else {
		op->answered = TRUE;
		res = fake_pq_result(PGRES_TUPLES_OK);
		pg->die_at_sync = op->step->action == FAKE_PQ_ROWS_AND_DIE;
		if (op->step->action == FAKE_PQ_ERROR_AT_SYNC)
			pg->sync_sqlstate = op->step->sqlstate;
	}
	res->def = op->def;
	return res;
}

static PGresult *fake_answer_error(PGconn *pg, struct fake_op *op)
{
	pg->aborted = TRUE;
	op->answered = TRUE;
	if (pg->transaction == PQTRANS_INTRANS)
		pg->transaction = PQTRANS_INERROR;
	return fake_pq_result_error("ERROR",
		op->step->action == FAKE_PQ_SILENT ? "57014" :
		op->step->sqlstate);
}

static PGresult *fake_answer_exec(PGconn *pg, struct fake_op *op)
{
	switch (op->step->action) {
	case FAKE_PQ_ERROR:
	case FAKE_PQ_SILENT:
		return fake_answer_error(pg, op);
	case FAKE_PQ_FATAL:
		pg->status = CONNECTION_BAD;
		return fake_pq_result_error("FATAL", op->step->sqlstate);
	default:
		break;
	}
	if (op->def->column_count > 0)
		return fake_answer_rows(pg, op);
	op->answered = TRUE;
	pg->die_at_sync = op->step->action == FAKE_PQ_ROWS_AND_DIE;
	return fake_answer_control(pg, op);
}

PGresult *PQgetResult(PGconn *pg)
{
	struct fake_op *op;

	if (pg->status == CONNECTION_BAD)
		return fake_answer_dead(pg);
	i_assert(array_count(&pg->ops) > 0);
	op = array_front_modifiable(&pg->ops);
	if (op->type == FAKE_OP_SYNC)
		return fake_answer_sync(pg);
	if (op->answered) {
		array_pop_front(&pg->ops);
		return NULL;
	}
	if (pg->aborted) {
		op->answered = TRUE;
		return fake_pq_result(PGRES_PIPELINE_ABORTED);
	}
	if (op->type == FAKE_OP_EXEC)
		return fake_answer_exec(pg, op);
	op->answered = TRUE;
	return fake_pq_result(PGRES_COMMAND_OK);
}
