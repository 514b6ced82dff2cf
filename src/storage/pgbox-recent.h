#ifndef PGBOX_RECENT_H
#define PGBOX_RECENT_H

struct pgbox_mailbox;

/* The messages from first_recent_uid on are shown as \Recent (RFC 3501, 2.3.2) to
   the first session that asks, on whatever node: claim them for this one. No round
   trip if there are none. Returns 0, -1 with the mailbox's error set. */
int pgbox_recent_assign(struct pgbox_mailbox *mbox);

#endif
