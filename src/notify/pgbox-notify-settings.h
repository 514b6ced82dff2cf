#ifndef PGBOX_NOTIFY_SETTINGS_H
#define PGBOX_NOTIFY_SETTINGS_H

#include "pgbox-conn.h"

struct pgbox_notify_settings {
	/* conn.conninfo is "" if the configuration has none */
	struct pgbox_conn_settings conn;
	unsigned int check_interval_msecs;
	unsigned int max_waking;
};

/* Read what plugin { } says, from Dovecot's configuration, which master_service
   has read already. conninfo, if not NULL, overrides it. Returns 0, or -1 and
   what is wrong. Strings live as long as the configuration. */
int pgbox_notify_settings_get(const char *conninfo,
			      struct pgbox_notify_settings *set_r,
			      const char **error_r);

/* For master_service_settings_read(). */
extern const struct setting_parser_info *const pgbox_notify_setting_roots[];

#endif
