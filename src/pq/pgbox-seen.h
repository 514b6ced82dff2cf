#ifndef PGBOX_SEEN_H
#define PGBOX_SEEN_H

#include "guid.h"

/* What is known of how new a store is: its generation, a number that grows
   whenever commits may have been lost. A server that has a lower one than was
   seen before was left behind by a failover. */
struct pgbox_seen;
struct pgbox_params;
struct pgbox_result;

/* What the check of a link said of its server */
struct pgbox_seen_server {
	guid_128_t store_guid;
	int64_t generation;
};

/* Get the memory with this file (NULL: of this process alone). It outlives
   links. The file is shared by the processes of a node; it is made when there is
   something to write. */
struct pgbox_seen *pgbox_seen_get(const char *path);
/* When the plugin is unloaded: nobody may refer to one any more. */
void pgbox_seen_free_all(void);

/* Append what the check of a link is told: the stores' GUIDs, and as many
   generations. */
void pgbox_seen_add_params(struct pgbox_seen *seen,
			   struct pgbox_params *params);
/* Read the row that a check returned, and remember what it says if that is the
   newest. If the file can't be written that is logged. */
void pgbox_seen_note(struct pgbox_seen *seen, struct pgbox_result *row,
		     struct event *event, struct pgbox_seen_server *server_r);
/* Returns TRUE if a newer server of the store was seen, by any process that has
   the same file. */
bool pgbox_seen_is_newer(struct pgbox_seen *seen,
			 const struct pgbox_seen_server *server);

#endif
