#ifndef PGBOX_NOTIFY_CLIENT_H
#define PGBOX_NOTIFY_CLIENT_H

#include "pgbox-db-signal.h"

struct mail_user;
struct pgbox_notify_watch;

/* This process and the node's service for signals (src/notify). Without the
   service nothing here fails: nobody is told of changes, and whoever watches
   isn't vouched for and looks by himself now and then. */

/* Something was committed. Never waits, no round trip. */
void pgbox_notify_changed(struct mail_user *user,
			  const struct pgbox_signal *signal);

/* Called from the ioloop when there may be something to look at. It may end
   the watch. */
typedef void pgbox_notify_look_t(void *context);

/* Watch a mailbox (signal->modseq: what is known of it), or an account
   (mailbox_id 0, modseq 0), in the store of this GUID. Waits a moment for the
   service's answer. Never returns NULL. */
struct pgbox_notify_watch *
pgbox_notify_watch_init(struct mail_user *user,
			const struct pgbox_signal *signal,
			const guid_128_t store_guid,
			pgbox_notify_look_t *look, void *context);
/* Sets *watch to NULL. */
void pgbox_notify_watch_deinit(struct pgbox_notify_watch **watch);

/* Path of a file that is written to when the mailbox changes, or NULL. Valid
   as long as the watch. */
const char *pgbox_notify_watch_get_path(const struct pgbox_notify_watch *watch);

/* The database was looked at, and this is its modseq (an account: 0). */
void pgbox_notify_watch_looked(struct pgbox_notify_watch *watch,
			       uint64_t modseq);
/* The database couldn't be looked at. The service tells to look again when it
   can be reached; without a service the next pgbox_notify_watch_check() says
   so. */
void pgbox_notify_watch_failed(struct pgbox_notify_watch *watch);
/* Returns TRUE if whoever knows everything up to modseq needn't look: all
   changes are heard of, and there was none after that. */
bool pgbox_notify_watch_is_current(const struct pgbox_notify_watch *watch,
				   uint64_t modseq);
/* Returns TRUE within the call of look(). */
bool pgbox_notify_watch_is_looking(const struct pgbox_notify_watch *watch);
/* To be called now and then: is the service alive, or is there one again?
   Returns TRUE if all changes are heard of, and none has come since the last
   look, so that there is no need to look without being told. */
bool pgbox_notify_watch_check(struct pgbox_notify_watch *watch);

/* When the plugin is unloaded. */
void pgbox_notify_client_deinit(void);

#endif
