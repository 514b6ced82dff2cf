#ifndef PGBOX_NOTIFY_RELAY_H
#define PGBOX_NOTIFY_RELAY_H

#include "pgbox-db-signal.h"

/* Between the node and the database: sends the node's signals to other nodes,
   hears theirs, and compares from time to time what is watched with what the
   database has, as a signal may be lost. */
struct pgbox_relay;
struct pgbox_watches;

/* Called when the relay begins or ceases to vouch, see below. */
typedef void pgbox_relay_vouch_t(bool vouches, void *context);

/* check_interval_msecs: between two comparisons. */
struct pgbox_relay *
pgbox_relay_init(const struct pgbox_conn_settings *set,
		 unsigned int check_interval_msecs,
		 struct pgbox_watches *watches,
		 pgbox_relay_vouch_t *vouch, void *context,
		 struct event *event);
/* Signals that weren't sent are lost. Sets *relay to NULL. */
void pgbox_relay_deinit(struct pgbox_relay **relay);

/* Something was committed on this node: tell those who watch it here, and
   other nodes. Signals are sent one batch at a time: those that come while a
   batch is under way go with the next one, however many they are. */
void pgbox_relay_signal(struct pgbox_relay *relay,
			const struct pgbox_signal *signal);

/* Returns TRUE if there is a link, and what is watched was compared with the
   database after it was made. */
bool pgbox_relay_vouches(const struct pgbox_relay *relay);
/* Returns FALSE if the store is known to be another one. */
bool pgbox_relay_is_store(const struct pgbox_relay *relay,
			  const guid_128_t store_guid);

#endif
