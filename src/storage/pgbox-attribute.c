/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* Mailbox attributes: IMAP METADATA (RFC 5464) and what plugins keep as such.
   Those of the server hang on INBOX, as everywhere in Dovecot.

   Changes are collected in the mailbox's transaction and written when it
   commits, so that a rolled back one changes nothing. They don't touch the
   local index: Dovecot's own log records of attributes count as modseqs.

   Private attributes are the owner's. Users of a shared or public mailbox have
   none there: the table doesn't tell whose they would be.

   imap advertises METADATA only if imap_metadata=yes and mail_attribute_dict
   isn't empty. That dict is never opened on our mailboxes; any value does. */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "istream.h"
#include "unichar.h"
#include "mailbox-attribute-private.h"
#include "pgbox-error.h"
#include "pgbox-storage.h"
#include "pgbox-storage-error.h"
#include "pgbox-list.h"
#include "pgbox-attribute.h"

/* as mailbox_attribute_key_check in the database has it */
#define ATTRIBUTE_MAX_KEY 1024

#define PGBOX_ATTRIBUTE_CONTEXT(obj) \
	MODULE_CONTEXT(obj, pgbox_attribute_module)

struct pgbox_attribute_change {
	bool shared;
	const char *key;
	/* NULL: remove */
	const void *value;
	size_t value_size;
	time_t changed_at;
};

struct pgbox_attribute_transaction {
	union mailbox_transaction_module_context module_ctx;
	pool_t pool;
	ARRAY(struct pgbox_attribute_change) changes;
};

struct pgbox_attribute_iter {
	struct mailbox_attribute_iter iter;
	pool_t pool;
	ARRAY_TYPE(const_string) keys;
	unsigned int next_idx;
	size_t prefix_len;
	bool failed;
};

static MODULE_CONTEXT_DEFINE_INIT(pgbox_attribute_module,
				  &mail_storage_module_register);

/* Returns FALSE with the mailbox's error set if attributes of this type can't
   be had here. */
static bool
attribute_check_type(struct mailbox *box, enum mail_attribute_type type_flags)
{
	struct mail_namespace *ns = box->list->ns;

	if ((type_flags & MAIL_ATTRIBUTE_TYPE_FLAG_VALIDATED) != 0) {
		/* METADATA isn't enabled: Dovecot's own attributes only */
		mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE,
			"Generic mailbox attributes not enabled");
		return FALSE;
	}
	if ((type_flags & MAIL_ATTRIBUTE_TYPE_MASK) ==
	    MAIL_ATTRIBUTE_TYPE_PRIVATE && ns->owner != ns->user) {
		mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE,
			"Private attributes not available in "
			"others' mailboxes");
		return FALSE;
	}
	return TRUE;
}

/* Returns FALSE with the mailbox's error set if the database doesn't take it. */
static bool attribute_check_key(struct mailbox *box, const char *key)
{
	if (strlen(key) > ATTRIBUTE_MAX_KEY) {
		mail_storage_set_error(box->storage, MAIL_ERROR_PARAMS,
				       "Attribute name too long");
		return FALSE;
	}
	if (!uni_utf8_str_is_valid(key)) {
		mail_storage_set_error(box->storage, MAIL_ERROR_PARAMS,
				       "Attribute name is not valid UTF-8");
		return FALSE;
	}
	return TRUE;
}

static bool attribute_is_shared(enum mail_attribute_type type_flags)
{
	return (type_flags & MAIL_ATTRIBUTE_TYPE_MASK) ==
		MAIL_ATTRIBUTE_TYPE_SHARED;
}

/* Returns 0 and the mailbox's id in the database. */
static int attribute_get_mailbox_id(struct mailbox *box, int64_t *id_r)
{
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(box);
	struct pgbox_mailbox_row row;
	int ret;

	if (!box->opened) {
		ret = pgbox_list_peek(box->list, box->name, FALSE, &row);
		if (ret < 0) {
			mail_storage_copy_list_error(box->storage, box->list);
			return -1;
		}
		if (ret > 0 && row.selectable) {
			*id_r = row.mailbox_id;
			return 0;
		}
		/* fails, or creates it */
		if (mailbox_open(box) < 0)
			return -1;
	}
	*id_r = mbox->mailbox_id;
	return 0;
}

/*
 * Changing
 */

static struct pgbox_attribute_transaction *
attribute_transaction_get(struct mailbox_transaction_context *t)
{
	struct pgbox_attribute_transaction *at = PGBOX_ATTRIBUTE_CONTEXT(t);
	pool_t pool;

	if (at == NULL) {
		pool = pool_alloconly_create("pgbox attributes", 512);
		at = p_new(pool, struct pgbox_attribute_transaction, 1);
		at->pool = pool;
		p_array_init(&at->changes, pool, 4);
		MODULE_CONTEXT_SET(t, pgbox_attribute_module, at);
	}
	return at;
}

static int
attribute_read_stream(struct mailbox *box, struct istream *input, buffer_t *dest)
{
	const unsigned char *data;
	size_t size;

	i_stream_seek(input, 0);
	while (i_stream_read_more(input, &data, &size) > 0) {
		buffer_append(dest, data, size);
		i_stream_skip(input, size);
	}
	if (input->stream_errno != 0) {
		mailbox_set_critical(box, "read(%s) failed: %s",
				     i_stream_get_name(input),
				     i_stream_get_error(input));
		return -1;
	}
	return 0;
}

static int
attribute_change_set_value(struct mailbox *box, pool_t pool,
			   struct pgbox_attribute_change *change,
			   const struct mail_attribute_value *value)
{
	buffer_t *buf;

	if (value->value_stream != NULL) {
		buf = buffer_create_dynamic(pool, 256);
		if (attribute_read_stream(box, value->value_stream, buf) < 0)
			return -1;
		change->value = buf->data == NULL ? "" : buf->data;
		change->value_size = buf->used;
	} else if (value->value != NULL) {
		change->value = p_strdup(pool, value->value);
		change->value_size = strlen(value->value);
	}
	return 0;
}

int pgbox_mailbox_attribute_set(struct mailbox_transaction_context *t,
				enum mail_attribute_type type_flags,
				const char *key,
				const struct mail_attribute_value *value)
{
	struct pgbox_attribute_transaction *at;
	struct pgbox_attribute_change change;

	if (!attribute_check_type(t->box, type_flags) ||
	    !attribute_check_key(t->box, key))
		return -1;
	at = attribute_transaction_get(t);
	i_zero(&change);
	if (attribute_change_set_value(t->box, at->pool, &change, value) < 0)
		return -1;
	change.shared = attribute_is_shared(type_flags);
	change.key = p_strdup(at->pool, key);
	change.changed_at = value->last_change;
	array_push_back(&at->changes, &change);
	return 0;
}

int pgbox_attribute_commit(struct mailbox_transaction_context *t)
{
	struct pgbox_attribute_transaction *at = PGBOX_ATTRIBUTE_CONTEXT(t);
	struct pgbox_mailbox *mbox = PGBOX_MAILBOX(t->box);
	struct pgbox_mailbox_list *list = PGBOX_LIST(t->box->list);
	const struct pgbox_attribute_change *change;
	struct pgbox_error error;
	int ret = 0;

	if (at == NULL)
		return 0;
	array_foreach(&at->changes, change) {
		if (pgbox_attribute_set(list->conn, mbox->mailbox_id,
					change->shared, change->key, change->value,
					change->value_size, change->changed_at,
					&error) < 0) {
			pgbox_mailbox_set_error(t->box, &error);
			ret = -1;
			break;
		}
	}
	pgbox_attribute_rollback(t);
	return ret;
}

void pgbox_attribute_rollback(struct mailbox_transaction_context *t)
{
	struct pgbox_attribute_transaction *at = PGBOX_ATTRIBUTE_CONTEXT(t);

	if (at == NULL)
		return;
	MODULE_CONTEXT_UNSET(t, pgbox_attribute_module);
	pool_unref(&at->pool);
}

/*
 * Reading
 */

int pgbox_mailbox_attribute_get(struct mailbox *box,
				enum mail_attribute_type type_flags,
				const char *key,
				struct mail_attribute_value *value_r)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(box->list);
	struct pgbox_error error;
	const unsigned char *value;
	int64_t mailbox_id;
	size_t size;
	int ret;

	if (!attribute_check_type(box, type_flags) ||
	    attribute_get_mailbox_id(box, &mailbox_id) < 0)
		return -1;
	ret = pgbox_attribute_get(list->conn, mailbox_id,
				  attribute_is_shared(type_flags), key,
				  pool_datastack_create(), &value, &size,
				  &value_r->last_change, &error);
	if (ret < 0) {
		pgbox_mailbox_set_error(box, &error);
		return -1;
	}
	if (ret == 0)
		return 0;
	if (memchr(value, '\0', size) == NULL)
		value_r->value = t_strndup(value, size);
	else if ((value_r->flags & MAIL_ATTRIBUTE_VALUE_FLAG_INT_STREAMS) != 0)
		value_r->value_stream =
			i_stream_create_copy_from_data(value, size);
	else {
		mail_storage_set_error(box->storage, MAIL_ERROR_PARAMS,
				       "Attribute value has NULs");
		return -1;
	}
	return 1;
}

struct mailbox_attribute_iter *
pgbox_mailbox_attribute_iter_init(struct mailbox *box,
				  enum mail_attribute_type type_flags,
				  const char *prefix)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(box->list);
	struct pgbox_attribute_iter *iter;
	struct pgbox_error error;
	int64_t mailbox_id;
	pool_t pool;

	pool = pool_alloconly_create("pgbox attribute iter", 1024);
	iter = p_new(pool, struct pgbox_attribute_iter, 1);
	iter->iter.box = box;
	iter->pool = pool;
	iter->prefix_len = strlen(prefix);
	p_array_init(&iter->keys, pool, 16);
	if (!attribute_check_type(box, type_flags)) {
		/* there are none */
		return &iter->iter;
	}
	if (attribute_get_mailbox_id(box, &mailbox_id) < 0)
		iter->failed = TRUE;
	else if (pgbox_attribute_list(list->conn, mailbox_id,
				      attribute_is_shared(type_flags), prefix,
				      pool, &iter->keys, &error) < 0) {
		pgbox_mailbox_set_error(box, &error);
		iter->failed = TRUE;
	}
	return &iter->iter;
}

const char *
pgbox_mailbox_attribute_iter_next(struct mailbox_attribute_iter *_iter)
{
	struct pgbox_attribute_iter *iter =
		container_of(_iter, struct pgbox_attribute_iter, iter);

	if (iter->next_idx >= array_count(&iter->keys))
		return NULL;
	return array_idx_elem(&iter->keys, iter->next_idx++) +
		iter->prefix_len;
}

int pgbox_mailbox_attribute_iter_deinit(struct mailbox_attribute_iter *_iter)
{
	struct pgbox_attribute_iter *iter =
		container_of(_iter, struct pgbox_attribute_iter, iter);
	int ret = iter->failed ? -1 : 0;

	pool_unref(&iter->pool);
	return ret;
}
