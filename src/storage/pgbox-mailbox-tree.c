/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "mail-index-alloc-cache.h"
#include "mail-search-build.h"
#include "mailbox-log.h"
#include "pgbox-error.h"
#include "pgbox-storage-error.h"
#include "pgbox-list.h"
#include "pgbox-mailbox.h"

/* What a row of the tree tells of a mailbox. */
#define PGBOX_STATUS_OF_ROW \
	(STATUS_MESSAGES | STATUS_RECENT | STATUS_UIDNEXT | \
	 STATUS_UIDVALIDITY | STATUS_UNSEEN | STATUS_HIGHESTMODSEQ | \
	 STATUS_FIRST_RECENT_UID | STATUS_HIGHESTPVTMODSEQ | \
	 STATUS_CHECK_OVER_QUOTA)

static int mailbox_copy_list_error(struct mailbox *box)
{
	mail_storage_copy_list_error(box->storage, box->list);
	return -1;
}

/* Read the row of a mailbox. Returns 1 if there is a mailbox (not just a
   node), 0 if not, -1 with the mailbox's error set. */
static int mailbox_peek(struct mailbox *box, struct pgbox_mailbox_row *row_r)
{
	int ret = pgbox_list_peek(box->list, box->name, TRUE, row_r);

	if (ret < 0)
		return mailbox_copy_list_error(box);
	return ret > 0 && row_r->selectable ? 1 : 0;
}

/* The same for a mailbox that isn't opened, if it should exist. Returns 0 if
   opening it would create it. */
static int mailbox_peek_existing(struct mailbox *box,
				 struct pgbox_mailbox_row *row_r)
{
	int ret = mailbox_peek(box, row_r);

	if (ret == 0 && !mailbox_is_autocreated(box)) {
		mail_storage_set_error(box->storage, MAIL_ERROR_NOTFOUND,
			T_MAIL_ERR_MAILBOX_NOT_FOUND(box->vname));
		return -1;
	}
	return ret;
}

int pgbox_mailbox_exists(struct mailbox *box, bool auto_boxes,
			 enum mailbox_existence *existence_r)
{
	struct pgbox_mailbox_row row;
	int ret;

	if (box->inbox_user || (auto_boxes && mailbox_is_autocreated(box))) {
		/* Every account has an INBOX. Each LIST begins by asking for
		   it, before it reads the tree. */
		*existence_r = MAILBOX_EXISTENCE_SELECT;
		return 0;
	}
	ret = pgbox_list_peek(box->list, box->name, TRUE, &row);
	if (ret < 0)
		return mailbox_copy_list_error(box);
	*existence_r = ret == 0 ? MAILBOX_EXISTENCE_NONE :
		(row.selectable ? MAILBOX_EXISTENCE_SELECT :
		 MAILBOX_EXISTENCE_NOSELECT);
	return 0;
}

/*
 * Create and update
 */

int pgbox_mailbox_create_box(struct mailbox *box,
			     const struct mailbox_update *update,
			     bool directory)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(box->list);
	struct mailbox_update rest;
	struct pgbox_error error;
	struct pgbox_conn *conn;
	int ret;

	if ((box->list->props & MAILBOX_LIST_PROP_NO_NOSELECT) != 0)
		directory = FALSE;
	if ((conn = pgbox_list_get_conn(box->list)) == NULL)
		return mailbox_copy_list_error(box);
	ret = pgbox_mailbox_create(conn, list->account,
				   pgbox_list_get_db_name(list, box->name),
				   !directory,
				   update == NULL ? NULL : update->mailbox_guid,
				   update == NULL ? 0 : update->uid_validity,
				   &error);
	/* on failure as well: what exists already may be news to us */
	pgbox_list_changed(list);
	if (ret < 0) {
		pgbox_mailbox_set_error(box, &error);
		return -1;
	}
	if (directory || update == NULL)
		return 0;

	rest = *update;
	rest.uid_validity = 0;
	guid_128_empty(rest.mailbox_guid);
	if (rest.min_next_uid == 0 && rest.min_first_recent_uid == 0 &&
	    rest.min_highest_modseq == 0 && rest.min_highest_pvt_modseq == 0 &&
	    rest.cache_updates == NULL)
		return 0;
	return pgbox_mailbox_update_box(box, &rest);
}

/* Fill changes with what differs from the row. Returns FALSE if nothing
   does. */
static bool
mailbox_update_get_changes(const struct mailbox_update *update,
			   const struct pgbox_mailbox_row *row,
			   struct pgbox_mailbox_changes *changes)
{
	i_zero(changes);
	if (!guid_128_is_empty(update->mailbox_guid) &&
	    !guid_128_equals(update->mailbox_guid, row->guid))
		changes->guid = update->mailbox_guid;
	if (update->uid_validity != row->uidvalidity)
		changes->uidvalidity = update->uid_validity;
	if (update->min_next_uid > row->uid_next)
		changes->min_uid_next = update->min_next_uid;
	if (update->min_first_recent_uid > row->first_recent_uid)
		changes->min_first_recent_uid = update->min_first_recent_uid;
	if (update->min_highest_modseq > row->highest_modseq)
		changes->min_modseq = update->min_highest_modseq;
	return changes->guid != NULL || changes->uidvalidity != 0 ||
		changes->min_uid_next != 0 ||
		changes->min_first_recent_uid != 0 ||
		changes->min_modseq != 0;
}

/* Close, and let go of the index too: it is not to be used again. */
static void mailbox_close_index(struct mailbox *box)
{
	mailbox_close(box);
	if (box->index_pvt != NULL)
		mail_index_alloc_cache_unref(&box->index_pvt);
	if (box->index != NULL)
		mail_index_alloc_cache_unref(&box->index);
	mail_index_alloc_cache_destroy_unrefed();
}

/* The mailbox became another one: its cache has a new place and is empty. */
static int mailbox_reopen_changed(struct mailbox *box,
				  const struct pgbox_mailbox_changes *changes)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	guid_128_t old_guid;

	guid_128_copy(old_guid, mbox->guid);
	mailbox_close_index(box);
	i_zero(&box->_perm);
	box->_path = NULL;
	box->_index_path = NULL;
	if (changes->guid != NULL)
		pgbox_list_remove_cache(box->list, old_guid);
	return mailbox_open(box);
}

int pgbox_mailbox_update_box(struct mailbox *box,
			     const struct mailbox_update *update)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	struct pgbox_mailbox_list *list = PGBOX_LIST(box->list);
	struct pgbox_mailbox_changes changes;
	struct pgbox_mailbox_row row;
	struct pgbox_error error;
	int ret;

	if (mailbox_open(box) < 0)
		return -1;
	if ((ret = mailbox_peek(box, &row)) < 0)
		return -1;
	if (ret == 0 || row.mailbox_id != mbox->mailbox_id) {
		/* renamed since; all of it counts as changed */
		i_zero(&row);
	}
	if (mailbox_update_get_changes(update, &row, &changes)) {
		ret = pgbox_mailbox_update(list->conn, list->account,
					   mbox->mailbox_id, &changes, &error);
		pgbox_list_changed_mailbox(list, mbox->mailbox_id, 0);
		if (ret < 0) {
			pgbox_mailbox_set_error(box, &error);
			return -1;
		}
		/* the next sync has something to pull */
		mbox->open_modseq = 0;
		if ((changes.guid != NULL || changes.uidvalidity != 0) &&
		    mailbox_reopen_changed(box, &changes) < 0)
			return -1;
	}
	return index_storage_mailbox_update_common(box, update);
}

/*
 * Delete
 */

/* Some plugins act on each message that is expunged, deleted mailbox or not:
   lazy_expunge moves them away, and quota backends other than ours and "count"
   keep sums of their own. */
static bool mailbox_must_expunge(struct mailbox *box)
{
	struct mail_user *user = box->storage->user;
	const char *name = "quota", *value;
	unsigned int i = 1;
	bool ret = FALSE;

	value = mail_user_plugin_getenv(user, "lazy_expunge");
	if (value != NULL && *value != '\0')
		return TRUE;
	T_BEGIN {
		while ((value = mail_user_plugin_getenv(user, name)) != NULL) {
			if (*value != '\0' && !str_begins(value, "pgbox") &&
			    !str_begins(value, "count"))
				ret = TRUE;
			name = t_strdup_printf("quota%u", ++i);
		}
	} T_END;
	return ret;
}

static int mailbox_expunge_all(struct mailbox *box)
{
	struct mail_search_args *search_args;
	struct mailbox_transaction_context *t;
	struct mail_search_context *ctx;
	struct mail *mail;

	if (mailbox_sync(box, MAILBOX_SYNC_FLAG_FULL_READ) < 0)
		return -1;
	t = mailbox_transaction_begin(box, 0, __func__);
	search_args = mail_search_build_init();
	mail_search_build_add_all(search_args);
	ctx = mailbox_search_init(t, search_args, NULL, 0, NULL);
	mail_search_args_unref(&search_args);
	while (mailbox_search_next(ctx, &mail))
		mail_expunge(mail);
	if (mailbox_search_deinit(&ctx) < 0) {
		mailbox_transaction_rollback(&t);
		return -1;
	}
	if (mailbox_transaction_commit(&t) < 0)
		return -1;
	return mailbox_sync(box, 0);
}

static int mailbox_check_empty(struct mailbox *box)
{
	struct pgbox_mailbox_row row;

	if (pgbox_list_lookup(box->list, box->name, &row) < 0)
		return mailbox_copy_list_error(box);
	if (row.messages > 0) {
		mail_storage_set_error(box->storage, MAIL_ERROR_EXISTS,
				       "Mailbox isn't empty");
		return -1;
	}
	return 0;
}

/* Tell this node's sessions, by the index that they share with us. They would
   find out anyway, so failures don't matter. */
static void mailbox_mark_cache_deleted(struct mailbox *box)
{
	struct mail_index_transaction *trans;

	trans = mail_index_transaction_begin(box->view,
				MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
	mail_index_set_deleted(trans);
	(void)mail_index_transaction_commit(&trans);
}

int pgbox_mailbox_delete_box(struct mailbox *box)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	struct pgbox_mailbox_list *list = PGBOX_LIST(box->list);
	struct pgbox_error error;
	guid_128_t guid;
	int ret;

	if (!box->opened) {
		/* no mailbox: a node perhaps, or nothing */
		return index_storage_mailbox_delete_pre(box) < 0 ? -1 : 0;
	}
	if (box->deleting_must_be_empty) {
		if (mailbox_check_empty(box) < 0)
			return -1;
	} else if (mailbox_must_expunge(box)) {
		if (mailbox_expunge_all(box) < 0)
			return -1;
	}

	guid_128_copy(guid, mbox->guid);
	ret = pgbox_mailbox_delete(list->conn, list->account, mbox->mailbox_id,
				   pgbox_user_get_reason(box->storage->user),
				   &error);
	pgbox_list_changed_mailbox(list, mbox->mailbox_id, 0);
	if (ret < 0) {
		pgbox_mailbox_set_error(box, &error);
		return -1;
	}
	mailbox_mark_cache_deleted(box);
	mailbox_close_index(box);
	pgbox_list_remove_cache(box->list, guid);
	mailbox_list_add_change(box->list, MAILBOX_LOG_RECORD_DELETE_MAILBOX,
				guid);

	/* with children a node has taken the mailbox's place */
	if (index_storage_mailbox_delete_dir(box, TRUE) < 0 &&
	    mailbox_get_last_mail_error(box) != MAIL_ERROR_EXISTS)
		return -1;
	return 0;
}

/*
 * Status and metadata
 */

/* Plugins that decide who may read a mailbox do so when it is opened. */
static bool mailbox_must_open(struct mailbox *box)
{
	if (mailbox_get_private_flags_mask(box) != 0) {
		/* whether a message is seen isn't for the database to say */
		return TRUE;
	}
	return box->list->ns->type != MAIL_NAMESPACE_TYPE_PRIVATE &&
		(box->flags & MAILBOX_FLAG_IGNORE_ACLS) == 0 &&
		mail_user_plugin_getenv(box->storage->user, "acl") != NULL;
}

static void mailbox_row_get_status(const struct pgbox_mailbox_row *row,
				   struct mailbox_status *status_r)
{
	status_r->messages = row->messages;
	status_r->unseen = row->unseen;
	status_r->uidvalidity = row->uidvalidity;
	status_r->uidnext = row->uid_next;
	status_r->first_recent_uid = row->first_recent_uid;
	status_r->highest_modseq = row->highest_modseq;
	if (row->first_recent_uid < row->uid_next) {
		/* too many where some of these were expunged since */
		status_r->recent = I_MIN(row->messages,
			row->uid_next - row->first_recent_uid);
	}
}

int pgbox_mailbox_get_status(struct mailbox *box,
			     enum mailbox_status_items items,
			     struct mailbox_status *status_r)
{
	struct pgbox_mailbox_row row;
	int ret = 0;

	if (!box->opened && items != 0 &&
	    (items & ENUM_NEGATE(PGBOX_STATUS_OF_ROW)) == 0 &&
	    !mailbox_must_open(box))
		ret = mailbox_peek_existing(box, &row);
	if (ret < 0)
		return -1;
	if (ret == 0) {
		/* opens it if need be */
		ret = index_storage_get_status(box, items, status_r);
		/* They are the database's, also where the index is kept in
		   memory. */
		status_r->nonpermanent_modseqs = FALSE;
		return ret;
	}
	mailbox_row_get_status(&row, status_r);
	return 0;
}

/* Open as get_status does, so that it may be asked next. */
static int mailbox_open_synced(struct mailbox *box)
{
	if (box->opened)
		return 0;
	if (mailbox_open(box) < 0)
		return -1;
	return mailbox_sync(box, MAILBOX_SYNC_FLAG_FAST);
}

int pgbox_mailbox_get_metadata(struct mailbox *box,
			       enum mailbox_metadata_items items,
			       struct mailbox_metadata *metadata_r)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	struct pgbox_mailbox_row row;
	int ret = 0;

	if (!box->opened && mailbox_must_open(box) &&
	    mailbox_open_synced(box) < 0)
		return -1;
	if (!box->opened && (items & (MAILBOX_METADATA_VIRTUAL_SIZE |
				      MAILBOX_METADATA_GUID)) != 0) {
		if ((ret = mailbox_peek_existing(box, &row)) < 0)
			return -1;
		if (ret == 0 && mailbox_open_synced(box) < 0)
			return -1;
	} else if ((items & MAILBOX_METADATA_VIRTUAL_SIZE) != 0) {
		if ((ret = mailbox_peek(box, &row)) < 0)
			return -1;
		if (ret > 0 && row.mailbox_id != mbox->mailbox_id) {
			/* the name isn't this mailbox's any more */
			ret = 0;
		}
	}
	if ((items & MAILBOX_METADATA_GUID) != 0) {
		memcpy(metadata_r->guid, box->opened ? mbox->guid : row.guid,
		       sizeof(metadata_r->guid));
		items &= ENUM_NEGATE(MAILBOX_METADATA_GUID);
	}
	if (ret > 0 && (items & MAILBOX_METADATA_VIRTUAL_SIZE) != 0) {
		metadata_r->virtual_size = row.virtual_size;
		items &= ENUM_NEGATE(MAILBOX_METADATA_VIRTUAL_SIZE);
	}
	return index_mailbox_get_metadata(box, items, metadata_r);
}
