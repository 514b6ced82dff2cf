#ifndef PGBOX_STORAGE_ERROR_H
#define PGBOX_STORAGE_ERROR_H

struct mail_storage;
struct mailbox;
struct mailbox_list;
struct mail;
struct pgbox_error;

/* The only places where an error of the database becomes an error of the
   client. They log what an administrator can act on (outages are logged by the
   connection, once) and hide hosts, roles and SQL from the client. */
void pgbox_mailbox_set_error(struct mailbox *box,
			     const struct pgbox_error *error);
void pgbox_list_set_error(struct mailbox_list *list,
			  const struct pgbox_error *error);
void pgbox_storage_set_error(struct mail_storage *storage,
			     const struct pgbox_error *error);

/* The line for the log alone, where somebody else writes it. */
const char *pgbox_storage_error_text(const struct pgbox_error *error);

#endif
