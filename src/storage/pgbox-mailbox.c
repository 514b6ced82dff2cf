/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "ioloop.h"
#include "mail-index-modseq.h"
#include "mail-index-private.h"
#include "pgbox-storage.h"
#include "mailbox-watch.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-list.h"
#include "pgbox-index.h"
#include "pgbox-notify-client.h"
#include "pgbox-owner.h"
#include "pgbox-sync.h"
#include "pgbox-save.h"
#include "pgbox-mail.h"
#include "pgbox-commit.h"
#include "pgbox-attribute.h"
#include "pgbox-thread.h"
#include "pgbox-mailbox.h"

struct mailbox *
pgbox_mailbox_alloc(struct mail_storage *storage, struct mailbox_list *list,
		    const char *vname, enum mailbox_flags flags)
{
	struct pgbox_mailbox *mbox;
	pool_t pool;

	pool = pool_alloconly_create("pgbox mailbox", 1024*3);
	mbox = p_new(pool, struct pgbox_mailbox, 1);
	mbox->box = pgbox_mailbox;
	mbox->box.pool = pool;
	mbox->box.storage = storage;
	mbox->box.list = list;
	mbox->box.mail_vfuncs = &pgbox_mail_vfuncs;
	mbox->storage = PGBOX_STORAGE(storage);
	mbox->conn = PGBOX_LIST(list)->conn;
	mbox->replica = PGBOX_LIST(list)->replica;

	index_storage_mailbox_alloc(&mbox->box, vname, flags,
				    MAIL_INDEX_PREFIX);
	return &mbox->box;
}

/* Returns 0 if there is such a mailbox. */
static int mailbox_find(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct pgbox_mailbox_row row;
	int ret;

	ret = pgbox_list_lookup(box->list, box->name, &row);
	if (ret < 0) {
		mail_storage_copy_list_error(box->storage, box->list);
		return -1;
	}
	if (ret == 0 || !row.selectable) {
		/* a node is none: so it is deleted as one, and autocreated */
		mail_storage_set_error(box->storage, MAIL_ERROR_NOTFOUND,
			T_MAIL_ERR_MAILBOX_NOT_FOUND(box->vname));
		return -1;
	}
	mbox->mailbox_id = row.mailbox_id;
	guid_128_copy(mbox->guid, row.guid);
	guid_128_copy(mbox->store_guid, row.store_guid);
	mbox->uidvalidity = row.uidvalidity;
	mbox->epoch = row.epoch;
	mbox->open_modseq = row.highest_modseq;
	mbox->open_messages = row.messages;
	return 0;
}

static void mailbox_init_arrays(struct pgbox_mailbox *mbox)
{
	i_array_init(&mbox->keyword_map, 16);
	i_array_init(&mbox->fetch_queue, 16);
	i_array_init(&mbox->rows_ahead, 1);
	i_array_init(&mbox->moved_uids, 1);
	i_array_init(&mbox->unmoved_uids, 1);
}

static void mailbox_free_arrays(struct pgbox_mailbox *mbox)
{
	if (!array_is_created(&mbox->keyword_map))
		return;
	i_assert(array_count(&mbox->fetch_queue) == 0);
	pgbox_coming_close(mbox);
	array_free(&mbox->keyword_map);
	array_free(&mbox->fetch_queue);
	pgbox_fetch_close(mbox);
	array_free(&mbox->rows_ahead);
	array_free(&mbox->moved_uids);
	array_free(&mbox->unmoved_uids);
}

/* A mail that is only to be delivered needn't wait for a whole mailbox to be
   pulled into a node that never had it. */
static bool mailbox_want_cold(struct pgbox_mailbox *mbox)
{
	struct pgbox_index_header hdr;

	if ((mbox->box.flags & MAILBOX_FLAG_SAVEONLY) == 0)
		return FALSE;
	pgbox_index_refresh_header(mbox, &hdr);
	return hdr.last_synced == 0;
}

static int mailbox_open_index(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;

	if (index_storage_mailbox_alloc_index(box) < 0)
		return -1;
	pgbox_index_register(mbox);
	pgbox_thread_mailbox_open(mbox);
	if (index_storage_mailbox_open(box, FALSE) < 0)
		return -1;
	pgbox_content_open(mbox);
	pgbox_mail_special_open(mbox);
	mail_index_modseq_enable(box->index);
	if (mailbox_want_cold(mbox)) {
		mbox->index_cold = TRUE;
		return 0;
	}
	return pgbox_sync_open(mbox);
}

static int pgbox_mailbox_open(struct mailbox *box)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);

	if (mailbox_find(mbox) < 0)
		return -1;
	mailbox_init_arrays(mbox);
	if (mailbox_open_index(mbox) < 0) {
		/* half open isn't open: the next try begins anew */
		if (box->opened)
			mailbox_close(box);
		else
			mailbox_free_arrays(mbox);
		return -1;
	}
	return 0;
}

static void mailbox_watch_stop(struct pgbox_mailbox *mbox)
{
	timeout_remove(&mbox->to_poll);
	if (mbox->watch != NULL)
		pgbox_notify_watch_deinit(&mbox->watch);
}

static void pgbox_mailbox_close(struct mailbox *box)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);

	mailbox_watch_stop(mbox);
	timeout_remove(&mbox->to_committed);
	mailbox_free_arrays(mbox);
	mbox->index_cold = FALSE;
	mbox->open_modseq = 0;
	index_storage_mailbox_close(box);
}

/* Called instead of the callback of the one who waits. */
static void mailbox_wake(struct mailbox *box, void *context)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);

	mbox->waiter_called = TRUE;
	mbox->notify_callback(box, context);
}

/* The node's service says that there is something new, or that it may be.
   Whoever waits syncs now: one round trip, none if another process of this
   node has brought it into the index already. */
static void mailbox_look(void *context)
{
	struct mailbox *box = context;
	struct pgbox_conn *conn = PGBOX_MAILBOX(box)->conn;

	/* the session may end, and the mailbox with it */
	pgbox_conn_ref(conn);
	box->notify_callback(box, box->notify_context);
	/* who waits needs no connection until the next change */
	pgbox_conn_release(conn);
	pgbox_conn_unref(&conn);
}

static void mailbox_poll_timeout(struct mailbox *box)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);

	if (!pgbox_notify_watch_check(mbox->watch))
		box->notify_callback(box, box->notify_context);
}

static void mailbox_watch_start(struct pgbox_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct pgbox_index_header hdr;

	pgbox_index_refresh_header(mbox, &hdr);
	const struct pgbox_signal known = {
		.mailbox_id = mbox->mailbox_id,
		.modseq = hdr.last_synced,
		.account = PGBOX_LIST(box->list)->account,
	};
	mbox->watch = pgbox_notify_watch_init(
		pgbox_namespace_get_db_user(box->list->ns), &known,
		mbox->store_guid, mailbox_look, box);
	/* What came before the watch isn't told. */
	pgbox_sync_set_outdated(mbox);
	mbox->to_poll = timeout_add(
		box->storage->set->mailbox_idle_check_interval * 1000,
		mailbox_poll_timeout, box);
}

/* The service tells this process of changes. What is left for the files: the
   log shows those of other processes of this node if there is no service, and
   the service's file all changes to imap-hibernate, which gets nothing else of
   this session. A sync that they ask for, too, costs no round trip if nothing
   is new (pgbox_sync()). */
static void pgbox_mailbox_notify_changes(struct mailbox *box)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	const char *dir, *path;

	mailbox_watch_stop(mbox);
	mailbox_watch_remove_all(box);
	if (box->notify_callback == NULL)
		return;
	if (box->notify_callback != mailbox_wake) {
		mbox->notify_callback = box->notify_callback;
		box->notify_callback = mailbox_wake;
	}
	mailbox_watch_start(mbox);
	/* IDLE looks at once for what came before */
	mbox->waiter_called = TRUE;
	path = pgbox_notify_watch_get_path(mbox->watch);
	if (path != NULL)
		mailbox_watch_add(box, path);
	if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) > 0) {
		mailbox_watch_add(box, t_strconcat(dir, "/", box->index_prefix,
						   ".log", NULL));
	}
}

struct mailbox pgbox_mailbox = {
	.v = {
		.is_readonly = index_storage_is_readonly,
		.enable = index_storage_mailbox_enable,
		.exists = pgbox_mailbox_exists,
		.open = pgbox_mailbox_open,
		.close = pgbox_mailbox_close,
		.free = index_storage_mailbox_free,
		.create_box = pgbox_mailbox_create_box,
		.update_box = pgbox_mailbox_update_box,
		.delete_box = pgbox_mailbox_delete_box,
		.rename_box = index_storage_mailbox_rename,
		.get_status = pgbox_mailbox_get_status,
		.get_metadata = pgbox_mailbox_get_metadata,
		.set_subscribed = index_storage_set_subscribed,
		.attribute_set = pgbox_mailbox_attribute_set,
		.attribute_get = pgbox_mailbox_attribute_get,
		.attribute_iter_init = pgbox_mailbox_attribute_iter_init,
		.attribute_iter_next = pgbox_mailbox_attribute_iter_next,
		.attribute_iter_deinit = pgbox_mailbox_attribute_iter_deinit,
		.list_index_has_changed = index_storage_list_index_has_changed,
		.list_index_update_sync = index_storage_list_index_update_sync,
		.sync_init = pgbox_mailbox_sync_init,
		.sync_next = index_mailbox_sync_next,
		.sync_deinit = index_mailbox_sync_deinit,
		.sync_notify = NULL,
		.notify_changes = pgbox_mailbox_notify_changes,
		.transaction_begin = pgbox_transaction_begin,
		.transaction_commit = pgbox_transaction_commit,
		.transaction_rollback = pgbox_transaction_rollback,
		.get_private_flags_mask = NULL,
		.mail_alloc = pgbox_mail_alloc,
		.search_init = index_storage_search_init,
		.search_deinit = index_storage_search_deinit,
		.search_next_nonblock = index_storage_search_next_nonblock,
		.search_next_update_seq = index_storage_search_next_update_seq,
		.search_next_match_mail = index_storage_search_next_match_mail,
		.save_alloc = pgbox_save_alloc,
		.save_begin = pgbox_save_begin,
		.save_continue = pgbox_save_continue,
		.save_finish = pgbox_save_finish,
		.save_cancel = pgbox_save_cancel,
		.copy = pgbox_copy,
		.transaction_save_commit_pre =
			pgbox_transaction_save_commit_pre,
		.transaction_save_commit_post =
			pgbox_transaction_save_commit_post,
		.transaction_save_rollback = pgbox_transaction_save_rollback,
		.is_inconsistent = index_storage_is_inconsistent,
	},
};
