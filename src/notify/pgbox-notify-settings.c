/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "master-service.h"
#include "master-service-settings.h"
#include "mail-user.h"
#include "mail-storage-settings.h"
#include "pgbox-db-settings.h"
#include "pgbox-notify-settings.h"

#define NOTIFY_DEFAULT_CHECK_INTERVAL_MSECS (10 * 1000)
#define NOTIFY_DEFAULT_MAX_WAKING 8

const struct setting_parser_info *const pgbox_notify_setting_roots[] = {
	&mail_user_setting_parser_info,
	NULL
};

struct notify_setting_source {
	const struct mail_user_settings *user_set;
	/* what the command line says, or NULL */
	const char *conninfo;
};

/* A service may have a database setting of its own. */
static const char *notify_setting_get(const char *name, void *context)
{
	const struct notify_setting_source *source = context;
	const char *value;

	if (strcmp(name, "pgbox_db") == 0) {
		if (source->conninfo != NULL)
			return source->conninfo;
		value = mail_user_set_plugin_getenv(source->user_set,
						    "pgbox_notify_db");
		if (value != NULL)
			return value;
	}
	return mail_user_set_plugin_getenv(source->user_set, name);
}

static int
settings_get_interval(struct notify_setting_source *source,
		      unsigned int *msecs_r, const char **error_r)
{
	if (pgbox_setting_get_msecs(notify_setting_get, source,
				    "pgbox_notify_check_interval",
				    NOTIFY_DEFAULT_CHECK_INTERVAL_MSECS,
				    msecs_r, error_r) < 0)
		return -1;
	if (*msecs_r == 0) {
		*error_r = "pgbox_notify_check_interval: must not be 0";
		return -1;
	}
	return 0;
}

static int
settings_get_max_waking(struct notify_setting_source *source,
			unsigned int *max_waking_r, const char **error_r)
{
	const char *value = notify_setting_get("pgbox_notify_wakes", source);

	*max_waking_r = NOTIFY_DEFAULT_MAX_WAKING;
	if (value == NULL)
		return 0;
	if (str_to_uint(value, max_waking_r) < 0 || *max_waking_r == 0) {
		*error_r = t_strdup_printf("pgbox_notify_wakes: must be a "
					   "number above 0, not %s", value);
		return -1;
	}
	return 0;
}

int pgbox_notify_settings_get(const char *conninfo,
			      struct pgbox_notify_settings *set_r,
			      const char **error_r)
{
	void **sets = master_service_settings_get_others(master_service);
	struct notify_setting_source source = {
		.user_set = sets[0],
		.conninfo = conninfo,
	};

	i_zero(set_r);
	if (pgbox_db_settings_get(notify_setting_get, &source, &set_r->conn,
				  error_r) < 0)
		return -1;
	if (set_r->conn.connect_timeout_msecs == 0 ||
	    set_r->conn.query_timeout_msecs == 0) {
		/* it would never find out that a server is gone */
		*error_r = "pgbox_connect_timeout, pgbox_query_timeout: "
			"must not be 0";
		return -1;
	}
	set_r->conn.application_name = "pgbox-notify";
	if (settings_get_interval(&source, &set_r->check_interval_msecs,
				  error_r) < 0)
		return -1;
	return settings_get_max_waking(&source, &set_r->max_waking, error_r);
}
