#ifndef PGBOX_ATTRIBUTE_H
#define PGBOX_ATTRIBUTE_H

#include "mailbox-attribute.h"

struct mailbox;
struct mailbox_transaction_context;

/* The commit's part: write what attribute_set() collected in this transaction.
   One round trip for each attribute, in order. Returns 0, or -1 with the
   mailbox's error set; attributes before the one that failed are set then. In
   both cases nothing is left to be done. */
int pgbox_attribute_commit(struct mailbox_transaction_context *t)
	ATTR_WARN_UNUSED_RESULT;
/* Forget what was collected, if anything. */
void pgbox_attribute_rollback(struct mailbox_transaction_context *t);

/* mailbox vfuncs */
int pgbox_mailbox_attribute_set(struct mailbox_transaction_context *t,
				enum mail_attribute_type type_flags,
				const char *key,
				const struct mail_attribute_value *value);
int pgbox_mailbox_attribute_get(struct mailbox *box,
				enum mail_attribute_type type_flags,
				const char *key,
				struct mail_attribute_value *value_r);
struct mailbox_attribute_iter *
pgbox_mailbox_attribute_iter_init(struct mailbox *box,
				  enum mail_attribute_type type_flags,
				  const char *prefix);
const char *
pgbox_mailbox_attribute_iter_next(struct mailbox_attribute_iter *iter);
int pgbox_mailbox_attribute_iter_deinit(struct mailbox_attribute_iter *iter);

#endif
