#ifndef PGBOX_LIST_WATCH_H
#define PGBOX_LIST_WATCH_H

struct pgbox_mailbox_list;

/* Somebody who wants to hear of changes. Embedded in the owner's struct. */
struct pgbox_list_watcher {
	struct pgbox_list_watcher *prev, *next;
	/* The account may have changed: look. Called from the ioloop or from
	   pgbox_list_watch_wake(). May remove no watcher of the list. */
	void (*wake)(struct pgbox_list_watcher *watcher);
};

/* Watch the list's account from now on. What was read of it before this call
   may have changed without a wake-up. The list must have been read before (it
   knows its store). No round trip. */
void pgbox_list_watch_add(struct pgbox_mailbox_list *list,
			  struct pgbox_list_watcher *watcher);
/* Stop it. */
void pgbox_list_watch_remove(struct pgbox_mailbox_list *list,
			     struct pgbox_list_watcher *watcher);

/* The account was read after it was watched. */
void pgbox_list_watch_looked(struct pgbox_mailbox_list *list);

/* It couldn't be read: there will be another wake-up when the database can be
   reached. */
void pgbox_list_watch_failed(struct pgbox_mailbox_list *list);

/* Wake all watchers of the list, now or soon from the ioloop. There has to be
   one. */
void pgbox_list_watch_wake(struct pgbox_mailbox_list *list);
void pgbox_list_watch_wake_soon(struct pgbox_mailbox_list *list);

#endif
