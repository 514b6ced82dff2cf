/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "doveadm-print.h"
#include "pgbox-conn.h"
#include "pgbox-db-admin.h"
#include "pgbox-error.h"
#include "pgbox-doveadm.h"

/* "pgbox purge" and "pgbox expire", for cron: in steps, so that they may be
   killed at any time, and never hold anybody up for long. */

#define JOB_STEP 1000

/* How much there is to be done at most; the default is no limit. */
static bool job_get_limit(const struct doveadm_cmd_context *cctx,
			  uint64_t *limit_r)
{
	const char *value;

	*limit_r = (uint64_t)-1;
	if (!doveadm_cmd_param_str(cctx, "limit", &value))
		return TRUE;
	if (str_to_uint64(value, limit_r) < 0 || *limit_r == 0) {
		i_error("%s: limit must be a number above 0", cctx->cmd->name);
		doveadm_exit_code = EX_USAGE;
		return FALSE;
	}
	return TRUE;
}

static unsigned int job_get_step(uint64_t done, uint64_t limit)
{
	return I_MIN(limit - done, JOB_STEP);
}

static bool purged_anything(const struct pgbox_purged *purged)
{
	return purged->tombstones + purged->mailboxes + purged->contents +
		purged->bodies > 0;
}

static void
purge_add(struct pgbox_purged *all, const struct pgbox_purged *step)
{
	all->tombstones += step->tombstones;
	all->mailboxes += step->mailboxes;
	all->contents += step->contents;
	all->bodies += step->bodies;
}

static int purge_run(struct pgbox_conn *conn, uint64_t limit,
		     struct pgbox_purged *all_r, struct pgbox_error *error_r)
{
	struct pgbox_purged step;

	i_zero(all_r);
	do {
		if (pgbox_purge(conn, job_get_step(all_r->tombstones, limit),
				&step, error_r) < 0)
			return -1;
		if (!purged_anything(&step))
			return 0;
		purge_add(all_r, &step);
		if (doveadm_verbose) {
			i_info("pgbox: %"PRIu64" messages, %"PRIu64
			       " mailboxes, %"PRIu64" bodies are purged",
			       all_r->tombstones, all_r->mailboxes,
			       all_r->bodies);
		}
	} while (all_r->tombstones < limit);
	return 0;
}

static void purge_print(const struct pgbox_purged *all)
{
	doveadm_print_init(DOVEADM_PRINT_TYPE_TABLE);
	doveadm_print_header_simple("messages");
	doveadm_print_header_simple("mailboxes");
	doveadm_print_header_simple("contents");
	doveadm_print_header_simple("bodies");
	doveadm_print_num(all->tombstones);
	doveadm_print_num(all->mailboxes);
	doveadm_print_num(all->contents);
	doveadm_print_num(all->bodies);
	doveadm_print_flush();
}

static void purge_cmd(struct doveadm_cmd_context *cctx)
{
	struct pgbox_conn *conn;
	struct pgbox_purged all;
	struct pgbox_error error;
	uint64_t limit;
	int ret;

	if (!job_get_limit(cctx, &limit) ||
	    (conn = pgbox_doveadm_get_store_conn()) == NULL)
		return;
	ret = purge_run(conn, limit, &all, &error);
	if (ret < 0)
		pgbox_doveadm_failed(NULL, &error);
	/* what was done before an error is done */
	if (ret == 0 || purged_anything(&all))
		purge_print(&all);
	pgbox_doveadm_release_conn(&conn);
}

static int expire_run(struct pgbox_conn *conn, uint64_t limit,
		      struct pgbox_policy_applied *all_r,
		      struct pgbox_error *error_r)
{
	struct pgbox_policy_applied step;

	i_zero(all_r);
	do {
		if (pgbox_policy_apply(conn,
				       job_get_step(all_r->expunged, limit),
				       &step, error_r) < 0)
			return -1;
		all_r->expunged += step.expunged;
		all_r->busy = step.busy;
		if (doveadm_verbose) {
			i_info("pgbox: %"PRIu64" messages are expired",
			       all_r->expunged);
		}
	} while (step.more && all_r->expunged < limit);
	return 0;
}

static void expire_print(const struct pgbox_policy_applied *all)
{
	doveadm_print_init(DOVEADM_PRINT_TYPE_TABLE);
	doveadm_print_header_simple("messages");
	doveadm_print_header_simple("busy");
	doveadm_print_num(all->expunged);
	doveadm_print_num(all->busy);
	doveadm_print_flush();
}

static void expire_cmd(struct doveadm_cmd_context *cctx)
{
	struct pgbox_conn *conn;
	struct pgbox_policy_applied all;
	struct pgbox_error error;
	uint64_t limit;
	int ret;

	if (!job_get_limit(cctx, &limit) ||
	    (conn = pgbox_doveadm_get_store_conn()) == NULL)
		return;
	ret = expire_run(conn, limit, &all, &error);
	if (ret < 0)
		pgbox_doveadm_failed(NULL, &error);
	if (ret == 0 || all.expunged > 0)
		expire_print(&all);
	pgbox_doveadm_release_conn(&conn);
}

struct doveadm_cmd_ver2 pgbox_doveadm_purge_cmd = {
	.name = "pgbox purge",
	.cmd = purge_cmd,
	.usage = "[-l <limit>]",
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_PARAM('l', "limit", CMD_PARAM_STR, 0)
DOVEADM_CMD_PARAMS_END
};

struct doveadm_cmd_ver2 pgbox_doveadm_expire_cmd = {
	.name = "pgbox expire",
	.cmd = expire_cmd,
	.usage = "[-l <limit>]",
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_PARAM('l', "limit", CMD_PARAM_STR, 0)
DOVEADM_CMD_PARAMS_END
};
