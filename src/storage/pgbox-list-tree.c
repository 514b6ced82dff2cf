/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "hash.h"
#include "ioloop.h"
#include "pgbox-error.h"
#include "pgbox-storage.h"
#include "pgbox-storage-error.h"
#include "pgbox-list.h"
#include "pgbox-list-tree.h"

/*
 * The snapshot
 */

static struct pgbox_tree *tree_alloc(char sep)
{
	struct pgbox_tree *tree;
	pool_t pool;

	pool = pool_alloconly_create(MEMPOOL_GROWING"pgbox tree", 1024*8);
	tree = p_new(pool, struct pgbox_tree, 1);
	tree->refcount = 1;
	tree->pool = pool;
	tree->sep = sep;
	tree->read_time = ioloop_timeval;
	p_array_init(&tree->nodes, pool, 64);
	hash_table_create(&tree->by_name, default_pool, 0, str_hash, strcmp);
	return tree;
}

void pgbox_tree_ref(struct pgbox_tree *tree)
{
	i_assert(tree->refcount > 0);
	tree->refcount++;
}

void pgbox_tree_unref(struct pgbox_tree **_tree)
{
	struct pgbox_tree *tree = *_tree;

	*_tree = NULL;
	if (tree == NULL)
		return;
	i_assert(tree->refcount > 0);
	if (--tree->refcount > 0)
		return;
	hash_table_destroy(&tree->by_name);
	pool_unref(&tree->pool);
}

struct pgbox_tree_node *
pgbox_tree_lookup(struct pgbox_tree *tree, const char *name)
{
	return hash_table_lookup(tree->by_name, name);
}

static const char *
tree_parent_name(const struct pgbox_tree *tree, const char *name)
{
	const char *p = strrchr(name, tree->sep);

	return p == NULL || p == name ? NULL : t_strdup_until(name, p);
}

static struct pgbox_tree_node *
tree_add(struct pgbox_tree *tree, const struct pgbox_mailbox_row *row)
{
	struct pgbox_tree_node *node;

	node = p_new(tree->pool, struct pgbox_tree_node, 1);
	node->tree = tree;
	node->row = *row;
	array_push_back(&tree->nodes, &node);
	hash_table_insert(tree->by_name, node->row.name, node);
	return node;
}

/* Tell all names above that they have children, adding what doesn't exist. */
static void tree_mark_parents(struct pgbox_tree *tree, const char *name)
{
	struct pgbox_tree_node *parent;
	struct pgbox_mailbox_row row;

	while ((name = tree_parent_name(tree, name)) != NULL) {
		parent = pgbox_tree_lookup(tree, name);
		if (parent == NULL) {
			i_zero(&row);
			row.name = p_strdup(tree->pool, name);
			parent = tree_add(tree, &row);
		}
		if (parent->has_children) {
			/* so have all above it */
			break;
		}
		parent->has_children = TRUE;
	}
}

static unsigned char tree_sort_key(char sep, char chr)
{
	/* before everything that a name may go on with */
	return chr == sep ? 1 : (unsigned char)chr;
}

static int tree_name_cmp(char sep, const char *name1, const char *name2)
{
	while (*name1 != '\0' && *name1 == *name2) {
		name1++;
		name2++;
	}
	return (int)tree_sort_key(sep, *name1) -
		(int)tree_sort_key(sep, *name2);
}

static int tree_node_cmp(struct pgbox_tree_node *const *node1,
			 struct pgbox_tree_node *const *node2)
{
	return tree_name_cmp((*node1)->tree->sep, (*node1)->row.name,
			     (*node2)->row.name);
}

static void tree_build(struct pgbox_tree *tree, struct pgbox_mailbox_list *list,
		       ARRAY_TYPE(pgbox_mailbox_row) *rows)
{
	struct pgbox_mailbox_row *row;
	struct pgbox_tree_node *node;
	unsigned int idx = 0;

	array_foreach_modifiable(rows, row) {
		guid_128_copy(list->store_guid, row->store_guid);
		row->name = pgbox_list_from_db_name(list, tree->pool,
						    row->name);
		(void)tree_add(tree, row);
	}
	array_foreach_modifiable(rows, row) {
		if (row->mailbox_id != 0) T_BEGIN {
			tree_mark_parents(tree, row->name);
		} T_END;
	}
	array_sort(&tree->nodes, tree_node_cmp);
	array_foreach_elem(&tree->nodes, node)
		node->idx = idx++;
}

/*
 * Reading it
 */

/* Every account has an INBOX, therefore its absence tells about the account.
   In a shared namespace that is nobody's error: users may look for anybody. */
static bool list_account_must_exist(struct mailbox_list *list)
{
	return list->ns->type != MAIL_NAMESPACE_TYPE_SHARED;
}

static void list_set_no_account(struct pgbox_mailbox_list *list)
{
	struct pgbox_error error;

	pgbox_error_set(&error, PGBOX_ERROR_RULE,
			"there is no account \"%s\"; the SQL function "
			"pgbox.account_create() makes it", list->account);
	error.stmt = "finding the account";
	i_strocpy(error.sqlstate, "PB001", sizeof(error.sqlstate));
	pgbox_list_set_error(&list->list, &error);
}

int pgbox_list_refresh(struct pgbox_mailbox_list *list)
{
	struct pgbox_conn *conn;
	struct pgbox_tree *tree;
	ARRAY_TYPE(pgbox_mailbox_row) rows;
	struct pgbox_error error;

	if (list->tree != NULL && pgbox_turn_is_now(&list->tree->read_time))
		return 0;
	pgbox_list_invalidate(list);

	if ((conn = pgbox_list_get_conn(&list->list)) == NULL)
		return -1;
	tree = tree_alloc(list->sep);
	i_array_init(&rows, 64);
	if (pgbox_mailbox_tree(conn, list->account, tree->pool, &rows,
			       &error) < 0) {
		pgbox_list_set_error(&list->list, &error);
		pgbox_tree_unref(&tree);
	} else if (array_count(&rows) == 0 &&
		   list_account_must_exist(&list->list)) {
		list_set_no_account(list);
		pgbox_tree_unref(&tree);
	} else {
		tree_build(tree, list, &rows);
	}
	array_free(&rows);
	list->tree = tree;
	return tree == NULL ? -1 : 0;
}

void pgbox_list_invalidate(struct pgbox_mailbox_list *list)
{
	pgbox_tree_unref(&list->tree);
	list->found.mailbox_id = 0;
}

static void row_copy(const struct pgbox_mailbox_row *row,
		     struct pgbox_mailbox_row *row_r)
{
	*row_r = *row;
	row_r->name = t_strdup(row->name);
	row_r->special_use = t_strdup(row->special_use);
}

int pgbox_list_lookup(struct mailbox_list *_list, const char *name,
		      struct pgbox_mailbox_row *row_r)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	struct pgbox_conn *conn;
	struct pgbox_error error;
	int ret;

	i_zero(row_r);
	list->found.mailbox_id = 0;
	if ((conn = pgbox_list_get_conn(_list)) == NULL)
		return -1;
	if (*name == '\0') {
		/* the namespace's own prefix is no mailbox */
		return 0;
	}
	p_clear(list->found_pool);
	ret = pgbox_mailbox_find(conn, list->account,
				 pgbox_list_get_db_name(list, name),
				 list->found_pool, &list->found, &error);
	if (ret < 0) {
		list->found.mailbox_id = 0;
		pgbox_list_set_error(_list, &error);
	} else if (ret > 0) {
		list->found.name = p_strdup(list->found_pool, name);
		list->found_time = ioloop_timeval;
		guid_128_copy(list->store_guid, list->found.store_guid);
		row_copy(&list->found, row_r);
	} else if (strcmp(name, "INBOX") == 0 &&
		   list_account_must_exist(_list)) {
		list_set_no_account(list);
		ret = -1;
	}
	return ret;
}

int pgbox_list_peek(struct mailbox_list *_list, const char *name, bool listing,
		    struct pgbox_mailbox_row *row_r)
{
	struct pgbox_mailbox_list *list = PGBOX_LIST(_list);
	struct pgbox_tree *tree = list->tree;
	struct pgbox_tree_node *node;
	bool current;

	if (tree != NULL) {
		current = pgbox_turn_is_now(&tree->read_time);
		node = pgbox_tree_lookup(tree, name);
		if (node != NULL && node->row.mailbox_id != 0 &&
		    (current || (listing && tree->refcount > 1))) {
			row_copy(&node->row, row_r);
			return 1;
		}
		if (current) {
			i_zero(row_r);
			return 0;
		}
	}
	if (list->found.mailbox_id != 0 && pgbox_turn_is_now(&list->found_time) &&
	    strcmp(list->found.name, name) == 0) {
		row_copy(&list->found, row_r);
		return 1;
	}
	return pgbox_list_lookup(_list, name, row_r);
}
