/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "doveadm-print.h"
#include "pgbox-conn.h"
#include "pgbox-error.h"
#include "pgbox-db-settings.h"
#include "pgbox-settings.h"
#include "pgbox-doveadm.h"

bool pgbox_doveadm_is_for_users(const struct doveadm_cmd_context *cctx)
{
	static const char *const names[] = { "user", "all-users", "user-file" };
	unsigned int i;
	int arg;

	for (arg = 0; arg < cctx->argc; arg++) {
		for (i = 0; i < N_ELEMENTS(names); i++) {
			if (cctx->argv[arg].value_set &&
			    strcmp(cctx->argv[arg].name, names[i]) == 0)
				return TRUE;
		}
	}
	/* doveadm-server is told beside the command's arguments */
	return cctx->conn_type == DOVEADM_CONNECTION_TYPE_TCP &&
		cctx->username != NULL && *cctx->username != '\0';
}

static const char *
store_setting_get(const char *name, void *context ATTR_UNUSED)
{
	return doveadm_plugin_getenv(name);
}

struct pgbox_conn *pgbox_doveadm_get_store_conn(void)
{
	struct pgbox_conn_settings set;
	const char *error;

	if (pgbox_db_settings_get(store_setting_get, NULL, &set, &error) < 0) {
		i_error("pgbox: %s", error);
		doveadm_exit_code = EX_CONFIG;
		return NULL;
	}
	return pgbox_conn_get(&set, NULL);
}

void pgbox_doveadm_release_conn(struct pgbox_conn **conn)
{
	pgbox_conn_unref(conn);
	pgbox_conns_free_unused();
}

struct pgbox_conn *
pgbox_doveadm_get_user_conn(struct doveadm_mail_cmd_context *ctx,
			    struct mail_user *user)
{
	struct pgbox_conn *conn;
	const char *error;

	conn = pgbox_user_get_conn(user, &error);
	if (conn == NULL) {
		i_error("pgbox: %s", error);
		doveadm_mail_failed_error(ctx, MAIL_ERROR_TEMP);
	}
	return conn;
}

static enum mail_error error_get_kind(const struct pgbox_error *error)
{
	static const struct {
		const char *sqlstate;
		enum mail_error error;
	} rules[] = {
		{ "PB001", MAIL_ERROR_NOTFOUND },
		{ "PB002", MAIL_ERROR_NOTFOUND },
		{ "PB003", MAIL_ERROR_EXISTS },
		{ "PB011", MAIL_ERROR_NOQUOTA },
	};
	unsigned int i;

	if (error->kind == PGBOX_ERROR_DENIED)
		return MAIL_ERROR_PERM;
	if (error->kind == PGBOX_ERROR_INPUT)
		return MAIL_ERROR_PARAMS;
	if (error->kind != PGBOX_ERROR_RULE)
		return MAIL_ERROR_TEMP;
	for (i = 0; i < N_ELEMENTS(rules); i++) {
		if (strcmp(error->sqlstate, rules[i].sqlstate) == 0)
			return rules[i].error;
	}
	return MAIL_ERROR_NOTPOSSIBLE;
}

/* As doveadm_mail_failed_error() does it for commands on users. */
static int error_get_exit_code(enum mail_error error)
{
	switch (error) {
	case MAIL_ERROR_NOTFOUND:
		return DOVEADM_EX_NOTFOUND;
	case MAIL_ERROR_PERM:
		return EX_NOPERM;
	case MAIL_ERROR_PARAMS:
		return EX_USAGE;
	case MAIL_ERROR_NOQUOTA:
		return EX_CANTCREAT;
	case MAIL_ERROR_EXISTS:
	case MAIL_ERROR_NOTPOSSIBLE:
		return DOVEADM_EX_NOTPOSSIBLE;
	default:
		return EX_TEMPFAIL;
	}
}

void pgbox_doveadm_failed(struct doveadm_mail_cmd_context *ctx,
			  const struct pgbox_error *error)
{
	const char *hint = pgbox_error_hint(error->kind);
	enum mail_error kind = error_get_kind(error);

	if (!error->logged) {
		i_error("pgbox: %s%s%s", error->text,
			*hint == '\0' ? "" : "; ", hint);
	}
	if (ctx != NULL)
		doveadm_mail_failed_error(ctx, kind);
	else
		doveadm_exit_code = error_get_exit_code(kind);
}

void pgbox_doveadm_print_nothing(const struct doveadm_mail_cmd_context *ctx)
{
	/* doveadm prints headings at the end where there was no row */
	if (doveadm_exit_code != 0 || (ctx != NULL && ctx->exit_code != 0))
		doveadm_print_hide_titles = TRUE;
}
