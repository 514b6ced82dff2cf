/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "settings-parser.h"
#include "mail-user.h"
#include "mail-namespace.h"
#include "pgbox-content-cache.h"
#include "pgbox-db-settings.h"
#include "pgbox-settings.h"

#define PGBOX_DEFAULT_CONTENT_CACHE_SIZE (1024ULL * 1024 * 1024)

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

int pgbox_user_get_content_cache(struct mail_user *user,
				 struct pgbox_content_cache **cache_r,
				 const char **error_r)
{
	const char *dir = mail_user_plugin_getenv(user, "pgbox_content_cache");
	const char *size =
		mail_user_plugin_getenv(user, "pgbox_content_cache_size");
	uoff_t max_bytes = PGBOX_DEFAULT_CONTENT_CACHE_SIZE;
	const char *error;

	*cache_r = NULL;
	if (size != NULL && settings_get_size(size, &max_bytes, &error) < 0) {
		*error_r = t_strdup_printf("pgbox_content_cache_size: %s",
					   error);
		return -1;
	}
	if (dir == NULL || *dir == '\0' || max_bytes == 0)
		return 0;
	if (*dir != '/') {
		*error_r = t_strdup_printf("pgbox_content_cache: must be an "
					   "absolute path, not %s", dir);
		return -1;
	}
	*cache_r = pgbox_content_cache_init(dir, max_bytes, user->event);
	return 0;
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
