/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* THREAD maps each Message-ID to a number, and each message to the numbers of
   those it names. lib-storage keeps the map in dovecot.index.thread, which all
   sessions append to. That works only if they agree: a session reads what is
   there, makes its own entries for newer messages, and takes the lock to append
   them. If others have appended entries for the same messages meanwhile, they
   have to be the same entries. But the header of a message that has been
   expunged can't be read, and lib-storage then makes an entry as if it had no
   Message-ID. So a session that read the header a moment before the expunge and
   one that asked a moment later don't agree, and one of them deletes the file
   as corrupted, with its own map while a reply is made from it, or dies of an
   assertion.

   The moment is short where the header lies in a file or was cached by the
   APPEND. Here it is a round trip for each message that came by another node,
   and that node expunges, too. So each session has a map of its own, made from
   the headers in dovecot.index.cache, as if the index were in memory. */

#include "lib.h"
#include "array.h"
#include "mail-index.h"
#include "index-thread-private.h"
#include "pgbox-storage.h"
#include "pgbox-thread.h"

/* An index that is in memory, and stays empty. */
static struct mail_index *thread_get_index(struct pgbox_storage *storage)
{
	if (storage->thread_index == NULL) {
		storage->thread_index =
			mail_index_alloc(storage->storage.event, NULL, NULL);
		if (mail_index_open_or_create(storage->thread_index, 0) < 0)
			i_panic("pgbox: an index in memory can't be created");
	}
	return storage->thread_index;
}

void pgbox_thread_mailbox_open(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct mail_index *index = box->index;

	/* lib-storage's map is as durable as the index that it sees here. When
	   it opens the mailbox, it finds the map made already. */
	box->index = thread_get_index(mbox->storage);
	index_thread_mailbox_opened(box);
	box->index = index;
}

void pgbox_thread_storage_destroy(struct pgbox_storage *storage)
{
	if (storage->thread_index == NULL)
		return;
	mail_index_close(storage->thread_index);
	mail_index_free(&storage->thread_index);
}
