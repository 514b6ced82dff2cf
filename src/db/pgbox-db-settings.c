/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "settings-parser.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-db-settings.h"

#define PGBOX_DEFAULT_CONNECT_TIMEOUT_MSECS (5 * 1000)
#define PGBOX_DEFAULT_QUERY_TIMEOUT_MSECS (30 * 1000)
#define PGBOX_DEFAULT_IDLE_TIMEOUT_MSECS (5 * 1000)
#define PGBOX_DEFAULT_REPLICA_TIMEOUT_MSECS 1000

int pgbox_setting_get_msecs(pgbox_setting_get_t *get, void *context,
			    const char *name, unsigned int default_msecs,
			    unsigned int *msecs_r, const char **error_r)
{
	const char *value = get(name, context), *error;

	*msecs_r = default_msecs;
	if (value == NULL)
		return 0;
	if (settings_get_time_msecs(value, msecs_r, &error) < 0) {
		*error_r = t_strdup_printf("%s: %s", name, error);
		return -1;
	}
	return 0;
}

static int settings_get_prepare(pgbox_setting_get_t *get, void *context,
				bool *prepare_r, const char **error_r)
{
	const char *value = get("pgbox_prepare", context);

	if (value != NULL && strcmp(value, "yes") != 0 &&
	    strcmp(value, "no") != 0) {
		*error_r = t_strdup_printf("pgbox_prepare: must be yes or no, "
					   "not %s", value);
		return -1;
	}
	*prepare_r = value == NULL || strcmp(value, "yes") == 0;
	return 0;
}

int pgbox_db_settings_get(pgbox_setting_get_t *get, void *context,
			  struct pgbox_conn_settings *set_r,
			  const char **error_r)
{
	i_zero(set_r);
	set_r->conninfo = get("pgbox_db", context);
	if (set_r->conninfo == NULL || *set_r->conninfo == '\0') {
		*error_r = "the setting pgbox_db is missing: set "
			"plugin { pgbox_db = <libpq connection string> }";
		return -1;
	}
	if (pgbox_setting_get_msecs(get, context, "pgbox_connect_timeout",
				    PGBOX_DEFAULT_CONNECT_TIMEOUT_MSECS,
				    &set_r->connect_timeout_msecs,
				    error_r) < 0 ||
	    pgbox_setting_get_msecs(get, context, "pgbox_query_timeout",
				    PGBOX_DEFAULT_QUERY_TIMEOUT_MSECS,
				    &set_r->query_timeout_msecs,
				    error_r) < 0 ||
	    pgbox_setting_get_msecs(get, context, "pgbox_idle_timeout",
				    PGBOX_DEFAULT_IDLE_TIMEOUT_MSECS,
				    &set_r->idle_timeout_msecs,
				    error_r) < 0 ||
	    settings_get_prepare(get, context, &set_r->prepare, error_r) < 0)
		return -1;
	pgbox_schema_set_check(set_r);
	set_r->seen_path = get("pgbox_state_file", context);
	if (set_r->seen_path != NULL && *set_r->seen_path == '\0')
		set_r->seen_path = NULL;
	return 0;
}

int pgbox_db_settings_get_replica(pgbox_setting_get_t *get, void *context,
				  struct pgbox_conn_settings *set_r,
				  const char **error_r)
{
	const char *conninfo = get("pgbox_replica_db", context);
	unsigned int msecs;

	if (conninfo == NULL || *conninfo == '\0') {
		i_zero(set_r);
		return 0;
	}
	if (pgbox_db_settings_get(get, context, set_r, error_r) < 0 ||
	    pgbox_setting_get_msecs(get, context, "pgbox_replica_timeout",
				    PGBOX_DEFAULT_REPLICA_TIMEOUT_MSECS,
				    &msecs, error_r) < 0)
		return -1;
	set_r->conninfo = conninfo;
	/* while a replica is waited for the primary could have answered */
	set_r->connect_timeout_msecs = set_r->query_timeout_msecs = msecs;
	set_r->spare = TRUE;
	return 1;
}
