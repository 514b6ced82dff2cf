#ifndef PGBOX_MAILBOX_H
#define PGBOX_MAILBOX_H

#include "pgbox-storage.h"

/* storage vfunc (pgbox-mailbox.c) */
struct mailbox *
pgbox_mailbox_alloc(struct mail_storage *storage, struct mailbox_list *list,
		    const char *vname, enum mailbox_flags flags);

/* Mailbox vfuncs that concern the tree, and mailboxes that aren't opened. The
   class's rename_box is index_storage_mailbox_rename(). (pgbox-mailbox-tree.c) */

/* No round trip if the account's tree or this row was read in this turn of
   the ioloop, or for INBOX; else one. */
int pgbox_mailbox_exists(struct mailbox *box, bool auto_boxes,
			 enum mailbox_existence *existence_r);
/* Make a mailbox, or with directory a node of the tree; a node that exists
   becomes a mailbox. */
int pgbox_mailbox_create_box(struct mailbox *box,
			     const struct mailbox_update *update,
			     bool directory);
/* Opens the mailbox. If its GUID or UIDVALIDITY changes it is closed and
   opened again on the way, for its cache is of no use any more. */
int pgbox_mailbox_update_box(struct mailbox *box,
			     const struct mailbox_update *update);
/* Delete the mailbox with its messages: one row in the database says so, the
   messages aren't expunged one by one and stay restorable for a while. Only
   where a plugin has to see each expunge (see mailbox_must_expunge()) they are
   expunged before. Sessions of this node that have the mailbox open notice at
   once, others at their next sync. */
int pgbox_mailbox_delete_box(struct mailbox *box);
/* Answers for an unopened mailbox from its counters in the database, as
   pgbox_mailbox_exists() does. What they don't tell, or where an ACL plugin
   has a say, opens the mailbox. */
int pgbox_mailbox_get_status(struct mailbox *box,
			     enum mailbox_status_items items,
			     struct mailbox_status *status_r);
int pgbox_mailbox_get_metadata(struct mailbox *box,
			       enum mailbox_metadata_items items,
			       struct mailbox_metadata *metadata_r);

/* The attribute vfuncs are in pgbox-attribute.h. */

#endif
