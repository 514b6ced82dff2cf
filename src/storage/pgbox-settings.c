/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "mail-user.h"
#include "mail-namespace.h"
#include "settings-parser.h"
#include "pgbox-conn.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-storage.h"

#define PGBOX_DEFAULT_IDLE_TIMEOUT_MSECS (5 * 1000)

static int
settings_get_msecs(struct mail_user *user, const char *name,
		   unsigned int default_msecs, unsigned int *msecs_r,
		   const char **error_r)
{
	const char *value = mail_user_plugin_getenv(user, name), *error;

	*msecs_r = default_msecs;
	if (value == NULL)
		return 0;
	if (settings_get_time_msecs(value, msecs_r, &error) < 0) {
		*error_r = t_strdup_printf("%s: %s", name, error);
		return -1;
	}
	return 0;
}

struct pgbox_conn *
pgbox_user_get_conn(struct mail_user *user, const char **error_r)
{
	struct pgbox_conn_settings set;
	const char *value;

	i_zero(&set);
	set.conninfo = mail_user_plugin_getenv(user, "pgbox_db");
	if (set.conninfo == NULL || *set.conninfo == '\0') {
		*error_r = "the setting pgbox_db is missing: set "
			"plugin { pgbox_db = <libpq connection string> }";
		return NULL;
	}
	if (settings_get_msecs(user, "pgbox_connect_timeout",
			       PGBOX_DEFAULT_CONNECT_TIMEOUT_MSECS,
			       &set.connect_timeout_msecs, error_r) < 0 ||
	    settings_get_msecs(user, "pgbox_query_timeout",
			       PGBOX_DEFAULT_QUERY_TIMEOUT_MSECS,
			       &set.query_timeout_msecs, error_r) < 0 ||
	    settings_get_msecs(user, "pgbox_idle_timeout",
			       PGBOX_DEFAULT_IDLE_TIMEOUT_MSECS,
			       &set.idle_timeout_msecs, error_r) < 0)
		return NULL;
	value = mail_user_plugin_getenv(user, "pgbox_prepare");
	if (value != NULL && strcmp(value, "yes") != 0 &&
	    strcmp(value, "no") != 0) {
		*error_r = t_strdup_printf("pgbox_prepare: must be yes or no, "
					   "not %s", value);
		return NULL;
	}
	set.prepare = value == NULL || strcmp(value, "yes") == 0;
	pgbox_schema_set_check(&set);
	return pgbox_conn_get(&set, user->event);
}

const char *
pgbox_namespace_get_account(struct mail_namespace *ns, const char **error_r)
{
	const char *account;

	if (ns->owner != NULL)
		return ns->owner->username;
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
