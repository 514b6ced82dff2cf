/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* Whoever opens another user's folders gets a struct mail_user of that owner,
   which Dovecot makes with the settings of the one who opens them. What userdb
   says of the owner it asks for the home only. */

#include "lib.h"
#include "array.h"
#include "auth-master.h"
#include "mail-user.h"
#include "mail-namespace.h"
#include "mail-storage-hooks.h"
#include "mail-storage-settings.h"
#include "pgbox-owner.h"

/* what may differ from database to database */
static const char *const owner_settings[] = {
	"pgbox_db", "pgbox_replica_db", "pgbox_notify", NULL
};

/* Returns the value, NULL if there is none. */
static const char *fields_find(const char *const *fields, const char *name)
{
	const size_t len = strlen(name);
	const char *field;

	for (; *fields != NULL; fields++) {
		field = *fields;
		/* userdb may write it either way */
		if (str_begins(field, "plugin/"))
			field += strlen("plugin/");
		if (strncmp(field, name, len) == 0 && field[len] == '=')
			return field + len + 1;
	}
	return NULL;
}

static void
owner_set(struct mail_user *owner, const char *name, const char *value)
{
	const char **envs;
	unsigned int i, count;

	value = p_strdup(owner->pool, value);
	if (!array_is_created(&owner->set->plugin_envs))
		p_array_init(&owner->set->plugin_envs, owner->pool, 2);
	envs = array_get_modifiable(&owner->set->plugin_envs, &count);
	for (i = 0; i + 1 < count; i += 2) {
		if (strcmp(envs[i], name) == 0) {
			envs[i + 1] = value;
			return;
		}
	}
	array_push_back(&owner->set->plugin_envs, &name);
	array_push_back(&owner->set->plugin_envs, &value);
}

static void
owner_set_error(struct mail_user *owner, const char *error)
{
	owner->error = p_strdup_printf(owner->pool,
		"pgbox_owner_lookup: userdb lookup of %s: %s",
		owner->username, error);
}

static void
owner_set_fields(struct mail_user *owner, const char *const *fields)
{
	const char *const *name, *value;

	/* The database of the one who opens the folder would be a guess: it may
	   have an account of that name, from before it was moved. */
	if (fields_find(fields, owner_settings[0]) == NULL) {
		owner_set_error(owner, "it returns no pgbox_db");
		return;
	}
	for (name = owner_settings; *name != NULL; name++) {
		value = fields_find(fields, *name);
		owner_set(owner, *name, value == NULL ? "" : value);
	}
}

static void owner_lookup(struct mail_user *owner)
{
	const struct auth_user_info info = { .service = owner->service };
	const char *username, *const *fields;
	pool_t pool;
	int ret;

	if (mail_user_auth_master_conn == NULL) {
		owner_set_error(owner, "this service can't");
		return;
	}
	pool = pool_alloconly_create("pgbox owner lookup", 2048);
	ret = auth_master_user_lookup(mail_user_auth_master_conn,
				      owner->username, &info, pool,
				      &username, &fields);
	if (ret > 0)
		owner_set_fields(owner, fields);
	else if (ret < 0)
		owner_set_error(owner, "it failed");
	else {
		owner->nonexistent = TRUE;
		owner_set_error(owner, "there is no such user");
	}
	pool_unref(&pool);
}

static void owner_user_created(struct mail_user *user)
{
	if (user->autocreated && user->creator != NULL && !user->nonexistent &&
	    mail_user_plugin_getenv_bool(user, "pgbox_owner_lookup"))
		owner_lookup(user);
}

static struct mail_storage_hooks owner_hooks = {
	.mail_user_created = owner_user_created
};

struct mail_user *pgbox_namespace_get_db_user(struct mail_namespace *ns)
{
	return ns->owner != NULL ? ns->owner : ns->user;
}

void pgbox_owner_init(struct module *module)
{
	mail_storage_hooks_add(module, &owner_hooks);
}

void pgbox_owner_deinit(void)
{
	mail_storage_hooks_remove(&owner_hooks);
}
