/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* A backend of Dovecot's quota plugin: quota = pgbox:NAME. It shows what the
   database counts and the limits that are set there, both from one statement,
   so they are true at that moment, in a session that is years old, too.

   Dovecot's own checks are a courtesy: they refuse a message before it is sent.
   What holds is the check of the transaction that adds it. */

#include "lib.h"
#include "ioloop.h"
#include "module-dir.h"
#include "mail-user.h"
#include "mail-storage-service.h"
#include "quota-private.h"
#include "pgbox-error.h"
#include "pgbox-conn.h"
#include "pgbox-db-mailbox.h"
#include "pgbox-storage-error.h"
#include "pgbox-storage.h"
#include "pgbox-owner.h"
#include "pgbox-quota.h"

/* Whoever doesn't load the quota plugin has none of these. It is loaded before
   us, as plugins are in order of their files' names. */
#pragma weak quota_backend_register
#pragma weak quota_backend_unregister
#pragma weak quota_root_default_init
#pragma weak quota_root_recalculate_relative_rules

struct pgbox_quota_root {
	struct quota_root root;
	/* NULL until it is needed */
	struct pgbox_conn *conn;

	/* as it was read in this turn of the ioloop */
	struct pgbox_quota quota;
	struct timeval read_time;
};

#define PGBOX_QUOTA_ROOT(s) \
	(container_of(s, struct pgbox_quota_root, root))

static bool quota_registered = FALSE;

static struct quota_root *pgbox_quota_alloc(void)
{
	struct pgbox_quota_root *root = i_new(struct pgbox_quota_root, 1);

	return &root->root;
}

static int
pgbox_quota_init(struct quota_root *_root, const char *args,
		 const char **error_r)
{
	if (!_root->quota->set->vsizes) {
		*error_r = "the database counts messages as they are sent: "
			"set quota_vsizes = yes";
		return -1;
	}
	_root->auto_updating = TRUE;
	return quota_root_default_init(_root, args, error_r);
}

static void pgbox_quota_deinit(struct quota_root *_root)
{
	struct pgbox_quota_root *root = PGBOX_QUOTA_ROOT(_root);

	if (root->conn != NULL)
		pgbox_conn_unref(&root->conn);
	i_free(root);
}

/*
 * Asking
 */

/* Dovecot takes 0 for no limit: the least that it knows is 1. */
static int64_t quota_limit(int64_t limit)
{
	return limit < 0 ? 0 : I_MAX(limit, 1);
}

static void quota_set_limits(struct pgbox_quota_root *root)
{
	struct quota_root *_root = &root->root;
	int64_t bytes_limit = _root->set->default_rule.bytes_limit;
	int64_t count_limit = _root->set->default_rule.count_limit;

	/* the rule "*" overrides what backends say, "?" doesn't */
	if (root->quota.limited && !_root->set->force_default_rule) {
		bytes_limit = quota_limit(root->quota.byte_limit);
		count_limit = quota_limit(root->quota.message_limit);
	}
	if (_root->bytes_limit != bytes_limit ||
	    _root->count_limit != count_limit) {
		_root->bytes_limit = bytes_limit;
		_root->count_limit = count_limit;
		quota_root_recalculate_relative_rules(_root->set, bytes_limit,
						      count_limit);
	}
}

static const char *
quota_get_account(struct pgbox_quota_root *root, const char **error_r)
{
	if (root->root.ns_prefix == NULL) {
		/* in shared namespaces their owner */
		return root->root.quota->user->username;
	}
	if (root->root.ns == NULL) {
		*error_r = t_strdup_printf("there is no namespace \"%s\"",
					   root->root.ns_prefix);
		return NULL;
	}
	return pgbox_namespace_get_account(root->root.ns, error_r);
}

/* whose settings say where the account is */
static struct mail_user *quota_get_user(struct pgbox_quota_root *root)
{
	return root->root.ns_prefix == NULL ? root->root.quota->user :
		pgbox_namespace_get_db_user(root->root.ns);
}

static int
quota_refresh(struct pgbox_quota_root *root, const char **error_r)
{
	struct pgbox_error error;
	const char *account;
	int ret;

	if (pgbox_turn_is_now(&root->read_time))
		return 0;
	if ((account = quota_get_account(root, error_r)) == NULL)
		return -1;
	if (root->conn == NULL) {
		root->conn = pgbox_user_get_conn(quota_get_user(root), error_r);
		if (root->conn == NULL)
			return -1;
	}
	ret = pgbox_quota_get(root->conn, account, &root->quota, &error);
	if (ret < 0) {
		*error_r = pgbox_storage_error_text(&error);
		return -1;
	}
	if (ret == 0) {
		*error_r = t_strdup_printf("there is no account \"%s\"",
					   account);
		return -1;
	}
	root->read_time = ioloop_timeval;
	quota_set_limits(root);
	return 0;
}

static int
pgbox_quota_init_limits(struct quota_root *root, const char **error_r)
{
	return quota_refresh(PGBOX_QUOTA_ROOT(root), error_r);
}

static const char *const *
pgbox_quota_get_resources(struct quota_root *root ATTR_UNUSED)
{
	static const char *const resources[] = {
		QUOTA_NAME_STORAGE_KILOBYTES, QUOTA_NAME_MESSAGES, NULL
	};

	return resources;
}

static enum quota_get_result
pgbox_quota_get_resource(struct quota_root *_root, const char *name,
			 uint64_t *value_r, const char **error_r)
{
	struct pgbox_quota_root *root = PGBOX_QUOTA_ROOT(_root);

	if (quota_refresh(root, error_r) < 0)
		return QUOTA_GET_RESULT_INTERNAL_ERROR;
	if (strcmp(name, QUOTA_NAME_STORAGE_BYTES) == 0)
		*value_r = root->quota.bytes;
	else if (strcmp(name, QUOTA_NAME_MESSAGES) == 0)
		*value_r = root->quota.messages;
	else {
		*error_r = QUOTA_UNKNOWN_RESOURCE_ERROR_STRING;
		return QUOTA_GET_RESULT_UNKNOWN_RESOURCE;
	}
	return QUOTA_GET_RESULT_LIMITED;
}

/* The database has counted already; what was read is out of date. */
static int
pgbox_quota_update(struct quota_root *root,
		   struct quota_transaction_context *ctx ATTR_UNUSED,
		   const char **error_r ATTR_UNUSED)
{
	i_zero(&PGBOX_QUOTA_ROOT(root)->read_time);
	return 0;
}

static bool
pgbox_quota_match_box(struct quota_root *root ATTR_UNUSED, struct mailbox *box)
{
	return pgbox_mailbox_is_ours(box);
}

static const struct quota_backend pgbox_quota_backend = {
	.name = "pgbox",

	.v = {
		.alloc = pgbox_quota_alloc,
		.init = pgbox_quota_init,
		.deinit = pgbox_quota_deinit,
		.init_limits = pgbox_quota_init_limits,
		.get_resources = pgbox_quota_get_resources,
		.get_resource = pgbox_quota_get_resource,
		.update = pgbox_quota_update,
		.match_box = pgbox_quota_match_box,
	},
};

void pgbox_quota_register(void)
{
	/* The program quota-status has the functions in any case, the backends
	   only when the plugin is loaded. */
	if (module_dir_find(mail_storage_service_modules, "quota") == NULL)
		return;
	quota_backend_register(&pgbox_quota_backend);
	quota_registered = TRUE;
}

void pgbox_quota_unregister(void)
{
	if (quota_registered)
		quota_backend_unregister(&pgbox_quota_backend);
	quota_registered = FALSE;
}
