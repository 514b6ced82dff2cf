/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "mail-user.h"
#include "doveadm-print.h"
#include "pgbox-conn.h"
#include "pgbox-db-admin.h"
#include "pgbox-error.h"
#include "pgbox-doveadm.h"

/* "pgbox status": the store, or users' accounts, in one record each. */

struct status_field {
	const char *key, *title;
};

/* in the order of sql/stmt/store-status.sql */
static const struct status_field store_fields[] = {
	{ "schema", "Schema version" },
	{ "server", "PostgreSQL" },
	{ "standby", "Standby" },
	{ "guid", "Store GUID" },
	{ "epoch", "Epoch" },
	{ "retention", "Retention" },
	{ "accounts", "Accounts" },
	{ "mailboxes", "Mailboxes" },
	{ "messages", "Messages" },
	{ "bytes", "Bytes of messages" },
	{ "disk", "Bytes on disk" },
	{ "purgeable-messages", "Purgeable messages" },
	{ "purgeable-mailboxes", "Purgeable mailboxes" },
	{ "policies", "Policies" },
	{ "last-job", "Last job" },
};

/* in the order of sql/stmt/account-status.sql */
static const struct status_field account_fields[] = {
	{ "enabled", "Enabled" },
	{ "deleted", "Deleted" },
	{ "mailboxes", "Mailboxes" },
	{ "messages", "Messages" },
	{ "unseen", "Unseen" },
	{ "bytes", "Bytes" },
	{ "quota-messages", "Quota of messages" },
	{ "quota-bytes", "Quota of bytes" },
	{ "retention", "Retention" },
	{ "hold", "Legal hold" },
	{ "restorable-messages", "Restorable messages" },
	{ "restorable-mailboxes", "Restorable mailboxes" },
};

static void
status_print_headers(const struct status_field *fields, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		doveadm_print_header(fields[i].key, fields[i].title, 0);
}

static void status_print(const char *const *values, unsigned int count,
			 void *context ATTR_UNUSED)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		doveadm_print(values[i] != NULL ? values[i] : "-");
}

static void status_store(void)
{
	struct pgbox_conn *conn;
	struct pgbox_error error;

	i_assert(N_ELEMENTS(store_fields) == PGBOX_STORE_STATUS_FIELDS);

	conn = pgbox_doveadm_get_store_conn();
	if (conn == NULL)
		return;
	doveadm_print_init(DOVEADM_PRINT_TYPE_PAGER);
	status_print_headers(store_fields, N_ELEMENTS(store_fields));
	if (pgbox_store_status(conn, status_print, NULL, &error) < 0) {
		pgbox_doveadm_failed(NULL, &error);
		pgbox_doveadm_print_nothing(NULL);
	}
	doveadm_print_flush();
	pgbox_doveadm_release_conn(&conn);
}

static void status_cmd(struct doveadm_cmd_context *cctx)
{
	if (pgbox_doveadm_is_for_users(cctx))
		doveadm_cmd_ver2_to_mail_cmd_wrapper(cctx);
	else
		status_store();
}

static int status_run(struct doveadm_mail_cmd_context *ctx,
		      struct mail_user *user)
{
	struct pgbox_conn *conn;
	struct pgbox_error error;
	int ret;

	conn = pgbox_doveadm_get_user_conn(ctx, user);
	if (conn == NULL)
		return -1;
	ret = pgbox_account_status(conn, user->username,
				   status_print, NULL, &error);
	if (ret < 0)
		pgbox_doveadm_failed(ctx, &error);
	else if (ret == 0) {
		i_error("pgbox: there is no account \"%s\"", user->username);
		doveadm_mail_failed_error(ctx, MAIL_ERROR_NOTFOUND);
	}
	pgbox_doveadm_release_conn(&conn);
	return ret > 0 ? 0 : -1;
}

static void status_init(struct doveadm_mail_cmd_context *ctx ATTR_UNUSED,
			const char *const args[] ATTR_UNUSED)
{
	i_assert(N_ELEMENTS(account_fields) == PGBOX_ACCOUNT_STATUS_FIELDS);

	status_print_headers(account_fields, N_ELEMENTS(account_fields));
}

static struct doveadm_mail_cmd_context *status_alloc(void)
{
	struct doveadm_mail_cmd_context *ctx;

	ctx = doveadm_mail_cmd_alloc(struct doveadm_mail_cmd_context);
	ctx->v.init = status_init;
	ctx->v.run = status_run;
	doveadm_print_init(DOVEADM_PRINT_TYPE_PAGER);
	return ctx;
}

struct doveadm_cmd_ver2 pgbox_doveadm_status_cmd = {
	.name = "pgbox status",
	.cmd = status_cmd,
	.mail_cmd = status_alloc,
	.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX,
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAMS_END
};
