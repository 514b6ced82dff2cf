#ifndef PGBOX_DOVEADM_H
#define PGBOX_DOVEADM_H

#include "doveadm.h"
#include "doveadm-mail.h"

struct pgbox_conn;
struct pgbox_error;

/* Inside of the doveadm module: what the commands share. */

extern struct doveadm_cmd_ver2 pgbox_doveadm_status_cmd;
extern struct doveadm_cmd_ver2 pgbox_doveadm_verify_cmd;
extern struct doveadm_cmd_ver2 pgbox_doveadm_purge_cmd;
extern struct doveadm_cmd_ver2 pgbox_doveadm_expire_cmd;
extern struct doveadm_cmd_ver2 pgbox_doveadm_undelete_cmd;

/* Commands that are about the store, or, with -u, -A or -F, about users: which
   of it is meant? */
bool pgbox_doveadm_is_for_users(const struct doveadm_cmd_context *cctx);

/* The connection to the store that plugin { pgbox_db } names. The caller
   releases it with pgbox_doveadm_release_conn(). NULL if the configuration names none:
   that is logged, and doveadm's exit status set. */
struct pgbox_conn *pgbox_doveadm_get_store_conn(void);
/* The same for the store of a user, as a command on users fails. */
struct pgbox_conn *
pgbox_doveadm_get_user_conn(struct doveadm_mail_cmd_context *ctx,
			    struct mail_user *user);

/* Release a connection, and close the link: doveadm doesn't initialise this module
   before a command on the store, and so doesn't deinitialise it either. Sets *conn
   to NULL. */
void pgbox_doveadm_release_conn(struct pgbox_conn **conn);

/* Log an error of the database and set the exit status: of a command on users,
   or (ctx NULL) of one on the store. */
void pgbox_doveadm_failed(struct doveadm_mail_cmd_context *ctx,
			  const struct pgbox_error *error);
/* Before the end of a command that has printed no row: if it failed, it prints
   no headings either. */
void pgbox_doveadm_print_nothing(const struct doveadm_mail_cmd_context *ctx);

#endif
