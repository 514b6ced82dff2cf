#ifndef PGBOX_LIST_TREE_H
#define PGBOX_LIST_TREE_H

#include "pgbox-db-mailbox.h"

/* A name of an account's tree: a mailbox, a node, a name that is only
   subscribed, or one that exists only as a part of others' names. */
struct pgbox_tree_node {
	struct pgbox_tree *tree;
	/* mailbox_id is 0 for the last two; the name is the storage name */
	struct pgbox_mailbox_row row;
	/* position in pgbox_tree.nodes */
	unsigned int idx;
	/* there are mailboxes or nodes below it */
	bool has_children:1;
};
ARRAY_DEFINE_TYPE(pgbox_tree_node, struct pgbox_tree_node *);

/* Snapshot of an account's tree; it never changes. */
struct pgbox_tree {
	int refcount;
	pool_t pool;
	/* separates levels of names */
	char sep;
	/* ioloop_timeval of the turn it was read in */
	struct timeval read_time;
	/* sorted so that children follow their parent */
	ARRAY_TYPE(pgbox_tree_node) nodes;
	HASH_TABLE(const char *, struct pgbox_tree_node *) by_name;
};

/* Each reference is given back with pgbox_tree_unref(). */
void pgbox_tree_ref(struct pgbox_tree *tree);
/* Sets *tree to NULL. */
void pgbox_tree_unref(struct pgbox_tree **tree);

/* Returns the node of a storage name, NULL if there is none. */
struct pgbox_tree_node *
pgbox_tree_lookup(struct pgbox_tree *tree, const char *name);

#endif
