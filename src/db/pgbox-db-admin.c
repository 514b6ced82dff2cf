/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "pgbox-conn.h"
#include "pgbox-db-admin.h"
#include "pgbox-db-private.h"
#include "pgbox-error.h"

/* What is PGBOX_EXEC_REPEATABLE here reads, or removes what is to go: done twice
   it does no more than once. */

/*
 * Status
 */

struct fields_context {
	pgbox_admin_fields_t *fields;
	void *context;
	unsigned int count;
};

static void fields_row(struct pgbox_result *result, void *context)
{
	struct fields_context *ctx = context;
	const char **values = t_new(const char *, ctx->count);
	unsigned int i;

	for (i = 0; i < ctx->count; i++) {
		values[i] = pgbox_result_is_null(result, i) ? NULL :
			pgbox_result_text(result, i);
	}
	ctx->fields(values, ctx->count, ctx->context);
}

int pgbox_store_status(struct pgbox_conn *conn, pgbox_admin_fields_t *fields,
		       void *context, struct pgbox_error *error_r)
{
	struct fields_context ctx = {
		.fields = fields,
		.context = context,
		.count = PGBOX_STORE_STATUS_FIELDS,
	};
	int ret;

	T_BEGIN {
		ret = pgbox_db_query(conn, PGBOX_STMT_STORE_STATUS, NULL,
				     PGBOX_EXEC_REPEATABLE, fields_row, &ctx, error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

int pgbox_account_status(struct pgbox_conn *conn, const char *account,
			 pgbox_admin_fields_t *fields, void *context,
			 struct pgbox_error *error_r)
{
	struct fields_context ctx = {
		.fields = fields,
		.context = context,
		.count = PGBOX_ACCOUNT_STATUS_FIELDS,
	};
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		ret = pgbox_db_query(conn, PGBOX_STMT_ACCOUNT_STATUS, params,
				     PGBOX_EXEC_REPEATABLE, fields_row, &ctx, error_r);
	} T_END;
	return ret;
}

/*
 * Verification
 */

struct verify_context {
	struct pgbox_verify_pos *pos;
	uint64_t checked;
	int64_t next_after;
	bool finished;
	pgbox_admin_problem_t *problem;
	void *context;
};

/* Columns: next_after, problem, remedy. */
static void verify_row(struct pgbox_result *result, void *context)
{
	struct verify_context *ctx = context;

	ctx->finished = pgbox_result_is_null(result, 0);
	if (!ctx->finished)
		ctx->next_after = pgbox_result_int64(result, 0);
	if (!pgbox_result_is_null(result, 1)) {
		ctx->problem(pgbox_result_text(result, 1),
			     pgbox_result_text(result, 2), ctx->context);
	}
}

/* Only of a step that succeeded as a whole. */
static void verify_advance(struct verify_context *ctx)
{
	ctx->pos->checked += ctx->checked;
	ctx->pos->after = ctx->next_after;
	ctx->pos->finished = ctx->finished;
}

static void content_verify_row(struct pgbox_result *result, void *context)
{
	struct verify_context *ctx = context;

	verify_row(result, ctx);
	ctx->checked = pgbox_result_int64(result, 3);
}

int pgbox_content_verify(struct pgbox_conn *conn, const char *account,
			 unsigned int limit, unsigned int percent,
			 struct pgbox_verify_pos *pos,
			 pgbox_admin_problem_t *problem, void *context,
			 struct pgbox_error *error_r)
{
	struct verify_context ctx = {
		.pos = pos,
		.problem = problem,
		.context = context,
	};
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, pos->after);
		pgbox_params_int32(params, I_MIN(limit, INT32_MAX));
		pgbox_params_int32(params, I_MIN(percent, 100));
		pgbox_db_params_text(params, account);
		ret = pgbox_db_query(conn, PGBOX_STMT_CONTENT_VERIFY, params,
				     PGBOX_EXEC_REPEATABLE, content_verify_row, &ctx,
				     error_r);
	} T_END;
	if (ret < 0)
		return -1;
	verify_advance(&ctx);
	return 0;
}

int pgbox_rows_verify(struct pgbox_conn *conn, unsigned int limit,
		      struct pgbox_verify_pos *pos,
		      pgbox_admin_problem_t *problem, void *context,
		      struct pgbox_error *error_r)
{
	struct verify_context ctx = {
		.pos = pos,
		.problem = problem,
		.context = context,
	};
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, pos->after);
		pgbox_params_int64(params, limit);
		ret = pgbox_db_query(conn, PGBOX_STMT_ROWS_VERIFY, params,
				     PGBOX_EXEC_REPEATABLE, verify_row, &ctx,
				     error_r);
	} T_END;
	if (ret < 0)
		return -1;
	verify_advance(&ctx);
	return 0;
}

static void account_verify_row(struct pgbox_result *result, void *context)
{
	struct verify_context *ctx = context;

	ctx->problem(pgbox_result_text(result, 0),
		     pgbox_result_text(result, 1), ctx->context);
}

int pgbox_account_verify(struct pgbox_conn *conn, const char *account,
			 pgbox_admin_problem_t *problem, void *context,
			 struct pgbox_error *error_r)
{
	struct verify_context ctx = {
		.problem = problem,
		.context = context,
	};
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		ret = pgbox_db_query(conn, PGBOX_STMT_ACCOUNT_VERIFY, params,
				     PGBOX_EXEC_REPEATABLE, account_verify_row, &ctx,
				     error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

/*
 * Purge and policies
 */

static void purge_row(struct pgbox_result *result, void *context)
{
	struct pgbox_purged *purged = context;

	purged->tombstones = pgbox_result_int64(result, 0);
	purged->mailboxes = pgbox_result_int64(result, 1);
	purged->contents = pgbox_result_int64(result, 2);
	purged->bodies = pgbox_result_int64(result, 3);
}

int pgbox_purge(struct pgbox_conn *conn, unsigned int limit,
		struct pgbox_purged *purged_r, struct pgbox_error *error_r)
{
	int ret;

	i_zero(purged_r);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int32(params, I_MIN(limit, INT32_MAX));
		ret = pgbox_db_query(conn, PGBOX_STMT_PURGE, params,
				     PGBOX_EXEC_REPEATABLE, purge_row, purged_r,
				     error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

static void policy_row(struct pgbox_result *result, void *context)
{
	struct pgbox_policy_applied *applied = context;

	applied->expunged = pgbox_result_int64(result, 0);
	applied->busy = pgbox_result_int64(result, 1);
	applied->more = pgbox_result_bool(result, 2);
}

int pgbox_policy_apply(struct pgbox_conn *conn, unsigned int limit,
		       struct pgbox_policy_applied *applied_r,
		       struct pgbox_error *error_r)
{
	int ret;

	i_zero(applied_r);
	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_int64(params, limit);
		ret = pgbox_db_query(conn, PGBOX_STMT_POLICY_APPLY, params,
				     PGBOX_EXEC_REPEATABLE, policy_row, applied_r,
				     error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}

/*
 * Undelete
 */

struct undelete_context {
	pgbox_undeleted_t *undeleted;
	void *context;
};

static void undelete_row(struct pgbox_result *result, void *context)
{
	struct undelete_context *ctx = context;

	ctx->undeleted(pgbox_db_result_uint32(result, 0),
		       pgbox_db_result_uint32(result, 1), ctx->context);
}

int pgbox_message_undelete(struct pgbox_conn *conn,
			   const struct pgbox_undelete *undelete,
			   unsigned int limit, pgbox_undeleted_t *undeleted,
			   void *context, struct pgbox_error *error_r)
{
	struct undelete_context ctx = {
		.undeleted = undeleted,
		.context = context,
	};
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, undelete->account);
		pgbox_params_text(params, undelete->folder);
		if (undelete->uids == NULL)
			pgbox_params_null(params);
		else
			pgbox_db_params_uids(params, undelete->uids);
		pgbox_params_int64(params, undelete->since);
		pgbox_db_params_text(params, undelete->into);
		pgbox_params_int32(params, I_MIN(limit, INT32_MAX));
		/* not repeatable: the rows tell what came back */
		ret = pgbox_db_query(conn, PGBOX_STMT_MESSAGE_UNDELETE, params,
				     0, undelete_row, &ctx, error_r);
	} T_END;
	return ret;
}

int pgbox_folder_undelete(struct pgbox_conn *conn, const char *account,
			  const char *folder, const char *new_name,
			  struct pgbox_error *error_r)
{
	int ret;

	T_BEGIN {
		struct pgbox_params *params = pgbox_params_new();

		pgbox_params_text(params, account);
		pgbox_params_text(params, folder);
		pgbox_db_params_text(params, new_name);
		ret = pgbox_db_query(conn, PGBOX_STMT_FOLDER_UNDELETE, params,
				     0, NULL, NULL, error_r);
	} T_END;
	return ret < 0 ? -1 : 0;
}
