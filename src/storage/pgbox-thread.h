#ifndef PGBOX_THREAD_H
#define PGBOX_THREAD_H

struct pgbox_storage;
struct pgbox_mailbox;

/* Let THREAD keep what it knows of a mailbox in memory, not in a file that all
   sessions share. To be called when the mailbox has its index, but before
   lib-storage opens it. */
void pgbox_thread_mailbox_open(struct pgbox_mailbox *mbox);

/* The storage is about to go, and its mailboxes are gone. */
void pgbox_thread_storage_destroy(struct pgbox_storage *storage);

#endif
