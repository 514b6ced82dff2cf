#ifndef PGBOX_SETTINGS_H
#define PGBOX_SETTINGS_H

struct mail_namespace;
struct mail_user;
struct pgbox_conn;

/* Names of the storage and of the list driver, in mail_location and in
   namespaces. */
#define PGBOX_STORAGE_NAME "pgbox"
#define PGBOX_LIST_NAME "pgbox"

/* The connection of this user, made at the first call. Returns NULL if
   pgbox_db isn't set (*error_r tells so). */
struct pgbox_conn *
pgbox_user_get_conn(struct mail_user *user, const char **error_r);

/* The connection to this user's replica. Returns 1, 0 if none is set, -1 if its
   settings are wrong (*error_r tells how). */
int pgbox_user_get_replica(struct mail_user *user, struct pgbox_conn **conn_r,
			   const char **error_r);

/* Name of the account that owns a namespace's mailboxes: its owner's username,
   or for a public namespace the setting pgbox_public_account. NULL if there is
   none (*error_r tells why). */
const char *
pgbox_namespace_get_account(struct mail_namespace *ns, const char **error_r);

#endif
