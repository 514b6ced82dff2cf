#ifndef PGBOX_LIST_NOTIFY_H
#define PGBOX_LIST_NOTIFY_H

#include "mailbox-list-notify.h"

/* The list's notify vfuncs, as mailbox-list-notify.h describes them. Each
   wake-up, and notify_flush, takes one round trip. notify_init takes one too
   and fails if the account can't be read. */
int pgbox_list_notify_init(struct mailbox_list *list,
			   enum mailbox_list_notify_event mask,
			   struct mailbox_list_notify **notify_r);
int pgbox_list_notify_next(struct mailbox_list_notify *notify,
			   const struct mailbox_list_notify_rec **rec_r);
void pgbox_list_notify_deinit(struct mailbox_list_notify *notify);
void pgbox_list_notify_wait(struct mailbox_list_notify *notify,
			    void (*callback)(void *context), void *context);
void pgbox_list_notify_flush(struct mailbox_list_notify *notify);

#endif
