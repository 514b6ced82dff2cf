#ifndef PGBOX_DB_SETTINGS_H
#define PGBOX_DB_SETTINGS_H

#include "pgbox-conn.h"

/* How to reach the database, from what plugin { } says. */

/* Where a setting comes from: returns its value, NULL if it isn't set. The
   value has to live as long as what is made of it. */
typedef const char *pgbox_setting_get_t(const char *name, void *context);

/* Read a time. Returns 0, or -1 and what is wrong. */
int pgbox_setting_get_msecs(pgbox_setting_get_t *get, void *context,
			    const char *name, unsigned int default_msecs,
			    unsigned int *msecs_r, const char **error_r);

/* Read pgbox_db and all that is about connections. Returns 0, or -1 and what
   is wrong. */
int pgbox_db_settings_get(pgbox_setting_get_t *get, void *context,
			  struct pgbox_conn_settings *set_r,
			  const char **error_r);

/* Read pgbox_replica_db, from which what doesn't change is read, and its
   pgbox_replica_timeout; all else is as for pgbox_db. Returns 1, 0 if there is no
   replica, or -1 and what is wrong. */
int pgbox_db_settings_get_replica(pgbox_setting_get_t *get, void *context,
				  struct pgbox_conn_settings *set_r,
				  const char **error_r);

#endif
