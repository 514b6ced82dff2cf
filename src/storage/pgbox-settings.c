/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "mail-user.h"
#include "mail-namespace.h"
#include "pgbox-db-settings.h"
#include "pgbox-settings.h"

static const char *user_setting_get(const char *name, void *context)
{
	return mail_user_plugin_getenv(context, name);
}

struct pgbox_conn *
pgbox_user_get_conn(struct mail_user *user, const char **error_r)
{
	struct pgbox_conn_settings set;

	if (pgbox_db_settings_get(user_setting_get, user, &set, error_r) < 0)
		return NULL;
	return pgbox_conn_get(&set, user->event);
}

int pgbox_user_get_replica(struct mail_user *user, struct pgbox_conn **conn_r,
			   const char **error_r)
{
	struct pgbox_conn_settings set;
	int ret;

	*conn_r = NULL;
	ret = pgbox_db_settings_get_replica(user_setting_get, user, &set,
					    error_r);
	if (ret > 0)
		*conn_r = pgbox_conn_get(&set, user->event);
	return ret;
}

const char *
pgbox_namespace_get_account(struct mail_namespace *ns, const char **error_r)
{
	const char *account;

	if (ns->owner != NULL) {
		/* userdb doesn't know him, whatever this database has: no
		   account has an empty name */
		return ns->owner->autocreated && ns->owner->nonexistent ?
			"" : ns->owner->username;
	}
	account = mail_user_plugin_getenv(ns->user, "pgbox_public_account");
	if (account == NULL || *account == '\0') {
		*error_r = t_strdup_printf(
			"namespace %s has no owner: set "
			"plugin { pgbox_public_account = <account> }",
			ns->prefix);
		return NULL;
	}
	return account;
}
