/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "settings-parser.h"
#include "master-service.h"
#include "master-service-settings.h"
#include "mail-user.h"
#include "mail-storage-settings.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-notify-settings.h"

#define NOTIFY_DEFAULT_CHECK_INTERVAL_MSECS (10 * 1000)
#define NOTIFY_DEFAULT_MAX_WAKING 8

const struct setting_parser_info *const pgbox_notify_setting_roots[] = {
	&mail_user_setting_parser_info,
	NULL
};

static int
plugin_get_msecs(const struct mail_user_settings *user_set, const char *name,
		 unsigned int default_msecs, unsigned int *msecs_r,
		 const char **error_r)
{
	const char *value = mail_user_set_plugin_getenv(user_set, name);
	const char *error;

	*msecs_r = default_msecs;
	if (value == NULL)
		return 0;
	if (settings_get_time_msecs(value, msecs_r, &error) < 0) {
		*error_r = t_strdup_printf("%s: %s", name, error);
		return -1;
	}
	if (*msecs_r == 0) {
		*error_r = t_strdup_printf("%s: must not be 0", name);
		return -1;
	}
	return 0;
}

static int
settings_get_max_waking(const struct mail_user_settings *user_set,
			unsigned int *max_waking_r, const char **error_r)
{
	const char *value =
		mail_user_set_plugin_getenv(user_set, "pgbox_notify_wakes");

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
	const struct mail_user_settings *user_set = sets[0];

	i_zero(set_r);
	if (conninfo == NULL)
		conninfo = mail_user_set_plugin_getenv(user_set,
						       "pgbox_notify_db");
	if (conninfo == NULL)
		conninfo = mail_user_set_plugin_getenv(user_set, "pgbox_db");
	if (conninfo == NULL || *conninfo == '\0') {
		*error_r = "neither pgbox_notify_db nor pgbox_db is set: set "
			"plugin { pgbox_db = <libpq connection string> }";
		return -1;
	}
	set_r->conn.conninfo = conninfo;
	set_r->conn.application_name = "pgbox-notify";
	pgbox_schema_set_check(&set_r->conn);
	if (plugin_get_msecs(user_set, "pgbox_connect_timeout",
			     PGBOX_DEFAULT_CONNECT_TIMEOUT_MSECS,
			     &set_r->conn.connect_timeout_msecs, error_r) < 0 ||
	    plugin_get_msecs(user_set, "pgbox_query_timeout",
			     PGBOX_DEFAULT_QUERY_TIMEOUT_MSECS,
			     &set_r->conn.query_timeout_msecs, error_r) < 0 ||
	    plugin_get_msecs(user_set, "pgbox_notify_check_interval",
			     NOTIFY_DEFAULT_CHECK_INTERVAL_MSECS,
			     &set_r->check_interval_msecs, error_r) < 0)
		return -1;
	return settings_get_max_waking(user_set, &set_r->max_waking, error_r);
}
