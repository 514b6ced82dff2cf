#ifndef PGBOX_OWNER_H
#define PGBOX_OWNER_H

struct module;
struct mail_user;
struct mail_namespace;

/* Owners of shared folders who may have their mail in other databases than the
   one who opens them: with pgbox_owner_lookup = yes the userdb is asked. */

/* The user whose settings say where a namespace's mailboxes are. */
struct mail_user *pgbox_namespace_get_db_user(struct mail_namespace *ns);

/* When the plugin is loaded, and unloaded. */
void pgbox_owner_init(struct module *module);
/* See pgbox_owner_init(). */
void pgbox_owner_deinit(void);

#endif
