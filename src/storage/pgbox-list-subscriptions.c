/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* Subscribed names are kept by account. They may be names of other namespaces
   that have subscriptions=no: those are stored with their prefix in the
   namespace around them, as Dovecot's own subscriptions file does it. */

#include "lib.h"
#include "array.h"
#include "hash.h"
#include "unichar.h"
#include "mailbox-tree.h"
#include "mail-namespace.h"
#include "pgbox-list.h"
#include "pgbox-list-tree.h"

/* Adds names to a mailbox tree. Its own function for that compares a name with
   all siblings; we know that names mostly come in order and can append. */
struct subscription_builder {
	struct mailbox_tree_context *tree;
	char sep;
	/* nodes on the path to the name that was added last, which is the
	   greatest so far */
	ARRAY_TYPE(mailbox_node) path;
};

/* Returns how many levels of the path the name shares, and sets *name to the
   rest. Returns -1 if the name isn't greater than all before. */
static int
builder_shared_levels(struct subscription_builder *builder, const char **name)
{
	struct mailbox_node *node;
	int level = 0;

	array_foreach_elem(&builder->path, node) {
		size_t len = strcspn(*name, (const char []){ builder->sep, 0 });
		int diff = strncmp(*name, node->name, len);

		if (diff == 0 && node->name[len] != '\0')
			diff = -1;
		if (diff != 0)
			return diff < 0 ? -1 : level;
		if ((*name)[len] == '\0') {
			/* the same name or a parent of the last one */
			return -1;
		}
		*name += len + 1;
		level++;
	}
	return level;
}

static struct mailbox_node *
builder_append(struct subscription_builder *builder, unsigned int level,
	       const char *name)
{
	pool_t pool = mailbox_tree_get_pool(builder->tree);
	struct mailbox_node *node, *parent = NULL, **dest;

	if (level > 0)
		parent = array_idx_elem(&builder->path, level - 1);
	if (level < array_count(&builder->path)) {
		node = array_idx_elem(&builder->path, level);
		dest = &node->next;
	} else {
		i_assert(parent != NULL);
		dest = &parent->children;
	}
	while (*dest != NULL)
		dest = &(*dest)->next;
	*dest = node = p_new(pool, struct mailbox_node, 1);
	node->parent = parent;
	node->name = p_strdup(pool, name);
	array_delete(&builder->path, level,
		     array_count(&builder->path) - level);
	array_push_back(&builder->path, &node);
	return node;
}

static void
builder_set_path(struct subscription_builder *builder,
		 struct mailbox_node *node)
{
	array_clear(&builder->path);
	for (; node != NULL; node = node->parent)
		array_push_front(&builder->path, &node);
}

static void
builder_add(struct subscription_builder *builder, const char *vname)
{
	const char sep[] = { builder->sep, '\0' };
	const char *rest = vname, *const *parts;
	struct mailbox_node *node = NULL;
	bool created;
	int level;

	if (array_count(&builder->path) == 0) {
		node = mailbox_tree_get(builder->tree, vname, &created);
		builder_set_path(builder, node);
	} else if ((level = builder_shared_levels(builder, &rest)) < 0) {
		node = mailbox_tree_get(builder->tree, vname, &created);
	} else {
		for (parts = t_strsplit(rest, sep); *parts != NULL; parts++)
			node = builder_append(builder, level++, *parts);
	}
	node->flags = MAILBOX_SUBSCRIBED;
}

/* Find the namespace that a subscribed name belongs to. Returns FALSE if it
   isn't dest's, else name becomes a storage name in dest. */
static bool
subscription_get_name(struct mailbox_list *src, struct mailbox_list *dest,
		      const char **name)
{
	struct mail_namespace *ns, *dest_ns = dest->ns;
	const char *full_name;

	full_name = t_strconcat(src->ns->prefix, *name, NULL);
	ns = mail_namespace_find_unsubscribable(dest_ns->user->namespaces,
						full_name);
	if (ns != NULL && ns != dest_ns) {
		if (ns->prefix_len > 0) {
			if (mail_namespace_is_shared_user_root(ns)) {
				/* this makes the other user's namespace */
				(void)mailbox_list_join_refpattern(ns->list,
							full_name, "");
			}
			return FALSE;
		}
		ns = NULL;
	}
	if (ns == NULL)
		return (dest_ns->flags & NAMESPACE_FLAG_SUBSCRIPTIONS) != 0;
	if (strncmp(full_name, ns->prefix, ns->prefix_len) == 0)
		*name = full_name + ns->prefix_len;
	else
		*name = "";
	return TRUE;
}

static void
subscription_add(struct mailbox_list *src, struct mailbox_list *dest,
		 struct subscription_builder *builder, const char *name)
{
	const char *vname, *error;
	size_t len;

	if (!subscription_get_name(src, dest, &name))
		return;
	len = strlen(name);
	if (len > 0 && name[len - 1] == mail_namespace_get_sep(dest->ns))
		name = t_strndup(name, len - 1);
	if (!mailbox_list_is_valid_name(dest, name, &error)) {
		/* nobody could do anything with it */
		return;
	}
	vname = mailbox_list_get_vname(dest, name);
	if (strncasecmp(vname, "INBOX", 5) == 0 &&
	    (vname[5] == '\0' || vname[5] == builder->sep)) {
		/* as the tree's own functions do it */
		vname = t_strconcat("INBOX", vname + 5, NULL);
	}
	if (*vname != '\0' && uni_utf8_str_is_valid(vname))
		builder_add(builder, vname);
}

int pgbox_list_subscriptions_refresh(struct mailbox_list *src_list,
				     struct mailbox_list *dest_list)
{
	struct pgbox_mailbox_list *src = PGBOX_LIST(src_list);
	char sep = mail_namespace_get_sep(dest_list->ns);
	struct subscription_builder builder;
	struct pgbox_tree_node *node;

	if (pgbox_list_refresh(src) < 0) {
		if (src_list != dest_list) {
			enum mail_error error;
			const char *str =
				mailbox_list_get_last_error(src_list, &error);

			mailbox_list_set_error(dest_list, error, str);
		}
		return -1;
	}

	if (dest_list->subscriptions != NULL)
		mailbox_tree_deinit(&dest_list->subscriptions);
	dest_list->subscriptions = mailbox_tree_init(sep);

	i_zero(&builder);
	builder.tree = dest_list->subscriptions;
	builder.sep = sep;
	i_array_init(&builder.path, 8);
	array_foreach_elem(&src->tree->nodes, node) {
		if (node->row.subscribed) T_BEGIN {
			subscription_add(src_list, dest_list, &builder,
					 node->row.name);
		} T_END;
	}
	array_free(&builder.path);
	return 0;
}
