/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "mail-user.h"
#include "doveadm-print.h"
#include "pgbox-conn.h"
#include "pgbox-db-admin.h"
#include "pgbox-error.h"
#include "pgbox-doveadm.h"

/* "pgbox verify": do rows keep the rules, and are bodies what was stored? Of
   the store, or of users' accounts. Each step is a transaction of its own. */

/* A step has to end within the role's statement_timeout: bodies are read as a
   whole. */
#define VERIFY_BODIES_LIMIT 100
#define VERIFY_ROWS_LIMIT 10000

struct verify_cmd_context {
	struct doveadm_mail_cmd_context ctx;
	unsigned int percent;
};

struct verify {
	struct pgbox_conn *conn;
	/* NULL: the store */
	const char *account;
	unsigned int percent;
	unsigned int problems;
};

static void
verify_problem(const char *problem, const char *remedy, void *context)
{
	struct verify *verify = context;

	verify->problems++;
	doveadm_print(problem);
	doveadm_print(remedy);
}

static int verify_rows(struct verify *verify, struct pgbox_error *error_r)
{
	struct pgbox_verify_pos pos;

	if (verify->account != NULL) {
		return pgbox_account_verify(verify->conn, verify->account,
					    verify_problem, verify, error_r);
	}
	i_zero(&pos);
	while (!pos.finished) {
		if (pgbox_rows_verify(verify->conn, VERIFY_ROWS_LIMIT, &pos,
				      verify_problem, verify, error_r) < 0)
			return -1;
		if (doveadm_verbose && !pos.finished) {
			i_info("pgbox: rows up to number %"PRId64
			       " are verified", pos.after);
		}
	}
	return 0;
}

static int verify_bodies(struct verify *verify, struct pgbox_error *error_r)
{
	struct pgbox_verify_pos pos;

	i_zero(&pos);
	while (!pos.finished && verify->percent > 0) {
		if (pgbox_content_verify(verify->conn, verify->account,
					 VERIFY_BODIES_LIMIT, verify->percent,
					 &pos, verify_problem, verify,
					 error_r) < 0)
			return -1;
		if (doveadm_verbose) {
			i_info("pgbox: %"PRIu64" bodies are verified",
			       pos.checked);
		}
	}
	return 0;
}

/* Returns 1 if all is well, 0 if there are problems, -1 if it couldn't be
   found out. */
static int verify_run_all(struct verify *verify, struct pgbox_error *error_r)
{
	if (verify_rows(verify, error_r) < 0 ||
	    verify_bodies(verify, error_r) < 0)
		return -1;
	return verify->problems == 0 ? 1 : 0;
}

static void verify_print_headers(void)
{
	doveadm_print_header("problem", "Problem", 0);
	doveadm_print_header("remedy", "Remedy", 0);
}

/* doveadm goes on with a command whose argument was refused: end it. */
static void verify_parse_percent(const char *value, unsigned int *percent_r)
{
	if (str_to_uint(value, percent_r) < 0 || *percent_r > 100) {
		i_fatal_status(EX_USAGE, "pgbox verify: percent must be a "
			       "number from 0 to 100, not %s", value);
	}
}

static void verify_store(struct doveadm_cmd_context *cctx)
{
	struct verify verify = { .percent = 100 };
	struct pgbox_error error;
	const char *percent;
	int ret;

	if (doveadm_cmd_param_str(cctx, "percent", &percent))
		verify_parse_percent(percent, &verify.percent);
	verify.conn = pgbox_doveadm_get_store_conn();
	if (verify.conn == NULL)
		return;
	doveadm_print_init(DOVEADM_PRINT_TYPE_PAGER);
	verify_print_headers();
	ret = verify_run_all(&verify, &error);
	if (ret < 0)
		pgbox_doveadm_failed(NULL, &error);
	else if (ret == 0)
		doveadm_exit_code = DOVEADM_EX_NOTPOSSIBLE;
	if (verify.problems == 0)
		pgbox_doveadm_print_nothing(NULL);
	doveadm_print_flush();
	pgbox_doveadm_release_conn(&verify.conn);
}

static void verify_cmd(struct doveadm_cmd_context *cctx)
{
	if (pgbox_doveadm_is_for_users(cctx))
		doveadm_cmd_ver2_to_mail_cmd_wrapper(cctx);
	else
		verify_store(cctx);
}

static int verify_run(struct doveadm_mail_cmd_context *_ctx,
		      struct mail_user *user)
{
	struct verify_cmd_context *ctx =
		container_of(_ctx, struct verify_cmd_context, ctx);
	struct verify verify = {
		.account = user->username,
		.percent = ctx->percent,
	};
	struct pgbox_error error;
	int ret;

	verify.conn = pgbox_doveadm_get_user_conn(_ctx, user);
	if (verify.conn == NULL)
		return -1;
	ret = verify_run_all(&verify, &error);
	if (ret < 0)
		pgbox_doveadm_failed(_ctx, &error);
	else if (ret == 0)
		doveadm_mail_failed_error(_ctx, MAIL_ERROR_INVALIDDATA);
	pgbox_doveadm_release_conn(&verify.conn);
	/* other users' accounts are looked at all the same */
	return ret < 0 ? -1 : 0;
}

static bool verify_parse_arg(struct doveadm_mail_cmd_context *_ctx, int c)
{
	struct verify_cmd_context *ctx =
		container_of(_ctx, struct verify_cmd_context, ctx);

	if (c != 'p')
		return FALSE;
	verify_parse_percent(optarg, &ctx->percent);
	return TRUE;
}

static void verify_init(struct doveadm_mail_cmd_context *ctx ATTR_UNUSED,
			const char *const args[] ATTR_UNUSED)
{
	verify_print_headers();
}

static struct doveadm_mail_cmd_context *verify_alloc(void)
{
	struct verify_cmd_context *ctx;

	ctx = doveadm_mail_cmd_alloc(struct verify_cmd_context);
	ctx->percent = 100;
	ctx->ctx.getopt_args = "p:";
	ctx->ctx.v.parse_arg = verify_parse_arg;
	ctx->ctx.v.init = verify_init;
	ctx->ctx.v.run = verify_run;
	doveadm_print_init(DOVEADM_PRINT_TYPE_PAGER);
	return &ctx->ctx;
}

struct doveadm_cmd_ver2 pgbox_doveadm_verify_cmd = {
	.name = "pgbox verify",
	.cmd = verify_cmd,
	.mail_cmd = verify_alloc,
	.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX"[-p <percent>]",
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAM('p', "percent", CMD_PARAM_STR, 0)
DOVEADM_CMD_PARAMS_END
};
