/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "guid.h"
#include "ioloop.h"
#include "net.h"
#include "mail-user.h"
#include "mail-namespace.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-content-cache.h"
#include "pgbox-content.h"
#include "pgbox-db-admin.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-storage-error.h"
#include "pgbox-list.h"
#include "pgbox-mailbox.h"
#include "pgbox-thread.h"
#include "pgbox-storage.h"

/* Messages that a search announces, where the administrator set no
   mail_prefetch_count. Half as many bodies are asked for together. They are bounded
   by bytes besides, see pgbox-fetch.c. */
#define PGBOX_PREFETCH_COUNT 200
#define PGBOX_PURGE_LIMIT 1000

static struct event_category event_category_pgbox = {
	.name = PGBOX_STORAGE_NAME,
	.parent = &event_category_storage,
};

static struct mail_storage *pgbox_storage_alloc(void)
{
	struct pgbox_storage *storage;
	pool_t pool;

	pool = pool_alloconly_create("pgbox storage", 1024);
	storage = p_new(pool, struct pgbox_storage, 1);
	storage->storage = pgbox_storage;
	storage->storage.pool = pool;
	return &storage->storage;
}

static void storage_set_prefetch(struct mail_storage *_storage)
{
	struct mail_storage_settings *set;

	if (_storage->set->mail_prefetch_count != 0)
		return;
	set = p_new(_storage->pool, struct mail_storage_settings, 1);
	*set = *_storage->set;
	set->mail_prefetch_count = PGBOX_PREFETCH_COUNT;
	_storage->set = set;
}

static int
pgbox_storage_create(struct mail_storage *_storage, struct mail_namespace *ns,
		     const char **error_r)
{
	struct pgbox_storage *storage = PGBOX_STORAGE(_storage);
	struct pgbox_conn *replica;

	if (!pgbox_list_is_ours(ns->list)) {
		*error_r = "pgbox keeps the list of mailboxes in the database "
			"too: remove LAYOUT from mail_location";
		return -1;
	}
	/* No connection is made here: a database that is down must not keep
	   anybody from logging in. */
	storage->conn = pgbox_user_get_conn(_storage->user, error_r);
	if (storage->conn == NULL ||
	    pgbox_user_get_replica(_storage->user, &replica, error_r) < 0)
		return -1;
	/* mailboxes have their list's */
	if (replica != NULL)
		pgbox_conn_unref(&replica);
	storage->content_cache = pgbox_content_get_cache(_storage->user);
	storage_set_prefetch(_storage);
	/* stored with the message: no need to parse it */
	_storage->nonbody_access_fields |= MAIL_FETCH_IMAP_BODY |
		MAIL_FETCH_IMAP_BODYSTRUCTURE | MAIL_FETCH_IMAP_ENVELOPE;
	return 0;
}

static void pgbox_storage_destroy(struct mail_storage *_storage)
{
	struct pgbox_storage *storage = PGBOX_STORAGE(_storage);

	pgbox_thread_storage_destroy(storage);
	index_storage_destroy(_storage);
	if (storage->content_cache != NULL)
		pgbox_content_cache_unref(&storage->content_cache);
	if (storage->conn != NULL)
		pgbox_conn_unref(&storage->conn);
}

static void
pgbox_storage_get_list_settings(const struct mail_namespace *ns ATTR_UNUSED,
				struct mailbox_list_settings *set)
{
	if (set->layout == NULL)
		set->layout = PGBOX_LIST_NAME;
	/* names are text in the database, and no part of a path */
	set->utf8 = TRUE;
	set->no_fs_validation = TRUE;
}

static int pgbox_storage_purge(struct mail_storage *_storage)
{
	struct pgbox_storage *storage = PGBOX_STORAGE(_storage);
	struct pgbox_purged purged;
	struct pgbox_error error;

	do {
		if (pgbox_purge(storage->conn, PGBOX_PURGE_LIMIT, &purged,
				&error) < 0) {
			pgbox_storage_set_error(_storage, &error);
			return -1;
		}
	} while (purged.tombstones + purged.mailboxes +
		 purged.contents + purged.bodies > 0);
	return 0;
}

const char *pgbox_user_get_reason(struct mail_user *user)
{
	const struct ip_addr *ip = user->conn.remote_ip;
	const char *who = t_strconcat(user->service, " ", user->username, NULL);

	if (ip == NULL || ip->family == 0)
		return who;
	return t_strconcat(who, " from ", net_ip2addr(ip), NULL);
}

bool pgbox_turn_is_now(const struct timeval *tv)
{
	return tv->tv_sec == ioloop_timeval.tv_sec &&
		tv->tv_usec == ioloop_timeval.tv_usec &&
		ioloop_timeval.tv_sec != 0;
}

bool pgbox_mailbox_is_ours(struct mailbox *box)
{
	return box->storage->storage_class == &pgbox_storage;
}

struct mail_storage pgbox_storage = {
	.name = PGBOX_STORAGE_NAME,
	/* BINARY_DATA: plugins may compress and encrypt */
	.class_flags = MAIL_STORAGE_CLASS_FLAG_NO_ROOT |
		MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_GUIDS |
		MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_SAVE_GUIDS |
		MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_GUID128 |
		MAIL_STORAGE_CLASS_FLAG_BINARY_DATA |
		MAIL_STORAGE_CLASS_FLAG_NO_LIST_DELETES,
	.event_category = &event_category_pgbox,
	.v = {
		.alloc = pgbox_storage_alloc,
		.create = pgbox_storage_create,
		.destroy = pgbox_storage_destroy,
		.get_list_settings = pgbox_storage_get_list_settings,
		.mailbox_alloc = pgbox_mailbox_alloc,
		.purge = pgbox_storage_purge,
	},
};
