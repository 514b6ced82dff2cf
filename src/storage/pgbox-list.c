/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* The mailbox list driver. Names and their tree live in the database; what a
   node keeps of a mailbox (indexes and other caches) lies in directories named
   by mailbox GUID, so that a rename moves nothing and a mailbox made anew
   under an old name never meets the old one's cache. */

#include "lib.h"
#include "hex-binary.h"
#include "hostpid.h"
#include "unlink-directory.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-storage.h"
#include "pgbox-storage-error.h"
#include "pgbox-list.h"
#include "pgbox-list-tree.h"
#include "pgbox-list-notify.h"
#include "pgbox-owner.h"

#define PGBOX_TEMP_PREFIX ".temp."

static struct mailbox_list *pgbox_list_alloc(void)
{
	struct pgbox_mailbox_list *list;
	pool_t pool;

	pool = pool_alloconly_create("pgbox mailbox list", 2048);
	list = p_new(pool, struct pgbox_mailbox_list, 1);
	list->list = pgbox_mailbox_list;
	list->list.pool = pool;
	list->temp_prefix = p_strconcat(pool, PGBOX_TEMP_PREFIX, my_hostname,
					".", my_pid, ".", NULL);
	list->found_pool = pool_alloconly_create("pgbox mailbox row", 512);
	return &list->list;
}

/* Doesn't connect, and doesn't fail: the user gets in, and each command tells
   what is wrong. */
static int
pgbox_list_init(struct mailbox_list *_list, const char **error_r)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	struct mail_namespace *ns = _list->ns;
	struct mail_user *db_user;
	const char *error = NULL;

	/* our storage has set it, see pgbox_storage_get_list_settings() */
	if (!_list->set.no_fs_validation) {
		*error_r = "LAYOUT=pgbox lists mailboxes of pgbox only: "
			"remove LAYOUT from mail_location";
		return -1;
	}

	list->sep = ns->set->separator[0] != '\0' ?
		ns->set->separator[0] : PGBOX_HIERARCHY_SEP;

	list->account = p_strdup(_list->pool,
		pgbox_namespace_get_account(ns, &error));
	/* the owner's mailboxes are in the owner's database */
	db_user = pgbox_namespace_get_db_user(ns);
	if (list->account != NULL)
		list->conn = pgbox_user_get_conn(db_user, &error);
	if (list->conn != NULL &&
	    pgbox_user_get_replica(db_user, &list->replica, &error) < 0)
		pgbox_conn_unref(&list->conn);
	if (list->conn == NULL)
		list->config_error = p_strdup(_list->pool, error);

	/* Names are what the database says: UTF-8, and no part of any path.
	   So there is nothing to protect by refusing "~user" or "..". */
	_list->set.utf8 = TRUE;
	_list->set.no_fs_validation = TRUE;
	/* Don't take permissions from a mailbox's index directory: where it
	   doesn't exist yet Dovecot would go on to ask for those of all
	   parents, a round trip each. */
	_list->flags &= ENUM_NEGATE(MAILBOX_LIST_FLAG_NO_MAIL_FILES);
	return 0;
}

static void pgbox_list_deinit(struct mailbox_list *_list)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);

	pgbox_tree_unref(&list->tree);
	if (list->replica != NULL)
		pgbox_conn_unref(&list->replica);
	if (list->conn != NULL)
		pgbox_conn_unref(&list->conn);
	pool_unref(&list->found_pool);
	pool_unref(&_list->pool);
}

bool pgbox_list_is_ours(struct mailbox_list *list)
{
	return strcmp(list->name, PGBOX_LIST_NAME) == 0;
}

struct pgbox_conn *pgbox_list_get_conn(struct mailbox_list *_list)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);

	if (list->conn == NULL) {
		mailbox_list_set_critical(_list, "pgbox: %s",
					  list->config_error);
	}
	return list->conn;
}

/*
 * Names and paths
 */

static char pgbox_list_get_hierarchy_sep(struct mailbox_list *_list)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);

	return list->sep;
}

const char *pgbox_list_from_db_name(struct pgbox_mailbox_list *list,
				    pool_t pool, const char *db_name)
{
	char *name, *p;

	if (list->sep == PGBOX_HIERARCHY_SEP)
		return db_name;
	name = p_strdup(pool, db_name);
	for (p = name; *p != '\0'; p++) {
		if (*p == PGBOX_HIERARCHY_SEP)
			*p = list->sep;
		else if (*p == list->sep)
			*p = PGBOX_HIERARCHY_SEP;
	}
	return name;
}

const char *pgbox_list_get_db_name(struct pgbox_mailbox_list *list,
				   const char *name)
{
	/* it is its own inverse */
	return pgbox_list_from_db_name(list, pool_datastack_create(), name);
}

static const char *
pgbox_list_get_temp_prefix(struct mailbox_list *_list, bool global)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);

	return global ? PGBOX_TEMP_PREFIX : list->temp_prefix;
}

static bool
list_get_root_path(struct mailbox_list *list, enum mailbox_list_path_type type,
		   const char **path_r)
{
	switch (type) {
	case MAILBOX_LIST_PATH_TYPE_DIR:
		/* Whoever asks takes it for where the mailboxes are, and its
		   absence for theirs. */
	case MAILBOX_LIST_PATH_TYPE_ALT_DIR:
	case MAILBOX_LIST_PATH_TYPE_ALT_MAILBOX:
		return FALSE;
	default:
		break;
	}
	return mailbox_list_set_get_root_path(&list->set, type, path_r) &&
		**path_r != '\0';
}

bool pgbox_list_get_guid_path(struct mailbox_list *list, const guid_128_t guid,
			      enum mailbox_list_path_type type,
			      const char **path_r)
{
	const char *root, *hex = guid_128_to_string(guid);

	if (type == MAILBOX_LIST_PATH_TYPE_MAILBOX ||
	    !list_get_root_path(list, type, &root))
		return FALSE;
	*path_r = t_strdup_printf("%s/%.2s/%s", root, hex, hex);
	return TRUE;
}

static int
pgbox_list_get_path(struct mailbox_list *list, const char *name,
		    enum mailbox_list_path_type type, const char **path_r)
{
	struct pgbox_mailbox_row row;
	const char *root;
	int ret;

	/* "" is the namespace's own prefix */
	if (name == NULL || *name == '\0')
		return list_get_root_path(list, type, path_r) ? 1 : 0;
	if (type == MAILBOX_LIST_PATH_TYPE_MAILBOX ||
	    !list_get_root_path(list, type, &root))
		return 0;

	ret = pgbox_list_peek(list, name, TRUE, &row);
	if (ret < 0)
		return -1;
	if (ret == 0 || !row.selectable) {
		mailbox_list_set_error(list, MAIL_ERROR_NOTFOUND,
				       T_MAILBOX_LIST_ERR_NOT_FOUND(list, name));
		return -1;
	}
	return pgbox_list_get_guid_path(list, row.guid, type, path_r) ? 1 : 0;
}

void pgbox_list_remove_cache(struct mailbox_list *list, const guid_128_t guid)
{
	static const enum mailbox_list_path_type types[] = {
		MAILBOX_LIST_PATH_TYPE_INDEX,
		MAILBOX_LIST_PATH_TYPE_INDEX_CACHE,
		MAILBOX_LIST_PATH_TYPE_INDEX_PRIVATE,
		MAILBOX_LIST_PATH_TYPE_CONTROL,
	};
	const char *path, *error;

	for (unsigned int i = 0; i < N_ELEMENTS(types); i++) {
		if (!pgbox_list_get_guid_path(list, guid, types[i], &path))
			continue;
		if (unlink_directory(path, UNLINK_DIRECTORY_FLAG_RMDIR,
				     &error) < 0 && errno != ENOENT) {
			e_warning(list->ns->user->event,
				  "pgbox: Can't remove cache: %s", error);
		}
	}
}

/*
 * Changes
 */

static int
pgbox_list_set_subscribed(struct mailbox_list *_list, const char *name,
			  bool set)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	struct pgbox_conn *conn;
	struct pgbox_error error;
	int ret;

	if ((conn = pgbox_list_get_conn(_list)) == NULL)
		return -1;
	ret = pgbox_subscription_set(conn, list->account,
				     pgbox_list_get_db_name(list, name), set,
				     &error);
	if (ret < 0)
		pgbox_list_set_error(_list, &error);
	pgbox_list_changed(list);
	return ret;
}

static int
pgbox_list_delete_mailbox(struct mailbox_list *_list, const char *name)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	struct pgbox_mailbox_row row;
	struct pgbox_error error;
	int ret;

	ret = pgbox_list_lookup(_list, name, &row);
	if (ret < 0)
		return -1;
	if (ret == 0 || !row.selectable) {
		mailbox_list_set_error(_list, MAIL_ERROR_NOTFOUND,
			T_MAILBOX_LIST_ERR_NOT_FOUND(_list, name));
		return -1;
	}
	ret = pgbox_mailbox_delete(list->conn, list->account, row.mailbox_id,
				   pgbox_user_get_reason(_list->ns->user),
				   &error);
	pgbox_list_changed_mailbox(list, row.mailbox_id, 0);
	if (ret < 0) {
		pgbox_list_set_error(_list, &error);
		return -1;
	}
	pgbox_list_remove_cache(_list, row.guid);
	return 0;
}

static int pgbox_list_delete_dir(struct mailbox_list *_list, const char *name)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	struct pgbox_conn *conn;
	struct pgbox_error error;
	int ret;

	if ((conn = pgbox_list_get_conn(_list)) == NULL)
		return -1;
	ret = pgbox_mailbox_delete_node(conn, list->account,
					pgbox_list_get_db_name(list, name),
					pgbox_user_get_reason(_list->ns->user),
					&error);
	if (ret < 0)
		pgbox_list_set_error(_list, &error);
	else if (ret == 0) {
		mailbox_list_set_error(_list, MAIL_ERROR_NOTFOUND,
			T_MAILBOX_LIST_ERR_NOT_FOUND(_list, name));
	}
	pgbox_list_changed(list);
	return ret > 0 ? 0 : -1;
}

static int pgbox_list_delete_symlink(struct mailbox_list *list,
				     const char *name ATTR_UNUSED)
{
	mailbox_list_set_error(list, MAIL_ERROR_NOTPOSSIBLE, "Not supported");
	return -1;
}

static int
pgbox_list_rename_mailbox(struct mailbox_list *_oldlist, const char *oldname,
			  struct mailbox_list *_newlist, const char *newname)
{
	struct pgbox_mailbox_list *oldlist = PGBOX_LIST(_oldlist);
	struct pgbox_mailbox_list *newlist = PGBOX_LIST(_newlist);
	struct pgbox_conn *conn;
	struct pgbox_error error;
	int ret;

	if ((conn = pgbox_list_get_conn(_oldlist)) == NULL)
		return -1;
	if (!pgbox_list_is_ours(_newlist) || newlist->conn != conn ||
	    strcmp(oldlist->account, newlist->account) != 0) {
		mailbox_list_set_error(_oldlist, MAIL_ERROR_NOTPOSSIBLE,
			"Can't rename mailboxes across accounts");
		return -1;
	}
	ret = pgbox_mailbox_rename(conn, oldlist->account,
				   pgbox_list_get_db_name(oldlist, oldname),
				   pgbox_list_get_db_name(newlist, newname),
				   pgbox_user_get_reason(_oldlist->ns->user),
				   &error);
	if (ret < 0)
		pgbox_list_set_error(_oldlist, &error);
	pgbox_list_changed(oldlist);
	pgbox_list_changed(newlist);
	return ret;
}

struct mailbox_list pgbox_mailbox_list = {
	.name = PGBOX_LIST_NAME,
	/* NO_ROOT: '/' in names has nothing to do with paths.
	   NO_INTERNAL_NAMES: no name is reserved. AUTOCREATE_DIRS: a mailbox
	   exists whether or not this node has a directory for it.
	   NO_LIST_INDEX: Dovecot's own index of the list would be a second
	   truth, on each node. */
	.props = MAILBOX_LIST_PROP_NO_ROOT |
		MAILBOX_LIST_PROP_NO_INTERNAL_NAMES |
		MAILBOX_LIST_PROP_AUTOCREATE_DIRS |
		MAILBOX_LIST_PROP_NO_LIST_INDEX,
	.mailbox_name_max_length = MAILBOX_LIST_NAME_MAX_LENGTH,

	.v = {
		.alloc = pgbox_list_alloc,
		.init = pgbox_list_init,
		.deinit = pgbox_list_deinit,
		.get_hierarchy_sep = pgbox_list_get_hierarchy_sep,
		.get_vname = mailbox_list_default_get_vname,
		.get_storage_name = mailbox_list_default_get_storage_name,
		.get_path = pgbox_list_get_path,
		.get_temp_prefix = pgbox_list_get_temp_prefix,
		.iter_init = pgbox_list_iter_init,
		.iter_next = pgbox_list_iter_next,
		.iter_deinit = pgbox_list_iter_deinit,
		.subscriptions_refresh = pgbox_list_subscriptions_refresh,
		.set_subscribed = pgbox_list_set_subscribed,
		.delete_mailbox = pgbox_list_delete_mailbox,
		.delete_dir = pgbox_list_delete_dir,
		.delete_symlink = pgbox_list_delete_symlink,
		.rename_mailbox = pgbox_list_rename_mailbox,
		.notify_init = pgbox_list_notify_init,
		.notify_next = pgbox_list_notify_next,
		.notify_deinit = pgbox_list_notify_deinit,
		.notify_wait = pgbox_list_notify_wait,
		.notify_flush = pgbox_list_notify_flush,
	},
};
