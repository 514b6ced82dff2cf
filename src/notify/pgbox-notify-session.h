#ifndef PGBOX_NOTIFY_SESSION_H
#define PGBOX_NOTIFY_SESSION_H

/* The mail processes of this node that are connected to the service, and what
   they say (pgbox-notify-protocol.h). */

struct pgbox_relay;
struct pgbox_watch;
struct pgbox_watches;

/* Call before any of the others. */
void pgbox_notify_sessions_init(struct event *event);
/* Disconnects all. */
void pgbox_notify_sessions_deinit(void);
/* watches and relay must be there before the first session. */
void pgbox_notify_sessions_set(struct pgbox_watches *watches,
			       struct pgbox_relay *relay);

/* A process has connected; fd belongs to the session. */
void pgbox_notify_session_create(int fd, const char *name);
/* Tell all whether the relay vouches. */
void pgbox_notify_sessions_vouch(bool vouches);
/* For pgbox_watches_init(). */
void pgbox_notify_session_look(struct pgbox_watch *watch, uint64_t modseq,
			       void *context);
/* Disconnect all: the service is to be replaced, they are to come to the new
   one. */
void pgbox_notify_sessions_disconnect(void);

#endif
