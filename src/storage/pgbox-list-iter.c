/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

/* LIST, LSUB and all that is like them. What matches is marked when iterating
   begins, in one pass over the account's tree; mailbox-tree and
   mailbox_list_iter_update(), which other list drivers use for that, compare
   each name with all of its siblings. */

#include "lib.h"
#include "array.h"
#include "hash.h"
#include "str.h"
#include "imap-match.h"
#include "mailbox-tree.h"
#include "mail-namespace.h"
#include "mailbox-list-subscriptions.h"
#include "pgbox-storage.h"
#include "pgbox-list.h"
#include "pgbox-list-tree.h"

/* A name listed because of subscriptions, whether or not it exists. */
struct pgbox_iter_name {
	const char *vname;
	enum mailbox_info_flags flags;
	bool matched;
};

struct pgbox_list_iter {
	struct mailbox_list_iterate_context ctx;
	/* NULL if nobody wants to know what exists */
	struct pgbox_tree *tree;

	/* for each node of the tree whether it is listed */
	bool *matched;
	/* SELECT_SUBSCRIBED: the names to be listed instead */
	ARRAY(struct pgbox_iter_name *) names;
	/* vname -> its subscription flags: the names to be listed, or with
	   RETURN_SUBSCRIBED all subscriptions */
	HASH_TABLE(const char *, struct pgbox_iter_name *) subscribed;

	unsigned int next_idx;
	struct mailbox_info info;
	string_t *vname;
};

#define PGBOX_LIST_ITER(s) container_of(s, struct pgbox_list_iter, ctx)

static bool iter_lists_subscriptions(struct pgbox_list_iter *iter)
{
	return (iter->ctx.flags & MAILBOX_LIST_ITER_SELECT_SUBSCRIBED) != 0;
}

/* Returns FALSE for subscriptions that are asked for by name only: LSUB tells
   nothing else about them. */
static bool iter_wants_flags(struct pgbox_list_iter *iter)
{
	return !iter_lists_subscriptions(iter) ||
		(iter->ctx.flags & MAILBOX_LIST_ITER_RETURN_NO_FLAGS) == 0 ||
		(iter->ctx.flags & MAILBOX_LIST_ITER_RETURN_CHILDREN) != 0;
}

/*
 * Mailboxes that match
 */

static const char *iter_node_vname(struct pgbox_list_iter *iter,
				   const struct pgbox_tree_node *node)
{
	return mailbox_list_get_vname(iter->ctx.list, node->row.name);
}

/* The "a" of an existing "a/b" is listed even if there is no "a", as where
   names are directories. */
static void iter_match_node(struct pgbox_list_iter *iter,
			    const struct pgbox_tree_node *node)
{
	if (node->row.mailbox_id == 0 && !node->has_children) {
		/* only subscribed */
		return;
	}
	if (imap_match(iter->ctx.glob,
		       iter_node_vname(iter, node)) == IMAP_MATCH_YES)
		iter->matched[node->idx] = TRUE;
}

static bool pattern_is_name(const char *pattern)
{
	return pattern[strcspn(pattern, "%*")] == '\0';
}

static void iter_match_name(struct pgbox_list_iter *iter, const char *vname)
{
	struct pgbox_tree_node *node;

	node = pgbox_tree_lookup(iter->tree,
		mailbox_list_get_storage_name(iter->ctx.list, vname));
	if (node != NULL)
		iter_match_node(iter, node);
}

static void iter_match_tree(struct pgbox_list_iter *iter,
			    const char *const *patterns)
{
	struct pgbox_tree_node *node;

	iter->matched = p_new(iter->ctx.pool, bool,
			      array_count(&iter->tree->nodes) + 1);
	if (patterns[1] == NULL && pattern_is_name(patterns[0])) {
		iter_match_name(iter, patterns[0]);
		return;
	}
	array_foreach_elem(&iter->tree->nodes, node) T_BEGIN {
		iter_match_node(iter, node);
	} T_END;
}

/*
 * Subscriptions
 */

static struct pgbox_iter_name *
iter_get_name(struct pgbox_list_iter *iter, const char *vname)
{
	struct pgbox_iter_name *name;

	name = hash_table_lookup(iter->subscribed, vname);
	if (name == NULL) {
		name = p_new(iter->ctx.pool, struct pgbox_iter_name, 1);
		name->vname = p_strdup(iter->ctx.pool, vname);
		hash_table_insert(iter->subscribed, name->vname, name);
		array_push_back(&iter->names, &name);
	}
	return name;
}

/* The longest name that matches is listed; those above it are told that they
   have a subscribed child, in case they are listed too. */
static void iter_match_subscription(struct pgbox_list_iter *iter,
				    const char *vname)
{
	char sep = mail_namespace_get_sep(iter->ctx.list->ns);
	enum mailbox_info_flags flags = MAILBOX_SUBSCRIBED;
	struct pgbox_iter_name *name;
	enum imap_match_result match;
	bool found = FALSE;
	const char *p;

	for (;;) {
		match = imap_match(iter->ctx.glob, vname);
		if (match == IMAP_MATCH_YES) {
			name = iter_get_name(iter, vname);
			name->flags |= flags;
			if (!found)
				name->matched = TRUE;
			found = TRUE;
		} else if ((match & IMAP_MATCH_PARENT) == 0)
			return;

		p = strrchr(vname, sep);
		if ((iter->ctx.flags &
		     MAILBOX_LIST_ITER_SELECT_RECURSIVEMATCH) == 0 ||
		    p == NULL)
			return;
		vname = t_strdup_until(vname, p);
		flags = MAILBOX_CHILD_SUBSCRIBED;
	}
}

static void iter_match_subscriptions(struct pgbox_list_iter *iter)
{
	struct mailbox_tree_iterate_context *tree_iter;
	const char *vname;

	tree_iter = mailbox_tree_iterate_init(iter->ctx.list->subscriptions,
					      NULL, MAILBOX_SUBSCRIBED);
	while (mailbox_tree_iterate_next(tree_iter, &vname) != NULL) T_BEGIN {
		iter_match_subscription(iter, vname);
	} T_END;
	mailbox_tree_iterate_deinit(&tree_iter);
}

static void iter_read_subscriptions(struct pgbox_list_iter *iter)
{
	struct mailbox_tree_iterate_context *tree_iter;
	struct mailbox_node *node;
	const char *vname;

	tree_iter = mailbox_tree_iterate_init(iter->ctx.list->subscriptions,
					      NULL, 0);
	while ((node = mailbox_tree_iterate_next(tree_iter, &vname)) != NULL) {
		struct pgbox_iter_name *name = iter_get_name(iter, vname);

		name->flags = node->flags & MAILBOX_SUBSCRIBED;
		if (node->children != NULL) {
			/* exist only if they are subscribed */
			name->flags |= MAILBOX_CHILD_SUBSCRIBED;
		}
	}
	mailbox_tree_iterate_deinit(&tree_iter);
}

/*
 * Iterating
 */

static struct pgbox_list_iter *
iter_alloc(struct mailbox_list *list, const char *const *patterns,
	   enum mailbox_list_iter_flags flags)
{
	struct pgbox_list_iter *iter;
	pool_t pool;

	pool = pool_alloconly_create("pgbox list iter", 2048);
	iter = p_new(pool, struct pgbox_list_iter, 1);
	iter->ctx.pool = pool;
	iter->ctx.list = list;
	iter->ctx.flags = flags;
	iter->ctx.glob = imap_match_init_multiple(pool, patterns, TRUE,
					mail_namespace_get_sep(list->ns));
	array_create(&iter->ctx.module_contexts, pool, sizeof(void *), 5);
	iter->info.ns = list->ns;
	iter->vname = str_new(pool, 128);
	p_array_init(&iter->names, pool, 8);
	hash_table_create(&iter->subscribed, default_pool, 0,
			  str_hash, strcmp);
	return iter;
}

struct mailbox_list_iterate_context *
pgbox_list_iter_init(struct mailbox_list *_list, const char *const *patterns,
		     enum mailbox_list_iter_flags flags)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	/* asks for the separator, which clears errors: first */
	struct pgbox_list_iter *iter = iter_alloc(_list, patterns, flags);

	if (iter_wants_flags(iter)) {
		if (pgbox_list_refresh(list) < 0) {
			iter->ctx.failed = TRUE;
			return &iter->ctx;
		}
		iter->tree = list->tree;
		pgbox_tree_ref(iter->tree);
	}
	if (iter_lists_subscriptions(iter)) {
		iter_match_subscriptions(iter);
		return &iter->ctx;
	}
	T_BEGIN {
		iter_match_tree(iter, patterns);
	} T_END;
	if ((flags & MAILBOX_LIST_ITER_RETURN_SUBSCRIBED) != 0)
		iter_read_subscriptions(iter);
	return &iter->ctx;
}

/* node is NULL if the tree has no such name */
static void iter_set_info(struct pgbox_list_iter *iter,
			  const struct pgbox_tree_node *node)
{
	struct mailbox_info *info = &iter->info;
	const struct pgbox_iter_name *name;

	info->vname = str_c(iter->vname);
	info->special_use = NULL;
	info->flags = 0;
	if (node == NULL || node->row.mailbox_id == 0)
		info->flags |= MAILBOX_NONEXISTENT;
	else if (!node->row.selectable)
		info->flags |= MAILBOX_NOSELECT;
	else
		info->special_use = node->row.special_use;
	info->flags |= node != NULL && node->has_children ?
		MAILBOX_CHILDREN : MAILBOX_NOCHILDREN;

	name = hash_table_lookup(iter->subscribed, info->vname);
	if (name != NULL)
		info->flags |= name->flags;
}

static bool iter_next_name(struct pgbox_list_iter *iter)
{
	struct pgbox_iter_name *name;

	do {
		if (iter->next_idx >= array_count(&iter->names))
			return FALSE;
		name = array_idx_elem(&iter->names, iter->next_idx++);
	} while (!name->matched);

	str_truncate(iter->vname, 0);
	str_append(iter->vname, name->vname);
	if (iter->tree == NULL) {
		iter->info.vname = str_c(iter->vname);
		iter->info.flags = name->flags;
		return TRUE;
	}
	iter_set_info(iter, pgbox_tree_lookup(iter->tree,
		mailbox_list_get_storage_name(iter->ctx.list, name->vname)));
	return TRUE;
}

static bool iter_next_node(struct pgbox_list_iter *iter)
{
	struct pgbox_tree_node *node;

	do {
		if (iter->next_idx >= array_count(&iter->tree->nodes))
			return FALSE;
		node = array_idx_elem(&iter->tree->nodes, iter->next_idx++);
	} while (!iter->matched[node->idx]);

	str_truncate(iter->vname, 0);
	str_append(iter->vname, iter_node_vname(iter, node));
	iter_set_info(iter, node);
	return TRUE;
}

const struct mailbox_info *
pgbox_list_iter_next(struct mailbox_list_iterate_context *ctx)
{
	struct pgbox_list_iter *iter = PGBOX_LIST_ITER(ctx);

	if (ctx->failed)
		return NULL;
	if (iter_lists_subscriptions(iter) ?
	    iter_next_name(iter) : iter_next_node(iter))
		return &iter->info;
	return mailbox_list_iter_default_next(ctx);
}

int pgbox_list_iter_deinit(struct mailbox_list_iterate_context *ctx)
{
	struct pgbox_list_iter *iter = PGBOX_LIST_ITER(ctx);
	int ret = ctx->failed ? -1 : 0;

	pgbox_tree_unref(&iter->tree);
	hash_table_destroy(&iter->subscribed);
	pool_unref(&ctx->pool);
	return ret;
}
