/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "str.h"
#include "time-util.h"
#include "unichar.h"
#include "imap-seqset.h"
#include "imap-util.h"
#include "mail-user.h"
#include "mail-namespace.h"
#include "mailbox-list-private.h"
#include "doveadm-print.h"
#include "doveadm-settings.h"
#include "pgbox-conn.h"
#include "pgbox-db-admin.h"
#include "pgbox-error.h"
#include "pgbox-settings.h"
#include "pgbox-doveadm.h"

/* "pgbox undelete": a user's expunged messages, or a mailbox that was deleted.
   Names of mailboxes are those that the user has. */

#define UNDELETE_STEP 1000
/* 2000-01-01: numbers below are none of seconds since 1970, but for 0 */
#define UNDELETE_EARLIEST 946684800

struct undelete_cmd_context {
	struct doveadm_mail_cmd_context ctx;
	/* the mailbox itself was deleted */
	bool mailbox;
	/* NULL: not given */
	const char *into;
	/* with -t */
	time_t since;
	bool since_given;
	ARRAY_TYPE(seq_range) uids;
	bool headings;
	bool printed;
};

struct undelete_rows {
	struct undelete_cmd_context *ctx;
	/* UIDs that were given and haven't come back yet */
	ARRAY_TYPE(seq_range) missing;
};

/* Returns the name in the database and its account (on the data stack), NULL if
   the mailbox isn't in the database. */
static const char *
undelete_get_folder(struct mail_user *user, const char *vname,
		    const char **account_r)
{
	struct mail_namespace *ns =
		mail_namespace_find(user->namespaces, vname);
	const char *error;

	if (strcmp(ns->list->name, PGBOX_LIST_NAME) != 0) {
		i_error("pgbox undelete: %s isn't stored by pgbox", vname);
		return NULL;
	}
	*account_r = pgbox_namespace_get_account(ns, &error);
	if (*account_r == NULL) {
		i_error("pgbox undelete: %s", error);
		return NULL;
	}
	return mailbox_list_get_storage_name(ns->list, vname);
}

static int undelete_get_folders(struct undelete_cmd_context *ctx,
				struct mail_user *user,
				struct pgbox_undelete *undelete)
{
	const char *vname = ctx->ctx.args[0], *account;

	undelete->folder = undelete_get_folder(user, vname,
					       &undelete->account);
	if (undelete->folder == NULL)
		return -1;
	if (ctx->into == NULL)
		return 0;
	undelete->into = undelete_get_folder(user, ctx->into, &account);
	if (undelete->into == NULL)
		return -1;
	if (strcmp(account, undelete->account) != 0) {
		i_error("pgbox undelete: %s and %s belong to different "
			"accounts", vname, ctx->into);
		return -1;
	}
	return 0;
}

static void undelete_print_headings(struct undelete_cmd_context *ctx)
{
	if (ctx->headings)
		return;
	ctx->headings = TRUE;
	doveadm_print_header_simple(ctx->mailbox ? "mailbox" : "uid");
	doveadm_print_header_simple(ctx->mailbox ? "new-mailbox" : "new-uid");
}

static void undelete_print_begin(struct undelete_cmd_context *ctx)
{
	undelete_print_headings(ctx);
	ctx->printed = TRUE;
}

/* "-f tab" writes headings as soon as it is told them, so that a command that
   fails would have written them: they wait for the first row. Not where rows
   come from elsewhere, for who prints them is told no headings later, and not
   behind the heading that doveadm itself has written for the user's name. */
static bool undelete_headings_can_wait(const struct undelete_cmd_context *ctx)
{
	return ctx->ctx.set->doveadm_port == 0 &&
		ctx->ctx.set->doveadm_worker_count == 0 &&
		doveadm_print_get_headers_count() == 0;
}

static void undelete_row(uint32_t uid, uint32_t new_uid, void *context)
{
	struct undelete_rows *rows = context;

	undelete_print_begin(rows->ctx);
	doveadm_print_num(uid);
	doveadm_print_num(new_uid);
	seq_range_array_remove(&rows->missing, uid);
}

/* Who names UIDs wants all of them. */
static void undelete_tell_missing(struct undelete_rows *rows)
{
	string_t *uids;

	if (array_count(&rows->missing) == 0)
		return;
	uids = t_str_new(128);
	imap_write_seq_range(uids, &rows->missing);
	i_warning("pgbox undelete: %s: UID %s not brought back: never "
		  "expunged, purged, or brought back already",
		  rows->ctx->ctx.args[0], str_c(uids));
	doveadm_mail_failed_error(&rows->ctx->ctx, MAIL_ERROR_NOTFOUND);
}

static int undelete_messages(struct undelete_cmd_context *ctx,
			     struct pgbox_conn *conn,
			     const struct pgbox_undelete *undelete,
			     struct pgbox_error *error_r)
{
	struct undelete_rows rows = { .ctx = ctx };
	unsigned int count = 0;
	int ret;

	/* it grows within a step, which has a frame of the data stack */
	i_array_init(&rows.missing, 8);
	if (undelete->uids != NULL)
		array_append_array(&rows.missing, undelete->uids);
	while ((ret = pgbox_message_undelete(conn, undelete, UNDELETE_STEP,
					     undelete_row, &rows,
					     error_r)) > 0) {
		count += ret;
		if (doveadm_verbose)
			i_info("pgbox: %u messages are back", count);
	}
	if (ret == 0)
		undelete_tell_missing(&rows);
	array_free(&rows.missing);
	return ret;
}

static int undelete_mailbox(struct undelete_cmd_context *ctx,
			    struct pgbox_conn *conn,
			    const struct pgbox_undelete *undelete,
			    struct pgbox_error *error_r)
{
	const char *vname = ctx->ctx.args[0];

	if (pgbox_folder_undelete(conn, undelete->account, undelete->folder,
				  undelete->into, error_r) < 0)
		return -1;
	undelete_print_begin(ctx);
	doveadm_print(vname);
	doveadm_print(ctx->into != NULL ? ctx->into : vname);
	return 0;
}

static int undelete_with(struct undelete_cmd_context *ctx,
			 struct pgbox_conn *conn,
			 const struct pgbox_undelete *undelete)
{
	struct pgbox_error error;
	int ret;

	if (ctx->mailbox)
		ret = undelete_mailbox(ctx, conn, undelete, &error);
	else
		ret = undelete_messages(ctx, conn, undelete, &error);
	if (ret < 0)
		pgbox_doveadm_failed(&ctx->ctx, &error);
	return ret;
}

static int undelete_run(struct doveadm_mail_cmd_context *_ctx,
			struct mail_user *user)
{
	struct undelete_cmd_context *ctx =
		container_of(_ctx, struct undelete_cmd_context, ctx);
	struct pgbox_undelete undelete = {
		.uids = array_is_created(&ctx->uids) ? &ctx->uids : NULL,
		.since = ctx->since,
	};
	struct pgbox_conn *conn;
	int ret;

	if (undelete_get_folders(ctx, user, &undelete) < 0) {
		doveadm_mail_failed_error(_ctx, MAIL_ERROR_NOTPOSSIBLE);
		return -1;
	}
	conn = pgbox_doveadm_get_user_conn(_ctx, user);
	if (conn == NULL)
		return -1;
	ret = undelete_with(ctx, conn, &undelete);
	pgbox_doveadm_release_conn(&conn);
	return ret;
}

/* Dovecot takes the 45th of a month for a day of the next one. */
static bool undelete_is_real_date(const char *arg, time_t since, bool utc)
{
	return strlen(arg) != strlen("YYYY-MM-DD") || arg[4] != '-' ||
		strcmp(arg, utc ? t_strfgmtime("%Y-%m-%d", since) :
		       t_strflocaltime("%Y-%m-%d", since)) == 0;
}

/* doveadm goes on with a command whose argument was refused: end it. */
static time_t undelete_parse_since(const char *arg)
{
	time_t since;
	bool utc;

	if (mail_parse_human_timestamp(arg, &since, &utc) < 0 ||
	    !undelete_is_real_date(arg, since, utc)) {
		i_fatal_status(EX_USAGE, "pgbox undelete: \"%s\" is no "
			       "time: give a date (2024-05-06) or an "
			       "age (2 days)", arg);
	}
	if (since != 0 && since < UNDELETE_EARLIEST) {
		i_fatal_status(EX_USAGE, "pgbox undelete: \"%s\" is a moment "
			       "of the last century; an age needs a unit "
			       "(2 days)", arg);
	}
	if (since > ioloop_time) {
		i_fatal_status(EX_USAGE, "pgbox undelete: \"%s\" is in the "
			       "future: nothing was expunged since then", arg);
	}
	return since;
}

static bool undelete_parse_arg(struct doveadm_mail_cmd_context *_ctx, int c)
{
	struct undelete_cmd_context *ctx =
		container_of(_ctx, struct undelete_cmd_context, ctx);

	switch (c) {
	case 'm':
		ctx->mailbox = TRUE;
		return TRUE;
	case 'i':
		ctx->into = p_strdup(_ctx->pool, optarg);
		return TRUE;
	case 't':
		ctx->since = undelete_parse_since(optarg);
		ctx->since_given = TRUE;
		return TRUE;
	default:
		return FALSE;
	}
}

/* doveadm goes on with a command whose arguments were refused: end it. */
static void undelete_check_args(const struct undelete_cmd_context *ctx,
				bool uids_given)
{
	const char *error = NULL;

	if (ctx->mailbox && ctx->since_given) {
		error = "-m brings back a mailbox with all that is in it, "
			"-t is for messages: give one of them";
	} else if (ctx->mailbox && uids_given) {
		error = "-m brings back a mailbox with all that is in it: "
			"leave the UIDs out";
	} else if (ctx->since_given && uids_given) {
		error = "give either UIDs or a time with -t";
	}
	if (error != NULL)
		i_fatal_status(EX_USAGE, "pgbox undelete: %s", error);
}

static void undelete_check_name(const char *name)
{
	if (name != NULL && !uni_utf8_str_is_valid(name)) {
		i_fatal_status(EX_USAGE, "pgbox undelete: a mailbox's name "
			       "has to be UTF-8");
	}
}

static void undelete_init(struct doveadm_mail_cmd_context *_ctx,
			  const char *const args[])
{
	struct undelete_cmd_context *ctx =
		container_of(_ctx, struct undelete_cmd_context, ctx);

	if (args[0] == NULL)
		doveadm_mail_help_name("pgbox undelete");
	undelete_check_args(ctx, args[1] != NULL);
	undelete_check_name(args[0]);
	undelete_check_name(ctx->into);
	if (args[1] != NULL) {
		p_array_init(&ctx->uids, _ctx->pool, 8);
		if (imap_seq_set_nostar_parse(args[1], &ctx->uids) < 0) {
			i_fatal_status(EX_USAGE, "pgbox undelete: \"%s\" is "
				       "no set of UIDs", args[1]);
		}
	}
	if (!undelete_headings_can_wait(ctx))
		undelete_print_headings(ctx);
}

static void undelete_deinit(struct doveadm_mail_cmd_context *_ctx)
{
	struct undelete_cmd_context *ctx =
		container_of(_ctx, struct undelete_cmd_context, ctx);

	if (!ctx->printed)
		pgbox_doveadm_print_nothing(_ctx);
	undelete_print_headings(ctx);
}

static struct doveadm_mail_cmd_context *undelete_alloc(void)
{
	struct undelete_cmd_context *ctx;

	ctx = doveadm_mail_cmd_alloc(struct undelete_cmd_context);
	ctx->ctx.getopt_args = "mi:t:";
	ctx->ctx.v.parse_arg = undelete_parse_arg;
	ctx->ctx.v.init = undelete_init;
	ctx->ctx.v.deinit = undelete_deinit;
	ctx->ctx.v.run = undelete_run;
	doveadm_print_init(DOVEADM_PRINT_TYPE_TABLE);
	return &ctx->ctx;
}

struct doveadm_cmd_ver2 pgbox_doveadm_undelete_cmd = {
	.name = "pgbox undelete",
	.mail_cmd = undelete_alloc,
	.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX
		"[-i <into>] <mailbox> [<uids>] | "
		"-t <since> [-i <into>] <mailbox> | "
		"-m [-i <new name>] <mailbox>",
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAM('m', "deleted-mailbox", CMD_PARAM_BOOL, 0)
DOVEADM_CMD_PARAM('i', "into", CMD_PARAM_STR, 0)
DOVEADM_CMD_PARAM('t', "since", CMD_PARAM_STR, 0)
DOVEADM_CMD_PARAM('\0', "mailbox", CMD_PARAM_STR, CMD_PARAM_FLAG_POSITIONAL)
DOVEADM_CMD_PARAM('\0', "uids", CMD_PARAM_STR, CMD_PARAM_FLAG_POSITIONAL)
DOVEADM_CMD_PARAMS_END
};
